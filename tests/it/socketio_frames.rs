//! Recorded frames of the Socket.IO dialect, in both directions.

use std::sync::Arc;

use parlor::dialect::socketio::encode;
use parlor::dialect::socketio::encode::Asked;
use parlor::dialect::socketio::interpret::Interpreted;
use parlor::dialect::{Failure, Frame};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{
    Code, Command, Event, FoundBy, LeaveReason, Metadata, Peer, RemovalReason, Snapshot,
};

use crate::support::frames::{cases, interpreted, line, when};

fn understood(text: &str) -> String {
    match interpreted(text) {
        None => "no event".to_owned(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(Interpreted::Command(command))) => line(command),
        Some(Ok(other)) => format!("{other:?}"),
    }
}

#[test]
fn recorded_messages_are_decoded() {
    let cases = cases(include_str!("../fixtures/socketio/decode.txt"), "< ", "= ");
    assert!(cases.len() > 40);
    for (frame, expected) in cases {
        assert_eq!(understood(frame), expected, "{frame}");
    }
}

fn peer(number: u128, id: &str, metadata: &str) -> Arc<Peer> {
    let connection = ConnectionId::from_u128(number);
    Arc::new(Peer {
        id: PeerId::new(id).unwrap(),
        connection,
        joined_at: when(),
        metadata: Metadata::new(metadata),
    })
}

fn snapshot(me: Arc<Peer>, others: Vec<Arc<Peer>>) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        room: RoomId::new("r").unwrap(),
        created_at: when(),
        capacity: 2,
        peers: others.into_iter().chain([Arc::clone(&me)]).collect(),
        me,
    })
}

const ASKED: Asked<'static> = Asked { namespace: "/", id: 7 };

/// Returns the packets of an event.
fn event(event: &Event) -> String {
    match encode::event(event).unwrap() {
        Frame::Text(text) => text,
        Frame::WithToken(message) => message.text(),
        Frame::WithAttachments(text, attachments) => format!("{text} {attachments:?}"),
        Frame::Several(texts) => texts.join(" "),
        Frame::Close(code, reason) => panic!("closed with {code} {reason}"),
    }
}

#[test]
fn events_are_encoded_as_recorded() {
    let room = RoomId::new("r").unwrap();
    let (ann, bob) = (peer(1, "ann", ""), peer(2, "bob \"B\"", r#""name":"Bob","tags":[1]"#));
    let joined = snapshot(Arc::clone(&bob), vec![Arc::clone(&ann)]);
    let written = |case: &str| match case {
        "joined an empty room" => event(&Event::Joined(snapshot(Arc::clone(&ann), vec![]))),
        "joined" => event(&Event::Joined(Arc::clone(&joined))),
        "acknowledged join" => encode::ack_joined(ASKED, &joined, None),
        "acknowledged" => encode::ack(ASKED),
        "acknowledged error" => encode::ack_error(
            ASKED,
            &Failure::new(Code::TargetNotFound, "no peer of that id in the room"),
        ),
        "error" => encode::error(
            "/",
            &Failure::new(Code::NotInRoom, "not in a room of that id"),
            Some("offer"),
            Some(&room),
        ),
        "error in a namespace" => encode::error(
            "/chat",
            &Failure::new(Code::NotInRoom, "not in a room of that id"),
            None,
            None,
        ),
        "peer joined" => event(&Event::PeerJoined { room: room.clone(), peer: Arc::clone(&bob) }),
        "peer left" => event(&Event::PeerLeft {
            room: room.clone(),
            peer: Arc::clone(&bob),
            reason: LeaveReason::TimedOut,
        }),
        "replaced" => {
            event(&Event::Removed { room: room.clone(), reason: RemovalReason::Replaced })
        }
        "room closed" => {
            event(&Event::Removed { room: room.clone(), reason: RemovalReason::Closed })
        }
        other => panic!("no such case: {other}"),
    };
    let cases = cases(include_str!("../fixtures/socketio/encode.txt"), "= ", "> ");
    assert_eq!(cases.len(), 11);
    for (case, frame) in cases {
        assert_eq!(written(case), frame, "{case}");
    }
}

/// Decodes a signal of connection 1, whose peer is ann, and encodes it for its target.
fn relayed(sent: &str, found_by: FoundBy) -> String {
    let Some(Ok(Interpreted::Command(Command::Relay { signal, .. }))) = interpreted(sent) else {
        panic!("{sent}")
    };
    let room = RoomId::new("r").unwrap();
    event(&Event::SignalRelayed {
        room,
        from: peer(1, "ann", ""),
        found_by,
        signal: Arc::new(signal),
    })
}

#[test]
fn relayed_signal_names_its_sender_under_the_counterpart_keys() {
    const C: &str = "00000000000000000000000000000001";
    for (sent, found_by, expected) in [
        (
            r#"["offer",{"offer":1}]"#,
            FoundBy::PeerId,
            format!(
                r#"42["offer",{{"offer":1,"from":"ann","userId":"ann","socketId":"{C}","roomId":"r"}}]"#
            ),
        ),
        (
            r#"["offer",{"to":"bob","offer":1}]"#,
            FoundBy::ConnectionId,
            format!(
                r#"42["offer",{{"to":"bob","offer":1,"from":"{C}","userId":"ann","socketId":"{C}","roomId":"r"}}]"#
            ),
        ),
        (
            r#"["answer",{"targetId":"bob","answer":1}]"#,
            FoundBy::ConnectionId,
            format!(
                r#"42["answer",{{"targetId":"bob","answer":1,"from":"{C}","userId":"ann","socketId":"{C}","roomId":"r","fromId":"{C}","senderId":"{C}"}}]"#
            ),
        ),
        (
            r#"["ice-candidate",{"targetSocketId":"bob","candidate":null}]"#,
            FoundBy::PeerId,
            format!(
                r#"42["ice-candidate",{{"targetSocketId":"bob","candidate":null,"from":"ann","userId":"ann","socketId":"{C}","roomId":"r","fromSocketId":"{C}","senderSocketId":"{C}"}}]"#
            ),
        ),
        (
            r#"["offer",{"targetUserId":"bob","offer":1}]"#,
            FoundBy::PeerId,
            format!(
                r#"42["offer",{{"targetUserId":"bob","offer":1,"from":"ann","userId":"ann","socketId":"{C}","roomId":"r","fromUserId":"ann"}}]"#
            ),
        ),
        // Sender fields of a client are overwritten, even if the server would not write the field
        // otherwise.
        (
            r#"["offer",{"from":"eve","senderId":"eve","roomId":"r","fromUserId":{"x":1},"offer":1,"from":"eve"}]"#,
            FoundBy::PeerId,
            format!(
                r#"42["offer",{{"offer":1,"from":"ann","userId":"ann","socketId":"{C}","roomId":"r","senderId":"ann","fromUserId":"ann"}}]"#
            ),
        ),
    ] {
        assert_eq!(relayed(sent, found_by), expected, "{sent}");
    }
}

#[test]
fn body_is_relayed_unchanged() {
    let body = r#"{"type":"offer","sdp":"v=0\r\n\u00e9😀","n":1.0e+2,"big":12345678901234567890,"z":{"b":1,"a":2}, "gap" : [ ]}"#;
    let frame = relayed(&format!(r#"["offer",{{"to":"bob","offer":{body}}}]"#), FoundBy::PeerId);
    assert!(frame.contains(&format!(r#""offer":{body},"#)), "{frame}");
}
