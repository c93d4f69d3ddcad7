//! Bounds on connections: how many, of whom, and what an idle one costs.

use crate::hostile::client::Target;
use crate::support::{Airlock, LONG, Scene, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Connects from an address of this host.
async fn from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// The status line of what comes until the server closes.
async fn asks(mut stream: TcpStream) -> String {
    let _ = stream.write_all(HEALTH).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap().lines().next().unwrap_or_default().to_owned()
}

/// Waits until somebody is let in again.
async fn is_let_in(address: &str, to: SocketAddr) {
    let let_in = async { while asks(from(address, to).await).await != "HTTP/1.1 200 OK" {} };
    tokio::time::timeout(LONG, let_in).await.expect("nobody is let in any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_at_once_and_a_place_is_given_again() {
    for (file, others) in [
        ("[server]\nmax-connections = 3\nmax-connections-per-client = 0\n", "HTTP/1.1 503 Service Unavailable"),
        ("[server]\nmax-connections-per-client = 3\n", "HTTP/1.1 200 OK"),
    ] {
        let scene = Scene::new().await;
        let airlock = Airlock::quiet(&scene.configured(file)).await;
        let mut idle = Vec::new();
        for _ in 0..3 {
            idle.push(from("127.0.0.1", airlock.address).await);
        }
        assert_eq!(asks(from("127.0.0.1", airlock.address).await).await, "HTTP/1.1 503 Service Unavailable", "{file}");
        assert_eq!(asks(from("127.0.0.2", airlock.address).await).await, others, "{file}");
        idle.pop();
        is_let_in("127.0.0.1", airlock.address).await;
        drop(idle);
        // Whatever was counted is counted back.
        for _ in 0..10 {
            is_let_in("127.0.0.1", airlock.address).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_cost_little() {
    const COUNT: usize = 10_000;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.maximum.is_some_and(|most| most < COUNT as u64 + 2_000) || setrlimit(Resource::Nofile, raised).is_err() {
        skip("open files: ten thousand idle connections");
        return;
    }
    let target = Target::start("[server]\nmax-connections-per-client = 0\nheader-timeout = '10m'\n").await;
    assert_eq!(asks(from("127.0.0.1", target.address).await).await, "HTTP/1.1 200 OK");
    let before = target.memory();
    // Each has asked once, so that it is idle between requests as Julia's are.
    let mut idle = Vec::new();
    for number in 0..COUNT {
        let mut stream = from(&format!("127.0.0.{}", 1 + number % 8), target.address).await;
        stream.write_all(b"GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        idle.push(stream);
    }
    for stream in &mut idle {
        let mut head = [0; 15];
        tokio::time::timeout(LONG, stream.read_exact(&mut head)).await.unwrap().unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
    }
    let each = (target.memory() - before) * 1024 / COUNT as u64;
    assert!(each < 32 << 10, "{each} bytes for each");
    assert_eq!(asks(from("127.0.0.1", target.address).await).await, "HTTP/1.1 200 OK");
}
