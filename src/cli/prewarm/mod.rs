//! `airlock prewarm`.

mod args;
mod chosen;
mod text;

pub(super) use args::PrewarmArgs;

use super::progress::Bar;
use super::serve::stop_signal;
use super::table::printable;
use super::{Outcome, complain, open_store, print, print_json, say, sources};
use crate::config::Config;
use crate::mirror::Mirror;
use crate::prewarm::{self, Event, Progress, Report, Request};
use crate::store::Action;
use std::sync::Arc;
pub(super) use text::text;

pub(super) async fn run(config: &Config, args: PrewarmArgs) -> anyhow::Result<Outcome> {
    let (paths, by_name) = args.split();
    let mut request = Request::by_name(paths, by_name, config)?;
    // A dry run asks nobody, so it does not even need a client that could.
    let sources = if request.dry_run { Vec::new() } else { sources(config)? };
    let store = open_store(config)?;
    request.by_name.prepare(&store)?;
    let mirror = Arc::new(Mirror::new(store, sources, config));
    let (cancel, stop) = (request.cancel.clone(), stop_signal()?);
    let stopping = tokio::spawn(async move {
        stop.await;
        say("stopping; what was fetched so far stays");
        cancel.cancel();
    });
    let bar = Bar::new(0, "prewarm");
    let report = prewarm::run(Arc::clone(&mirror), request, &bar).await;
    bar.finish();
    stopping.abort();
    if !config.prewarm.dry_run && report.inputs.iter().any(|input| input.error.is_none()) {
        mirror.store().note(Action::Prewarm, report.is_complete(), text::summary(&report).trim_end().to_owned());
    }
    mirror.close().await;
    if config.json {
        print_json(&report)?;
    } else {
        complain(&report.inputs);
        complain_of_choice(&report);
        print(&(chosen::text(&report) + &text(&report, &mirror)))?;
    }
    Ok(if report.is_complete() { Outcome::Complete } else { Outcome::Incomplete })
}

impl Progress for Bar {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Registries => self.message("asking for registries"),
            Event::Estimated(estimate) => say(&text::estimate(estimate)),
            Event::Planned { resources } => self.set_total(*resources as u64),
            Event::Started { .. } => {}
            Event::Done { name, outcome, .. } => self.step(name, outcome.bytes.unwrap_or_default()),
            Event::Repository { .. } => self.message("mirroring git repositories"),
            Event::RepositoryDone { url, outcome } => self.step(url, outcome.bytes.unwrap_or_default()),
        }
    }
}

/// Says what could not be chosen, and what was not written.
fn complain_of_choice(report: &Report) {
    for conflict in &report.conflicts {
        let julia = conflict.julia.as_ref().map(|julia| format!(" for Julia {julia}")).unwrap_or_default();
        say(&printable(&format!("error: {}{julia}: {}", conflict.input, conflict.why)));
    }
    report.unwritten.iter().for_each(|why| say(&printable(&format!("error: {why}"))));
}
