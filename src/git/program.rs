//! The `git` program as a child: what it may do, how long, and how it is ended.
//!
//! It runs as an admin expects, with the configuration, credential helpers, proxies and ssh of this
//! machine and user; but it never asks anybody anything, runs no hook, and what it prints is
//! bounded. The address goes in by the environment and so, apart from it, does a password: `git`
//! names the address to the programs that it starts, and none is in a process list or on disk.

use super::address::{Address, PROTOCOLS};
use super::{Bounds, GitError};
use crate::config::GitEnvironment;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The first version whose configuration may come by the environment.
const OLDEST: (u32, u32) = (2, 31);
/// Bytes of standard output: lists of references and small files.
const MOST_OUTPUT: usize = 256 << 20;
/// Bytes of standard error that are kept, the last ones.
const MOST_SAID: usize = 64 << 10;
/// How often a silent child is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a child may take to end when it was asked to, and its pipes to close when it ended.
const GRACE: Duration = Duration::from_secs(2);

/// Variables that would lead `git` to another repository, ask a person, or change what it reads.
const UNWANTED: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_TEMPLATE_DIR",
    "GIT_DEFAULT_REF_FORMAT",
    "SSH_ASKPASS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "LANGUAGE",
];

/// A credential helper that gives what is in the environment; a shell's own `printf` is no process.
/// It stores and erases nothing.
const HELPER: &str = r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$AIRLOCK_GIT_USER" "$AIRLOCK_GIT_PASSWORD"; }; f"#;

fn forget_unwanted(command: &mut Command) {
    for name in UNWANTED {
        command.env_remove(name);
    }
}

/// The program, for all clones of a process.
#[derive(Debug)]
pub(super) struct Program {
    bounds: Bounds,
    environment: GitEnvironment,
    /// Whether it is there, and whether an admin configured how ssh is run.
    found: OnceLock<bool>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    stopped: bool,
    groups: HashSet<Pid>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) address: &'a Address,
    /// The repository.
    pub(super) folder: &'a Path,
    pub(super) arguments: Vec<String>,
    pub(super) input: Vec<u8>,
}

impl Program {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, environment: GitEnvironment::read(), found: OnceLock::new(), running: Mutex::default() }
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn is_stopped(&self) -> bool {
        lock(&self.running).stopped
    }

    /// Ends what runs, and lets nothing start any more.
    pub(super) fn stop(&self) {
        let mut running = lock(&self.running);
        running.stopped = true;
        for &group in &running.groups {
            let _ = kill_process_group(group, Signal::TERM);
        }
    }

    /// Runs `git` in a repository to its end. Returns what it wrote to standard output.
    pub(super) fn run(&self, call: Call<'_>) -> Result<Vec<u8>, GitError> {
        let ssh_is_chosen = self.find(call.address)?;
        let shown = call.address.shown();
        let mut command = Command::new("git");
        command.arg(["--git-dir=".as_ref(), call.folder.as_os_str()].join("".as_ref()));
        command.args(&call.arguments).current_dir(call.folder.parent().unwrap_or(call.folder));
        self.configure(&mut command, call.address, call.folder, ssh_is_chosen);
        let ended = self.wait(command, call.input, shown)?;
        if ended.status.success() {
            return Ok(ended.output);
        }
        let said = call.address.redact(&ended.said);
        Err(GitError::of_program(shown, if said.trim().is_empty() { "it said nothing" } else { &said }))
    }

    /// Looks once whether it is there and new enough.
    fn find(&self, address: &Address) -> Result<bool, GitError> {
        if let Some(found) = self.found.get() {
            return Ok(*found);
        }
        let probe = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.args(arguments).current_dir("/").env("LC_ALL", "C");
            forget_unwanted(&mut command);
            self.wait(command, Vec::new(), address.shown())
        };
        let version = String::from_utf8_lossy(&probe(&["--version"])?.output).trim().to_owned();
        if parse_version(&version).is_none_or(|version| version < OLDEST) {
            return Err(GitError::OldProgram(version));
        }
        let configured = || Ok::<_, GitError>(probe(&["config", "--get", "core.sshCommand"])?.status.success());
        let ssh_is_chosen = self.environment.chooses_ssh || configured()?;
        Ok(*self.found.get_or_init(|| ssh_is_chosen))
    }

    fn configure(&self, command: &mut Command, address: &Address, folder: &Path, ssh_is_chosen: bool) {
        forget_unwanted(command);
        let slow = self.bounds.silence.as_secs().max(1).to_string();
        let folder = folder.to_string_lossy();
        let credential = |key: &str| address.login().map(|login| format!("credential.{}.{key}", login.place));
        let (helper, username) = (credential("helper"), credential("username"));
        let user = address.login().map(|login| login.user.to_string_lossy());
        let mut settings = vec![
            ("remote.origin.url", address.url()),
            // It is ours by its place, whoever owns it in this container.
            ("safe.directory", &folder),
            ("core.hooksPath", "/dev/null"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("fetch.showForcedUpdates", "false"),
            ("fetch.writeCommitGraph", "false"),
            ("credential.interactive", "false"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", &slow),
        ];
        if let (Some(login), Some(helper), Some(username), Some(user)) = (address.login(), &helper, &username, &user) {
            if let Some(password) = &login.password {
                // An empty one first: no other helper is asked, nor told to keep it.
                settings.extend([(helper.as_str(), ""), (helper.as_str(), HELPER)]);
                command.env("AIRLOCK_GIT_USER", &login.user).env("AIRLOCK_GIT_PASSWORD", password);
            } else {
                settings.push((username, user));
            }
        }
        let first = self.environment.configured;
        for (index, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{}", first + index), key);
            command.env(format!("GIT_CONFIG_VALUE_{}", first + index), value);
        }
        command.env("GIT_CONFIG_COUNT", (first + settings.len()).to_string());
        command.env("GIT_ALLOW_PROTOCOL", PROTOCOLS);
        command.env("GIT_TERMINAL_PROMPT", "0").env("GCM_INTERACTIVE", "never");
        // However an admin has ssh run: it asks this program, which says nothing, and no terminal.
        command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
        command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_DEFAULT_HASH", "sha1");
        // What is said is read by us.
        command.env("LC_ALL", "C");
        if !ssh_is_chosen {
            command.env("GIT_SSH_COMMAND", format!("ssh -oBatchMode=yes -oConnectTimeout={slow}"));
        }
    }

    /// Runs a command to its end, or ends it when it is silent or at work for too long.
    fn wait(&self, mut command: Command, input: Vec<u8>, shown: &str) -> Result<Ended, GitError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = Group::spawn(self, &mut command)?;
        let (signs, heard) = mpsc::channel();
        let (mut stdin, stdout, stderr) =
            (child.child.stdin.take(), child.child.stdout.take(), child.child.stderr.take());
        let feeding = thread::spawn(move || stdin.take().map(|mut stdin| stdin.write_all(&input)));
        let output = reader(stdout, signs.clone(), MOST_OUTPUT, Keep::First);
        let said = reader(stderr, signs, MOST_SAID, Keep::Last);
        let started = Instant::now();
        let mut last_sign = started;
        let status = loop {
            match heard.recv_timeout(LOOK) {
                Ok(()) => last_sign = Instant::now(),
                // Both pipes are closed.
                Err(RecvTimeoutError::Disconnected) if let Some(status) = child.ended_within(LOOK)? => break status,
                // What it started in the background may hold the pipes open (`ControlPersist`).
                Err(RecvTimeoutError::Timeout) if let Some(status) = child.try_wait()? => break status,
                Err(_) => {}
            }
            if self.is_stopped() {
                child.end()?;
                return Err(GitError::Stopped);
            }
            let late = [(last_sign, self.bounds.silence), (started, self.bounds.whole)];
            if let Some((_, after)) = late.into_iter().find(|(since, bound)| since.elapsed() > *bound) {
                child.end()?;
                return Err(GitError::TimedOut { address: shown.to_owned(), after });
            }
        };
        drop(feeding);
        if self.is_stopped() {
            return Err(GitError::Stopped);
        }
        let until = Instant::now() + GRACE;
        while heard.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
        let (output, said) = (take(&output), take(&said));
        if output.len() >= MOST_OUTPUT {
            return Err(GitError::TooBig { what: "bytes of output", limit: MOST_OUTPUT as u64 });
        }
        Ok(Ended { status, output, said: String::from_utf8_lossy(&said).into_owned() })
    }
}

struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    said: String,
}

/// A child with all that it starts, known to the program while it lives, so that its id cannot
/// mean another process.
struct Group<'p> {
    program: &'p Program,
    child: Child,
    id: Option<Pid>,
}

impl<'p> Group<'p> {
    fn spawn(program: &'p Program, command: &mut Command) -> Result<Self, GitError> {
        let mut running = lock(&program.running);
        if running.stopped {
            return Err(GitError::Stopped);
        }
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::NoProgram,
            _ => GitError::Io(error),
        })?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        running.groups.extend(id);
        Ok(Self { program, child, id })
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>, GitError> {
        let mut running = lock(&self.program.running);
        let status = self.child.try_wait()?;
        if status.is_some()
            && let Some(id) = self.id.take()
        {
            running.groups.remove(&id);
        }
        Ok(status)
    }

    fn ended_within(&mut self, time: Duration) -> Result<Option<ExitStatus>, GitError> {
        let until = Instant::now() + time;
        loop {
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= until {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks it to end, which lets it clean up, and makes it and whatever it started that does not listen.
    /// Before that is gone nobody waits for the child: its id would be free to mean others.
    fn end(&mut self) -> Result<(), GitError> {
        let Some(id) = self.id else { return Ok(()) };
        let _ = kill_process_group(id, Signal::TERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until && !has_ended(id) {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(LOOK);
        let _ = kill_process_group(id, Signal::KILL);
        self.ended_within(GRACE).map(drop)
    }
}

/// Whether a child is at its end, without taking note of it.
fn has_ended(id: Pid) -> bool {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(id), how), Ok(None))
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    First,
    Last,
}

type Kept = std::sync::Arc<Mutex<Vec<u8>>>;

/// Reads a pipe to its end on a thread of its own, which gives a sign for whatever comes.
fn reader(pipe: Option<impl Read + Send + 'static>, signs: Sender<()>, most: usize, keep: Keep) -> Kept {
    let kept = Kept::default();
    let into = Kept::clone(&kept);
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            let mut kept = lock(&into);
            kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
            let excess = kept.len().saturating_sub(most);
            match keep {
                Keep::First => kept.truncate(most),
                Keep::Last => drop(kept.drain(..excess)),
            }
            drop(kept);
            let _ = signs.send(());
        }
    });
    kept
}

fn take(kept: &Kept) -> Vec<u8> {
    std::mem::take(&mut *lock(kept))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `git version 2.47.3 (Apple Git-1)`
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("git version ")?.split(['.', ' ', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
