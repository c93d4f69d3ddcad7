//! A headless Chromium, driven through chromedriver by plain `WebDriver` requests (w3.org/TR/webdriver2)
//! and, where that has no word for it, by commands of its developer tools.

use crate::support::{LONG, client, skip};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The keys that have no letter (w3.org/TR/webdriver2, keyboard actions).
pub(super) const TAB: char = '\u{e004}';
pub(super) const SHIFT: char = '\u{e008}';
pub(super) const ENTER: char = '\u{e007}';

/// One window of one browser, with a profile of its own.
pub(super) struct Browser {
    _driver: Child,
    _profile: TempDir,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts one; `None`, said loudly, where there is none.
    pub(super) async fn start() -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", profile.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut driver) = command.kill_on_drop(true).spawn() else {
            skip("chromedriver: the pages in a real browser");
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = tokio::time::timeout(LONG, lines.next_line()).await.unwrap().unwrap().unwrap();
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let folder = profile.path().join("profile");
        let mut browser = Self { _driver: driver, _profile: profile, port, session: String::new() };
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", folder.display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let made = browser.call("", Some(wanted)).await;
        made["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        Some(browser)
    }

    /// A command of this session: what came of it. Without a body it is a question.
    async fn call(&self, command: &str, body: Option<Value>) -> Value {
        let session = if self.session.is_empty() { String::new() } else { format!("/{}", self.session) };
        let url = format!("http://127.0.0.1:{}/session{session}{command}", self.port);
        let request = match &body {
            Some(body) => client().post(url).body(body.to_string()),
            None => client().get(url),
        };
        let response = tokio::time::timeout(LONG, request.send()).await.unwrap().unwrap();
        let status = response.status();
        let mut answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert!(status.is_success(), "{command} {body:?}: {answer}");
        answer["value"].take()
    }

    pub(super) async fn open(&self, url: &str) {
        self.call("/url", Some(json!({ "url": url }))).await;
    }

    pub(super) async fn url(&self) -> String {
        self.call("/url", None).await.as_str().unwrap().to_owned()
    }

    /// A command of the developer tools' protocol.
    pub(super) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.call("/goog/cdp/execute", Some(json!({ "cmd": command, "params": parameters }))).await
    }

    /// What a piece of JavaScript returns.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", Some(json!({ "script": script, "args": [] }))).await
    }

    /// Types, as on a keyboard; the keys of a chord stay down until it is complete.
    async fn press(&self, chords: impl IntoIterator<Item = Vec<char>>) {
        let mut actions = Vec::new();
        for chord in chords {
            actions.extend(chord.iter().map(|key| json!({ "type": "keyDown", "value": key })));
            actions.extend(chord.iter().rev().map(|key| json!({ "type": "keyUp", "value": key })));
        }
        self.call("/actions", Some(json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] })))
            .await;
    }

    pub(super) async fn key(&self, key: char) {
        self.press([vec![key]]).await;
    }

    pub(super) async fn chord(&self, keys: &[char]) {
        self.press([keys.to_vec()]).await;
    }

    pub(super) async fn text(&self, text: &str) {
        self.press(text.chars().map(|letter| vec![letter])).await;
    }

    /// A window of this size, and the colours that the visitor would rather have.
    pub(super) async fn look(&self, (width, height): (u32, u32), scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// What was logged since the last time: `browser`, or `performance` with all requests.
    pub(super) async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.call("/se/log", Some(json!({ "type": kind }))).await;
        entries.as_array().unwrap().clone()
    }

    /// The whole page as it looks, as base64 of a PNG.
    pub(super) async fn picture(&self) -> String {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        self.devtools("Page.captureScreenshot", whole).await["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    /// Chromium is a child of the driver and not ours: the driver must end it, also when a test fails.
    fn drop(&mut self) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
        let head = format!("DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", self.session);
        if stream.write_all(head.as_bytes()).is_ok() {
            let _ = stream.read(&mut [0; 64]);
        }
    }
}
