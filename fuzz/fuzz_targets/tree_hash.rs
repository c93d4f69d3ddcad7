//! `bodies::tree_hash`: `scripts/fuzz.sh 60 tree_hash`.
#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::tree_hash(bytes));
