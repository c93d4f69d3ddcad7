//! `airlock token`, and a server that runs meanwhile.

use super::Stock;
use crate::binary::{Serving, command, run, said, stdout};
use crate::support::client;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_shown_and_revoked_while_a_server_runs() {
    let stock = Stock::new().await;
    let folder = stock.scene.folder.path();
    fs_err::write(folder.join("airlock.toml"), "access.token = 'required'\n").unwrap();
    let mut serve = command(folder);
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving::start(serve).await;
    let status = async |token: &str| {
        let request = client().get(format!("{}/meta", serving.url)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("airlock_x").await, 401);

    let added =
        run(folder, &["token", "add", "ci", "--expires", "90d", "--scope", "registry:Acme", "--scope", "metrics"])
            .await;
    assert_eq!(said(&added).0, Some(0), "{}", said(&added).1);
    let shown = stdout(&added).trim().to_owned();
    assert!(shown.starts_with("airlock_") && shown.len() == 72, "{shown}");
    let told = said(&added).1;
    assert!(told.contains("over plain http to localhost") && told.contains("does not cover General"), "{told}");
    assert_eq!(status(&shown).await, 200);

    let json = run(folder, &["token", "add", "me", "--json"]).await;
    let made: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&made["label"], &made["scopes"], &made["expires"]),
        (&"me".into(), &serde_json::json!(["all"]), &Value::Null)
    );
    let second = made["token"].as_str().unwrap().to_owned();
    assert_eq!(status(&second).await, 200);

    let table = stdout(&run(folder, &["token", "list"]).await);
    assert!(table.contains("registry:Acme metrics") && table.contains("never"), "{table}");
    let list = stdout(&run(folder, &["token", "list", "--json"]).await);
    let list_read: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list_read["tokens"].as_array().unwrap().len(), 2);
    let file = folder.join("cache/.airlock/tokens.json");
    let kept = fs_err::read_to_string(&file).unwrap();
    for secret in [&shown, &second] {
        let digits = &secret["airlock_".len()..];
        assert!(!kept.contains(digits) && !table.contains(digits) && !list.contains(digits));
    }
    assert!(!list.contains("sha256"));
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let id = made["id"].as_str().unwrap();
    for (which, token) in [("ci", &shown), (id, &second)] {
        let revoked = run(folder, &["token", "revoke", which]).await;
        assert_eq!(said(&revoked).0, Some(0), "{}", said(&revoked).1);
        assert_eq!(status(token).await, 401, "{which}");
        assert_eq!(run(folder, &["token", "revoke", which]).await.status.code(), Some(2));
    }
    fs_err::write(&file, "{ broken").unwrap();
    assert_eq!(status(&shown).await, 401);
    let line = serving.hears("the tokens cannot be read").await;
    assert!(line.contains("those of before stay") && line.contains("tokens.json"), "{line}");
    let refused = run(folder, &["token", "add", "more"]).await;
    assert!(said(&refused).0 == Some(2) && said(&refused).1.contains("not a list of tokens"), "{}", said(&refused).1);
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "{ broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let output = run(folder.path(), arguments).await;
        (output.status.code(), said(&output).1, stdout(&output))
    };
    for arguments in [
        &["token", "add"][..],
        &["token", "add", "a b"],
        &["token", "add", "x", "--scope", "root"],
        &["token", "add", "x", "--scope", "registry:"],
        &["token", "add", "x", "--expires", "yesterday"],
        &["token", "add", "x", "--expires", "2001-01-01"],
        &["token", "revoke"],
        &["token", "list"],
        &["token", "revoke", "x"],
    ] {
        let (code, says, out) = run(arguments).await;
        assert!(code == Some(2) && out.is_empty() && !says.is_empty(), "{arguments:?}: {says}");
    }
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
    assert_eq!(run(&["token", "add", "x"]).await.0, Some(0));
    let (code, says, _) = run(&["token", "add", "x"]).await;
    assert!(code == Some(2) && says.contains("there is a token x already"), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_add_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let all = (0..6).map(|number| {
        let folder = folder.path().to_owned();
        async move { run(&folder, &["token", "add", &format!("t{number}")]).await.status.code() }
    });
    let codes = futures_util::future::join_all(all).await;
    assert!(codes.iter().all(|code| *code == Some(0)), "{codes:?}");
    let list = stdout(&run(folder.path(), &["token", "list", "--json"]).await);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["tokens"].as_array().unwrap().len(), 6);
}
