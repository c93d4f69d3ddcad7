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
mod health;
mod misses;
mod policy;
mod prewarm;
mod progress;
mod registries;
mod reload;
mod request;
mod serve;
mod service;
mod status;
mod table;
mod token;
mod verify;

use crate::closure::InputReport;
use crate::config::{Config, DEFAULT_FILE, LogFormat, LogLevel, Settings};
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
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

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
    let config = match (configure(config_file.as_deref(), settings.clone()), &command) {
        // A server goes on when its file is broken, and so must the question whether it is well.
        (Err(_), Command::Health(_)) => Config::new(settings.clone(), Settings::default())?,
        (config, _) => config?,
    };
    let level = log_level.unwrap_or_else(|| level_of(&config, &command));
    let log = start_log(config.log, level)?;
    match command {
        Command::Serve(_) => {
            let log = log_level.is_none().then_some(log);
            block_on(serve::run(&config, reload::Origin { file: config_file, flags: settings, log }))
        }
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
        Command::Token(args) => token::run(&config, args),
        Command::Doctor(args) => block_on(doctor::run(&config, args)),
        Command::Health(args) => block_on(health::run(&config, args)),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { folder } => completions::man(&folder),
    }
}

/// Reads the configuration: `file`, or the one that lies in this folder.
fn configure(file: Option<&Path>, flags: Settings) -> anyhow::Result<Config> {
    let default = Path::new(DEFAULT_FILE);
    let file = file.or_else(|| default.exists().then_some(default));
    let settings = file.map(Settings::read).transpose();
    let config = settings.and_then(|settings| Config::new(flags, settings.unwrap_or_default()));
    // Its words name the causes already.
    let config = config.map_err(|error| anyhow::anyhow!(error.to_string()))?;
    Ok(Config { file: file.map(Path::to_owned), ..config })
}

/// How much is logged where no flag says.
fn level_of(config: &Config, command: &Command) -> LevelFilter {
    config.log_level.map_or_else(|| command.default_log_level(), level_filter)
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

/// How much is logged, to be changed while it is.
type LogLevelHandle = tracing_subscriber::reload::Handle<LevelFilter, Registry>;

fn start_log(format: LogFormat, level: LevelFilter) -> anyhow::Result<LogLevelHandle> {
    let (level, handle) = tracing_subscriber::reload::Layer::new(level);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let started = tracing_subscriber::registry().with(level).with(lines).try_init();
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))?;
    Ok(handle)
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
