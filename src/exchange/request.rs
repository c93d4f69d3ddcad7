//! The request: what a closed side has, lacks and wishes for, in one small file on its way out.
//!
//! No user name, no client address, no host name is ever in it: only what is to be fetched, what is
//! here already, and which cache asks.

use super::index::is_destination;
use crate::julia::{Platforms, Version, VersionRange};
use crate::protocol::{Kind, Listing, RepositoryFile, Resource, TreeHash, Uuid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// The format that this version writes and reads.
pub const REQUEST_FORMAT: u32 = 1;

/// Most wishes that are recorded at one site, and so in one request.
pub const MAX_WISHES: usize = 10_000;
/// Most misses and damaged resources in one request: as many as the ledger of misses keeps.
const MAX_MISSES: usize = 100_000;
/// Most platforms, versions of Julia, registries, origins and gaps in one request.
const MAX_OTHERS: usize = 1_000;
/// Longest name, version or range, in characters.
const MAX_TEXT: usize = 100;

/// What a closed side has, lacks and wishes for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`REQUEST_FORMAT`].
    pub airlock_request: u32,
    /// When it was written.
    pub created: jiff::Timestamp,
    /// The cache that asks.
    pub site: Uuid,
    /// What that cache is called: the destination of bundles for it.
    pub name: String,
    /// The platforms that are served there, as triplets; `all` for all.
    pub platforms: Vec<String>,
    /// The versions of Julia that clients there run.
    pub julia: Vec<String>,
    /// The registries as they are published there, each as `/registry/<uuid>/<tree>`.
    pub registries: BTreeSet<Resource>,
    /// Everything that is there and verified.
    pub inventory: BTreeSet<Resource>,
    /// The git bundles of repositories that are there and verified, with the trees that were found in them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repositories: BTreeMap<RepositoryFile, BTreeSet<TreeHash>>,
    /// What clients asked for and is not there.
    pub misses: Vec<Missed>,
    /// What people asked for by name.
    pub wishes: Vec<Wish>,
    /// What was found damaged there and is not there any more.
    pub damaged: Vec<Damaged>,
    /// The bundles that arrived there.
    pub received: Vec<Received>,
}

/// A resource that clients asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missed {
    /// Which.
    pub resource: Resource,
    /// Its name, if a registry there knows it.
    pub name: Option<String>,
    /// Its version, likewise.
    pub version: Option<String>,
    /// How often.
    pub count: u64,
}

/// A resource that was damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damaged {
    /// Which.
    pub resource: Resource,
}

/// What arrived from one origin for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// The cache that the bundles were made from.
    pub origin: Uuid,
    /// Whom they were for.
    pub destination: String,
    /// The highest sequence number that arrived.
    pub last: u64,
    /// Those before it that never did.
    pub gaps: BTreeSet<u64>,
}

/// A package that somebody wants, by name: `Example`, `Example@1`, `Example@1.2-1.4`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wish {
    /// The package's name.
    pub name: String,
    /// Which versions: a range as registries write it (`1`, `0.5`, `1.2.3`, `1.2-1.4`); `None` for
    /// any.
    pub range: Option<String>,
}

/// Not a wish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// No package has such a name.
    #[error("{0:?} is not the name of a package: letters, digits and _, at most 100")]
    Name(String),
    /// Not a range.
    #[error("{0:?} is not a range of versions such as 1, 0.5, 1.2.3 or 1.2-1.4")]
    Range(String),
}

/// A request that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Another format.
    #[error("request format {0}, this airlock knows {REQUEST_FORMAT}: use the version that made it")]
    Format(u64),
    /// Not JSON, or not these keys.
    #[error("not a request: {0}")]
    Json(String),
    /// A name that cannot be part of a file name.
    #[error("{0:?} is not the name of a site: letters, digits, -, _ and ., at most 64, the first no .")]
    Name(String),
    /// It contradicts itself, or is longer than a site can make it.
    #[error("not a request: {0}")]
    Inconsistent(&'static str),
}

impl Request {
    /// Reads a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        #[derive(Deserialize)]
        struct Format {
            airlock_request: u64,
        }
        let json = |error: serde_json::Error| RequestError::Json(error.to_string());
        let format: Format = serde_json::from_slice(bytes).map_err(json)?;
        if format.airlock_request != u64::from(REQUEST_FORMAT) {
            return Err(RequestError::Format(format.airlock_request));
        }
        let request: Self = serde_json::from_slice(bytes).map_err(json)?;
        request.check()?;
        Ok(request)
    }

    /// Whether a text says that it is a request.
    pub fn is_request(text: &str) -> bool {
        text.trim_start().starts_with('{') && text.contains("\"airlock_request\"")
    }

    /// Whether a site may have this name, which becomes part of file names.
    pub fn check_name(name: &str) -> Result<(), RequestError> {
        let shown = || RequestError::Name(name.chars().take(MAX_TEXT).collect());
        is_destination(name).then_some(()).ok_or_else(shown)
    }

    fn check(&self) -> Result<(), RequestError> {
        Self::check_name(&self.name)?;
        let wrong = |what| Err(RequestError::Inconsistent(what));
        if self.wishes.len() > MAX_WISHES {
            return wrong("more than 10000 wishes");
        }
        if self.misses.len() > MAX_MISSES || self.damaged.len() > MAX_MISSES {
            return wrong("more than 100000 misses or damaged resources");
        }
        let gaps = self.received.iter().map(|received| received.gaps.len()).sum();
        let others = [self.platforms.len(), self.julia.len(), self.registries.len(), self.received.len(), gaps];
        if others.into_iter().any(|count| count > MAX_OTHERS) {
            return wrong("more than 1000 platforms, versions of Julia, registries, origins or gaps");
        }
        if !self.platforms.iter().all(|name| name != "host" && name.parse::<Platforms>().is_ok()) {
            return wrong("a platform that is neither a triplet nor all");
        }
        if !self.julia.iter().all(|version| version.parse::<Version>().is_ok()) {
            return wrong("a version of Julia that is none");
        }
        if !self.registries.iter().all(|registry| registry.kind() == Kind::Registry) {
            return wrong("a registry that is none");
        }
        let texts = self.misses.iter().flat_map(|missed| [&missed.name, &missed.version]).flatten();
        if !texts.into_iter().all(|text| is_plain(text)) {
            return wrong("a name or version that cannot be shown");
        }
        if !self.received.iter().all(|it| is_destination(&it.destination)) {
            return wrong("a destination that is not a plain name");
        }
        if self.received.iter().any(|it| it.gaps.iter().any(|&gap| gap == 0 || gap >= it.last)) {
            return wrong("sequence numbers that make no sense");
        }
        Ok(())
    }

    /// The bytes of the file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The registries as a listing.
    pub fn listing(&self) -> Listing {
        let trees = self.registries.iter().filter_map(|resource| match *resource {
            Resource::Registry { uuid, tree } => Some(crate::protocol::RegistryTree { uuid, tree }),
            _ => None,
        });
        trees.collect()
    }
}

impl Missed {
    /// A miss with the name and the version that it has, as far as they can be shown: they come
    /// from registries and packages, which may call things what they like.
    pub fn new(resource: Resource, name: Option<String>, version: Option<String>, count: u64) -> Self {
        let plain = |text: Option<String>| text.filter(|text| is_plain(text));
        Self { resource, name: plain(name), version: plain(version), count }
    }
}

impl Wish {
    /// Whether this version is among those that are wished for.
    pub fn admits(&self, version: &Version) -> bool {
        let ranges = self.ranges();
        let in_range = self.range.is_none() || ranges.iter().any(|range| range.contains(version));
        in_range && self.exact().is_none_or(|exact| exact == *version)
    }

    /// The versions that are wished for, without regard to builds; empty where any will do.
    pub fn ranges(&self) -> Vec<VersionRange> {
        let range = self.range.as_deref().map(|range| range.split_once('+').map_or(range, |(version, _)| version));
        range.and_then(|range| range.parse().ok()).into_iter().collect()
    }

    /// The one build that is wished for, if it is one.
    pub fn exact(&self) -> Option<Version> {
        self.range.as_deref().filter(|range| range.contains('+'))?.parse().ok()
    }
}

/// Not too long, and nothing in it that steers a terminal.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_TEXT && !text.contains(char::is_control)
}

impl FromStr for Wish {
    type Err = WishError;

    /// Reads a wish as people write it: a name may end in `.jl`, numbers may start with `v`, and a
    /// version with a build number (`1.2.13+0`), as binary packages have, is that build alone.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, range) = text.split_once('@').map_or((text, ""), |(name, range)| (name, range.trim()));
        let name = name.trim();
        let name = name.strip_suffix(".jl").unwrap_or(name);
        let letters = |c: char| c.is_alphanumeric() || c == '_' || c == '!';
        if name.is_empty() || name.chars().count() > MAX_TEXT || !name.chars().all(letters) {
            return Err(WishError::Name(name.chars().take(MAX_TEXT).collect()));
        }
        let plain = plain_range(range).ok_or_else(|| WishError::Range(range.chars().take(MAX_TEXT).collect()))?;
        let range = Some(plain).filter(|range| !matches!(range.as_str(), "" | "*"));
        Ok(Self { name: name.to_owned(), range })
    }
}

/// A range in the one form in which it is kept; empty for none.
fn plain_range(text: &str) -> Option<String> {
    if let Some((_, build)) = text.split_once('+').filter(|_| text.len() <= MAX_TEXT) {
        let is_build = !build.is_empty() && build.bytes().all(|byte| byte.is_ascii_digit());
        let version = text.parse::<Version>().ok().filter(|version| is_build && !version.is_prerelease());
        return version.map(|version| version.to_string());
    }
    let is_range = text.is_empty() || text.parse::<VersionRange>().is_ok();
    let is_kept = |c: &char| c.is_ascii_digit() || matches!(c, '.' | '-' | '*');
    (is_range && text.len() <= MAX_TEXT).then(|| text.chars().filter(is_kept).collect())
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.range.iter().try_for_each(|range| write!(f, "@{range}"))
    }
}

crate::protocol::serde_as_text!(Wish);

#[cfg(test)]
mod tests;
