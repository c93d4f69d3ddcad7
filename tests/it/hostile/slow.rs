//! Clients that drip: a head is cut as a whole after header-timeout, whether it is the first of its
//! connection or not; so is a body.

use super::client::{ROBOTS, Target};
use crate::support::LONG;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread")]
async fn who_drips_is_cut() {
    let target = Target::start("[server]\nheader-timeout = '500ms'\n").await;
    let before = target.descriptors();
    let form = "POST /request HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let endless_form = format!("{form}Content-Length: 4000\r\n\r\nname=");
    let endless_chunks = format!("{form}Transfer-Encoding: chunked\r\n\r\nfff\r\nname=");
    // For all together: hyper's own time-out, of half a minute for each, is not the one of the file.
    let late = tokio::time::Instant::now() + LONG;
    for (begins, drop) in [
        ("", "X"),
        ("GET / HTTP/1.1\r\nHost: x\r\n", "X"),
        ("GET / HTTP/1.1\r\nHost: x\r\n", "X: y\r\n"),
        (ROBOTS, "X"),
        (endless_form.as_str(), "a"),
        (endless_chunks.as_str(), "a"),
    ] {
        let (mut read, mut write) = target.connect().await.into_split();
        write.write_all(begins.as_bytes()).await.unwrap();
        let drips = async {
            // Far more often than the time-out, so that one that starts again with each byte, or
            // that waits for silence, would never come.
            let mut clock = tokio::time::interval(Duration::from_millis(20));
            loop {
                clock.tick().await;
                if write.write_all(drop.as_bytes()).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = Vec::new();
        let ends = async { read.read_to_end(&mut answer).await };
        tokio::select! {
            _ = ends => {}
            () = drips => {}
            () = tokio::time::sleep_until(late) => panic!("{begins:?} {drop:?}: it may drip for ever"),
        }
        assert!(target.is_well().await);
    }
    target.has_closed_down_to(before).await;
}
