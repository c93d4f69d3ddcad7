//! The command line: bad input gives one clear line and the right exit code, and nothing is lost.

use crate::binary::{Serving, command, run, said, stdout};
use crate::support::Scene;
use airlock::config::Settings;
use airlock::protocol::Kind;
use airlock::sample::Site;
use fs_err as fs;
use std::path::Path;

/// Runs it in a fresh folder with these files, and expects this exit code and these words on a
/// single line.
async fn check(files: &[(&str, &str)], arguments: &[&str], code: i32, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = run(folder.path(), arguments).await;
    let (found, text) = said(&output);
    assert_eq!(found, Some(code), "{arguments:?}: {text}");
    let line = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
    assert!(line.is_some(), "{arguments:?} lacks {words:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_2_and_one_clear_line() {
    check(&[], &["serve", "--listen", "nowhere"], 2, &["nowhere", "--listen"]).await;
    check(&[], &["serve", "--upstream", "ftp://x"], 2, &["ftp://x", "http"]).await;
    check(&[], &["frobnicate"], 2, &["frobnicate"]).await;
    check(&[], &["prewarm"], 2, &["PATH"]).await;
    check(&[], &["serve", "--config", "none.toml"], 2, &["none.toml"]).await;
    check(&[("airlock.toml", "cache = 'c'\nchace = 'd'\n")], &["verify"], 2, &["airlock.toml:2", "chace"]).await;
    check(&[("airlock.toml", "jobs = 0\n")], &["verify"], 2, &["jobs"]).await;
    check(&[("cache", "a file")], &["verify"], 2, &["cache"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_cannot_be_used_is_one_clear_line() {
    let dry = |path: &'static str| ["prewarm", "--dry-run", path];
    check(&[], &dry("none.toml"), 1, &["none.toml", "no such file"]).await;
    check(&[("empty", "")], &dry("."), 1, &["no manifest"]).await;
    let broken = "manifest_format = \"2.0\"\n[deps\n";
    check(&[("Manifest.toml", broken)], &dry("Manifest.toml"), 1, &["Manifest.toml", "line 2"]).await;
    check(&[("Project.toml", "[deps]\n")], &dry("Project.toml"), 1, &["Project.toml"]).await;
    check(&[("picture", "\u{89}PNG")], &dry("picture"), 1, &["picture"]).await;
    let future = "manifest_format = \"9.0\"\n";
    check(&[("Manifest.toml", future)], &dry("Manifest.toml"), 0, &["warning", "Manifest.toml", "9.0"]).await;
    let platform = ["prewarm", "--platform", "z80-cpm", "Manifest.toml"];
    check(&[("Manifest.toml", future)], &platform, 2, &["z80-cpm", "x86_64-linux-gnu"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_cannot_be_reached_is_said_and_costs_nothing_that_is_here() {
    let scene = Scene::new().await;
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");
    let upstream = scene.upstream.url();
    assert!(run(scene.folder.path(), &["prewarm", "--upstream", &upstream, demo]).await.status.success());
    let dead = ["prewarm", "--json", "--attempts", "1", "--upstream", "http://127.0.0.1:1", demo];
    let output = run(scene.folder.path(), &dead).await;
    assert_eq!(output.status.code(), Some(1), "the registries could not be asked for");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = report["registries"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot connect"), "{reason}");
    assert!(report["packages"].as_array().unwrap().iter().all(|package| package["status"] == "cached"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_a_prewarm_share_a_cache() {
    let scene = Scene::new().await;
    let (folder, upstream) = (scene.folder.path(), scene.upstream.url());
    let mut serve = command(folder);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let serving = Serving::start(serve).await;
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");
    let all = ["prewarm", "--platform", "all", "--upstream", &upstream, demo];
    let site = Site::sample().unwrap();
    let client = crate::support::client();
    let clients = site.resources().map(|resource| client.get(format!("{}{resource}", serving.url)).send());
    let (prewarmed, served) = tokio::join!(run(folder, &all), futures_util::future::join_all(clients));
    assert!(prewarmed.status.success(), "{:?}", said(&prewarmed));
    assert!(served.into_iter().all(|response| response.unwrap().status() == 200));
    for resource in site.resources() {
        assert_eq!(scene.upstream.gets(&resource.to_string()), 1, "{resource}: one process's fetch is the other's hit");
    }
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    assert!(run(folder, &["verify"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_cache_is_no_empty_cache() {
    for arguments in [&["misses"][..], &["misses", "export", "list"], &["verify"]] {
        let folder = tempfile::tempdir().unwrap();
        let (code, text) = said(&run(folder.path(), arguments).await);
        assert!(code == Some(2) && text.contains("no cache directory cache"), "{arguments:?}: {text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?} left something behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_input_nobody_is_asked() {
    let scene = Scene::new().await;
    let output = run(scene.folder.path(), &["prewarm", "--upstream", &scene.upstream.url(), "nothere"]).await;
    assert!(output.status.code() == Some(1) && said(&output).1.contains("nothere"), "{:?}", said(&output));
    assert!(scene.upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_what_the_first_lets_finish() {
    let scene = Scene::new().await;
    let resource = Site::sample().unwrap().resources().next().unwrap();
    scene.upstream.fail(&resource.to_string(), airlock::sample::Body::stall(10));
    let mut serve = command(scene.folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &scene.upstream.url()]);
    let mut serving = Serving::start(serve).await;
    let url = format!("{}{resource}", serving.url);
    let waiting = tokio::spawn(crate::support::client().get(url).send());
    while scene.upstream.gets(&resource.to_string()) == 0 {
        tokio::task::yield_now().await;
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(serving.child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    serving.hears("stopping").await;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    serving.hears("some downloads were cut").await;
    assert!(serving.child.wait().await.unwrap().success());
    assert!(!waiting.await.unwrap().is_ok_and(|response| response.status() == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_another_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let format = folder.path().join("cache/.airlock/format");
    fs::create_dir_all(format.parent().unwrap()).unwrap();
    fs::write(&format, "99\n").unwrap();
    let (code, text) = said(&run(folder.path(), &["serve", "--offline"]).await);
    assert!(code == Some(2) && text.contains("99"), "{text}");
    assert_eq!(fs::read_to_string(format).unwrap(), "99\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_said_before_the_cache_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = said(&run(folder.path(), &["serve", "--offline", "--listen", &address]).await);
    assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
    assert!(!folder.path().join("cache").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_stands_for_flags_and_flags_win() {
    let folder = tempfile::tempdir().unwrap();
    for cache in ["from-env", "from-flag"] {
        fs::create_dir(folder.path().join(cache)).unwrap();
    }
    let mut with = command(folder.path());
    with.args(["verify"]).env("AIRLOCK_CACHE", "from-env").env("AIRLOCK_JSON", "true");
    let output = with.output().await.unwrap();
    assert!(output.status.success() && folder.path().join("from-env/.airlock").exists());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["checked"], 0);
    let mut both = command(folder.path());
    both.args(["verify", "--cache", "from-flag"]).env("AIRLOCK_CACHE", "from-nowhere");
    assert!(both.output().await.unwrap().status.success());
    assert!(folder.path().join("from-flag/.airlock").exists() && !folder.path().join("from-nowhere").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn switches_can_be_set_either_way_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("airlock.toml"), "json = true\n").unwrap();
    fs::create_dir(folder.path().join("cache")).unwrap();
    for (variable, arguments, json) in [
        (None, vec!["verify"], true),
        (None, vec!["verify", "--json=false"], false),
        (Some("0"), vec!["verify"], false),
        (Some("false"), vec!["verify"], false),
        (Some("1"), vec!["verify"], true),
        (Some("yes"), vec!["verify"], true),
        (Some("no"), vec!["verify", "--json"], true),
    ] {
        let mut verify = command(folder.path());
        verify.args(&arguments).envs(variable.map(|value| ("AIRLOCK_JSON", value)));
        let output = verify.output().await.unwrap();
        assert_eq!(stdout(&output).starts_with('{'), json, "{variable:?} {arguments:?}: {:?}", said(&output));
    }
}

#[test]
fn the_example_configuration_shows_every_key_with_its_default() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("airlock.example.toml")).unwrap();
    let explained = airlock::config::Config::new(toml::from_str(&text).unwrap(), Settings::default()).unwrap();
    // The keys without a default are true keys too.
    let simple = "\nupstream = [\"https://pkg.julialang.org\"]\n";
    assert!(text.contains(simple), "the tables at the end stand in its place");
    toml::from_str::<Settings>(&text.replace("#: ", "").replace(simple, "\n")).unwrap();
    let default = airlock::config::Config::new(Settings::default(), Settings::default()).unwrap();
    assert_eq!(format!("{explained:?}"), format!("{default:?}"));
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/settings.rs")).unwrap();
    let keys = source.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": Option<"));
    for (key, _) in keys {
        let key = key.replace('_', "-");
        let shown = |line: &str| line.starts_with(&format!("{key} =")) || line == format!("[[{key}]]");
        assert!(text.lines().any(|line| shown(line.trim_start_matches("#: "))), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_sets_damage_aside_and_says_so() {
    let scene = Scene::new().await;
    let mirror = crate::support::mirror(&scene.online());
    let site = Site::sample().unwrap();
    for resource in site.resources() {
        mirror.fetch(&resource, airlock::mirror::Patience::prewarm(1)).await.unwrap();
    }
    let cache = scene.cache();
    let arguments = ["verify", "--cache", cache.to_str().unwrap()];
    let clean = run(scene.folder.path(), &arguments).await;
    assert!(clean.status.success(), "{:?}", said(&clean));
    assert!(stdout(&clean).starts_with(&format!("{} files checked", site.resources().count())), "{}", stdout(&clean));

    let package = site.resources().find(|resource| resource.kind() == Kind::Package).unwrap();
    fs::write(cache.join(package.relative_path()), "damaged").unwrap();
    let found = run(scene.folder.path(), &[&arguments[..], &["--json", "--jobs", "2"]].concat()).await;
    assert_eq!(found.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(report["damaged"][0]["resource"], package.to_string());
    assert!(Path::new(report["damaged"][0]["quarantine"].as_str().unwrap()).exists());
    assert!(!cache.join(package.relative_path()).exists());
    assert!(run(scene.folder.path(), &arguments).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn misses_are_shown_exported_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = command(folder.path());
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let serving = Serving::start(serve).await;
    let path = "/artifact/00000000000000000000000000000000000000aa";
    assert_eq!(crate::support::client().get(format!("{}{path}", serving.url)).send().await.unwrap().status(), 404);
    // What was missed is written at the latest when the server stops.
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());

    let table = stdout(&run(folder.path(), &["misses"]).await);
    assert!(table.contains(path) && table.contains("offline"), "{table}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&run(folder.path(), &["misses", "--json"]).await)).unwrap();
    assert_eq!((&json["misses"][0]["resource"], &json["misses"][0]["count"]), (&path.into(), &1.into()));
    assert!(run(folder.path(), &["misses", "export", "list.txt"]).await.status.success());
    let list = airlock::julia::MissList::parse(&fs::read_to_string(folder.path().join("list.txt")).unwrap()).unwrap();
    assert_eq!(list.entries[0].resource.to_string(), path);
    assert!(run(folder.path(), &["misses", "clear"]).await.status.success());
    assert_eq!(stdout(&run(folder.path(), &["misses"]).await), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_finds_new_files_and_an_interrupt_stops() {
    let (scene, site) = (Scene::new().await, Site::sample().unwrap());
    let mut serve = command(scene.folder.path());
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving::start(serve).await;
    let resource = site.resources().next().unwrap();
    let file = scene.cache().join(resource.relative_path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, site.body(&resource.to_string()).unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(serving.child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let line = serving.hears("new files in the cache").await;
    assert!(line.contains("good=1") || line.contains("good: 1"), "{line}");
    assert!(serving.stop(rustix::process::Signal::INT).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_manual_pages() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(folder.path(), &["completions", shell]).await).contains("prewarm"), "{shell}");
    }
    assert!(run(folder.path(), &["man", "pages"]).await.status.success());
    assert!(folder.path().join("pages/airlock-prewarm.1").exists());
    let version = run(folder.path(), &["--version"]).await;
    assert_eq!(stdout(&version), format!("airlock {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_for_a_flag_says_yes_or_no_and_wins_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("airlock.toml"), "json = true\n").unwrap();
    fs::create_dir(folder.path().join("cache")).unwrap();
    for (value, json) in [("1", true), ("true", true), ("yes", true), ("0", false), ("false", false), ("off", false)] {
        let output = command(folder.path()).arg("verify").env("AIRLOCK_JSON", value).output().await.unwrap();
        assert!(output.status.success(), "{value}: {:?}", said(&output));
        assert_eq!(stdout(&output).starts_with('{'), json, "{value}");
    }
    // Whether a machine is meant to be offline is never guessed.
    for value in ["", "maybe"] {
        let output = command(folder.path()).arg("serve").env("AIRLOCK_OFFLINE", value).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{value:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_went_away_does_not_hide_damage() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache/artifact/00000000000000000000000000000000000000aa");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, "damaged").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command(folder.path()).arg("verify").stdout(writer).status().await.unwrap();
    assert_eq!(status.code(), Some(1));
}
