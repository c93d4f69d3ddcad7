//! Names and whole registries on the real General, where the test data is at hand. Its tarballs do
//! not exist anywhere, so nothing is fetched.

use crate::support::skip;
use airlock::closure::{Many, Whole};
use airlock::config::{PrewarmSettings, Settings};
use airlock::mirror::Mirror;
use airlock::prewarm::{ByName, Report, Request, run};
use airlock::protocol::{GENERAL, RegistryTree, Resource};
use airlock::store::Store;
use fs_err as fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

const OF_2024: (&str, &str) = ("General-2024-04-04.tar.gz", "ff7de6d04928785426b131bad7b2b1d785f2a8d7");

/// A cache with nothing but this registry, or `None` after saying that it is not at hand.
fn cache((name, tree): (&str, &str)) -> Option<TempDir> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    let data = std::env::var_os("AIRLOCK_TEST_DATA").map_or(beside, PathBuf::from).join(name);
    if !data.is_file() {
        skip(&format!("data: {} is not there", data.display()));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Resource::from(RegistryTree { uuid: GENERAL, tree: tree.parse().unwrap() });
    let file = folder.path().join(registry.relative_path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::copy(data, file).unwrap();
    fs::write(folder.path().join("registries"), format!("{registry}\n")).unwrap();
    Some(folder)
}

/// A dry run.
async fn plan(cache: &Path, by_name: ByName) -> Report {
    let julias = by_name.julias.clone();
    let prewarm = PrewarmSettings { dry_run: Some(true), ..PrewarmSettings::default() };
    let settings = Settings { cache: Some(cache.to_owned()), offline: Some(true), prewarm, ..Settings::default() };
    let config = airlock::config::Config::new(settings, Settings::default()).unwrap();
    let mirror = Arc::new(Mirror::new(Arc::new(Store::open(cache).unwrap()), Vec::new(), &config));
    let mut request = Request::by_name(Vec::new(), by_name, &config).unwrap();
    request.by_name.julias = julias;
    let begun = Instant::now();
    let report = run(Arc::clone(&mirror), request, &()).await;
    let _ = writeln!(std::io::stderr(), "{} packages planned in {:?}", report.packages.len(), begun.elapsed());
    mirror.close().await;
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn large_packages_of_the_real_general_have_a_solution_that_holds() {
    let Some(cache) = cache(OF_2024) else { return };
    let julias = ["1.10".parse().unwrap(), "1.6".parse().unwrap()].to_vec();
    for name in ["DifferentialEquations", "Makie", "Flux"] {
        let add = vec![name.parse().unwrap()];
        let report = plan(cache.path(), ByName { add, julias: julias.clone(), ..ByName::default() }).await;
        assert_eq!((report.conflicts.len(), report.solved.len(), report.exit_code()), (0, 2, 0), "{name}");
        for solved in &report.solved {
            assert!(solved.packages.iter().any(|package| package.name == name), "{name}");
            assert!(solved.packages.len() > 50, "{name} needs more than {}", solved.packages.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_of_the_real_general_can_be_planned() {
    let Some(cache) = cache(OF_2024) else { return };
    let whole = |newest| Many { whole: Some(Whole::Every), newest, ..Many::default() };
    let report = plan(cache.path(), ByName { many: whole(None), ..ByName::default() }).await;
    let estimate = report.estimate.unwrap();
    assert_eq!((estimate.packages > 10_000, estimate.versions > 100_000), (true, true), "{estimate:?}");
    assert_eq!((estimate.bytes, estimate.started, report.totals.planned), (None, false, estimate.versions));
    let report = plan(cache.path(), ByName { many: whole(Some(1)), ..ByName::default() }).await;
    let estimate = report.estimate.unwrap();
    assert_eq!(estimate.packages, estimate.versions);
    let closed = Many { names: vec!["Flux".parse().unwrap()], newest: Some(1), closed: true, ..Many::default() };
    let julias = vec!["1.10".parse().unwrap()];
    let report = plan(cache.path(), ByName { many: closed, julias, ..ByName::default() }).await;
    let estimate = report.estimate.unwrap();
    assert!(estimate.versions > 500 && estimate.versions < 50_000, "{estimate:?}");
}
