//! How an admin lets git in over https: an authority, a password or a token, a redirect; all in git's own
//! configuration.

use super::https::{GitHttp, Manner};
use super::{Outside, Way, run, trusting};
use crate::authority::Authority;
use crate::binary::{said, stdout};
use fs_err as fs;

async fn update(outside: &Outside, way: &Way, more: &str, url: &str) -> (Option<i32>, String) {
    outside.configure(url);
    let output = run(outside.airlock("cache", &(way.gitconfig.clone() + more), &["registries", "update"])).await;
    (output.status.code(), said(&output).1 + &stdout(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_vouches_for_is_said_with_what_to_do() {
    let outside = Outside::new().await;
    let (server, authority, way) = outside.by_https().await;
    let stranger = Authority::new();
    for gitconfig in [String::new(), trusting(&server, &stranger)] {
        let (code, text) = update(&outside, &Way::new(server.url(), &gitconfig), "", &server.url()).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("certificate") && text.contains("http.sslCAInfo"), "{text}");
    }
    assert!(server.seen().is_empty(), "nobody was told anything");
    let (code, text) = update(&outside, &way, "", &server.url()).await;
    assert_eq!(code, Some(0), "{text}");
    // By the environment too.
    outside.configure(&server.url());
    let mut airlock = outside.airlock("cache", "", &["registries", "update"]);
    let output = run({
        airlock.env("GIT_SSL_CAINFO", authority.file("ca.pem"));
        airlock
    })
    .await;
    assert_eq!(said(&output).0, Some(0), "{}", said(&output).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_the_address_a_helper_or_a_header() {
    let outside = Outside::new().await;
    let (server, _authority, way) = outside.by_https().await;
    server.lock("carrier", "s3cret-word");
    let (code, text) = update(&outside, &way, "", &server.url()).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("refused access") && text.contains("credential helper"), "{text}");

    let (code, text) = update(&outside, &way, "", &server.url_of("carrier", "s3cret-word")).await;
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = update(&outside, &way, "", &server.url_of("carrier", "wrong")).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("refused access") && text.contains("not the ones that it takes"), "{text}");

    let store = outside.path("credentials");
    fs::write(&store, format!("{}\n", server.url_of("carrier", "s3cret-word"))).unwrap();
    let helper = format!("[credential]\n\thelper = store --file={}\n", store.display());
    let (code, text) = update(&outside, &way, &helper, &server.url()).await;
    assert_eq!(code, Some(0), "{text}");

    server.demand("Bearer t0ken");
    let header = format!("[http \"{}\"]\n\textraHeader = Authorization: Bearer t0ken\n", server.url());
    let (code, text) = update(&outside, &way, &header, &server.url()).await;
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_and_takes_no_password_along() {
    let outside = Outside::new().await;
    let (old, authority, way) = outside.by_https().await;
    let new = GitHttp::secure(&outside.acme.folder, &authority).await;
    old.behave(Manner::Redirect(new.url()));
    let trusted = trusting(&new, &authority);
    let (code, text) = update(&outside, &way, &trusted, &old.url_of("carrier", "s3cret-word")).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(!new.seen().is_empty() && new.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", new.seen());
    // Nor where the other one asks for it.
    new.lock("carrier", "s3cret-word");
    let (code, text) = update(&outside, &way, &trusted, &old.url_of("carrier", "s3cret-word")).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(new.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", new.seen());
    // One that leads to itself has an end.
    old.behave(Manner::Redirect(old.url()));
    let (code, text) = update(&outside, &way, "", &old.url()).await;
    assert!(code == Some(1) && text.contains(&old.url()), "{text}");
    assert!(old.seen().len() < 200, "{}", old.seen().len());
}
