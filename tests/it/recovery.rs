//! A peer whose connection drops comes back and is as if it had not: nothing lost, nothing twice, nobody the wiser. One
//! suite of cases over all ways to come back; what one way alone has is in [`particular`].

mod absence;
mod keys;
mod particular;
mod returning;

use crate::support::TestServer;
use crate::support::roamer::{Roamer, WAYS, Way};
use crate::support::suite::suite;
use crate::support::wire::Heard;

suite! {
    Way::WAYS;

    returning::after_a_reset on WebSocket Polling Envelope;
    returning::after_an_end_without_a_goodbye on WebSocket Polling Envelope;
    returning::after_silence on WebSocket Polling Envelope;
    returning::again_and_again on WebSocket Polling Envelope;
    returning::having_heard_nothing_yet on WebSocket Polling Envelope;
    returning::to_what_the_others_did_meanwhile on WebSocket Polling Envelope;
    returning::to_all_its_rooms on WebSocket Polling Envelope;
    returning::to_more_than_a_queue_holds on WebSocket Polling Envelope;
    returning::to_one_who_was_away_too on WebSocket Polling Envelope;
    returning::after_a_drop_on_the_way_back on WebSocket Polling Envelope;
    returning::after_a_drop_before_the_answer on WebSocket Polling,
        not Envelope: "a token works once: keys::one_that_was_used";
    returning::while_the_older_connection_looks_alive on WebSocket Polling Envelope;
    returning::by_the_other_transport on WebSocket Polling,
        not Envelope: "there is one transport";

    keys::one_that_is_made_up on WebSocket Polling Envelope;
    keys::one_that_was_used on Envelope,
        not WebSocket Polling: "a pid stays the same: returning::again_and_again";
    keys::one_that_comes_late on WebSocket Polling Envelope;
    keys::one_of_somebody_else on WebSocket Polling Envelope;
    keys::one_without_a_good_token on WebSocket Polling Envelope;
    keys::an_offset_of_another_place on WebSocket Polling,
        not Envelope: "a number names no place";
    keys::an_offset_that_nobody_was_told on WebSocket Polling Envelope;
    keys::an_offset_that_is_not_held_any_more on WebSocket Polling Envelope;
    keys::an_offset_from_before_a_rest on WebSocket Polling Envelope;
    keys::is_told_to_nobody_else on WebSocket Polling Envelope;

    absence::what_does_not_fit_is_refused_rather_than_push_out_another on WebSocket Polling Envelope;
    absence::bytes_that_do_not_fit_are_refused on WebSocket Polling Envelope;
    absence::who_cannot_be_told_who_is_there_is_gone on WebSocket Polling Envelope;
    absence::when_the_time_is_over_it_is_gone_once on WebSocket Polling Envelope;
    absence::a_goodbye_is_a_leave_at_once on WebSocket Polling Envelope;
    absence::its_place_is_among_the_others on WebSocket Polling Envelope;
    absence::its_room_is_closed on WebSocket Polling Envelope;
    absence::somebody_takes_its_name on WebSocket Polling Envelope;
    absence::the_server_drains on WebSocket Polling Envelope;
    absence::its_token_ends on WebSocket Polling Envelope;
    absence::a_newer_token_counts_from_the_return_on on WebSocket Polling Envelope;
    absence::there_is_none_where_it_is_switched_off on WebSocket Polling Envelope;
}

/// Two in the room `r` who know of each other: `ann`, and `bob` who came later.
async fn two(server: &TestServer, way: Way) -> (Roamer, Roamer) {
    let mut ann = Roamer::joined(server, way, "ann").await;
    let bob = Roamer::joined(server, way, "bob").await;
    ann.hears(Heard::Joined("bob".to_owned())).await;
    (ann, bob)
}

fn away(id: &str) -> Heard {
    Heard::Away(id.to_owned())
}

fn back(id: &str) -> Heard {
    Heard::Back(id.to_owned())
}

/// Each goes, the last of them unheard, and the server holds nothing any more.
async fn all_go<const N: usize>(server: TestServer, roamers: [Roamer; N]) {
    for mut roamer in roamers {
        roamer.rest().await;
        roamer.close().await;
    }
    server.finish().await;
}
