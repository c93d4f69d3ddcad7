//! `airlock policy`: which rules there are, what they come to for a package, and where ages count
//! from.

mod explain;

use super::args::switch;
use super::{Outcome, open_existing_store, print, print_json, runtime, say, sources};
use crate::config::{self, Config, List, Settings};
use crate::mirror::Mirror;
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// One JSON document on standard output
    #[arg(long, global = true, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Default, clap::Subcommand)]
enum Action {
    /// Show the rules
    #[default]
    Show,
    /// Say what holds for a package, a registry or an artifact, and which rule decides
    Explain {
        /// A package's name, with a version or a range of versions or without (Example, Example@1.2.0,
        /// Example@1.2), a uuid, or a tree hash
        #[arg(value_name = "NAME[@VERSION]|UUID|TREE")]
        what: String,
    },
    /// Take all versions that are known now to be old enough
    Baseline,
}

impl PolicyArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { json: self.json, ..common }
    }
}

pub(super) fn run(config: &Config, args: PolicyArgs) -> anyhow::Result<Outcome> {
    match args.action.unwrap_or_default() {
        Action::Show => show(config),
        Action::Explain { what } => {
            let explanation = explain::explain(mirror(config)?.as_ref(), &what)?;
            if config.json {
                print_json(&explanation)?;
            } else {
                print(&explanation.text())?;
            }
            Ok(if explanation.allowed { Outcome::Complete } else { Outcome::Incomplete })
        }
        Action::Baseline => {
            let versions = mirror(config)?.baseline()?;
            if config.json {
                print_json(&serde_json::json!({ "versions": versions }))?;
            }
            say(&format!("{versions} versions are old enough from now on, whatever their age"));
            Ok(Outcome::Complete)
        }
    }
}

/// A mirror that knows the names of what is here and asks nobody.
fn mirror(config: &Config) -> anyhow::Result<Arc<Mirror>> {
    let mirror = Arc::new(Mirror::new(open_existing_store(config)?, sources(config)?, config));
    runtime()?.block_on(mirror.know_names());
    Ok(mirror)
}

/// The rules, as they were written.
#[derive(Debug, Serialize)]
struct Shown {
    lists: Vec<ShownList>,
    private_hosts: Vec<String>,
    /// In seconds.
    min_age: Option<u64>,
    pins: bool,
    /// Private registries, which make private what they have.
    private_registries: Vec<String>,
    /// Rules about registries that fit none here.
    idle: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownList {
    key: &'static str,
    rules: Vec<String>,
}

fn show(config: &Config) -> anyhow::Result<Outcome> {
    let config::Policy { both, fetch, serve, private, private_hosts, min_age, pins } = &config.policy;
    let lists = [&both.allow, &both.deny, &fetch.allow, &fetch.deny, &serve.allow, &serve.deny, private];
    let shown = |list: &List| ShownList { key: list.key, rules: list.rules.iter().map(ToString::to_string).collect() };
    let shown = Shown {
        lists: lists.into_iter().map(shown).collect(),
        private_hosts: private_hosts.clone(),
        min_age: min_age.map(|age| age.as_secs()),
        pins: *pins,
        private_registries: config.registries.iter().map(|registry| registry.name.clone()).collect(),
        idle: idle(config)?,
    };
    shown.idle.iter().for_each(|rule| say(rule));
    if config.json {
        print_json(&shown)?;
    } else {
        print(&text(config, &shown))?;
    }
    Ok(Outcome::Complete)
}

/// What there is to say of rules that fit no registry here; nothing without a cache. Asks nobody.
fn idle(config: &Config) -> anyhow::Result<Vec<String>> {
    let Ok(store) = open_existing_store(config) else { return Ok(Vec::new()) };
    let mirror = Arc::new(Mirror::new(store, Vec::new(), config));
    runtime()?.block_on(mirror.know_names());
    Ok(mirror.idle_rules())
}

fn text(config: &Config, shown: &Shown) -> String {
    let mut text = String::new();
    for ShownList { key, rules } in &shown.lists {
        let empty = if key.ends_with("allow") { "everything" } else { "nothing" };
        let rules = if rules.is_empty() { empty.to_owned() } else { rules.join(", ") };
        let _ = writeln!(text, "{key:<20}{rules}");
    }
    if !shown.private_hosts.is_empty() {
        let _ = writeln!(text, "{:<20}{}", "policy.private-hosts", shown.private_hosts.join(", "));
    }
    let age = config.policy.min_age.map_or("none".to_owned(), |age| humantime::format_duration(age).to_string());
    let _ = writeln!(text, "{:<20}{age}", "policy.min-age");
    let _ = writeln!(text, "{:<20}{}", "policy.pins", shown.pins);
    if !shown.private_registries.is_empty() {
        let _ = writeln!(text, "{:<20}{}", "private registries", shown.private_registries.join(", "));
    }
    text
}
