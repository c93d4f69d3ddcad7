//! Many versions at once: all of some packages, or of whole registries, and on demand whatever they
//! may resolve to.

use super::registries::Registries;
use super::said::said_packages;
use super::{Asked, Input, WantedPackage};
use crate::exchange::Wish;
use crate::julia::{JuliaTarget, PackageDeps, RegisteredVersion, RegistryIndex, Version, VersionRange, stdlib};
use crate::protocol::{Resource, Uuid};
use crate::resolve::Conflict;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

/// Many versions at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Many {
    /// All versions of these packages.
    pub names: Vec<Asked>,
    /// All versions of all packages.
    pub whole: Option<Whole>,
    /// Of each of them only so many, the newest.
    pub newest: Option<usize>,
    /// Every version that something of all that was chosen may resolve to.
    pub closed: bool,
}

/// Whole registries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// Each that is listed here.
    Every,
    /// One, by its name or uuid.
    One(String),
}

/// What many versions come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// The packages.
    pub packages: BTreeMap<Resource, WantedPackage>,
    /// What was asked for and is not there, a sentence each.
    pub problems: Vec<String>,
}

/// Whether a version is wanted at all.
pub type Admits<'a> = dyn Fn(&RegisteredVersion<'_>) -> bool + 'a;

impl Many {
    /// Whether anything is asked for.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.whole.is_none() && !self.closed
    }
}

/// What versions are chosen from.
#[derive(Clone, Copy)]
pub struct Choice<'c> {
    /// The registries.
    pub registries: &'c Registries,
    /// Only what runs on one of these; on any, if there is none.
    pub julias: &'c [JuliaTarget],
    /// Only what this takes.
    pub admits: &'c Admits<'c>,
    /// Whether nobody waits for the answer any more.
    pub stopped: &'c dyn Fn() -> bool,
}

/// What is asked for, beside what the inputs have. Blocks.
pub fn many_versions(many: &Many, inputs: &[Input], choice: &Choice<'_>) -> Versions {
    let registries = choice.registries;
    let mut versions = Versions::default();
    let mut packages = BTreeSet::new();
    for asked in &many.names {
        match registries.find(&asked.wish.name, asked.uuid) {
            Ok(uuid) if registries.has(uuid) => versions.all(choice, uuid, Some(&asked.wish), many.newest),
            Ok(_) => {
                versions.problems.push(format!("{} is a standard library, and in no registry here", asked.wish.name));
            }
            Err(error) => versions.problems.push(error.to_string()),
        }
    }
    match many.whole.as_ref().map(|whole| whole.packages(registries)).transpose() {
        Ok(whole) => packages.extend(whole.into_iter().flatten()),
        Err(problem) => versions.problems.push(problem),
    }
    for uuid in packages {
        versions.all(choice, uuid, None, many.newest);
    }
    if many.closed {
        // As anything wants them: what was chosen, manifests, lists of misses, requests.
        let mut start: BTreeSet<_> = versions.packages.keys().copied().collect();
        start.extend(said_packages(inputs, registries));
        match close(&start, choice) {
            Ok(found) => versions.packages.extend(found),
            Err(conflict) => versions.problems.push(format!("--dependents-closed: {conflict}")),
        }
    }
    versions
}

impl Whole {
    fn packages(&self, registries: &Registries) -> Result<Vec<Uuid>, String> {
        let is_meant = |name: &str, uuid: Uuid| match self {
            Self::Every => true,
            Self::One(meant) => meant == name || meant.to_lowercase() == uuid.to_string(),
        };
        let indexes = || registries.catalogues.iter().map(|catalogue| catalogue.index());
        let meant: Vec<_> = indexes().filter(|index| is_meant(index.registry_name(), index.registry_uuid())).collect();
        if meant.is_empty() {
            let known: Vec<_> = indexes().map(RegistryIndex::registry_name).collect();
            return Err(match self {
                Self::One(name) if !known.is_empty() => {
                    format!("no registry {name} is here, only {}", known.join(" and "))
                }
                _ => "no registry is here".to_owned(),
            });
        }
        Ok(meant.into_iter().flat_map(|index| index.packages().map(|(uuid, _)| uuid)).collect())
    }
}

impl Versions {
    /// The newest of a package, for each Julia those that run on it.
    fn all(&mut self, choice: &Choice<'_>, uuid: Uuid, wish: Option<&Wish>, newest: Option<usize>) {
        for julia in choice.each_julia() {
            let mut versions: BTreeMap<Version, RegisteredVersion<'_>> = BTreeMap::new();
            for (version, entry, _) in choice.running(uuid, julia) {
                if wish.is_none_or(|wish| wish.admits(&version)) {
                    versions.entry(version).or_insert(entry);
                }
            }
            let newest = versions.into_values().rev().take(newest.unwrap_or(usize::MAX));
            self.packages.extend(newest.map(|entry| wanted(&entry)));
        }
    }
}

impl<'c> Choice<'c> {
    fn each_julia(&self) -> Vec<Option<&'c Version>> {
        if self.julias.is_empty() {
            vec![None]
        } else {
            self.julias.iter().map(|julia| Some(julia.version())).collect()
        }
    }

    /// The versions of a package that may be had and run on a Julia, with what they depend on. None
    /// of a registry where that cannot be read.
    fn running(&self, uuid: Uuid, julia: Option<&Version>) -> Vec<Running<'c>> {
        let mut running = Vec::new();
        for catalogue in &self.registries.catalogues {
            let deps = match catalogue.deps(uuid) {
                Some(Err(_)) if julia.is_some() => continue,
                Some(deps) => deps.ok(),
                None => None,
            };
            let entries = catalogue.index().versions(uuid).filter(|it| !it.yanked && (self.admits)(it));
            let mut versions: Vec<_> = entries.filter_map(|it| Some((it.version.parse().ok()?, it, deps))).collect();
            versions.sort_by(|a: &Running<'_>, b| a.0.cmp(&b.0));
            let refused = deps.zip(julia).map(|(deps, julia)| deps.refused(julia, &versions, |(version, ..)| version));
            let refused = refused.into_iter().flatten().chain(std::iter::repeat(false));
            running
                .extend(versions.into_iter().zip(refused).filter(|(_, refused)| !refused).map(|(version, _)| version));
        }
        running
    }
}

fn wanted(entry: &RegisteredVersion<'_>) -> (Resource, WantedPackage) {
    let wanted = WantedPackage { name: Some(entry.name.to_owned()), version: Some(entry.version.to_owned()) };
    (Resource::Package { uuid: entry.uuid, tree: entry.tree }, wanted)
}

/// A version, and what all of its package depend on.
type Running<'r> = (Version, RegisteredVersion<'r>, Option<&'r PackageDeps>);

/// A version of a package with what it needs for one Julia.
struct Candidate<'r> {
    version: Version,
    entry: RegisteredVersion<'r>,
    needs: Vec<(Uuid, Vec<&'r [VersionRange]>)>,
}

/// Steps until it is given up: sections that are read, versions that are compared. A bound on registries
/// that are made to take for ever.
const STEPS: u64 = 200_000_000;
/// A name costs as much as so many sections: it is kept.
const NAME: usize = 64;

/// What these may resolve to for one Julia, in any number of steps.
struct Closing<'c> {
    choice: &'c Choice<'c>,
    julia: Option<&'c Version>,
    packages: HashMap<Uuid, Rc<Vec<Candidate<'c>>>>,
    left: u64,
}

fn close(start: &BTreeSet<Resource>, choice: &Choice<'_>) -> Result<BTreeMap<Resource, WantedPackage>, Conflict> {
    let mut found = BTreeMap::new();
    let mut left = STEPS;
    for julia in choice.each_julia() {
        let mut closing = Closing { choice, julia, packages: HashMap::new(), left };
        found.extend(closing.all(start)?);
        left = closing.left;
    }
    Ok(found)
}

impl<'c> Closing<'c> {
    fn all(&mut self, start: &BTreeSet<Resource>) -> Result<BTreeMap<Resource, WantedPackage>, Conflict> {
        let mut seen: BTreeSet<(Uuid, usize)> = BTreeSet::new();
        for resource in start {
            let Some(uuid) = resource.uuid() else { continue };
            let candidates = self.candidates(uuid)?;
            let at = candidates.iter().position(|candidate| candidate.entry.tree == resource.tree());
            seen.extend(at.map(|at| (uuid, at)));
        }
        let mut queue: Vec<_> = seen.iter().copied().collect();
        let mut found = BTreeMap::new();
        // Most versions of a package need the same: sections are told apart by where they are.
        let mut known: HashSet<(Uuid, Vec<*const [VersionRange]>)> = HashSet::new();
        while let Some((uuid, at)) = queue.pop() {
            let candidates = self.candidates(uuid)?;
            let Some(candidate) = candidates.get(at) else { continue };
            found.extend([wanted(&candidate.entry)]);
            for (dependency, compat) in &candidate.needs {
                if !known.insert((*dependency, compat.iter().map(|&ranges| std::ptr::from_ref(ranges)).collect())) {
                    continue;
                }
                let dependencies = self.candidates(*dependency)?;
                self.step(dependencies.len() * (1 + compat.len()))?;
                let accepted = dependencies.iter().enumerate().filter(|(_, it)| accepts(compat, &it.version));
                queue.extend(accepted.map(|(at, _)| (*dependency, at)).filter(|place| seen.insert(*place)));
            }
        }
        Ok(found)
    }

    fn step(&mut self, steps: usize) -> Result<(), Conflict> {
        self.left = self.left.saturating_sub(u64::try_from(steps).unwrap_or(u64::MAX));
        match self.left {
            0 => Err(Conflict::TooLong),
            _ if (self.choice.stopped)() => Err(Conflict::Stopped),
            _ => Ok(()),
        }
    }

    /// The versions of a package that run on this Julia; none of what it ships.
    fn candidates(&mut self, uuid: Uuid) -> Result<Rc<Vec<Candidate<'c>>>, Conflict> {
        if let Some(known) = self.packages.get(&uuid) {
            return Ok(Rc::clone(known));
        }
        let is_shipped = self.julia.is_some_and(|julia| stdlib::shipped(uuid, julia) != stdlib::Shipped::No);
        let candidates = Rc::new(if is_shipped { Vec::new() } else { self.read(uuid)? });
        self.packages.insert(uuid, Rc::clone(&candidates));
        Ok(candidates)
    }

    fn read(&mut self, uuid: Uuid) -> Result<Vec<Candidate<'c>>, Conflict> {
        let knows_weak = self.julia.is_none_or(|julia| (julia.major, julia.minor) >= (1, 9));
        let choice = self.choice;
        let mut candidates = Vec::new();
        for (version, entry, deps) in choice.running(uuid, self.julia) {
            let needs = deps.map(|deps| deps.of(&version, knows_weak)).unwrap_or_default();
            self.step(1 + deps.map_or(0, PackageDeps::sections) + NAME * needs.len())?;
            let needs = needs.into_values().filter(|need| !need.weak).map(|need| (need.uuid, need.compat));
            candidates.push(Candidate { version, entry, needs: needs.collect() });
        }
        Ok(candidates)
    }
}

fn accepts(compat: &[&[VersionRange]], version: &Version) -> bool {
    compat.iter().all(|ranges| ranges.iter().any(|range| range.contains(version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closure::Content;
    use crate::julia::{Manifest, MissList};
    use crate::resolve::CatalogueBuilder;
    use std::fmt::Write as _;
    use std::sync::Arc;

    const A: &str = "11111111-1111-1111-1111-111111111111";
    const B: &str = "22222222-2222-2222-2222-222222222222";

    fn registries(files: &[(&str, &str)]) -> Registries {
        let mut builder = CatalogueBuilder::default();
        let listed = format!("[packages]\n{A}={{name='A',path='A'}}\n{B}={{name='B',path='B'}}\n");
        builder.file("Registry.toml", format!("name='R'\nuuid='{A}'\n{listed}").into_bytes());
        for (path, text) in files {
            builder.file(path, text.as_bytes().to_vec());
        }
        Registries { catalogues: vec![Arc::new(builder.finish().unwrap())], problems: Vec::new() }
    }

    fn chosen(many: &Many, inputs: &[Input], registries: &Registries, julias: &[&str]) -> Versions {
        let julias: Vec<JuliaTarget> = julias.iter().map(|julia| julia.parse().unwrap()).collect();
        let choice = Choice { registries, julias: &julias, admits: &|_| true, stopped: &|| false };
        many_versions(many, inputs, &choice)
    }

    fn shown(versions: &Versions) -> Vec<String> {
        let shown = |it: &WantedPackage| format!("{} {}", it.name.as_deref().unwrap(), it.version.as_deref().unwrap());
        versions.packages.values().map(shown).collect()
    }

    fn small() -> Registries {
        let version = |version: &str, tree: u8| format!("['{version}']\ngit-tree-sha1 = '{tree:040x}'\n");
        registries(&[
            ("A/Versions.toml", &(version("1.0.0+1", 1) + &version("1.0.0+10", 2) + &version("2.0.0", 3))),
            ("A/Deps.toml", &format!("[1]\nB='{B}'")),
            ("A/Compat.toml", "[1]\nB='1'\njulia='1.6-1.10'\n[2]\njulia='1.11-1'"),
            ("B/Versions.toml", &(version("1.0.0", 4) + &version("1.1.0", 5) + &version("2.0.0", 6))),
        ])
    }

    #[test]
    fn the_newest_are_those_of_each_julia() {
        let many = Many { names: vec!["A".parse().unwrap()], newest: Some(1), ..Many::default() };
        let newest = |julias: &[&str]| shown(&chosen(&many, &[], &small(), julias));
        assert_eq!(newest(&["1.10"]), ["A 1.0.0+10"]);
        assert_eq!(newest(&["1.10", "1.11"]), ["A 1.0.0+10", "A 2.0.0"]);
        assert_eq!(newest(&[]), ["A 2.0.0"], "of no Julia in particular");
        assert_eq!(newest(&["1.5"]), [""; 0]);
    }

    #[test]
    fn one_build_is_that_build() {
        let all = |asked: &str| {
            let many = Many { names: vec![asked.parse().unwrap()], ..Many::default() };
            shown(&chosen(&many, &[], &small(), &["1.10"]))
        };
        assert_eq!(all("A@1.0.0+1"), ["A 1.0.0+1"]);
        assert_eq!(all("A@1.0.0"), ["A 1.0.0+1", "A 1.0.0+10"]);
    }

    #[test]
    fn what_manifests_and_misses_name_is_closed_too() {
        let tree = |tree: u8| format!("{tree:040x}");
        let manifest = format!("[[A]]\nuuid='{A}'\nversion='1.0.0+1'\ngit-tree-sha1='{}'\n", tree(1));
        let misses = format!("# airlock misses\n/package/{A}/{}\n", tree(1));
        let closed = Many { closed: true, ..Many::default() };
        for content in
            [Content::Manifest(Manifest::parse(&manifest).unwrap()), Content::Misses(MissList::parse(&misses).unwrap())]
        {
            let inputs = [Input { path: "x".into(), kind: None, content: Ok(content) }];
            assert_eq!(shown(&chosen(&closed, &inputs, &small(), &["1.10"])), ["A 1.0.0+1", "B 1.0.0", "B 1.1.0"]);
        }
    }

    /// Small files that stand for much: every version names the other package by more names.
    #[test]
    fn what_takes_too_long_is_given_up() {
        let (mut versions, mut deps, mut compat) = (String::new(), String::new(), String::new());
        for number in 0..4000 {
            write!(versions, "[\"1.0.{number}\"]\ngit-tree-sha1 = \"{number:040x}\"\n").unwrap();
            write!(deps, "[\"1.0.{number}-1\"]\nD{number} = \"{B}\"\n").unwrap();
            write!(compat, "[\"1.0.{number}-1\"]\nD{number} = \"1.0.0-1.0.{}\"\n", 4000 - number).unwrap();
        }
        let back = deps.replace(B, A);
        let hostile = registries(&[
            ("A/Versions.toml", &versions),
            ("A/Deps.toml", &deps),
            ("A/Compat.toml", &compat),
            ("B/Versions.toml", &versions),
            ("B/Deps.toml", &back),
            ("B/Compat.toml", &compat),
        ]);
        let many = Many { names: vec!["A".parse().unwrap()], newest: Some(1), closed: true, ..Many::default() };
        let given_up = chosen(&many, &[], &hostile, &["1.10"]);
        let said = "--dependents-closed: no solution was found within the steps that are allowed";
        assert_eq!((given_up.packages.len(), given_up.problems), (1, vec![said.to_owned()]));
        let choice = Choice { registries: &hostile, julias: &[], admits: &|_| true, stopped: &|| true };
        let stopped = many_versions(&many, &[], &choice);
        assert_eq!(stopped.problems, ["--dependents-closed: it was stopped before a solution was found"]);
    }
}
