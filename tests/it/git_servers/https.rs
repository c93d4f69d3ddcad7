//! A git server over https, or http, in this process: `git http-backend` behind it, a password before
//! it, and every way in which such servers fail.

use crate::authority::Authority;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use base64::Engine as _;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

/// How it behaves.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// As a git server does.
    Good,
    /// A good one of before git 2.18, which knows one protocol only.
    Old,
    /// Every answer is this.
    Status(u16),
    /// Every answer leads to the same path below another base address.
    Redirect(String),
    /// Takes requests, and says nothing.
    Silent,
    /// Of a pack it sends the first half, and then nothing more.
    HangsInPack,
    /// Of a pack it sends the first half, and closes.
    CutsPack,
    /// Of a pack it sends one bit in the middle wrong.
    DamagesPack,
    /// Sends these bytes in the place of a pack, in the frames of the protocol.
    FakePack(&'static [u8]),
    /// Every answer is this page.
    Page(&'static str),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) authorization: Option<String>,
    pub(crate) protocol: Option<String>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    authorization: Mutex<Option<String>>,
    manner: Mutex<Manner>,
    seen: Mutex<Vec<Seen>>,
}

/// A running one, on a port that the system picks; dropping it cuts its connections.
pub(crate) struct GitHttp {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

impl GitHttp {
    /// Over TLS, for the repositories in a folder.
    pub(crate) async fn secure(folder: &Path, authority: &Authority) -> Self {
        Self::start(folder, Some(authority.open_acceptor())).await
    }

    /// In plain text.
    pub(crate) async fn plain(folder: &Path) -> Self {
        Self::start(folder, None).await
    }

    async fn start(folder: &Path, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, scheme) = (listener.local_addr().unwrap(), if tls.is_some() { "https" } else { "http" });
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            authorization: Mutex::default(),
            manner: Mutex::new(Manner::Good),
            seen: Mutex::default(),
        });
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = async move {
            match tls {
                Some(acceptor) => axum::serve(Tls { listener, acceptor }, app).await.unwrap(),
                None => axum::serve(listener, app).await.unwrap(),
            }
        };
        Self { address, scheme, shared, _serving: AbortOnDropHandle::new(tokio::spawn(serving)) }
    }

    /// Lets in from now on only whom this user and password are from.
    pub(crate) fn lock(&self, user: &str, password: &str) {
        let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.demand(&format!("Basic {both}"));
    }

    /// Lets in from now on only who shows this.
    pub(crate) fn demand(&self, authorization: &str) {
        *held(&self.shared.authorization) = Some(authorization.to_owned());
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *held(&self.shared.manner) = manner;
    }

    /// Without a trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The same with a user and a password in it.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@{}", self.scheme, self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        held(&self.shared.seen).clone()
    }
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (path, authorization) = (parts.uri.path().to_owned(), text("authorization"));
    let seen = Seen { authorization: authorization.clone(), protocol: text("git-protocol") };
    held(&shared.seen).push(seen);
    let manner = held(&shared.manner).clone();
    match &manner {
        Manner::Status(status) => {
            return (StatusCode::from_u16(*status).unwrap(), "a page for people").into_response();
        }
        Manner::Redirect(base) => {
            let to = format!("{base}{}", parts.uri.path_and_query().unwrap());
            return (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response();
        }
        Manner::Page(page) => return axum::response::Html(*page).into_response(),
        Manner::Silent => return std::future::pending().await,
        _ => {}
    }
    if held(&shared.authorization).as_ref().is_some_and(|demanded| Some(demanded) != authorization.as_ref()) {
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"a test\"")];
        return (StatusCode::UNAUTHORIZED, ask, "who are you?").into_response();
    }
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let protocol = seen_protocol(&parts.headers, &manner);
    let call = Call { path, query: parts.uri.query().unwrap_or_default().to_owned(), protocol, body };
    let (status, headers, body) = backend(&shared.folder, &parts, call).await;
    (status, headers, spoilt(&manner, body)).into_response()
}

fn seen_protocol(headers: &HeaderMap, manner: &Manner) -> String {
    let asked = headers.get("git-protocol").filter(|_| !matches!(manner, Manner::Old));
    asked.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

struct Call {
    path: String,
    query: String,
    protocol: String,
    body: Bytes,
}

/// Runs `git http-backend` as a web server does (RFC 3875).
async fn backend(folder: &Path, parts: &http::request::Parts, call: Call) -> (StatusCode, HeaderMap, Bytes) {
    let text = |name| parts.headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap());
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    command.env("GIT_PROJECT_ROOT", folder).env("GIT_HTTP_EXPORT_ALL", "1").env("PATH_INFO", &call.path);
    command.env("QUERY_STRING", &call.query).env("REQUEST_METHOD", parts.method.as_str());
    command.env("CONTENT_TYPE", text(header::CONTENT_TYPE).unwrap_or_default());
    command.env("CONTENT_LENGTH", call.body.len().to_string()).env("GIT_PROTOCOL", &call.protocol);
    command.env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING).unwrap_or_default());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeding = tokio::spawn(async move { stdin.write_all(&call.body).await });
    let output = child.wait_with_output().await.unwrap();
    let _ = feeding.await;
    let all = Bytes::from(output.stdout);
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").expect("the end of its headers");
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    for line in std::str::from_utf8(&all[..end]).unwrap().lines() {
        match line.split_once(": ").unwrap() {
            ("Status", value) => status = value.split(' ').next().unwrap().parse().unwrap(),
            (name, value) => drop(headers.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())),
        }
    }
    (status, headers, all.slice(end + 4..))
}

/// The answer as this manner has it. Only what has a pack in it is changed.
fn spoilt(manner: &Manner, body: Bytes) -> Body {
    let Some(pack) = body.windows(4).position(|window| window == b"PACK") else { return body.into() };
    // Half of what comes after the twelve bytes of its head.
    let half_length = pack + 12 + (body.len() - pack - 12) / 2;
    let half = body.slice(..half_length);
    let first = stream::once(async move { Ok::<_, io::Error>(half) });
    match manner {
        Manner::HangsInPack => Body::from_stream(first.chain(stream::pending())),
        Manner::CutsPack => {
            let cut = stream::once(async { Err(io::Error::other("cut")) });
            Body::from_stream(first.chain(cut))
        }
        Manner::DamagesPack => {
            let mut damaged = body.to_vec();
            damaged[half_length] ^= 1;
            damaged.into()
        }
        Manner::FakePack(bytes) => {
            // Up to the length of its frame and the number of the band, which say where the pack begins.
            let mut faked = body[..pack - 5].to_vec();
            faked.extend(format!("{:04x}\x01", bytes.len() + 5).bytes().chain(bytes.iter().copied()));
            faked.extend(b"0000");
            faked.into()
        }
        _ => body.into(),
    }
}
