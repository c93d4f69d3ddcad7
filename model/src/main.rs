//! The single flight under a scheduler that tries orders of its steps: `scripts/shuttle.sh`.
//!
//! `src/mirror/flight.rs`, `flights.rs` and `body.rs` are compiled here as they are. What they call
//! tokio is this crate: tokio's channels on the primitives of shuttle, and a clock that stands
//! still until the model moves it. So a wake-up that is lost leaves a task waiting for ever, and
//! shuttle reports a deadlock, where a real clock would hide it.
//!
//! A binary and no tests, so that the tests in those files stay out of it.

extern crate self as tokio;

mod mirror;
#[path = "../../src/protocol/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the model needs the names of resources only")]
mod protocol;
mod time;
mod watch;

mod sync {
    pub(crate) use crate::watch;
}

mod runtime {
    pub(crate) use shuttle_tokio::runtime::Handle;
}

pub(crate) use shuttle_tokio::select;

fn main() {
    time::check();
    mirror::explore();
}
