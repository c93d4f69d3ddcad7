//! Requests and wishes as they are written, and what is refused.

use super::*;
use crate::protocol::{GENERAL, TreeHash};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn wishes_are_names_with_a_range_or_without() {
    for (text, written) in [
        ("Example", "Example"),
        ("Example.jl", "Example"),
        (" Example @ v1.2 ", "Example@1.2"),
        ("Example@*", "Example"),
        ("Example@", "Example"),
        ("Zlib_jll@v1.2.13+0", "Zlib_jll@1.2.13+0"),
        ("A@1.2 - 1.4", "A@1.2-1.4"),
        ("A@1\n", "A@1"),
        ("Größe", "Größe"),
    ] {
        let wish: Wish = text.parse().unwrap();
        assert_eq!(wish.to_string(), written);
        assert_eq!(wish.to_string().parse(), Ok(wish), "{text}");
    }
    let long = "9".repeat(1000);
    for bad in [
        "",
        "@1",
        "a b",
        "../x",
        "A@x",
        "A@1-2-3",
        "A@^1",
        "\u{1b}[31m",
        "A@1+",
        "A@1+2+3",
        "A@1-2+3",
        "A@1@2",
        "<b>",
        ".jl",
    ] {
        assert!(bad.parse::<Wish>().is_err(), "{bad:?}");
    }
    for bad in [long.clone(), format!("A@0.{long}"), format!("A@1+{long}")] {
        let error = bad.parse::<Wish>().unwrap_err().to_string();
        assert!(error.len() < 250, "{error}");
    }
}

#[test]
fn a_range_is_what_registries_mean_by_it() {
    for (wish, inside, outside) in [
        ("A", &["0.1.0", "9.9.9+1"][..], &[][..]),
        ("A@1", &["1.0.0", "1.9.0+2"], &["0.9.0", "2.0.0"]),
        ("A@1.2-1.4", &["1.2.0", "1.4.9"], &["1.1.9", "1.5.0"]),
        ("A@1.2.13+0", &["1.2.13+0"], &["1.2.13+1", "1.2.13", "1.2.12+0"]),
    ] {
        let admits = |version: &&str| wish.parse::<Wish>().unwrap().admits(&version.parse().unwrap());
        assert!(inside.iter().all(admits) && !outside.iter().any(admits), "{wish}");
    }
}

fn request() -> Request {
    let tree = TreeHash::EMPTY;
    let package = Resource::Package { uuid: GENERAL, tree };
    Request {
        airlock_request: REQUEST_FORMAT,
        created: jiff::Timestamp::UNIX_EPOCH,
        site: GENERAL,
        name: "site-1".into(),
        platforms: vec!["x86_64-linux-gnu".into()],
        julia: vec!["1.10.2".into()],
        registries: [Resource::Registry { uuid: GENERAL, tree }].into(),
        inventory: [package].into(),
        repositories: [("git/h/own.bundle".parse().unwrap(), [tree].into())].into(),
        misses: vec![Missed::new(package, Some("Example".into()), Some("a\nb".into()), 2)],
        wishes: vec!["Example@1".parse().unwrap()],
        damaged: vec![Damaged { resource: Resource::Artifact { tree } }],
        received: vec![Received { origin: GENERAL, destination: "lab".into(), last: 3, gaps: [1].into() }],
    }
}

#[test]
fn what_is_written_is_what_the_format_says() {
    let request = request();
    let written: Value = serde_json::from_slice(&request.to_json()).unwrap();
    let (uuid, tree) = (GENERAL.to_string(), TreeHash::EMPTY.to_string());
    let package = format!("/package/{uuid}/{tree}");
    let expected = json!({
        "airlock_request": 1, "created": "1970-01-01T00:00:00Z", "site": uuid, "name": "site-1",
        "platforms": ["x86_64-linux-gnu"], "julia": ["1.10.2"], "registries": [format!("/registry/{uuid}/{tree}")],
        "inventory": [package],
        "repositories": {"git/h/own.bundle": [tree]},
        "misses": [{"resource": package, "name": "Example", "version": null, "count": 2}],
        "wishes": ["Example@1"], "damaged": [{"resource": format!("/artifact/{tree}")}],
        "received": [{"origin": uuid, "destination": "lab", "last": 3, "gaps": [1]}],
    });
    assert_eq!(written, expected);
    assert!(Request::is_request(&String::from_utf8(request.to_json()).unwrap()));
    assert_eq!(request.listing().iter().count(), 1);
}

#[test]
fn a_request_without_git_bundles_is_as_it_was_before_they_crossed() {
    let mut before = serde_json::to_value(request()).unwrap();
    before.as_object_mut().unwrap().remove("repositories");
    let request = Request::parse(before.to_string().as_bytes()).unwrap();
    assert!(request.repositories.is_empty());
    assert_eq!(serde_json::from_slice::<Value>(&request.to_json()).unwrap(), before);
}

#[test]
fn hostile_requests_are_refused() {
    let written = serde_json::to_value(request()).unwrap();
    assert_eq!(Request::parse(written.to_string().as_bytes()), Ok(request()));
    let (path, artifact) = (written["inventory"][0].clone(), written["damaged"][0]["resource"].clone());
    for (pointer, value, says) in [
        ("/airlock_request", json!(2), "request format 2"),
        ("/airlock_request", json!("1"), "not a request"),
        ("/name", json!("../x"), "name of a site"),
        ("/name", json!("x".repeat(65)), "name of a site"),
        ("/name", json!("a\u{1b}[31m"), "name of a site"),
        ("/platforms", json!(["host"]), "platform"),
        ("/platforms", json!(["z80-cpm"]), "platform"),
        ("/julia", json!(["newest"]), "version of Julia"),
        ("/registries", json!([path]), "a registry that is none"),
        ("/inventory", json!(["/artifact/../../etc"]), "not a request"),
        ("/repositories", json!({"git/../x.bundle": []}), "not a request"),
        ("/repositories", json!({"git/h/own.bundle": ["x"]}), "not a request"),
        ("/misses/0/resource", json!("/etc/passwd"), "not a request"),
        ("/misses/0/name", json!("a\u{7}b"), "cannot be shown"),
        ("/misses/0/version", json!("1".repeat(101)), "cannot be shown"),
        ("/misses/0/count", json!(-1), "not a request"),
        ("/wishes/0", json!("A@^1"), "not a request"),
        ("/wishes", json!(vec!["A"; MAX_WISHES + 1]), "wishes"),
        ("/damaged", json!(vec![json!({"resource": artifact}); MAX_MISSES + 1]), "damaged"),
        ("/platforms", json!(vec!["all"; MAX_OTHERS + 1]), "platforms"),
        (
            "/received",
            json!([{"origin": GENERAL.to_string(), "destination": "lab", "last": 3, "gaps": [3]}]),
            "sequence",
        ),
        (
            "/received",
            json!([{"origin": GENERAL.to_string(), "destination": "..", "last": 3, "gaps": []}]),
            "destination",
        ),
        ("/created", json!("yesterday"), "not a request"),
    ] {
        let mut hostile = written.clone();
        *hostile.pointer_mut(pointer).unwrap() = value;
        let error = Request::parse(hostile.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{pointer}: {error}");
    }
    let mut more = written.clone();
    more["user"] = json!("somebody");
    assert!(Request::parse(more.to_string().as_bytes()).is_err(), "an unknown key");
    for bytes in [&b""[..], b"[]", b"\xff", b"{\"airlock_request\":1}", b"{\"airlock_request\":1"] {
        assert!(Request::parse(bytes).is_err());
    }
}

fn resources() -> impl Strategy<Value = Vec<Resource>> {
    let resource = (any::<[u8; 16]>(), any::<[u8; 20]>(), 0..3u8).prop_map(|(uuid, tree, kind)| {
        let (uuid, tree) = (Uuid::from_random(uuid), TreeHash::from_bytes(tree));
        match kind {
            0 => Resource::Registry { uuid, tree },
            1 => Resource::Package { uuid, tree },
            _ => Resource::Artifact { tree },
        }
    });
    prop::collection::vec(resource, 0..6)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        all in resources(),
        names in prop::collection::vec(prop::option::of(r"(?s).{0,4}"), 6),
        wishes in prop::collection::vec(r"[A-Za-z_][A-Za-z0-9_]{0,8}(@[0-9]{1,3}(\.[0-9]{1,3}){0,2}(-[0-9]{1,3})?)?", 0..4),
    ) {
        let name = |index: usize| names.get(index).cloned().flatten();
        let of_kind = |kind| all.iter().copied().filter(move |resource| resource.kind() == kind);
        let request = Request {
            registries: of_kind(Kind::Registry).collect(),
            inventory: all.iter().copied().collect(),
            misses: all.iter().enumerate().map(|(at, it)| Missed::new(*it, name(at), name(at + 1), 1)).collect(),
            damaged: of_kind(Kind::Artifact).map(|resource| Damaged { resource }).collect(),
            wishes: wishes.iter().map(|wish| wish.parse().unwrap()).collect(),
            ..request()
        };
        prop_assert_eq!(Request::parse(&request.to_json()), Ok(request));
    }

    #[test]
    fn nothing_panics(text in r"(?s).{0,12}", wish in r"[A-Za-z@.+*v 0-9-]{0,12}") {
        let _ = Request::parse(text.as_bytes());
        if let Ok(wish) = wish.parse::<Wish>() {
            prop_assert_eq!(wish.to_string().parse(), Ok(wish));
        }
    }
}
