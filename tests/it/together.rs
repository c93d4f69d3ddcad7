//! Two processes on one cache, interleaved by chance: at the end everything is there and whole, nothing
//! was fetched twice, and no entry of a ledger is lost.

use crate::binary::{Serving, command, said, stdout};
use crate::commands::{Look, Place, Start, assert_whole};
use crate::dice::{Dice, is_exhaustive};
use crate::support::{LONG, Scene, client};
use airlock::sample::Site;
use airlock::store::Store;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");

fn rounds(dice: &str) -> (Dice, usize) {
    (Dice::new(dice), if is_exhaustive() { 40 } else { 3 })
}

/// Runs a command that begins a little later, so that processes meet somewhere else each time.
fn late(dice: &mut Dice, folder: &Path, arguments: &[&str]) -> impl Future<Output = Output> + use<> {
    let pause = Duration::from_millis(dice.next() % 120);
    let mut command = command(folder);
    command.args(arguments);
    async move {
        tokio::time::sleep(pause).await;
        tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap()
    }
}

async fn serve(scene: &Scene) -> Serving {
    let mut serve = command(scene.folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &scene.upstream.url()]);
    Serving::start(serve).await
}

/// A client that takes everything, in an order of its own.
async fn take_all(serving: &Serving, mut dice: Dice) {
    let site = Site::sample().unwrap();
    let mut resources: Vec<_> = site.resources().collect();
    while !resources.is_empty() {
        let resource = resources.swap_remove(dice.below(resources.len()));
        let answer = client().get(format!("{}{resource}", serving.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{resource}");
        assert!(answer.bytes().await.unwrap() == site.body(&resource.to_string()).unwrap(), "{resource}");
    }
}

/// Each resource was fetched once, whoever wanted it.
fn assert_once(scene: &Scene, when: &str) {
    for resource in Site::sample().unwrap().resources() {
        let gets = scene.upstream.gets(&resource.to_string());
        assert!(gets <= 1, "{when}: {resource} was fetched {gets} times");
    }
    assert_whole(&scene.cache(), when);
}

fn assert_good(output: &Output, when: &str) {
    assert!(output.status.success(), "{when}: {} {}", stdout(output), said(output).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prewarms_fetch_everything_once() {
    let (mut dice, rounds) = rounds("two prewarms");
    for round in 0..rounds {
        let scene = Scene::new().await;
        scene.upstream.set_latency(Duration::from_millis(dice.next() % 30));
        let url = scene.upstream.url();
        let arguments = ["prewarm", "--platform", "all", "--upstream", &url, DEMO];
        let one = late(&mut dice, scene.folder.path(), &arguments);
        let two = late(&mut dice, scene.folder.path(), &arguments);
        let (one, two) = tokio::join!(one, two);
        let when = format!("round {round}");
        assert_good(&one, &when);
        assert_good(&two, &when);
        assert_once(&scene, &when);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_a_prewarm_fetch_everything_once() {
    let (mut dice, rounds) = rounds("serve and prewarm");
    for round in 0..rounds {
        let scene = Scene::new().await;
        scene.upstream.set_latency(Duration::from_millis(dice.next() % 30));
        let serving = serve(&scene).await;
        let url = scene.upstream.url();
        let arguments = ["prewarm", "--platform", "all", "--upstream", &url, DEMO];
        let prewarm = late(&mut dice, scene.folder.path(), &arguments);
        let (output, ()) = tokio::join!(prewarm, take_all(&serving, dice.clone()));
        let when = format!("round {round}");
        assert_good(&output, &when);
        assert!(serving.stop(rustix::process::Signal::TERM).await.success());
        assert_once(&scene, &when);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_fetch_everything_once() {
    let (mut dice, rounds) = rounds("two servers");
    for round in 0..rounds {
        let scene = Scene::new().await;
        scene.upstream.set_latency(Duration::from_millis(dice.next() % 30));
        let (one, two) = tokio::join!(serve(&scene), serve(&scene));
        let orders = (Dice::of(dice.next()), Dice::of(dice.next()));
        tokio::join!(take_all(&one, orders.0), take_all(&two, orders.1));
        for serving in [one, two] {
            assert!(serving.stop(rustix::process::Signal::TERM).await.success());
        }
        assert_once(&scene, &format!("round {round}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_an_import_bring_everything() {
    let (mut dice, rounds) = rounds("serve and import");
    let place = Place::new(Start::Bundle).await;
    for round in 0..rounds {
        let folder = place.copy();
        let import = ["bundle", "import", "b1.tar", "b2.tar"];
        let mut serve = command(folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &place.upstream().url()]);
        let serving = Serving::start(serve).await;
        let import = late(&mut dice, folder.path(), &import);
        let (output, ()) = tokio::join!(import, take_all(&serving, dice.clone()));
        let when = format!("round {round}");
        assert_good(&output, &when);
        assert!(serving.stop(rustix::process::Signal::TERM).await.success());
        assert_whole(&folder.path().join("cache"), &when);
        let look = Look::at(folder.path());
        assert!(Site::sample().unwrap().resources().all(|resource| look.has(&resource)), "{when}");
        assert_eq!(Store::open(&folder.path().join("cache")).unwrap().received_bundles().unwrap().len(), 1, "{when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gc_and_an_import_keep_out_of_each_others_way() {
    let (mut dice, rounds) = rounds("import and gc");
    let place = Place::new(Start::Bundle).await;
    let expected = place.copy();
    let import = ["bundle", "import", "b1.tar", "b2.tar"];
    Store::open(&expected.path().join("cache")).unwrap();
    assert_good(&crate::binary::run(expected.path(), &import).await, "alone");
    for round in 0..rounds {
        let folder = place.copy();
        Store::open(&folder.path().join("cache")).unwrap();
        let (one, two) =
            (late(&mut dice, folder.path(), &import), late(&mut dice, folder.path(), &["gc", "--yes", DEMO]));
        let (one, two) = tokio::join!(one, two);
        let when = format!("round {round}: {:?} {:?}", said(&one), said(&two));
        // Each may wait for the other, or be told that it is at work.
        assert!(one.status.success() || said(&one).1.contains("airlock gc is at work"), "{when}");
        let gc = said(&two);
        assert!(matches!(gc.0, Some(0 | 1)) || gc.1.contains("another airlock uses this cache"), "{when}");
        assert_whole(&folder.path().join("cache"), &when);
        assert_good(&crate::binary::run(folder.path(), &import).await, &when);
        assert_whole(&folder.path().join("cache"), &when);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_of_many_are_all_kept() {
    let (mut dice, rounds) = rounds("wishes of two");
    for round in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        Store::open(&cache).unwrap().add_wishes(&["Goes".parse().unwrap(), "Stays".parse().unwrap()]).unwrap();
        let names: Vec<_> = (0..4).map(|number| format!("Wish{number}")).collect();
        let mut adding = tokio::task::JoinSet::new();
        for name in &names {
            adding.spawn(late(&mut dice, folder.path(), &["request", "add", name]));
        }
        adding.spawn(late(&mut dice, folder.path(), &["request", "remove", "Goes"]));
        while let Some(output) = adding.join_next().await {
            assert_good(&output.unwrap(), &format!("round {round}"));
        }
        let mut there: Vec<_> =
            Store::open(&cache).unwrap().wishes().unwrap().iter().map(|it| it.wish.to_string()).collect();
        there.sort_unstable();
        assert_eq!(there, ["Stays", "Wish0", "Wish1", "Wish2", "Wish3"], "round {round}");
    }
}
