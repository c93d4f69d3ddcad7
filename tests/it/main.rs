//! The one integration test binary.

mod julia_data;
mod prewarm;
