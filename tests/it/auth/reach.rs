//! The identity and the rooms that a token grants.

use serde_json::{Value, json};

use super::{close, issuer, server, watcher};
use crate::support::TestServer;
use crate::support::protocol_peer::Protocol;
use crate::support::tokens::{enter, next_reply};

pub(super) async fn token_grants_only_its_rooms(protocol: Protocol) {
    let (issuer, server) = (issuer(), server());
    for (claims, is_allowed) in [
        (json!({}), true),
        (json!({ "room": "r" }), true),
        (json!({ "room": "R" }), false),
        (json!({ "room": "another" }), false),
        (json!({ "rooms": ["a", "r"] }), true),
        (json!({ "rooms": ["a", "b"] }), false),
        (json!({ "rooms": [] }), false),
        (json!({ "rooms": "*" }), true),
        (json!({ "rooms": ["*"] }), true),
        (json!({ "room": "a", "rooms": ["r"] }), true),
    ] {
        let token = issuer.token("ann", &claims);
        match enter(&server, protocol, "r", Some(&token), json!({})).await {
            Ok(entered) => {
                assert!(is_allowed, "{protocol:?}: admitted with {claims}");
                close(entered).await;
            }
            Err(refusal) => {
                assert!(!is_allowed, "{protocol:?}: refused by {claims}: {refusal}");
                assert_eq!(refusal.code(), "FORBIDDEN", "{protocol:?}: {refusal}");
            }
        }
    }
    server.finish().await;
}

pub(super) async fn peer_id_is_the_subject_of_the_token(protocol: Protocol) {
    let (issuer, server) = (issuer(), server());
    let token = issuer.token("ann", &json!({}));
    let refusal = enter(&server, protocol, "r", Some(&token), json!({ "userId": "bob" }))
        .await
        .err()
        .unwrap();
    assert_eq!(refusal.code(), "FORBIDDEN", "{refusal}");
    assert!(refusal.reply.contains("the token is for another user"), "{refusal}");
    for profile in [json!({}), json!({ "userId": "ann" })] {
        let entered = enter(&server, protocol, "r", Some(&token), profile).await.ok().unwrap();
        let own = match protocol {
            Protocol::SocketIo => &entered.answer["ack"]["userId"],
            _ => &entered.answer["state"]["participants"][0]["userId"],
        };
        assert_eq!(own, "ann");
        close(entered).await;
    }
    server.finish().await;
}

/// The claims of a token override what the client sends, and reach peers on other protocols as
/// well.
pub(super) async fn peers_see_the_claims_of_the_token(protocol: Protocol) {
    let (issuer, server) = (issuer(), server());
    let mut watcher = watcher(&server, &issuer).await;
    let claims = json!({ "name": "Ann \"A\" Arbor", "metadata": { "role": "host", "team": 7, "name": "no" } });
    let metadata = json!({
        "name": "Mallory", "displayName": "Mallory", "role": "guest", "team": 8, "sub": "bob", "mood": "good",
    });
    let entered = enter(&server, protocol, "r", Some(&issuer.token("ann", &claims)), metadata)
        .await
        .ok()
        .unwrap();
    let joined = next_reply(&mut watcher.socket).await;
    let joined: Value = serde_json::from_str(joined.strip_prefix("42").unwrap()).unwrap();
    let peer = &joined[1];
    for (key, value) in [
        ("name", json!("Ann \"A\" Arbor")),
        ("displayName", json!("Ann \"A\" Arbor")),
        ("role", json!("host")),
        ("team", json!(7)),
        ("mood", json!("good")),
        // On protocols whose ids the server chooses, the subject is sent separately.
        ("sub", if protocol == Protocol::Topic { json!("ann") } else { Value::Null }),
    ] {
        assert_eq!(peer[key], value, "{protocol:?}: {peer}");
    }
    assert_eq!(peer["userId"] == "ann", protocol != Protocol::Topic, "{peer}");
    close(entered).await;
    close(watcher).await;
    server.finish().await;
}

pub(super) async fn token_limits_the_size_of_a_room_that_it_creates(protocol: Protocol) {
    let issuer = issuer();
    let server = TestServer::with(&[&issuer.flag(), "--max-room-size=5"]);
    let enter = async |sub: &str, room: &str, capacity: u32| {
        let token = issuer.token(sub, &json!({ "capacity": capacity }));
        enter(&server, protocol, room, Some(&token), json!({})).await
    };
    let capacity = async |room: &str| {
        let url = server.url(&format!("/api/rooms/{room}"));
        reqwest::get(url).await.unwrap().json::<Value>().await.unwrap()["capacity"].clone()
    };
    let first = enter("ann", "r", 1).await.unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(capacity("r").await, 1);
    // The token of a later peer does not change the capacity.
    let refusal = enter("bob", "r", 4).await.err().unwrap();
    assert_eq!(refusal.code(), "ROOM_FULL", "{refusal}");
    // At most the capacity of the server, and a pair session has two peers.
    let large = enter("cid", "s", 6).await.unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(capacity("s").await, if protocol == Protocol::Session { 2 } else { 5 });
    for entered in [first, large] {
        close(entered).await;
    }
    server.finish().await;
}
