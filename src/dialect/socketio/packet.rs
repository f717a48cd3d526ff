//! The packets of Engine.IO and Socket.IO.
//!
//! - [`EnginePacket`] is the content of one WebSocket text frame, or one packet of a polling
//!   payload: Engine.IO 3 and 4;
//! - [`Packet`] is the content of an Engine.IO message: Socket.IO protocol 4 (over Engine.IO 3) and
//!   5 (over Engine.IO 4);
//! - [`push_head`] and the functions after it encode the server's packets.
//!
//! Decoding borrows from the message and never looks into a packet's JSON: that is read once, by
//! [`decode`](super::decode). The specifications are
//! <https://socket.io/docs/v4/engine-io-protocol/> and
//! <https://socket.io/docs/v4/socket-io-protocol/>; their former revisions are tagged `v3` and `v4`
//! there.
//!
//! Invariant: no input makes decoding panic, or take more than one pass over the head.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::dialect::json::push_string;

/// The default namespace.
pub const ROOT: &str = "/";

/// Maximum number of digits of an acknowledgement id: clients count from 0, and any such number
/// fits 64 bits.
const MAX_ID_DIGITS: usize = 19;

/// Maximum number of digits of a number of attachments.
const MAX_COUNT_DIGITS: usize = 9;

/// The content of a probe, which tests a transport before the connection is upgraded to it.
const PROBE: &str = "probe";

/// A revision of the Engine.IO protocol, with the revision of Socket.IO that runs over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// Engine.IO 3: official clients 1.x and 2.x.
    V3,
    /// Engine.IO 4: official clients 3.x and 4.x.
    V4,
}

/// Why a packet cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The packet is empty.
    #[error("empty packet")]
    Empty,
    /// The first character is not a packet type of clients.
    #[error("unknown packet type")]
    Type,
    /// A binary packet does not begin with the number of its attachments.
    #[error("invalid number of attachments")]
    Attachments,
    /// An acknowledgement has no id, or an id is too long.
    #[error("invalid acknowledgement id")]
    Id,
    /// The packet carries data that its type does not have.
    #[error("invalid payload")]
    Payload,
}

/// An Engine.IO packet of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnginePacket<'a> {
    /// Ends the connection.
    Close,
    /// The heartbeat of an Engine.IO 3 client.
    Ping,
    /// The response of an Engine.IO 4 client to a heartbeat.
    Pong,
    /// Tests whether this transport works.
    Probe,
    /// Carries a Socket.IO packet.
    Message(&'a str),
    /// Moves the connection to this transport.
    Upgrade,
    /// Does nothing.
    Noop,
}

impl<'a> EnginePacket<'a> {
    /// Decodes the text of a packet.
    pub fn decode(text: &'a str) -> Result<Self, PacketError> {
        let mut rest = text.chars();
        let kind = rest.next().ok_or(PacketError::Empty)?;
        let rest = rest.as_str();
        match (kind, rest) {
            ('4', _) => Ok(Self::Message(rest)),
            ('1', "") => Ok(Self::Close),
            ('2', PROBE) => Ok(Self::Probe),
            // A heartbeat may carry any data.
            ('2', _) => Ok(Self::Ping),
            ('3', _) => Ok(Self::Pong),
            ('5', "") => Ok(Self::Upgrade),
            ('6', "") => Ok(Self::Noop),
            ('1' | '5' | '6', _) => Err(PacketError::Payload),
            _ => Err(PacketError::Type),
        }
    }
}

/// Encodes a binary message of the server in base64, for a polling client.
pub fn base64_packet(revision: Revision, frame: &[u8]) -> String {
    let (head, data) = match revision {
        Revision::V3 => ("b4", frame.strip_prefix(&[4]).unwrap_or(frame)),
        Revision::V4 => ("b", frame),
    };
    let mut packet = head.to_owned();
    BASE64_STANDARD.encode_string(data, &mut packet);
    packet
}

/// Returns the attachment in a WebSocket binary frame, or `None` if the frame carries none.
pub fn attachment(revision: Revision, frame: &[u8]) -> Option<&[u8]> {
    match revision {
        // In this revision a binary frame is a packet, with its type as a byte.
        Revision::V3 => frame.strip_prefix(&[4]),
        Revision::V4 => Some(frame),
    }
}

/// The type of a Socket.IO packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// Joins a namespace, or confirms the join.
    Connect,
    /// Leaves a namespace.
    Disconnect,
    /// Carries an event.
    Event,
    /// Acknowledges an event.
    Ack,
    /// Refuses a CONNECT.
    ConnectError,
    /// Carries an event whose binary attachments follow.
    BinaryEvent,
    /// Acknowledges an event, with binary attachments that follow.
    BinaryAck,
}

impl PacketKind {
    const fn digit(self) -> char {
        match self {
            Self::Connect => '0',
            Self::Disconnect => '1',
            Self::Event => '2',
            Self::Ack => '3',
            Self::ConnectError => '4',
            Self::BinaryEvent => '5',
            Self::BinaryAck => '6',
        }
    }

    fn of_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }
}

/// A Socket.IO packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The type.
    pub kind: PacketKind,
    /// Number of binary attachments that follow; zero for packets of other types.
    pub attachments: usize,
    /// The namespace, with its leading slash.
    pub namespace: &'a str,
    /// The acknowledgement id.
    pub id: Option<u64>,
    /// The JSON of the packet, unread; empty if there is none.
    pub data: &'a str,
}

impl<'a> Packet<'a> {
    /// Decodes the content of an Engine.IO message.
    pub fn decode(text: &'a str) -> Result<Self, PacketError> {
        let kind = PacketKind::of_digit(*text.as_bytes().first().ok_or(PacketError::Empty)?)
            .ok_or(PacketError::Type)?;
        let rest = &text[1..];
        let (attachments, rest) = match kind {
            PacketKind::BinaryEvent | PacketKind::BinaryAck => attachments(rest)?,
            _ => (0, rest),
        };
        let (namespace, rest) = namespace(rest);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, data) = rest.split_at(digits);
        let id =
            if digits <= MAX_ID_DIGITS { id.parse().ok() } else { return Err(PacketError::Id) };
        if id.is_none() && matches!(kind, PacketKind::Ack | PacketKind::BinaryAck) {
            return Err(PacketError::Id);
        }
        let packet = Self { kind, attachments, namespace, id, data };
        packet.has_valid_data().then_some(packet).ok_or(PacketError::Payload)
    }

    /// Returns whether the first character of the data is valid for the type.
    fn has_valid_data(&self) -> bool {
        match self.kind {
            PacketKind::Connect => self.data.is_empty() || self.data.starts_with('{'),
            PacketKind::Disconnect => self.data.is_empty(),
            PacketKind::Event
            | PacketKind::Ack
            | PacketKind::BinaryEvent
            | PacketKind::BinaryAck => self.data.starts_with('['),
            // Only servers send it.
            PacketKind::ConnectError => false,
        }
    }
}

/// Splits off the number of attachments and the hyphen after it.
fn attachments(text: &str) -> Result<(usize, &str), PacketError> {
    let (count, rest) = text.split_once('-').ok_or(PacketError::Attachments)?;
    let is_number = (1..=MAX_COUNT_DIGITS).contains(&count.len())
        && count.bytes().all(|byte| byte.is_ascii_digit());
    let count = if is_number { count.parse().ok() } else { None };
    Ok((count.ok_or(PacketError::Attachments)?, rest))
}

/// Splits off the namespace and the comma after it, which may be missing at the end of a packet.
/// Clients of Socket.IO 2 append a query to the namespace, which is not part of its name.
fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return (ROOT, text);
    }
    let (namespace, rest) = text.split_once(',').unwrap_or((text, ""));
    (namespace.split('?').next().unwrap_or(namespace), rest)
}

/// Appends the head of a packet, up to its JSON, beginning with the type of an Engine.IO message.
pub fn push_head(out: &mut String, kind: PacketKind, namespace: &str, id: Option<u64>) {
    out.push('4');
    out.push(kind.digit());
    push_namespace(out, namespace);
    if let Some(id) = id {
        out.push_str(&id.to_string());
    }
}

pub(super) fn push_namespace(out: &mut String, namespace: &str) {
    if namespace != ROOT {
        out.push_str(namespace);
        out.push(',');
    }
}

/// The data of the Engine.IO handshake packet.
#[derive(Debug, Clone, Copy)]
pub struct HandshakeData<'a> {
    /// The Engine.IO session id.
    pub sid: &'a str,
    /// Time between two heartbeats.
    pub ping_interval: Duration,
    /// Time for the response to a heartbeat.
    pub ping_timeout: Duration,
    /// Maximum size of a polling payload, in bytes.
    pub max_payload: usize,
}

/// Encodes the Engine.IO handshake packet of a WebSocket.
pub fn open(opening: &HandshakeData<'_>) -> String {
    let HandshakeData { sid, ping_interval, ping_timeout, max_payload } = opening;
    let (interval, timeout) = (ping_interval.as_millis(), ping_timeout.as_millis());
    format!(
        r#"0{{"sid":"{sid}","upgrades":[],"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{max_payload}}}"#
    )
}

/// Encodes the confirmation of a CONNECT: the id by which other peers know the connection, and the
/// secret with which its client may resume the session. Socket.IO 4 has neither.
pub fn connected(revision: Revision, namespace: &str, id: &str, key: Option<&str>) -> String {
    let mut out = String::with_capacity(128);
    push_head(&mut out, PacketKind::Connect, namespace, None);
    if revision == Revision::V4 {
        out.push_str(r#"{"sid":"#);
        push_string(&mut out, id);
        if let Some(key) = key {
            out.push_str(r#","pid":"#);
            push_string(&mut out, key);
        }
        out.push('}');
    }
    out
}

/// Encodes the refusal of a CONNECT.
pub fn refused(namespace: &str, message: &str) -> String {
    let mut out = String::with_capacity(128);
    push_head(&mut out, PacketKind::ConnectError, namespace, None);
    out.push_str(r#"{"message":"#);
    push_string(&mut out, message);
    out.push('}');
    out
}

/// Encodes the packet that disconnects a client from a namespace.
pub fn disconnect(namespace: &str) -> String {
    let mut out = String::with_capacity(namespace.len() + 3);
    push_head(&mut out, PacketKind::Disconnect, namespace, None);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_are_unwrapped_by_revision() {
        assert_eq!(attachment(Revision::V4, &[4, 1, 2]), Some(&[4, 1, 2][..]));
        assert_eq!(attachment(Revision::V3, &[4, 1, 2]), Some(&[1, 2][..]));
        assert_eq!(attachment(Revision::V3, &[1, 2]), None);
        assert_eq!(attachment(Revision::V3, &[]), None);
    }

    #[test]
    fn handshake_packet_names_intervals_in_milliseconds() {
        let opening = HandshakeData {
            sid: "s",
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 100,
        };
        let expected = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100}"#;
        assert_eq!(open(&opening), expected);
    }

    #[test]
    fn connect_replies_follow_the_revision() {
        assert_eq!(
            connected(Revision::V4, ROOT, "id", Some("key")),
            r#"40{"sid":"id","pid":"key"}"#
        );
        assert_eq!(connected(Revision::V4, "/chat", "id", None), r#"40/chat,{"sid":"id"}"#);
        assert_eq!(connected(Revision::V3, "/chat", "id", Some("key")), "40/chat,");
        assert_eq!(refused(ROOT, r#"no "way""#), r#"44{"message":"no \"way\""}"#);
        assert_eq!(refused("/chat", "no"), r#"44/chat,{"message":"no"}"#);
        assert_eq!(disconnect("/chat"), "41/chat,");
    }
}
