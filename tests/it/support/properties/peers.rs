//! Encoded peers of each protocol: name, connection and time are the server's, the metadata is that
//! of the client.

use std::sync::Arc;

use parlor::dialect::{envelope, session, socketio, topic};
use parlor::id::{ConnectionId, PeerId};
use parlor::room::{Event, LeaveReason, Metadata, Peer, Snapshot};

use super::Protocol;
use super::encoded::{PEER_FIELDS, Scene, all_written, payload, when, written};
use super::object::{Object, array};

/// Time of every peer's join, in the format of the protocols.
const JOINED_AT: &str = "2026-01-02T03:04:05.678Z";

/// Encodes a peer with this metadata on every protocol: when it joins, is away, is back and leaves,
/// and in the list of members.
pub(crate) fn check(metadata: &Metadata) {
    let scene = Scene::new(Protocol::SocketIo);
    let peer = scene.peer(metadata);
    let (id, connection) = (PeerId::new("me").expect("a good id"), ConnectionId::from_u128(2));
    let me = Arc::new(Peer { id, connection, joined_at: when(), metadata: Metadata::default() });
    let (room, peers) = (scene.room.clone(), vec![Arc::clone(&peer), Arc::clone(&me)]);
    let events = [
        Event::PeerJoined { room: room.clone(), peer: Arc::clone(&peer) },
        Event::PeerAway { room: room.clone(), peer: Arc::clone(&peer) },
        Event::PeerBack { room: room.clone(), peer: Arc::clone(&peer) },
        Event::PeerUpdated { room: room.clone(), peer: Arc::clone(&peer) },
        Event::PeerLeft { room: room.clone(), peer, reason: LeaveReason::TimedOut },
        Event::Joined(Arc::new(Snapshot { room, created_at: when(), capacity: 5, me, peers })),
    ];
    let reply = Object::of_members(metadata.as_str());
    for event in &events {
        check_session(&scene, event);
        check_socketio(&scene, event, &reply);
        check_envelope(&scene, event, &reply);
        check_topic(&scene, event, &reply);
    }
}

/// Asserts that peers have no names in `/signal`.
fn check_session(scene: &Scene, event: &Event) {
    let expected = match event {
        Event::PeerJoined { .. } => "peer-joined",
        Event::PeerLeft { .. } => "peer-left",
        _ => return assert_eq!(written(&session::DIALECT, event), None),
    };
    let received = written(&session::DIALECT, event).expect("presence has an encoding");
    let object = Object::read(&received).expect("an object");
    object.assert_once("type", expected);
    object.assert_once("sessionId", scene.room.as_str());
    assert_eq!(object.less(|key| key == "type" || key == "sessionId"), Object::default());
}

fn check_socketio(scene: &Scene, event: &Event, reply: &Object) {
    let received = written(&socketio::DIALECT, event).expect("the protocol has peers");
    let of = |name, reason| socketio_peer(scene, &Object::of_event(&received, name), reason, reply);
    let lists = match event {
        Event::PeerJoined { .. } => return of("user-joined", None),
        Event::PeerUpdated { .. } => return of("user-updated", None),
        Event::PeerLeft { .. } => return of("user-left", Some("timeout")),
        Event::PeerAway { .. } => return of("user-away", None),
        Event::PeerBack { .. } => return of("user-back", None),
        Event::Joined(snapshot) => {
            let joined =
                all_written(&socketio::DIALECT, event).pop().expect("two events tell of a join");
            let mine = Object::of_event(&joined, "room-joined");
            mine.assert_once("userId", "me");
            mine.assert_once("roomId", scene.room.as_str());
            let asked = socketio::encode::Asked { namespace: "/", id: 7 };
            let ack = socketio::encode::ack_joined(asked, snapshot, None);
            let ack = Object::read(array(ack.strip_prefix("437").expect("an ack"))[0].get())
                .expect("an object");
            let users = array(&received);
            assert_eq!(users.len(), 2, "one argument: {received}");
            [users[1].get(), ack.get("users").expect("users"), mine.get("peers").expect("peers")]
                .map(str::to_owned)
        }
        Event::SignalRelayed { .. } | Event::HungUp { .. } | Event::Removed { .. } => {
            panic!("nothing of a peer: {event:?}")
        }
    };
    for list in lists {
        let peers = array(&list);
        assert_eq!(peers.len(), 1, "all but oneself: {list}");
        socketio_peer(scene, &Object::read(peers[0].get()).expect("an object"), None, reply);
    }
}

fn socketio_peer(scene: &Scene, peer: &Object, reason: Option<&str>, reply: &Object) {
    peer.assert_once("id", scene.sender.as_str());
    peer.assert_once("userId", scene.sender.as_str());
    peer.assert_once("socketId", &scene.connection.to_string());
    peer.assert_once("roomId", scene.room.as_str());
    peer.assert_once("joinedAt", JOINED_AT);
    match reason {
        Some(reason) => peer.assert_once("reason", reason),
        None => assert!(!peer.has("reason"), "{peer:?}"),
    }
    let is_the_servers = |key: &str| PEER_FIELDS.contains(&key);
    assert_eq!(peer.less(is_the_servers), reply.less(is_the_servers));
}

fn check_envelope(scene: &Scene, event: &Event, reply: &Object) {
    let received = written(&envelope::DIALECT, event).expect("the protocol has peers");
    let participant = match event {
        Event::PeerLeft { .. } => {
            let payload = payload(&received, "room:participant-left");
            payload.assert_once("userId", scene.sender.as_str());
            return payload.assert_once("reason", "timeout");
        }
        Event::PeerAway { .. } | Event::PeerBack { .. } => {
            let is_back = matches!(event, Event::PeerBack { .. });
            let kind = if is_back { "room:participant-back" } else { "room:participant-away" };
            let payload = payload(&received, kind);
            payload.assert_once("userId", scene.sender.as_str());
            return payload.assert_once("roomId", scene.room.as_str());
        }
        Event::Joined(_) => {
            let state = payload(&received, "room:state");
            state.assert_once("roomId", scene.room.as_str());
            let participants = array(state.get("participants").expect("participants"));
            assert_eq!(participants.len(), 2, "oneself too: {received}");
            participants[0].get().to_owned()
        }
        _ => {
            let is_update = matches!(event, Event::PeerUpdated { .. });
            let kind =
                if is_update { "room:participant-updated" } else { "room:participant-joined" };
            let joined = payload(&received, kind);
            joined.assert_once("roomId", scene.room.as_str());
            joined.get("participant").expect("a participant").to_owned()
        }
    };
    let participant = Object::read(&participant).expect("an object");
    participant.assert_once("userId", scene.sender.as_str());
    participant.assert_once("joinedAt", JOINED_AT);
    let (name, role) =
        (reply.text("displayName").or_else(|| reply.text("name")), reply.text("role"));
    participant.assert_once("displayName", name.as_deref().unwrap_or(scene.sender.as_str()));
    participant.assert_once("role", role.as_deref().unwrap_or("participant"));
    assert_eq!(participant.count("metadata"), 1, "{received}");
    assert_eq!(
        participant.get("metadata").and_then(Object::read).as_ref(),
        Some(reply),
        "{received}"
    );
}

fn check_topic(scene: &Scene, event: &Event, reply: &Object) {
    let is_sent = !matches!(
        event,
        Event::PeerAway { .. } | Event::PeerBack { .. } | Event::PeerUpdated { .. }
    );
    let received = written(&topic::DIALECT, event);
    assert_eq!(received.is_some(), is_sent, "a dropped peer has left there: {event:?}");
    let Some(received) = received else { return };
    let object = Object::read(&received).expect("an object");
    let peer = match event {
        Event::Joined(_) => {
            object.assert_once("type", "peer-list");
            let peers = array(object.get("peers").expect("peers"));
            assert_eq!(peers.len(), 1, "all but oneself: {received}");
            let peer = Object::read(peers[0].get()).expect("an object");
            peer.assert_once("id", scene.sender.as_str());
            peer
        }
        Event::PeerLeft { .. } => {
            object.assert_once("type", "peer-left");
            return object.assert_once("peerId", scene.sender.as_str());
        }
        _ => {
            object.assert_once("type", "peer-joined");
            object.assert_once("peerId", scene.sender.as_str());
            object
        }
    };
    assert_eq!(peer.get("metadata").and_then(Object::read).as_ref(), Some(reply), "{received}");
}
