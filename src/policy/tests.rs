//! What the rules come to.

use super::*;
use crate::config::Settings;
use crate::protocol::{Resource, TreeHash, Uuid};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn policy(text: &str) -> Policy {
    let settings: Settings = toml::from_str(text).unwrap();
    Policy::new(config::Config::new(Settings::default(), settings).unwrap().policy)
}

fn uuid(digit: u8) -> Uuid {
    format!("{digit:08x}-0000-4000-8000-000000000000").parse().unwrap()
}

fn tree(digit: u8) -> TreeHash {
    TreeHash::from_bytes([digit; 20])
}

fn registry(name: &str, private: bool) -> Registry {
    let claimed_by = private.then(|| Arc::from("git.acme.example"));
    Registry { name: Some(name.into()), claimed_by, is_listed: true, ..Registry::new(uuid(9)) }
}

fn package(name: &str) -> Package {
    let names = BTreeSet::from([name.into()]);
    Package { names, registries: vec![registry("General", false)], ..Package::new(uuid(1)) }
}

fn said(name: &str) -> Package {
    Package { said: BTreeSet::from([name.into()]), ..Package::new(uuid(1)) }
}

fn artifact(owners: &[Package]) -> Subject {
    Subject::Artifact { tree: tree(7), owners: owners.to_vec(), said: BTreeSet::new(), said_of: Vec::new() }
}

fn judged(rules: &str, subject: &Subject) -> String {
    match policy(rules).judge(Act::Fetch, subject) {
        Verdict::Allowed => "allowed".to_owned(),
        Verdict::Denied(why) => why.to_string(),
    }
}

#[test]
fn deny_wins_and_an_allow_list_leaves_out_the_rest() {
    let subject = |name: &str| Subject::Package(package(name));
    let rules = "policy.allow = ['Acme*', 'JSON']\npolicy.deny = ['AcmeOld']";
    for (name, verdict) in [
        ("AcmeNew", "allowed"),
        ("JSON", "allowed"),
        ("AcmeOld", "policy.deny has \"AcmeOld\""),
        ("JSON3", "no rule of policy.allow fits"),
    ] {
        assert_eq!(judged(rules, &subject(name)), verdict, "{name}");
    }
    assert_eq!(judged("policy.serve.deny = ['JSON']", &subject("JSON")), "allowed", "only for serving");
    assert_eq!(
        judged("policy.allow = ['J*']\npolicy.fetch.allow = ['X']", &subject("JSON")),
        "no rule of policy.fetch.allow fits"
    );
    assert_eq!(judged("policy.allow = ['registry:General']", &subject("JSON")), "allowed");
    assert_eq!(judged("policy.deny = ['registry:General']", &subject("JSON")), "policy.deny has \"registry:General\"");
}

#[test]
fn a_registry_is_left_out_by_name_or_uuid_and_never_by_an_allow_list() {
    let subject = Subject::Registry(registry("General", false));
    assert_eq!(judged("policy.allow = ['Acme*', 'registry:Other']", &subject), "allowed");
    assert_ne!(judged("policy.deny = ['registry:General']", &subject), "allowed");
    assert_ne!(judged(&format!("policy.deny = ['registry:{}']", uuid(9)), &subject), "allowed");
    assert_eq!(judged("policy.deny = ['General', '*']", &subject), "allowed", "names are those of packages");
}

#[test]
fn the_words_of_a_manifest_close_doors_and_open_none() {
    let subject = Subject::Package(said("AcmeNew"));
    assert_eq!(judged("policy.deny = ['Acme*']", &subject), "policy.deny has \"Acme*\"");
    assert_eq!(judged("policy.allow = ['Acme*']", &subject), "no rule of policy.allow fits");
    assert_eq!(judged(&format!("policy.allow = ['uuid:{}']", uuid(1)), &subject), "allowed");
}

#[test]
fn an_artifact_goes_with_all_the_packages_that_name_it() {
    let (bad, good) = (package("Bad"), package("Good"));
    let deny = "policy.deny = ['Bad']";
    assert_ne!(judged(deny, &artifact(std::slice::from_ref(&bad))), "allowed");
    assert_eq!(judged(deny, &artifact(&[bad.clone(), good.clone()])), "allowed");
    assert_eq!(judged(deny, &artifact(&[])), "allowed");
    let allow = "policy.allow = ['Good']";
    assert_eq!(judged(allow, &artifact(&[bad.clone(), good])), "allowed");
    assert_ne!(judged(allow, &artifact(std::slice::from_ref(&bad))), "allowed");
    assert_ne!(judged(allow, &artifact(&[])), "allowed", "nobody knows what it is");
    let by_tree = format!("policy.allow = ['Good', 'artifact:{}']", tree(7));
    assert_eq!(judged(&by_tree, &artifact(&[])), "allowed");
    assert_eq!(judged(&by_tree, &artifact(std::slice::from_ref(&bad))), "allowed");
    assert_ne!(judged(&format!("{by_tree}\npolicy.deny = ['Bad']"), &artifact(&[bad])), "allowed");
    assert_ne!(judged(&format!("policy.deny = ['artifact:{}']", tree(7)), &artifact(&[package("Good")])), "allowed");
}

fn named_words() -> BTreeSet<Arc<str>> {
    BTreeSet::from(["Helper".into()])
}

#[test]
fn what_cannot_be_told_apart_is_taken_to_be_private() {
    let read = Surroundings { private_registries: true, unread: None };
    let unread = Surroundings { private_registries: true, unread: Some("git.acme.example".into()) };
    let none = Surroundings::default();
    let of = |rules: &str, subject: &Subject, around: &Surroundings| policy(rules).privacy(subject, around);
    let bare = Subject::Package(Package::new(uuid(1)));
    let named = Subject::Package(said("Helper"));
    let known = Subject::Package(package("Helper"));
    assert_eq!(of("", &bare, &none), Privacy::Public);
    assert_eq!(of("", &bare, &read), Privacy::Unknown);
    assert_eq!(of("policy.private = ['Acme*']", &bare, &none), Privacy::Unknown);
    assert_eq!(of("", &named, &read), Privacy::Public, "it has a name, and no pattern fits");
    assert_eq!(of("", &named, &unread), Privacy::Unread("git.acme.example".into()));
    assert_eq!(of("", &known, &unread), Privacy::Public);
    let unlisted = Registry { is_listed: false, ..registry("Other", false) };
    let chained = Package { registries: vec![unlisted], said: named_words(), ..package("Helper") };
    assert_eq!(of("", &Subject::Package(chained), &read), Privacy::Unknown, "no public upstream lists its registry");
    let acme = Package { registries: vec![registry("Acme", true), registry("General", false)], ..package("Helper") };
    assert!(of("", &Subject::Package(acme.clone()), &read).is_private(), "whoever else has it");
    assert!(of("policy.private = ['Acme*']", &Subject::Package(said("AcmeNew")), &none).is_private());
    assert!(of("", &artifact(std::slice::from_ref(&acme)), &read).is_private());
    assert_eq!(of("", &artifact(&[acme, package("Public")]), &read), Privacy::Public);
    assert_eq!(of("", &artifact(&[]), &read), Privacy::Unknown);
    let listed = Subject::Registry(registry("General", false));
    assert_eq!(of("", &listed, &unread), Privacy::Public);
    assert_eq!(of("", &Subject::Registry(Registry::new(uuid(3))), &read), Privacy::Unknown);
}

#[test]
fn a_version_that_a_public_registry_has_is_public_unless_a_rule_names_the_package() {
    let read = Surroundings { private_registries: true, unread: None };
    let (acme, general) = (registry("Acme", true), registry("General", false));
    let registries = vec![acme.clone(), general.clone()];
    let fork =
        |published_by: Vec<Registry>| Package { registries: registries.clone(), published_by, ..package("Helper") };
    let of = |rules: &str, package: Package| policy(rules).privacy(&Subject::Package(package), &read);
    assert_eq!(of("", fork(vec![general.clone()])), Privacy::Public);
    assert_eq!(of("policy.private = ['registry:Acme']", fork(vec![general.clone()])), Privacy::Public);
    assert!(of("", fork(vec![])).is_private(), "a version of its own");
    assert!(of("", fork(vec![acme])).is_private(), "whoever lists it");
    for rules in ["policy.private = ['Help*']", "policy.private = ['registry:General']"] {
        assert!(of(rules, fork(vec![general.clone()])).is_private(), "{rules}");
    }
}

#[test]
fn what_is_said_of_an_artifact_is_as_private_as_all_that_it_may_mean() {
    let read = Surroundings { private_registries: true, unread: None };
    let of = |said_of: &[Package]| {
        let subject =
            Subject::Artifact { tree: tree(7), owners: vec![], said: named_words(), said_of: said_of.to_vec() };
        policy("").privacy(&subject, &read)
    };
    let acme = Package { registries: vec![registry("Acme", true)], ..package("Helper") };
    assert_eq!(of(&[]), Privacy::Public, "it has a name, and no pattern fits");
    assert_eq!(of(&[package("Helper")]), Privacy::Public);
    assert_eq!(of(&[said("Helper")]), Privacy::Public, "as in a manifest");
    assert!(of(&[package("Helper"), acme]).is_private());
    assert_eq!(of(&[Package::new(Uuid::NIL)]), Privacy::Unknown, "what a private registry had, perhaps");
}

#[test]
fn a_version_is_young_until_its_day_and_a_clock_that_was_ahead_makes_nothing_older() {
    let day = |days: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (20_000 + days));
    let week = policy("policy.min-age = '7d'");
    let age = |seen, now| week.age(Some(day(seen)), day(now));
    assert_eq!(age(0, 7), Age::Old { since: Some(day(0)) });
    assert_eq!(age(0, 6), Age::Young { since: day(0), until: day(7) });
    assert!(age(30, 0).is_young());
    assert_eq!(week.age(None, day(0)), Age::Unseen);
    assert!(!policy("").age(None, day(0)).is_young());
    assert_eq!(week.rules().min_age, Some(Duration::from_hours(7 * 24)));
}

/// Rules that have something to do with the packages below, and some that do not.
fn rules() -> impl Strategy<Value = Vec<String>> {
    let by_uuid = (0_u8..4).prop_map(|digit| format!("uuid:{}", uuid(digit)));
    let by_registry = prop::sample::select(vec!["registry:General", "registry:Acme*", "registry:X"]);
    let by_name = prop::sample::select(vec!["*", "A*", "Ab", "B?", "Zed", "a*"]);
    let by_tree = (5_u8..9).prop_map(|digit| format!("artifact:{}", tree(digit)));
    let one = prop_oneof![by_uuid, by_registry.prop_map(str::to_owned), by_name.prop_map(str::to_owned), by_tree];
    prop::collection::vec(one, 0..4)
}

fn packages() -> impl Strategy<Value = Package> {
    let names = || prop::collection::btree_set(prop::sample::select(vec!["Ab", "Ac", "Bc", "Zed"]), 0..2);
    let registries =
        prop::collection::vec((prop::sample::select(vec!["General", "AcmeRegistry"]), any::<bool>()), 0..2);
    (0_u8..4, names(), names(), registries, any::<bool>()).prop_map(|(digit, names, said, registries, claimed)| {
        Package {
            names: names.into_iter().map(Arc::from).collect(),
            said: said.into_iter().map(Arc::from).collect(),
            registries: registries.into_iter().map(|(name, private)| registry(name, private)).collect(),
            claimed_by: claimed.then(|| Arc::from("git.acme.example")),
            ..Package::new(uuid(digit))
        }
    })
}

fn subjects() -> impl Strategy<Value = Subject> {
    let owned = (5_u8..9, prop::collection::vec(packages(), 0..3));
    let owned = owned.prop_map(|(digit, owners)| {
        let (said, said_of) = (BTreeSet::new(), Vec::new());
        Subject::Artifact { tree: tree(digit), owners, said, said_of }
    });
    prop_oneof![packages().prop_map(Subject::Package), owned]
}

fn with(allow: &[String], deny: &[String], private: &[String]) -> Policy {
    policy(&format!("[policy]\nallow = {allow:?}\ndeny = {deny:?}\nprivate = {private:?}"))
}

proptest! {
    #[test]
    fn deny_always_wins(allow in rules(), deny in rules(), subject in subjects()) {
        let without = with(&[], &deny, &[]).judge(Act::Fetch, &subject);
        if without != Verdict::Allowed {
            prop_assert_ne!(with(&allow, &deny, &[]).judge(Act::Fetch, &subject), Verdict::Allowed);
        }
    }

    #[test]
    fn a_rule_more_denies_no_less(allow in rules(), deny in rules(), more in rules(), subject in subjects()) {
        if with(&allow, &deny, &[]).judge(Act::Serve, &subject) != Verdict::Allowed {
            let all: Vec<_> = deny.iter().chain(&more).cloned().collect();
            prop_assert_ne!(with(&allow, &all, &[]).judge(Act::Serve, &subject), Verdict::Allowed);
        }
    }

    /// Told in other words than those of the code: one by one, from what each rule says.
    #[test]
    fn nothing_private_is_public(
        private in rules(), subject in subjects(), registries in any::<bool>(), unread in any::<bool>()
    ) {
        let around = Surroundings { private_registries: registries, unread: unread.then(|| "git".into()) };
        let privacy = with(&[], &[], &private).privacy(&subject, &around);
        let is_private = |package: &Package| {
            let of_rule = |rule: &String| match rule.split_once(':') {
                Some(("uuid", text)) => text == package.uuid.to_string(),
                Some(("registry", pattern)) => {
                    let fits = |registry: &Registry| wildmatch::WildMatch::new(pattern).matches(registry.name.as_deref().unwrap());
                    package.registries.iter().any(fits)
                }
                Some(_) => false,
                None => package.names.iter().chain(&package.said).any(|name| wildmatch::WildMatch::new(rule).matches(name)),
            };
            let claimed = package.claimed_by.is_some() || package.registries.iter().any(|it| it.claimed_by.is_some());
            private.iter().any(of_rule) || (claimed && (registries || !private.is_empty()))
        };
        let must_not = match &subject {
            Subject::Registry(_) => false,
            Subject::Package(package) => is_private(package),
            Subject::Artifact { tree, owners, .. } => {
                private.contains(&format!("artifact:{tree}")) || (!owners.is_empty() && owners.iter().all(is_private))
            }
        };
        prop_assert!(!(must_not && privacy.is_public()), "{private:?} {subject:?} {privacy:?}");
        if !registries && private.is_empty() {
            prop_assert!(privacy.is_public());
        }
    }
}

#[test]
fn nothing_is_known_of_a_bare_resource() {
    let package = Subject::unknown(&Resource::Package { uuid: uuid(1), tree: tree(1) });
    assert_eq!(package, Subject::Package(Package::new(uuid(1))));
    let policy = policy("policy.serve.deny = ['A']");
    assert_eq!((policy.is_silent(Act::Fetch), policy.is_silent(Act::Serve), policy.is_empty()), (true, false, false));
    assert_eq!(policy.fitting(&Subject::Package(said("A"))).len(), 1);
}
