//! Why there is no solution, in words: who asks for what.

use super::provider::Node;
use super::set::{Position, Set};
use super::universe::{Exclusion, Kind, Package, Universe};
use crate::julia::{Version, VersionRange};
use crate::protocol::Uuid;
use pubgrub::{DerivationTree, External};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

/// More facts than anybody reads; the rest is counted.
const FACTS: usize = 20;

/// Why there is no solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// What cannot all be had.
    Unsolvable {
        /// Facts that contradict each other, a sentence each.
        facts: Vec<String>,
    },
    /// Two registries have different trees under one version of a package.
    Ambiguous {
        /// The package's name.
        name: String,
        /// The version.
        version: String,
        /// The names of both registries.
        registries: [String; 2],
    },
    /// The search was given up.
    TooLong,
    /// Nobody waits for the answer any more.
    Stopped,
}

impl std::error::Error for Conflict {}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsolvable { facts } => match facts.as_slice() {
                [] => f.write_str("there is no solution"),
                [one] => f.write_str(one),
                [one, other] => write!(f, "{one}, but {other}"),
                many => {
                    f.write_str("this cannot all be had: ")?;
                    for (index, fact) in many.iter().take(FACTS).enumerate() {
                        write!(f, "{}{fact}", if index == 0 { "" } else { "; " })?;
                    }
                    match many.len().saturating_sub(FACTS) {
                        0 => Ok(()),
                        more => write!(f, "; and {more} more of the kind"),
                    }
                }
            },
            Self::Ambiguous { name, version, registries: [one, other] } => {
                write!(f, "{name} {version} has one tree in the registry {one} and another in {other}")
            }
            Self::TooLong => f.write_str("no solution was found within the steps that are allowed"),
            Self::Stopped => f.write_str("it was stopped before a solution was found"),
        }
    }
}

type Tree = DerivationTree<Node, Set, String>;

/// The facts at the leaves of a derivation, each once, in the order of the derivation.
///
/// Nothing here recurses, not even the drop: a derivation is as deep as a registry makes it.
pub(super) fn explain(universe: &Universe<'_>, tree: Tree) -> Conflict {
    let root = Arc::new(tree);
    let (mut facts, mut told, mut seen) = (Vec::new(), BTreeSet::new(), HashSet::new());
    let mut stack = vec![Arc::clone(&root)];
    while let Some(node) = stack.pop() {
        if !seen.insert(Arc::as_ptr(&node)) {
            continue;
        }
        match &*node {
            DerivationTree::Derived(derived) => {
                stack.push(Arc::clone(&derived.cause1));
                stack.push(Arc::clone(&derived.cause2));
            }
            // Telling reads, too: what was told by then must do.
            DerivationTree::External(_) if universe.is_over() && !facts.is_empty() => {}
            DerivationTree::External(external) => {
                if let Some(fact) = fact(universe, external).filter(|fact| told.insert(fact.clone())) {
                    facts.push(fact);
                }
            }
        }
    }
    take_apart(root);
    Conflict::Unsolvable { facts }
}

/// Drops a derivation level by level: its own drop would recurse.
pub(super) fn take_apart(root: Arc<Tree>) {
    let mut stack = vec![root];
    while let Some(node) = stack.pop() {
        if let Some(DerivationTree::Derived(derived)) = Arc::into_inner(node) {
            stack.extend([derived.cause1, derived.cause2]);
        }
    }
}

fn fact(universe: &Universe<'_>, external: &External<Node, Set, String>) -> Option<String> {
    match external {
        // Where there is no version the dependency on it says so.
        External::NotRoot(..) | External::NoVersions(..) => None,
        External::FromDependencyOf(node, set, dependency, _) => {
            let dependency = universe.package(uuid(*dependency)?);
            match node {
                Node::Question => asked(universe, &dependency),
                Node::Package(uuid) => Some(needs(universe, &universe.package(*uuid), set, &dependency)),
            }
        }
        External::Custom(node, set, why) => {
            Some(format!("{} {why}", with_versions(universe, &universe.package(uuid(*node)?), set)))
        }
    }
}

fn uuid(node: Node) -> Option<Uuid> {
    match node {
        Node::Question => None,
        Node::Package(uuid) => Some(uuid),
    }
}

/// What was asked for, unless that goes without saying.
fn asked(universe: &Universe<'_>, package: &Package<'_>) -> Option<String> {
    let roots = universe.question.roots.iter().filter(|root| root.uuid == package.uuid);
    let ranges: Vec<&[VersionRange]> = roots.map(|root| &*root.ranges).filter(|ranges| !ranges.is_empty()).collect();
    let suiting = Universe::suiting(package, &ranges);
    let name = &package.name;
    if suiting.newest(package.count()).is_some() {
        return (!ranges.is_empty()).then(|| format!("{name} {} was asked for", words(&ranges)));
    }
    let julia = &universe.question.julia;
    Some(match &package.kind {
        Kind::Registered { usable, excluded } if ranges.is_empty() && usable.is_empty() && !excluded.is_empty() => {
            if excluded.iter().all(|(_, why)| *why == Exclusion::Julia) {
                format!("no version of {name} runs on Julia {julia}")
            } else {
                format!("no version of {name} may be chosen: {}", why_none(universe, excluded.iter()))
            }
        }
        _ if ranges.is_empty() => format!("{name} was asked for{}", lack(universe, package, &ranges)),
        _ => format!("{name} {} was asked for{}", words(&ranges), lack(universe, package, &ranges)),
    })
}

fn needs<'q>(universe: &Universe<'q>, package: &Package<'q>, set: &Set, dependency: &Package<'q>) -> String {
    // One version speaks for the set: all of it asks for the same.
    let needs = universe.needs(package, set.newest(package.count()).unwrap_or_default());
    let need = needs.iter().find(|need| need.uuid == dependency.uuid);
    let compat = need.map_or(&[][..], |need| &need.compat);
    let verb = if need.is_some_and(|need| need.weak) { "goes only with" } else { "needs" };
    let named = match &dependency.kind {
        Kind::Unknown => need.map_or(&*dependency.name, |need| need.name),
        _ => &*dependency.name,
    };
    let ranges = if compat.is_empty() { String::new() } else { format!(" {}", words(compat)) };
    let lack = if Universe::suiting(dependency, compat).newest(dependency.count()).is_none() {
        lack(universe, dependency, compat)
    } else {
        String::new()
    };
    format!("{} {verb} {named}{ranges}{lack}", with_versions(universe, package, set))
}

/// Why there is nothing of a package in any of the ranges, as the end of a sentence.
fn lack(universe: &Universe<'_>, package: &Package<'_>, compat: &[&[VersionRange]]) -> String {
    match &package.kind {
        Kind::Unknown => format!(", which no registry here has ({})", package.uuid),
        Kind::Shipped { shown, .. } => {
            // One without a version of its own has Julia's.
            let julia = universe.question.julia.to_string();
            format!(", but Julia {julia} ships {} {}", package.name, shown.unwrap_or(&julia))
        }
        Kind::Fixed { version } => format!(", but {} is here in version {version}", package.name),
        Kind::Registered { usable, excluded } => {
            let suits = |version: &Version| compat.iter().all(|any| any.iter().any(|range| range.contains(version)));
            let mut excluded = excluded.iter().filter(|(version, _)| suits(version)).peekable();
            if excluded.peek().is_some() {
                format!(", of which no version may be chosen: {}", why_none(universe, excluded))
            } else if usable.is_empty() {
                ", of which there is no version".to_owned()
            } else {
                let all: Vec<_> = usable.iter().map(|candidate| &candidate.version).collect();
                let all = span(&all);
                format!(", of which there is no version: it has {all}")
            }
        }
    }
}

/// `yanked (1.0.0); not for Julia 1.5.3 (1.2.0, 1.3.0)`.
fn why_none<'v>(universe: &Universe<'_>, excluded: impl Iterator<Item = &'v (Version, Exclusion)>) -> String {
    let mut reasons: BTreeMap<&Exclusion, Vec<&Version>> = BTreeMap::new();
    for (version, why) in excluded {
        reasons.entry(why).or_default().push(version);
    }
    let said = reasons.into_iter().map(|(why, versions)| {
        let why = match why {
            Exclusion::Yanked => "yanked".to_owned(),
            Exclusion::Julia => format!("not for Julia {}", universe.question.julia),
            Exclusion::Unreadable(why) | Exclusion::Policy(why) => why.clone(),
        };
        format!("{why} ({})", span(&versions))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// A few versions, or the first and the last of many.
fn span(versions: &[&Version]) -> String {
    match versions {
        [first, .., last] if versions.len() > 3 => format!("{first} to {last}"),
        few => few.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn words(compat: &[&[VersionRange]]) -> String {
    let any = |ranges: &&[VersionRange]| ranges.iter().map(VersionRange::in_words).collect::<Vec<_>>().join(" or ");
    compat.iter().map(any).collect::<Vec<_>>().join(" and ")
}

/// `Foo 1.2.0 to 1.4.1 (asked for)`.
fn with_versions(universe: &Universe<'_>, package: &Package<'_>, set: &Set) -> String {
    let at = |index: usize| Position::try_from(index + 1).ok().and_then(|position| package.version(position));
    let shown = |range: std::ops::Range<usize>| match (at(range.start), at(range.end - 1)) {
        (Some(first), Some(last)) if first == last => first.to_string(),
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => String::new(),
    };
    let ranges: Vec<_> = set.indexes(package.count()).map(shown).collect();
    let is_root = universe.question.roots.iter().any(|root| root.uuid == package.uuid);
    format!("{} {}{}", package.name, ranges.join(", "), if is_root { " (asked for)" } else { "" })
}
