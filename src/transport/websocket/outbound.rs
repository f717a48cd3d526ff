//! What is told to one peer of a plain WebSocket wire, over the connections that it has one after the other.
//!
//! [`Line`] is the queue of one connection, [`Outbound`] what its peers write to. On wires that number what they send
//! what was sent is held for a while; a connection that takes the peer's place is told what it missed before anything
//! new, under the lock under which all is sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use tungstenite::Utf8Bytes;

use super::Settings;
use crate::dialect::{Dialect, Frame};
use crate::id::ConnectionId;
use crate::session::{Backlog, History, Hub, NotHeld, Outbox, QueueFull};

/// What the ping says that follows upon a return.
pub(super) const BACK: &[u8] = b"back";

/// What waits to be written.
#[derive(Debug, Clone)]
pub(super) enum Outgoing {
    /// A message: shared with what is held of it.
    Text(Utf8Bytes),
    /// A ping with [`BACK`], whose answer says that what went before was read.
    Ping,
    /// The end.
    Close(u16, &'static str),
}

impl Outgoing {
    /// How much of a queue's bytes it takes.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Ping | Self::Close(..) => 0,
        }
    }
}

/// The queue of one connection.
///
/// Not a channel of the runtime's: those keep a block of slots for each, and this is empty nearly always.
pub(super) struct Line {
    queue: Mutex<Queue>,
    /// The most frames that wait, with those that were promised.
    max_frames: usize,
    pub(super) backlog: Arc<Backlog>,
    /// Whether the client owes the answer to a heartbeat.
    pub(super) is_overdue: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Outgoing>,
    /// Whether the connection is to be closed, whatever waits.
    is_closing: bool,
    /// Whether a close frame is queued, or was.
    has_close: bool,
    /// The connection's task, where it waits for something to write.
    writer: Option<Waker>,
}

impl Line {
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            max_frames: settings.send_queue + settings.promised,
            backlog: Backlog::new(settings.send_queue, settings.send_queue_bytes),
            is_overdue: AtomicBool::new(false),
        })
    }

    /// Ready with what is to be written next: one frame at least, with the end behind it if the connection is to be
    /// closed. For one task only.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<VecDeque<Outgoing>> {
        let mut queue = self.queue.lock();
        if queue.poll_closing(context).is_ready() {
            queue.waiting.push_back(Outgoing::Close(1008, "closed by the server"));
        }
        if queue.waiting.is_empty() { Poll::Pending } else { Poll::Ready(std::mem::take(&mut queue.waiting)) }
    }

    /// What was queued since.
    pub(super) fn rest(&self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.queue.lock().waiting)
    }

    /// Ready when the connection is to be closed, whatever waits. For the same task.
    pub(super) fn poll_closing(&self, context: &Context<'_>) -> Poll<()> {
        self.queue.lock().poll_closing(context)
    }

    /// Whether its peer was asked to go.
    pub(super) fn is_closing(&self) -> bool {
        self.queue.lock().is_closing
    }

    /// Asks for the connection to be closed; `true` if nobody has before.
    pub(super) fn close(&self) -> bool {
        self.change(|queue| !std::mem::replace(&mut queue.is_closing, true))
    }

    /// Queues a close frame: one, and however full the queue is.
    fn send_close(&self, code: u16, reason: &'static str) -> Result<(), QueueFull> {
        self.change(|queue| {
            if std::mem::replace(&mut queue.has_close, true) {
                return Ok(());
            }
            self.backlog.queue_promised(0, || {
                queue.waiting.push_back(Outgoing::Close(code, reason));
                Ok(())
            })
        })
    }

    fn send(&self, frame: Outgoing, is_promised: bool) -> Result<(), QueueFull> {
        let bytes = frame.length();
        let queue = || {
            self.change(|queue| queue.waiting.push_back(frame));
            Ok(())
        };
        if !is_promised {
            return self.backlog.queue(bytes, queue);
        }
        if self.backlog.waiting() >= self.max_frames {
            return Err(QueueFull);
        }
        self.backlog.queue_promised(bytes, queue)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue.lock();
        let changed = change(&mut queue);
        let writer = queue.writer.take();
        drop(queue);
        if let Some(writer) = writer {
            writer.wake();
        }
        changed
    }
}

impl Queue {
    fn poll_closing(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.is_closing {
            return Poll::Ready(());
        }
        if !self.writer.as_ref().is_some_and(|writer| writer.will_wake(context.waker())) {
            self.writer = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

/// The way to one peer.
pub(super) struct Outbound {
    id: ConnectionId,
    hub: Arc<Hub>,
    number: Option<fn(&mut String, u64, ConnectionId)>,
    state: Mutex<State>,
}

struct State {
    /// The number of the next message, where nothing is held.
    next: u64,
    /// `None` where nothing is held: this wire does not number what it sends, or nobody is to come back.
    history: Option<History<Utf8Bytes>>,
    /// `None` while the peer is away.
    line: Option<Arc<Line>>,
    /// Whether the peer was asked to go while it was away.
    is_closing: bool,
}

impl State {
    /// Holds what is sent from here on; where it went before.
    fn hold(&mut self) -> Option<Arc<Line>> {
        if let Some(history) = &mut self.history {
            history.set_away();
        }
        self.line.take()
    }
}

impl Outbound {
    pub(super) fn new(id: ConnectionId, hub: Arc<Hub>, dialect: &Dialect, line: Arc<Line>) -> Arc<Self> {
        let limits = dialect.number.and_then(|_| hub.resume_limits());
        let state = State { next: 1, history: limits.map(History::new), line: Some(line), is_closing: false };
        Arc::new(Self { id, hub, number: dialect.number, state: Mutex::new(state) })
    }

    /// Whether a later connection may take the peer's place.
    pub(super) fn can_resume(&self) -> bool {
        self.state.lock().history.is_some()
    }

    /// Sends to another connection from now on: first what is `said` to it, with the number of the last that it has seen,
    /// then what it has not seen, then a ping. A message that was to bring the key of its place brings the one that has
    /// replaced it.
    pub(super) fn attach(
        &self,
        line: &Arc<Line>,
        mut said: String,
        seen: u64,
        replaced: Option<(String, String)>,
    ) -> Result<(), QueueFull> {
        let mut state = self.state.lock();
        if let Some(number) = self.number {
            number(&mut said, seen, self.id);
        }
        line.send(Outgoing::Text(said.into()), true)?;
        if let Some(history) = &mut state.history {
            history.set_back(Instant::now(), seen);
            if let Some((key, newer)) = replaced {
                let bringing = history.frames_mut().filter(|frame| frame.contains(&key));
                bringing.for_each(|frame| *frame = frame.replace(&key, &newer).into());
            }
            for (_, frame) in history.after(seen) {
                line.send(Outgoing::Text(frame.clone()), true)?;
            }
        }
        line.send(Outgoing::Ping, true)?;
        state.line = Some(Arc::clone(line));
        if state.is_closing {
            line.close();
        }
        Ok(())
    }

    fn send_text(&self, mut text: String, is_promised: bool) -> Result<(), QueueFull> {
        let mut guard = self.state.lock();
        let State { next, history, line, .. } = &mut *guard;
        if let Some(history) = &history {
            history.takes(text.len())?;
            *next = history.next();
        }
        if let Some(number) = self.number {
            number(&mut text, *next, self.id);
        }
        let frame = Utf8Bytes::from(text);
        if let Some(line) = line {
            line.send(Outgoing::Text(frame.clone()), is_promised)?;
        }
        *next += 1;
        if let Some(history) = history {
            let now = Instant::now();
            if history.is_empty() {
                self.hub.holds_for(self.id, now);
            }
            history.push(now, frame.len(), frame);
        }
        Ok(())
    }
}

impl Outbox for Outbound {
    fn send(&self, frame: Frame) -> Result<(), QueueFull> {
        match frame {
            Frame::Text(text) => self.send_text(text, false),
            Frame::Close(code, reason) => {
                let line = self.state.lock().line.clone();
                line.map_or(Ok(()), |line| line.send_close(code, reason))
            }
        }
    }

    fn send_promised(&self, frame: Frame) -> Result<(), QueueFull> {
        match frame {
            Frame::Text(text) => self.send_text(text, true),
            Frame::Close(..) => self.send(frame),
        }
    }

    fn close(&self) -> bool {
        let mut state = self.state.lock();
        if let Some(line) = &state.line {
            return line.close();
        }
        self.hub.give_up(self.id);
        !std::mem::replace(&mut state.is_closing, true)
    }

    fn congestion(&self) -> Option<Arc<Backlog>> {
        let state = self.state.lock();
        state.line.as_ref().filter(|line| line.backlog.is_high()).map(|line| Arc::clone(&line.backlog))
    }

    fn stays_full(&self, now: Instant) -> bool {
        let limit = self.hub.timeouts().queue_full;
        self.state.lock().line.as_ref().is_some_and(|line| line.backlog.stays_full(now, limit))
    }

    fn is_overdue(&self) -> bool {
        self.state.lock().line.as_ref().is_some_and(|line| line.is_overdue.load(Ordering::Relaxed))
    }

    fn detach(&self) {
        _ = self.state.lock().hold();
    }

    fn take_over(&self, seen: u64) -> Result<(), NotHeld> {
        let mut state = self.state.lock();
        let history = state.history.as_ref().filter(|_| !state.is_closing);
        history.ok_or(NotHeld::Gone)?.holds_after(seen)?;
        if let Some(older) = state.hold() {
            older.close();
        }
        Ok(())
    }

    fn has_sent_since(&self, seen: u64) -> bool {
        self.state.lock().history.as_ref().is_some_and(|history| history.after(seen).next().is_some())
    }

    fn prune(&self, now: Instant) -> bool {
        self.state.lock().history.as_mut().is_some_and(|history| {
            history.prune(now);
            !history.is_empty()
        })
    }
}
