//! `julia-airlock`: a Julia package server for closed networks, and the way to fill it.
//!
//! The modules form layers; a lower one never imports a higher one (`ARCHITECTURE.md` has the
//! table, `tests/it/layers.rs` holds it).

pub mod protocol;
pub mod tree;
