//! A peer's place, which may outlive its connection.
//!
//! - a connection that ends with a goodbye gives its place up: [`Session::end`](super::Session::end);
//! - one that is lost keeps it for a while: [`Session::lose`](super::Session::lose). Its rooms go on as if it were there;
//! - a new connection that knows the place's key takes it: [`Hub::resume`](super::Hub::resume). Whatever the old one
//!   still says or does is silent from then on.
//!
//! The guarantee that is easy to break: each place has one holder, known by its generation, and only that one may act.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tracing::info;

use super::admission::{Evict, Permit};
use super::hub::{Delivered, Hub};
use super::identity::Identity;
use super::key::ResumeKey;
use super::{Backlog, Handled, Mailbox, Moment, NotHeld, kind_of};
use crate::dialect::{Dialect, Frame, RequestError};
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::metrics::{DialectMetrics, Kind};
use crate::room::{Answer, Command, JoinBounds, LeaveReason, RoomError, RoomKind, Snapshot};

/// What stays of a peer when its connection is lost.
pub(super) struct Place {
    pub(super) hub: Arc<Hub>,
    pub(super) id: ConnectionId,
    pub(super) dialect: &'static Dialect,
    metrics: Arc<DialectMetrics>,
    pub(super) identity: Identity,
    mailbox: Arc<Mailbox>,
    /// Whether it was ever in a room.
    has_joined: AtomicBool,
    /// What it counts for, until it is given up.
    permit: Mutex<Option<Arc<Permit>>>,
    /// Locked before any room, while its holder acts: so two connections never speak for one place at once.
    holder: Mutex<Holder>,
}

/// Who holds a place.
struct Holder {
    /// Rises with each connection that takes it.
    generation: u64,
    status: Status,
    /// `None` where it cannot be taken again.
    key: Option<ResumeKey>,
    /// The key that it was last taken with, if another has replaced that: still good, until its holder is known to have
    /// the other. The answer in which that stood may have been lost with the line.
    spent: Option<ResumeKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// A connection.
    Held,
    /// Nobody, until then.
    Away(Instant),
    /// Given up.
    Ended,
}

impl Place {
    pub(super) fn new(
        hub: Arc<Hub>,
        id: ConnectionId,
        dialect: &'static Dialect,
        metrics: Arc<DialectMetrics>,
        mailbox: Arc<Mailbox>,
        key: Option<ResumeKey>,
        permit: Option<Arc<Permit>>,
    ) -> Self {
        let holder = Mutex::new(Holder { generation: 0, status: Status::Held, key, spent: None });
        Self {
            hub,
            id,
            dialect,
            metrics,
            identity: Identity::default(),
            mailbox,
            has_joined: AtomicBool::new(false),
            permit: Mutex::new(permit),
            holder,
        }
    }

    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// The address that it counts for.
    pub(super) fn address(&self) -> IpAddr {
        // Sessions without a permit are not from the network.
        self.permit.lock().as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |permit| permit.address())
    }

    /// Ends the credit that its connection was admitted on. Not under a lock: another place may be evicted.
    fn settle(&self) {
        let permit = self.permit.lock().clone();
        if let Some(permit) = permit {
            permit.settle();
        }
    }

    /// Ends it, if nobody holds it and that has been for too long.
    pub(super) fn end_if_away(&self, is_over: impl Fn(Instant) -> bool) {
        let mut holder = self.holder.lock();
        let Status::Away(until) = holder.status else { return };
        if is_over(until) {
            holder.status = Status::Ended;
            drop(holder);
            self.hub.away.fetch_sub(1, Ordering::Relaxed);
            self.give_up(LeaveReason::TimedOut);
        }
    }

    /// Takes it out of all rooms. Its status says already that it has ended.
    fn give_up(&self, reason: LeaveReason) {
        self.hub.places.remove(&self.id);
        self.hub.connections.remove(&self.id);
        if let Some(grant) = self.identity.forget() {
            self.hub.expiries.remove(grant.expires_at, self.id);
        }
        self.leave_all(&self.hub.rooms().disconnect(self.id), reason);
        // Its transport may still share it.
        let permit = self.permit.lock().take();
        drop(permit);
    }

    /// One room after the other, since two are never locked at once.
    fn leave_all(&self, rooms: &[RoomId], reason: LeaveReason) -> Option<Arc<Backlog>> {
        let mut congested = None;
        for room in rooms {
            // A defect in one must not leave a ghost in the next.
            let left = self.hub.contain(self.id, || {
                let applied = self.hub.rooms().leave(self.id, room, reason)?;
                self.hub.deliver(&applied, None, SystemTime::now()).congested
            });
            congested = left.flatten().or(congested);
        }
        congested
    }

    /// Whether it is in no room and missed nothing since, and so nothing to come back to: a client that was told that it is
    /// back would not join, and its join may be what was lost with the line.
    fn is_nowhere(&self, seen: u64) -> bool {
        self.hub.rooms().of(self.id).is_empty() && !self.mailbox.has_sent_since(seen)
    }

    /// Counts and logs the end of its connection.
    fn closed(&self, reason: LeaveReason) {
        self.hub.open.fetch_sub(1, Ordering::Relaxed);
        self.hub.ended.notify_waiters();
        self.metrics.closed(reason.as_str());
        info!(connection = %self.id, dialect = self.dialect.name, reason = reason.as_str(), "disconnected");
    }

    /// Whether it was given up.
    pub(super) fn has_ended(&self) -> bool {
        self.holder.lock().status == Status::Ended
    }

    /// Tells its rooms that its peer is away, or back.
    fn announce(&self, is_away: bool) {
        for room in self.hub.rooms().of(self.id) {
            self.hub.contain(self.id, || {
                if let Some(applied) = self.hub.rooms().announce(self.id, &room, is_away) {
                    self.hub.deliver(&applied, None, SystemTime::now());
                }
            });
        }
    }
}

impl Evict for Place {
    fn evict(self: Arc<Self>) {
        self.end_if_away(|_| true);
    }
}

/// One connection's hold on its place. It must be ended, by [`Session::end`] or [`Session::lose`].
pub struct Session {
    place: Arc<Place>,
    generation: u64,
}

impl Session {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn first(place: Arc<Place>) -> Self {
        Self { place, generation: 0 }
    }

    /// Takes a place again.
    pub(super) fn resume(
        place: &Arc<Place>,
        key: &ResumeKey,
        seen: u64,
        subject: Option<&PeerId>,
        permit: Option<&Arc<Permit>>,
    ) -> Option<Self> {
        // A key is of no use to anybody else.
        if place.identity.grant().map(|grant| grant.subject.clone()).as_ref() != subject {
            return None;
        }
        let mut holder = place.holder.lock();
        let fits = [&holder.key, &holder.spent].into_iter().flatten().any(|own| own.opens(key));
        if !fits || holder.status == Status::Ended {
            return None;
        }
        let was_away = holder.status != Status::Held;
        let taken = if place.is_nowhere(seen) { Err(NotHeld::Gone) } else { place.mailbox.take_over(seen) };
        if taken == Err(NotHeld::Late) {
            return None;
        }
        if taken.is_err() {
            holder.status = Status::Ended;
            drop(holder);
            if was_away {
                place.hub.away.fetch_sub(1, Ordering::Relaxed);
            } else {
                place.closed(LeaveReason::Replaced);
                place.mailbox.close();
            }
            place.give_up(LeaveReason::TimedOut);
            return None;
        }
        holder.generation += 1;
        holder.status = Status::Held;
        let generation = holder.generation;
        let before = std::mem::replace(&mut *place.permit.lock(), permit.cloned());
        if was_away {
            place.hub.away.fetch_sub(1, Ordering::Relaxed);
            place.hub.open.fetch_add(1, Ordering::Relaxed);
            place.metrics.opened();
            place.announce(false);
        }
        drop(holder);
        // Where the connection before is still open, it counts until it is closed.
        if let Some(before) = before.filter(|_| was_away) {
            before.release();
        }
        place.settle();
        info!(connection = %place.id, dialect = place.dialect.name, was_away, "resumed");
        Some(Self { place: Arc::clone(place), generation })
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.place.id
    }

    /// What its client must know to take its place again, if it can.
    pub fn key(&self) -> Option<ResumeKey> {
        self.holder().and_then(|holder| holder.key.clone())
    }

    /// Another key in place of the one that was used, which is good until [`Session::has_new_key`].
    pub fn renew_key(&self, used: ResumeKey) -> Option<ResumeKey> {
        let mut holder = self.holder()?;
        holder.key = ResumeKey::random(self.place.id);
        holder.spent = Some(used);
        holder.key.clone()
    }

    /// Notes that the client has been told its new key.
    pub fn has_new_key(&self) {
        if let Some(mut holder) = self.holder() {
            holder.spent = None;
        }
    }

    /// Does something while nobody takes the place away, and it is not lost; `None` if either has happened.
    pub fn while_held<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let _holder = self.holder()?;
        Some(act())
    }

    /// How long this client pauses for a peer whose queue fills up.
    pub fn patience(&self) -> Duration {
        self.place.dialect.patience
    }

    /// The number of other peers in its rooms.
    pub fn peers(&self) -> usize {
        let rooms = self.place.hub.rooms();
        rooms.of(self.place.id).iter().map(|room| rooms.size(room).saturating_sub(1)).sum()
    }

    /// Counts a message that is no command.
    pub fn received(&self, kind: Kind) {
        self.place.metrics.received(kind);
    }

    /// Counts an error that the client is told.
    pub fn refused(&self, error: &RequestError) {
        self.place.hub.refused(error);
    }

    /// Has events written in another manner from now on.
    pub fn speak(&self, dialect: &'static Dialect) {
        if let Some(mut connection) = self.place.hub.connections.get_mut(&self.place.id) {
            connection.dialect = dialect;
        }
    }

    /// The number of rooms that it is in.
    pub fn room_count(&self) -> usize {
        self.place.hub.rooms().count_of(self.place.id)
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
        self.place.metrics.received(kind);
        if kind == Kind::Join {
            // It resumes nothing.
            self.place.settle();
        }
        let Some(_holder) = self.holder() else {
            return Handled::refused(RoomError::ConnectionEnded.into());
        };
        let handled = self.carry_out(received, command, other_rooms, welcome);
        if let Kind::Signal(kind) = kind {
            self.place.hub.metrics.relay_took(received.instant.elapsed());
            self.place.metrics.relayed(kind, handled.reached);
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
        let (hub, id) = (&self.place.hub, self.place.id);
        let rooms = hub.rooms();
        let (command, size) = match self.authorize(command, now.time) {
            Ok(authorized) => authorized,
            Err(denial) => return Handled::refused(denial.into()),
        };
        let bounds = JoinBounds { size, other_rooms };
        if let Command::Leave { room: None } = command {
            let congested = self.place.leave_all(&rooms.of(id), LeaveReason::Left);
            return Handled { result: Ok(Answer::Left), reached: 0, welcome_bytes: 0, congested };
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
            Err(error) => return Handled::refused(error.into()),
        };
        let welcome = match &applied.answer {
            Answer::Joined(snapshot) => {
                self.place.has_joined.store(true, Ordering::Relaxed);
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

    /// Ends the connection and gives its place up: it said goodbye, or was sent away. Only the first end of the
    /// connection that holds the place does anything; `true` if this was it.
    pub fn end(&self, reason: LeaveReason) -> bool {
        let Some(mut holder) = self.holder() else { return false };
        holder.status = Status::Ended;
        drop(holder);
        self.closed(reason);
        self.place.give_up(reason);
        true
    }

    /// Ends the connection, which was lost without a goodbye. Its place waits for another, if it can. `true` as of
    /// [`Session::end`].
    pub fn lose(&self, reason: LeaveReason) -> bool {
        let place = &*self.place;
        let Some(mut holder) = self.holder() else { return false };
        let Some(limits) = place.hub.resume_limits() else {
            drop(holder);
            return self.end(reason);
        };
        if holder.key.is_none() || !place.has_joined.load(Ordering::Relaxed) || place.hub.is_draining() {
            drop(holder);
            return self.end(reason);
        }
        let until = Instant::now() + limits.time;
        holder.status = Status::Away(until);
        place.mailbox.detach();
        place.hub.away.fetch_add(1, Ordering::Relaxed);
        place.hub.absences.push(until, place.id);
        let permit = place.permit.lock().clone();
        self.closed(reason);
        place.announce(true);
        drop(holder);
        if let Some(permit) = permit {
            let closer: Weak<Place> = Arc::downgrade(&self.place);
            permit.lose(closer, place.hub.max_away());
        }
        true
    }

    fn closed(&self, reason: LeaveReason) {
        self.place.closed(reason);
    }

    /// The place, while this connection holds it.
    fn holder(&self) -> Option<MutexGuard<'_, Holder>> {
        let holder = self.place.holder.lock();
        (holder.generation == self.generation && holder.status == Status::Held).then_some(holder)
    }
}

/// Places by the time at which something is to be done about them. All wait equally long, so that those that came first
/// are due first.
#[derive(Debug, Default)]
pub(super) struct Timeline(Mutex<VecDeque<(Instant, ConnectionId)>>);

impl Timeline {
    pub(super) fn push(&self, due: Instant, id: ConnectionId) {
        self.0.lock().push_back((due, id));
    }

    /// The next that is due.
    pub(super) fn pop(&self, now: Instant) -> Option<ConnectionId> {
        let mut waiting = self.0.lock();
        let is_due = waiting.front().is_some_and(|(due, _)| *due <= now);
        let next = is_due.then(|| waiting.pop_front().map(|(_, id)| id))?;
        if waiting.is_empty() {
            // A crowd may have been in it.
            *waiting = VecDeque::new();
        }
        next
    }
}
