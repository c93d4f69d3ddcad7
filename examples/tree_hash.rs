//! Prints the strict and the lenient tree hash of each tarball given: `tree_hash FILE...`.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use airlock::tree::{Limits, hash_tar_gz};

fn main() -> anyhow::Result<()> {
    for path in std::env::args_os().skip(1) {
        let file = fs_err::File::open(std::path::PathBuf::from(&path))?;
        let contents = hash_tar_gz(file, &Limits::default(), |_| false)?;
        println!("{} {} {}", contents.strict, contents.lenient, path.display());
    }
    Ok(())
}
