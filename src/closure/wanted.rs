//! What a plan is made of.

use crate::julia::{KNOWN_PLATFORMS, Platform, Tags};
use crate::protocol::{TreeHash, Uuid};
use crate::store::HeldArtifact;
use serde::Serialize;
use std::collections::BTreeSet;

/// A package that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPackage {
    /// Its name, as an input or else a registry has it.
    pub name: Option<String>,
    /// Its version, likewise.
    pub version: Option<String>,
}

/// An artifact that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedArtifact {
    /// What it is called, by whoever names it.
    pub names: BTreeSet<String>,
    /// The packages that name it.
    pub packages: BTreeSet<String>,
    /// The platforms that it is for, as triplets; empty for any.
    pub platforms: BTreeSet<String>,
    /// Whether all who name it leave it until it is used.
    pub lazy: bool,
    /// Whether somebody wants it on any platform.
    anywhere: bool,
}

/// A package that no package server can give.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unmirrorable {
    /// The package's name.
    pub name: String,
    /// The package's uuid.
    pub uuid: Uuid,
    /// Its version, if the manifest has one.
    pub version: Option<String>,
    /// Why.
    pub kind: UnmirrorableKind,
    /// The git repository that clients clone, without a user and password.
    pub repo_url: Option<String>,
    /// The tree in it that the manifest names.
    #[serde(skip)]
    pub tree: Option<TreeHash>,
}

/// Why no package server can give a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnmirrorableKind {
    /// Added by the address of a git repository: clients never ask a package server for it.
    Git,
    /// The manifest has no tree hash, no Julia ships it, and no registry here knows the version.
    Unhashed,
}

impl WantedPackage {
    /// For people.
    pub(super) fn label(&self) -> Option<String> {
        let name = self.name.as_deref()?;
        Some(self.version.as_deref().map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
    }
}

impl WantedArtifact {
    /// Lazy until somebody says otherwise.
    pub(super) fn lazily() -> Self {
        Self { lazy: true, ..Self::default() }
    }

    /// One more who names it.
    pub(super) fn add(&mut self, artifact: &HeldArtifact, owner: Option<&str>) {
        self.names.insert(artifact.name.clone());
        self.packages.extend(owner.map(str::to_owned));
        self.lazy &= artifact.lazy;
        match &artifact.platform {
            Some(tags) => _ = self.platforms.insert(triplet(tags)),
            None => self.anywhere = true,
        }
        if self.anywhere {
            self.platforms.clear();
        }
    }

    /// For people.
    pub(super) fn label(&self) -> Option<String> {
        let name = self.names.first()?;
        Some(self.packages.first().map_or_else(|| name.clone(), |owner| format!("{name} of {owner}")))
    }
}

/// The triplet of an artifact's tags; where they make none that is known, the tags that there are.
fn triplet(tags: &Tags) -> String {
    let known = KNOWN_PLATFORMS.into_iter().filter(|_| tags.contains_key("os") && tags.contains_key("arch"));
    let mut matching = known.filter(|known| known.parse().is_ok_and(|platform: Platform| platform.matches(tags)));
    let tag = |key: &str| tags.get(key).map(String::as_str);
    let all = || ["arch", "os", "libc", "call_abi"].into_iter().filter_map(tag).collect::<Vec<_>>().join("-");
    matching.next().map_or_else(all, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triplets_are_those_of_julia_and_odd_tags_stay_readable() {
        let tags = |text: &str| -> Tags {
            text.split(' ').filter_map(|tag| tag.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
        };
        for (text, expected) in [
            ("os=linux arch=x86_64", "x86_64-linux-gnu"),
            ("os=linux arch=x86_64 libc=musl", "x86_64-linux-musl"),
            ("os=linux arch=armv7l call_abi=eabihf libc=glibc", "armv7l-linux-gnueabihf"),
            ("os=macos arch=aarch64", "aarch64-apple-darwin"),
            ("os=windows arch=i686", "i686-w64-mingw32"),
            ("os=linux", "linux"),
            ("os=linux arch=sparc", "sparc-linux"),
            ("os=linux arch=x86_64 libc=uclibc", "x86_64-linux-uclibc"),
        ] {
            assert_eq!(triplet(&tags(text)), expected, "{text}");
        }
    }
}
