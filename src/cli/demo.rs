//! `airlock demo`: the whole way in one process, without any network. A sample upstream, a prewarm
//! from it, the upstream switched off, and a server that has only what was carried.

use super::serve::{listen, stop_signal};
use super::{Outcome, print, say};
use crate::config::{Config, Show, Upstream, View};
use crate::mirror::Mirror;
use crate::prewarm::{self, Report, Request, Status};
use crate::protocol::{Resource, Uuid};
use crate::sample::{SampleUpstream, Site};
use crate::server::{self, App};
use crate::store::Store;
use crate::tree::hash_tar_gz;
use anyhow::{Context as _, ensure};
use include_dir::{Dir, include_dir};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

static MANIFESTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/manifests/demo");

/// What a real client is asked to do, if there is one.
const JULIA: &str = r#"
    using Pkg
    Pkg.add(PackageSpec(name = "Greeting", version = "1.1.0"))
    using Greeting
    println(Greeting.greet())
"#;

/// Runs the demo; with `exit` it ends instead of serving on, with `upstream_only` there is nothing
/// but its upstream.
pub(super) async fn run(config: Config, exit: bool, upstream_only: bool) -> anyhow::Result<Outcome> {
    if upstream_only {
        return serve_upstream(&config).await;
    }
    let listener = listen(&config).await?;
    let address = listener.local_addr()?;
    let stop = stop_signal()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the demo")?;
    let cache = folder.path().join("cache");
    let config = Config { cache: cache.clone(), json: false, ..config };

    step("1. Outside: a sample upstream, and a prewarm of manifests/demo from it");
    let report = fill(&config, folder.path()).await?;

    step("2. The upstream is off. Inside: the same cache, served offline");
    let view = View { show: Show::Available, ..config.view };
    // It is asked at http://, by name and address, whatever the configuration of this machine says.
    let config = Config { offline: true, upstreams: Vec::new(), view, tls: None, ..config };
    let mirror = Mirror::start(Arc::new(Store::open(&cache)?), Vec::new(), &config);
    let app = App::new(Arc::clone(&mirror), config.clone());
    let closing = CancellationToken::new();
    let serving = tokio::spawn(server::serve(listener, app, closing.clone().cancelled_owned(), std::future::pending()));
    let result = show(&mirror, &report, address, folder.path()).await;
    if result.is_ok() && !exit {
        say(&format!(
            "\nIt goes on serving until Ctrl-C. For your Julia:\n\n    export JULIA_PKG_SERVER=http://{address}\n"
        ));
        stop.await;
    }
    closing.cancel();
    serving.await?;
    mirror.close().await;
    result.map(|()| Outcome::Complete)
}

async fn serve_upstream(config: &Config) -> anyhow::Result<Outcome> {
    let stop = stop_signal()?;
    let upstream = SampleUpstream::start_at(Site::sample()?, config.listen).await;
    let upstream = upstream.with_context(|| format!("cannot listen at {}", config.listen))?;
    say(&format!("sample upstream at {}; Ctrl-C ends it", upstream.url()));
    stop.await;
    Ok(Outcome::Complete)
}

fn step(title: &str) {
    say(&format!("\n== {title}"));
}

/// Prewarms from a sample upstream that is gone when this returns.
async fn fill(config: &Config, folder: &Path) -> anyhow::Result<Report> {
    let upstream = SampleUpstream::start(Site::sample()?).await?;
    let manifests = folder.join("manifests");
    fs_err::create_dir_all(&manifests)?;
    MANIFESTS.extract(&manifests)?;
    let upstreams = vec![Upstream::new(&upstream.url(), &config.mirror)?];
    let config = Config { upstreams, registries: Vec::new(), offline: false, ..config.clone() };
    let sources = crate::source::all(&config)?;
    let mirror = Arc::new(Mirror::new(Arc::new(Store::open(&config.cache)?), sources, &config));
    let report = prewarm::run(Arc::clone(&mirror), Request::new(vec![manifests], &config)?, &()).await;
    mirror.close().await;
    print(&super::prewarm::text(&report, &mirror))?;
    ensure!(report.is_complete(), "the prewarm is not complete");
    Ok(report)
}

/// Everything that was carried is served; what was not is refused at once and written down.
async fn show(mirror: &Arc<Mirror>, report: &Report, address: SocketAddr, folder: &Path) -> anyhow::Result<()> {
    mirror.load_names().await;
    let client = reqwest::Client::new();
    let server = format!("http://{address}");
    let closure = closure(report);
    let mut bytes = 0;
    for resource in &closure {
        let body = client.get(format!("{server}{resource}")).send().await?.error_for_status()?.bytes().await?;
        let contents = hash_tar_gz(&body[..], mirror.limits(), |_| false)?;
        let tree = resource.tree();
        ensure!(contents.strict == tree || contents.lenient == tree, "{resource} was served wrong");
        bytes += body.len();
    }
    say(&format!(
        "served the whole closure, {} resources, {}, each with the tree hash in its name",
        closure.len(),
        super::table::bytes(bytes as u64)
    ));

    step("3. Something that did not cross");
    let refused = refusal(mirror, &client, &server).await?;
    say(&refused);
    let misses = mirror.all_misses().await?;
    let noted = misses.first().context("the miss was not written down")?;
    ensure!(noted.name.as_deref() == Some("Greeting"), "the miss was written down without its name");
    say(&format!(
        "on the list of misses: {} {}",
        noted.name.as_deref().unwrap_or_default(),
        noted.version.as_deref().unwrap_or_default()
    ));

    let julia = real_client(&server, folder).await?;
    step("Summary");
    print(&format!(
        "fetched {} resources, served {}, refused 1 (a miss, on the list for outside); {julia}\n",
        report.totals.fetched,
        closure.len()
    ))
}

/// All resources that the report says are here.
fn closure(report: &Report) -> Vec<Resource> {
    let here = |status: Status| matches!(status, Status::Fetched | Status::Cached);
    let registries = report.registries.iter().filter(|it| here(it.status));
    let registries = registries.filter_map(|it| Some(Resource::Registry { uuid: it.uuid, tree: it.tree? }));
    let packages = report.packages.iter().filter(|it| here(it.status));
    let packages = packages.map(|it| Resource::Package { uuid: it.uuid, tree: it.tree });
    let artifacts = report.artifacts.iter().filter(|it| here(it.status));
    let artifacts = artifacts.map(|it| Resource::Artifact { tree: it.tree });
    registries.chain(packages).chain(artifacts).collect()
}

/// Asks for the newest version of a package of which an older one crossed.
async fn refusal(mirror: &Mirror, client: &reqwest::Client, server: &str) -> anyhow::Result<String> {
    let newest = mirror.registries().iter().find_map(|index| {
        let (uuid, _): (Uuid, _) = index.packages().find(|(_, name)| *name == "Greeting")?;
        index.versions(uuid).next_back().map(|version| Resource::Package { uuid, tree: version.tree })
    });
    let newest = newest.context("the sample registry has no Greeting")?;
    let asked = Instant::now();
    let response = client.get(format!("{server}{newest}")).send().await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status == reqwest::StatusCode::NOT_FOUND, "{newest} should not be here, but got {status}");
    Ok(format!("{status} after {:.1} ms: {}", asked.elapsed().as_secs_f64() * 1000.0, text.trim_end()))
}

/// Lets Julia's own Pkg install a package, if there is a Julia. Returns what to say of it.
async fn real_client(server: &str, folder: &Path) -> anyhow::Result<String> {
    let Some(julia) = julia_on_path() else {
        return Ok("no julia on the PATH (scripts/get-julia.sh can get one), so no real client was tried".to_owned());
    };
    step(&format!("4. A real client: {}", julia.display()));
    let output = tokio::process::Command::new(&julia)
        .args(["--startup-file=no", "-e", JULIA])
        .env("JULIA_DEPOT_PATH", folder.join("depot"))
        .env("JULIA_PKG_SERVER", server)
        .env_remove("JULIA_LOAD_PATH")
        .env_remove("JULIA_PROJECT")
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "Pkg.add failed:\n{errors}");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    say(&said);
    Ok(format!("Pkg.add(\"Greeting\") worked: {:?}", said.lines().last().unwrap_or_default()))
}

fn julia_on_path() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("julia")).find(|file| file.is_file())
}
