//! `bodies::range_header`: `scripts/fuzz.sh 60 range_header`.
#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::range_header(bytes));
