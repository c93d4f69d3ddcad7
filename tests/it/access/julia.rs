//! Julia's own Pkg with a token in `auth.toml`, and without.

use super::{Stock, token};
use crate::julia_client::{julia, pkg, succeeds, text};
use crate::support::{Airlock, LONG};
use fs_err as fs;

const ADD: &str = r#"
    using Pkg
    Pkg.add("AcmeTools")
    using AcmeTools
    println("ACME: ", AcmeTools.answer())
"#;

const ADD_PUBLIC: &str = r#"
    using Pkg
    Pkg.add(PackageSpec(name = "Pebble", version = "1.1.0"))
    using Pebble
    println("PEBBLE: ", pathof(Pebble))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_depot_opens_a_private_registry_and_without_it_the_rest_is_open() {
    let Some(julia) = julia("a token for a private registry") else { return };
    let stock = Stock::new().await;
    let folder = stock.scene.folder.path();
    for (view, file) in
        [("full", super::PRIVATE), ("available", super::PRIVATE), ("full", "access.token = 'required'\n")]
    {
        let config = stock.offline(&format!("view.show = '{view}'\n{file}"));
        fs::create_dir_all(folder.join("cache/.airlock")).unwrap();
        crate::view::carry(&stock.scene.cache(), &["Pebble/1.1.0"]);
        let airlock: Airlock = Stock::serve(&config).await;
        let depot = format!("depot-{view}-{}", file.len());
        let url = airlock.url("");

        // Without: what is private does not exist for it, and that is said at once. Where all is closed it
        // would go to GitHub, and nothing outside is asked here.
        if file == super::PRIVATE {
            let without = format!("{depot}-without");
            let refused = pkg(&julia, folder, &without, &url, ADD).output();
            let refused = tokio::time::timeout(LONG * 5, refused).await.unwrap().unwrap();
            let said = text(&refused);
            assert!(!refused.status.success() && said.contains("AcmeTools"), "{said}");
            assert!(!said.contains("acme.invalid"), "it tried to clone: {said}");
            assert!(!folder.join(&without).join("packages/AcmeTools").exists());
            let said = succeeds(pkg(&julia, folder, &without, &url, ADD_PUBLIC)).await;
            assert!(said.contains("PEBBLE: "), "{said}");
        }

        let shown = token(&config, &depot, &["all"], None);
        // Julia 1.8 and later write _ for the colon.
        for host in [airlock.address.to_string(), airlock.address.to_string().replace(':', "_")] {
            let servers = folder.join(&depot).join("servers").join(host);
            fs::create_dir_all(&servers).unwrap();
            fs::write(servers.join("auth.toml"), format!("access_token = \"{}\"\n", &shown["Bearer ".len()..]))
                .unwrap();
        }
        let said = succeeds(pkg(&julia, folder, &depot, &url, ADD)).await;
        assert!(said.contains("ACME: 42"), "{said}");
        airlock.stop().await;
    }
}
