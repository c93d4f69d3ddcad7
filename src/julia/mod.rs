//! Julia's file formats: manifests, artifacts, registries, platforms and versions.
//!
//! Pure parsing of hostile text: no I/O, no async. Whoever reads a file decodes it to `&str` and
//! names it in the error; what is here knows only the line.

mod artifacts;
mod compat;
mod depot;
mod derived_registry;
mod error;
mod files;
mod manifest;
mod manifest_text;
mod misslist;
mod package_deps;
mod platform;
mod project;
mod range;
mod reader;
mod registry;
mod registry_builder;
mod registry_index;
mod slug;
pub mod stdlib;
mod target;
mod version;
mod versions_toml;

pub use artifacts::{Artifact, ArtifactsToml, Download, Tags};
pub use compat::{ParseCompatError, parse_compat};
pub use depot::{PackedRegistryToml, TreeInfoToml};
pub use derived_registry::{DerivedRegistry, Here, KeptRegistry, RegistryFiles};
pub use error::{FormatError, Problem};
pub use files::{FileKind, SniffError};
pub use manifest::{Manifest, ManifestEntry, ManifestRegistry, Origin};
pub use manifest_text::{ManifestPackage, manifest_text};
pub use misslist::{MISS_LIST_HEADER, MissList, MissListEntry, MissListError};
pub use package_deps::{Dependency, DepsFiles, PackageDeps};
pub use platform::{KNOWN_PLATFORMS, ParsePlatformError, Platform, Platforms};
pub use project::{CompatEntry, Project, ProjectSource};
pub use range::{ParseRangeError, VersionRange};
pub use registry::{PackageEntry, PackageToml, RegistryToml, VersionEntry, parse_versions};
pub use registry_builder::{RegistryError, RegistryIndexBuilder};
pub use registry_index::{RegisteredVersion, RegistryIndex};
pub use slug::{SLUG_LENGTHS, version_slug};
pub use target::{JuliaTarget, JuliaTargetError};
pub use version::{ParseVersionError, Version};
