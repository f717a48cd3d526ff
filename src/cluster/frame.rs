//! Messages that arrive in an inbox, to bytes and back.
//!
//! Pure. Messages are decoded as hostile input: no bytes make [`decode`] panic, and it allocates no
//! more than a small multiple of their length.

mod entry;
mod fields;
mod handover;
mod kind;
mod media;
mod signal;

use bytes::Bytes;

pub use self::entry::{LogEntry, RoomChange, encode_entry, number_of};
use self::fields::{COMMON_LENGTH, Fields, Writer};
pub use self::handover::{Handover, MovedRoom};
pub use self::kind::TrafficKind;
pub use self::media::{
    MediaAnswered, MediaNotice, MediaOutcome, RemoteMediaAnswer, RemoteMediaNotice,
    RemoteMediaRequest,
};
pub use self::signal::RemoteSignal;
use super::SignalFailure;
use super::record::{Incarnation, Membership};
use crate::id::{ConnectionId, RoomId};

/// Version of the messages, which each node records in the list of nodes. It grows when a version
/// sends what earlier ones must not skip: a node sends that only if all nodes have recorded it.
pub(super) const PROTOCOL: u32 = 1;

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxMessage {
    /// A change of a room.
    Entry(LogEntry),
    /// A message from another node.
    Frame(LinkFrame),
}

/// A message from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFrame {
    /// The sender.
    pub from: Incarnation,
    /// Number on the link; 0 for frames that are not numbered.
    pub number: u64,
    /// Number of the last frame of the receiver that the sender has processed; 0 if there is none.
    pub processed: u64,
    /// Contents.
    pub body: Body,
}

/// The contents of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A signal.
    Signal(RemoteSignal),
    /// A signal that could not be delivered, back to the node of its sender.
    Bounce(Bounce),
    /// A peer is away, or is back.
    Presence {
        /// The room.
        room: RoomId,
        /// The peer.
        from: Membership,
        /// Whether its connection was lost.
        is_away: bool,
    },
    /// The send queue of a peer of the sender is above its high-water mark, by signals of peers of
    /// the receiver, among others.
    Congested {
        /// The room of the signal.
        room: RoomId,
        /// The peer.
        connection: ConnectionId,
    },
    /// The queue is below its high-water mark again.
    Drained {
        /// The peer.
        connection: ConnectionId,
    },
    /// A frame that its sender has withdrawn, or of a kind that only later versions know.
    Withdrawn,
    /// The session of a connection is about to move: the receiver is to hold signals to it, and to
    /// answer.
    Hold {
        /// The connection.
        connection: ConnectionId,
        /// The rooms that it shares with peers of the receiver.
        rooms: Vec<RoomId>,
    },
    /// The answer: the receiver of this has all signals to the connection that it will get.
    Held {
        /// The connection.
        connection: ConnectionId,
    },
    /// A client resumes a session of the receiver on the sender.
    Claim {
        /// The connection that the session has had from its beginning.
        connection: ConnectionId,
        /// Contents that the session layer of the receiver checks: the resume token, and the last
        /// frame received.
        request: Bytes,
    },
    /// A claim is refused.
    Refused {
        /// The connection.
        connection: ConnectionId,
        /// The node that the session has moved to, if the sender knows that.
        holder: Option<Incarnation>,
    },
    /// A claim is granted, and this is the session.
    Handover(Box<Handover>),
    /// Asks the node of a peer to remove it from a room.
    Kick {
        /// The room.
        room: RoomId,
        /// The peer.
        connection: ConnectionId,
        /// Identifies the request to its sender.
        id: u64,
    },
    /// Asks a node to evict a peer from a full pair session that has fallen silent.
    Evict {
        /// The pair session.
        room: RoomId,
        /// Identifies the request to its sender.
        id: u64,
    },
    /// The answer to [`Body::Kick`] and [`Body::Evict`].
    Done {
        /// The request.
        id: u64,
        /// Whether the peer was there.
        is_done: bool,
    },
    /// A request of a peer to the media server of the receiver.
    Media(RemoteMediaRequest),
    /// The answer to [`Body::Media`].
    MediaAnswer(RemoteMediaAnswer),
    /// A notice of the media server of the sender.
    MediaNotice(RemoteMediaNotice),
    /// Not numbered: the sender expects this number next, and will itself send `sent` next. A frame
    /// that the receiver misses is requested by it.
    Have {
        /// Number of the frame that the sender expects next from the receiver.
        next: u64,
        /// Number that the sender gives to its next frame to the receiver.
        sent: u64,
    },
    /// Not numbered: frames before this number are not kept any more.
    Gap {
        /// Number of the first frame that the sender keeps.
        first: u64,
    },
    /// Not numbered: a message of a node to itself, to see that it receives.
    Echo,
}

/// A signal that could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounce {
    /// The room.
    pub room: RoomId,
    /// The sender, which is to be informed.
    pub from: Membership,
    /// The recipient.
    pub to: Membership,
    /// Why it was not delivered.
    pub failure: SignalFailure,
    /// The note of the signal.
    pub note: u64,
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

const SIGNAL: u8 = b's';
const BOUNCE: u8 = b'b';
const WITHDRAWN: u8 = b'w';
const HAVE: u8 = b'n';
const GAP: u8 = b'g';
const ECHO: u8 = b'e';
const PRESENCE: u8 = b'p';
const HOLD: u8 = b'h';
const HELD: u8 = b'd';
const CLAIM: u8 = b'c';
const REFUSED: u8 = b'r';
const HANDOVER: u8 = b'o';
const KICK: u8 = b'k';
const DONE: u8 = b'a';
const EVICT: u8 = b'v';
const MEDIA: u8 = b'm';
const MEDIA_ANSWER: u8 = b'q';
const MEDIA_NOTICE: u8 = b't';
const CONGESTED: u8 = b'f';
const DRAINED: u8 = b'u';

const SENDER: u8 = 1;
const NUMBER: u8 = 2;
const ROOM: u8 = 3;
const FROM: u8 = 4;
const TO: u8 = 5;
const SIGNAL_KIND: u8 = 6;
const NAME: u8 = 7;
const ORIGIN: u8 = 8;
const TEXT: u8 = 9;
const CONTENT_START: u8 = 10;
const CONTENT_END: u8 = 11;
const NOTE: u8 = 12;
const ATTACHMENT: u8 = 13;
const BY_CONNECTION: u8 = 14;
const FAILURE: u8 = 15;
const NEXT: u8 = 16;
const SENT: u8 = 17;
const IS_AWAY: u8 = 18;
const CONNECTION: u8 = 19;
const FLAG: u8 = 20;
const REQUEST: u8 = 21;
const ID: u8 = 22;
const HOLDER: u8 = 23;
const PROCESSED: u8 = 24;

/// Writes a frame.
pub fn encode_frame(LinkFrame { from, number, processed, body }: &LinkFrame) -> Bytes {
    let kind = match body {
        Body::Signal(_) => SIGNAL,
        Body::Bounce(_) => BOUNCE,
        Body::Withdrawn => WITHDRAWN,
        Body::Have { .. } => HAVE,
        Body::Gap { .. } => GAP,
        Body::Echo => ECHO,
        Body::Presence { .. } => PRESENCE,
        Body::Hold { .. } => HOLD,
        Body::Held { .. } => HELD,
        Body::Claim { .. } => CLAIM,
        Body::Refused { .. } => REFUSED,
        Body::Handover(_) => HANDOVER,
        Body::Kick { .. } => KICK,
        Body::Done { .. } => DONE,
        Body::Evict { .. } => EVICT,
        Body::Media(_) => MEDIA,
        Body::MediaAnswer(_) => MEDIA_ANSWER,
        Body::MediaNotice(_) => MEDIA_NOTICE,
        Body::Congested { .. } => CONGESTED,
        Body::Drained { .. } => DRAINED,
    };
    let capacity = match body {
        Body::Signal(signal) => signal::capacity_for(signal),
        _ => COMMON_LENGTH,
    };
    let mut writer = Writer::message(kind, capacity);
    writer.number(SENDER, from.0).number(NUMBER, *number);
    if *processed > 0 {
        writer.number(PROCESSED, *processed);
    }
    match body {
        Body::Signal(signal) => signal::encode(&mut writer, signal),
        Body::Bounce(Bounce { room, from, to, failure, note }) => {
            writer.text(ROOM, room.as_str()).membership(FROM, *from).membership(TO, *to);
            writer
                .number(FAILURE, u64::from(*failure == SignalFailure::NotDelivered))
                .number(NOTE, *note);
        }
        Body::Presence { room, from, is_away } => {
            writer
                .text(ROOM, room.as_str())
                .membership(FROM, *from)
                .number(IS_AWAY, u64::from(*is_away));
        }
        Body::Have { next, sent } => _ = writer.number(NEXT, *next).number(SENT, *sent),
        Body::Gap { first } => _ = writer.number(NEXT, *first),
        Body::Hold { connection, rooms } => {
            writer.connection(CONNECTION, *connection);
            for room in rooms {
                writer.text(ROOM, room.as_str());
            }
        }
        Body::Congested { room, connection } => {
            writer.text(ROOM, room.as_str()).connection(CONNECTION, *connection);
        }
        Body::Held { connection } | Body::Drained { connection } => {
            writer.connection(CONNECTION, *connection);
        }
        Body::Refused { connection, holder } => {
            writer.connection(CONNECTION, *connection);
            if let Some(holder) = holder {
                writer.number(HOLDER, holder.0);
            }
        }
        Body::Claim { connection, request } => {
            writer.connection(CONNECTION, *connection).bytes(REQUEST, request);
        }
        Body::Handover(handover) => handover::encode(&mut writer, handover),
        Body::Kick { room, connection, id } => {
            writer.text(ROOM, room.as_str()).connection(CONNECTION, *connection).number(ID, *id);
        }
        Body::Evict { room, id } => _ = writer.text(ROOM, room.as_str()).number(ID, *id),
        Body::Done { id, is_done } => _ = writer.number(ID, *id).number(FLAG, u64::from(*is_done)),
        Body::Media(request) => media::encode_request(&mut writer, request),
        Body::MediaAnswer(answer) => media::encode_answer(&mut writer, answer),
        Body::MediaNotice(notice) => media::encode_notice(&mut writer, notice),
        Body::Withdrawn | Body::Echo => {}
    }
    writer.finish().into()
}

/// Reads a message. Returns `None` for a log entry of a kind that this version does not know. A
/// frame of such a kind is read as [`Body::Withdrawn`]: it has a number on its link, and the frames
/// after it are not processed without it.
pub fn decode(message: &[u8]) -> Result<Option<InboxMessage>, Malformed> {
    let (kind, fields) = fields::kind(message)?;
    if kind == SIGNAL {
        return decode_signal(fields).map(InboxMessage::Frame).map(Some);
    }
    let fields = Fields::of(fields)?;
    if entry::KINDS.contains(&kind) {
        return entry::decode_entry(kind, &fields).map(InboxMessage::Entry).map(Some);
    }
    let body = match kind {
        BOUNCE => {
            let failure = if fields.number(FAILURE)? == 0 {
                SignalFailure::TargetNotFound
            } else {
                SignalFailure::NotDelivered
            };
            let (room, note) = (fields.room(ROOM)?, fields.number(NOTE)?);
            Body::Bounce(Bounce {
                room,
                from: fields.membership(FROM)?,
                to: fields.membership(TO)?,
                failure,
                note,
            })
        }
        PRESENCE => {
            let is_away = fields.number(IS_AWAY)? != 0;
            Body::Presence { room: fields.room(ROOM)?, from: fields.membership(FROM)?, is_away }
        }
        WITHDRAWN => Body::Withdrawn,
        HAVE => Body::Have { next: fields.number(NEXT)?, sent: fields.number(SENT)? },
        GAP => Body::Gap { first: fields.number(NEXT)? },
        ECHO => Body::Echo,
        HOLD => {
            let rooms = fields.all(ROOM).map(fields::room).collect::<Result<_, _>>()?;
            Body::Hold { connection: fields.connection(CONNECTION)?, rooms }
        }
        HELD => Body::Held { connection: fields.connection(CONNECTION)? },
        CLAIM => {
            let request = Bytes::copy_from_slice(fields.bytes(REQUEST)?);
            Body::Claim { connection: fields.connection(CONNECTION)?, request }
        }
        REFUSED => Body::Refused {
            connection: fields.connection(CONNECTION)?,
            holder: fields.find(HOLDER).map(|_| fields.incarnation(HOLDER)).transpose()?,
        },
        HANDOVER => Body::Handover(Box::new(handover::decode(&fields)?)),
        KICK => {
            let (connection, id) = (fields.connection(CONNECTION)?, fields.number(ID)?);
            Body::Kick { room: fields.room(ROOM)?, connection, id }
        }
        EVICT => Body::Evict { room: fields.room(ROOM)?, id: fields.number(ID)? },
        DONE => Body::Done { id: fields.number(ID)?, is_done: fields.number(FLAG)? != 0 },
        MEDIA => Body::Media(media::decode_request(&fields)?),
        MEDIA_ANSWER => Body::MediaAnswer(media::decode_answer(&fields)?),
        MEDIA_NOTICE => Body::MediaNotice(media::decode_notice(&fields)?),
        CONGESTED => {
            let connection = fields.connection(CONNECTION)?;
            Body::Congested { room: fields.room(ROOM)?, connection }
        }
        DRAINED => Body::Drained { connection: fields.connection(CONNECTION)? },
        _ if kind.is_ascii_lowercase() => Body::Withdrawn,
        _ => return Ok(None),
    };
    let head = [SENDER, NUMBER, PROCESSED].map(|tag| fields.find(tag));
    link_frame(head, body).map(InboxMessage::Frame).map(Some)
}

fn decode_signal(fields: &[u8]) -> Result<LinkFrame, Malformed> {
    let (mut sender, mut number, mut processed) = (None, None, None);
    let signal = signal::decode(fields, |tag, value| match tag {
        SENDER => sender = Some(value),
        NUMBER => number = Some(value),
        PROCESSED => processed = Some(value),
        _ => {}
    })?;
    link_frame([sender, number, processed], Body::Signal(signal))
}

/// Reads the fields that all frames have.
fn link_frame(
    [sender, number, processed]: [Option<&[u8]>; 3],
    body: Body,
) -> Result<LinkFrame, Malformed> {
    Ok(LinkFrame {
        from: Incarnation(fields::number(sender.ok_or(Malformed)?)?),
        number: fields::number(number.ok_or(Malformed)?)?,
        processed: processed.map_or(Ok(0), fields::number)?,
        body,
    })
}
