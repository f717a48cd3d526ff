//! What is told to one peer of a plain WebSocket wire, over the connections that it has one after the other.
//!
//! [`Line`] is the queue of one connection, [`Outbound`] what its peers write to. On wires that number what they send
//! what was sent is held for a while; a connection that takes the peer's place is told what it missed before anything
//! new, under the lock under which all is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
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
pub(super) struct Line {
    queue: mpsc::Sender<Outgoing>,
    pub(super) backlog: Arc<Backlog>,
    /// Whether the client owes the answer to a heartbeat.
    pub(super) is_overdue: AtomicBool,
    is_closing: AtomicBool,
    closing: Notify,
}

impl Line {
    pub(super) fn new(settings: &Settings) -> (Arc<Self>, mpsc::Receiver<Outgoing>) {
        let (queue, receiver) = mpsc::channel(settings.send_queue + settings.promised);
        let line = Self {
            queue,
            backlog: Backlog::new(settings.send_queue, settings.send_queue_bytes),
            is_overdue: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            closing: Notify::new(),
        };
        (Arc::new(line), receiver)
    }

    /// Resolves when the connection is to be closed, and at once from then on.
    pub(super) async fn closing(&self) {
        while !self.is_closing.load(Ordering::Acquire) {
            // Who was notified before it waited does not wait: one permit is kept.
            self.closing.notified().await;
        }
    }

    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.closing.notify_one();
    }

    fn send(&self, frame: Outgoing, is_promised: bool) -> Result<(), QueueFull> {
        let bytes = frame.length();
        let queue = || match self.queue.try_send(frame) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(QueueFull),
            // One that is gone takes nothing and is no error: its session is just ending.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        };
        if is_promised { self.backlog.queue_promised(bytes, queue) } else { self.backlog.queue(bytes, queue) }
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
        let state = State { next: 1, history: limits.map(History::new), line: Some(line) };
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
        Ok(())
    }

    fn send_text(&self, mut text: String, is_promised: bool) -> Result<(), QueueFull> {
        let mut guard = self.state.lock();
        let State { next, history, line } = &mut *guard;
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
                line.map_or(Ok(()), |line| line.send(Outgoing::Close(code, reason), false))
            }
        }
    }

    fn send_promised(&self, frame: Frame) -> Result<(), QueueFull> {
        match frame {
            Frame::Text(text) => self.send_text(text, true),
            Frame::Close(..) => self.send(frame),
        }
    }

    fn close(&self) {
        match &self.state.lock().line {
            Some(line) => line.close(),
            None => self.hub.give_up(self.id),
        }
    }

    fn congestion(&self) -> Option<Arc<Backlog>> {
        let state = self.state.lock();
        state.line.as_ref().filter(|line| line.backlog.is_high()).map(|line| Arc::clone(&line.backlog))
    }

    fn stays_full(&self, now: Instant) -> bool {
        self.state.lock().line.as_ref().is_some_and(|line| line.backlog.stays_full(now))
    }

    fn is_overdue(&self) -> bool {
        self.state.lock().line.as_ref().is_some_and(|line| line.is_overdue.load(Ordering::Relaxed))
    }

    fn detach(&self) {
        _ = self.state.lock().hold();
    }

    fn take_over(&self, seen: u64) -> Result<(), NotHeld> {
        let mut state = self.state.lock();
        state.history.as_ref().ok_or(NotHeld::Gone)?.holds_after(seen)?;
        if let Some(older) = state.hold() {
            older.close();
        }
        Ok(())
    }

    fn prune(&self, now: Instant) -> bool {
        self.state.lock().history.as_mut().is_some_and(|history| {
            history.prune(now);
            !history.is_empty()
        })
    }
}
