//! Properties of every two built-in profiles: server events cannot be forged, and signals are not
//! multiplied.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};

use super::choice::{Choice, Profiles};
use super::interpret::{Interpreted, interpret};
use super::packet::Revision;
use super::profile::Profile;
use super::{Numbering, encode};
use crate::clock::Moment;
use crate::dialect::json::Arguments;
use crate::dialect::{DecodeError, Form, Frame, Framing};
use crate::id::{ConnectionId, RoomId};
use crate::room::limits::PairSessionLimits;
use crate::room::state::{Capacity, Room};
use crate::room::{Command, Event, FoundBy, Metadata, RoomKind, Signal, SignalKind};

/// Returns a room with ann and bob, whose connections have the numbers 1 and 2.
fn room() -> Room {
    let mut room = Room::new(
        RoomId::new("r").unwrap(),
        SystemTime::UNIX_EPOCH,
        Capacity { peers: 2, is_chosen: false },
        false,
    );
    for (number, id) in [(1, "ann"), (2, "bob")] {
        let (connection, peer) =
            (ConnectionId::from_u128(number), crate::id::PeerId::new(id).unwrap());
        let now = Moment { instant: Instant::now(), time: SystemTime::UNIX_EPOCH };
        let limits = PairSessionLimits::default();
        room.join(now, connection, Some(peer), Metadata::default(), RoomKind::Group, &limits)
            .unwrap();
    }
    room
}

/// Returns a session of one of the built-in profiles.
fn session(number: u128, profile: usize) -> Arc<Choice> {
    let choice = Choice::new(Arc::default(), ConnectionId::from_u128(number));
    choice.adopt(u8::try_from(profile).ok());
    assert_eq!(choice.profile().name(), Profile::builtin()[profile].name());
    Arc::new(choice)
}

fn command(sender: &Choice, event: &Value, attachments: &[Bytes]) -> Result<Command, DecodeError> {
    let text = event.to_string();
    let arguments = Arguments::read(&text).unwrap();
    match interpret(sender, &arguments, &text, &mut None, attachments)? {
        Interpreted::Command(command) => Ok(command),
        other => panic!("{event}: {other:?}"),
    }
}

fn signal(command: Command) -> Option<Signal> {
    match command {
        Command::Relay { signal, .. } => Some(signal),
        _ => None,
    }
}

/// Returns the message that bob receives for a signal of ann's.
fn received(receiver: &Arc<Choice>, signal: Signal) -> Option<Frame> {
    let room = room();
    let from = Arc::clone(room.peer(ConnectionId::from_u128(1)).unwrap());
    let event = Event::SignalRelayed {
        room: room.id().clone(),
        from,
        found_by: FoundBy::ConnectionId,
        signal: Arc::new(signal),
    };
    let numbering = Numbering::new("/", Revision::V4, Arc::clone(receiver));
    match numbering.form(&event) {
        Form::Dialect => encode::event(&event),
        Form::Variant(_) | Form::Own => numbering.encode(&event, &room, SystemTime::UNIX_EPOCH),
    }
}

#[test]
fn no_event_of_a_profile_can_be_forged_between_any_two() {
    let profiles = Profile::builtin();
    for attacker in 0..profiles.len() {
        for (victim, profile) in profiles.iter().enumerate() {
            for name in
                profile.outgoing().chain(Profile::standard().outgoing()).chain(["error", "connect"])
            {
                for argument in [json!({ "to": "bob", "peerID": "forged" }), json!("forged")] {
                    let event = json!([name, argument]);
                    let Ok(command) = command(&session(1, attacker), &event, &[]) else { continue };
                    let Some(signal) =
                        signal(command).filter(|signal| signal.kind == SignalKind::Message)
                    else {
                        continue;
                    };
                    let frame = received(&session(2, victim), signal);
                    assert_eq!(
                        frame,
                        None,
                        "{name} from {} to {}",
                        profiles[attacker].name(),
                        profile.name()
                    );
                }
            }
        }
    }
}

#[test]
fn no_event_of_a_profile_can_be_forged_by_a_plain_protocol() {
    for (victim, profile) in Profile::builtin().iter().enumerate() {
        for name in
            profile.outgoing().chain(Profile::standard().outgoing()).chain(["error", "connect"])
        {
            let (name, body) = (Some(name.into()), r#"{"peerID":"forged"}"#);
            let (kind, content) = (SignalKind::Message, 0..body.len());
            for origin in ["envelope", "topic"] {
                let (name, body, attachments) = (Option::clone(&name), body.into(), Vec::new());
                let content = content.clone();
                let signal =
                    Signal { kind, name, origin, body, content, note: 0, echo: false, attachments };
                let event = signal.name.clone();
                assert_eq!(
                    received(&session(2, victim), signal),
                    None,
                    "{event:?} from {origin} to {}",
                    profile.name()
                );
            }
        }
    }
}

#[test]
fn a_signal_is_one_event_of_about_its_size_between_any_two() {
    let profiles = Profile::builtin();
    let body = json!({ "type": "offer", "sdp": "v=0".repeat(2_000) });
    let events = [
        json!(["offer", { "to": "bob", "offer": body }]),
        json!(["chat", { "text": body }, body]),
        json!(["relay-sdp", { "peerID": "bob", "sessionDescription": body }]),
        json!(["sending signal", { "userToSignal": "bob", "callerID": "x", "signal": body }]),
        json!(["returning-signal", { "callerID": "bob", "signal": body }]),
        json!(["user:call", { "to": "bob", "offer": body }]),
        json!(["webrtc:offer", { "to": "bob", "offer": body }]),
        json!(["call-user", { "to": "bob", "offer": body }]),
        json!(["callUser", { "userToCall": "bob", "signalData": body, "name": "Ann" }]),
        json!(["webrtc_offer", { "sdp": body }]),
        json!(["offer", "bob", body]),
    ];
    for attacker in 0..profiles.len() {
        for (victim, profile) in profiles.iter().enumerate() {
            for event in &events {
                let Ok(command) = command(&session(1, attacker), event, &[]) else { continue };
                let Some(signal) = signal(command) else { continue };
                let case = format!(
                    "{} from {} to {}",
                    event[0],
                    profiles[attacker].name(),
                    profile.name()
                );
                let kind = signal.kind;
                let Some(frame) = received(&session(2, victim), signal) else {
                    assert_eq!(kind, SignalKind::Message, "{case}: nothing");
                    continue;
                };
                let length = frame.length();
                let packets = frame.into_texts();
                assert_eq!(packets.len(), 1, "{case}: {packets:?}");
                assert!(packets[0].contains("v=0"), "{case}: {packets:?}");
                assert!(length < event.to_string().len() + 512, "{case}: {length} bytes");
            }
        }
    }
}

#[test]
fn an_undecided_callee_takes_the_profile_of_its_caller() {
    let bob = Arc::new(Choice::new(Arc::default(), ConnectionId::from_u128(2)));
    let ann = Choice::new(Arc::default(), ConnectionId::from_u128(1));
    let chat = signal(command(&ann, &json!(["chat", 1]), &[]).unwrap()).unwrap();
    assert!(received(&bob, chat).is_some());
    assert_eq!((bob.profile().name(), ann.profile().name()), ("standard", "standard"));
    let event =
        json!(["relay-sdp", { "peerID": "bob", "sessionDescription": { "type": "offer" } }]);
    let offer = signal(command(&ann, &event, &[]).unwrap()).unwrap();
    let packets = received(&bob, offer).unwrap().into_texts();
    let sender = ConnectionId::from_u128(1);
    let expected = format!(
        r#"42["session-description",{{"peerID":"{sender}","sessionDescription":{{"type":"offer"}}}}]"#
    );
    assert_eq!(packets, [expected]);
    assert_eq!((bob.profile().name(), ann.profile().name()), ("add-peer", "add-peer"));
    // A profile is chosen once.
    bob.adopt(Some(3));
    assert_eq!(bob.profile().name(), "add-peer");
}

#[test]
fn a_signal_of_another_profile_arrives_in_the_form_of_the_receiver() {
    let add_peer = Choice::new(Arc::default(), ConnectionId::from_u128(1));
    let body = r#"{ "type" : "offer", "sdp" : 1.0 }"#;
    let text =
        format!(r#"["relay-sdp",{{"peerID":"bob","sessionDescription":{body},"from":"mallory"}}]"#);
    let arguments = Arguments::read(&text).unwrap();
    let Ok(Interpreted::Command(command)) = interpret(&add_peer, &arguments, &text, &mut None, &[])
    else {
        panic!("{text}")
    };
    let signal = signal(command).unwrap();
    assert_eq!(&signal.body[signal.content.clone()], body, "for the other protocols");
    let sender = ConnectionId::from_u128(1);
    let expected = format!(r#"42["user joined",{{"signal":{body},"callerID":"{sender}"}}]"#);
    assert_eq!(received(&session(2, 3), signal.clone()).unwrap().into_texts(), [expected]);
    let documented = Arc::new(Profiles::new(
        vec![Arc::new(
            Profile::read("test.toml", "name = \"documented\"\ndefault = true").unwrap(),
        )],
        "none".parse().unwrap(),
    ));
    let standard = Arc::new(Choice::new(documented, ConnectionId::from_u128(2)));
    let packets = received(&standard, signal).unwrap().into_texts();
    let expected = format!(
        r#"42["offer",{{"offer":{body},"from":"{sender}","userId":"ann","socketId":"{sender}","roomId":"r"}}]"#
    );
    assert_eq!(packets, [expected]);
}

#[test]
fn attachments_are_relayed_with_an_application_event_only() {
    let sender = Choice::new(Arc::default(), ConnectionId::from_u128(1));
    let data = [Bytes::from_static(b"\0\x01")];
    let placeholder = json!({ "_placeholder": true, "num": 0 });
    assert_eq!(
        command(&sender, &json!(["offer", { "offer": placeholder }]), &data).unwrap_err(),
        DecodeError::Binary
    );
    let file =
        signal(command(&sender, &json!(["file", "a.txt", placeholder]), &data).unwrap()).unwrap();
    let receiver = Arc::new(Choice::new(Arc::default(), ConnectionId::from_u128(2)));
    let expected = r#"451-["file","a.txt",{"_placeholder":true,"num":0}]"#.to_owned();
    assert_eq!(
        received(&receiver, file),
        Some(Frame::WithAttachments(expected.clone(), data.to_vec()))
    );
    let numbering = Numbering::new("/chat", Revision::V3, receiver);
    let mut packet = expected;
    numbering.complete(&mut packet, 1);
    assert_eq!(packet, r#"451-/chat,["file","a.txt",{"_placeholder":true,"num":0}]"#);
    assert_eq!(numbering.attachment(data[0].clone()), &b"\x04\0\x01"[..]);
}
