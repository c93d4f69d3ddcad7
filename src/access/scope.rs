//! What a token is good for, as people write it.

use crate::config::{About, Rule, RuleError};
use std::fmt;
use std::str::FromStr;

/// What a token is good for.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    /// `all`: everything that clients may ask for.
    All,
    /// `registry:NAME` or `registry:UUID`: a registry, the packages that it has, and their artifacts.
    Registry(Rule),
    /// `package:PATTERN`: packages by name, or one by `package:uuid:UUID`, with their artifacts, and every
    /// registry that is not private.
    Package(Rule),
    /// `admin`: everything, and the routes below `/admin/`.
    Admin,
    /// `metrics`: `/metrics`, and nothing else.
    Metrics,
}

/// Not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Another word.
    #[error("{0:?} is no scope: all, registry:NAME, registry:UUID, package:PATTERN, admin or metrics")]
    Unknown(String),
    /// What follows the colon.
    #[error("{0:?}: {1}")]
    Rule(String, RuleError),
}

impl Scope {
    /// Whether nothing is hidden from who has it.
    pub const fn is_for_all(&self) -> bool {
        matches!(self, Self::All | Self::Admin)
    }

    /// Whether it is good for any resource.
    pub const fn is_for_resources(&self) -> bool {
        !matches!(self, Self::Metrics)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let unknown = || ScopeError::Unknown(text.to_owned());
        let rule = |rule: &str| Rule::parse(rule).map_err(|error| ScopeError::Rule(text.to_owned(), error));
        match text.trim() {
            "all" => Ok(Self::All),
            "admin" => Ok(Self::Admin),
            "metrics" => Ok(Self::Metrics),
            scope => match scope.split_once(':') {
                Some(("registry", _)) => Ok(Self::Registry(rule(scope)?)),
                Some(("package", pattern)) => match rule(pattern)? {
                    rule if matches!(rule.about, About::Name(_) | About::Package(_)) => Ok(Self::Package(rule)),
                    _ => Err(unknown()),
                },
                _ => Err(unknown()),
            },
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Admin => f.write_str("admin"),
            Self::Metrics => f.write_str("metrics"),
            Self::Registry(rule) => write!(f, "{rule}"),
            Self::Package(rule) => write!(f, "package:{rule}"),
        }
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
