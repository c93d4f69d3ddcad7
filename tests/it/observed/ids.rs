//! The id of a request: comes back, is in the log, goes upstream, and is never what it must not be.

use crate::binary::{Serving, command};
use crate::support::{Airlock, Scene, config};
use airlock::protocol::{Kind, RequestId, Resource, TreeHash};
use airlock::sample::{Fault, SampleUpstream, Site};
use reqwest::{Method, Response};

const HEADER: &str = RequestId::HEADER;

fn id(response: &Response) -> String {
    response.headers()[HEADER].to_str().unwrap().to_owned()
}

fn package() -> Resource {
    Site::sample().unwrap().resources().find(|resource| resource.kind() == Kind::Package).unwrap()
}

/// The ids that an upstream was asked with for a path.
fn ids_of(upstream: &SampleUpstream, path: &str) -> Vec<Option<String>> {
    let requests = upstream.requests();
    requests.iter().filter(|it| it.path == path).map(|it| it.headers.get(HEADER).cloned()).collect()
}

fn private(scene: &Scene, folder: &str, url: &str) -> airlock::config::Config {
    config(&scene.folder.path().join(folder), &[], &format!("[[upstream]]\nurl = '{url}'\npublic = false\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id_the_given_one_if_it_is_sane() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    for path in ["/", "/meta", "/metrics", "/registries", "/nothing", &package().to_string()] {
        let mut seen = Vec::new();
        for method in [Method::GET, Method::HEAD, Method::PUT] {
            let response = airlock.request(method.clone(), path, &[(HEADER, "a-1.b_2")]).await;
            assert_eq!(id(&response), "a-1.b_2", "{method} {path}");
            seen.push(id(&airlock.request(method, path, &[]).await));
        }
        assert!(seen.iter().all(|id| id.len() == 16 && id.parse::<RequestId>().is_ok()), "{seen:?}");
        assert!(seen[0] != seen[1] && seen[1] != seen[2]);
    }
    let long = "x".repeat(65);
    for hostile in ["a b", "<script>", "a\tb", "\"", "\\n", "", "ä", long.as_str()] {
        let given = id(&airlock.request(Method::GET, "/health", &[(HEADER, hostile)]).await);
        assert!(given.len() == 16 && given.parse::<RequestId>().is_ok(), "{hostile}: {given}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_through_a_chain_to_an_upstream_that_is_not_public() {
    let scene = Scene::new().await;
    let outside = Airlock::quiet(&private(&scene, "outside", &scene.upstream.url())).await;
    let inside = Airlock::quiet(&private(&scene, "inside", &outside.url(""))).await;
    let path = package().to_string();
    // It fails once, so it is asked twice: with one id.
    scene.upstream.fail(&path, Fault::Status(503, None));
    let response = inside.request(Method::GET, &path, &[(HEADER, "one-id")]).await;
    assert_eq!((response.status().as_u16(), id(&response).as_str()), (200, "one-id"));
    let asked = ids_of(&scene.upstream, &path);
    assert!(asked.len() >= 2 && asked.iter().all(|id| id.as_deref() == Some("one-id")), "{asked:?}");
    // What was made here goes there too, and the artifact that a generated file needs.
    let artifact = Site::sample().unwrap().resources().find(|resource| resource.kind() == Kind::Artifact).unwrap();
    let made = id(&inside.get(&format!("{artifact}/Name")).await);
    assert_eq!(ids_of(&scene.upstream, &artifact.to_string()), [Some(made)]);
    // What nobody asked for has none.
    inside.mirror.refresh_registries(crate::registries::PATIENCE).await;
    assert!(ids_of(&scene.upstream, "/registries").iter().all(Option::is_none));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_upstream_gets_no_word_of_a_client() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    let path = package().to_string();
    assert_eq!(airlock.request(Method::GET, &path, &[(HEADER, "secret")]).await.status(), 200);
    assert_eq!(ids_of(&scene.upstream, &path), [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_request_has_its_id_in_text_and_json() {
    for (format, in_line) in [("text", "id=one-id"), ("json", "\"id\":\"one-id\"")] {
        let scene = Scene::new().await;
        let mut serve = command(scene.folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--log", format, "--upstream", &scene.upstream.url()]);
        let mut serving = Serving::start(serve).await;
        let absent = Resource::Artifact { tree: TreeHash::EMPTY }.to_string();
        let url = format!("{}{absent}", serving.url);
        let asked = crate::support::client().get(url).header(HEADER, "one-id").header("julia-version", "1.10.2");
        assert_eq!(asked.send().await.unwrap().status(), 404);
        // The flight's own line, the miss, and the line of the request.
        for said in ["not found", "miss", "127.0.0.1"] {
            let line = serving.hears(said).await;
            assert!(line.contains(in_line), "{format}: {line}");
        }
        serving.stop(rustix::process::Signal::TERM).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_a_request_says_all_and_cannot_be_broken_by_a_client() {
    let scene = Scene::new().await;
    fs_err::write(scene.folder.path().join("airlock.toml"), "[server]\ntrusted-proxies = ['127.0.0.0/8']\n").unwrap();
    let mut serve = command(scene.folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--log", "json", "--upstream", &scene.upstream.url()]);
    let mut serving = Serving::start(serve).await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = crate::support::client().get(format!("{}{path}", serving.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().bytes().await.unwrap().len()
    };
    let path = package().to_string();
    let size = get(&path, &[(HEADER, "first"), ("x-forwarded-for", "6.6.6.6, 10.1.2.3")]).await;
    get(&path, &[(HEADER, "second"), ("range", "bytes=0-4"), ("julia-version", "1.10.2")]).await;
    let long = "x".repeat(5000);
    get(&format!("/{long}?q=%0a"), &[(HEADER, "third"), ("julia-version", &format!("1\" fake=\"{long}"))]).await;
    let mut lines = Vec::new();
    for id in ["first", "second", "third"] {
        let line = loop {
            let line = serving.hears(&format!("\"id\":\"{id}\"")).await;
            if line.contains("\"message\":\"request\"") {
                break line;
            }
        };
        assert!(line.len() < 1500, "{}", line.len());
        lines.push(serde_json::from_str::<serde_json::Value>(&line).unwrap());
    }
    let [first, second, third] = &lines[..] else { panic!() };
    let expected = serde_json::json!({
        "method": "GET", "path": path, "status": 200, "bytes": size, "whole": true, "cache": "fetched",
        "client": "10.1.2.3",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&first[key], value, "{key}");
    }
    assert!(first["ms"].is_number() && first.get("julia").is_none(), "{first}");
    assert_eq!((&second["status"], &second["bytes"], &second["cache"]), (&206.into(), &5.into(), &"hit".into()));
    assert_eq!((&second["julia"], &second["client"]), (&"1.10.2".into(), &"127.0.0.1".into()));
    assert_eq!((&third["status"], third.get("cache")), (&404.into(), None));
    assert_eq!(third["julia"].as_str().unwrap().len(), 64);
    serving.stop(rustix::process::Signal::TERM).await;
}
