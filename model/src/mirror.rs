//! The files of the mirror that make up a flight, what they need of the rest of it, and a mirror
//! around them: a disk that has one resource or not, and a source that misbehaves.

#[path = "../../src/mirror/body.rs"]
#[allow(dead_code, reason = "hits are not modelled")]
mod body;
#[path = "../../src/mirror/flight.rs"]
#[allow(dead_code, reason = "what of it is told to others is not modelled")]
mod flight;
#[path = "../../src/mirror/flights.rs"]
mod flights;
mod flying;
mod scenes;

pub(crate) use scenes::explore;

use shuttle::sync::{Mutex, MutexGuard};
use std::io;
use std::sync::PoisonError;

use refusal::Refusal;

mod refusal {
    /// Why a resource cannot be given; only that it cannot matters here.
    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    pub(super) enum Refusal {
        #[error("upstream failed")]
        Upstream,
        #[error("shutting down")]
        Closing,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    shuttle_tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
