//! Calls and replies of the scripts, to the values of the engine and back.

use redis::Value;

use super::NodeIdentity;
use super::node_table::NodeLoad;
use super::sources::Script;
use crate::cluster::frame::{InboxMessage, LogEntry, RoomChange, decode};
use crate::cluster::record::{Incarnation, Member, Nonce, RoomRecord, milliseconds};
use crate::cluster::script::{Audit, Call, Join, Listed, Refusal, ScriptReply, Sync};
use crate::id::{ConnectionId, RoomId};
use crate::room::RoomSpec;

/// Writes `MessagePack`.
#[derive(Debug, Default)]
pub(super) struct Pack(Vec<u8>);

impl Pack {
    /// Begins a map of so many entries, at most 15.
    pub(super) fn map(entries: u8) -> Self {
        let mut pack = Self::default();
        pack.begin_map(entries);
        pack
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn begin_map(&mut self, entries: u8) {
        debug_assert!(entries < 16);
        self.0.push(0x80 | entries);
    }

    fn begin_array(&mut self, length: usize) {
        self.0.push(0xdd);
        self.0.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn text(&mut self, value: &[u8]) {
        self.0.push(0xdb);
        self.0.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(value);
    }

    /// Adds the name of an entry, shorter than 32 bytes.
    fn name(&mut self, name: &str) {
        self.0.push(0xa0 | name.len().to_le_bytes()[0]);
        self.0.extend_from_slice(name.as_bytes());
    }

    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        self.text(value);
        self
    }

    pub(super) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        self.0.push(0xcf);
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.0.push(0xc2 | u8::from(value));
        self
    }

    fn optional(&mut self, name: &str, value: Option<&[u8]>) -> &mut Self {
        if let Some(value) = value {
            return self.bytes(name, value);
        }
        self.name(name);
        self.0.push(0xc0);
        self
    }

    pub(super) fn texts<'a>(
        &mut self,
        name: &str,
        values: impl ExactSizeIterator<Item = &'a str>,
    ) -> &mut Self {
        self.name(name);
        self.begin_array(values.len());
        values.for_each(|value| self.text(value.as_bytes()));
        self
    }

    pub(super) fn spec(&mut self, spec: &RoomSpec) -> &mut Self {
        // The name of this argument in the scripts.
        self.name("founding");
        self.begin_map(4);
        self.number("cap", u64::try_from(spec.capacity.peers).unwrap_or(u64::MAX));
        self.flag("chosen", spec.capacity.is_chosen).flag("pair", spec.is_pair);
        self.number("at", milliseconds(spec.created_at))
    }

    fn member(&mut self, member: &Member, listed: Option<&Listed>) -> &mut Self {
        self.begin_map(if listed.is_some() { 10 } else { 8 });
        self.bytes("c", &member.connection().to_u128().to_be_bytes());
        self.bytes("n", &member.membership.nonce.0.to_be_bytes())
            .bytes("h", &member.holder.0.to_be_bytes());
        self.number("s", member.since).number("j", member.joined_at).flag("p", member.is_paired);
        self.bytes("id", member.peer.as_str().as_bytes())
            .bytes("m", member.metadata.as_str().as_bytes());
        if let Some(listed) = listed {
            self.flag("admitted", listed.is_admitted).flag("arriving", listed.is_arriving);
        }
        self
    }
}

/// Returns the script of a call, and its arguments. `random` is the epoch of an engine that has
/// none, `load` what this node carries.
pub(super) fn encode(
    call: &Call,
    identity: &NodeIdentity,
    random: u64,
    load: NodeLoad,
) -> (Script, Vec<u8>) {
    let lease = u64::try_from(identity.lease.as_millis()).unwrap_or(u64::MAX);
    match call {
        Call::Hello { known_epoch } => {
            let mut pack = Pack::map(6);
            pack.optional(
                "known",
                known_epoch.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice),
            );
            pack.bytes("epoch", &random.to_be_bytes())
                .bytes("engines", identity.engines.as_bytes());
            pack.bytes("name", identity.name.as_bytes()).bytes("info", identity.info().as_bytes());
            pack.number("lease", lease);
            (Script::Hello, pack.finish())
        }
        Call::Beat => {
            let mut pack = Pack::map(2);
            pack.number("lease", lease).bytes("load", &load.encode());
            (Script::Beat, pack.finish())
        }
        Call::Join(Join { spec, may_create, unless_ended, member }) => {
            let mut pack = Pack::map(5);
            pack.bytes("room", spec.room.as_str().as_bytes()).spec(spec);
            pack.flag("may_create", *may_create).flag("unless_ended", *unless_ended);
            pack.name("member");
            pack.member(member, None);
            (Script::Join, pack.finish())
        }
        Call::Leave { room, connection, reason } => {
            let mut pack = Pack::map(3);
            pack.bytes("room", room.as_str().as_bytes());
            pack.bytes("connection", &connection.to_u128().to_be_bytes());
            pack.number("reason", crate::cluster::frame::number_of(*reason));
            (Script::Leave, pack.finish())
        }
        Call::Update { room, membership, metadata } => {
            let mut pack = Pack::map(4);
            pack.bytes("room", room.as_str().as_bytes());
            pack.bytes("connection", &membership.connection.to_u128().to_be_bytes());
            pack.bytes("nonce", &membership.nonce.0.to_be_bytes());
            pack.bytes("metadata", metadata.as_str().as_bytes());
            (Script::Update, pack.finish())
        }
        Call::Move { room, membership, from } => {
            let mut pack = Pack::map(4);
            pack.bytes("room", room.as_str().as_bytes());
            pack.bytes("connection", &membership.connection.to_u128().to_be_bytes());
            pack.bytes("nonce", &membership.nonce.0.to_be_bytes())
                .bytes("from", &from.0.to_be_bytes());
            (Script::Move, pack.finish())
        }
        Call::Pin { room } | Call::Unpin { room } => {
            let mut pack = Pack::map(1);
            pack.bytes("room", room.as_str().as_bytes());
            let is_pin = matches!(call, Call::Pin { .. });
            (if is_pin { Script::Pin } else { Script::Unpin }, pack.finish())
        }
        Call::Sync(Sync { spec, may_create, serial, version, members, media }) => {
            let mut pack = Pack::map(7);
            pack.bytes("room", spec.room.as_str().as_bytes()).spec(spec);
            pack.flag("may_create", *may_create)
                .number("serial", *serial)
                .number("version", *version);
            let media = media.map(|media| media.0.to_be_bytes());
            pack.optional("media", media.as_ref().map(<[u8; 8]>::as_slice));
            pack.name("members");
            pack.begin_array(members.len());
            for listed in members {
                pack.member(&listed.member, Some(listed));
            }
            (Script::Sync, pack.finish())
        }
        Call::Reap { dead } => {
            let mut pack = Pack::map(2);
            pack.bytes("dead", &dead.0.to_be_bytes()).number("lease", lease);
            (Script::Reap, pack.finish())
        }
        Call::Audit(Audit { rooms, position }) => {
            let mut pack = Pack::map(2);
            pack.number("position", *position).name("rooms");
            pack.begin_array(rooms.len());
            for audited in rooms {
                pack.begin_map(3);
                pack.bytes("room", audited.room.as_str().as_bytes());
                pack.number("serial", audited.serial).number("version", audited.version);
            }
            (Script::Audit, pack.finish())
        }
    }
}

/// A reply that is none of those that the scripts give.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadReply {
    /// The engine reports an error.
    #[error("{0}")]
    Error(String),
    /// The node's list of engines is another than that of the other nodes.
    #[error("the other nodes use another list of engines: {0}")]
    Engines(String),
    /// The name of the node is that of a living node.
    #[error("the name of this node is in use")]
    Name,
    /// It has another form.
    #[error("unexpected reply of the engine")]
    Malformed,
}

/// The parts of a reply: its name, and the rest.
pub(super) struct Parts(std::vec::IntoIter<Value>);

impl From<Vec<Value>> for Parts {
    fn from(parts: Vec<Value>) -> Self {
        Self(parts.into_iter())
    }
}

impl Parts {
    /// Reads the name of a reply.
    pub(super) fn of(reply: Value) -> Result<(String, Self), BadReply> {
        match reply {
            Value::Array(parts) => {
                let mut parts = Self(parts.into_iter());
                let name = parts.text()?;
                Ok((name, parts))
            }
            Value::ServerError(error) => Err(BadReply::Error(error.to_string())),
            _ => Err(BadReply::Malformed),
        }
    }

    fn next(&mut self) -> Result<Value, BadReply> {
        self.0.next().ok_or(BadReply::Malformed)
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, BadReply> {
        bytes_of(self.next()?)
    }

    pub(super) fn text(&mut self) -> Result<String, BadReply> {
        String::from_utf8(self.bytes()?).map_err(|_| BadReply::Malformed)
    }

    pub(super) fn number(&mut self) -> Result<u64, BadReply> {
        match self.next()? {
            Value::Int(number) => u64::try_from(number).map_err(|_| BadReply::Malformed),
            _ => Err(BadReply::Malformed),
        }
    }

    pub(super) fn list(&mut self) -> Result<Vec<Value>, BadReply> {
        match self.next()? {
            Value::Array(list) => Ok(list),
            _ => Err(BadReply::Malformed),
        }
    }

    fn nodes(&mut self) -> Result<Vec<Incarnation>, BadReply> {
        let eight = |value| Ok(Incarnation(u64::from_be_bytes(array(&bytes_of(value)?)?)));
        self.list()?.into_iter().map(eight).collect()
    }

    fn refusal(&mut self) -> Result<Refusal, BadReply> {
        let (why, most) = (self.number()?, self.number()?);
        Ok(match why {
            0 => Refusal::Full { capacity: usize::try_from(most).unwrap_or(usize::MAX) },
            1 => Refusal::NotFound,
            2 => Refusal::Ended,
            3 => Refusal::NotForPairs,
            4 => Refusal::Closed,
            5 => Refusal::Replaced,
            6 => Refusal::NotMember,
            _ => return Err(BadReply::Malformed),
        })
    }
}

fn bytes_of(value: Value) -> Result<Vec<u8>, BadReply> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(BadReply::Malformed),
    }
}

pub(super) fn array<const LENGTH: usize>(bytes: &[u8]) -> Result<[u8; LENGTH], BadReply> {
    bytes.try_into().map_err(|_| BadReply::Malformed)
}

/// Reads the reply to a call.
pub(super) fn decode_reply(reply: Value) -> Result<ScriptReply, BadReply> {
    let (name, mut parts) = Parts::of(reply)?;
    Ok(match name.as_str() {
        "fenced" => ScriptReply::Fenced,
        "stale" => ScriptReply::Stale,
        "done" => ScriptReply::Done,
        "denied" => ScriptReply::Denied(parts.refusal()?),
        "full" => {
            let capacity = usize::try_from(parts.number()?).unwrap_or(usize::MAX);
            ScriptReply::PairFull { capacity, nodes: parts.nodes()?.into_iter().collect() }
        }
        "welcome" => {
            let epoch = u64::from_be_bytes(array(&parts.bytes()?)?);
            ScriptReply::Welcome { epoch, living: parts.nodes()? }
        }
        "alive" => ScriptReply::Alive { living: parts.nodes()?, expired: parts.nodes()? },
        "reaped" => ScriptReply::Reaped { is_over: parts.number()? != 0 },
        "audited" => {
            let rooms = parts.list()?.into_iter().map(|room| {
                let room = String::from_utf8(bytes_of(room)?).ok();
                room.and_then(|room| RoomId::new(&room).ok()).ok_or(BadReply::Malformed)
            });
            let differing = rooms.collect::<Result<_, _>>()?;
            ScriptReply::Audited { differing, next: parts.number()?, removed: parts.number()? }
        }
        "synced" => {
            let record = parts.bytes()?;
            let record = if record.is_empty() { None } else { Some(record_of(&record)?) };
            let out = parts.list()?.into_iter().map(|out| {
                let Value::Array(out) = out else { return Err(BadReply::Malformed) };
                let mut out = Parts(out.into_iter());
                let connection =
                    ConnectionId::from_u128(u128::from_be_bytes(array(&out.bytes()?)?));
                let nonce = Nonce(u64::from_be_bytes(array(&out.bytes()?)?));
                Ok((connection, nonce, out.refusal()?))
            });
            ScriptReply::Synced { record, out: out.collect::<Result<_, _>>()? }
        }
        "engines" => return Err(BadReply::Engines(parts.text()?)),
        "name" => return Err(BadReply::Name),
        _ => return Err(BadReply::Malformed),
    })
}

/// Reads a room, which is written as a snapshot.
pub(super) fn record_of(snapshot: &[u8]) -> Result<RoomRecord, BadReply> {
    match decode(snapshot) {
        Ok(Some(InboxMessage::Entry(LogEntry {
            change: RoomChange::Snapshot(record), ..
        }))) => Ok(record),
        _ => Err(BadReply::Malformed),
    }
}

/// Reads the reply to a question about rooms: how many there are, and those that were asked for.
pub(super) fn decode_rooms(reply: Value) -> Result<(u64, Vec<RoomRecord>), BadReply> {
    let (name, mut parts) = Parts::of(reply)?;
    if name != "rooms" {
        return Err(BadReply::Malformed);
    }
    let count = parts.number()?;
    let rooms = parts.list()?.into_iter().map(|room| record_of(&bytes_of(room)?));
    Ok((count, rooms.collect::<Result<_, _>>()?))
}
