//! What the server says of its registries, and whether they are there.

use super::auth::Token;
use super::check::{Findings, quoted, shell_word};
use super::client::{NoAnswer, explain};
use super::reach::seconds;
use super::server_url::ServerUrl;
use super::tarball::{self, Tarball};
use crate::protocol::{GENERAL, Listing, ListingError, RegistryTree, Resource};
use futures_util::StreamExt as _;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Response};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::timeout;

/// Longest wait for a whole short answer. Julia itself leaves after 20 s without a byte.
const ANSWER: Duration = Duration::from_secs(4);
/// A listing that takes longer is felt: one `add` asks for it up to five times.
const SLOW: Duration = Duration::from_secs(1);
/// Longest wait for all tarballs together.
const TARBALLS: Duration = Duration::from_secs(6);
/// Registries whose tarballs are looked at.
const MOST_REGISTRIES: usize = 20;
/// Longest answer that is read, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// A clock that is further off breaks certificates and tokens.
const MAX_DRIFT: Duration = Duration::from_mins(5);

const NAME: &str = "listing";

/// Asks for the listing and all that it names. The listing, if Pkg could read it.
pub(super) async fn examine(
    findings: &mut Findings,
    client: &Client,
    server: &ServerUrl,
    token: &Token,
) -> Option<Listing> {
    let started = Instant::now();
    let answer = match ask(client, &server.join("/registries")).await {
        Ok(answer) => answer,
        Err(why) => {
            no_answer(findings, &why, server);
            return None;
        }
    };
    let took = started.elapsed();
    clock(findings, &answer.headers);
    if answer.status != 200 {
        wrong_status(findings, &answer, server, token);
        return None;
    }
    let listing = match Listing::parse(&answer.text) {
        Ok(listing) => listing,
        Err(error) => {
            unreadable(findings, &answer, &error, server);
            return None;
        }
    };
    let count = listing.iter().count();
    let registries = if count == 1 { "one registry" } else { "registries" };
    let mut detail = format!("names {count} {registries} ({})", seconds(took)).replace("1 one", "one");
    if let Some(host) = answer.moved_to(server) {
        detail = format!("{detail}; redirected to {}", quoted(&host));
    }
    if took > SLOW {
        detail += ": Julia asks for it again and again, so every command is slow";
        findings.warning(NAME, &detail, &[]);
    } else {
        findings.ok(NAME, &detail);
    }
    let about = server.join("/meta");
    let (about, tarballs) = tokio::join!(ask(client, &about), tarballs(client, server, &listing));
    meta(findings, about.ok().as_ref());
    general(findings, &listing);
    for (registry, tarball) in tarballs {
        say_tarball(findings, registry, &tarball);
    }
    Some(listing)
}

/// A short answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    /// Where it came from in the end, without the path.
    host: String,
}

impl Answer {
    /// The host that answered, if it is another one.
    fn moved_to(&self, server: &ServerUrl) -> Option<String> {
        (self.host != server.host()).then(|| self.host.clone())
    }

    fn is_html(&self) -> bool {
        self.text.trim_start().starts_with('<')
    }
}

async fn ask(client: &Client, url: &str) -> Result<Answer, NoAnswer> {
    let answer = async {
        let response = client.get(url).send().await?;
        read(response).await
    };
    match timeout(ANSWER, answer).await {
        Err(_) => Err(NoAnswer::Silent(ANSWER)),
        Ok(Err(error)) => Err(explain(&error, ANSWER)),
        Ok(Ok(answer)) => Ok(answer),
    }
}

async fn read(response: Response) -> Result<Answer, reqwest::Error> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let host = response.url().host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let (mut bytes, mut body) = (Vec::new(), response.bytes_stream());
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() > MAX_TEXT {
            break;
        }
    }
    Ok(Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned(), host })
}

fn no_answer(findings: &mut Findings, why: &NoAnswer, server: &ServerUrl) {
    let port = server.port();
    let (detail, remedy) = match why {
        NoAnswer::Silent(waited) => (
            format!(
                "it took the connection and did not answer within {}: the server hangs, or a firewall lets only the first packets through",
                seconds(*waited)
            ),
            vec![format!("curl -v {}", shell_word(&server.join_shown("/registries")))],
        ),
        NoAnswer::NoTls => (
            format!(
                "port {port} does not speak TLS, and the address says https:// (an address without a scheme means https://)"
            ),
            vec![format!("export JULIA_PKG_SERVER={}", shell_word(&server.over_http()))],
        ),
        NoAnswer::Certificate(error) => (
            format!(
                "TLS fails, {error}: this host does not trust the server's certificate, or it is for another name or time"
            ),
            vec![
                "export JULIA_SSL_CA_ROOTS_PATH=/path/to/ca.pem   # the certificate of your authority".to_owned(),
                "export SSL_CERT_FILE=/path/to/ca.pem   # the same for Julia before 1.6, which runs curl".to_owned(),
            ],
        ),
        NoAnswer::WantsCertificate => (
            "it wants a client certificate, and no Julia can show one".to_owned(),
            vec!["# on the server: [tls] client-certificate = \"optional\"; tokens are for people".to_owned()],
        ),
        NoAnswer::Redirects => ("it redirects without an end".to_owned(), vec![]),
        NoAnswer::Broken(error) => (
            format!(
                "the connection broke before the answer was whole, {error}: port {port} is perhaps no web server, or speaks only https"
            ),
            vec![format!("curl -v {}", shell_word(&server.join_shown("/registries")))],
        ),
    };
    findings.problem(NAME, &detail, &remedy);
}

fn wrong_status(findings: &mut Findings, answer: &Answer, server: &ServerUrl, token: &Token) {
    let path = server.join_shown("/registries");
    let from =
        answer.moved_to(server).map(|host| format!(" after a redirect to {}", quoted(&host))).unwrap_or_default();
    let (what, remedy) = match answer.status {
        401 | 403 => {
            let file = token.file.as_ref().map_or_else(|| "no depot".to_owned(), |file| file.display().to_string());
            let state = match (&token.secret, token.is_there) {
                (Some(_), _) => "the token there was sent and is not accepted",
                (None, true) => "the file is there, but its token is not sent",
                (None, false) => "the file is not there",
            };
            (format!("it wants a token, which Julia takes from {file}: {state}"), token.remedy(server))
        }
        407 => (
            "the proxy wants a user and a password".to_owned(),
            vec![format!("export no_proxy={}   # ask the server without the proxy", shell_word(server.host()))],
        ),
        404 | 410 => (
            "there is no package server below this address; its path may be wrong".to_owned(),
            vec![format!("curl -i {}", shell_word(&path))],
        ),
        502..=504 => (
            "a proxy before the server cannot reach it, or the server has no registry yet".to_owned(),
            vec!["# on the server: airlock registries list; airlock prewarm PATH, or copy the listings too".to_owned()],
        ),
        500.. => ("the server fails; its log says why".to_owned(), vec![]),
        _ => ("Julia takes only 200".to_owned(), vec![format!("curl -i {}", shell_word(&path))]),
    };
    findings.problem(NAME, &format!("answered {}{from}: {what}", answer.status), &remedy);
}

fn unreadable(findings: &mut Findings, answer: &Answer, error: &ListingError, server: &ServerUrl) {
    let from =
        answer.moved_to(server).map(|host| format!(" after a redirect to {}", quoted(&host))).unwrap_or_default();
    let detail = match error {
        ListingError::Line { line } => {
            format!("line {line} is not /registry/<uuid>/<tree>: Pkg aborts the whole command on it{from}")
        }
        ListingError::Empty if answer.is_html() => {
            format!("an HTML page came{from}: a login page, a proxy's message or some other web server")
        }
        ListingError::Empty => format!("names no registry{from}: Julia goes to GitHub for all of them"),
    };
    findings.problem(NAME, &detail, &[format!("curl -iL {}", shell_word(&server.join_shown("/registries")))]);
}

fn clock(findings: &mut Findings, headers: &HeaderMap) {
    let date = headers.get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let Some(theirs) = date else {
        return findings.skipped("clock", "the server says no time");
    };
    let ours = SystemTime::now();
    let (drift, side) = match ours.duration_since(theirs) {
        Ok(drift) => (drift, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    if drift > MAX_DRIFT {
        let far = humantime::format_duration(Duration::from_secs(drift.as_secs()));
        let detail = format!("this host is {far} {side} the server: certificates and tokens may not be valid here");
        findings.warning(
            "clock",
            &detail,
            &["sudo timedatectl set-ntp true   # or: sudo date -s 'YYYY-MM-DD HH:MM:SS'".to_owned()],
        );
    } else {
        findings.ok("clock", "agrees with the server's");
    }
}

/// What `/meta` tells of an airlock or of a `PkgServer`.
#[derive(serde::Deserialize)]
struct Meta {
    version: Option<String>,
    mode: Option<String>,
    pkgserver_version: Option<String>,
    #[serde(default)]
    registries: Vec<MetaRegistry>,
}

#[derive(serde::Deserialize)]
struct MetaRegistry {
    view: Option<String>,
}

fn meta(findings: &mut Findings, answer: Option<&Answer>) {
    let known =
        answer.filter(|answer| answer.status == 200).and_then(|answer| serde_json::from_str::<Meta>(&answer.text).ok());
    let detail = match known {
        Some(Meta { version: Some(version), mode: Some(mode), registries, .. }) => {
            let views: std::collections::BTreeSet<_> =
                registries.iter().filter_map(|registry| registry.view.as_deref()).collect();
            let views: Vec<_> = views.into_iter().take(3).map(quoted).collect();
            let view = if views.is_empty() { String::new() } else { format!(", view {}", views.join(" and ")) };
            format!("is an airlock {}, {}{view}", quoted(&version), quoted(&mode))
        }
        Some(Meta { pkgserver_version: Some(version), .. }) => format!("is a PkgServer {}", quoted(&version)),
        _ => "does not say what it is: no airlock, but any server of these files will do".to_owned(),
    };
    findings.ok("server", &detail);
}

fn general(findings: &mut Findings, listing: &Listing) {
    if listing.tree(GENERAL).is_some() {
        return findings.ok("General", "is listed");
    }
    let detail = format!("the registry General ({GENERAL}) is not listed: Julia clones it from GitHub by git");
    let remedy = [
        "# outside: airlock prewarm PATH, which fetches the registry too".to_owned(),
        "# then copy the cache and its listings to the server, the listings last".to_owned(),
    ];
    findings.problem("General", &detail, &remedy);
}

async fn tarballs(client: &Client, server: &ServerUrl, listing: &Listing) -> Vec<(RegistryTree, Tarball)> {
    let deadline = tokio::time::Instant::now() + TARBALLS;
    let mut found = Vec::new();
    for registry in listing.iter().take(MOST_REGISTRIES) {
        let url = server.join(&Resource::from(registry).to_string());
        found.push((registry, tarball::fetch(client, &url, deadline).await));
    }
    found
}

fn say_tarball(findings: &mut Findings, registry: RegistryTree, tarball: &Tarball) {
    const NAME: &str = "tarball";
    let path = Resource::from(registry).to_string();
    let verify = "# on the server: airlock verify, then copy the file again".to_owned();
    let absent =
        "# on the server: the listing was copied before its tarball; copy the registry/ folder again".to_owned();
    match tarball {
        Tarball::Whole { bytes, strict } if *strict == registry.tree => {
            let size = bytesize::ByteSize(*bytes).display().iec();
            findings.ok(NAME, &format!("{path} is there, {size}, and has the tree hash of its name"));
        }
        Tarball::Whole { strict, .. } => {
            let detail = format!("{path} has the tree hash {strict}: Julia since 1.9 refuses it");
            findings.problem(NAME, &detail, &[verify]);
        }
        Tarball::Bad(error) => {
            findings.problem(NAME, &format!("{path} is no registry tarball: {}", quoted(error)), &[verify]);
        }
        Tarball::Status(status) => {
            findings.problem(
                NAME,
                &format!("{path} is listed, but answered {status}: no client can install it"),
                &[absent],
            );
        }
        Tarball::NoAnswer(why) => {
            let why = match why {
                NoAnswer::Silent(_) => "nothing came in time".to_owned(),
                NoAnswer::Broken(error) => format!("it broke off, {error}"),
                _ => "it could not be asked for".to_owned(),
            };
            findings.problem(NAME, &format!("{path}: {why}"), &[verify]);
        }
        Tarball::Unfinished(bytes) => {
            let size = bytesize::ByteSize(*bytes).display().iec();
            let detail = format!(
                "{path} is there, but {size} of it came within {}: it was not verified, and Julia waits longer",
                seconds(TARBALLS)
            );
            findings.warning(NAME, &detail, &[]);
        }
    }
}
