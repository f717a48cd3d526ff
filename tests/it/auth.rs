//! Tokens: which clients are admitted, with which identity, to which rooms, and until when. One
//! suite for all protocols; the peculiarities of single protocols are in [`particular`].

mod entry;
mod particular;
mod reach;
mod time;

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::protocol_peer::{PROTOCOLS, Protocol};
use crate::support::suite::suite;
use crate::support::tokens::{Entered, Issuer, SECRET, enter, next_reply};

suite! {
    Protocol::PROTOCOLS;

    entry::valid_token_is_required on SocketIo Envelope Topic Session;
    entry::forged_token_is_refused on SocketIo Envelope Topic Session;
    entry::token_without_an_algorithm_is_refused on SocketIo Envelope Topic Session;
    entry::key_determines_the_signature_algorithm on SocketIo Envelope Topic Session;
    entry::expired_token_is_refused on SocketIo Envelope Topic Session;
    entry::token_before_its_nbf_is_refused on SocketIo Envelope Topic Session;
    entry::token_without_sub_or_exp_is_refused on SocketIo Envelope Topic Session;
    entry::token_with_invalid_claims_is_refused on SocketIo Envelope Topic Session;
    entry::token_of_another_issuer_or_audience_is_refused on SocketIo Envelope Topic Session;
    entry::any_token_is_accepted_if_none_is_required on SocketIo Envelope Topic Session;

    reach::token_grants_only_its_rooms on SocketIo Envelope Topic Session;
    reach::peer_id_is_the_subject_of_the_token on SocketIo Envelope,
        not Topic Session: "clients have no names";
    reach::peers_see_the_claims_of_the_token on SocketIo Envelope Topic,
        not Session: "peers are anonymous";
    reach::token_limits_the_size_of_a_room_that_it_creates on SocketIo Envelope Topic Session;

    time::clocks_may_differ_by_half_a_minute_at_the_handshake on SocketIo Envelope Topic Session;
    time::connection_ends_when_its_token_expires on SocketIo Envelope Topic Session;
    time::clock_tolerance_is_limited on SocketIo Envelope Topic Session;
    time::newer_token_of_the_same_subject_keeps_the_connection_open on SocketIo Envelope,
        not Topic Session: "a token comes with the handshake alone";
    time::token_of_another_subject_cannot_renew on SocketIo Envelope,
        not Topic Session: "a token comes with the handshake alone";
}

fn issuer() -> Issuer {
    Issuer::secret(SECRET)
}

fn server() -> TestServer {
    TestServer::with(&[&issuer().flag()])
}

/// Asserts that a client with this token is admitted to the room `r`; returns its connection.
async fn assert_admitted(
    server: &TestServer,
    protocol: Protocol,
    what: &str,
    token: &str,
) -> Entered {
    let entered = enter(server, protocol, "r", Some(token), json!({})).await;
    entered.unwrap_or_else(|refusal| panic!("{protocol:?}: {what} is refused: {refusal}"))
}

/// Admits a Socket.IO client to the room `r`, which sees what others are notified of.
async fn watcher(server: &TestServer, issuer: &Issuer) -> Entered {
    let token = issuer.token("watcher", &json!({}));
    assert_admitted(server, Protocol::SocketIo, "a watcher", &token).await
}

/// Asserts that a client with this token is admitted, and closes it.
async fn assert_admitted_and_close(
    server: &TestServer,
    protocol: Protocol,
    what: &str,
    token: &str,
) {
    close(assert_admitted(server, protocol, what, token).await).await;
}

/// Asserts that a client is refused with the same reply, whatever the error of its token.
async fn assert_refused(server: &TestServer, protocol: Protocol, what: &str, token: Option<&str>) {
    let refusal = enter(server, protocol, "r", token, json!({})).await.err();
    let refusal = refusal.unwrap_or_else(|| panic!("{protocol:?}: {what} was admitted"));
    let reply = if protocol == Protocol::SocketIo {
        refusal.reply.strip_prefix("44")
    } else {
        Some(&*refusal.reply)
    };
    let reply: Value = serde_json::from_str(reply.expect("connect_error")).unwrap();
    let (status, expected) = match protocol {
        Protocol::SocketIo => {
            (None, json!({ "message": "UNAUTHORIZED: a valid token is required" }))
        }
        Protocol::Envelope => {
            let error = json!({ "code": "UNAUTHORIZED", "message": "a valid token is required" });
            let payload = json!({ "success": false, "error": error });
            let stamp = &reply["timestamp"];
            (
                None,
                json!({ "type": "auth:response", "timestamp": stamp, "sequence": 2, "payload": payload }),
            )
        }
        Protocol::Topic | Protocol::Session => {
            (Some(401), json!({ "error": "a valid token is required", "code": "UNAUTHORIZED" }))
        }
    };
    assert_eq!((refusal.status, reply), (status, expected), "{protocol:?}: {what}");
}

async fn close(entered: Entered) {
    let mut socket = entered.socket;
    socket.close(None).await.ok();
    while next_reply(&mut socket).await != "end" {}
}

/// Waits until the server has ended a connection, and returns the last message.
async fn ended(entered: &mut Entered) -> Option<String> {
    let mut last = None;
    loop {
        match next_reply(&mut entered.socket).await {
            end if end == "end" => return last,
            reply => last = Some(reply),
        }
    }
}
