//! The send queue of one connection.
//!
//! Sessions push to it, and the task that writes takes everything at once. It belongs to the connection and not to the
//! transport: when a client upgrades from polling to a WebSocket, the WebSocket goes on taking where polls stopped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::session::{Backlog, Outgoing, QueueFull, Sink};

/// How much waits for one connection.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// The most frames.
    pub frames: usize,
    /// The most bytes of them.
    pub bytes: usize,
    /// The most frames beyond that which were accepted before the client connected.
    pub promised: usize,
}

/// The send queue of one connection.
///
/// Not a channel of the runtime's: those keep a block of slots for each, and this is nearly always empty.
pub(super) struct SendQueue {
    queue: Mutex<Queue>,
    /// The most frames that wait, with those that were promised.
    max_frames: usize,
    backlog: Arc<Backlog>,
    is_overdue: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Outgoing>,
    /// Whether the connection is to be closed, whatever waits.
    is_closing: bool,
    /// Whether a close frame is queued, or was.
    has_close: bool,
    /// The task that takes, where it waits for something.
    waker: Option<Waker>,
    /// The task that closes a connection whose client may not be there to take.
    closer: Option<Waker>,
}

impl SendQueue {
    pub(super) fn new(limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            max_frames: limits.frames + limits.promised,
            backlog: Backlog::new(limits.frames, limits.bytes),
            is_overdue: AtomicBool::new(false),
        })
    }

    /// Ready with everything that waits: one frame at least, with the end behind it if the connection is to be closed. For
    /// one task only.
    pub(super) fn poll_take(&self, context: &Context<'_>) -> Poll<VecDeque<Outgoing>> {
        let mut queue = self.queue.lock();
        if queue.poll_closing(context).is_ready() {
            queue.waiting.push_back(Outgoing::Close(1008, "closed by the server"));
        }
        if queue.waiting.is_empty() { Poll::Pending } else { Poll::Ready(std::mem::take(&mut queue.waiting)) }
    }

    /// Ready when something waits or the connection is to be closed. For one task only.
    pub(super) fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() { queue.poll_closing(context) } else { Poll::Ready(()) }
    }

    /// Takes the first frames for as long as `fits` says so.
    pub(super) fn take_while(&self, mut fits: impl FnMut(&Outgoing) -> bool) -> VecDeque<Outgoing> {
        let waiting = &mut self.queue.lock().waiting;
        let count = waiting.iter().take_while(|frame| fits(frame)).count();
        if count == waiting.len() { std::mem::take(waiting) } else { waiting.drain(..count).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.lock().waiting.is_empty()
    }

    /// Everything that waits now.
    pub(super) fn rest(&self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.queue.lock().waiting)
    }

    /// Ready when the connection is to be closed, whatever waits. For one task only.
    pub(super) fn poll_closing(&self, context: &Context<'_>) -> Poll<()> {
        self.queue.lock().poll_closing(context)
    }

    /// The same, for another task.
    pub(super) fn poll_close_requested(&self, context: &Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.is_closing {
            return Poll::Ready(());
        }
        queue.closer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether the connection is to be closed.
    pub(super) fn is_closing(&self) -> bool {
        self.queue.lock().is_closing
    }

    /// Whether the connection is to be closed, by a close frame or without one.
    pub(super) fn is_ending(&self) -> bool {
        let queue = self.queue.lock();
        queue.is_closing || queue.has_close
    }

    pub(super) fn set_overdue(&self, is_overdue: bool) {
        self.is_overdue.store(is_overdue, Ordering::Relaxed);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue.lock();
        let changed = change(&mut queue);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        changed
    }

    /// Queues a close frame: one, and however full the queue is.
    fn push_close(&self, frame: Outgoing) -> Result<(), QueueFull> {
        self.change(|queue| {
            if std::mem::replace(&mut queue.has_close, true) {
                return Ok(());
            }
            self.backlog.queue_promised(0, || {
                queue.waiting.push_back(frame);
                Ok(())
            })
        })
    }
}

impl Sink for SendQueue {
    fn push(&self, frame: Outgoing, is_promised: bool) -> Result<(), QueueFull> {
        if matches!(frame, Outgoing::Close(..)) {
            return self.push_close(frame);
        }
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

    fn close(&self) -> bool {
        let (is_first, closer) = self.change(|queue| {
            let is_first = !std::mem::replace(&mut queue.is_closing, true);
            (is_first, queue.closer.take())
        });
        if let Some(closer) = closer {
            closer.wake();
        }
        is_first
    }

    fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Relaxed)
    }
}

impl Queue {
    fn poll_closing(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.is_closing {
            return Poll::Ready(());
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}
