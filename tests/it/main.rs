//! The one integration test binary.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as the test may")]

mod acme;
mod across;
mod adopt;
mod binary;
mod bundle_export;
mod bundle_import;
mod bundle_report;
mod check;
mod cli;
mod closed_network;
mod crash;
mod disk;
mod doctor;
mod fallback;
mod flights;
mod fuzz_corpus;
mod gc;
mod git_packages;
mod http;
mod julia_client;
mod julia_data;
mod layers;
mod patience;
mod policy;
mod prewarm;
mod private;
mod private_julia;
mod registries;
mod request;
mod resolve_data;
mod rsync;
mod secrets;
mod status;
mod steer;
mod support;
mod tree_data;
mod tree_props;
mod trust;
mod upstreams;
mod view;
mod view_data;
