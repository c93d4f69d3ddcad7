//! The password of a signing key: from a file, or from the terminal without showing it.

use anyhow::Context as _;
use fs_err as fs;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

/// The first line of a file.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).context("cannot read the password")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Asks twice, for a password that nobody can read back.
pub(super) fn ask_twice() -> anyhow::Result<String> {
    let (first, second) = (ask("Password of the new key: ")?, ask("Once more: ")?);
    anyhow::ensure!(first == second, "the two are not the same");
    Ok(first)
}

/// Asks on the terminal itself: standard input and output may be anything.
pub(super) fn ask(prompt: &str) -> anyhow::Result<String> {
    let terminal = fs::OpenOptions::new().read(true).write(true).open("/dev/tty");
    let terminal = terminal.context("there is no terminal to ask for the password")?.into_file();
    let _quiet = Quiet::new(&terminal)?;
    (&terminal).write_all(prompt.as_bytes())?;
    let mut line = String::new();
    BufReader::new(&terminal).read_line(&mut line)?;
    (&terminal).write_all(b"\n")?;
    anyhow::ensure!(line.ends_with('\n'), "no password was given");
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'t> {
    terminal: &'t std::fs::File,
    before: Termios,
}

impl<'t> Quiet<'t> {
    fn new(terminal: &'t std::fs::File) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
