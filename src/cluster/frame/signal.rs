//! Signals on their way to another node.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::fields::{Fields, Writer, membership};
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

/// Reads the fields of a signal.
pub(super) fn decode(fields: &Fields) -> Result<RemoteSignal, Malformed> {
    let kind = usize::try_from(fields.number(SIGNAL_KIND)?)
        .ok()
        .and_then(|kind| KINDS.get(kind))
        .ok_or(Malformed)?;
    let position = |tag| usize::try_from(fields.number(tag)?).map_err(|_| Malformed);
    let (body, content) = (fields.text(TEXT)?, position(CONTENT_START)?..position(CONTENT_END)?);
    body.get(content.clone()).ok_or(Malformed)?;
    let is_by_connection = fields.number(BY_CONNECTION)? != 0;
    let to: SmallVec<_> = fields.all(TO).map(membership).collect::<Result<_, _>>()?;
    Ok(RemoteSignal {
        room: fields.room(ROOM)?,
        from: fields.membership(FROM)?,
        to,
        found_by: if is_by_connection { FoundBy::ConnectionId } else { FoundBy::PeerId },
        kind: *kind,
        name: fields.find(NAME).map(|_| fields.text(NAME)).transpose()?.map(Into::into),
        origin: fields.text(ORIGIN)?.to_owned().into(),
        body: body.into(),
        content,
        note: fields.number(NOTE)?,
        attachments: fields.all(ATTACHMENT).map(Bytes::copy_from_slice).collect(),
    })
}
