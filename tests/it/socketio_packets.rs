//! Packets of Engine.IO and Socket.IO: recorded frames, and arbitrary text.

use parlor::dialect::socketio::packet::{EnginePacket, Packet, PacketKind};
use proptest::prelude::*;

use crate::support::frames::cases;
use crate::support::packets::check;

/// Describes a packet in a line of text.
fn line(text: &str) -> String {
    let message = match EnginePacket::decode(text) {
        Ok(EnginePacket::Message(message)) => message,
        Ok(packet) => return format!("{packet:?}").to_lowercase(),
        Err(error) => return error.to_string(),
    };
    let Packet { kind, attachments, namespace, id, data } = match Packet::decode(message) {
        Ok(packet) => packet,
        Err(error) => return error.to_string(),
    };
    let (name, attachments) = match kind {
        PacketKind::BinaryEvent => {
            ("binary event".to_owned(), format!(" {attachments} attachments"))
        }
        PacketKind::BinaryAck => ("binary ack".to_owned(), format!(" {attachments} attachments")),
        kind => (format!("{kind:?}").to_lowercase(), String::new()),
    };
    let id = id.map(|id| format!(" #{id}")).unwrap_or_default();
    let data = if data.is_empty() { String::new() } else { format!(" {data}") };
    format!("{name} {namespace}{id}{attachments}{data}")
}

#[test]
fn recorded_packets_are_decoded() {
    let cases = cases(include_str!("../fixtures/socketio/packets.txt"), "< ", "= ");
    assert!(cases.len() > 50);
    for (frame, expected) in cases {
        assert_eq!(line(frame), expected, "{frame}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn arbitrary_packets_do_not_panic_the_decoder(text in ".*") {
        check(text.as_bytes());
    }

    #[test]
    fn packet_like_text_does_not_panic_the_decoder(text in r"4[0-7]?[0-9-]{0,3}(/[a-z?é,]{0,4})?,?[0-9]{0,25}[\[{é]?.{0,8}") {
        check(text.as_bytes());
    }
}
