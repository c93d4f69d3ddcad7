//! What a run tells while it goes on. How that is shown, as bars or as lines, is decided above.

use super::{Estimate, Outcome};
use crate::protocol::Resource;

/// One step of a run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// The upstreams are being asked for their registries.
    Registries,
    /// Many versions were asked for: so much it is.
    Estimated(&'e Estimate),
    /// So many resources are wanted by now; more when a package that came names artifacts.
    Planned {
        /// All together, those that are done and git repositories too.
        resources: usize,
    },
    /// A resource is looked for, and fetched if it is not here.
    Started {
        /// Which.
        resource: &'e Resource,
        /// For people: `Example 1.2.3`, `data of Example`.
        name: &'e str,
    },
    /// It is done, one way or the other.
    Done {
        /// Which.
        resource: &'e Resource,
        /// For people.
        name: &'e str,
        /// What came of it.
        outcome: &'e Outcome,
    },
    /// A git repository is looked for, and mirrored if that is wanted.
    Repository {
        /// Its address.
        url: &'e str,
    },
    /// That is done, one way or the other.
    RepositoryDone {
        /// Its address.
        url: &'e str,
        /// What came of it.
        outcome: &'e Outcome,
    },
}

/// Whoever wants to know. Called from the run itself, so it must not block.
pub trait Progress: Send + Sync {
    /// Takes one step.
    fn event(&self, event: &Event<'_>);
}

/// Nobody.
impl Progress for () {
    fn event(&self, _: &Event<'_>) {}
}
