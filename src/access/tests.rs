//! Scopes, tokens, and whose a resource is.

use super::*;
use crate::config::{Config, Settings};
use crate::protocol::{TreeHash, Uuid};
use jiff::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ACME: &str = "ac3e0000-0000-4000-8000-000000000000";

fn rules(text: &str) -> Access {
    Config::new(Settings::default(), toml::from_str(text).unwrap()).unwrap().access
}

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn registry(name: Option<&str>, digit: u8) -> Registry {
    let uuid: Uuid = ACME.replace("000000000000", &format!("0000000000{digit:02x}")).parse().unwrap();
    Registry { name: name.map(Into::into), ..Registry::new(uuid) }
}

fn package(name: &str, digit: u8, registries: &[&Registry]) -> Package {
    let uuid: Uuid = ACME.replace("ac3e", &format!("be{digit:02x}")).parse().unwrap();
    let names = if registries.is_empty() { BTreeSet::new() } else { [name.into()].into() };
    // What manifests say must not matter.
    let said = ["Greeting".into(), "AcmeTools".into()].into();
    Package { names, said, registries: registries.iter().copied().cloned().collect(), ..Package::new(uuid) }
}

fn artifact(owners: &[&Package]) -> Subject {
    let owners = owners.iter().copied().cloned().collect();
    Subject::Artifact { tree: TreeHash::EMPTY, owners, said: ["AcmeData".into()].into(), said_of: Vec::new() }
}

#[test]
fn whose_a_resource_is() {
    let (general, acme) = (registry(Some("General"), 1), registry(Some("Acme"), 2));
    let (public, private) = (package("Greeting", 1, &[&general]), package("AcmeTools", 2, &[&acme]));
    let (both, unknown) = (package("Shared", 3, &[&acme, &general]), package("", 4, &[]));
    let cases = [
        (Subject::Registry(general.clone()), [true, true, false, true]),
        (Subject::Registry(acme), [false, true, true, false]),
        (Subject::Package(public.clone()), [true, true, false, false]),
        (Subject::Package(private.clone()), [false, true, true, true]),
        (Subject::Package(both.clone()), [true, true, true, false]),
        (Subject::Package(unknown.clone()), [false, true, false, false]),
        (artifact(&[&public]), [true, true, false, false]),
        (artifact(&[&private]), [false, true, true, true]),
        (artifact(&[&private, &public]), [true, true, true, true]),
        (artifact(&[&private, &unknown]), [false, true, true, true]),
        (artifact(&[&both]), [true, true, true, false]),
        (artifact(&[]), [false, true, false, false]),
    ];
    let by_name = "access.private-registries = ['Acme']";
    let by_uuid = format!("access.private-registries = ['{}']", registry(None, 2).uuid);
    for (subject, [free, all, of_registry, of_package]) in &cases {
        for text in [by_name, &by_uuid] {
            let access = rules(text);
            let sees = |texts: &[&str]| Sight::new(&access, &scopes(texts)).sees(subject);
            assert_eq!(sees(&[]), *free, "{subject:?}");
            assert_eq!(sees(&["metrics"]), *free, "{subject:?}");
            assert_eq!([sees(&["all"]), sees(&["admin"])], [*all; 2], "{subject:?}");
            assert_eq!(sees(&["registry:Acme"]), *free || *of_registry, "{subject:?}");
            assert_eq!(sees(&["package:Acme*"]), *free || *of_package, "{subject:?}");
        }
        // Where everybody needs a token, one sees what it is for.
        let access = rules(&format!("access.token = 'required'\n{by_name}"));
        let sees = |texts: &[&str]| Sight::new(&access, &scopes(texts)).sees(subject);
        assert!(!sees(&[]) && !sees(&["metrics"]), "{subject:?}");
        assert_eq!(
            [sees(&["all"]), sees(&["registry:Acme"]), sees(&["package:Acme*"])],
            [*all, *of_registry, *of_package],
            "{subject:?}"
        );
    }
}

#[test]
fn before_its_name_is_known_a_registry_is_private_where_names_are_rules() {
    let unread = Subject::Registry(registry(None, 3));
    let by_uuid = format!("access.private-registries = ['{}']", registry(None, 2).uuid);
    for (text, free) in [("", true), ("access.private-registries = ['Acme']", false), (&by_uuid, true)] {
        let access = rules(text);
        assert_eq!(Sight::new(&access, &[]).sees(&unread), free, "{text}");
    }
}

#[test]
fn a_name_that_may_come_from_a_private_package_is_not_shown() {
    let (general, acme) = (registry(Some("General"), 1), registry(Some("Acme"), 2));
    let (public, private) = (package("Greeting", 1, &[&general]), package("AcmeTools", 2, &[&acme]));
    let access = rules("access.private-registries = ['Acme']");
    let (nobody, one) = (Sight::new(&access, &[]), scopes(&["registry:Acme"]));
    for (subject, named) in [
        (artifact(&[&public]), true),
        (artifact(&[&public, &private]), false),
        (Subject::Package(package("Shared", 3, &[&general, &acme])), false),
        (Subject::Package(private.clone()), false),
    ] {
        assert_eq!(nobody.sees_names_of(&subject), named, "{subject:?}");
        assert!(Sight::new(&access, &one).sees_names_of(&subject), "{subject:?}");
    }
}

#[test]
fn scopes_are_read_and_written() {
    for text in [
        "all",
        "admin",
        "metrics",
        "registry:Acme",
        "package:Acme*",
        "package:uuid:ac3e0000-0000-4000-8000-000000000000",
    ] {
        assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
    }
    assert_eq!(format!("registry:{ACME}").parse::<Scope>().unwrap().to_string(), format!("registry:{ACME}"));
    for bad in
        ["", "All", "root", "registry:", "package:", "package:a b", "package:registry:Acme", "uuid:x", "artifact:x"]
    {
        assert!(bad.parse::<Scope>().is_err(), "{bad}");
    }
}

fn token(number: u8, label: &str) -> (Token, String) {
    let label = label.parse().unwrap();
    let (token, secret) = Token::new(&[number; 32], label, scopes(&["all"]), Timestamp::UNIX_EPOCH, None);
    (token, secret.expose().to_owned())
}

#[test]
fn a_token_is_found_by_what_is_shown_and_kept_as_a_hash() {
    let mut list = TokenList::default();
    let mut shown = Vec::new();
    for number in 1..20 {
        let (token, secret) = token(number, &format!("t{number}"));
        assert!(secret.starts_with(PREFIX) && secret.len() == PREFIX.len() + 64, "{secret}");
        list.add(token).unwrap();
        shown.push(secret);
    }
    let json = String::from_utf8(list.to_json()).unwrap();
    assert_eq!(TokenList::parse(json.as_bytes()).unwrap(), list);
    for (number, secret) in (1..).zip(&shown) {
        assert_eq!(list.find(secret).unwrap().label.as_str(), format!("t{number}"));
        assert!(!json.contains(&secret[PREFIX.len()..]), "only its hash is kept");
    }
    for wrong in ["", PREFIX, &shown[0].to_uppercase(), &shown[0][1..], &format!("{} ", shown[0])] {
        assert_eq!(list.find(wrong), None, "{wrong}");
    }
    assert_eq!(TokenList::default().find(&shown[0]), None);
    let id = list.iter().next().unwrap().id.clone();
    assert!(list.remove(&id).is_some() && list.remove("t2").is_some() && list.remove("t2").is_none());
    assert_eq!((list.find(&shown[0]), list.find(&shown[1]), list.iter().count()), (None, None, 17));
}

#[test]
fn a_list_that_makes_no_sense_is_none() {
    let mut list = TokenList::default();
    list.add(token(1, "one").0).unwrap();
    assert_eq!(list.add(token(2, "one").0), Err(TokenListError::Twice("one".into())));
    assert_eq!(list.add(token(1, "two").0), Err(TokenListError::Twice("one".into())));
    let good = String::from_utf8(list.to_json()).unwrap();
    for (from, to) in [
        ("\"all\"", "\"root\""),
        ("\"scopes\"", "\"skopes\""),
        ("\"all\"", ""),
        ("airlock_tokens\": 1", "airlock_tokens\": 2"),
        ("\"one\"", "\"o ne\""),
        ("\"sha256\": \"", "\"sha256\": \"g"),
        ("}", ""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(bad != good && TokenList::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    for bad in ["", "a b", "-x", "a/b", "\u{e9}", "0123abcd", &"x".repeat(65)] {
        assert!(bad.parse::<Label>().is_err(), "{bad}");
    }
}

#[test]
fn a_token_ends_at_its_moment() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let token = Token { expires: Some(at(10)), ..token(1, "one").0 };
    assert_eq!([9, 10, 11].map(|second| token.is_expired(at(second))), [false, true, true]);
}

/// A registry of ten, some of which have no name yet.
fn any_registry() -> impl Strategy<Value = Registry> {
    (0_u8..10)
        .prop_map(|digit| registry(["General", "Acme", "AcmeTwo", "Other"].get(usize::from(digit)).copied(), digit))
}

fn any_package() -> impl Strategy<Value = Package> {
    (0_u8..20, proptest::collection::vec(any_registry(), 0..3))
        .prop_map(|(digit, registries)| package(&format!("Acme{digit}"), digit, &registries.iter().collect::<Vec<_>>()))
}

fn any_subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        any_registry().prop_map(Subject::Registry),
        any_package().prop_map(Subject::Package),
        proptest::collection::vec(any_package(), 0..3).prop_map(|owners| artifact(&owners.iter().collect::<Vec<_>>())),
    ]
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let all = ["all", "metrics", "admin", "registry:General", "registry:Acme", "registry:Acme*", "registry:*"];
    let packages = ["package:Acme1", "package:Acme*", "package:*"];
    proptest::sample::select(scopes(&[&all[..], &packages].concat()))
}

proptest! {
    /// Written another way than the code: nothing is free of which not some registry is known to be public.
    #[test]
    fn nobody_in_particular_sees_nothing_private(subject in any_subject(), uuids in any::<bool>()) {
        let private = if uuids { registry(None, 1).uuid.to_string() } else { "Acme*".to_owned() };
        let access = rules(&format!("access.private-registries = ['{private}']"));
        let public = |it: &Registry| {
            if uuids {
                it.uuid.to_string() != private
            } else {
                it.name.as_ref().is_some_and(|name| !name.starts_with("Acme"))
            }
        };
        let any_public = |package: &Package| package.registries.iter().any(public);
        let expected = match &subject {
            Subject::Registry(registry) => public(registry),
            Subject::Package(package) => any_public(package),
            Subject::Artifact { owners, .. } => owners.iter().any(any_public),
        };
        prop_assert_eq!(Sight::new(&access, &[]).sees(&subject), expected);
        prop_assert_eq!(Sight::new(&access, &[Scope::Metrics]).sees(&subject), expected);
    }

    /// A token never shows less than none, more scopes never less than fewer, and required never more.
    #[test]
    fn scopes_only_ever_add(subject in any_subject(), all in proptest::collection::vec(any_scope(), 0..4)) {
        let access = rules("access.private-registries = ['Acme*']");
        let fewer = all.split_last().map_or(&[][..], |(_, fewer)| fewer);
        let sees = |access: &Access, scopes: &[Scope]| Sight::new(access, scopes).sees(&subject);
        prop_assert!(sees(&access, &all) || !sees(&access, fewer));
        let required = rules("access.token = 'required'\naccess.private-registries = ['Acme*']");
        prop_assert!(sees(&access, &all) || !sees(&required, &all));
        prop_assert!(!sees(&required, &[]));
        prop_assert!(Sight::new(&access, &all).sees(&subject) || !Sight::new(&access, &all).sees_names_of(&subject));
    }
}
