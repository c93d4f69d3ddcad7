//! `airlock registries`: what is published, and the explicit exceptions from "only forward".

use super::args::{Upstream, switch};
use super::serve::unless_stopped;
use super::table::{bytes, table};
use super::{Outcome, open_existing_store, print, print_json, say, sources};
use crate::config::{Config, Settings};
use crate::mirror::{Mirror, Patience};
use crate::protocol::{Flavor, RegistryTree, Resource, TreeHash, Uuid};
use crate::store::{Generation, Store};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// Generations of a registry in the table; JSON has all.
const SHOWN: usize = 10;

/// `airlock registries`
#[derive(Debug, clap::Args)]
pub(super) struct RegistriesArgs {
    /// One JSON document on standard output
    #[arg(long, global = true, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Default, clap::Subcommand)]
enum Action {
    /// Show what is published, its age and its generations
    #[default]
    List,
    /// Ask the upstreams now
    Update {
        #[command(flatten)]
        upstream: Upstream,
    },
    /// Publish an earlier tree of a registry again; what came after it stays away, what is newer
    /// will be published
    Rollback {
        /// The registry
        uuid: Uuid,
        /// The tree; its first digits are enough if it is a generation here
        tree: String,
    },
    /// Hold a registry at a tree until it is unpinned
    Pin {
        /// The registry
        uuid: Uuid,
        /// The tree; its first digits are enough if it is a generation here [default: the present one]
        tree: Option<String>,
    },
    /// Let a registry follow its upstreams again
    Unpin {
        /// The registry
        uuid: Uuid,
    },
}

impl RegistriesArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        let upstream = match &self.action {
            Some(Action::Update { upstream }) => upstream.setting(),
            _ => None,
        };
        Settings { json: self.json, upstream, ..common }
    }
}

pub(super) async fn run(config: &Config, args: RegistriesArgs) -> anyhow::Result<Outcome> {
    let mirror = Arc::new(Mirror::new(open_existing_store(config)?, sources(config)?, config));
    let outcome = act(config, &mirror, args.action.unwrap_or_default()).await;
    mirror.close().await;
    let outcome = outcome?;
    mirror.load_names().await;
    list(config, &mirror)?;
    Ok(outcome)
}

async fn act(config: &Config, mirror: &Arc<Mirror>, action: Action) -> anyhow::Result<Outcome> {
    match action {
        Action::List => {}
        Action::Update { .. } => {
            anyhow::ensure!(!mirror.is_offline(), "offline: there is no upstream to ask");
            let asked = mirror.refresh_registries(Patience::prewarm(config.prewarm.attempts));
            let Some(problems) = unless_stopped(asked).await? else { anyhow::bail!("stopped") };
            for problem in &problems {
                say(&format!("error: {problem}"));
            }
            return Ok(if problems.is_empty() { Outcome::Complete } else { Outcome::Incomplete });
        }
        Action::Rollback { uuid, tree } => {
            let tree = full_tree(mirror.store(), uuid, &tree)?;
            mirror.roll_back(RegistryTree { uuid, tree }).await?;
            say(&format!("registry {uuid} is at {tree} again; what came after that tree stays away"));
        }
        Action::Pin { uuid, tree } => {
            let tree = tree.map(|tree| full_tree(mirror.store(), uuid, &tree)).transpose()?;
            let pinned = mirror.pin(uuid, tree).await?;
            say(&format!("registry {uuid} is pinned at {}", pinned.tree));
        }
        Action::Unpin { uuid } => {
            mirror.unpin(uuid).await?;
            say(&format!("registry {uuid} is not pinned any more"));
        }
    }
    Ok(Outcome::Complete)
}

/// A tree by its first digits, among the generations of its registry.
fn full_tree(store: &Store, uuid: Uuid, text: &str) -> anyhow::Result<TreeHash> {
    if let Ok(tree) = text.parse() {
        return Ok(tree);
    }
    let trees: BTreeSet<_> = store.generations()?.into_iter().filter(|it| it.uuid == uuid).map(|it| it.tree).collect();
    let mut fitting = trees.into_iter().filter(|tree| text.len() >= 4 && tree.to_string().starts_with(text));
    match (fitting.next(), fitting.next()) {
        (Some(tree), None) => Ok(tree),
        (None, _) => anyhow::bail!("{text:?} is no tree hash, and no generation of {uuid} here starts with it"),
        (Some(_), Some(_)) => anyhow::bail!("more than one generation of {uuid} starts with {text}"),
    }
}

#[derive(Debug, Serialize)]
struct Published {
    uuid: Uuid,
    name: Option<String>,
    tree: TreeHash,
    flavors: Vec<Flavor>,
    /// When it was published here, if that is known.
    time: Option<jiff::Timestamp>,
    age_seconds: Option<i64>,
    pinned: bool,
}

/// A tree that is or was published here.
#[derive(Debug, Serialize)]
struct Earlier {
    uuid: Uuid,
    tree: TreeHash,
    flavors: BTreeSet<Flavor>,
    /// The last time.
    time: jiff::Timestamp,
    source: String,
    published: bool,
    /// Whether its tarball is here, so that it can be gone back to.
    here: bool,
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Document {
    registries: Vec<Published>,
    /// The newest first.
    generations: Vec<Earlier>,
}

fn list(config: &Config, mirror: &Mirror) -> anyhow::Result<()> {
    let document = document(mirror)?;
    if config.json {
        return print_json(&document);
    }
    if document.registries.is_empty() {
        say("No registry is published here.");
        return Ok(());
    }
    print(&text(&document))
}

fn document(mirror: &Mirror) -> anyhow::Result<Document> {
    let store = mirror.store();
    let (log, pins) = (store.generations()?, store.pins()?);
    let name = |uuid: Uuid| {
        let index = mirror.registries().into_iter().find(|index| index.registry_uuid() == uuid)?;
        Some(index.registry_name().to_owned())
    };
    let mut published: BTreeMap<RegistryTree, Vec<Flavor>> = BTreeMap::new();
    for flavor in Flavor::ALL {
        for registry in store.listing(flavor)?.unwrap_or_default().iter() {
            published.entry(registry).or_default().push(flavor);
        }
    }
    let generations = generations(store, &log, &published);
    let now = jiff::Timestamp::now();
    let registries = published.into_iter().map(|(RegistryTree { uuid, tree }, flavors)| {
        let time = log.iter().rfind(|entry| (entry.uuid, entry.tree) == (uuid, tree)).map(|entry| entry.time);
        let age_seconds = time.map(|time| now.duration_since(time).as_secs());
        let pinned = pins.tree(uuid) == Some(tree);
        Published { uuid, name: name(uuid), tree, flavors, time, age_seconds, pinned }
    });
    Ok(Document { registries: registries.collect(), generations })
}

fn generations(store: &Store, log: &[Generation], published: &BTreeMap<RegistryTree, Vec<Flavor>>) -> Vec<Earlier> {
    let mut trees: BTreeMap<RegistryTree, Earlier> = BTreeMap::new();
    for entry in log {
        let registry = RegistryTree { uuid: entry.uuid, tree: entry.tree };
        let earlier = trees.entry(registry).or_insert_with(|| {
            let metadata = fs_err::metadata(store.path(&Resource::from(registry))).ok();
            Earlier {
                uuid: entry.uuid,
                tree: entry.tree,
                flavors: BTreeSet::new(),
                time: entry.time,
                source: String::new(),
                published: published.contains_key(&registry),
                here: metadata.is_some(),
                bytes: metadata.map(|metadata| metadata.len()),
            }
        });
        earlier.flavors.insert(entry.flavor);
        earlier.time = entry.time;
        earlier.source.clone_from(&entry.source);
    }
    let mut all: Vec<_> = trees.into_values().collect();
    // By their place in the log: the clock may have been wrong in between.
    let place = |earlier: &Earlier| log.iter().rposition(|it| (it.uuid, it.tree) == (earlier.uuid, earlier.tree));
    all.sort_by_key(|earlier| (earlier.uuid, std::cmp::Reverse(place(earlier))));
    all
}

fn text(document: &Document) -> String {
    let rows: Vec<_> = document.registries.iter().map(row).collect();
    let mut text = table(&["NAME", "UUID", "TREE", "AGE", "LISTED IN", "PINNED"], &rows);
    for registry in document.registries.iter().map(|it| it.uuid).collect::<BTreeSet<_>>() {
        let all: Vec<_> = document.generations.iter().filter(|earlier| earlier.uuid == registry).collect();
        let rows: Vec<_> = all.iter().take(SHOWN).map(|earlier| earlier_row(earlier)).collect();
        let more = all.len().saturating_sub(SHOWN);
        let _ = writeln!(text, "\nGenerations of {registry}:");
        text += &table(&["PUBLISHED", "TREE", "SIZE", "FROM", ""], &rows);
        if more > 0 {
            let _ = writeln!(text, "and {more} earlier ones; --json has them all");
        }
    }
    text
}

fn row(registry: &Published) -> Vec<String> {
    let files: Vec<_> = registry.flavors.iter().map(|flavor| format!("/{}", flavor.file_name())).collect();
    vec![
        registry.name.clone().unwrap_or_else(|| "-".to_owned()),
        registry.uuid.to_string(),
        registry.tree.to_string(),
        registry.age_seconds.map_or_else(|| "not known".to_owned(), super::table::age),
        files.join(" "),
        if registry.pinned { "yes" } else { "no" }.to_owned(),
    ]
}

fn earlier_row(earlier: &Earlier) -> Vec<String> {
    vec![
        earlier.time.strftime("%Y-%m-%d %H:%M").to_string(),
        earlier.tree.to_string(),
        earlier.bytes.map_or_else(|| "gone".to_owned(), bytes),
        earlier.source.clone(),
        if earlier.published { "published" } else { "" }.to_owned(),
    ]
}
