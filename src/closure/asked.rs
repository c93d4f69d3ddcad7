//! A package that is asked for on the command line, by name.

use crate::exchange::{Wish, WishError};
use crate::julia::VersionRange;
use crate::protocol::Uuid;
use std::fmt;
use std::str::FromStr;

/// A package that is asked for: `Example`, `Example@1.2`, `Example=<uuid>@1.2` where a name is not
/// enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its name, and which versions.
    pub wish: Wish,
    /// Its uuid, if it was given.
    pub uuid: Option<Uuid>,
}

/// Not a package that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskedError {
    /// Not a name, or not a range.
    #[error(transparent)]
    Wish(#[from] WishError),
    /// Not a uuid.
    #[error("{0:?} is not a uuid")]
    Uuid(String),
}

impl Asked {
    /// The versions that will do; empty where any will.
    pub fn ranges(&self) -> Vec<VersionRange> {
        self.wish.ranges()
    }
}

impl FromStr for Asked {
    type Err = AskedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((name, rest)) = text.split_once('=') else {
            return Ok(Self { wish: text.parse()?, uuid: None });
        };
        let (uuid, range) = rest.split_once('@').unwrap_or((rest, ""));
        let shown = || AskedError::Uuid(uuid.chars().take(40).collect());
        let uuid = Uuid::from_any_case(uuid.trim()).map_err(|_| shown())?;
        Ok(Self { wish: format!("{name}@{range}").parse()?, uuid: Some(uuid) })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wish.name)?;
        self.uuid.iter().try_for_each(|uuid| write!(f, "={uuid}"))?;
        self.wish.range.iter().try_for_each(|range| write!(f, "@{range}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "7876af07-990d-54b4-ab0e-23690620f79a";

    #[test]
    fn it_is_written_as_it_is_read() {
        for (text, shown) in [
            ("Example", "Example".to_owned()),
            ("Example.jl@v1.2", "Example@1.2".to_owned()),
            (&format!("Example={UUID}"), format!("Example={UUID}")),
            (&format!("Example={}@0.5-1", UUID.to_uppercase()), format!("Example={UUID}@0.5-1")),
        ] {
            let asked: Asked = text.parse().unwrap();
            assert_eq!((asked.to_string(), asked.ranges().len()), (shown, usize::from(text.contains('@'))), "{text}");
        }
        for text in ["", "=", "Example=", "Example=1.2", "=7876af07-990d-54b4-ab0e-23690620f79a", "a b", "Example@x"] {
            assert!(text.parse::<Asked>().is_err(), "{text}");
        }
    }
}
