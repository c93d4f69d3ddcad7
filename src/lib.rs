//! `julia-airlock`: a Julia package server for closed networks, and the way to fill it.
//!
//! The modules form layers; a lower one never imports a higher one (`ARCHITECTURE.md` has the
//! table, `tests/it/layers.rs` holds it).

pub mod adopt;
pub mod bundle;
pub mod check;
pub mod cli;
pub mod closure;
pub mod config;
pub mod doctor;
pub mod exchange;
pub mod fault;
pub mod gc;
pub mod git;
pub mod julia;
pub mod mirror;
pub mod pem;
pub mod policy;
pub mod prewarm;
pub mod protocol;
pub mod request;
pub mod resolve;
pub mod sample;
pub mod server;
pub mod source;
pub mod status;
pub mod store;
pub mod tree;
pub mod verify;
