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

mod end;
mod sessions;
mod steps;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderValue;
use tokio::time::Sleep;

pub(super) use self::end::End;
use super::message_log::{self, Sender};
use super::queue::SendQueue;
use super::throttle::poll_delay;
use crate::auth::Grant;
use crate::dialect::{Conversation, Dialect, Heartbeat, RequestError};
use crate::id::ConnectionId;
use crate::metrics::{DialectMetrics, Kind};
use crate::room::LeaveReason;
use crate::session::{Excess, Hub, Mailbox, Moment, Permit, RateLimiter, ResumeKey, Session, Sink};

/// How many messages a client may send to each of its peers at once: a description and its candidates, with a few more
/// for a renegotiation.
const MESSAGES_PER_PEER: u32 = 24;

/// A reason not to read: resolves when it is over.
type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

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
    /// The origin of the page, where a CONNECT packet may yet be refused for its token.
    origin: Option<Box<str>>,
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
            origin: None,
            pause: None,
            has_left: false,
        }
    }

    /// Keeps the origin of the handshake for the log, if a token may be refused later.
    pub(super) fn with_origin(mut self, origin: Option<&HeaderValue>) -> Self {
        if self.hub.requires_tokens() {
            self.origin = origin.and_then(|origin| origin.to_str().ok()).map(Into::into);
        }
        self
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
        if let Some(kind) = message_log::kind_of(step.as_ref()) {
            self.metrics.received(kind);
        }
        message_log::message(self.sender(), step.as_ref(), self.conversation.correlation(), text.len());
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

    /// Counts and logs an error that the client is told.
    fn count(&self, error: &RequestError) {
        self.hub.refused(error);
        message_log::refused(self.sender(), error.code(), self.conversation.correlation());
    }

    /// The session of the message in hand, for the log.
    fn sender(&self) -> Sender {
        let connection = self.seat().map_or(self.id, |seat| seat.session.id());
        Sender { dialect: self.conversation.dialect(), connection }
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.queue) as Arc<dyn Sink>
    }

    fn seat(&self) -> Option<&Seat> {
        self.seats.get(self.conversation.channel())?.as_ref()
    }
}
