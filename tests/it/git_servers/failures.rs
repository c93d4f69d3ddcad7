//! Git servers that fail in every way: each ends in time with words that say what happened, nothing stays
//! at work, and the next time it is good.

use super::https::{GitHttp, Manner};
use super::{Outside, nobody_works_on};
use crate::support::LONG;
use airlock::git::{BareClone, Bounds, Clones, GitError, Refs, Trust};
use std::sync::Arc;
use std::time::Duration;

const GARBAGE: &[u8] = b"this is no pack at all, whatever was said before it";
/// The head of a pack of 16 objects, and no objects.
const HALF: &[u8] = b"PACK\0\0\0\x02\0\0\0\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";

async fn fetch(clone: &BareClone) -> Result<(), GitError> {
    let clone = clone.clone();
    let fetched = tokio::task::spawn_blocking(move || clone.fetch(Refs::Heads));
    tokio::time::timeout(LONG, fetched).await.expect("it has no end").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_ends_in_time_with_its_words_and_leaves_nobody_at_work() {
    let outside = Outside::new().await;
    let server = GitHttp::plain(&outside.acme.folder).await;
    let folder = outside.path("clones");
    let clones = Arc::new(Clones::new(folder.clone(), Bounds { silence: Duration::from_secs(1), ..Bounds::default() }));
    let clone = clones.open(&format!("{}/AcmeRegistry", server.url()), Trust::Named).unwrap();
    let mut wrong = Vec::new();
    for (manner, passes, words) in [
        (Manner::Status(401), false, "refused access"),
        (Manner::Status(403), false, "refused access"),
        (Manner::Status(404), false, "there is no repository at"),
        (Manner::Status(410), false, "there is no repository at"),
        (Manner::Status(429), true, "cannot be reached"),
        (Manner::Status(500), true, "cannot be reached"),
        (Manner::Status(503), true, "cannot be reached"),
        (Manner::Page("a page for people\n"), false, "there is no repository at"),
        (Manner::Silent, true, ""),
        (Manner::HangsInPack, true, ""),
        (Manner::CutsPack, true, "cannot be reached"),
        (Manner::FakePack(GARBAGE), false, "protocol error: bad pack header"),
        (Manner::FakePack(HALF), true, "cannot be reached: early EOF"),
        (Manner::DamagesPack, false, "what it sends is damaged"),
    ] {
        server.behave(manner.clone());
        let (text, passing) = match fetch(&clone).await {
            Ok(()) => ("it worked".to_owned(), !passes),
            Err(error) => (error.to_string(), error.is_passing()),
        };
        if !text.contains(words) || !text.contains(&server.url()) || passing != passes {
            wrong.push(format!("{manner:?}: {text}: passing: {passing}"));
        }
        nobody_works_on(&folder).await;
        if clone.folder().exists() {
            wrong.push(format!("{manner:?}: half a clone took its place"));
            fs_err::remove_dir_all(clone.folder()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // This one git takes for an empty list of branches.
    server.behave(Manner::Page("<!DOCTYPE html><p>Sign in</p>"));
    fetch(&clone).await.unwrap();
    let text = clone.head_tree(None).unwrap_err().to_string();
    assert!(text.contains("it is empty, or what answers there is no git server"), "{text}");
    server.behave(Manner::Good);
    fetch(&clone).await.unwrap();
    assert_eq!(clone.head_tree(None).unwrap(), outside.acme.registry().tree());
}
