//! HTTP requests that are too large, or that two parsers would read differently.

use futures_util::future::join_all;

use crate::support::raw::{Raw, Response};
use crate::support::{Bystander, TestServer, attacked};

/// Returns all responses on a connection on which only these bytes are sent.
async fn answers(server: &TestServer, bytes: impl AsRef<[u8]>) -> Vec<Response> {
    let mut raw = Raw::sending(server.address(), bytes).await;
    let mut answers = Vec::new();
    while let Some(response) = raw.response().await {
        assert!(response.status < 500, "{response:?}");
        answers.push(response);
    }
    answers
}

/// Asserts that a request is refused: at most one response, and the connection is closed.
async fn assert_refused(server: &TestServer, what: &str, bytes: impl AsRef<[u8]>) {
    let answers = answers(server, bytes).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(
        matches!(statuses[..], [] | [400 | 404 | 405 | 413 | 414 | 431 | 501 | 505]),
        "{what}: {statuses:?}"
    );
}

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
const FLAGS: [&str; 1] = ["--handshake-timeout-seconds=1"];

#[test]
fn oversized_heads_are_refused() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let number = |count: usize| {
            (0..count).map(|number| format!("X-{number}: x\r\n")).collect::<Vec<_>>().concat()
        };
        let floods = [
            format!("{GET}{}\r\n", number(100)),
            format!("{GET}{}\r\n", "a: b\r\n".repeat(3_000)),
            format!("{GET}X-Large: {}\r\n\r\n", "x".repeat(20_000)),
            format!("{GET}{}: x\r\n\r\n", "x".repeat(20_000)),
            format!("{GET}Cookie: {}\r\n\r\n", "a=b; ".repeat(200_000)),
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(20_000)),
            format!("GET /healthz?{} HTTP/1.1\r\nHost: x\r\n\r\n", "x&".repeat(100_000)),
            format!("{} / HTTP/1.1\r\nHost: x\r\n\r\n", "X".repeat(20_000)),
            format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(20_000)),
            "\r\n".repeat(20_000),
        ];
        bystander
            .repeat(async || {
                drop(
                    join_all(
                        floods.iter().map(|flood| assert_refused(server, &flood[..30], flood)),
                    )
                    .await,
                );
            })
            .await;
        // The maximum number of header fields is accepted.
        let good = format!("{GET}{}Connection: close\r\n\r\n", number(60));
        assert_eq!(answers(server, good).await[0].status, 200);
    });
}

/// Each hides a second request in the body of the first, for a parser that uses the other length.
#[test]
fn smuggled_requests_are_not_answered() {
    const HIDDEN: &str = "GET /api/rooms/hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /api/rooms HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}{HIDDEN}")
    };
    let smuggled = [
        post("Content-Length: 0\r\nContent-Length: 44\r\n", ""),
        post("Content-Length: 44\r\nContent-Length: 0\r\n", ""),
        post("Content-Length: 0, 44\r\n", ""),
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 49\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: identity, chunked, identity\r\nContent-Length: 0\r\n", ""),
        post("Transfer-Encoding: identity\r\nContent-Length: 0\r\n", ""),
        post("Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n", ""),
        post("Transfer-Encoding: chunked, gzip\r\nContent-Length: 0\r\n", ""),
        post(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n",
            "",
        ),
        post("Transfer-Encoding:\x0bchunked\r\nContent-Length: 0\r\n", ""),
        post("Transfer-Encoding : chunked\r\nContent-Length: 0\r\n", ""),
        post("Content-Length : 44\r\n", ""),
        post(" Content-Length: 44\r\n", ""),
        post("X: x\r\n Content-Length: 44\r\n", ""),
        post("X: x\r\n\tTransfer-Encoding: chunked\r\n", ""),
        post("Content-Length: +0\r\n", ""),
        post("Content-Length: -1\r\n", ""),
        post("Content-Length: 0x2c\r\n", ""),
        post("Content-Length: 18446744073709551616\r\n", ""),
        post("Content-Length: 99999999999999999999999\r\n", ""),
        post("Content-Length: \r\n", ""),
        post("Content-Length: 4 4\r\n", ""),
        post("Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", "\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", "ffffffffffffffffffff\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", "2\r\n{}X0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", "0\n\n"),
        post("Transfer-Encoding: chunked\r\n", "2;\n{}\r\n0\r\n\r\n"),
        format!("GET /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
        format!("GET /health HTTP/1.1\r\nHost: x\r\nX: y\0\r\n\r\n{HIDDEN}"),
    ];
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                join_all(smuggled.iter().map(async |bytes| {
                    let answers = answers(server, bytes).await;
                    assert!(answers.len() <= 1, "two answers to {bytes:?}: {answers:?}");
                    if let Some(Response { status: 201, head, .. }) = answers.first() {
                        let room =
                            head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
                        let close = format!(
                            "DELETE {room} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                        );
                        let mut raw = Raw::sending(server.address(), close).await;
                        assert_eq!(raw.response().await.unwrap().status, 204);
                    }
                }))
                .await;
            })
            .await;
    });
}

/// Only the chunks count, and nothing is read after the request, so that a proxy that used the
/// length is not misled.
#[tokio::test]
async fn length_beside_chunks_closes_the_connection() {
    let server = TestServer::start();
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let request =
            format!("POST /api/rooms HTTP/1.1\r\nHost: x\r\n{headers}\r\n2\r\n{{}}\r\n0\r\n\r\n");
        let mut raw = Raw::sending(server.address(), format!("{request}{request}")).await;
        let response = raw.response().await.expect("an answer");
        assert_eq!(
            (response.status, response.header("connection")),
            (201, Some("close")),
            "{headers}"
        );
        assert!(raw.rest().await.is_empty(), "the second request is not answered");
        let room = response.header("location").unwrap();
        assert_eq!(
            reqwest::Client::new().delete(server.url(room)).send().await.unwrap().status(),
            204
        );
    }
    server.finish().await;
}

#[test]
fn invalid_requests_are_refused() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    let lines: [(&str, &[u8]); 24] = [
        ("two hosts", b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
        ("the same host twice", b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
        ("no host", b"GET /healthz HTTP/1.1\r\nX: y\r\n\r\n"),
        ("a folded line", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: y\r\n z\r\n\r\n"),
        ("NUL in a value", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: y\0z\r\n\r\n"),
        ("NUL in a name", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX\0: y\r\n\r\n"),
        ("a bare CR", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: y\rz: w\r\n\r\n"),
        ("a space before the colon", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n"),
        ("no colon", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX\r\n\r\n"),
        ("no name", b"GET /healthz HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n"),
        ("a name that is no token", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX(Y): z\r\n\r\n"),
        ("a name that is no ASCII", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX\xc3\xa9: z\r\n\r\n"),
        ("a control character", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: \x01\r\n\r\n"),
        ("HTTP/0.9", b"GET /healthz\r\n\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("HTTP/1.2", b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n"),
        ("HTTP/9.9", b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n"),
        ("a TLS hello", hello),
        ("an SSH hello", b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        ("spaces in the path", b"GET /healthz /x HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("NUL in the path", b"GET /health\0z HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a fragment", b"GET x#y HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("no path", b"GET  HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("no method", b" /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    ];
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                drop(
                    join_all(lines.iter().map(|(what, bytes)| assert_refused(server, what, bytes)))
                        .await,
                );
            })
            .await;
    });
}

/// Unusual requests are answered exactly once.
#[test]
fn unusual_methods_and_targets_are_answered_once() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let own = server.address();
        let targets = [
            "/healthz",
            "/health",
            "/",
            "/api/rooms",
            "/api/rooms/x",
            "/socket.io/",
            "/ws",
            "/signal",
            "/ws/t",
            "/docs/",
            "*",
        ];
        let methods = [
            "CONNECT", "TRACE", "TRACK", "PUT", "PATCH", "PROPFIND", "DELETE", "OPTIONS", "HEAD",
            "X", "get", "QUERY",
        ];
        bystander
            .repeat(async || {
                for method in methods {
                    for target in targets {
                        let request = format!(
                            "{method} {target} HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\nX-Echo: secret\r\n\r\n"
                        );
                        // The response to HEAD declares a body that it does not have.
                        let mut raw = Raw::sending(own, &request).await;
                        let rest = String::from_utf8(raw.rest().await).unwrap();
                        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{request}: {rest}");
                        assert!(!rest.contains("HTTP/1.1 5") && !rest.contains("secret"), "{request}: {rest}");
                        assert!(method != "TRACE" || rest.starts_with("HTTP/1.1 4"), "{request}: {rest}");
                    }
                }
            })
            .await;
        for (line, status) in [
            (format!("GET http://{own}/healthz"), 200),
            ("GET http://evil.example/healthz".to_owned(), 200),
            (format!("GET HTTP://{own}/healthz"), 200),
            (format!("GET http://{own}"), 200),
            (format!("GET ftp://{own}/healthz"), 200),
            (format!("GET http://{own}/socket.io/?EIO=4&transport=polling"), 200),
            ("CONNECT parlor:443".to_owned(), 404),
            ("CONNECT 127.0.0.1:22".to_owned(), 404),
            ("GET parlor:443".to_owned(), 404),
            ("GET parlor".to_owned(), 404),
            ("OPTIONS *".to_owned(), 200),
        ] {
            let answers =
                answers(server, format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                    .await;
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert!(statuses == [status] || statuses == [400], "{line}: {statuses:?}");
        }
        // A line may end with a bare LF: the bytes are read as one request.
        let bare = answers(server, "GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n").await;
        assert!(bare.len() == 1 && [200, 400].contains(&bare[0].status), "{bare:?}");
        // Pipelined requests are answered in order, each once.
        let many = answers(
            server,
            format!("{}{GET}Connection: close\r\n\r\n", format!("{GET}\r\n").repeat(200)),
        )
        .await;
        assert_eq!(many.len(), 201);
    });
}
