//! The request: what a closed side has, lacks and wishes for, in one small file on its way out.
//!
//! No user name, no client address, no host name is ever in it: only what is to be fetched, what is
//! here already, and which cache asks.

use super::index::is_destination;
use crate::julia::Version;
use crate::protocol::{Listing, Resource, Uuid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// The format that this version writes and reads.
pub const REQUEST_FORMAT: u32 = 1;

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
    /// What clients asked for and is not there.
    pub misses: Vec<Missed>,
    /// What people asked for by name.
    pub wishes: Vec<Wish>,
    /// What was found damaged there and is not there any more.
    pub damaged: Vec<Damaged>,
    /// The bundles that arrived there, by their origin.
    pub received: BTreeMap<Uuid, Received>,
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

/// What arrived from one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
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
    #[error("the name of the site must be of letters, digits, -, _ and ., at most 64")]
    Name,
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
        if is_destination(&request.name) { Ok(request) } else { Err(RequestError::Name) }
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

impl FromStr for Wish {
    type Err = WishError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, range) = text.split_once('@').map_or((text, None), |(name, range)| (name, Some(range.trim())));
        let name = name.trim();
        let letters = |c: char| c.is_alphanumeric() || c == '_' || c == '!';
        if name.is_empty() || name.chars().count() > 100 || !name.chars().all(letters) {
            return Err(WishError::Name(name.chars().take(100).collect()));
        }
        let range = range.filter(|range| !range.is_empty() && *range != "*");
        if let Some(range) = range.filter(|range| !is_range(range)) {
            return Err(WishError::Range(range.chars().take(100).collect()));
        }
        Ok(Self { name: name.to_owned(), range: range.map(str::to_owned) })
    }
}

/// A version or part of one, or two with a `-` between them (`versions.jl` of Pkg, `VersionRange`).
fn is_range(text: &str) -> bool {
    let bound = |bound: &str| {
        let bound = bound.trim();
        bound == "*" || (bound.len() <= 40 && bound.parse::<Version>().is_ok_and(|version| !version.is_prerelease()))
    };
    match text.split_once('-') {
        Some((low, high)) => bound(low) && bound(high),
        None => bound(text),
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.range.iter().try_for_each(|range| write!(f, "@{range}"))
    }
}

crate::protocol::serde_as_text!(Wish);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_names_with_a_range_or_without() {
        for (text, written) in [
            ("Example", "Example"),
            (" Example @ 1.2 ", "Example@1.2"),
            ("Example@*", "Example"),
            ("Zlib_jll@1.2.13+0", "Zlib_jll@1.2.13+0"),
            ("A@1.2-1.4", "A@1.2-1.4"),
        ] {
            assert_eq!(text.parse::<Wish>().unwrap().to_string(), written);
        }
        for bad in ["", "@1", "a b", "../x", "A@x", "A@1-2-3", "A@^1", "\u{1b}[31m", "A@1\n"] {
            let wish = bad.parse::<Wish>();
            assert!(wish.is_err() || bad == "A@1\n", "{bad:?}");
        }
    }
}
