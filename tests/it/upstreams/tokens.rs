//! Bearer tokens: sent to whom they are for, over a way that nobody reads, and shown to nobody.

use super::hosts::{Guard, ProxyServer, table};
use super::packages;
use crate::binary::{Serving, command};
use crate::support::{Airlock, Scene, client, config};
use airlock::mirror::Patience;
use airlock::sample::{Fault, SampleUpstream, Site};
use std::path::PathBuf;

const WORD: &str = "s3cret-token";

/// A guard that wants a token, and a folder with the file for it.
async fn guarded() -> (Guard, tempfile::TempDir, PathBuf) {
    let upstream = SampleUpstream::start(Site::sample().unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs_err::write(&file, format!("{WORD}\n")).unwrap();
    (Guard::start(upstream, Some(WORD), None).await, folder, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_door_and_without_it_nothing_comes() {
    let (guard, folder, file) = guarded().await;
    let package = packages()[0].to_string();
    for (lines, status) in [(table(&guard.url(), &[("token-file", &file)]), 200), (table(&guard.url(), &[]), 502)] {
        let cache = folder.path().join(status.to_string());
        let airlock = Airlock::quiet(&config(&cache, &[], &lines)).await;
        assert_eq!(airlock.get(&package).await.status().as_u16(), status);
        let problems = airlock.mirror.refresh_registries(Patience::prewarm(1)).await;
        assert_eq!(problems.is_empty(), status == 200, "{problems:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_the_environment_does_as_well() {
    let (guard, folder, _) = guarded().await;
    fs_err::write(folder.path().join("airlock.toml"), table(&guard.url(), &[]) + "token-env = 'DMZ_TOKEN'\n").unwrap();
    let mut serve = command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("DMZ_TOKEN", WORD);
    let serving = Serving::start(serve).await;
    let answer = client().get(format!("{}{}", serving.url, packages()[0])).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_in_the_file_is_taken_up_while_it_runs() {
    let (guard, folder, file) = guarded().await;
    let lines = table(&guard.url(), &[("token-file", &file)]) + "[mirror]\ncooldown = '1ms'\n";
    let airlock = Airlock::quiet(&config(&folder.path().join("cache"), &[], &lines)).await;
    let [first, second, third, ..] = packages()[..] else { panic!("the sample is too small") };
    let status = async |package| airlock.get(&format!("{package}")).await.status().as_u16();
    assert_eq!(status(first).await, 200);
    guard.want("another");
    assert_eq!(status(second).await, 502, "the file has the old one still");
    fs_err::write(&file, "another").unwrap();
    assert_eq!(status(second).await, 200, "in the same request that found the old one refused");
    fs_err::remove_file(&file).unwrap();
    assert_eq!(status(third).await, 200, "the file is read again only when a token is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_host_does_not_take_the_token_along() {
    let (scene, other) = (Scene::new().await, SampleUpstream::start(Site::sample().unwrap()).await.unwrap());
    let file = scene.folder.path().join("token");
    fs_err::write(&file, WORD).unwrap();
    let [here, elsewhere, ..] = packages()[..] else { panic!("the sample is too small") };
    scene.upstream.fail(&here.to_string(), Fault::Redirect(format!("{}{here}", scene.upstream.url())));
    scene.upstream.fail(&elsewhere.to_string(), Fault::Redirect(format!("{}{elsewhere}", other.url())));
    let lines = table(&scene.upstream.url(), &[("token-file", &file)]);
    let airlock = Airlock::quiet(&config(&scene.cache(), &[], &lines)).await;
    for package in [here, elsewhere] {
        assert_eq!(airlock.get(&package.to_string()).await.status(), 200);
    }
    let bearer = format!("Bearer {WORD}");
    let carried = |upstream: &SampleUpstream| -> Vec<_> {
        upstream.requests().iter().map(|request| request.headers.get("authorization") == Some(&bearer)).collect()
    };
    assert_eq!((carried(&scene.upstream), carried(&other)), (vec![true; 3], vec![false]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_not_go_where_others_could_read_it_and_that_is_said_once() {
    let (scene, folder) = (Scene::new().await, tempfile::tempdir().unwrap());
    let proxy = ProxyServer::start(scene.upstream.address()).await;
    fs_err::write(folder.path().join("token"), WORD).unwrap();
    let lines = format!("token-file = 'token'\nproxy = 'http://{}'\n", proxy.address);
    fs_err::write(folder.path().join("airlock.toml"), table("http://dmz.invalid", &[]) + &lines).unwrap();
    let mut serve = command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving::start(serve).await;
    let warned = |text: &str| text.matches("its token is not sent").count();
    assert_eq!(warned(&serving.heard), 1, "{}", serving.heard);
    for package in &packages()[..2] {
        assert_eq!(client().get(format!("{}{package}", serving.url)).send().await.unwrap().status(), 200);
    }
    let lines = serving.hears_up_to(&packages()[1].to_string()).await;
    assert_eq!(warned(&lines.concat()), 0, "{lines:?}");
    let heads = proxy.heads();
    assert!(heads.len() > 1 && heads.iter().all(|head| !head.contains("authorization")), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_nowhere_to_be_read() {
    let (guard, folder, file) = guarded().await;
    guard.want("something else");
    let word = "pr0xy-word";
    let wants = table(&guard.url(), &[("token-file", &file)]);
    let behind = table("https://dmz.invalid", &[]) + &format!("proxy = 'http://me:{word}@{}'\n", super::nowhere());
    let lines = ["log-level = 'trace'\n", &wants, &behind].concat();
    fs_err::write(folder.path().join("airlock.toml"), lines).unwrap();
    let mut serve = command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving::start(serve).await;
    let mut seen = serving.heard.clone();
    for path in [&packages()[0].to_string(), "/meta", "/meta/misses", "/", "/registries", "/robots.txt"] {
        let answer = client().get(format!("{}{path}", serving.url)).send().await.unwrap();
        seen += &answer.text().await.unwrap();
    }
    seen += &serving.hears_up_to("/robots.txt").await.join("\n");
    assert!(seen.contains("answered 401: it wants a token, or another one"), "{seen}");
    serving.stop(rustix::process::Signal::TERM).await;
    for file in crate::secrets::files(&folder.path().join("cache")) {
        seen += &String::from_utf8_lossy(&fs_err::read(&file).unwrap());
    }
    assert!(!seen.contains(WORD) && !seen.contains(word), "{seen}");
}
