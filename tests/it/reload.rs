//! The configuration is read again while clients are served: what changed is in force, what is wrong
//! changes nothing, and no client notices either.

use crate::binary::{Serving, command};
use crate::flights::big_site;
use crate::support::{LONG, Scene, client, config, mirror};
use airlock::mirror::{Mirror, Patience};
use airlock::protocol::{Kind, Resource, TreeHash};
use airlock::sample::{Body, Fault, Gate, SampleUpstream, Site};
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A served cache, with a configuration file that can be written anew.
struct Served {
    scene: Scene,
    serving: Serving,
}

fn from(upstream: &SampleUpstream) -> String {
    format!("upstream = ['{}']\n", upstream.url())
}

pub(crate) fn hang_up(serving: &Serving) {
    let pid = Pid::from_raw(i32::try_from(serving.child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

impl Served {
    async fn start(scene: Scene, lines: &str, flags: &[&str]) -> Self {
        fs_err::write(scene.folder.path().join("airlock.toml"), from(&scene.upstream) + lines).unwrap();
        let mut serve = command(scene.folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0"]).args(flags);
        Self { serving: Serving::start(serve).await, scene }
    }

    /// Writes the whole file, and has it read. Returns what was said of it.
    async fn read(&mut self, file: &str) -> String {
        fs_err::write(self.scene.folder.path().join("airlock.toml"), file).unwrap();
        hang_up(&self.serving);
        self.serving.hears("the configuration ").await
    }

    /// The same below the upstream that it began with.
    async fn reload(&mut self, lines: &str) -> String {
        let file = from(&self.scene.upstream) + lines;
        let said = self.read(&file).await;
        assert!(said.contains("was read again"), "{said}");
        said
    }

    async fn get(&self, path: impl ToString) -> reqwest::Response {
        let request = client().get(format!("{}{}", self.serving.url, path.to_string()));
        tokio::time::timeout(LONG, request.send()).await.unwrap().unwrap()
    }

    async fn status(&self, path: impl ToString) -> u16 {
        self.get(path).await.status().as_u16()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await.text().await.unwrap()).unwrap()
    }
}

fn packages() -> Vec<Resource> {
    Site::sample().unwrap().resources().filter(|resource| resource.kind() == Kind::Package).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upstream_is_asked_and_the_old_one_no_more() {
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    let other = SampleUpstream::start(Site::sample().unwrap()).await.unwrap();
    let said = served.read(&from(&other)).await;
    assert!(
        said.contains(&format!("upstream: [\"{}\"] is now [\"{}\"]", served.scene.upstream.url(), other.url())),
        "{said}"
    );
    let package = packages()[0];
    assert_eq!(served.status(package).await, 200);
    let path = package.to_string();
    assert_eq!((served.scene.upstream.gets(&path), other.gets(&path)), (0, 1));
    assert_eq!(served.json("/meta").await["sources"][0]["name"], other.url());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_policy_holds_and_is_lifted_again() {
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    let package = packages()[0];
    assert_eq!(served.status(package).await, 200);
    let deny = format!("[policy]\ndeny = ['uuid:{}']\n", package.uuid().unwrap());
    let said = served.reload(&deny).await;
    assert!(said.ends_with("read again: policy.deny: changed"), "{said}");
    assert_eq!(served.status(package).await, 404);
    served.reload("").await;
    assert_eq!(served.status(package).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_view_is_there_when_it_is_said_to_be() {
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    // The last to be published; before that, what a client gets may change by itself.
    while served.get("/registries.conservative").await.status() != 200 {}
    let full = served.get("/registries").await.text().await.unwrap();
    for view in ["available", "full", "available"] {
        served.reload(&format!("[view]\nshow = '{view}'\n")).await;
        let listed = served.get("/registries").await.text().await.unwrap();
        assert_eq!(listed == full, view == "full", "{view}: {listed}");
        assert_eq!(served.json("/meta").await["registries"][0]["view"], view);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_denial_is_not_in_the_view_any_more() {
    let mut served = Served::start(Scene::new().await, "[view]\nshow = 'available'\n", &[]).await;
    let packages = packages();
    for package in &packages {
        assert_eq!(served.status(package).await, 200);
    }
    let versions = async |served: &Served| served.json("/meta").await["registries"][0]["versions"].as_u64().unwrap();
    served.reload("[view]\nshow = 'available'\n[mirror]\ncooldown = '1s'\n").await;
    let all = versions(&served).await;
    served.reload("[view]\nshow = 'available'\n[policy]\ndeny = ['*']\n").await;
    assert_eq!((all > 1, versions(&served).await), (true, 0), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_time_outs_hold_for_the_next_request() {
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    let said = served.reload("[mirror]\nfirst-byte-timeout = '50ms'\nsilence = '2s'\n").await;
    assert!(said.contains("mirror.first-byte-timeout: 8s is now 50ms"), "{said}");
    let path = packages()[0].to_string();
    (0..9).for_each(|_| served.scene.upstream.fail(&path, Fault::Silence));
    assert_eq!(served.status(&path).await, 504);
    served.serving.hears("no byte for 50ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_level_of_the_log_counts_from_then_on() {
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    served.reload("log-level = 'debug'\n").await;
    served.serving.hears("what began under an earlier configuration has ended").await;
    // From here on nothing is said of a reload, so that it is read off `/meta`.
    let loaded = async |served: &Served| served.json("/meta").await["configuration"]["loaded"].to_string();
    let before = loaded(&served).await;
    fs_err::write(
        served.scene.folder.path().join("airlock.toml"),
        from(&served.scene.upstream) + "log-level = 'error'\n",
    )
    .unwrap();
    hang_up(&served.serving);
    while loaded(&served).await == before {}
    served.get("/health?unheard").await;
    served.get("/robots.txt").await;
    fs_err::write(served.scene.folder.path().join("airlock.toml"), from(&served.scene.upstream)).unwrap();
    hang_up(&served.serving);
    let lines = served.serving.hears_up_to("was read again: log-level").await;
    assert!(lines.iter().all(|line| !line.contains("/robots.txt")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_wins_over_the_file_at_every_reading() {
    let scene = Scene::new().await;
    let url = scene.upstream.url();
    let mut served = Served::start(scene, "", &["--upstream", &url, "--log-level", "info"]).await;
    // Nobody listens there: a network that is for documents.
    let said = served.read("upstream = ['http://192.0.2.1:9']\nlog-level = 'off'\n").await;
    assert!(!said.contains("upstream"), "{said}");
    assert_eq!(served.status(packages()[0]).await, 200);
    served.serving.hears("request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_changes_nothing_and_is_said() {
    const WORD: &str = "s3cret";
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    let good = from(&served.scene.upstream);
    let unused = packages();
    let before = served.json("/meta").await["configuration"]["loaded"].clone();
    for (at, (file, why)) in [
        ("upstream = [", "airlock.toml:1: "),
        ("\nno-such-key = 1\n", "airlock.toml:2: unknown field `no-such-key`"),
        ("upstream = 'https://u:s3cret@host'\n", "airlock.toml:1: invalid type: text, expected a sequence"),
        ("upstream = ['ftp://u:s3cret@host']\n", "\"ftp://host\" is not an http:// or https:// address"),
        ("[mirror]\nsilence = '1h'\n", "mirror.silence must be at most 15s"),
        ("[policy]\ndeny = ['Foo.jl']\n", "package names are written without .jl"),
        ("[view]\nplatform = ['amiga']\n", "view.platform"),
        ("[[upstream]]\nurl = 'http://192.0.2.1:9'\ntoken-file = 'nothere'\n", "nothere"),
        ("[[upstream]]\nurl = 'https://192.0.2.1:9'\nca-file = 'airlock.toml'\n", "airlock.toml has no certificate"),
    ]
    .into_iter()
    .enumerate()
    {
        let said = served.read(file).await;
        assert!(said.contains("the configuration stays as it was") && said.contains(why), "{file}: {said}");
        let said = served.json("/meta").await["configuration"].clone();
        assert!(said["last_error"].as_str().unwrap().contains(why), "{said}");
        assert!(!said.to_string().contains(WORD), "{said}");
        assert_eq!(said["loaded"], before);
        assert!(!said["last_error_time"].is_null());
        assert_eq!(served.status(unused[at % unused.len()]).await, 200, "{file}");
    }
    served.read(&good).await;
    let said = served.json("/meta").await["configuration"].clone();
    assert!(said["last_error"].is_null() && said["loaded"] != before && said["file"] == "airlock.toml", "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_an_error_and_not_the_defaults() {
    for flags in [&[][..], &["--config", "airlock.toml"]] {
        let mut served = Served::start(Scene::new().await, "", flags).await;
        fs_err::remove_file(served.scene.folder.path().join("airlock.toml")).unwrap();
        hang_up(&served.serving);
        let said = served.serving.hears("the configuration ").await;
        assert!(
            said.contains("stays as it was: cannot read the configuration") && said.contains("airlock.toml"),
            "{said}"
        );
        assert_eq!(said.matches("No such file").count(), 1, "{said}");
        assert_eq!(served.status(packages()[0]).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_found_whatever_the_configuration_says() {
    let (scene, site) = (Scene::new().await, Site::sample().unwrap());
    let cache = scene.cache();
    let put = |resource: Resource| {
        let file = cache.join(resource.relative_path());
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(&file, site.body(&resource.to_string()).unwrap()).unwrap();
    };
    let (first, second) = (packages()[0], packages()[1]);
    put(first);
    // The search at the start finds the first; after it there is no other unless somebody asks.
    let lines = "offline = true\n[mirror]\nview-interval = '1h'\nrescan-interval = '1h'\n";
    let mut served = Served::start(scene, lines, &[]).await;
    served.serving.hears("new files in the cache").await;
    put(second);
    assert!(served.read("what?").await.contains("stays"));
    served.serving.hears("new files in the cache").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_restart_can_change_is_named_and_the_rest_is_in_force() {
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    let said = served
        .reload("cache = 'other'\nlog = 'json'\noffline = true\n[server]\nprefix = '/julia'\nheader-timeout = '9s'\n")
        .await;
    for line in [
        "cache: \"cache\" stays, \"other\" needs a restart",
        "log: Text stays, Json needs a restart",
        "server.prefix: unset stays, \"/julia\" needs a restart",
        "offline: false is now true",
        "server.header-timeout: 30s is now 9s",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    assert_eq!(served.status(packages()[0]).await, 404, "it is offline now");
    assert_eq!(served.status("/julia/health").await, 404);
    assert!(!served.scene.folder.path().join("other").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_is_used_and_shown_to_nobody() {
    let scene = Scene::new().await;
    let token = scene.folder.path().join("token");
    fs_err::write(&token, "word-one").unwrap();
    let file = format!("[[upstream]]\nurl = '{}'\ntoken-file = 'token'\n", scene.upstream.url());
    let mut served = Served::start(scene, "", &[]).await;
    let packages = packages();
    for (package, word) in packages.iter().zip(["word-one", "word-two"]) {
        fs_err::write(&token, word).unwrap();
        let said = served.read(&file).await;
        assert!(said.contains("was read again") && !said.contains("word-"), "{said}");
        assert_eq!(served.status(package).await, 200);
        let requests = served.scene.upstream.requests();
        let request = requests.iter().find(|request| request.path == package.to_string()).unwrap();
        assert_eq!(request.headers["authorization"], format!("Bearer {word}"));
    }
    assert!(!served.get("/meta").await.text().await.unwrap().contains("word-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_in_the_middle_goes_on_and_who_comes_later_joins_it() {
    let (site, artifact) = big_site(1 << 20);
    let path = artifact.to_string();
    let mut served = Served::start(Scene::with(site).await, "", &[]).await;
    let (whole, gate) = (served.scene.upstream.body(&path).unwrap(), Gate::new());
    served.scene.upstream.fail(&path, Body::gated(whole.len() / 2, &gate));
    let mut bodies = Vec::new();
    for cooldown in ["1s", "2s", "3s"] {
        let response = served.get(&path).await;
        assert_eq!(response.status(), 200);
        let mut body = response.bytes_stream();
        let first = body.next().await.unwrap().unwrap();
        bodies.push((first, body));
        served.reload(&format!("[mirror]\ncooldown = '{cooldown}'\n[server]\nshutdown-timeout = '1s'\n")).await;
    }
    gate.open();
    for (first, mut rest) in bodies {
        let mut body = first.to_vec();
        while let Some(bytes) = rest.next().await {
            body.extend_from_slice(&bytes.unwrap());
        }
        assert!(body == whole, "a body differs");
    }
    assert_eq!(served.scene.upstream.gets(&path), 1);
    assert!(served.serving.stop(Signal::TERM).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_of_an_earlier_configuration_does_not_hold_up_the_end() {
    let (site, artifact) = big_site(1 << 20);
    let path = artifact.to_string();
    let mut served = Served::start(Scene::with(site).await, "[server]\nshutdown-timeout = '10ms'\n", &[]).await;
    served.scene.upstream.fail(&path, Body::gated(1 << 19, &Gate::new()));
    let mut body = served.get(&path).await.bytes_stream();
    body.next().await.unwrap().unwrap();
    served.reload("[server]\nshutdown-timeout = '20ms'\n").await;
    assert!(served.serving.stop(Signal::TERM).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_during_twenty_reloads_are_all_answered_right() {
    let scene = Scene::new().await;
    let site = Site::sample().unwrap();
    let all: Vec<_> = site.resources().collect();
    let mut served = Served::start(scene, "", &[]).await;
    let (url, done) = (served.serving.url.clone(), Arc::new(AtomicBool::new(false)));
    let clients = (0..8).map(|worker| {
        let (url, done, all) = (url.clone(), Arc::clone(&done), all.clone());
        let site = Site::sample().unwrap();
        tokio::spawn(async move {
            let client = client();
            let mut count = 0;
            while count < 125 || !done.load(Ordering::Relaxed) {
                let path = all[(count + worker) % all.len()].to_string();
                let answer = client.get(format!("{url}{path}")).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{path}");
                assert_eq!(answer.bytes().await.unwrap(), *site.body(&path).unwrap(), "{path}");
                let listing = client.get(format!("{url}/registries")).send().await.unwrap();
                assert_eq!(listing.status(), 200);
                count += 1;
            }
            count
        })
    });
    let clients = futures_util::future::join_all(clients.collect::<Vec<_>>());
    let reloads = async {
        for at in 0..20 {
            served.reload(&format!("[mirror]\ncooldown = '{}s'\n", at + 1)).await;
        }
        done.store(true, Ordering::Relaxed);
        // Its log must not fill the pipe.
        loop {
            served.serving.hears("").await;
        }
    };
    let counts = tokio::select! { counts = clients => counts, () = reloads => unreachable!() };
    let count: usize = counts.into_iter().map(Result::unwrap).sum();
    assert!(count >= 1000, "{count}");
    for resource in &all {
        assert_eq!(served.scene.upstream.gets(&resource.to_string()), 1, "{resource}");
    }
    let stats = served.json("/meta/stats").await;
    assert_eq!(stats["total_hits"].as_u64().unwrap(), count as u64, "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hang_ups_in_a_row_the_last_file_counts() {
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    for at in 1..=5 {
        let write = |text: String| fs_err::write(served.scene.folder.path().join("airlock.toml"), text).unwrap();
        write("broken".to_owned());
        hang_up(&served.serving);
        write(from(&served.scene.upstream) + &format!("[mirror]\ncooldown = '{at}h'\n"));
        hang_up(&served.serving);
        served.serving.hears(&format!("is now {}s", at * 3600)).await;
        assert!(served.json("/meta").await["configuration"]["last_error"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_counted_or_missed_is_lost() {
    let mut served = Served::start(Scene::new().await, "", &[]).await;
    let (package, absent) = (packages()[0], Resource::Artifact { tree: TreeHash::EMPTY });
    assert_eq!(
        [served.status(package).await, served.status(package).await, served.status(absent).await],
        [200, 200, 404]
    );
    let stats = async |served: &Served| {
        let mut stats = served.json("/meta/stats").await;
        // The answer before this one was counted too; what is here is counted anew by whoever walks the cache.
        for key in ["payload_bytes_transmitted", "registries_cached", "packages_cached", "artifacts_cached"] {
            stats[key].take();
        }
        stats
    };
    let followed = async {
        while served.json("/meta").await["registries"].as_array().is_none_or(Vec::is_empty) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, followed).await.unwrap();
    let before = stats(&served).await;
    served.reload("[mirror]\ncooldown = '1ms'\n").await;
    assert_eq!(stats(&served).await, before);
    assert_eq!((before["cached_hits"].as_u64(), before["total_misses"].as_u64()), (Some(1), Some(1)));
    assert_eq!(served.status(absent).await, 404);
    let misses = served.json("/meta/misses").await;
    assert_eq!(
        (misses["misses"][0]["count"].as_u64(), misses["misses"].as_array().map(Vec::len)),
        (Some(2), Some(1)),
        "{misses}"
    );
    let source = served.json("/meta").await["sources"][0].clone();
    assert!(!source["last_success"].is_null(), "{source}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_source_goes_on_with_the_next_mirror() {
    let scene = Scene::new().await;
    // A network that is for documents: nobody answers, and the time-out is short.
    let lines = "[mirror]\nconnect-timeout = '20ms'\nsilence = '200ms'\n";
    let config = config(&scene.cache(), &["http://192.0.2.1:9".to_owned(), scene.upstream.url()], lines);
    let old = mirror(&config);
    old.refresh_registries(Patience::prewarm(1)).await;
    let health = |mirror: &Arc<Mirror>| mirror.sources().into_iter().map(|(_, health)| health).collect::<Vec<_>>();
    let (before, new) = (health(&old), old.succeed(airlock::source::all(&config).unwrap(), &config).await);
    let after = health(&new);
    assert_eq!([after[0].unreachable, after[1].unreachable], [before[0].unreachable, 0]);
    assert!(
        after[0].unreachable > 0 && after[0].last_error.is_some() && after[1].last_success == before[1].last_success
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mirrors_that_know_nothing_of_each_other_fetch_once() {
    let (site, artifact) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    let (config, gate, path) = (scene.online(), Gate::new(), artifact.to_string());
    let (store, sources) = crate::support::parts(&config);
    let mirrors = [sources, airlock::source::all(&config).unwrap()]
        .map(|sources| Arc::new(Mirror::new(Arc::clone(&store), sources, &config)));
    scene.upstream.fail(&path, Body::gated(1 << 19, &gate));
    let fetches =
        mirrors.map(|mirror| tokio::spawn(async move { mirror.fetch(&artifact, Patience::prewarm(1)).await }));
    while scene.upstream.gets(&path) == 0 {
        tokio::task::yield_now().await;
    }
    gate.open();
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    assert_eq!(scene.upstream.gets(&path), 1);
}
