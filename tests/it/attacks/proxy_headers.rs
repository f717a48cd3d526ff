//! Proxy headers from other clients: they are ignored unless the peer is a trusted proxy.

use std::net::IpAddr;

use crate::support::TestServer;
use crate::support::raw::{Raw, Response, handshake};

pub(super) const PROXY: &str = "127.0.0.2";
pub(super) const NO_PROXY: &str = "127.0.0.9";

/// A handshake from an address, with headers; what was answered, and the connection.
pub(super) async fn knock(server: &TestServer, from: &str, path: &str, headers: &str) -> (Raw, Response) {
    let from: IpAddr = from.parse().unwrap();
    let mut raw = Raw::connect_from(from, server.address()).await;
    raw.send(handshake(path, headers)).await;
    let response = raw.response().await.expect("an answer");
    (raw, response)
}

/// Only a proxy can say that a request came over it.
#[test]
fn tls_by_the_word_of_anyone() {
    let flags = ["--require-tls", "--trusted-proxies=127.0.0.2"];
    // Bystanders have no TLS, so this one is for those who attack alone.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = TestServer::with(&flags);
        let long = format!("{}https", "http,".repeat(2_000));
        for (from, value, status) in [
            (NO_PROXY, "https", 403),
            (NO_PROXY, "https, https", 403),
            ("127.0.0.1", "https", 403),
            (PROXY, "https", 101),
            (PROXY, "HTTPS", 101),
            (PROXY, " https ", 101),
            (PROXY, "http, https", 101),
            (PROXY, "https, http", 403),
            (PROXY, "https,", 403),
            (PROXY, "", 403),
            (PROXY, "https:", 403),
            (PROXY, "httpss", 403),
            (PROXY, "\u{fffd}", 403),
            (PROXY, "https\r\nX-Forwarded-Proto: http", 403),
            (PROXY, "http\r\nX-Forwarded-Proto: https", 101),
            (PROXY, &long, 101),
        ] {
            let headers = format!("X-Forwarded-Proto: {value}\r\nForwarded: proto=https\r\nX-Forwarded-Ssl: on\r\n");
            let (_, response) = knock(&server, from, "/signal", &headers).await;
            assert_eq!(response.status, status, "{from} {value:.40}");
        }
        server.finish().await;
    });
}
