//! Julia's own Pkg against our server: the judge that counts.

use crate::support::{Airlock, Scene, skip};
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

/// A real Julia: named by `AIRLOCK_JULIA`, else on the PATH.
fn julia(test: &str) -> Option<PathBuf> {
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

/// Runs Pkg in its own depot. `wrapper` is a command to run Julia in, such as `unshare`.
async fn run(julia: &Path, depot: &Path, server: &str, wrapper: &[&str], code: &str) -> Output {
    let mut words = wrapper.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    words.extend([julia.to_string_lossy().into_owned(), "--startup-file=no".into(), "-e".into(), code.into()]);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("JULIA_DEPOT_PATH", depot)
        .env("JULIA_PKG_SERVER", server)
        .env("JULIA_PKG_PRECOMPILE_AUTO", "0")
        .env_remove("JULIA_LOAD_PATH")
        .env_remove("JULIA_PROJECT")
        .kill_on_drop(true);
    command.output().await.unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const ADD: &str = r#"
    using Pkg
    Pkg.add(PackageSpec(name = "Greeting", version = "1.1.0"))
    using Greeting
    println("GREETING: ", Greeting.greet())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn add_load_and_an_artifact_through_a_cold_server() {
    let Some(julia) = julia("add through a cold server") else { return };
    let scene = Scene::new().await;
    let airlock = Airlock::start(&scene.online()).await;
    let depot = scene.folder.path().join("depot");
    let output = run(&julia, &depot, &airlock.url(""), &[], ADD).await;
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("GREETING: Good evening from the other side of the gap."), "{}", text(&output));
}
