//! What the tests share: a mirror with its server and a fake upstream, all in this process and on
//! ports that the system picks; and the binary as a child process.

use airlock::config::{Config, Settings};
use airlock::mirror::Mirror;
use airlock::sample::{SampleUpstream, Site};
use airlock::server::{self, App};
use airlock::source::{self, Source};
use airlock::store::Store;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The answers of these tests are awaited in real time; this much means "never".
pub(crate) const LONG: std::time::Duration = std::time::Duration::from_mins(1);

/// Notes that something was not tested, for `scripts/test.sh` to say at the end.
pub(crate) fn skip(line: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {line}");
    let Some(path) = std::env::var_os("AIRLOCK_SKIPS") else { return };
    let mut file = fs_err::OpenOptions::new().append(true).create(true).open(path.as_os_str()).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A configuration as if from a file.
pub(crate) fn config(cache: &Path, upstreams: &[String], file: &str) -> Config {
    let settings: Settings = toml::from_str(file).unwrap();
    let flags = Settings {
        cache: Some(cache.to_owned()),
        upstream: (!upstreams.is_empty() || !file.contains("[[upstream]]"))
            .then(|| upstreams.iter().cloned().map(Into::into).collect()),
        offline: Some(upstreams.is_empty() && !file.contains("[[upstream]]") && !file.contains("[[registry]]")),
        ..Settings::default()
    };
    Config::new(flags, settings).unwrap()
}

/// A mirror without its tasks: nothing happens unless a test asks.
pub(crate) fn mirror(config: &Config) -> Arc<Mirror> {
    let (store, sources) = parts(config);
    Arc::new(Mirror::new(store, sources, config))
}

pub(crate) fn parts(config: &Config) -> (Arc<Store>, Vec<Arc<dyn Source>>) {
    (Arc::new(Store::open(&config.cache).unwrap()), source::all(config).unwrap())
}

/// A running server on a cache directory.
pub(crate) struct Airlock {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Airlock {
    /// With its tasks, as `airlock serve` runs it.
    pub(crate) async fn start(config: &Config) -> Self {
        let (store, sources) = parts(config);
        Self::serve(Mirror::start(store, sources, config), config).await
    }

    /// Without its tasks.
    pub(crate) async fn quiet(config: &Config) -> Self {
        Self::serve(mirror(config), config).await
    }

    async fn serve(mirror: Arc<Mirror>, config: &Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let app = App::new(Arc::clone(&mirror), config.clone());
        let served = tokio::spawn(server::serve(listener, app, stop.clone().cancelled_owned(), std::future::pending()));
        Self { mirror, address, stop, served }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks once; every request has its own connection.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.request(reqwest::Method::GET, path, &[]).await
    }

    pub(crate) async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> reqwest::Response {
        let mut request = client().request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        tokio::time::timeout(LONG, request.send()).await.unwrap().unwrap()
    }

    /// Stops the server and its mirror, as a signal does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap();
        self.mirror.close().await;
    }
}

pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap()
}

/// The sample upstream, a fresh cache, and a server before it.
pub(crate) struct Scene {
    pub(crate) upstream: SampleUpstream,
    pub(crate) folder: TempDir,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(Site::sample().unwrap()).await
    }

    pub(crate) async fn with(site: Site) -> Self {
        Self { upstream: SampleUpstream::start(site).await.unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn cache(&self) -> std::path::PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn online(&self) -> Config {
        self.configured("")
    }

    pub(crate) fn configured(&self, file: &str) -> Config {
        config(&self.cache(), &[self.upstream.url()], file)
    }

    pub(crate) fn offline(&self) -> Config {
        config(&self.cache(), &[], "")
    }
}

/// Runs curl; what came of the body is in `stdout`.
pub(crate) async fn curl(arguments: &[&str]) -> std::process::Output {
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60"]).args(arguments).kill_on_drop(true);
    command.output().await.unwrap()
}
