//! A disk that fails while it serves: the answer ends short, the file goes, a good one comes.

use super::{filled, filled_with, in_quarantine, make_unreadable, of_kind};
use crate::support::{Airlock, LONG, config};
use airlock::protocol::Kind;
use fs_err as fs;

/// Asks until it is answered with this body.
async fn comes_back(airlock: &Airlock, path: &str, body: &[u8]) {
    let back = async {
        loop {
            let answer = airlock.get(path).await;
            if answer.status() == 200 && answer.bytes().await.is_ok_and(|bytes| bytes == body) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_ends_early_while_it_is_sent_ends_the_answer_short_and_comes_again() {
    // More than the buffers of a connection take, so that it is read while the test looks on.
    let (site, large) = crate::flights::big_site(32 << 20);
    let path = large.to_string();
    let body = site.body(&path).unwrap().clone();
    let scene = filled_with(site).await;
    let airlock = Airlock::quiet(&scene.online()).await;
    let mut answer = airlock.get(&path).await;
    assert_eq!(answer.content_length(), Some(body.len() as u64));
    let mut got = answer.chunk().await.unwrap().unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(scene.cache().join(large.relative_path())).unwrap();
    file.set_len(1 << 20).unwrap();
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => got += bytes.len(),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(!ended && got < body.len(), "it was completed with {got} bytes");
    // Nobody has to ask again.
    let path_on_disk = scene.cache().join(large.relative_path());
    let back = async {
        while !fs::metadata(&path_on_disk).is_ok_and(|there| there.len() == body.len() as u64) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, back).await.unwrap();
    comes_back(&airlock, &path, &body).await;
    assert_eq!(in_quarantine(&scene.cache()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_after_it_was_verified_is_not_served() {
    let scene = filled().await;
    let package = of_kind(Kind::Package);
    let file = fs::OpenOptions::new().write(true).open(scene.cache().join(package.relative_path())).unwrap();
    file.set_len(100).unwrap();
    let offline = Airlock::quiet(&config(&scene.cache(), &[], "")).await;
    assert_eq!(offline.get(&package.to_string()).await.status(), 502, "its stamp says that it is another");
    assert_eq!(offline.get(&package.to_string()).await.status(), 404);
    let online = Airlock::quiet(&scene.online()).await;
    comes_back(&online, &package.to_string(), &scene.upstream.body(&package.to_string()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_read_gives_is_an_error_once_and_then_comes_again() {
    let scene = filled().await;
    for kind in Kind::ALL {
        let resource = of_kind(kind);
        make_unreadable(&scene.cache(), &resource);
        let airlock = Airlock::quiet(&scene.online()).await;
        let path = resource.to_string();
        assert_eq!(airlock.get(&path).await.status(), 500, "{path}");
        comes_back(&airlock, &path, &scene.upstream.body(&path).unwrap()).await;
    }
    assert_eq!(in_quarantine(&scene.cache()), 3);
}
