//! `airlock doctor`.

use super::table::table;
use super::{Outcome, print, print_json};
use crate::config::Config;
use crate::doctor::{Check, Environment, Options, Outside, Report, ServerUrl, Status, examine};
use clap::builder::BoolishValueParser;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Package server to examine [default: what `JULIA_PKG_SERVER` says]
    #[arg(long, env = "AIRLOCK_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Julia depot to look into; repeat for more [default: what `JULIA_DEPOT_PATH` says]
    #[arg(long, env = "AIRLOCK_DEPOT", value_name = "DIR", value_delimiter = ',')]
    depot: Vec<PathBuf>,
    /// Do not try whether GitHub can be reached from here
    #[arg(long, env = "AIRLOCK_NO_OUTSIDE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "BOOL")]
    no_outside: Option<bool>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "BOOL")]
    pub(super) json: Option<bool>,
}

pub(super) async fn run(config: &Config, args: DoctorArgs) -> anyhow::Result<Outcome> {
    let environment = Environment::read(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()));
    // Not by clap, which would repeat a password that stands in it.
    let server = args.server.as_deref().map(str::parse::<ServerUrl>).transpose()?;
    let outside = (!args.no_outside.unwrap_or(false)).then(Outside::default);
    let report = examine(Options { server, depots: args.depot, environment, outside }).await;
    if config.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(if report.ok { Outcome::Complete } else { Outcome::Incomplete })
}

/// A table, then what to do about each thing, then what to export.
fn text(report: &Report) -> String {
    let rows: Vec<_> = report
        .checks
        .iter()
        .map(|check| vec![word(check.status), check.name.to_owned(), check.detail.clone()])
        .collect();
    let mut text = table(&["STATUS", "CHECK", "WHAT"], &rows);
    for check in report.checks.iter().filter(|check| !check.remedy.is_empty()) {
        let Check { name, remedy, detail, .. } = check;
        let _ = write!(text, "\n{name}: {detail}\n");
        for line in remedy {
            let _ = writeln!(text, "    {line}");
        }
    }
    if !report.export.is_empty() {
        text.push_str("\nFor the shell that starts Julia:\n");
        for line in &report.export {
            let _ = writeln!(text, "    {line}");
        }
    }
    let count = |status| report.checks.iter().filter(|check| check.status == status).count();
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (problems, warnings) = (count(Status::Problem), count(Status::Warning));
    let _ = writeln!(text, "\n{}, {}", plural(problems, "problem"), plural(warnings, "warning"));
    text
}

fn word(status: Status) -> String {
    let word = match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Problem => "PROBLEM",
        Status::Skipped => "skipped",
    };
    word.to_owned()
}
