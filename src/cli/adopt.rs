//! `airlock adopt`.

use super::args::switch;
use super::progress::Bar;
use super::table::{bytes, printable, table};
use super::{Outcome, default_jobs, open_store, print, print_json, say};
use crate::adopt::{Adoption, Event, Item, Listed, ListedStatus, Report, Status};
use crate::config::{Config, Settings};
use crate::mirror::limits;
use crate::policy::Policy;
use crate::protocol::Kind;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct AdoptArgs {
    /// Take only these; repeat for more [default: all]
    #[arg(long, env = "AIRLOCK_ONLY", value_name = "KIND", value_delimiter = ',')]
    only: Vec<KindName>,
    /// Hash everything and say what would be taken; write nothing
    #[arg(long, env = "AIRLOCK_DRY_RUN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    dry_run: Option<bool>,
    /// Folders hashed and packed side by side [default: one per processor]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    /// Depots, such as ~/.julia; they are only read
    #[arg(required = true, value_name = "DEPOT")]
    depots: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum KindName {
    Packages,
    Artifacts,
    Registries,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Packages => Self::Package,
            KindName::Artifacts => Self::Artifact,
            KindName::Registries => Self::Registry,
        }
    }
}

impl AdoptArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { jobs: self.jobs, json: self.json, ..common }
    }
}

pub(super) fn run(config: &Config, args: &AdoptArgs) -> anyhow::Result<Outcome> {
    let only: Vec<Kind> = args.only.iter().copied().map(Kind::from).collect();
    let adoption = Adoption {
        depots: &args.depots,
        only: if only.is_empty() { &Kind::ALL } else { &only },
        limits: &limits(&config.limits),
        policy: &Policy::new(config.policy.clone()),
        dry_run: args.dry_run.unwrap_or(false),
        jobs: default_jobs(config),
    };
    let store = open_store(config)?;
    let bar = Bar::new(0, "adopting");
    let report = adoption.run(&store, &|event| match event {
        Event::Found(count) => bar.set_total(count as u64),
        Event::Done { path, bytes } => bar.step(&printable(&path.to_string_lossy()), bytes),
    });
    bar.finish();
    let report = report?;
    if config.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
        advise(&report);
    }
    Ok(if report.is_complete() { Outcome::Complete } else { Outcome::Incomplete })
}

/// What a person wants to know: what came, what did not and why. What was here already is only
/// counted.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let rows: Vec<_> = report.items.iter().filter(|it| it.status != Status::Here).map(|it| row(report, it)).collect();
    if !rows.is_empty() {
        text += &table(&["STATUS", "KIND", "NAME", "VERSION", "SIZE", "TREE", "WHY"], &rows);
    }
    let totals = &report.totals;
    let done = if report.dry_run { "to be adopted" } else { "adopted" };
    let size = if report.dry_run { String::new() } else { format!("; {} in all", bytes(totals.bytes)) };
    let _ = writeln!(text, "{} {done}, {} here already, {} refused{size}", totals.adopted, totals.here, totals.refused);
    if report.dry_run {
        text += "A dry run: nothing was written.\n";
    }
    if let Some(stopped) = &report.stopped {
        let _ = writeln!(text, "stopped: {stopped}.");
    }
    text
}

fn row(report: &Report, item: &Item) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let status = match item.status {
        Status::Adopted if report.dry_run => "would be adopted",
        Status::Adopted => "adopted",
        Status::Here => "here",
        Status::Refused => "refused",
    };
    let why = item.reason.as_ref().map(|reason| format!("{}: {reason}", item.path));
    let left_out = || format!("{}: without what its build made: {}", item.path, item.left_out.join(", "));
    vec![
        status.to_owned(),
        item.kind.folder().to_owned(),
        or_dash(item.name.clone()),
        or_dash(item.version.clone()),
        or_dash(item.bytes.map(bytes)),
        or_dash(item.tree.map(|tree| tree.to_string()[..12].to_owned())),
        why.unwrap_or_else(|| if item.left_out.is_empty() { String::new() } else { left_out() }),
    ]
}

/// Says what became of the registries, and what was passed over.
fn advise(report: &Report) {
    for listed in &report.registries {
        say(&listed_line(listed, report.dry_run));
    }
    for note in &report.notes {
        say(&format!("note: {}", printable(note)));
    }
}

fn listed_line(listed: &Listed, dry_run: bool) -> String {
    let Listed { uuid, name, tree, status } = listed;
    let name = printable(name);
    match status {
        ListedStatus::Listed { flavors } => {
            let files: Vec<_> = flavors.iter().map(|flavor| format!("/{}", flavor.file_name())).collect();
            let is = if dry_run { "would be" } else { "is" };
            format!("registry {name} {is} listed at {tree} in {}", files.join(", "))
        }
        ListedStatus::Already => format!("registry {name} is listed at {tree} already"),
        ListedStatus::Other { listed } => format!(
            "registry {name} stays listed at {listed}: tree hashes have no order, so which is newer cannot be told. `airlock registries rollback {uuid} {tree}` lists the one of the depot"
        ),
        ListedStatus::Pinned { pinned } => format!(
            "registry {name} at {tree} is not listed: it is pinned at {pinned}; `airlock registries unpin {uuid}` lets it go, and adopting again lists it"
        ),
    }
}
