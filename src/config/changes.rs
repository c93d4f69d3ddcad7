//! What is different between two configurations, for a server that reads its file again.
//!
//! A line names the key. Values are shown only where they cannot be secret.

use super::{Config, List, Lists, Policy, Upstream};
use std::fmt::Debug;

/// Lines for people.
struct Changes(Vec<String>);

impl Config {
    /// This configuration as it can be put in the place of `old` while serving, and what that
    /// changes. What only a restart can change stays as it was, and is said.
    #[must_use]
    pub fn in_place_of(mut self, old: &Self) -> (Self, Vec<String>) {
        let mut changes = Changes(Vec::new());
        // By name, so that a key that is added must be thought of here. What is for other commands,
        // which read the file themselves, changes nothing here.
        let Self {
            cache,
            listen,
            upstreams,
            registries,
            fallback,
            git,
            offline,
            log,
            log_level,
            json: _,
            jobs: _,
            prewarm,
            bundle: _,
            site_name: _,
            server,
            mirror,
            view,
            limits,
            policy,
            access,
            disk,
            scrub,
            tls,
            audit,
            file: _,
        } = &mut self;
        changes.fixed("cache", &old.cache, cache);
        changes.fixed("listen", &old.listen, listen);
        changes.fixed("log", &old.log, log);
        changes.fixed("tls", &old.tls, tls);
        changes.fixed("audit", &old.audit, audit);
        changes.fixed("server.prefix", &old.server.prefix, &mut server.prefix);
        changes.shown("offline", &old.offline, offline);
        changes.upstreams(&old.upstreams, upstreams);
        let names = |registries: &[super::GitRegistry]| {
            registries.iter().map(|it| (it.name.clone(), it.branch.clone())).collect::<Vec<_>>()
        };
        changes.shown("registry", &names(&old.registries), &names(registries));
        changes.hidden("registry", names(&old.registries) == names(registries) && old.registries != *registries);
        changes.shown("fallback.git", &old.fallback.git, &fallback.git);
        changes.shown("fallback.download", &old.fallback.download, &fallback.download);
        changes.shown("git", &old.git, git);
        changes.shown("log-level", &old.log_level, log_level);
        changes.shown("prewarm.platform", &old.prewarm.platforms, &prewarm.platforms);
        changes.shown("server.header-timeout", &old.server.header_timeout, &server.header_timeout);
        changes.shown("server.stall-timeout", &old.server.stall_timeout, &server.stall_timeout);
        changes.shown("server.shutdown-timeout", &old.server.shutdown_timeout, &server.shutdown_timeout);
        changes.shown("server.hot-memory", &old.server.hot_memory, &server.hot_memory);
        changes.shown("server.max-connections", &old.server.max_connections, &server.max_connections);
        let per_client = (&old.server.max_connections_per_client, &server.max_connections_per_client);
        changes.shown("server.max-connections-per-client", per_client.0, per_client.1);
        changes.shown("server.trusted-proxies", &old.server.trusted_proxies, &server.trusted_proxies);
        changes.hidden("server.url", old.server.url != server.url);
        changes.shown("mirror.connect-timeout", &old.mirror.connect_timeout, &mirror.connect_timeout);
        changes.shown("mirror.first-byte-timeout", &old.mirror.first_byte_timeout, &mirror.first_byte_timeout);
        changes.shown("mirror.idle-timeout", &old.mirror.idle_timeout, &mirror.idle_timeout);
        changes.shown("mirror.silence", &old.mirror.silence, &mirror.silence);
        changes.shown("mirror.registries-interval", &old.mirror.registries_interval, &mirror.registries_interval);
        changes.shown("mirror.rescan-interval", &old.mirror.rescan_interval, &mirror.rescan_interval);
        changes.shown("mirror.view-interval", &old.mirror.view_interval, &mirror.view_interval);
        changes.shown("mirror.cooldown", &old.mirror.cooldown, &mirror.cooldown);
        changes.shown("view.show", &old.view.show, &view.show);
        changes.shown("view.platform", &old.view.platforms, &view.platforms);
        changes.shown("limits.entries", &old.limits.entries, &limits.entries);
        changes.shown("limits.path", &old.limits.path, &limits.path);
        changes.shown("limits.unpacked", &old.limits.unpacked, &limits.unpacked);
        changes.shown("limits.ratio", &old.limits.ratio, &limits.ratio);
        changes.policy(&old.policy, policy);
        changes.hidden("access", old.access != *access);
        changes.shown("disk", &old.disk, disk);
        changes.shown("scrub", &old.scrub, scrub);
        (self, changes.0)
    }
}

impl Changes {
    /// A key whose values anybody may see.
    fn shown<T: PartialEq + Debug>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.0.push(format!("{key}: {} is now {}", text(old), text(new)));
        }
    }

    /// A key whose values nobody may see.
    fn hidden(&mut self, key: &str, changed: bool) {
        if changed {
            self.0.push(format!("{key}: changed"));
        }
    }

    /// A key that only a restart changes: the old value is kept.
    fn fixed<T: PartialEq + Clone + Debug>(&mut self, key: &str, old: &T, new: &mut T) {
        if old != new {
            self.0.push(format!("{key}: {} stays, {} needs a restart", text(old), text(new)));
            new.clone_from(old);
        }
    }

    fn upstreams(&mut self, old: &[Upstream], new: &[Upstream]) {
        let names = |upstreams: &[Upstream]| upstreams.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        self.shown("upstream", &names(old), &names(new));
        for upstream in new {
            let before = old.iter().find(|it| it.name == upstream.name);
            let changed = before.is_some_and(|before| before != upstream);
            self.hidden(&format!("upstream {}", upstream.name), changed);
        }
    }

    /// What is private may not even be named.
    fn policy(&mut self, old: &Policy, new: &Policy) {
        let Policy { both, fetch, serve, private, min_age, pins } = new;
        let lists = |it: &Lists, other: &Lists| {
            [(it.allow.clone(), other.allow != it.allow), (it.deny.clone(), other.deny != it.deny)]
        };
        let all = [lists(both, &old.both), lists(fetch, &old.fetch), lists(serve, &old.serve)];
        for (List { key, .. }, changed) in all.into_iter().flatten() {
            self.hidden(key, changed);
        }
        self.hidden("policy.private", *private != old.private);
        self.shown("policy.min-age", &old.min_age, min_age);
        self.shown("policy.pins", &old.pins, pins);
    }
}

/// `Some(5s)` is `5s`, and what is not there is `unset`.
fn text(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let inner = text.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')'));
    match inner {
        Some(inner) => inner.to_owned(),
        None if text == "None" => "unset".to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn config(file: &str) -> Config {
        Config::new(Settings::default(), toml::from_str(file).unwrap()).unwrap()
    }

    fn changes(old: &str, new: &str) -> Vec<String> {
        config(new).in_place_of(&config(old)).1
    }

    #[test]
    fn nothing_changed_is_nothing_said() {
        let example = include_str!("../../airlock.example.toml");
        assert_eq!(changes(example, example), [""; 0]);
    }

    #[test]
    fn what_needs_a_restart_stays_and_is_said() {
        let old = config("listen = '127.0.0.1:1'\n");
        let file = "listen = '127.0.0.1:2'\ncache = 'other'\nlog = 'json'\n[server]\nprefix = '/julia'\n";
        let (new, said) = config(file).in_place_of(&old);
        assert_eq!((new.listen, &new.cache, new.log), (old.listen, &old.cache, old.log));
        assert_eq!(new.server.prefix, None);
        assert_eq!(said.len(), 4, "{said:?}");
        assert_eq!(said[1], "listen: 127.0.0.1:1 stays, 127.0.0.1:2 needs a restart");
        assert_eq!(said[3], "server.prefix: unset stays, \"/julia\" needs a restart");
    }

    #[test]
    fn no_secret_is_shown() {
        let old = "upstream = ['https://carrier:word1@one.example.org']\n[[registry]]\ngit = 'https://u:word2@two.example.org'\n";
        let new = "[[registry]]\ngit = 'https://u:word3@two.example.org'\n[policy]\nprivate = ['Word4']\n\
                   [server]\nurl = 'https://word5:word5@mirror.example.org'\n\
                   [[upstream]]\nurl = 'https://carrier:word6@one.example.org'\nproxy = 'http://u:word7@p:1'\n";
        let said = changes(old, new).join("\n");
        assert!(!said.to_lowercase().contains("word"), "{said}");
        for key in [
            "upstream https://one.example.org: changed",
            "registry: changed",
            "policy.private: changed",
            "server.url: changed",
        ] {
            assert!(said.contains(key), "{key} in {said}");
        }
    }

    #[test]
    fn each_list_of_the_policy_is_named_by_its_key() {
        for list in [
            "policy.allow",
            "policy.deny",
            "policy.fetch.allow",
            "policy.fetch.deny",
            "policy.serve.allow",
            "policy.serve.deny",
            "policy.private",
        ] {
            let (table, key) = list.rsplit_once('.').unwrap();
            assert_eq!(changes("", &format!("[{table}]\n{key} = ['Example']\n")), [format!("{list}: changed")]);
        }
        assert_eq!(changes("", "[git]\nwhole = '2h'\n").len(), 1);
        assert_eq!(changes("", "[policy]\nmin-age = '7d'\n"), ["policy.min-age: unset is now 604800s"]);
    }
}
