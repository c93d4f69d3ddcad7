//! The one integration test binary.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as the test may")]

mod binary;
mod bundle_report;
mod cli;
mod closed_network;
mod crash;
mod disk;
mod flights;
mod http;
mod julia_client;
mod julia_data;
mod layers;
mod patience;
mod prewarm;
mod registries;
mod secrets;
mod steer;
mod support;
mod tree_data;
mod tree_props;
mod trust;
