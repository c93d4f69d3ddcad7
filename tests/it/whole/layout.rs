//! The state of another version, half a state, and a cache that cannot be written.

use super::filled;
use crate::binary::{run, said, stdout, wrapped};
use crate::support::{LONG, skip};
use airlock::store::Store;
use fs_err as fs;

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_layout_is_refused_by_every_command_and_left_as_it_is() {
    let scene = filled().await;
    let state = scene.cache().join(".airlock");
    fs::write(state.join("format"), "2\n").unwrap();
    fs::write(state.join("made-by"), "airlock 7.0.0\n").unwrap();
    fs::remove_dir_all(state.join("wishes")).unwrap();
    for command in [&["status"][..], &["verify"], &["serve", "--offline", "--listen", "127.0.0.1:0"], &["gc"]] {
        let (code, told) = said(&run(scene.folder.path(), command).await);
        assert_eq!(code, Some(2), "{command:?}: {told}");
        assert!(told.contains("layout 2, made by airlock 7.0.0") && told.contains("use that version"), "{told}");
    }
    assert!(!state.join("wishes").exists(), "nothing of it is touched");
    fs::write(state.join("format"), "two").unwrap();
    let (code, told) = said(&run(scene.folder.path(), &["status"]).await);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains(".airlock/format says \"two\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_state_and_none_are_made_whole() {
    let scene = filled().await;
    let state = scene.cache().join(".airlock");
    let count = stdout(&run(scene.folder.path(), &["verify"]).await);
    for half in [
        &["format", "made-by"][..],
        &["facts", "locks", "tmp"],
        &["generations", "quarantine", "misses", "view", "first-seen", "format"],
    ] {
        for name in half {
            let path = state.join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        // What a killed process and a copy of a running cache leave.
        fs::create_dir_all(state.join("tmp/1-1")).unwrap();
        fs::write(state.join("tmp/1-1/0"), "half").unwrap();
        fs::write(state.join("tmp/1-1.lock"), "").unwrap();
        let output = run(scene.folder.path(), &["verify"]).await;
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), count.clone()), "{half:?}");
        assert_eq!(fs::read_dir(state.join("tmp")).unwrap().count(), 0);
    }
    fs::remove_dir_all(&state).unwrap();
    fs::create_dir(&state).unwrap();
    fs::write(state.join("format"), "").unwrap();
    assert_eq!(stdout(&run(scene.folder.path(), &["verify"]).await), count);
    assert_eq!(fs::read_to_string(state.join("format")).unwrap(), "1\n");
    assert!(Store::open(&scene.cache()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_on_a_read_only_disk_is_refused_with_what_to_do() {
    let scene = filled().await;
    let script = r#"
        mount --bind cache cache && mount -o remount,bind,ro cache || exit 77
        for command in status verify check; do "$0" $command; [ $? -eq 2 ] || exit 10; done
    "#;
    let mut command = wrapped(scene.folder.path(), &["unshare", "-m", "sh", "-c", script]);
    let output = tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap();
    let (code, told) = said(&output);
    if code == Some(77) || told.contains("unshare failed") {
        return skip("namespaces: a read-only cache");
    }
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told.matches("mount it writable, or copy the cache").count(), 2, "{told}");
}
