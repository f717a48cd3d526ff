//! Proxy headers from other clients: they are ignored unless the peer is a trusted proxy.

use std::net::IpAddr;

use crate::support::TestServer;
use crate::support::raw::{Raw, Response, handshake};

pub(super) const PROXY: &str = "127.0.0.2";
pub(super) const NO_PROXY: &str = "127.0.0.9";

/// Sends a handshake from an address, with headers; returns the connection and the response.
pub(super) async fn open_handshake(
    server: &TestServer,
    from: &str,
    path: &str,
    headers: &str,
) -> (Raw, Response) {
    let from: IpAddr = from.parse().unwrap();
    let mut raw = Raw::connect_from(from, server.address()).await;
    raw.send(handshake(path, headers)).await;
    let response = raw.response().await.expect("an answer");
    (raw, response)
}

/// Only a trusted proxy can report TLS.
#[test]
fn forwarded_tls_of_untrusted_clients_is_ignored() {
    let flags = ["--require-tls", "--trusted-proxies=127.0.0.2"];
    // Without bystanders, which do not use TLS.
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
            let headers = format!(
                "X-Forwarded-Proto: {value}\r\nForwarded: proto=https\r\nX-Forwarded-Ssl: on\r\n"
            );
            let (_, response) = open_handshake(&server, from, "/signal", &headers).await;
            assert_eq!(response.status, status, "{from} {value:.40}");
        }
        server.finish().await;
    });
}
