//! Paths that leave their folder, or that do not exist, on every route.

use futures_util::future::join_all;
use serde_json::Value;

use super::SOCKET_IO;
use crate::support::raw::{Raw, Response, handshake};
use crate::support::{Bystander, TestServer, attacked};

/// Byte sequences after a route; none of them names a served resource.
const TAILS: [&[u8]; 40] = [
    b"../Cargo.toml",
    b"../../../../../../etc/passwd",
    b"..%2fCargo.toml",
    b"..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    b"%2e%2e/Cargo.toml",
    b"%2e%2e%2fCargo.toml",
    b"%252e%252e%252fCargo.toml",
    b"..%252fCargo.toml",
    b"..%c0%afCargo.toml",
    b"..%ef%bc%8fCargo.toml",
    b"%c0%ae%c0%ae/Cargo.toml",
    b"..\\Cargo.toml",
    b"..%5cCargo.toml",
    b"..%5c..%5cetc%5cpasswd",
    b"....//Cargo.toml",
    b"..;/Cargo.toml",
    b"./../Cargo.toml",
    b".//../Cargo.toml",
    b"x/../../Cargo.toml",
    b"%00",
    b"..%00/Cargo.toml",
    b"../Cargo.toml%00.html",
    b"%0d%0aX-Injected:%20yes",
    b"%0a",
    b"%7f",
    b"%",
    b"%2",
    b"%zz",
    b"%u002e%u002e",
    b"%ff",
    b"%ed%a0%80",
    b"\xc3\xa9",
    b"\xff\xfe",
    b"//etc/passwd",
    b"C:/Windows/win.ini",
    b"~root",
    b".git/config",
    b".env",
    b"node_modules/.package-lock.json",
    b"con.html..",
];

const ROUTES: [&str; 14] = [
    "/",
    "//",
    "/index.html/",
    "/x/",
    "/node_modules/",
    "/socket.io/",
    "/socket.io//",
    "/api/rooms/",
    "/api/",
    "/ws/",
    "/signal/",
    "/docs/",
    "/docs",
    "/health/",
];

/// Sends a request line with arbitrary bytes.
async fn ask(server: &TestServer, method: &str, path: &[u8]) -> Option<Response> {
    let rest = format!(" HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address());
    let request = [method.as_bytes(), b" ", path, rest.as_bytes()].concat();
    Raw::sending(server.address(), request).await.response().await
}

/// Asserts a refusal that reveals nothing: no file, no panic, no header that the client controls.
fn assert_refused(path: &[u8], response: Option<&Response>) {
    let path = String::from_utf8_lossy(path);
    let Some(response) = response else { return };
    assert!([400, 404, 405, 414].contains(&response.status), "{path}: {response:?}");
    assert!(response.header("x-injected").is_none(), "{path}: {response:?}");
    for secret in [b"[package]".as_slice(), b"root:", b"[core]", b"lockfileVersion"] {
        assert!(
            !response.body.windows(secret.len()).any(|window| window == secret),
            "{path}: {response:?}"
        );
    }
}

#[test]
fn paths_outside_the_folder_are_not_served() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                for route in ROUTES {
                    let asked = TAILS.iter().map(async |tail| {
                        let path = [route.as_bytes(), *tail].concat();
                        let response = ask(server, "GET", &path).await;
                        // A room id may be any text: one of these is the id of a room that does not
                        // exist.
                        assert_refused(&path, response.as_ref());
                    });
                    join_all(asked).await;
                }
            })
            .await;
        // Resources that exist are served.
        for path in ["/", "/index.html", "/app.js", "/docs/", "/docs/openapi.json"] {
            assert_eq!(ask(server, "GET", path.as_bytes()).await.unwrap().status, 200, "{path}");
        }
        for path in [
            "/package.json",
            "/README.md",
            "/package-lock.json",
            "/.",
            "/..",
            "/...",
            "/index.html.",
            "/index.html%20",
            "/INDEX.HTML%00",
        ] {
            assert_refused(path.as_bytes(), ask(server, "GET", path.as_bytes()).await.as_ref());
        }
    });
}

#[test]
fn very_long_and_very_deep_paths_are_refused() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let tails = [
            "a".repeat(12_000),
            "a/".repeat(6_000),
            "../".repeat(4_000),
            "/".repeat(12_000),
            "%41".repeat(4_000),
            "%2e%2e%2f".repeat(1_300),
        ];
        bystander
            .repeat(async || {
                for route in ROUTES {
                    for tail in &tails {
                        let path = format!("{route}{tail}");
                        assert_refused(
                            &path.as_bytes()[..20],
                            ask(server, "GET", path.as_bytes()).await.as_ref(),
                        );
                    }
                }
            })
            .await;
    });
}

/// Handshakes at paths that do not exist.
#[test]
fn handshakes_at_unknown_paths_are_refused() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let nowhere = [
            "/",
            "//ws",
            "/ws//",
            "/ws//t",
            "/ws/a/b",
            "/signal/x",
            "/WS",
            "/Signal",
            "/ws%2ft",
            "/ws\\t",
            "/ws/%20",
            "/ws/%00",
            "/ws/%ff",
            "/ws/%0d%0a",
            "/./ws",
            "/x/../ws",
            "/api/rooms",
            "/health",
            "/docs/",
            "/socket.io",
            "/socket.io/x?EIO=4&transport=websocket",
            "/SOCKET.IO/?EIO=4&transport=websocket",
            "/ws?%ff=%ff",
            "/ws/t?metadata=%ff",
        ];
        bystander
            .repeat(async || {
                for path in nowhere {
                    let mut raw = Raw::sending(server.address(), handshake(path, "")).await;
                    let status = raw.response().await.expect("an answer").status;
                    // An invalid query is ignored on routes that do not read it.
                    let is_opened = status == 101 && path.starts_with("/ws?");
                    assert!(is_opened || [200, 400, 404].contains(&status), "{path}: {status}");
                }
            })
            .await;
        for path in [
            SOCKET_IO,
            "/socket.io?EIO=4&transport=websocket",
            "/ws/..",
            "/ws/%2e%2e%2fx",
            "/ws/a%2fb",
            "/ws/%252f",
        ] {
            Raw::websocket(server.address(), path).await;
        }
    });
}

/// A room id is exactly the text that the client sent, whatever its meaning in a path.
#[test]
fn room_ids_that_look_like_paths_are_only_ids() {
    let names = [
        "..",
        ".",
        "../x",
        "a/b",
        "/",
        "//",
        "\\",
        "%",
        "%2f",
        "%252f",
        "a%00",
        "a b",
        "+",
        "?",
        "#",
        ";",
        "&",
        "=",
        "é",
        "🎥",
        "..%2f..",
        "~",
        "a.",
        "*",
        "C:",
        "\u{202e}x",
        "'; drop table rooms",
        "<script>",
        "{room}",
        "{*rest}",
        ":room",
    ];
    let encoded =
        |name: &str, is_all: bool| -> String {
            let plain = |byte: u8| !is_all && byte.is_ascii_alphanumeric();
            name.bytes()
                .map(|byte| {
                    if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") }
                })
                .collect()
        };
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        for name in names {
            let body = serde_json::json!({ "roomId": name }).to_string();
            let head = format!(
                "POST /api/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let made = Raw::sending(server.address(), head + &body).await.response().await.unwrap();
            assert_eq!(made.status, 201, "{name}");
            for is_all in [false, true] {
                let path = format!("/api/rooms/{}", encoded(name, is_all));
                let shown = ask(server, "GET", path.as_bytes()).await.unwrap();
                assert_eq!(shown.status, 200, "{path}");
                let shown: Value = serde_json::from_slice(&shown.body).unwrap();
                assert_eq!(shown["id"], name, "{path}");
            }
            // The path of the topic leads to the same room.
            let before = server.held().rooms;
            let mut topic =
                Raw::websocket(server.address(), &format!("/ws/{}", encoded(name, true))).await;
            topic.text().await.unwrap();
            topic.text().await.unwrap();
            let path = format!("/api/rooms/{}", encoded(name, true));
            let shown = ask(server, "GET", path.as_bytes()).await.unwrap();
            let shown: Value = serde_json::from_slice(&shown.body).unwrap();
            assert_eq!(shown["participantCount"], 1, "{name}, {before} rooms");
            assert_eq!(ask(server, "DELETE", path.as_bytes()).await.unwrap().status, 204, "{name}");
            assert_eq!(ask(server, "GET", path.as_bytes()).await.unwrap().status, 404, "{name}");
        }
        bystander.round().await;
    });
}
