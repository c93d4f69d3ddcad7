//! `airlock bundle inspect`.

use super::super::args::switch;
use super::super::progress::Bar;
use super::super::table::{age, bytes, printable};
use super::super::{Outcome, print, print_json};
use super::{shown, trusted_keys};
use crate::bundle::{Bundle, Inspected, gather, inspect};
use crate::config::{Config, Settings};
use crate::exchange::{Publication, RepositoryEntry, UncarriedKind};
use crate::mirror::limits;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct InspectArgs {
    /// Hash everything in it
    #[arg(long, env = "AIRLOCK_VERIFY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    verify: Option<bool>,
    /// Resources hashed side by side [default: one per processor]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    /// Volumes, in any order, of one bundle or of several
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl InspectArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { jobs: self.jobs, json: self.json, ..common }
    }
}

pub(super) fn run(config: &Config, args: &InspectArgs) -> anyhow::Result<Outcome> {
    let bundles = gather(&args.files, &trusted_keys(config)?)?;
    let verify = args.verify.unwrap_or(false);
    let all: Vec<_> = bundles.iter().map(|bundle| look(config, bundle, verify)).collect();
    if config.json {
        print_json(&json!({ "bundles": all }))?;
    } else {
        print(&all.iter().map(text).collect::<Vec<_>>().join("\n"))?;
    }
    let complete = all.iter().all(|bundle| bundle.complete);
    Ok(if complete { Outcome::Complete } else { Outcome::Incomplete })
}

fn look(config: &Config, bundle: &Bundle, verify: bool) -> Inspected {
    if !verify {
        return inspect(bundle, None, &|_| {});
    }
    let (limits, jobs) = (limits(&config.limits), super::jobs(config));
    let bar = Bar::new(bundle.index.items().count() as u64, "hashing");
    let inspected = inspect(bundle, Some((&limits, jobs)), &|item| bar.step(&super::title(item), item.size()));
    bar.finish();
    inspected
}

fn text(bundle: &Inspected) -> String {
    let mut text = format!(
        "bundle {} of {} for {}, made {}\n  {}\n",
        bundle.sequence,
        bundle.origin,
        bundle.destination,
        bundle.created,
        shown::signature(bundle.signature)
    );
    text += &shown::volumes(&bundle.volumes);
    let _ = writeln!(
        text,
        "  {} registries, {} package versions, {} artifacts{}: {}",
        bundle.registry_count,
        bundle.package_count,
        bundle.artifact_count,
        if bundle.repositories.is_empty() {
            String::new()
        } else {
            format!(", {} git bundles", bundle.repositories.len())
        },
        bytes(bundle.bytes)
    );
    let _ = writeln!(text, "  platforms: {}", printable(&bundle.platforms.join(", ")));
    for registry in &bundle.registries {
        let _ = writeln!(text, "  publishes {}", publication(registry));
    }
    for repository in &bundle.repositories {
        let _ = writeln!(text, "  has {}{}", repository.file, of_packages(repository));
    }
    text += &base(bundle);
    for uncarried in &bundle.uncarried {
        let why = match uncarried.kind {
            UncarriedKind::Git => "comes from git",
            UncarriedKind::Unhashed => "has no tree hash",
            UncarriedKind::Missing => "could not be had",
            UncarriedKind::Unknown => "unknown",
        };
        let _ = writeln!(text, "  not in it: {} ({why}: {})", printable(&uncarried.what), printable(&uncarried.why));
    }
    text += &shown::damage(&bundle.problems);
    text
}

fn publication(registry: &Publication) -> String {
    let name = registry.name.as_deref().map_or_else(|| registry.uuid.to_string(), printable);
    let files: Vec<_> = registry.flavors.iter().map(|flavor| format!("/{}", flavor.file_name())).collect();
    let when = registry.published.map_or_else(
        || "of unknown age".to_owned(),
        |published| match age(jiff::Timestamp::now().as_second() - published.as_second()).as_str() {
            "now" => "published there a moment ago".to_owned(),
            age => format!("published there {age} ago"),
        },
    );
    format!("{name} at {}, {when}, in {}", registry.tree, files.join(", "))
}

fn of_packages(repository: &RepositoryEntry) -> String {
    if repository.packages.is_empty() {
        return String::new();
    }
    let packages: Vec<_> = repository.packages.iter().map(String::as_str).collect();
    format!(", for {}", printable(&packages.join(", ")))
}

fn base(bundle: &Inspected) -> String {
    let mut text = String::new();
    if bundle.builds_on > 0 {
        let _ = writeln!(text, "  builds on {} resources that are not in it", bundle.builds_on);
    }
    if let Some(since) = bundle.builds_on_since {
        let _ = writeln!(text, "  has what came after {since}");
    }
    if let Some(request) = bundle.builds_on_request {
        let _ = writeln!(text, "  leaves out what was there according to the request of {request}");
    }
    if !bundle.repeats.is_empty() {
        let repeats: Vec<_> = bundle.repeats.iter().map(u64::to_string).collect();
        let _ = writeln!(text, "  repeats {}", repeats.join(", "));
    }
    text
}
