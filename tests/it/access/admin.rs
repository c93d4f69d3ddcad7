//! The routes of administrators.

use super::{PRIVATE, Stock, ask, get, revoke, token};
use crate::support::{Airlock, mirror};
use airlock::config::Config;
use airlock::protocol::TreeHash;
use airlock::server::{self, App, Reload};
use reqwest::Method;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ROUTES: [(Method, &str); 6] = [
    (Method::POST, "/admin/reload"),
    (Method::POST, "/admin/rescan"),
    (Method::GET, "/admin/misses"),
    (Method::DELETE, "/admin/misses"),
    (Method::GET, "/admin/wishes"),
    (Method::DELETE, "/admin/wishes/Faraway"),
];

async fn json(airlock: &Airlock, method: Method, path: &str, shown: &str) -> (u16, Value) {
    let answer = ask(airlock, method, path, shown, &[]).await;
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_admin_token_there_are_no_admin_routes() {
    let stock = Stock::new().await;
    for file in ["", PRIVATE, "access.token = 'required'\n"] {
        let config = stock.offline(file);
        let airlock = Airlock::quiet(&config).await;
        let statuses = async |shown: &str| {
            let mut statuses = Vec::new();
            for (method, path) in ROUTES {
                statuses.push(ask(&airlock, method, path, shown, &[]).await.status().as_u16());
            }
            statuses
        };
        let all = token(&config, "all", &["all", "metrics", "registry:General"], None);
        for shown in ["", &all] {
            assert_eq!(statuses(shown).await, [404; 6], "{file}");
        }
        let admin = token(&config, "admin", &["admin"], None);
        assert_eq!(statuses("").await, [401; 6], "{file}");
        assert_eq!(statuses("Bearer airlock_x").await, [401; 6], "{file}");
        assert_eq!(statuses(&all).await, [403; 6], "{file}");
        assert_eq!(statuses(&admin).await, [501, 200, 200, 200, 200, 404], "{file}");
        for (method, path) in [
            (Method::PUT, "/admin/reload"),
            (Method::GET, "/admin/reload"),
            (Method::POST, "/admin/misses"),
            (Method::DELETE, "/admin/rescan"),
            (Method::OPTIONS, "/admin/misses"),
        ] {
            assert_eq!(ask(&airlock, method, path, &admin, &[]).await.status(), 405, "{path}");
        }
        for path in ["/admin", "/admin/", "/admin/other", "/admin/wishes/"] {
            assert_eq!(ask(&airlock, Method::POST, path, &admin, &[]).await.status(), 404, "{path}");
        }
        for method in [Method::POST, Method::DELETE] {
            for path in ["/administrator", "/registries", "/meta/misses"] {
                assert_eq!(ask(&airlock, method.clone(), path, &admin, &[]).await.status(), 405, "{path}");
            }
        }
        revoke(&config, "admin");
        assert_eq!(statuses(&admin).await, [401; 6], "{file}");
        assert_eq!(statuses("").await, [404; 6], "{file}");
        fs_err::remove_file(config.tokens_file()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn misses_and_wishes_are_read_and_forgotten() {
    let stock = Stock::new().await;
    let config = stock.offline(PRIVATE);
    let airlock = Stock::serve(&config).await;
    let admin = token(&config, "admin", &["admin"], None);
    let absent = stock.tools.with_tree(TreeHash::from_bytes([7; 20])).to_string();
    assert_eq!(get(&airlock, &absent, &admin).await.status(), 404);
    let (status, misses) = json(&airlock, Method::GET, "/admin/misses", &admin).await;
    assert_eq!((status, &misses["misses"][0]["resource"]), (200, &absent.as_str().into()));
    let (status, removed) = json(&airlock, Method::DELETE, "/admin/misses", &admin).await;
    assert_eq!((status, &removed["removed"]), (200, &1.into()));
    assert_eq!(json(&airlock, Method::GET, "/admin/misses", &admin).await.1["misses"], Value::Array(Vec::new()));

    let wishes = ["Faraway", "Faraway@0.1", "Faraway@0.2", "Größe"].map(|wish| wish.parse().unwrap());
    airlock.mirror.store().add_wishes(&wishes).unwrap();
    let (status, read) = json(&airlock, Method::GET, "/admin/wishes", &admin).await;
    let read = read["wishes"].as_array().unwrap().clone();
    assert_eq!((status, read.len()), (200, 4));
    let faraway = read.iter().find(|it| it["wish"] == "Faraway").unwrap();
    assert_eq!((&faraway["state"], &faraway["registry"]), (&"known".into(), &"General".into()));
    for (wish, status, key, value) in [
        ("Faraway@0.2", 200, "removed", Value::from(1)),
        ("Faraway", 200, "removed", Value::from(2)),
        ("Gr%C3%B6%C3%9Fe", 200, "removed", Value::from(1)),
        ("Faraway", 404, "error", "nobody wished for that".into()),
    ] {
        let (found, body) = json(&airlock, Method::DELETE, &format!("/admin/wishes/{wish}"), &admin).await;
        assert_eq!((found, &body[key]), (status, &value), "{wish}");
    }
    for wish in ["a%20b", "%ff", "..%2f..%2fetc", "Faraway@x"] {
        let (status, body) = json(&airlock, Method::DELETE, &format!("/admin/wishes/{wish}"), &admin).await;
        assert!(status == 400 && body["error"].is_string(), "{wish}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescan_finds_what_came_another_way() {
    let stock = Stock::new().await;
    let config = stock.offline("");
    let airlock = Stock::serve(&config).await;
    let admin = token(&config, "admin", &["admin"], None);
    crate::view::carry(&stock.scene.cache(), &["Pebble/1.1.0"]);
    let (status, body) = json(&airlock, Method::POST, "/admin/rescan", &admin).await;
    assert_eq!((status, &body["good"], &body["damaged"]), (200, &1.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_changes_nothing() {
    let stock = Stock::new().await;
    let config = stock.offline("[server]\nurl = 'https://julia.example.org'\n");
    let airlock = Stock::serve(&config).await;
    let admin = token(&config, "admin", &["admin"], None);
    airlock.mirror.store().add_wishes(&["Faraway".parse().unwrap()]).unwrap();
    let here = format!("http://{}", airlock.address);
    for (headers, ok) in [
        (vec![("origin", "https://evil.example.org")], false),
        (vec![("origin", "null")], false),
        (vec![("sec-fetch-site", "cross-site")], false),
        (vec![("origin", "https://other.example.org"), ("sec-fetch-site", "same-site")], false),
        (vec![("origin", here.as_str()), ("sec-fetch-site", "same-origin")], true),
        (vec![("origin", "https://julia.example.org")], true),
        (vec![], true),
    ] {
        for (method, path) in [(Method::POST, "/admin/rescan"), (Method::DELETE, "/admin/misses")] {
            let status = ask(&airlock, method, path, &admin, &headers).await.status().as_u16();
            assert_eq!(status, if ok { 200 } else { 403 }, "{path} {headers:?}");
        }
        if !ok {
            let status = ask(&airlock, Method::DELETE, "/admin/wishes/Faraway", &admin, &headers).await.status();
            assert_eq!(status, 403, "{headers:?}");
        }
    }
    assert_eq!(airlock.mirror.store().wishes().unwrap().len(), 1);
}

/// A server that can read its configuration again.
async fn reloading(config: &Config, reload: Reload) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = App::with_reload(mirror(config), config.clone(), Some(reload));
    tokio::spawn(server::serve(listener, app, std::future::pending(), std::future::pending()));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_what_changed_or_why_nothing_did_and_new_rules_hold_at_once() {
    let stock = Stock::new().await;
    let config = stock.offline("");
    let admin = token(&config, "admin", &["admin"], None);
    let times = Arc::new(AtomicUsize::new(0));
    let closed = stock.offline("access.token = 'required'\n");
    let reload: Reload = Box::new(move |app: App| {
        let (time, closed) = (times.fetch_add(1, Ordering::SeqCst), closed.clone());
        Box::pin(async move {
            if time == 0 {
                return Err("airlock.toml:3: unknown key".to_owned());
            }
            app.replace(mirror(&closed), closed);
            Ok(vec!["access.token".to_owned()])
        })
    });
    let address = reloading(&config, reload).await;
    let ask = async |method: Method, path: &str, shown: &str| {
        let mut request = crate::support::client().request(method, format!("http://{address}{path}"));
        if !shown.is_empty() {
            request = request.header("authorization", shown);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = ask(Method::POST, "/admin/reload", &admin).await;
    assert!(status == 409 && text.contains("unknown key"), "{status} {text}");
    assert_eq!(ask(Method::GET, "/registries", "").await.0, 200);
    let (status, text) = ask(Method::POST, "/admin/reload", &admin).await;
    assert_eq!((status, text.as_str()), (200, r#"{"changed":["access.token"]}"#));
    assert_eq!(ask(Method::GET, "/registries", "").await.0, 401);
    assert_eq!(ask(Method::GET, "/registries", &admin).await.0, 200);
}
