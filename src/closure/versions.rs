//! Many versions at once: all of some packages, or of whole registries, and on demand whatever they
//! may resolve to.

use super::registries::Registries;
use super::{Asked, Content, Input, WantedPackage};
use crate::julia::{JuliaTarget, PackageDeps, RegisteredVersion, RegistryIndex, Version, VersionRange, stdlib};
use crate::protocol::{Resource, Uuid};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// What is asked for, beside what the inputs have. Only those that `admits` takes count. Blocks.
pub fn many_versions(
    many: &Many,
    inputs: &[Input],
    registries: &Registries,
    julias: &[JuliaTarget],
    admits: &Admits<'_>,
) -> Versions {
    let mut versions = Versions::default();
    let mut packages = BTreeSet::new();
    for asked in &many.names {
        match registries.find(&asked.wish.name, asked.uuid) {
            Ok(uuid) if registries.has(uuid) => versions.all(registries, uuid, &asked.ranges(), many.newest, admits),
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
        versions.all(registries, uuid, &[], many.newest, admits);
    }
    if many.closed {
        let chosen = inputs.iter().filter_map(|input| match &input.content {
            Ok(Content::Resolved(resolved)) => Some(&resolved.solved),
            _ => None,
        });
        let chosen = chosen.flatten().flat_map(super::Solved::wanted);
        let start: BTreeSet<_> =
            versions.packages.keys().copied().chain(chosen.map(|(resource, _)| resource)).collect();
        let start: Vec<_> = start.into_iter().collect();
        versions.packages.extend(close(&start, registries, julias, admits));
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
    fn all(
        &mut self,
        registries: &Registries,
        uuid: Uuid,
        ranges: &[VersionRange],
        newest: Option<usize>,
        admits: &Admits<'_>,
    ) {
        let mut versions: BTreeMap<Version, RegisteredVersion<'_>> = BTreeMap::new();
        for (_, entry) in registries.versions(uuid) {
            let Ok(version) = entry.version.parse::<Version>() else { continue };
            if (ranges.is_empty() || ranges.iter().any(|range| range.contains(&version))) && admits(&entry) {
                versions.entry(version).or_insert(entry);
            }
        }
        let newest = versions.into_values().rev().take(newest.unwrap_or(usize::MAX));
        self.packages.extend(newest.map(|entry| wanted(&entry)));
    }
}

fn wanted(entry: &RegisteredVersion<'_>) -> (Resource, WantedPackage) {
    let wanted = WantedPackage { name: Some(entry.name.to_owned()), version: Some(entry.version.to_owned()) };
    (Resource::Package { uuid: entry.uuid, tree: entry.tree }, wanted)
}

/// A version of a package with what it needs for one Julia.
struct Candidate<'r> {
    version: Version,
    entry: RegisteredVersion<'r>,
    needs: Vec<(Uuid, Vec<&'r [VersionRange]>)>,
}

/// What these may resolve to for one Julia, in any number of steps.
struct Closing<'r, 'a> {
    registries: &'r Registries,
    julia: Option<&'a Version>,
    admits: &'a Admits<'a>,
    packages: HashMap<Uuid, Rc<Vec<Candidate<'r>>>>,
}

fn close(
    start: &[Resource],
    registries: &Registries,
    julias: &[JuliaTarget],
    admits: &Admits<'_>,
) -> BTreeMap<Resource, WantedPackage> {
    let mut found = BTreeMap::new();
    let everywhere: Vec<_> =
        if julias.is_empty() { vec![None] } else { julias.iter().map(|julia| Some(julia.version())).collect() };
    for julia in everywhere {
        let mut closing = Closing { registries, julia, admits, packages: HashMap::new() };
        found.extend(closing.all(start));
    }
    found
}

impl<'r> Closing<'r, '_> {
    fn all(&mut self, start: &[Resource]) -> BTreeMap<Resource, WantedPackage> {
        let mut seen: BTreeSet<(Uuid, usize)> = BTreeSet::new();
        for resource in start {
            let Some(uuid) = resource.uuid() else { continue };
            let candidates = self.candidates(uuid);
            let at = candidates.iter().position(|candidate| candidate.entry.tree == resource.tree());
            seen.extend(at.map(|at| (uuid, at)));
        }
        let mut queue: Vec<_> = seen.iter().copied().collect();
        let mut found = BTreeMap::new();
        while let Some((uuid, at)) = queue.pop() {
            let candidates = self.candidates(uuid);
            let Some(candidate) = candidates.get(at) else { continue };
            found.extend([wanted(&candidate.entry)]);
            for (dependency, compat) in &candidate.needs {
                let dependencies = self.candidates(*dependency);
                let accepted = dependencies.iter().enumerate().filter(|(_, it)| accepts(compat, &it.version));
                queue.extend(accepted.map(|(at, _)| (*dependency, at)).filter(|place| seen.insert(*place)));
            }
        }
        found
    }

    /// The versions of a package that run on this Julia; none of what it ships.
    fn candidates(&mut self, uuid: Uuid) -> Rc<Vec<Candidate<'r>>> {
        if let Some(known) = self.packages.get(&uuid) {
            return Rc::clone(known);
        }
        let is_shipped = match self.julia {
            Some(julia) => stdlib::shipped(uuid, julia) != stdlib::Shipped::No,
            None => false,
        };
        let candidates: Vec<_> = if is_shipped { Vec::new() } else { self.read(uuid) };
        let candidates = Rc::new(candidates);
        self.packages.insert(uuid, Rc::clone(&candidates));
        candidates
    }

    fn read(&self, uuid: Uuid) -> Vec<Candidate<'r>> {
        let knows_weak = self.julia.is_none_or(|julia| (julia.major, julia.minor) >= (1, 9));
        let all = self.registries.versions(uuid).filter(|(_, entry)| (self.admits)(entry));
        let candidate = |(catalogue, entry): (&'r crate::resolve::Catalogue, RegisteredVersion<'r>)| {
            let version: Version = entry.version.parse().ok()?;
            let deps = match catalogue.deps(uuid) {
                Some(deps) => Some(deps.ok()?),
                None => None,
            };
            let of_julia = deps.into_iter().flat_map(PackageDeps::julia);
            let mut bounds = of_julia.filter(|(versions, _)| versions.contains(&version)).map(|(_, julia)| julia);
            let runs = self.julia.is_none_or(|julia| bounds.all(|ranges| accepts(&[ranges], julia)));
            let needs = deps.map(|deps| deps.of(&version, knows_weak)).unwrap_or_default();
            let needs = needs.into_values().filter(|need| !need.weak).map(|need| (need.uuid, need.compat));
            let needs = needs.collect();
            runs.then_some(Candidate { version, entry, needs })
        };
        all.filter_map(candidate).collect()
    }
}

fn accepts(compat: &[&[VersionRange]], version: &Version) -> bool {
    compat.iter().all(|ranges| ranges.iter().any(|range| range.contains(version)))
}
