//! Packages from the repositories that registries name, and a closure that no server has.

use super::{World, artifact, artifacts_toml, prewarm, sha256, xz};
use airlock::julia::Manifest;
use airlock::mirror::{Mirror, Patience, Refusal};
use airlock::prewarm::{Request, Status};
use airlock::protocol::{GENERAL, Resource, TreeHash, Uuid};
use airlock::sample::Site;
use airlock::tree::TarEntry;
use fs_err as fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub(super) const UUID: &str = "7876af07-990d-54b4-ab0e-23690620f79a";
const ALWAYS: &str = "[fallback]\ngit = 'always'\n";

/// A git server with one repository, which has a package at its root and one in a folder.
pub(super) struct GitServer {
    folder: TempDir,
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl GitServer {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = folder.path().to_owned();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                let output = stream.try_clone().unwrap();
                let mut daemon = tokio::process::Command::new("git");
                daemon.args(["daemon", "--inetd", "--export-all"]).arg(format!("--base-path={}", base.display()));
                daemon.stdin(Stdio::from(OwnedFd::from(stream))).stdout(Stdio::from(OwnedFd::from(output)));
                let mut daemon = daemon.stderr(Stdio::null()).spawn().unwrap();
                tokio::spawn(async move { daemon.wait().await });
            }
        });
        let server = Self { folder, address, _serving: AbortOnDropHandle::new(serving) };
        fs::create_dir(server.work()).unwrap();
        server.git(&["init", "--quiet", "-b", "main"]);
        server.git(&["config", "uploadpack.allowFilter", "true"]);
        server.write("src/Origin.jl", "module Origin end\n");
        server.write("lib/Inner/src/Inner.jl", "module Inner end\n");
        server
    }

    fn work(&self) -> std::path::PathBuf {
        self.folder.path().join("Origin.jl")
    }

    pub(super) fn url(&self) -> String {
        format!("git://{}/Origin.jl/.git", self.address)
    }

    fn git(&self, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"];
        let mut git = Command::new("git");
        git.current_dir(self.work()).args(identity).args(arguments).env("GIT_CONFIG_NOSYSTEM", "1");
        let out = git.output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits all there is, tags it, and returns its tree.
    pub(super) fn release(&self, tag: &str) -> TreeHash {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", tag]);
        self.git(&["tag", "--force", tag]);
        self.tree(tag)
    }

    fn tree(&self, revision: &str) -> TreeHash {
        let revision = if revision.contains(':') { revision.to_owned() } else { format!("{revision}^{{tree}}") };
        self.git(&["rev-parse", &revision]).parse().unwrap()
    }
}

/// An upstream with nothing but a registry, which says that the package is in this repository.
pub(super) async fn world(url: &str, subdir: Option<&str>, version: &str, tree: TreeHash) -> World {
    let subdir = subdir.map(|subdir| format!("subdir = \"{subdir}\"\n")).unwrap_or_default();
    let files = [
        (
            "Registry.toml",
            format!("name='General'\nuuid='{GENERAL}'\n[packages]\n{UUID}={{name='Origin',path='O/Origin'}}\n"),
        ),
        ("O/Origin/Package.toml", format!("name='Origin'\nuuid='{UUID}'\nrepo='{url}'\n{subdir}")),
        ("O/Origin/Versions.toml", format!("[\"{version}\"]\ngit-tree-sha1 = '{tree}'\n")),
    ];
    let mut site = Site::empty();
    site.add_registry(GENERAL, files.map(|(path, text)| TarEntry::file(path, text, false))).unwrap();
    World::new(site).await
}

async fn with_registry(world: &World, more: &str) -> Arc<Mirror> {
    let mirror = world.mirror(more);
    let problems = mirror.refresh_registries(Patience::prewarm(1)).await;
    assert!(problems.is_empty(), "{problems:?}");
    mirror.load_names().await;
    mirror
}

fn package(tree: TreeHash) -> Resource {
    Resource::Package { uuid: UUID.parse::<Uuid>().unwrap(), tree }
}

/// Why a prewarm does not get the package.
async fn refused(world: &World, tree: TreeHash) -> String {
    let mirror = with_registry(world, "").await;
    let refusal = prewarm(&mirror, &package(tree)).await.unwrap_err();
    assert!(!mirror.store().has(&package(tree)));
    assert!(matches!(refusal, Refusal::Absent(_)), "{refusal}");
    refusal.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_comes_from_its_repository_by_its_tree() {
    let server = GitServer::start().await;
    let tree = server.release("v1.0.0");
    server.write("src/Origin.jl", "module Origin new() = 1 end\n");
    server.release("v1.1.0");
    let world = world(&server.url(), None, "1.0.0", tree).await;
    let mirror = with_registry(&world, "").await;
    assert_eq!(prewarm(&mirror, &package(tree)).await.unwrap(), Some(server.url()));
    assert!(mirror.store().has(&package(tree)));
    assert_eq!(world.upstream.gets(&package(tree).to_string()), 1, "the server is asked first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_in_a_folder_of_its_repository_comes_too() {
    let server = GitServer::start().await;
    server.release("Inner-v1.0.0");
    let tree = server.tree("main:lib/Inner");
    let world = world(&server.url(), Some("lib/Inner"), "1.0.0", tree).await;
    let mirror = with_registry(&world, "").await;
    assert_eq!(prewarm(&mirror, &package(tree)).await.unwrap(), Some(server.url()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_it_only_if_somebody_said_always() {
    let server = GitServer::start().await;
    let tree = server.release("v1.0.0");
    for (switch, has) in [("", false), (ALWAYS, true), ("[fallback]\ngit = 'never'\n", false)] {
        let world = world(&server.url(), None, "1.0.0", tree).await;
        let mirror = with_registry(&world, switch).await;
        let had = mirror.fetch(&package(tree), Patience::client(&world.config("").mirror)).await;
        assert_eq!(had.err(), (!has).then_some(Refusal::NotFound), "{switch}");
    }
    let world = world(&server.url(), None, "1.0.0", tree).await;
    let mirror = with_registry(&world, "[fallback]\ngit = 'never'\n").await;
    assert_eq!(prewarm(&mirror, &package(tree)).await.unwrap_err(), Refusal::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_tag_is_named() {
    let server = GitServer::start().await;
    let registered = server.release("v1.0.0");
    server.write("src/Origin.jl", "moved\n");
    server.git(&["add", "--all"]);
    server.git(&["commit", "--quiet", "--amend", "-m", "moved"]);
    server.git(&["tag", "--force", "v1.0.0"]);
    server.git(&["reflog", "expire", "--expire=now", "--all"]);
    server.git(&["gc", "--quiet", "--prune=now"]);
    let now = server.tree("v1.0.0");
    let world = world(&server.url(), None, "1.0.0", registered).await;
    let said = refused(&world, registered).await;
    let expected = format!("no upstream has it; git: tree {registered} is in no branch or tag of {}", server.url());
    assert!(said.starts_with(&expected) && said.contains("v1.0.0") && said.contains(&now.to_string()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_was_pushed_over_is_said_and_does_not_hang() {
    let server = GitServer::start().await;
    let registered = server.release("v1.0.0");
    server.git(&["tag", "--delete", "v1.0.0"]);
    server.git(&["checkout", "--quiet", "--orphan", "new"]);
    server.write("src/Origin.jl", "another history\n");
    server.git(&["add", "--all"]);
    server.git(&["commit", "--quiet", "-m", "new"]);
    server.git(&["branch", "--quiet", "-M", "new", "main"]);
    server.git(&["reflog", "expire", "--expire=now", "--all"]);
    server.git(&["gc", "--quiet", "--prune=now"]);
    let world = world(&server.url(), None, "1.0.0", registered).await;
    let said = refused(&world, registered).await;
    assert!(said.contains(&format!("tree {registered} is in no branch or tag of {}", server.url())), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_vanished_is_said() {
    let server = GitServer::start().await;
    let tree = server.release("v1.0.0");
    fs::remove_dir_all(server.work()).unwrap();
    let world = world(&server.url(), None, "1.0.0", tree).await;
    let said = refused(&world, tree).await;
    assert!(said.starts_with("no upstream has it; git: ") && said.contains(&server.url()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submodule_is_said() {
    let server = GitServer::start().await;
    server.release("v0.9.0");
    let inner = server.git(&["rev-parse", "HEAD"]);
    server.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{inner},deps/inner")]);
    server.git(&["commit", "--quiet", "-m", "submodule"]);
    let tree = server.tree("HEAD");
    let world = world(&server.url(), None, "1.0.0", tree).await;
    let said = refused(&world, tree).await;
    assert!(said.contains("\"deps/inner\" is a git submodule, which no tarball can carry"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_registry_must_not_name_a_folder_of_this_machine() {
    let server = GitServer::start().await;
    let tree = server.release("v1.0.0");
    for url in [format!("file://{}", server.work().display()), server.work().display().to_string()] {
        let world = world(&url, None, "1.0.0", tree).await;
        let said = refused(&world, tree).await;
        assert!(said.ends_with("a registry must not name a folder of this machine"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_no_server_has_comes_by_fall_backs_alone() {
    let (artifact_tree, plain) = artifact(100_000);
    let packed = xz(&plain);
    let server = GitServer::start().await;
    let (tree, world, file) = {
        let files = airlock::sample::SampleUpstream::start(Site::empty()).await.unwrap();
        let url = format!("{}/tool.tar.xz", files.url());
        files.put("/tool.tar.xz", packed.clone());
        server.write("Artifacts.toml", &artifacts_toml(artifact_tree, &[(&url, &sha256(&packed))]));
        let tree = server.release("v1.0.0");
        let world = world(&server.url(), None, "1.0.0", tree).await;
        (tree, World { files, ..world }, url)
    };
    let manifest = world.folder.path().join("Manifest.toml");
    let text = format!("[[Origin]]\nuuid = \"{UUID}\"\nversion = \"1.0.0\"\ngit-tree-sha1 = \"{tree}\"\n");
    assert_eq!(Manifest::parse(&text).unwrap().entries.len(), 1);
    fs::write(&manifest, text).unwrap();
    let report = run(&world, &manifest).await;
    assert_eq!((report.exit_code(), report.totals.fetched), (0, 3), "{report:#?}");
    assert_eq!(report.packages[0].from.as_deref(), Some(&*server.url()));
    assert_eq!((report.artifacts[0].from.as_deref(), report.artifacts[0].status), (Some(&*file), Status::Fetched));
    let again = run(&world, &manifest).await;
    assert_eq!((again.totals.cached, again.packages[0].from.as_deref()), (3, None));
    assert_eq!(world.files.gets("/tool.tar.xz"), 1);
}

async fn run(world: &World, manifest: &Path) -> airlock::prewarm::Report {
    let mut config = world.config("");
    config.prewarm.attempts = 1;
    let request = Request::new(vec![manifest.to_owned()], &config).unwrap();
    let mirror = crate::support::mirror(&config);
    let report = airlock::prewarm::run(Arc::clone(&mirror), request, &()).await;
    mirror.close().await;
    report
}
