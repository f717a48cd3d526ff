//! Properties of arbitrary packets of Engine.IO and Socket.IO, shared by the fuzz target and the
//! tests.

use parlor::dialect::socketio::packet::{
    EnginePacket, Packet, PacketKind, Revision, attachment, push_head,
};

/// Decodes a frame, encodes the result, and asserts that it is decoded to the same packet.
pub(crate) fn check(frame: &[u8]) {
    for revision in [Revision::V3, Revision::V4] {
        assert!(attachment(revision, frame).is_none_or(|attachment| frame.ends_with(attachment)));
    }
    // Text frames are valid UTF-8, which the WebSocket library has checked.
    let Ok(text) = std::str::from_utf8(frame) else { return };
    let Ok(EnginePacket::Message(message)) = EnginePacket::decode(text) else { return };
    let Ok(packet) = Packet::decode(message) else { return };
    assert!(packet.namespace.starts_with('/') && !packet.namespace.contains([',', '?']));
    assert!(message.ends_with(packet.data));
    if matches!(packet.kind, PacketKind::BinaryEvent | PacketKind::BinaryAck) {
        // The server does not send attachments of its own.
        return;
    }
    let mut written = String::new();
    push_head(&mut written, packet.kind, packet.namespace, packet.id);
    written.push_str(packet.data);
    let Ok(EnginePacket::Message(message)) = EnginePacket::decode(&written) else {
        panic!("{text} became {written}")
    };
    assert_eq!(Packet::decode(message), Ok(packet), "{text} became {written}");
}
