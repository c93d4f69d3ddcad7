//! `airlock verify`.

use super::progress::Bar;
use super::table::bytes;
use super::{Outcome, open_existing_store, print, print_json};
use crate::config::Config;
use crate::mirror::limits;
use crate::protocol::Kind;
use crate::verify::verify;
use std::fmt::Write as _;

pub(super) fn run(config: &Config) -> anyhow::Result<Outcome> {
    let store = open_existing_store(config)?;
    let files = Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)).count() as u64;
    let bar = Bar::new(files, "verifying");
    let jobs = config.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let report =
        verify(&store, &limits(&config.limits), jobs, &|resource, bytes| bar.step(&resource.to_string(), bytes))?;
    bar.finish();
    if config.json {
        print_json(&report)?;
    } else {
        let bad = report.damaged.len() as u64;
        let good = report.checked - bad;
        let mut text =
            format!("{} files checked, {}: {good} good, {bad} damaged\n", report.checked, bytes(report.bytes));
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
