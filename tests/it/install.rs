//! `scripts/install.sh`: everything in its place, an upgrade that keeps what somebody edited, and an end
//! that leaves nothing behind. Below a folder: the machine itself is not touched.

use crate::secrets::files;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CONFIGURATION: &str = "etc/airlock/airlock.toml";

fn install(root: &Path, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install.sh");
    let mut command = Command::new(script);
    command.args(["--binary", env!("CARGO_BIN_EXE_airlock"), "--root"]).arg(root).args(arguments);
    command.env_remove("AIRLOCK_CONFIG").output().unwrap()
}

fn installed(root: &Path, arguments: &[&str]) -> String {
    let output = install(root, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &said
}

/// Every file with its mode.
fn modes(root: &Path) -> BTreeMap<PathBuf, u32> {
    let of = |file: PathBuf| {
        let mode = fs_err::metadata(&file).unwrap().permissions().mode() & 0o7777;
        (file.strip_prefix(root).unwrap().to_owned(), mode)
    };
    files(root).into_iter().map(of).collect()
}

#[test]
fn everything_is_in_its_place() {
    let root = tempfile::tempdir().unwrap();
    let said = installed(root.path(), &[]);
    let modes = modes(root.path());
    for (file, mode) in [
        ("usr/local/bin/airlock", 0o755),
        ("usr/local/share/bash-completion/completions/airlock", 0o644),
        ("usr/local/share/zsh/site-functions/_airlock", 0o644),
        ("usr/local/share/fish/vendor_completions.d/airlock.fish", 0o644),
        ("usr/local/share/man/man1/airlock.1", 0o644),
        ("usr/local/share/man/man1/airlock-serve.1", 0o644),
        ("usr/local/share/man/man1/airlock-bundle-export.1", 0o644),
        ("usr/local/lib/systemd/system/airlock.service", 0o644),
        ("usr/local/share/airlock/installed", 0o644),
        (CONFIGURATION, 0o640),
        ("etc/airlock/airlock.toml.example", 0o640),
    ] {
        assert_eq!(modes.get(Path::new(file)), Some(&mode), "{file}");
    }
    assert!(modes.keys().all(|file| file.starts_with("usr/local") || file.starts_with("etc/airlock")), "{modes:?}");
    for (folder, mode) in [("etc/airlock", 0o750), ("var/lib/airlock", 0o2750), ("var/lib/airlock/cache", 0o2770)] {
        let found = fs_err::metadata(root.path().join(folder)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{folder}: {found:o}");
    }
    assert!(said.contains("no user is made below"), "{said}");
    let version = Command::new(root.path().join("usr/local/bin/airlock")).arg("--version").output().unwrap();
    assert_eq!(version.stdout, format!("airlock {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}

#[test]
fn the_configuration_is_the_example_for_the_cache_of_the_service() {
    let root = tempfile::tempdir().unwrap();
    installed(root.path(), &[]);
    let read = |file: &str| fs_err::read_to_string(root.path().join(file)).unwrap();
    let example = include_str!("../../airlock.example.toml");
    let expected = example.replace("\ncache = \"cache\"\n", "\ncache = \"/var/lib/airlock/cache\"\n");
    assert!(expected != example && read(CONFIGURATION) == expected);
    let settings = airlock::config::Settings::read(&root.path().join(CONFIGURATION)).unwrap();
    assert_eq!(settings.cache, Some(PathBuf::from("/var/lib/airlock/cache")));
    let unit = read("usr/local/lib/systemd/system/airlock.service");
    assert!(unit.contains("--config /etc/airlock/airlock.toml serve\n") && unit.contains("StateDirectory=airlock\n"));
}

#[test]
fn an_upgrade_keeps_what_was_edited_and_removes_what_is_no_more() {
    let root = tempfile::tempdir().unwrap();
    installed(root.path(), &[]);
    let before = modes(root.path());
    let at = |file: &str| root.path().join(file);
    fs_err::write(at(CONFIGURATION), "offline = true\n").unwrap();
    fs_err::write(at("usr/local/bin/airlock"), "an older one").unwrap();
    fs_err::write(at("etc/airlock/airlock.toml.example"), "an older one").unwrap();
    let stale = "usr/local/share/man/man1/airlock-no-more.1";
    fs_err::write(at(stale), "").unwrap();
    let list = at("usr/local/share/airlock/installed");
    let listed = fs_err::read_to_string(&list).unwrap();
    fs_err::write(&list, listed.clone() + &format!("f /{stale}\n")).unwrap();
    let said = installed(root.path(), &[]);
    assert!(said.contains("stays as it is"), "{said}");
    assert_eq!(fs_err::read_to_string(at(CONFIGURATION)).unwrap(), "offline = true\n");
    assert_eq!(fs_err::read_to_string(&list).unwrap(), listed);
    assert_eq!(modes(root.path()), before, "nothing else is there, and each with its mode");
    assert_ne!(fs_err::read(at("usr/local/bin/airlock")).unwrap(), b"an older one");
    assert_ne!(fs_err::read(at("etc/airlock/airlock.toml.example")).unwrap(), b"an older one");
}

#[test]
fn what_is_removed_is_all_but_the_configuration_and_the_cache_and_then_these_too() {
    let root = tempfile::tempdir().unwrap();
    let at = |file: &str| root.path().join(file);
    fs_err::create_dir_all(at("usr/local/bin")).unwrap();
    fs_err::write(at("usr/local/bin/other"), "somebody else's").unwrap();
    fs_err::create_dir_all(at("usr/local/share/man")).unwrap();
    installed(root.path(), &[]);
    installed(root.path(), &[]);
    fs_err::write(at("etc/airlock/dmz.token"), "word").unwrap();
    fs_err::write(at("var/lib/airlock/cache/registries"), "").unwrap();
    installed(root.path(), &["--uninstall"]);
    let left: Vec<_> = modes(root.path()).into_keys().collect();
    let expected = [CONFIGURATION, "etc/airlock/dmz.token", "usr/local/bin/other", "var/lib/airlock/cache/registries"];
    assert_eq!(left, expected.map(PathBuf::from));
    assert!(
        at("usr/local/share/man").is_dir() && !at("usr/local/share/fish").exists() && !at("usr/local/lib").exists()
    );
    installed(root.path(), &[]);
    installed(root.path(), &["--uninstall", "--purge"]);
    assert_eq!(modes(root.path()).into_keys().collect::<Vec<_>>(), [Path::new("usr/local/bin/other")]);
    assert!(!at("etc/airlock").exists() && !at("var/lib/airlock").exists());
}

#[test]
fn purged_at_once_nothing_is_left() {
    let root = tempfile::tempdir().unwrap();
    installed(root.path(), &["--prefix", "/opt/airlock"]);
    let unit = fs_err::read_to_string(root.path().join("etc/systemd/system/airlock.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/airlock/bin/airlock --config"), "{unit}");
    installed(root.path(), &["--prefix", "/opt/airlock", "--uninstall", "--purge"]);
    assert_eq!(fs_err::read_dir(root.path()).unwrap().count(), 0);
    // A second time there is nothing to do, and that is no error.
    assert!(installed(root.path(), &["--uninstall", "--purge"]).contains("nothing is installed"));
}

#[test]
fn a_dry_run_touches_nothing_and_names_every_file() {
    let root = tempfile::tempdir().unwrap();
    let said = installed(root.path(), &["--dry-run"]);
    assert_eq!(fs_err::read_dir(root.path()).unwrap().count(), 0, "{said}");
    installed(root.path(), &[]);
    let list = "usr/local/share/airlock/installed";
    let all: Vec<_> = modes(root.path()).into_keys().filter(|file| file != Path::new(list)).collect();
    for file in &all {
        assert!(said.contains(&format!("write {}\n", root.path().join(file).display())), "{}", file.display());
    }
    let before = modes(root.path());
    let said = installed(root.path(), &["--uninstall", "--purge", "--dry-run"]);
    assert_eq!(modes(root.path()), before);
    assert!(said.contains("rm -rf"), "{said}");
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is() {
    let root = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&["--purge"][..], 2),
        (&["--prefix", "usr"], 2),
        (&["--prefix"], 2),
        (&["--no-such"], 2),
        (&["--binary", "/nonexistent/airlock"], 1),
        (&["--binary", "/bin/false"], 1),
    ] {
        let output = install(root.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs_err::read_dir(root.path()).unwrap().count(), 0, "{arguments:?}");
    }
}
