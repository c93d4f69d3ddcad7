//! What is known of a server that runs: how its configuration was read last, and whether it still
//! answers.

use jiff::Timestamp;
use tokio::sync::Notify;

/// How the configuration was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// When the one in force was read; `None` at the start.
    pub(super) loaded: Option<Timestamp>,
    /// When and why the last attempt to read it again failed, if it did.
    pub(super) failed: Option<(Timestamp, String)>,
}

impl Reading {
    pub(super) fn after<T>(&self, outcome: &Result<T, String>) -> Self {
        let now = Timestamp::now();
        match outcome {
            Ok(_) => Self { loaded: Some(now), failed: None },
            Err(why) => Self { loaded: self.loaded, failed: Some((now, why.clone())) },
        }
    }
}

/// A question to the loop that accepts connections: is it still there? It is asked inside the
/// process, for the kernel answers a connection whether anybody accepts it or not.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    asked: Notify,
    answered: Notify,
}

impl Pulse {
    /// Resolves when the loop has come round.
    pub(super) async fn beat(&self) {
        // Made before the question, so that the answer cannot be missed.
        let answered = self.answered.notified();
        self.asked.notify_one();
        answered.await;
    }

    /// For the loop: waits for the question and answers it. May be dropped at any time.
    pub(super) async fn answer(&self) {
        self.asked.notified().await;
        self.answered.notify_waiters();
    }
}
