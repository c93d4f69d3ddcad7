//! What comes from git, over each way that is promised: https with an authority and passwords of a
//! test's own, ssh by the real `sshd`, and for comparison the files of this machine.

mod failures;
mod https;
mod passwords;
mod ssh;
mod ssh_refusals;
mod transports;
mod trust;

use crate::acme::Acme;
use crate::authority::Authority;
use crate::binary::{command, said};
use crate::support::{LONG, Scene};
use fs_err as fs;
use https::GitHttp;
use serde_json::Value;
use ssh::Sshd;
use std::path::PathBuf;
use std::process::Output;
use tokio::process::Command;

/// The address of Acme's host in what it wrote down: there is no such host, and git is told where it is.
const HOST: &str = "https://git.acme.example";

/// A mirror outside, and Acme's repositories in a folder for somebody to serve.
struct Outside {
    scene: Scene,
    acme: Acme,
}

/// One way to the repositories.
struct Way {
    /// Of its folder, without a trailing slash.
    url: String,
    /// What an admin wrote into `~/.gitconfig`.
    gitconfig: String,
}

impl Outside {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let acme = Acme::new(scene.folder.path(), HOST);
        Self { scene, acme }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scene.folder.path().join(name)
    }

    fn by_file(&self) -> Way {
        Way::new(self.acme.file_url(), "")
    }

    /// Over https, by a server whose authority git was told of.
    async fn by_https(&self) -> (GitHttp, Authority, Way) {
        let authority = Authority::new();
        let server = GitHttp::secure(&self.acme.folder, &authority).await;
        let way = Way::new(server.url(), &trusting(&server, &authority));
        (server, authority, way)
    }

    fn by_ssh(&self, sshd: &Sshd) -> Way {
        Way::new(sshd.url(&self.acme.folder), &format!("[core]\n\tsshCommand = {}\n", sshd.command()))
    }

    /// A command with a cache of its own, for whom this is in `~/.gitconfig`.
    fn airlock(&self, cache: &str, gitconfig: &str, arguments: &[&str]) -> Command {
        self.airlock_of(&self.scene.upstream.url(), cache, gitconfig, arguments)
    }

    fn airlock_of(&self, upstream: &str, cache: &str, gitconfig: &str, arguments: &[&str]) -> Command {
        let global = self.path(&format!("{cache}.gitconfig"));
        fs::write(&global, gitconfig).unwrap();
        fs::create_dir_all(self.path(cache)).unwrap();
        let mut airlock = command(self.scene.folder.path());
        airlock.args(arguments).args(["--cache", cache, "--upstream", upstream]);
        airlock.env("GIT_CONFIG_GLOBAL", global).env("GIT_CONFIG_SYSTEM", "/dev/null");
        airlock
    }

    /// The registry at this address is configured from now on.
    fn configure(&self, url: &str) {
        fs::write(self.path("airlock.toml"), Acme::config(url)).unwrap();
    }

    /// Runs one to its end, and reads what it wrote.
    async fn report(&self, cache: &str, gitconfig: &str, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = run(self.airlock(cache, gitconfig, arguments)).await;
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{:?}", said(&output)));
        (output.status.code(), report)
    }
}

impl Way {
    fn new(url: String, gitconfig: &str) -> Self {
        let gitconfig = format!("{gitconfig}[url \"{url}/\"]\n\tinsteadOf = {HOST}/\n");
        Self { url, gitconfig }
    }
}

/// The lines that tell git of an authority.
fn trusting(server: &GitHttp, authority: &Authority) -> String {
    format!("[http \"{}\"]\n\tsslCAInfo = {}\n", server.url(), authority.file("ca.pem").display())
}

async fn run(mut command: Command) -> Output {
    tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap()
}

/// Waits until no process works on what is in a folder any more. `git` names it to all that it starts,
/// in arguments or environment.
#[cfg(target_os = "linux")]
async fn nobody_works_on(folder: &std::path::Path) {
    let folder = folder.display().to_string();
    let gone = async {
        while let Some(process) = at_work_on(&folder).into_iter().next() {
            tracing::debug!("{process} is still there");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap_or_else(|_| panic!("still at work: {:?}", at_work_on(&folder)));
}

#[cfg(not(target_os = "linux"))]
async fn nobody_works_on(_: &std::path::Path) {}

#[cfg(target_os = "linux")]
fn at_work_on(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path()) {
        let read = |name: &str| String::from_utf8_lossy(&fs::read(process.join(name)).unwrap_or_default()).into_owned();
        let arguments = read("cmdline");
        if arguments.contains(folder) || read("environ").contains(folder) {
            found.push(format!("{} {}", process.display(), arguments.replace('\0', " ")));
        }
    }
    found
}
