//! The `airlock` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    airlock::cli::main()
}
