//! A sample upstream: a package server inside the process, that can also misbehave.
//!
//! `airlock demo` uses it to show the whole way without any network; the tests use the same code
//! as their fake upstream. It speaks HTTP/1.1 over plain sockets on purpose: a web framework would
//! refuse to send a body that is shorter or longer than it says, and that is what must be tested.

mod fault;
mod registry;
mod server;

pub use fault::{Body, Fault, Gate, Then};
pub use registry::{SampleError, Site};
pub use server::{Request, SampleUpstream};
