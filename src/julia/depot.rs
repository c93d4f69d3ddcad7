//! The files beside a registry in a depot that say which tree it is.

use crate::protocol::{TreeHash, Uuid};
use serde::Deserialize;

/// `registries/<Name>.toml`: a registry that is kept packed (Pkg `Registry.jl`, since Julia 1.7).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PackedRegistryToml {
    /// The registry's uuid.
    pub uuid: Uuid,
    /// The tree that it is.
    #[serde(rename = "git-tree-sha1")]
    pub tree: TreeHash,
    /// The tarball beside it. Untrusted: to look up, not to open.
    pub path: String,
}

/// `registries/<Name>/.tree_info.toml`: a registry that came from a server and was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TreeInfoToml {
    /// The tree that it is.
    #[serde(rename = "git-tree-sha1")]
    pub tree: TreeHash,
}
