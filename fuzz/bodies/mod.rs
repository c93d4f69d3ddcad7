//! What each fuzz target does with its bytes. The targets of `fuzz/` run it with bytes that a
//! fuzzer makes up, `tests/it/fuzz_corpus.rs` with those that are kept in `fuzz/corpus/`.

mod archives;
#[path = "../../src/server/range.rs"]
mod range;
mod reference;
mod texts;

pub(crate) use archives::{bundle, tar_reader, tree_hash};
pub(crate) use reference::{range_header, version_ranges};
pub(crate) use texts::{formats, paths, registry, solve};

/// A target by its name.
pub(crate) type Body = fn(&[u8]);

/// Every target.
pub(crate) const ALL: [(&str, Body); 9] = [
    ("bundle", bundle),
    ("formats", formats),
    ("paths", paths),
    ("range_header", range_header),
    ("registry", registry),
    ("solve", solve),
    ("tar_reader", tar_reader),
    ("tree_hash", tree_hash),
    ("version_ranges", version_ranges),
];
