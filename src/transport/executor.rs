//! Carries out what a conversation decides: the part of a connection that knows no socket.
//!
//! - [`Executor::receive`] and [`Executor::receive_binary`] take a message through the rate limiter to the conversation, and
//!   its steps to the sessions, rooms and media;
//! - answers and events are pushed to the [`SendQueue`] of the connection, which a WebSocket's task or a poll empties;
//! - [`Executor::finish`] ends all sessions of the connection, once.
//!
//! A polling connection that upgrades takes its executor along: nothing else has to move.
//!
//! The guarantee that is easy to break: everything from decoding a message to queuing its deliveries is synchronous. What
//! must wait is left in [`Executor::poll_pause`], and nothing more is read until that is over.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{Sleep, timeout};
use tracing::{debug, field};

use super::queue::SendQueue;
use super::throttle::poll_delay;
use crate::auth::{Denial, Grant};
use crate::dialect::{Connected, Conversation, Dialect, Ending, Frame, Heartbeat, RequestError, Step};
use crate::id::{ConnectionId, RoomId};
use crate::metrics::{DialectMetrics, Kind, Limit};
use crate::room::{Code, Command, LeaveReason};
use crate::session::{
    Backlog, Excess, Handled, Hub, Mailbox, Moment, Outgoing, Permit, QueueFull, RateLimiter, ResumeKey, Session, Sink,
};
use crate::sfu;

/// The most tokens that one connection may try in vain.
const MAX_DENIALS: u8 = 5;

/// How many messages a client may send to each of its peers at once: a description and its candidates, with a few more
/// for a renegotiation.
const MESSAGES_PER_PEER: u32 = 24;

/// A reason not to read: resolves when it is over.
type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// What other peers are told.
    pub(super) reason: LeaveReason,
    /// Whether the client did not say that it leaves, so that its sessions may be resumed.
    pub(super) is_lost: bool,
    /// What the client is told; `None` where it is gone.
    pub(super) close: Option<(u16, &'static str)>,
}

impl End {
    pub(super) const FLOOD: Self = Self::told(1008, "RATE_LIMITED");
    /// The server ends it, and the client reads no more.
    pub(super) const KICKED: Self = Self { reason: LeaveReason::Kicked, is_lost: false, close: None };

    pub(super) const fn gone(reason: LeaveReason) -> Self {
        Self { reason, is_lost: true, close: None }
    }

    pub(super) const fn told(code: u16, why: &'static str) -> Self {
        Self { reason: LeaveReason::Kicked, is_lost: false, close: Some((code, why)) }
    }
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        let (is_lost, close) = match ending {
            Ending::Closed => (true, Some((1000, ""))),
            Ending::Violation | Ending::TooManyConnects => (false, Some((1002, "protocol violation"))),
        };
        Self { reason: LeaveReason::Disconnected, is_lost, close }
    }
}

/// What carries out the steps of one conversation.
pub(super) struct Executor {
    hub: Arc<Hub>,
    /// The connection's id, which is also that of its first session.
    id: ConnectionId,
    permit: Arc<Permit>,
    conversation: Box<dyn Conversation>,
    metrics: Arc<DialectMetrics>,
    limiter: Arc<RateLimiter>,
    /// How long the rate limiter keeps the client from being read.
    delay: Option<Pin<Box<Sleep>>>,
    queue: Arc<SendQueue>,
    /// The sessions of the connection, by channel.
    seats: Vec<Option<Seat>>,
    /// Whether a session has had the connection's id.
    has_used_id: bool,
    denials: u8,
    pause: Option<Pause>,
    /// Whether the client closes the connection as one that does not come back.
    has_left: bool,
}

/// One session of a connection.
struct Seat {
    session: Session,
    mailbox: Arc<Mailbox>,
    /// How its events are written, as far as the session knows.
    speaks: &'static Dialect,
}

impl Executor {
    /// Begins a conversation whose answers go to a queue.
    pub(super) fn new(
        hub: Arc<Hub>,
        id: ConnectionId,
        permit: Arc<Permit>,
        conversation: Box<dyn Conversation>,
        queue: Arc<SendQueue>,
    ) -> Self {
        let (metrics, limiter) = (hub.metrics().dialect(conversation.dialect().name), Arc::new(hub.rate_limiter()));
        Self {
            hub,
            id,
            permit,
            conversation,
            metrics,
            limiter,
            delay: None,
            queue,
            seats: Vec::new(),
            has_used_id: false,
            denials: 0,
            pause: None,
            has_left: false,
        }
    }

    /// Opens the connection's session, unless its client asks for sessions later, and says what comes first. `grant` is
    /// what the token of the handshake grants.
    pub(super) fn open(&mut self, grant: Option<Grant>) -> Result<(), End> {
        self.guarded(|this| {
            if !this.conversation.connects_later() {
                let (mailbox, key) = this.new_mailbox(this.id);
                this.has_used_id = true;
                this.conversation.keep(key.as_ref().map(ResumeKey::expose));
                this.begin(mailbox, this.id, key, grant);
            }
            let opened = Moment::now();
            this.conversation.open().into_iter().try_for_each(|step| this.take(opened, Some(step)))
        })
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// The ids of its sessions.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        self.seats.iter().flatten().map(|seat| seat.session.id()).collect()
    }

    pub(super) fn queue(&self) -> &Arc<SendQueue> {
        &self.queue
    }

    pub(super) fn permit(&self) -> &Arc<Permit> {
        &self.permit
    }

    pub(super) fn limiter(&self) -> &Arc<RateLimiter> {
        &self.limiter
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        self.conversation.heartbeat()
    }

    /// Whether the client has said what it is here for, and nothing is half said.
    pub(super) fn is_settled(&self) -> bool {
        self.conversation.is_settled()
    }

    /// Whether a WebSocket that is closed without a status code is one whose client has left for good.
    pub(super) fn bare_close_is_leave(&self) -> bool {
        self.conversation.bare_close_is_leave()
    }

    /// Notes that the client closes the connection and does not come back.
    pub(super) fn set_left(&mut self) {
        self.has_left = true;
    }

    /// Notes that the client has read everything before the ping of a resumption.
    pub(super) fn has_read_resumption(&self) {
        for seat in self.seats.iter().flatten() {
            seat.session.has_new_key();
        }
    }

    /// Ready when the client may be read on.
    pub(super) fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        poll_delay(&self.limiter, &mut self.delay, context)
    }

    /// Ends all sessions of the connection.
    pub(super) fn finish(&mut self, end: &End) {
        let is_lost = end.is_lost && !self.has_left && !self.queue.is_closing();
        for seat in self.seats.drain(..).flatten() {
            if is_lost {
                seat.session.lose(end.reason);
            } else {
                seat.session.end(end.reason);
            }
        }
        self.queue.backlog().close();
    }

    /// Ends all sessions, as the last frames are being written: nothing more is accepted.
    pub(super) fn end_sessions(&mut self, reason: LeaveReason) {
        for seat in self.seats.iter().flatten() {
            seat.session.end(reason);
        }
    }

    /// Counts a frame that is no message.
    pub(super) fn receive_control(&mut self) -> Result<(), End> {
        self.metrics.received(Kind::Control);
        match self.limiter.admit_frame() {
            Ok(()) | Err(Excess::Wait(_)) => Ok(()),
            Err(Excess::Flood(_)) => Err(End::FLOOD),
        }
    }

    /// Takes a text message.
    pub(super) fn receive(&mut self, text: &str) -> Result<(), End> {
        self.guarded(|this| this.handle(text))
    }

    /// Takes a binary message.
    pub(super) fn receive_binary(&mut self, message: &[u8]) -> Result<(), End> {
        self.guarded(|this| {
            this.receive_control()?;
            let received = Moment::now();
            let step = this.conversation.receive_binary(message, received.time);
            this.take(received, step)
        })
    }

    /// Runs what decides about a message; a panic in it ends this connection and no other.
    fn guarded(&mut self, decide: impl FnOnce(&mut Self) -> Result<(), End>) -> Result<(), End> {
        let (hub, id) = (Arc::clone(&self.hub), self.id);
        hub.contain(id, || decide(self)).unwrap_or(Err(End::told(1011, "internal error")))
    }

    fn handle(&mut self, text: &str) -> Result<(), End> {
        let received = Moment::now();
        let now = received.time;
        if !self.conversation.is_message(text) {
            self.receive_control()?;
            let step = self.conversation.receive(text, now);
            return self.take(received, step);
        }
        let step = match self.limiter.admit_message(|| self.burst_for_peers()) {
            Ok(()) => self.conversation.receive(text, now),
            Err(Excess::Flood(_)) => return Err(End::FLOOD),
            Err(Excess::Wait(retry_after)) => {
                let error = RequestError::RateLimited { retry_after };
                self.metrics.received(Kind::Refused);
                self.count(&error);
                let step = self.conversation.refuse(text, error, now);
                return self.take(received, step);
            }
        };
        match &step {
            // Counted when it is carried out.
            Some(Step::Do(_)) => {}
            Some(Step::Refuse(..) | Step::Reject(_)) => self.metrics.received(Kind::Refused),
            Some(Step::Ignore(_)) => self.metrics.received(Kind::Unknown),
            Some(Step::Media(room, request)) => {
                self.metrics.received(Kind::Other);
                let room = room.as_ref().map(field::display);
                let (correlation, size) = (self.conversation.correlation(), text.len());
                debug!(connection = %self.id, room, request = request.name(), correlation, size, "media");
            }
            Some(
                Step::Tell(_)
                | Step::Last(..)
                | Step::Authenticate(_)
                | Step::Resume { .. }
                | Step::Connect { .. }
                | Step::Disconnect,
            ) => self.metrics.received(Kind::Other),
            Some(Step::Answer(_) | Step::End(_)) | None => self.metrics.received(Kind::Control),
        }
        self.take(received, step)
    }

    /// How many messages the client may send at once because of the peers in its rooms.
    fn burst_for_peers(&self) -> u32 {
        let peers: usize = self.seats.iter().flatten().map(|seat| seat.session.peers()).sum();
        u32::try_from(peers).unwrap_or(u32::MAX).saturating_mul(MESSAGES_PER_PEER)
    }

    /// The number of rooms that the sessions of the other channels are in.
    fn rooms_beside(&self, channel: usize) -> usize {
        let others = self.seats.iter().enumerate().filter(|(index, _)| *index != channel);
        others.filter_map(|(_, seat)| seat.as_ref()).map(|seat| seat.session.room_count()).sum()
    }

    /// Counts an error that the client is told.
    fn count(&self, error: &RequestError) {
        self.hub.refused(error);
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.queue) as Arc<dyn Sink>
    }

    fn seat(&self) -> Option<&Seat> {
        self.seats.get(self.conversation.channel())?.as_ref()
    }

    /// Carries out a step, and those that follow from it.
    fn take(&mut self, received: Moment, mut next: Option<Step>) -> Result<(), End> {
        let now = received.time;
        while let Some(step) = next.take() {
            match step {
                Step::Tell(frame) => self.tell(frame)?,
                Step::Answer(text) => self.answer(text)?,
                Step::Resume { key, seen } => next = self.resume(&key, seen),
                Step::Connect { token, resume } => self.connect(token.as_deref(), resume)?,
                Step::Disconnect => self.disconnect(),
                Step::End(ending) => {
                    if ending == Ending::TooManyConnects {
                        self.hub.limit_hit(Limit::ConnectPackets, "too many CONNECT packets, closing the connection");
                    }
                    return Err(ending.into());
                }
                Step::Refuse(code, frame) => {
                    self.hub.metrics().error(code);
                    self.tell(frame)?;
                }
                Step::Reject(error) => {
                    let error = RequestError::Decode(error);
                    self.count(&error);
                    next = self.conversation.answer(Err(error), now);
                }
                Step::Ignore(answer) => {
                    debug!(connection = %self.id, "unknown event ignored");
                    if let Some(answer) = answer {
                        self.hub.metrics().error(Code::InvalidMessage);
                        self.answer(answer)?;
                    }
                }
                Step::Last(text, code, reason) => {
                    self.tell(Frame::Text(text))?;
                    self.tell(Frame::Close(code, reason))?;
                }
                Step::Media(room, request) => next = self.take_to_media(room, request, now),
                Step::Authenticate(token) => next = self.authenticate(token.as_deref()),
                Step::Do(command) => {
                    let channel = self.conversation.channel();
                    let other_rooms =
                        if matches!(command, Command::Join { .. }) { self.rooms_beside(channel) } else { 0 };
                    let Some(seat) = self.seats.get_mut(channel).and_then(Option::as_mut) else { continue };
                    let conversation = &self.conversation;
                    let speaks = conversation.speaks();
                    if !std::ptr::eq(speaks, seat.speaks) {
                        seat.speaks = speaks;
                        seat.session.speak(speaks);
                    }
                    let Handled { result, congested, welcome_bytes, .. } =
                        seat.session
                            .handle(received, command, other_rooms, |snapshot| conversation.welcome(snapshot, now));
                    if let Err(error) = &result {
                        seat.session.refused(error);
                    }
                    self.limiter.charge(welcome_bytes);
                    if let Some(backlog) = congested {
                        self.pause = Some(Box::pin(relief(backlog, seat.session.patience())));
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
        match self.seat()?.session.media(room, request, write) {
            Ok(answered) => {
                self.pause = Some(answered);
                None
            }
            Err(error) => {
                self.count(&error);
                self.conversation.answer(Err(error), now)
            }
        }
    }

    fn authenticate(&mut self, token: Option<&str>) -> Option<Step> {
        let grant = self.seat()?.session.authenticate(token);
        if let Err(error) = &grant {
            self.count(error);
        }
        let grant = grant.as_ref().map(Option::as_deref).map_err(Clone::clone);
        self.conversation.authenticated(grant, SystemTime::now())
    }

    /// A mailbox for a session with this id, and the secret with which that session may be resumed.
    fn new_mailbox(&self, id: ConnectionId) -> (Arc<Mailbox>, Option<ResumeKey>) {
        let framing = self.conversation.framing(id);
        let mailbox = self.hub.mailbox(id, framing, self.sink());
        let key = if mailbox.can_resume() { self.hub.resume_key(id) } else { None };
        (mailbox, key)
    }

    /// Opens a session in the current channel.
    fn begin(&mut self, mailbox: Arc<Mailbox>, id: ConnectionId, key: Option<ResumeKey>, grant: Option<Grant>) {
        let dialect = self.conversation.dialect();
        let session = self.hub.open(id, dialect, Arc::clone(&mailbox), key, Some(Arc::clone(&self.permit)));
        if let Some(grant) = grant {
            session.accept(grant).expect("the first grant belongs to nobody else");
        }
        self.sit(Seat { session, mailbox, speaks: dialect });
    }

    fn sit(&mut self, seat: Seat) {
        let channel = self.conversation.channel();
        while self.seats.len() <= channel {
            self.seats.reserve_exact(1);
            self.seats.push(None);
        }
        self.seats[channel] = Some(seat);
    }

    /// Opens a session in the current channel, or resumes one, and confirms that before anything else is sent in it.
    fn connect(&mut self, token: Option<&str>, resume: Option<(String, u64)>) -> Result<(), End> {
        let grant = match self.hub.identify(self.permit.address(), token) {
            Ok(grant) => grant,
            // A client whose address has to wait comes back by itself after a lost transport; a refusal would be final
            // to it.
            Err(denial @ Denial::TooManyInvalid) => {
                self.hub.metrics().error(denial.code());
                return Err(End::told(1008, "RATE_LIMITED"));
            }
            Err(denial) => {
                self.hub.metrics().error(denial.code());
                let refusal = self.conversation.connected(Err(denial));
                self.answer(refusal)?;
                self.denials += 1;
                // Each costs a signature.
                return if self.denials >= MAX_DENIALS { Err(End::told(1008, "UNAUTHORIZED")) } else { Ok(()) };
            }
        };
        if !self.permit.connect() {
            // Evicted.
            return Err(End::KICKED);
        }
        let subject = grant.as_ref().map(|grant| &grant.subject);
        let resumed = resume.and_then(|(key, seen)| {
            let (session, mailbox) = self.hub.resume(&ResumeKey::parse(&key)?, seen, subject, Some(&self.permit))?;
            Some((session, mailbox, seen))
        });
        let Some((session, mailbox, seen)) = resumed else {
            self.permit.settle();
            let id = if self.has_used_id { ConnectionId::random() } else { self.id };
            self.has_used_id = true;
            let (mailbox, key) = self.new_mailbox(id);
            self.confirm(id, key.as_ref())?;
            self.begin(mailbox, id, key, grant);
            return Ok(());
        };
        if let Some(grant) = grant {
            session.accept(grant).expect("a session is resumed by its own subject");
        }
        let (id, key) = (session.id(), session.key());
        let confirmed = self.confirm(id, key.as_ref());
        let attached = session.while_held(|| mailbox.attach(&self.sink(), None, seen, None));
        let speaks = self.conversation.dialect();
        self.sit(Seat { session, mailbox, speaks });
        confirmed?;
        match attached {
            Some(Ok(())) => Ok(()),
            Some(Err(QueueFull)) => Err(End::told(1008, "what was missed does not fit the send queue")),
            // A newer connection has resumed it since.
            None => Err(End::KICKED),
        }
    }

    fn confirm(&mut self, connection: ConnectionId, key: Option<&ResumeKey>) -> Result<(), End> {
        let key = key.map(ResumeKey::expose);
        let reply = self.conversation.connected(Ok(Connected { connection, key: key.as_deref() }));
        self.answer(reply)
    }

    fn disconnect(&mut self) {
        let channel = self.conversation.channel();
        if let Some(seat) = self.seats.get_mut(channel).and_then(Option::take) {
            seat.session.end(LeaveReason::Disconnected);
        }
    }

    /// Resumes the session of a connection that was lost, if the client knows its key and missed nothing that is not kept.
    fn resume(&mut self, key: &str, seen: u64) -> Option<Step> {
        let now = SystemTime::now();
        let (own, grant) = self.seat().map(|seat| (seat.session.id(), seat.session.grant()))?;
        let subject = grant.as_ref().map(|grant| &grant.subject);
        // A client does not resume the session that it is in.
        let key = ResumeKey::parse(key).filter(|key| key.id() != own);
        let resumed = key.and_then(|key| Some((self.hub.resume(&key, seen, subject, Some(&self.permit))?, key)));
        let Some(((session, mailbox), used)) = resumed else {
            return Some(Step::Tell(self.conversation.resumed(None, now)));
        };
        // From here on it is there by the token that it came back with.
        if let Some(grant) = grant {
            session.accept(Grant::clone(&grant)).expect("a session is resumed by its own subject");
        }
        // The key works once.
        let key = session.renew_key(used).map(|key| key.expose());
        self.conversation.keep(key.clone());
        let speaks = self.conversation.speaks();
        session.speak(speaks);
        let greeting = match self.conversation.resumed(Some(session.id()), now) {
            Frame::Text(greeting) => greeting,
            Frame::WithToken(greeting) => greeting.text(),
            Frame::Several(_) | Frame::Close(..) => return None,
        };
        let attached = mailbox.attach(&self.sink(), Some(greeting), seen, key.as_deref());
        // Its answer says that the client has its new key.
        let attached = attached.and_then(|()| self.queue.push(Outgoing::Ping, true));
        let channel = self.conversation.channel();
        // The session that this connection began with is in no room, or leaves it.
        if let Some(seat) = self.seats.get_mut(channel).and_then(Option::take) {
            seat.session.end(LeaveReason::Disconnected);
        }
        self.sit(Seat { session, mailbox, speaks });
        match attached {
            Ok(()) => None,
            Err(QueueFull) => Some(Step::Tell(Frame::Close(1008, "what was missed is too much"))),
        }
    }

    /// Tells the client something as a numbered frame of its session.
    fn tell(&mut self, frame: Frame) -> Result<(), End> {
        self.limiter.charge(frame.length());
        let told = match self.seat() {
            Some(seat) => seat.mailbox.send(frame),
            None => Ok(()),
        };
        self.after_answer(told)
    }

    /// Queues an answer as it is.
    fn answer(&mut self, text: String) -> Result<(), End> {
        self.limiter.charge(text.len());
        let told = self.queue.push(Outgoing::Text(Bytes::from(text)), false);
        self.after_answer(told)
    }

    /// A client that does not read its answers is not read either, until it does.
    fn after_answer(&mut self, told: Result<(), QueueFull>) -> Result<(), End> {
        if told.is_err() {
            self.hub.limit_hit(Limit::SendQueue, "answers are not read, closing the connection");
            return Err(End::told(1008, "answers are not read"));
        }
        let backlog = self.queue.backlog();
        if backlog.is_high() {
            self.pause = Some(Box::pin(relief(Arc::clone(backlog), self.hub.timeouts().write_stall)));
        }
        Ok(())
    }
}

/// Resolves when the backlog is below the high-water mark. If that takes too long, nobody else pauses for it.
async fn relief(backlog: Arc<Backlog>, patience: Duration) {
    if timeout(patience, poll_fn(|context| backlog.poll_relief(context))).await.is_err() {
        backlog.give_up();
    }
}
