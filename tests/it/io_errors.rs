//! A disk that is full, or fails, at any one operation or from then on: every command ends and says so,
//! nothing published is harmed, and the next run on a good disk ends as if nothing had been.
//!
//! After a sync that failed, the disk of this test forgets what it was to write and says that later
//! syncs succeed, as Linux does: whatever is published then is found empty after the power cut that ends
//! each run.

use crate::binary::{Serving, command};
use crate::commands::{Look, Place, Scenario, assert_whole};
use crate::dice::{Dice, is_exhaustive};
use crate::disk_model::{Cut, Disk, Errno, Failure};
use crate::scenarios;
use crate::support::client;
use airlock::sample::Site;
use std::path::Path;

const ERRNOS: [Errno; 2] = [Errno::ENOSPC, Errno::EIO];

fn look(disk: &Disk, folder: &Path, scenario: &Scenario, when: &str) -> Look {
    let _mounted = disk.mount(folder).unwrap();
    if !scenario.name.starts_with("verify") {
        assert_whole(&folder.join("cache"), when);
    }
    Look::at(folder)
}

async fn fail(scenario: Scenario) {
    let place = Place::new(scenario.start).await;
    let mount = tempfile::tempdir().unwrap();
    let template = Disk::load(place.scene.folder.path());
    let disk = template.copy();
    let Some(mounted) = disk.mount(mount.path()) else { return };
    // Never reached, but counted.
    disk.fail(Some(Failure { at: u64::MAX, errno: Errno::EIO, sticky: false, spares_reads: false }));
    let undisturbed = place.run(&scenario, mount.path(), &[], None).await;
    assert_eq!(undisturbed.status.code(), Some(scenario.code), "{}: {}", scenario.name, undisturbed.said);
    let (ops, _) = disk.counted();
    drop(mounted);
    disk.fail(None);
    let expected = look(&disk, mount.path(), &scenario, scenario.name);
    let mut dice = Dice::new(&format!("I/O errors, {}", scenario.name));
    for errno in ERRNOS {
        for _ in 0..if is_exhaustive() { 80 } else { 2 } {
            let at = 1 + u64::try_from(dice.below(usize::try_from(ops).unwrap())).unwrap();
            let failure = Failure { at, errno, sticky: dice.below(2) == 0, spares_reads: dice.below(2) == 0 };
            let disk = template.copy();
            let mounted = disk.mount(mount.path()).unwrap();
            disk.fail(Some(failure));
            let ran = place.run(&scenario, mount.path(), &[], None).await;
            let failed = disk.counted().1;
            drop(mounted);
            let when = format!("{}: {failure:?} {:?}", scenario.name, failed.first());
            let code = ran.status.code();
            assert!(matches!(code, Some(0..=2)) && !ran.said.contains("panicked"), "{when}: {ran:?}");
            let disk = disk.after(Cut::Strict);
            let there = look(&disk.copy(), mount.path(), &scenario, &when).with_sources_of(&expected);
            for resource in &ran.got {
                assert!(there.has(resource), "{when}: {resource} was received by a client and is gone");
            }
            let is_server = scenario.args[0] == "serve";
            // What is only noted beside, such as the platforms, may fail with a warning: the next run notes it.
            let warns = ran.said.contains(" WARN ");
            if code == Some(scenario.code) && !is_server && !warns && !scenario.name.starts_with("verify") {
                scenario.assert_same(&there, &expected, &format!("{when}: it says that all is done\n{}", ran.said));
            } else if code != Some(scenario.code) {
                assert!(!failed.is_empty(), "{when}: {ran:?}");
                // git does not always say why, as of a HEAD that it cannot set.
                let says = [
                    "No space left on device",
                    "no storage space",
                    "Input/output error",
                    "is full",
                    "(os error",
                    "git failed on",
                ];
                assert!(says.iter().any(|says| ran.said.contains(says)), "{when}: it does not say why: {}", ran.said);
            }
            let mounted = disk.mount(mount.path()).unwrap();
            let again = place.run(&scenario, mount.path(), &[], None).await;
            drop(mounted);
            assert!(scenario.may_end_again(&again), "{when}, then: {}", again.said);
            let there = look(&disk, mount.path(), &scenario, &when).with_sources_of(&expected);
            scenario.assert_same(&there, &expected, &format!("{when}, then"));
        }
    }
}

macro_rules! disk_fails {
    ($($test:ident: $scenario:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            fail(scenarios::$scenario).await;
        }
    )*};
}

disk_fails! {
    disk_fails_while_serving: SERVE,
    disk_fails_while_serving_offline: SERVE_OFFLINE,
    disk_fails_while_prewarming: PREWARM,
    disk_fails_while_prewarming_by_name: PREWARM_BY_NAME,
    disk_fails_while_prewarming_repositories: PREWARM_GIT,
    disk_fails_while_adopting: ADOPT,
    disk_fails_while_importing: IMPORT,
    disk_fails_while_exporting: EXPORT,
    disk_fails_while_keys_are_made: KEYGEN,
    disk_fails_while_a_wish_is_added: REQUEST_ADD,
    disk_fails_while_a_wish_is_removed: REQUEST_REMOVE,
    disk_fails_while_a_request_is_exported: REQUEST_EXPORT,
    disk_fails_while_misses_are_exported: MISSES_EXPORT,
    disk_fails_while_misses_are_cleared: MISSES_CLEAR,
    disk_fails_while_registries_are_updated: UPDATE,
    disk_fails_while_rolling_back: ROLLBACK,
    disk_fails_while_pinning: PIN,
    disk_fails_while_a_baseline_is_set: BASELINE,
    disk_fails_while_gc_removes: GC,
    disk_fails_while_verifying: VERIFY,
    disk_fails_while_repairing: REPAIR,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_a_disk_that_takes_nothing_serves_what_is_there_and_refuses_the_rest() {
    let place = Place::new(scenarios::EXPORT.start).await;
    let (site, mount) = (Site::sample().unwrap(), tempfile::tempdir().unwrap());
    let template = Disk::load(place.scene.folder.path());
    let here = |cache: &Path| site.resources().partition::<Vec<_>, _>(|it| cache.join(it.relative_path()).exists());
    let (hits, misses) = here(&place.scene.cache());
    assert!(hits.len() > 5 && !misses.is_empty());
    for (errno, status) in [(Errno::ENOSPC, 507), (Errno::EIO, 500)] {
        let disk = template.copy();
        let Some(mounted) = disk.mount(mount.path()) else { return };
        let mut serve = command(mount.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &place.upstream().url()]);
        let serving = Serving::start(serve).await;
        disk.fail_writes(errno);
        for _ in 0..2 {
            for resource in &hits {
                let answer = client().get(format!("{}{resource}", serving.url)).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{resource} on {errno:?}");
                assert!(answer.bytes().await.unwrap() == site.body(&resource.to_string()).unwrap(), "{resource}");
            }
            for resource in &misses {
                let answer = client().get(format!("{}{resource}", serving.url)).send().await.unwrap();
                assert_eq!(answer.status(), status, "{resource} on {errno:?}");
                let line = answer.text().await.unwrap();
                assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
            }
        }
        disk.fail(None);
        for resource in &misses {
            let answer = client().get(format!("{}{resource}", serving.url)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{resource} after {errno:?}");
        }
        assert!(serving.stop(rustix::process::Signal::TERM).await.success());
        assert_whole(&mount.path().join("cache"), &format!("{errno:?}"));
        drop(mounted);
    }
}
