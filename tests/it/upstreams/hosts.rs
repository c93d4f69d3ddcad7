//! What stands between a mirror and the sample upstream in these tests: a TLS end that wants a
//! client certificate, a proxy, and a server that looks at each request first.

use airlock::sample::{Gate, SampleUpstream};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// A certificate authority of its own, and the files of what it signed.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) folder: tempfile::TempDir,
}

impl Authority {
    /// Leaves `ca.pem`, `client.pem`, `client.key` and, of another key, `other.key`.
    pub(super) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Self { issuer: Issuer::new(params, key), folder };
        let (certificate, key) = authority.sign("client");
        fs_err::write(authority.file("client.pem"), certificate.pem()).unwrap();
        fs_err::write(authority.file("client.key"), key.serialize_pem()).unwrap();
        fs_err::write(authority.file("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        authority
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// An end of TLS that lets in only whom this authority signed.
    fn acceptor(&self) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        let pem = fs_err::read(self.file("ca.pem")).unwrap();
        for der in <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::pem_slice_iter(&pem) {
            roots.add(der.unwrap()).unwrap();
        }
        let (certificate, key) = self.sign("localhost");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

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
