//! Why there is no solution, in words: who asks for what.

use super::provider::Node;
use super::set::{Position, Set};
use super::universe::{Exclusion, Kind, Need, Package, Universe};
use crate::julia::{Version, VersionRange};
use crate::protocol::Uuid;
use pubgrub::{DerivationTree, External};
use std::collections::BTreeSet;
use std::fmt;

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
    /// The standard libraries of this Julia are not in the table.
    UnknownJulia(Version),
    /// The search was given up.
    TooLong,
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
            Self::UnknownJulia(julia) => {
                write!(f, "the standard libraries of Julia {}.{} are not known", julia.major, julia.minor)
            }
            Self::TooLong => f.write_str("no solution was found within the steps that are allowed"),
        }
    }
}

type Tree = DerivationTree<Node, Set, String>;

/// The facts at the leaves of a derivation, each once, in the order of the derivation.
pub(super) fn explain(universe: &Universe<'_>, tree: Tree) -> Conflict {
    let mut facts = Vec::new();
    let mut told = BTreeSet::new();
    let mut stack = vec![std::sync::Arc::new(tree)];
    let mut seen = BTreeSet::new();
    // Nothing here recurses: a derivation is as deep as the registry makes it.
    while let Some(node) = stack.pop() {
        if !seen.insert(std::sync::Arc::as_ptr(&node) as usize) {
            continue;
        }
        match &*node {
            DerivationTree::Derived(derived) => {
                stack.push(std::sync::Arc::clone(&derived.cause2));
                stack.push(std::sync::Arc::clone(&derived.cause1));
            }
            DerivationTree::External(external) => {
                if let Some(fact) = fact(universe, external).filter(|fact| told.insert(fact.clone())) {
                    facts.push(fact);
                }
            }
        }
    }
    Conflict::Unsolvable { facts }
}

fn fact(universe: &Universe<'_>, external: &External<Node, Set, String>) -> Option<String> {
    match external {
        External::NotRoot(..) => None,
        External::NoVersions(node, _) => Some(no_versions(&universe.package(uuid(*node)?))),
        External::FromDependencyOf(node, set, dependency, _) => {
            let dependency = universe.package(uuid(*dependency)?);
            match node {
                Node::Question => Some(asked(universe, &dependency)),
                Node::Package(uuid) => Some(needs(universe, &universe.package(*uuid), set, &dependency)),
            }
        }
        External::Custom(node, set, why) => {
            let package = universe.package(uuid(*node)?);
            Some(format!("{} {why}", with_versions(&package, set)))
        }
    }
}

fn uuid(node: Node) -> Option<Uuid> {
    match node {
        Node::Question => None,
        Node::Package(uuid) => Some(uuid),
    }
}

fn asked(universe: &Universe<'_>, package: &Package<'_>) -> String {
    let roots = universe.question.roots.iter().filter(|root| root.uuid == package.uuid);
    let ranges: Vec<_> = roots.filter(|root| !root.ranges.is_empty()).map(|root| list(&root.ranges)).collect();
    if ranges.is_empty() {
        format!("{} was asked for", package.name)
    } else {
        format!("{} {} was asked for", package.name, ranges.join(" and "))
    }
}

fn needs<'q>(universe: &Universe<'q>, package: &Package<'q>, set: &Set, dependency: &Package<'_>) -> String {
    // One version speaks for the set: all of it asks for the same.
    let position = set.newest(package.count()).unwrap_or_default();
    let needs = universe.needs(package, position);
    let need = needs.iter().find(|need| need.uuid == dependency.uuid);
    let ranges = need.map_or_else(String::new, compat);
    let verb = if need.is_some_and(|need| need.weak) { "goes only with" } else { "needs" };
    let ranges = if ranges.is_empty() { ranges } else { format!(" {ranges}") };
    let what = match &dependency.kind {
        Kind::Unknown => format!("{}{ranges}, which no registry here has", dependency.name),
        Kind::Shipped { version, .. } => {
            format!("{}{ranges}, of which Julia {} has {version}", dependency.name, universe.question.julia)
        }
        Kind::Registered { .. } => format!("{}{ranges}", dependency.name),
    };
    format!("{} {verb} {what}", with_versions(package, set))
}

fn compat(need: &Need<'_>) -> String {
    need.compat.iter().map(|ranges| list(ranges)).collect::<Vec<_>>().join(" and ")
}

fn list(ranges: &[VersionRange]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// `Foo 1.2.0 to 1.4.1`.
fn with_versions(package: &Package<'_>, set: &Set) -> String {
    let at = |index: usize| Position::try_from(index + 1).ok().and_then(|position| package.version(position));
    let shown = |range: std::ops::Range<usize>| match (at(range.start), at(range.end - 1)) {
        (Some(first), Some(last)) if first == last => first.to_string(),
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => String::new(),
    };
    let ranges: Vec<_> = set.indexes(package.count()).map(shown).collect();
    let all = set.indexes(package.count()).map(|range| range.len()).sum::<usize>() == package.count();
    if ranges.is_empty() || all { package.name.clone() } else { format!("{} {}", package.name, ranges.join(", ")) }
}

fn no_versions(package: &Package<'_>) -> String {
    let Kind::Registered { usable, excluded } = &package.kind else {
        return format!("no registry here has {}", package.name);
    };
    let why: BTreeSet<_> = excluded.iter().map(|(_, why)| why.clone()).collect();
    match usable.len() {
        0 if why.is_empty() => format!("{} has no versions", package.name),
        0 => {
            let why: Vec<_> = why.iter().map(ToString::to_string).collect();
            format!("no version of {} may be chosen: {}", package.name, why.join(", "))
        }
        _ => format!("{} has only {}", package.name, with_versions(package, &Set::present())),
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yanked => f.write_str("yanked"),
            Self::Julia => f.write_str("for another Julia"),
            Self::Unreadable(why) | Self::Policy(why) => f.write_str(why),
        }
    }
}
