//! Hosts that are silent or hang up: what they cost, and whom.

use super::World;
use crate::acme::{Acme, uuid};
use crate::support::{LONG, Scene, parts};
use airlock::git::Bounds;
use airlock::mirror::{Mirror, Patience, Refusal};
use airlock::protocol::{Flavor, GENERAL, Resource, TreeHash};
use airlock::sample::Site;
use airlock::source::{GitFallback, Rank, Source, Wanted};
use airlock::tree::TarEntry;
use std::fmt::Write as _;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Somebody who takes connections and never says anything. It ends with the process of the tests.
struct DeadHost {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    told: mpsc::Receiver<()>,
}

impl DeadHost {
    /// One that keeps them, or hangs up at once.
    fn start(keeps: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        let (teller, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = teller.send(());
                let Ok(mut stream) = stream else { return };
                if keeps {
                    kept.push(stream);
                } else {
                    // What is asked is read, or a reset would come instead of an end.
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = io::copy(&mut stream, &mut io::sink());
                }
            }
        });
        Self { address, connections, told }
    }

    fn url(&self) -> String {
        format!("git://{}", self.address)
    }

    /// Waits for a connection. Blocks.
    fn connected(self) -> Self {
        self.told.recv().unwrap();
        self
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_repository_costs_one_job_and_no_place_of_the_others() {
    let (scene, silent) = (Scene::with(Site::empty()).await, DeadHost::start(true));
    // One of the packages is at the silent host, the other beside the registry.
    let acme = Acme::new(scene.folder.path(), &silent.url());
    let config = scene.configured(&Acme::config(&acme.file_url()));
    let source = Arc::clone(&parts(&config).1[0]);
    assert_eq!((source.rank(), source.is_public()), (Rank::Private, false));
    source.listing(Flavor::Eager).await.unwrap();
    let ask = |resource: Resource| {
        let source = Arc::clone(&source);
        tokio::spawn(async move { source.fetch(&Wanted::new(resource), None).await.map(drop) })
    };
    let waiting: Vec<_> = (0..40).map(|_| ask(acme.greeter)).collect();
    let silent = tokio::task::spawn_blocking(|| silent.connected()).await.unwrap();
    tokio::time::timeout(LONG, ask(acme.tools)).await.expect("it waits for the other").unwrap().unwrap();
    assert!(waiting.iter().all(|it| !it.is_finished()));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    // Who comes later waits for the same job.
    let later = ask(acme.greeter);
    tokio::time::timeout(LONG, ask(acme.tools)).await.unwrap().unwrap().unwrap();
    later.abort();
    assert_eq!(silent.connections(), 1);
}

/// An upstream with nothing but a registry of packages, each in a repository of its own at one host.
async fn world(host: &DeadHost, packages: u8) -> (World, Vec<Resource>) {
    let resource = |digit: u8| Resource::Package {
        uuid: uuid(&format!("7876af07-990d-54b4-ab0e-2369062000{digit:02x}")),
        tree: TreeHash::from_bytes([digit; 20]),
    };
    let mut registry = format!("name='General'\nuuid='{GENERAL}'\n[packages]\n");
    let mut files = Vec::new();
    let resources: Vec<_> = (1..=packages).map(resource).collect();
    for (index, resource) in resources.iter().enumerate() {
        let (uuid, tree) = (resource.uuid().unwrap(), resource.tree());
        writeln!(registry, "{uuid}={{name='P{index}',path='P/P{index}'}}").unwrap();
        let package = format!("name='P{index}'\nuuid='{uuid}'\nrepo='{}/P{index}.jl.git'\n", host.url());
        files.push((format!("P/P{index}/Package.toml"), package));
        files.push((format!("P/P{index}/Versions.toml"), format!("['1.0.0']\ngit-tree-sha1 = '{tree}'\n")));
    }
    files.push(("Registry.toml".to_owned(), registry));
    let mut site = Site::empty();
    site.add_registry(GENERAL, files.into_iter().map(|(path, text)| TarEntry::file(path, text, false))).unwrap();
    (World::new(site).await, resources)
}

/// A mirror whose fall-back to git waits so long for a silent repository.
async fn mirror(world: &World, silence: Duration) -> Arc<Mirror> {
    let config = world.config("");
    let (store, mut sources) = parts(&config);
    let git: Arc<dyn Source> = Arc::new(GitFallback::with_bounds(&config, Bounds { silence, ..Bounds::default() }));
    *sources.iter_mut().find(|it| it.name() == "git").unwrap() = git;
    let mirror = Arc::new(Mirror::new(store, sources, &config));
    assert!(mirror.refresh_registries(Patience::prewarm(1)).await.is_empty());
    mirror.load_names().await;
    mirror
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prewarm_asks_a_host_that_is_out_of_reach_a_few_times_and_not_for_each_package() {
    let host = DeadHost::start(false);
    let (world, packages) = world(&host, 12).await;
    let mirror = mirror(&world, LONG).await;
    let mut said = Vec::new();
    for package in &packages {
        let refusal = mirror.fetch(package, Patience::prewarm(1)).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Upstream(_)), "{refusal}");
        said.push(refusal.to_string());
    }
    assert_eq!(host.connections(), 3, "{said:#?}"); // This many in a row.
    let first = format!("upstream failed: git: {}/P0.jl.git cannot be reached: ", host.url());
    assert!(said[0].starts_with(&first), "{}", said[0]);
    let alone = format!("{} is left alone for a minute: {}/P2.jl.git cannot be reached", host.address, host.url());
    assert!(said[11].contains(&alone), "{}", said[11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prewarm_waits_for_a_silent_repository_once_however_often_it_tries() {
    let host = DeadHost::start(true);
    let (world, packages) = world(&host, 1).await;
    let mirror = mirror(&world, Duration::from_millis(300)).await;
    for _ in 0..2 {
        let refusal = mirror.fetch(&packages[0], Patience::prewarm(5)).await.unwrap_err().to_string();
        assert!(refusal.contains(&format!("{}/P0.jl.git took too long: 300ms", host.url())), "{refusal}");
    }
    assert_eq!(host.connections(), 1);
}
