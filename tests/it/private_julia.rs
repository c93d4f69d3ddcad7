//! A private registry all the way: added online by Julia's own Pkg from git only, prewarmed, carried,
//! and installed on a network that drops every packet.

use crate::acme::{Acme, GREETER, GitDaemon, REGISTRY, TOOLS, git, tree, write};
use crate::across::{PKG, RSYNC, outside};
use crate::binary::{said, stdout};
use crate::closed_network::in_a_black_hole;
use crate::julia_client::{julia, pkg, text};
use crate::support::{Airlock, LONG, Scene, skip};
use airlock::mirror::Patience;
use fs_err as fs;
use std::fmt::Write as _;

const ADD: &str = r#"
    using Pkg
    Pkg.activate("project")
    Pkg.add(["AcmeGreeter", "AcmeTools"])
    using AcmeGreeter, AcmeTools
    println("ACME: ", AcmeGreeter.greet(), " ", AcmeTools.answer())
"#;

const ACME: &str = "Acme says: Good evening from the other side of the gap. 42";

#[tokio::test(flavor = "multi_thread")]
async fn a_private_package_is_added_online_prewarmed_carried_and_installed_offline() {
    let what = "a private registry across the gap";
    let Some(julia) = julia(what) else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let daemon = GitDaemon::start(&folder.join("acme"));
    Acme::new(folder, &daemon.url());
    let file = Acme::config(&daemon.url());

    // Online, with a cold cache.
    let airlock = Airlock::start(&scene.configured(&file)).await;
    assert_eq!(airlock.mirror.refresh_registries(Patience::prewarm(1)).await, []);
    let added = pkg(&julia, folder, "depot", &airlock.url(""), ADD).output();
    let added = tokio::time::timeout(LONG * 5, added).await.unwrap().unwrap();
    assert!(added.status.success() && text(&added).contains(ACME), "{}", text(&added));
    assert!(!folder.join("depot/clones").exists(), "the client cloned something itself");
    airlock.stop().await;
    let leaked = scene.upstream.requests().into_iter().map(|request| request.path);
    let leaked: Vec<_> = leaked.filter(|path| [REGISTRY, GREETER, TOOLS].iter().any(|it| path.contains(it))).collect();
    assert!(leaked.is_empty(), "{leaked:?}");

    // What its manifest names comes into another cache, and across.
    fs::write(folder.join("acme.toml"), &file).unwrap();
    let upstream = scene.upstream.url();
    let prewarm = ["prewarm", "--config", "acme.toml", "--cache", "outside", "--upstream", &upstream];
    outside(&scene, 0, &[&prewarm[..], &["--platform", "x86_64-linux-gnu", "project"]].concat()).await;
    outside(&scene, 0, &["bundle", "export", "--cache", "outside", "--to", "lab", "one.tar"]).await;
    outside(&scene, 0, &["bundle", "import", "--cache", "carried", "one.tar"]).await;
    let mut caches = "carried".to_owned();
    if std::process::Command::new("rsync").arg("--version").output().is_ok() {
        let copy = std::process::Command::new(RSYNC).args(["outside", "copied"]).current_dir(folder).output().unwrap();
        assert!(copy.status.success(), "{}", said(&copy).1);
        assert!(!folder.join("copied/.airlock/clones").exists(), "clones stay where they are");
        caches.push_str(" copied");
    } else {
        skip(&format!("rsync: {what}"));
    }

    // Inside: the manifest, and the package by name, which the resolver finds in what is here.
    let script = format!(
        r#"
        for cache in $CACHES; do
            export AIRLOCK_CACHE=$cache
            serve --offline
            # An import has made the view already.
            [ $cache = carried ] || until grep -q 'lists only what is here now' log; do kill -0 $serving || exit 33; done
            {PKG}
            must $cache-instantiated 'Pkg.activate("project"); Pkg.instantiate(); using AcmeGreeter, AcmeTools;
                println("ACME: ", AcmeGreeter.greet(), " ", AcmeTools.answer())'
            grep -q '{ACME}' $cache-instantiated.said || exit 31
            must $cache-added 'Pkg.add("AcmeGreeter"); using AcmeGreeter; println(AcmeGreeter.greet())'
            grep -q 'Acme says: Good evening' $cache-added.said || exit 32
            kill $serving
            wait $serving
        done
    "#
    );
    let julia = julia.display().to_string();
    let environment = [("JULIA", julia.as_str()), ("CACHES", caches.as_str())];
    let Some(output) = in_a_black_hole(&scene, what, &environment, &script).await else { return };
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert_eq!(said(&output).0, Some(0), "{} {} {log}", stdout(&output), said(&output).1);
}

const ALPHA: &str = "ac3e0000-0000-4000-8000-0000000000a1";
const BETA: &str = "ac3e0000-0000-4000-8000-0000000000b1";

/// One repository with two packages, each in a folder, and a registry that has some of its commits as versions.
struct Mono {
    folder: std::path::PathBuf,
    versions: String,
}

impl Mono {
    fn new(folder: &std::path::Path) -> Self {
        let folder = folder.join("mono");
        for name in ["Registry", "Mono"] {
            fs::create_dir_all(folder.join(name)).unwrap();
            git(&folder.join(name), &["init", "--quiet", "-b", "main"]);
        }
        let project =
            format!("name = \"MonoBeta\"\nuuid = \"{BETA}\"\nversion = \"1.0.0\"\n[deps]\nMonoAlpha = \"{ALPHA}\"\n");
        let source = "module MonoBeta\nimport MonoAlpha\nversion() = MonoAlpha.VERSION\nend\n";
        write(&folder.join("Mono"), &[("lib/Beta/Project.toml", &project), ("lib/Beta/src/MonoBeta.jl", source)]);
        let beta = tree(&folder.join("Mono"), "HEAD:lib/Beta");
        let registry = format!(
            "name = \"Mono\"\nuuid = \"{REGISTRY}\"\nrepo = \"https://git.invalid/Mono\"\n[packages]\n{ALPHA} = {{ name = \"MonoAlpha\", path = \"A\" }}\n\
             {BETA} = {{ name = \"MonoBeta\", path = \"B\" }}\n"
        );
        let package = |name: &str, uuid: &str, part: &str| {
            format!("name = \"{name}\"\nuuid = \"{uuid}\"\nrepo = \"../Mono\"\nsubdir = \"lib/{part}\"\n")
        };
        write(
            &folder.join("Registry"),
            &[
                ("Registry.toml", &registry),
                ("A/Package.toml", &package("MonoAlpha", ALPHA, "Alpha")),
                ("B/Package.toml", &package("MonoBeta", BETA, "Beta")),
                ("B/Versions.toml", &format!("[\"1.0.0\"]\ngit-tree-sha1 = \"{beta}\"\n")),
                ("B/Deps.toml", &format!("[1]\nMonoAlpha = \"{ALPHA}\"\n")),
            ],
        );
        Self { folder, versions: String::new() }
    }

    fn release(&mut self, version: &str, rest: &str) {
        let project = format!("name = \"MonoAlpha\"\nuuid = \"{ALPHA}\"\nversion = \"{version}\"\n");
        let source = format!("module MonoAlpha\nconst VERSION = \"{version}\"\nend\n");
        let work = self.folder.join("Mono");
        write(&work, &[("lib/Alpha/Project.toml", &project), ("lib/Alpha/src/MonoAlpha.jl", &source)]);
        let tree = tree(&work, "HEAD:lib/Alpha");
        write!(self.versions, "[\"{version}\"]\ngit-tree-sha1 = \"{tree}\"\n{rest}").unwrap();
        write(&self.folder.join("Registry"), &[("A/Versions.toml", &self.versions)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_comes_while_it_serves_a_yanked_one_does_not_and_an_old_one_stays() {
    let Some(julia) = julia("versions of private packages") else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let mut mono = Mono::new(folder);
    mono.release("0.1.0", "");
    mono.release("0.2.0", "yanked = true\n");
    let file = format!("[[registry]]\ngit = \"file://{}/Registry\"\n", mono.folder.display());
    let airlock = Airlock::start(&scene.configured(&file)).await;
    assert_eq!(airlock.mirror.refresh_registries(Patience::prewarm(1)).await, []);
    let runs = async |script: &str, says: &str| {
        let script = format!("using Pkg\n{script}\nusing MonoBeta\nprintln(\"MONO: \", MonoBeta.version())");
        let ran = pkg(&julia, folder, "depot", &airlock.url(""), &script).output();
        let ran = tokio::time::timeout(LONG * 5, ran).await.unwrap().unwrap();
        assert!(ran.status.success() && text(&ran).contains(&format!("MONO: {says}")), "{}", text(&ran));
    };
    runs("Pkg.activate(\"new\"); Pkg.add(\"MonoBeta\")", "0.1.0").await;
    mono.release("0.3.0", "");
    assert_eq!(airlock.mirror.refresh_registries(Patience::prewarm(1)).await, []);
    runs("Pkg.activate(\"new\"); Pkg.update()", "0.3.0").await;
    let old = "Pkg.activate(\"old\"); Pkg.add([PackageSpec(name=\"MonoAlpha\", version=\"0.1.0\"), PackageSpec(\"MonoBeta\")])";
    runs(old, "0.1.0").await;
    assert!(!folder.join("depot/clones").exists(), "the client cloned something itself");
    airlock.stop().await;
}
