//! What wishes by name come to: the versions that Pkg would choose, and all that they need.
//!
//! Each wish by itself, for every Julia that asks: who wishes for two packages may want them in two
//! environments.

use super::registries::Registries;
use super::solve::{Forbids, Solver};
use super::{Asked, WantedPackage};
use crate::exchange::Wish;
use crate::julia::{JuliaTarget, stdlib};
use crate::protocol::Resource;
use std::collections::BTreeMap;

/// What wishes come to.
#[derive(Debug, Default)]
pub struct Granted {
    /// The packages to bring.
    pub packages: BTreeMap<Resource, WantedPackage>,
    /// Wishes that come to nothing, and why.
    pub refused: Vec<(Wish, String)>,
}

/// What wishes come to, for each of these versions of Julia; without any, for the newest that there
/// is a solution for.
pub fn grant(
    wishes: &[Wish],
    julias: &[JuliaTarget],
    registries: &Registries,
    forbids: &Forbids<'_>,
    stopped: &dyn Fn() -> bool,
) -> Granted {
    let mut granted = Granted::default();
    for wish in wishes {
        match grant_one(wish, julias, registries, forbids, stopped) {
            Ok(packages) => granted.packages.extend(packages),
            Err(why) => granted.refused.push((wish.clone(), why)),
        }
    }
    granted
}

fn grant_one(
    wish: &Wish,
    julias: &[JuliaTarget],
    registries: &Registries,
    forbids: &Forbids<'_>,
    stopped: &dyn Fn() -> bool,
) -> Result<BTreeMap<Resource, WantedPackage>, String> {
    let asked = [Asked { wish: wish.clone(), uuid: None }];
    registries.find(&wish.name, None).map_err(|error| error.to_string())?;
    let (mut packages, mut refused, mut is_solved) = (BTreeMap::new(), None, false);
    let mut solve = |julia: &JuliaTarget| {
        let solver = Solver { registries, julias: std::slice::from_ref(julia), tests: false, forbids, stopped };
        let resolved = solver.names(&asked);
        for solved in &resolved.solved {
            packages.extend(solved.wanted());
        }
        refused = refused.take().or_else(|| resolved.conflicts.into_iter().next().map(|conflict| conflict.why));
        is_solved |= !resolved.solved.is_empty();
        !resolved.solved.is_empty()
    };
    if julias.is_empty() {
        _ = newest_first().any(|julia| solve(&julia));
    } else {
        for julia in julias {
            solve(julia);
        }
    }
    match refused {
        Some(why) if !is_solved => Err(why),
        _ if packages.is_empty() => Err("it is part of Julia: nothing is fetched for it".to_owned()),
        _ => Ok(packages),
    }
}

fn newest_first() -> impl Iterator<Item = JuliaTarget> {
    stdlib::julias().iter().rev().filter_map(|minor| minor.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::CatalogueBuilder;
    use std::sync::Arc;

    const APP: &str = "11111111-1111-1111-1111-111111111111";
    const LIB: &str = "22222222-2222-2222-2222-222222222222";
    const LONE: &str = "44444444-4444-4444-4444-444444444444";
    const GONE: &str = "55555555-5555-5555-5555-555555555555";
    const PULLED: &str = "66666666-6666-6666-6666-666666666666";
    const OLD: &str = "33333333-3333-3333-3333-333333333333";
    const DELIMITED_FILES: &str = "8bb1440f-4735-579b-a4ab-409b98df4dab";
    const DATES: &str = "ade2ca70-3891-5945-98fb-dc099432e06a";

    fn versions(versions: &[&str]) -> String {
        let line = |(index, version): (usize, &&str)| {
            let (version, yanked) =
                version.strip_suffix('!').map_or((*version, ""), |version| (version, "yanked = true\n"));
            format!("[\"{version}\"]\ngit-tree-sha1 = \"{:040x}\"\n{yanked}", index + 1)
        };
        versions.iter().enumerate().map(line).collect()
    }

    /// App 2 takes any Lib and a new Julia; App 1 and Old want Lib 1.
    fn registries() -> Registries {
        let packages = [
            ("Lone", LONE),
            ("Pulled", PULLED),
            ("App", APP),
            ("Lib", LIB),
            ("Old", OLD),
            ("DelimitedFiles", DELIMITED_FILES),
        ];
        let listed = packages.map(|(name, uuid)| format!("{uuid}={{name='{name}',path='{name}'}}\n")).concat();
        let registry = format!("name='R'\nuuid='{APP}'\n[packages]\n{listed}");
        let files = [
            ("Registry.toml", registry),
            ("App/Versions.toml", versions(&["1.0.0", "2.0.0", "2.1.0", "2.2.0!"])),
            ("Lib/Versions.toml", versions(&["1.0.0", "1.5.0", "2.0.0"])),
            ("Old/Versions.toml", versions(&["1.0.0"])),
            ("Lone/Versions.toml", versions(&["1.0.0"])),
            ("Pulled/Versions.toml", versions(&["1.0.0!"])),
            ("DelimitedFiles/Versions.toml", versions(&["1.9.1"])),
            ("Lone/Deps.toml", format!("[1]\nGone='{GONE}'")),
            (
                "App/Deps.toml",
                format!("[1-3]\nLib='{LIB}'\nOld='{OLD}'\nDates='{DATES}'\nDelimitedFiles='{DELIMITED_FILES}'"),
            ),
            ("App/Compat.toml", "[1]\nLib='1'\n[2-3]\njulia='1.9-1'".to_owned()),
            ("Old/Deps.toml", format!("[1]\nLib='{LIB}'\nApp='{APP}'")),
            ("Old/Compat.toml", "[1]\nLib='1'".to_owned()),
        ];
        let mut builder = CatalogueBuilder::default();
        for (path, text) in files {
            builder.file(path, text.into_bytes());
        }
        Registries { catalogues: vec![Arc::new(builder.finish().unwrap())], problems: Vec::new() }
    }

    /// What one wish comes to.
    fn granted(wish: &str, julia: &[&str]) -> Vec<String> {
        let julias: Vec<JuliaTarget> = julia.iter().map(|julia| julia.parse().unwrap()).collect();
        let granted = grant(&[wish.parse().unwrap()], &julias, &registries(), &|_, _| None, &|| false);
        let mut labels: Vec<_> = granted.packages.values().filter_map(WantedPackage::label).collect();
        labels.extend(granted.refused.into_iter().map(|(wish, why)| format!("{wish}: {why}")));
        labels.sort_unstable();
        labels
    }

    #[test]
    fn the_newest_and_all_that_it_needs() {
        let all = ["App 2.1.0", "DelimitedFiles 1.9.1", "Lib 1.5.0", "Old 1.0.0"];
        assert_eq!(granted("App", &[]), all, "one Lib for both who ask for it; a cycle ends");
        assert_eq!(granted("App@1", &[]), ["App 1.0.0", "DelimitedFiles 1.9.1", "Lib 1.5.0", "Old 1.0.0"]);
    }

    #[test]
    fn a_julia_decides_what_runs_on_it_and_what_it_brings() {
        assert_eq!(granted("App", &["1.8.5"]), ["App 1.0.0", "Lib 1.5.0", "Old 1.0.0"]);
        let both = granted("App", &["1.8.5", "1.10.2"]);
        assert_eq!(both, ["App 1.0.0", "App 2.1.0", "DelimitedFiles 1.9.1", "Lib 1.5.0", "Old 1.0.0"]);
        assert_eq!(granted("App@2", &["1.8.5", "1.10.2"]).len(), 4, "what one Julia can have comes");
    }

    #[test]
    fn what_cannot_be_granted_is_said() {
        assert_eq!(granted("Nope", &[]), ["Nope: no registry here has a package Nope"]);
        assert_eq!(granted("Dates", &["1.10.2"]), ["Dates: it is part of Julia: nothing is fetched for it"]);
        for wish in ["App@7", "App@2", "Pulled", "Lone"] {
            let [refused] = <[String; 1]>::try_from(granted(wish, &["1.8.5"])).unwrap();
            assert!(refused.starts_with(&format!("{wish}: ")), "{refused}");
        }
    }
}
