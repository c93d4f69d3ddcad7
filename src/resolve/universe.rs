//! What there is to choose from: the packages of all registries for one Julia, each put together
//! when it is first looked at.
//!
//! The rules are those of Pkg's `deps_graph` (`Operations.jl`): the versions of all registries are
//! one list, yanked ones are left out, and a standard library has one version, its own or else
//! that of Julia.

use super::catalogue::Catalogue;
use super::set::{Position, Set};
use super::{Conflict, Question, Root};
use crate::julia::{RegisteredVersion, Version, VersionRange, stdlib};
use crate::protocol::Uuid;
use pubgrub::VersionSet as _;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// The packages of all registries, for one question.
pub(super) struct Universe<'q> {
    pub(super) catalogues: &'q [Arc<Catalogue>],
    pub(super) question: &'q Question<'q>,
    packages: RefCell<HashMap<Uuid, Rc<Package<'q>>>>,
    constraints: RefCell<HashMap<(Uuid, Position), Rc<Constraints>>>,
    /// How much more may be read.
    left: Cell<u64>,
}

/// How much of the registries a search reads, in sections and names: a bound on registries that are made
/// to take for ever.
const READS: u64 = 30_000_000;

/// A name costs as much as so many sections: it is kept.
const NAME: usize = 16;

/// Which versions of which packages a version allows.
pub(super) type Constraints = Vec<(Uuid, Set)>;

/// A package.
pub(super) struct Package<'q> {
    pub(super) uuid: Uuid,
    /// Its name; for one that nobody knows, its uuid.
    pub(super) name: String,
    pub(super) kind: Kind<'q>,
}

pub(super) enum Kind<'q> {
    /// It comes with Julia. The version is what compat entries are compared with.
    Shipped { version: Version, shown: Option<&'static str> },
    /// It is there, whatever the registries have. What it needs was asked for by itself.
    Fixed { version: Version },
    /// Oldest first.
    Registered { usable: Vec<Candidate<'q>>, excluded: Vec<(Version, Exclusion)> },
    /// No registry has it.
    Unknown,
}

/// A version that may be chosen.
pub(super) struct Candidate<'q> {
    pub(super) version: Version,
    pub(super) entry: RegisteredVersion<'q>,
    /// Which registries have it.
    pub(super) registries: Vec<usize>,
}

/// Why a version may not be chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exclusion {
    Yanked,
    /// It runs on other versions of Julia.
    Julia,
    Unreadable(String),
    Policy(String),
}

/// A dependency of a version, by its name there.
pub(super) struct Need<'q> {
    pub(super) name: &'q str,
    pub(super) uuid: Uuid,
    pub(super) compat: Vec<&'q [VersionRange]>,
    pub(super) weak: bool,
}

impl<'q> Universe<'q> {
    pub(super) fn new(catalogues: &'q [Arc<Catalogue>], question: &'q Question<'q>) -> Self {
        let left = Cell::new(READS);
        Self { catalogues, question, packages: RefCell::default(), constraints: RefCell::default(), left }
    }

    /// Whether a search must end: it has read too much, or nobody waits for it.
    pub(super) fn is_over(&self) -> bool {
        self.left.get() == 0 || (self.question.stopped)()
    }

    fn read_more(&self, cost: usize) {
        self.left.set(self.left.get().saturating_sub(u64::try_from(cost).unwrap_or(u64::MAX)));
    }

    pub(super) fn package(&self, uuid: Uuid) -> Rc<Package<'q>> {
        if let Some(package) = self.packages.borrow().get(&uuid) {
            return Rc::clone(package);
        }
        let package = Rc::new(self.read(uuid));
        self.packages.borrow_mut().insert(uuid, Rc::clone(&package));
        package
    }

    /// What a version needs besides Julia. An error says why that cannot be known.
    pub(super) fn needs(&self, package: &Package<'q>, position: Position) -> Vec<Need<'q>> {
        match &package.kind {
            Kind::Shipped { .. } => {
                let julia = self.question.julia.version();
                let need = |weak| move |(name, uuid)| Need { name, uuid, compat: Vec::new(), weak };
                let weak_deps = stdlib::weak_deps(package.uuid, julia).map(need(true));
                stdlib::deps(package.uuid, julia).map(need(false)).chain(weak_deps).collect()
            }
            Kind::Fixed { .. } | Kind::Unknown => Vec::new(),
            Kind::Registered { .. } => {
                let Some(candidate) = package.candidate(position) else { return Vec::new() };
                let mut needs: BTreeMap<&str, Need<'q>> = BTreeMap::new();
                for &registry in &candidate.registries {
                    let Some(Ok(deps)) = self.catalogues.get(registry).and_then(|it| it.deps(package.uuid)) else {
                        continue;
                    };
                    let named = deps.of(&candidate.version, self.knows_weak_dependencies());
                    self.read_more(deps.sections() + NAME * named.len());
                    for (name, dep) in named {
                        let need = needs.entry(name).or_insert(Need {
                            name,
                            uuid: dep.uuid,
                            compat: Vec::new(),
                            weak: dep.weak,
                        });
                        // As in Pkg, it is weak if any of them says so.
                        need.weak |= dep.weak;
                        need.compat.extend(dep.compat);
                    }
                }
                needs.into_values().collect()
            }
        }
    }

    /// The same as sets, one of each package, kept: a search looks at most versions more than once.
    /// Nothing new once a search must end.
    pub(super) fn constraints(&self, uuid: Uuid, position: Position) -> Rc<Constraints> {
        if let Some(known) = self.constraints.borrow().get(&(uuid, position)) {
            return Rc::clone(known);
        }
        if self.is_over() {
            return Rc::default();
        }
        let mut sets: BTreeMap<Uuid, Set> = BTreeMap::new();
        for need in self.needs(&self.package(uuid), position) {
            self.read_more(need.compat.iter().map(|ranges| ranges.len()).sum());
            let suiting = Self::suiting(&self.package(need.uuid), &need.compat);
            let set = if need.weak { suiting.or_absent() } else { suiting };
            sets.entry(need.uuid).and_modify(|known| *known = known.intersection(&set)).or_insert(set);
        }
        let constraints = Rc::new(sets.into_iter().collect());
        self.constraints.borrow_mut().insert((uuid, position), Rc::clone(&constraints));
        constraints
    }

    /// The versions of a package that suit.
    pub(super) fn suiting(package: &Package<'_>, compat: &[&[VersionRange]]) -> Set {
        let all = Set::of(0..package.count());
        compat.iter().fold(all, |set, ranges| {
            let ranges = ranges.iter().map(|range| package.within(range));
            set.intersection(&ranges.fold(Set::empty(), |union, range| union.union(&range)))
        })
    }

    /// The versions that a root allows.
    pub(super) fn allowed(&self, root: &Root) -> Set {
        let ranges = Some(&*root.ranges).filter(|ranges| !ranges.is_empty());
        Self::suiting(&self.package(root.uuid), ranges.as_slice())
    }

    /// Two registries that disagree about the tree of a version. Pkg stops there with "hash mismatch".
    pub(super) fn ambiguity(&self, candidate: &Candidate<'_>) -> Option<Conflict> {
        let first = self.catalogues.get(*candidate.registries.first()?)?.index();
        let RegisteredVersion { uuid, name, version, tree, .. } = candidate.entry;
        self.catalogues.iter().map(|catalogue| catalogue.index()).find_map(|other| {
            let differs = other.versions(uuid).any(|it| {
                it.tree != tree && it.version.parse::<Version>().is_ok_and(|version| version == candidate.version)
            });
            differs.then(|| Conflict::Ambiguous {
                name: name.to_owned(),
                version: version.to_owned(),
                registries: [first.registry_name().to_owned(), other.registry_name().to_owned()],
            })
        })
    }

    /// Since Julia 1.9 (Pkg `Operations.jl`); before, `WeakDeps.toml` is not looked at.
    fn knows_weak_dependencies(&self) -> bool {
        let julia = self.question.julia.version();
        (julia.major, julia.minor) >= (1, 9)
    }

    fn read(&self, uuid: Uuid) -> Package<'q> {
        let julia = self.question.julia.version();
        let name = self.catalogues.iter().find_map(|catalogue| catalogue.index().name(uuid));
        if let Some(version) = self.question.fixed.get(&uuid) {
            let name = name.map_or_else(|| uuid.to_string(), str::to_owned);
            return Package { uuid, name, kind: Kind::Fixed { version: version.clone() } };
        }
        if let Some((name, shown)) = stdlib::name(uuid).and_then(|name| {
            let shipped = stdlib::shipped(uuid, julia);
            match shipped {
                stdlib::Shipped::No => None,
                stdlib::Shipped::Unversioned => Some((name, None)),
                stdlib::Shipped::Version(version) => Some((name, Some(version))),
            }
        }) {
            let version = shown.and_then(|shown| shown.parse().ok()).unwrap_or_else(|| julia.clone());
            return Package { uuid, name: name.to_owned(), kind: Kind::Shipped { version, shown } };
        }
        match name {
            None => {
                let name = stdlib::name(uuid).map_or_else(|| uuid.to_string(), str::to_owned);
                Package { uuid, name, kind: Kind::Unknown }
            }
            Some(name) => Package { uuid, name: name.to_owned(), kind: self.registered(uuid) },
        }
    }

    fn registered(&self, uuid: Uuid) -> Kind<'q> {
        let (mut usable, mut excluded) = (Vec::<Candidate<'q>>::new(), Vec::new());
        for (registry, catalogue) in self.catalogues.iter().enumerate() {
            let mut found = versions(catalogue, uuid);
            let verdicts = self.verdicts(catalogue, uuid, &found);
            for ((version, entry), verdict) in found.drain(..).zip(verdicts) {
                match verdict {
                    Some(exclusion) => excluded.push((version, exclusion)),
                    None => usable.push(Candidate { version, entry, registries: vec![registry] }),
                }
            }
        }
        usable.sort_by(|a, b| a.version.cmp(&b.version));
        usable.dedup_by(|later, first| {
            let same = later.version == first.version;
            if same {
                first.registries.append(&mut later.registries);
                first.registries.dedup();
            }
            same
        });
        Kind::Registered { usable, excluded }
    }

    /// Of each version of one registry, why it may not be chosen.
    fn verdicts(
        &self,
        catalogue: &'q Catalogue,
        uuid: Uuid,
        versions: &[(Version, RegisteredVersion<'q>)],
    ) -> Vec<Option<Exclusion>> {
        let deps = match catalogue.deps(uuid) {
            Some(Err(why)) => return vec![Some(Exclusion::Unreadable(why.to_owned())); versions.len()],
            Some(Ok(deps)) => Some(deps),
            None => None,
        };
        let julia = self.question.julia.version();
        let refused = deps.map(|deps| deps.refused(julia, versions, |(version, _)| version)).unwrap_or_default();
        let refused = refused.into_iter().chain(std::iter::repeat(false));
        let verdict = |((_, entry), refused): (&(Version, RegisteredVersion<'_>), bool)| {
            if entry.yanked {
                Some(Exclusion::Yanked)
            } else if refused {
                Some(Exclusion::Julia)
            } else {
                (self.question.forbids)(uuid, entry).map(Exclusion::Policy)
            }
        };
        versions.iter().zip(refused).map(verdict).collect()
    }
}

fn versions(catalogue: &Catalogue, uuid: Uuid) -> Vec<(Version, RegisteredVersion<'_>)> {
    let parsed = catalogue.versions(uuid).filter_map(|entry| Some((entry.version.parse().ok()?, entry)));
    let mut versions: Vec<(Version, _)> = parsed.collect();
    versions.sort_by(|a, b| a.0.cmp(&b.0));
    versions
}

impl<'q> Package<'q> {
    /// How many versions may be chosen.
    pub(super) fn count(&self) -> usize {
        match &self.kind {
            Kind::Shipped { .. } | Kind::Fixed { .. } => 1,
            Kind::Registered { usable, .. } => usable.len(),
            Kind::Unknown => 0,
        }
    }

    pub(super) fn candidate(&self, position: Position) -> Option<&Candidate<'q>> {
        let index = usize::try_from(position.checked_sub(1)?).ok()?;
        match &self.kind {
            Kind::Registered { usable, .. } => usable.get(index),
            Kind::Shipped { .. } | Kind::Fixed { .. } | Kind::Unknown => None,
        }
    }

    /// The version at a position.
    pub(super) fn version(&self, position: Position) -> Option<&Version> {
        match &self.kind {
            Kind::Shipped { version, .. } | Kind::Fixed { version } if position == 1 => Some(version),
            _ => self.candidate(position).map(|candidate| &candidate.version),
        }
    }

    fn within(&self, range: &VersionRange) -> Set {
        Set::of(match &self.kind {
            Kind::Shipped { version, .. } | Kind::Fixed { version } => {
                range.positions(std::slice::from_ref(version), |version| version)
            }
            Kind::Registered { usable, .. } => range.positions(usable, |candidate| &candidate.version),
            Kind::Unknown => 0..0,
        })
    }
}
