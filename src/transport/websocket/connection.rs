//! The life of one plain WebSocket connection.

use std::any::Any;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tracing::debug;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message};

use super::Settings;
use super::outbound::{BACK, Line, Outbound, Outgoing};
use crate::auth::Grant;
use crate::dialect::{Conversation, Dialect, Frame, RequestError, Step};
use crate::id::ConnectionId;
use crate::metrics::{Kind, Limit};
use crate::room::LeaveReason;
use crate::session::{Backlog, Excess, Handled, Hub, Outbox, Permit, QueueFull, ResumeKey, Session};
use crate::transport::stream::Stream;

/// What is read of a connection at a time, in bytes: each connection has a buffer of that size.
const READ_BUFFER: usize = 1024;

/// How long a write may make no progress before its connection is given up.
const WRITE_STALL: Duration = Duration::from_secs(8);

/// How long a connection that we end is read on, so that its last word arrives before the reset that unread data causes.
const LINGER: Duration = Duration::from_secs(1);

/// How many heartbeats may go unanswered.
const MISSED_HEARTBEATS: u32 = 2;

pub(super) struct Connection {
    hub: Arc<Hub>,
    _permit: Permit,
    socket: WebSocketStream<Stream>,
    session: Session,
    conversation: Box<dyn Conversation>,
    /// How events are written, as far as the session knows.
    speaks: &'static Dialect,
    outbox: Arc<Outbound>,
    line: Arc<Line>,
    queue: mpsc::Receiver<Outgoing>,
    /// A queue that fills up: nothing is read until it has shrunk, or until then.
    pause: Option<(Arc<Backlog>, Instant)>,
    missed: u32,
    /// Whether the client closes the connection as one does who does not come back.
    has_said_goodbye: bool,
}

/// How a connection ends.
struct End {
    reason: LeaveReason,
    /// Whether the connection is gone without a word.
    is_lost: bool,
    /// What to tell the client; nothing where it is gone.
    close: Option<(u16, &'static str)>,
}

impl End {
    const FLOOD: Self = Self { reason: LeaveReason::Kicked, is_lost: false, close: Some((1008, "RATE_LIMITED")) };
    /// The server closes it, and the client reads no more.
    const KICKED: Self = Self { reason: LeaveReason::Kicked, is_lost: false, close: None };

    fn gone(reason: LeaveReason) -> Self {
        Self { reason, is_lost: true, close: None }
    }

    fn told(code: u16, why: &'static str) -> Self {
        Self { reason: LeaveReason::Kicked, is_lost: false, close: Some((code, why)) }
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
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(settings.max_message_bytes))
            .max_frame_size(Some(settings.max_message_bytes));
        let socket = WebSocketStream::from_partially_read(stream, early.into(), Role::Server, Some(config)).await;
        let (line, queue) = Line::new(settings);
        let outbox = Outbound::new(id, Arc::clone(hub), conversation.dialect(), Arc::clone(&line));
        let can_resume = outbox.can_resume();
        let session = hub.open(id, conversation.dialect(), Arc::clone(&outbox) as Arc<dyn Outbox>, can_resume);
        let (hub, speaks) = (Arc::clone(hub), conversation.dialect());
        Self {
            hub,
            _permit: permit,
            socket,
            session,
            conversation,
            speaks,
            outbox,
            line,
            queue,
            pause: None,
            missed: 0,
            has_said_goodbye: false,
        }
    }

    /// Takes what the token of the handshake grants.
    pub(super) fn identify(&self, grant: Option<Grant>) {
        if let Some(grant) = grant {
            self.session.accept(grant).expect("the first grant is of nobody else's");
        }
    }

    /// Serves until the connection ends.
    pub(super) async fn run(mut self, settings: &Settings) {
        let end = self.serve(settings).await;
        if end.is_lost && !self.has_said_goodbye {
            self.session.lose(end.reason);
        } else {
            self.session.end(end.reason);
        }
        self.line.backlog.close();
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
        let key = self.session.key().map(|key| key.expose());
        self.conversation.keep(key);
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
            let line = Arc::clone(&self.line);
            let pause = self.pause.clone();
            let is_settled = self.conversation.is_settled();
            let done = tokio::select! {
                biased;
                Some(frame) = self.queue.recv() => self.write(frame).await,
                () = line.closing() => self.flush_and_close().await,
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
        self.line.is_overdue.store(false, Ordering::Relaxed);
        if matches!(&message, Some(Ok(Message::Pong(payload))) if payload == BACK) {
            self.session.has_new_key();
        }
        match message {
            Some(Ok(Message::Text(text))) => self.guarded(|this| this.receive(&text)),
            Some(Ok(Message::Binary(_))) => Err(End::told(1003, "binary messages are not accepted")),
            // Answered by the library, but counted: a flood of them is a flood.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => match self.session.admit() {
                Ok(()) | Err(Excess::Wait(_)) => Ok(()),
                Err(Excess::Flood(_)) => Err(End::FLOOD),
            },
            // What follows a close is its own end.
            Some(Ok(Message::Close(_))) => {
                self.has_said_goodbye = true;
                Ok(())
            }
            Some(Ok(Message::Frame(_))) => Ok(()),
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
            Some(Step::Tell(_) | Step::Last(..) | Step::Authenticate(_) | Step::Resume { .. }) | None => {
                self.session.received(Kind::Other);
            }
        }
        self.take(received, step)
    }

    /// Carries out a step, and those that follow from it.
    fn take(&mut self, received: Instant, mut next: Option<Step>) -> Result<(), End> {
        while let Some(step) = next.take() {
            match step {
                Step::Tell(frame) => self.tell(frame)?,
                Step::Resume { key, seen } => next = self.resume(&key, seen),
                Step::Refuse(code, frame) => {
                    self.hub.metrics().error(code);
                    self.tell(frame)?;
                }
                Step::Last(text, code, reason) => {
                    self.tell(Frame::Text(text))?;
                    self.tell(Frame::Close(code, reason))?;
                }
                Step::Authenticate(token) => {
                    let grant = self.session.authenticate(token.as_deref());
                    if let Err(error) = &grant {
                        self.session.refused(error);
                    }
                    let grant = grant.as_ref().map(Option::as_deref).map_err(Clone::clone);
                    next = self.conversation.authenticated(grant, SystemTime::now());
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

    /// Takes the place of a connection that was lost, if the client knows its key and missed nothing that is not held.
    fn resume(&mut self, key: &str, seen: u64) -> Option<Step> {
        let now = SystemTime::now();
        let resumed = ResumeKey::parse(key)
            .and_then(|key| Some((self.hub.resume(&key, seen, self.session.subject().as_ref())?, key)));
        let Some(((session, outbox), used)) = resumed else {
            return Some(Step::Tell(self.conversation.resumed(None, now)));
        };
        let outbox = Arc::downcast::<Outbound>(outbox as Arc<dyn Any + Send + Sync>).ok()?;
        // The key works once.
        let before = session.key().map(|key| key.expose());
        let key = session.renew_key(used).map(|key| key.expose());
        self.conversation.keep(key.clone());
        session.speak(self.speaks);
        let Frame::Text(said) = self.conversation.resumed(Some(session.id()), now) else { return None };
        // What this connection was until now had no rooms, or leaves them.
        (self.session, self.outbox) = (session, outbox);
        match self.outbox.attach(&self.line, said, seen, before.zip(key)) {
            Ok(()) => None,
            Err(QueueFull) => Some(Step::Tell(Frame::Close(1008, "what was missed is too much"))),
        }
    }

    /// Queues an answer. Who does not read its answers is not read either, until it does.
    fn tell(&mut self, frame: Frame) -> Result<(), End> {
        self.outbox.send(frame).map_err(|QueueFull| End::told(1008, "answers are not read"))?;
        if self.line.backlog.is_high() {
            self.pause = Some((Arc::clone(&self.line.backlog), Instant::now() + WRITE_STALL));
        }
        Ok(())
    }

    /// Writes a frame and all that wait behind it.
    async fn write(&mut self, first: Outgoing) -> Result<(), End> {
        let mut next = Some(first);
        let mut end = None;
        let (mut frames, mut bytes) = (0, 0);
        while let Some(frame) = next.take() {
            bytes += frame.length();
            match frame {
                Outgoing::Text(text) => self.bounded(async |socket| socket.feed(Message::Text(text)).await).await?,
                Outgoing::Ping => self.bounded(async |socket| socket.feed(Message::Ping(BACK.into())).await).await?,
                Outgoing::Close(code, reason) => {
                    // What was accepted before still goes out, and nothing is from here on.
                    self.session.end(LeaveReason::Kicked);
                    end = Some(End::told(code, reason));
                }
            }
            frames += 1;
            next = self.queue.try_recv().ok();
        }
        self.bounded(async |socket| socket.flush().await).await?;
        self.line.backlog.written(frames, bytes);
        end.map_or(Ok(()), Err)
    }

    /// Writes for a bounded time, and no longer than for a last word once the connection is to be closed.
    async fn bounded(
        &mut self,
        write: impl AsyncFnOnce(&mut WebSocketStream<Stream>) -> Result<(), Error>,
    ) -> Result<(), End> {
        let line = Arc::clone(&self.line);
        let closing = async {
            line.closing().await;
            tokio::time::sleep(LINGER).await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = timeout(WRITE_STALL, write(&mut self.socket)) => outcome,
            () = closing => return Err(End::KICKED),
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
        self.session.end(LeaveReason::Kicked);
        if let Ok(frame) = self.queue.try_recv() {
            // As long as all of it takes, not each: who reads a little at a time does not stay for that.
            timeout(LINGER, self.write(frame)).await.unwrap_or(Err(End::KICKED))?;
        }
        Err(End::told(1008, "closed by the server"))
    }

    async fn beat(&mut self) -> Result<(), End> {
        if self.missed >= MISSED_HEARTBEATS {
            return Err(End::gone(LeaveReason::TimedOut));
        }
        self.missed += 1;
        // Late is who has not answered by the time of the next.
        self.line.is_overdue.store(self.missed > 1, Ordering::Relaxed);
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
