//! Pages of foreign origins, on every protocol and over REST.

use crate::support::raw::{Raw, handshake};
use crate::support::{Bystander, TestServer, attacked};

use super::ENDPOINTS;

/// First request of a polling client.
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Time limit of a polling connection without CONNECT, short for the test.
const FLAGS: [&str; 2] =
    ["--client-url=https://app.example.com,http://localhost:3000", "--handshake-timeout-seconds=1"];

/// Returns origins that are not on the list but resemble it.
fn foreign(server: &TestServer) -> Vec<String> {
    let own = server.address();
    let mut origins: Vec<String> = [
        "null",
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com.",
        "https://app.example.com.evil.example",
        "https://evilapp.example.com",
        "https://evil.app.example.com",
        "https://app.example.com:444",
        "https://app.example.com:443",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?x",
        "https://app.example.com@evil.example",
        "https://evil.example@app.example.com",
        "https://user:password@app.example.com",
        "https://APP.example.com",
        "HTTPS://app.example.com",
        "https://app.example.com, https://evil.example",
        "https://app.example.com https://evil.example",
        "https://app-example.com",
        "https://app.example.com%00.evil.example",
        "https://app.example.com\\.evil.example",
        "https://app.еxample.com",
        "https://xn--app-example-com",
        "file://",
        "data:",
        "chrome-extension://app.example.com",
        "*",
        "",
        "https://",
        "//app.example.com",
        "http://localhost",
        "http://localhost:30000",
        "http://localhost:300",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
        "http://0.0.0.0:3000",
    ]
    .map(str::to_owned)
    .into();
    origins.extend([
        format!("http://{own}.evil.example"),
        format!("http://evil@{own}"),
        format!("http://{own}@evil.example"),
        format!("http://{}", own.ip()),
        format!("http://{}:{}", own.ip(), own.port().wrapping_add(1)),
        format!("http://{}:0{}", own.ip(), own.port()),
        format!("http://2130706433:{}", own.port()),
        format!("http://localhost:{}", own.port()),
    ]);
    origins
}

/// Returns the status of a WebSocket handshake or a first poll with these headers.
async fn status(server: &TestServer, path: &str, headers: &str) -> u16 {
    let host = server.address();
    let request = if path == POLLING {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")
    } else {
        handshake(path, headers).replace("Host: parlor", &format!("Host: {host}"))
    };
    let mut raw = Raw::sending(server.address(), request).await;
    let response = raw.response().await.expect("an answer");
    if response.status == 403 {
        assert!(response.text().contains("FORBIDDEN"), "{response:?}");
        let is_readable = response.header("access-control-allow-origin").is_some();
        assert!(!is_readable || headers.matches("Origin").count() > 1, "{headers}");
    }
    response.status
}

fn paths() -> impl Iterator<Item = &'static str> {
    ENDPOINTS.into_iter().chain([POLLING])
}

#[test]
fn every_protocol_refuses_foreign_pages() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                for origin in foreign(server) {
                    for path in paths() {
                        let headers = format!("Origin: {origin}\r\n");
                        assert_eq!(status(server, path, &headers).await, 403, "{origin} {path}");
                    }
                }
            })
            .await;
        let own = server.address();
        for path in paths() {
            let opened = if path == POLLING { 200 } else { 101 };
            for good in [
                "https://app.example.com",
                "http://localhost:3000",
                &format!("http://{own}"),
                &format!("https://{own}"),
            ] {
                let header = format!("Origin: {good}\r\n");
                assert_eq!(status(server, path, &header).await, opened, "{good} {path}");
                // In every spelling of the header's name, and also if the header is repeated.
                assert_eq!(
                    status(server, path, &header.replace("Origin", "oRIGIN")).await,
                    opened,
                    "{good} {path}"
                );
                assert_eq!(
                    status(server, path, &header.repeat(2)).await,
                    opened,
                    "{good} twice {path}"
                );
                let two = format!("{header}Origin: https://evil.example\r\n");
                assert_eq!(status(server, path, &two).await, 403, "{good} and another {path}");
                let two = format!("Origin: https://evil.example\r\n{header}");
                assert_eq!(status(server, path, &two).await, 403, "another and {good} {path}");
            }
            assert_eq!(status(server, path, "").await, opened, "no browser {path}");
            assert_eq!(status(server, path, "Origin: \u{fffd}\r\n").await, 403, "no text {path}");
        }
    });
}

/// A session that another client opened does not bypass the check.
#[test]
fn foreign_pages_cannot_use_open_sessions() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        use crate::support::engine::{Engine, Transport};
        let engine = Engine::connect(server.address(), (Transport::Polling, 4)).await;
        let (poll, upgrade) = (engine.path(Transport::Polling), engine.path(Transport::WebSocket));
        for request in [
            format!("GET {poll} HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n"),
            format!(
                "POST {poll} HTTP/1.1\r\nHost: x\r\nOrigin: null\r\nContent-Length: 1\r\n\r\n1"
            ),
            handshake(&upgrade, "Origin: https://evil.example\r\n"),
        ] {
            assert_eq!(
                Raw::sending(server.address(), request).await.response().await.unwrap().status,
                403
            );
        }
        bystander.round().await;
        let mut engine = engine;
        assert!(engine.answers().await, "its owner is not affected");
        engine.close().await;
    });
}

/// A page may send REST requests whose response it cannot read: no header makes it readable,
/// whatever origin it names.
#[test]
fn cors_exposes_no_response_to_foreign_pages() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let ask = async |line: &str, origin: &str| {
            let host = server.address();
            let preflight = "Access-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: authorization\r\n";
            let request =
                format!("{line} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n{preflight}\r\n");
            Raw::sending(server.address(), request).await.response().await.expect("an answer")
        };
        let lines = [
            "GET /health",
            "GET /api/rooms",
            "OPTIONS /api/rooms/r",
            "OPTIONS /health",
            &format!("OPTIONS {POLLING}"),
            "OPTIONS *",
        ];
        bystander
            .repeat(async || {
                for origin in foreign(server) {
                    for line in lines {
                        let response = ask(line, &origin).await;
                        assert!(response.status < 500, "{line} {origin}: {response:?}");
                        let allowed = response.header("access-control-allow-origin");
                        assert_eq!(allowed, None, "{line} {origin}");
                    }
                }
            })
            .await;
        for line in &lines[..5] {
            let response = ask(line, "https://app.example.com").await;
            assert!(response.status == 200 || response.status == 204, "{line}: {response:?}");
            assert_eq!(
                response.header("access-control-allow-origin"),
                Some("https://app.example.com"),
                "{line}"
            );
        }
    });
}
