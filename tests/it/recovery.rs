//! Session resumption: a peer whose connection is lost resumes its session, and nothing is lost,
//! repeated or visible to other peers. One suite for all transports; the peculiarities of single
//! transports are in [`particular`].

mod away;
mod particular;
mod resume_tokens;
mod resuming;

use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::resuming_client::{CLIENT_KINDS, ClientKind, ResumingClient};
use crate::support::suite::suite;

suite! {
    ClientKind::CLIENT_KINDS;

    resuming::resumes_after_a_reset on WebSocket Polling Envelope;
    resuming::resumes_after_an_end_without_a_close_frame on WebSocket Polling Envelope;
    resuming::resumes_after_silence on WebSocket Polling Envelope;
    resuming::resumes_repeatedly on WebSocket Polling Envelope;
    resuming::resumes_before_any_message_arrived on WebSocket Polling Envelope;
    resuming::missed_events_are_replayed on WebSocket Polling Envelope;
    resuming::all_rooms_are_resumed on WebSocket Polling Envelope;
    resuming::replay_may_exceed_the_send_queue on WebSocket Polling Envelope;
    resuming::both_peers_may_be_away on WebSocket Polling Envelope;
    resuming::resumes_after_a_drop_during_the_replay on WebSocket Polling Envelope;
    resuming::resumes_after_a_drop_before_the_reply on WebSocket Polling,
        not Envelope: "a token works once: see resume_tokens::used_resume_token_is_refused";
    resuming::resumes_while_the_older_connection_looks_alive on WebSocket Polling Envelope;
    resuming::resumes_over_the_other_transport on WebSocket Polling,
        not Envelope: "there is one transport";

    resume_tokens::unknown_resume_token_is_refused on WebSocket Polling Envelope;
    resume_tokens::used_resume_token_is_refused on Envelope,
        not WebSocket Polling: "a pid stays the same: resuming::resumes_repeatedly";
    resume_tokens::expired_resume_token_is_refused on WebSocket Polling Envelope;
    resume_tokens::resume_token_of_another_subject_is_refused on WebSocket Polling Envelope;
    resume_tokens::resume_token_without_an_access_token_is_refused on WebSocket Polling Envelope;
    resume_tokens::offset_of_another_session_is_refused on WebSocket Polling,
        not Envelope: "a number identifies no session";
    resume_tokens::offset_that_was_never_sent_is_refused on WebSocket Polling Envelope;
    resume_tokens::offset_that_left_the_replay_buffer_is_refused on WebSocket Polling Envelope;
    resume_tokens::offset_from_before_an_idle_period_is_refused on WebSocket Polling Envelope;
    resume_tokens::resume_token_is_sent_to_no_other_client on WebSocket Polling Envelope;

    away::full_replay_buffer_refuses_signals on WebSocket Polling Envelope;
    away::signals_beyond_the_byte_limit_are_refused on WebSocket Polling Envelope;
    away::session_ends_if_a_presence_event_does_not_fit on WebSocket Polling Envelope;
    away::expired_session_is_announced_once on WebSocket Polling Envelope;
    away::normal_close_leaves_at_once on WebSocket Polling Envelope;
    away::away_peer_keeps_its_position_in_the_room on WebSocket Polling Envelope;
    away::closing_the_room_ends_the_away_peer on WebSocket Polling Envelope;
    away::another_client_replaces_the_away_peer on WebSocket Polling Envelope;
    away::drain_ends_away_sessions on WebSocket Polling Envelope;
    away::expired_token_ends_the_away_session on WebSocket Polling Envelope;
    away::newer_token_applies_after_the_resumption on WebSocket Polling Envelope;
    away::disabled_limit_refuses_nothing on WebSocket Polling Envelope;
}

/// Connects two peers in the room `r`: `ann`, and then `bob`.
async fn two(server: &TestServer, kind: ClientKind) -> (ResumingClient, ResumingClient) {
    let mut ann = ResumingClient::joined(server, kind, "ann").await;
    let bob = ResumingClient::joined(server, kind, "bob").await;
    ann.expect_event(Received::Joined("bob".to_owned())).await;
    (ann, bob)
}

fn away(id: &str) -> Received {
    Received::Away(id.to_owned())
}

fn back(id: &str) -> Received {
    Received::Back(id.to_owned())
}

/// Closes all clients, and asserts that the server holds no state any more.
async fn close_all<const N: usize>(server: TestServer, roamers: [ResumingClient; N]) {
    for mut client in roamers {
        client.rest().await;
        client.close().await;
    }
    server.finish().await;
}
