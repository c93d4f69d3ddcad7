//! A private registry all the way: added online by Julia's own Pkg from git only, prewarmed, carried,
//! and installed on a network that drops every packet.

use crate::acme::{Acme, GREETER, GitDaemon, REGISTRY, TOOLS};
use crate::across::{PKG, RSYNC, outside};
use crate::binary::{said, stdout};
use crate::closed_network::in_a_black_hole;
use crate::julia_client::{julia, pkg, text};
use crate::support::{Airlock, LONG, Scene, skip};
use airlock::mirror::Patience;
use fs_err as fs;

const ADD: &str = r#"
    using Pkg
    Pkg.activate("project")
    Pkg.add(["AcmeGreeter", "AcmeTools"])
    using AcmeGreeter, AcmeTools
    println("ACME: ", AcmeGreeter.greet(), " ", AcmeTools.answer())
"#;

const ACME: &str = "Acme says: Good evening from the other side of the gap. 42";

#[tokio::test(flavor = "multi_thread")]
async fn a_private_package_is_added_online_prewarmed_carried_and_installed_offline() {
    let what = "a private registry across the gap";
    let Some(julia) = julia(what) else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let daemon = GitDaemon::start(&folder.join("acme"));
    Acme::new(folder, &daemon.url());
    let file = Acme::config(&daemon.url());

    // Online, with a cold cache.
    let airlock = Airlock::start(&scene.configured(&file)).await;
    assert_eq!(airlock.mirror.refresh_registries(Patience::prewarm(1)).await, []);
    let added = pkg(&julia, folder, "depot", &airlock.url(""), ADD).output();
    let added = tokio::time::timeout(LONG * 5, added).await.unwrap().unwrap();
    assert!(added.status.success() && text(&added).contains(ACME), "{}", text(&added));
    assert!(!folder.join("depot/clones").exists(), "the client cloned something itself");
    airlock.stop().await;
    let leaked = scene.upstream.requests().into_iter().map(|request| request.path);
    let leaked: Vec<_> = leaked.filter(|path| [REGISTRY, GREETER, TOOLS].iter().any(|it| path.contains(it))).collect();
    assert!(leaked.is_empty(), "{leaked:?}");

    // What its manifest names comes into another cache, and across.
    fs::write(folder.join("acme.toml"), &file).unwrap();
    let upstream = scene.upstream.url();
    let prewarm = ["prewarm", "--config", "acme.toml", "--cache", "outside", "--upstream", &upstream];
    outside(&scene, 0, &[&prewarm[..], &["--platform", "x86_64-linux-gnu", "project"]].concat()).await;
    outside(&scene, 0, &["bundle", "export", "--cache", "outside", "--to", "lab", "one.tar"]).await;
    outside(&scene, 0, &["bundle", "import", "--cache", "carried", "one.tar"]).await;
    let mut caches = "carried".to_owned();
    if std::process::Command::new("rsync").arg("--version").output().is_ok() {
        let copy = std::process::Command::new(RSYNC).args(["outside", "copied"]).current_dir(folder).output().unwrap();
        assert!(copy.status.success(), "{}", said(&copy).1);
        assert!(!folder.join("copied/.airlock/clones").exists(), "clones stay where they are");
        caches.push_str(" copied");
    } else {
        skip(&format!("rsync: {what}"));
    }

    // Inside: the manifest, and the package by name, which the resolver finds in what is here.
    let script = format!(
        r#"
        for cache in $CACHES; do
            export AIRLOCK_CACHE=$cache
            serve --offline
            # An import has made the view already.
            [ $cache = carried ] || until grep -q 'lists only what is here now' log; do kill -0 $serving || exit 33; done
            {PKG}
            must $cache-instantiated 'Pkg.activate("project"); Pkg.instantiate(); using AcmeGreeter, AcmeTools;
                println("ACME: ", AcmeGreeter.greet(), " ", AcmeTools.answer())'
            grep -q '{ACME}' $cache-instantiated.said || exit 31
            must $cache-added 'Pkg.add("AcmeGreeter"); using AcmeGreeter; println(AcmeGreeter.greet())'
            grep -q 'Acme says: Good evening' $cache-added.said || exit 32
            kill $serving
            wait $serving
        done
    "#
    );
    let julia = julia.display().to_string();
    let environment = [("JULIA", julia.as_str()), ("CACHES", caches.as_str())];
    let Some(output) = in_a_black_hole(&scene, what, &environment, &script).await else { return };
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert_eq!(said(&output).0, Some(0), "{} {} {log}", stdout(&output), said(&output).1);
}
