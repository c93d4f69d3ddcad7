//! Private registries over time: several, slow ones, older trees, crashes, and what is said of their health.

use crate::acme::{self, Acme, GREETER, REGISTRY, TOOLS, git, write};
use crate::binary::{run, said};
use crate::support::{Airlock, LONG, Scene, config, mirror};
use airlock::git::{Bounds, Clones, Refs, Trust};
use airlock::mirror::Patience;
use airlock::protocol::{Flavor, GENERAL};
use airlock::source::{self, Claim};
use fs_err as fs;

const ONCE: Patience = Patience::prewarm(1);
const OTHER: &str = "ac3e0000-0000-4000-8000-00000000000a";
const PACKAGE: &str = "ac3e0000-0000-4000-8000-00000000000b";

async fn acme() -> (Scene, Acme) {
    let scene = Scene::new().await;
    let url = format!("file://{}/acme", scene.folder.path().display());
    let acme = Acme::new(scene.folder.path(), &url);
    (scene, acme)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_private_registry_keeps_nobody_from_following_general() {
    let scene = Scene::new().await;
    // It lets in whoever comes, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = format!(
        "[mirror]\nregistries-interval = '50ms'\n[[registry]]\ngit = 'git://{}/R'\n",
        silent.local_addr().unwrap()
    );
    let airlock = Airlock::start(&scene.configured(&file)).await;
    let plain = format!("/{}", Flavor::Plain.file_name());
    let followed = async {
        while scene.upstream.gets(&plain) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG / 2, followed).await.unwrap();
    assert!(airlock.mirror.store().listing(Flavor::Plain).unwrap().unwrap().tree(GENERAL).is_some());
    airlock.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_private_registries_work_side_by_side() {
    let (scene, acme) = acme().await;
    let folder = &acme.folder;
    for name in ["Second", "Tool.jl"] {
        fs::create_dir_all(folder.join(name)).unwrap();
        git(&folder.join(name), &["init", "--quiet", "-b", "main"]);
    }
    let tree = write(&folder.join("Tool.jl"), &[("src/Tool.jl", "module Tool end\n")]);
    let registry = format!("name='Second'\nuuid='{OTHER}'\n[packages]\n{PACKAGE}={{name='Tool',path='T/Tool'}}\n");
    let second = write(
        &folder.join("Second"),
        &[
            ("Registry.toml", &registry),
            ("T/Tool/Package.toml", &format!("name='Tool'\nuuid='{PACKAGE}'\nrepo='../Tool.jl'\n")),
            ("T/Tool/Versions.toml", &format!("[\"1.0.0\"]\ngit-tree-sha1 = '{tree}'\n")),
        ],
    );
    let url = acme.file_url();
    let file = format!("{}[[registry]]\ngit = '{url}/Second'\n", Acme::config(&url));
    let airlock = Airlock::start(&scene.configured(&file)).await;
    let listed = async {
        loop {
            let listing = airlock.mirror.store().listing(Flavor::Eager).unwrap().unwrap_or_default();
            if listing.tree(acme::uuid(OTHER)) == Some(second) && listing.tree(acme::uuid(REGISTRY)).is_some() {
                return listing;
            }
            tokio::task::yield_now().await;
        }
    };
    let listing = tokio::time::timeout(LONG, listed).await.unwrap();
    assert!(listing.tree(GENERAL).is_some());
    let registry = format!("/registry/{OTHER}/{second}");
    let package = format!("/package/{PACKAGE}/{tree}");
    for path in [registry, package, acme.registry().to_string(), acme.tools.to_string(), acme.greeter.to_string()] {
        assert_eq!(airlock.get(&path).await.status(), 200, "{path}");
    }
    let private = [REGISTRY, GREETER, TOOLS, OTHER, PACKAGE];
    let leaked = scene.upstream.requests().into_iter().filter(|it| private.iter().any(|uuid| it.path.contains(uuid)));
    assert_eq!(leaked.count(), 0);
    airlock.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_no_poll_saw_is_served_and_can_be_pinned() {
    let (scene, acme) = acme().await;
    let first = acme.registry();
    let file = acme.work("AcmeRegistry").join("Registry.toml");
    let later = fs::read_to_string(&file).unwrap() + "# later\n";
    write(&acme.work("AcmeRegistry"), &[("Registry.toml", &later)]);
    // Of the first tree nothing is fetched but the names of its files.
    let config = scene.configured(&Acme::config(&acme.file_url()));
    let airlock = Airlock::quiet(&config).await;
    assert_eq!(airlock.mirror.refresh_registries(ONCE).await, []);
    assert_eq!(airlock.get(&first.to_string()).await.status(), 200);
    let pin = ["registries", "pin", "--cache", "cache", REGISTRY, &first.tree().to_string()];
    let pinned = run(scene.folder.path(), &pin).await;
    assert_eq!(said(&pinned).0, Some(0), "{}", said(&pinned).1);
    airlock.mirror.refresh_registries(ONCE).await;
    let listing = airlock.mirror.store().listing(Flavor::Eager).unwrap().unwrap();
    assert_eq!(listing.tree(acme::uuid(REGISTRY)), Some(first.tree()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_last_is_known_after_a_crash_between_the_branch_and_its_files() {
    let (scene, acme) = acme().await;
    let config = scene.configured(&Acme::config(&acme.file_url()));
    mirror(&config).refresh_registries(ONCE).await;
    // The next poll was killed before the files came: the branch is ahead of what can be read.
    write(&acme.work("AcmeRegistry"), &[("Registry.toml", &format!("name='A'\nuuid='{REGISTRY}'\n[packages]\n"))]);
    let clones = Clones::new(scene.cache().join(airlock::git::FOLDER), Bounds::default());
    clones
        .open(&format!("{}/AcmeRegistry", acme.file_url()), Trust::Configured)
        .and_then(|clone| clone.fetch(Refs::Heads))
        .unwrap();
    fs::rename(&acme.folder, scene.folder.path().join("gone")).unwrap();
    let sources = source::all(&config).unwrap();
    let claims = |uuid: &str| sources[0].claims(acme::uuid(uuid));
    assert_eq!([claims(REGISTRY), claims(GREETER), claims(TOOLS)], [Claim::Yes; 3]);
    assert_eq!(sources[0].claims(GENERAL), Claim::No);
    fs::rename(scene.folder.path().join("gone"), &acme.folder).unwrap();
    let mirror = mirror(&config);
    assert_eq!(mirror.refresh_registries(ONCE).await, []);
    assert_eq!(mirror.sources()[0].0.claims(acme::uuid(TOOLS)), Claim::No, "it is followed as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_worked_is_not_said_to_be_up() {
    let (scene, acme) = acme().await;
    let url = acme.file_url();
    let file = format!("{}[[registry]]\ngit = '{url}/none'\n", Acme::config(&url));
    let airlock = Airlock::quiet(&config(&scene.cache(), &[scene.upstream.url()], &file)).await;
    airlock.mirror.refresh_registries(ONCE).await;
    let meta: serde_json::Value = serde_json::from_str(&airlock.get("/meta").await.text().await.unwrap()).unwrap();
    let states: Vec<_> = meta["sources"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["up", "failing", "up"]);
    let page = airlock.get("/sources").await.text().await.unwrap();
    assert!(page.contains("failing"), "{page}");
    let metrics = airlock.get("/metrics").await.text().await.unwrap();
    let failing = |end: &str, value: u8| format!("airlock_source_failing{{source=\"{url}/{end}\"}} {value}\n");
    assert!(metrics.contains(&failing("none", 1)) && metrics.contains(&failing("AcmeRegistry", 0)), "{metrics}");
}
