//! REST, CORS and origins.

use parlor::id::RoomId;
use parlor_testing::connection::{Connection, Route};
use parlor_testing::transport::Options;
use reqwest::{Client as Http, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::raw::Raw;
use crate::support::resuming_client::{CLIENT_KINDS, ResumingClient};
use crate::support::scrape::Scrape;
use crate::support::{Client, TestServer};

async fn body(response: reqwest::Response) -> Value {
    response.json().await.unwrap()
}

#[tokio::test]
async fn health_has_current_counts() {
    let server = TestServer::start();
    let http = Http::new();
    let ann = Client::joined(&server, "r", "ann").await;
    let health = body(http.get(server.url("/health")).send().await.unwrap()).await;
    assert_eq!(
        (&health["status"], &health["rooms"], &health["participants"], &health["connections"]),
        (&json!("ok"), &json!(1), &json!(1), &json!(1))
    );
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptimeSeconds"].is_u64());
    let timestamp = health["timestamp"].as_str().unwrap();
    assert!(
        timestamp.len() == 24 && timestamp.ends_with('Z'),
        "ISO 8601 in milliseconds: {timestamp}"
    );
    let probe = http.get(server.url("/healthz")).send().await.unwrap();
    assert_eq!(probe.text().await.unwrap(), "ok");
    ann.close().await;
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn both_versions_of_ip_are_served() {
    let server = TestServer::with(&["--host=::"]);
    let port = server.address().port();
    for host in ["127.0.0.1", "[::1]"] {
        let answer = reqwest::get(format!("http://{host}:{port}/healthz")).await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "ok", "{host}");
    }
    server.finish().await;
}

#[tokio::test]
async fn rooms_are_created_shown_listed_and_closed() {
    let server = TestServer::start();
    let http = Http::new();
    let rooms = server.url("/api/rooms");
    let made = http.post(&rooms).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    let made = body(made).await;
    let id = made["roomId"].as_str().unwrap();
    assert_eq!((id.len(), &made["id"], &made["capacity"]), (36, &json!(id), &json!(50)));
    assert_eq!(location, format!("/api/rooms/{id}"));
    let shown = body(http.get(server.url(&location)).send().await.unwrap()).await;
    assert_eq!(shown["participants"], json!([]));

    // An id that must be percent-encoded in a path.
    let made =
        http.post(&rooms).body(r#"{"roomId":"Räume/1 & 2","capacity":2.0}"#).send().await.unwrap();
    let location = server.url(made.headers()["location"].to_str().unwrap());
    assert_eq!(body(http.get(&location).send().await.unwrap()).await["id"], "Räume/1 & 2");
    let again = http.post(&rooms).json(&json!({ "roomId": "Räume/1 & 2" })).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);
    assert_eq!(body(again).await["code"], "ROOM_EXISTS");

    let mut ann = Client::joined(&server, "Räume/1 & 2", "ann").await;
    ann.next_event("room-users").await;
    let shown = body(http.get(&location).send().await.unwrap()).await;
    assert_eq!((&shown["participants"], &shown["participantCount"]), (&json!(["ann"]), &json!(1)));

    let page = http.get(format!("{rooms}?limit=1")).send().await.unwrap();
    assert_eq!(page.headers()["x-total-count"], "2");
    let page = body(page).await;
    assert_eq!(
        (page.as_array().unwrap().len(), &page[0]["id"]),
        (1, &json!("Räume/1 & 2")),
        "newest first"
    );
    let next =
        body(http.get(&rooms).query(&[("after", "Räume/1 & 2")]).send().await.unwrap()).await;
    assert_eq!((next.as_array().unwrap().len(), &next[0]["id"]), (1, &json!(id)));

    assert_eq!(http.delete(&location).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(ann.next_event("error").await[0]["code"], "ROOM_CLOSED");
    assert_eq!(http.delete(&location).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(body(http.get(&location).send().await.unwrap()).await["code"], "ROOM_NOT_FOUND");
    assert_eq!(
        http.delete(format!("{rooms}/{id}")).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    ann.close().await;
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn operator_removes_a_peer() {
    let server = TestServer::start();
    let http = Http::new();
    let mut ann = Client::joined(&server, "r/1", "ann").await;
    ann.next_event("room-users").await;
    for kind in CLIENT_KINDS {
        let mut bob = ResumingClient::connect(&server, kind, None, None).await.unwrap();
        bob.join("r/1", "Bob 2").await;
        ann.next_event("user-joined").await;
        let path = server.url("/api/rooms/r%2F1/participants/Bob%202");
        assert_eq!(http.delete(&path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
        let error = bob.next().await;
        assert!(error.contains("KICKED") && error.contains("r/1"), "{error}");
        let left = ann.next_event("user-left").await;
        assert_eq!((&left[0]["userId"], &left[0]["reason"]), (&json!("Bob 2"), &json!("kicked")));
        let again = http.delete(&path).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_FOUND);
        assert_eq!(body(again).await["code"], "TARGET_NOT_FOUND");
        // The peer may join again.
        assert_eq!(bob.join("r/1", "Bob 2").await, ["ann"]);
        bob.close().await;
        ann.next_event("user-joined").await;
        ann.next_event("user-left").await;
    }
    for (path, status, code) in [
        ("/api/rooms/none/participants/ann", StatusCode::NOT_FOUND, "TARGET_NOT_FOUND"),
        ("/api/rooms/none/participants/%20", StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        ("/api/rooms/%20/participants/ann", StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
    ] {
        let refused = http.delete(server.url(path)).send().await.unwrap();
        assert_eq!(
            (refused.status(), body(refused).await["code"].as_str()),
            (status, Some(code)),
            "{path}"
        );
    }
    ann.close().await;
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn removed_peer_of_a_protocol_with_one_room_is_disconnected() {
    let server = TestServer::start();
    let http = Http::new();
    for route in [Route::Topic, Route::Session] {
        let joining = Connection::join(server.address(), route, "r", "bob", Options::default());
        let (mut bob, _) = joining.await.unwrap();
        let room = RoomId::new("r").unwrap();
        server.until("it is in", |_| server.hub().rooms().size(&room) == 1).await;
        let peer = server.hub().rooms().peers(&room)[0].id.clone();
        let path = server.url(&format!("/api/rooms/r/participants/{peer}"));
        assert_eq!(http.delete(&path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
        let code = loop {
            if let Err(code) = bob.transport.next().await {
                break code;
            }
        };
        assert_eq!(code, 1008, "{route:?}");
    }
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn next_page_is_linked_and_its_cursor_outlives_the_room() {
    let server = TestServer::start();
    let http = Http::new();
    for id in ["a", "b", "c"] {
        http.post(server.url("/api/rooms")).json(&json!({ "roomId": id })).send().await.unwrap();
    }
    let page = async |path: &str| {
        let page = http.get(server.url(path)).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        let link = page.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let next = link.map(|link| {
            link.strip_prefix('<')
                .and_then(|link| link.strip_suffix(r#">; rel="next""#))
                .expect("one link")
                .to_owned()
        });
        (body(page).await, next)
    };
    let (first, next) = page("/api/rooms?limit=1").await;
    assert_eq!(first[0]["id"], "c");
    let (second, next) = page(&next.expect("there are more")).await;
    assert_eq!(second[0]["id"], "b");
    http.delete(server.url("/api/rooms/b")).send().await.unwrap();
    let (third, last) = page(&next.expect("there are more")).await;
    assert_eq!((third.as_array().unwrap().len(), &third[0]["id"], last), (1, &json!("a"), None));
    // The id of a closed room is not a cursor.
    assert_eq!(http.get(server.url("/api/rooms?after=b")).send().await.unwrap().status(), 404);
    assert_eq!(page("/api/rooms?after=c").await.0[0]["id"], "a");
    for id in ["a", "c"] {
        http.delete(server.url(&format!("/api/rooms/{id}"))).send().await.unwrap();
    }
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn malformed_chunk_is_a_bad_request_and_no_timeout() {
    let server = TestServer::start();
    for chunks in ["-1\r\n{}\r\n", "zz\r\n{}\r\n0\r\n\r\n", "2\r\n{}xx0\r\n\r\n"] {
        let head = "POST /api/rooms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut raw = Raw::sending(server.address(), format!("{head}{chunks}")).await;
        let response = raw.response().await.expect("an answer");
        assert_eq!(response.status, 400, "{chunks:?}");
        assert!(response.text().contains("INVALID_MESSAGE"), "{response:?}");
    }
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_limits_hit_total{limit="handshake_time"}"#), 0);
    server.finish().await;
}

#[tokio::test]
async fn errors_are_json() {
    let server = TestServer::start();
    let http = Http::new();
    let large = "x".repeat(70_000);
    for (method, path, sent, status, code) in [
        (Method::GET, "/nowhere", "", 404, "NOT_FOUND"),
        (Method::POST, "/nowhere", "", 404, "NOT_FOUND"),
        (Method::GET, "/api", "", 404, "NOT_FOUND"),
        (Method::GET, "/api/rooms/a/b", "", 404, "NOT_FOUND"),
        (Method::GET, "/../Cargo.toml", "", 404, "NOT_FOUND"),
        (Method::GET, "/socket.io/..%2f..%2fpackage.json", "", 404, "NOT_FOUND"),
        (Method::GET, "/node_modules/socket.io-client/package.json", "", 404, "NOT_FOUND"),
        (Method::GET, "/package.json", "", 404, "NOT_FOUND"),
        (Method::GET, "/.gitignore", "", 404, "NOT_FOUND"),
        (Method::PUT, "/health", "", 405, "METHOD_NOT_ALLOWED"),
        (Method::PATCH, "/api/rooms", "", 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/api/rooms/%20", "", 400, "INVALID_MESSAGE"),
        (Method::GET, "/api/rooms/a%00", "", 400, "INVALID_MESSAGE"),
        (Method::GET, "/api/rooms?limit=0", "", 400, "INVALID_MESSAGE"),
        (Method::GET, "/api/rooms?limit=-1", "", 400, "INVALID_MESSAGE"),
        (Method::GET, "/api/rooms?limit=many", "", 400, "INVALID_MESSAGE"),
        (Method::GET, "/api/rooms?after=nowhere", "", 404, "ROOM_NOT_FOUND"),
        (Method::POST, "/api/rooms", "{", 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", "[]", 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", "[null,null]", 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", r#"{"capacity":2.5}"#, 400, "INVALID_MESSAGE"),
        (Method::GET, "/api/rooms/%FF", "", 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", r#"{"capacity":0}"#, 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", r#"{"capacity":51}"#, 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", r#"{"capacity":"2"}"#, 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", r#"{"roomId":""}"#, 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", r#"{"roomId":[]}"#, 400, "INVALID_MESSAGE"),
        (Method::POST, "/api/rooms", &large, 413, "PAYLOAD_TOO_LARGE"),
    ] {
        let case = format!("{method} {path} {sent:.40}");
        let answer =
            http.request(method, server.url(path)).body(sent.to_owned()).send().await.unwrap();
        assert_eq!(answer.status(), status, "{case}");
        assert!(status != 405 || answer.headers().contains_key("allow"), "{case}");
        let error = body(answer).await;
        assert_eq!(error["code"], code, "{case}");
        assert!(error["error"].is_string(), "{case}");
    }
    assert_eq!(server.held().rooms, 0);
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn rooms_need_the_api_token() {
    let server = TestServer::with(&["--api-token=correct horse"]);
    let http = Http::new();
    for authorization in [
        "",
        "Bearer ",
        "Bearer wrong",
        "Bearer correct hors",
        "Basic correct horse",
        "correct horse",
    ] {
        let answer = http
            .get(server.url("/api/rooms"))
            .header("authorization", authorization)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{authorization}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(body(answer).await["code"], "UNAUTHORIZED");
    }
    let answer =
        http.get(server.url("/api/rooms")).bearer_auth("correct horse").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(http.get(server.url("/health")).send().await.unwrap().status(), StatusCode::OK);
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn in_production_rooms_are_not_changed_without_a_token() {
    let server = TestServer::with(&["--node-env=production"]);
    let http = Http::new();
    assert_eq!(http.get(server.url("/api/rooms")).send().await.unwrap().status(), StatusCode::OK);
    for answer in [
        http.post(server.url("/api/rooms")).send().await,
        http.delete(server.url("/api/rooms/r")).send().await,
    ] {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(body(answer).await["code"], "FORBIDDEN");
    }
    let page = http.get(server.url("/")).send().await.unwrap();
    assert!(!page.text().await.unwrap().contains("app.js"), "no demo in production");
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn pages_of_allowed_origins_may_connect() {
    const POLL: &str = "/socket.io/?EIO=4&transport=polling";
    let server = TestServer::with(&[
        "--client-url=https://app.example.com,http://localhost:3000",
        "--handshake-timeout-seconds=1",
    ]);
    let http = Http::new();
    let own = format!("http://{}", server.address());
    for origin in ["https://app.example.com", "http://localhost:3000", &own] {
        for path in ["/health", "/api/rooms", POLL] {
            let answer = http.get(server.url(path)).header("origin", origin).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{origin} {path}");
            let headers = answer.headers();
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(headers["access-control-allow-credentials"], "true");
            assert!(headers["vary"].to_str().unwrap().eq_ignore_ascii_case("origin"));
        }
    }
    for origin in [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "null",
        "https://APP.example.com:444",
    ] {
        let answer = http.get(server.url("/health")).header("origin", origin).send().await.unwrap();
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{origin}");
        let answer = http.get(server.url(POLL)).header("origin", origin).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
        assert_eq!(body(answer).await["code"], "FORBIDDEN");
        assert_eq!(websocket_status(&server, origin).await, 403);
    }
    assert_eq!(websocket_status(&server, "https://app.example.com").await, 101);
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn preflight_is_answered() {
    let server = TestServer::with(&["--client-url=https://app.example.com"]);
    let http = Http::new();
    for path in ["/api/rooms", "/socket.io/?EIO=4&transport=polling"] {
        let ask = |origin: &'static str| {
            let request = http.request(Method::OPTIONS, server.url(path)).header("origin", origin);
            request
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,x-mine")
        };
        let answer = ask("https://app.example.com").send().await.unwrap();
        assert!(answer.status().is_success(), "{path}");
        let headers = answer.headers();
        assert_eq!(headers["access-control-allow-origin"], "https://app.example.com");
        assert_eq!(headers["access-control-allow-methods"], "POST");
        assert_eq!(headers["access-control-allow-headers"], "authorization,x-mine");
        let answer = ask("https://evil.example").send().await.unwrap();
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{path}");
    }
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn every_origin_is_reflected_where_all_are_allowed() {
    let server = TestServer::with(&["--client-url=*"]);
    let http = Http::new();
    let answer = http
        .get(server.url("/health"))
        .header("origin", "https://any.example")
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://any.example",
        "never * beside credentials"
    );
    assert_eq!(websocket_status(&server, "https://any.example").await, 101);
    drop(http);
    server.finish().await;
}

/// Returns the status of a WebSocket handshake from a page of this origin.
async fn websocket_status(server: &TestServer, origin: &str) -> u16 {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("origin", origin.parse().unwrap());
    match tokio_tungstenite::connect_async(request).await {
        Ok((_, answer)) => answer.status().as_u16(),
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}
