//! Names and whole registries on the real General, where the test data is at hand. Its tarballs do
//! not exist anywhere, so nothing is fetched.

use crate::support::skip;
use airlock::closure::{Choice, Many, Registries, Solver, Whole, many_versions};
use airlock::config::{PrewarmSettings, Settings};
use airlock::mirror::Mirror;
use airlock::prewarm::{ByName, Report, Request, run};
use airlock::protocol::{GENERAL, RegistryTree, Resource};
use airlock::store::Store;
use airlock::tree::Limits;
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
async fn the_whole_of_the_real_general_can_be_planned() {
    let Some(cache) = cache(OF_2024) else { return };
    let many = Many { whole: Some(Whole::Every), ..Many::default() };
    let report = plan(cache.path(), ByName { many, ..ByName::default() }).await;
    let estimate = report.estimate.unwrap();
    assert_eq!((estimate.packages > 10_000, estimate.versions > 100_000), (true, true), "{estimate:?}");
    assert_eq!((estimate.bytes, estimate.started, report.totals.planned), (None, false, estimate.versions));

    // The same cache, its registry verified by now.
    let registries = Registries::load(&Store::open(cache.path()).unwrap(), &Limits::default()).unwrap();
    assert_eq!((registries.catalogues.len(), registries.problems.len()), (1, 0));
    let julias = ["1.10".parse().unwrap(), "1.6".parse().unwrap()];
    let solver =
        Solver { registries: &registries, julias: &julias, tests: false, forbids: &|_, _| None, stopped: &|| false };
    for name in ["DifferentialEquations", "Makie", "Flux"] {
        let begun = Instant::now();
        let resolved = solver.names(&[name.parse().unwrap()]);
        let _ = writeln!(std::io::stderr(), "{name}: two solutions in {:?}", begun.elapsed());
        assert_eq!((resolved.conflicts, resolved.solved.len()), (Vec::new(), 2), "{name}");
        for solved in &resolved.solved {
            assert!(solved.packages.values().any(|package| package.name == name), "{name}");
            assert!(solved.wanted().count() > 50, "{name} needs more than {}", solved.wanted().count());
        }
    }
    let count = |many: &Many, julias: &[_]| {
        let choice = Choice { registries: &registries, julias, admits: &|_| true, stopped: &|| false };
        many_versions(many, &[], &choice).packages.len()
    };
    let newest = Many { whole: Some(Whole::Every), newest: Some(1), ..Many::default() };
    assert_eq!(count(&newest, &[]), estimate.packages);
    assert!(count(&newest, &julias[..1]) < estimate.packages, "some run on older ones only");
    let closed = Many { names: vec!["Flux".parse().unwrap()], newest: Some(1), closed: true, ..Many::default() };
    let begun = Instant::now();
    let versions = count(&closed, &julias[..1]);
    let _ = writeln!(std::io::stderr(), "Flux may come with {versions} versions, found in {:?}", begun.elapsed());
    assert!(versions > 500 && versions < 50_000, "{versions}");
}
