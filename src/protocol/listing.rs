//! The `/registries` listing: which tree of which registry a server offers.

use super::{Resource, TreeHash, Uuid};
use std::collections::BTreeMap;
use std::fmt;

/// A registry at one tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RegistryTree {
    /// The registry's uuid.
    pub uuid: Uuid,
    /// Its strict tree hash.
    pub tree: TreeHash,
}

impl From<RegistryTree> for Resource {
    fn from(RegistryTree { uuid, tree }: RegistryTree) -> Self {
        Self::Registry { uuid, tree }
    }
}

/// The body of `/registries`: one `/registry/<uuid>/<tree>` per line, one line per registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(BTreeMap<Uuid, TreeHash>);

/// A listing that clients would choke on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// Pkg aborts the whole command on such a line (Pkg `Registry.jl`, `pkg_server_registry_urls`).
    #[error("line {line} of the listing starts with /registry/ but is not /registry/<uuid>/<tree>")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// No registry at all: HTML, or nothing.
    #[error("the listing names no registry")]
    Empty,
}

impl Listing {
    /// Reads a listing as a server sends it. Lines that do not start with `/registry/` are
    /// ignored, as clients do; `\r\n` is fine; of two lines for one registry the last counts.
    pub fn parse(text: &str) -> Result<Self, ListingError> {
        let mut trees = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if !line.starts_with("/registry/") {
                continue;
            }
            match line.parse() {
                Ok(Resource::Registry { uuid, tree }) => trees.insert(uuid, tree),
                _ => return Err(ListingError::Line { line: index + 1 }),
            };
        }
        if trees.is_empty() { Err(ListingError::Empty) } else { Ok(Self(trees)) }
    }

    /// Reads a listing that lies on disk, where a broken line must not cost the others: the lines
    /// that make sense.
    pub fn salvage(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim_end().parse().ok());
        let trees = lines.filter_map(|resource| match resource {
            Resource::Registry { uuid, tree } => Some((uuid, tree)),
            Resource::Package { .. } | Resource::Artifact { .. } => None,
        });
        Self(trees.collect())
    }

    /// The registries, in the order of their uuids.
    pub fn iter(&self) -> impl Iterator<Item = RegistryTree> + '_ {
        self.0.iter().map(|(&uuid, &tree)| RegistryTree { uuid, tree })
    }

    /// The tree that is listed for a registry.
    pub fn tree(&self, uuid: Uuid) -> Option<TreeHash> {
        self.0.get(&uuid).copied()
    }

    /// Lists a registry at a tree, in place of the one that was listed.
    pub fn set(&mut self, registry: RegistryTree) {
        self.0.insert(registry.uuid, registry.tree);
    }

    /// Keeps only the registries that `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(RegistryTree) -> bool) {
        self.0.retain(|&uuid, &mut tree| keep(RegistryTree { uuid, tree }));
    }

    /// Whether no registry is listed. Must not be served: a client that gets an empty listing
    /// clones General from GitHub.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<RegistryTree> for Listing {
    fn from_iter<I: IntoIterator<Item = RegistryTree>>(registries: I) -> Self {
        Self(registries.into_iter().map(|RegistryTree { uuid, tree }| (uuid, tree)).collect())
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|registry| writeln!(f, "{}", Resource::from(registry)))
    }
}

/// Which listing: `PkgServer`'s two flavors differ in how soon a new registry tree appears.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// `/registries`: of servers without flavors, such as a static copy of a cache.
    Plain,
    /// `/registries.eager`: new at once; what CI machines get.
    Eager,
    /// `/registries.conservative`: new when the tarballs have spread; the default.
    Conservative,
}

impl Flavor {
    /// All flavors.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Eager, Self::Conservative];

    /// The file below the cache root, and the last part of the URL.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Plain => "registries",
            Self::Eager => "registries.eager",
            Self::Conservative => "registries.conservative",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::GENERAL;

    const LINE: &str = "/registry/23338594-aafe-5451-b93e-139f81909106/ff7de6d04928785426b131bad7b2b1d785f2a8d7";

    #[test]
    fn the_last_line_for_a_registry_counts_and_other_lines_do_not() {
        let other = LINE.replace("ff7d", "0000");
        let listing = Listing::parse(&format!("# hello\r\n{other}\r\n\r\n{LINE}\r\n/other\n")).unwrap();
        assert_eq!(listing.to_string(), format!("{LINE}\n"));
        assert_eq!(listing.tree(GENERAL).unwrap().to_string(), "ff7de6d04928785426b131bad7b2b1d785f2a8d7");
    }

    #[test]
    fn what_would_break_a_client_is_refused() {
        assert_eq!(Listing::parse(""), Err(ListingError::Empty));
        assert_eq!(Listing::parse("<html>/registry/</html>"), Err(ListingError::Empty));
        assert_eq!(Listing::parse(&format!("{LINE}\n/registry/x/y\n")), Err(ListingError::Line { line: 2 }));
        assert_eq!(Listing::parse(&format!("{LINE}0")), Err(ListingError::Line { line: 1 }));
    }

    #[test]
    fn on_disk_a_broken_line_does_not_cost_the_others() {
        let listing = Listing::salvage(&format!("/registry/x/y\r\n{LINE}\r\n/artifact/z"));
        assert_eq!(listing, Listing::parse(LINE).unwrap());
    }
}
