//! Origins: patterns, the server's own origin, forwarded hosts, and requests of pages that change
//! rooms.

use std::net::SocketAddr;

use crate::support::TestServer;
use crate::support::program::{Program, parlor};
use crate::support::raw::{Raw, Response, handshake};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

async fn ask(address: SocketAddr, request: String) -> Response {
    Raw::sending(address, request).await.response().await.expect("an answer")
}

/// Returns whether a page may connect: the status of a first poll and of a WebSocket handshake,
/// which must agree.
async fn lets_in(server: &TestServer, host: &str, headers: &str) -> bool {
    let poll =
        ask(server.address(), format!("GET {POLLING} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"))
            .await
            .status;
    let handshake = handshake("/ws/t", headers).replace("Host: parlor", &format!("Host: {host}"));
    let opened = ask(server.address(), handshake).await.status;
    match (poll, opened) {
        (200, 101) => true,
        (403, 403) => false,
        other => panic!("{host} {headers:?}: {other:?}"),
    }
}

/// Time limit of a polling connection without CONNECT, short for the test.
const SHORT: &str = "--handshake-timeout-seconds=1";

#[tokio::test]
async fn own_origin_needs_a_trusted_host() {
    let server =
        TestServer::with(&[SHORT, "--client-url=https://app.example.com,https://*.pages.example"]);
    for (host, is_own) in [
        ("evil.example", false),
        ("evil.example:4000", false),
        ("parlor", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("localhost:4000", true),
        ("localhost", true),
        ("192.168.0.7:4000", true),
        ("[2001:db8::7]:4000", true),
        ("app.example.com:8443", true),
        ("a.pages.example", true),
        ("a.b.pages.example", false),
    ] {
        assert_eq!(
            lets_in(&server, host, &format!("Origin: http://{host}\r\n")).await,
            is_own,
            "{host}"
        );
    }
    // The default port is optional.
    assert!(lets_in(&server, "localhost:443", "Origin: https://localhost\r\n").await);
    assert!(!lets_in(&server, "localhost:444", "Origin: https://localhost\r\n").await);
    assert!(!lets_in(&server, "localhost:4000", "Origin: null\r\n").await);
    server.finish().await;
}

#[tokio::test]
async fn in_development_every_origin_of_this_machine_is_allowed() {
    let server = TestServer::with(&[SHORT]);
    for origin in
        ["http://localhost:5173", "https://localhost", "http://127.0.0.1:1", "http://[::1]:3000"]
    {
        assert!(lets_in(&server, "parlor", &format!("Origin: {origin}\r\n")).await, "{origin}");
    }
    for origin in ["http://192.168.0.7:5173", "http://localhost.example:5173", "null", "file://"] {
        assert!(!lets_in(&server, "parlor", &format!("Origin: {origin}\r\n")).await, "{origin}");
    }
    server.finish().await;
    let server = TestServer::with(&[SHORT, "--node-env=production"]);
    assert!(lets_in(&server, "parlor", "Origin: http://localhost:3000\r\n").await);
    assert!(!lets_in(&server, "parlor", "Origin: http://localhost:5173\r\n").await);
    server.finish().await;
}

#[tokio::test]
async fn patterns_and_pages_without_a_host_can_be_listed() {
    let server = TestServer::with(&[
        SHORT,
        "--client-url=https://*.example.com,http://localhost:*,file://,null",
    ]);
    for origin in ["https://pr-17.example.com", "http://localhost:1", "file://", "null"] {
        let headers = format!("Origin: {origin}\r\n");
        assert!(lets_in(&server, "parlor", &headers).await, "{origin}");
        let health =
            ask(server.address(), format!("GET /health HTTP/1.1\r\nHost: parlor\r\n{headers}\r\n"))
                .await;
        assert_eq!(health.header("access-control-allow-origin"), Some(origin));
    }
    assert!(!lets_in(&server, "parlor", "Origin: https://example.com\r\n").await);
    server.finish().await;
}

#[tokio::test]
async fn forwarded_host_of_a_trusted_proxy_counts() {
    let flags = |proxies| [SHORT, "--client-url=https://app.example.com", proxies];
    let forwarded = "X-Forwarded-Host: app.example.com\r\nX-Forwarded-Port: 8443\r\n";
    let page = "Origin: https://app.example.com:8443\r\n";
    let server = TestServer::with(&flags("--trusted-proxies=127.0.0.1"));
    assert!(lets_in(&server, "backend:4000", &format!("{page}{forwarded}")).await);
    // The last value is the one that the proxy added.
    let two = "X-Forwarded-Host: evil.example, app.example.com:8443\r\n";
    assert!(lets_in(&server, "backend:4000", &format!("{page}{two}")).await);
    for headers in [
        "X-Forwarded-Host: app.example.com\r\n",
        "X-Forwarded-Host: app.example.com\r\nX-Forwarded-Port: 8444\r\n",
        "X-Forwarded-Host: app.example.com:8443, evil.example\r\n",
        "",
    ] {
        assert!(!lets_in(&server, "backend:4000", &format!("{page}{headers}")).await, "{headers}");
    }
    let evil = "Origin: http://evil.example\r\nX-Forwarded-Host: evil.example\r\n";
    assert!(
        !lets_in(&server, "backend:4000", evil).await,
        "a proxy forwards the host of a page with DNS rebinding"
    );
    server.finish().await;
    let server = TestServer::with(&flags("--trusted-proxies=10.0.0.0/8"));
    assert!(
        !lets_in(&server, "backend:4000", &format!("{page}{forwarded}")).await,
        "any client can send this header"
    );
    server.finish().await;
}

/// Sends a REST request that changes a room; returns its status and body.
async fn write(server: &TestServer, method: &str, headers: &str, body: &str) -> Response {
    let length = body.len();
    let head =
        format!("{method} /api/rooms HTTP/1.1\r\nHost: parlor\r\nContent-Length: {length}\r\n");
    ask(server.address(), format!("{head}{headers}\r\n{body}")).await
}

const LISTED: &str = "Origin: https://app.example.com\r\n";
const FOREIGN: &str = "Origin: http://evil.example\r\n";
const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";
const CROSS_SITE: &str = "Sec-Fetch-Site: cross-site\r\n";

#[tokio::test]
async fn page_of_another_site_cannot_change_rooms() {
    let server = TestServer::with(&["--client-url=https://app.example.com"]);
    for (headers, body, status) in [
        (FOREIGN.to_owned(), "{}", 403),
        (format!("{FOREIGN}{JSON}"), "{}", 403),
        (format!("{FOREIGN}{CROSS_SITE}Content-Type: text/plain\r\n"), "{}", 403),
        (format!("Origin: null\r\n{JSON}"), "{}", 403),
        (CROSS_SITE.to_owned(), "{}", 403),
        (format!("{LISTED}{FOREIGN}{JSON}"), "{}", 403),
        (format!("{LISTED}Content-Type: text/plain\r\n"), "{}", 415),
        (LISTED.to_owned(), "{}", 415),
        (format!("{LISTED}{JSON}Content-Type: text/plain\r\n"), "{}", 415),
        (format!("{LISTED}Content-Type: application/jsonp\r\n"), "{}", 415),
        (format!("{LISTED}{CROSS_SITE}{JSON}"), "{}", 201),
        (format!("{LISTED}{JSON}"), "{}", 201),
        (LISTED.to_owned(), "", 201),
        ("Sec-Fetch-Site: same-origin\r\n".to_owned(), "{}", 201),
        ("Content-Type: text/plain\r\n".to_owned(), "{}", 201),
        (String::new(), "{}", 201),
    ] {
        let before = server.held().rooms;
        let response = write(&server, "POST", &headers, body).await;
        assert_eq!(response.status, status, "{headers:?} {body:?}: {response:?}");
        assert_eq!(server.held().rooms, before + usize::from(status == 201));
        match status {
            403 => assert!(response.text().contains("FORBIDDEN"), "{response:?}"),
            415 => assert!(response.text().contains("INVALID_MESSAGE"), "{response:?}"),
            _ => {}
        }
    }
    let foreign = format!("DELETE /api/rooms/r HTTP/1.1\r\nHost: parlor\r\n{FOREIGN}\r\n");
    assert_eq!(ask(server.address(), foreign).await.status, 403);
    let listed = format!("DELETE /api/rooms/r HTTP/1.1\r\nHost: parlor\r\n{LISTED}\r\n");
    assert_eq!(ask(server.address(), listed).await.status, 404);
    assert!(server.stop().await);
}

#[test]
fn refused_origin_is_logged_once_with_the_setting_that_allows_it() {
    let mut command = parlor();
    command.args([
        "--port=0",
        "--host=127.0.0.1",
        "--log-level=info",
        "--client-url=https://app.example.com",
    ]);
    let program = Program::start(command);
    let address = program.address();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for origin in [
            "http://evil.example",
            "http://evil.example",
            "http://evil.example",
            "http://b\u{202e}.example",
        ] {
            let request =
                format!("GET {POLLING} HTTP/1.1\r\nHost: parlor\r\nOrigin: {origin}\r\n\r\n");
            assert_eq!(ask(address, request).await.status, 403);
        }
        for number in 0..200 {
            let request = format!(
                "GET {POLLING} HTTP/1.1\r\nHost: parlor\r\nOrigin: http://{number}.example\r\n\r\n"
            );
            assert_eq!(ask(address, request).await.status, 403);
        }
    });
    let log = program.stop();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("origin refused")).collect();
    let evil: Vec<&&str> =
        lines.iter().filter(|line| line.contains("http://evil.example")).collect();
    assert_eq!(evil.len(), 1, "{log}");
    assert!(
        evil[0].contains("CLIENT_URL") && evil[0].contains("https://app.example.com"),
        "{}",
        evil[0]
    );
    assert!(lines.len() <= 64, "distinct origins do not flood the log: {}", lines.len());
    assert!(!log.contains('\u{202e}'));
}
