//! The lifetime of a token and of its connection.

use serde_json::json;

use super::{assert_admitted, assert_admitted_and_close, close, ended, issuer, server, watcher};
use crate::support::protocol_peer::Protocol;
use crate::support::tokens::{Entered, enter, next_reply, seconds_from_now, send_text};

/// Tolerated difference between clocks at the handshake, in seconds.
const LEEWAY: f64 = 30.0;

/// Lifetime of tokens that expire during a test, and the maximum delay of the end on a busy
/// machine, in seconds.
const SOON: f64 = 2.0;
const LATE: f64 = 1.5;

pub(super) async fn clocks_may_differ_by_half_a_minute_at_the_handshake(protocol: Protocol) {
    let server = server();
    for (what, claims) in [
        ("just expired", json!({ "exp": seconds_from_now(-LEEWAY + 10.0) })),
        (
            "good in a moment",
            json!({ "nbf": seconds_from_now(20.0), "iat": seconds_from_now(20.0) }),
        ),
        (
            "with times that have fractions",
            json!({ "exp": seconds_from_now(60.25), "iat": seconds_from_now(-1.75) }),
        ),
    ] {
        assert_admitted_and_close(&server, protocol, what, &issuer().token("ann", &claims)).await;
    }
    server.finish().await;
}

pub(super) async fn connection_ends_when_its_token_expires(protocol: Protocol) {
    let (issuer, server) = (issuer(), server());
    let mut watcher = watcher(&server, &issuer).await;
    let end = seconds_from_now(SOON);
    let mut entered = assert_admitted(
        &server,
        protocol,
        "a valid token",
        &issuer.token("ann", &json!({ "exp": end })),
    )
    .await;
    assert!(next_reply(&mut watcher.socket).await.contains("user-joined"));
    let last = next_reply(&mut entered.socket).await;
    // Exactly at the expiry, without tolerance.
    let late = seconds_from_now(0.0) - end;
    assert!((0.0..LATE).contains(&late), "{protocol:?}: {late} s after its end");
    match protocol {
        Protocol::SocketIo => {
            assert_eq!(
                last,
                r#"42["error",{"code":"UNAUTHORIZED","message":"the token has expired"}]"#
            );
            assert_eq!(next_reply(&mut entered.socket).await, "close 1008 closed by the server");
        }
        Protocol::Envelope => {
            assert!(last.contains(r#"{"type":"error","payload":{"code":"UNAUTHORIZED""#), "{last}");
            assert_eq!(next_reply(&mut entered.socket).await, "close 1008 UNAUTHORIZED");
        }
        Protocol::Topic | Protocol::Session => assert_eq!(last, "close 1008 UNAUTHORIZED"),
    }
    drop(entered);
    let left = next_reply(&mut watcher.socket).await;
    assert!(left.contains("user-left") && left.contains(r#""reason":"kicked""#), "{left}");
    close(watcher).await;
    server.finish().await;
}

/// The token has expired by the clock of the server: a client that the tolerance admits is closed
/// when the tolerance ends.
pub(super) async fn clock_tolerance_is_limited(protocol: Protocol) {
    let server = server();
    let end = seconds_from_now(SOON);
    let token = issuer().token("ann", &json!({ "exp": end - LEEWAY }));
    let mut entered =
        assert_admitted(&server, protocol, "a token that has just expired", &token).await;
    ended(&mut entered).await.expect("a last message");
    let late = seconds_from_now(0.0) - end;
    assert!((0.0..LATE).contains(&late), "{protocol:?}: {late} s after its end");
    server.finish().await;
}

/// Renews the token, on the protocols that support it, and returns the reply.
async fn renew(protocol: Protocol, entered: &mut Entered, token: &str) -> String {
    let message = match protocol {
        Protocol::SocketIo => format!("421{}", json!(["auth", { "token": token }])),
        _ => json!({ "type": "auth:request", "payload": { "token": token } }).to_string(),
    };
    send_text(&mut entered.socket, message).await;
    next_reply(&mut entered.socket).await
}

pub(super) async fn newer_token_of_the_same_subject_keeps_the_connection_open(protocol: Protocol) {
    let (issuer, server) = (issuer(), server());
    let token = issuer.token("ann", &json!({ "exp": seconds_from_now(SOON) }));
    let mut stays = assert_admitted(&server, protocol, "a valid token", &token).await;
    let mut goes = enter(&server, protocol, "s", Some(&token), json!({})).await.ok().unwrap();
    let renewed =
        renew(protocol, &mut stays, &issuer.token("ann", &json!({ "rooms": ["r", "t"] }))).await;
    assert!(renewed.contains(r#""success":true"#), "{renewed}");
    ended(&mut goes).await;

    // The session with the older token has ended. The other one, with the newer token, is still in
    // the room.
    let message = |room: &str| match protocol {
        Protocol::SocketIo => format!("422{}", json!(["join-room", { "roomId": room }])),
        _ => json!({ "type": "room:join", "payload": { "roomId": room } }).to_string(),
    };
    send_text(&mut stays.socket, message("s")).await;
    let refused = next_reply(&mut stays.socket).await;
    assert!(
        refused.contains("FORBIDDEN") && refused.contains("the token does not allow this room"),
        "{refused}"
    );
    send_text(&mut stays.socket, message("t")).await;
    let joined = next_reply(&mut stays.socket).await;
    assert!(joined.contains("room-users") || joined.contains("room:state"), "{joined}");
    close(stays).await;
    server.finish().await;
}

pub(super) async fn token_of_another_subject_cannot_renew(protocol: Protocol) {
    let (issuer, server) = (issuer(), server());
    let end = seconds_from_now(SOON);
    let mut entered = assert_admitted(
        &server,
        protocol,
        "a valid token",
        &issuer.token("ann", &json!({ "exp": end })),
    )
    .await;
    let refused = renew(protocol, &mut entered, &issuer.token("bob", &json!({}))).await;
    assert!(
        refused.contains("FORBIDDEN") && refused.contains("the token is for another user"),
        "{refused}"
    );
    let refused = renew(protocol, &mut entered, "x").await;
    assert!(
        refused.contains("UNAUTHORIZED") && refused.contains("a valid token is required"),
        "{refused}"
    );
    ended(&mut entered).await.expect("a last message");
    let late = seconds_from_now(0.0) - end;
    assert!((0.0..LATE).contains(&late), "{protocol:?}: {late} s after its end");
    server.finish().await;
}
