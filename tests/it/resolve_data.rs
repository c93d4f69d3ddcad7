//! What is chosen from the real General is what a real Pkg chooses, where the test data and a Julia
//! 1.5 are at hand; and what real manifests say of the standard libraries.

use crate::julia_client::{julia, pkg, text};
use crate::support::{LONG, skip};
use crate::view_data::test_data;
use airlock::julia::{Manifest, Version, stdlib};
use airlock::protocol::Uuid;
use airlock::resolve::{Catalogue, CatalogueBuilder, Question, Root, solve};
use airlock::tree::{Limits, visit_files};
use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;

/// Each line is added to a project of its own.
const ASKED: &str = include_str!("resolve_data.txt");

/// Why airlock and Pkg 1.5.3 differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// What airlock chooses is newer by Pkg's own measure, the sum of the versions of what was asked
    /// for, then that of the rest; Pkg's search is an approximation and did not come there.
    Newer,
    /// What Pkg chooses weighs more for it, because it has more packages; of those that both have,
    /// airlock's are newer.
    More,
}

/// Where they differ. All but these must be equal.
const DIFFERENCES: &[(&str, Why)] = &[
    ("DifferentialEquations", Why::Newer),
    ("GeoInterface PowerModelsAnnex GlobalSensitivityAnalysis", Why::Newer),
    ("MLJ DiffEqFlux", Why::Newer),
    ("JuMP IJulia MLDatasets MathleticsFiles Documenter", Why::Newer),
    ("ClimateTasks DifferentialEquations Documenter Optim BTrDB", Why::Newer),
    ("ParSpMatVec CSV DataFrames JLD2 DifferentialEquations", Why::More),
    (
        "Pluto Documenter FeatherLib InterestRates InteractiveChaos MetaUtils JuMP Oceananigans LightGraphs Genie",
        Why::Newer,
    ),
    (
        "StatsBase Zygote ParSpMatVec DifferentialEquations GtkReactive MetaUtils DisplayStructure Knet Authorization Symata",
        Why::Newer,
    ),
    (
        "SmolyakApprox Example DiffEqFlux MLDatasets CSV UnivariateDensityEstimate CombineML SimplexGridFactory MLJ BoxCoxTrans",
        Why::Newer,
    ),
    (
        "Distributions SimplexGridFactory VegaLite InterestRates Arrow StatsBase QuantumOptics Mustache ClimateTasks \
         DiffTests JuMP Multigraphs ModularIndices JSONTables DisplayStructure",
        Why::Newer,
    ),
    (
        "ImageComponentAnalysis Autologistic Multigraphs Turing Onda ComputationalResources Mustache Knet MayOptimize \
         SmolyakApprox BigWig HTTP LightGraphs Plots BenchmarkTools",
        Why::Newer,
    ),
];

/// Pkg's own resolver on each line of its input, over the registry in the depot. Nothing is
/// downloaded: that is a later step of `Pkg.add`. (Julia 1.5's functions: others are named otherwise.)
const RESOLVE_EACH: &str = r#"
    using Pkg
    import Pkg: Types, Operations
    Pkg.UPDATED_REGISTRY_THIS_SESSION[] = true
    for line in eachline(stdin)
        Pkg.activate(mktempdir())
        context = Types.Context()
        packages = [Types.PackageSpec(String(name)) for name in split(line)]
        Types.registry_resolve!(context, packages)
        Types.ensure_resolved(context, packages, registry = true)
        Operations.resolve_versions!(context, packages)
        for package in packages
            println("CHOSE ", package.uuid, " ", package.version)
        end
        println("DONE ", line)
    end
"#;

type Versions = BTreeMap<Uuid, Version>;

async fn pkg_chooses(julia: &Path, data: &Path) -> BTreeMap<String, Versions> {
    let folder = tempfile::tempdir().unwrap();
    let registry = folder.path().join("depot/registries/General");
    let mut unpack = |path: &str, bytes: Vec<u8>| {
        let file = registry.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    };
    visit_files(fs::File::open(data).unwrap(), &Limits::default(), &mut unpack).unwrap();
    let mut command = pkg(julia, folder.path(), "depot", "", RESOLVE_EACH);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let (written, output) = tokio::join!(
        async move { input.write_all(ASKED.as_bytes()).await },
        tokio::time::timeout(LONG * 30, child.wait_with_output())
    );
    let output = output.unwrap().unwrap();
    assert!(output.status.success() && written.is_ok(), "{}", text(&output));
    let (mut all, mut versions) = (BTreeMap::new(), Versions::new());
    for line in str::from_utf8(&output.stdout).unwrap().lines() {
        if let Some(line) = line.strip_prefix("DONE ") {
            all.insert(line.to_owned(), std::mem::take(&mut versions));
        } else if let Some((uuid, version)) = line.strip_prefix("CHOSE ").and_then(|line| line.split_once(' ')) {
            versions.insert(uuid.parse().unwrap(), version.parse().unwrap());
        }
    }
    all
}

fn catalogue(data: &Path) -> Arc<Catalogue> {
    let mut builder = CatalogueBuilder::default();
    let mut add = |path: &str, bytes| builder.file(path, bytes);
    visit_files(fs::File::open(data).unwrap(), &Limits::default(), &mut add).unwrap();
    Arc::new(builder.finish().unwrap())
}

/// The versions that are chosen; those of standard libraries as Pkg shows them, which is Julia's own
/// where they have none.
fn airlock_chooses(catalogue: &Arc<Catalogue>, julia: &Version, line: &str) -> Versions {
    let uuid = |name: &str| catalogue.index().packages().find(|(_, it)| *it == name).unwrap().0;
    let roots = line.split(' ').map(|name| Root { uuid: uuid(name), ranges: Vec::new() }).collect();
    let question = Question::new(julia.to_string().parse().unwrap(), roots);
    let solution = solve(std::slice::from_ref(catalogue), &question).unwrap_or_else(|error| panic!("{line}: {error}"));
    let version = |chosen: airlock::resolve::Chosen| match chosen.version.filter(|_| chosen.tree.is_some()) {
        Some(version) => version.parse().unwrap(),
        None => julia.clone(),
    };
    solution.packages.into_iter().map(|(uuid, chosen)| (uuid, version(chosen))).collect()
}

/// The real Julia, if it is a 1.5.
fn julia_1_5() -> Option<(std::path::PathBuf, Version)> {
    let julia = julia("resolve packages of General")?;
    let version = std::process::Command::new(&julia).arg("--version").output().unwrap().stdout;
    let version: Version = String::from_utf8(version).unwrap().split_whitespace().last()?.parse().ok()?;
    if (version.major, version.minor) != (1, 5) {
        skip("julia 1.5: resolve packages of General");
        return None;
    }
    Some((julia, version))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_versions_are_those_that_pkg_chooses() {
    let Some(data) = test_data("General-2020-11-24.tar.gz") else { return };
    let Some((julia, version)) = julia_1_5() else { return };
    let theirs = pkg_chooses(&julia, &data).await;
    let catalogue = catalogue(&data);
    assert_eq!(theirs.len(), ASKED.lines().count());
    let mut differing = BTreeSet::new();
    for (line, theirs) in &theirs {
        let ours = airlock_chooses(&catalogue, &version, line);
        let mut names: Vec<_> = line.split(' ').collect();
        names.reverse();
        assert_eq!(airlock_chooses(&catalogue, &version, &names.join(" ")), ours, "{line}, and backwards");
        if ours != *theirs {
            differing.insert(line.as_str());
            let known = DIFFERENCES.iter().find(|(known, _)| known == line);
            let difference = difference(&catalogue, &ours, theirs);
            let Some((_, why)) = known else { panic!("{line}: {difference}") };
            let all = |_: &Uuid| true;
            let both = |uuid: &Uuid| ours.contains_key(uuid) && theirs.contains_key(uuid);
            let weigh = |versions, counts: &dyn Fn(&Uuid) -> bool| sums(&catalogue, line, versions, counts);
            assert_eq!(weigh(&ours, &all) > weigh(theirs, &all), *why == Why::Newer, "{line}: {difference}");
            assert!(*why == Why::Newer || weigh(&ours, &both) > weigh(theirs, &both), "{line}: {difference}");
        }
    }
    let gone: Vec<_> = DIFFERENCES.iter().filter(|(line, _)| !differing.contains(line)).collect();
    assert!(gone.is_empty(), "no difference any more: {gone:?}");
}

/// The sums of the major, minor and patch numbers: of what was asked for, then of the rest.
fn sums(catalogue: &Catalogue, line: &str, versions: &Versions, counts: &dyn Fn(&Uuid) -> bool) -> [[u64; 3]; 2] {
    let mut sums = [[0; 3]; 2];
    for (&uuid, version) in versions.iter().filter(|(uuid, _)| counts(uuid)) {
        let is_asked = line.split(' ').any(|name| catalogue.index().name(uuid) == Some(name));
        let numbers = [version.major, version.minor, version.patch];
        let [asked, rest] = &mut sums;
        let of = if is_asked { asked } else { rest };
        of.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += u64::from(number));
    }
    sums
}

fn difference(catalogue: &Catalogue, ours: &Versions, theirs: &Versions) -> String {
    let all: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let shown = |version: Option<&Version>| version.map_or("none".to_owned(), ToString::to_string);
    let differs = all.into_iter().filter(|uuid| ours.get(uuid) != theirs.get(uuid)).map(|uuid| {
        let name = catalogue.index().name(*uuid).or_else(|| stdlib::name(*uuid)).unwrap_or("?");
        format!("{name} {} (Pkg: {})", shown(ours.get(uuid)), shown(theirs.get(uuid)))
    });
    differs.collect::<Vec<_>>().join(", ")
}

/// Where single patch releases differ from their minor: the table has what the last of them depend on.
const OTHER_PATCHES: &[(&str, &str)] = &[
    // `FileWatching` came with 1.7.3.
    ("1.7.1", "Downloads"),
    ("1.7.2", "Downloads"),
    // Of two manifests one has `CompilerSupportLibraries_jll`, as all later ones do.
    ("1.12.1", "p7zip_jll"),
];

#[test]
fn standard_libraries_depend_on_what_real_manifests_say() {
    let Some(folder) = test_data("manifests") else { return };
    let mut seen = 0;
    let mut wrong = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let Ok(manifest) = Manifest::parse(&text) else { continue };
        // What was developed towards a release had other libraries every week.
        let julia = manifest.julia_version.and_then(|julia| julia.parse().ok());
        let Some(julia) = julia.filter(|julia: &Version| !julia.is_prerelease() && stdlib::is_known(julia)) else {
            continue;
        };
        let table: toml::Table = text.parse().unwrap();
        for (name, entries) in table["deps"].as_table().unwrap() {
            for entry in entries.as_array().unwrap() {
                let uuid = entry["uuid"].as_str().unwrap().parse().unwrap();
                let shipped = stdlib::shipped(uuid, &julia) != stdlib::Shipped::No;
                if !shipped || entry.get("git-tree-sha1").is_some() || entry.get("path").is_some() {
                    continue;
                }
                seen += 1;
                let deps = stdlib::deps(uuid, &julia).map(|(name, _)| name).collect();
                let weak_deps = stdlib::weak_deps(uuid, &julia).map(|(name, _)| name).collect();
                let agrees = names(entry.get("deps")) == deps && names(entry.get("weakdeps")) == weak_deps;
                let known = OTHER_PATCHES.contains(&(julia.to_string().as_str(), name.as_str()));
                if !agrees && !known {
                    wrong.insert(format!("{name} of Julia {julia}: {entry} and not {deps:?} {weak_deps:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 1000, "{seen}");
}

/// A list of names, or a table of them.
fn names(value: Option<&toml::Value>) -> BTreeSet<&str> {
    let list = value.and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_str);
    let table = value.and_then(toml::Value::as_table).into_iter().flatten().map(|(name, _)| name.as_str());
    list.chain(table).collect()
}
