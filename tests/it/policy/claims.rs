//! What private registries have and had, as far as that can be known: what cannot be told is asked of nobody.

use super::{ACME_DATA, ACME_TOOLS, Acme, Scene, statuses, store, uuid};
use crate::support::{config, mirror, parts};
use airlock::mirror::{Ask, Mirror};
use airlock::prewarm::{self, Report, Request};
use airlock::protocol::{Flavor, GENERAL, Resource};
use airlock::sample::{Fault, SampleUpstream, Site};
use airlock::tree::TarEntry;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const UNHEARD: &str = "ff0e0e0e-0000-4000-8000-000000000001";

/// A manifest with a package that nobody here has heard of.
fn unheard() -> (String, String) {
    let tree = "0e".repeat(20);
    let entry = format!("[[Unheard]]\nuuid = '{UNHEARD}'\ngit-tree-sha1 = '{tree}'\nversion = '1.0.0'\n");
    (entry, format!("/package/{UNHEARD}/{tree}"))
}

/// A mirror before the public upstream and one of its own.
fn behind(scene: &Scene, dmz: &SampleUpstream, policy: &str) -> Arc<Mirror> {
    let table = |url: String, public: bool| format!("[[upstream]]\nurl = '{url}'\npublic = {public}\n");
    let tables = table(dmz.url(), false) + &table(scene.public.url(), true);
    mirror(&config(&scene.cache(), &[], &format!("mirror.cooldown = '1ms'\n{policy}\n{tables}")))
}

async fn one_by_one(scene: &Scene, mirror: &Arc<Mirror>, path: PathBuf) -> Report {
    let mut request = Request::new(vec![path], &scene.config("")).unwrap();
    (request.attempts, request.jobs) = (1, 1);
    prewarm::run(Arc::clone(mirror), request, &()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_out_of_a_private_registry_stays_private() {
    let scene = Scene::new().await;
    scene.refresh(&scene.mirror("", Some(&scene.acme.source()))).await;
    let now = Acme::having(&["AcmeData"]).source();
    let mirror = scene.mirror("", Some(&now));
    let report = scene.prewarm(&mirror, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
    assert_eq!(statuses(&report), ["AcmeData Fetched", "AcmeTools Denied", "Greeting Fetched"]);
    let why = report.packages[1].reason.as_deref().unwrap();
    assert!(why.contains("it is private: it belongs to https://git.acme.invalid/AcmeRegistry.git"), "{why}");
    assert_eq!(scene.leaked(), [].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_out_of_a_registry_that_is_private_by_rule_stays_private() {
    let scene = Scene::new().await;
    for rule in ["registry:AcmeRegistry".to_owned(), format!("registry:{}", super::ACME_REGISTRY)] {
        let dmz = SampleUpstream::start(scene.acme.site.clone()).await.unwrap();
        let policy = format!("policy.private = ['{rule}']");
        let mirror = behind(&scene, &dmz, &policy);
        scene.refresh(&mirror).await;
        let less = Acme::having(&["AcmeData"]).site;
        for path in Flavor::ALL.map(|flavor| format!("/{}", flavor.file_name())) {
            dmz.put(&path, less.body(&path).unwrap().clone());
        }
        for resource in less.resources() {
            dmz.put(&resource.to_string(), less.body(&resource.to_string()).unwrap().clone());
        }
        dmz.remove(&scene.acme.tools.to_string());
        for mirror in [mirror, behind(&scene, &dmz, &policy)] {
            scene.prewarm(&mirror, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
            assert_eq!(scene.leaked(), [].into(), "{rule}");
        }
        fs_err::remove_dir_all(scene.cache()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_a_registry_that_is_not_here_keeps_back_what_only_a_manifest_names() {
    let scene = Scene::new().await;
    let dmz = SampleUpstream::start(scene.acme.site.clone()).await.unwrap();
    for path in Flavor::ALL.map(|flavor| format!("/{}", flavor.file_name())) {
        (0..99).for_each(|_| dmz.fail(&path, Fault::Status(500, None)));
    }
    for rule in ["registry:AcmeRegistry".to_owned(), format!("registry:{}", super::ACME_REGISTRY)] {
        let mirror = behind(&scene, &dmz, &format!("policy.private = ['{rule}']"));
        dmz.fail(&scene.acme.tools.to_string(), Fault::Status(404, None));
        let report = scene.prewarm(&mirror, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
        assert_eq!(scene.leaked(), [].into(), "{report:#?}");
        assert!(
            store(&mirror).has(&crate::view::resource("Greeting/1.1.0")),
            "what a public registry has is asked for"
        );
    }
    // By itself, the rule is enough.
    let alone = scene.mirror("policy.private = ['registry:AcmeRegistry']", None);
    let report = scene.prewarm(&alone, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
    let why = report.packages.iter().find_map(|it| it.reason.as_deref()).unwrap();
    assert!(why.contains("what is in registry:AcmeRegistry now is not known"), "{why}");
    assert_eq!(scene.leaked(), [].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_upstream_of_ones_own_lists_nothing_or_not_all_no_name_in_a_manifest_is_enough() {
    let scene = Scene::new().await;
    let dmz = SampleUpstream::start(scene.acme.site.clone()).await.unwrap();
    let mirror = behind(&scene, &dmz, "policy.private = ['registry:AcmeRegistry']");
    scene.refresh(&mirror).await;
    let (entry, path) = unheard();
    let manifest = scene.file("Manifest.toml", &entry);
    let listings = Flavor::ALL.map(|flavor| format!("/{}", flavor.file_name()));
    for listing in &listings {
        dmz.fail(listing, Fault::Status(500, None));
    }
    scene.prewarm(&mirror, std::slice::from_ref(&manifest)).await;
    assert_eq!(scene.public.gets(&path), 0, "its listing failed");
    let next = format!("/registry/{}/{}\n", super::ACME_REGISTRY, "12".repeat(20));
    let before = dmz.body(&listings[0]).unwrap();
    dmz.put(&listings[0], next);
    scene.prewarm(&mirror, std::slice::from_ref(&manifest)).await;
    assert_eq!(scene.public.gets(&path), 0, "a registry that it lists cannot be had");
    dmz.put(&listings[0], before);
    scene.prewarm(&mirror, &[manifest]).await;
    assert_eq!(scene.public.gets(&path), 1, "the test would see it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_can_be_had_does_not_hide_that_its_registry_could_not_be_asked() {
    let scene = Scene::new().await;
    let acme = scene.acme.source();
    scene.refresh(&scene.mirror("", Some(&acme))).await;
    acme.is_away.store(true, Ordering::Relaxed);
    let (entry, path) = unheard();
    let mirror = scene.mirror("", Some(&acme));
    let manifest = scene.file("Manifest.toml", &(scene.acme.manifest() + &entry));
    let report = one_by_one(&scene, &mirror, manifest).await;
    assert_eq!(statuses(&report), ["AcmeData Fetched", "AcmeTools Fetched", "Greeting Fetched", "Unheard Denied"]);
    assert_eq!(scene.public.gets(&path), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_a_request_names_is_as_private_as_the_package_that_it_names_for_it() {
    let scene = Scene::new().await;
    let acme = scene.acme.source();
    acme.packages_only.store(true, Ordering::Relaxed);
    let mirror = scene.mirror("fallback.download = 'never'", Some(&acme));
    let greeting = crate::view::resource("greeting-text-1");
    for owner in ["AcmeData", "WhatAcmeHadOnce"] {
        let measured = format!("measured of {owner}");
        let asked = super::request(&[(scene.acme.artifact, &measured), (greeting, "text of Greeting")], &[]);
        let report = scene.prewarm(&mirror, &[scene.file("request.json", &asked)]).await;
        assert_eq!((report.totals.denied, scene.leaked()), (1, [].into()), "{owner} {report:#?}");
    }
    assert!(store(&mirror).has(&greeting), "what is of a public package is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifacts_toml_is_of_the_package_beside_it() {
    let scene = Scene::new().await;
    let project = |name: &str, uuid: &str| format!("name = \"{name}\"\nuuid = \"{uuid}\"\n");
    let artifacts = scene.file("Artifacts.toml", &scene.acme.artifacts());
    for (uuid, name, leaks) in [(ACME_DATA, "Data", 0), (UNHEARD, "AcmeData", 0), (UNHEARD, "Unheard", 1)] {
        scene.file("Project.toml", &project(name, uuid));
        let private = if name == "AcmeData" { "policy.private = ['Acme*']" } else { "" };
        let acme = scene.acme.source();
        acme.packages_only.store(true, Ordering::Relaxed);
        let mirror = scene.mirror(private, Some(&acme));
        scene.prewarm(&mirror, std::slice::from_ref(&artifacts)).await;
        assert_eq!(scene.leaked().len(), leaks, "{name} {uuid}: {:?}", scene.leaked());
    }
}

/// A public registry that has `AcmeTools` too, in a version of its own.
fn fork() -> (Site, Resource) {
    let mut site = Site::sample().unwrap();
    let file = |path: &str, text: String| TarEntry::file(path, text, false);
    let tools = site.add_package(uuid(ACME_TOOLS), [file("README", "public\n".to_owned())]).unwrap();
    let registry = format!(
        "name = \"Forks\"\nuuid = \"{UNHEARD}\"\n[packages]\n{ACME_TOOLS} = {{ name = \"AcmeTools\", path = \"T\" }}\n"
    );
    let versions = format!("[\"1.0.0\"]\ngit-tree-sha1 = \"{}\"\n", tools.tree());
    let package = format!("name = \"AcmeTools\"\nuuid = \"{ACME_TOOLS}\"\n");
    let files = [("Registry.toml", registry), ("T/Versions.toml", versions), ("T/Package.toml", package)];
    site.add_registry(uuid(UNHEARD), files.map(|(path, text)| file(path, text))).unwrap();
    (site, tools)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_a_public_registry_has_is_public_though_a_private_one_has_others() {
    let scene = Scene::new().await;
    let (site, public) = fork();
    let upstream = SampleUpstream::start(site).await.unwrap();
    let private = scene.acme.tools;
    for (rules, is_public) in
        [("", true), ("policy.private = ['registry:Forks']", false), ("policy.private = ['AcmeTools']", false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[upstream.url()], &format!("mirror.cooldown = '1ms'\n{rules}"));
        let (store, servers) = parts(&config);
        let acme = scene.acme.source() as Arc<dyn airlock::source::Source>;
        let mirror = Arc::new(Mirror::new(store, [acme].into_iter().chain(servers).collect(), &config));
        scene.refresh(&mirror).await;
        let before = upstream.gets(&public.to_string());
        let asked = mirror.get(&public, &Ask::default()).await.map(drop);
        assert_eq!(
            (asked.is_ok(), upstream.gets(&public.to_string()) - before),
            (is_public, usize::from(is_public)),
            "{rules}"
        );
        mirror.get(&private, &Ask::default()).await.map(drop).unwrap();
        let other = Resource::Package { uuid: uuid(ACME_TOOLS), tree: private.tree() };
        assert_eq!(upstream.gets(&other.to_string()), 0, "its own version came from Acme");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_a_private_package_needs_no_age_either() {
    let scene = Scene::new().await;
    scene.refresh(&scene.mirror("", Some(&scene.acme.source()))).await;
    let file = "policy.min-age = '7d'\n[[registry]]\ngit = 'https://git.acme.invalid/AcmeRegistry.git'";
    let config = config(&scene.cache(), &[], file);
    let offline =
        Arc::new(Mirror::new(Arc::new(airlock::store::Store::open(&scene.cache()).unwrap()), Vec::new(), &config));
    offline.know_names().await;
    let forbids = |package: Resource| offline.forbids(package.uuid().unwrap(), package.tree());
    assert_eq!(forbids(scene.acme.tools), None);
    assert!(offline.standing(&offline.subject(&scene.acme.tools)).privacy.is_private());
    assert!(forbids(crate::view::resource("Greeting/1.1.0")).unwrap().starts_with("too young"));
    assert!(store(&offline).first_seen(GENERAL).unwrap().count() > 0);
}
