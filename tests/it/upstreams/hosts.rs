//! What stands between a mirror and the sample upstream in these tests: a TLS end that wants a
//! client certificate, a proxy, and a server that looks at each request first.

use crate::authority::Authority;
use airlock::sample::{Gate, SampleUpstream};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A running end of TLS, in front of something that speaks plain HTTP.
pub(super) struct Tls {
    pub(super) address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Tls {
    pub(super) async fn start(authority: &Authority, to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, acceptor) = (listener.local_addr().unwrap(), authority.acceptor());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut behind = TcpStream::connect(to).await?;
                    copy_bidirectional(&mut stream, &mut behind).await
                });
            }
        });
        Self { address, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// An HTTP proxy that writes down the heads of what it is asked, and leads everything to one place.
pub(super) struct ProxyServer {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl ProxyServer {
    pub(super) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let written = Arc::clone(&heads);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, to, Arc::clone(&written)));
            }
        });
        Self { address, heads, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// What it was asked, in lowercase.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn pass(mut stream: TcpStream, to: SocketAddr, heads: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    heads.lock().unwrap().push(head.to_lowercase());
    let mut behind = TcpStream::connect(to).await?;
    if head.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        let (line, rest) = head.split_once("\r\n").unwrap();
        let path = line.split(' ').nth(1).and_then(|uri| uri.splitn(4, '/').nth(3)).unwrap();
        behind.write_all(format!("GET /{path} HTTP/1.1\r\n{rest}").as_bytes()).await?;
        // A second request on this connection would not be seen here.
        behind.shutdown().await?;
    }
    copy_bidirectional(&mut stream, &mut behind).await.map(drop)
}

/// A package server that looks at each request before it gives what the sample upstream has.
#[derive(Clone)]
pub(super) struct Guard(Arc<Guarded>);

struct Guarded {
    upstream: SampleUpstream,
    /// The token that it wants, if it wants one.
    token: Mutex<Option<String>>,
    /// Where the answers to packages wait.
    gate: Option<Gate>,
    now: AtomicUsize,
    most: AtomicUsize,
    address: SocketAddr,
    serving: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Guard {
    pub(super) async fn start(upstream: SampleUpstream, token: Option<&str>, gate: Option<Gate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let guard = Self(Arc::new(Guarded {
            upstream,
            token: Mutex::new(token.map(str::to_owned)),
            gate,
            now: AtomicUsize::default(),
            most: AtomicUsize::default(),
            address: listener.local_addr().unwrap(),
            serving: Mutex::default(),
        }));
        // Weak, or the guard would keep itself running.
        let router = Router::new().fallback(answer).with_state(Arc::downgrade(&guard.0));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        *guard.0.serving.lock().unwrap() = Some(AbortOnDropHandle::new(serving));
        guard
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(super) fn want(&self, token: &str) {
        *self.0.token.lock().unwrap() = Some(token.to_owned());
    }

    /// Requests that were under way at one time: now, and at most.
    pub(super) fn under_way(&self) -> (usize, usize) {
        (self.0.now.load(Ordering::SeqCst), self.0.most.load(Ordering::SeqCst))
    }
}

async fn answer(State(guard): State<std::sync::Weak<Guarded>>, request: Request) -> Response {
    let Some(guard) = guard.upgrade() else { return StatusCode::GONE.into_response() };
    let now = guard.now.fetch_add(1, Ordering::SeqCst) + 1;
    guard.most.fetch_max(now, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    if let Some(gate) = guard.gate.as_ref().filter(|_| path.starts_with("/package/")) {
        gate.passed().await;
    }
    guard.now.fetch_sub(1, Ordering::SeqCst);
    let wanted = guard.token.lock().unwrap().clone();
    if wanted.is_some_and(|token| !carries(request.headers(), &token)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match guard.upstream.body(&path) {
        Some(body) => body.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn carries(headers: &HeaderMap, token: &str) -> bool {
    headers.get("authorization").is_some_and(|value| value == format!("Bearer {token}").as_str())
}

/// The lines of an `[[upstream]]`.
pub(super) fn table(url: &str, lines: &[(&str, &Path)]) -> String {
    let lines = lines.iter().map(|(key, path)| format!("{key} = '{}'\n", path.display()));
    format!("[[upstream]]\nurl = '{url}'\n{}", lines.collect::<String>())
}
