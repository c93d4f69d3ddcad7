//! The requests, with the statuses that are meant: 0 is a connection closed without an answer.

use super::client::ROBOTS;
use crate::view::resource;

/// A request, or what somebody would like to be taken for one.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) answers: &'static [u16],
}

fn case(name: &str, bytes: impl Into<Vec<u8>>, answers: &'static [u16]) -> Case {
    Case { name: name.to_owned(), bytes: bytes.into(), answers }
}

/// A request line of a request that is otherwise right.
fn line(line: &str, answers: &'static [u16]) -> Case {
    let short: String = line.chars().take(60).collect();
    case(&short, format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n"), answers)
}

fn target(target: &str, answers: &'static [u16]) -> Case {
    line(&format!("GET {target} HTTP/1.1"), answers)
}

/// More lines of a head.
fn head(lines: &str, answers: &'static [u16]) -> Case {
    let short: String = lines.chars().take(60).collect();
    case(&short, format!("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n\r\n"), answers)
}

pub(super) fn targets() -> Vec<Case> {
    let artifact = resource("greeting-text-1").to_string();
    let hash = artifact.rsplit('/').next().unwrap();
    let long = "a".repeat(60 << 10);
    let mut cases: Vec<_> =
        ["TRACE", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "QUERY", "M-SEARCH", &"A".repeat(5000)]
            .map(|method| line(&format!("{method} /health HTTP/1.1"), &[405]))
            .into();
    cases.extend([
        line("CONNECT evil.example:443 HTTP/1.1", &[405]),
        line("CONNECT /health HTTP/1.1", &[400, 405]),
        line("OPTIONS * HTTP/1.1", &[405]),
        line("POST /health HTTP/1.1", &[405]),
        line("GET /health", &[400]),
        line("GET /health HTTP/0.9", &[400]),
        line("GET /health HTTP/1.0", &[200]),
        line("GET /health HTTP/1.9", &[400]),
        line("GET /health HTTP/3.0", &[400]),
        line("GET /health http/1.1", &[400]),
        line("GET  /health  HTTP/1.1", &[400]),
        line("GET\t/health\tHTTP/1.1", &[400]),
        line("GET /health HTTP/1.1 HTTP/1.1", &[400]),
        line(" GET /health HTTP/1.1", &[400]),
        line("G\0T /health HTTP/1.1", &[400]),
        line("GET /health\0 HTTP/1.1", &[400]),
        case("HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &[0, 400]),
        case("nothing but line ends", "\r\n".repeat(40_000), &[0, 400, 431]),
        case("bytes of no kind", vec![0xff; 10_000], &[400]),
        target("http://evil.example/health", &[200]),
        target("evil.example:80", &[400, 404]),
        target("ftp://evil.example/", &[200, 400, 404]),
        target("*", &[400, 404]),
        target("", &[400]),
        target("/health?evil=<script>", &[200, 400]),
        target(&format!("/health?{long}"), &[200]),
        target("/health#evil", &[200, 400, 404]),
        target(&format!("/{long}"), &[404]),
        target(&format!("/{long}{long}"), &[414, 431]),
        target(&"/a".repeat(20_000), &[404]),
        target(&"/..".repeat(20_000), &[404]),
        target(&format!("{artifact}?x=1"), &[200]),
        target(&artifact.replace(hash, &hash.to_uppercase()), &[404]),
    ]);
    let not_found = [
        "//health",
        "/health/",
        "/health.",
        "/HEALTH",
        "/./health",
        "/meta/../health",
        "/%2e%2e/health",
        "/%2fhealth",
        "/health%00",
        "/health%0d%0aevil:1",
        "/%",
        "/%zz",
        "/\\..\\health",
        "/h%c3%a9",
        "/.airlock/format",
        "/%2eairlock/format",
    ];
    cases.extend(not_found.map(|it| target(it, &[400, 404])));
    let of_artifact = ["/", ".", "%00", "/..", "/../../health", "%2f", "%20", "/a%00b", "/x/y", ";a=b"];
    cases.extend(of_artifact.map(|end| target(&format!("{artifact}{end}"), &[404])));
    let raw = [
        &b"GET /h\xc3\xa9alth HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"GET /\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    cases.extend(raw.map(|bytes| case("bytes in a path", bytes, &[400, 404])));
    cases
}

pub(super) fn hosts() -> Vec<Case> {
    let host =
        |lines: &str, answers| case(lines, format!("GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"), answers);
    let mut cases = vec![
        host("", &[400]),
        host("Host: x\r\nHost: x\r\n", &[400]),
        host("Host: x\r\nhost: evil.example\r\n", &[400]),
        host("Host:\r\n", &[200]),
        // The address that is configured stands on the page, not what a client says.
        host("Host: evil.example\r\n", &[200]),
        host("Host: x\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n", &[200]),
        host(&format!("Host: evil{}\r\n", "a".repeat(50_000)), &[200]),
        case("HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n", &[200]),
        case("HTTP/1.0 with two", "GET / HTTP/1.0\r\nHost: a\r\nHost: evil\r\n\r\n", &[400]),
    ];
    let garbage = [
        "evil<script>",
        "evil\"x",
        "evil'x",
        "evil x",
        "evil/x",
        "me@evil",
        "evil?x",
        "evil\\x",
        "evil,x",
        "evil\u{e9}",
        "$(evil)",
        "`evil`",
    ];
    cases.extend(garbage.map(|it| host(&format!("Host: {it}\r\n"), &[400])));
    cases
}

pub(super) fn heads() -> Vec<Case> {
    let many = |count: usize| "X-Name: y\r\n".repeat(count);
    vec![
        head(many(97).trim_end(), &[200]),
        head(many(101).trim_end(), &[431]),
        head(many(100_000).trim_end(), &[0, 431]),
        head(&format!("X: {}", "y".repeat(50 << 10)), &[200]),
        head(&format!("X: {}", "y".repeat(1 << 20)), &[0, 431]),
        head(&format!("{}: x", "y".repeat(1 << 20)), &[0, 431]),
        case("a head without an end", format!("GET /health HTTP/1.1\r\n{}", many(2_000_000)), &[0, 431]),
        case("one line without an end", format!("GET /health HTTP/1.1\r\nX: {}", "y".repeat(20 << 20)), &[0, 431]),
        case("a request line without an end", "G".repeat(20 << 20), &[0, 400, 431]),
        head("X: a\0b", &[400]),
        head("X: a\rb", &[400]),
        head("X: a\x0bb", &[400]),
        head("X: a\r\n folded", &[400]),
        head("X : a", &[400]),
        head(": a", &[400]),
        head("no colon", &[400]),
        head("X\0: a", &[400]),
        head("\u{e9}: a", &[400]),
        head("X: \u{e9}", &[200]),
        head("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", &[200]),
        head("Connection: close, close, Host", &[200]),
        head("Expect: evil", &[200, 417]),
        head("Prefer: wait=18446744073709551615", &[200]),
        head("Accept-Encoding: gzip;q=nan, *;q=9999999999999999999", &[200]),
        head(&format!("Authorization: Bearer {}", "x".repeat(40_000)), &[200]),
        case("line ends without a return", "GET /health HTTP/1.1\nHost: x\nConnection: close\n\n", &[200, 400]),
    ]
}

pub(super) fn bodies() -> Vec<Case> {
    // After each there is another request, which must not be answered.
    let with = |name: &str, method: &str, lines: &str, body: &str, answers| {
        let name = format!("{name}: {method} {lines:.40}");
        case(&name, format!("{method} /health HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{body}{ROBOTS}"), answers)
    };
    let chunked =
        |body: &str, answers| with(&format!("{body:.30?}"), "GET", "Transfer-Encoding: chunked", body, answers);
    let form = |lines: &str, body: &str, answers| {
        let head = "POST /request HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded";
        case(&format!("{lines:.40}"), format!("{head}\r\n{lines}\r\n\r\n{body}{ROBOTS}"), answers)
    };
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    let mut cases = vec![
        with("a body", "GET", "Content-Length: 5", "12345", &[200]),
        with("all that follows", "GET", &format!("Content-Length: {}", ROBOTS.len()), "", &[200]),
        with("more than comes", "GET", "Content-Length: 1000000000000", "", &[200]),
        with("awaited", "GET", "Content-Length: 5\r\nExpect: 100-continue", "", &[200]),
        with("for a method that has none", "TRACE", "Content-Length: 5", "12345", &[405]),
        with("both", "GET", both, "0\r\n\r\n", &[200, 400]),
        with("both", "POST", both, "0\r\n\r\n", &[400, 405]),
        with("both, turned", "GET", "Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n", &[200, 400]),
        with("hidden", "GET", "Transfer-Encoding : chunked", "0\r\n\r\n", &[400]),
        with("old", "GET", "Transfer-Encoding: identity", "", &[400]),
        with("other", "GET", "Transfer-Encoding: xchunked", "", &[400]),
        with("not last", "GET", "Transfer-Encoding: chunked, identity", "0\r\n\r\n", &[400]),
        with("gzip", "GET", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n", &[200, 400]),
        with("twice", "GET", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", &[200, 400]),
        with("twice, other", "GET", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n", &[400]),
        case(
            "in HTTP/1.0",
            format!("GET /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{ROBOTS}"),
            &[200, 400],
        ),
        form("Content-Length: 4097", &"x".repeat(4097), &[413]),
        form("Content-Length: 1000000000000", "name=", &[408, 413]),
        form("Transfer-Encoding: chunked", &format!("{:x}\r\n{}\r\n0\r\n\r\n", 5000, "x".repeat(5000)), &[413]),
        form("Transfer-Encoding: chunked", "zz\r\nname=\r\n0\r\n\r\n", &[400]),
        form("Content-Length: 8", "na\0me=\u{ff}", &[400]),
        form("Content-Length: 8", "name=a<b", &[400]),
    ];
    for lengths in [
        "5\r\nContent-Length: 6",
        "-1",
        "+5",
        "0x5",
        "5 5",
        "5, 5",
        "5.0",
        "",
        "99999999999999999999999",
        "18446744073709551615",
    ] {
        cases.push(with("length", "GET", &format!("Content-Length: {lengths}"), "12345", &[400, 431]));
    }
    for body in [
        "zz\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n\r\n",
        "0\n\n",
        "5\n12345\n0\n\n",
        "5\r\n12345670\r\n\r\n",
        "0x5\r\n",
        " 5\r\n",
        "\r\n",
        "5 ;x\r\n12345\r\n0\r\n\r\n",
    ] {
        cases.push(chunked(body, &[200, 400]));
    }
    cases.push(chunked("5\r\n12345\r\n0\r\n\r\n", &[200]));
    cases.push(chunked("0\r\nHost: evil\r\nContent-Length: 3\r\n\r\n", &[200]));
    cases.push(chunked(&format!("5;{}\r\n12345\r\n0\r\n\r\n", "x".repeat(1 << 20)), &[200, 400]));
    cases.push(chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(100_000)), &[200, 400]));
    cases
}

pub(super) fn ranges() -> Vec<Case> {
    let artifact = resource("greeting-text-1").to_string();
    let with = |lines: &str, answers| {
        let name: String = lines.chars().take(60).collect();
        case(&name, format!("GET {artifact} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n\r\n"), answers)
    };
    let range = |range: &str, answers| with(&format!("Range: {range}"), answers);
    vec![
        range(&format!("bytes={}", vec!["0-"; 10_000].join(",")), &[200]),
        range(&format!("bytes={}", vec!["0-0"; 100_000].join(",")), &[0, 431]),
        range(&format!("bytes=0-{}", "9".repeat(50_000)), &[206]),
        range(&format!("bytes={}-", "9".repeat(50_000)), &[416]),
        range(&format!("bytes=-{}", "9".repeat(50_000)), &[206]),
        range("bytes=18446744073709551615-18446744073709551615", &[416]),
        range("bytes=0-18446744073709551615", &[206]),
        range("bytes=-0", &[416]),
        range("bytes=--1", &[200]),
        range("bytes=5-2", &[200]),
        range("bytes=\u{e9}", &[200]),
        range("evil=0-1", &[200]),
        range("bytes=0-0\r\nRange: bytes=1-1", &[200, 206]),
        with(&format!("If-None-Match: {}", "\"x\", ".repeat(10_000)), &[200]),
        with(&format!("If-None-Match: {}", "W/".repeat(30_000)), &[200]),
        with(&format!("If-Range: {}\r\nRange: bytes=0-0", "\"".repeat(50_000)), &[200]),
        with("If-Modified-Since: evil\r\nIf-Unmodified-Since: evil", &[200]),
    ]
}
