//! How many connections there may be: in all, and of one client. One too many is turned away at
//! once, so that nobody can take what others need, and nothing waits in a queue without an end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;

/// What somebody is told who is one too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 51\r\n\
    Retry-After: 1\r\nConnection: close\r\n\r\nthis mirror has too many connections; try it later\n";

/// The connections of now, and what became of those that were not taken.
#[derive(Debug, Default)]
pub(super) struct Admission {
    open: AtomicUsize,
    of_client: Mutex<HashMap<IpAddr, usize>>,
    /// Connections turned away because there were `max-connections`.
    pub(super) refused: AtomicU64,
    /// The same for `max-connections-per-client`.
    pub(super) refused_of_client: AtomicU64,
    /// TLS handshakes that came to nothing.
    pub(super) failed_handshakes: AtomicU64,
    /// Requests whose handler panicked.
    pub(super) panics: AtomicU64,
}

/// A connection that was let in, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    client: Option<IpAddr>,
}

impl Admission {
    /// Connections of now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets a client in, unless it is one too many.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr, bounds: &crate::config::Server) -> Option<Place> {
        // One task accepts, so between look and count nobody else comes in.
        if self.open() >= bounds.max_connections {
            turned_away(&self.refused, "max-connections", bounds.max_connections);
            return None;
        }
        let most = bounds.max_connections_per_client;
        let client = (most > 0).then(|| one_client(client));
        if let Some(client) = client {
            let mut of_client = self.of_client.lock().unwrap_or_else(PoisonError::into_inner);
            let count = of_client.entry(client).or_default();
            if *count >= most {
                turned_away(&self.refused_of_client, "max-connections-per-client", most);
                return None;
            }
            *count += 1;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Place { admission: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut of_client = self.admission.of_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = of_client.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Says why, and never waits: what cannot be written at once is not written. A client that waits
/// for a TLS handshake would not understand it, so there the connection is only closed.
pub(super) fn turn_away(stream: TcpStream, is_tls: bool) {
    if let (false, Ok(mut stream)) = (is_tls, stream.into_std()) {
        let _ = stream.write(TOO_MANY);
    }
}

/// An IPv6 client has a whole /64 to itself and could come from any address of it.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
    }
}

/// Counts it. Whoever causes this must not be able to fill the log: the first is said, the second,
/// the fourth, and so on.
fn turned_away(counter: &AtomicU64, key: &str, most: usize) {
    let so_far = counter.fetch_add(1, Ordering::Relaxed) + 1;
    if so_far.is_power_of_two() {
        tracing::warn!(so_far, "a connection was turned away: there are {most}, which is server.{key}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_an_ipv6_network() {
        let same = |a: &str, b: &str| one_client(a.parse().unwrap()) == one_client(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:0:0:2") && same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1") && !same("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn what_a_client_is_told_is_whole() {
        let text = str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
