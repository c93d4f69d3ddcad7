//! The token that Julia would send: which file it is in, and whether it would be sent at all.

use super::check::{Findings, shell_word};
use super::server_url::ServerUrl;
use crate::mirror::blocking;
use fs_err as fs;
use std::io;
use std::path::{Path, PathBuf};

/// Longest `auth.toml` that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// What is known of the token for the server.
#[derive(Debug, Default)]
pub(super) struct Token {
    /// Where Julia looks for it; `None` without a depot or a server.
    pub(super) file: Option<PathBuf>,
    /// What Julia would send. Must never be shown.
    pub(super) secret: Option<String>,
    /// Whether the file is there, whatever is in it.
    pub(super) is_there: bool,
}

/// `auth.toml`; more keys may be there (Pkg `PlatformEngines.jl`, `get_auth_header`).
#[derive(serde::Deserialize)]
struct AuthToml {
    access_token: String,
    #[serde(default)]
    expires_at: Option<f64>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// Looks for the token in the first depot.
pub(super) async fn examine(findings: &mut Findings, server: Option<&ServerUrl>, depots: &[PathBuf]) -> Token {
    let (Some(server), Some(depot)) = (server, depots.first()) else { return Token::default() };
    let file = depot.join("servers").join(server.folder()).join("auth.toml");
    let path = file.clone();
    let text = blocking(move || read(&path)).await.and_then(|read| read);
    let shown = file.display().to_string();
    let mut token = Token { file: Some(file), secret: None, is_there: true };
    match text.map(|text| toml::from_str::<AuthToml>(&text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => token.is_there = false,
        Err(error) => findings.problem("token", &format!("{shown} cannot be read: {}", error.kind()), &[]),
        Ok(Err(_)) => {
            let detail = format!("{shown} is not TOML with a text access_token: Julia sends no token");
            findings.problem("token", &detail, &[format!("rm {}", shell_word(&shown))]);
        }
        Ok(Ok(_)) if !server.may_get_token() => {
            let detail = format!(
                "Julia does not send the one in {shown}: {server} is plain http on another host, and over plain http tokens go to localhost and 127.0.0.1 only; what needs a token there cannot be had"
            );
            findings.warning("token", &detail, &over_https(server));
        }
        Ok(Ok(auth)) => {
            let expired = auth.expires_at.is_some_and(|at| at < now()) && auth.refresh_token.is_none();
            if expired {
                findings.warning("token", &format!("the token in {shown} has expired and cannot be refreshed"), &[]);
            } else {
                findings.ok("token", &format!("Julia sends the one in {shown}"));
            }
            token.secret = Some(auth.access_token);
        }
    }
    token
}

/// Seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "a second more or less does not matter")]
fn now() -> f64 {
    jiff::Timestamp::now().as_second() as f64
}

fn read(file: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    // A fifo would keep its reader waiting for ever.
    if !fs::metadata(file)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    fs::File::open(file)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn over_https(server: &ServerUrl) -> Vec<String> {
    vec![
        "# Julia sends a token only over https or to this machine; the server must have TLS, then:".to_owned(),
        format!("export JULIA_PKG_SERVER={}", shell_word(&server.to_string().replacen("http://", "https://", 1))),
    ]
}

impl Token {
    /// Why a server that wants a token gets none, or not the right one: 401 without one or with one that
    /// is no good, 403 with one that is for other things (RFC 6750, 3.1).
    pub(super) fn explain(&self, status: u16) -> String {
        let file = self.file.as_ref().map_or_else(|| "no depot".to_owned(), |file| file.display().to_string());
        let state = match (&self.secret, self.is_there) {
            (Some(_), _) if status == 403 => {
                "the token there was sent and is not accepted for this: its scope is too small"
            }
            (Some(_), _) => "the token there was sent and is not accepted: it is wrong, has expired or was revoked",
            (None, true) => "the file is there, but its token is not sent",
            (None, false) => "the file is not there",
        };
        format!("it wants a token, which Julia takes from {file}: {state}")
    }

    /// What to do when a server asks for one: the lines, of which the first ones are comments.
    pub(super) fn remedy(&self, server: &ServerUrl) -> Vec<String> {
        let Some(file) = &self.file else { return vec!["# set JULIA_DEPOT_PATH to a depot first".to_owned()] };
        if !server.may_get_token() {
            return over_https(server);
        }
        let what = if self.secret.is_some() {
            "this token is not accepted; ask for a new one and put it"
        } else {
            "ask the server's admin for a token and put it"
        };
        let shown = file.display().to_string();
        let folder = file.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
        vec![
            format!("# {what} here:"),
            format!("mkdir -p {}", shell_word(&folder)),
            format!("echo 'access_token = \"TOKEN\"' > {}", shell_word(&shown)),
        ]
    }
}
