//! The life of one plain WebSocket connection.

use std::any::Any;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tracing::{debug, field};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message};

use super::Settings;
use super::outbound::{BACK, Line, Outbound, Outgoing};
use crate::auth::Grant;
use crate::dialect::{Conversation, Dialect, Frame, RequestError, Step};
use crate::id::{ConnectionId, RoomId};
use crate::metrics::{Kind, Limit};
use crate::room::LeaveReason;
use crate::session::{
    Backlog, Excess, Handled, Hub, Moment, Outbox, Permit, QueueFull, RateLimiter, ResumeKey, Session,
};
use crate::sfu;
use crate::timeouts::Timeouts;
use crate::transport::metered::Metered;
use crate::transport::read_ahead::{READ_BUFFER, ReadAhead};
use crate::transport::stream::Stream;
use crate::transport::throttle::poll_delay;

/// How many heartbeats may go unanswered.
const MISSED_HEARTBEATS: u32 = 2;

pub(super) struct Connection {
    hub: Arc<Hub>,
    permit: Arc<Permit>,
    socket: WebSocketStream<Metered<ReadAhead<Stream>>>,
    session: Session,
    conversation: Box<dyn Conversation>,
    /// How events are written, as far as the session knows.
    speaks: &'static Dialect,
    outbox: Arc<Outbound>,
    line: Arc<Line>,
    /// A queue fills up: nothing is read until this ends.
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    limiter: Arc<RateLimiter>,
    /// How long the rate limiter keeps the client from being read.
    delay: Option<Pin<Box<Sleep>>>,
    missed: u32,
    /// Until when what waits may still be written, once that is known.
    farewell: Option<Instant>,
    /// Whether the client closes the connection as one does who does not come back.
    has_said_goodbye: bool,
}

/// What a connection has to do.
enum Wake {
    Write(VecDeque<Outgoing>),
    Read(Option<Result<Message, Error>>),
    Beat,
    TooLate,
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
        permit: Arc<Permit>,
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
        let limiter = Arc::new(hub.rate_limiter());
        let stream = Metered::new(ReadAhead::new(stream, early), Arc::clone(&limiter));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let line = Line::new(settings);
        let outbox = Outbound::new(id, Arc::clone(hub), conversation.dialect(), Arc::clone(&line));
        let can_resume = outbox.can_resume();
        let (dialect, sink) = (conversation.dialect(), Arc::clone(&outbox) as Arc<dyn Outbox>);
        let session = hub.open(id, dialect, sink, can_resume, Some(Arc::clone(&permit)));
        let (hub, speaks) = (Arc::clone(hub), conversation.dialect());
        Self {
            hub,
            permit,
            socket,
            session,
            conversation,
            speaks,
            outbox,
            line,
            pause: None,
            limiter,
            delay: None,
            missed: 0,
            farewell: None,
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
    pub(super) async fn run(&mut self, settings: &Settings, needs_token: bool) {
        let end = self.serve(settings, needs_token).await;
        if end.is_lost && !self.has_said_goodbye && !self.line.is_closing() {
            self.session.lose(end.reason);
        } else {
            self.session.end(end.reason);
        }
        self.line.backlog.close();
        if let Some((code, why)) = end.close {
            let limit = self.hub.timeouts().last_write;
            // In a box: a connection is not to be larger all its life for how it ends.
            timeout(limit, Box::pin(self.say_goodbye(code, why))).await.ok();
        }
    }

    async fn say_goodbye(&mut self, code: u16, why: &'static str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: why.into() };
        self.socket.close(Some(frame)).await.ok();
        // The client hears that all is said, and answers by ending its side: RFC 6455, section 7.1.1. It is read until
        // then, so that the close frame arrives before the reset that unread data causes.
        self.socket.get_mut().shutdown().await.ok();
        let mut rest = [0; READ_BUFFER];
        while self.socket.get_mut().read(&mut rest).await.is_ok_and(|length| length > 0) {}
    }

    async fn serve(&mut self, settings: &Settings, needs_token: bool) -> End {
        let key = self.session.key().map(|key| key.expose());
        self.conversation.keep(key);
        let opening = self.conversation.open();
        if let Err(end) = self.guarded(|this| {
            let opened = Moment::now();
            opening.into_iter().try_for_each(|step| this.take(opened, Some(step)))
        }) {
            return end;
        }
        let mut heartbeat = tokio::time::interval_at(Instant::now() + settings.heartbeat, settings.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A client that nobody knows yet gets less time than others.
        let limit = settings.handshake_timeout / if needs_token { 2 } else { 1 };
        let mut first_message = (!self.conversation.is_settled()).then(|| Box::pin(tokio::time::sleep(limit)));
        loop {
            let wake = poll_fn(|context| self.poll_wake(context, &mut heartbeat, &mut first_message)).await;
            let done = match wake {
                Wake::Write(frames) => self.write(frames).await,
                Wake::Read(message) => {
                    let is_ping = matches!(message, Some(Ok(Message::Ping(_))));
                    match self.read(message) {
                        // The library queues pongs without a bound: the next message is read when this one is written.
                        Ok(()) if is_ping => self.bounded(async |socket| socket.flush().await).await,
                        done => done,
                    }
                }
                Wake::Beat => self.beat().await,
                Wake::TooLate => {
                    self.hub.metrics().limit(Limit::HandshakeTime);
                    Err(End::told(1008, "the first message took too long"))
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Ready with what is to be done next: what waits to be written before what waits to be read.
    fn poll_wake(
        &mut self,
        context: &mut Context<'_>,
        heartbeat: &mut Interval,
        first_message: &mut Option<Pin<Box<Sleep>>>,
    ) -> Poll<Wake> {
        if let Poll::Ready(frames) = self.line.poll_next(context) {
            return Poll::Ready(Wake::Write(frames));
        }
        if let Some(pause) = &mut self.pause
            && pause.as_mut().poll(context).is_ready()
        {
            self.pause = None;
        }
        if self.pause.is_none()
            && poll_delay(&self.limiter, &mut self.delay, context).is_ready()
            && let Poll::Ready(message) = self.socket.poll_next_unpin(context)
        {
            return Poll::Ready(Wake::Read(message));
        }
        if heartbeat.poll_tick(context).is_ready() {
            return Poll::Ready(Wake::Beat);
        }
        if let Some(timer) = first_message {
            if self.conversation.is_settled() {
                *first_message = None;
            } else if timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::TooLate);
            }
        }
        Poll::Pending
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
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                self.session.received(Kind::Control);
                match self.limiter.admit_frame() {
                    Ok(()) | Err(Excess::Wait(_)) => Ok(()),
                    Err(Excess::Flood(_)) => Err(End::FLOOD),
                }
            }
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
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::QuotaExceeded => Err(End::FLOOD),
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::TimedOut => {
                Err(End::gone(LeaveReason::TimedOut))
            }
            Some(Err(_)) | None => Err(End::gone(LeaveReason::Disconnected)),
        }
    }

    fn receive(&mut self, text: &str) -> Result<(), End> {
        let received = Moment::now();
        let now = received.time;
        let step = match self.limiter.admit() {
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
            Some(Step::Media(room, request)) => {
                self.session.received(Kind::Other);
                let (connection, room) = (self.session.id(), room.as_ref().map(field::display));
                let (correlation, size) = (self.conversation.correlation(), text.len());
                debug!(%connection, room, request = request.name(), correlation, size, "media");
            }
            Some(Step::Tell(_) | Step::Last(..) | Step::Authenticate(_) | Step::Resume { .. }) | None => {
                self.session.received(Kind::Other);
            }
        }
        self.take(received, step)
    }

    /// Carries out a step, and those that follow from it.
    fn take(&mut self, received: Moment, mut next: Option<Step>) -> Result<(), End> {
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
                Step::Media(room, request) => next = self.take_to_media(room, request, received.time),
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
                    let now = received.time;
                    let Handled { result, congested, welcome_bytes, .. } =
                        self.session.handle(received, command, |snapshot| conversation.welcome(snapshot, now));
                    if let Err(error) = &result {
                        self.session.refused(error);
                    }
                    self.limiter.charge(welcome_bytes);
                    if let Some(backlog) = congested {
                        self.pause = Some(Box::pin(relief(backlog, self.session.patience())));
                    }
                    next = self.conversation.answer(result, now);
                }
            }
        }
        Ok(())
    }

    /// Takes a request to the media server. Nothing more is read until it is answered, so that answers keep their order.
    fn take_to_media(&mut self, room: Option<RoomId>, request: sfu::Request, now: SystemTime) -> Option<Step> {
        let write = self.conversation.media()?;
        match self.session.media(room, request, write) {
            Ok(answered) => {
                self.pause = Some(answered);
                None
            }
            Err(error) => {
                self.session.refused(&error);
                self.conversation.answer(Err(error), now)
            }
        }
    }

    /// Takes the place of a connection that was lost, if the client knows its key and missed nothing that is not held.
    fn resume(&mut self, key: &str, seen: u64) -> Option<Step> {
        let now = SystemTime::now();
        let grant = self.session.grant();
        let subject = grant.as_ref().map(|grant| &grant.subject);
        // Nobody comes back to where it is.
        let key = ResumeKey::parse(key).filter(|key| key.id() != self.session.id());
        let resumed = key.and_then(|key| Some((self.hub.resume(&key, seen, subject, Some(&self.permit))?, key)));
        let Some(((session, outbox), used)) = resumed else {
            return Some(Step::Tell(self.conversation.resumed(None, now)));
        };
        // From here on it is there by the token that it came back with.
        if let Some(grant) = grant {
            session.accept(Grant::clone(&grant)).expect("a place is given to its own person alone");
        }
        let outbox = Arc::downcast::<Outbound>(outbox as Arc<dyn Any + Send + Sync>).ok()?;
        // The key works once.
        let before = session.key().map(|key| key.expose());
        let key = session.renew_key(used).map(|key| key.expose());
        self.conversation.keep(key.clone());
        // Resuming is the first that a client says on its new connection: its style counts from then on.
        self.speaks = self.conversation.speaks();
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
        if let Frame::Text(text) = &frame {
            self.limiter.charge(text.len());
        }
        self.outbox.send(frame).map_err(|QueueFull| End::told(1008, "answers are not read"))?;
        if self.line.backlog.is_high() {
            self.pause = Some(Box::pin(relief(Arc::clone(&self.line.backlog), self.hub.timeouts().write_stall)));
        }
        Ok(())
    }

    /// Writes what waits, in as few writes as it takes. Once the end is among it nothing more is accepted, and what was
    /// is written too.
    async fn write(&mut self, mut frames: VecDeque<Outgoing>) -> Result<(), End> {
        let end = frames.iter().find_map(|frame| match frame {
            Outgoing::Close(code, reason) => Some(End::told(*code, reason)),
            Outgoing::Text(_) | Outgoing::Ping => None,
        });
        if end.is_some() {
            self.session.end(LeaveReason::Kicked);
            frames.extend(self.line.rest());
        }
        let (count, mut bytes) = (frames.len(), 0);
        // Taken one by one: an iterator would be a second place for them, as long as the connection lives.
        while let Some(frame) = frames.pop_front() {
            bytes += frame.length();
            match frame {
                Outgoing::Text(text) => self.bounded(async |socket| socket.feed(Message::Text(text)).await).await?,
                Outgoing::Ping => self.bounded(async |socket| socket.feed(Message::Ping(BACK.into())).await).await?,
                Outgoing::Close(..) => {}
            }
        }
        self.bounded(async |socket| socket.flush().await).await?;
        self.line.backlog.written(count, bytes);
        end.map_or(Ok(()), Err)
    }

    /// Writes while the peer takes what is written, and no longer than a last write may take once the connection is to be
    /// closed.
    async fn bounded(
        &mut self,
        write: impl AsyncFnOnce(&mut WebSocketStream<Metered<ReadAhead<Stream>>>) -> Result<(), Error>,
    ) -> Result<(), End> {
        let Self { hub, line, farewell, socket, .. } = self;
        let mut write = pin!(write(socket));
        // Nearly always there is nothing to wait for, and no timer to be made. What waits does so in a box: a connection
        // is not to be larger all its life for that.
        let outcome = match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Box::pin(wait(hub.timeouts(), line, farewell, write)).await?,
        };
        match outcome {
            Ok(()) => Ok(()),
            // The peer took no byte for too long: see [`crate::transport::tcp`].
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                self.hub.metrics().limit(Limit::WriteTime);
                Err(End::gone(LeaveReason::TimedOut))
            }
            Err(_) => Err(End::gone(LeaveReason::Disconnected)),
        }
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

/// Waits for a write that cannot be finished at once, but no longer than a last write may take once the connection is to be
/// closed.
async fn wait(
    timeouts: &Timeouts,
    line: &Line,
    farewell: &mut Option<Instant>,
    write: Pin<&mut impl Future<Output = Result<(), Error>>>,
) -> Result<Result<(), Error>, End> {
    let closing = async {
        poll_fn(|context| line.poll_closing(context)).await;
        // As long as all of it takes, not each frame: who reads a little at a time does not stay for that.
        tokio::time::sleep_until(*farewell.get_or_insert_with(|| Instant::now() + timeouts.last_write)).await;
    };
    tokio::select! {
        biased;
        outcome = write => Ok(outcome),
        () = closing => Err(End::KICKED),
    }
}

/// Resolves when there is no reason to pause any more. One that has waited too long lets nobody else wait.
async fn relief(backlog: Arc<Backlog>, patience: Duration) {
    if timeout(patience, poll_fn(|context| backlog.poll_relief(context))).await.is_err() {
        backlog.give_up();
    }
}
