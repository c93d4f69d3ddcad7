//! The sheet that a person signs before a bundle goes in: what is in it, by name, and whether these
//! are the bytes. Everything comes out of the bundle itself, so that any machine can make it.

mod make;
mod read;
mod render;

pub use render::MarkdownEscaper;

use super::{GatherError, Licence, Signature};
use crate::exchange::{Base, Sha256, Uncarried};
use crate::protocol::{Flavor, RepositoryFile, TreeHash, Uuid};
use serde::Serialize;
use std::collections::BTreeSet;

/// Longest text taken over from a bundle, in characters.
const LONGEST: usize = 200;

/// The sheet. All text in it is safe to show: without control characters, and not too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sheet {
    /// The version of airlock that made it.
    pub airlock: &'static str,
    /// The bundle.
    pub id: Uuid,
    /// The cache that it was made from.
    pub origin: Uuid,
    /// Whom it is for.
    pub destination: String,
    /// Its sequence number.
    pub sequence: u64,
    /// Earlier sequence numbers of which it has everything again.
    pub repeats: BTreeSet<u64>,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// Of `bundle.json`, which names the SHA-256 of all resources.
    pub index_sha256: Sha256,
    /// What its signature is worth here.
    pub signature: Signature,
    /// The key that it was made with, if that is trusted here, as minisign takes it.
    pub public_key: Option<String>,
    /// The platforms that its artifacts were chosen for.
    pub platforms: Vec<String>,
    /// Its files, in order.
    pub volumes: Vec<VolumeLine>,
    /// How much it is.
    pub totals: Totals,
    /// The registries to publish, by name.
    pub registries: Vec<RegistryLine>,
    /// Its packages, by name and version.
    pub packages: Vec<PackageLine>,
    /// Its artifacts, by name.
    pub artifacts: Vec<ArtifactLine>,
    /// The git bundles of repositories in it, by name.
    pub repositories: Vec<RepositoryLine>,
    /// What it takes to be there already.
    pub builds_on: Base,
    /// What was wanted and could not be carried.
    pub uncarried: Vec<Uncarried>,
}

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeLine {
    /// Counted from 1.
    pub number: u32,
    /// The name it was given when it was made.
    pub file: String,
    /// Bytes of the file; `None` if it was not given or cannot be read.
    pub size: Option<u64>,
    /// Of the whole file; `None` if it was not given or cannot be read.
    pub sha256: Option<Sha256>,
    /// How many resources and git bundles are in it.
    pub resources: u64,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// How much a bundle is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Registries in it.
    pub registries: usize,
    /// Package versions in it.
    pub packages: usize,
    /// Artifacts in it.
    pub artifacts: usize,
    /// Git bundles in it.
    pub repositories: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// A registry to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegistryLine {
    /// Its name, if the bundle has it.
    pub name: Option<String>,
    /// Which.
    pub uuid: Uuid,
    /// At which tree.
    pub tree: TreeHash,
    /// In which listings.
    pub flavors: BTreeSet<Flavor>,
    /// When this tree was published at the origin.
    pub published: Option<jiff::Timestamp>,
    /// Hours from then until the bundle was made.
    pub age_hours: Option<i64>,
}

/// A package version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageLine {
    /// Its name, if the bundle has it.
    pub name: Option<String>,
    /// Its version, if the bundle has it.
    pub version: Option<String>,
    /// The package.
    pub uuid: Uuid,
    /// The version's tree.
    pub tree: TreeHash,
    /// The versions that the other side has, newest first: none if the package is new there, `None`
    /// if that is not known.
    pub replaces: Option<Vec<String>>,
    /// What it says of its licence; `None` if it could not be read.
    pub licence: Option<Licence>,
    /// Why it could not be read.
    pub unread: Option<String>,
    /// Where its sources are, as its registry has it.
    pub repository: Option<String>,
    /// Bytes of its tarball.
    pub size: u64,
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArtifactLine {
    /// What it is called and by whom, if the bundle has it.
    pub name: Option<String>,
    /// Its tree.
    pub tree: TreeHash,
    /// Bytes of its tarball.
    pub size: u64,
}

/// A git bundle. Nobody looked for licences in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepositoryLine {
    /// Its path.
    pub file: RepositoryFile,
    /// The address of the repository, if a manifest named it.
    pub url: Option<String>,
    /// The packages that manifests take from it.
    pub packages: Vec<String>,
    /// The trees that they take.
    pub trees: BTreeSet<TreeHash>,
    /// Its bytes.
    pub size: u64,
}

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The files are no volumes, or do not go together.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// Files of no bundle, or of several.
    #[error("these are files of {0} bundles: a sheet is for one")]
    NotOne(usize),
    /// A template failed.
    #[error("cannot write the sheet: {0}")]
    Render(#[from] askama::Error),
}

impl Sheet {
    /// Whether all of the bundle was there and could be read, and its signature is not against it.
    pub fn is_complete(&self) -> bool {
        let whole = self.volumes.iter().all(|volume| volume.problem.is_none());
        let read = self.packages.iter().all(|package| package.unread.is_none());
        whole && read && self.signature.is_acceptable()
    }
}

/// What came from outside, as it may be shown: no character that steers a terminal, turns the
/// direction of writing or cannot be seen, and not too long.
pub(super) fn plain(text: &str) -> String {
    let mut plain: String = text.chars().take(LONGEST).map(|it| if is_shown(it) { it } else { '\u{fffd}' }).collect();
    if text.chars().nth(LONGEST).is_some() {
        plain.push('…');
    }
    plain
}

fn is_shown(character: char) -> bool {
    let hidden = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    );
    !hidden && !character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_hides_nothing_and_steers_nothing() {
        assert_eq!(plain("Ünï code 1.0+2 ok"), "Ünï code 1.0+2 ok");
        for hostile in ["\n", "\x1b[31m", "\u{202e}", "\u{200b}", "\u{2028}", "\r", "\0", "\u{85}", "\u{e0041}"] {
            let shown = plain(&format!("a{hostile}b"));
            assert!(shown.starts_with("a\u{fffd}"), "{hostile:?}");
        }
        assert_eq!(plain(&"x".repeat(100_000)).chars().count(), LONGEST + 1);
    }
}
