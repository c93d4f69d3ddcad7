//! The wall clock jumps, between commands and while a server runs: nothing panics, nothing is refused
//! or removed for it, and what has an order keeps it.

use crate::binary::{Serving, command, said, stdout};
use crate::check::DEMO;
use crate::commands::assert_whole;
use crate::registries::{list, published, three};
use crate::support::{LONG, Scene, client, skip};
use airlock::protocol::{Flavor, GENERAL, Kind};
use airlock::sample::Site;
use airlock::store::Store;
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clock_shim.c");
const YEAR: i64 = 365 * 24 * 3600;

/// Where the clock goes: back by a year, ahead by ten, to 1970, and right again.
fn jumps() -> [(&'static str, i64); 4] {
    [
        ("back by a year", -YEAR),
        ("ahead by ten years", 10 * YEAR),
        ("1970", -jiff::Timestamp::now().as_second()),
        ("right", 0),
    ]
}

/// A clock for processes of the binary.
struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    /// `None`, and said, where it cannot be built.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut cc = std::process::Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("shim.so")).arg(SHIM);
        if !cc.status().is_ok_and(|status| status.success()) {
            skip("cc: clocks that jump");
            return None;
        }
        let clock = Self { folder };
        clock.set(0);
        Some(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// In one step: a reader must not see half of it.
    fn set(&self, seconds: i64) {
        let new = self.folder.path().join("new");
        fs_err::write(&new, seconds.to_string()).unwrap();
        fs_err::rename(new, self.file()).unwrap();
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = command(folder);
        command.env("LD_PRELOAD", self.folder.path().join("shim.so")).env("CLOCK_OFFSET_FILE", self.file());
        command
    }

    async fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        let output = self.command(folder).args(arguments).output();
        tokio::time::timeout(LONG, output).await.unwrap().unwrap()
    }

    /// Runs what must end well.
    async fn good(&self, folder: &Path, arguments: &[&str], when: &str) -> String {
        let output = self.run(folder, arguments).await;
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}, clock {when}: {} {}",
            stdout(&output),
            said(&output).1
        );
        stdout(&output)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_a_process_can_be_moved_here() {
    let Some(clock) = Clock::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    Store::open(&folder.path().join("cache")).unwrap();
    clock.set(10 * YEAR);
    clock.good(folder.path(), &["request", "add", "Far"], "moved").await;
    let wishes = Store::open(&folder.path().join("cache")).unwrap().wishes().unwrap();
    assert!(wishes[0].last.as_second() > jiff::Timestamp::now().as_second() + 9 * YEAR);
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_keep_their_order_whatever_the_clock_says() {
    let Some(clock) = Clock::new() else { return };
    let (scene, states) = three().await;
    let folder = scene.folder.path();
    Store::open(&scene.cache()).unwrap();
    let upstream = scene.upstream.url();
    // The middle one in the future, the last in the past.
    for (state, offset) in states.iter().zip([0, 10 * YEAR, -YEAR]) {
        clock.set(offset);
        list(&scene.upstream, Flavor::Plain, *state);
        clock.good(folder, &["registries", "update", "--upstream", &upstream], "jumping").await;
        assert_eq!(published(&Store::open(&scene.cache()).unwrap(), Flavor::Plain), Some(state.tree));
    }
    clock.set(0);
    list(&scene.upstream, Flavor::Plain, states[1]);
    clock.good(folder, &["registries", "update", "--upstream", &upstream], "right").await;
    assert_eq!(published(&Store::open(&scene.cache()).unwrap(), Flavor::Plain), Some(states[2].tree), "only forward");
    let shown = clock.good(folder, &["registries", "--json"], "right").await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let trees: Vec<_> =
        shown["generations"].as_array().unwrap().iter().map(|it| it["tree"].as_str().unwrap()).collect();
    let newest_first: Vec<_> = states.iter().rev().map(|state| state.tree.to_string()).collect();
    assert_eq!(trees, newest_first);
    // What gc keeps goes by that order too.
    clock.good(folder, &["gc", "--yes", "--keep-generations", "2"], "right").await;
    let store = Store::open(&scene.cache()).unwrap();
    let here = states.map(|state| store.has(&state.into()));
    assert_eq!(here, [false, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_and_requests_go_on_counting_while_clocks_jump_on_both_sides() {
    let Some(clock) = Clock::new() else { return };
    let (outside, inside) = (Scene::new().await, tempfile::tempdir().unwrap());
    let upstream = outside.upstream.url();
    Store::open(&inside.path().join("cache")).unwrap();
    for (number, (when, offset)) in (1..).zip(jumps()) {
        clock.set(offset);
        let name = format!("Wish{number}");
        clock.good(inside.path(), &["request", "add", &name], when).await;
        clock.good(inside.path(), &["request", "export", "request.json"], when).await;
        clock.good(outside.folder.path(), &["prewarm", "--platform", "all", "--upstream", &upstream, DEMO], when).await;
        clock.good(outside.folder.path(), &["bundle", "export", "--full", "--to", "site", "."], when).await;
        // The other side's clock is another one.
        clock.set(-offset / 2);
        let file = outside.folder.path().join(format!("airlock-site-{number:06}.tar"));
        clock.good(inside.path(), &["bundle", "import", file.to_str().unwrap()], when).await;
        clock.good(inside.path(), &["verify"], when).await;
        clock.good(inside.path(), &["gc", "--yes", DEMO], when).await;
        clock.good(inside.path(), &["check", "--platform", "all", DEMO], when).await;
        clock.good(inside.path(), &["misses", "export", "misses.txt"], when).await;
        clock.good(inside.path(), &["misses", "clear"], when).await;
        assert_whole(&inside.path().join("cache"), when);
    }
    let store = Store::open(&inside.path().join("cache")).unwrap();
    let numbers: Vec<_> = store.received_bundles().unwrap().iter().map(|it| it.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(store.wishes().unwrap().len(), 4);
    assert!(published(&store, Flavor::Plain).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_jumps_goes_on() {
    let Some(clock) = Clock::new() else { return };
    let (scene, site) = (Scene::new().await, Site::sample().unwrap());
    let mut serve = clock.command(scene.folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &scene.upstream.url()]);
    let serving = Serving::start(serve).await;
    let get = async |path: String| client().get(format!("{}{path}", serving.url)).send().await.unwrap();
    let resources: Vec<_> = site.resources().collect();
    let share = resources.len().div_ceil(jumps().len());
    for (number, ((when, offset), cold)) in (1..).zip(jumps().into_iter().zip(resources.chunks(share))) {
        clock.set(offset);
        assert_eq!(get("/registries".to_owned()).await.status(), 200, "{when}");
        for resource in cold {
            for _ in 0..2 {
                let body = get(resource.to_string()).await.bytes().await.unwrap();
                assert!(body == site.body(&resource.to_string()).unwrap(), "{resource}, clock {when}");
            }
        }
        let absent = format!("/artifact/{}", format!("{number}").repeat(40));
        assert_eq!(get(absent).await.status(), 404, "{when}");
        assert_eq!(get("/meta".to_owned()).await.status(), 200, "{when}");
    }
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    assert_whole(&scene.cache(), "after the jumps");
    let store = Store::open(&scene.cache()).unwrap();
    assert_eq!(store.misses().read().unwrap().len(), 4);
    assert_eq!(Kind::ALL.into_iter().map(|kind| store.resources(kind).count()).sum::<usize>(), resources.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_wrong_makes_no_version_older_and_a_baseline_puts_it_right() {
    let Some(clock) = Clock::new() else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    let upstream = scene.upstream.url();
    let rules = "[policy]\nmin-age = \"7 days\"\n";
    fs_err::write(folder.join("airlock.toml"), rules).unwrap();
    let warm = ["prewarm", "--platform", "all", "--upstream", &upstream, DEMO];
    // First seen when the clock was ten years ahead.
    clock.set(10 * YEAR);
    clock.run(folder, &warm).await;
    clock.set(0);
    let seen = || Store::open(&scene.cache()).unwrap().first_seen(GENERAL).unwrap();
    assert!(seen().count() > 0);
    let explain = ["policy", "explain", "Faraway@1.0.0"];
    for offset in [0, -YEAR, -jiff::Timestamp::now().as_second()] {
        clock.set(offset);
        let held = clock.run(folder, &explain).await;
        assert_eq!(held.status.code(), Some(1), "{offset}: {} {}", stdout(&held), said(&held).1);
    }
    clock.good(folder, &["policy", "baseline"], "right").await;
    clock.good(folder, &explain, "right").await;
}
