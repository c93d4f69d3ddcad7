//! What is known of a resource, as of now: another process may have brought what says whose it is, and what
//! is decided without that may be wrong.

use super::{Mirror, blocking};
use crate::policy::Subject;
use crate::protocol::Resource;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long whoever shows no token has to do with what was known a moment ago: who asks for random hashes
/// must not keep the disk busy.
const PAUSE: Duration = Duration::from_secs(1);

/// When it was looked for names last, and what the files that they come from looked like then.
#[derive(Debug, Default)]
pub(super) struct Looked(tokio::sync::Mutex<(Option<Instant>, Option<u64>)>);

impl Mirror {
    /// What is known of a resource, after the registries and packages here were read: for the guard, which
    /// takes for private what nobody can tell. Whatever is asked for, the way is the same, so that the time that
    /// it takes says nothing of whether it is known.
    pub async fn belonging(self: &Arc<Self>, resource: &Resource) -> Subject {
        self.know().await;
        self.look_for_names(PAUSE).await;
        self.subject(resource)
    }

    /// Reads the names that came since they were read last; where no file changed none is read. One looks for
    /// all who wait, and nobody where somebody began to look no longer than `pause` ago.
    pub(super) async fn look_for_names(self: &Arc<Self>, pause: Duration) {
        let asked = Instant::now();
        let mut looked = self.looked.0.lock().await;
        if looked.0.is_some_and(|began| began + pause >= asked) {
            return;
        }
        let began = Instant::now();
        let store = Arc::clone(&self.store);
        let digest = blocking(move || store.names_digest().ok()).await.ok().flatten();
        if digest.is_none() || looked.1 != digest {
            self.read_names().await;
        }
        *looked = (Some(began), digest);
    }
}
