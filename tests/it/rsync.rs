//! `scripts/rsync-cache.sh`: the copy is right at any moment, cut anywhere, between any file
//! systems; and only resources and listings cross.
//!
//! A script named `rsync` stands before the real one on the `PATH`, so that things happen at a
//! known call: 1 takes the listings, 2 copies the resources, 3 the registries that the listings
//! name, 4 the listings. A remote side is a script in place of ssh, which can cut the line after
//! so many bytes.

use crate::binary::{run, said, stdout};
use crate::support::{Airlock, LONG, Scene, config, curl, mirror, skip};
use airlock::mirror::Patience;
use airlock::protocol::{Flavor, GENERAL, Kind, Resource};
use airlock::sample::Site;
use airlock::tree::TarEntry;
use fs_err as fs;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rsync-cache.sh");
/// Every call of rsync that one run makes.
const CALLS: usize = 4;

/// A filled source `cache` and a folder to work in.
struct Copy {
    scene: Scene,
    site: Site,
}

impl Copy {
    /// With a big artifact, so that a line can be cut in the middle of a file. `None` without rsync.
    async fn new(what: &str) -> Option<Self> {
        if Command::new("rsync").arg("--version").stdout(Stdio::null()).status().await.is_err() {
            skip(&format!("rsync: {what}"));
            return None;
        }
        let mut site = Site::sample().unwrap();
        site.add_artifact([TarEntry::file("noise", noise(1 << 20), false)]).unwrap();
        let scene = Scene::with(site.clone()).await;
        let mirror = mirror(&scene.online());
        mirror.refresh_registries(Patience::prewarm(1)).await;
        for resource in site.resources() {
            mirror.fetch(&resource, Patience::prewarm(1)).await.unwrap();
        }
        fs::create_dir(scene.folder.path().join("bin")).unwrap();
        Some(Self { scene, site })
    }

    fn folder(&self) -> &Path {
        self.scene.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A program that comes first on the script's `PATH`.
    fn program(&self, name: &str, text: &str) {
        let file = self.path("bin").join(name);
        fs::write(&file, format!("#!/usr/bin/env bash\n{text}")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// The remote shell: `host:path` is a path of this machine. `line` is what the bytes that go
    /// there pass through.
    fn remote_shell(&self, line: &str) {
        self.program("remote", &format!("shift\nexec sh -c \"$*\" < <({line})\n"));
    }

    /// After each call of rsync this runs; `$call` counts from 1, `$status` is what rsync said.
    fn after_each_call(&self, text: &str) {
        let real = "rsync() { PATH=${PATH#*:} command rsync \"$@\"; }";
        let count = "echo >> calls; call=$(wc -l < calls); status=0";
        self.program("rsync", &format!("{real}\n{count}\nrsync \"$@\" || status=$?\n{text}\nexit $status\n"));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = format!("{}:{}", self.path("bin").display(), path());
        let mut command = Command::new(SCRIPT);
        command.args(arguments).current_dir(self.folder()).env_clear().env("PATH", path);
        command.env("TMPDIR", self.folder()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Its own process group: a test may kill all of it.
        command.process_group(0).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let _ = fs::remove_file(self.path("calls"));
        tokio::time::timeout(LONG, self.command(arguments).output()).await.unwrap().unwrap()
    }

    async fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {:?}", said(&output));
        said(&output).1
    }

    async fn fails(&self, arguments: &[&str], code: i32, words: &str) {
        let (found, text) = said(&self.run(arguments).await);
        assert!(found == Some(code) && text.contains(words), "{arguments:?}: {found:?} {text}");
    }

    /// All resources and listings of the source are there, good, and an offline server serves all
    /// of them.
    async fn check_whole(&self, name: &str) {
        assert_eq!(crossing(&self.path(name)), crossing(&self.path("cache")), "{name}");
        let verified = run(self.folder(), &["verify", "--cache", name]).await;
        assert!(verified.status.success(), "{:?}", said(&verified));
        let airlock = Airlock::quiet(&config(&self.path(name), &[], "")).await;
        for resource in self.site.resources() {
            assert_eq!(airlock.get(&resource.to_string()).await.status(), 200, "{resource}");
        }
        assert_eq!(airlock.get("/registries").await.text().await.unwrap(), listing(&self.path("cache")));
    }

    /// Publishes the next state of "General" in the folder `next`, to be moved into the source.
    fn prepare_next(&self) -> Resource {
        let mut site = Site::empty();
        let toml = format!("name = \"General\"\nuuid = \"{GENERAL}\"\nrepo = \"next\"\n[packages]\n");
        let next = site.add_registry(GENERAL, [TarEntry::file("Registry.toml", toml, false)]).unwrap();
        for path in Flavor::ALL.map(|flavor| format!("/{}", flavor.file_name())).iter().chain([&next.to_string()]) {
            let to = self.path("next").join(&path[1..]);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, site.body(path).unwrap()).unwrap();
        }
        next
    }
}

fn path() -> String {
    std::env::var_os("PATH").unwrap().into_string().unwrap()
}

/// Passes on this many bytes, each as soon as it comes.
fn first(bytes: usize, then: &str) -> String {
    format!("dd bs=64k iflag=count_bytes count={bytes} status=none{then}")
}

/// Bytes that no compression makes small.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn listing(cache: &Path) -> String {
    fs::read_to_string(cache.join("registries")).unwrap()
}

/// Every file below a folder but `.airlock`, with its content.
fn files(cache: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(top: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            match fs::symlink_metadata(&path).unwrap() {
                metadata if metadata.is_dir() && name != ".airlock" => collect(top, &path, found),
                metadata if metadata.is_file() => drop(found.insert(name, fs::read(path).unwrap())),
                metadata if metadata.is_symlink() => drop(found.insert(name, b"a link".to_vec())),
                _ => {}
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(cache, cache, &mut found);
    found
}

/// What is a resource or a listing.
fn crossing(cache: &Path) -> BTreeMap<String, Vec<u8>> {
    let is_listing = |name: &str| Flavor::ALL.iter().any(|flavor| flavor.file_name() == name);
    let crosses = |name: &str| is_listing(name) || format!("/{name}").parse::<Resource>().is_ok();
    files(cache).into_iter().filter(|(name, _)| crosses(name)).collect()
}

/// Whether the listings on disk name only what is there, as any web server would show them.
fn check_listings(cache: &Path) {
    for flavor in Flavor::ALL {
        let Ok(text) = fs::read_to_string(cache.join(flavor.file_name())) else { continue };
        for line in text.lines() {
            assert!(cache.join(&line[1..]).is_file(), "{} names {line}", flavor.file_name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_crosses_and_nothing_else() {
    let Some(copy) = Copy::new("a full copy").await else { return };
    let (source, hash) = (copy.path("cache"), "00000000000000000000000000000000000000aa");
    let package = copy.site.resources().find(|resource| resource.kind() == Kind::Package).unwrap();
    let package_folder = source.join(package.relative_path()).parent().unwrap().to_owned();
    for name in ["README", ".hidden", "registries.old", "artifact/README", "package/x", "registry/x"] {
        fs::write(source.join(name), "foreign").unwrap();
    }
    for name in [format!(".{hash}.Xy12"), hash.to_uppercase(), format!("{hash}0"), "part".to_owned()] {
        fs::write(source.join("artifact").join(&name), "foreign").unwrap();
        fs::write(package_folder.join(&name), "foreign").unwrap();
    }
    for folder in [".rsync-partial", hash] {
        fs::create_dir_all(source.join("artifact").join(folder)).unwrap();
        fs::write(source.join("artifact").join(folder).join(hash), "foreign").unwrap();
    }
    fs::create_dir(source.join(".git")).unwrap();
    symlink("/etc/passwd", source.join("link")).unwrap();
    let text = copy.succeeds(&["cache", "copy"]).await;
    assert!(text.contains("done: ") && text.contains("SIGHUP"), "{text}");
    assert!(!copy.path("copy/.airlock").exists() && !copy.path("copy/artifact").join(hash).exists());
    assert_eq!(files(&copy.path("copy")), crossing(&source));
    copy.check_whole("copy").await;
    let again = copy.succeeds(&["cache/", "copy/"]).await;
    assert!(again.contains("done: 0 new files, 0 bytes"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_everything_and_changes_nothing() {
    let Some(copy) = Copy::new("a dry run").await else { return };
    let output = copy.run(&["--dry-run", "cache", "copy"]).await;
    assert!(output.status.success() && !copy.path("copy").exists(), "{:?}", said(&output));
    let mut named = stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>();
    named.sort();
    assert_eq!(named, crossing(&copy.path("cache")).into_keys().collect::<Vec<_>>());
    copy.succeeds(&["cache", "copy"]).await;
    assert_eq!(stdout(&copy.run(&["cache", "copy", "-n"]).await), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_2_and_changes_nothing() {
    let Some(copy) = Copy::new("wrong usage").await else { return };
    fs::create_dir(copy.path("empty")).unwrap();
    fs::write(copy.path("file"), "").unwrap();
    symlink("cache", copy.path("same")).unwrap();
    for (arguments, words) in [
        (&["cache"][..], "SRC and DST"),
        (&["cache", "copy", "more"], "SRC and DST"),
        (&["cache", ""], "must not be empty"),
        (&["--frobnicate", "cache", "copy"], "--frobnicate"),
        (&["--delete", "cache", "copy"], "airlock gc"),
        (&["cache", "copy", "--", "--delete-after"], "airlock gc"),
        (&["cache", "copy", "--", "--remove-source-files"], "would empty SRC"),
        (&["cache", "copy", "--", "--inplace"], "half a file"),
        (&["cache", "copy", "--", "--append-verify"], "half a file"),
        (&["cache", "copy", "--", "-vn"], "--dry-run comes before"),
        (&["here:a", "there:b"], "both be remote"),
        (&["rsync://here/a", "there::b"], "both be remote"),
        (&["none", "copy"], "none is no directory"),
        (&["empty", "copy"], "no cache directory"),
        (&["cache", "file"], "file is no directory"),
        (&["cache", "not/mounted"], "not/mounted is no directory"),
        (&["cache", "same/"], "the same directory"),
        (&["cache", "./cache/."], "the same directory"),
        (&["nowhere:cache", "copy", "--", "-e", "false"], "could not be read"),
    ] {
        copy.fails(arguments, 2, words).await;
        assert!(!copy.path("copy").exists() && !copy.path("not").exists(), "{arguments:?}");
    }
    let help = copy.run(&["--help"]).await;
    assert!(help.status.success() && stdout(&help).contains("Exit codes"), "{:?}", said(&help));
    let left = fs::read_dir(copy.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.starts_with("tmp.")), "it leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_it_harms_nothing_and_goes_on() {
    let Some(copy) = Copy::new("a kill between the steps").await else { return };
    for call in 1..=CALLS {
        let name = format!("copy{call}");
        copy.after_each_call(&format!("[ $call -ne {call} ] || kill -9 0"));
        let killed = copy.run(&["cache", &name]).await;
        assert_eq!(killed.status.code(), None, "{call}: {:?}", said(&killed));
        assert_eq!(copy.path(&name).join("registries").exists(), call == CALLS, "{call}");
        assert_eq!(copy.path(&name).join("artifact").exists(), call >= 2, "{call}");
        copy.after_each_call("");
        copy.succeeds(&["cache", &name]).await;
        assert_eq!(fs::read_to_string(copy.path("calls")).unwrap().lines().count(), CALLS);
        copy.check_whole(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_cut_after_any_number_of_bytes_harms_nothing_and_goes_on() {
    let Some(copy) = Copy::new("a cut line").await else { return };
    for (bytes, then) in
        [0, 200, 2_000, 5_000, 600_000].into_iter().flat_map(|bytes| [(bytes, ""), (bytes, "; kill -9 0")])
    {
        let name = format!("copy{bytes}{}", then.len());
        let arguments = ["cache", &format!("host:{}", copy.path(&name).display()), "--", "-e", "remote"];
        copy.remote_shell(&first(bytes, then));
        let cut = copy.run(&arguments).await;
        assert_eq!(cut.status.code(), then.is_empty().then_some(1), "{bytes}: {:?}", said(&cut));
        fs::create_dir_all(copy.path(&name)).unwrap();
        let (here, whole) = (crossing(&copy.path(&name)), crossing(&copy.path("cache")));
        assert!(here.iter().all(|(file, content)| whole[file] == *content), "{bytes}{then}: what can be seen is whole");
        assert!(!copy.path(&name).join("registries").exists(), "{bytes}{then}");
        copy.remote_shell("cat");
        copy.succeeds(&arguments).await;
        copy.check_whole(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_big_file_is_kept_out_of_sight_and_goes_on() {
    let Some(copy) = Copy::new("a cut file").await else { return };
    let big =
        copy.site.resources().max_by_key(|resource| copy.site.body(&resource.to_string()).unwrap().len()).unwrap();
    let arguments = ["cache", &format!("host:{}", copy.path("copy").display()), "--", "-e", "remote"];
    copy.remote_shell(&first(900_000, ""));
    copy.fails(&arguments, 1, "NOT complete").await;
    let partial = copy.path("copy/artifact/.rsync-partial").join(big.tree().to_string());
    let kept = fs::metadata(&partial).unwrap().len();
    // How much of it came before the cut depends on how full the pipes were.
    assert!(kept > 100_000, "{kept}");
    let airlock = Airlock::quiet(&config(&copy.path("copy"), &[], "")).await;
    assert_eq!(airlock.mirror.rescan().await.1, 0, "it is no damaged resource");
    assert_eq!(airlock.get(&big.to_string()).await.status(), 404);
    assert!(partial.exists());
    copy.remote_shell("tee -a sent");
    copy.succeeds(&arguments).await;
    let (sent, whole) = (
        fs::metadata(copy.path("sent")).unwrap().len(),
        fs::metadata(copy.path("cache").join(big.relative_path())).unwrap().len(),
    );
    assert!(sent < whole - kept / 2, "{sent} of {whole}, {kept} were kept");
    assert!(!partial.exists());
    copy.check_whole("copy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_publishes_meanwhile_is_copied_as_it_was() {
    let Some(copy) = Copy::new("a source that publishes").await else { return };
    let next = copy.prepare_next();
    let before = listing(&copy.path("cache"));
    // Pass 1 has seen the registries when the next one comes.
    for call in 1..=CALLS {
        let name = format!("copy{call}");
        fs::remove_file(copy.path("cache").join(next.relative_path())).ok();
        for flavor in Flavor::ALL {
            fs::write(copy.path("cache").join(flavor.file_name()), &before).unwrap();
        }
        copy.after_each_call(&format!("[ $call -ne {call} ] || cp -r next/. cache/"));
        copy.succeeds(&["cache", &name]).await;
        check_listings(&copy.path(&name));
        assert_eq!(listing(&copy.path(&name)), before, "{call}");
        copy.after_each_call("");
        copy.succeeds(&["cache", &name]).await;
        check_listings(&copy.path(&name));
        assert_eq!(listing(&copy.path(&name)), format!("{next}\n"), "{call}: as long as before, and as old perhaps");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_meanwhile_sees_no_listing_of_what_is_not_there() {
    let Some(copy) = Copy::new("a destination that is served").await else { return };
    copy.succeeds(&["cache", "copy"]).await;
    let next = copy.prepare_next();
    Command::new("cp").args(["-r", "next/.", "cache/"]).current_dir(copy.folder()).status().await.unwrap();
    let airlock = Airlock::start(&config(&copy.path("copy"), &[], "[view]\nshow = 'full'")).await;
    // As a client of the server, and as one of any web server that shows the directory.
    let look = r#"
        for flavor in registries registries.eager registries.conservative; do
            while read -r path; do
                [ -f "copy$path" ] || echo "after call $call the disk lacks $path" >> lacking
            done < copy/$flavor
            curl -sf "$SERVER/$flavor" > listed || echo "after call $call no $flavor" >> lacking
            while read -r path; do
                curl -sf -o /dev/null "$SERVER$path" || echo "after call $call the server lacks $path" >> lacking
            done < listed
            echo >> looks
        done
    "#;
    copy.after_each_call(&format!("SERVER={}\n{look}", airlock.url("")));
    copy.succeeds(&["cache", "copy"]).await;
    assert_eq!(fs::read_to_string(copy.path("lacking")).unwrap_or_default(), "");
    assert_eq!(fs::read_to_string(copy.path("looks")).unwrap().lines().count(), CALLS * Flavor::ALL.len());
    let (url, path) = (airlock.url("/registries"), airlock.url(&next.to_string()));
    assert_eq!(stdout(&curl(&[&url]).await), format!("{next}\n"), "without a signal");
    assert!(curl(&["--fail", "--output", "/dev/null", &path]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_come_keeps_the_listings_back() {
    let Some(copy) = Copy::new("failures of rsync").await else { return };
    for (status, words) in
        [(11, "no room"), (23, "names them above"), (24, "went away"), (30, "cut"), (255, "connection")]
    {
        for call in [2, 3] {
            copy.after_each_call(&format!("[ $call -ne {call} ] || status={status}; [ $call -lt 4 ] || status=99"));
            // The resources are tried again where one of them may be too large.
            if (status, call) == (11, 2) {
                copy.after_each_call("[ $call -ne 2 ] && [ $call -ne 3 ] || status=11");
            }
            copy.fails(&["cache", "copy"], 1, words).await;
            assert!(!copy.path("copy/registries").exists(), "{status} {call}");
        }
    }
    copy.after_each_call("");
    let registry = copy.site.resources().find(|resource| resource.kind() == Kind::Registry).unwrap();
    let tarball = registry.relative_path();
    fs::remove_file(copy.path("cache").join(&tarball)).unwrap();
    fs::remove_dir_all(copy.path("copy")).unwrap();
    copy.fails(&["cache", "copy"], 1, "not every registry").await;
    assert!(!copy.path("copy/registries").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_stays_and_what_was_damaged_comes_again() {
    let Some(copy) = Copy::new("a quarantined file").await else { return };
    copy.succeeds(&["cache", "copy"]).await;
    let damaged = copy.site.resources().find(|resource| resource.kind() == Kind::Artifact).unwrap().relative_path();
    fs::write(copy.path("copy").join(&damaged), "damaged").unwrap();
    copy.succeeds(&["cache", "copy"]).await;
    assert_eq!(fs::read(copy.path("copy").join(&damaged)).unwrap(), b"damaged", "nothing that is there is replaced");
    assert_eq!(run(copy.folder(), &["verify", "--cache", "copy"]).await.status.code(), Some(1));
    let text = copy.succeeds(&["cache", "copy"]).await;
    assert!(text.contains("done: 1 new files"), "{text}");
    copy.check_whole("copy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_may_be_remote_or_a_module_of_a_daemon() {
    let Some(copy) = Copy::new("remote sides").await else { return };
    copy.remote_shell("cat");
    let there = |name: &str| format!("host:{}", copy.path(name).display());
    copy.succeeds(&["cache", &there("pushed"), "--", "-e", "remote"]).await;
    copy.succeeds(&[&there("pushed"), "pulled", "--", "-e", "remote"]).await;
    copy.check_whole("pulled").await;
    fs::create_dir(copy.path("daemon")).unwrap();
    let module = format!(
        "use chroot = no\nread only = no\nuid = {0}\n[m]\npath = {1}\n",
        rustix::process::getuid().as_raw(),
        copy.folder().display()
    );
    fs::write(copy.path("rsyncd.conf"), module).unwrap();
    let daemon = format!("rsync --daemon --config={}", copy.path("rsyncd.conf").display());
    for arguments in [["pulled", "rsync://host/m/daemon"], ["host::m/daemon", "last/"]] {
        let mut command = copy.command(&arguments);
        let output =
            tokio::time::timeout(LONG, command.env("RSYNC_CONNECT_PROG", &daemon).output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{arguments:?}: {:?}", said(&output));
    }
    copy.check_whole("last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_spread_over_disks_by_links_crosses_and_stays_spread() {
    let Some(copy) = Copy::new("linked folders").await else { return };
    fs::rename(copy.path("cache/artifact"), copy.path("disk")).unwrap();
    symlink("../disk", copy.path("cache/artifact")).unwrap();
    fs::create_dir_all(copy.path("copy/disk")).unwrap();
    symlink("disk", copy.path("copy/artifact")).unwrap();
    copy.succeeds(&["cache", "copy"]).await;
    assert!(fs::symlink_metadata(copy.path("copy/artifact")).unwrap().is_symlink());
    assert_eq!(files(&copy.path("copy/disk")), files(&copy.path("disk")));
}

/// What is beyond the limit, and nothing else, stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_named_and_the_others_come() {
    let Some(copy) = Copy::new("a file beyond 4 GiB").await else { return };
    let large = "artifact/00000000000000000000000000000000000000aa";
    let whole = crossing(&copy.path("cache"));
    fs::File::create(copy.path("cache").join(large)).unwrap().set_len(4 << 30).unwrap();
    // A file system that says "too large" when it is too late, as a remote FAT does; and a local
    // FAT, where it is known before.
    copy.program("limited", &format!("trap '' XFSZ\nulimit -f 4000\nexec {SCRIPT} \"$@\"\n"));
    for (name, fat) in [("late", false), ("fat", true)] {
        fs::create_dir(copy.path(name)).unwrap();
        if fat {
            copy.program("stat", "echo msdos\n");
        }
        let script = if fat { SCRIPT.into() } else { copy.path("bin/limited") };
        let mut command = Command::new(script);
        let path = format!("{}:{}", copy.path("bin").display(), path());
        command.args(["cache", name]).current_dir(copy.folder()).env("PATH", path).kill_on_drop(true);
        let output = tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap();
        let (code, text) = said(&output);
        assert!(
            code == Some(1) && text.contains("exFAT") && text.contains(&format!("{large} (4294967296 bytes)")),
            "{text}"
        );
        assert_eq!(text.contains("again, without"), !fat, "{text}");
        let came = crossing(&copy.path(name));
        assert!(came.keys().eq(whole.keys().filter(|file| file.contains('/'))), "{name}: {:?}", came.keys());
    }
}

/// Real file systems of USB sticks, by the kernel or by FUSE. Neither has links or modes.
#[tokio::test(flavor = "multi_thread")]
async fn a_usb_stick_takes_it_over() {
    let Some(copy) = Copy::new("a USB stick").await else { return };
    copy.prepare_next();
    // fusefat refuses every change of a mode, so the files get those that it shows.
    let fat = "
        mkfs.vfat -F 32 image > made && {
            mount -t vfat -o loop image stick || { fusefat -o rw+ image stick > made && more=--chmod=D700,F700; }
        }";
    let exfat = "
        mkfs.exfat image > made && {
            mount -t exfat -o loop image stick ||
                { loop=$(losetup -f --show image) && trap 'losetup -d $loop' EXIT && mount.exfat-fuse $loop stick; }
        }";
    for (kind, mount) in [("vfat", fat), ("exfat", exfat)] {
        let script = format!(
            "PATH=$PATH:/usr/sbin:/sbin
            rm -rf image stick inside; mkdir stick; truncate -s 64M image
            {{ {mount}; }} || exit 77
            trap 'umount stick; [ -z \"${{loop-}}\" ] || losetup -d $loop' EXIT
            {SCRIPT} cache stick/cache -- $more || exit 20
            ln -s x stick/link && exit 21
            $AIRLOCK verify --cache stick/cache || exit 22
            cp -r next/. cache/
            {SCRIPT} cache stick/cache -- $more || exit 23
            {SCRIPT} stick/cache inside || exit 24
            cmp inside/registries next/registries || exit 25
            rm -r stick/cache/.airlock
            diff -r stick/cache inside || exit 26"
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).current_dir(copy.folder()).kill_on_drop(true);
        command.env("AIRLOCK", env!("CARGO_BIN_EXE_airlock"));
        let output = tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap();
        let (code, text) = said(&output);
        if code == Some(77) || text.contains("unshare failed") {
            skip(&format!("stick: {kind} as the file system of a USB stick"));
            continue;
        }
        assert_eq!(code, Some(0), "{kind}: {text} {}", stdout(&output));
        assert_eq!(crossing(&copy.path("inside")), crossing(&copy.path("cache")), "{kind}");
    }
}
