//! Wishes and requests: asking by name on the command line and on the page, and the file that goes
//! out.

mod page;

use crate::binary::{command, run, said, stdout};
use crate::support::{Scene, mirror};
use airlock::config::Config;
use airlock::exchange::{Request, Wish};
use airlock::mirror::Patience;
use airlock::protocol::{Kind, Resource};
use airlock::request::gather;
use airlock::sample::Site;
use airlock::store::{Action, Client, Miss, Reason, Stamp, Store};
use fs_err as fs;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const TREE_HASHES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sample/tree-hashes.txt"));

/// A resource of the sample by its label: `Greeting/1.1.0`.
fn sample(label: &str) -> Resource {
    let line = TREE_HASHES.lines().find(|line| line.split(' ').nth(1) == Some(label)).unwrap();
    let tree = line.split(' ').nth(2).unwrap();
    Site::sample().unwrap().resources().find(|resource| resource.tree().to_string() == tree).unwrap()
}

/// A cache with the registry and these resources.
async fn with(labels: &[&str]) -> Scene {
    let scene = Scene::new().await;
    let mirror = mirror(&scene.online());
    mirror.refresh_registries(Patience::prewarm(1)).await;
    for label in labels {
        mirror.fetch(&sample(label), Patience::prewarm(1)).await.unwrap();
    }
    mirror.close().await;
    scene
}

fn json_of(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{:?}", said(output)))
}

fn texts(store: &Store) -> BTreeSet<String> {
    store.wishes().unwrap().iter().map(|known| known.wish.to_string()).collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_says_what_is_known_and_is_remembered() {
    let scene = with(&["Greeting/1.1.0", "greeting-text-1"]).await;
    let folder = scene.folder.path();
    let all = ["request", "add", "Greeting", "Greeting@1.2", "Greeting@9", "Faraway.jl@0", "Fareway", "Dates"];
    let output = run(folder, &all).await;
    assert!(output.status.success(), "{:?}", said(&output));
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    for (line, words) in lines.iter().zip([
        &["Greeting: recorded", "1.1.0 is here", "] add Greeting@1.1.0", "1.2.0"][..],
        &["Greeting@1.2: recorded", "General has it", "1.2.0 is the newest"],
        &["Greeting@9: recorded", "General has Greeting, but no such version"],
        &["Faraway@0: recorded", "General has it", "0.2.0 is the newest"],
        &["Fareway: recorded", "No registry here knows it", "Did you mean Faraway?"],
        &["Dates: not recorded", "part of Julia"],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {line}");
    }
    assert_eq!(lines.len(), 6);
    assert!(run(folder, &["request", "add", "Fareway"]).await.status.success());

    let listed = json_of(&run(folder, &["request", "list", "--json"]).await);
    let listed = listed["wishes"].as_array().unwrap();
    let one = |wish: &str| listed.iter().find(|it| it["wish"] == wish).unwrap();
    let states: Vec<_> =
        listed.iter().map(|it| (it["wish"].as_str().unwrap(), it["state"].as_str().unwrap())).collect();
    assert_eq!(states[0], ("Fareway", "unknown"), "the last asked for is the first");
    let expected = [
        ("Faraway@0", "known"),
        ("Fareway", "unknown"),
        ("Greeting", "here"),
        ("Greeting@1.2", "known"),
        ("Greeting@9", "unknown"),
    ];
    assert_eq!(states.iter().copied().collect::<BTreeSet<_>>(), expected.into());
    assert_eq!((&one("Fareway")["count"], &one("Fareway")["registry"]), (&json!(2), &Value::Null));
    assert_eq!((&one("Greeting")["here"], &one("Greeting")["newest"]), (&json!("1.1.0"), &json!("1.2.0")));
    let table = stdout(&run(folder, &["request"]).await);
    assert!(table.starts_with("WISH ") && table.contains("Fareway       2"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_says_the_same_with_every_key() {
    let scene = with(&[]).await;
    let output =
        run(scene.folder.path(), &["request", "add", "--json", "Fareway", "Faraway", "Dates", "DelimitedFiles"]).await;
    let expected = json!({"wishes": [
        {"wish": "Fareway", "recorded": true, "state": "unknown", "registry": null, "newest": null, "here": null, "near": ["Faraway"]},
        {"wish": "Faraway", "recorded": true, "state": "known", "registry": "General", "newest": "1.0.0", "here": null, "near": []},
        {"wish": "Dates", "recorded": false, "state": "julia", "registry": null, "newest": null, "here": null, "near": []},
        // A standard library of some Julias that others take from the registry.
        {"wish": "DelimitedFiles", "recorded": true, "state": "known", "registry": "General", "newest": "1.10.0", "here": null, "near": []},
    ]});
    assert_eq!(json_of(&output), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_wishes_are_wrong_usage_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (wish, words) in
        [("../x", "name of a package"), ("A@^1", "range of versions"), ("\u{1b}[31m", "name of a package")]
    {
        let (code, text) = said(&run(folder.path(), &["request", "add", "Example", wish]).await);
        assert!(code == Some(2) && text.contains(words) && !text.contains('\u{1b}'), "{wish:?}: {text}");
    }
    assert_eq!(said(&run(folder.path(), &["request", "add"]).await).0, Some(2));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    for arguments in [&["request", "list"][..], &["request", "export", "out"], &["request", "clear"]] {
        let (code, text) = said(&run(folder.path(), arguments).await);
        assert!(code == Some(2) && text.contains("no cache directory"), "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_taken_back() {
    let scene = with(&[]).await;
    let folder = scene.folder.path();
    assert!(run(folder, &["request", "add", "A", "A@1", "A@2", "B@1", "C"]).await.status.success());
    let store = Store::open(&scene.cache()).unwrap();
    assert!(run(folder, &["request", "remove", "A@1"]).await.status.success());
    assert_eq!(texts(&store), set(&["A", "A@2", "B@1", "C"]));
    assert!(run(folder, &["request", "remove", "A", "B"]).await.status.success());
    assert_eq!(texts(&store), set(&["C"]));
    let (code, text) = said(&run(folder, &["request", "remove", "A"]).await);
    assert!(code == Some(1) && text.contains("nobody wished for A"), "{text}");
    assert!(run(folder, &["request", "clear"]).await.status.success());
    assert_eq!(texts(&store), set(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_ask_at_once_lose_nothing() {
    let scene = with(&[]).await;
    let ask = |letter: char| {
        let names: Vec<_> = (0..20).map(|number| format!("{letter}{number}")).chain(["Both".to_owned()]).collect();
        let mut add = command(scene.folder.path());
        add.args(["request", "add"]).args(names);
        async move { add.output().await.unwrap().status.success() }
    };
    assert_eq!(tokio::join!(ask('A'), ask('B'), ask('C')), (true, true, true));
    let wishes = Store::open(&scene.cache()).unwrap().wishes().unwrap();
    assert_eq!(wishes.len(), 61);
    assert_eq!(wishes.iter().find(|known| known.wish.name == "Both").unwrap().count, 3);
}

fn miss(resource: Resource) -> Miss {
    let now = jiff::Timestamp::now();
    let client = Client { julia: Some("1.10.2".into()), system: Some("x86_64-linux-gnu".into()) };
    Miss {
        resource,
        name: None,
        version: None,
        reason: Reason::Offline,
        detail: None,
        first: now,
        last: now,
        count: 3,
        client,
    }
}

/// Sets a file of the cache aside as damaged.
fn damage(store: &Store, resource: Resource) {
    let path = store.path(&resource);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "damaged").unwrap();
    let stamp = Stamp::of(&fs::metadata(&path).unwrap());
    assert!(store.quarantine(&resource, stamp).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_exactly_what_is_here_lacked_and_wished_for() {
    let scene = with(&["Greeting/1.1.0", "Pebble/1.1.0"]).await;
    let folder = scene.folder.path();
    let store = Arc::new(Store::open(&scene.cache()).unwrap());
    let (atlas, missed) = (sample("lantern-atlas"), sample("Pebble/2.0.0"));
    // It came by rsync: nobody has verified it. Another such file is damaged.
    let (copied, rotten) = (sample("greeting-text-1"), sample("Lantern/0.2.0"));
    for (resource, body) in
        [(copied, scene.upstream.body(&copied.to_string()).unwrap().to_vec()), (rotten, b"rotten".to_vec())]
    {
        let path = store.path(&resource);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }
    // What was damaged once and is here again is not asked for.
    damage(&store, atlas);
    let greeting = fs::read(store.path(&sample("Greeting/1.1.0"))).unwrap();
    damage(&store, sample("Greeting/1.1.0"));
    fs::write(store.path(&sample("Greeting/1.1.0")), greeting).unwrap();
    // What was missed once and is here by now is not asked for.
    store.misses().append(&[miss(missed), miss(sample("Pebble/1.1.0"))]).unwrap();
    // What was derived here once nobody outside has, whether a client asks for it or it was damaged.
    let derived = Resource::Registry { uuid: airlock::protocol::GENERAL, tree: atlas.tree() };
    store.misses().append(&[miss(derived)]).unwrap();
    damage(&store, derived);
    store.add_wishes(&["Faraway@0", "Nobody", "Greeting@1.1"].map(|wish| wish.parse::<Wish>().unwrap())).unwrap();
    store.remember_julia_versions(["1.10.4".parse().unwrap()]).unwrap();
    fs::write(scene.cache().join(".airlock/platforms"), "# a comment\nx86_64-linux-musl\n\naarch64-linux-gnu\n")
        .unwrap();

    let dry = run(folder, &["request", "export", "--dry-run", "--json", "out.json"]).await;
    let summary = json_of(&dry);
    assert_eq!(
        (&summary["written"], &summary["unverified"], &summary["verified"]),
        (&json!(false), &json!(3), &Value::Null)
    );
    assert!(!folder.join("out.json").exists() && store.has(&rotten) && store.activities().unwrap().is_empty());

    let output = run(folder, &["request", "export", "--name", "lab-2", "out.json"]).await;
    let (code, text) = said(&output);
    assert_eq!(code, Some(1), "damage was found: {text}");
    assert!(
        text.contains("request of lab-2 written to out.json: 4 resources here, 1 miss, 2 wishes, 2 damaged"),
        "{text}"
    );
    assert!(text.contains(&format!("damaged: {rotten}")), "{text}");
    let bytes = fs::read(folder.join("out.json")).unwrap();
    let written: Value = serde_json::from_slice(&bytes).unwrap();
    let paths = |resources: &[Resource]| resources.iter().copied().collect::<BTreeSet<_>>();
    let general = sample("General");
    let expected = json!({
        "airlock_request": 1,
        "created": written["created"],
        "site": store.site().unwrap(),
        "name": "lab-2",
        "platforms": ["aarch64-linux-gnu", "x86_64-linux-musl"],
        "julia": ["1.10.4"],
        "registries": [general],
        "inventory": paths(&[general, sample("Greeting/1.1.0"), sample("Pebble/1.1.0"), copied]),
        "misses": [{"resource": missed, "name": "Pebble", "version": "2.0.0", "count": 3}],
        "wishes": ["Nobody", "Faraway@0"],
        "damaged": [{"resource": rotten}, {"resource": atlas}],
        "received": [],
    });
    let sorted = |mut value: Value| {
        value["wishes"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        value
    };
    assert_eq!(sorted(written), sorted(expected));
    let text = String::from_utf8(bytes).unwrap();
    for private in ["127.0.0.1", "1.10.2", "x86_64-linux-gnu", "host", folder.to_str().unwrap()] {
        assert!(!text.contains(private), "{private} is nobody's business: {text}");
    }
    assert_eq!(Request::parse(text.as_bytes()).unwrap().to_json(), text.as_bytes());
    let activity = store.activities().unwrap();
    assert_eq!((activity.len(), activity[0].what, activity[0].complete), (1, Action::Request, false));

    // The second time nothing is wrong any more, and standard output gets the same.
    let again = run(folder, &["request", "export", "-"]).await;
    assert!(again.status.success(), "{:?}", said(&again));
    let again = Request::parse(&again.stdout).unwrap();
    assert_eq!(again.inventory.len(), 4);
    let digits = again.site.to_string()[..8].to_owned();
    assert_eq!(again.name, format!("site-{digits}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_be_is_wrong_usage_and_writes_nothing() {
    let scene = with(&[]).await;
    let folder = scene.folder.path();
    fs::create_dir(folder.join("folder")).unwrap();
    for (arguments, words) in [
        (&["request", "export"][..], "FILE"),
        (&["request", "export", "--name", "../x", "out"], "name of a site"),
        (&["request", "export", "--json", "-"], "standard output"),
        (&["request", "export", "folder"], "not a plain file"),
        (&["request", "export", "nowhere/out"], "cannot write the request"),
    ] {
        let (code, text) = said(&run(folder, arguments).await);
        assert!(code == Some(2) && text.contains(words), "{arguments:?}: {text}");
    }
    assert!(!folder.join("out").exists());
    fs::write(folder.join("airlock.toml"), "[request]\nname = 'lab-3'\n").unwrap();
    assert!(run(folder, &["request", "export", "out"]).await.status.success());
    let request = Request::parse(&fs::read(folder.join("out")).unwrap()).unwrap();
    assert_eq!(request.name, "lab-3");
    assert!(!request.platforms.contains(&"host".to_owned()), "{:?}", request.platforms);
    let named = command(folder).args(["request", "export", "out"]).env("AIRLOCK_REQUEST_NAME", "lab-4").output();
    assert!(named.await.unwrap().status.success());
    assert_eq!(Request::parse(&fs::read(folder.join("out")).unwrap()).unwrap().name, "lab-4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prewarm_of_a_request_fetches_what_is_missed_and_what_was_damaged() {
    let inside = with(&["Greeting/1.1.0", "greeting-text-1"]).await;
    let (missed, lost) = (sample("Pebble/2.0.0"), sample("lantern-atlas"));
    let mirror = mirror(&inside.offline());
    mirror.store().misses().append(&[miss(missed)]).unwrap();
    damage(mirror.store(), lost);
    mirror.store().add_wishes(&["Faraway".parse().unwrap()]).unwrap();
    mirror.load_names().await;
    let config = Config { site_name: Some("lab-2".into()), ..inside.offline() };
    let gathered =
        tokio::task::spawn_blocking(move || gather(&mirror, &config, Some(1), &|_, _| {}).unwrap()).await.unwrap();

    let outside = Scene::new().await;
    // Whatever it is called: its content tells.
    let file = outside.folder.path().join("Manifest.toml");
    airlock::request::write(&gathered.request, &file).unwrap();
    let output =
        run(outside.folder.path(), &["prewarm", "--json", "--upstream", &outside.upstream.url(), "Manifest.toml"])
            .await;
    assert!(output.status.success(), "{:?}", said(&output));
    let report = json_of(&output);
    assert_eq!(report["inputs"][0]["kind"], "request");
    let warning = report["inputs"][0]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("Faraway") && warning.contains("airlock bundle export --for"), "{warning}");
    assert_eq!(
        (&report["packages"][0]["name"], &report["packages"][0]["version"]),
        (&json!("Pebble"), &json!("2.0.0"))
    );
    let store = Store::open(&outside.cache()).unwrap();
    assert!(store.has(&missed) && store.has(&lost) && !store.has(&sample("Greeting/1.1.0")));
    assert_eq!(store.resources(Kind::Package).count(), 1, "wishes are not prewarmed");

    fs::write(&file, "{\"airlock_request\": 1, \"site\": 7}").unwrap();
    let broken = run(outside.folder.path(), &["prewarm", "--dry-run", "Manifest.toml"]).await;
    assert!(
        said(&broken).0 == Some(1) && said(&broken).1.contains("Manifest.toml: not a request"),
        "{:?}",
        said(&broken)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_its_artifacts_is_still_wished_for() {
    let scene = with(&["Greeting/1.1.0"]).await;
    let mirror = mirror(&scene.offline());
    mirror.load_names().await;
    mirror.store().add_wishes(&["Greeting@1.1".parse().unwrap()]).unwrap();
    let open = || mirror.open_wishes(usize::MAX).unwrap().len();
    assert_eq!(open(), 1, "the view shows it as yanked: no resolver takes it");
    let artifact = scene.cache().join(sample("greeting-text-1").relative_path());
    fs::create_dir_all(artifact.parent().unwrap()).unwrap();
    fs::write(&artifact, Site::sample().unwrap().body(&sample("greeting-text-1").to_string()).unwrap()).unwrap();
    assert_eq!(open(), 1, "nobody has verified it yet");
    mirror.rescan().await;
    assert_eq!(open(), 0);
}
