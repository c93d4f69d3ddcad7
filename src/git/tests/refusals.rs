//! What cannot be had, and how that is said.

use super::{Bounds, Scene, Trust, git};
use crate::git::{GitError, Refs, Release};
use crate::protocol::TreeHash;
use crate::tree::Limits;
use fs_err as fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_mins(1);

#[test]
fn a_tree_that_is_nowhere_is_said_to_be_and_so_is_a_moved_tag() {
    let scene = Scene::new();
    scene.write("lib/A/a", "x");
    scene.commit();
    scene.git(&["tag", "A-v1.2.0"]);
    let (gone, release) =
        (TreeHash::from_bytes([7; 20]), Release { name: "A", version: "1.2.0", subdir: Some("lib/A") });
    let error = scene.clone().ensure_tree(gone, Some(release)).unwrap_err();
    let now = scene.tree("HEAD:lib/A");
    assert!(matches!(&error, GitError::NoTree { moved: Some(moved), .. } if moved.tree == now), "{error}");
    assert!(error.to_string().contains(&format!("tag A-v1.2.0 has tree {now} now")), "{error}");
    let unknown = Release { version: "1.3.0", ..release };
    let error = scene.clone().ensure_tree(gone, Some(unknown)).unwrap_err();
    assert!(matches!(error, GitError::NoTree { moved: None, .. }) && !error.is_passing(), "{error}");
    // A commit is no tree.
    let commit = scene.git(&["rev-parse", "HEAD"]).trim().parse().unwrap();
    assert!(matches!(scene.clone().ensure_tree(commit, None), Err(GitError::NoTree { .. })));
}

#[test]
fn a_repository_that_is_not_there_leaves_nothing_behind() {
    let scene = Scene::new();
    for url in [format!("{}-none", scene.url()), scene.folder.path().join("none").display().to_string()] {
        let clone = scene.clones.open(&url, Trust::Configured).unwrap();
        let error = clone.fetch(Refs::Heads).unwrap_err();
        assert!(matches!(error, GitError::NoRepository { .. }), "{error}");
        assert!(!clone.folder().exists() && !clone.folder().with_extension("new").exists());
    }
}

#[test]
fn nobody_there_is_told_from_nothing_there() {
    let scene = Scene::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["git", "http"] {
        let clone = scene.clones.open(&format!("{scheme}://{free}/x"), Trust::Named).unwrap();
        let error = clone.fetch(Refs::Heads).unwrap_err();
        assert!(matches!(error, GitError::Unreachable { .. }) && error.is_passing(), "{error}");
    }
}

#[test]
fn a_server_that_says_nothing_is_left_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let scene = Scene::with(Bounds { silence: Duration::from_millis(300), ..Bounds::default() });
    let clone = scene.clones.open(&format!("git://{}/x", silent.local_addr().unwrap()), Trust::Named).unwrap();
    let begun = Instant::now();
    let error = clone.fetch(Refs::Heads).unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }) && error.is_passing(), "{error}");
    assert!(begun.elapsed() < LONG);
}

#[cfg(target_os = "linux")]
#[test]
fn what_git_started_and_does_not_listen_ends_too() {
    let scene = Scene::with(Bounds { silence: Duration::from_millis(300), ..Bounds::default() });
    let clone = scene.clones.open("git://h.example/x", Trust::Named).unwrap();
    let (proxy, written) = (scene.folder.path().join("proxy"), scene.folder.path().join("pid"));
    let script = format!("#!/bin/sh\ntrap '' TERM\necho $$ > {}\nwhile :; do sleep 1; done\n", written.display());
    fs::write(&proxy, script).unwrap();
    fs::set_permissions(&proxy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    git(scene.folder.path(), &["init", "--quiet", "--bare", clone.folder().to_str().unwrap()]);
    git(clone.folder(), &["config", "core.gitProxy", proxy.to_str().unwrap()]);
    let error = clone.fetch(Refs::Heads).unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error}");
    let process = format!("/proc/{}/cmdline", fs::read_to_string(written).unwrap().trim());
    let begun = Instant::now();
    while fs::read(&process).is_ok_and(|line| !line.is_empty()) {
        assert!(begun.elapsed() < LONG, "it is still there");
        std::thread::yield_now();
    }
}

#[test]
fn dropping_the_clones_ends_what_they_wait_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let Scene { folder: _folder, clones } = Scene::new();
    let clone = clones.open(&format!("git://{}/x", silent.local_addr().unwrap()), Trust::Named).unwrap();
    let fetching = std::thread::spawn(move || clone.fetch(Refs::Heads));
    let _connection = silent.accept().unwrap();
    let begun = Instant::now();
    drop(clones);
    assert!(matches!(fetching.join().unwrap(), Err(GitError::Stopped)));
    assert!(begun.elapsed() < LONG);
}

#[test]
fn passwords_are_in_no_error_and_not_on_disk() {
    let scene = Scene::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let clone = scene.clones.open(&format!("http://user:hidden@{free}/x"), Trust::Named).unwrap();
    let error = clone.fetch(Refs::Heads).unwrap_err();
    assert!(!format!("{error} {error:?} {clone:?}").contains("hidden"), "{error:?} {clone:?}");
    scene.write("a", "x");
    scene.commit();
    let plain = scene.clone();
    plain.fetch(Refs::Heads).unwrap();
    let config = fs::read_to_string(plain.folder().join("config")).unwrap();
    assert!(!config.contains("url"), "the address does not get into the clone: {config}");
}

#[test]
fn a_submodule_is_named() {
    let scene = Scene::new();
    scene.write("deps/a", "x");
    scene.commit();
    let commit = scene.git(&["rev-parse", "HEAD"]);
    scene.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},deps/sub", commit.trim())]);
    scene.git(&["commit", "--quiet", "-m", "x"]);
    let tree = scene.tree("HEAD^{tree}");
    let clone = scene.clone();
    clone.ensure_tree(tree, None).unwrap();
    let error = clone.pack(tree, std::io::sink(), 6).unwrap_err();
    assert!(matches!(&error, GitError::Submodule { path } if path == "deps/sub"), "{error}");
}

/// Makes a tree object of these bytes, whatever git thinks of it.
fn raw_tree(scene: &Scene, body: &[u8]) -> TreeHash {
    let file = scene.folder.path().join("body");
    fs::write(&file, body).unwrap();
    let hash = |arguments: &[&str]| git(&scene.work(), &[arguments, &[file.to_str().unwrap()]].concat());
    let tree = hash(&["hash-object", "-t", "tree", "-w", "--literally"]);
    let commit = scene.git(&["commit-tree", tree.trim(), "-m", "x"]);
    scene.git(&["update-ref", "refs/heads/main", commit.trim()]);
    tree.trim().parse().unwrap()
}

#[test]
fn names_and_modes_that_no_client_would_unpack_are_refused() {
    for (mode, name, then) in [
        ("100644", "..", ""),
        ("100644", ".", ""),
        ("100644", "a/b", ""),
        ("100644", "", ""),
        ("100664", "a", ""),
        ("120000", "a", ""),
        ("100644", "b", "a"),
        ("100644", "a", "a"),
    ] {
        let scene = Scene::new();
        scene.write("x", "");
        scene.commit();
        let blob = scene.git(&["rev-parse", "HEAD:x"]);
        let oid = git2::Oid::from_str(blob.trim()).unwrap();
        let line = |name: &str| [format!("{mode} {name}\0").as_bytes(), oid.as_bytes()].concat();
        let mut body = line(name);
        if !then.is_empty() {
            body.extend(line(then));
        }
        let tree = raw_tree(&scene, &body);
        let clone = scene.clone();
        let packed = clone.ensure_tree(tree, None).and_then(|()| clone.pack(tree, std::io::sink(), 6));
        let error = packed.unwrap_err();
        // libgit2, or the git that sends them, refuses some before we do.
        assert!(
            matches!(
                &error,
                GitError::Entry { .. } | GitError::Broken { .. } | GitError::NoTree { .. } | GitError::Failed { .. }
            ),
            "{mode} {name:?} {then:?}: {error:?}"
        );
    }
}

#[test]
fn a_few_objects_that_describe_a_tree_without_end_are_refused() {
    let limits = Limits { entries: 1000, ..Limits::default() };
    let scene = Scene::with(Bounds { tree: limits, ..Bounds::default() });
    scene.write("x", "bomb");
    scene.commit();
    let mut below = git2::Oid::from_str(scene.git(&["rev-parse", "HEAD:x"]).trim()).unwrap();
    let mut tree = TreeHash::EMPTY;
    for level in 0..12 {
        let mode = if level == 0 { "100644" } else { "40000" };
        let body: Vec<u8> = ["a", "b", "c", "d", "e", "f", "g", "h"]
            .iter()
            .flat_map(|name| [format!("{mode} {name}\0").as_bytes(), below.as_bytes()].concat())
            .collect();
        tree = raw_tree(&scene, &body);
        below = git2::Oid::from_bytes(tree.as_bytes()).unwrap();
    }
    let clone = scene.clone();
    clone.ensure_tree(tree, None).unwrap();
    let begun = Instant::now();
    let error = clone.pack(tree, std::io::sink(), 1).unwrap_err();
    assert!(matches!(error, GitError::TooBig { what: "files", limit: 1000 }), "{error}");
    assert!(begun.elapsed() < LONG);
}

#[test]
fn a_file_that_does_not_fit_into_memory_is_refused() {
    let scene = Scene::with(Bounds { file: 10, ..Bounds::default() });
    scene.write("x", "0123456789a");
    let tree = scene.commit();
    let clone = scene.clone();
    clone.ensure_tree(tree, None).unwrap();
    let error = clone.pack(tree, std::io::sink(), 1).unwrap_err();
    assert!(matches!(error, GitError::TooBig { what: "bytes in a file", .. }), "{error}");
    assert!(matches!(clone.read_file(tree, "x"), Err(GitError::TooBig { .. })));
}

#[test]
fn an_empty_repository_has_no_branch() {
    let scene = Scene::new();
    let clone = scene.clone();
    clone.fetch(Refs::Heads).unwrap();
    let error = clone.head_tree(None).unwrap_err();
    assert!(error.to_string().contains("has no branch at all: it is empty, or"), "{error}");
    scene.write("a", "x");
    scene.commit();
    scene.git(&["checkout", "--quiet", "--orphan", "other"]);
    clone.fetch(Refs::Heads).unwrap();
    let error = clone.head_tree(None).unwrap_err();
    assert!(error.to_string().contains("has no branch that it points to: name one"), "{error}");
}

#[test]
fn hooks_of_the_machine_do_not_run() {
    let scene = Scene::new();
    scene.write("a", "x");
    scene.commit();
    let clone = scene.clone();
    clone.fetch(Refs::Heads).unwrap();
    let hook = clone.folder().join("hooks/reference-transaction");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    scene.write("a", "y");
    let tree = scene.commit();
    clone.ensure_tree(tree, None).unwrap();
}

/// Answers as servers do that want a password, until `count` requests have come. Returns what was
/// shown to it, and what the lists of processes had meanwhile.
#[cfg(target_os = "linux")]
fn wants_a_password(server: &TcpListener, count: usize) -> (Vec<String>, Vec<String>) {
    use std::io::{Read as _, Write as _};
    let (mut shown, mut processes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (mut connection, _) = server.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        shown.extend(request.lines().find_map(|line| line.strip_prefix("Authorization: ")).map(str::to_owned));
        let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let lines = all.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        processes.extend(lines.map(|line| String::from_utf8_lossy(&line).into_owned()));
        let head =
            "HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        connection.write_all(head.as_bytes()).unwrap();
    }
    (shown, processes)
}

#[cfg(target_os = "linux")]
#[test]
fn a_password_goes_to_the_server_and_into_no_list_of_processes() {
    // A user alone may be a token; without any password, not even an empty one, git does not come back.
    for (login, shown) in [
        ("some:very%2Dhidden-word", Some("Basic c29tZTp2ZXJ5LWhpZGRlbi13b3Jk")),
        ("hidden-word:", Some("Basic aGlkZGVuLXdvcmQ6")),
        ("hidden-word", None),
    ] {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let times = 1 + usize::from(shown.is_some());
        let asked = std::thread::spawn(move || wants_a_password(&server, times));
        let scene = Scene::new();
        let clone = scene.clones.open(&format!("http://{login}@{address}/x"), Trust::Configured).unwrap();
        let error = clone.fetch(Refs::Heads).unwrap_err();
        assert!(shown.is_none() || matches!(error, GitError::Refused { .. }), "{login}: {error}");
        assert!(!error.to_string().contains("hidden"), "{login}: {error}");
        let (sent, processes) = asked.join().unwrap();
        assert_eq!(sent, shown.into_iter().collect::<Vec<_>>(), "{login}");
        let at_work = processes.iter().any(|line| line.contains(&address.to_string()));
        assert!(at_work || shown.is_none(), "git was at work meanwhile");
        assert!(!processes.iter().any(|line| line.contains("hidden-word")), "{processes:?}");
    }
}

#[test]
fn a_folder_that_no_tree_can_have_is_not_there() {
    let scene = Scene::new();
    scene.write("lib/a", "x");
    let tree = scene.commit();
    scene.git(&["tag", "v1.0.0"]);
    let clone = scene.clone();
    clone.fetch(Refs::Heads).unwrap();
    clone.complete(tree).unwrap();
    for folder in ["lib\0", "\0", "lib/../lib", ".."] {
        assert_eq!(clone.tag_tree("v1.0.0", Some(folder)).unwrap(), None, "{folder:?}");
        assert_eq!(clone.read_file(tree, folder).unwrap(), None, "{folder:?}");
    }
}
