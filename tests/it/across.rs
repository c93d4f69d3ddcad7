//! The whole loop over the gap, with Julia's own Pkg inside, on a network that drops every packet:
//! by bundle, by request and bundle, and by rsync.

use crate::binary::{command, run, said, stdout};
use crate::closed_network::in_a_black_hole;
use crate::julia_client::julia;
use crate::support::{LONG, Scene, skip};
use fs_err as fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub(crate) const RSYNC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rsync-cache.sh");
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");
/// Of this manifest `DelimitedFiles` is a standard library, so it does not cross.
const OLD_DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo/julia-1.5");
/// `wick` of Lantern for x86_64-linux-gnu.
const WICKS: [&str; 2] = ["9657a5694f240e487bf39033d78398de47a04754", "121ed6ebe0a0e4ac4c0894a2b0a10d315dbd7db4"];

/// `pkg NAME CODE` runs Julia code in a depot NAME, and keeps what it said in `NAME.said`.
pub(crate) const PKG: &str = r#"
    export JULIA_PKG_SERVER=$server HOME=$PWD
    pkg() {
        JULIA_DEPOT_PATH="$PWD/$1" "$JULIA" --startup-file=no -e "using Pkg; $2" > "$1.said" 2>&1
    }
    must() { pkg "$@" || { cat "$1.said"; exit 40; }; }
    refused() { # NAME CODE WORDS
        pkg "$1" "$2" && { echo "it worked: $2"; exit 41; }
        grep -qi "$3" "$1.said" || { cat "$1.said"; exit 42; }
    }
"#;

/// Runs the binary outside, where the upstream is, with the exit code that it must have.
pub(crate) async fn outside(scene: &Scene, code: i32, arguments: &[&str]) -> String {
    let output = command(scene.folder.path()).args(arguments).output();
    let output = tokio::time::timeout(LONG, output).await.unwrap().unwrap();
    assert_eq!(said(&output).0, Some(code), "{arguments:?}: {} {}", stdout(&output), said(&output).1);
    stdout(&output) + &said(&output).1
}

/// A manifest that wants Pebble 2.0.0, which did not cross.
fn lay_out_pebbles(folder: &Path) {
    let uuid = "354e2ac8-8ada-4e21-9862-af9efd059799";
    fs::create_dir_all(folder.join("pebbles")).unwrap();
    fs::write(folder.join("pebbles/Project.toml"), format!("[deps]\nPebble = \"{uuid}\"\n")).unwrap();
    let entry = format!(
        "[[Pebble]]\ngit-tree-sha1 = \"7de555b6f7fca89164e0a8064376e0fe209d3ed0\"\nuuid = \"{uuid}\"\nversion = \"2.0.0\"\n"
    );
    fs::write(folder.join("pebbles/Manifest.toml"), entry).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn by_bundle_what_crossed_installs_what_did_not_is_asked_for_and_then_installs_too() {
    let Some(julia) = julia("the whole loop by bundle") else { return };
    let julia = julia.display().to_string();
    let is_old = String::from_utf8(std::process::Command::new(&julia).arg("--version").output().unwrap().stdout)
        .unwrap()
        .contains("version 1.5");
    let scene = Scene::new().await;
    let (folder, upstream) = (scene.folder.path(), scene.upstream.url());
    let linux = ["--platform", "x86_64-linux-gnu"];
    outside(&scene, 0, &["prewarm", "--upstream", &upstream, linux[0], linux[1], OLD_DEMO]).await;
    outside(&scene, 0, &["bundle", "export", "one.tar", "--to", "lab"]).await;
    lay_out_pebbles(folder);

    let script = format!(
        r#"
        export AIRLOCK_CACHE=inside
        "$0" bundle import one.tar > imported || exit 30
        serve --offline
        {PKG}
        begun=$(date +%s)
        must added 'Pkg.add("Greeting"); using Greeting; println(Greeting.greet())'
        grep -q 'Good evening' added.said || exit 31 # 1.1.0; the newest that is registered is 1.2.0
        took=$(( $(date +%s) - begun ))
        begun=$(date +%s)
        refused absent 'Pkg.add("Faraway")' 'could not be resolved\|not found in'
        refused version 'Pkg.add(PackageSpec(name = "Greeting", version = "1.2.0"))' 'unsatisfiable'
        # It builds on a standard library of 1.5 that is not here: elsewhere the resolver must say so.
        if [ "$OLD" = true ]; then
            must lantern 'Pkg.add("Lantern"); using Lantern'
        else
            refused lantern 'Pkg.add("Lantern")' 'unsatisfiable'
        fi
        refused pebbles 'Pkg.activate("pebbles"); Pkg.instantiate()' 'Pebble'
        # Five commands; any one that waited for the dead network would take 30 s and more by itself.
        echo "one that succeeds: $took s; five others: $(( $(date +%s) - begun )) s"
        [ $(( $(date +%s) - begun )) -lt $(( 5 * took + 25 )) ] || exit 32
        rm inside/artifact/{} inside/artifact/{}
        kill -HUP $serving
        until grep -q 'lists only what is here now' log; do kill -0 $serving || exit 33; done
        refused incomplete 'Pkg.add("Lantern")' 'unsatisfiable'
        kill $serving
        wait $serving
        "$0" request add Faraway || exit 34
        "$0" request export request.json || exit 35
    "#,
        WICKS[0], WICKS[1]
    );
    let old = is_old.to_string();
    let environment = [("JULIA", julia.as_str()), ("OLD", old.as_str())];
    let Some(output) = in_a_black_hole(&scene, "the whole loop by bundle", &environment, &script).await else { return };
    assert_eq!(said(&output).0, Some(0), "{} {}", stdout(&output), said(&output).1);
    assert!(stdout(&output).contains("one that succeeds"));

    let request = fs::read_to_string(folder.join("request.json")).unwrap();
    for wanted in ["7de555b6f7fca89164e0a8064376e0fe209d3ed0", "Faraway", "\"1.5"] {
        assert!(request.contains(wanted) || (wanted == "\"1.5" && !is_old), "{wanted}: {request}");
    }
    let said_outside =
        outside(&scene, 0, &["bundle", "export", "two.tar", "--for", "request.json", "--upstream", &upstream, DEMO])
            .await;
    assert!(said_outside.contains("wrote two.tar"), "{said_outside}");
    let script = format!(
        r#"
        export AIRLOCK_CACHE=inside
        "$0" bundle import two.tar > imported || exit 30
        serve --offline
        {PKG}
        must pebbles 'Pkg.activate("pebbles"); Pkg.instantiate(); using Pebble'
        must absent 'Pkg.add("Faraway"); using Faraway'
        must incomplete 'Pkg.add("Lantern"); using Lantern'
    "#
    );
    let Some(output) = in_a_black_hole(&scene, "the whole loop by bundle", &environment, &script).await else { return };
    assert_eq!(said(&output).0, Some(0), "{} {}", stdout(&output), said(&output).1);
    let check = run(folder, &["check", "--cache", "inside", "--platform", "x86_64-linux-gnu", DEMO]).await;
    assert_eq!(said(&check).0, Some(0), "{} {}", stdout(&check), said(&check).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_rsync_cut_in_the_middle_and_run_again() {
    let Some(julia) = julia("the whole loop by rsync") else { return };
    if std::process::Command::new("rsync").arg("--version").output().is_err() {
        skip("rsync: the whole loop by rsync");
        return;
    }
    let scene = Scene::new().await;
    let (folder, upstream) = (scene.folder.path(), scene.upstream.url());
    outside(&scene, 0, &["prewarm", "--upstream", &upstream, "--platform", "x86_64-linux-gnu", DEMO]).await;
    // Killed after the second of the four calls of rsync: the resources have crossed, no listing.
    fs::create_dir_all(folder.join("bin")).unwrap();
    let cut =
        "#!/bin/sh\nPATH=${PATH#*:} command rsync \"$@\"\necho >> calls\n[ $(wc -l < calls) -lt 2 ] || kill -9 $PPID\n";
    fs::write(folder.join("bin/rsync"), cut).unwrap();
    fs::set_permissions(folder.join("bin/rsync"), PermissionsExt::from_mode(0o755)).unwrap();
    let real = std::env::var_os("PATH").unwrap().into_string().unwrap();
    let copy = |path: String| {
        let mut copy = tokio::process::Command::new(RSYNC);
        copy.args(["cache", "inside"]).current_dir(folder).env("PATH", path).env("TMPDIR", folder);
        async move { tokio::time::timeout(LONG, copy.output()).await.unwrap().unwrap() }
    };
    let killed = copy(format!("{}:{real}", folder.join("bin").display())).await;
    assert!(!killed.status.success() && !folder.join("inside/registries").exists(), "{}", said(&killed).1);
    assert!(folder.join("inside/package").exists(), "it was cut too early to show anything");
    let whole = copy(real).await;
    assert!(whole.status.success(), "{}", said(&whole).1);

    let script = format!(
        r#"
        export AIRLOCK_CACHE=inside
        serve --offline
        until grep -q 'lists only what is here now' log; do kill -0 $serving || exit 33; done
        {PKG}
        must added 'Pkg.add("Greeting"); using Greeting; println(Greeting.greet())'
        grep -q 'Good evening' added.said || exit 31
        refused absent 'Pkg.add("Faraway")' 'could not be resolved\|not found in'
    "#
    );
    let julia = julia.display().to_string();
    let environment = [("JULIA", julia.as_str())];
    let Some(output) = in_a_black_hole(&scene, "the whole loop by rsync", &environment, &script).await else { return };
    assert_eq!(said(&output).0, Some(0), "{} {}", stdout(&output), said(&output).1);
}
