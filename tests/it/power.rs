//! The power is cut while a command runs, on a disk that keeps only what was synced, or any part of the
//! rest: what was acknowledged is there and whole, what was not is whole or not there, and the next run
//! ends as if nothing had been.
//!
//! `AIRLOCK_SEED` repeats a run, `AIRLOCK_EXHAUSTIVE=1` cuts at every fault point and at many more
//! moments.

use crate::commands::{Look, Place, Ran, Scenario, assert_whole};
use crate::dice::{Dice, is_exhaustive};
use crate::disk_model::{Cut, Disk};
use crate::scenarios;
use crate::support::{Scene, mirror};
use airlock::store::Store;
use std::path::Path;

/// A command on a disk of its own.
struct Bench<'b> {
    place: &'b Place,
    scenario: Scenario,
    template: Disk,
    mount: tempfile::TempDir,
}

impl<'b> Bench<'b> {
    fn new(place: &'b Place, scenario: Scenario) -> Self {
        let template = Disk::load(place.scene.folder.path());
        Self { place, scenario, template, mount: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> &Path {
        self.mount.path()
    }

    /// Runs the command, and ends it with the power.
    async fn run(&self, disk: &Disk, environment: &[(&str, &str)]) -> Option<Ran> {
        let _mounted = disk.mount(self.folder())?;
        let ran = self.place.run(&self.scenario, self.folder(), environment, Some(disk)).await;
        disk.cut();
        Some(ran)
    }

    /// What can be seen on a disk, once nothing that is wrong can be.
    fn look(&self, disk: &Disk, when: &str) -> Look {
        let _mounted = disk.mount(self.folder()).unwrap();
        if !self.scenario.name.starts_with("verify") {
            assert_whole(&self.folder().join("cache"), when);
        }
        Look::at(self.folder())
    }

    /// The power is back: all that was promised is there, and the next run ends well.
    async fn check(&self, cut: &Disk, how: Cut, ran: &Ran, expected: &Look, when: &str) {
        let (when, is_random) = (format!("{when}, {how:?}"), matches!(how, Cut::Random(_)));
        let disk = cut.after(how);
        let there = self.look(&disk.copy(), &when);
        for resource in &ran.got {
            assert!(there.has(resource), "{when}: {resource} was received by a client and is gone");
        }
        if ran.status.code() == Some(self.scenario.code) {
            self.scenario.assert_same(&there, expected, &format!("{when}: it was done and is not"));
        }
        let again = self.run(&disk, &[]).await.unwrap();
        assert!(self.scenario.may_end_again(&again), "{when}, then: {}", again.said);
        // A disk that tears a rename apart may leave one key alone, or a name too many. That is refused, and
        // removed by hand: nothing is ever written over a key.
        if is_random && self.scenario.name == "keygen" && again.status.code() != Some(self.scenario.code) {
            return;
        }
        self.scenario.assert_same(&self.look(&disk.after(Cut::Strict), &when), expected, &format!("{when}, then"));
    }
}

async fn cut(scenario: Scenario) {
    let place = Place::new(scenario.start).await;
    let bench = Bench::new(&place, scenario);
    let disk = bench.template.copy();
    let Some(undisturbed) = bench.run(&disk, &[]).await else { return };
    assert_eq!(undisturbed.status.code(), Some(scenario.code), "{}: {}", scenario.name, undisturbed.said);
    let ops = disk.ops();
    // The power goes as soon as it is done: all of that must be on the disk.
    let expected = bench.look(&disk.copy(), scenario.name);
    let mut dice = Dice::new(&format!("power cuts, {}", scenario.name));
    bench.check(&disk, Cut::Strict, &undisturbed, &expected, &format!("{} was done", scenario.name)).await;
    let points = if is_exhaustive() { scenario.points.to_vec() } else { dice.sample(scenario.points, 1) };
    for point in points {
        let disk = bench.template.copy();
        let ran = bench.run(&disk, &[("AIRLOCK_FAULT", point)]).await.unwrap();
        let when = format!("{}: power cut at {point}", scenario.name);
        for how in [Cut::Strict, Cut::Random(Dice::of(dice.next()))] {
            bench.check(&disk, how, &ran, &expected, &when).await;
        }
    }
    for _ in 0..if is_exhaustive() { 60 } else { 2 } {
        let disk = bench.template.copy();
        let at = 1 + u64::try_from(dice.below(usize::try_from(ops).unwrap())).unwrap();
        disk.cut_at(at);
        let ran = bench.run(&disk, &[]).await.unwrap();
        let when = format!("{}: power cut at operation {at}", scenario.name);
        for how in [Cut::Strict, Cut::Random(Dice::of(dice.next()))] {
            bench.check(&disk, how, &ran, &expected, &when).await;
        }
    }
}

macro_rules! power_is_cut {
    ($($test:ident: $scenario:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            cut(scenarios::$scenario).await;
        }
    )*};
}

power_is_cut! {
    power_is_cut_while_serving: SERVE,
    power_is_cut_while_serving_offline: SERVE_OFFLINE,
    power_is_cut_while_prewarming: PREWARM,
    power_is_cut_while_prewarming_by_name: PREWARM_BY_NAME,
    power_is_cut_while_prewarming_repositories: PREWARM_GIT,
    power_is_cut_while_adopting: ADOPT,
    power_is_cut_while_importing: IMPORT,
    power_is_cut_while_exporting: EXPORT,
    power_is_cut_while_keys_are_made: KEYGEN,
    power_is_cut_while_a_wish_is_added: REQUEST_ADD,
    power_is_cut_while_a_wish_is_removed: REQUEST_REMOVE,
    power_is_cut_while_a_request_is_exported: REQUEST_EXPORT,
    power_is_cut_while_misses_are_exported: MISSES_EXPORT,
    power_is_cut_while_misses_are_cleared: MISSES_CLEAR,
    power_is_cut_while_registries_are_updated: UPDATE,
    power_is_cut_while_rolling_back: ROLLBACK,
    power_is_cut_while_pinning: PIN,
    power_is_cut_while_a_baseline_is_set: BASELINE,
    power_is_cut_while_gc_removes: GC,
    power_is_cut_while_verifying: VERIFY,
    power_is_cut_while_repairing: REPAIR,
}

/// Of what rsync wrote a moment ago, names and sizes may be on the disk and the content not. What was
/// said to be verified must not be believed then.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_verified_in_memory_only_is_not_believed_after_a_power_cut() {
    let (scene, mount) = (Scene::new().await, tempfile::tempdir().unwrap());
    let disk = Disk::load(scene.folder.path());
    let Some(mounted) = disk.mount(mount.path()) else { return };
    let cache = mount.path().join("cache");
    crate::view::carry(&cache, &crate::view::CLOSURE);
    let resource = crate::view::resource("Pebble/1.1.0");
    assert_eq!(mirror(&crate::support::config(&cache, &[], "")).rescan().await.1, 0);
    assert!(Store::open(&cache).unwrap().fact(&resource).unwrap().is_some());
    disk.cut();
    drop(mounted);
    let mut dice = Dice::new("verified in memory only");
    for _ in 0..if is_exhaustive() { 200 } else { 20 } {
        let seed = dice.next();
        let left = disk.after(Cut::Random(Dice::of(seed)));
        let _mounted = left.mount(mount.path()).unwrap();
        let store = Store::open(&cache).unwrap();
        for label in crate::view::CLOSURE {
            let resource = crate::view::resource(label);
            if store.fact(&resource).unwrap().is_none() {
                continue;
            }
            let body = airlock::sample::Site::sample().unwrap().body(&resource.to_string()).unwrap().clone();
            let there = fs_err::read(store.path(&resource)).unwrap();
            assert!(there == body, "{label} is believed and is something else: seed {seed}");
        }
    }
}
