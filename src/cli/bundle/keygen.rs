//! `airlock bundle keygen`.

use super::super::args::switch;
use super::super::{Outcome, print, say};
use super::password;
use crate::bundle::KeyPair;
use crate::store::Outside;
use anyhow::Context as _;
use fs_err as fs;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct KeygenArgs {
    /// The keys become STEM.key, to keep, and STEM.pub, to give away
    #[arg(value_name = "STEM")]
    stem: PathBuf,
    /// Whoever can read STEM.key may sign: for machines that sign by themselves
    #[arg(long, env = "AIRLOCK_NO_PASSWORD", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    no_password: Option<bool>,
    /// File with the password; without one it is asked for
    #[arg(long, env = "AIRLOCK_SIGN_PASSWORD_FILE", value_name = "FILE", conflicts_with = "no_password")]
    sign_password_file: Option<PathBuf>,
}

pub(super) fn run(args: &KeygenArgs) -> anyhow::Result<Outcome> {
    let (secret, public) = (with_extension(&args.stem, "key"), with_extension(&args.stem, "pub"));
    // Of a secret key that never got its name nobody has a use for the public one.
    let was_cut_off = Outside::was_cut_off(&secret);
    for path in [&secret, &public].into_iter().take(if was_cut_off { 1 } else { 2 }) {
        anyhow::ensure!(fs::symlink_metadata(path).is_err(), "{} is there already", path.display());
    }
    let password = match (args.no_password, &args.sign_password_file) {
        (Some(true), _) => None,
        (_, Some(file)) => Some(password::read(file)?),
        (_, None) => Some(password::ask_twice().context("give --no-password or --sign-password-file")?),
    };
    let pair = KeyPair::generate(password.as_deref())?;
    // The secret one last: when it can be seen, both are there. Never over what is there: a lost
    // secret key is lost for good.
    let staged = Outside::stage(&secret, pair.secret.as_bytes(), 0o600)?;
    Outside::stage(&public, pair.public.as_bytes(), 0o644)?.publish(was_cut_off)?;
    staged.publish(false)?;
    say(&format!("wrote {}, which signs, and {}", secret.display(), public.display()));
    say("inside, in airlock.toml below [bundle]:");
    print(&format!("trusted-keys = [\"{}\"]\n", pair.line))?;
    Ok(Outcome::Complete)
}

/// Appended, for a stem may have a dot.
fn with_extension(stem: &Path, extension: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(format!(".{extension}"));
    name.into()
}
