//! Who may have what: `[access]`, its rules read once.

use super::policy::{List, Rule};
use super::{Config, ConfigError};
use serde::Deserialize;
use std::path::PathBuf;

/// `[access]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccessSettings {
    /// Who needs a token.
    pub token: Option<TokenNeed>,
    /// Registries that only a token shows, by name or uuid.
    pub private_registries: Option<Vec<String>>,
    /// Where the tokens are.
    pub tokens_file: Option<PathBuf>,
}

/// Who needs a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenNeed {
    /// Nobody, but for what is of a private registry.
    #[default]
    No,
    /// Everybody.
    Required,
}

/// Who may have what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Who needs a token.
    pub token: TokenNeed,
    /// The private registries: each rule is about a registry.
    pub private: List,
    /// Where the tokens are, if somebody said.
    pub tokens_file: Option<PathBuf>,
}

impl Access {
    pub(super) fn new(settings: AccessSettings) -> Result<Self, ConfigError> {
        let AccessSettings { token, private_registries, tokens_file } = settings;
        // As in a scope or a policy, whether or not the word is there.
        let rule = |text: String| match text.trim().strip_prefix("registry:") {
            Some(_) => text,
            None => format!("registry:{}", text.trim()),
        };
        let private = private_registries.map(|all| all.into_iter().map(rule).collect());
        Ok(Self {
            token: token.unwrap_or_default(),
            private: List::new("access.private-registries", private)?,
            tokens_file,
        })
    }

    /// Whether nobody ever needs a token: what is asked before every hit.
    pub fn is_open(&self) -> bool {
        self.token == TokenNeed::No && self.private.rules.is_empty()
    }

    /// The rules of the private registries.
    pub fn private(&self) -> &[Rule] {
        &self.private.rules
    }
}

impl Config {
    /// Where the tokens are.
    pub fn tokens_file(&self) -> PathBuf {
        self.access.tokens_file.clone().unwrap_or_else(|| self.cache.join(".airlock/tokens.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{About, Settings};

    fn access(text: &str) -> Result<Access, ConfigError> {
        Config::new(Settings::default(), toml::from_str(text).unwrap()).map(|config| config.access)
    }

    #[test]
    fn without_a_word_all_is_open() {
        assert!(access("").unwrap().is_open());
        assert!(!access("access.token = 'required'").unwrap().is_open());
        assert!(!access("access.private-registries = ['Acme']").unwrap().is_open());
    }

    #[test]
    fn a_private_registry_has_a_name_or_a_uuid() {
        let uuid = "23338594-aafe-5451-b93e-139f81909106";
        let text = format!("access.private-registries = ['Acme', 'registry:Acme', '{uuid}']");
        let about: Vec<_> = access(&text).unwrap().private().iter().map(|rule| rule.about.clone()).collect();
        assert_eq!(about[0], about[1]);
        assert!(matches!((&about[0], &about[2]), (About::RegistryName(_), About::Registry(_))));
        for bad in ["", "a b", "Acme@1"] {
            let error = access(&format!("access.private-registries = ['{bad}']")).unwrap_err();
            assert!(error.to_string().contains("access.private-registries"), "{error}");
        }
    }

    #[test]
    fn the_tokens_are_in_the_cache_unless_somebody_says() {
        let file = |text: &str| Config::new(Settings::default(), toml::from_str(text).unwrap()).unwrap().tokens_file();
        assert_eq!(file("cache = 'c'"), PathBuf::from("c/.airlock/tokens.json"));
        assert_eq!(file("access.tokens-file = '/etc/t'"), PathBuf::from("/etc/t"));
    }
}
