//! What is allowed and what is denied, for fetching and for serving.

use super::{Scene, airlock, demo, general, greeting, statuses, store};
use crate::support::{Airlock, config};
use crate::view::{CLOSURE, carry, resource};
use airlock::protocol::{Flavor, Kind, Resource};
use airlock::store::Reason;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_not_asked_for_and_prewarm_says_which_rule_it_was() {
    let scene = Scene::new().await;
    let mirror = scene.mirror("policy.deny = ['Lantern']", None);
    let report = scene.prewarm(&mirror, &[demo()]).await;
    let lantern = report.packages.iter().find(|package| package.name.as_deref() == Some("Lantern")).unwrap();
    assert_eq!(lantern.reason.as_deref(), Some("denied: policy.deny has \"Lantern\""));
    assert_eq!((report.totals.denied, report.totals.failed, report.exit_code()), (1, 0, 1));
    assert_eq!(scene.public.gets(&resource("Lantern/0.2.0").to_string()), 0);
    assert!(statuses(&report).contains(&"Greeting Fetched".to_owned()), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allow_list_lets_in_what_it_names_and_no_dependency() {
    let scene = Scene::new().await;
    let mirror = scene.mirror("policy.allow = ['Greeting']", None);
    let report = scene.prewarm(&mirror, &[demo()]).await;
    let fetched: Vec<_> = statuses(&report).into_iter().filter(|it| !it.ends_with("Denied")).collect();
    assert_eq!(fetched, ["Greeting Fetched"]);
    let artifacts: Vec<_> = store(&mirror).resources(Kind::Artifact).map(Result::unwrap).collect();
    assert_eq!(artifacts, [resource("greeting-text-1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_denied_is_not_taken_and_that_is_no_failure() {
    let scene = Scene::new().await;
    let mirror = scene.mirror("policy.deny = ['registry:General']", None);
    scene.refresh(&mirror).await;
    assert_eq!(scene.public.gets(&general().to_string()), 0);
    assert_eq!(store(&mirror).listing(Flavor::Plain).unwrap(), None);
}

const WICK: &str = "lantern-wick-x86_64-linux-gnu-libgfortran4";

/// Everything of the demo is on disk.
fn carried(file: &str) -> (tempfile::TempDir, airlock::config::Config) {
    let folder = tempfile::tempdir().unwrap();
    carry(folder.path(), &CLOSURE);
    let config = config(folder.path(), &[], &format!("view.platform = ['x86_64-linux-gnu']\n{file}"));
    (folder, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_not_served_from_disk_nor_from_memory() {
    let (_folder, config) = carried("[policy.serve]\ndeny = ['Lantern']");
    let server = Airlock::quiet(&config).await;
    server.mirror.rescan().await;
    let pebble = resource("Pebble/1.1.0").to_string();
    for _ in 0..2 {
        assert_eq!(server.get(&pebble).await.status(), 200);
        let answer = server.get(&resource("Lantern/0.2.0").to_string()).await;
        assert_eq!(answer.status(), 404);
        let text = answer.text().await.unwrap();
        assert!(text.starts_with("Lantern 0.2.0 (") && text.contains("the policy of this mirror denies it"), "{text}");
        let shared = server.get(&resource("greeting-text-1").to_string()).await;
        assert_eq!(shared.status(), 200, "another names it too");
        assert_eq!(server.get(&resource(WICK).to_string()).await.status(), 404, "its artifact");
    }
    let generated = format!("{}/Artifacts.toml", resource(WICK));
    assert_eq!(server.get(&generated).await.status(), 404);
    let misses = server.mirror.all_misses().await.unwrap();
    assert!(!misses.is_empty() && misses.iter().all(|miss| miss.reason == Reason::Denied), "{misses:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_leaves_out_what_is_not_served() {
    let (_folder, config) = carried("policy.serve.deny = ['Greeting']");
    let mirror = crate::support::mirror(&config);
    mirror.rescan().await;
    let derived = mirror.served(Flavor::Plain).unwrap().remove(0).derived.unwrap();
    assert_eq!((derived.packages, derived.versions), (3, 3), "{derived:?}");
    let packages = mirror.packages_by_name().unwrap();
    let status = packages.status(&"Greeting".parse().unwrap());
    assert_eq!(status.here, None, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_served_is_not_listed() {
    let (_folder, config) = carried("policy.serve.deny = ['registry:General']");
    let server = Airlock::quiet(&config).await;
    server.mirror.rescan().await;
    assert_eq!(server.get("/registries").await.status(), 503);
    assert_eq!(server.get(&general().to_string()).await.status(), 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_which_no_name_is_known_is_not_served_where_names_are_denied() {
    let (folder, config) = carried("policy.serve.deny = ['registry:Acme*']");
    let acme = super::Acme::new();
    let server = Airlock::quiet(&config).await;
    server.mirror.rescan().await;
    let path = folder.path().join(acme.registry.relative_path());
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, acme.site.body(&acme.registry.to_string()).unwrap()).unwrap();
    assert_eq!(server.get(&acme.registry.to_string()).await.status(), 404, "it is in no listing");
    let listing = format!("{}\n{}\n", general(), acme.registry);
    fs_err::write(folder.path().join("registries"), listing).unwrap();
    let listed = server.get("/registries").await.text().await.unwrap();
    assert!(listed.lines().count() == 1 && !listed.contains(super::ACME_REGISTRY), "{listed}");
    assert_eq!(server.get(&acme.registry.to_string()).await.status(), 404);
    assert_eq!(server.get(&general().to_string()).await.status(), 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_none_is_read_and_said_once_however_much_is_asked() {
    let (folder, _) = carried("");
    let mut site = airlock::sample::Site::empty();
    let toml = airlock::tree::TarEntry::file("Registry.toml", "name = ", false);
    let broken = site.add_registry(super::uuid(super::ACME_REGISTRY), [toml]).unwrap();
    let path = folder.path().join(broken.relative_path());
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, site.body(&broken.to_string()).unwrap()).unwrap();
    fs_err::write(folder.path().join("registries"), format!("{}\n{broken}\n", general())).unwrap();
    let config = folder.path().join("airlock.toml");
    fs_err::write(&config, "offline = true\npolicy.serve.deny = ['Faraway']\n").unwrap();
    let mut serve = crate::binary::command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("AIRLOCK_CONFIG", &config);
    serve.env("AIRLOCK_CACHE", folder.path());
    let mut serving = crate::binary::Serving::start(serve).await;
    let mut said = serving.heard.clone();
    for digit in 1..4 {
        let path = format!("/artifact/{digit:040}");
        assert_eq!(crate::support::client().get(format!("{}{path}", serving.url)).send().await.unwrap().status(), 404);
        said += &serving.hears_up_to(&path).await.concat();
    }
    assert_eq!(said.matches("WARN cannot be read").count(), 1, "{said}");
    serving.stop(rustix::process::Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_not_chosen() {
    let (_folder, config) = carried("policy.serve.deny = ['Greeting']");
    let mirror = crate::support::mirror(&config);
    mirror.know_names().await;
    let (uuid, tree) = greeting("1.1.0");
    assert_eq!(mirror.forbids(uuid, tree).as_deref(), Some("denied: policy.serve.deny has \"Greeting\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_is_looked_up_in_no_registry_that_is_not_served() {
    let wish = async |file: &str| {
        let (_folder, config) = carried(file);
        let server = Airlock::quiet(&config).await;
        server.mirror.rescan().await;
        let form = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
        let mut request = crate::support::client().post(server.url("/request")).body("name=Greeting");
        for (name, value) in form {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap().text().await.unwrap();
        server.stop().await;
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()["registry"].clone()
    };
    assert_eq!(wish("").await, "General");
    assert_eq!(wish("policy.serve.deny = ['registry:General']").await, serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_registries_and_artifacts_hold_for_what_is_theirs() {
    let artifact = resource("greeting-text-1");
    let by_tree = format!("artifact:{}", artifact.tree());
    for (rules, greeting, text) in [
        (format!("policy.deny = ['{by_tree}']"), 200, 404),
        (format!("policy.allow = ['{by_tree}']"), 404, 200),
        ("policy.allow = ['registry:General']".to_owned(), 200, 200),
        ("policy.deny = ['registry:General']".to_owned(), 404, 404),
        ("policy.allow = ['registry:Other']".to_owned(), 404, 404),
    ] {
        let (_folder, config) = carried(&rules);
        let server = Airlock::quiet(&config).await;
        server.mirror.rescan().await;
        let status = async |resource: Resource| server.get(&resource.to_string()).await.status().as_u16();
        assert_eq!((status(resource("Greeting/1.1.0")).await, status(artifact).await), (greeting, text), "{rules}");
        server.stop().await;
    }
}

#[tokio::test]
async fn rules_that_fit_no_registry_here_are_said() {
    let (folder, _) = carried("");
    let file = "[policy]\nprivate = ['registry:Gneral', 'registry:General']\n[access]\nprivate-registries = ['Acme']\n";
    let (code, _, said) = airlock(folder.path(), file, &["policy"]).await;
    let lines: Vec<_> = said.lines().collect();
    let expected = [
        "policy.private has \"registry:Gneral\", and no registry here fits that (yet)",
        "access.private-registries has \"registry:Acme\", and no registry here fits that (yet)",
    ];
    assert_eq!((code, &lines[..]), (0, &expected[..]));
}

#[tokio::test]
async fn check_says_what_is_denied() {
    let (folder, _) = carried("");
    let file = "prewarm.platform = ['x86_64-linux-gnu']\nprewarm.no-lazy = true\npolicy.deny = ['Pebble']\n";
    let (code, document, _) = airlock(folder.path(), file, &["check", "--json", demo().to_str().unwrap()]).await;
    let report: serde_json::Value = serde_json::from_str(&document).unwrap();
    let denied: Vec<_> = report["resources"].as_array().unwrap().iter().filter(|it| it["status"] == "denied").collect();
    let [pebble] = denied[..] else { panic!("{report:#}") };
    let said = (pebble["name"].as_str(), pebble["reason"].as_str());
    assert_eq!(said, (Some("Pebble"), Some("denied: policy.deny has \"Pebble\"")));
    assert_eq!((code, &report["totals"]["denied"]), (1, &1.into()));
}

#[tokio::test]
async fn a_rule_that_makes_no_sense_is_wrong_usage_and_its_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, said) =
        airlock(folder.path(), "[policy.fetch]\ndeny = ['Good', 'uuid:nonsense']\n", &["policy"]).await;
    assert_eq!((code, said.trim_end()), (2, "airlock: policy.fetch.deny: \"uuid:nonsense\": that is no uuid"));
}

#[tokio::test]
async fn explain_says_what_holds_and_why() {
    let (folder, _) = carried("");
    let rules = "offline = true\n[policy]\nallow = ['P*', 'Greeting']\ndeny = ['Pebble']\nprivate = ['Gr*', 'registry:ac3e0000-0000-4000-8000-0000000000ff']\nmin-age = '7d'\n";
    let explain = async |what: &str| {
        let (code, document, said) = airlock(folder.path(), rules, &["policy", "explain", "--json", what]).await;
        let document: serde_json::Value = serde_json::from_str(&document).unwrap_or_else(|_| panic!("{said}"));
        (code, document)
    };
    let (code, pebble) = explain("Pebble").await;
    assert_eq!((code, &pebble["subjects"][0]["fetch"]["why"]["list"]), (1, &"policy.deny".into()));
    let (code, document) = explain("Greeting@1.1").await;
    let subject = &document["subjects"][0];
    let held = (code, &subject["private"], &subject["fetch"]["allowed"]);
    assert_eq!(held, (0, &true.into(), &true.into()), "{document:#}");
    assert_eq!(subject["versions"].as_array().unwrap().len(), 1);
    assert_eq!((&subject["versions"][0]["version"], &subject["versions"][0]["here"]), (&"1.1.0".into(), &true.into()));
    let (uuid, tree) = greeting("1.1.0");
    for what in
        [uuid.to_string().to_uppercase(), tree.to_string().to_uppercase(), uuid.to_string(), "Greeting".to_owned()]
    {
        assert_eq!(explain(&what).await.1["subjects"][0]["name"], "Greeting", "{what}");
    }
    for what in ["Greeting@=1.1.0", "Greeting@1.1.0"] {
        let versions = explain(what).await.1["subjects"][0]["versions"].clone();
        let versions: Vec<_> = versions.as_array().unwrap().iter().map(|it| it["version"].clone()).collect();
        assert_eq!(versions, ["1.1.0"], "{what}");
    }
    assert!(explain("Greeting@1").await.1["subjects"][0]["versions"].as_array().unwrap().len() > 1);
    let (_, document) = explain("AC3E0000-0000-4000-8000-0000000000ff").await;
    assert_eq!(document["subjects"][0]["kind"], "registry", "a rule says so");
    let (code, unknown) = explain("Nobody").await;
    assert_eq!((code, &unknown["subjects"][0]["fetch"]["why"]["rule"]), (1, &serde_json::Value::Null));
    assert_eq!(explain(&airlock::protocol::GENERAL.to_string()).await.1["subjects"][0]["kind"], "registry");
    // Verified by whoever serves it first: only then is it known what names the artifact.
    crate::support::mirror(&config(folder.path(), &[], "")).rescan().await;
    let artifact = explain(&resource("greeting-text-1").tree().to_string()).await.1;
    assert_eq!(artifact["subjects"][0]["packages"], serde_json::json!(["Greeting", "Lantern"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_brings_is_judged_by_the_name_that_came_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &[], "policy.serve.deny = ['Lantern']");
    let server = Airlock::quiet(&config).await;
    let lantern = resource("Lantern/0.2.0").to_string();
    assert_eq!(server.get(&lantern).await.status(), 404, "nothing is here yet");
    carry(folder.path(), &CLOSURE);
    crate::support::mirror(&config).rescan().await;
    for _ in 0..2 {
        assert_eq!(server.get(&resource(WICK).to_string()).await.status(), 404, "its artifact");
        assert_eq!(server.get(&lantern).await.status(), 404);
    }
    assert_eq!(server.get(&resource("Pebble/1.1.0").to_string()).await.status(), 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_for_fetching_is_asked_for_on_behalf_of_no_client() {
    let scene = Scene::new().await;
    let server = Airlock::quiet(&scene.config("[policy.fetch]\ndeny = ['Lantern']")).await;
    scene.refresh(&server.mirror).await;
    let lantern = resource("Lantern/0.2.0").to_string();
    for method in [reqwest::Method::HEAD, reqwest::Method::GET] {
        assert_eq!(server.request(method, &lantern, &[]).await.status(), 404);
    }
    assert_eq!(scene.public.gets(&lantern), 0);
    assert_eq!(server.get(&resource("Pebble/1.1.0").to_string()).await.status(), 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_already_is_denied_too_once_its_name_is_known() {
    let folder = tempfile::tempdir().unwrap();
    carry(folder.path(), &["Lantern/0.2.0"]);
    let server = Airlock::quiet(&config(folder.path(), &[], "policy.serve.deny = ['Lantern']")).await;
    let lantern = resource("Lantern/0.2.0").to_string();
    for _ in 0..2 {
        assert_eq!(server.get(&lantern).await.status(), 200, "nobody can tell what it is");
    }
    carry(folder.path(), &["General"]);
    server.mirror.rescan().await;
    assert_eq!(server.get(&lantern).await.status(), 404);
    server.stop().await;
}
