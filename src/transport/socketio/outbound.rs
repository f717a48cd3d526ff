//! What is told to one peer, over the connections that it has one after the other.
//!
//! While it is without one, and while one is just connecting, what is sent is held; [`Outbound::attach`] tells a new
//! connection what it missed before anything new, under the lock under which all is sent.

use std::sync::{Arc, Weak};
use std::time::Instant;

use engineioxide::Str;
use parking_lot::Mutex;
use socketioxide::socket::Sid;

use super::Inner;
use super::link::{Link, PACKET_HEAD};
use crate::dialect::Frame;
use crate::dialect::socketio::DIALECT;
use crate::id::ConnectionId;
use crate::session::{Backlog, History, NotHeld, Outbox, QueueFull};

pub(super) struct Outbound {
    id: ConnectionId,
    inner: Arc<Inner>,
    state: Mutex<State>,
}

struct State {
    /// `None` where nothing is held, since this client cannot come back.
    history: Option<History<Str>>,
    target: Target,
}

/// Where frames go.
enum Target {
    /// Nowhere yet: into the history, or where there is none to what a connection that is just connecting is told first.
    Nowhere { early: Vec<Str>, is_closing: bool },
    /// Into the queue of a connection.
    Queue { sid: Sid, link: Weak<Link>, backlog: Arc<Backlog>, is_closing: bool },
}

impl State {
    /// Holds what is sent from here on; where it went before.
    fn hold(&mut self) -> Target {
        if let Some(history) = &mut self.history {
            history.set_away();
        }
        let is_closing = self.target.is_closing();
        std::mem::replace(&mut self.target, Target::Nowhere { early: Vec::new(), is_closing })
    }
}

impl Target {
    const NOWHERE: Self = Self::Nowhere { early: Vec::new(), is_closing: false };

    /// Whether the peer was asked to go while there was no connection that could be closed.
    fn is_closing(&self) -> bool {
        matches!(self, Self::Nowhere { is_closing: true, .. })
    }
}

impl Outbound {
    pub(super) fn new(id: ConnectionId, inner: Arc<Inner>, can_resume: bool) -> Arc<Self> {
        let limits = if can_resume { inner.hub.resume_limits() } else { None };
        let state = State { history: limits.map(History::new), target: Target::NOWHERE };
        Arc::new(Self { id, inner, state: Mutex::new(state) })
    }

    /// Sends to a connection from now on, and first what it has not seen.
    pub(super) fn attach(&self, link: &Arc<Link>, sid: Sid, seen: u64) -> Result<(), QueueFull> {
        let mut state = self.state.lock();
        let queue =
            Target::Queue { sid, link: Arc::downgrade(link), backlog: Arc::clone(link.backlog()), is_closing: false };
        if let Target::Nowhere { early, is_closing } = std::mem::replace(&mut state.target, queue) {
            for frame in early {
                let bytes = frame.len() + PACKET_HEAD;
                link.backlog().queue_promised(bytes, || link.wire().event(sid, frame))?;
            }
            if is_closing {
                link.close();
            }
        }
        if let Some(history) = &mut state.history {
            history.set_back(Instant::now(), seen);
            for (bytes, frame) in history.after(seen) {
                let queue = || link.wire().event(sid, frame.clone());
                link.backlog().queue_promised(bytes + PACKET_HEAD, queue)?;
            }
        }
        Ok(())
    }

    /// In a task of its own: should this turn out to be the last of the link, its session ends with it, and that locks
    /// its place and its rooms, which may be locked now.
    fn close_link(&self, link: &Weak<Link>) {
        if let Some(link) = link.upgrade() {
            self.inner.lifecycle.spawn(async move { link.close() });
        }
    }

    fn send_text(&self, mut text: String, is_promised: bool) -> Result<(), QueueFull> {
        let mut guard = self.state.lock();
        let State { history, target } = &mut *guard;
        if let (Some(history), Some(number)) = (&history, DIALECT.number) {
            history.takes(text.len())?;
            number(&mut text, history.next(), self.id);
        }
        let frame = Str::from(text);
        let bytes = frame.len();
        match target {
            Target::Queue { sid, backlog, .. } => {
                let queued = frame.clone();
                let queue = || self.inner.wire.event(*sid, queued);
                if is_promised {
                    backlog.queue_promised(bytes + PACKET_HEAD, queue)?;
                } else {
                    backlog.queue(bytes + PACKET_HEAD, queue)?;
                }
            }
            Target::Nowhere { early, .. } if history.is_none() => early.push(frame.clone()),
            Target::Nowhere { .. } => {}
        }
        if let Some(history) = history {
            let now = Instant::now();
            if history.is_empty() {
                self.inner.hub.holds_for(self.id, now);
            }
            history.push(now, bytes, frame);
        }
        Ok(())
    }
}

impl Outbox for Outbound {
    fn send(&self, frame: Frame) -> Result<(), QueueFull> {
        match frame {
            Frame::Text(text) => self.send_text(text, false),
            Frame::Close(..) => {
                self.close();
                Ok(())
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
        match &mut self.state.lock().target {
            Target::Queue { link, is_closing, .. } => {
                let is_first = !std::mem::replace(is_closing, true);
                if is_first {
                    self.close_link(link);
                }
                is_first
            }
            Target::Nowhere { is_closing, .. } => {
                self.inner.hub.give_up(self.id);
                !std::mem::replace(is_closing, true)
            }
        }
    }

    fn congestion(&self) -> Option<Arc<Backlog>> {
        match &self.state.lock().target {
            Target::Queue { backlog, .. } => backlog.is_high().then(|| Arc::clone(backlog)),
            Target::Nowhere { .. } => None,
        }
    }

    fn stays_full(&self, now: Instant) -> bool {
        match &self.state.lock().target {
            Target::Queue { backlog, .. } => backlog.stays_full(now, self.inner.hub.timeouts().queue_full),
            Target::Nowhere { .. } => false,
        }
    }

    fn detach(&self) {
        // The connection is ending by itself.
        _ = self.state.lock().hold();
    }

    fn take_over(&self, seen: u64) -> Result<(), NotHeld> {
        let mut state = self.state.lock();
        let history = state.history.as_ref().filter(|_| !state.target.is_closing());
        history.ok_or(NotHeld::Gone)?.holds_after(seen)?;
        if let Target::Queue { link, .. } = state.hold() {
            self.close_link(&link);
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
