//! The pages for people: what they say in every state, what strangers can do to them, where their
//! links lead, and how they are in a real browser.

mod browser;
mod chromium;
mod html;
mod links;
mod strangers;

use crate::support::{Airlock, Scene, config};
use crate::view::{carry, resource};
use airlock::sample::{Fault, SampleUpstream, Site};
use airlock::store::{Client, Miss, Reason};
use html::Html;
use std::path::Path;
use tempfile::TempDir;

/// Greeting 1.1.0 with its artifact, Pebble whole, Lantern without its artifacts.
const CARRIED: &[&str] =
    &["General", "Greeting/1.1.0", "greeting-text-1", "Pebble/1.0.0", "Pebble/1.2.0", "Lantern/0.2.0"];

/// A server on files that were copied there, searched and named.
async fn carried(file: &str) -> (TempDir, Airlock) {
    let folder = tempfile::tempdir().unwrap();
    carry(folder.path(), CARRIED);
    let airlock = served(folder.path(), &format!("view.platform = ['x86_64-linux-gnu']\n{file}")).await;
    airlock.mirror.rescan().await;
    airlock.mirror.load_names().await;
    (folder, airlock)
}

async fn served(cache: &Path, file: &str) -> Airlock {
    Airlock::quiet(&config(cache, &[], file)).await
}

/// A page that is there.
async fn page(airlock: &Airlock, path: &str) -> Html {
    let response = airlock.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    Html::parse(&response.text().await.unwrap())
}

fn assert_says(page: &Html, words: &[&str]) {
    for word in words {
        assert!(page.text.contains(word), "{word}: {}", page.text);
    }
}

fn miss(label: &str, reason: Reason, count: u64) -> Miss {
    let now = jiff::Timestamp::now();
    Miss {
        resource: resource(label),
        name: None,
        version: None,
        reason,
        detail: Some("s3cret detail".to_owned()),
        first: now,
        last: now,
        count,
        client: Client { julia: Some("1.10.9-client".to_owned()), system: None },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_cache_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let airlock = served(folder.path(), "").await;
    let overview = page(&airlock, "/").await;
    assert_says(
        &overview,
        &[
            "It is offline : it serves what is here",
            &format!("export JULIA_PKG_SERVER={}", airlock.url("")),
            "There is no registry here yet",
            "airlock bundle import",
            "The cache is empty",
            "Package versions 0",
            "Hits 0",
            "No wish is open",
            "There is none: this mirror asks nobody.",
            "None: all that was asked for is here.",
        ],
    );
    assert_says(&page(&airlock, "/packages").await, &["No registry has been read here", "No package is here yet"]);
    assert_says(&page(&airlock, "/misses").await, &["None: all that was asked for is here."]);
    assert_says(&page(&airlock, "/sources").await, &["this mirror is offline"]);
    assert_eq!(airlock.get("/misses.txt").await.text().await.unwrap(), "# airlock misses\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_tells_what_is_here() {
    let (_folder, airlock) = carried("[server]\nprefix = '/julia/pkg'\nurl = 'https://julia.example.org'\n").await;
    for _ in 0..3 {
        assert_eq!(airlock.get(&resource("Greeting/1.1.0").to_string()).await.status(), 200);
    }
    assert_eq!(airlock.get(&resource("Faraway/1.0.0").to_string()).await.status(), 404);
    let overview = page(&airlock, "/julia/pkg/").await;
    assert_says(
        &overview,
        &[
            "export JULIA_PKG_SERVER=https://julia.example.org/julia/pkg Or",
            "ENV[\"JULIA_PKG_SERVER\"] = \"https://julia.example.org/julia/pkg\"",
            "lists only what is here: 4 versions of 3 packages, derived from d19fde9244fdbae97a25360fde18642adaabea3f",
            "Registries 1",
            "Package versions 4",
            "Artifacts 1",
            "KiB",
            "Hits 3 answered from here",
            "Misses 1 could not be answered",
            "Faraway 1.0.0 /package/",
            "not brought here yet",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_found_by_a_part_of_their_name() {
    let (_folder, airlock) = carried("").await;
    let found = page(&airlock, "/packages?q=e").await;
    assert_says(&found, &["Found for “e”", "4 packages", "Greeting General 1 of 4 1.1.0 1.2.0"]);
    // Withdrawn versions are counted, and never the newest.
    assert_says(&page(&airlock, "/packages?q=PEBBLE").await, &["Pebble General 2 of 4 1.0.0 2.0.0"]);
    let names = |html: &Html| -> Vec<String> {
        let links = html.all("a", "href").into_iter();
        links.filter_map(|href| Some(href.strip_prefix("packages?name=")?.to_owned())).collect()
    };
    assert_eq!(names(&found), ["DelimitedFiles", "Greeting", "Lantern", "Pebble"]);
    assert_eq!(names(&page(&airlock, "/packages?q=LAN").await), ["Lantern"]);
    let all = page(&airlock, "/packages").await;
    assert_eq!(names(&all), ["Greeting", "Lantern", "Pebble"]);
    assert_says(&all, &["3 packages with a version here", "Lantern General 0 of 3 none 0.3.0"]);
    let none = page(&airlock, "/packages?q=Grating").await;
    assert_says(&none, &["No registry here has a package of such a name", "Did you mean: Greeting"]);
    assert_eq!(none.all("input", "value"), ["Grating", "Grating"], "the name to ask for is filled in");
    assert_says(&page(&airlock, "/packages?q=Dates").await, &["Dates is part of Julia"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_tells_what_became_of_each_version() {
    let (folder, airlock) = carried("").await;
    let greeting = page(&airlock, "/packages?name=Greeting").await;
    assert_says(
        &greeting,
        &[
            "Greeting in General Uuid 1b86959a-5d86-4eaa-ae42-da2cc0f6ffa9 . 1 of 4 versions can be installed from here.",
            "1.2.0 not here Ask for it, so that it is brought here. 1.1.0 here ] add Greeting@1.1.0 1.0.0 not here",
        ],
    );
    assert_says(
        &page(&airlock, "/packages?name=Lantern").await,
        &["0.2.0 not whole It is here without 2 artifacts that"],
    );
    let pebble = page(&airlock, "/packages?name=Pebble").await;
    assert_says(&pebble, &["1.2.0 here yanked ] add Pebble@1.2.0 Yanked: resolvers skip it"]);
    carry(folder.path(), &["Faraway/1.0.0"]);
    assert_says(&page(&airlock, "/packages?name=Faraway").await, &["1.0.0 not verified A file is here"]);

    let absent = airlock.get("/packages?name=greeting").await;
    assert_eq!(absent.status(), 404, "names are as they are written");
    let absent = Html::parse(&absent.text().await.unwrap());
    assert_says(&absent, &["No registry here has a package greeting", "Did you mean: Greeting"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_seen_on_the_page_of_a_package_and_its_rules_are_not() {
    for (rules, name, words) in [
        ("policy.deny = ['Gre*']", "Greeting", "1.2.0 denied The policy of this mirror denies it"),
        ("policy.serve.deny = ['Greeting']", "Greeting", "0 of 4 versions can be installed"),
        ("policy.private = ['Greeting']", "Greeting", "no public upstream is asked for it"),
        (
            "policy.min-age = '7d'",
            "Greeting",
            "1.1.0 too young The policy of this mirror lets versions wait. It is too young until 20",
        ),
    ] {
        let (_folder, airlock) = carried(&format!("{rules}\n")).await;
        let html = page(&airlock, &format!("/packages?name={name}")).await;
        assert_says(&html, &[words]);
        assert!(!html.text.contains("policy.") && !html.text.contains("Gre*"), "{}", html.text);
    }
    let (_folder, airlock) = carried("policy.serve.deny = ['registry:General']\n").await;
    assert_eq!(
        airlock.get("/packages?name=Greeting").await.status(),
        404,
        "nor is what is in a registry that is not served"
    );
    assert_says(&page(&airlock, "/packages?q=Greeting").await, &["No registry has been read here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn misses_are_told_by_reason_and_can_be_carried_out() {
    let (folder, airlock) = carried("").await;
    let misses = [
        miss("Faraway/1.0.0", Reason::Offline, 7),
        miss("greeting-text-2", Reason::UpstreamError, 2),
        miss("Lantern/0.3.0", Reason::Denied, 1),
        miss("Greeting/1.1.0", Reason::Offline, 9),
    ];
    airlock.mirror.store().misses().append(&misses).unwrap();
    let all = page(&airlock, "/misses").await;
    assert_says(
        &all,
        &[
            "All (3)",
            "not brought here yet (1)",
            "a source failed (1)",
            "not allowed (1)",
            "Faraway 1.0.0 /package/",
            "Carry the list",
        ],
    );
    assert!(!all.text.contains("Greeting 1.1.0"), "it is here: {}", all.text);
    assert!(!all.text.contains("wrong content") && !all.text.contains("s3cret") && !all.text.contains("1.10.9-client"));
    let one = page(&airlock, "/misses?reason=denied").await;
    assert_says(&one, &["Those with the reason “not allowed”", "Lantern 0.3.0", "All (3)", "airlock policy explain"]);
    assert!(!one.text.contains("Faraway") && !one.text.contains("Carry the list"), "{}", one.text);
    assert_says(&page(&airlock, "/misses?reason=hash-mismatch").await, &["None for this reason."]);
    assert_says(&page(&airlock, "/misses?reason=what").await, &["All reasons", "Faraway"]);

    let exported = airlock.get("/misses.txt").await;
    assert_eq!(exported.headers()["content-disposition"], "attachment; filename=airlock-misses.txt");
    assert_eq!(exported.headers()["content-type"], "text/plain; charset=utf-8");
    let exported = exported.text().await.unwrap();
    let flags = ["--cache", folder.path().to_str().unwrap(), "misses", "export", "-"];
    let by_hand = crate::binary::run(folder.path(), &flags).await;
    assert_eq!(exported, crate::binary::stdout(&by_hand), "{:?}", crate::binary::said(&by_hand));
    assert_eq!(exported.lines().count(), 4, "{exported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_cut_and_says_so() {
    let (_folder, airlock) = carried("").await;
    let one = |number: u8, second| {
        let mut hash = [0; 20];
        (hash[0], hash[1]) = (number, second);
        let resource = airlock::protocol::Resource::Artifact { tree: airlock::protocol::TreeHash::from_bytes(hash) };
        Miss { resource, ..miss("Faraway/1.0.0", Reason::Offline, 1) }
    };
    let many: Vec<_> = (0..=204).map(|number| one(number, 1)).collect();
    airlock.mirror.store().misses().append(&many).unwrap();
    let listed = page(&airlock, "/misses").await;
    assert_says(&listed, &["All (205)", "And 5 more"]);
    assert_eq!(airlock.get("/misses.txt").await.text().await.unwrap().lines().count(), 206);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_say_how_they_are() {
    let scene = Scene::new().await;
    let url = scene.upstream.url().replace("http://", "http://carrier:s3cret-word@");
    let file = "[fallback]\ngit = 'always'\ndownload = 'prewarm'\n";
    let airlock = Airlock::quiet(&config(&scene.cache(), &[url], file)).await;
    let at_first = page(&airlock, "/sources").await;
    assert_says(
        &at_first,
        &["1 source, 0 of them up", "never asked", "none since the start", "package server, public"],
    );
    assert_says(&at_first, &["registries name also while a client waits", "packages name in a prewarm"]);
    assert_says(&page(&airlock, "/").await, &["It is online", "1 source, and nothing is wrong."]);

    airlock.mirror.refresh_registries(airlock::mirror::Patience::prewarm(1)).await;
    assert_says(&page(&airlock, "/sources").await, &["1 source, 1 of them up", " up it is asked"]);

    let path = resource("Greeting/1.1.0").to_string();
    // More often than it is tried.
    (0..20).for_each(|_| scene.upstream.fail(&path, Fault::Status(503, None)));
    airlock.get(&path).await;
    let failing = page(&airlock, "/sources").await;
    assert_says(&failing, &["failing it answers, and failed when it was last asked", "503", &scene.upstream.url()]);
    assert!(!failing.text.contains("s3cret") && !failing.text.contains("carrier"), "{}", failing.text);
    assert_says(&page(&airlock, "/").await, &["1 source; 1 failed when last asked."]);
}

/// A server that has asked for so much in vain that it asks no more.
async fn out_of_reach(cache: &Path) -> Airlock {
    // Nobody can listen at port 0.
    let airlock = Airlock::quiet(&config(cache, &["http://127.0.0.1:0".to_owned()], "")).await;
    for label in ["Greeting/1.1.0", "Greeting/1.0.0", "Greeting/0.9.0", "Pebble/1.0.0", "Pebble/1.1.0", "Pebble/1.2.0"]
    {
        airlock.get(&resource(label).to_string()).await;
    }
    airlock
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_out_of_reach_is_said_to_be_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let airlock = out_of_reach(folder.path()).await;
    let sources = page(&airlock, "/sources").await;
    assert_says(&sources, &["1 source, 0 of them up"]);
    let says = ["out of reach left alone until 20", "out of reach the next request finds out whether it is back"];
    assert!(says.iter().any(|words| sources.text.contains(words)), "the pause may be over: {}", sources.text);
    assert_says(&page(&airlock, "/").await, &["1 source; 1 out of reach."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_of_one_name_are_told_apart() {
    let mut site = Site::sample().unwrap();
    let uuid = "ac3e0000-0000-4000-8000-00000000000a";
    let entry = |path: &str, text: String| airlock::tree::TarEntry::file(path.to_owned(), text.into_bytes(), false);
    let registry = [
        entry(
            "Registry.toml",
            format!("name = 'Other'\nuuid = '{uuid}'\n[packages]\n{uuid} = {{name='Greeting', path='G'}}\n"),
        ),
        entry("G/Package.toml", format!("name = 'Greeting'\nuuid = '{uuid}'\n")),
        entry("G/Versions.toml", format!("['7.0.0']\ngit-tree-sha1 = '{}'\n", "7".repeat(40))),
    ];
    site.add_registry(uuid.parse().unwrap(), registry).unwrap();
    let upstream = SampleUpstream::start(site).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let airlock = Airlock::quiet(&config(folder.path(), &[upstream.url()], "")).await;
    airlock.mirror.refresh_registries(airlock::mirror::Patience::prewarm(1)).await;
    airlock.mirror.load_names().await;
    let both = page(&airlock, "/packages?name=Greeting").await;
    assert_says(
        &both,
        &["2 different entries have this name", "Greeting in General", "Greeting in Other", uuid, "7.0.0 not here"],
    );
    assert_says(&page(&airlock, "/packages?q=greet").await, &["2 packages", "Other 0 of 1 none 7.0.0"]);
}
