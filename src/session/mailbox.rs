//! The mailbox of one session: everything that its client is told passes it, over whichever connection the client has.
//!
//! - [`Mailbox::send`] completes a frame, keeps it in the replay buffer where the session can be resumed, and pushes it to
//!   the current [`Sink`];
//! - while the session has no connection, frames stay in the replay buffer;
//! - [`Mailbox::attach`] sends to a new connection from then on, and first what its client has missed.
//!
//! The guarantee that is easy to break: all of this happens under one lock, so that nothing is lost, repeated or reordered
//! when a session moves to another connection. The lock is taken while rooms are locked: a sink must neither wait nor call
//! back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::backlog::{Backlog, QueueFull};
use super::history::{History, NotHeld};
use super::timers::Timers;
use crate::dialect::{Frame, Framing, TokenMessage};
use crate::id::ConnectionId;

/// Maximum number of messages of one event that are queued together. Each may have a follower, and a response to a poll
/// carries at most 16 packets.
const MAX_TOGETHER: usize = 8;

/// What waits to be written to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A text message.
    Text(Bytes),
    /// Two text messages, to be written together.
    Pair(Bytes, Bytes),
    /// A text message, the binary messages that belong to it, and perhaps another text message, to be written together.
    Attached(Box<Attached>),
    /// The text messages of one event, to be written together. In a queue they count as one.
    Several(Vec<Bytes>),
    /// A WebSocket ping whose answer says that everything before it was read.
    Ping,
    /// The end of the connection, with a code and a reason.
    Close(u16, &'static str),
}

/// A text message with attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The message.
    pub text: Bytes,
    /// The binary messages that belong to it.
    pub attachments: Vec<Bytes>,
    /// The text message after them.
    pub follower: Option<Bytes>,
}

impl Outgoing {
    /// How many messages it is.
    pub fn messages(&self) -> usize {
        match self {
            Self::Text(_) | Self::Ping | Self::Close(..) => 1,
            Self::Pair(..) => 2,
            Self::Several(messages) => messages.len(),
            Self::Attached(attached) => 1 + attached.attachments.len() + usize::from(attached.follower.is_some()),
        }
    }

    /// How much of the bytes of a queue it takes.
    pub fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Pair(first, second) => first.len() + second.len(),
            Self::Several(messages) => messages.iter().map(Bytes::len).sum(),
            Self::Attached(attached) => {
                let follower = attached.follower.as_ref().map_or(0, Bytes::len);
                attached.text.len() + attached.attachments.iter().map(Bytes::len).sum::<usize>() + follower
            }
            Self::Ping | Self::Close(..) => 0,
        }
    }
}

/// Where the frames of one connection are queued. No method may wait, or call into a session: rooms may be locked.
pub trait Sink: Send + Sync {
    /// Queues a frame. One that `is_promised` was accepted while its recipient was away: there is room for as many of
    /// those as a session holds.
    fn push(&self, frame: Outgoing, is_promised: bool) -> Result<(), QueueFull>;

    /// Asks for the connection to be closed once everything queued is written; `true` if nobody has before.
    fn close(&self) -> bool;

    /// The fill of the queue.
    fn backlog(&self) -> &Arc<Backlog>;

    /// Whether the client owes the answer to a heartbeat.
    fn is_overdue(&self) -> bool {
        false
    }
}

/// Everything that one client is told, over the connections that it has one after the other.
pub struct Mailbox {
    id: ConnectionId,
    timers: Arc<Timers>,
    framing: Box<dyn Framing>,
    state: Mutex<State>,
}

struct State {
    /// The number of the next frame, where there is no replay buffer.
    next: u64,
    /// The replay buffer; `None` where the session cannot be resumed.
    history: Option<History<Kept>>,
    /// The current connection; `None` while the client is away.
    sink: Option<Arc<dyn Sink>>,
    /// Whether the client is to be disconnected as soon as it is back.
    is_closing: bool,
}

/// A frame in the replay buffer.
enum Kept {
    Text(Bytes),
    /// With its attachments.
    WithAttachments(Box<(Bytes, Vec<Bytes>)>),
    /// It carries the resume token, which is another by the time of a replay.
    WithToken(Box<TokenMessage>),
}

impl Kept {
    /// The text for a replay.
    fn text(&self, token: Option<&str>) -> Bytes {
        match (self, token) {
            (Self::Text(text), _) => text.clone(),
            (Self::WithAttachments(frame), _) => frame.0.clone(),
            (Self::WithToken(message), None) => message.text().into(),
            (Self::WithToken(message), Some(token)) => {
                let TokenMessage { before, after, .. } = &**message;
                [before.as_str(), token, after].concat().into()
            }
        }
    }
}

impl State {
    /// The number of the next frame, if one of so many bytes may be sent.
    fn next_number(&mut self, bytes: usize) -> Result<u64, QueueFull> {
        if let Some(history) = &self.history {
            history.takes(bytes)?;
            self.next = history.next();
        }
        Ok(self.next)
    }

    /// Keeps what is sent from now on in the replay buffer; returns the connection it was sent to before.
    fn hold(&mut self) -> Option<Arc<dyn Sink>> {
        if let Some(history) = &mut self.history {
            history.set_away();
        }
        self.sink.take()
    }
}

impl Mailbox {
    /// The mailbox of a new session.
    pub(super) fn new(
        id: ConnectionId,
        timers: Arc<Timers>,
        framing: Box<dyn Framing>,
        sink: Arc<dyn Sink>,
    ) -> Arc<Self> {
        let limits = if framing.is_numbered() { timers.limits } else { None };
        let state = State { next: 1, history: limits.map(History::new), sink: Some(sink), is_closing: false };
        Arc::new(Self { id, timers, framing, state: Mutex::new(state) })
    }

    /// Whether the session can be resumed.
    pub fn can_resume(&self) -> bool {
        self.state.lock().history.is_some()
    }

    /// How frames are completed, and which events have a form of their own.
    pub fn framing(&self) -> &dyn Framing {
        &*self.framing
    }

    /// Sends a frame.
    pub fn send(&self, frame: Frame) -> Result<(), QueueFull> {
        self.post(frame, false)
    }

    /// Sends a frame that was accepted while its recipient was away.
    pub fn send_promised(&self, frame: Frame) -> Result<(), QueueFull> {
        self.post(frame, true)
    }

    fn post(&self, frame: Frame, is_promised: bool) -> Result<(), QueueFull> {
        let mut state = self.state.lock();
        match frame {
            Frame::Text(text) => self.push(&mut state, text, is_promised),
            Frame::Several(mut texts) => {
                texts.chunks_mut(MAX_TOGETHER).try_for_each(|texts| self.push_together(&mut state, texts, is_promised))
            }
            Frame::WithAttachments(text, attachments) => self.push_attached(&mut state, text, attachments, is_promised),
            Frame::WithToken(message) => self.push_with_token(&mut state, message, is_promised),
            Frame::Close(code, reason) => match &state.sink {
                Some(sink) => sink.push(Outgoing::Close(code, reason), false),
                None => Ok(()),
            },
        }
    }

    fn push(&self, state: &mut State, mut text: String, is_promised: bool) -> Result<(), QueueFull> {
        let number = state.next_number(text.len())?;
        self.framing.complete(&mut text, number);
        let text = Bytes::from(text);
        self.push_numbered(state, number, text.clone(), is_promised)?;
        self.keep(state, text.len(), Kept::Text(text));
        Ok(())
    }

    /// Queues the messages of one event, which fit the queue together or not at all.
    fn push_together(&self, state: &mut State, texts: &mut [String], is_promised: bool) -> Result<(), QueueFull> {
        let Some(sink) = state.sink.clone() else {
            return texts.iter_mut().try_for_each(|text| self.push(state, std::mem::take(text), is_promised));
        };
        let first = state.next_number(texts.iter().map(String::len).sum())?;
        for (number, text) in (first..).zip(&mut *texts) {
            self.framing.complete(text, number);
        }
        // One allocation for all of them: those in a replay buffer are most of what an idle connection holds.
        let mut rest = Bytes::from(texts.concat());
        let frames: Vec<Bytes> = texts.iter().map(|text| rest.split_to(text.len())).collect();
        let can_resume = state.history.is_some();
        let messages = (first..).zip(&frames).flat_map(|(number, text)| {
            let follower = self.framing.follower(number).filter(|_| can_resume);
            std::iter::once(text.clone()).chain(follower.map(Bytes::from))
        });
        sink.push(Outgoing::Several(messages.collect()), is_promised)?;
        for text in frames {
            self.keep(state, text.len(), Kept::Text(text));
        }
        Ok(())
    }

    fn push_attached(
        &self,
        state: &mut State,
        mut text: String,
        attachments: Vec<Bytes>,
        is_promised: bool,
    ) -> Result<(), QueueFull> {
        let attachments: Vec<Bytes> = attachments.into_iter().map(|data| self.framing.attachment(data)).collect();
        let length = text.len() + attachments.iter().map(Bytes::len).sum::<usize>();
        let number = state.next_number(length)?;
        self.framing.complete(&mut text, number);
        let frame = Kept::WithAttachments(Box::new((text.into(), attachments)));
        if let Some(sink) = &state.sink {
            sink.push(self.replayed(&frame, number, state.history.is_some(), None), is_promised)?;
        }
        self.keep(state, length, frame);
        Ok(())
    }

    fn push_with_token(
        &self,
        state: &mut State,
        mut message: TokenMessage,
        is_promised: bool,
    ) -> Result<(), QueueFull> {
        let number = state.next_number(message.length())?;
        self.framing.complete(&mut message.after, number);
        let text = Bytes::from(message.text());
        let length = text.len();
        self.push_numbered(state, number, text, is_promised)?;
        self.keep(state, length, Kept::WithToken(Box::new(message)));
        Ok(())
    }

    fn push_numbered(&self, state: &State, number: u64, text: Bytes, is_promised: bool) -> Result<(), QueueFull> {
        match &state.sink {
            Some(sink) => sink.push(self.outgoing(text, number, state.history.is_some()), is_promised),
            None => Ok(()),
        }
    }

    /// Counts a frame that was sent, and keeps it where the session can be resumed.
    fn keep(&self, state: &mut State, length: usize, frame: Kept) {
        state.next += 1;
        if let Some(history) = &mut state.history {
            let now = Instant::now();
            if history.is_empty() {
                self.timers.start_history(self.id, now);
            }
            history.push(now, length, frame);
        }
    }

    fn replayed(&self, frame: &Kept, number: u64, can_resume: bool, token: Option<&str>) -> Outgoing {
        let Kept::WithAttachments(frame) = frame else {
            return self.outgoing(frame.text(token), number, can_resume);
        };
        let (text, attachments) = (**frame).clone();
        let follower = self.framing.follower(number).filter(|_| can_resume).map(Bytes::from);
        Outgoing::Attached(Box::new(Attached { text, attachments, follower }))
    }

    fn outgoing(&self, text: Bytes, number: u64, can_resume: bool) -> Outgoing {
        // Numbers that no client can return need not be sent.
        match self.framing.follower(number).filter(|_| can_resume) {
            Some(follower) => Outgoing::Pair(text, follower.into()),
            None => Outgoing::Text(text),
        }
    }

    /// Sends to a connection from now on: first the `greeting`, completed with the number of the last frame that the client
    /// has seen, then what it has missed. A frame that carries a resume token carries this one, where there is one.
    pub fn attach(
        &self,
        sink: &Arc<dyn Sink>,
        greeting: Option<String>,
        seen: u64,
        token: Option<&str>,
    ) -> Result<(), QueueFull> {
        let mut state = self.state.lock();
        if let Some(mut greeting) = greeting {
            self.framing.complete(&mut greeting, seen);
            sink.push(Outgoing::Text(greeting.into()), true)?;
        }
        if let Some(history) = &mut state.history {
            history.set_back(Instant::now(), seen);
            for (number, (_, frame)) in (seen + 1..).zip(history.after(seen)) {
                sink.push(self.replayed(frame, number, true, token), true)?;
            }
        }
        state.sink = Some(Arc::clone(sink));
        if state.is_closing {
            sink.close();
        }
        Ok(())
    }

    /// Asks for the client to be disconnected; `true` if nobody has before.
    pub fn close(&self) -> bool {
        let mut state = self.state.lock();
        if let Some(sink) = &state.sink {
            return sink.close();
        }
        self.timers.give_up(self.id);
        !std::mem::replace(&mut state.is_closing, true)
    }

    /// The fill of the queue, where that is above the high-water mark.
    pub fn congestion(&self) -> Option<Arc<Backlog>> {
        let state = self.state.lock();
        state.sink.as_ref().map(|sink| sink.backlog()).filter(|backlog| backlog.is_high()).cloned()
    }

    /// Whether the queue has been full for `limit`; asked when a frame did not fit.
    pub fn stays_full(&self, now: Instant, limit: Duration) -> bool {
        self.state.lock().sink.as_ref().is_some_and(|sink| sink.backlog().stays_full(now, limit))
    }

    /// Whether the client owes the answer to a heartbeat.
    pub fn is_overdue(&self) -> bool {
        self.state.lock().sink.as_ref().is_some_and(|sink| sink.is_overdue())
    }

    /// The connection is lost: what is sent from now on is kept for the one that resumes the session.
    pub(super) fn detach(&self) {
        _ = self.state.lock().hold();
    }

    /// Keeps what is sent for a connection that resumes the session, whose client has seen everything up to a number, and
    /// closes the connection before it. Does nothing where part of what was missed is no longer kept.
    pub(super) fn take_over(&self, seen: u64) -> Result<(), NotHeld> {
        let mut state = self.state.lock();
        let history = state.history.as_ref().filter(|_| !state.is_closing);
        history.ok_or(NotHeld::Gone)?.holds_after(seen)?;
        if let Some(older) = state.hold() {
            older.close();
        }
        Ok(())
    }

    /// Whether a frame is kept that was sent after a number.
    pub(super) fn has_sent_since(&self, seen: u64) -> bool {
        self.state.lock().history.as_ref().is_some_and(|history| history.after(seen).next().is_some())
    }

    /// Drops frames that were kept for too long; whether any are left.
    pub(super) fn prune(&self, now: Instant) -> bool {
        self.state.lock().history.as_mut().is_some_and(|history| {
            history.prune(now);
            !history.is_empty()
        })
    }
}

#[cfg(test)]
mod tests;
