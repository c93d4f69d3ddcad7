//! Whose a resource is, for whoever must know before it may be given.

use super::Mirror;
use crate::policy::Subject;
use crate::protocol::Resource;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long nothing is read again for a resource of which nobody knows whose it is: who asks for random
/// hashes must not keep the disk busy.
const PAUSE: Duration = Duration::from_secs(1);

/// When names were read last for such a resource.
#[derive(Debug, Default)]
pub(super) struct Belonging(tokio::sync::Mutex<Option<Instant>>);

impl Mirror {
    /// What is known of a resource, after the registries and packages here were read. Another process
    /// may have brought what says whose it is, so where that is not known they are read again, at most
    /// once a second.
    pub async fn belonging(self: &Arc<Self>, resource: &Resource) -> Subject {
        self.know().await;
        let subject = self.subject(resource);
        if tells_whose(&subject) {
            return subject;
        }
        let mut last = self.belonging.0.lock().await;
        if last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.load_names().await;
            *last = Some(Instant::now());
        }
        self.subject(resource)
    }
}

fn tells_whose(subject: &Subject) -> bool {
    match subject {
        Subject::Registry(registry) => registry.name.is_some(),
        Subject::Package(package) => !package.registries.is_empty(),
        Subject::Artifact { owners, .. } => owners.iter().any(|owner| !owner.registries.is_empty()),
    }
}
