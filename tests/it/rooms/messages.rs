//! Application messages and changes of metadata.

use parlor::room::MetadataPatch;

use super::*;

fn update(patch: &str) -> MetadataPatch {
    MetadataPatch { text: patch.into(), merge: |before, patch| format!("{before}{patch}") }
}

fn message(name: &str) -> Signal {
    Signal { name: Some(name.into()), ..signal(SignalKind::Message) }
}

#[test]
fn application_message_follows_the_rules_of_a_signal() {
    let node = Node::new();
    for (who, name) in [(1, "ann"), (2, "bob"), (3, "cid")] {
        node.join(who, "r", name).unwrap();
    }
    let send = |who, id: Option<&str>, target: Option<&str>| {
        let target = target.map(|target| Target::new(PeerId::new(target).unwrap()));
        node.apply(who, Command::Relay { room: id.map(room), target, signal: message("chat") })
    };
    assert_eq!(send(1, None, None), ok("2 3: chat of ann"));
    assert_eq!(send(1, None, Some("cid")), ok("3: chat of ann"));
    assert_eq!(send(1, Some("r"), Some("dan")), Err(RoomError::TargetNotFound));
    assert_eq!(send(1, Some("elsewhere"), None), Err(RoomError::NotInRoom));
    assert_eq!(send(4, Some("r"), None), Err(RoomError::NotInRoom));
    assert_eq!(send(4, None, None), Err(RoomError::NotInAnyRoom));
}

#[test]
fn application_messages_are_queued_in_order_with_signals() {
    let node = Node::new();
    node.call(1, "s", RoomKind::Pair).unwrap();
    assert_eq!(node.offer(1, Some("s"), ""), ok(""));
    let send = Command::Relay { room: Some(room("s")), target: None, signal: message("chat") };
    assert_eq!(node.apply(1, send), ok(""));
    let joined = node.call(2, "s", RoomKind::Pair).unwrap();
    let (offer, chat) = (joined.find("2: offer").unwrap(), joined.find("2: chat").unwrap());
    assert!(offer < chat, "{joined}");
}

#[test]
fn update_changes_the_metadata_that_others_and_later_joiners_see() {
    let node = Node::new();
    node.join(1, "r", "ann").unwrap();
    node.join(2, "r", "bob").unwrap();
    node.join(3, "r", "cid").unwrap();
    let change = |who, id: Option<&str>, patch| {
        node.apply(who, Command::Update { room: id.map(room), patch: update(patch) })
    };
    assert_eq!(change(1, None, "x"), ok("2 3: ann is x"));
    assert_eq!(change(1, Some("r"), "y"), ok("2 3: ann is xy"));
    assert_eq!(change(1, None, ""), ok(""), "no change, no event");
    assert_eq!(change(4, Some("r"), "x"), Err(RoomError::NotInRoom));
    assert_eq!(change(4, None, "x"), Err(RoomError::NotInAnyRoom));

    let join = Command::Join {
        room: room("r"),
        peer: None,
        metadata: Metadata::default(),
        kind: RoomKind::Group,
    };
    let applied = node.rooms.apply(node.now, connection(4), join).unwrap();
    let Event::Joined(snapshot) = &applied.deliveries[0].event else {
        panic!("the first event is for the joining peer")
    };
    let seen: Vec<_> =
        snapshot.peers.iter().map(|peer| (peer.id.as_str(), peer.metadata.as_str())).collect();
    assert_eq!(seen[..3], [("ann", "xy"), ("bob", ""), ("cid", "")]);
}

#[test]
fn update_beyond_the_metadata_limit_changes_nothing() {
    let node = Node::with(RoomLimits { metadata_bytes: 10, ..RoomLimits::default() });
    node.join(1, "r", "ann").unwrap();
    node.join(2, "r", "bob").unwrap();
    let change = |patch| node.apply(1, Command::Update { room: None, patch: update(patch) });
    assert_eq!(change("12345678"), ok("2: ann is 12345678"));
    assert_eq!(change("901"), Err(RoomError::MetadataTooLarge { max: 10 }));
    assert_eq!(change("90"), ok("2: ann is 1234567890"));
}

#[test]
fn updated_peer_leaves_with_its_new_metadata_and_position() {
    let node = Node::new();
    node.join(1, "r", "ann").unwrap();
    node.join(2, "r", "bob").unwrap();
    node.apply(1, Command::Update { room: None, patch: update("x") }).unwrap();
    let summary = node.rooms.summary(&room("r")).unwrap();
    let order: Vec<_> = summary.peers.iter().map(PeerId::as_str).collect();
    assert_eq!(order, ["ann", "bob"]);
    let left = node.rooms.leave(connection(1), &room("r"), LeaveReason::Left).unwrap();
    let Event::PeerLeft { peer, .. } = &left.deliveries[0].event else { panic!("a leave") };
    assert_eq!(peer.metadata.as_str(), "x");
}
