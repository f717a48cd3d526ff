//! A session on its way to another node.

use bytes::Bytes;

use super::entry::{decode_record, encode_record};
use super::fields::{Fields, Writer, connection};
use super::media::{decode_texts, encode_texts};
use super::{Malformed, RemoteSignal, signal};
use crate::cluster::record::{Incarnation, RoomRecord};
use crate::id::ConnectionId;

/// A session on its way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// The connection that the session has had from its beginning.
    pub connection: ConnectionId,
    /// The session, as the session layer writes it: the replay buffer and the state of its client.
    pub session: Bytes,
    /// The rooms that it is in.
    pub rooms: Vec<MovedRoom>,
    /// Signals of the session to peers that are moving themselves, in the order in which they were
    /// sent.
    pub unsent: Vec<RemoteSignal>,
}

/// A room of a session that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedRoom {
    /// The sending node, as the engine of this room knows it.
    pub from: Incarnation,
    /// The room as the client knows it. The session is a member of it.
    pub known: RoomRecord,
    /// The peers that are away, as the client knows them.
    pub away: Vec<ConnectionId>,
    /// The transports that the session has at the node with the media of the room.
    pub transports: Vec<Box<str>>,
}

const CONNECTION: u8 = super::CONNECTION;
const SESSION: u8 = 30;
const ROOM: u8 = 31;
const UNSENT: u8 = 32;
/// In a room, beside the fields of a record.
const FROM: u8 = 33;
const TRANSPORT: u8 = 34;
const AWAY: u8 = 35;

pub(super) fn encode(
    writer: &mut Writer,
    Handover { connection, session, rooms, unsent }: &Handover,
) {
    writer.connection(CONNECTION, *connection).bytes(SESSION, session);
    for MovedRoom { from, known, away, transports } in rooms {
        let mut room = encode_record(known);
        room.number(FROM, from.0);
        for peer in away {
            room.connection(AWAY, *peer);
        }
        encode_texts(&mut room, TRANSPORT, transports);
        writer.bytes(ROOM, &room.finish());
    }
    for signal in unsent {
        let mut nested = Writer::nested();
        signal::encode(&mut nested, signal);
        writer.bytes(UNSENT, &nested.finish());
    }
}

pub(super) fn decode(fields: &Fields) -> Result<Handover, Malformed> {
    let room = |value: &[u8]| {
        let fields = Fields::of(value)?;
        let transports = decode_texts(&fields, TRANSPORT)?;
        Ok(MovedRoom {
            from: fields.incarnation(FROM)?,
            known: decode_record(&fields)?,
            away: fields.all(AWAY).map(connection).collect::<Result<_, _>>()?,
            transports,
        })
    };
    Ok(Handover {
        connection: fields.connection(CONNECTION)?,
        session: Bytes::copy_from_slice(fields.bytes(SESSION)?),
        rooms: fields.all(ROOM).map(room).collect::<Result<_, _>>()?,
        unsent: fields
            .all(UNSENT)
            .map(|value| signal::decode(value, |_, _| {}))
            .collect::<Result<_, _>>()?,
    })
}
