//! Whom ssh does not let in, and what is said of it: at once, and to nobody at a keyboard.

use super::ssh::Sshd;
use super::{Outside, Way, nobody_works_on, run};
use crate::binary::{said, stdout};
use crate::support::{LONG, skip};
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Stdio;

async fn update(outside: &Outside, way: &Way, environment: &[(&str, &Path)]) -> (Option<i32>, String) {
    let mut airlock = outside.airlock("cache", &way.gitconfig, &["registries", "update"]);
    airlock.envs(environment.iter().copied());
    let output = run(airlock).await;
    (output.status.code(), said(&output).1 + &stdout(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_or_not_known_is_said_with_what_to_do() {
    let Some(sshd) = Sshd::start("refusals of ssh").await else { return };
    let outside = Outside::new().await;
    let way = outside.by_ssh(&sshd);
    outside.configure(&way.url);
    // As in the shell of an admin who gave no options: ours are added.
    let plain = Way::new(way.url.clone(), "");
    let path =
        std::env::join_paths([sshd.bin()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
    let path = path.unwrap();
    let set = |name: &'static str| vec![(name, Path::new(&path))];
    let command = sshd.command();
    for (what, way, environment) in [
        ("core.sshCommand", &way, Vec::new()),
        ("GIT_SSH_COMMAND", &plain, vec![("GIT_SSH_COMMAND", Path::new(&command))]),
        ("ssh as it is", &plain, set("PATH")),
    ] {
        sshd.know("host");
        sshd.authorize("user", GIT_SHELL);
        let (code, text) = update(&outside, way, &environment).await;
        assert_eq!(code, Some(0), "{what}: {text}");
        sshd.authorize("other-user", GIT_SHELL);
        let refused = |text: &str, words: &[&str]| {
            assert!(text.contains("/AcmeRegistry refused access: "), "{what}: {text}");
            assert!(words.iter().all(|word| text.contains(word)), "{what}: {words:?}: {text}");
        };
        let (code, text) = update(&outside, way, &environment).await;
        assert_eq!(code, Some(1), "{what}: {text}");
        refused(&text, &["Permission denied (publickey)", "What to do: ", "~/.ssh"]);
        sshd.know_none();
        let (code, text) = update(&outside, way, &environment).await;
        assert_eq!(code, Some(1), "{what}: {text}");
        refused(&text, &["Host key verification failed", "What to do: ", "known_hosts", "ssh-keyscan"]);
        sshd.know("other-host");
        let (code, text) = update(&outside, way, &environment).await;
        assert_eq!(code, Some(1), "{what}: {text}");
        refused(&text, &["has changed", "What to do: ", "ssh-keygen -R"]);
        assert!(!fs::read_to_string(sshd.path("known_hosts")).unwrap().contains("\n["), "it learned a key");
    }
}

const GIT_SHELL: &str = r#"git-shell -c \"$SSH_ORIGINAL_COMMAND\""#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_over_ssh_is_told_from_what_is_not_there() {
    let Some(sshd) = Sshd::start("absent repositories over ssh").await else { return };
    let outside = Outside::new().await;
    let way = outside.by_ssh(&sshd);
    outside.configure(&format!("{}-none", way.url));
    let (code, text) = update(&outside, &way, &[]).await;
    assert!(code == Some(1) && text.contains("there is no repository at ssh://"), "{text}");
    outside.configure(&way.url);
    sshd.authorize("user", "echo hello;");
    let (code, text) = update(&outside, &way, &[]).await;
    assert!(code == Some(1) && text.contains("protocol error: bad line length character"), "{text}");
    sshd.authorize("user", "echo no entry >&2; exit 1;");
    let (code, text) = update(&outside, &way, &[]).await;
    assert!(code == Some(1) && text.contains("no entry"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_a_terminal_is_asked_about_a_host_key() {
    let what = "an unknown host key at a terminal";
    let Some(sshd) = Sshd::start(what).await else { return };
    if std::process::Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip(&format!("script: {what}"));
    }
    let outside = Outside::new().await;
    let way = outside.by_ssh(&sshd);
    outside.configure(&way.url);
    sshd.know_none();
    fs::create_dir(outside.path("cache")).unwrap();
    let upstream = outside.scene.upstream.url();
    let update = ["registries", "update", "--cache", "cache", "--upstream", &upstream];
    let quoted = format!("{} {}", env!("CARGO_BIN_EXE_airlock"), update.join(" "));
    let mut airlock = tokio::process::Command::new("script");
    airlock.args(["-qefc", &quoted, "/dev/null"]).current_dir(outside.scene.folder.path()).kill_on_drop(true);
    let global = outside.path("gitconfig");
    fs::write(&global, &way.gitconfig).unwrap();
    airlock.env("GIT_CONFIG_GLOBAL", global).env("GIT_CONFIG_SYSTEM", "/dev/null");
    airlock.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run(airlock).await;
    let text = stdout(&output);
    assert!(text.contains("Host key verification failed") && !text.contains("yes/no"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_left_when_airlock_ends() {
    let Some(sshd) = Sshd::start("silence over ssh").await else { return };
    let outside = Outside::new().await;
    let way = outside.by_ssh(&sshd);
    outside.configure(&way.url);
    let asked = outside.path("asked");
    // It reads what comes, and so ends with the connection.
    sshd.authorize("user", &format!("touch {}; cat >/dev/null;", asked.display()));
    let mut airlock = outside.airlock("cache", &way.gitconfig, &["registries", "update"]).spawn().unwrap();
    let waiting = async {
        while !asked.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it is never asked");
    let pid = Pid::from_raw(i32::try_from(airlock.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    tokio::time::timeout(LONG, airlock.wait()).await.expect("it does not end").unwrap();
    nobody_works_on(&outside.path("cache")).await;
    nobody_works_on(&sshd.path("ssh_config")).await;
}
