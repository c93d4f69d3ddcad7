//! The same registry, packages and bundles, whichever way they come.

use super::https::Manner;
use super::ssh::Sshd;
use super::{Outside, Way, run};
use crate::acme::{REGISTRY, TOOLS, git, uuid};
use crate::binary::{said, stdout};
use crate::support::LONG;
use airlock::protocol::{GENERAL, Listing, Resource};
use airlock::sample::Site;
use airlock::tree::TarEntry;
use fs_err as fs;
use serde_json::Value;
use std::path::Path;

const ADD: [&str; 8] =
    ["prewarm", "--json", "--add", "AcmeGreeter,AcmeTools", "--julia", "1.10", "--platform", "x86_64-linux-gnu"];

/// What the listing of a cache says of Acme's registry.
fn listed(outside: &Outside, cache: &str) -> Option<Resource> {
    let listing = fs::read_to_string(outside.path(cache).join("registries.eager")).unwrap();
    let tree = Listing::parse(&listing).unwrap().tree(uuid(REGISTRY))?;
    Some(Resource::Registry { uuid: uuid(REGISTRY), tree })
}

async fn update(outside: &Outside, cache: &str, way: &Way) {
    let output = run(outside.airlock(cache, &way.gitconfig, &["registries", "update"])).await;
    assert_eq!(said(&output).0, Some(0), "{} {}", said(&output).1, stdout(&output));
}

/// The registry and both packages come, with the bytes that they have over the files of this machine;
/// then the branch moves on, and back.
async fn gives_what_files_give(outside: &Outside, way: &Way) {
    for (cache, way) in [("by-file", &outside.by_file()), ("by-way", way)] {
        outside.configure(&way.url);
        let (code, report) = outside.report(cache, &way.gitconfig, &ADD).await;
        assert_eq!((code, &report["totals"]["failed"]), (Some(0), &0.into()), "{report:#}");
    }
    for resource in [outside.acme.registry(), outside.acme.greeter, outside.acme.tools] {
        let bytes = |cache: &str| fs::read(outside.path(cache).join(resource.relative_path())).unwrap();
        assert!(bytes("by-way") == bytes("by-file"), "{resource}");
    }
    let first = outside.acme.registry();
    assert_eq!(listed(outside, "by-way"), Some(first));
    let second = outside.acme.change_registry("second");
    update(outside, "by-way", way).await;
    assert_eq!(listed(outside, "by-way"), Some(second));
    git(&outside.acme.work("AcmeRegistry"), &["reset", "--quiet", "--hard", "HEAD~1"]);
    update(outside, "by-way", way).await;
    assert_eq!(listed(outside, "by-way"), Some(first));
}

/// A public registry names the repository of a package that no server has.
async fn falls_back(outside: &Outside, way: &Way) {
    let files = [
        (
            "Registry.toml",
            format!("name='General'\nuuid='{GENERAL}'\n[packages]\n{TOOLS}={{name='AcmeTools',path='T'}}\n"),
        ),
        (
            "T/Package.toml",
            format!("name='AcmeTools'\nuuid='{TOOLS}'\nrepo='{}/Platform'\nsubdir='lib/AcmeTools'\n", way.url),
        ),
        ("T/Versions.toml", format!("['1.0.0']\ngit-tree-sha1='{}'\n", outside.acme.tools.tree())),
    ];
    let mut site = Site::empty();
    site.add_registry(GENERAL, files.map(|(path, text)| TarEntry::file(path, text, false))).unwrap();
    let upstream = airlock::sample::SampleUpstream::start(site).await.unwrap();
    fs::write(outside.path("airlock.toml"), "").unwrap();
    let prewarm = ["prewarm", "--json", "--add", "AcmeTools", "--julia", "1.10"];
    let mut prewarm = outside.airlock_of(&upstream.url(), "by-fall-back", &way.gitconfig, &prewarm);
    let output = tokio::time::timeout(LONG, prewarm.output()).await.unwrap().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{:?}", said(&output)));
    let from = report["packages"][0]["from"].as_str().unwrap_or_else(|| panic!("{report:#}"));
    // Without the user.
    let (scheme, rest) = way.url.split_once("://").unwrap();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    assert_eq!(from, format!("{scheme}://{rest}/Platform"));
    assert!(outside.path("by-fall-back").join(outside.acme.tools.relative_path()).exists());
}

/// A manifest names a repository.
async fn is_mirrored_as_a_bundle(outside: &Outside, way: &Way) {
    let tree = outside.acme.greeter.tree();
    let manifest = format!(
        "[[AcmeGreeter]]\ngit-tree-sha1 = \"{tree}\"\nrepo-rev = \"main\"\nrepo-url = \"{}/AcmeGreeter.jl\"\n\
         uuid = \"{}\"\nversion = \"0.1.0\"\n",
        way.url,
        crate::acme::GREETER
    );
    fs::create_dir_all(outside.path("project")).unwrap();
    fs::write(outside.path("project/Manifest.toml"), manifest).unwrap();
    fs::write(outside.path("airlock.toml"), "").unwrap();
    let (code, report) = outside.report("by-git", &way.gitconfig, &["prewarm", "--json", "--git", "project"]).await;
    let repository = &report["repositories"][0];
    assert_eq!((code, repository["status"].as_str()), (Some(0), Some("fetched")), "{report:#}");
    let file = outside.path("by-git").join(repository["file"].as_str().unwrap());
    git(outside.scene.folder.path(), &["clone", "--quiet", &file.display().to_string(), "back"]);
    assert_eq!(crate::acme::tree(&outside.path("back"), "HEAD^{tree}"), tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_over_https_gives_what_files_give() {
    let outside = Outside::new().await;
    let (server, _authority, way) = outside.by_https().await;
    gives_what_files_give(&outside, &way).await;
    assert!(server.seen().iter().all(|seen| seen.protocol.as_deref() == Some("version=2")), "{:?}", server.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_over_ssh_gives_what_files_give() {
    let Some(sshd) = Sshd::start("a private registry over ssh").await else { return };
    let outside = Outside::new().await;
    gives_what_files_give(&outside, &outside.by_ssh(&sshd)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fall_back_goes_over_https() {
    let outside = Outside::new().await;
    let (_server, _authority, way) = outside.by_https().await;
    falls_back(&outside, &way).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fall_back_goes_over_ssh() {
    let Some(sshd) = Sshd::start("a fall-back over ssh").await else { return };
    let outside = Outside::new().await;
    falls_back(&outside, &outside.by_ssh(&sshd)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_mirrored_over_https() {
    let outside = Outside::new().await;
    let (_server, _authority, way) = outside.by_https().await;
    is_mirrored_as_a_bundle(&outside, &way).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_mirrored_over_ssh() {
    let Some(sshd) = Sshd::start("a repository as a bundle over ssh").await else { return };
    let outside = Outside::new().await;
    is_mirrored_as_a_bundle(&outside, &outside.by_ssh(&sshd)).await;
}

/// The blobs in the clone of a repository.
fn blobs(cache: &Path, name: &str) -> usize {
    let clones = fs::read_dir(cache.join(".airlock/clones")).unwrap().map(|entry| entry.unwrap().path());
    let clone = clones.into_iter().find(|path| path.is_dir() && path.display().to_string().contains(name)).unwrap();
    let all = git(&clone, &["cat-file", "--batch-check=%(objecttype)", "--batch-all-objects"]);
    all.lines().filter(|line| *line == "blob").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_only_the_wanted_files_come_where_the_server_can_do_that() {
    let outside = Outside::new().await;
    let (server, _authority, way) = outside.by_https().await;
    outside.configure(&way.url);
    // `Platform` has three files, two of them in the package.
    for (filters, manner, count) in
        [("true", Manner::Good, 2), ("false", Manner::Good, 3), ("true", Manner::Old, 3), ("false", Manner::Old, 3)]
    {
        for repository in ["AcmeRegistry", "AcmeGreeter.jl", "Platform"] {
            git(&outside.acme.work(repository), &["config", "uploadpack.allowFilter", filters]);
        }
        server.behave(manner.clone());
        let cache = format!("filters-{filters}-{manner:?}");
        let (code, report) = outside.report(&cache, &way.gitconfig, &ADD).await;
        assert_eq!(code, Some(0), "{cache}: {report:#}");
        assert!(outside.path(&cache).join(outside.acme.tools.relative_path()).exists(), "{cache}");
        assert_eq!(blobs(&outside.path(&cache), "platform"), count, "{cache}");
    }
}
