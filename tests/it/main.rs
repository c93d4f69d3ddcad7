//! The one integration test binary.

mod julia_client;
mod julia_data;
mod support;
