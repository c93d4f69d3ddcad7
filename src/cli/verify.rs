//! `airlock verify`.

use super::progress::Bar;
use super::table::bytes;
use super::{Outcome, default_jobs, open_existing_store, print, print_json};
use crate::config::Config;
use crate::mirror::limits;
use crate::protocol::Kind;
use crate::store::Action;
use crate::verify::verify;
use std::fmt::Write as _;

pub(super) fn run(config: &Config) -> anyhow::Result<Outcome> {
    let store = open_existing_store(config)?;
    let files = Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)).count() as u64;
    let bar = Bar::new(files, "verifying");
    let report = verify(&store, &limits(&config.limits), default_jobs(config), &|resource, bytes| {
        bar.step(&resource.to_string(), bytes);
    })?;
    bar.finish();
    let bad = report.damaged.len() as u64;
    let good = report.checked - bad;
    let summary = format!("{} files checked, {}: {good} good, {bad} damaged", report.checked, bytes(report.bytes));
    store.note(Action::Verify, report.is_clean(), summary.clone());
    if config.json {
        print_json(&report)?;
    } else {
        let mut text = summary + "\n";
        for damaged in &report.damaged {
            let place =
                damaged.quarantine.as_ref().map_or("still in place".into(), |to| format!("moved to {}", to.display()));
            let _ = writeln!(text, "damaged: {}: {} ({place})", damaged.resource, damaged.problem);
        }
        for unreadable in &report.unreadable {
            let _ = writeln!(text, "unreadable: {}: {}", unreadable.resource, unreadable.problem);
        }
        print(&text)?;
    }
    Ok(if report.is_clean() { Outcome::Complete } else { Outcome::Incomplete })
}
