//! Tokens: who is let in, as whom, where, and until when. One suite of cases over all wires; what one wire alone has is
//! in [`particular`].

mod entry;
mod particular;
mod reach;
mod time;

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::suite::suite;
use crate::support::tokens::{Entered, Issuer, SECRET, enter, said};
use crate::support::wire::{WIRES, Wire};

suite! {
    Wire::WIRES;

    entry::a_good_token_lets_in_and_none_does_not on SocketIo Envelope Topic Session;
    entry::one_that_is_forged_is_refused on SocketIo Envelope Topic Session;
    entry::one_of_no_algorithm_is_refused on SocketIo Envelope Topic Session;
    entry::a_key_says_what_kind_of_signature_it_is_for on SocketIo Envelope Topic Session;
    entry::one_that_has_expired_is_refused on SocketIo Envelope Topic Session;
    entry::one_whose_time_has_not_come_is_refused on SocketIo Envelope Topic Session;
    entry::one_without_sub_or_exp_is_refused on SocketIo Envelope Topic Session;
    entry::one_that_claims_what_cannot_be_is_refused on SocketIo Envelope Topic Session;
    entry::one_from_or_for_somebody_else_is_refused on SocketIo Envelope Topic Session;
    entry::where_none_are_required_any_is_welcome on SocketIo Envelope Topic Session;

    reach::a_token_is_for_its_rooms_alone on SocketIo Envelope Topic Session;
    reach::a_client_is_the_person_of_its_token on SocketIo Envelope,
        not Topic Session: "clients name nobody";
    reach::peers_are_told_what_the_token_says on SocketIo Envelope Topic,
        not Session: "nobody is spoken of";
    reach::a_token_sets_the_size_of_a_room_that_it_creates on SocketIo Envelope Topic Session;

    time::clocks_may_differ_by_half_a_minute_at_the_door on SocketIo Envelope Topic Session;
    time::a_connection_ends_when_its_token_does on SocketIo Envelope Topic Session;
    time::what_a_clock_was_forgiven_is_all_that_is_left on SocketIo Envelope Topic Session;
    time::a_newer_token_of_the_same_person_keeps_a_connection_open on SocketIo Envelope,
        not Topic Session: "a token comes with the handshake alone";
    time::a_token_of_another_person_renews_nothing on SocketIo Envelope,
        not Topic Session: "a token comes with the handshake alone";
}

fn issuer() -> Issuer {
    Issuer::secret(SECRET)
}

fn server() -> TestServer {
    TestServer::with(&[&issuer().flag()])
}

/// Whoever must be let in, in a room `r`.
async fn lets_in(server: &TestServer, wire: Wire, what: &str, token: &str) -> Entered {
    let entered = enter(server, wire, "r", Some(token), json!({})).await;
    entered.unwrap_or_else(|refusal| panic!("{wire:?}: {what} is refused: {refusal}"))
}

/// Lets one in that then goes.
async fn is_good(server: &TestServer, wire: Wire, what: &str, token: &str) {
    close(lets_in(server, wire, what, token).await).await;
}

/// Who is refused is told nothing but this, whatever is wrong.
async fn is_refused(server: &TestServer, wire: Wire, what: &str, token: Option<&str>) {
    let refusal = enter(server, wire, "r", token, json!({})).await.err();
    let refusal = refusal.unwrap_or_else(|| panic!("{wire:?}: {what} was let in"));
    let said = if wire == Wire::SocketIo { refusal.said.strip_prefix("44") } else { Some(&*refusal.said) };
    let said: Value = serde_json::from_str(said.expect("connect_error")).unwrap();
    let (status, expected) = match wire {
        Wire::SocketIo => (None, json!({ "message": "UNAUTHORIZED: a valid token is required" })),
        Wire::Envelope => {
            let error = json!({ "code": "UNAUTHORIZED", "message": "a valid token is required" });
            let payload = json!({ "success": false, "error": error });
            let stamp = &said["timestamp"];
            (None, json!({ "type": "auth:response", "timestamp": stamp, "sequence": 2, "payload": payload }))
        }
        Wire::Topic | Wire::Session => {
            (Some(401), json!({ "error": "a valid token is required", "code": "UNAUTHORIZED" }))
        }
    };
    assert_eq!((refusal.status, said), (status, expected), "{wire:?}: {what}");
}

async fn close(entered: Entered) {
    let mut socket = entered.socket;
    socket.close(None).await.ok();
    while said(&mut socket).await != "end" {}
}

/// Waits until the server has ended a connection: its last word before that.
async fn ended(entered: &mut Entered) -> Option<String> {
    let mut last = None;
    loop {
        match said(&mut entered.socket).await {
            end if end == "end" => return last,
            said => last = Some(said),
        }
    }
}
