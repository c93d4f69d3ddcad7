//! Small registries, and what is chosen from them.

use super::*;

/// A registry written in short: `App 2.0.0 julia=1.9-1 Lib=2 Old` is a version and what it needs;
/// `!` behind the version means yanked, `?Name` a weak dependency, `#` before the name of a
/// dependency one that is in no registry.
pub(super) fn catalogue(lines: &[&str]) -> Arc<Catalogue> {
    named_catalogue("R", lines)
}

pub(super) fn uuid(name: &str) -> Uuid {
    let known =
        [("Dates", "ade2ca70-3891-5945-98fb-dc099432e06a"), ("Statistics", "10745b16-79ce-11e8-11f9-7d13ad32a3b2")];
    if let Some((_, uuid)) = known.iter().find(|(known, _)| *known == name) {
        return uuid.parse().unwrap();
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(byte, letter)| *byte = letter);
    Uuid::from_random(bytes)
}

pub(super) fn named_catalogue(registry: &str, lines: &[&str]) -> Arc<Catalogue> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut names = std::collections::BTreeSet::new();
    let mut add = |file: String, text: String| files.entry(file).or_default().push_str(&text);
    for (number, line) in lines.iter().enumerate() {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let (version, yanked) = version.strip_suffix('!').map_or((version, ""), |it| (it, "yanked = true\n"));
        names.insert(name);
        let tree = format!("{:040x}", number + 1 + registry.len() * 0x1000);
        add(format!("{name}/Versions.toml"), format!("[\"{version}\"]\ngit-tree-sha1 = \"{tree}\"\n{yanked}"));
        let section = version.split(['+', '-']).next().unwrap();
        let words: Vec<_> = words.collect();
        for file in ["Deps", "Compat", "WeakDeps", "WeakCompat"].iter().filter(|_| !words.is_empty()) {
            add(format!("{name}/{file}.toml"), format!("[\"{section}\"]\n"));
        }
        for word in words {
            let (weak, word) = word.strip_prefix('?').map_or(("", word), |word| ("Weak", word));
            let (dependency, compat) = word.split_once('=').unwrap_or((word, ""));
            if dependency != "julia" {
                add(format!("{name}/{weak}Deps.toml"), format!("{dependency} = \"{}\"\n", uuid(dependency)));
            }
            if !compat.is_empty() {
                let ranges: Vec<_> = compat.split('|').map(|range| format!("\"{range}\"")).collect();
                add(format!("{name}/{weak}Compat.toml"), format!("{dependency} = [{}]\n", ranges.join(",")));
            }
        }
    }
    let listed: Vec<_> =
        names.iter().map(|name| format!("{} = {{name='{name}',path='{name}'}}\n", uuid(name))).collect();
    let listed = listed.concat();
    add("Registry.toml".to_owned(), format!("name='{registry}'\nuuid='{}'\n[packages]\n{listed}", uuid(registry)));
    let mut builder = CatalogueBuilder::default();
    for (path, text) in files {
        builder.file(&path, text.into_bytes());
    }
    Arc::new(builder.finish().unwrap())
}

fn ask(catalogues: &[Arc<Catalogue>], julia: &str, roots: &[&str]) -> Result<Solution, Conflict> {
    let root = |text: &&str| {
        let (name, range) = text.split_once('@').unwrap_or((text, ""));
        let ranges = range.split('|').filter(|range| !range.is_empty()).map(|range| range.parse().unwrap());
        Root { uuid: uuid(name), ranges: ranges.collect() }
    };
    let roots = roots.iter().map(root).collect();
    solve(catalogues, &Question::new(julia.parse().unwrap(), roots))
}

/// `App 1.0.0, Lib 2.0.0`, or why not.
fn chosen(lines: &[&str], julia: &str, roots: &[&str]) -> String {
    match ask(&[catalogue(lines)], julia, roots) {
        Ok(solution) => {
            let mut shown: Vec<_> = solution
                .packages
                .values()
                .map(|it| it.version.as_ref().map_or(it.name.clone(), |version| format!("{} {version}", it.name)))
                .collect();
            shown.sort_unstable();
            shown.join(", ")
        }
        Err(conflict) => conflict.to_string(),
    }
}

const JULIA: &str = "1.5.3";

#[test]
fn the_newest_that_fits() {
    let lines = ["App 1.0.0 Lib=1", "App 2.0.0 Lib=2 Dates", "Lib 1.0.0", "Lib 2.0.0", "Lib 2.1.0!", "Lib 3.0.0"];
    assert_eq!(chosen(&lines, JULIA, &["App"]), "App 2.0.0, Dates, Lib 2.0.0, Printf, Unicode");
    assert_eq!(chosen(&lines, JULIA, &["App", "Lib@1"]), "App 1.0.0, Lib 1.0.0");
    assert_eq!(chosen(&lines, JULIA, &["Lib@1|3"]), "Lib 3.0.0");
    assert_eq!(chosen(&lines, JULIA, &["Lib", "Lib@2"]), "Lib 2.0.0", "both count");
}

#[test]
fn what_was_asked_for_is_newest_before_what_it_needs() {
    let lines = ["A 1.0.0 C", "B 1.0.0 C", "B 2.0.0 C=1", "C 1.0.0", "C 2.0.0 A"];
    assert_eq!(chosen(&lines, JULIA, &["A", "B"]), "A 1.0.0, B 2.0.0, C 1.0.0");
}

/// Pkg 1.5.3 chooses the same in both orders: the sum of the versions of both is what counts.
#[test]
fn the_order_of_the_names_makes_no_difference() {
    let lines = ["Aa 1.0.0 Bb", "Aa 1.1.0 Bb=1", "Bb 1.0.0", "Bb 9.0.0"];
    for roots in [["Aa", "Bb"], ["Bb", "Aa"]] {
        assert_eq!(chosen(&lines, JULIA, &roots), "Aa 1.0.0, Bb 9.0.0", "{roots:?}");
    }
}

/// As HDF5 and its library: once something must be there Pkg chooses for it from every side, and who
/// does not bound it would take another version than who does, so the versions are weighed.
#[test]
fn what_must_be_there_is_chosen_from_every_side() {
    let lines = [
        "App 1.0.0 Mid Base",
        "App 0.9.0 Base",
        "Mid 1.0.6 Lib=1",
        "Mid 1.0.7 Lib=1.0",
        "Lib 1.0.0 Base",
        "Lib 1.2.0 Base",
        "Base 1.0.0",
        "Base 0.9.0",
    ];
    assert_eq!(chosen(&lines, JULIA, &["App"]), "App 1.0.0, Base 1.0.0, Lib 1.2.0, Mid 1.0.6");
}

#[test]
fn what_is_fixed_is_not_chosen() {
    let lines = ["App 1.0.0 Me=2", "App 0.9.0 Me=1", "Me 1.0.0", "Me 2.0.0"];
    let catalogues = [catalogue(&lines)];
    let ask = |version: &str, app: &str| {
        let ranges = app.split('|').filter(|range| !range.is_empty()).map(|range| range.parse().unwrap()).collect();
        let question = Question::new(JULIA.parse().unwrap(), vec![Root { uuid: uuid("App"), ranges }]);
        let fixed = [(uuid("Me"), version.parse().unwrap())].into();
        solve(&catalogues, &Question { fixed, ..question })
    };
    let solution = ask("1.5.0-DEV", "").unwrap();
    assert_eq!(solution.packages.len(), 1, "it is no part of the solution");
    let app = &solution.packages[&uuid("App")];
    assert_eq!((app.version.as_deref(), app.deps["Me"]), (Some("0.9.0"), uuid("Me")));
    let said = ask("1.5.0", "1").unwrap_err().to_string();
    assert!(said.contains("App 1.0.0 (asked for) needs Me 2, but Me is here in version 1.5.0"), "{said}");
}

#[test]
fn builds_count_and_prereleases_are_below_their_release() {
    let lines = ["X_jll 1.2.3+4", "X_jll 1.2.3+10", "X_jll 1.2.3+9", "P 1.0.0-rc1", "P 0.9.0"];
    assert_eq!(chosen(&lines, JULIA, &["X_jll"]), "X_jll 1.2.3+10");
    // Pkg makes no difference between a pre-release and other versions (`deps_graph`).
    assert_eq!(chosen(&lines, JULIA, &["P"]), "P 1.0.0-rc1");
}

#[test]
fn a_julia_decides_what_runs_on_it_and_what_it_ships() {
    let lines = [
        "App 1.0.0 julia=1.0-1.8 Statistics",
        "App 2.0.0 julia=1.9-1 Statistics=1",
        "Statistics 1.9.0",
        "Statistics 1.11.1 Missing",
    ];
    let statistics = "LinearAlgebra, Random, Serialization, SparseArrays, Statistics";
    assert_eq!(chosen(&lines, JULIA, &["App"]), format!("App 1.0.0, Libdl, {statistics}"));
    let on_10 = chosen(&lines, "1.10.2", &["App"]);
    assert!(on_10.contains("App 2.0.0") && on_10.contains("Statistics 1.10.0"), "shipped: {on_10}");
    assert_eq!(chosen(&lines, "1.11.5", &["App"]), "App 2.0.0, Statistics 1.9.0", "chosen from the registry");
}

#[test]
fn a_weak_dependency_constrains_only_what_is_there_anyway() {
    let lines = ["App 1.0.0 ?Lib=1", "App 0.9.0", "Lib 1.0.0", "Lib 2.0.0", "Other 1.0.0 Lib"];
    assert_eq!(chosen(&lines, "1.10.2", &["App"]), "App 1.0.0");
    assert_eq!(chosen(&lines, "1.10.2", &["App", "Other"]), "App 1.0.0, Lib 1.0.0, Other 1.0.0");
    assert_eq!(chosen(&lines, "1.8.5", &["App", "Other"]), "App 1.0.0, Lib 2.0.0, Other 1.0.0", "unknown before 1.9");
    let solution = ask(&[catalogue(&lines)], "1.10.2", &["App"]).unwrap();
    let app = &solution.packages[&uuid("App")];
    assert_eq!((app.deps.len(), app.weak_deps.get("Lib"), app.is_root), (0, Some(&uuid("Lib")), true));
}

#[test]
fn versions_of_several_registries_are_one_list() {
    let (one, other) = (["Lib 1.0.0", "Lib 3.0.0!"], ["Lib 2.0.0", "App 1.0.0 Lib"]);
    let both = [named_catalogue("R", &one), named_catalogue("R2", &other)];
    let solution = ask(&both, JULIA, &["App"]).unwrap();
    assert_eq!(solution.packages[&uuid("Lib")].version.as_deref(), Some("2.0.0"));
    // What one of them says is weak is weak.
    let both = [named_catalogue("R", &["App 1.0.0 Lib"]), named_catalogue("S", &["App 1.0.0 ?Lib", "Lib 1.0.0"])];
    assert_eq!(ask(&both, "1.10.2", &["App"]).unwrap().packages.len(), 1);
    // One version under two trees.
    let both = [named_catalogue("R", &one), named_catalogue("Other", &["Lib 1.0.0"])];
    let error = ask(&both, JULIA, &["Lib"]).unwrap_err();
    assert_eq!(error.to_string(), "Lib 1.0.0 has one tree in the registry R and another in Other");
}

#[test]
fn what_one_registry_takes_back_another_may_have() {
    for (line, julia) in [("Lib 1.0.0!", JULIA), ("Lib 1.0.0 julia=1.6-1", JULIA)] {
        // Under one tree: the registries differ in nothing else.
        let both = [named_catalogue("R", &[line]), named_catalogue("S", &["Lib 1.0.0"])];
        assert!(ask(&both[..1], julia, &["Lib"]).is_err(), "{line}");
        let solution = ask(&both, julia, &["Lib"]).unwrap();
        assert_eq!(solution.packages[&uuid("Lib")].version.as_deref(), Some("1.0.0"), "{line}");
    }
}

#[test]
fn a_policy_forbids_with_its_reason() {
    let catalogues = [catalogue(&["Lib 1.0.0", "Lib 2.0.0"])];
    let ask = |forbids: &dyn Fn(Uuid, &RegisteredVersion<'_>) -> Option<String>| {
        let roots = vec![Root { uuid: uuid("Lib"), ranges: Vec::new() }];
        solve(&catalogues, &Question { forbids, ..Question::new(JULIA.parse().unwrap(), roots) })
    };
    let young = |_, entry: &RegisteredVersion<'_>| (entry.version == "2.0.0").then(|| "too young".to_owned());
    assert_eq!(ask(&young).unwrap().packages[&uuid("Lib")].version.as_deref(), Some("1.0.0"));
    let denied = ask(&|_, _| Some("denied by the policy".to_owned())).unwrap_err();
    assert_eq!(denied.to_string(), "no version of Lib may be chosen: denied by the policy (1.0.0, 2.0.0)");
}

#[test]
fn a_conflict_is_told_in_words() {
    for (lines, roots, said) in [
        (
            &["Foo 1.2.0 Bar=0.3", "Baz 1.0.0 Bar=0.4", "Bar 0.3.0", "Bar 0.4.0"][..],
            &["Foo", "Baz"][..],
            "Baz 1.0.0 (asked for) needs Bar 0.4, but Foo 1.2.0 (asked for) needs Bar 0.3",
        ),
        (&["Foo 1.0.0 julia=1.6-1"], &["Foo"], "no version of Foo runs on Julia 1.5.3"),
        (&["Foo 1.0.0!"], &["Foo"], "no version of Foo may be chosen: yanked (1.0.0)"),
        (&["Foo 1.0.0"], &["Foo@2"], "Foo 2 was asked for, of which there is no version: it has 1.0.0"),
        (&["Foo 1.0.0"], &["Bar"], &format!("{0} was asked for, which no registry here has ({0})", uuid("Bar"))),
        (
            &["Foo 1.0.0 Gone"],
            &["Foo"],
            &format!("Foo 1.0.0 (asked for) needs Gone, which no registry here has ({})", uuid("Gone")),
        ),
        (
            &["Foo 1.0.0 Bar=2", "Bar 1.0.0", "Bar 2.0.0 julia=1.6-1"],
            &["Foo"],
            "Foo 1.0.0 (asked for) needs Bar 2, of which no version may be chosen: not for Julia 1.5.3 (2.0.0)",
        ),
        (
            &["Foo 1.0.0 Dates=2-3"],
            &["Foo"],
            "Foo 1.0.0 (asked for) needs Dates 2 to 3.x, but Julia 1.5.3 ships Dates 1.5.3",
        ),
    ] {
        assert_eq!(chosen(lines, JULIA, roots), said);
    }
    let series = chosen(&["Foo 1.0.0 Dates=2"], "1.8", &["Foo"]);
    assert_eq!(series, "Foo 1.0.0 (asked for) needs Dates 2, but Julia 1.8 ships Dates 1.8", "as it was asked");
}

#[test]
fn a_longer_chain_names_each_link() {
    let lines = ["App 1.0.0 Mid Lib=2", "Mid 1.0.0 Lib=1", "Mid 1.1.0 Lib=1", "Lib 1.0.0", "Lib 2.0.0"];
    let said = chosen(&lines, JULIA, &["App"]);
    for fact in
        ["App 1.0.0 (asked for) needs Mid", "App 1.0.0 (asked for) needs Lib 2", "Mid 1.0.0 to 1.1.0 needs Lib 1"]
    {
        assert!(said.contains(fact), "{fact}: {said}");
    }
}

/// Small registries, all of whose combinations can be tried.
mod small {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 4] = ["A", "B", "C", "D"];
    const RANGES: [&str; 6] = ["", "1", "2", "3", "1-2", "1|3"];

    /// Of each version of each package, what it needs of each package: nothing, or a range, which may
    /// be weak.
    type Needs = Vec<Vec<Vec<Option<(usize, bool)>>>>;

    fn needs() -> impl Strategy<Value = Needs> {
        let need = prop_oneof![3 => Just(None), 2 => (0..RANGES.len(), any::<bool>()).prop_map(Some)];
        let version = prop::collection::vec(need, NAMES.len());
        prop::collection::vec(prop::collection::vec(version, 3), NAMES.len())
    }

    fn lines(needs: &Needs) -> Vec<String> {
        let mut lines = Vec::new();
        for (package, versions) in needs.iter().enumerate() {
            for (version, needs) in versions.iter().enumerate() {
                let mut line = format!("{} {}.0.0", NAMES[package], version + 1);
                for (other, need) in needs.iter().enumerate().filter(|(other, _)| *other != package) {
                    if let Some((range, weak)) = need {
                        line += if *weak { " ?" } else { " " };
                        line += NAMES[other];
                        line += if RANGES[*range].is_empty() { "" } else { "=" };
                        line += RANGES[*range];
                    }
                }
                lines.push(line);
            }
        }
        lines
    }

    /// Whether versions (0 for none) go together; the first package was asked for.
    fn fits(needs: &Needs, versions: &[usize]) -> bool {
        let suits = |range: usize, version: usize| match RANGES[range] {
            "" => version > 0,
            "1-2" => (1..=2).contains(&version),
            ranges => ranges.split('|').any(|range| range.parse() == Ok(version)),
        };
        let met = |(package, &version): (usize, &usize)| {
            version == 0
                || needs[package][version - 1].iter().zip(versions).enumerate().all(|(other, (need, &version))| {
                    need.is_none_or(|(range, weak)| other == package || (weak && version == 0) || suits(range, version))
                })
        };
        versions[0] > 0 && versions.iter().enumerate().all(met)
    }

    proptest! {
        #[test]
        fn a_solution_is_found_if_there_is_one_and_none_of_it_can_be_newer(needs in needs()) {
            let lines = lines(&needs);
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let every = (0..256usize).map(|code| [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6]);
            let fitting: Vec<_> = every.filter(|versions| fits(&needs, versions)).collect();
            match ask(&[catalogue(&lines)], "1.10.2", &["A"]) {
                Err(conflict) => prop_assert!(fitting.is_empty(), "{}: {:?}", conflict, lines),
                Ok(solution) => {
                    let version = |name: &&str| {
                        let chosen = solution.packages.get(&uuid(name)).and_then(|it| it.version.as_ref());
                        chosen.map_or(0, |version| version[..1].parse().unwrap())
                    };
                    let chosen: Vec<usize> = NAMES.iter().map(version).collect();
                    prop_assert!(fits(&needs, &chosen), "{:?}: {:?}", chosen, lines);
                    prop_assert_eq!(chosen[0], fitting.iter().map(|it| it[0]).max().unwrap());
                    for package in 0..NAMES.len() {
                        for newer in (chosen[package] + 1..=3).filter(|_| chosen[package] > 0) {
                            let mut other = chosen.clone();
                            other[package] = newer;
                            prop_assert!(!fits(&needs, &other), "{:?} or {:?}: {:?}", chosen, other, lines);
                        }
                    }
                }
            }
        }
    }
}
