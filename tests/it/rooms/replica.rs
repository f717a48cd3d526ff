//! Rooms that several nodes share: how log entries change the copy of this node.

use std::time::{Duration, SystemTime};

use parlor::room::{
    Admitted, Capacity, Counts, FoundBy, LeaveReason, Metadata, Peer, RoomError, RoomLimits,
    RoomSpec, SignalKind,
};

use super::{Node, connection, deliveries, room, signal};
use parlor::id::PeerId;

fn spec(id: &str) -> RoomSpec {
    let created_at = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
    RoomSpec {
        room: room(id),
        created_at,
        capacity: Capacity { peers: 2, is_chosen: false },
        is_pair: false,
    }
}

/// Returns an entry of the log that admits a peer; connections above 9 belong to other nodes.
fn admitted(number: u128, name: &str) -> Admitted {
    let (id, joined_at) =
        (PeerId::new(name).unwrap(), SystemTime::UNIX_EPOCH + Duration::from_secs(8));
    let peer =
        Peer { id, connection: connection(number), joined_at, metadata: Metadata::default() };
    Admitted { peer, is_paired: false }
}

#[test]
fn admitted_peer_is_shown_the_room_and_the_others_are_notified() {
    let node = Node::new();
    let applied =
        node.rooms.adopt(node.now, &spec("r"), &[], vec![admitted(11, "ann"), admitted(12, "bob")]);
    assert_eq!(applied.room().created_at(), spec("r").created_at);
    drop(applied);
    // The engine has checked the capacity.
    let applied = node.rooms.admit(node.now, &spec("r"), admitted(1, "carl"));
    assert!(
        deliveries(&applied).contains("ann") && deliveries(&applied).contains("bob"),
        "{}",
        deliveries(&applied)
    );
    drop(applied);
    assert_eq!(node.rooms.of(connection(1)), [room("r")]);
    assert!(node.rooms.of(connection(11)).is_empty(), "only the node of the peer counts its rooms");
    assert_eq!(node.rooms.counts().peers, 1, "the peers of this node");
    assert_eq!(
        node.join(2, "r", "dora"),
        Err(RoomError::RoomFull { capacity: 2 }),
        "a local join is checked by this node"
    );
}

#[test]
fn admitted_peer_replaces_the_one_with_its_peer_id() {
    let node = Node::new();
    drop(node.rooms.admit(node.now, &spec("r"), admitted(1, "ann")));
    drop(node.rooms.adopt(node.now, &spec("r"), &[], vec![admitted(11, "ann")]));
    assert_eq!(node.rooms.connections_in(&room("r")), [connection(11)]);
    assert!(node.rooms.of(connection(1)).is_empty());
    assert_eq!(node.rooms.counts().peers, 0, "the peers of this node");
}

#[test]
fn room_without_peers_is_removed_and_has_not_ended() {
    let node = Node::new();
    let pair = RoomSpec { is_pair: true, ..spec("r") };
    drop(node.rooms.adopt(node.now, &pair, &[], vec![admitted(11, "ann")]));
    drop(node.rooms.adopt(node.now, &pair, &[(connection(11), LeaveReason::Left)], Vec::new()));
    assert_eq!(node.rooms.counts(), Counts::default());
    let relayed = node.apply(
        1,
        parlor::room::Command::Relay {
            room: Some(room("r")),
            target: None,
            signal: signal(SignalKind::Offer),
        },
    );
    assert_eq!(relayed, Err(RoomError::NotInRoom), "the session has not ended");
}

#[test]
fn admission_ignores_the_number_of_rooms() {
    let node = Node::with(RoomLimits { rooms: Some(1), ..RoomLimits::default() });
    for id in ["r", "s"] {
        drop(node.rooms.admit(node.now, &spec(id), admitted(1, "ann")));
    }
    assert_eq!(node.rooms.count_of(connection(1)), 2);
}

#[test]
fn signal_of_another_node_reaches_the_peers_that_are_in_the_room() {
    let node = Node::new();
    drop(node.rooms.adopt(
        node.now,
        &spec("r"),
        &[],
        vec![admitted(11, "ann"), admitted(1, "bob")],
    ));
    let deliver = |from, to: &[u128]| {
        let to: Vec<_> = to.iter().map(|number| connection(*number)).collect();
        let signal = signal(SignalKind::Offer);
        node.rooms.deliver_signal(&room("r"), connection(from), &to, FoundBy::PeerId, signal)
    };
    let applied = deliver(11, &[1, 2]).expect("the sender is in the room");
    assert_eq!(applied.deliveries[0].to.as_slice(), [connection(1)]);
    drop(applied);
    assert!(deliver(12, &[1]).is_none(), "a sender that is not in the room");
}
