//! Private registries from git, beside a package server: served, followed, kept apart, healed.

use crate::acme::{self, Acme, GREETER, GitDaemon, REGISTRY, TOOLS, git, tree, write};
use crate::binary::{command, said};
use crate::support::{Airlock, LONG, Scene, config, mirror};
use airlock::mirror::{Patience, Refusal};
use airlock::protocol::{Flavor, GENERAL, Kind, Resource, TreeHash};
use airlock::sample::Site;
use airlock::source::{self, Claim};
use airlock::tree::{Limits, TarEntry, hash_tar_gz};
use fs_err as fs;
use std::path::PathBuf;

const ONCE: Patience = Patience::prewarm(1);

/// The sample upstream and Acme's repositories over the files of this machine.
struct Both {
    scene: Scene,
    acme: Acme,
}

impl Both {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let url = format!("file://{}/acme", scene.folder.path().display());
        let acme = Acme::new(scene.folder.path(), &url);
        Self { scene, acme }
    }

    fn config(&self) -> airlock::config::Config {
        self.scene.configured(&Acme::config(&self.acme.file_url()))
    }

    fn clones(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.scene.cache().join(".airlock/clones")).unwrap();
        let mut folders: Vec<_> = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    }
}

async fn body(airlock: &Airlock, resource: Resource) -> Vec<u8> {
    let answer = airlock.get(&resource.to_string()).await;
    assert_eq!(answer.status(), 200, "{resource}: {}", answer.text().await.unwrap());
    answer.bytes().await.unwrap().to_vec()
}

fn assert_is(resource: Resource, bytes: &[u8]) {
    assert_eq!(hash_tar_gz(bytes, &Limits::default(), |_| false).unwrap().strict, resource.tree());
}

async fn serves_beside_general(scene: &Scene, acme: &Acme, url: &str) {
    let config = scene.configured(&Acme::config(url));
    let airlock = Airlock::quiet(&config).await;
    assert_eq!(airlock.mirror.refresh_registries(ONCE).await, []);
    for flavor in Flavor::ALL {
        let listing = airlock.get(&format!("/{}", flavor.file_name())).await.text().await.unwrap();
        assert!(listing.contains(&acme.registry().to_string()), "{flavor:?}: {listing}");
        assert!(listing.contains(&format!("/registry/{GENERAL}/")), "{flavor:?}: {listing}");
    }
    for resource in [acme.registry(), acme.greeter, acme.tools] {
        assert_is(resource, &body(&airlock, resource).await);
    }
    let general = Site::sample().unwrap().resources().find(|it| it.kind() == Kind::Package).unwrap();
    body(&airlock, general).await;
    let private = [REGISTRY, GREETER, TOOLS];
    let leaked = scene.upstream.requests().into_iter().filter(|it| private.iter().any(|uuid| it.path.contains(uuid)));
    assert_eq!(leaked.count(), 0);
    airlock.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_files_is_served_beside_general() {
    let Both { scene, acme } = Both::new().await;
    serves_beside_general(&scene, &acme, &acme.file_url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_a_git_server_is_served_beside_general() {
    let scene = Scene::new().await;
    let daemon = GitDaemon::start(&scene.folder.path().join("acme"));
    let acme = Acme::new(scene.folder.path(), &daemon.url());
    serves_beside_general(&scene, &acme, &daemon.url()).await;
    assert!(daemon.connections() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_tree_gives_the_same_bytes_from_another_mirror() {
    let both = Both::new().await;
    let one = Airlock::quiet(&both.config()).await;
    one.mirror.refresh_registries(ONCE).await;
    let other_cache = both.scene.folder.path().join("other");
    let other = config(&other_cache, &[both.scene.upstream.url()], &Acme::config(&both.acme.file_url()));
    let other = Airlock::quiet(&other).await;
    other.mirror.refresh_registries(ONCE).await;
    for resource in [both.acme.registry(), both.acme.greeter, both.acme.tools] {
        assert!(body(&one, resource).await == body(&other, resource).await, "{resource}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_clients_at_once_cost_one_clone() {
    let scene = Scene::new().await;
    let daemon = GitDaemon::start(&scene.folder.path().join("acme"));
    let acme = Acme::new(scene.folder.path(), &daemon.url());
    let airlock = Airlock::quiet(&scene.configured(&Acme::config(&daemon.url()))).await;
    airlock.mirror.refresh_registries(ONCE).await;
    let before = daemon.connections();
    let asked = (0..10).map(|_| body(&airlock, acme.tools));
    let bodies = futures_util::future::join_all(asked).await;
    assert!(bodies.iter().all(|it| *it == bodies[0]));
    assert_eq!(daemon.connections() - before, 2, "one for the trees, one for the files");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_its_own_is_refused_without_any_network() {
    let scene = Scene::with(Site::empty()).await;
    let daemon = GitDaemon::start(&scene.folder.path().join("acme"));
    let acme = Acme::new(scene.folder.path(), &daemon.url());
    let config = config(&scene.cache(), &[], &Acme::config(&daemon.url()));
    let airlock = Airlock::quiet(&config).await;
    airlock.mirror.refresh_registries(ONCE).await;
    let before = daemon.connections();
    let none = TreeHash::from_bytes([7; 20]);
    for resource in [
        acme.greeter.with_tree(none),
        acme.registry().with_tree(none),
        Resource::Package { uuid: GENERAL, tree: acme.greeter.tree() },
        Resource::Artifact { tree: none },
        // A folder of a package's repository, or another package's tree, is no version.
        acme.greeter.with_tree(acme.tools.tree()),
        acme.tools.with_tree(tree(&acme.work("Platform"), "HEAD^{tree}")),
        acme.registry().with_tree(tree(&acme.work("AcmeRegistry"), "HEAD:A")),
    ] {
        let answer = airlock.get(&resource.to_string()).await;
        assert_eq!(answer.status(), 404, "{resource}");
    }
    assert_eq!(daemon.connections(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_its_own_is_known_without_any_network() {
    let both = Both::new().await;
    mirror(&both.config()).refresh_registries(ONCE).await;
    fs::rename(&both.acme.folder, both.scene.folder.path().join("gone")).unwrap();
    let sources = source::all(&both.config()).unwrap();
    let claims = |uuid: &str| sources[0].claims(acme::uuid(uuid));
    assert_eq!([claims(REGISTRY), claims(GREETER), claims(TOOLS)], [Claim::Yes; 3]);
    assert_eq!(sources[0].claims(GENERAL), Claim::No);
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_it_has_the_plain_listing_and_beside_a_server_it_makes_none() {
    let both = Both::new().await;
    let file = Acme::config(&both.acme.file_url());
    let alone = mirror(&config(&both.scene.folder.path().join("alone"), &[], &file));
    assert_eq!(alone.refresh_registries(ONCE).await, []);
    let flavors = |mirror: &airlock::mirror::Mirror| {
        let store = std::sync::Arc::clone(mirror.store());
        Flavor::ALL.map(|flavor| store.listing(flavor).unwrap().is_some())
    };
    assert_eq!(flavors(&alone), [true, false, false]);

    // General cannot be had at the moment, in any flavor.
    for flavor in Flavor::ALL {
        both.scene.upstream.remove(&format!("/{}", flavor.file_name()));
    }
    let mirror = mirror(&both.config());
    mirror.refresh_registries(ONCE).await;
    assert_eq!(flavors(&mirror), [false; 3]);
    let general = Site::sample().unwrap().body("/registries.eager").unwrap().clone();
    both.scene.upstream.put("/registries.eager", general);
    mirror.refresh_registries(ONCE).await;
    assert_eq!(flavors(&mirror), [false, true, false]);
    let listing = mirror.store().listing(Flavor::Eager).unwrap().unwrap();
    assert_eq!(listing.tree(acme::uuid(REGISTRY)), Some(both.acme.registry().tree()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_branch_is_followed_even_where_it_was_pushed_over() {
    let both = Both::new().await;
    let mirror = mirror(&both.config());
    let published = || mirror.store().listing(Flavor::Eager).unwrap().unwrap().tree(acme::uuid(REGISTRY));
    let first = both.acme.registry();
    mirror.refresh_registries(ONCE).await;
    let second = both.acme.change_registry("second");
    mirror.refresh_registries(ONCE).await;
    assert_eq!(published(), Some(second.tree()));
    // Back to where it was, which for a package server would be a stale answer.
    git(&both.acme.work("AcmeRegistry"), &["reset", "--quiet", "--hard", "HEAD~1"]);
    assert_eq!(mirror.refresh_registries(ONCE).await, []);
    assert_eq!(published(), Some(first.tree()));
    let log = mirror.store().generations().unwrap();
    let sources: Vec<_> =
        log.iter().filter(|it| (it.uuid, it.flavor) == (acme::uuid(REGISTRY), Flavor::Eager)).collect();
    assert_eq!(sources.len(), 3);
    assert!(sources.iter().all(|it| it.source == format!("{}/AcmeRegistry", both.acme.file_url())), "{sources:?}");
    // What the branch said in between is still to be had, from the clone.
    fs::remove_file(both.scene.cache().join(second.relative_path())).unwrap();
    mirror.fetch(&second, ONCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_rolled_back_from_stays_old_until_the_branch_moves_on() {
    let both = Both::new().await;
    let mirror = mirror(&both.config());
    let published = || mirror.store().listing(Flavor::Eager).unwrap().unwrap().tree(acme::uuid(REGISTRY));
    let first = both.acme.registry();
    mirror.refresh_registries(ONCE).await;
    both.acme.change_registry("second");
    mirror.refresh_registries(ONCE).await;
    let folder = both.scene.folder.path();
    let rolled =
        command(folder).args(["registries", "rollback", REGISTRY, &first.tree().to_string()]).output().await.unwrap();
    assert_eq!(said(&rolled).0, Some(0), "{}", said(&rolled).1);
    mirror.refresh_registries(ONCE).await;
    assert_eq!(published(), Some(first.tree()));
    let third = both.acme.change_registry("third");
    mirror.refresh_registries(ONCE).await;
    assert_eq!(published(), Some(third.tree()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_be_reached_keeps_what_is_here() {
    let both = Both::new().await;
    let mirror = mirror(&both.config());
    mirror.refresh_registries(ONCE).await;
    let here = both.acme.registry();
    fs::rename(&both.acme.folder, both.scene.folder.path().join("gone")).unwrap();
    let problems = mirror.refresh_registries(ONCE).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].to_string().contains("there is no repository at"), "{}", problems[0]);
    let listing = mirror.store().listing(Flavor::Eager).unwrap().unwrap();
    assert_eq!(listing.tree(acme::uuid(REGISTRY)), Some(here.tree()));
    assert!(listing.tree(GENERAL).is_some());
    // Its package was never fetched and is gone; that is said.
    let refused = mirror.fetch(&both.acme.greeter, ONCE).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Absent(_)), "{refused:?}");
    assert!(refused.to_string().contains("AcmeGreeter 0.1.0: there is no repository at"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_was_moved_is_named() {
    let both = Both::new().await;
    let platform = both.acme.work("Platform");
    git(&platform, &["checkout", "--quiet", "--orphan", "new"]);
    write(&platform, &[("lib/AcmeTools/src/AcmeTools.jl", "module AcmeTools\nend\n")]);
    git(&platform, &["branch", "-D", "main"]);
    git(&platform, &["branch", "-m", "main"]);
    git(&platform, &["tag", "-f", "AcmeTools-v1.0.0"]);
    let mirror = mirror(&both.config());
    mirror.refresh_registries(ONCE).await;
    let refused = mirror.fetch(&both.acme.tools, ONCE).await.unwrap_err().to_string();
    let now = tree(&platform, "HEAD:lib/AcmeTools");
    for words in [
        format!("AcmeTools 1.0.0: tree {} is in no branch or tag of", both.acme.tools.tree()),
        format!("tag AcmeTools-v1.0.0 has tree {now} now, so it was moved"),
    ] {
        assert!(refused.contains(&words), "{words}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_was_damaged_is_made_again() {
    let both = Both::new().await;
    let first = mirror(&both.config());
    first.refresh_registries(ONCE).await;
    first.fetch(&both.acme.tools, ONCE).await.unwrap();
    drop(first);
    for clone in both.clones() {
        for entry in fs::read_dir(clone.join("objects/pack")).unwrap() {
            let file = entry.unwrap().path();
            let half = fs::metadata(&file).unwrap().len() / 2;
            let bytes = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            fs::write(&file, &bytes[..usize::try_from(half).unwrap()]).unwrap();
        }
    }
    let healed = mirror(&both.config());
    let changed = both.acme.change_registry("changed");
    assert_eq!(healed.refresh_registries(ONCE).await, []);
    let listing = healed.store().listing(Flavor::Eager).unwrap().unwrap();
    assert_eq!(listing.tree(acme::uuid(REGISTRY)), Some(changed.tree()));
    fs::remove_dir_all(both.scene.cache().join("package")).unwrap();
    healed.fetch(&both.acme.tools, ONCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_private_registry_is_no_package_server_says() {
    let both = Both::new().await;
    // With the same uuid, from a server.
    let mut site = Site::sample().unwrap();
    let entries = [TarEntry::file("Registry.toml", format!("name='X'\nuuid='{REGISTRY}'\n[packages]\n"), false)];
    let other = site.add_registry(acme::uuid(REGISTRY), entries).unwrap();
    let server = airlock::sample::SampleUpstream::start(site).await.unwrap();
    let config = config(&both.scene.cache(), &[server.url()], &Acme::config(&both.acme.file_url()));
    let mirror = mirror(&config);
    assert_eq!(mirror.refresh_registries(ONCE).await, []);
    let published = || mirror.store().listing(Flavor::Eager).unwrap().unwrap().tree(acme::uuid(REGISTRY));
    assert_eq!(published(), Some(both.acme.registry().tree()));
    // Nor while the private one cannot be read any more.
    let before = both.acme.registry().tree();
    fs::rename(&both.acme.folder, both.scene.folder.path().join("gone")).unwrap();
    fs::remove_dir_all(both.scene.cache().join(".airlock/clones")).unwrap();
    drop(mirror);
    let mirror = crate::support::mirror(&config);
    mirror.refresh_registries(ONCE).await;
    let published = mirror.store().listing(Flavor::Eager).unwrap().unwrap().tree(acme::uuid(REGISTRY));
    assert_eq!(published, Some(before));
    assert_eq!(server.gets(&other.to_string()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_registries_with_one_uuid_are_an_error_that_names_both() {
    let both = Both::new().await;
    git(both.scene.folder.path(), &["clone", "--quiet", "acme/AcmeRegistry", "acme/Copy"]);
    let url = both.acme.file_url();
    let file = format!("{}[[registry]]\ngit = \"{url}/Copy\"\n", Acme::config(&url));
    // Nobody can tell before they were read: the first is served.
    let mirror = mirror(&both.scene.configured(&file));
    let problems = mirror.refresh_registries(ONCE).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let said_so = problems[0].to_string();
    assert!(said_so.contains("/Copy") && said_so.contains("/AcmeRegistry is the same registry"), "{said_so}");
    let log = mirror.store().generations().unwrap();
    assert!(log.iter().all(|entry| !entry.source.contains("Copy")));
    drop(mirror);

    // Now it can be told.
    let folder = both.scene.folder.path();
    fs::write(folder.join("airlock.toml"), &file).unwrap();
    let output = command(folder).args(["serve", "--listen", "127.0.0.1:0"]).output();
    let output = tokio::time::timeout(LONG, output).await.unwrap().unwrap();
    let (code, text) = said(&output);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/AcmeRegistry and [[registry]]") && text.contains("/Copy are both registry"), "{text}");

    let twice = format!("{0}{0}", Acme::config(&url));
    fs::write(folder.join("airlock.toml"), twice).unwrap();
    let output = command(folder).args(["check", "."]).output().await.unwrap();
    assert_eq!(said(&output).0, Some(2), "{}", said(&output).1);
    assert!(said(&output).1.contains("/AcmeRegistry is there twice"), "{}", said(&output).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_no_registry_is_said_to_be_none() {
    let both = Both::new().await;
    let file = format!("[[registry]]\ngit = \"{}/Platform\"\n", both.acme.file_url());
    let problems = mirror(&both.scene.configured(&file)).refresh_registries(ONCE).await;
    assert!(problems[0].to_string().contains("there is no Registry.toml at its root"), "{problems:?}");
    let file = format!("{}branch = \"none\"\n", Acme::config(&both.acme.file_url()));
    let problems = mirror(&both.scene.configured(&file)).refresh_registries(ONCE).await;
    assert!(problems[0].to_string().contains("has no branch \"none\""), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_taken_out_of_the_registry_is_said_to_be_none_of_its() {
    let both = Both::new().await;
    let mirror = mirror(&both.config());
    mirror.refresh_registries(ONCE).await;
    write(&both.acme.work("AcmeRegistry"), &[("A/AcmeGreeter/Versions.toml", "")]);
    assert_eq!(mirror.refresh_registries(ONCE).await, []);
    let refused = mirror.fetch(&both.acme.greeter, ONCE).await.unwrap_err();
    let (name, tree) = (format!("{}/AcmeRegistry", both.acme.file_url()), both.acme.greeter.tree());
    let said = format!("AcmeGreeter: no version that {name} has now is tree {tree}");
    assert!(matches!(&refused, Refusal::Absent(_)) && refused.to_string().contains(&said), "{refused}");
    let source = &mirror.sources()[0];
    assert!(source.1.last_error.is_none(), "it is nothing wrong with the registry: {source:?}");
    // Only that: what belongs to nobody here is asked of the public server as before.
    mirror.fetch(&both.acme.tools, ONCE).await.unwrap();
}
