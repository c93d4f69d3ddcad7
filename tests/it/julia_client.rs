//! Julia's own Pkg against our server: the judge that counts.

use crate::binary::{Serving, command, run, stdout, wrapped};
use crate::support::{Airlock, LONG, Scene, skip};
use airlock::mirror::Patience;
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

/// A real Julia: named by `AIRLOCK_JULIA`, else on the PATH.
pub(crate) fn julia(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("AIRLOCK_JULIA").filter(|name| !name.is_empty()).map(PathBuf::from);
    let on_path = || {
        let folders = std::env::var_os("PATH")?;
        std::env::split_paths(&folders).map(|folder| folder.join("julia")).find(|file| file.is_file())
    };
    let found = named.or_else(on_path);
    if found.is_none() {
        skip(&format!("julia: {test}"));
    }
    found
}

/// Where Pkg runs: its depot is below this folder.
pub(crate) fn pkg(julia: &Path, folder: &Path, depot: &str, server: &str, code: &str) -> Command {
    let mut command = Command::new(julia);
    command
        .args(["--startup-file=no", "-e", code])
        .current_dir(folder)
        .env("JULIA_DEPOT_PATH", folder.join(depot))
        .env("JULIA_PKG_SERVER", server)
        .env_remove("JULIA_LOAD_PATH")
        .env_remove("JULIA_PROJECT")
        .kill_on_drop(true);
    command
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) async fn succeeds(mut command: Command) -> String {
    let output = tokio::time::timeout(LONG * 5, command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");

const ADD: &str = r#"
    using Pkg
    Pkg.add(PackageSpec(name = "Greeting", version = "1.1.0"))
    using Greeting
    println("GREETING: ", Greeting.greet())
"#;

const GREETING: &str = "GREETING: Good evening from the other side of the gap.";

/// Instantiates the demo's manifest for this Julia, and loads what has an artifact.
pub(crate) const INSTANTIATE: &str = r#"
    using Pkg
    Pkg.activate("project")
    Pkg.instantiate()
    using Lantern
    println("LANTERN: ", pathof(Lantern))
"#;

/// The demo's manifest that this Julia can read.
pub(crate) fn lay_out_project(folder: &Path, julia: &Path) {
    let version = std::process::Command::new(julia).arg("--version").output().unwrap().stdout;
    let old = String::from_utf8(version).unwrap().contains("version 1.5");
    let from = if old { Path::new(DEMO).join("julia-1.5") } else { Path::new(DEMO).to_owned() };
    fs_err::create_dir_all(folder.join("project")).unwrap();
    for file in ["Project.toml", "Manifest.toml"] {
        fs_err::copy(from.join(file), folder.join("project").join(file)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn add_and_instantiate_through_a_cold_server() {
    let Some(julia) = julia("add and instantiate through a cold server") else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let airlock = Airlock::start(&scene.online()).await;
    let said = succeeds(pkg(&julia, folder, "depot", &airlock.url(""), ADD)).await;
    assert!(said.contains(GREETING), "{said}");
    lay_out_project(folder, &julia);
    let said = succeeds(pkg(&julia, folder, "other-depot", &airlock.url(""), INSTANTIATE)).await;
    assert!(said.contains("LANTERN: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prewarmed_installs_without_any_network() {
    let Some(julia) = julia("install without any network") else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let mut prewarm = command(folder);
    prewarm.args(["prewarm", "--upstream", &scene.upstream.url(), DEMO]);
    succeeds(prewarm).await;
    lay_out_project(folder, &julia);
    // A namespace with nothing but loopback: whatever is fetched comes from the server in it.
    let script = r#"
        ip link set lo up || exit 77
        "$0" serve --offline --listen 127.0.0.1:8000 2> log &
        serving=$!
        trap 'kill $serving' EXIT
        until grep -q 'serving at' log; do kill -0 $serving || exit 20; done
        export JULIA_PKG_SERVER=http://127.0.0.1:8000
        JULIA_DEPOT_PATH=$PWD/depot "$JULIA" --startup-file=no -e "$ADD" || exit 21
        JULIA_DEPOT_PATH=$PWD/other-depot "$JULIA" --startup-file=no -e "$INSTANTIATE" || exit 22
    "#;
    let mut offline = wrapped(folder, &["unshare", "-n", "sh", "-c", script]);
    offline.env("JULIA", &julia).env("ADD", ADD).env("INSTANTIATE", INSTANTIATE);
    offline.env("HOME", folder);
    let output = tokio::time::timeout(LONG * 5, offline.output()).await.unwrap().unwrap();
    if output.status.code() == Some(77) || text(&output).contains("unshare failed") {
        skip("namespaces: install without any network");
        return;
    }
    let said = text(&output);
    assert!(output.status.success() && said.contains(GREETING) && said.contains("LANTERN: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_inside_is_exported_fetched_outside_and_then_installs() {
    let Some(julia) = julia("close the loop of a miss") else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let upstream = scene.upstream.url();
    // Inside is a cache that has the registry and nothing else.
    crate::support::mirror(&scene.online()).refresh_registries(Patience::prewarm(1)).await;
    // The full registry is shown: with the other one the client's own resolver would refuse, and
    // the server would never hear of it.
    let serve = |port: &str| {
        let mut serve = command(folder);
        serve.args(["serve", "--offline", "--view", "full", "--listen", &format!("127.0.0.1:{port}")]);
        Serving::start(serve)
    };
    let add = "using Pkg; Pkg.add(PackageSpec(name = \"Pebble\", version = \"1.1.0\")); using Pebble";
    let inside = serve("0").await;
    let port = inside.url.rsplit(':').next().unwrap().to_owned();
    let mut failing = pkg(&julia, folder, "depot", &inside.url, add);
    let failed = tokio::time::timeout(LONG * 5, failing.output()).await.unwrap().unwrap();
    assert!(!failed.status.success(), "it was not here: {}", text(&failed));
    assert!(inside.stop(rustix::process::Signal::TERM).await.success());

    let table = stdout(&run(folder, &["misses"]).await);
    assert!(table.contains("Pebble") && table.contains("1.1.0") && table.contains("offline"), "{table}");
    assert!(run(folder, &["misses", "export", "misses.txt"]).await.status.success());
    let fetched = run(folder, &["prewarm", "--upstream", &upstream, "misses.txt"]).await;
    assert!(fetched.status.success(), "{}", text(&fetched));

    let inside = serve(&port).await;
    succeeds(pkg(&julia, folder, "depot", &inside.url, add)).await;
    assert_eq!(stdout(&run(folder, &["misses"]).await), "", "what is here is no miss any more");
}

/// Tries to add what cannot be had, and says how that ended.
const ADD_WHAT_IS_THERE: &str = r#"
    using Pkg
    function try_add(spec...; more...)
        Pkg.activate(mktempdir())
        try
            Pkg.add(PackageSpec(spec...; more...))
            versions = [string(entry.name, " ", entry.version) for entry in values(Pkg.dependencies()) if entry.version !== nothing]
            println("ADDED ", join(sort(versions), ", "))
        catch error
            println("FAILED ", typeof(error), ": ", replace(sprint(showerror, error), r"\s+" => " "))
        end
    end
    try_add(name = "Greeting")
    try_add(name = "Faraway")
    try_add(name = "Greeting", version = "1.2.0")
    try_add(name = "Lantern")
    try_add(name = "Lantern", version = "0.2.0")
    try_add(name = "Pebble")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_resolver_sees_only_what_is_here() {
    let Some(julia) = julia("resolve to what is here") else { return };
    let folder = tempfile::tempdir().unwrap();
    // Lantern lacks an artifact, and of Pebble the newest is here too.
    let carried = ["General", "Greeting/1.1.0", "Greeting/1.0.0", "greeting-text-1", "Pebble/1.0.0", "Pebble/1.1.0"];
    crate::view::carry(folder.path(), &carried);
    crate::view::carry(folder.path(), &["Pebble/1.2.0", "Lantern/0.2.0", "DelimitedFiles/1.9.1"]);
    let airlock = Airlock::quiet(&crate::support::config(folder.path(), &[], "[view]\nplatform = ['host']")).await;
    airlock.mirror.rescan().await;
    let said = succeeds(pkg(&julia, folder.path(), "depot", &airlock.url(""), ADD_WHAT_IS_THERE)).await;
    let outcomes: Vec<_> =
        said.lines().filter(|line| line.starts_with("ADDED ") || line.starts_with("FAILED ")).collect();
    let [greeting, faraway, newest, lantern, exact, pebble] = outcomes[..] else { panic!("{said}") };
    // 1.2.0 did not cross; Pebble 1.2.0 did, but is yanked upstream.
    assert!(greeting.contains("Greeting 1.1.0") && greeting.contains("Pebble 1.1.0"), "{said}");
    assert!(faraway.contains("not found in project, manifest or registry"), "{said}");
    assert!(newest.contains("Unsatisfiable requirements"), "{said}");
    assert!(lantern.contains("Unsatisfiable requirements") && exact.contains("Unsatisfiable requirements"), "{said}");
    assert!(pebble.contains("Pebble 1.1.0"), "{said}");
    assert_eq!(airlock.mirror.all_misses().await.unwrap(), [], "nothing was asked for that is not here");

    // A manifest that names what lacks an artifact is still followed: the package is fetched, and
    // only the artifact is not to be had.
    lay_out_project(folder.path(), &julia);
    let mut instantiate = pkg(&julia, folder.path(), "depot", &airlock.url(""), INSTANTIATE);
    let output = tokio::time::timeout(LONG * 5, instantiate.output()).await.unwrap().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("wick"), "{said}");
    let installed = folder.path().join("depot/packages/Lantern");
    assert!(installed.is_dir(), "{said}");
}
