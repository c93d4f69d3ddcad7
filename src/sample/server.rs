//! The sockets of the sample upstream: one small HTTP/1.1 server with every byte under control.

use super::fault::{Body, Fault, Then};
use super::registry::Site;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Longest request head that is read, in bytes.
const MAX_HEAD: u64 = 64 * 1024;
/// Bytes between two looks at the clock on a slow line.
const PIECE: usize = 64 << 10;

/// A running sample upstream; dropping it switches it off and cuts its connections.
#[derive(Debug)]
pub struct SampleUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    bodies: Mutex<BTreeMap<String, Bytes>>,
    faults: Mutex<HashMap<String, VecDeque<Fault>>>,
    requests: Mutex<Vec<Request>>,
    latency: Mutex<Duration>,
    rate: Mutex<Option<u32>>,
}

/// A request as the upstream saw it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path.
    pub path: String,
    /// By name in lowercase.
    pub headers: BTreeMap<String, String>,
}

impl SampleUpstream {
    /// Starts on a free port of the loopback interface.
    pub async fn start(site: Site) -> io::Result<Self> {
        Self::start_at(site, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts at a given address: an upstream that comes back.
    pub async fn start_at(site: Site, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { bodies: Mutex::new(site.into_bodies()), ..Shared::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// The base URL, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts one more fault in line for a path; each answer takes one, then answers are good.
    pub fn fail(&self, path: &str, fault: Fault) {
        lock(&self.shared.faults).entry(path.to_owned()).or_default().push_back(fault);
    }

    /// Makes every path good again.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Answers this path with these bytes from now on.
    pub fn put(&self, path: &str, body: impl Into<Bytes>) {
        lock(&self.shared.bodies).insert(path.to_owned(), body.into());
    }

    /// Answers 404 for this path from now on.
    pub fn remove(&self, path: &str) {
        lock(&self.shared.bodies).remove(path);
    }

    /// The bytes of a path.
    pub fn body(&self, path: &str) -> Option<Bytes> {
        lock(&self.shared.bodies).get(path).cloned()
    }

    /// Waits this long before each answer.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.shared.latency) = latency;
    }

    /// Sends the bodies on each connection at this many bytes in a second, as a slow line would.
    pub fn set_rate(&self, rate: u32) {
        *lock(&self.shared.rate) = Some(rate);
    }

    /// Everything that was asked, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How often a path was asked with `GET`.
    pub fn gets(&self, path: &str) -> usize {
        lock(&self.shared.requests).iter().filter(|request| request.method == "GET" && request.path == path).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Owns the connections, so that they end when the upstream is dropped.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, kept alive until something on it goes wrong.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = read_request(&mut stream).await {
        let latency = *lock(&shared.latency);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let fault = lock(&shared.faults).get_mut(&request.path).and_then(VecDeque::pop_front);
        let body = lock(&shared.bodies).get(&request.path).cloned();
        let good = Body { rate: *lock(&shared.rate), ..Body::default() };
        lock(&shared.requests).push(request.clone());
        if !matches!(
            answer(stream.get_mut(), &request, body, fault.unwrap_or(Fault::Send(good))).await,
            Ok(After::KeepAlive)
        ) {
            return;
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut request = Request::default();
    let mut head = stream.take(MAX_HEAD);
    let mut line = String::new();
    loop {
        line.clear();
        if head.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let text = line.trim_end();
        if text.is_empty() {
            return Ok(Some(request));
        }
        if request.method.is_empty() {
            let mut words = text.split(' ').map(str::to_owned);
            request.method = words.next().unwrap_or_default();
            request.path = words.next().unwrap_or_default();
        } else if let Some((name, value)) = text.split_once(':') {
            request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}

enum After {
    KeepAlive,
    Close,
}

async fn answer(stream: &mut TcpStream, request: &Request, body: Option<Bytes>, fault: Fault) -> io::Result<After> {
    match (fault, body) {
        (Fault::Send(how), Some(body)) => send(stream, request, &body, how).await,
        (Fault::Send(_), None) => status(stream, 404, "").await,
        (Fault::Replace(body), _) => send(stream, request, &body, Body::default()).await,
        (Fault::Status(code, wait), _) => {
            let retry = wait.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
            status(stream, code, &retry).await
        }
        (Fault::Redirect(to), _) => status(stream, 302, &format!("Location: {to}\r\n")).await,
        (Fault::Drop, _) => Ok(After::Close),
        (Fault::Silence, _) => std::future::pending().await,
    }
}

async fn status(stream: &mut TcpStream, code: u16, headers: &str) -> io::Result<After> {
    let head = format!("HTTP/1.1 {code} Sample\r\nContent-Length: 0\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await?;
    Ok(After::KeepAlive)
}

async fn send(stream: &mut TcpStream, request: &Request, whole: &[u8], how: Body) -> io::Result<After> {
    let etag = format!("\"{:x}-{}\"", crc(whole), whole.len());
    let start = resume_from(request, &etag, whole.len());
    let body = &whole[start..];
    let mut head = match start {
        0 => "HTTP/1.1 200 OK\r\n".to_owned(),
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\n",
            whole.len() - 1,
            whole.len()
        ),
    };
    let framing = if how.chunked {
        "Transfer-Encoding: chunked\r\n".to_owned()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    head.push_str(&framing);
    if !how.no_etag {
        head.push_str(&["ETag: ", &etag, "\r\n"].concat());
    }
    stream.write_all((head + "\r\n").as_bytes()).await?;
    if request.method == "HEAD" {
        return Ok(After::KeepAlive);
    }
    let (first, rest) = body.split_at(how.after.saturating_sub(start).min(body.len()));
    part(stream, first, how.chunked, how.rate).await?;
    match how.then {
        Then::Finish => {}
        Then::Close => return Ok(After::Close),
        Then::Reset => {
            stream.set_zero_linger()?;
            return Ok(After::Close);
        }
        Then::Stall => std::future::pending().await,
        Then::Wait(gate) => gate.passed().await,
    }
    part(stream, rest, how.chunked, how.rate).await?;
    if how.chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(After::KeepAlive)
}

async fn part(stream: &mut TcpStream, bytes: &[u8], chunked: bool, rate: Option<u32>) -> io::Result<()> {
    if chunked && !bytes.is_empty() {
        stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        stream.write_all(bytes).await?;
        return stream.write_all(b"\r\n").await;
    }
    let Some(rate) = rate else { return stream.write_all(bytes).await };
    let mut due = Instant::now();
    for piece in bytes.chunks(PIECE) {
        stream.write_all(piece).await?;
        due += Duration::from_nanos(piece.len() as u64 * 1_000_000_000 / u64::from(rate.max(1)));
        tokio::time::sleep_until(due).await;
    }
    Ok(())
}

/// Where a resumed download goes on: `Range: bytes=N-`, and `If-Range` (if any) names these bytes.
fn resume_from(request: &Request, etag: &str, length: usize) -> usize {
    if request.headers.get("if-range").is_some_and(|wanted| wanted != etag) {
        return 0;
    }
    let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    range.and_then(|start| start.parse().ok()).filter(|&start| start < length).unwrap_or(0)
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
