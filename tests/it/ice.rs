//! ICE servers: where they are sent, and to which clients.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::protocol_peer::{PROTOCOLS, Protocol};
use crate::support::tokens::{Issuer, SECRET, enter, next_reply, seconds_from_now, send_text};

const FIXED: &str = r#"[{"urls":"stun:stun.example.com:3478","note":1.50}]"#;
const TURN_SECRET: &str = "shared with the turn server";
const URLS: [&str; 2] = ["turn:turn.example.com:3478?transport=udp", "turns:turn.example.com:5349"];

fn flags() -> [String; 4] {
    [
        format!("--ice-servers={FIXED}"),
        format!("--turn-urls={}", URLS.join(",")),
        format!("--turn-secret={TURN_SECRET}"),
        "--turn-ttl-seconds=600".to_owned(),
    ]
}

fn server(more: &[&str]) -> TestServer {
    let flags = flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    TestServer::with(&flags)
}

/// Asserts that the list matches the settings and that its credential is that of a peer, as a TURN
/// server verifies it.
fn is_for(list: &Value, peer: &str) {
    assert_eq!(list[0], serde_json::from_str::<Value>(FIXED).unwrap()[0]);
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    let turn = &list[1];
    assert_eq!(turn["urls"], json!(URLS));
    let user_name = turn["username"].as_str().unwrap();
    let (expiry, name) = user_name.split_once(':').unwrap();
    assert_eq!(name, peer);
    let left = expiry.parse::<f64>().unwrap() - seconds_from_now(0.0);
    assert!((590.0..=600.0).contains(&left), "{left}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TURN_SECRET.as_bytes());
    let credential = STANDARD.decode(turn["credential"].as_str().unwrap()).unwrap();
    hmac::verify(&key, user_name.as_bytes(), &credential)
        .expect("the credential is that of the user name");
}

#[tokio::test]
async fn join_reply_has_ice_servers_on_every_protocol_with_one() {
    let server = server(&[]);
    for protocol in PROTOCOLS {
        let mut entered = enter(&server, protocol, "r", None, json!({ "userId": "ann" }))
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        let answer = &entered.answer;
        match protocol {
            Protocol::SocketIo => {
                is_for(&answer["ack"]["iceServers"], "ann");
                is_for(&answer["own"]["iceServers"], "ann");
            }
            Protocol::Envelope => {
                is_for(&answer["state"]["iceServers"], "ann");
                send_text(&mut entered.socket, r#"{"type":"room:state","payload":{"roomId":"r"}}"#)
                    .await;
                let state: Value =
                    serde_json::from_str(&next_reply(&mut entered.socket).await).unwrap();
                assert!(
                    state["payload"]["iceServers"].is_null(),
                    "only the joining peer gets ICE servers: {state}"
                );
            }
            Protocol::Topic => is_for(&answer["iceServers"], answer["selfId"].as_str().unwrap()),
            Protocol::Session => {}
        }
        entered.socket.close(None).await.ok();
        while next_reply(&mut entered.socket).await != "end" {}
    }
    server.finish().await;
}

#[tokio::test]
async fn other_replies_have_no_ice_servers() {
    let server = server(&[]);
    let mut first = enter(&server, Protocol::SocketIo, "r", None, json!({})).await.ok().unwrap();
    let second = enter(&server, Protocol::SocketIo, "r", None, json!({})).await.ok().unwrap();
    let joined = next_reply(&mut first.socket).await;
    assert!(joined.contains("user-joined") && !joined.contains("iceServers"), "{joined}");
    drop((first, second));
    server.finish().await;

    let server = TestServer::start();
    for protocol in PROTOCOLS {
        let entered = enter(&server, protocol, "r", None, json!({})).await.ok().unwrap();
        assert!(
            !entered.answer.to_string().contains("iceServers"),
            "{protocol:?}: {}",
            entered.answer
        );
    }
    let answer: Value =
        reqwest::get(server.url("/api/ice-servers")).await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "iceServers": [] }));
    server.finish().await;
}

async fn get(server: &TestServer, query: &str, bearer: Option<&str>) -> (u16, Value) {
    let request = reqwest::Client::new().get(server.url(&format!("/api/ice-servers{query}")));
    let request = if let Some(token) = bearer { request.bearer_auth(token) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn rest_returns_ice_servers_to_allowed_clients() {
    let issuer = Issuer::secret(SECRET);
    let token = issuer.token("ann", &json!({}));
    // With the token of a connection, if tokens are required: the operator's token is not valid.
    let server_with_tokens = server(&[&issuer.flag(), "--api-token=operator"]);
    for (query, bearer) in
        [(format!("?token={token}"), None), (String::new(), Some(token.as_str()))]
    {
        let (status, body) = get(&server_with_tokens, &query, bearer).await;
        assert_eq!(status, 200);
        is_for(&body["iceServers"], "ann");
    }
    for bearer in [None, Some("operator"), Some("x")] {
        let (status, body) = get(&server_with_tokens, "", bearer).await;
        assert_eq!((status, &body["code"]), (401, &json!("UNAUTHORIZED")));
    }
    server_with_tokens.finish().await;

    let server_with_api_token = server(&["--api-token=operator"]);
    assert_eq!(get(&server_with_api_token, "", None).await.0, 401);
    assert_eq!(get(&server_with_api_token, "", Some("operator")).await.0, 200);
    server_with_api_token.finish().await;

    let open = server(&[]);
    let (status, body) = get(&open, "", None).await;
    assert_eq!(status, 200);
    // Clients do not choose the name: each request gets its own credential.
    let user_name = |body: &Value| body["iceServers"][1]["username"].as_str().unwrap().to_owned();
    assert_ne!(user_name(&body), user_name(&get(&open, "", None).await.1));
    open.finish().await;
}
