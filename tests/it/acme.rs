//! A company with packages of its own, in git only: a registry as `LocalRegistry` makes it, a package
//! that builds on one of General, and one in a folder of a larger repository.

use airlock::protocol::{Resource, TreeHash, Uuid};
use fs_err as fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const REGISTRY: &str = "ac3e0000-0000-4000-8000-000000000001";
pub(crate) const GREETER: &str = "ac3e0000-0000-4000-8000-000000000002";
pub(crate) const TOOLS: &str = "ac3e0000-0000-4000-8000-000000000003";
const GREETING: &str = "1b86959a-5d86-4eaa-ae42-da2cc0f6ffa9";

/// The repositories `AcmeRegistry`, `AcmeGreeter.jl` and `Platform`, each with a work tree.
pub(crate) struct Acme {
    pub(crate) folder: PathBuf,
    /// `AcmeGreeter` 0.1.0.
    pub(crate) greeter: Resource,
    /// `AcmeTools` 1.0.0.
    pub(crate) tools: Resource,
}

impl Acme {
    /// Makes them in a folder; the registry names the packages at `url`, without a trailing slash.
    pub(crate) fn new(folder: &Path, url: &str) -> Self {
        let folder = folder.join("acme");
        for name in ["AcmeRegistry", "AcmeGreeter.jl", "Platform"] {
            fs::create_dir_all(folder.join(name)).unwrap();
            git(&folder.join(name), &["init", "--quiet", "-b", "main"]);
            git(&folder.join(name), &["config", "uploadpack.allowFilter", "true"]);
        }
        let acme = |uuid: &str, tree| Resource::Package { uuid: uuid.parse().unwrap(), tree };
        let greeter = write(
            &folder.join("AcmeGreeter.jl"),
            &[
                (
                    "Project.toml",
                    &format!(
                        "name = \"AcmeGreeter\"\nuuid = \"{GREETER}\"\nversion = \"0.1.0\"\n\n[deps]\nGreeting = \"{GREETING}\"\n"
                    ),
                ),
                (
                    "src/AcmeGreeter.jl",
                    "module AcmeGreeter\nusing Greeting\ngreet() = \"Acme says: \" * Greeting.greet()\nend\n",
                ),
                // Neither may change what is packed.
                (".gitattributes", "src export-ignore\n*.jl eol=crlf text\n"),
            ],
        );
        let tools = [
            ("README.md", "The platform.\n"),
            ("lib/AcmeTools/Project.toml", &format!("name = \"AcmeTools\"\nuuid = \"{TOOLS}\"\nversion = \"1.0.0\"\n")),
            ("lib/AcmeTools/src/AcmeTools.jl", "module AcmeTools\nanswer() = 42\nend\n"),
        ];
        write(&folder.join("Platform"), &tools);
        let tools = tree(&folder.join("Platform"), "HEAD:lib/AcmeTools");
        git(&folder.join("Platform"), &["tag", "AcmeTools-v1.0.0"]);
        let made = Self { greeter: acme(GREETER, greeter), tools: acme(TOOLS, tools), folder };
        made.register(url);
        made
    }

    fn register(&self, url: &str) {
        let package = |name: &str, uuid: &str, rest: &str| format!("name = \"{name}\"\nuuid = \"{uuid}\"\n{rest}");
        let versions = |version: &str, tree: TreeHash| format!("[\"{version}\"]\ngit-tree-sha1 = \"{tree}\"\n");
        write(
            &self.folder.join("AcmeRegistry"),
            &[
                (
                    "Registry.toml",
                    &format!(
                        "name = \"AcmeRegistry\"\nuuid = \"{REGISTRY}\"\nrepo = \"{url}/AcmeRegistry\"\n\n[packages]\n\
                         {GREETER} = {{ name = \"AcmeGreeter\", path = \"A/AcmeGreeter\" }}\n\
                         {TOOLS} = {{ name = \"AcmeTools\", path = \"A/AcmeTools\" }}\n"
                    ),
                ),
                (
                    "A/AcmeGreeter/Package.toml",
                    &package("AcmeGreeter", GREETER, &format!("repo = \"{url}/AcmeGreeter.jl\"\n")),
                ),
                ("A/AcmeGreeter/Versions.toml", &versions("0.1.0", self.greeter.tree())),
                ("A/AcmeGreeter/Deps.toml", &format!("[0]\nGreeting = \"{GREETING}\"\n")),
                ("A/AcmeGreeter/Compat.toml", "[0]\nGreeting = \"1.1\"\njulia = \"1\"\n"),
                // Beside the registry, wherever that is.
                (
                    "A/AcmeTools/Package.toml",
                    &package("AcmeTools", TOOLS, "repo = \"../Platform\"\nsubdir = \"lib/AcmeTools\"\n"),
                ),
                ("A/AcmeTools/Versions.toml", &versions("1.0.0", self.tools.tree())),
            ],
        );
    }

    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The registry as its branch is now.
    pub(crate) fn registry(&self) -> Resource {
        Resource::Registry { uuid: uuid(REGISTRY), tree: tree(&self.work("AcmeRegistry"), "HEAD^{tree}") }
    }

    /// Changes the registry, and returns it as it is now.
    pub(crate) fn change_registry(&self, text: &str) -> Resource {
        write(&self.work("AcmeRegistry"), &[("README.md", text)]);
        self.registry()
    }

    /// Over the files of this machine.
    pub(crate) fn file_url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    /// The configuration of a mirror with this registry at a base address.
    pub(crate) fn config(url: &str) -> String {
        format!("[[registry]]\ngit = \"{url}/AcmeRegistry\"\n")
    }
}

pub(crate) fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

/// Writes and commits files, and returns the tree of the whole.
pub(crate) fn write(work: &Path, files: &[(&str, &str)]) -> TreeHash {
    for (path, content) in files {
        fs::create_dir_all(work.join(path).parent().unwrap()).unwrap();
        fs::write(work.join(path), content).unwrap();
    }
    git(work, &["add", "--all", "."]);
    git(work, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    tree(work, "HEAD^{tree}")
}

pub(crate) fn tree(work: &Path, name: &str) -> TreeHash {
    git(work, &["rev-parse", name]).trim().parse().unwrap()
}

/// Runs git as nobody in particular.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "core.autocrlf=false"]).args(arguments).current_dir(folder).stdin(Stdio::null());
    for (name, value) in [("NAME", "a"), ("EMAIL", "a@example.org"), ("DATE", "2020-01-01T00:00:00Z")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `git daemon` for the repositories of a folder, on a port that the system picks. It ends with the
/// process of the tests.
pub(crate) struct GitDaemon {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl GitDaemon {
    pub(crate) fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (folder, count) = (folder.to_owned(), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), base) = (stream, format!("--base-path={}", folder.display())) else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let into = std::os::fd::OwnedFd::from(stream.try_clone().unwrap());
                let out = std::os::fd::OwnedFd::from(stream);
                let mut daemon = Command::new("git");
                daemon.args(["daemon", "--inetd", "--export-all", "--informative-errors", &base]);
                daemon.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
                daemon.stdin(Stdio::from(into)).stdout(Stdio::from(out)).stderr(Stdio::null());
                let mut daemon = daemon.spawn().unwrap();
                std::thread::spawn(move || daemon.wait());
            }
        });
        Self { address, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("git://{}", self.address)
    }

    /// How often it was asked.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
