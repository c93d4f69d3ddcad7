//! Rules about registries that fit none here: one that was misspelt protects nothing, or keeps back too much,
//! and nobody would hear of it.

use super::Mirror;
use crate::config::{Config, List, Rule};

/// The rules about registries, each with its key.
pub(super) fn registry_rules(config: &Config) -> Vec<(&'static str, Rule)> {
    let policy = &config.policy;
    let lists = [&policy.both, &policy.fetch, &policy.serve].into_iter().flat_map(|lists| [&lists.allow, &lists.deny]);
    let lists = lists.chain([&policy.private, &config.access.private]);
    let about_registries = |list: &List| -> Vec<_> {
        let rules = list.rules.iter().filter(|rule| rule.is_of_registries());
        rules.map(|rule| (list.key, rule.clone())).collect()
    };
    lists.flat_map(about_registries).collect()
}

impl Mirror {
    /// What there is to say of rules that fit no registry here. The names of what is here must have been read.
    pub fn idle_rules(&self) -> Vec<String> {
        let idle = self.registry_rules.iter().filter(|(_, rule)| !self.has_registry(rule));
        idle.map(|(key, rule)| format!("{key} has \"{rule}\", and no registry here fits that (yet)")).collect()
    }

    /// Says it, once the registries that can be had are here.
    pub(super) fn say_idle_rules(&self) {
        self.idle_rules().iter().for_each(|idle| tracing::warn!("{idle}"));
    }
}
