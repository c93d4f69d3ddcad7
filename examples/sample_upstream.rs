//! Serves the sample registry of `sample/` as a package server, to try the verbs against:
//! `cargo run --example sample_upstream`.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use airlock::sample::{SampleUpstream, Site};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let upstream = SampleUpstream::start_at(Site::sample()?, ([127, 0, 0, 1], 9000).into()).await?;
    println!("sample upstream at {}; Ctrl-C ends it", upstream.url());
    Ok(tokio::signal::ctrl_c().await?)
}
