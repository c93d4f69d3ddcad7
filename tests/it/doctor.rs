//! The doctor: each thing that can be wrong with a server, a network or a depot is named, and the
//! remedy is there.

use crate::binary::{command, said, stdout};
use crate::closed_network::in_a_black_hole;
use crate::support::{Airlock, LONG, Scene, mirror};
use airlock::doctor::{Environment, Options, Outside, Report, Status, examine};
use airlock::mirror::Patience;
use airlock::protocol::{GENERAL, Listing};
use airlock::sample::{Body, Fault, SampleUpstream, Site};
use fs_err as fs;
use std::path::Path;

/// Examines a server from a host with this depot, where `JULIA_PKG_SERVER` is right.
async fn examined(url: &str, depot: &Path) -> Report {
    let environment = Environment { pkg_server: Some(url.to_owned()), ..Environment::default() };
    let options = Options { depots: vec![depot.to_owned()], environment, ..Options::default() };
    tokio::time::timeout(LONG, examine(options)).await.unwrap()
}

/// The first check of this name.
fn check<'r>(report: &'r Report, name: &str) -> &'r airlock::doctor::Check {
    report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no {name}: {report:#?}"))
}

/// A sample upstream, and an empty depot.
async fn scene() -> (SampleUpstream, tempfile::TempDir) {
    (SampleUpstream::start(Site::sample().unwrap()).await.unwrap(), tempfile::tempdir().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_server_is_all_right() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    airlock.mirror.refresh_registries(Patience::prewarm(1)).await;
    let report = examined(&airlock.url(""), &scene.folder.path().join("depot")).await;
    assert!(report.ok && report.export.is_empty(), "{report:#?}");
    for name in ["JULIA_PKG_SERVER", "connection", "listing", "General", "tarball", "registry", "server"] {
        assert_eq!(check(&report, name).status, Status::Ok, "{name}: {report:#?}");
    }
    let about = &check(&report, "server").detail;
    assert!(about.contains(env!("CARGO_PKG_VERSION")) && about.contains("online"), "{about}");
    assert!(!scene.folder.path().join("depot").exists(), "it only looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_answer_is_said_in_its_own_words() {
    let line = format!("/registry/{GENERAL}/x\n");
    for (fault, word) in [
        (Fault::Replace(b"<html>\x1b[2Jsteered</html>".to_vec()), "HTML page"),
        (Fault::Replace(line.into_bytes()), "line 1"),
        (Fault::Replace(Vec::new()), "no registry"),
        (Fault::Status(500, None), "answered 500"),
        (Fault::Status(404, None), "answered 404"),
        (Fault::Status(401, None), "token"),
        (Fault::Status(407, None), "proxy wants"),
        (Fault::Redirect("/registries.none".into()), "answered 404"),
        (Fault::Redirect("http://127.0.0.1:1/\u{1b}[31m".into()), "broke"),
        (Body::short(10), "broke"),
        (Fault::Drop, "broke"),
        (Fault::Silence, "did not answer"),
    ] {
        let (upstream, folder) = scene().await;
        let said = format!("{fault:?}");
        // A client may ask again when a connection is closed before its answer.
        (0..3).for_each(|_| upstream.fail("/registries", fault.clone()));
        let report = examined(&upstream.url(), folder.path()).await;
        let listing = check(&report, "listing");
        assert!(!report.ok && listing.status == Status::Problem, "{said}: {report:#?}");
        assert!(listing.detail.contains(word), "{said}: {}", listing.detail);
        let all = format!("{} {:?}", listing.detail, listing.remedy);
        assert!(!all.contains('\u{1b}') && !all.contains("steered"), "{said}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_without_an_end_and_ports_that_speak_no_tls_are_named() {
    let (upstream, folder) = scene().await;
    (0..20).for_each(|_| upstream.fail("/registries", Fault::Redirect("/registries".into())));
    let report = examined(&upstream.url(), folder.path()).await;
    assert!(check(&report, "listing").detail.contains("without an end"), "{report:#?}");
    // Without a scheme Julia takes https.
    let report = examined(&upstream.address().to_string(), folder.path()).await;
    let listing = check(&report, "listing");
    assert!(listing.detail.contains("does not speak TLS"), "{report:#?}");
    assert_eq!(listing.remedy, [format!("export JULIA_PKG_SERVER={}", upstream.url())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_no_dropped_one() {
    let (upstream, folder) = scene().await;
    let url = upstream.url();
    drop(upstream);
    let report = examined(&url, folder.path()).await;
    assert!(check(&report, "connection").detail.contains("refuses"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_without_general_or_with_a_bad_tarball_is_a_problem() {
    let (upstream, folder) = scene().await;
    let listing = Listing::parse(str::from_utf8(&upstream.body("/registries").unwrap()).unwrap()).unwrap();
    let path = format!("/registry/{GENERAL}/{}", listing.tree(GENERAL).unwrap());
    for (fault, word) in [
        (Fault::Status(404, None), "answered 404"),
        (Fault::Replace(b"<html>".to_vec()), "no registry tarball"),
        (Body::short(100), "broke off"),
        (Body::stall(100), "of it came"),
    ] {
        (0..2).for_each(|_| upstream.fail(&path, fault.clone()));
        let report = examined(&upstream.url(), folder.path()).await;
        let tarball = check(&report, "tarball");
        assert!(tarball.status != Status::Ok && tarball.detail.contains(word), "{fault:?}: {report:#?}");
        upstream.heal();
    }
    let wrong = format!("/registry/{GENERAL}/00000000000000000000000000000000000000aa");
    upstream.put(&wrong, upstream.body(&path).unwrap());
    upstream.put("/registries", wrong);
    let report = examined(&upstream.url(), folder.path()).await;
    assert!(check(&report, "tarball").detail.contains("has the tree hash"), "{report:#?}");
    upstream.put("/registries", path.replace("23338594", "23338595"));
    let report = examined(&upstream.url(), folder.path()).await;
    assert_eq!(check(&report, "General").status, Status::Problem);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_sent_as_julia_would_and_never_shown() {
    let (upstream, folder) = scene().await;
    let servers = folder.path().join(format!("servers/127.0.0.1_{}", upstream.address().port()));
    fs::create_dir_all(&servers).unwrap();
    fs::write(servers.join("auth.toml"), "access_token = 's3cret-word'\n").unwrap();
    upstream.fail("/registries", Fault::Status(403, None));
    let report = examined(&upstream.url(), folder.path()).await;
    assert_eq!(upstream.requests()[0].headers["authorization"], "Bearer s3cret-word");
    let listing = check(&report, "listing");
    assert!(listing.detail.contains("auth.toml") && listing.detail.contains("not accepted"), "{}", listing.detail);
    assert!(!format!("{report:?}").contains("s3cret-word"), "{report:#?}");
    for broken in ["access_token = 's3cret-word", "access_token = 7", "", "\u{1b}[31m = 1"] {
        fs::write(servers.join("auth.toml"), broken).unwrap();
        let report = examined(&upstream.url(), folder.path()).await;
        assert_eq!(check(&report, "token").status, Status::Problem, "{broken}");
        assert!(!format!("{report:?}").contains("s3cret"), "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_in_the_depot_are_compared_and_clones_have_their_remedy() {
    let (upstream, folder) = scene().await;
    let listing = Listing::parse(str::from_utf8(&upstream.body("/registries").unwrap()).unwrap()).unwrap();
    let tree = listing.tree(GENERAL).unwrap().to_string();
    let other = "00000000000000000000000000000000000000aa";
    let general = GENERAL.to_string();
    let absent = general.replace("23338594", "23338595");
    let packed = |uuid: &str, tree: &str| format!("uuid = '{uuid}'\ngit-tree-sha1 = '{tree}'\npath = 'x.tar.gz'\n");
    let registry = |uuid: &str| format!("name = 'General'\nuuid = '{uuid}'\n[packages]\n");
    for (files, status, word) in [
        (
            vec![("General.toml", packed(&general, &tree)), ("x.tar.gz", String::new())],
            Status::Ok,
            "is what the server lists",
        ),
        (vec![("General.toml", packed(&general, other)), ("x.tar.gz", String::new())], Status::Warning, "next update"),
        (vec![("Own.toml", packed(&absent, other)), ("x.tar.gz", String::new())], Status::Warning, "not listed"),
        (vec![("General.toml", packed(&general, &tree))], Status::Problem, "not beside"),
        (vec![("General.toml", "uuid = \u{1b}[31m".into())], Status::Problem, "cannot be read"),
        (
            vec![
                ("General/Registry.toml", registry(&general)),
                ("General/.tree_info.toml", format!("git-tree-sha1 = '{tree}'")),
            ],
            Status::Ok,
            "unpacked",
        ),
        (
            vec![("General/Registry.toml", registry(&general)), ("General/.git/HEAD", String::new())],
            Status::Problem,
            "cloned by git",
        ),
        (vec![("\u{1b}]0;x\u{7}/.git/HEAD", String::new())], Status::Problem, "cloned by git"),
    ] {
        let depot = tempfile::tempdir_in(folder.path()).unwrap();
        for (name, text) in &files {
            let file = depot.path().join("registries").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let report = examined(&upstream.url(), depot.path()).await;
        let registry = check(&report, "registry");
        assert!(registry.status == status && registry.detail.contains(word), "{files:?}: {registry:#?}");
        assert!(!format!("{} {}", registry.detail, registry.remedy.concat()).contains('\u{1b}'), "{registry:#?}");
        if files[0].0 == "General/Registry.toml" && status == Status::Problem {
            assert!(registry.remedy[0].contains(r#"Pkg.Registry.rm("General"); Pkg.Registry.add("General")"#));
            assert!(registry.remedy.iter().any(|line| line.starts_with("rm -rf -- /")), "{registry:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_outside_is_reached_or_refused() {
    let (upstream, folder) = scene().await;
    let open = ("127.0.0.1".to_owned(), upstream.address().port());
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let environment = Environment { pkg_server: Some(upstream.url()), ..Environment::default() };
    let try_ = async |host: (String, u16), environment: &Environment| {
        let outside = Some(Outside { hosts: vec![host], patience: LONG });
        let depots = vec![folder.path().to_owned()];
        let report = examine(Options { depots, environment: environment.clone(), outside, ..Options::default() }).await;
        check(&report, "outside").detail.clone()
    };
    assert!(try_(open.clone(), &environment).await.contains("can be reached"));
    assert!(try_(("127.0.0.1".into(), closed.port()), &environment).await.contains("known at once"));
    // The remedy for a firewall that drops: a proxy that refuses stands for all that is outside.
    let environment = Environment { https_proxy: Some(format!("http://{closed}")), ..environment };
    assert!(try_(open, &environment).await.contains("known at once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_it_in_a_table_and_in_one_document() {
    let (upstream, folder) = scene().await;
    let run = async |arguments: &[&str]| {
        let mut doctor = command(folder.path());
        doctor.env("HOME", folder.path()).args(["doctor", "--no-outside"]).args(arguments);
        tokio::time::timeout(LONG, doctor.output()).await.unwrap().unwrap()
    };
    let url = upstream.url();
    let table = run(&["--server", &url]).await;
    assert_eq!(table.status.code(), Some(1), "Julia does not ask that server yet: {:?}", said(&table));
    let line = format!("export JULIA_PKG_SERVER={url}");
    assert!(stdout(&table).contains(&line), "{}", stdout(&table));
    let json = run(&["--server", &url, "--json"]).await;
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&report["server"], &report["export"][0], &report["ok"]), (&url.into(), &line.into(), &false.into()));
    for check in report["checks"].as_array().unwrap() {
        assert!(["name", "status", "detail", "remedy"].iter().all(|key| check.get(key).is_some()), "{check}");
    }
    assert_eq!(run(&["--server", "ftp://x"]).await.status.code(), Some(2));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_black_hole_the_drop_is_named_and_the_command_ends() {
    let scene = Scene::new().await;
    mirror(&scene.online()).refresh_registries(Patience::prewarm(1)).await;
    let script = r#"
        serve --offline
        JULIA_PKG_SERVER=$server "$0" doctor || exit 21
        JULIA_PKG_SERVER=http://192.0.2.9 "$0" doctor --no-outside && exit 22
        JULIA_PKG_SERVER=http://pkg.example.org "$0" doctor --no-outside && exit 23
        true
    "#;
    let Some(output) = in_a_black_hole(&scene, "the doctor in a black hole", &[("HOME", "/nowhere")], script).await
    else {
        return;
    };
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text} {:?}", said(&output));
    for words in [
        "packets to api.github.com and github.com are dropped",
        "export https_proxy=http://127.0.0.1:9",
        "a firewall drops the packets",
        "no name server answered",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_token_is_told_from_one_that_does_not_like_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::support::config(&folder.path().join("cache"), &[], "access.token = 'required'\n");
    let airlock = Airlock::quiet(&config).await;
    let tokens = airlock::tokens::TokensFile::new(config.tokens_file());
    let small = tokens.add("small".parse().unwrap(), vec!["metrics".parse().unwrap()], None).unwrap().1;
    let depot = folder.path().join("depot");
    let servers = depot.join(format!("servers/127.0.0.1_{}", airlock.address.port()));
    fs::create_dir_all(&servers).unwrap();
    let auth = servers.join("auth.toml");
    for (token, status, words) in [
        (None, "401", "the file is not there"),
        (Some("airlock_wrong"), "401", "it is wrong, has expired or was revoked"),
        (Some(small.expose()), "403", "its scope is too small"),
    ] {
        if let Some(token) = token {
            fs::write(&auth, format!("access_token = '{token}'\n")).unwrap();
        }
        let report = examined(&airlock.url(""), &depot).await;
        let listing = check(&report, "listing");
        assert!(listing.status == Status::Problem && listing.detail.contains(status), "{listing:?}");
        assert!(listing.detail.contains("it wants a token") && listing.detail.contains(words), "{listing:?}");
        assert!(listing.remedy.iter().any(|line| line.contains("auth.toml")), "{listing:?}");
    }
    // Pkg takes only two names for this machine.
    let elsewhere = depot.join(format!("servers/[__1]_{}", airlock.address.port()));
    fs::create_dir_all(&elsewhere).unwrap();
    fs::copy(&auth, elsewhere.join("auth.toml")).unwrap();
    let report = examined(&format!("http://[::1]:{}", airlock.address.port()), &depot).await;
    let token = check(&report, "token");
    assert!(token.status == Status::Warning && token.detail.contains("Julia does not send the one in"), "{token:?}");
    assert!(token.detail.contains("plain http on another host"), "{token:?}");
    assert!(token.remedy.iter().any(|line| line.contains("https://[::1]")), "{token:?}");
    assert!(!format!("{report:?}").contains(small.expose()), "{report:#?}");
}
