//! The bound on open files: what a shell sets is far below what many clients need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A connection has a socket, and the file that it is being sent.
const OF_A_CONNECTION: u64 = 2;
/// For everything else: fetches, logs, locks.
const OF_THE_SERVER: u64 = 512;

/// Raises the bound on open files as far as this process may, and says so if `max-connections`
/// does not fit.
pub fn raise_descriptors(bounds: &crate::config::Server) {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = if raised.is_ok() { limit.maximum } else { limit.current };
    let needed = bounds.max_connections as u64 * OF_A_CONNECTION + OF_THE_SERVER;
    if let Some(most) = most.filter(|&most| most < needed) {
        let fits = most.saturating_sub(OF_THE_SERVER) / OF_A_CONNECTION;
        tracing::warn!(
            "this process may have {most} files open, which is enough for {fits} connections, and \
             server.max-connections is {}: raise the one (ulimit -Hn, LimitNOFILE=) or lower the other",
            bounds.max_connections
        );
    }
}
