//! The binary as a child process.

use crate::support::LONG;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// `airlock` in an empty environment of its own, so that nobody's `AIRLOCK_*` gets in.
pub(crate) fn command(folder: &Path) -> Command {
    wrapped(folder, &[])
}

/// The same below another command, such as `unshare`.
pub(crate) fn wrapped(folder: &Path, wrapper: &[&str]) -> Command {
    let binary = env!("CARGO_BIN_EXE_airlock");
    let mut command = match wrapper {
        [] => Command::new(binary),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary);
            command
        }
    };
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let output = command(folder).args(arguments).output();
    tokio::time::timeout(LONG, output).await.unwrap().unwrap()
}

/// The exit code and what was said, for assertions.
pub(crate) fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running `airlock serve`.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) url: String,
    /// What it said until it served.
    pub(crate) heard: String,
    log: Lines<BufReader<ChildStderr>>,
}

impl Serving {
    /// Starts it on a port that the system picks, and waits until it serves.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut heard = String::new();
        let url = loop {
            let line = tokio::time::timeout(LONG, log.next_line()).await.unwrap().unwrap();
            let Some(line) = line else { panic!("it did not serve: {heard}") };
            heard += &(line.clone() + "\n");
            if let Some((_, rest)) = line.split_once("serving at ") {
                break rest.split([',', ' ']).next().unwrap().to_owned();
            }
        };
        Self { child, url, heard, log }
    }

    /// Waits for a line of its log that has this in it.
    pub(crate) async fn hears(&mut self, text: &str) -> String {
        loop {
            let line = tokio::time::timeout(LONG, self.log.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended without saying {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The lines of its log up to the one that has this in it.
    pub(crate) async fn hears_up_to(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.contains(text)) {
            lines.push(self.hears("").await);
        }
        lines
    }

    /// The lines of its log until it ends, which is for somebody else to bring about.
    pub(crate) async fn hears_to_the_end(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.log.next_line().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    /// Sends a signal and waits for the end.
    pub(crate) async fn stop(mut self, signal: rustix::process::Signal) -> std::process::ExitStatus {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
        tokio::time::timeout(LONG, self.child.wait()).await.unwrap().unwrap()
    }
}
