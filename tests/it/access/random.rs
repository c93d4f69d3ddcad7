//! Hostile headers, and rules, tokens and paths by chance: who has no token gets nothing private.

use super::{PRIVATE, REGISTRY, Stock, get, said, token};
use crate::support::LONG;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The same each time.
fn runner(cases: u32) -> TestRunner {
    let runs = Runs { cases, failure_persistence: None, ..Runs::default() };
    TestRunner::new_with_rng(runs, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// One request as it goes over the wire, and the whole answer.
async fn raw(airlock: &crate::support::Airlock, request: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(airlock.address).await.unwrap();
        // It may be turned away before all of it was read.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    tokio::time::timeout(LONG, exchange).await.unwrap()
}

/// A header that may be almost right, or anything.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = (1_u8..).prop_filter("a line is one", |byte| !b"\r\n".contains(byte));
    let bytes = proptest::collection::vec(byte, 0..200);
    let scheme = select(vec!["Bearer ", "bearer\t", "Basic ", "Bearer", "Basic", "", "Bearer Bearer ", "BASIC  "]);
    let start =
        select(vec!["", "airlock_", "YWlybG9ja186", "OmFpcmxvY2tf", "airlock_0000000000000000000000000000", "="]);
    let long = prop_oneof![9 => Just(0_usize), 1 => 500_usize..100_000];
    (scheme, start, bytes, long).prop_map(|(scheme, start, rest, long)| {
        [scheme.as_bytes(), start.as_bytes(), &rest, &vec![b'a'; long]].concat()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_hostile_headers_open_nothing_and_break_nothing() {
    let stock = Stock::new().await;
    let config = stock.offline(PRIVATE);
    let airlock = Stock::serve(&config).await;
    let good = token(&config, "good", &["all"], None);
    let path = stock.tools.to_string();
    let mut runner = runner(0);
    for round in 0..1000 {
        let value = hostile().new_tree(&mut runner).unwrap().current();
        let more = if round % 7 == 0 { format!("Authorization: {good}\r\n") } else { String::new() };
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}Authorization: ");
        let answer = raw(&airlock, &[head.as_bytes(), &value, b"\r\n\r\n"].concat()).await;
        let text = String::from_utf8_lossy(&answer);
        // Nothing at all is what a head that is too long may get.
        let status = text.split(' ').nth(1).unwrap_or("none");
        assert!(["400", "401", "431", "none"].contains(&status), "{status} {:?}", String::from_utf8_lossy(&value));
        assert!(!text.contains("Acme"), "{text}");
        assert!(more.is_empty() || status != "401", "two headers are none");
    }
    assert_eq!(get(&airlock, &path, &good).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_rules_and_scopes_nobody_gets_a_byte_of_what_is_private() {
    let stock = Stock::new().await;
    let bodies: Vec<_> =
        stock.private().iter().map(|it| stock.scene.upstream.body(&it.to_string()).unwrap().to_vec()).collect();
    let private = select(vec!["AcmeRegistry", "Acme*", "?cmeRegistry", REGISTRY, "*"]);
    let scope =
        select(vec!["all", "admin", "metrics", "registry:AcmeRegistry", "registry:*", "package:*", "package:Acme*"]);
    let drawn = (private, any::<bool>(), any::<bool>(), any::<bool>(), proptest::collection::vec(scope, 1..4));
    let mut runner = runner(0);
    for round in 0..16 {
        let (private, required, full, loaded, scopes) = drawn.new_tree(&mut runner).unwrap().current();
        let (need, view) = (if required { "required" } else { "no" }, if full { "full" } else { "available" });
        let file = format!("view.show = '{view}'\n[access]\ntoken = '{need}'\nprivate-registries = ['{private}']\n");
        let config = stock.offline(&file);
        let airlock = if loaded { Stock::serve(&config).await } else { crate::support::Airlock::quiet(&config).await };
        let good = token(&config, &format!("t{round}"), &scopes, None);
        let shown = ["", "Bearer x", "Basic Og==", &good[..good.len() - 1], &good.to_uppercase()];
        for resource in stock.private() {
            let path = resource.to_string();
            // Somebody who may makes it hot.
            let _ = get(&airlock, &path, &good).await;
            for path in [
                path.clone(),
                format!("/{path}"),
                format!("{path}/"),
                format!("{path}?x"),
                format!("{path}/name"),
                path.to_uppercase(),
                path.replace('/', "%2f"),
                path.replacen("/package", "/%70ackage", 1),
                path.replacen('/', "/./", 1),
                path.replacen('/', "/health/../", 1),
            ] {
                for shown in shown {
                    let shown = if shown.is_empty() { String::new() } else { format!("Authorization: {shown}\r\n") };
                    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{shown}Connection: close\r\n\r\n");
                    let answer = raw(&airlock, request.as_bytes()).await;
                    let body = answer.windows(4).position(|it| it == b"\r\n\r\n").map(|at| &answer[at + 4..]);
                    let body = body.unwrap_or_default();
                    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{file} {request}");
                    let has_any = |of: &Vec<u8>| body.windows(16).any(|part| part == &of[10..26]);
                    assert!(!bodies.iter().any(has_any), "{file} {request}");
                }
            }
        }
        for path in ["/registries", "/", "/meta", "/meta/misses"] {
            let text = said(get(&airlock, path, "").await).await;
            assert!(stock.words().iter().all(|word| !text.contains(word)), "{file} {path}: {text}");
        }
    }
}
