//! Requests that nobody means well: each is answered as it should be or cut, the server goes on,
//! nothing of it stays behind, and no second request comes out of one.

pub(crate) mod client;
mod requests;
mod slow;

use crate::authority::Authority;
use client::{DISALLOW, ROBOTS, Target, statuses};
use requests::{Case, bodies, heads, hosts, ranges, targets};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Sends each, one after the other, and looks at the server after each.
async fn all(cases: Vec<Case>) {
    let target = Target::start("[server]\nheader-timeout = '2s'\nurl = 'https://julia.example.org'\n").await;
    assert!(target.is_well().await);
    let (before, mut wrong) = (target.descriptors(), Vec::new());
    for Case { name, bytes, answers } in cases {
        let answer = target.send(&bytes).await;
        let text = String::from_utf8_lossy(&answer);
        let found = statuses(&answer);
        // One answer at most, whatever the request hides: 0 stands for none.
        let first = found.first().copied().unwrap_or(0);
        let reflected = text.contains("evil") || text.contains(DISALLOW);
        if found.len() > 1 || !answers.contains(&first) || reflected {
            wrong.push(format!("{name}: {found:?}, not {answers:?}: {text:.300}"));
        }
        assert!(target.is_well().await, "{name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    target.has_closed_down_to(before).await;
    let log = target.stop().await;
    assert!(!log.iter().any(|line| line.contains("panic")), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_versions_and_targets() {
    all(targets()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_one_and_plain() {
    all(hosts()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_much_or_broken() {
    all(heads()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_hides_no_second_request() {
    all(bodies()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_conditions_without_an_end() {
    all(ranges()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_stands_on_the_page_only_as_a_host_can_be_written() {
    let target = Target::start("").await;
    for (host, stands) in [("julia.example.org:8000", true), ("a'b", false), ("a<b>", false), ("a$(b)", false)] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(target.send(request.as_bytes()).await).unwrap();
        assert_eq!(answer.contains(host), stands, "{host}: {answer}");
        assert_eq!(answer.starts_with("HTTP/1.1 200"), stands, "{host}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_get_a_thousand_answers() {
    let target = Target::start("").await;
    let last = ROBOTS.replace("Host: x", "Host: x\r\nConnection: close");
    let answer = target.send((ROBOTS.repeat(999) + &last).as_bytes()).await;
    assert_eq!(statuses(&answer), vec![200; 1000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn byte_by_byte_and_half_closed_is_a_request_too() {
    let target = Target::start("").await;
    let mut stream = target.connect().await;
    for byte in ROBOTS.replace("Host: x", "Host: x\r\nConnection: close").bytes() {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(statuses(&answer), [200]);

    // Who writes no more may have gone: it is answered or cut, and nothing stays open.
    let before = target.descriptors();
    for request in [ROBOTS, "", "GET / HTT", "POST /request HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nnam"] {
        let mut stream = target.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(statuses(&answer).iter().all(|status| [200, 400, 408, 415].contains(status)), "{request}");
        assert!(target.is_well().await);
    }
    target.has_closed_down_to(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_a_plain_port_and_plain_text_on_a_tls_port_are_refused() {
    let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n";
    let plain = Target::start("").await;
    assert_eq!(statuses(&plain.send(hello).await), [400]);
    assert!(plain.is_well().await);

    let authority = Authority::new();
    authority.issue("server", |_| {});
    let tls = Target::start(&authority.section("server", "")).await;
    let before = tls.descriptors();
    for bytes in [
        ROBOTS.as_bytes(),
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n",
        &vec![0; 70_000],
    ] {
        let mut stream = tls.connect().await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        // An alert of TLS at most.
        assert!(!answer.starts_with(b"HTTP") && answer.len() < 16, "{answer:?}");
    }
    tls.has_closed_down_to(before).await;
}
