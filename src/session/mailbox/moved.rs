//! A mailbox on its way to another node: the frames that the client has missed, and what its
//! framing remembers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Kept, Mailbox, State};
use crate::dialect::{Framing, TokenMessage};
use crate::id::ConnectionId;
use crate::session::moved::{Reader, Writer};
use crate::session::replay_buffer::{ReplayBuffer, Replayed, ResumeLimits};
use crate::session::timers::Timers;

/// Takes no frame any more.
const CLOSED: ResumeLimits =
    ResumeLimits { time: std::time::Duration::ZERO, messages: 0, bytes: 0 };

const TEXT: u64 = 0;
const WITH_ATTACHMENTS: u64 = 1;
const WITH_TOKEN: u64 = 2;

impl Mailbox {
    /// Writes all frames after `seen`, and refuses further ones.
    pub(in crate::session) fn release(&self, seen: u64, writer: &mut Writer) {
        let mut closed = ReplayBuffer::new(CLOSED);
        closed.set_away();
        let former = self.state.lock().replay_buffer.replace(closed);
        let next = former.as_ref().map_or(1, ReplayBuffer::next);
        writer.bytes(self.framing.memory().as_bytes()).number(next).number(seen);
        for (_, frame) in former.iter().flat_map(|buffer| buffer.after(seen)) {
            match frame {
                Replayed::Text(text) => _ = writer.number(TEXT).bytes(text.as_bytes()),
                Replayed::Other(Kept::WithAttachments(text, attachments)) => {
                    writer.number(WITH_ATTACHMENTS).bytes(text.as_bytes());
                    writer.number(attachments.len() as u64);
                    for data in attachments {
                        writer.bytes(data);
                    }
                }
                Replayed::Other(Kept::WithToken(message)) => {
                    let TokenMessage { before, token, after } = message;
                    writer.number(WITH_TOKEN);
                    for part in [before, token, after] {
                        writer.bytes(part.as_bytes());
                    }
                }
            }
        }
    }

    /// Creates the mailbox of an away session from what another node has written.
    pub(in crate::session) fn restored(
        id: ConnectionId,
        timers: Arc<Timers>,
        framing: Box<dyn Framing>,
        reader: &mut Reader<'_>,
    ) -> Option<Arc<Self>> {
        let limits = timers.limits.filter(|_| framing.is_numbered())?;
        framing.recall(reader.text()?);
        let (next, seen) = (reader.number()?, reader.number()?);
        let now = Instant::now();
        let missed = seen.checked_add(1)?..next;
        if !missed.is_empty() {
            timers.start_pruning(id, now);
        }
        let mut replay_buffer = ReplayBuffer::restored(limits, seen);
        for _ in missed {
            read_frame(reader, now, &mut replay_buffer)?;
        }
        let state =
            State { next, replay_buffer: Some(replay_buffer), sink: None, is_closing: false };
        Some(Arc::new(Self { id, timers, framing, state: Mutex::new(state) }))
    }
}

/// Reads a frame into a replay buffer.
fn read_frame(
    reader: &mut Reader<'_>,
    now: Instant,
    replay_buffer: &mut ReplayBuffer<Kept>,
) -> Option<()> {
    let kind = reader.number()?;
    let text = reader.text()?;
    match kind {
        TEXT => replay_buffer.push_text(now, text),
        WITH_ATTACHMENTS => {
            let (mut length, mut attachments) = (text.len(), Vec::new());
            for _ in 0..reader.number()? {
                let data = reader.bytes()?;
                length += data.len();
                attachments.push(Bytes::copy_from_slice(data));
            }
            replay_buffer.push(now, length, Kept::WithAttachments(text.to_owned(), attachments));
        }
        WITH_TOKEN => {
            let (token, after) = (reader.text()?, reader.text()?);
            let (before, token, after) = (text.to_owned(), token.to_owned(), after.to_owned());
            let message = TokenMessage { before, token, after };
            replay_buffer.push(now, message.length(), Kept::WithToken(message));
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dialect::Frame;
    use crate::dialect::envelope::Sequence;

    fn timers() -> Arc<Timers> {
        let limits = ResumeLimits { time: Duration::from_mins(1), messages: 100, bytes: 10_000 };
        Arc::new(Timers { limits: Some(limits), ..Timers::default() })
    }

    fn away(timers: &Arc<Timers>) -> Arc<Mailbox> {
        let mut empty = Writer::default();
        empty.bytes(b"").number(1).number(0);
        let (id, empty) = (ConnectionId::random(), empty.finish());
        Mailbox::restored(id, Arc::clone(timers), Box::new(Sequence), &mut Reader::new(&empty))
            .unwrap()
    }

    #[test]
    fn released_mailbox_is_restored_and_takes_no_more() {
        let timers = timers();
        let mailbox = away(&timers);
        let message = |before: &str| TokenMessage {
            before: before.into(),
            token: "t".into(),
            after: "\"}".into(),
        };
        mailbox.send(Frame::Text("{\"type\":\"a\"}".into())).unwrap();
        mailbox.send(Frame::WithToken(message("{\"type\":\"b\",\"x\":\""))).unwrap();
        mailbox
            .send(Frame::WithAttachments(
                "{\"type\":\"c\"}".into(),
                vec![Bytes::from_static(b"data")],
            ))
            .unwrap();
        let mut writer = Writer::default();
        mailbox.release(1, &mut writer);
        let written = writer.finish();
        assert!(mailbox.send(Frame::Text("{\"type\":\"d\"}".into())).is_err(), "it would be lost");
        let id = ConnectionId::random();
        let read = |input: &[u8]| {
            Mailbox::restored(id, Arc::clone(&timers), Box::new(Sequence), &mut Reader::new(input))
        };
        let restored = read(&written).unwrap();
        assert!(restored.has_sent_since(2) && !restored.has_sent_since(3));
        restored.send(Frame::Text("{\"type\":\"e\"}".into())).unwrap();
        assert!(restored.has_sent_since(3), "numbers go on");
        assert_eq!(restored.take_over(1), Ok(()));
        for length in 0..written.len() {
            assert!(read(&written[..length]).is_none(), "cut after {length} bytes");
        }
    }
}
