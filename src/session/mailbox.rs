//! The mailbox of one session: everything that is sent to its client, over one connection after
//! another.
//!
//! - [`Mailbox::send`] completes a frame, adds it to the replay buffer if the session can be
//!   resumed, and pushes it to the current [`Sink`];
//! - while the session has no connection, frames only go to the replay buffer;
//! - [`Mailbox::attach`] replays missed frames to a new connection, which gets all further ones.
//!
//! Invariant: all of this happens under one lock, so that no frame is lost, repeated or reordered
//! when a session moves to another connection. The lock is taken while rooms are locked, so a sink
//! must neither wait nor call back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::outgoing::{Attached, Outgoing};
use super::queue_depth::{QueueDepth, QueueFull};
use super::replay_buffer::{ReplayBuffer, ReplayError, Replayed};
use super::timers::Timers;
use crate::dialect::{Frame, Framing, TokenMessage};
use crate::id::ConnectionId;

/// Maximum number of messages of one event that are queued together. Each may have a follower, and
/// a response to a poll carries at most 16 packets.
const MAX_TOGETHER: usize = 8;

/// Takes the frames of one connection. Rooms may be locked, so no method may wait or call into a
/// session.
pub trait Sink: Send + Sync {
    /// Queues a frame. A frame that `is_promised` was accepted while its recipient was away, and
    /// fits even if the queue is otherwise full.
    fn push(&self, frame: Outgoing, is_promised: bool) -> Result<(), QueueFull>;

    /// Requests that the connection is closed once everything queued is written. Returns true for
    /// the first request.
    fn close(&self) -> bool;

    /// Returns the fill level of the queue.
    fn depth(&self) -> &Arc<QueueDepth>;

    /// Returns whether the client has not answered a heartbeat in time.
    fn is_overdue(&self) -> bool {
        false
    }
}

/// Everything that is sent to one client, over the connections that it has one after another.
pub struct Mailbox {
    id: ConnectionId,
    timers: Arc<Timers>,
    framing: Box<dyn Framing>,
    state: Mutex<State>,
}

struct State {
    /// Number of the next frame, if there is no replay buffer.
    next: u64,
    /// The replay buffer; `None` if the session cannot be resumed.
    replay_buffer: Option<ReplayBuffer<Kept>>,
    /// The current connection; `None` while the client is away.
    sink: Option<Arc<dyn Sink>>,
    /// Whether the client is to be disconnected as soon as it resumes the session.
    is_closing: bool,
}

/// A frame in the replay buffer that is not a text alone.
enum Kept {
    /// A message with its attachments.
    WithAttachments(String, Vec<Bytes>),
    /// A message with the resume token, which is another one at the time of a replay.
    WithToken(TokenMessage),
}

impl State {
    /// Returns the number of the next frame, if a frame of `bytes` may be sent.
    fn next_number(&self, bytes: usize) -> Result<u64, QueueFull> {
        let Some(replay_buffer) = &self.replay_buffer else { return Ok(self.next) };
        replay_buffer.takes(bytes)?;
        Ok(replay_buffer.next())
    }

    /// Sends `outgoing`, which has the last `count` frames of the replay buffer, if there is a
    /// connection. Removes them from the buffer if the send queue is full.
    fn push_kept(
        &mut self,
        outgoing: Option<Outgoing>,
        count: usize,
        is_promised: bool,
        now: Option<Instant>,
    ) -> Result<(), QueueFull> {
        let sent = match self.sink.as_ref().zip(outgoing) {
            Some((sink, outgoing)) => sink.push(outgoing, is_promised),
            None => Ok(()),
        };
        match (&mut self.replay_buffer, now) {
            (Some(replay_buffer), Some(now)) if sent.is_ok() => replay_buffer.remove_excess(now),
            (Some(replay_buffer), _) => (0..count).for_each(|_| replay_buffer.remove_last()),
            (None, _) if sent.is_ok() => self.next += count as u64,
            (None, _) => {}
        }
        sent
    }

    /// Keeps all further frames in the replay buffer, and returns the previous connection.
    fn hold(&mut self) -> Option<Arc<dyn Sink>> {
        if let Some(replay_buffer) = &mut self.replay_buffer {
            replay_buffer.set_away();
        }
        self.sink.take()
    }
}

impl Mailbox {
    /// Creates the mailbox of a new session.
    pub(super) fn new(
        id: ConnectionId,
        timers: Arc<Timers>,
        framing: Box<dyn Framing>,
        sink: Arc<dyn Sink>,
    ) -> Arc<Self> {
        let limits = if framing.is_numbered() { timers.limits } else { None };
        let state = State {
            next: 1,
            replay_buffer: limits.map(ReplayBuffer::new),
            sink: Some(sink),
            is_closing: false,
        };
        Arc::new(Self { id, timers, framing, state: Mutex::new(state) })
    }

    /// Returns whether the session can be resumed.
    pub fn can_resume(&self) -> bool {
        self.state.lock().replay_buffer.is_some()
    }

    /// Returns the framing, which completes frames and encodes events in a form of their own.
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
            Frame::Several(mut texts) => texts
                .chunks_mut(MAX_TOGETHER)
                .try_for_each(|texts| self.push_together(&mut state, texts, is_promised)),
            Frame::WithAttachments(text, attachments) => {
                self.push_attached(&mut state, text, attachments, is_promised)
            }
            Frame::WithToken(message) => self.push_with_token(&mut state, message, is_promised),
            Frame::Close(code, reason) => match &state.sink {
                Some(sink) => sink.push(Outgoing::Close(code, reason), false),
                None => Ok(()),
            },
        }
    }

    fn push(
        &self,
        state: &mut State,
        mut text: String,
        is_promised: bool,
    ) -> Result<(), QueueFull> {
        let number = state.next_number(text.len())?;
        self.framing.complete(&mut text, number);
        let now = self.keep(state);
        if let Some((replay_buffer, now)) = state.replay_buffer.as_mut().zip(now) {
            replay_buffer.push_text(now, &text);
        }
        let outgoing = state.sink.is_some().then(|| self.outgoing(text, number, now.is_some()));
        state.push_kept(outgoing, 1, is_promised, now)
    }

    /// Queues the messages of one event, either all of them or none.
    fn push_together(
        &self,
        state: &mut State,
        texts: &mut [String],
        is_promised: bool,
    ) -> Result<(), QueueFull> {
        if state.sink.is_none() {
            return texts
                .iter_mut()
                .try_for_each(|text| self.push(state, std::mem::take(text), is_promised));
        }
        let first = state.next_number(texts.iter().map(String::len).sum())?;
        let now = self.keep(state);
        let mut messages = Vec::with_capacity(2 * texts.len());
        for (number, text) in (first..).zip(&mut *texts) {
            self.framing.complete(text, number);
            let mut follower = String::new();
            if let Some((replay_buffer, now)) = state.replay_buffer.as_mut().zip(now) {
                replay_buffer.push_text(now, text);
                self.framing.push_follower(number, &mut follower);
            }
            messages.push(std::mem::take(text));
            messages.extend(Some(follower).filter(|follower| !follower.is_empty()));
        }
        state.push_kept(Some(Outgoing::Several(messages)), texts.len(), is_promised, now)
    }

    fn push_attached(
        &self,
        state: &mut State,
        mut text: String,
        attachments: Vec<Bytes>,
        is_promised: bool,
    ) -> Result<(), QueueFull> {
        let attachments: Vec<Bytes> =
            attachments.into_iter().map(|data| self.framing.attachment(data)).collect();
        let length = text.len() + attachments.iter().map(Bytes::len).sum::<usize>();
        let number = state.next_number(length)?;
        self.framing.complete(&mut text, number);
        let now = self.keep(state);
        let frame = Kept::WithAttachments(text, attachments);
        let outgoing =
            state.sink.is_some().then(|| self.replayed(&frame, number, now.is_some(), None));
        if let Some((replay_buffer, now)) = state.replay_buffer.as_mut().zip(now) {
            replay_buffer.push(now, length, frame);
        }
        state.push_kept(outgoing, 1, is_promised, now)
    }

    fn push_with_token(
        &self,
        state: &mut State,
        mut message: TokenMessage,
        is_promised: bool,
    ) -> Result<(), QueueFull> {
        let number = state.next_number(message.length())?;
        self.framing.complete(&mut message.after, number);
        let now = self.keep(state);
        let outgoing =
            state.sink.is_some().then(|| self.outgoing(message.text(), number, now.is_some()));
        if let Some((replay_buffer, now)) = state.replay_buffer.as_mut().zip(now) {
            replay_buffer.push(now, message.length(), Kept::WithToken(message));
        }
        state.push_kept(outgoing, 1, is_promised, now)
    }

    /// Prepares that frames are added to the replay buffer; returns the time at which they are, if
    /// there is a replay buffer.
    fn keep(&self, state: &State) -> Option<Instant> {
        let replay_buffer = state.replay_buffer.as_ref()?;
        let now = Instant::now();
        if replay_buffer.is_empty() {
            self.timers.start_pruning(self.id, now);
        }
        Some(now)
    }

    fn replayed(
        &self,
        frame: &Kept,
        number: u64,
        can_resume: bool,
        token: Option<&str>,
    ) -> Outgoing {
        match frame {
            Kept::WithAttachments(text, attachments) => {
                let mut follower = String::new();
                if can_resume {
                    self.framing.push_follower(number, &mut follower);
                }
                Outgoing::Attached(Box::new(Attached {
                    text: text.clone(),
                    attachments: attachments.clone(),
                    follower: Some(follower).filter(|follower| !follower.is_empty()),
                }))
            }
            Kept::WithToken(message) => {
                let TokenMessage { before, token: former, after } = message;
                let text = [before.as_str(), token.unwrap_or(former), after].concat();
                self.outgoing(text, number, can_resume)
            }
        }
    }

    /// Returns a text with its follower.
    fn outgoing(&self, mut text: String, number: u64, can_resume: bool) -> Outgoing {
        let length = text.len();
        // Offsets are useless to clients that cannot resume.
        if can_resume {
            self.framing.push_follower(number, &mut text);
        }
        if text.len() > length { Outgoing::Pair(text, length) } else { Outgoing::Text(text) }
    }

    /// Attaches a connection: sends the `greeting`, completed with the number of the last frame
    /// that the client has received, and the frames after that. A replayed frame with a resume
    /// token gets `token` instead, if that is given.
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
            sink.push(Outgoing::Text(greeting), true)?;
        }
        if let Some(replay_buffer) = &mut state.replay_buffer {
            replay_buffer.set_back(Instant::now(), seen);
            for (number, (_, frame)) in (seen + 1..).zip(replay_buffer.after(seen)) {
                let outgoing = match frame {
                    Replayed::Text(text) => self.outgoing(text, number, true),
                    Replayed::Other(frame) => self.replayed(frame, number, true, token),
                };
                sink.push(outgoing, true)?;
            }
        }
        state.sink = Some(Arc::clone(sink));
        if state.is_closing {
            sink.close();
        }
        Ok(())
    }

    /// Requests that the client is disconnected. Returns true for the first request.
    pub fn close(&self) -> bool {
        let mut state = self.state.lock();
        if let Some(sink) = &state.sink {
            return sink.close();
        }
        self.timers.end_soon(self.id);
        !std::mem::replace(&mut state.is_closing, true)
    }

    /// Returns the connection. Closing it does not end the session.
    pub(super) fn connection(&self) -> Option<Arc<dyn Sink>> {
        self.state.lock().sink.clone()
    }

    /// Returns the send queue if it is above its high-water mark.
    pub fn congestion(&self) -> Option<Arc<QueueDepth>> {
        let state = self.state.lock();
        state
            .sink
            .as_ref()
            .map(|sink| sink.depth())
            .filter(|queue_depth| queue_depth.is_high())
            .cloned()
    }

    /// Returns whether frames have not fit the send queue for `limit`; called when one did not fit.
    pub fn stays_full(&self, now: Instant, limit: Duration) -> bool {
        self.state.lock().sink.as_ref().is_some_and(|sink| sink.depth().stays_full(now, limit))
    }

    /// Returns whether the client has not answered a heartbeat in time.
    pub fn is_overdue(&self) -> bool {
        self.state.lock().sink.as_ref().is_some_and(|sink| sink.is_overdue())
    }

    /// Detaches the lost connection; further frames are kept for the one that resumes the session.
    pub(super) fn detach(&self) {
        _ = self.state.lock().hold();
    }

    /// Prepares the resumption by a client that has received everything up to `seen`: keeps further
    /// frames, and closes the previous connection. Fails without an effect if a missed frame is no
    /// longer kept.
    pub(super) fn take_over(&self, seen: u64) -> Result<(), ReplayError> {
        let mut state = self.state.lock();
        let replay_buffer = state.replay_buffer.as_ref().filter(|_| !state.is_closing);
        replay_buffer.ok_or(ReplayError::Gone)?.holds_after(seen)?;
        if let Some(older) = state.hold() {
            older.close();
        }
        Ok(())
    }

    /// Returns whether a frame after `seen` is kept.
    pub(super) fn has_sent_since(&self, seen: u64) -> bool {
        self.state
            .lock()
            .replay_buffer
            .as_ref()
            .is_some_and(|replay_buffer| replay_buffer.after(seen).next().is_some())
    }

    /// Removes frames that were kept for too long, and returns whether any are left.
    pub(super) fn prune(&self, now: Instant) -> bool {
        self.state.lock().replay_buffer.as_mut().is_some_and(|replay_buffer| {
            replay_buffer.prune(now);
            !replay_buffer.is_empty()
        })
    }
}

mod moved;
#[cfg(test)]
mod tests;
