//! `airlock bundle export`.

use super::super::args::{Upstream, some, switch};
use super::super::fallback::FallbackArgs;
use super::super::progress::Bar;
use super::super::serve::stop_signal;
use super::super::table::{bytes, printable};
use super::super::{Outcome, open_existing_store, open_store, print, print_json, say, sources};
use super::password;
use crate::bundle::{Exported, Order, SignatureError, SigningKey, Since, Step, Watch, export};
use crate::config::{BundleSettings, Config, PrewarmSettings, Settings};
use crate::exchange::Request;
use crate::julia::{JuliaTarget, Platforms};
use crate::mirror::Mirror;
use crate::prewarm::DEFAULT_JOBS;
use anyhow::Context as _;
use bytesize::ByteSize;
use fs_err as fs;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The file to write, or a folder: then it is called airlock-DESTINATION-NUMBER.tar
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Manifests and the like whose closure is packed [default: everything that is here]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The request of the other side: fetch what it lacks, leave out what it has
    #[arg(long = "for", env = "AIRLOCK_FOR", value_name = "REQUEST", conflicts_with = "since")]
    request: Option<PathBuf>,
    /// Pack only what came here since then: a date (UTC), or a registry tree that was published then
    #[arg(long, env = "AIRLOCK_SINCE", value_name = "DATE|GENERATION")]
    since: Option<String>,
    /// Leave nothing out; so it is without --for and --since too
    #[arg(long, env = "AIRLOCK_FULL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL", conflicts_with_all = ["request", "since"])]
    full: Option<bool>,
    /// Pack everything of the last N bundles for this destination again, in case one got lost
    #[arg(long, env = "AIRLOCK_OVERLAP", value_name = "N", default_value_t = 0)]
    overlap: usize,
    /// Whom it is for; bundles are numbered for each [default: the name in the request, or all]
    #[arg(long, env = "AIRLOCK_TO", value_name = "NAME")]
    to: Option<String>,
    /// Largest volume, such as 4GiB [default: one volume of any size]
    #[arg(long, env = "AIRLOCK_VOLUME_SIZE", value_name = "SIZE")]
    volume_size: Option<ByteSize>,
    /// Secret key that signs it, made by `airlock bundle keygen` or minisign
    #[arg(long, env = "AIRLOCK_SIGN", value_name = "KEYFILE")]
    sign: Option<PathBuf>,
    /// File with the password of that key; without one it is asked for
    #[arg(long, env = "AIRLOCK_SIGN_PASSWORD_FILE", value_name = "FILE")]
    sign_password_file: Option<PathBuf>,
    /// Replace what is at OUT
    #[arg(long, env = "AIRLOCK_FORCE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    force: Option<bool>,
    /// Ask no upstream: what the request lacks and is not here is only named
    #[arg(long, env = "AIRLOCK_NO_FETCH", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    no_fetch: Option<bool>,
    #[command(flatten)]
    upstream: Upstream,
    #[command(flatten)]
    fallback: FallbackArgs,
    /// Platform whose artifacts are wanted: a triplet such as x86_64-linux-gnu, host, or all;
    /// repeat for more [default: those of the request, else host]
    #[arg(long, env = "AIRLOCK_PLATFORM", value_name = "TRIPLET|host|all", value_delimiter = ',')]
    platform: Vec<String>,
    /// Leave lazy artifacts out
    #[arg(long, env = "AIRLOCK_NO_LAZY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    no_lazy: Option<bool>,
    /// Fetches side by side [default: 64]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// How often one resource is tried [default: 5]
    #[arg(long, env = "AIRLOCK_ATTEMPTS", value_name = "N")]
    attempts: Option<u32>,
    /// Say what would be packed; asks nobody and writes nothing
    #[arg(long, env = "AIRLOCK_DRY_RUN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    dry_run: Option<bool>,
    /// Entries that no package server can serve do not make the exit code 1
    #[arg(long, env = "AIRLOCK_ALLOW_UNMIRRORABLE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    allow_unmirrorable: Option<bool>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
}

impl ExportArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        let prewarm = PrewarmSettings {
            git: None,
            platform: some(&self.platform),
            no_lazy: self.no_lazy,
            dry_run: self.dry_run,
            allow_unmirrorable: self.allow_unmirrorable,
            attempts: self.attempts,
            julia: None,
        };
        let bundle = BundleSettings {
            destination: self.to.clone(),
            volume_size: self.volume_size,
            sign_key: self.sign.clone(),
            trusted_keys: None,
        };
        let upstream = self.upstream.setting();
        let fallback = self.fallback.settings();
        Settings { upstream, fallback, jobs: self.jobs, json: self.json, prewarm, bundle, ..common }
    }
}

pub(super) async fn run(config: &Config, args: ExportArgs) -> anyhow::Result<Outcome> {
    let order = order(config, args)?;
    let asks = order.fetch && order.request.is_some() && !order.dry_run;
    let (store, sources) =
        if asks { (open_store(config)?, sources(config)?) } else { (open_existing_store(config)?, Vec::new()) };
    let mirror = Arc::new(Mirror::new(store, sources, config));
    let (cancel, stop) = (order.cancel.clone(), stop_signal()?);
    let stopping = tokio::spawn(async move {
        stop.await;
        cancel.cancel();
    });
    let bar = Arc::new(Bar::new(0, "export"));
    let exported = export(Arc::clone(&mirror), order, Arc::clone(&bar) as Arc<dyn Watch>).await;
    bar.finish();
    stopping.abort();
    mirror.close().await;
    match exported {
        Ok(exported) => tell(config, &exported),
        Err(error) if error.is_late() => {
            say(&format!("error: {}", printable(&error.to_string())));
            Ok(Outcome::Incomplete)
        }
        Err(error) => Err(error.into()),
    }
}

fn order(config: &Config, args: ExportArgs) -> anyhow::Result<Order> {
    let request = args.request.as_deref().map(read_request).transpose()?;
    let triplets = match (&request, args.platform.is_empty()) {
        (Some(request), true) if !request.platforms.is_empty() => &request.platforms,
        _ => &config.prewarm.platforms,
    };
    let platforms = triplets.iter().map(|platform| platform.parse::<Platforms>());
    let dry_run = config.prewarm.dry_run;
    let key = config.bundle.sign_key.as_deref().filter(|_| !dry_run);
    // The name in a request wins over the configuration's, a flag over both.
    let destination = match (&args.to, &request) {
        (None, Some(_)) => None,
        _ => config.bundle.destination.clone(),
    };
    let julias = match &request {
        // A Julia that nobody here knows must not keep the others from being served.
        Some(request) if !request.julia.is_empty() => request.julia.iter().filter_map(|it| it.parse().ok()).collect(),
        _ => config.prewarm.julias.iter().map(|julia| julia.parse::<JuliaTarget>()).collect::<Result<_, _>>()?,
    };
    Ok(Order {
        julias,
        out: args.out,
        paths: args.paths,
        since: args.since.as_deref().map(str::parse::<Since>).transpose()?,
        overlap: args.overlap,
        destination,
        platforms: platforms.collect::<Result<_, _>>()?,
        lazy: config.prewarm.lazy,
        volume_size: config.bundle.volume_size,
        fetch: !args.no_fetch.unwrap_or(false) && !config.offline,
        force: args.force.unwrap_or(false),
        dry_run,
        allow_unmirrorable: config.prewarm.allow_unmirrorable,
        jobs: config.jobs.unwrap_or(DEFAULT_JOBS),
        attempts: config.prewarm.attempts,
        key: key.map(|file| open_key(file, args.sign_password_file.as_deref())).transpose()?,
        cancel: CancellationToken::new(),
        request,
    })
}

fn read_request(file: &Path) -> anyhow::Result<Request> {
    let bytes = fs::read(file).context("cannot read the request")?;
    Request::parse(&bytes).with_context(|| format!("cannot use the request {}", file.display()))
}

fn open_key(file: &Path, password_file: Option<&Path>) -> anyhow::Result<SigningKey> {
    let text = fs::read_to_string(file).context("cannot read the key that signs")?;
    let named = || format!("cannot sign with {}", file.display());
    let password = match (SigningKey::open(&text, None), password_file) {
        (Err(SignatureError::Locked), Some(password)) => password::read(password)?,
        (Err(SignatureError::Locked), None) => {
            password::ask(&format!("Password of {}: ", file.display())).context("give --sign-password-file")?
        }
        (opened, _) => return opened.with_context(named),
    };
    SigningKey::open(&text, Some(&password)).with_context(named)
}

impl Watch for Bar {
    fn step(&self, step: Step) {
        match step {
            Step::Hashing { files } => self.restart(files as u64, "hashing"),
            Step::Packing { files } => self.restart(files as u64, "packing"),
            Step::Done { bytes } => Self::step(self, "", bytes),
        }
    }
}

fn tell(config: &Config, exported: &Exported) -> anyhow::Result<Outcome> {
    for uncarried in &exported.uncarried {
        say(&printable(&format!("not carried: {}: {}", uncarried.what, uncarried.why)));
    }
    if exported.signed_by.is_none() && !exported.dry_run {
        say("it is not signed: --sign KEYFILE, or sign-key in airlock.toml, would");
    }
    if config.json {
        print_json(exported)?;
    } else {
        print(&text(exported))?;
    }
    Ok(if exported.complete { Outcome::Complete } else { Outcome::Incomplete })
}

fn text(exported: &Exported) -> String {
    let mut text = String::new();
    for package in exported.new_packages.iter().filter(|_| exported.dry_run) {
        let name = package.name.as_deref().unwrap_or("a package without a name");
        let _ = writeln!(text, "{}", printable(&format!("{name} {}", package.version.as_deref().unwrap_or(""))));
    }
    for file in exported.repositories.iter().filter(|_| exported.dry_run) {
        let _ = writeln!(text, "{file}");
    }
    let verb = if exported.dry_run { "would write" } else { "wrote" };
    for file in &exported.files {
        let _ = writeln!(text, "{verb} {}", file.display());
    }
    let left = if exported.left_out > 0 { format!(", {} left out", exported.left_out) } else { String::new() };
    let signed = exported.signed_by.map(|key| format!("; signed by {key}")).unwrap_or_default();
    text + &format!("{}{left}; {} in all{signed}\n", exported.summary(), bytes(exported.bytes))
}
