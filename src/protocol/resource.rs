//! Resources: what a package server holds, and the only parser of their paths.

use super::{TreeHash, Uuid};
use std::fmt;
use std::str::FromStr;

/// One immutable tarball, named by kind, (uuid) and git tree hash. Its URL path is also its path
/// below the cache root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Resource {
    /// `/registry/<uuid>/<tree>`
    Registry {
        /// The registry's uuid.
        uuid: Uuid,
        /// The strict tree hash.
        tree: TreeHash,
    },
    /// `/package/<uuid>/<tree>`
    Package {
        /// The package's uuid.
        uuid: Uuid,
        /// The tree hash of the version.
        tree: TreeHash,
    },
    /// `/artifact/<tree>`
    Artifact {
        /// The tree hash of the artifact.
        tree: TreeHash,
    },
}

/// The kind of a [`Resource`], which is also the first part of its path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A registry.
    Registry,
    /// A version of a package.
    Package,
    /// An artifact.
    Artifact,
}

/// Not the path of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a registry, package or artifact")]
pub struct ParseResourceError;

impl Kind {
    /// All kinds, in the order in which a closure is fetched.
    pub const ALL: [Self; 3] = [Self::Registry, Self::Package, Self::Artifact];

    /// The folder of the cache that holds this kind.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Package => "package",
            Self::Artifact => "artifact",
        }
    }
}

impl Resource {
    /// The kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Registry { .. } => Kind::Registry,
            Self::Package { .. } => Kind::Package,
            Self::Artifact { .. } => Kind::Artifact,
        }
    }

    /// The tree hash in the name.
    pub const fn tree(&self) -> TreeHash {
        match *self {
            Self::Registry { tree, .. } | Self::Package { tree, .. } | Self::Artifact { tree } => tree,
        }
    }

    /// The uuid in the name; artifacts have none.
    pub const fn uuid(&self) -> Option<Uuid> {
        match *self {
            Self::Registry { uuid, .. } | Self::Package { uuid, .. } => Some(uuid),
            Self::Artifact { .. } => None,
        }
    }

    /// The same kind and uuid under another hash.
    #[must_use]
    pub const fn with_tree(self, tree: TreeHash) -> Self {
        match self {
            Self::Registry { uuid, .. } => Self::Registry { uuid, tree },
            Self::Package { uuid, .. } => Self::Package { uuid, tree },
            Self::Artifact { .. } => Self::Artifact { tree },
        }
    }

    /// The path below a cache root or a server's URL, without a leading slash.
    pub fn relative_path(&self) -> String {
        match self {
            Self::Registry { uuid, tree } => format!("registry/{uuid}/{tree}"),
            Self::Package { uuid, tree } => format!("package/{uuid}/{tree}"),
            Self::Artifact { tree } => format!("artifact/{tree}"),
        }
    }
}

impl fmt::Display for Resource {
    /// The URL path, with its leading slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.relative_path())
    }
}

impl FromStr for Resource {
    type Err = ParseResourceError;

    /// Reads a URL path. As `PkgServer` has it (`resource.jl`), digits are lowercase; anything
    /// percent-encoded, doubled or trailing is not a resource.
    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let mut parts = path.strip_prefix('/').ok_or(ParseResourceError)?.split('/');
        let mut next = || parts.next().ok_or(ParseResourceError);
        let resource = match next()? {
            "registry" => Self::Registry { uuid: uuid(next()?)?, tree: tree(next()?)? },
            "package" => Self::Package { uuid: uuid(next()?)?, tree: tree(next()?)? },
            "artifact" => Self::Artifact { tree: tree(next()?)? },
            _ => return Err(ParseResourceError),
        };
        parts.next().is_none().then_some(resource).ok_or(ParseResourceError)
    }
}

fn uuid(text: &str) -> Result<Uuid, ParseResourceError> {
    text.parse().map_err(|_| ParseResourceError)
}

fn tree(text: &str) -> Result<TreeHash, ParseResourceError> {
    text.parse().map_err(|_| ParseResourceError)
}

super::serde_as_text!(Resource);

#[cfg(test)]
mod tests {
    use super::*;

    const U: &str = "23338594-aafe-5451-b93e-139f81909106";
    const H: &str = "ff7de6d04928785426b131bad7b2b1d785f2a8d7";

    #[test]
    fn paths_round_trip() {
        for path in [format!("/registry/{U}/{H}"), format!("/package/{U}/{H}"), format!("/artifact/{H}")] {
            assert_eq!(path.parse::<Resource>().unwrap().to_string(), path);
        }
    }

    #[test]
    fn hostile_paths_are_no_resources() {
        for path in [
            String::new(),
            "/".into(),
            "/registries".into(),
            format!("registry/{U}/{H}"),
            format!("//artifact/{H}"),
            format!("/artifact/{H}/"),
            format!("/artifact/{H}/x"),
            format!("/artifact/../artifact/{H}"),
            format!("/artifact/%2e%2e/{H}"),
            format!("/artifact/{}", H.to_uppercase()),
            format!("/artifact/{}", &H[1..]),
            format!("/package/{H}"),
            format!("/package/{U}/{U}"),
            format!("/package/{}/{H}", U.to_uppercase()),
            format!("/registry/{U}\0/{H}"),
            format!("/.airlock/{U}/{H}"),
        ] {
            assert_eq!(path.parse::<Resource>(), Err(ParseResourceError), "{path}");
        }
    }
}
