//! What must not leak and what must not come in: `[policy]`, its rules read once.

use super::ConfigError;
use super::settings::{PolicyListSettings, PolicySettings};
use crate::protocol::{TreeHash, Uuid};
use std::fmt;
use std::time::Duration;
use wildmatch::WildMatch;

/// `[policy]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// For fetching and for serving.
    pub both: Lists,
    /// For fetching only.
    pub fetch: Lists,
    /// For serving only.
    pub serve: Lists,
    /// What is asked of no public upstream.
    pub private: List,
    /// Hosts that may be asked for private repositories, in lowercase.
    pub private_hosts: Vec<String>,
    /// How long a version must have been known here, if it must.
    pub min_age: Option<Duration>,
    /// Whether a manifest may name younger ones.
    pub pins: bool,
}

/// What is allowed and what is denied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lists {
    /// If it is not empty, nothing else is.
    pub allow: List,
    /// Wins over `allow`.
    pub deny: List,
}

/// Rules under one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    /// The key, as people write it: `policy.fetch.deny`.
    pub key: &'static str,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// A rule, as it was written and as it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
    /// What it is about.
    pub about: About,
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    /// Packages whose name fits, and their artifacts. `*` and `?` stand for any letters and any one.
    Name(WildMatch),
    /// One package, and its artifacts.
    Package(Uuid),
    /// One registry, and the packages that it has.
    Registry(Uuid),
    /// Registries whose name fits, and the packages that they have.
    RegistryName(WildMatch),
    /// One artifact.
    Artifact(TreeHash),
}

/// Why a rule makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Nothing to match.
    #[error("a rule must not be empty")]
    Empty,
    /// Nothing that is called so can exist.
    #[error("a package's name has no spaces, slashes or commas")]
    Name,
    /// As repositories are called.
    #[error("package names are written without .jl")]
    Suffix,
    /// `Example@1.2`
    #[error("rules are about packages, not about versions of them: leave the @ and what follows")]
    Version,
    /// After `uuid:`.
    #[error("that is no uuid")]
    Uuid,
    /// After `artifact:`.
    #[error("that is no tree hash: 40 hexadecimal digits")]
    Tree,
    /// Another word before a colon.
    #[error("before a colon there may be uuid, registry or artifact")]
    Kind,
}

impl Policy {
    pub(super) fn new(settings: PolicySettings) -> Result<Self, ConfigError> {
        let PolicySettings { allow, deny, private, private_hosts, min_age, pins, fetch, serve } = settings;
        Ok(Self {
            both: Lists::new(PolicyListSettings { allow, deny }, ["policy.allow", "policy.deny"])?,
            fetch: Lists::new(fetch, ["policy.fetch.allow", "policy.fetch.deny"])?,
            serve: Lists::new(serve, ["policy.serve.allow", "policy.serve.deny"])?,
            private: List::new("policy.private", private)?,
            private_hosts: private_hosts.unwrap_or_default().iter().map(|host| host.to_ascii_lowercase()).collect(),
            min_age: min_age.map(|age| age.0).filter(|age| !age.is_zero()),
            pins: pins.unwrap_or(true),
        })
    }
}

impl Lists {
    fn new(settings: PolicyListSettings, [allow, deny]: [&'static str; 2]) -> Result<Self, ConfigError> {
        Ok(Self { allow: List::new(allow, settings.allow)?, deny: List::new(deny, settings.deny)? })
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.allow.rules.is_empty() && self.deny.rules.is_empty()
    }
}

impl List {
    /// Reads the rules under a key.
    pub fn new(key: &'static str, rules: Option<Vec<String>>) -> Result<Self, ConfigError> {
        let read = |text: String| match Rule::parse(&text) {
            Ok(rule) => Ok(rule),
            Err(problem) => Err(ConfigError::Rule { key, rule: text, problem }),
        };
        Ok(Self { key, rules: rules.unwrap_or_default().into_iter().map(read).collect::<Result<_, _>>()? })
    }
}

impl Rule {
    /// Reads a rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let text = text.trim();
        let about = match text.split_once(':') {
            Some(("uuid", uuid)) => About::Package(Uuid::from_any_case(uuid.trim()).map_err(|_| RuleError::Uuid)?),
            Some(("artifact", tree)) => {
                About::Artifact(tree.trim().to_ascii_lowercase().parse().map_err(|_| RuleError::Tree)?)
            }
            Some(("registry", registry)) => match Uuid::from_any_case(registry.trim()) {
                Ok(uuid) => About::Registry(uuid),
                Err(_) => About::RegistryName(name(registry.trim())?),
            },
            Some(_) => return Err(RuleError::Kind),
            None if text.strip_suffix(".jl").is_some() => return Err(RuleError::Suffix),
            None => About::Name(name(text)?),
        };
        Ok(Self { text: text.to_owned(), about })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn name(text: &str) -> Result<WildMatch, RuleError> {
    let is_odd = |character: char| character.is_whitespace() || character.is_control() || "/\\,;".contains(character);
    match text {
        "" => Err(RuleError::Empty),
        text if text.contains('@') => Err(RuleError::Version),
        text if text.contains(is_odd) => Err(RuleError::Name),
        text => Ok(WildMatch::new(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_rule_is_read() {
        let uuid = "7876af07-990d-54b4-ab0e-23690620f79a";
        let tree = "46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc";
        let about = |text: &str| Rule::parse(text).unwrap().about;
        assert_eq!(about(" Acme* "), About::Name(WildMatch::new("Acme*")));
        assert_eq!(about(&format!("uuid:{uuid}")), About::Package(uuid.parse().unwrap()));
        assert_eq!(about(&format!("registry: {uuid}")), About::Registry(uuid.parse().unwrap()));
        assert_eq!(about("registry:General"), About::RegistryName(WildMatch::new("General")));
        assert_eq!(about(&format!("artifact:{tree}")), About::Artifact(tree.parse().unwrap()));
        assert_eq!(Rule::parse(" Acme* ").unwrap().to_string(), "Acme*");
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (text, problem) in [
            ("", RuleError::Empty),
            ("registry:", RuleError::Empty),
            ("a b", RuleError::Name),
            ("Foo.jl", RuleError::Suffix),
            ("Foo@1.2", RuleError::Version),
            ("uuid:Foo", RuleError::Uuid),
            ("artifact:abc", RuleError::Tree),
            ("package:Foo", RuleError::Kind),
        ] {
            assert_eq!(Rule::parse(text).unwrap_err(), problem, "{text}");
        }
        let error = List::new("policy.deny", Some(vec!["Foo".to_owned(), "uuid:x".to_owned()])).unwrap_err();
        assert_eq!(error.to_string(), "policy.deny: \"uuid:x\": that is no uuid");
    }
}
