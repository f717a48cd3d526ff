//! Requests to the media server of another node, and what it tells the peers of this one.
//!
//! Requests, answers and notices travel as the text that the client sends or gets.

use std::sync::Arc;

use super::Malformed;
use super::fields::{Fields, Writer};
use crate::cluster::record::Incarnation;
use crate::id::{ConnectionId, RoomId};

/// A request of a peer to the media server of the receiving node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMediaRequest {
    /// The room.
    pub room: RoomId,
    /// The peer.
    pub connection: ConnectionId,
    /// Identifies the request to its sender.
    pub id: u64,
    /// The form in which the client gets its messages, see [`MediaNotice::texts`].
    pub form: u64,
    /// The message of the client.
    pub text: Box<str>,
}

/// The answer to a [`RemoteMediaRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMediaAnswer {
    /// The room.
    pub room: RoomId,
    /// The peer.
    pub connection: ConnectionId,
    /// The request.
    pub id: u64,
    /// The outcome.
    pub outcome: MediaOutcome,
}

/// The outcome of a [`RemoteMediaRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaOutcome {
    /// The media server has answered.
    Answered(MediaAnswered),
    /// The node does not have the media of the room (any more).
    Elsewhere,
    /// The node cannot answer.
    Failed,
}

/// The answer of a media server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaAnswered {
    /// The message to the client.
    pub text: Box<str>,
    /// The transport that the request has created.
    pub created: Option<Box<str>>,
    /// The transport that the request has closed.
    pub closed: Option<Box<str>>,
}

/// A notice of the media server to peers of the receiving node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMediaNotice {
    /// The room.
    pub room: RoomId,
    /// The recipients.
    pub to: Vec<ConnectionId>,
    /// The notice.
    pub notice: Arc<MediaNotice>,
}

/// A notice of the media server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaNotice {
    /// The message to the clients, in each form that clients may get, in an order that is the same
    /// on all nodes. A later version may add forms at the end. A single text is for all clients.
    pub texts: Vec<Box<str>>,
    /// Whether a client that misses it has a wrong view of the media.
    pub is_vital: bool,
    /// The transport whose failure this is; empty if all transports of the recipients have failed.
    pub failed: Option<Box<str>>,
    /// The transport whose creation this is the answer to, and the node that it is on: the request
    /// was made where the session of the recipient was before.
    pub created: Option<(Box<str>, Incarnation)>,
}

impl MediaNotice {
    /// Creates a notice that all transports of the recipients have failed. The receiving node knows
    /// them.
    pub fn all_failed() -> Self {
        Self { is_vital: true, failed: Some(Box::default()), ..Self::default() }
    }

    /// Returns whether all transports of the recipients have failed.
    pub fn is_all_failed(&self) -> bool {
        self.failed.as_deref() == Some("")
    }

    /// Returns the message to clients of a form; `None` if the sender does not know the form.
    pub fn text(&self, form: usize) -> Option<&str> {
        match self.texts.as_slice() {
            [text] => Some(text),
            texts => texts.get(form).map(|text| &**text),
        }
    }
}

const ROOM: u8 = super::ROOM;
const CONNECTION: u8 = super::CONNECTION;
const ID: u8 = super::ID;
const TEXT: u8 = super::TEXT;
const HOLDER: u8 = super::HOLDER;
const FORM: u8 = 40;
const OUTCOME: u8 = 41;
const CREATED: u8 = 42;
const CLOSED: u8 = 43;
const IS_VITAL: u8 = 44;

const ANSWERED: u64 = 0;
const ELSEWHERE: u64 = 1;
const FAILED: u64 = 2;

pub(super) fn encode_request(writer: &mut Writer, request: &RemoteMediaRequest) {
    let RemoteMediaRequest { room, connection, id, form, text } = request;
    writer.text(ROOM, room.as_str()).connection(CONNECTION, *connection).number(ID, *id);
    writer.number(FORM, *form).text(TEXT, text);
}

pub(super) fn decode_request(fields: &Fields) -> Result<RemoteMediaRequest, Malformed> {
    Ok(RemoteMediaRequest {
        room: fields.room(ROOM)?,
        connection: fields.connection(CONNECTION)?,
        id: fields.number(ID)?,
        form: fields.number(FORM)?,
        text: fields.text(TEXT)?.into(),
    })
}

pub(super) fn encode_answer(writer: &mut Writer, answer: &RemoteMediaAnswer) {
    let RemoteMediaAnswer { room, connection, id, outcome } = answer;
    writer.text(ROOM, room.as_str()).connection(CONNECTION, *connection).number(ID, *id);
    match outcome {
        MediaOutcome::Answered(MediaAnswered { text, created, closed }) => {
            writer.number(OUTCOME, ANSWERED).text(TEXT, text);
            encode_optional(writer, CREATED, created.as_deref());
            encode_optional(writer, CLOSED, closed.as_deref());
        }
        MediaOutcome::Elsewhere => _ = writer.number(OUTCOME, ELSEWHERE),
        MediaOutcome::Failed => _ = writer.number(OUTCOME, FAILED),
    }
}

pub(super) fn decode_answer(fields: &Fields) -> Result<RemoteMediaAnswer, Malformed> {
    let outcome = match fields.number(OUTCOME)? {
        ANSWERED => MediaOutcome::Answered(MediaAnswered {
            text: fields.text(TEXT)?.into(),
            created: decode_optional(fields, CREATED)?,
            closed: decode_optional(fields, CLOSED)?,
        }),
        ELSEWHERE => MediaOutcome::Elsewhere,
        FAILED => MediaOutcome::Failed,
        _ => return Err(Malformed),
    };
    let (room, connection) = (fields.room(ROOM)?, fields.connection(CONNECTION)?);
    Ok(RemoteMediaAnswer { room, connection, id: fields.number(ID)?, outcome })
}

pub(super) fn encode_notice(writer: &mut Writer, notice: &RemoteMediaNotice) {
    let RemoteMediaNotice { room, to, notice } = notice;
    writer.text(ROOM, room.as_str());
    for to in to {
        writer.connection(CONNECTION, *to);
    }
    encode_texts(writer, TEXT, &notice.texts);
    writer.number(IS_VITAL, u64::from(notice.is_vital));
    encode_optional(writer, CLOSED, notice.failed.as_deref());
    if let Some((transport, node)) = &notice.created {
        writer.text(CREATED, transport).number(HOLDER, node.0);
    }
}

pub(super) fn decode_notice(fields: &Fields) -> Result<RemoteMediaNotice, Malformed> {
    let notice = MediaNotice {
        texts: decode_texts(fields, TEXT)?,
        is_vital: fields.number(IS_VITAL)? != 0,
        failed: decode_optional(fields, CLOSED)?,
        created: match decode_optional(fields, CREATED)? {
            Some(transport) => Some((transport, fields.incarnation(HOLDER)?)),
            None => None,
        },
    };
    let to = fields.all(CONNECTION).map(super::fields::connection).collect::<Result<_, _>>()?;
    Ok(RemoteMediaNotice { room: fields.room(ROOM)?, to, notice: Arc::new(notice) })
}

/// Writes texts one after the other.
pub(super) fn encode_texts(writer: &mut Writer, tag: u8, texts: &[Box<str>]) {
    for text in texts {
        writer.text(tag, text);
    }
}

/// Reads the texts of a field that may be repeated.
pub(super) fn decode_texts(fields: &Fields, tag: u8) -> Result<Vec<Box<str>>, Malformed> {
    let text = |value| std::str::from_utf8(value).map(Into::into).map_err(|_| Malformed);
    fields.all(tag).map(text).collect()
}

fn encode_optional(writer: &mut Writer, tag: u8, text: Option<&str>) {
    if let Some(text) = text {
        writer.text(tag, text);
    }
}

fn decode_optional(fields: &Fields, tag: u8) -> Result<Option<Box<str>>, Malformed> {
    fields.find(tag).map(|_| fields.text(tag).map(Into::into)).transpose()
}
