//! The environment that was chosen, written down: our own reader and the real Pkg take it.

use super::by_name::by_name;
use super::{How, Outside, PLAIN, packages};
use crate::binary::{command, run, said, wrapped};
use crate::julia_client::{julia, text};
use crate::support::{LONG, Scene, skip};
use airlock::julia::{Manifest, Origin};
use airlock::prewarm::{ByName, ManifestFolder, Report};
use fs_err as fs;
use std::path::{Path, PathBuf};

fn writing(add: &[&str], julias: &[&str], folder: &Path, force: bool) -> ByName {
    let manifest = Some(ManifestFolder { folder: folder.to_owned(), force });
    ByName { manifest, ..by_name(add, julias) }
}

async fn write(outside: &Outside, add: &[&str], julias: &[&str]) -> (Report, PathBuf) {
    let folder = outside.folder.path().join("env");
    (outside.ask(writing(add, julias, &folder, false)).await, folder)
}

/// What a manifest has from registries, as `Name Version Tree`.
fn registered(manifest: &Path) -> Vec<String> {
    let manifest = Manifest::parse(&fs::read_to_string(manifest).unwrap()).unwrap();
    let tree = |origin: &Origin| match origin {
        Origin::Registered { tree } => Some(tree.to_string()),
        _ => None,
    };
    let line = |it: &airlock::julia::ManifestEntry| {
        Some(format!("{} {} {}", it.name, it.version.as_deref()?, tree(&it.origin)?))
    };
    manifest.entries.iter().filter_map(line).collect()
}

#[tokio::test]
async fn what_was_chosen_is_what_is_read_back() {
    let outside = Outside::new().await;
    let (report, folder) = write(&outside, &["Lantern", "Dates"], &["1.10"]).await;
    let wanted = |it: &airlock::prewarm::PackageReport| {
        format!("{} {} {}", it.name.as_deref().unwrap(), it.version.as_deref().unwrap(), it.tree)
    };
    assert_eq!(registered(&folder.join("Manifest.toml")), report.packages.iter().map(wanted).collect::<Vec<_>>());
    assert_eq!(report.solved[0].manifest, Some(folder.join("Manifest.toml")));
    let project = fs::read_to_string(folder.join("Project.toml")).unwrap();
    let dates = "Dates = \"ade2ca70-3891-5945-98fb-dc099432e06a\"";
    assert_eq!(project, format!("[deps]\n{dates}\nLantern = \"fff2ffb6-205e-47fd-a027-2d5bb7e8028c\"\n"));
    let again = outside.prewarm(&[&folder], How { offline: true, ..PLAIN }).await;
    assert_eq!((packages(&again), again.exit_code()), (packages(&report), 0), "prewarm takes what it wrote");
    assert!(again.inputs[0].warnings.is_empty());
}

#[tokio::test]
async fn each_of_several_julias_has_a_folder() {
    let outside = Outside::new().await;
    let (report, folder) = write(&outside, &["Lantern"], &["1.5.3", "1.10"]).await;
    assert_eq!((report.unwritten.as_ref(), report.exit_code()), (None, 0));
    let [old, new] =
        ["1.5.3", "1.10"].map(|julia| fs::read_to_string(folder.join(julia).join("Manifest.toml")).unwrap());
    assert!(old.contains("[[Lantern]]") && !old.contains("julia_version"), "{old}");
    assert!(new.contains("julia_version = \"1.10\"\nmanifest_format = \"2.0\"\n"), "{new}");
}

#[tokio::test]
async fn what_is_there_stays_there() {
    let outside = Outside::new().await;
    let (_, folder) = write(&outside, &["Pebble@1"], &["1.10"]).await;
    let manifest = folder.join("Manifest.toml");
    let before = fs::read(&manifest).unwrap();
    let (refused, _) = write(&outside, &["Pebble"], &["1.10"]).await;
    assert_eq!(refused.exit_code(), 1);
    assert_eq!(fs::read(&manifest).unwrap(), before);
    let forced = outside.ask(writing(&["Pebble"], &["1.10"], &folder, true)).await;
    assert_eq!((forced.exit_code(), registered(&manifest)[0].starts_with("Pebble 2.0.0")), (0, true));
    let other = outside.ask(writing(&["Greeting"], &["1.10"], &folder, true)).await;
    let why = format!(
        "no manifest is written: {} has Pebble, and Greeting was asked for",
        folder.join("Project.toml").display()
    );
    assert_eq!((other.unwritten, other.solved[0].manifest.clone()), (Some(why), None));
    assert!(registered(&manifest)[0].starts_with("Pebble 2.0.0"));
}

#[tokio::test]
async fn nothing_is_written_that_cannot_be_instantiated() {
    let outside = Outside::new().await;
    outside.upstream.remove(&super::package_path("Pebble/2.0.0"));
    let (report, folder) = write(&outside, &["Pebble"], &["1.10"]).await;
    assert_eq!((report.totals.failed, report.exit_code(), folder.exists()), (1, 1, false));
    assert!(report.unwritten.as_deref().unwrap().contains("not all that was wanted is here"));
    let outside = Outside::new().await;
    let folder = outside.folder.path().join("env");
    let dry = How { dry_run: true, ..PLAIN };
    outside.ask_with(&[], writing(&["Pebble"], &["1.10"], &folder, false), dry).await;
    assert!(!folder.exists(), "nor in a dry run");
}

#[tokio::test]
async fn the_manifest_of_the_only_project_is_written_beside_it() {
    let outside = Outside::new().await;
    let pebble = "[deps]\nPebble = '354e2ac8-8ada-4e21-9862-af9efd059799'\n[compat]\nPebble = '1'\n";
    let project = outside.file("App/Project.toml", pebble);
    let folder = project.parent().unwrap();
    let report = outside.ask_with(&[&project], writing(&[], &["1.10"], folder, false), PLAIN).await;
    assert_eq!((report.unwritten, fs::read_to_string(&project).unwrap().as_str()), (None, pebble));
    assert!(registered(&folder.join("Manifest.toml"))[0].starts_with("Pebble 1.1.0"));
    let other = outside.file("Other/Project.toml", pebble.replace("'1'", "'0.9'"));
    let report = outside.ask_with(&[], writing(&["Pebble"], &["1.10"], other.parent().unwrap(), false), PLAIN).await;
    assert!(report.unwritten.unwrap().contains("wants Pebble 0.9, and "));
    assert!(!other.with_file_name("Manifest.toml").exists(), "it would not be what the project asks for");
    let two = outside.file("B/Project.toml", pebble);
    let report = outside
        .ask_with(
            &[&two, &outside.file("C/Project.toml", pebble)],
            writing(&[], &["1.10"], two.parent().unwrap(), false),
            PLAIN,
        )
        .await;
    assert!(report.unwritten.unwrap().contains("one project"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_julia_instantiates_it_without_any_network() {
    let Some(julia) = julia("instantiate what was chosen") else { return };
    let version = std::process::Command::new(&julia).arg("--version").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap().trim().rsplit(' ').next().unwrap().to_owned();
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let upstream = scene.upstream.url();
    let arguments =
        ["prewarm", "--upstream", &upstream, "--add", "Lantern", "--julia", &version, "--write-manifest", "env"];
    let prewarmed = run(folder, &arguments).await;
    assert_eq!(said(&prewarmed).0, Some(0), "{}", text(&prewarmed));
    let before = fs::read_to_string(folder.join("env/Manifest.toml")).unwrap();
    let script = r#"
        ip link set lo up || exit 77
        "$0" serve --offline --listen 127.0.0.1:8000 2> log &
        serving=$!
        trap 'kill $serving' EXIT
        until grep -q 'serving at' log; do kill -0 $serving || exit 20; done
        export JULIA_PKG_SERVER=http://127.0.0.1:8000 JULIA_DEPOT_PATH=$PWD/depot
        "$JULIA" --startup-file=no --project=env -e "$CODE" || exit 21
    "#;
    let code = r#"using Pkg; Pkg.instantiate(); using Lantern
        for name in ("Lantern", "Greeting", "Pebble", "Faraway")
            entries = [entry for entry in values(Pkg.dependencies()) if entry.name == name]
            println("LOADED ", name, " ", only(entries).version)
        end"#;
    let mut offline = wrapped(folder, &["unshare", "-n", "sh", "-c", script]);
    offline.env("JULIA", &julia).env("CODE", code).env("HOME", folder);
    let output = tokio::time::timeout(LONG * 5, offline.output()).await.unwrap().unwrap();
    if output.status.code() == Some(77) || text(&output).contains("unshare failed") {
        skip("namespaces: instantiate what was chosen");
        return;
    }
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for loaded in ["Lantern 0.3.0", "Greeting 1.2.0", "Pebble 2.0.0", "Faraway 1.0.0"] {
        assert!(said.contains(&format!("LOADED {loaded}")), "{said}");
    }
    assert_eq!(fs::read_to_string(folder.join("env/Manifest.toml")).unwrap(), before, "Pkg had nothing to change");
}

#[tokio::test]
async fn the_command_line_refuses_what_makes_no_sense() {
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let upstream = scene.upstream.url();
    let refused = async |arguments: &[&str], words: &str| {
        let output = command(folder).args(["prewarm", "--upstream", &upstream]).args(arguments).output().await.unwrap();
        let (code, why) = said(&output);
        assert!(code == Some(2) && why.contains(words), "{arguments:?}: {code:?} {why}");
    };
    refused(&["--add", "Pebble"], "say with --julia").await;
    refused(&["--add", "Pebble", "--julia", "1.99"], "Julia 1.99 is not known here").await;
    refused(&["--add", "Pebble", "--julia", "latest"], "is not a version of Julia").await;
    refused(&["--add", "a b", "--julia", "1.10"], "is not the name of a package").await;
    refused(&["--registry", "General"], "--registry-all").await;
    refused(&["--julia", "1.10"], "required").await;
    refused(&["--registry-all", "--newest", "0"], "0").await;
    for of_many in [["--newest", "3"], ["--since", "2020-01-01"]] {
        refused(&[&["--add", "Pebble", "--julia", "1.10"], &of_many[..]].concat(), "--registry-all").await;
    }
    fs::create_dir(folder.join("rival")).unwrap();
    for (rival, julia) in [("Manifest-v1.11.toml", "1.11"), ("JuliaManifest.toml", "1.5")] {
        let rival = folder.join("rival").join(rival);
        fs::write(&rival, "").unwrap();
        let add = ["--add", "Pebble", "--julia", julia, "--write-manifest", "rival", "--force"];
        refused(&add, "Julia reads it instead").await;
        fs::remove_file(rival).unwrap();
    }
    fs::create_dir(folder.join("env")).unwrap();
    fs::write(folder.join("env/Manifest.toml"), "").unwrap();
    let add = ["--add", "Pebble", "--julia", "1.10", "--write-manifest", "env"];
    refused(&add, "env/Manifest.toml is there already; --force replaces it").await;
    assert_eq!(scene.upstream.requests().len(), 0, "nobody was asked");
}

#[tokio::test]
async fn a_dry_run_fetches_nothing_whatever_was_agreed_to() {
    let scene = Scene::new().await;
    let (folder, upstream) = (scene.folder.path(), scene.upstream.url());
    let prewarm = ["prewarm", "--upstream", &upstream];
    assert_eq!(said(&run(folder, &[&prewarm[..], &["--add", "Pebble", "--julia", "1.10"]].concat()).await).0, Some(0));
    let before = scene.upstream.requests().len();
    let output = run(folder, &[&prewarm[..], &["--registry-all", "--yes", "--dry-run"]].concat()).await;
    assert!(text(&output).contains("planned"), "{}", text(&output));
    assert_eq!(scene.upstream.requests().len(), before, "nobody was asked");
}

#[tokio::test]
async fn a_julia_that_is_named_twice_counts_once() {
    let scene = Scene::new().await;
    let (folder, upstream) = (scene.folder.path(), scene.upstream.url());
    let add = ["--add", "Pebble", "--julia", "1.10,1.10", "--write-manifest", "env"];
    let output = run(folder, &[&["prewarm", "--upstream", &upstream], &add[..]].concat()).await;
    assert_eq!(said(&output).0, Some(0), "{}", text(&output));
    assert!(folder.join("env/Manifest.toml").is_file(), "one Julia needs no folder of its own");
}

#[tokio::test]
async fn a_configured_julia_and_those_that_clients_run_count() {
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let upstream = scene.upstream.url();
    fs::write(folder.join("airlock.toml"), "[prewarm]\njulia = ['1.5']\n").unwrap();
    let add = ["prewarm", "--upstream", &upstream, "--add", "Lantern"];
    let table = text(&run(folder, &add).await);
    assert!(table.contains("chosen for --add, Julia 1.5:") && !table.contains("DelimitedFiles"), "{table}");
    fs::remove_file(folder.join("airlock.toml")).unwrap();
    fs::write(folder.join("cache/.airlock/julia-versions"), "1.5.3\n1.10.4\n9.9.9\n").unwrap();
    let table = text(&run(folder, &add).await);
    assert!(table.contains("chosen for --add, Julia 1.5.3, 1.10.4:"), "{table}");
    assert!(
        table.contains("PACKAGE         JULIA 1.5.3  JULIA 1.10.4\nDelimitedFiles  -            1.10.0\n"),
        "{table}"
    );
}

#[tokio::test]
async fn a_policy_and_the_time_when_something_was_first_seen_hold() {
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let upstream = scene.upstream.url();
    fs::write(folder.join("airlock.toml"), "[policy]\ndeny = ['Faraway']\n").unwrap();
    let prewarm = async |arguments: &[&str]| {
        let arguments: Vec<_> = ["prewarm", "--upstream", &upstream].iter().chain(arguments).copied().collect();
        text(&run(folder, &arguments).await)
    };
    let said = prewarm(&["--add", "Lantern", "--julia", "1.10"]).await;
    assert!(said.contains("Lantern         0.2.0") && !said.contains("Faraway"), "0.3.0 needs what is denied: {said}");
    let said = prewarm(&["--add", "Faraway", "--julia", "1.10"]).await;
    assert!(said.contains("error: --add for Julia 1.10: ") && said.contains("policy.deny"), "{said}");
    let said = prewarm(&["--registry-all", "--since", "2020-01-01"]).await;
    assert!(said.contains("13 versions of 4 packages"), "{said}");
    let said = prewarm(&["--registry-all", "--since", "2999-01-01"]).await;
    assert!(said.contains("0 versions of 0 packages"), "{said}");
}
