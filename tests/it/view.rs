//! The view `available`: registries that list only what is here.

use crate::binary::{Serving, command};
use crate::support::{Airlock, Scene, config, mirror};
use airlock::julia::{RegistryToml, VersionEntry, parse_versions};
use airlock::mirror::{Mirror, Patience};
use airlock::protocol::{Flavor, GENERAL, Listing, RegistryTree, Resource, TreeHash};
use airlock::sample::Site;
use airlock::tree::{Limits, TarEntry, hash_tar_gz, visit_files};
use fs_err as fs;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const HASHES: &str = include_str!("../../sample/tree-hashes.txt");
const REGISTRY: &str = include_str!("../../sample/registry/Registry.toml");
const LINUX: &str = "[view]\nplatform = ['x86_64-linux-gnu']";

/// What the demo's manifest needs on Linux when it is installed: no lazy artifact, none of a test.
pub(crate) const CLOSURE: [&str; 8] = [
    "General",
    "Greeting/1.1.0",
    "Pebble/1.1.0",
    "Lantern/0.2.0",
    "DelimitedFiles/1.9.1",
    "greeting-text-1",
    "lantern-wick-x86_64-linux-gnu-libgfortran4",
    "lantern-wick-x86_64-linux-gnu-libgfortran5",
];

/// A resource of the sample by its label in `tree-hashes.txt`.
pub(crate) fn resource(label: &str) -> Resource {
    let line = HASHES.lines().find(|line| line.split(' ').nth(1) == Some(label)).unwrap();
    let tree = line.rsplit(' ').next().unwrap().parse().unwrap();
    let package = |name: &str| {
        let packages = RegistryToml::parse(REGISTRY).unwrap().packages;
        let (uuid, _) = packages.into_iter().find(|(_, entry)| entry.name == name).unwrap();
        Resource::Package { uuid, tree }
    };
    match label.split_once('/') {
        Some((name, _)) => package(name),
        None if label == "General" => Resource::Registry { uuid: GENERAL, tree },
        None => Resource::Artifact { tree },
    }
}

/// Brings files as rsync does: the listing last.
pub(crate) fn carry(cache: &Path, labels: &[&str]) {
    let site = Site::sample().unwrap();
    for resource in labels.iter().map(|label| resource(label)) {
        let file = cache.join(resource.relative_path());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, site.body(&resource.to_string()).unwrap()).unwrap();
    }
    if labels.contains(&"General") {
        fs::write(cache.join("registries"), site.body("/registries").unwrap()).unwrap();
    }
}

/// An offline mirror on a cache with these, not searched yet.
fn inside(labels: &[&str], file: &str) -> (TempDir, Arc<Mirror>) {
    let folder = tempfile::tempdir().unwrap();
    carry(folder.path(), labels);
    let mirror = mirror(&config(folder.path(), &[], file));
    (folder, mirror)
}

async fn json(response: reqwest::Response) -> serde_json::Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn served(mirror: &Mirror) -> RegistryTree {
    let served = mirror.served(Flavor::Plain).unwrap();
    served.into_iter().map(|served| served.registry).find(|registry| registry.uuid == GENERAL).unwrap()
}

fn full() -> TreeHash {
    resource("General").tree()
}

/// The files of a registry that is here, which has the hash in its name.
fn files(mirror: &Mirror, registry: RegistryTree) -> BTreeMap<String, String> {
    let path = mirror.store().path(&registry.into());
    let hashed = hash_tar_gz(fs::File::open(&path).unwrap(), &Limits::default(), |_| false).unwrap();
    assert_eq!(hashed.strict, registry.tree);
    let mut files = BTreeMap::new();
    let mut add = |path: &str, bytes| _ = files.insert(path.to_owned(), String::from_utf8(bytes).unwrap());
    visit_files(fs::File::open(&path).unwrap(), &Limits::default(), &mut add).unwrap();
    files
}

/// What a registry lists: each version as `Name 1.2.3`, with what is marked, and names alone where
/// there is none.
fn listed(mirror: &Mirror, registry: RegistryTree) -> Vec<String> {
    let files = files(mirror, registry);
    let packages = RegistryToml::parse(&files["Registry.toml"]).unwrap().packages;
    let mut listed = Vec::new();
    for entry in packages.values() {
        let mut versions = parse_versions(&files[&format!("{}/Versions.toml", entry.path)]).unwrap();
        let nowhere = nowhere(&files, &entry.path);
        versions.retain(|it| Some(&it.version) != nowhere.as_ref());
        let line =
            |it: &VersionEntry| format!("{} {}{}", entry.name, it.version, if it.yanked { " yanked" } else { "" });
        listed.extend(versions.iter().map(line));
        listed.extend(versions.is_empty().then(|| entry.name.clone()));
    }
    listed.sort_unstable();
    listed
}

/// The version that runs on no Julia, which stands where there is nothing to choose.
pub(crate) fn nowhere(files: &BTreeMap<String, String>, package: &str) -> Option<String> {
    let (version, rest) = files.get(&format!("{package}/Compat.toml"))?.strip_prefix("[\"")?.split_once("\"]")?;
    (rest == "\njulia = \"0.0.0\"\n").then(|| version.to_owned())
}

const LISTED: [&str; 4] = ["DelimitedFiles 1.9.1", "Greeting 1.1.0", "Lantern 0.2.0", "Pebble 1.1.0"];

#[tokio::test(flavor = "multi_thread")]
async fn inside_the_registry_lists_exactly_what_is_here() {
    let (folder, mirror) = inside(&CLOSURE, LINUX);
    assert_eq!(served(&mirror).tree, full(), "in full until it is known what is here");
    assert!(fs::read_dir(folder.path().join(".airlock/view")).unwrap().next().is_none());
    mirror.rescan().await;
    let derived = served(&mirror);
    assert_ne!(derived.tree, full());
    assert_eq!(listed(&mirror, derived), LISTED);
    let package = &files(&mirror, derived)["G/Greeting/Package.toml"];
    assert!(package.contains("file:///not-in-this-mirror/Greeting.git"), "{package}");

    let airlock = Airlock::quiet(&config(folder.path(), &[], LINUX)).await;
    let text = airlock.get("/registries").await.text().await.unwrap();
    assert_eq!(text, format!("{}\n", Resource::from(derived)), "a restarted server serves it at once");
    let body = airlock.get(text.trim_end()).await.bytes().await.unwrap();
    assert!(body == fs::read(mirror.store().path(&derived.into())).unwrap());
    assert_eq!(airlock.get(&resource("General").to_string()).await.status(), 200, "the full one is still here");
    let root = fs::read_to_string(folder.path().join("registries")).unwrap();
    assert_eq!(root, format!("{}\n", resource("General")), "upstream's listing stays upstream's");
    assert!(!folder.path().join(Resource::from(derived).relative_path()).exists(), "nothing of it crosses");

    mirror.rescan().await;
    assert_eq!(mirror.store().derived().unwrap().len(), 1, "what did not change is not published again");
    fs::remove_dir_all(folder.path().join(".airlock/view")).unwrap();
    let again = crate::support::mirror(&config(folder.path(), &[], LINUX));
    again.rescan().await;
    assert_eq!(served(&again), derived, "the same cache gives the same tree");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_version_depends_on_keeps_its_name_without_versions() {
    let (_folder, mirror) = inside(&["General", "Greeting/1.1.0", "greeting-text-1", "Lantern/0.3.0"], LINUX);
    mirror.rescan().await;
    // Lantern 0.3.0 needs Faraway and DelimitedFiles, Greeting 1.1.0 needs Pebble.
    let expected = ["DelimitedFiles", "Faraway", "Greeting 1.1.0", "Lantern 0.3.0 yanked", "Pebble"];
    assert_eq!(listed(&mirror, served(&mirror)), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_registry_depends_on_counts_too() {
    let mut site = Site::sample().unwrap();
    let (registry, package) = (
        "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        "66666666-2222-3333-4444-555555555555".parse().unwrap(),
    );
    let ours = site.add_package(package, [TarEntry::file("Project.toml", "name = \"Ours\"\n", false)]).unwrap();
    let greeting = resource("Greeting/1.1.0").uuid().unwrap();
    let toml = |path: &str, text: String| TarEntry::file(path, text, false);
    site.add_registry(
        registry,
        [
            toml(
                "Registry.toml",
                format!("name='Private'\nuuid='{registry}'\n[packages]\n{package}={{name='Ours',path='Ours'}}\n"),
            ),
            toml("Ours/Package.toml", format!("name='Ours'\nuuid='{package}'\n")),
            toml("Ours/Versions.toml", format!("['1.0.0']\ngit-tree-sha1='{}'\n", ours.tree())),
            toml("Ours/Deps.toml", format!("[1]\nGreeting='{greeting}'\n")),
        ],
    )
    .unwrap();
    let scene = Scene::with(site).await;
    let outside = mirror(&scene.online());
    outside.refresh_registries(Patience::prewarm(1)).await;
    outside.fetch(&ours, Patience::prewarm(1)).await.unwrap();
    let mirror = mirror(&scene.offline());
    mirror.rescan().await;
    assert_eq!(listed(&mirror, served(&mirror)), ["Greeting"]);
    for flavor in Flavor::ALL {
        assert_eq!(mirror.served(flavor).unwrap().len(), 2);
    }

    // Its own registry is lost: the last list of it stays, and so does what that needs.
    let private = scene.cache().join("registry").join(registry.to_string());
    fs::remove_dir_all(private).unwrap();
    carry(&scene.cache(), &["Faraway/1.0.0"]);
    mirror.rescan().await;
    assert_eq!(listed(&mirror, served(&mirror)), ["Faraway 1.0.0", "Greeting"]);
    assert_eq!(mirror.served(Flavor::Plain).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_lacks_artifacts_of_a_served_platform_is_yanked() {
    let without = |label: &str| CLOSURE.into_iter().filter(|other| *other != label).collect::<Vec<_>>();
    let (folder, mirror) = inside(&without("greeting-text-1"), LINUX);
    mirror.rescan().await;
    let yanked = ["DelimitedFiles 1.9.1", "Greeting 1.1.0 yanked", "Lantern 0.2.0 yanked", "Pebble 1.1.0"];
    assert_eq!(listed(&mirror, served(&mirror)), yanked);
    carry(folder.path(), &["greeting-text-1"]);
    mirror.rescan().await;
    assert_eq!(listed(&mirror, served(&mirror)), LISTED);

    // A configured platform counts alone, else all that prewarm was asked for.
    let lantern = "Lantern 0.2.0 yanked".to_owned();
    mirror.store().remember_platforms(&["x86_64-w64-mingw32".to_owned()]).unwrap();
    mirror.rescan().await;
    assert_eq!(listed(&mirror, served(&mirror)), LISTED);
    let remembering = crate::support::mirror(&config(folder.path(), &[], ""));
    remembering.refresh_view().await;
    assert!(listed(&remembering, served(&remembering)).contains(&lantern));
    carry(folder.path(), &["lantern-wick-x86_64-w64-mingw32"]);
    remembering.rescan().await;
    assert_eq!(listed(&remembering, served(&remembering)), LISTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn prewarm_remembers_its_platforms() {
    let scene = Scene::new().await;
    let run = |arguments: &[&str]| {
        let mut prewarm = command(scene.folder.path());
        prewarm.args(["prewarm", "--upstream", &scene.upstream.url()]).args(arguments);
        prewarm.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo"));
        async move { assert!(prewarm.output().await.unwrap().status.success()) }
    };
    let remembered = || airlock::store::Store::open(&scene.cache()).unwrap().served_platforms().unwrap();
    run(&["--dry-run", "--platform", "all"]).await;
    assert_eq!(remembered(), Vec::<String>::new());
    run(&["--platform", "x86_64-apple-darwin20"]).await;
    run(&["--platform", "x86_64-linux-musl,host"]).await;
    let host = airlock::julia::Platform::host().unwrap().to_string();
    let mut expected = vec!["x86_64-apple-darwin".to_owned(), "x86_64-linux-musl".to_owned(), host];
    expected.sort_unstable();
    assert_eq!(remembered(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_finds_what_was_brought_and_the_old_registry_stays_servable() {
    let (folder, mirror) = inside(&["General", "Pebble/1.0.0"], LINUX);
    assert!(mirror.look().await);
    let first = served(&mirror);
    assert_eq!(listed(&mirror, first), ["Pebble 1.0.0"]);
    carry(folder.path(), &["Pebble/1.1.0"]);
    assert!(mirror.look().await);
    let second = served(&mirror);
    assert_eq!(listed(&mirror, second), ["Pebble 1.0.0", "Pebble 1.1.0"]);
    let airlock = Airlock::quiet(&config(folder.path(), &[], LINUX)).await;
    for registry in [first, second] {
        assert_eq!(airlock.get(&Resource::from(registry).to_string()).await.status(), 200);
    }
    fs::remove_file(folder.path().join(resource("Pebble/1.0.0").relative_path())).unwrap();
    assert!(mirror.look().await, "what went is seen too");
    assert_eq!(listed(&mirror, served(&mirror)), ["Pebble 1.1.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_not_listed() {
    let (folder, mirror) = inside(&["General", "Pebble/1.0.0", "Pebble/1.1.0"], LINUX);
    fs::write(folder.path().join(resource("Pebble/1.0.0").relative_path()), "damaged").unwrap();
    mirror.rescan().await;
    assert_eq!(listed(&mirror, served(&mirror)), ["Pebble 1.1.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_derived_registry_is_set_aside_and_made_again() {
    let (folder, mirror) = inside(&["General", "Pebble/1.0.0"], LINUX);
    mirror.rescan().await;
    let first = served(&mirror);
    carry(folder.path(), &["Pebble/1.1.0"]);
    mirror.rescan().await;
    let second = served(&mirror);
    let file = mirror.store().path(&second.into());
    let whole = fs::read(&file).unwrap();
    fs::write(&file, "damaged").unwrap();

    let airlock = Airlock::quiet(&config(folder.path(), &[], LINUX)).await;
    let path = Resource::from(second).to_string();
    assert_eq!(airlock.get(&path).await.status(), 502);
    assert!(!file.exists());
    assert_eq!(fs::read_dir(folder.path().join(".airlock/quarantine")).unwrap().count(), 1);
    assert_eq!(served(&airlock.mirror), first, "until then the last good one is listed, not the full one");
    assert!(airlock.mirror.look().await);
    assert_eq!(served(&airlock.mirror), second);
    assert!(airlock.get(&path).await.bytes().await.unwrap() == whole);
    fs::write(&file, "damaged again").unwrap();
    assert!(airlock.mirror.look().await);
    assert!(fs::read(&file).unwrap() == whole, "nobody has to ask for it to be found");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_full_registry_is_lost_the_last_list_stays() {
    let (folder, mirror) = inside(&CLOSURE, LINUX);
    mirror.rescan().await;
    let derived = served(&mirror);
    fs::write(folder.path().join(resource("General").relative_path()), "damaged").unwrap();
    assert_eq!(mirror.rescan().await, (0, 1));
    assert!(!mirror.store().path(&resource("General")).exists());
    assert_eq!(served(&mirror), derived);
    let airlock = Airlock::quiet(&config(folder.path(), &[], LINUX)).await;
    let text = airlock.get("/registries").await.text().await.unwrap();
    assert_eq!(airlock.get(text.trim_end()).await.status(), 200);
    fs::remove_file(folder.path().join("registries")).unwrap();
    mirror.rescan().await;
    assert_eq!(mirror.served(Flavor::Plain).unwrap(), [], "what is not published is not shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_be_derived_is_listed_in_full() {
    for text in ["", "name = \"General\"\n", "[packages]\nx = 1\n"] {
        let mut site = Site::empty();
        let broken = site.add_registry(GENERAL, [TarEntry::file("Registry.toml", text, false)]).unwrap();
        let scene = Scene::with(site).await;
        mirror(&scene.online()).refresh_registries(Patience::prewarm(1)).await;
        let mirror = mirror(&scene.offline());
        mirror.rescan().await;
        assert_eq!(served(&mirror).tree, broken.tree(), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_is_the_default_outside_and_a_choice_everywhere() {
    let scene = Scene::new().await;
    let patience = Patience::prewarm(1);
    let full_outside = mirror(&scene.online());
    full_outside.refresh_registries(patience).await;
    full_outside.fetch(&resource("Pebble/1.0.0"), patience).await.unwrap();
    full_outside.rescan().await;
    assert_eq!(served(&full_outside).tree, full());
    let full_inside = mirror(&config(&scene.cache(), &[], "[view]\nshow = 'full'"));
    full_inside.rescan().await;
    assert_eq!(served(&full_inside).tree, full());
    assert_eq!(full_inside.store().derived().unwrap(), []);

    let derived_outside = mirror(&scene.configured("[view]\nshow = 'available'"));
    derived_outside.rescan().await;
    assert_eq!(listed(&derived_outside, served(&derived_outside)), ["Pebble 1.0.0"]);
    assert_eq!(served(&full_outside).tree, full(), "two processes on one cache, each with its own view");
    assert!(derived_outside.registries()[0].version_count() > 10, "names come from the full registry");
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_a_new_registry_is_derived_when_it_is_published() {
    let scene = Scene::new().await;
    let mirror = mirror(&scene.configured("[view]\nshow = 'available'"));
    mirror.refresh_registries(Patience::prewarm(1)).await;
    for flavor in Flavor::ALL {
        let served = mirror.served(flavor).unwrap();
        assert_eq!(served[0].derived.as_ref().unwrap().from, full(), "{flavor:?}");
        assert_eq!(listed(&mirror, served[0].registry), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_and_the_page_say_that_it_is_derived_and_from_what() {
    let scene = Scene::new().await;
    let outside = mirror(&scene.online());
    outside.refresh_registries(Patience::prewarm(1)).await;
    outside.fetch(&resource("Pebble/1.0.0"), Patience::prewarm(1)).await.unwrap();
    let airlock = Airlock::quiet(&scene.offline()).await;
    let meta = async || json(airlock.get("/meta").await).await["registries"][0].clone();
    let before = meta().await;
    assert_eq!((&before["view"], &before["tree"]), (&"full".into(), &full().to_string().into()));
    for key in ["derived_from", "packages", "versions"] {
        assert_eq!(before.get(key), Some(&serde_json::Value::Null), "{key}");
    }
    airlock.mirror.rescan().await;
    let after = meta().await;
    assert_eq!(after["tree"], served(&airlock.mirror).tree.to_string());
    assert_eq!((&after["view"], &after["derived_from"]), (&"available".into(), &full().to_string().into()));
    assert_eq!((&after["packages"], &after["versions"]), (&1.into(), &1.into()));
    assert_eq!(after["published"], before["published"], "when the full one was published");
    assert_eq!(after["name"], "General");
    let page = airlock.get("/").await.text().await.unwrap();
    let said = format!("lists only what is here: 1 versions of 1 packages, derived from <code>{}</code>", full());
    assert!(page.contains(&said), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_lists_what_is_brought_by_itself_and_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    carry(&cache, &["General"]);
    for (interval, first, second, lists) in
        [("50ms", "Pebble/1.0.0", "Pebble/1.1.0", 1), ("1h", "Faraway/0.1.0", "Faraway/0.2.0", 3)]
    {
        let file = format!("[mirror]\nview-interval = '{interval}'\n");
        fs::write(folder.path().join("airlock.toml"), file).unwrap();
        let mut serve = command(folder.path());
        serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
        carry(&cache, &[first]);
        let mut serving = Serving::start(serve).await;
        serving.hears(&format!("lists only what is here now: {lists} versions")).await;
        carry(&cache, &[second]);
        if interval == "1h" {
            let pid = i32::try_from(serving.child.id().unwrap()).unwrap();
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        }
        let line = serving.hears(&format!("lists only what is here now: {} versions", lists + 1)).await;
        assert!(line.contains(&full().to_string()) && line.contains(&GENERAL.to_string()), "{line}");
        assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_is_chosen_by_flag_and_environment() {
    let folder = tempfile::tempdir().unwrap();
    carry(&folder.path().join("cache"), &["General"]);
    for (flags, environment) in [(&["--view", "full"][..], None), (&[][..], Some("full"))] {
        let mut serve = command(folder.path());
        serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]).args(flags);
        serve.envs(environment.map(|view| ("AIRLOCK_VIEW", view)));
        let serving = Serving::start(serve).await;
        let meta = crate::support::client().get(format!("{}/meta", serving.url)).send().await.unwrap();
        assert_eq!(json(meta).await["registries"][0]["view"], "full");
        assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    }
    for (arguments, file) in [(&["--view", "half"][..], ""), (&[][..], "[view]\nplatform = ['amiga']\n")] {
        fs::write(folder.path().join("airlock.toml"), file).unwrap();
        let arguments = [&["serve", "--offline", "--listen", "127.0.0.1:0"], arguments].concat();
        let output = crate::binary::run(folder.path(), &arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {file}");
    }
}

/// A listing that names a tree is what [`Listing`] reads back.
#[tokio::test(flavor = "multi_thread")]
async fn the_listing_of_the_view_is_one_that_clients_read() {
    let (folder, mirror) = inside(&CLOSURE, LINUX);
    mirror.rescan().await;
    let text = fs::read_to_string(folder.path().join(".airlock/view/registries")).unwrap();
    assert_eq!(Listing::parse(&text).unwrap().tree(GENERAL), Some(served(&mirror).tree));
}

/// A state of General with its listing, brought as rsync does.
fn carry_state(cache: &Path, state: &str) -> RegistryTree {
    let mut site = Site::empty();
    let toml = format!("name = \"General\"\nuuid = \"{GENERAL}\"\nrepo = \"{state}\"\n[packages]\n");
    let added = site.add_registry(GENERAL, [TarEntry::file("Registry.toml", toml, false)]).unwrap();
    let registry = RegistryTree { uuid: GENERAL, tree: added.tree() };
    let file = cache.join(added.relative_path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, site.body(&added.to_string()).unwrap()).unwrap();
    let listing: Listing = [registry].into_iter().collect();
    fs::write(cache.join("registries"), listing.to_string()).unwrap();
    registry
}

fn derived_from(mirror: &Mirror) -> Option<TreeHash> {
    mirror.served(Flavor::Plain).unwrap().into_iter().next()?.derived.map(|derived| derived.from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_registry_is_derived_from_its_pin_also_when_another_tool_brings_a_newer_listing() {
    let folder = tempfile::tempdir().unwrap();
    let one = carry_state(folder.path(), "one");
    let mirror = mirror(&config(folder.path(), &[], LINUX));
    mirror.rescan().await;
    mirror.pin(GENERAL, None).await.unwrap();
    let two = carry_state(folder.path(), "two");
    mirror.rescan().await;
    assert_eq!(derived_from(&mirror), Some(one.tree));
    mirror.unpin(GENERAL).await.unwrap();
    mirror.rescan().await;
    assert_eq!(derived_from(&mirror), Some(two.tree));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_tarball_of_a_listing_has_come_the_one_before_is_derived() {
    let folder = tempfile::tempdir().unwrap();
    let one = carry_state(folder.path(), "one");
    crate::support::mirror(&config(folder.path(), &[], "[view]\nshow = 'full'")).rescan().await;
    let two = carry_state(folder.path(), "two");
    fs::remove_file(folder.path().join(Resource::from(two).relative_path())).unwrap();
    let mirror = mirror(&config(folder.path(), &[], LINUX));
    mirror.rescan().await;
    assert_eq!(derived_from(&mirror), Some(one.tree), "and never shown in full");
}
