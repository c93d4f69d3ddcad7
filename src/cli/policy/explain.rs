//! What holds for a package, a registry or an artifact, and why.

use super::super::table::printable;
use crate::exchange::Wish;
use crate::julia::{RegisteredVersion, RegistryIndex, Version};
use crate::mirror::{Mirror, Standing};
use crate::policy::{Age, Package, Subject, Verdict, Why};
use crate::protocol::{Kind, Resource, TreeHash, Uuid};
use crate::store::FirstSeen;
use anyhow::Context as _;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Versions in the text; JSON has all.
const SHOWN: usize = 10;

/// What was asked, and what holds for all that it may mean.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    what: String,
    /// Whether nothing of it is denied or held back.
    pub(super) allowed: bool,
    subjects: Vec<Explained>,
}

/// A package, a registry or an artifact.
#[derive(Debug, Serialize)]
struct Explained {
    kind: Kind,
    name: Option<String>,
    uuid: Option<Uuid>,
    tree: Option<TreeHash>,
    /// The registries here that have it.
    registries: Vec<String>,
    /// The packages here that name the artifact.
    packages: Vec<String>,
    /// Every rule that has to do with it.
    rules: Vec<Why>,
    fetch: Decision,
    serve: Decision,
    /// Whether it is private, or is taken to be.
    private: bool,
    /// In words.
    privacy: String,
    sources: Vec<AskedSource>,
    /// Of a package; the newest first.
    versions: Vec<ExplainedVersion>,
}

#[derive(Debug, Serialize)]
struct Decision {
    allowed: bool,
    /// What decided, if it is denied.
    why: Option<Why>,
}

#[derive(Debug, Serialize)]
struct AskedSource {
    name: String,
    may_be_asked: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "the keys of the document")]
#[derive(Debug, Serialize)]
struct ExplainedVersion {
    version: String,
    registry: String,
    tree: TreeHash,
    yanked: bool,
    here: bool,
    /// When a registry here had it first.
    first_seen: Option<jiff::Timestamp>,
    /// When it is old enough, if it is too young.
    old_enough: Option<jiff::Timestamp>,
    /// Whether its age keeps it from being shown and chosen.
    held_back: bool,
    /// Whether it may not even be fetched because a manifest names it.
    fetch_denied: bool,
    /// Whether public upstreams may be asked for this version.
    public: bool,
    /// Whether a manifest named it, so that its age does not matter.
    pinned: bool,
    /// In words.
    age: String,
}

/// Says what holds. An error is wrong usage.
pub(super) fn explain(mirror: &Mirror, what: &str) -> anyhow::Result<Explanation> {
    let seen = mirror.first_seen()?;
    let subjects = if let Ok(uuid) = Uuid::from_any_case(what) {
        of_uuid(mirror, &seen, uuid)
    } else if let Ok(tree) = what.to_ascii_lowercase().parse::<TreeHash>() {
        of_tree(mirror, &seen, tree)
    } else {
        // With a `=` only this version, else a range; but the version of that name, if there is one.
        let (name, version) = what.split_once('@').map_or((what, None), |(name, version)| (name, Some(version)));
        let exact = version.and_then(|version| version.trim().strip_prefix('='));
        let wish = if exact.is_some() { name.parse::<Wish>() } else { what.parse() };
        let wish = wish.with_context(|| format!("{what:?} is no name, uuid or tree hash"))?;
        of_name(mirror, &seen, &wish, exact.or(version).map(str::trim), exact.is_some())
    };
    let is_fine = |it: &Explained| it.fetch.allowed && it.serve.allowed && !it.is_held_back(what.contains('@'));
    Ok(Explanation { what: what.to_owned(), allowed: subjects.iter().all(is_fine), subjects })
}

fn of_uuid(mirror: &Mirror, seen: &[FirstSeen], uuid: Uuid) -> Vec<Explained> {
    if mirror.is_registry(uuid) {
        return vec![Explained::new(mirror, &mirror.subject(&Resource::Registry { uuid, tree: TreeHash::EMPTY }))];
    }
    vec![of_package(mirror, seen, uuid, |_| true)]
}

fn of_tree(mirror: &Mirror, seen: &[FirstSeen], tree: TreeHash) -> Vec<Explained> {
    let indexes = mirror.registries();
    let packages: BTreeSet<_> = indexes.iter().flat_map(|index| index.at_tree(tree)).map(|it| it.uuid).collect();
    if packages.is_empty() {
        return vec![Explained::new(mirror, &mirror.subject(&Resource::Artifact { tree }))];
    }
    packages.into_iter().map(|uuid| of_package(mirror, seen, uuid, |version| version.tree == tree)).collect()
}

fn of_name(mirror: &Mirror, seen: &[FirstSeen], wish: &Wish, version: Option<&str>, only_that: bool) -> Vec<Explained> {
    let indexes = mirror.registries();
    let named = |index: &RegistryIndex| -> Vec<Uuid> {
        index.packages().filter(|(_, name)| *name == wish.name).map(|(uuid, _)| uuid).collect()
    };
    let packages: BTreeSet<_> = indexes.iter().flat_map(|index| named(index)).collect();
    if packages.is_empty() {
        // Of a name that no registry has, it can be said what the patterns make of it.
        let said = BTreeSet::from([wish.name.as_str().into()]);
        let package = Package { said, ..Package::new(Uuid::NIL) };
        return vec![Explained { uuid: None, ..Explained::new(mirror, &Subject::Package(package)) }];
    }
    let is_it = |it: &RegisteredVersion<'_>| Some(it.version) == version;
    let has_it = |uuid: &Uuid| indexes.iter().any(|index| index.versions(*uuid).any(|it| is_it(&it)));
    let only_that = only_that || packages.iter().any(has_it);
    let admits = |version: &RegisteredVersion<'_>| {
        let in_range = || version.version.parse::<Version>().is_ok_and(|version| wish.admits(&version));
        if only_that { is_it(version) } else { wish.range.is_none() || in_range() }
    };
    packages.into_iter().map(|uuid| of_package(mirror, seen, uuid, admits)).collect()
}

fn of_package(
    mirror: &Mirror,
    seen: &[FirstSeen],
    uuid: Uuid,
    admits: impl Fn(&RegisteredVersion<'_>) -> bool,
) -> Explained {
    let package = Resource::Package { uuid, tree: TreeHash::EMPTY };
    let mut explained = Explained::new(mirror, &mirror.subject(&package));
    for index in mirror.registries() {
        let versions = index.versions(uuid).rev().filter(&admits);
        explained.versions.extend(versions.map(|version| {
            let (age, held_back) = mirror.version_age(seen, uuid, version.tree);
            let (first_seen, old_enough) = match age {
                Age::Old { since } => (since, None),
                Age::Young { since, until } => (Some(since), Some(until)),
                Age::Unseen => (None, None),
            };
            ExplainedVersion {
                version: version.version.to_owned(),
                registry: index.registry_name().to_owned(),
                tree: version.tree,
                yanked: version.yanked,
                here: mirror.store().has(&Resource::Package { uuid, tree: version.tree }),
                first_seen,
                old_enough,
                held_back,
                fetch_denied: held_back && !mirror.policy().rules().pins,
                public: mirror
                    .standing(&mirror.subject(&Resource::Package { uuid, tree: version.tree }))
                    .privacy
                    .is_public(),
                pinned: mirror.is_pinned(uuid, version.tree),
                age: age.to_string(),
            }
        }));
    }
    explained
}

impl Explained {
    fn new(mirror: &Mirror, subject: &Subject) -> Self {
        let Standing { fetch, serve, privacy, rules } = mirror.standing(subject);
        let of = |package: &Package| {
            let name = package.names.iter().chain(&package.said).next();
            name.map_or_else(|| package.uuid.to_string(), ToString::to_string)
        };
        let (kind, name, uuid, tree, registries, packages) = match subject {
            Subject::Registry(it) => {
                (Kind::Registry, it.name.as_ref().map(ToString::to_string), Some(it.uuid), None, vec![], vec![])
            }
            Subject::Package(it) => {
                let registries = it.registries.iter();
                let registries = registries.map(|it| it.name.as_deref().unwrap_or("a registry").to_owned()).collect();
                let name = it.names.iter().chain(&it.said).next().map(ToString::to_string);
                (Kind::Package, name, Some(it.uuid), None, registries, vec![])
            }
            Subject::Artifact { tree, owners, .. } => {
                let resource = Resource::Artifact { tree: *tree };
                let name = mirror.name(&resource).map(|name| name.name);
                let packages: BTreeSet<_> = owners.iter().map(of).collect();
                (Kind::Artifact, name, None, Some(*tree), vec![], packages.into_iter().collect())
            }
        };
        let asked = mirror.who_is_asked(&privacy, kind, uuid).into_iter();
        Self {
            kind,
            name,
            uuid,
            tree,
            registries,
            packages,
            rules,
            fetch: fetch.into(),
            serve: serve.into(),
            private: !privacy.is_public(),
            privacy: privacy.to_string(),
            sources: asked.map(|(name, may_be_asked)| AskedSource { name, may_be_asked }).collect(),
            versions: Vec::new(),
        }
    }

    /// Whether what was asked for must wait: all of it, or, where versions were named, the newest.
    fn is_held_back(&self, named: bool) -> bool {
        if named {
            return self.versions.first().is_some_and(|version| version.held_back);
        }
        !self.versions.is_empty() && self.versions.iter().all(|version| version.held_back)
    }
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allowed => Self { allowed: true, why: None },
            Verdict::Denied(why) => Self { allowed: false, why: Some(why) },
        }
    }
}

impl Explanation {
    pub(super) fn text(&self) -> String {
        let all: Vec<_> = self.subjects.iter().map(Explained::text).collect();
        all.join("\n")
    }
}

impl Explained {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| _ = writeln!(text, "{key:<10}{}", printable(value));
        let word = match self.kind {
            Kind::Registry => "registry",
            Kind::Package => "package",
            Kind::Artifact => "artifact",
        };
        let id = self.uuid.map(|uuid| uuid.to_string()).or_else(|| self.tree.map(|tree| tree.to_string()));
        let words = [self.name.clone(), id].into_iter().flatten().collect::<Vec<_>>().join(" ");
        line(word, &words);
        match self.kind {
            Kind::Package => line("in", &or(&self.registries, "no registry here")),
            Kind::Artifact => line("of", &or(&self.packages, "no package here")),
            Kind::Registry => {}
        }
        let rules: Vec<_> = self.rules.iter().map(ToString::to_string).collect();
        line("rules", &or(&rules, "none is about it"));
        line("fetch", &self.fetch.text());
        line("serve", &self.serve.text());
        let private = if self.private { self.privacy.as_str() } else { "no" };
        line("private", private);
        let names = |may: bool| -> Vec<String> {
            self.sources.iter().filter(|it| it.may_be_asked == may).map(|it| it.name.clone()).collect()
        };
        let (asked, never) = (names(true), names(false));
        line("asked", &or(&asked, if self.sources.is_empty() { "nobody: offline" } else { "nobody" }));
        if !never.is_empty() {
            line("not asked", &never.join(", "));
        }
        text += &self.table();
        text
    }

    fn table(&self) -> String {
        if self.versions.is_empty() {
            return String::new();
        }
        let rows = self.versions.iter().take(SHOWN).map(|it| {
            let held_back = match (it.fetch_denied, it.held_back) {
                (true, _) => "fetch denied",
                (false, true) => "held back",
                (false, false) => "",
            };
            // Of a private package that a public registry has too.
            let public = if it.public && self.private { "public" } else { "" };
            let here = if it.here { "here" } else { "" };
            let yanked = if it.yanked { "yanked" } else { "" };
            let pinned = if it.pinned { "named by a manifest" } else { "" };
            let marks = [here, yanked, held_back, public, pinned]
                .into_iter()
                .filter(|mark| !mark.is_empty())
                .collect::<Vec<_>>();
            vec![it.version.clone(), it.registry.clone(), marks.join(", "), it.age.clone()]
        });
        let mut text = super::super::table::table(&["VERSION", "REGISTRY", "", "AGE"], &rows.collect::<Vec<_>>());
        let more = self.versions.len().saturating_sub(SHOWN);
        if more > 0 {
            let _ = writeln!(text, "and {more} older ones; --json has them all");
        }
        text
    }
}

impl Decision {
    fn text(&self) -> String {
        self.why.as_ref().map_or_else(|| "allowed".to_owned(), |why| format!("denied: {why}"))
    }
}

fn or(words: &[String], none: &str) -> String {
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}
