//! `airlock completions` and `airlock man`.

use super::args::Args;
use super::{Outcome, print};
use anyhow::Context as _;
use clap::CommandFactory as _;
use fs_err as fs;
use std::path::Path;

pub(super) fn run(shell: clap_complete::Shell) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "airlock", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(Outcome::Complete)
}

pub(super) fn man(folder: &Path) -> anyhow::Result<Outcome> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Args::command(), folder).context("cannot write the manual pages")?;
    Ok(Outcome::Complete)
}
