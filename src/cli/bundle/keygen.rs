//! `airlock bundle keygen`.

use super::super::args::switch;
use super::super::{Outcome, print, say};
use super::password;
use crate::bundle::KeyPair;
use anyhow::Context as _;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use std::io::Write as _;
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
    for path in [&secret, &public] {
        anyhow::ensure!(fs::symlink_metadata(path).is_err(), "{} is there already", path.display());
    }
    let password = match (args.no_password, &args.sign_password_file) {
        (Some(true), _) => None,
        (_, Some(file)) => Some(password::read(file)?),
        (_, None) => Some(password::ask_twice().context("give --no-password or --sign-password-file")?),
    };
    let pair = KeyPair::generate(password.as_deref())?;
    write_new(&secret, &pair.secret, 0o600)?;
    write_new(&public, &pair.public, 0o644)?;
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

/// Never writes over what is there: a lost secret key is lost for good.
fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}
