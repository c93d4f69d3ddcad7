//! `airlock bundle export`.
