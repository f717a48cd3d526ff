//! A session as its connection has it: commands in, deliveries out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::backlog::Backlog;
use super::fanout::Delivered;
use super::hub::Hub;
use super::key::ResumeKey;
use super::state::{Ownership, SessionState, Status};
use crate::clock::Moment;
use crate::dialect::{Dialect, Frame, RequestError};
use crate::id::{ConnectionId, RoomId};
use crate::metrics::Kind;
use crate::room::{
    Answer, Command, JoinBounds, LeaveReason, RoomError, RoomKind, Signal, SignalKind, Snapshot, Target,
};

/// The outcome of a request, and whether its sender should pause.
#[derive(Debug)]
pub struct Handled {
    /// What to answer.
    pub result: Result<Answer, RequestError>,
    /// For how many recipients a signal was queued.
    pub reached: usize,
    /// The bytes of the list that a joiner was told, or of an update, to be [charged](super::RateLimiter::charge).
    pub welcome_bytes: usize,
    /// A queue that this request found filling up. A transport that can should read no more of the sender until it has
    /// emptied: so a fast sender is slowed to the pace of its peers, and nothing is lost.
    pub congested: Option<Arc<Backlog>>,
}

impl Handled {
    /// The request was refused.
    pub fn refused(error: RequestError) -> Self {
        Self { result: Err(error), reached: 0, welcome_bytes: 0, congested: None }
    }
}

/// A session, as the connection that owns it has it. It must be ended, by [`Session::end`] or [`Session::lose`].
pub struct Session {
    pub(super) hub: Arc<Hub>,
    pub(super) state: Arc<SessionState>,
    pub(super) generation: u64,
}

impl Session {
    /// What it shares with the others.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.state.id
    }

    /// The secret with which its client may resume it, if it can.
    pub fn key(&self) -> Option<ResumeKey> {
        self.owner().and_then(|ownership| ownership.key.clone())
    }

    /// Another key in place of the one that was used, which is good until [`Session::has_new_key`].
    pub fn renew_key(&self, used: ResumeKey) -> Option<ResumeKey> {
        let mut ownership = self.owner()?;
        ownership.key = ResumeKey::random(self.state.id);
        ownership.spent = Some(used);
        ownership.key.clone()
    }

    /// Notes that the client has been told its new key.
    pub fn has_new_key(&self) {
        if let Some(mut ownership) = self.owner() {
            ownership.spent = None;
        }
    }

    /// Does something while no other connection can take the session over, and it is not lost; `None` if either has
    /// happened.
    pub fn while_held<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _ownership = self.owner()?;
        Some(act())
    }

    /// How long this client is paused for a peer whose queue fills up.
    pub fn patience(&self) -> Duration {
        self.state.dialect.patience
    }

    /// The number of other peers in its rooms.
    pub fn peers(&self) -> usize {
        let rooms = self.hub.rooms();
        rooms.of(self.state.id).iter().map(|room| rooms.size(room).saturating_sub(1)).sum()
    }

    /// Counts a message that is no command.
    pub fn received(&self, kind: Kind) {
        self.state.metrics.received(kind);
    }

    /// Has its events written by another dialect from now on.
    pub fn speak(&self, dialect: &'static Dialect) {
        self.hub.directory.set_dialect(self.state.id, dialect);
    }

    /// The number of rooms that it is in.
    pub fn room_count(&self) -> usize {
        self.hub.rooms().count_of(self.state.id)
    }

    /// Carries out a command that was received at a moment. The other sessions of the same transport connection are in
    /// `other_rooms` rooms. `welcome` writes what a joiner is told in place of the event.
    pub fn handle(
        &self,
        received: Moment,
        command: Command,
        other_rooms: usize,
        welcome: impl Fn(&Snapshot) -> Option<Frame>,
    ) -> Handled {
        let kind = kind_of(&command);
        self.state.metrics.received(kind);
        if kind == Kind::Join {
            // It resumes nothing.
            self.state.settle();
        }
        let Some(_ownership) = self.owner() else {
            return Handled::refused(RoomError::ConnectionEnded.into());
        };
        let handled = self.carry_out(received, command, other_rooms, welcome);
        if let Kind::Signal(kind) = kind {
            self.hub.metrics.relay_took(received.instant.elapsed());
            self.state.metrics.relayed(kind, handled.reached);
        }
        handled
    }

    fn carry_out(
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
        // Only a join over `/signal` may have to be tried twice.
        let again = match &command {
            Command::Join { room, kind, .. } if *kind != RoomKind::Group => Some((room.clone(), command.clone())),
            _ => None,
        };
        let mut applied = rooms.apply_bounded(now, id, command, bounds);
        if let (Err(RoomError::RoomFull { .. }), Some((room, command))) = (&applied, again)
            && hub.make_way(&room)
        {
            applied = rooms.apply_bounded(now, id, command, bounds);
        }
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => {
                let error = error.in_terms_of(self.state.dialect.has_pair_sessions());
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

    /// Relays an application message that names none of several rooms: in all of them, or to its target in the first that
    /// has it.
    fn relay_in(&self, rooms: &[RoomId], now: Moment, target: Option<&Target>, signal: &Signal) -> Handled {
        let mut handled = Handled { result: Ok(Answer::Relayed), reached: 0, welcome_bytes: 0, congested: None };
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

    /// Locks the session while this connection owns it; `None` if it does not any more.
    pub(super) fn owner(&self) -> Option<MutexGuard<'_, Ownership>> {
        let ownership = self.state.ownership.lock();
        (ownership.generation == self.generation && ownership.status == Status::Connected).then_some(ownership)
    }
}

/// What a command counts as.
pub fn kind_of(command: &Command) -> Kind {
    match command {
        Command::Join { .. } => Kind::Join,
        Command::Inspect { .. } => Kind::Inspect,
        Command::Leave { .. } => Kind::Leave,
        Command::HangUp { .. } => Kind::HangUp,
        Command::Update { .. } => Kind::Update,
        Command::Relay { signal, .. } => Kind::Signal(signal.kind),
    }
}
