//! `/artifact/<tree>/<name>`: an `Artifacts.toml` that names an artifact here, as `PkgServer` makes
//! it (`dynamic.jl`), for packagers who want to point at a mirror.

use super::access;
use super::resource::client;
use super::routes::App;
use crate::mirror::{Ask, Refusal, blocking};
use crate::protocol::{Resource, TreeHash};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderMap};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Read};
use std::sync::Arc;

/// Longest name, in bytes.
const MAX_NAME: usize = 255;

/// Answers; an artifact that is not here is fetched first, for its SHA-256 is of the whole.
pub(super) async fn respond(State(app): State<App>, request: Request) -> Response {
    let Some((tree, name)) = parse(request.uri().path()) else {
        return (StatusCode::NOT_FOUND, "no such path\n").into_response();
    };
    let artifact = Resource::Artifact { tree };
    let id = request.extensions().get().copied();
    let ask = Ask { client: client(request.headers()), id, ..Ask::default() };
    match sha256(&app, artifact, &ask).await {
        Err(refused) => access::refuse(&app, request.extensions(), &app.mirror(), &artifact, &refused),
        Ok(sha256) => {
            let url = format!("{}{artifact}", base_url(&app, request.headers()));
            let headers = [
                (header::CONTENT_TYPE, "application/toml"),
                (header::CONTENT_DISPOSITION, "attachment; filename=Artifacts.toml"),
            ];
            (headers, text(name, tree, &sha256, &url)).into_response()
        }
    }
}

/// The raw path, so that percent-encoding is no way around the one parser of resources. A name is
/// what a bare TOML key may be.
pub(super) fn parse(path: &str) -> Option<(TreeHash, &str)> {
    let (artifact, name) = path.rsplit_once('/')?;
    let Ok(Resource::Artifact { tree }) = artifact.parse() else { return None };
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    (plain && !name.is_empty() && name.len() <= MAX_NAME).then_some((tree, name))
}

async fn sha256(app: &App, artifact: Resource, ask: &Ask) -> Result<String, Refusal> {
    let mirror = app.mirror();
    mirror.get_whole(&artifact, ask).await?;
    let store = Arc::clone(mirror.store());
    let digest = blocking(move || {
        let mut file = fs_err::File::open(store.path(&artifact))?;
        let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok::<_, io::Error>(hasher.finalize()),
                read => hasher.update(&buffer[..read]),
            }
        }
    });
    let mut hex = String::new();
    for byte in digest.await?? {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// Where clients reach this server, the prefix included: as configured, else as this client did.
pub(super) fn base_url(app: &App, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let plain = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte));
    let scheme = if app.tls().is_some() { "https" } else { "http" };
    let config = app.config();
    let site = match (&config.server.url, host.filter(plain)) {
        (Some(url), _) => url.clone(),
        (None, Some(host)) => format!("{scheme}://{host}"),
        (None, None) => format!("{scheme}://{}", config.listen),
    };
    match &config.server.prefix {
        // Somebody may have written it there already.
        Some(prefix) if !site.ends_with(prefix.as_str()) => site + prefix,
        _ => site,
    }
}

fn text(name: &str, tree: TreeHash, sha256: &str, url: &str) -> String {
    format!(
        "[{name}]\ngit-tree-sha1 = \"{tree}\"\n\n    [[{name}.download]]\n    sha256 = \"{sha256}\"\n    url = \"{url}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "ff7de6d04928785426b131bad7b2b1d785f2a8d7";

    #[test]
    fn only_plain_names_below_a_real_artifact() {
        assert_eq!(parse(&format!("/artifact/{TREE}/HDF5")).unwrap().1, "HDF5");
        for path in [
            "/artifact/x/HDF5".into(),
            format!("/artifact/{TREE}/"),
            format!("/artifact/{TREE}/a%20b"),
            format!("/artifact/{TREE}/a]"),
        ] {
            assert_eq!(parse(&path), None, "{path}");
        }
    }

    #[test]
    fn what_is_made_can_be_read() {
        let text = text("HDF5", TREE.parse().unwrap(), &"0".repeat(64), "http://localhost:8000/artifact/x");
        let artifacts = crate::julia::ArtifactsToml::parse(&text).unwrap();
        assert_eq!((artifacts[0].name.as_str(), artifacts[0].downloads.len()), ("HDF5", 1));
    }
}
