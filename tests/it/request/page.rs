//! The form on the page, through the real server.

use super::{set, texts, with};
use crate::binary::{run, said};
use crate::support::{Airlock, LONG, Scene};
use airlock::exchange::{MAX_WISHES, Wish};
use airlock::mirror::Mirror;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A server inside, with its registries loaded.
async fn served(scene: &Scene, file: &str) -> Airlock {
    let airlock = Airlock::quiet(&crate::support::config(&scene.cache(), &[], file)).await;
    airlock.mirror.load_names().await;
    airlock
}

/// Sends a form and does not follow where it leads.
async fn post(airlock: &Airlock, path: &str, body: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut request = client.post(airlock.url(path)).body(body.to_owned());
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = tokio::time::timeout(LONG, request.send()).await.unwrap().unwrap();
    let location = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
    (response.status().as_u16(), location.unwrap_or_default(), response.text().await.unwrap())
}

fn wishes(mirror: &Mirror) -> BTreeSet<String> {
    texts(mirror.store())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_takes_a_wish_and_says_what_becomes_of_it() {
    let scene = with(&["Greeting/1.1.0", "greeting-text-1"]).await;
    let airlock = served(&scene, "[server]\nprefix = '/julia/pkg'\n").await;
    let front = airlock.get("/").await.text().await.unwrap();
    for part in [
        "not found in project, manifest or registry",
        "<label for=\"name\">",
        "<label for=\"range\">",
        "method=\"post\" action=\"request\"",
    ] {
        assert!(front.contains(part), "{part}: {front}");
    }
    for (form, wish, words) in [
        ("name=Faraway&range=0", "Faraway@0", "General has it, 0.2.0 is the newest"),
        ("name=Greeting.jl&range=", "Greeting", "] add Greeting@1.1.0"),
        ("name=Greeting%40v1.2", "Greeting@1.2", "1.2.0 is the newest"),
        ("name=Fareway&range=*&more=1", "Fareway", "Did you mean Faraway?"),
        ("name=Gr%C3%B6%C3%9Fe", "Größe", "No registry here knows it"),
    ] {
        for prefix in ["", "/julia/pkg"] {
            let (status, to, _) = post(&airlock, &format!("{prefix}/request"), form, &[]).await;
            assert_eq!(status, 303, "{form}");
            let to = to.strip_prefix("./").unwrap();
            let page = airlock.get(&format!("{prefix}/{to}")).await.text().await.unwrap();
            assert!(page.contains(&format!("<strong>{wish}</strong>: it is on the list of wishes")), "{form}: {page}");
            assert!(page.contains(words), "{form}: {page}");
        }
    }
    let open = airlock.get("/").await.text().await.unwrap();
    assert!(open.contains("Faraway@0</a></th><td class=\"number\" data-label=\"Times\">2</td>"), "{open}");
    assert!(!open.contains(">Greeting</a></th>"), "it is here: {open}");
    let (status, to, _) = post(&airlock, "/request", "name=Dates", &[]).await;
    let page = airlock.get(&to[1..]).await.text().await.unwrap();
    assert!(status == 303 && page.contains("Dates is part of Julia") && page.contains("not on the list"), "{page}");
    assert!(!wishes(&airlock.mirror).contains("Dates"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_get_json() {
    let scene = with(&[]).await;
    let airlock = served(&scene, "").await;
    let accept = [("accept", "application/json")];
    let (status, _, body) = post(&airlock, "/request", "name=Fareway", &accept).await;
    let expected = json!({
        "wish": "Fareway", "recorded": true, "state": "unknown", "registry": null, "newest": null, "here": null,
        "near": ["Faraway"], "message": "No registry here knows it; a newer one outside may. Did you mean Faraway?",
    });
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, expected));
    let (status, _, body) = post(&airlock, "/request", "name=a+b", &accept).await;
    let error = serde_json::from_str::<Value>(&body).unwrap()["error"].as_str().unwrap().to_owned();
    assert!(status == 400 && error.contains("name of a package"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_forms_are_refused_and_leave_nothing() {
    let scene = with(&[]).await;
    let airlock = served(&scene, "[server]\nurl = 'https://julia.example.org'\n").await;
    let here = airlock.address.to_string();
    let long = format!("name=A&range={}", "1".repeat(5000));
    for (body, headers, status, words) in [
        (long.as_str(), &[][..], 413, "at most 4096 bytes"),
        ("{\"name\":\"A\"}", &[("content-type", "application/json")], 415, "x-www-form-urlencoded"),
        ("name=A", &[("content-type", "text/plain")], 415, "x-www-form-urlencoded"),
        ("", &[], 400, "must have a name"),
        ("range=1", &[], 400, "must have a name"),
        ("name=A&name=B", &[], 400, "must have a name"),
        ("name=", &[], 400, "name of a package"),
        ("name=..%2F..%2Fetc", &[], 400, "name of a package"),
        ("name=%3Cscript%3E", &[], 400, "name of a package"),
        ("name=%1b%5B31m", &[], 400, "name of a package"),
        ("name=%ff", &[], 400, ""),
        ("name=A&range=%5E1", &[], 400, "range of versions"),
        ("name=A%401&range=2", &[], 400, "range of versions"),
        ("name=A", &[("sec-fetch-site", "cross-site")], 403, "another site"),
        ("name=A", &[("origin", "http://evil.example")], 403, "another site"),
        ("name=A", &[("origin", "null")], 403, "another site"),
        (
            "name=A",
            &[("origin", "http://evil.example/127.0.0.1"), ("sec-fetch-site", "same-origin")],
            403,
            "another site",
        ),
    ] {
        let (found, _, text) = post(&airlock, "/request", body, headers).await;
        assert!(found == status && text.contains(words), "{body} {headers:?}: {found} {text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    assert_eq!(wishes(&airlock.mirror), set(&[]));
    for (name, origin) in [("A", format!("http://{here}")), ("B", "https://julia.example.org".to_owned())] {
        let (status, ..) = post(&airlock, "/request", &format!("name={name}"), &[("origin", &origin)]).await;
        assert_eq!(status, 303, "{origin}");
    }
    assert_eq!(wishes(&airlock.mirror), set(&["A", "B"]));
    // What stands in the address of the page is no wish until it is recorded, and never HTML.
    for (query, words) in [
        ("asked=C", "not on the list"),
        ("asked=%3Cscript%3E", "Ask for a package"),
        ("asked=%ff&asked=1", "Ask for a package"),
    ] {
        let page = airlock.get(&format!("/?{query}")).await;
        assert_eq!(page.status(), 200, "{query}");
        let page = page.text().await.unwrap();
        assert!(page.contains(words) && !page.contains("<script"), "{query}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_form_takes_a_post_and_only_a_post() {
    let scene = with(&[]).await;
    let airlock = served(&scene, "").await;
    for (method, path, allow) in [
        (Method::GET, "/request", "POST"),
        (Method::PUT, "/request", "POST"),
        (Method::DELETE, "/request", "POST"),
        (Method::POST, "/", "GET, HEAD"),
        (Method::POST, "/request/", "GET, HEAD"),
        (Method::POST, "/registries", "GET, HEAD"),
    ] {
        let response = airlock.request(method.clone(), path, &[]).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &allow.parse().unwrap()),
            "{method} {path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_list_says_so_and_a_form_that_never_ends_is_cut() {
    let scene = with(&[]).await;
    let airlock = served(&scene, "").await;
    let many: Vec<Wish> = (0..MAX_WISHES).map(|number| format!("A{number}").parse().unwrap()).collect();
    airlock.mirror.store().add_wishes(&many).unwrap();
    let (status, _, text) = post(&airlock, "/request", "name=B", &[]).await;
    assert!(status == 507 && text.contains("administrator"), "{text}");
    assert_eq!(post(&airlock, "/request", "name=A1", &[]).await.0, 303, "what was asked for may be asked for again");
    let (code, text) = said(&run(scene.folder.path(), &["request", "add", "B"]).await);
    assert!(code == Some(2) && text.contains("10000 wishes"), "{text}");

    let airlock = served(&scene, "[server]\nheader-timeout = '500ms'\n").await;
    let mut stream = tokio::net::TcpStream::connect(airlock.address).await.unwrap();
    let head = "POST /request HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\nconnection: close\r\n\r\nname=";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
