//! Whether a version has been known for long enough.

use super::Policy;
use jiff::Timestamp;
use std::fmt;

/// How a version stands to the age that versions must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Old enough; since when it is known here, if that is on record.
    Old {
        /// When a registry here had it first.
        since: Option<Timestamp>,
    },
    /// Too young.
    Young {
        /// When a registry here had it first.
        since: Timestamp,
        /// When it is old enough.
        until: Timestamp,
    },
    /// No registry here ever had it.
    Unseen,
}

impl Age {
    /// Whether the version is too young.
    pub const fn is_young(self) -> bool {
        matches!(self, Self::Young { .. } | Self::Unseen)
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: &Timestamp| time.strftime("%Y-%m-%d %H:%M UTC").to_string();
        match self {
            Self::Old { since: Some(since) } => write!(f, "old enough, known since {}", time(since)),
            Self::Old { since: None } => f.write_str("old enough"),
            Self::Young { since, until } => {
                write!(f, "too young until {}, known since {}", time(until), time(since))
            }
            Self::Unseen => f.write_str("too young: no registry here has had this version yet"),
        }
    }
}

impl Policy {
    /// How a version stands that a registry here had first at `since`; `None` if none ever had it.
    /// `since` may lie ahead of `now`, where a clock was put right: then it is young.
    pub fn age(&self, since: Option<Timestamp>, now: Timestamp) -> Age {
        let Some(min) = self.rules().min_age else { return Age::Old { since } };
        let Some(since) = since else { return Age::Unseen };
        // A time so long that the calendar ends is for ever.
        let until = since.checked_add(min).unwrap_or(Timestamp::MAX);
        if until <= now { Age::Old { since: Some(since) } } else { Age::Young { since, until } }
    }
}
