//! Whatever the rules, nothing that they make private reaches a public source.

use super::{ACME_DATA, ACME_REGISTRY, ACME_TOOLS, Acme, Private};
use crate::support::config;
use airlock::mirror::{Ask, Mirror, Patience};
use airlock::protocol::{Flavor, Listing, Resource};
use airlock::sample::Site;
use airlock::source::{Answer, Fault, Rank, Resume, Source, Wanted};
use airlock::store::Store;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

/// Gives what a site has, and writes down what it was asked for.
#[derive(Debug)]
struct Public {
    site: Site,
    asked: Mutex<Vec<Resource>>,
}

impl Source for Public {
    fn name(&self) -> &'static str {
        "https://public.invalid"
    }

    fn rank(&self) -> Rank {
        Rank::Server
    }

    fn is_public(&self) -> bool {
        true
    }

    fn listing(&self, flavor: Flavor) -> BoxFuture<'_, Result<Listing, Fault>> {
        let text = self.site.body(&format!("/{}", flavor.file_name())).unwrap();
        let listing = Listing::parse(&String::from_utf8_lossy(text)).unwrap();
        async move { Ok(listing) }.boxed()
    }

    fn fetch<'a>(&'a self, wanted: &'a Wanted, _: Option<&'a Resume>) -> BoxFuture<'a, Result<Answer, Fault>> {
        self.asked.lock().unwrap().push(wanted.resource);
        let body = self.site.body(&wanted.resource.to_string()).cloned();
        async move {
            let body = body.ok_or(Fault::NotFound)?;
            Ok(Answer { length: None, start: 0, etag: None, body: stream::iter([Ok(body)]).boxed() })
        }
        .boxed()
    }
}

fn rule() -> impl Strategy<Value = String> {
    let names = ["*", "Acme*", "Greeting", "P*", "?antern", "registry:General", "registry:Acme*", "AcmeData"];
    let uuids = [ACME_TOOLS, ACME_DATA].map(|uuid| format!("uuid:{uuid}"));
    let trees = ["greeting-text-1"].map(|label| format!("artifact:{}", crate::view::resource(label).tree()));
    prop::sample::select(names.map(str::to_owned).into_iter().chain(uuids).chain(trees).collect::<Vec<_>>())
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(rule(), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn nothing_private_reaches_a_public_source(
        private in rules(), allow in rules(), deny in rules(), git in any::<bool>(), order in any::<u64>()
    ) {
        let acme = Acme::new();
        let mut site = Site::sample().unwrap();
        for resource in acme.all() {
            site.put(&resource.to_string(), acme.site.body(&resource.to_string()).unwrap().clone());
        }
        let mut resources: Vec<_> = site.resources().collect();
        let turn = usize::try_from(order).unwrap_or_default() % resources.len();
        resources.rotate_left(turn);
        let public = Arc::new(Public { site, asked: Mutex::default() });
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[policy]\nprivate = {private:?}\nallow = {allow:?}\ndeny = {deny:?}");
        let config = config(folder.path(), &["http://unused.invalid".to_owned()], &text);
        let source: Arc<Private> = acme.source();
        let sources: Vec<Arc<dyn Source>> =
            git.then_some(source as Arc<dyn Source>).into_iter().chain([Arc::clone(&public) as Arc<dyn Source>]).collect();
        let mirror = Arc::new(Mirror::new(Arc::new(Store::open(folder.path()).unwrap()), sources, &config));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            mirror.learn_names([(acme.tools, "AcmeTools"), (acme.data, "AcmeData"), (acme.artifact, "measured of AcmeData")]);
            mirror.refresh_registries(Patience::prewarm(1)).await;
            for resource in &resources {
                let _ = mirror.get(resource, &Ask::default()).await;
            }
            mirror.close().await;
        });
        let asked = public.asked.lock().unwrap().clone();
        let has = |rule: &str| private.iter().any(|it| it == rule);
        for resource in asked {
            let tree = resource.tree();
            prop_assert!(!has(&format!("artifact:{tree}")), "{resource}");
            let uuid = resource.uuid().map(|uuid| uuid.to_string()).unwrap_or_default();
            prop_assert!(!has(&format!("uuid:{uuid}")), "{resource}");
            let is_acme = [ACME_REGISTRY, ACME_TOOLS, ACME_DATA].contains(&uuid.as_str()) || tree == acme.artifact.tree();
            let acme_private = git || has("Acme*") || has("*");
            // A registry is private by its uuid, or once it was read.
            let is_package = matches!(resource, Resource::Package { .. });
            prop_assert!(!(is_acme && (git || (acme_private && is_package))), "{resource} with {private:?}");
            let name = mirror.name(&resource).map(|name| name.name).unwrap_or_default();
            let fits = |pattern: &str| wildmatch::WildMatch::new(pattern).matches(&name);
            let by_name = private.iter().any(|rule| !rule.contains(':') && fits(rule));
            prop_assert!(!(is_package && by_name), "{name} with {private:?}");
            prop_assert!(!(is_package && has("registry:General") && !is_acme), "{name}");
        }
    }
}
