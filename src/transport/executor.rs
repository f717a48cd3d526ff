//! Executes the steps that a conversation returns: the transport-independent half of a connection.
//!
//! - [`Executor::receive`] and [`Executor::receive_binary`] pass a message through the rate limiter
//!   to the conversation, and execute the steps that it returns on sessions, rooms and media;
//! - replies and events go to the [`SendQueue`] of the connection, which the WebSocket task or the
//!   next poll empties;
//! - [`Executor::finish`] ends all sessions of the connection, once.
//!
//! When a polling connection upgrades, its executor moves to the WebSocket unchanged.
//!
//! Invariant: everything from decoding a message to enqueuing its deliveries is synchronous.
//! Anything that has to wait becomes a pause ([`Executor::poll_pause`]), and the connection is not
//! read until the pause is over.

mod end;
mod sessions;
mod steps;
mod waiting;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderValue;
use tokio::time::Sleep;

pub(super) use self::end::End;
pub(super) use self::waiting::Deferred;
use self::waiting::Waiting;
use super::message_log::{self, Sender};
use super::queue::SendQueue;
use super::throttle::poll_delay;
use crate::auth::Grant;
use crate::dialect::{Conversation, Dialect, Heartbeat, RequestError};
use crate::id::ConnectionId;
use crate::metrics::{DialectMetrics, MessageKind};
use crate::room::LeaveReason;
use crate::session::{
    Excess, Hub, Mailbox, Moment, Permit, RateLimiter, ResumeToken, Session, Sink,
};

/// Burst allowance per peer in the client's rooms, in messages: a session description and its
/// candidates, with some reserve for a renegotiation.
const MESSAGES_PER_PEER: u32 = 24;

/// A future during which the connection is not read.
type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Executes the steps of one connection's conversation.
pub(super) struct Executor {
    hub: Arc<Hub>,
    /// Also the id of the connection's first session.
    id: ConnectionId,
    permit: Arc<Permit>,
    conversation: Box<dyn Conversation>,
    metrics: Arc<DialectMetrics>,
    limiter: Arc<RateLimiter>,
    /// Timer while the rate limiter keeps the connection from being read.
    delay: Option<Pin<Box<Sleep>>>,
    queue: Arc<SendQueue>,
    /// Sessions of the connection, indexed by channel.
    sessions: Vec<Option<ChannelSession>>,
    /// Whether a session already uses the connection's id.
    has_used_id: bool,
    denied_tokens: u8,
    /// The page's origin, for the log, if a CONNECT packet may still be refused for its token.
    origin: Option<Box<str>>,
    pause: Option<Pause>,
    /// The request that the pause waits for, in a cluster.
    waiting: Option<Box<Waiting>>,
    /// Whether the client closed the connection deliberately, so that its sessions end at once.
    has_left: bool,
}

/// The session of one channel.
struct ChannelSession {
    session: Session,
    mailbox: Arc<Mailbox>,
    /// The dialect in which the session's events are encoded.
    dialect: &'static Dialect,
}

impl ChannelSession {
    /// Makes events be encoded in the current dialect of the client.
    fn set_dialect(&mut self, dialect: &'static Dialect) {
        if !std::ptr::eq(dialect, self.dialect) {
            self.dialect = dialect;
            self.session.set_dialect(dialect);
        }
    }
}

impl Executor {
    /// Creates an executor whose conversation replies to `queue`.
    pub(super) fn new(
        hub: Arc<Hub>,
        id: ConnectionId,
        permit: Arc<Permit>,
        conversation: Box<dyn Conversation>,
        queue: Arc<SendQueue>,
    ) -> Self {
        let (metrics, limiter) =
            (hub.metrics().dialect(conversation.dialect().name), Arc::new(hub.rate_limiter()));
        Self {
            hub,
            id,
            permit,
            conversation,
            metrics,
            limiter,
            delay: None,
            queue,
            sessions: Vec::new(),
            has_used_id: false,
            denied_tokens: 0,
            origin: None,
            pause: None,
            waiting: None,
            has_left: false,
        }
    }

    /// Keeps the origin of the handshake for the log if a later packet may be refused for its
    /// token.
    pub(super) fn with_origin(mut self, origin: Option<&HeaderValue>) -> Self {
        if self.hub.requires_tokens() {
            self.origin = origin.and_then(|origin| origin.to_str().ok()).map(Into::into);
        }
        self
    }

    /// Opens the connection's session, unless its protocol opens sessions later, and sends the
    /// first messages. `grant` is the grant of the handshake's token.
    pub(super) fn open(&mut self, grant: Option<Grant>) -> Result<(), End> {
        self.guarded(|this| {
            if !this.conversation.connects_later() {
                let (mailbox, resume_token) = this.new_mailbox(this.id);
                this.has_used_id = true;
                this.conversation.keep(resume_token.as_ref().map(ResumeToken::expose));
                this.begin(mailbox, this.id, resume_token, grant);
            }
            let opened = Moment::now();
            this.conversation.open().into_iter().try_for_each(|step| this.take(opened, Some(step)))
        })
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Returns the connection ids of its sessions.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        self.sessions.iter().flatten().map(|open| open.session.id()).collect()
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

    /// Returns whether the client has joined or connected, and no message is incomplete; or whether
    /// it waits for the cluster, whose time is not the client's.
    pub(super) fn is_settled(&self) -> bool {
        self.is_waiting() || self.conversation.is_settled()
    }

    /// Returns whether closing the WebSocket without a status code means that the client leaves.
    pub(super) fn bare_close_is_leave(&self) -> bool {
        self.conversation.bare_close_is_leave()
    }

    /// Records that the client closes the connection deliberately.
    pub(super) fn set_left(&mut self) {
        self.has_left = true;
    }

    /// Records that the client has received everything sent before the ping of a session
    /// resumption.
    pub(super) fn has_read_resumption(&self) {
        for open in self.sessions.iter().flatten() {
            open.session.has_new_token();
        }
    }

    /// Completes when the connection may be read again.
    pub(super) fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
            if self.waiting.is_some() {
                self.cluster_answered();
                if self.pause.is_some() {
                    return self.poll_pause(context);
                }
            }
        }
        poll_delay(&self.limiter, &mut self.delay, context)
    }

    /// Ends all sessions of the connection; those of a lost connection may be resumed.
    pub(super) fn finish(&mut self, end: &End) {
        let is_lost = end.is_lost && !self.has_left && !self.queue.is_closing();
        let reason = match end.reason {
            LeaveReason::Disconnected if !is_lost => self.reason_of_client(),
            reason => reason,
        };
        for open in self.sessions.drain(..).flatten() {
            if is_lost {
                open.session.lose(reason);
            } else {
                open.session.end(reason);
            }
        }
        self.queue.depth().close();
    }

    /// Returns why a session ends that its client ends. While the server drains, a session that ends
    /// otherwise than by leaving is one whose client is about to resume it, but only a client that
    /// was asked to disconnect is.
    fn reason_of_client(&self) -> LeaveReason {
        let is_asked = self.queue.is_closing();
        if self.hub.is_draining() && !is_asked {
            LeaveReason::Left
        } else {
            LeaveReason::Disconnected
        }
    }

    /// Ends all sessions while the last frames are being written, so that no further frame is
    /// accepted.
    pub(super) fn end_sessions(&mut self, reason: LeaveReason) {
        for open in self.sessions.iter().flatten() {
            open.session.end(reason);
        }
    }

    /// Counts a frame that is not a message.
    pub(super) fn receive_control(&mut self) -> Result<(), End> {
        self.metrics.received(MessageKind::Control);
        match self.limiter.admit_frame() {
            Ok(()) | Err(Excess::Wait(_)) => Ok(()),
            Err(Excess::Flood(_)) => Err(End::FLOOD),
        }
    }

    /// Handles a text message.
    pub(super) fn receive(&mut self, text: &str) -> Result<(), End> {
        self.guarded(|this| this.handle(text))
    }

    /// Handles a binary message.
    pub(super) fn receive_binary(&mut self, message: &[u8]) -> Result<(), End> {
        self.guarded(|this| {
            this.receive_control()?;
            let received = Moment::now();
            let step = this.conversation.receive_binary(message, received.time);
            this.take(received, step)
        })
    }

    /// Runs message handling; a panic in it ends only this connection.
    fn guarded(&mut self, decide: impl FnOnce(&mut Self) -> Result<(), End>) -> Result<(), End> {
        let (hub, id) = (Arc::clone(&self.hub), self.id);
        hub.contain(id, || decide(self)).unwrap_or(Err(End::closing(1011, "internal error")))
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
                self.metrics.received(MessageKind::Refused);
                self.count(&error);
                let step = self.conversation.refuse(text, error, now);
                return self.take(received, step);
            }
        };
        if let Some(kind) = message_log::kind_of(step.as_ref()) {
            self.metrics.received(kind);
        }
        message_log::message(
            self.sender(),
            step.as_ref(),
            self.conversation.correlation(),
            text.len(),
        );
        self.take(received, step)
    }

    /// Returns the burst allowance for the peers in the client's rooms, in messages.
    fn burst_for_peers(&self) -> u32 {
        let peers: usize = self.sessions.iter().flatten().map(|open| open.session.peers()).sum();
        u32::try_from(peers).unwrap_or(u32::MAX).saturating_mul(MESSAGES_PER_PEER)
    }

    /// Returns the number of rooms that the sessions of other channels are in.
    fn rooms_beside(&self, channel: usize) -> usize {
        let others = self.sessions.iter().enumerate().filter(|(index, _)| *index != channel);
        others.filter_map(|(_, open)| open.as_ref()).map(|open| open.session.room_count()).sum()
    }

    /// Counts and logs an error that is reported to the client.
    fn count(&self, error: &RequestError) {
        self.hub.refused(error);
        message_log::refused(self.sender(), error.code(), self.conversation.correlation());
    }

    /// Returns the session of the current message, for the log.
    fn sender(&self) -> Sender {
        let connection = self.current_session().map_or(self.id, |open| open.session.id());
        Sender { dialect: self.conversation.dialect(), connection }
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.queue) as Arc<dyn Sink>
    }

    fn current_session(&self) -> Option<&ChannelSession> {
        self.sessions.get(self.conversation.channel())?.as_ref()
    }
}
