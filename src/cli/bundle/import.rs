//! `airlock bundle import`.

use super::super::args::switch;
use super::super::progress::Bar;
use super::super::table::{bytes, printable};
use super::super::{Outcome, open_store, print, print_json, runtime, say};
use super::{shown, trusted_keys};
use crate::bundle::{Import, ImportReport, Imported, Listed, ListedStatus, ProblemKind, Signature, gather};
use crate::config::{Config, Settings, Show};
use crate::mirror::{Mirror, limits};
use crate::store::Store;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Missing resources that are named.
const NAMED: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// Only say what would be imported
    #[arg(long, env = "AIRLOCK_DRY_RUN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    dry_run: Option<bool>,
    /// Let an older bundle move registries back
    #[arg(long, env = "AIRLOCK_ALLOW_ROLLBACK", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    allow_rollback: Option<bool>,
    /// Resources verified side by side [default: one per processor]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    /// Volumes, in any order, of one bundle or of several
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl ImportArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { jobs: self.jobs, json: self.json, ..common }
    }
}

pub(super) fn run(config: &Config, args: &ImportArgs) -> anyhow::Result<Outcome> {
    let trusted = trusted_keys(config)?;
    let bundles = gather(&args.files, &trusted)?;
    let store = open_store(config)?;
    let import = Import {
        limits: &limits(&config.limits),
        trusted: &trusted,
        dry_run: args.dry_run.unwrap_or(false),
        allow_rollback: args.allow_rollback.unwrap_or(false),
        jobs: super::jobs(config),
    };
    let total = bundles.iter().map(|bundle| bundle.index.items().count() as u64).sum();
    let bar = Bar::new(total, "importing");
    let report = import.run(&store, &bundles, &|item| bar.step(&super::title(item), item.size()));
    bar.finish();
    let report = report?;
    if report.changed {
        serve_anew(config, &store)?;
    }
    if config.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    advise(&report);
    Ok(if report.is_complete() { Outcome::Complete } else { Outcome::Incomplete })
}

/// Has clients see what came in: the view is derived anew, whatever this command knows of its server: bundles go to where only what is
/// here is shown. A server that runs beside this notices by itself.
fn serve_anew(config: &Config, store: &Arc<Store>) -> anyhow::Result<()> {
    let mut config = config.clone();
    config.view.show = Show::Available;
    let mirror = Arc::new(Mirror::new(Arc::clone(store), Vec::new(), &config));
    runtime()?.block_on(mirror.refresh_view());
    Ok(())
}

fn text(report: &ImportReport) -> String {
    let mut text: String = report.bundles.iter().map(|bundle| one(report, bundle)).collect();
    if let Some(stopped) = &report.stopped {
        let _ = writeln!(text, "stopped: {stopped}.");
    } else if report.dry_run {
        let (needed, free) = (bytes(report.needed_bytes), bytes(report.free_bytes));
        let _ = writeln!(text, "A dry run: nothing was changed. It needs {needed}; {free} are free.");
    } else if !report.changed {
        text += "Nothing changed.\n";
    }
    text
}

fn one(report: &ImportReport, bundle: &Imported) -> String {
    let mut text = format!(
        "bundle {} of {} for {}, made {}\n  {}\n",
        bundle.sequence,
        bundle.origin,
        bundle.destination,
        bundle.created,
        shown::signature(bundle.signature)
    );
    text += &shown::volumes(&bundle.volumes);
    let done = if report.dry_run { "to be imported" } else { "imported" };
    let missing = bundle.resources - bundle.here - bundle.imported;
    let _ = writeln!(
        text,
        "  {} resources{}: {} {done} ({}), {} here already, {missing} missing",
        bundle.resources - bundle.repositories,
        git_bundles(bundle.repositories),
        bundle.imported,
        bytes(bundle.imported_bytes),
        bundle.here
    );
    for registry in &bundle.registries {
        let _ = writeln!(text, "  {}", listed(registry));
    }
    text += &shown::damage(&bundle.problems);
    text
}

fn git_bundles(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} git bundles") }
}

fn listed(registry: &Listed) -> String {
    let name = registry.name.as_deref().map_or_else(|| registry.uuid.to_string(), printable);
    let file = format!("/{}", registry.flavor.file_name());
    let status = match registry.status {
        ListedStatus::Published => "published",
        ListedStatus::Already => "was published already",
        ListedStatus::HeldBack => "held back until all of the bundle is here",
        ListedStatus::Older => "not published: what is published is newer, or it was rolled back from",
        ListedStatus::Pinned => "not published: the registry is pinned",
        ListedStatus::Absent => "not published: its tarball is not here",
    };
    format!("{name} at {} in {file}: {status}", registry.tree)
}

/// Says what to do about everything that is not as it should be.
fn advise(report: &ImportReport) {
    let unchecked = |bundle: &&Imported| matches!(bundle.signature, Signature::Unsigned | Signature::Unchecked { .. });
    if report.bundles.iter().any(|bundle| unchecked(&bundle)) {
        say("Nobody's signature was checked: no key is trusted here (trusted-keys in [bundle] of the configuration).");
    }
    for bundle in &report.bundles {
        for line in advice(bundle) {
            say(&format!("bundle {}: {line}", bundle.sequence));
        }
    }
}

fn advice(bundle: &Imported) -> Vec<String> {
    let mut lines = Vec::new();
    let again = |overlap: u64| format!("`airlock bundle export OUT --to {} --overlap {overlap}`", bundle.destination);
    let mut by_volume: BTreeMap<(u32, &str, ProblemKind), usize> = BTreeMap::new();
    for problem in &bundle.problems {
        *by_volume.entry((problem.volume, &problem.volume_name, problem.kind)).or_default() += 1;
    }
    for ((number, name, kind), count) in by_volume {
        lines.push(match kind {
            ProblemKind::Lacking => format!(
                "volume {number}, {name}, was not given and has {count} resources that are not here: run this import again with it"
            ),
            ProblemKind::Damaged => format!(
                "{count} resources of volume {number}, {name}, are damaged: carry that volume again, or have its bundle packed again with {}, and run this import again: it goes on where it stopped",
                again(1)
            ),
            ProblemKind::Wrong => format!(
                "{count} resources of volume {number}, {name}, were packed as they are and are not what their names say: run `airlock verify` where the bundle was made, then {}",
                again(1)
            ),
        });
    }
    lines.extend(bundle.kept.iter().map(|kept| format!("{} did not come: {}", kept.file, kept.why)));
    for &gap in &bundle.gaps {
        let overlap = bundle.sequence - gap + 1;
        lines.push(format!("bundle {gap} never arrived; ask for it again: {}", again(overlap)));
    }
    if !bundle.base_missing.is_empty() {
        let named: Vec<_> = bundle.base_missing.iter().take(NAMED).map(ToString::to_string).collect();
        let more = if bundle.base_missing.len() > NAMED { ", …" } else { "" };
        lines.push(format!(
            "it builds on {} resources that are not here: {}{more}. Ask for them: `airlock request export FILE` here, `airlock bundle export OUT --for FILE` there",
            bundle.base_missing.len(),
            named.join(", ")
        ));
    }
    if bundle.registries.iter().any(|registry| registry.moved_back) {
        lines.push("its registries were moved back to it, as --allow-rollback says".to_owned());
    }
    if bundle.registries.iter().any(|registry| registry.status == ListedStatus::Older) {
        lines.push("it is older than what is published; --allow-rollback moves the registries back to it".to_owned());
    }
    lines
}
