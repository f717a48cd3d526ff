//! The send queue of one connection.
//!
//! Sessions push frames to it, and the writing task takes all of them at once. It belongs to the
//! connection rather than to the transport: after an upgrade from polling to a WebSocket, the
//! WebSocket takes the frames that no poll has fetched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::session::{Outgoing, QueueDepth, QueueFull, Sink};

/// Capacity of a connection's send queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Maximum number of frames.
    pub frames: usize,
    /// Maximum number of bytes.
    pub bytes: usize,
    /// Additional frames for signals that were accepted before the client connected.
    pub promised: usize,
}

/// The send queue of one connection.
///
/// This is not a Tokio channel: those allocate a block of slots each, and most queues are empty
/// most of the time.
pub(super) struct SendQueue {
    queue: Mutex<Queue>,
    /// Maximum number of frames, including promised ones.
    max_frames: usize,
    depth: Arc<QueueDepth>,
    is_overdue: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Outgoing>,
    /// Whether the connection is to be closed without writing the rest.
    is_closing: bool,
    /// Whether a close frame was queued.
    has_close: bool,
    /// The task that takes frames, while it waits.
    waker: Option<Waker>,
    /// The task that closes a connection whose client may not be polling.
    closer: Option<Waker>,
}

impl SendQueue {
    pub(super) fn new(limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            max_frames: limits.frames + limits.promised,
            depth: QueueDepth::new(limits.frames, limits.bytes),
            is_overdue: AtomicBool::new(false),
        })
    }

    /// Takes all queued frames once there is at least one. If the connection is closing, a close
    /// frame follows them. Only one task may poll this.
    pub(super) fn poll_take(&self, context: &Context<'_>) -> Poll<VecDeque<Outgoing>> {
        let mut queue = self.queue.lock();
        if queue.poll_closing(context).is_ready() {
            queue.waiting.push_back(Outgoing::Close(1008, "closed by the server"));
        }
        if queue.waiting.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(std::mem::take(&mut queue.waiting))
        }
    }

    /// Completes when a frame is queued or the connection is closing. Only one task may poll this.
    pub(super) fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() { queue.poll_closing(context) } else { Poll::Ready(()) }
    }

    /// Takes frames from the front while `fits` returns true.
    pub(super) fn take_while(&self, mut fits: impl FnMut(&Outgoing) -> bool) -> VecDeque<Outgoing> {
        let waiting = &mut self.queue.lock().waiting;
        let count = waiting.iter().take_while(|frame| fits(frame)).count();
        if count == waiting.len() {
            std::mem::take(waiting)
        } else {
            waiting.drain(..count).collect()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.lock().waiting.is_empty()
    }

    /// Takes the frames that are queued now, without waiting.
    pub(super) fn rest(&self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.queue.lock().waiting)
    }

    /// Completes when the connection is closing. Only one task may poll this.
    pub(super) fn poll_closing(&self, context: &Context<'_>) -> Poll<()> {
        self.queue.lock().poll_closing(context)
    }

    /// Completes when the connection is closing, for a second task.
    pub(super) fn poll_close_requested(&self, context: &Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.is_closing {
            return Poll::Ready(());
        }
        queue.closer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Returns whether the connection is to be closed without writing the rest.
    pub(super) fn is_closing(&self) -> bool {
        self.queue.lock().is_closing
    }

    /// Returns whether the connection is closing, with a close frame or without.
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

    /// Queues a close frame, even if the queue is full; only the first has an effect.
    fn push_close(&self, frame: Outgoing) -> Result<(), QueueFull> {
        self.change(|queue| {
            if std::mem::replace(&mut queue.has_close, true) {
                return Ok(());
            }
            self.depth.queue_promised(0, || {
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
            return self.depth.queue(bytes, queue);
        }
        if self.depth.waiting() >= self.max_frames {
            return Err(QueueFull);
        }
        self.depth.queue_promised(bytes, queue)
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

    fn depth(&self) -> &Arc<QueueDepth> {
        &self.depth
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
