//! Signals on their way to another node.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::fields::{self, Writer, each, membership, number, text};
use super::{
    ATTACHMENT, BY_CONNECTION, CONTENT_END, CONTENT_START, FROM, Malformed, NAME, NOTE, ORIGIN,
    ROOM, SIGNAL_KIND, TEXT, TO,
};
use crate::cluster::record::Membership;
use crate::id::RoomId;
use crate::room::{FoundBy, Signal, SignalKind};

const KINDS: [SignalKind; 4] =
    [SignalKind::Offer, SignalKind::Answer, SignalKind::Candidate, SignalKind::Message];

/// A signal on its way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSignal {
    /// The room.
    pub room: RoomId,
    /// The sender.
    pub from: Membership,
    /// The recipients, all of them on one node.
    pub to: SmallVec<[Membership; 1]>,
    /// How the sender named the recipient.
    pub found_by: FoundBy,
    /// The kind of the signal.
    pub kind: SignalKind,
    /// Name of an application message.
    pub name: Option<Box<str>>,
    /// Name of the dialect in which it was sent.
    pub origin: Cow<'static, str>,
    /// The message of the sender.
    pub body: Box<str>,
    /// Range in `body`, see [`Signal::content`].
    pub content: Range<usize>,
    /// See [`Signal::note`].
    pub note: u64,
    /// Binary parts.
    pub attachments: Vec<Bytes>,
}

impl RemoteSignal {
    /// Takes out the signal for the rooms of this node, in a dialect that it knows by the same name.
    /// The message, its name and its attachments are empty afterwards.
    pub fn take(&mut self, origin: &'static str) -> Signal {
        Signal {
            kind: self.kind,
            name: self.name.take(),
            origin,
            body: std::mem::take(&mut self.body),
            content: std::mem::take(&mut self.content),
            note: self.note,
            echo: false,
            attachments: std::mem::take(&mut self.attachments),
        }
    }
}

/// Returns a little more than the length of the frame of a signal.
pub(super) fn capacity_for(signal: &RemoteSignal) -> usize {
    // Tags, lengths, numbers and one membership.
    const FIXED: usize = 80;
    let RemoteSignal { room, to, name, origin, body, attachments, .. } = signal;
    let attachments: usize = attachments.iter().map(|attachment| attachment.len() + 6).sum();
    FIXED
        + room.as_str().len()
        + to.len() * 26
        + name.as_ref().map_or(0, |name| name.len() + 6)
        + origin.len()
        + body.len()
        + attachments
}

/// Writes the fields of a signal.
pub(super) fn encode(writer: &mut Writer, signal: &RemoteSignal) {
    let RemoteSignal {
        room,
        from,
        to,
        found_by,
        kind,
        name,
        origin,
        body,
        content,
        note,
        attachments,
    } = signal;
    writer.text(ROOM, room.as_str()).membership(FROM, *from);
    for to in to {
        writer.membership(TO, *to);
    }
    let kind = KINDS.iter().position(|known| known == kind).unwrap_or_default();
    writer.number(SIGNAL_KIND, u64::try_from(kind).unwrap_or_default());
    writer.number(BY_CONNECTION, u64::from(*found_by == FoundBy::ConnectionId));
    if let Some(name) = name {
        writer.text(NAME, name);
    }
    let position = |position: usize| u64::try_from(position).unwrap_or(u64::MAX);
    writer.text(ORIGIN, origin).text(TEXT, body).number(NOTE, *note);
    writer
        .number(CONTENT_START, position(content.start))
        .number(CONTENT_END, position(content.end));
    for attachment in attachments {
        writer.bytes(ATTACHMENT, attachment);
    }
}

/// Reads the fields of a signal in one pass, since most frames are signals. The other fields are given
/// to `other`, with their tags.
pub(super) fn decode<'a>(
    fields: &'a [u8],
    mut other: impl FnMut(u8, &'a [u8]),
) -> Result<RemoteSignal, Malformed> {
    let (mut room, mut from, mut kind, mut by_connection, mut name) =
        (None, None, None, None, None);
    let (mut origin, mut body, mut start, mut end, mut note) = (None, None, None, None, None);
    let (mut to, mut attachments) = (SmallVec::new(), Vec::new());
    each(fields, |tag, value| {
        let field = match tag {
            ROOM => &mut room,
            FROM => &mut from,
            SIGNAL_KIND => &mut kind,
            BY_CONNECTION => &mut by_connection,
            NAME => &mut name,
            ORIGIN => &mut origin,
            TEXT => &mut body,
            CONTENT_START => &mut start,
            CONTENT_END => &mut end,
            NOTE => &mut note,
            TO => {
                to.push(membership(value)?);
                return Ok(());
            }
            ATTACHMENT => {
                attachments.push(Bytes::copy_from_slice(value));
                return Ok(());
            }
            _ => {
                other(tag, value);
                return Ok(());
            }
        };
        *field = Some(value);
        Ok(())
    })?;
    let number = |field: Option<_>| number(field.ok_or(Malformed)?);
    let position = |field| usize::try_from(number(field)?).map_err(|_| Malformed);
    let text = |field: Option<_>| text(field.ok_or(Malformed)?);
    let kind = KINDS.get(position(kind)?).ok_or(Malformed)?;
    let (body, content) = (text(body)?, position(start)?..position(end)?);
    body.get(content.clone()).ok_or(Malformed)?;
    let is_by_connection = number(by_connection)? != 0;
    Ok(RemoteSignal {
        room: fields::room(room.ok_or(Malformed)?)?,
        from: membership(from.ok_or(Malformed)?)?,
        to,
        found_by: if is_by_connection { FoundBy::ConnectionId } else { FoundBy::PeerId },
        kind: *kind,
        name: name.map(|name| text(Some(name))).transpose()?.map(Into::into),
        origin: text(origin)?.to_owned().into(),
        body: body.into(),
        content,
        note: number(note)?,
        attachments,
    })
}
