//! `airlock status`.

use super::args::switch;
use super::table::{bytes, printable, table};
use super::{Outcome, open_existing_store, print, print_json};
use crate::config::{Config, Settings};
use crate::protocol::Flavor;
use crate::status::{RegistryStatus, Status, Totals, status};
use std::fmt::Write as _;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
}

impl StatusArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { json: self.json, ..common }
    }
}

pub(super) fn run(config: &Config) -> anyhow::Result<Outcome> {
    let store = open_existing_store(config)?;
    let status = status(&store)?;
    if config.json {
        print_json(&status)?;
    } else {
        print(&text(&status)?)?;
    }
    Ok(Outcome::Complete)
}

fn text(status: &Status) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let free = format!("{} of {} free", bytes(status.disk.free), bytes(status.disk.size));
    writeln!(text, "cache       {}, layout {}", printable(&status.cache.display().to_string()), status.layout)?;
    writeln!(text, "site        {}", status.site)?;
    writeln!(text, "disk        {free}")?;
    writeln!(text, "used by     {}", users(&status.used_by))?;
    writeln!(text, "platforms   {}", platforms(status))?;
    writeln!(text, "misses      {}", status.misses)?;
    writeln!(text, "wishes      {}", status.wishes)?;
    writeln!(text, "git bundles {}", files(status.repositories))?;
    writeln!(text, "quarantine  {}", files(status.quarantine))?;
    text.push('\n');
    text += &table(&["KIND", "FILES", "SIZE", "NOT VERIFIED YET"], &kinds(status));
    text.push('\n');
    if status.registries.is_empty() {
        text += "No registry is published: clients will not find any package.\n";
    } else {
        let rows: Vec<_> = status.registries.iter().map(registry).collect();
        text += &table(&["REGISTRY", "TREE", "SINCE", "SIZE", "LISTED IN"], &rows);
    }
    writeln!(text, "earlier generations: {}", files(status.generations))?;
    text.push('\n');
    if status.activities.is_empty() {
        text += "Nothing is on record that was done here.\n";
    } else {
        let row = |activity: &crate::store::Activity| {
            let outcome = if activity.complete { "complete" } else { "incomplete" };
            let what = serde_json::to_value(activity.what).ok();
            let what = what.and_then(|what| what.as_str().map(str::to_owned)).unwrap_or_default();
            vec![what, time(activity.time), outcome.to_owned(), activity.summary.clone()]
        };
        let rows: Vec<_> = status.activities.iter().map(row).collect();
        text += &table(&["LAST", "TIME", "OUTCOME", "WHAT CAME OF IT"], &rows);
    }
    Ok(text)
}

fn kinds(status: &Status) -> Vec<Vec<String>> {
    let row = |name: &str, totals: Totals, unverified: usize| {
        vec![name.to_owned(), totals.files.to_string(), bytes(totals.bytes), unverified.to_string()]
    };
    let mut rows: Vec<_> = status.kinds.iter().map(|it| row(it.kind.folder(), it.totals, it.unverified)).collect();
    rows.push(row("all", status.totals, status.kinds.iter().map(|it| it.unverified).sum()));
    rows
}

fn registry(registry: &RegistryStatus) -> Vec<String> {
    let pinned = if registry.pinned { ", pinned" } else { "" };
    let flavors: Vec<_> = registry.flavors.iter().copied().map(Flavor::file_name).collect();
    vec![
        registry.name.map_or_else(|| registry.uuid.to_string(), str::to_owned),
        registry.tree.to_string()[..12].to_owned(),
        time(registry.since),
        bytes(registry.bytes),
        flavors.join(" ") + pinned,
    ]
}

fn users(pids: &[u32]) -> String {
    match pids {
        [] => "nobody else".to_owned(),
        pids => format!("process {}", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn platforms(status: &Status) -> String {
    if status.platforms.is_empty() { "nobody said".to_owned() } else { status.platforms.join(" ") }
}

fn files(totals: Totals) -> String {
    match totals.files {
        0 => "none".to_owned(),
        files => format!("{files} files, {}", bytes(totals.bytes)),
    }
}

fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}
