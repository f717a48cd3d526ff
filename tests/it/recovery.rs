//! Session resumption: a peer whose connection drops resumes its session, and nothing is lost,
//! repeated or visible to other peers. One suite for all transports; the peculiarities of single
//! ones are in [`particular`].

mod absence;
mod keys;
mod particular;
mod returning;

use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::resuming_client::{ResumingClient, WAYS, Way};
use crate::support::suite::suite;

suite! {
    Way::WAYS;

    returning::after_a_reset on WebSocket Polling Envelope;
    returning::after_an_end_without_a_close_frame on WebSocket Polling Envelope;
    returning::after_silence on WebSocket Polling Envelope;
    returning::again_and_again on WebSocket Polling Envelope;
    returning::before_any_message_arrived on WebSocket Polling Envelope;
    returning::to_missed_events on WebSocket Polling Envelope;
    returning::to_all_its_rooms on WebSocket Polling Envelope;
    returning::to_more_than_a_queue_holds on WebSocket Polling Envelope;
    returning::to_a_peer_that_was_away_too on WebSocket Polling Envelope;
    returning::after_a_drop_during_the_replay on WebSocket Polling Envelope;
    returning::after_a_drop_before_the_reply on WebSocket Polling,
        not Envelope: "a token works once: keys::one_that_was_already_used";
    returning::while_the_older_connection_looks_alive on WebSocket Polling Envelope;
    returning::by_the_other_transport on WebSocket Polling,
        not Envelope: "there is one transport";

    keys::one_that_was_never_issued on WebSocket Polling Envelope;
    keys::one_that_was_already_used on Envelope,
        not WebSocket Polling: "a pid stays the same: returning::again_and_again";
    keys::one_after_the_deadline on WebSocket Polling Envelope;
    keys::one_of_another_subject on WebSocket Polling Envelope;
    keys::one_without_a_valid_token on WebSocket Polling Envelope;
    keys::an_offset_of_another_session on WebSocket Polling,
        not Envelope: "a number names no place";
    keys::an_offset_that_was_never_sent on WebSocket Polling Envelope;
    keys::an_offset_that_is_not_held_any_more on WebSocket Polling Envelope;
    keys::an_offset_from_before_a_rest on WebSocket Polling Envelope;
    keys::is_sent_to_no_other_client on WebSocket Polling Envelope;

    absence::full_replay_buffer_refuses_signals on WebSocket Polling Envelope;
    absence::bytes_that_do_not_fit_are_refused on WebSocket Polling Envelope;
    absence::session_ends_if_a_presence_event_does_not_fit on WebSocket Polling Envelope;
    absence::expired_absence_is_announced_once on WebSocket Polling Envelope;
    absence::a_normal_close_leaves_at_once on WebSocket Polling Envelope;
    absence::keeps_its_position_in_the_room on WebSocket Polling Envelope;
    absence::its_room_is_closed on WebSocket Polling Envelope;
    absence::another_client_takes_its_name on WebSocket Polling Envelope;
    absence::the_server_drains on WebSocket Polling Envelope;
    absence::its_token_ends on WebSocket Polling Envelope;
    absence::a_newer_token_counts_from_the_return_on on WebSocket Polling Envelope;
    absence::disabled_limit_refuses_nothing on WebSocket Polling Envelope;
}

/// Two in the room `r` who know of each other: `ann`, and `bob` who came later.
async fn two(server: &TestServer, way: Way) -> (ResumingClient, ResumingClient) {
    let mut ann = ResumingClient::joined(server, way, "ann").await;
    let bob = ResumingClient::joined(server, way, "bob").await;
    ann.hears(Received::Joined("bob".to_owned())).await;
    (ann, bob)
}

fn away(id: &str) -> Received {
    Received::Away(id.to_owned())
}

fn back(id: &str) -> Received {
    Received::Back(id.to_owned())
}

/// Each goes, the last of them unheard, and the server holds nothing any more.
async fn all_go<const N: usize>(server: TestServer, roamers: [ResumingClient; N]) {
    for mut client in roamers {
        client.rest().await;
        client.close().await;
    }
    server.finish().await;
}
