//! Messages of the cluster: round trips, hostile bytes, and messages of other versions.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use parlor::cluster::frame::{
    Body, Bounce, Handover, InboxMessage, LinkFrame, LogEntry, MediaAnswered, MediaNotice,
    MediaOutcome, MovedRoom, RemoteMediaAnswer, RemoteMediaNotice, RemoteMediaRequest,
    RemoteSignal, RoomChange, decode, encode_entry, encode_frame,
};
use parlor::cluster::{Incarnation, RoomRecord, SignalFailure};
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{FoundBy, LeaveReason, Metadata, SignalKind};
use proptest::prelude::*;

use super::{member, membership, record, room};

/// One message of each kind.
static MESSAGES: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let connection = ConnectionId::from_u128(7);
    let changes = [
        RoomChange::Snapshot(record(3, &[member(1, 11, 5, 1), member(2, 12, 6, u64::MAX)])),
        RoomChange::Join { member: member(3, 13, 5, 4), replaced: Some(connection) },
        RoomChange::Join { member: member(3, 13, 5, 4), replaced: None },
        RoomChange::Leave { connection, reason: LeaveReason::Kicked },
        RoomChange::Move { connection, holder: Incarnation(9) },
        RoomChange::Update { membership: membership(7, 8), metadata: Metadata::new("\"a\":1") },
        RoomChange::Snapshot(RoomRecord { media: Some(Incarnation(9)), ..record(3, &[]) }),
        RoomChange::Pin(Some(Incarnation(u64::MAX))),
        RoomChange::Pin(None),
    ];
    let signal = RemoteSignal {
        room: room(),
        from: membership(1, 11),
        to: vec![membership(2, 12), membership(3, 13)].into(),
        found_by: FoundBy::ConnectionId,
        kind: SignalKind::Message,
        name: Some("chat".into()),
        origin: "socketio".into(),
        body: "{\"text\":\"é\"}".into(),
        content: 8..12,
        note: u64::MAX,
        attachments: vec![Bytes::new(), Bytes::from_static(b"\0\xff")],
    };
    let bounce = Bounce {
        room: room(),
        from: membership(1, 11),
        to: membership(2, 12),
        failure: SignalFailure::NotDelivered,
        note: 5,
    };
    let handover = Handover {
        connection,
        session: Bytes::from_static(b"\0session"),
        rooms: vec![MovedRoom {
            from: Incarnation(5),
            away: vec![ConnectionId::from_u128(9)],
            known: record(3, &[member(7, 13, 5, 1), member(2, 12, 6, 2)]),
            transports: vec!["one".into(), "two".into()],
        }],
        unsent: vec![
            signal.clone(),
            RemoteSignal { name: None, attachments: Vec::new(), ..signal.clone() },
        ],
    };
    let answer =
        |outcome| Body::MediaAnswer(RemoteMediaAnswer { room: room(), connection, id: 3, outcome });
    let notice = |to: &[u128], notice| {
        let to = to.iter().map(|to| ConnectionId::from_u128(*to)).collect();
        Body::MediaNotice(RemoteMediaNotice { room: room(), to, notice: Arc::new(notice) })
    };
    let bodies = [
        Body::Signal(signal),
        Body::Bounce(bounce),
        Body::Withdrawn,
        Body::Have { next: 3, sent: 1 << 40 },
        Body::Gap { first: 300 },
        Body::Echo,
        Body::Presence { room: room(), from: membership(7, 8), is_away: true },
        Body::Hold { connection, rooms: vec![room(), RoomId::new("other").unwrap()] },
        Body::Held { connection },
        Body::Claim { connection, request: Bytes::from_static(b"token") },
        Body::Refused { connection, holder: None },
        Body::Refused { connection, holder: Some(Incarnation(7)) },
        Body::Handover(Box::new(handover)),
        Body::Kick { room: room(), connection, id: 12 },
        Body::Done { id: 12, is_done: true },
        Body::Media(RemoteMediaRequest {
            room: room(),
            connection,
            id: u64::MAX,
            form: 1,
            text: "{\"type\":\"producers:list\"}".into(),
        }),
        answer(MediaOutcome::Answered(MediaAnswered {
            text: "{\"type\":\"é\"}".into(),
            created: Some("one".into()),
            closed: None,
        })),
        answer(MediaOutcome::Answered(MediaAnswered {
            closed: Some("two".into()),
            ..MediaAnswered::default()
        })),
        answer(MediaOutcome::Elsewhere),
        answer(MediaOutcome::Failed),
        notice(&[], MediaNotice { is_vital: true, ..MediaNotice::default() }),
        notice(&[2], MediaNotice::all_failed()),
        notice(
            &[1, u128::MAX],
            MediaNotice {
                texts: vec!["a".into(), "".into(), "c".into()],
                is_vital: false,
                failed: Some("one".into()),
                created: Some(("two".into(), Incarnation(u64::MAX))),
            },
        ),
    ];
    let entries = changes.map(|change| {
        encode_entry(&LogEntry { room: room(), serial: 1, version: 3, change }).into()
    });
    let frames = bodies.map(|body| {
        encode_frame(&LinkFrame { from: Incarnation(u64::MAX), number: 77, processed: 300, body })
    });
    entries.into_iter().chain(frames).collect()
});

fn encode(message: &InboxMessage) -> Bytes {
    match message {
        InboxMessage::Entry(entry) => encode_entry(entry).into(),
        InboxMessage::Frame(frame) => encode_frame(frame),
    }
}

#[test]
fn every_message_is_decoded_as_it_was_encoded() {
    for bytes in MESSAGES.iter() {
        let message = decode(bytes).unwrap().expect("the kind is known");
        assert_eq!(encode(&message), bytes, "{message:?}");
    }
    assert_eq!(MESSAGES.len(), 32);
}

#[test]
fn truncated_message_is_malformed_or_lacks_a_field() {
    for bytes in MESSAGES.iter() {
        for length in 0..bytes.len() {
            // A repeated field at the end may be missing as a whole.
            if let Ok(Some(message)) = decode(&bytes[..length]) {
                assert_ne!(&encode(&message), bytes);
            }
        }
    }
}

#[test]
fn unknown_field_and_unknown_kind_are_skipped() {
    for bytes in MESSAGES.iter() {
        let mut later = bytes.to_vec();
        later.extend([200, 3, 1, 2, 3]);
        assert_eq!(decode(&later), decode(bytes));
        later[1] = b'?';
        assert_eq!(decode(&later), Ok(None));
        later[0] = 9;
        assert!(decode(&later).is_err(), "another version of the form");
    }
}

#[test]
fn frame_of_an_unknown_kind_counts_as_received() {
    let mut bytes = MESSAGES.last().unwrap().to_vec();
    bytes[1] = b'z';
    let frame = LinkFrame {
        from: Incarnation(u64::MAX),
        number: 77,
        processed: 300,
        body: Body::Withdrawn,
    };
    assert_eq!(decode(&bytes), Ok(Some(InboxMessage::Frame(frame))));
}

/// Messages of an earlier version. A version that cannot read them cannot run beside it.
#[test]
fn recorded_messages_are_read_as_they_were_written() {
    let recorded: Vec<&str> = include_str!("recorded.txt").lines().collect();
    assert_eq!(recorded.len(), 31);
    for line in recorded {
        let pairs = (0..line.len()).step_by(2).map(|at| &line[at..at + 2]);
        let old: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        // Fields that were added since are optional.
        let message = decode(&old).unwrap().expect("the kind is known");
        assert_eq!(encode(&message), old, "{message:?}");
    }
}

#[test]
fn range_outside_the_body_of_a_signal_is_malformed() {
    let Some(InboxMessage::Frame(LinkFrame { body: Body::Signal(signal), .. })) =
        decode(&MESSAGES[9]).unwrap()
    else {
        panic!("the tenth message is a signal");
    };
    let frame = |content| {
        let signal = RemoteSignal { content, ..signal.clone() };
        encode_frame(&LinkFrame {
            from: Incarnation(1),
            number: 1,
            processed: 0,
            body: Body::Signal(signal),
        })
    };
    assert!(decode(&frame(0..14)).is_err(), "beyond the end");
    assert!(decode(&frame(10..11)).is_err(), "within a character");
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let changed = (
        0..MESSAGES.len(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    );
    let changed = changed.prop_map(|(message, changes)| {
        let mut bytes = MESSAGES[message].to_vec();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), changed]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_bytes_do_not_panic(bytes in hostile()) {
        if let Ok(Some(message)) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&message)), Ok(Some(message)));
        }
    }
}
