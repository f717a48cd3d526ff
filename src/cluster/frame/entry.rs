//! Log entries: changes of a room, in the order in which the engine made them.

use std::time::SystemTime;

use super::Malformed;
use super::fields::{COMMON_LENGTH, Fields, Writer};
use crate::cluster::record::{Incarnation, Member, Membership, RoomRecord, milliseconds, time};
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::room::{Capacity, LeaveReason, Metadata, RoomSpec};

/// One change of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The room.
    pub room: RoomId,
    /// Which of the rooms of this name it is.
    pub serial: u64,
    /// Version of the room after the change.
    pub version: u64,
    /// The change.
    pub change: RoomChange,
}

/// The kind of change, and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomChange {
    /// The whole room, for a node that had no member in it, or after a repair.
    Snapshot(RoomRecord),
    /// A member joined; a member that it replaced is out.
    Join {
        /// The new member.
        member: Member,
        /// The connection of the member with the same peer id.
        replaced: Option<ConnectionId>,
    },
    /// A member left.
    Leave {
        /// The member.
        connection: ConnectionId,
        /// The reason for the other peers.
        reason: LeaveReason,
    },
    /// The session of a member moved to another node.
    Move {
        /// The member.
        connection: ConnectionId,
        /// The node that has it now.
        holder: Incarnation,
    },
    /// The room was closed: no member is left.
    Close,
    /// A member has other metadata.
    Update {
        /// The member.
        membership: Membership,
        /// The metadata.
        metadata: Metadata,
    },
    /// The media of the room is on this node from now on, or on none.
    Pin(Option<Incarnation>),
}

/// The kinds of entries.
const SNAPSHOT: u8 = b'S';
const JOIN: u8 = b'J';
const LEAVE: u8 = b'L';
const MOVE: u8 = b'M';
const UPDATE: u8 = b'U';
const CLOSE: u8 = b'X';
const PIN: u8 = b'P';
pub(super) const KINDS: [u8; 7] = [SNAPSHOT, JOIN, LEAVE, MOVE, UPDATE, CLOSE, PIN];

const ROOM: u8 = 1;
const SERIAL: u8 = 2;
const ROOM_VERSION: u8 = 3;
const MEMBER: u8 = 4;
const CONNECTION: u8 = 5;
const REASON: u8 = 6;
const HOLDER: u8 = 7;
const METADATA: u8 = 8;
const CREATED_AT: u8 = 9;
const CAPACITY: u8 = 10;
const FLAGS: u8 = 11;
const SINCE: u8 = 12;
const JOINED_AT: u8 = 13;
const PEER: u8 = 14;
const MEMBERSHIP: u8 = 15;
const MEDIA: u8 = 16;

/// Flags of a room, and of a member.
const IS_PAIR: u64 = 1;
const IS_CHOSEN: u64 = 2;

const REASONS: [LeaveReason; 7] = [
    LeaveReason::Left,
    LeaveReason::Disconnected,
    LeaveReason::TimedOut,
    LeaveReason::Replaced,
    LeaveReason::Kicked,
    LeaveReason::Closed,
    LeaveReason::HungUp,
];

/// Returns the number of a reason in messages.
pub fn number_of(reason: LeaveReason) -> u64 {
    let number = REASONS.iter().position(|known| *known == reason).unwrap_or_default();
    u64::try_from(number).unwrap_or_default()
}

/// Writes an entry.
pub fn encode_entry(LogEntry { room, serial, version, change }: &LogEntry) -> Vec<u8> {
    let kind = match change {
        RoomChange::Snapshot(_) => SNAPSHOT,
        RoomChange::Join { .. } => JOIN,
        RoomChange::Leave { .. } => LEAVE,
        RoomChange::Move { .. } => MOVE,
        RoomChange::Update { .. } => UPDATE,
        RoomChange::Close => CLOSE,
        RoomChange::Pin(_) => PIN,
    };
    let mut writer = Writer::message(kind, COMMON_LENGTH);
    writer.text(ROOM, room.as_str()).number(SERIAL, *serial).number(ROOM_VERSION, *version);
    match change {
        RoomChange::Snapshot(record) => encode_contents(&mut writer, record),
        RoomChange::Join { member, replaced } => {
            writer.bytes(MEMBER, &encode_member(member));
            if let Some(replaced) = replaced {
                writer.connection(CONNECTION, *replaced);
            }
        }
        RoomChange::Leave { connection, reason } => {
            writer.connection(CONNECTION, *connection).number(REASON, number_of(*reason));
        }
        RoomChange::Move { connection, holder } => {
            writer.connection(CONNECTION, *connection).number(HOLDER, holder.0);
        }
        RoomChange::Close => {}
        RoomChange::Update { membership, metadata } => {
            writer.membership(MEMBERSHIP, *membership).text(METADATA, metadata.as_str());
        }
        RoomChange::Pin(media) => encode_media(&mut writer, *media),
    }
    writer.finish()
}

/// Reads an entry.
pub(super) fn decode_entry(kind: u8, fields: &Fields) -> Result<LogEntry, Malformed> {
    let (room, serial, version) =
        (fields.room(ROOM)?, fields.number(SERIAL)?, fields.number(ROOM_VERSION)?);
    let change = match kind {
        SNAPSHOT => RoomChange::Snapshot(decode_record(fields)?),
        JOIN => {
            let replaced =
                fields.find(CONNECTION).map(|_| fields.connection(CONNECTION)).transpose()?;
            RoomChange::Join { member: decode_member(fields.bytes(MEMBER)?)?, replaced }
        }
        LEAVE => {
            let reason =
                usize::try_from(fields.number(REASON)?).ok().and_then(|reason| REASONS.get(reason));
            // A reason of a later version is not a reason to drop the entry.
            let reason = reason.copied().unwrap_or(LeaveReason::Disconnected);
            RoomChange::Leave { connection: fields.connection(CONNECTION)?, reason }
        }
        MOVE => RoomChange::Move {
            connection: fields.connection(CONNECTION)?,
            holder: fields.incarnation(HOLDER)?,
        },
        UPDATE => {
            let metadata = Metadata::new(fields.text(METADATA)?);
            RoomChange::Update { membership: fields.membership(MEMBERSHIP)?, metadata }
        }
        CLOSE => RoomChange::Close,
        PIN => RoomChange::Pin(decode_media(fields)?),
        _ => return Err(Malformed),
    };
    Ok(LogEntry { room, serial, version, change })
}

/// Writes all of a record.
pub(super) fn encode_record(record: &RoomRecord) -> Writer {
    let mut writer = Writer::nested();
    writer
        .text(ROOM, record.room().as_str())
        .number(SERIAL, record.serial)
        .number(ROOM_VERSION, record.version);
    encode_contents(&mut writer, record);
    writer
}

/// Writes what a record has beside the fields of all entries.
fn encode_contents(writer: &mut Writer, record: &RoomRecord) {
    let RoomSpec { created_at, capacity, is_pair, .. } = &record.spec;
    let flags = if *is_pair { IS_PAIR } else { 0 } | if capacity.is_chosen { IS_CHOSEN } else { 0 };
    writer.number(CREATED_AT, milliseconds(*created_at)).number(FLAGS, flags);
    writer.number(CAPACITY, u64::try_from(capacity.peers).unwrap_or(u64::MAX));
    for member in &record.members {
        writer.bytes(MEMBER, &encode_member(member));
    }
    encode_media(writer, record.media);
}

fn encode_media(writer: &mut Writer, media: Option<Incarnation>) {
    if let Some(media) = media {
        writer.number(MEDIA, media.0);
    }
}

fn decode_media(fields: &Fields) -> Result<Option<Incarnation>, Malformed> {
    fields.find(MEDIA).map(|_| fields.incarnation(MEDIA)).transpose()
}

/// Reads a record.
pub(super) fn decode_record(fields: &Fields) -> Result<RoomRecord, Malformed> {
    let (room, serial, version) =
        (fields.room(ROOM)?, fields.number(SERIAL)?, fields.number(ROOM_VERSION)?);
    let peers = usize::try_from(fields.number(CAPACITY)?).map_err(|_| Malformed)?;
    let flags = fields.number(FLAGS)?;
    let capacity = Capacity { peers, is_chosen: flags & IS_CHOSEN != 0 };
    let created_at: SystemTime = time(fields.number(CREATED_AT)?);
    let spec = RoomSpec { room, created_at, capacity, is_pair: flags & IS_PAIR != 0 };
    let members = fields.all(MEMBER).map(decode_member).collect::<Result<_, _>>()?;
    Ok(RoomRecord { spec, serial, version, members, media: decode_media(fields)? })
}

fn encode_member(member: &Member) -> Vec<u8> {
    let mut writer = Writer::nested();
    writer
        .membership(MEMBERSHIP, member.membership)
        .number(HOLDER, member.holder.0)
        .number(SINCE, member.since);
    writer
        .number(JOINED_AT, member.joined_at)
        .number(FLAGS, if member.is_paired { IS_PAIR } else { 0 });
    writer.text(PEER, member.peer.as_str()).text(METADATA, member.metadata.as_str());
    writer.finish()
}

fn decode_member(value: &[u8]) -> Result<Member, Malformed> {
    let fields = Fields::of(value)?;
    Ok(Member {
        membership: fields.membership(MEMBERSHIP)?,
        holder: fields.incarnation(HOLDER)?,
        since: fields.number(SINCE)?,
        joined_at: fields.number(JOINED_AT)?,
        is_paired: fields.number(FLAGS)? & IS_PAIR != 0,
        peer: PeerId::exact(fields.text(PEER)?).map_err(|_| Malformed)?,
        metadata: Metadata::new(fields.text(METADATA)?),
    })
}
