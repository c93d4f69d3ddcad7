//! The one integration test binary.

mod tree_data;
mod tree_props;
