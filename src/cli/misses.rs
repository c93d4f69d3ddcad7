//! `airlock misses`.

use super::args::MissesAction;
use super::table::table;
use super::{Outcome, open_existing_store, print, print_json, runtime, say};
use crate::config::Config;
use crate::julia::{MISS_LIST_HEADER, MissList, MissListEntry};
use crate::mirror::Mirror;
use crate::store::{Miss, Outside, Store};
use anyhow::Context as _;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(config: &Config, action: MissesAction) -> anyhow::Result<Outcome> {
    let store = open_existing_store(config)?;
    match action {
        MissesAction::List => list(config, &store),
        MissesAction::Export { file } => export(config, &store, &file),
        MissesAction::Clear => {
            store.misses().clear()?;
            Ok(Outcome::Complete)
        }
    }
}

/// The misses that are still missing, named as far as a registry here knows them by now.
fn missing(config: &Config, store: &Arc<Store>) -> anyhow::Result<Vec<Miss>> {
    let mirror = Arc::new(Mirror::new(Arc::clone(store), Vec::new(), config));
    let misses = mirror.missing()?;
    if misses.iter().all(|miss| miss.name.is_some()) {
        return Ok(misses);
    }
    runtime()?.block_on(mirror.load_names());
    Ok(mirror.missing()?)
}

fn list(config: &Config, store: &Arc<Store>) -> anyhow::Result<Outcome> {
    let misses = missing(config, store)?;
    if config.json {
        print_json(&json!({ "misses": misses }))?;
        return Ok(Outcome::Complete);
    }
    if misses.is_empty() {
        say("No misses.");
        return Ok(Outcome::Complete);
    }
    let rows: Vec<_> = misses.iter().map(row).collect();
    print(&table(&["NAME", "VERSION", "TIMES", "LAST", "WHY", "RESOURCE"], &rows))?;
    Ok(Outcome::Complete)
}

fn row(miss: &Miss) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        or_dash(&miss.name),
        or_dash(&miss.version),
        miss.count.to_string(),
        miss.last.strftime("%Y-%m-%d %H:%M").to_string(),
        miss.reason.to_string(),
        miss.resource.to_string(),
    ]
}

fn export(config: &Config, store: &Arc<Store>, file: &Path) -> anyhow::Result<Outcome> {
    let entries: Vec<_> = missing(config, store)?.into_iter().map(MissListEntry::from).collect();
    let count = entries.len();
    let text = MissList { entries }.to_string();
    debug_assert!(text.starts_with(MISS_LIST_HEADER));
    if file == Path::new("-") {
        print(&text)?;
    } else {
        let written = Outside::stage(file, text.as_bytes(), 0o666).and_then(|staged| staged.publish(true));
        written.context("cannot write the list")?;
        let what = if count == 1 { "miss" } else { "misses" };
        say(&format!("{count} {what} written to {}", file.display()));
    }
    Ok(Outcome::Complete)
}
