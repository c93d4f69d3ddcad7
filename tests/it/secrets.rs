//! What nobody may read: the user and password in the address of an upstream.

use crate::binary::{Serving, command};
use crate::support::{Airlock, Scene, client, config};
use airlock::protocol::Resource;
use airlock::sample::{Fault, Site};

const WORD: &str = "s3cret-word";

fn with_credentials(scene: &Scene) -> String {
    scene.upstream.url().replace("http://", &format!("http://carrier:{WORD}@"))
}

pub(crate) fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_an_upstream_goes_to_the_upstream_only() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&config(&scene.cache(), &[with_credentials(&scene)], "")).await;
    let absent = Resource::Artifact { tree: airlock::protocol::TreeHash::EMPTY }.to_string();
    let broken = Site::sample().unwrap().resources().next().unwrap().to_string();
    scene.upstream.fail("/registries.eager", Fault::Status(500, None));
    scene.upstream.fail(&broken, Fault::Status(403, None));
    let problems = airlock.mirror.refresh_registries(airlock::mirror::Patience::prewarm(1)).await;
    let mut said = format!("{problems:?}");
    for path in [&absent, &broken, "/", "/meta", "/meta/misses", "/registries"] {
        said += &airlock.get(path).await.text().await.unwrap();
    }
    assert!(said.contains(&scene.upstream.url()), "{said}");
    assert!(!said.contains(WORD) && !said.contains("carrier"), "{said}");
    for file in files(&scene.cache()) {
        let bytes = fs_err::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(WORD), "{}", file.display());
    }
    assert!(scene.upstream.requests().iter().all(|request| request.headers["authorization"].starts_with("Basic ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_does_not_have_it() {
    let scene = Scene::new().await;
    let mut serve = command(scene.folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--log-level", "debug", "--upstream", &with_credentials(&scene)]);
    let path = Site::sample().unwrap().resources().next().unwrap().to_string();
    scene.upstream.fail(&path, Fault::Status(403, None));
    let mut serving = Serving::start(serve).await;
    assert!(!serving.heard.contains(WORD), "{}", serving.heard);
    client().get(format!("{}{path}", serving.url)).send().await.unwrap();
    let line = serving.hears("answered 403").await;
    assert!(line.contains(&scene.upstream.url()) && !line.contains(WORD), "{line}");
}
