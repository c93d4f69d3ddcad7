//! What is private is asked of no public upstream, whoever names it.

use super::{ACME_TOOLS, Scene, general, statuses, store};
use crate::support::{Airlock, config, mirror};
use airlock::mirror::{Ask, Refusal};
use airlock::policy::Privacy;
use airlock::protocol::{Flavor, Resource};
use airlock::sample::{Fault, SampleUpstream, Site};
use airlock::store::Reason;
use std::sync::atomic::Ordering;

/// Runs everything that could name something private, against a mirror.
async fn name_everything(scene: &Scene, mirror: &std::sync::Arc<airlock::mirror::Mirror>) {
    let inputs = [
        ("Artifacts.toml", scene.acme.artifacts()),
        ("misses.txt", scene.acme.misses()),
        ("Manifest.toml", scene.acme.manifest()),
    ];
    let ask = || async {
        for resource in scene.acme.all() {
            for head in [true, false] {
                let _ = mirror.get(&resource, &Ask { head, ..Ask::default() }).await;
            }
        }
    };
    ask().await;
    for (name, text) in inputs {
        scene.prewarm(mirror, &[scene.file(name, &text)]).await;
    }
    ask().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_answers_for_its_own_and_no_public_upstream_hears_of_it() {
    let scene = Scene::new().await;
    let mirror = scene.mirror("", Some(&scene.acme.source()));
    name_everything(&scene, &mirror).await;
    assert_eq!(scene.leaked(), [].into());
    assert_eq!(scene.public.gets(&crate::view::resource("Greeting/1.1.0").to_string()), 1, "it was asked for others");
    let here = scene.acme.all().map(|resource| store(&mirror).has(&resource));
    assert_eq!(here, [true; 4], "and Acme's came from Acme");
    let listing = store(&mirror).listing(Flavor::Plain).unwrap().unwrap();
    assert_eq!(listing.iter().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_works_for_what_no_registry_here_knows() {
    let scene = Scene::new().await;
    let mirror = scene.mirror("policy.private = ['Acme*', 'measured']", None);
    name_everything(&scene, &mirror).await;
    assert_eq!(scene.leaked(), [].into());
    let report = scene.prewarm(&mirror, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
    assert_eq!(statuses(&report), ["AcmeData Denied", "AcmeTools Denied", "Greeting Cached"]);
    assert_eq!((report.totals.denied, report.exit_code()), (2, 1));
    let why = report.packages[0].reason.as_deref().unwrap();
    assert!(why.contains("policy.private has \"Acme*\""), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_private_all_is_asked_as_before() {
    let scene = Scene::new().await;
    let mirror = scene.mirror("", None);
    name_everything(&scene, &mirror).await;
    assert!(scene.leaked().len() >= 3, "the test would see it");
}

#[tokio::test(flavor = "multi_thread")]
async fn until_a_private_registry_was_read_only_what_public_ones_have_is_asked_for() {
    let scene = Scene::new().await;
    let acme = scene.acme.source();
    acme.is_read.store(false, Ordering::Relaxed);
    let mirror = scene.mirror("", Some(&acme));
    name_everything(&scene, &mirror).await;
    assert_eq!(scene.leaked(), [].into());
    let report = scene.prewarm(&mirror, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
    assert_eq!(statuses(&report), ["AcmeData Denied", "AcmeTools Denied", "Greeting Cached"]);
    let why = report.packages[0].reason.as_deref().unwrap();
    assert!(why.contains("what is in https://git.acme.invalid/AcmeRegistry.git now is not known"), "{why}");
    acme.is_read.store(true, Ordering::Relaxed);
    let report = scene.prewarm(&mirror, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
    assert_eq!((report.totals.denied, report.exit_code()), (0, 0), "{report:#?}");
    assert_eq!(scene.leaked(), [].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_that_is_here_stays_private_while_its_repository_is_away() {
    let scene = Scene::new().await;
    let acme = scene.acme.source();
    scene.refresh(&scene.mirror("", Some(&acme))).await;
    acme.is_read.store(false, Ordering::Relaxed);
    let mirror = scene.mirror("", Some(&acme));
    let refusal = mirror.get(&scene.acme.tools, &Ask::default()).await.map(drop).unwrap_err();
    assert!(matches!(&refusal, Refusal::Private(why) if why.contains("it belongs to")), "{refusal}");
    assert_eq!(scene.leaked(), [].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_added_to_a_private_registry_since_it_was_read_last_is_asked_of_no_public_upstream() {
    let scene = Scene::new().await;
    let acme = scene.acme.source();
    scene.refresh(&scene.mirror("", Some(&acme))).await;
    let (uuid, tree) = ("0e0e0e0e-0000-4000-8000-000000000001", "0e".repeat(20));
    let manifest = format!("[[Unheard]]\nuuid = '{uuid}'\ngit-tree-sha1 = '{tree}'\nversion = '1.0.0'\n");
    let manifest = scene.file("Manifest.toml", &manifest);
    let path = format!("/package/{uuid}/{tree}");
    acme.is_away.store(true, Ordering::Relaxed);
    let report = scene.prewarm(&scene.mirror("", Some(&acme)), std::slice::from_ref(&manifest)).await;
    let why = report.packages[0].reason.as_deref().unwrap();
    assert!(why.contains("what is in https://git.acme.invalid/AcmeRegistry.git now is not known"), "{why}");
    assert_eq!(scene.public.gets(&path), 0);
    acme.is_away.store(false, Ordering::Relaxed);
    scene.prewarm(&scene.mirror("", Some(&acme)), &[manifest]).await;
    assert_eq!(scene.public.gets(&path), 1, "once it is known that it is not Acme's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_of_ones_own_is_asked_and_a_public_one_is_not() {
    let scene = Scene::new().await;
    let dmz = SampleUpstream::start(scene.acme.site.clone()).await.unwrap();
    let tables = tables(&[(&scene.public, true), (&dmz, false)]);
    let mirror =
        mirror(&config(&scene.cache(), &[], &format!("policy.private = ['Acme*', 'registry:AcmeRegistry']\n{tables}")));
    let report = scene.prewarm(&mirror, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
    assert_eq!(report.exit_code(), 0, "{report:#?}");
    assert_eq!(scene.leaked(), [].into(), "nor for the registry, which no public upstream lists");
    for resource in [scene.acme.tools, scene.acme.data, scene.acme.artifact] {
        assert_eq!(dmz.gets(&resource.to_string()), 1, "{resource}");
    }
}

/// The tables of upstreams, each public or not.
fn tables(upstreams: &[(&SampleUpstream, bool)]) -> String {
    let table =
        |(it, public): &(&SampleUpstream, bool)| format!("[[upstream]]\nurl = '{}'\npublic = {public}\n", it.url());
    upstreams.iter().map(table).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_of_ones_own_is_asked_it_cannot_lead_to_a_public_one() {
    let scene = Scene::new().await;
    let (dmz, other) = (SampleUpstream::start(scene.acme.site.clone()).await.unwrap(), &scene.acme.site);
    let other = SampleUpstream::start(other.clone()).await.unwrap();
    let file = format!(
        "policy.private = ['Acme*', 'registry:AcmeRegistry']\n{}",
        tables(&[(&scene.public, true), (&dmz, false), (&other, false)])
    );
    let airlock = Airlock::quiet(&config(&scene.cache(), &[], &file)).await;
    scene.refresh(&airlock.mirror).await;
    let (tools, data) = (scene.acme.tools.to_string(), scene.acme.data.to_string());
    (0..9).for_each(|_| dmz.fail(&tools, Fault::Redirect(format!("{}{tools}", scene.public.url()))));
    (0..9).for_each(|_| other.fail(&tools, Fault::Redirect(format!("{}{tools}", scene.public.url()))));
    dmz.fail(&data, Fault::Redirect(format!("{}{data}", other.url())));
    let id = [(airlock::protocol::RequestId::HEADER, "one-id")];
    assert_eq!(airlock.request(reqwest::Method::GET, &tools, &id).await.status(), 502);
    let refusal = airlock.mirror.fetch(&scene.acme.tools, airlock::mirror::Patience::prewarm(1)).await.unwrap_err();
    let words = refusal.to_string();
    assert!(words.contains("it redirects to 127.0.0.1, which is no [[upstream]] with public = false"), "{words}");
    assert_eq!(airlock.request(reqwest::Method::GET, &data, &id).await.status(), 200, "its own is followed");
    assert_eq!(scene.leaked(), [].into());
    let seen = [scene.public.requests(), dmz.requests(), other.requests()].concat();
    assert!(seen.iter().all(|request| !request.headers.contains_key("referer")), "{seen:?}");
    let of_clients = |request: &airlock::sample::Request| request.headers.contains_key("x-request-id");
    assert!(!scene.public.requests().iter().any(of_clients) && dmz.requests().iter().any(of_clients));
    airlock.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_why_and_the_miss_is_on_record() {
    let scene = Scene::new().await;
    let config = scene.config("policy.private = ['Acme*']");
    let airlock = Airlock::quiet(&config).await;
    scene.refresh(&airlock.mirror).await;
    let answer = airlock.get(&scene.acme.tools.to_string()).await;
    assert_eq!(answer.status(), 404);
    let text = answer.text().await.unwrap();
    assert!(text.contains("no public upstream was asked for it") && text.lines().count() == 1, "{text}");
    let listing = airlock.get("/registries").await.text().await.unwrap();
    assert_eq!(listing.trim(), general().to_string());
    let misses = airlock.mirror.all_misses().await.unwrap();
    assert_eq!(
        misses.iter().map(|miss| (miss.resource, miss.reason)).collect::<Vec<_>>(),
        [(scene.acme.tools, Reason::Denied)]
    );
    airlock.stop().await;
    assert_eq!(scene.leaked(), [].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_upstream_that_lists_a_private_registry_is_not_believed() {
    let scene = Scene::new().await;
    let mut forged = Site::sample().unwrap();
    let registry = format!("name = \"AcmeRegistry\"\nuuid = \"{}\"\n[packages]\n", super::ACME_REGISTRY);
    let entry = airlock::tree::TarEntry::file("Registry.toml", registry, false);
    let forged_at = forged.add_registry(super::uuid(super::ACME_REGISTRY), [entry]).unwrap();
    for flavor in Flavor::ALL {
        let path = format!("/{}", flavor.file_name());
        scene.public.put(&path, forged.body(&path).unwrap().clone());
    }
    scene.public.put(&forged_at.to_string(), forged.body(&forged_at.to_string()).unwrap().clone());
    let acme = scene.acme.source();
    let mirror = scene.mirror("", Some(&acme));
    scene.refresh(&mirror).await;
    let listing = store(&mirror).listing(Flavor::Plain).unwrap().unwrap();
    assert_eq!(listing.tree(super::uuid(super::ACME_REGISTRY)), Some(scene.acme.registry.tree()));
    assert_eq!(scene.public.gets(&forged_at.to_string()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_a_public_package_names_too_is_public() {
    let scene = Scene::new().await;
    let acme = scene.acme.source();
    let mirror = scene.mirror("", Some(&acme));
    scene.refresh(&mirror).await;
    let shared = crate::view::resource("greeting-text-1");
    let refusal = mirror.get(&shared, &Ask::default()).await.map(drop).unwrap_err();
    assert!(matches!(refusal, Refusal::Private(_)), "nobody knows yet whose it is: {refusal}");
    mirror.get(&crate::view::resource("Greeting/1.1.0"), &Ask::default()).await.map(drop).unwrap();
    mirror.get(&shared, &Ask::default()).await.map(drop).unwrap();
    let tools = Resource::Package { uuid: super::uuid(ACME_TOOLS), tree: shared.tree() };
    assert!(!matches!(mirror.standing(&mirror.subject(&tools)).privacy, Privacy::Public));
}
