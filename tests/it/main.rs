//! The one integration test binary.

mod flights;
mod julia_client;
mod julia_data;
mod support;
mod tree_props;
