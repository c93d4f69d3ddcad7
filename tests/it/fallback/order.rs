//! The order in which everything is asked, with a source of every kind that has the same.

use super::repositories::{GitServer, UUID, world};
use super::{artifact, learn, prewarm, sha256};
use crate::acme::Acme;
use crate::support::{config, mirror};
use airlock::mirror::{Mirror, Patience};
use airlock::protocol::{Flavor, Resource};
use airlock::sample::{SampleUpstream, Site};
use fs_err as fs;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_private_registries_servers_in_order_and_fall_backs() {
    let origin = GitServer::start().await;
    let public = Resource::Package { uuid: UUID.parse().unwrap(), tree: origin.release("v1.0.0") };
    let world = world(&origin.url(), None, "1.0.0", public.tree()).await;
    // The first is this company's own, the second is not.
    let (first, second) = (&world.upstream, SampleUpstream::start(Site::empty()).await.unwrap());
    // What only one's own servers list is private, too.
    let listing = |flavor: Flavor| format!("/{}", flavor.file_name());
    for flavor in Flavor::ALL {
        second.put(&listing(flavor), first.body(&listing(flavor)).unwrap());
    }
    let acme = Acme::new(world.folder.path(), &format!("file://{}/acme", world.folder.path().display()));
    let registry = Acme::config(&acme.file_url());
    let servers = format!(
        "[fallback]\ngit = 'always'\n[[upstream]]\nurl = '{}'\npublic = false\n[[upstream]]\nurl = '{}'\n",
        first.url(),
        second.url()
    );
    let fresh = async |name: &str, registry: &str| -> Arc<Mirror> {
        let mirror = mirror(&config(&world.folder.path().join(name), &[], &(servers.clone() + registry)));
        assert_eq!(mirror.refresh_registries(Patience::prewarm(1)).await, []);
        mirror
    };
    let asked = |resource: &Resource| [first, &second].map(|server| server.gets(&resource.to_string()));

    let last = fresh("fall-back", &registry).await;
    assert_eq!(prewarm(&last, &public).await.unwrap(), Some(origin.url()));
    assert_eq!(asked(&public), [1, 1], "before the fall-back both of them");
    let bytes = fs::read(last.store().path(&public)).unwrap();
    second.put(&public.to_string(), bytes.clone());
    assert_eq!(prewarm(&fresh("second", &registry).await, &public).await.unwrap(), Some(second.url()));
    assert_eq!(asked(&public), [2, 2]);
    first.put(&public.to_string(), bytes);
    let of_first = fresh("first", &registry).await;
    assert_eq!(prewarm(&of_first, &public).await.unwrap(), Some(first.url()));
    assert_eq!(prewarm(&of_first, &public).await.unwrap(), None, "it is here");
    assert_eq!(asked(&public), [3, 2]);

    // What is private, though servers say that they have it too.
    let from_git = fresh("git", &registry).await;
    let name = from_git.sources()[0].0.name().to_owned();
    assert_eq!(prewarm(&from_git, &acme.tools).await.unwrap(), Some(name));
    let bytes = fs::read(from_git.store().path(&acme.tools)).unwrap();
    for server in [first, &second] {
        server.put(&acme.tools.to_string(), bytes.clone());
    }
    prewarm(&fresh("again", &registry).await, &acme.tools).await.unwrap();
    assert_eq!(asked(&acme.tools), [0, 0]);
    // Its repository is gone: only a server that is nobody else's is asked then.
    fs::rename(acme.work("Platform"), acme.work("Gone")).unwrap();
    assert_eq!(prewarm(&fresh("own", &registry).await, &acme.tools).await.unwrap(), Some(first.url()));
    assert_eq!(asked(&acme.tools), [1, 0]);
    first.remove(&acme.tools.to_string());
    assert!(prewarm(&fresh("nobody", &registry).await, &acme.tools).await.is_err());
    assert_eq!(asked(&acme.tools), [2, 0]);

    let (tree, plain) = artifact(0);
    let url = world.file("/tool.tar", &plain);
    let mirror = fresh("download", "").await;
    let tool = learn(&mirror, tree, &[(&url, &sha256(&plain))]);
    assert_eq!(prewarm(&mirror, &tool).await.unwrap(), Some(url));
    assert_eq!(asked(&tool), [1, 1]);
}
