//! A client that sends what it likes, and the server that it is sent to: the binary with its own
//! descriptors, so that a leak can be seen.

use crate::binary::{Serving, command};
use crate::support::LONG;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// What is asked after each hostile request, and what nobody may smuggle.
pub(super) const ROBOTS: &str = "GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\n";
pub(super) const DISALLOW: &str = "User-agent: *\nDisallow: /\n";

/// A server that is offline and has a few files.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pid: Pid,
    /// Its log up to its end. It is always read on: a server whose log nobody takes stands still.
    log: AbortOnDropHandle<Vec<String>>,
    _folder: TempDir,
}

impl Target {
    pub(crate) async fn start(file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        crate::view::carry(&folder.path().join("cache"), &["General", "Greeting/1.1.0", "greeting-text-1"]);
        fs_err::write(folder.path().join("airlock.toml"), file).unwrap();
        let mut serve = command(folder.path());
        serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
        let mut serving = Serving::start(serve).await;
        let address = serving.url.rsplit('/').next().unwrap().parse().unwrap();
        let pid = Pid::from_raw(i32::try_from(serving.child.id().unwrap()).unwrap()).unwrap();
        let log = AbortOnDropHandle::new(tokio::spawn(async move { serving.hears_to_the_end().await }));
        Self { address, pid, log, _folder: folder }
    }

    /// Stops it, and gives what it logged.
    pub(super) async fn stop(self) -> Vec<String> {
        kill_process(self.pid, Signal::TERM).unwrap();
        tokio::time::timeout(LONG, self.log).await.unwrap().unwrap()
    }

    /// Kilobytes of memory that it has.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(super) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends these bytes and reads until the server closes.
    pub(super) async fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut read, mut write) = self.connect().await.into_split();
        let mut answer = Vec::new();
        let reading = read.read_to_end(&mut answer);
        // Who is cut while it writes may still read what was answered.
        let both = async { tokio::join!(write.write_all(bytes), reading) };
        let _ = tokio::time::timeout(LONG, both).await.expect("the server keeps the connection for ever");
        answer
    }

    /// Whether a normal request is answered.
    pub(super) async fn is_well(&self) -> bool {
        let answer = self.send(ROBOTS.replace("Host: x", "Host: x\r\nConnection: close").as_bytes()).await;
        answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(DISALLOW.as_bytes())
    }

    /// How many descriptors it has.
    pub(super) fn descriptors(&self) -> usize {
        fs_err::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }

    /// Waits until it has no more of them than this.
    pub(super) async fn has_closed_down_to(&self, descriptors: usize) {
        let down = async {
            while self.descriptors() > descriptors {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, down).await.expect("a descriptor was leaked");
    }
}

/// The status of each answer, by their lengths: a body that looks like an answer is none.
pub(super) fn statuses(mut answer: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while !answer.is_empty() {
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            panic!("no answer: {:?}", String::from_utf8_lossy(answer));
        };
        let head = str::from_utf8(&answer[..end]).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1."), "no answer: {head}");
        let status = head[9..12].parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        answer = &answer[(end + 4 + length).min(answer.len())..];
        found.push(status);
    }
    found
}
