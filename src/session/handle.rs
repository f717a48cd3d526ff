//! A session as its connection uses it: takes commands and queues their deliveries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::fanout::Delivered;
use super::hub::Hub;
use super::queue_depth::QueueDepth;
use super::resume_token::ResumeToken;
use super::state::{Ownership, SessionState, Status};
use crate::clock::Moment;
use crate::dialect::{Dialect, Frame, RequestError};
use crate::id::{ConnectionId, RoomId};
use crate::metrics::MessageKind;
use crate::room::{
    Answer, Command, JoinBounds, LeaveReason, RoomError, RoomKind, Signal, SignalKind, Snapshot,
    Target,
};

/// The outcome of a request, with the backpressure that its sender is under.
#[derive(Debug)]
pub struct Handled {
    /// The reply.
    pub result: Result<Answer, RequestError>,
    /// Number of recipients for which a signal was queued.
    pub reached: usize,
    /// Size in bytes of the joining client's welcome, or of an update, for
    /// [`charge`](super::RateLimiter::charge).
    pub welcome_bytes: usize,
    /// A recipient's send queue above its high-water mark. The sender should not be read until that
    /// queue is below it, so that a fast sender is slowed down to its peers' speed and nothing is
    /// lost.
    pub congested: Option<Arc<QueueDepth>>,
}

impl Handled {
    /// Returns the outcome of a refused request.
    pub fn refused(error: RequestError) -> Self {
        Self { result: Err(error), reached: 0, welcome_bytes: 0, congested: None }
    }
}

/// A session as the connection that owns it uses it. It must be ended with [`Session::end`] or
/// [`Session::lose`].
pub struct Session {
    pub(super) hub: Arc<Hub>,
    pub(super) state: Arc<SessionState>,
    pub(super) generation: u64,
}

impl Session {
    /// Returns what all sessions share.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns the session's connection id.
    pub fn id(&self) -> ConnectionId {
        self.state.id
    }

    /// Returns the resume token, if the session can be resumed.
    pub fn token(&self) -> Option<ResumeToken> {
        self.owner().and_then(|ownership| ownership.tokens.current().cloned())
    }

    /// Replaces the resume token after the use of one. The used one, and those that were made since,
    /// stay valid until [`Session::has_new_token`].
    pub fn renew_token(&self, used: &ResumeToken) -> Option<ResumeToken> {
        let token = self.hub.new_resume_token(self.state.id)?;
        self.owner()?.tokens.renew(used, token.clone());
        Some(token)
    }

    /// Records that the client has received its new resume token.
    pub fn has_new_token(&self) {
        if let Some(mut ownership) = self.owner() {
            ownership.tokens.confirm();
        }
    }

    /// Runs `act` while no other connection can take the session over; returns `None` if one has,
    /// or the session's connection is lost.
    pub fn while_held<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _ownership = self.owner()?;
        Some(act())
    }

    /// Returns how long this client is at most under backpressure because of one slow peer.
    pub fn backpressure_limit(&self) -> Duration {
        self.state.dialect.backpressure_limit
    }

    /// Returns the number of other peers in the session's rooms.
    pub fn peers(&self) -> usize {
        let rooms = self.hub.rooms();
        rooms.of(self.state.id).iter().map(|room| rooms.size(room).saturating_sub(1)).sum()
    }

    /// Counts a message that is not a command.
    pub fn received(&self, kind: MessageKind) {
        self.state.metrics.received(kind);
    }

    /// Sets the dialect in which the session's events are encoded.
    pub fn set_dialect(&self, dialect: &'static Dialect) {
        self.hub.directory.set_dialect(self.state.id, dialect);
    }

    /// Returns the number of rooms that the session is in.
    pub fn room_count(&self) -> usize {
        self.hub.rooms().count_of(self.state.id)
    }

    /// Executes a command. `received` is the time of its receipt, `other_rooms` the number of rooms
    /// that other sessions of the same transport connection are in. `welcome` encodes the reply to
    /// a joining client, which replaces the event.
    pub fn handle(
        &self,
        received: Moment,
        command: Command,
        other_rooms: usize,
        welcome: impl Fn(&Snapshot) -> Option<Frame>,
    ) -> Handled {
        let kind = kind_of(&command);
        self.state.metrics.received(kind);
        if kind == MessageKind::Join {
            // A client that joins does not resume another session.
            self.state.settle();
        }
        let Some(_ownership) = self.owner() else {
            return Handled::refused(RoomError::ConnectionEnded.into());
        };
        let handled = self.execute(received, command, other_rooms, welcome);
        if let MessageKind::Signal(kind) = kind {
            self.hub.metrics.relay_took(received.instant.elapsed());
            self.state.metrics.relayed(kind, handled.reached);
        }
        handled
    }

    pub(super) fn execute(
        &self,
        now: Moment,
        command: Command,
        other_rooms: usize,
        welcome: impl Fn(&Snapshot) -> Option<Frame>,
    ) -> Handled {
        let (hub, id) = (&self.hub, self.state.id);
        let rooms = hub.rooms();
        let (command, size) = match self.authorize(command, now.time) {
            Ok(authorized) => authorized,
            Err(denial) => return Handled::refused(denial.into()),
        };
        let bounds = JoinBounds { size, other_rooms };
        if let Command::Leave { room: None } = command {
            let congested = hub.leave_all(id, &rooms.of(id), LeaveReason::Left);
            return Handled { result: Ok(Answer::Left), reached: 0, welcome_bytes: 0, congested };
        }
        if let Command::Relay { room: None, target, signal } = &command
            && signal.kind == SignalKind::Message
        {
            let rooms = rooms.of(id);
            if rooms.len() > 1 {
                return self.relay_in(&rooms, now, target.as_ref(), signal);
            }
        }
        // Only a join over `/signal` may be tried twice.
        let retry = match &command {
            Command::Join { room, kind, .. } if *kind != RoomKind::Group => {
                Some((room.clone(), command.clone()))
            }
            _ => None,
        };
        let mut applied = rooms.apply_bounded(now, id, command, bounds);
        if let (Err(RoomError::RoomFull { .. }), Some((room, command))) = (&applied, retry)
            && hub.evict_overdue_peer(&room).is_some()
        {
            applied = rooms.apply_bounded(now, id, command, bounds);
        }
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => {
                let error = error.for_protocol(self.state.dialect.has_pair_sessions());
                return Handled::refused(error.into());
            }
        };
        let welcome = match &applied.answer {
            Answer::Joined(snapshot) => {
                self.state.has_joined.store(true, Ordering::Relaxed);
                welcome(snapshot)
            }
            Answer::Inspected(_) | Answer::Left | Answer::Relayed => None,
        };
        let delivered = hub.deliver(&applied, welcome, now.time);
        let (failure, reached) = (delivered.failure(), delivered.reached());
        let Delivered { welcome_bytes, congested, .. } = delivered;
        let result = failure.map_or(Ok(applied.answer), Err);
        Handled { result, reached, welcome_bytes, congested }
    }

    /// Relays an application message without a room from a client that is in several: in all of
    /// them, or to its target in the first room that has it.
    fn relay_in(
        &self,
        rooms: &[RoomId],
        now: Moment,
        target: Option<&Target>,
        signal: &Signal,
    ) -> Handled {
        let mut handled =
            Handled { result: Ok(Answer::Relayed), reached: 0, welcome_bytes: 0, congested: None };
        let mut failure = None;
        for room in rooms {
            let (room, signal) = (Some(room.clone()), signal.clone());
            let command = Command::Relay { room, target: target.cloned(), signal };
            let applied = match self.hub.rooms().apply(now, self.state.id, command) {
                Ok(applied) => applied,
                Err(error) => {
                    failure = Some(error.into());
                    continue;
                }
            };
            let delivered = self.hub.deliver(&applied, None, now.time);
            failure = delivered.failure();
            handled.reached += delivered.reached();
            handled.congested = delivered.congested.or(handled.congested);
            if target.is_some() || matches!(failure, Some(RequestError::DeliveryFailed { .. })) {
                break;
            }
        }
        let is_partial = matches!(failure, Some(RequestError::DeliveryFailed { .. }));
        handled.result = match failure {
            Some(failure) if is_partial || handled.reached == 0 => Err(failure),
            _ => Ok(Answer::Relayed),
        };
        handled
    }

    /// Locks the session while this connection owns it; returns `None` if it does not own it any
    /// more.
    pub(super) fn owner(&self) -> Option<MutexGuard<'_, Ownership>> {
        let ownership = self.state.ownership.lock();
        (ownership.generation == self.generation && ownership.status == Status::Connected)
            .then_some(ownership)
    }
}

/// Returns the kind under which a command is counted.
pub fn kind_of(command: &Command) -> MessageKind {
    match command {
        Command::Join { .. } => MessageKind::Join,
        Command::Inspect { .. } => MessageKind::Inspect,
        Command::Leave { .. } => MessageKind::Leave,
        Command::HangUp { .. } => MessageKind::HangUp,
        Command::Update { .. } => MessageKind::Update,
        Command::Relay { signal, .. } => MessageKind::Signal(signal.kind),
    }
}
