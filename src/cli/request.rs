//! `airlock request`.

use super::args::RequestAction;
use super::progress::Bar;
use super::table::{printable, table};
use super::{Outcome, open_existing_store, open_store, print, print_json, runtime, say};
use crate::config::Config;
use crate::exchange::{Request, Wish};
use crate::mirror::{Mirror, WishState};
use crate::protocol::Kind;
use crate::request::{Gathered, gather, write};
use crate::store::{Action, RecordedWish, Store};
use crate::verify::Report;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(config: &Config, action: RequestAction) -> anyhow::Result<Outcome> {
    match action {
        RequestAction::List => list(config),
        RequestAction::Add { wishes } => add(config, &parse(&wishes)?),
        RequestAction::Remove { wishes } => remove(config, &parse(&wishes)?),
        RequestAction::Clear => {
            open_existing_store(config)?.remove_wishes(|_| true)?;
            Ok(Outcome::Complete)
        }
        RequestAction::Export { file, dry_run, .. } => export(config, &file, dry_run.unwrap_or(false)),
    }
}

fn parse(wishes: &[String]) -> anyhow::Result<Vec<Wish>> {
    Ok(wishes.iter().map(|wish| wish.parse()).collect::<Result<_, _>>()?)
}

/// A mirror that asks nobody, with its registries loaded.
fn mirror(config: &Config, store: Arc<Store>) -> anyhow::Result<Arc<Mirror>> {
    let mirror = Arc::new(Mirror::new(store, Vec::new(), config));
    runtime()?.block_on(mirror.load_names());
    Ok(mirror)
}

fn add(config: &Config, wishes: &[Wish]) -> anyhow::Result<Outcome> {
    let mirror = mirror(config, open_store(config)?)?;
    let packages = mirror.packages_by_name()?;
    let looked_up: Vec<_> = wishes.iter().map(|wish| (wish, packages.status(wish))).collect();
    let is_recorded = |state| state != WishState::Julia;
    let recorded = looked_up.iter().filter(|(_, status)| is_recorded(status.state));
    mirror.store().add_wishes(&recorded.map(|(wish, _)| (*wish).clone()).collect::<Vec<_>>())?;
    if config.json {
        let one = |(wish, status): &(&Wish, crate::mirror::WishStatus)| {
            let near = if status.state == WishState::Unknown { packages.near(&wish.name) } else { Vec::new() };
            json!({
                "wish": wish,
                "recorded": is_recorded(status.state),
                "state": status.state,
                "registry": status.registry,
                "newest": status.newest,
                "here": status.here,
                "near": near,
            })
        };
        print_json(&json!({ "wishes": looked_up.iter().map(one).collect::<Vec<_>>() }))?;
        return Ok(Outcome::Complete);
    }
    for (wish, status) in &looked_up {
        let recorded = if is_recorded(status.state) { "recorded" } else { "not recorded" };
        let line = format!("{wish}: {recorded}. {}", packages.explain(wish, status));
        print(&(printable(&line) + "\n"))?;
    }
    Ok(Outcome::Complete)
}

fn list(config: &Config) -> anyhow::Result<Outcome> {
    let mirror = mirror(config, open_existing_store(config)?)?;
    let (wishes, packages) = (mirror.store().wishes()?, mirror.packages_by_name()?);
    if config.json {
        let one = |known: &RecordedWish| {
            let status = packages.status(&known.wish);
            json!({
                "wish": known.wish,
                "count": known.count,
                "first": known.first,
                "last": known.last,
                "state": status.state,
                "registry": status.registry,
                "newest": status.newest,
                "here": status.here,
            })
        };
        print_json(&json!({ "wishes": wishes.iter().map(one).collect::<Vec<_>>() }))?;
        return Ok(Outcome::Complete);
    }
    if wishes.is_empty() {
        say("No wishes.");
        return Ok(Outcome::Complete);
    }
    let rows: Vec<_> = wishes
        .iter()
        .map(|known| {
            let status = packages.status(&known.wish);
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let last = known.last.strftime("%Y-%m-%d %H:%M").to_string();
            let state = status.state.to_string();
            vec![
                known.wish.to_string(),
                known.count.to_string(),
                last,
                state,
                or_dash(status.here),
                or_dash(status.newest),
            ]
        })
        .collect();
    print(&table(&["WISH", "TIMES", "LAST", "STATE", "HERE", "NEWEST"], &rows))?;
    Ok(Outcome::Complete)
}

/// A name alone takes all wishes for it, a name with a range that one.
fn remove(config: &Config, wishes: &[Wish]) -> anyhow::Result<Outcome> {
    let store = open_existing_store(config)?;
    let mut complete = true;
    for wish in wishes {
        let is_meant = |known: &Wish| known == wish || (wish.range.is_none() && known.name == wish.name);
        if store.remove_wishes(is_meant)? == 0 {
            say(&format!("nobody wished for {wish}"));
            complete = false;
        }
    }
    Ok(if complete { Outcome::Complete } else { Outcome::Incomplete })
}

fn export(config: &Config, file: &Path, dry_run: bool) -> anyhow::Result<Outcome> {
    let to_stdout = file == Path::new("-");
    anyhow::ensure!(!(to_stdout && config.json && !dry_run), "- and --json both need standard output: name a file");
    // Wrong usage is said before anything is done.
    config.site_name.as_deref().map_or(Ok(()), Request::check_name)?;
    let store = open_existing_store(config)?;
    let mirror = mirror(config, Arc::clone(&store))?;
    let jobs = config.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let bar = Bar::new(if dry_run { 0 } else { crate::verify::unverified(&store)?.len() as u64 }, "verifying");
    let step = |resource: &crate::protocol::Resource, bytes| bar.step(&resource.to_string(), bytes);
    let gathered = gather(&mirror, config, (!dry_run).then_some(jobs), &step)?;
    bar.finish();
    let complete = gathered.verified.as_ref().is_none_or(Report::is_clean);
    if !dry_run {
        if to_stdout {
            print(&String::from_utf8_lossy(&gathered.request.to_json()))?;
        } else {
            write(&gathered.request, file).context("cannot write the request")?;
        }
        store.note(
            Action::Request,
            complete,
            format!("request of {}: {}", gathered.request.name, counts(&gathered.request)),
        );
    }
    if config.json {
        print_json(&summary(&gathered, file, !dry_run))?;
    }
    tell(&gathered, (!dry_run).then_some(file));
    Ok(if complete { Outcome::Complete } else { Outcome::Incomplete })
}

/// Says to a person what is in a request, and where it went.
fn tell(gathered: &Gathered, file: Option<&Path>) {
    let request = &gathered.request;
    let done = match file {
        None => "would be written".to_owned(),
        Some(file) if file == Path::new("-") => "written to standard output".to_owned(),
        Some(file) => format!("written to {}", file.display()),
    };
    say(&format!("request of {} {done}: {}", request.name, counts(request)));
    let Some(report) = &gathered.verified else {
        if gathered.unverified > 0 {
            say(&format!(
                "{} files were not verified yet and are not counted: a dry run verifies nothing",
                gathered.unverified
            ));
        }
        return;
    };
    for damaged in &report.damaged {
        let line = format!("damaged: {}: {} (now asked for again)", damaged.resource, damaged.problem);
        say(&printable(&line));
    }
    for unreadable in &report.unreadable {
        say(&printable(&format!(
            "unreadable, so not in the inventory: {}: {}",
            unreadable.resource, unreadable.problem
        )));
    }
}

fn counts(request: &Request) -> String {
    let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let here = request.inventory.len();
    let repositories = request.repositories.len();
    let mut counts = vec![
        count(here, "resource here", "resources here"),
        count(request.misses.len(), "miss", "misses"),
        count(request.wishes.len(), "wish", "wishes"),
        format!("{} damaged", request.damaged.len()),
        format!("for {}", request.platforms.join(", ")),
    ];
    if repositories > 0 {
        counts.insert(1, count(repositories, "git bundle here", "git bundles here"));
    }
    counts.join(", ")
}

fn summary(gathered: &Gathered, file: &Path, written: bool) -> Value {
    let Gathered { request, verified, unverified } = gathered;
    let of_kind = |kind| request.inventory.iter().filter(|resource| resource.kind() == kind).count();
    json!({
        "file": file.display().to_string(),
        "written": written,
        "name": request.name,
        "site": request.site,
        "created": request.created,
        "platforms": request.platforms,
        "julia": request.julia,
        "registries": request.registries,
        "inventory": {
            "registries": of_kind(Kind::Registry),
            "packages": of_kind(Kind::Package),
            "artifacts": of_kind(Kind::Artifact),
            "repositories": request.repositories.len(),
        },
        "misses": request.misses.len(),
        "wishes": request.wishes,
        "damaged": request.damaged,
        "received": request.received,
        "unverified": unverified,
        "verified": verified,
    })
}
