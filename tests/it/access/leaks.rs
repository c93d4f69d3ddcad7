//! What is private is named to nobody who may not have it, in no answer.

use super::{PRIVATE, Stock, ask, get, said, token};
use crate::acme::{self, Acme};
use crate::support::{Airlock, Scene};
use airlock::mirror::Patience;
use airlock::protocol::TreeHash;
use reqwest::Method;
use serde_json::Value;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn wish(airlock: &Airlock, body: &str, shown: &str) -> Value {
    let mut request = crate::support::client().post(airlock.url("/request")).body(body.to_owned());
    for (name, value) in [FORM, ("accept", "application/json"), ("authorization", shown)] {
        request = request.header(name, value);
    }
    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_names_what_is_private() {
    let stock = Stock::new().await;
    let config = stock.offline(PRIVATE);
    let airlock = Stock::serve(&config).await;
    let all = token(&config, "all", &["all"], None);
    let none = TreeHash::from_bytes([7; 20]);
    // Who may asks for what is not here, and wishes for it.
    let absent = [stock.tools.with_tree(none), stock.registry.with_tree(none)].map(|it| it.to_string());
    for path in &absent {
        assert_eq!(get(&airlock, path, &all).await.status(), 404);
    }
    fs_err::remove_file(airlock.mirror.store().path(&stock.shared)).unwrap();
    let named = said(get(&airlock, &stock.shared.to_string(), &all).await).await;
    assert!(named.contains("acme_copy of AcmeData"), "it is called after Acme's: {named}");
    for form in ["name=AcmeTools&range=9", "name=AcmeUnheard", "name=Faraway"] {
        assert_eq!(wish(&airlock, form, &all).await["recorded"], true, "{form}");
    }

    let some = [token(&config, "m", &["metrics"], None), token(&config, "g", &["registry:General"], None)];
    let mut paths =
        ["/", "/meta", "/meta/stats", "/meta/misses", "/health", "/registries", "/registries.eager", "/admin/misses"]
            .map(str::to_owned)
            .to_vec();
    paths.extend(["/?asked=BcmeTools", "/?asked=Faraway", "/?asked=measure"].map(str::to_owned));
    paths.push(stock.shared.to_string());
    let own = absent.into_iter().chain(stock.private().map(|it| it.to_string()));
    for shown in ["", &some[0], &some[1]] {
        for path in own.clone().chain(paths.iter().cloned()) {
            let text = said(get(&airlock, &path, shown).await).await;
            let word = stock.words().into_iter().find(|word| text.contains(word));
            assert_eq!(word, None, "{path}: {text}");
        }
        for form in ["name=cmeTools", "name=BcmeData", "name=Acm"] {
            let text = wish(&airlock, form, shown).await.to_string();
            let word = stock.words().into_iter().find(|word| text.contains(word));
            assert_eq!(word, None, "{form}: {text}");
        }
        // One that is guessed is as unknown as one that does not exist, on the list or not.
        for name in ["AcmeTools", "AcmeNothing"] {
            let answer = wish(&airlock, &format!("name={name}"), shown).await;
            assert_eq!(
                (&answer["state"], &answer["registry"], &answer["newest"]),
                (&"unknown".into(), &Value::Null, &Value::Null)
            );
        }
        let page = async |asked: &str| {
            let text = get(&airlock, &format!("/?asked={asked}"), shown).await.text().await.unwrap();
            text.replace(asked, "NAME")
        };
        let guesses = [page("AcmeUnheard").await, page("AcmeTools@9").await, page("AcmeNever").await];
        assert!(guesses.iter().all(|it| *it == guesses[2]), "{guesses:?}");
        let front = get(&airlock, "/", shown).await.text().await.unwrap();
        assert!(front.contains(">Faraway<"), "what General has may be known: {front}");
        let misses = get(&airlock, "/meta/misses", shown).await.text().await.unwrap();
        assert!(misses.contains(&stock.shared.to_string()), "{misses}");
    }

    // The test would see them.
    for path in ["/", "/meta", "/meta/misses", "/registries"] {
        let text = get(&airlock, path, &all).await.text().await.unwrap();
        assert!(stock.words().iter().any(|word| text.contains(word)), "{path}: {text}");
    }
    assert_eq!(wish(&airlock, "name=AcmeTools", &all).await["registry"], "AcmeRegistry");
    assert_eq!(wish(&airlock, "name=AcmeTool", &all).await["near"][0], "AcmeTools");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_which_public_packages_a_private_registry_has_too() {
    let stock = Stock::new().await;
    let rules = format!("policy.private = ['registry:AcmeRegistry']\npolicy.min-age = '7d'\n{PRIVATE}");
    let config = stock.offline(&rules);
    let all = token(&config, "all", &["all"], None);
    let inside = Stock::serve(&config).await;
    let page = async |shown: &str| get(&inside, "/packages?name=Greeting", shown).await.text().await.unwrap();
    let (anonymous, full) = (page("").await, page(&all).await);
    assert!(anonymous.contains("too young") && !anonymous.contains("It is private"), "{anonymous}");
    assert!(full.contains("It is private"), "the test would see it: {full}");
    inside.stop().await;

    let config = crate::support::config(&stock.scene.cache(), &[stock.scene.upstream.url()], &rules);
    let outside = Stock::serve(&config).await;
    let absent = stock.greeting.with_tree(TreeHash::from_bytes([7; 20])).to_string();
    let reason = async |shown: &str| {
        let text = get(&outside, &absent, shown).await.text().await.unwrap();
        let misses = get(&outside, "/meta/misses", shown).await.text().await.unwrap();
        let misses: Value = serde_json::from_str(&misses).unwrap();
        let miss = misses["misses"].as_array().unwrap().iter().find(|miss| miss["resource"] == absent.as_str());
        (text, miss.unwrap()["reason"].clone())
    };
    let (text, why) = reason("").await;
    assert!(text.contains("was not found at any upstream of this mirror") && !text.contains("private"), "{text}");
    assert_eq!(why, "not-found-upstream");
    let (text, why) = reason(&all).await;
    assert!(text.contains("It is private, or may be") && why == "denied", "{text}");
    outside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_private_registry_is_for_who_may_see_all() {
    let scene = Scene::new().await;
    let acme = Acme::new(scene.folder.path(), &format!("file://{}/acme", scene.folder.path().display()));
    let file = format!("{}[access]\nprivate-registries = ['{}']\n", Acme::config(&acme.file_url()), acme::REGISTRY);
    let config = scene.configured(&file);
    let airlock = Airlock::quiet(&config).await;
    airlock.mirror.refresh_registries(Patience::prewarm(1)).await;
    let all = token(&config, "all", &["all"], None);
    for path in ["/meta", "/", "/registries", "/meta/misses"] {
        let text = said(get(&airlock, path, "").await).await;
        assert!(!text.contains("Acme") && !text.contains(acme::REGISTRY), "{path}: {text}");
    }
    for resource in [acme.registry(), acme.greeter, acme.tools] {
        assert_eq!(ask(&airlock, Method::HEAD, &resource.to_string(), "", &[]).await.status(), 401, "{resource}");
        assert_eq!(get(&airlock, &resource.to_string(), &all).await.status(), 200, "{resource}");
        assert_eq!(get(&airlock, &resource.to_string(), "").await.status(), 401, "{resource}");
    }
    assert!(get(&airlock, "/meta", &all).await.text().await.unwrap().contains("AcmeRegistry"));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_registries_were_read_names_are_not_known_to_be_harmless() {
    let stock = Stock::new().await;
    // A registry that is listed and cannot be read: nobody can say whether it is the one.
    fs_err::write(stock.scene.cache().join(stock.registry.relative_path()), "damaged").unwrap();
    let config = stock.offline(&format!("view.show = 'full'\n{PRIVATE}"));
    let airlock = Airlock::quiet(&config).await;
    for path in ["/registries", "/meta", "/"] {
        let text = said(get(&airlock, path, "").await).await;
        assert!(stock.words().iter().all(|word| !text.contains(word)), "{path}: {text}");
    }
    for resource in stock.private() {
        assert_eq!(get(&airlock, &resource.to_string(), "").await.status(), 401, "{resource}");
    }
    for resource in stock.public() {
        assert_eq!(get(&airlock, &resource.to_string(), "").await.status(), 200, "{resource}");
    }
}
