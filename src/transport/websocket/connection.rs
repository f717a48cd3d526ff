//! The life of one plain WebSocket connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tracing::debug;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message};

use super::Settings;
use crate::dialect::{Conversation, Dialect, Frame, RequestError, Step};
use crate::id::ConnectionId;
use crate::metrics::{Kind, Limit};
use crate::room::LeaveReason;
use crate::session::{Backlog, Excess, Handled, Hub, Outbox, Permit, QueueFull, Session};
use crate::transport::listener::Stream;

/// What is read of a connection at a time, in bytes: each connection has a buffer of that size.
const READ_BUFFER: usize = 1024;

/// How long a write may make no progress before its connection is given up.
const WRITE_STALL: Duration = Duration::from_secs(8);

/// How long a connection that we end is read on, so that its last word arrives before the reset that unread data causes.
const LINGER: Duration = Duration::from_secs(1);

/// How many heartbeats may go unanswered.
const MISSED_HEARTBEATS: u32 = 2;

/// The queue of a connection, as the rest of the server sees it.
struct Outbound {
    queue: mpsc::Sender<Frame>,
    backlog: Arc<Backlog>,
    is_overdue: AtomicBool,
    is_closing: AtomicBool,
    closing: Notify,
}

impl Outbound {
    /// Resolves when the connection is to be closed, and at once from then on.
    async fn closing(&self) {
        while !self.is_closing.load(Ordering::Acquire) {
            // Who was notified before it waited does not wait: one permit is kept.
            self.closing.notified().await;
        }
    }
}

/// How much of the queue's bytes a frame takes.
fn length(frame: &Frame) -> usize {
    match frame {
        Frame::Text(text) => text.len(),
        Frame::Close(..) => 0,
    }
}

impl Outbound {
    fn queue(&self, frame: Frame) -> Result<(), QueueFull> {
        match self.queue.try_send(frame) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(QueueFull),
            // One that is gone takes nothing and is no error: its session is just ending.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

impl Outbox for Outbound {
    fn send(&self, frame: Frame) -> Result<(), QueueFull> {
        self.backlog.queue(length(&frame), || self.queue(frame))
    }

    fn send_promised(&self, frame: Frame) -> Result<(), QueueFull> {
        self.backlog.queue_promised(length(&frame), || self.queue(frame))
    }

    fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.closing.notify_one();
    }

    fn congestion(&self) -> Option<Arc<Backlog>> {
        self.backlog.is_high().then(|| Arc::clone(&self.backlog))
    }

    fn stays_full(&self, now: std::time::Instant) -> bool {
        self.backlog.stays_full(now)
    }

    fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Relaxed)
    }
}

pub(super) struct Connection {
    hub: Arc<Hub>,
    _permit: Permit,
    socket: WebSocketStream<Stream>,
    session: Session,
    conversation: Box<dyn Conversation>,
    /// How events are written, as far as the session knows.
    speaks: &'static Dialect,
    outbox: Arc<Outbound>,
    queue: mpsc::Receiver<Frame>,
    /// A queue that fills up: nothing is read until it has shrunk, or until then.
    pause: Option<(Arc<Backlog>, Instant)>,
    missed: u32,
}

/// How a connection ends.
struct End {
    reason: LeaveReason,
    /// What to tell the client; nothing where it is gone.
    close: Option<(u16, &'static str)>,
}

impl End {
    const FLOOD: Self = Self { reason: LeaveReason::Kicked, close: Some((1008, "RATE_LIMITED")) };

    fn gone(reason: LeaveReason) -> Self {
        Self { reason, close: None }
    }

    fn told(code: u16, why: &'static str) -> Self {
        Self { reason: LeaveReason::Kicked, close: Some((code, why)) }
    }
}

impl Connection {
    pub(super) async fn open(
        hub: &Arc<Hub>,
        permit: Permit,
        settings: &Settings,
        id: ConnectionId,
        stream: Stream,
        early: Bytes,
        conversation: Box<dyn Conversation>,
    ) -> Option<Self> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(settings.max_message_bytes))
            .max_frame_size(Some(settings.max_message_bytes));
        let socket = WebSocketStream::from_partially_read(stream, early.into(), Role::Server, Some(config)).await;
        let (sender, queue) = mpsc::channel(settings.send_queue + settings.promised);
        let outbox = Arc::new(Outbound {
            queue: sender,
            backlog: Backlog::new(settings.send_queue, settings.send_queue_bytes),
            is_overdue: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            closing: Notify::new(),
        });
        let session = hub.open(id, conversation.dialect(), Arc::clone(&outbox) as Arc<dyn Outbox>, false)?;
        let (hub, speaks) = (Arc::clone(hub), conversation.dialect());
        Some(Self {
            hub,
            _permit: permit,
            socket,
            session,
            conversation,
            speaks,
            outbox,
            queue,
            pause: None,
            missed: 0,
        })
    }

    /// Serves until the connection ends.
    pub(super) async fn run(mut self, settings: &Settings) {
        let end = self.serve(settings).await;
        self.session.end(end.reason);
        self.outbox.backlog.close();
        if let Some((code, why)) = end.close {
            let frame = CloseFrame { code: CloseCode::from(code), reason: why.into() };
            let farewell = async {
                self.socket.close(Some(frame)).await.ok();
                // The client hears that all is said, and answers by ending its side: RFC 6455, section 7.1.1.
                self.socket.get_mut().shutdown().await.ok();
                let mut rest = [0; READ_BUFFER];
                while self.socket.get_mut().read(&mut rest).await.is_ok_and(|length| length > 0) {}
            };
            timeout(LINGER, farewell).await.ok();
        }
    }

    async fn serve(&mut self, settings: &Settings) -> End {
        let opening = self.conversation.open();
        if let Err(end) = self.guarded(|this| {
            let opened = Instant::now();
            opening.into_iter().try_for_each(|step| this.take(opened, Some(step)))
        }) {
            return end;
        }
        let mut heartbeat = tokio::time::interval_at(Instant::now() + settings.heartbeat, settings.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let first_message = Instant::now() + settings.handshake_timeout;
        loop {
            let outbox = Arc::clone(&self.outbox);
            let pause = self.pause.clone();
            let is_settled = self.conversation.is_settled();
            let done = tokio::select! {
                biased;
                Some(frame) = self.queue.recv() => self.write(frame).await,
                () = outbox.closing() => self.flush_and_close().await,
                () = relief(pause.as_ref()), if pause.is_some() => {
                    self.pause = None;
                    Ok(())
                }
                message = self.socket.next(), if pause.is_none() => self.read(message),
                _ = heartbeat.tick() => self.beat().await,
                () = tokio::time::sleep_until(first_message), if !is_settled => {
                    self.hub.metrics().limit(Limit::HandshakeTime);
                    Err(End::told(1008, "the first message took too long"))
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Runs what decides about a message; a panic in it ends this connection and no other.
    fn guarded(&mut self, decide: impl FnOnce(&mut Self) -> Result<(), End>) -> Result<(), End> {
        let (hub, id) = (Arc::clone(&self.hub), self.session.id());
        hub.contain(id, || decide(self)).unwrap_or_else(|| Err(End::told(1011, "internal error")))
    }

    fn read(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        self.missed = 0;
        self.outbox.is_overdue.store(false, Ordering::Relaxed);
        match message {
            Some(Ok(Message::Text(text))) => self.guarded(|this| this.receive(&text)),
            Some(Ok(Message::Binary(_))) => Err(End::told(1003, "binary messages are not accepted")),
            // Answered by the library, but counted: a flood of them is a flood.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => match self.session.admit() {
                Ok(()) | Err(Excess::Wait(_)) => Ok(()),
                Err(Excess::Flood(_)) => Err(End::FLOOD),
            },
            // What follows a close is its own end.
            Some(Ok(Message::Close(_) | Message::Frame(_))) => Ok(()),
            Some(Err(Error::Capacity(_))) => {
                self.hub.metrics().limit(Limit::MessageBytes);
                Err(End::told(1009, "the message is too large"))
            }
            Some(Err(Error::Utf8(_))) => Err(End::told(1007, "not UTF-8")),
            Some(Err(Error::Protocol(problem))) => {
                debug!(connection = %self.session.id(), %problem, "not WebSocket");
                Err(End::gone(LeaveReason::Disconnected))
            }
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::TimedOut => {
                Err(End::gone(LeaveReason::TimedOut))
            }
            Some(Err(_)) | None => Err(End::gone(LeaveReason::Disconnected)),
        }
    }

    fn receive(&mut self, text: &str) -> Result<(), End> {
        let (received, now) = (Instant::now(), SystemTime::now());
        let step = match self.session.admit() {
            Ok(()) => self.conversation.receive(text, now),
            Err(Excess::Flood(_)) => return Err(End::FLOOD),
            Err(Excess::Wait(retry_after)) => {
                let error = RequestError::RateLimited { retry_after };
                self.session.received(Kind::Refused);
                self.session.refused(&error);
                let step = self.conversation.refuse(text, error, now);
                return self.take(received, step);
            }
        };
        match &step {
            // Counted when it is carried out.
            Some(Step::Do(_)) => {}
            Some(Step::Refuse(..)) => self.session.received(Kind::Refused),
            Some(Step::Tell(_) | Step::Last(..)) | None => self.session.received(Kind::Other),
        }
        self.take(received, step)
    }

    /// Carries out a step, and those that follow from it.
    fn take(&mut self, received: Instant, mut next: Option<Step>) -> Result<(), End> {
        while let Some(step) = next.take() {
            match step {
                Step::Tell(frame) => self.tell(frame)?,
                Step::Refuse(code, frame) => {
                    self.hub.metrics().error(code);
                    self.tell(frame)?;
                }
                Step::Last(text, code, reason) => {
                    self.tell(Frame::Text(text))?;
                    self.tell(Frame::Close(code, reason))?;
                }
                Step::Do(command) => {
                    let conversation = &self.conversation;
                    let speaks = conversation.speaks();
                    if !std::ptr::eq(speaks, self.speaks) {
                        self.speaks = speaks;
                        self.session.speak(speaks);
                    }
                    let now = SystemTime::now();
                    let Handled { result, congested, .. } =
                        self.session.handle(received.into(), command, |snapshot| conversation.welcome(snapshot, now));
                    if let Err(error) = &result {
                        self.session.refused(error);
                    }
                    if let Some(backlog) = congested {
                        self.pause = Some((backlog, Instant::now() + self.session.patience()));
                    }
                    next = self.conversation.answer(result, now);
                }
            }
        }
        Ok(())
    }

    /// Queues an answer. Who does not read its answers is not read either, until it does.
    fn tell(&mut self, frame: Frame) -> Result<(), End> {
        self.outbox.send(frame).map_err(|QueueFull| End::told(1008, "answers are not read"))?;
        if self.outbox.backlog.is_high() {
            self.pause = Some((Arc::clone(&self.outbox.backlog), Instant::now() + WRITE_STALL));
        }
        Ok(())
    }

    /// Writes a frame and all that wait behind it.
    async fn write(&mut self, first: Frame) -> Result<(), End> {
        let mut next = Some(first);
        let (mut frames, mut bytes) = (0, 0);
        while let Some(frame) = next.take() {
            bytes += length(&frame);
            match frame {
                Frame::Text(text) => self.bounded(async |socket| socket.feed(Message::text(text)).await).await?,
                Frame::Close(code, reason) => {
                    self.bounded(async |socket| socket.flush().await).await?;
                    return Err(End::told(code, reason));
                }
            }
            frames += 1;
            next = self.queue.try_recv().ok();
        }
        self.bounded(async |socket| socket.flush().await).await?;
        self.outbox.backlog.written(frames, bytes);
        Ok(())
    }

    /// Writes for a bounded time, and no longer than for a last word once the connection is to be closed.
    async fn bounded(
        &mut self,
        write: impl AsyncFnOnce(&mut WebSocketStream<Stream>) -> Result<(), Error>,
    ) -> Result<(), End> {
        let outbox = Arc::clone(&self.outbox);
        let closing = async {
            outbox.closing().await;
            tokio::time::sleep(LINGER).await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = timeout(WRITE_STALL, write(&mut self.socket)) => outcome,
            () = closing => return Err(End::gone(LeaveReason::Kicked)),
        };
        match outcome {
            Ok(Ok(())) => Ok(()),
            // The kernel has its own limit, and may be the first to find a stalled reader.
            Ok(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::TimedOut => {
                Err(End::gone(LeaveReason::TimedOut))
            }
            Ok(Err(_)) => Err(End::gone(LeaveReason::Disconnected)),
            Err(_) => {
                self.hub.metrics().limit(Limit::WriteTime);
                Err(End::gone(LeaveReason::TimedOut))
            }
        }
    }

    /// The server wants the connection closed: what is queued still goes out.
    async fn flush_and_close(&mut self) -> Result<(), End> {
        if let Ok(frame) = self.queue.try_recv() {
            // As long as all of it takes, not each: who reads a little at a time does not stay for that.
            timeout(LINGER, self.write(frame)).await.unwrap_or_else(|_| Err(End::gone(LeaveReason::Kicked)))?;
        }
        Err(End::told(1008, "closed by the server"))
    }

    async fn beat(&mut self) -> Result<(), End> {
        if self.missed >= MISSED_HEARTBEATS {
            return Err(End::gone(LeaveReason::TimedOut));
        }
        self.missed += 1;
        // Late is who has not answered by the time of the next.
        self.outbox.is_overdue.store(self.missed > 1, Ordering::Relaxed);
        self.bounded(async |socket| socket.send(Message::Ping(Bytes::new())).await).await
    }
}

/// Resolves when there is no reason to pause any more. One that has waited too long lets nobody else wait.
async fn relief(pause: Option<&(Arc<Backlog>, Instant)>) {
    let Some((backlog, until)) = pause else { return };
    if tokio::time::timeout_at(*until, poll_fn(|context| backlog.poll_relief(context))).await.is_err() {
        backlog.give_up();
    }
}
