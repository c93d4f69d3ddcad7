//! The command line: flags in, tables and JSON out. The only home of `anyhow` and of printing.
//!
//! Data goes to standard output, talk to standard error. Exit codes: 0 done and complete; 1 ran,
//! but something is missing, failed or damaged; 2 wrong usage, or it could not even start.

mod adopt;
mod args;
mod bundle;
mod check;
mod completions;
mod demo;
#[cfg(test)]
mod docs;
mod doctor;
mod fallback;
mod gc;
mod misses;
mod policy;
mod prewarm;
mod progress;
mod registries;
mod request;
mod serve;
mod status;
mod table;
mod verify;

use crate::closure::InputReport;
use crate::config::{Config, ConfigError, DEFAULT_FILE, LogFormat, LogLevel, Settings};
use crate::source::Source;
use crate::store::{Store, StoreError};
use anyhow::Context as _;
use args::{Args, Command};
use clap::Parser as _;
use clap::error::ErrorKind;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tracing_subscriber::filter::LevelFilter;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Done and complete: 0.
    Complete,
    /// It ran, but not all is well: 1.
    Incomplete,
}

/// Wrong usage, or what the command needs is not there: 2.
const CANNOT_START: u8 = 2;

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(CANNOT_START) };
        }
    };
    match run(args) {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::FAILURE,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "airlock: {error:#}");
            ExitCode::from(CANNOT_START)
        }
    }
}

fn run(args: Args) -> anyhow::Result<Outcome> {
    let (config_file, log_level, settings, command) = args.split();
    let config = configure(config_file.as_deref(), settings)?;
    let of_file = config.log_level.map(level_filter);
    start_log(config.log, log_level.or(of_file).unwrap_or_else(|| command.default_log_level()))?;
    match command {
        Command::Serve(_) => block_on(serve::run(&config)),
        Command::Prewarm(args) => block_on(prewarm::run(&config, args)),
        Command::Adopt(args) => adopt::run(&config, &args),
        Command::Demo(args) => block_on(demo::run(config, args.exit, args.upstream_only)),
        Command::Check(args) => check::run(&config, args),
        Command::Misses(args) => misses::run(&config, args.action.unwrap_or_default()),
        Command::Request(args) => request::run(&config, args.action.unwrap_or_default()),
        Command::Registries(args) => block_on(registries::run(&config, args)),
        Command::Policy(args) => policy::run(&config, args),
        Command::Verify(args) => verify::run(&config, &args),
        Command::Bundle(args) => bundle::run(&config, args),
        Command::Gc(args) => gc::run(&config, args),
        Command::Status(_) => status::run(&config),
        Command::Doctor(args) => block_on(doctor::run(&config, args)),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { folder } => completions::man(&folder),
    }
}

fn configure(file: Option<&Path>, flags: Settings) -> Result<Config, ConfigError> {
    let file = match file {
        Some(file) => Settings::read(file)?,
        None if Path::new(DEFAULT_FILE).exists() => Settings::read(Path::new(DEFAULT_FILE))?,
        None => Settings::default(),
    };
    Config::new(flags, file)
}

const fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn start_log(format: LogFormat, level: LevelFilter) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(level).with_target(false);
    let started = match format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

/// Runs a command. What still blocks a thread when it is done (the verification of a large file, a
/// disk that does not answer) is left behind: the end of the process harms nothing on disk, and a
/// signal to stop must not wait for it.
fn block_on(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

fn open_store(config: &Config) -> anyhow::Result<Arc<Store>> {
    open_as(config, Store::open)
}

/// The same for a command that looks at what is there: a mistyped folder must not look like an
/// empty cache.
fn open_existing_store(config: &Config) -> anyhow::Result<Arc<Store>> {
    ensure_existing(config)?;
    open_store(config)
}

/// The same for a command that removes from it.
fn open_existing_store_alone(config: &Config) -> anyhow::Result<Arc<Store>> {
    ensure_existing(config)?;
    open_as(config, Store::open_alone)
}

fn ensure_existing(config: &Config) -> anyhow::Result<()> {
    let there = config.cache.is_dir();
    anyhow::ensure!(there, "there is no cache directory {}; name it with --cache", config.cache.display());
    Ok(())
}

fn open_as(config: &Config, open: fn(&Path) -> Result<Store, StoreError>) -> anyhow::Result<Arc<Store>> {
    let store = open(&config.cache);
    let _ = store.as_ref().map(|store| store.keep_free(config.disk.min_free));
    let must = if matches!(store, Err(StoreError::Io(_))) { ", which must be writable" } else { "" };
    Ok(Arc::new(store.with_context(|| format!("cannot use the cache directory {}{must}", config.cache.display()))?))
}

/// Files that are hashed side by side.
fn default_jobs(config: &Config) -> usize {
    config.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from))
}

/// Says what is wrong with inputs.
fn complain<'r>(inputs: impl IntoIterator<Item = &'r InputReport>) {
    for input in inputs {
        for warning in &input.warnings {
            say(&format!("warning: {}: {warning}", input.path));
        }
        if let Some(error) = &input.error {
            say(&format!("error: {error}"));
        }
    }
}

fn sources(config: &Config) -> anyhow::Result<Vec<Arc<dyn Source>>> {
    // Its words name the causes already.
    crate::source::all(config).map_err(|error| anyhow::anyhow!(error.to_string()))
}

/// Writes data. A reader that has gone away is no fault of ours.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // What was found still decides the exit code.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Says something to a person.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
