//! The password in the address of a repository: the server has it, and nothing that is written, said or
//! served.

use super::https::Manner;
use super::{Outside, nobody_works_on, run};
use crate::acme::{Acme, GREETER, REGISTRY};
use crate::binary::{Serving, said, stdout};
use crate::secrets::files;
use crate::support::client;
use fs_err as fs;
use rustix::process::Signal;

const WORD: &str = "s3cret-word";

fn assert_without_it(what: &str, text: &str) {
    // Nor in the form that goes over the line.
    for word in [WORD, "carrier", "Y2FycmllcjpzM2NyZXQtd29yZA"] {
        assert!(!text.contains(word), "{what}: {word}: {text}");
    }
}

fn assert_not_on_disk(outside: &Outside, cache: &str) {
    for file in files(&outside.path(cache)) {
        assert_without_it("its name", &file.display().to_string());
        assert_without_it(&file.display().to_string(), &String::from_utf8_lossy(&fs::read(&file).unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_registry_goes_to_its_server_only() {
    let outside = Outside::new().await;
    let (server, _authority, way) = outside.by_https().await;
    server.lock("carrier", WORD);
    let url = server.url_of("carrier", WORD);
    // What is beside it in a relative address has its password too.
    let file = format!("{}[prewarm]\nattempts = 1\n", Acme::config(&url));
    fs::write(outside.path("airlock.toml"), file).unwrap();
    let more = ["serve", "--listen", "127.0.0.1:0", "--log-level", "debug"];
    let mut serving = Serving::start(outside.airlock("cache", &way.gitconfig, &more)).await;
    let mut log = vec![serving.heard.clone()];
    log.append(&mut serving.hears_up_to(REGISTRY).await);
    let get = async |path: &str| {
        let answer = client().get(format!("{}{path}", serving.url)).send().await.unwrap();
        (answer.status().as_u16(), String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned())
    };
    let tools = outside.acme.tools.to_string();
    assert_eq!(get(&tools).await.0, 200);
    let greeter = outside.acme.greeter.to_string();
    for manner in [Manner::Status(403), Manner::Status(500), Manner::CutsPack, Manner::FakePack(b"no pack")] {
        server.behave(manner.clone());
        let changed = outside.acme.change_registry(&format!("{manner:?}"));
        for path in
            [&greeter, &changed.to_string(), "/", "/meta", "/meta/misses", "/meta/stats", "/registries", "/metrics"]
        {
            assert_without_it(&format!("{manner:?} {path}"), &get(path).await.1);
        }
        for command in [
            &["registries", "update"][..],
            &["prewarm", "--json", "--add", "AcmeGreeter", "--julia", "1.10"],
            &["misses", "--json"],
            &["status", "--json"],
            &["policy", "explain", "AcmeGreeter"],
        ] {
            let output = run(outside.airlock("cache", &way.gitconfig, command)).await;
            assert_without_it(&format!("{manner:?} {command:?}"), &(said(&output).1 + &stdout(&output)));
        }
        assert_not_on_disk(&outside, "cache");
    }
    assert!(get("/meta").await.1.contains(&server.url()), "who is meant is said");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(serving.child.id().unwrap()).unwrap()).unwrap(),
        Signal::TERM,
    )
    .unwrap();
    log.append(&mut serving.hears_to_the_end().await);
    let log = log.join("\n");
    assert!(log.contains("refused access"), "{log}");
    assert_without_it("the log", &log);
    nobody_works_on(&outside.path("cache")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_that_a_manifest_names_goes_to_its_server_only() {
    let outside = Outside::new().await;
    let (server, _authority, way) = outside.by_https().await;
    server.lock("carrier", WORD);
    let manifest = format!(
        "[[AcmeGreeter]]\ngit-tree-sha1 = \"{}\"\nrepo-rev = \"main\"\nrepo-url = \"{}/AcmeGreeter.jl\"\n\
         uuid = \"{GREETER}\"\nversion = \"0.1.0\"\n",
        outside.acme.greeter.tree(),
        server.url_of("carrier", WORD),
    );
    fs::create_dir_all(outside.path("project")).unwrap();
    fs::write(outside.path("project/Manifest.toml"), manifest).unwrap();
    for (manner, here) in [(Manner::Status(403), false), (Manner::Good, true)] {
        server.behave(manner);
        let (code, report) = outside.report("cache", &way.gitconfig, &["prewarm", "--json", "--git", "project"]).await;
        assert_eq!(code == Some(0), here, "{report:#}");
        assert_without_it("the report", &report.to_string());
        let check = run(outside.airlock("cache", &way.gitconfig, &["check", "project"])).await;
        assert_without_it("the check", &(said(&check).1 + &stdout(&check)));
        assert_not_on_disk(&outside, "cache");
    }
}
