//! As a service: what the service manager is told, and that the unit of `ops/` lets airlock do its work
//! and nothing else.

use crate::acme::Acme;
use crate::binary::{Serving, command, run, said, stdout, wrapped};
use crate::reload::hang_up;
use crate::support::{LONG, Scene, mirror, skip};
use airlock::protocol::Kind;
use airlock::sample::Site;
use airlock::server::{self, App};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tokio::net::UnixDatagram;

const UNIT: &str = include_str!("../../ops/airlock.service");

/// Points of exposure that `systemd-analyze security` may give the unit, 0 to 10; it gave 1.1.
const EXPOSURE: f32 = 1.2;

/// A service manager that only listens.
struct Manager(UnixDatagram);

impl Manager {
    fn new(folder: &Path) -> Self {
        Self(UnixDatagram::bind(folder.join("notify")).unwrap())
    }

    async fn hears(&self) -> String {
        let mut message = [0; 4096];
        let length = tokio::time::timeout(LONG, self.0.recv(&mut message)).await.unwrap().unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// The next message that is not the watchdog's.
    async fn hears_news(&self) -> String {
        loop {
            let message = self.hears().await;
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }
}

async fn managed(scene: &Scene, environment: &[(&str, &str)]) -> (Manager, Serving) {
    let manager = Manager::new(scene.folder.path());
    let file = format!("upstream = ['{}']\n", scene.upstream.url());
    fs_err::write(scene.folder.path().join("airlock.toml"), file).unwrap();
    let mut serve = command(scene.folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", scene.folder.path().join("notify"));
    serve.envs(environment.iter().copied());
    (manager, Serving::start(serve).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manager_hears_of_the_start_a_reload_and_the_end() {
    let scene = Scene::new().await;
    let (manager, mut serving) = managed(&scene, &[]).await;
    let ready = format!("READY=1\nSTATUS=serving cache, fetching from {}\n", scene.upstream.url());
    assert_eq!(manager.hears().await, ready);
    hang_up(&serving);
    let message = manager.hears().await;
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines[0], "RELOADING=1", "{message}");
    // What systemd 253 compares with its own clock.
    let time = |line: &str| line.strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
    let now = sd_notify::NotifyState::monotonic_usec_now().unwrap().to_string();
    assert!((1..=time(&now)).contains(&time(lines[1])), "{message} {now}");
    assert_eq!(manager.hears().await, ready);
    fs_err::write(scene.folder.path().join("airlock.toml"), "what?").unwrap();
    hang_up(&serving);
    assert!(manager.hears().await.starts_with("RELOADING=1\n"));
    let message = manager.hears().await;
    assert!(
        message.starts_with("READY=1\nSTATUS=serving cache, ") && message.contains("not read again: airlock.toml:1"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 2, "{message}");
    serving.hears("the configuration stays as it was").await;
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    assert!(manager.hears().await.starts_with("STOPPING=1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_hears_of_a_server_that_lives() {
    let scene = Scene::new().await;
    let (manager, serving) = managed(&scene, &[("WATCHDOG_USEC", "200000")]).await;
    assert!(manager.hears_news().await.starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(manager.hears().await, "WATCHDOG=1\n");
    }
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_for_another_process_is_not_answered() {
    let scene = Scene::new().await;
    let (manager, serving) = managed(&scene, &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]).await;
    assert!(manager.hears().await.starts_with("READY=1\n"));
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    assert!(manager.hears().await.starts_with("STOPPING=1\n"));
}

#[test]
fn a_server_is_alive_while_it_accepts_and_its_threads_work() {
    /// Never comes in any time, so that the length does not matter.
    const SHORT: Duration = Duration::from_millis(20);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let scene = Scene::new().await;
        let app = App::new(mirror(&scene.offline()), scene.offline());
        assert!(!app.is_alive(SHORT).await, "nobody accepts");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let never = std::future::pending();
        tokio::spawn(server::serve(listener, app.clone(), never, std::future::pending()));
        assert!(app.is_alive(LONG).await);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let stuck = tokio::task::spawn_blocking(move || wait.recv());
        assert!(!app.is_alive(SHORT).await, "its only thread waits");
        go.send(()).unwrap();
        stuck.await.unwrap().unwrap();
        assert!(app.is_alive(LONG).await);
    });
}

fn analyze(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("systemd-analyze").args(arguments).output().ok();
    if output.is_none() {
        assert!(std::env::var_os("AIRLOCK_NO_SKIPS").is_none(), "systemd-analyze is not here");
        skip("systemd-analyze: the systemd unit");
    }
    output
}

#[test]
fn the_unit_is_closed_as_far_as_it_says() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/airlock.service");
    let Some(output) = analyze(&["security", "--offline=true", "--no-pager", unit]) else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    let rest = text.split("Overall exposure level for airlock.service: ").nth(1).unwrap_or_else(|| panic!("{text}"));
    let exposure: f32 = rest.split_whitespace().next().unwrap().parse().unwrap();
    assert!(exposure <= EXPOSURE, "{text}");
}

#[test]
fn the_unit_has_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    // The same with the program and the manual page where they are now.
    let binary = env!("CARGO_BIN_EXE_airlock");
    let unit = UNIT.replace("ExecStart=/usr/local/bin/airlock ", &format!("ExecStart={binary} "));
    let unit = unit.replace("Documentation=man:airlock(1)\n", "");
    let file = folder.path().join("airlock.service");
    fs_err::write(&file, unit).unwrap();
    let Some(output) = analyze(&["verify", "--man=no", file.to_str().unwrap()]) else { return };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("airlock.service"), "{text}");
}

/// The values of a key of the unit.
fn unit(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// All names of a set of system calls, those of its inner sets too.
fn system_calls(set: &str) -> Option<BTreeSet<String>> {
    let output = analyze(&["syscall-filter", "--no-pager", set])?;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names = BTreeSet::new();
    for line in text.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('@') {
            Some(_) => names.extend(system_calls(line)?),
            None => _ = names.insert(line.to_owned()),
        }
    }
    Some(names)
}

/// The numbers of the system calls that the unit allows on this machine.
fn allowed() -> Option<Vec<String>> {
    let mut names = system_calls("@default")?;
    for set in unit("SystemCallFilter") {
        match set.strip_prefix('~') {
            Some(denied) => {
                let denied = denied.split(' ').map(system_calls).collect::<Option<Vec<_>>>()?;
                names.retain(|name| denied.iter().all(|denied| !denied.contains(name)));
            }
            None => names.extend(system_calls(set)?),
        }
    }
    let header = fs_err::read_to_string("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").ok();
    let Some(header) = header.filter(|_| cfg!(target_arch = "x86_64")) else {
        skip("the numbers of system calls: the unit's filter");
        return None;
    };
    let numbers: BTreeMap<_, _> =
        header.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' ')).collect();
    let found: Vec<_> = names.iter().filter_map(|name| Some((*numbers.get(name.as_str())?).to_owned())).collect();
    assert!(found.len() > 200, "{found:?}");
    Some(found)
}

/// Runs a program with a filter as systemd makes it: what is not allowed fails with EPERM, and another
/// architecture's calls end the process. `prctl` is 157, 38 its `PR_SET_NO_NEW_PRIVS`, 22 its
/// `PR_SET_SECCOMP`.
const FILTER: &str = r#"
    my @allowed = split /,/, shift;
    my $is = sub { pack("SCCL", @_) };
    my $filter = $is->(0x20, 0, 0, 4) . $is->(0x15, 1, 0, 0xC000003E) . $is->(6, 0, 0, 0x80000000) . $is->(0x20, 0, 0, 0);
    $filter .= $is->(0x15, 0, 1, $_) . $is->(6, 0, 0, 0x7fff0000) for @allowed;
    $filter .= $is->(6, 0, 0, 0x00050001);
    my $program = pack("Sx6P", length($filter) / 8, $filter);
    syscall(157, 38, 1, 0, 0, 0) == 0 && syscall(157, 22, 2, $program) == 0 or die "no filter: $!";
    exec @ARGV or die "$!";
"#;

/// As the unit has it: another user without rights, a disk that can only be read but for the cache.
const CONFINED: &str = r#"
    mount --make-rprivate / && mount --bind cache cache && mount --bind "$0" program &&
        mount -o remount,bind,ro / || exit 77
    setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
        perl -e "$FILTER" "$ALLOWED" ./program serve --listen 127.0.0.1:0 2> cache/log &
    serving=$!
    trap 'kill $serving' EXIT
    until grep -qs 'serving at' cache/log; do kill -0 $serving || { cat cache/log >&2; exit 20; }; done
    server=$(sed -n 's/.*serving at \(http:[^, ]*\).*/\1/p' cache/log | head -n 1)
    grep -E '^(Uid|CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/$serving/status | tr -s '\t' ' '
    touch here 2> /dev/null && exit 21
    for path in $PUBLIC $PRIVATE; do
        until curl -s -o /dev/null -w '%{http_code}\n' "$server$path" | grep 200; do kill -0 $serving || exit 22; done
        stat -c 'owner %u' "cache$path"
    done
    kill -HUP $serving
    until grep -q 'was read again' cache/log; do kill -0 $serving || exit 23; done
    curl -sf "$server/health" "$server$PUBLIC" > /dev/null || exit 24
    trap - EXIT
    kill -TERM $serving
    wait $serving
    echo "exit $?"
    cat cache/log >&2
"#;

#[tokio::test(flavor = "multi_thread")]
async fn it_works_as_confined_as_the_unit_has_it() {
    let Some(allowed) = allowed() else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let acme = Acme::new(folder, &format!("file://{}/acme", folder.display()));
    let file = format!("upstream = ['{}']\n{}", scene.upstream.url(), Acme::config(&acme.file_url()));
    fs_err::write(folder.join("airlock.toml"), file).unwrap();
    fs_err::write(folder.join("program"), "").unwrap();
    fs_err::create_dir(folder.join("cache")).unwrap();
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let owned =
        Command::new("chown").args(["-R", "65534:65534", "cache", "acme"]).current_dir(folder).status().unwrap();
    if !owned.success() {
        return skip("root: airlock as confined as its unit has it");
    }
    let site = Site::sample().unwrap();
    let public = site.resources().find(|resource| resource.kind() == Kind::Package).unwrap();
    let mut unshare = wrapped(folder, &["unshare", "-m", "sh", "-c", CONFINED]);
    unshare.env("FILTER", FILTER).env("ALLOWED", allowed.join(","));
    unshare
        .env("PUBLIC", public.to_string())
        .env("PRIVATE", acme.greeter.to_string())
        .env("HOME", folder.join("cache"));
    let output = tokio::time::timeout(LONG * 5, unshare.output()).await.unwrap().unwrap();
    if output.status.code() == Some(77) || said(&output).1.contains("unshare failed") {
        return skip("namespaces: airlock as confined as its unit has it");
    }
    let none = "0000000000000000";
    let expected = format!(
        "Uid: 65534 65534 65534 65534\nCapEff: {none}\nCapBnd: {none}\nNoNewPrivs: 1\nSeccomp: 2\n\
         200\nowner 65534\n200\nowner 65534\nexit 0\n"
    );
    assert_eq!(stdout(&output), expected, "{:?}", said(&output));
    let log = said(&output).1;
    assert!(!log.contains("ERROR") && !log.contains("not permitted") && !log.contains("Read-only"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_says_by_its_exit_code_whether_the_server_is_well() {
    let scene = Scene::new().await;
    let mut serve = command(scene.folder.path());
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let serving = Serving::start(serve).await;
    let folder = scene.folder.path();
    let address = serving.url.strip_prefix("http://").unwrap();
    let healthy = async |arguments: &[&str]| {
        let output = run(folder, &[&["health"], arguments].concat()).await;
        (output.status.code(), stdout(&output), said(&output).1)
    };
    for arguments in [&[serving.url.as_str()][..], &["--listen", address]] {
        assert_eq!(healthy(arguments).await, (Some(0), "ok\n".to_owned(), String::new()), "{arguments:?}");
    }
    fs_err::write(folder.join("airlock.toml"), "what?").unwrap();
    assert_eq!(healthy(&[serving.url.as_str()]).await.0, Some(0), "it does not need its file to be well");
    // The upstream is a server too, but not one that is well.
    let (code, _, text) = healthy(&[&scene.upstream.url()]).await;
    assert!(code == Some(1) && text.starts_with("not healthy: 404"), "{text}");
    fs_err::rename(scene.cache(), folder.join("gone")).unwrap();
    let (code, _, text) = healthy(&[&serving.url]).await;
    assert!(code == Some(1) && text.contains("503") && text.contains("cannot be read"), "{text}");
    // A port of the network that is for documents, with a password that must not be repeated.
    let (code, _, text) = healthy(&["http://u:w0rd@192.0.2.1:9"]).await;
    assert!(code == Some(1) && text.starts_with("no answer: ") && !text.contains("w0rd"), "{text}");
}

#[test]
fn the_image_is_made_of_what_is_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = fs_err::read_to_string(root.join("Dockerfile")).unwrap();
    let instructions: Vec<_> = file.lines().filter_map(|line| line.split_once(' ')).collect();
    let of =
        |name: &str| instructions.iter().filter(|(found, _)| *found == name).map(|(_, rest)| *rest).collect::<Vec<_>>();
    let mut stages = BTreeSet::new();
    for (name, rest) in &instructions {
        let words: Vec<_> = rest.split_whitespace().collect();
        match (*name, words.as_slice()) {
            ("FROM", [_, "AS", stage]) => _ = stages.insert(format!("--from={stage}")),
            ("COPY", [from, ..]) if from.starts_with("--from=") => assert!(stages.contains(*from), "{from}"),
            ("COPY", [sources @ .., _]) => {
                assert!(sources.iter().all(|source| root.join(source).exists()), "{sources:?}");
            }
            _ => {}
        }
    }
    // What is copied is what cargo makes, and all that it reads is let through.
    assert!(file.contains("target/release/airlock") && of("ENTRYPOINT") == ["[\"airlock\"]"]);
    let ignored = fs_err::read_to_string(root.join(".dockerignore")).unwrap();
    for read in ["Cargo.toml", "Cargo.lock", "src", "templates", "sample", "README.md", "docs", "airlock.example.toml"]
    {
        assert!(root.join(read).exists() && !ignored.lines().any(|line| line.trim_end_matches('/') == read), "{read}");
    }
    // A number, so that it can be seen from outside not to be root; a user that is made here.
    let user = of("USER")[0].split(':').next().unwrap();
    assert!(user.parse::<u32>().is_ok_and(|id| id > 0) && file.contains(&format!("--uid {user} ")), "{user}");
    assert_eq!(of("STOPSIGNAL"), ["SIGTERM"]);
    assert!(
        file.contains("CMD [\"airlock\", \"health\"]") && !file.contains("curl"),
        "the health check is the program"
    );
}
