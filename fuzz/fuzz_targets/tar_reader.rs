//! `bodies::tar_reader`: `scripts/fuzz.sh 60 tar_reader`.
#![no_main]

#[path = "../bodies/mod.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::tar_reader(bytes));
