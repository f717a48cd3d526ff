//! Ends sessions and memberships. A session ends exactly once.
//!
//! - A client that leaves, or that the server disconnects, ends its session: [`Session::end`];
//! - a client whose connection is lost keeps its session for a while: [`Session::lose`]. Its rooms
//!   still count it as a member.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use parking_lot::MutexGuard;
use tracing::info;

use super::admission::Evict;
use super::directory::Entry;
use super::handle::Session;
use super::hub::Hub;
use super::queue_depth::QueueDepth;
use super::replay_buffer::ResumeLimits;
use super::state::{Ownership, SessionState, Status};
use crate::id::{ConnectionId, RoomId};
use crate::room::{Event, LeaveReason, RemovalReason};

impl Session {
    /// Ends the session, because its client left or was disconnected by the server. Only the first
    /// end by the connection that owns the session has an effect; returns whether this was it.
    pub fn end(&self, reason: LeaveReason) -> bool {
        let Some(mut ownership) = self.owner() else { return false };
        if self.hub.hands_over(reason)
            && let Some(limits) = self.resume_limits(&ownership)
        {
            self.keep(ownership, limits, reason);
            return true;
        }
        ownership.status = Status::Ended;
        drop(ownership);
        self.hub.record_closed(&self.state, reason);
        if self.hub.shows_as_away(reason) {
            self.hub.announce(self.state.id, true);
        }
        self.hub.end_session(&self.state, reason);
        true
    }

    /// Ends the lost connection of the session, which stays away if it can be resumed, and ends
    /// otherwise. Returns as [`Session::end`].
    pub fn lose(&self, reason: LeaveReason) -> bool {
        let Some(ownership) = self.owner() else { return false };
        let limits = self.resume_limits(&ownership).filter(|_| !self.hub.is_draining());
        let Some(limits) = limits else {
            drop(ownership);
            return self.end(reason);
        };
        self.keep(ownership, limits, reason);
        true
    }

    /// Returns the limits on the resumption of this session, if it can be resumed.
    fn resume_limits(&self, ownership: &Ownership) -> Option<ResumeLimits> {
        let can_resume =
            ownership.tokens.current().is_some() && self.state.has_joined.load(Ordering::Relaxed);
        self.hub.resume_limits().filter(|_| can_resume)
    }

    /// Makes the session an away one.
    fn keep(
        &self,
        mut ownership: MutexGuard<'_, Ownership>,
        limits: ResumeLimits,
        reason: LeaveReason,
    ) {
        let (hub, state) = (&self.hub, &self.state);
        let until = Instant::now() + limits.time;
        ownership.status = Status::Away(until);
        let closer: Arc<dyn Evict> = Arc::new(AwaySession { hub: Arc::clone(hub), id: state.id });
        let eviction = Arc::downgrade(&closer);
        ownership.closer = Some(closer);
        state.mailbox.detach();
        hub.resumable.record_away();
        hub.resumable.timers.away.push(until, state.id);
        let permit = state.permit.lock().clone();
        hub.record_closed(state, reason);
        hub.announce(state.id, true);
        drop(ownership);
        if let Some(permit) = permit {
            permit.lose(eviction, hub.resumable.away_limit.max());
        }
    }
}

/// Ends an away session when it is evicted.
struct AwaySession {
    hub: Arc<Hub>,
    id: ConnectionId,
}

impl Evict for AwaySession {
    fn evict(self: Arc<Self>) {
        if let Some(state) = self.hub.resumable.get(self.id) {
            self.hub.end_if_away(&state, |_| true);
        }
    }
}

impl Hub {
    /// Ends a session if it is away and `is_over` returns true for its deadline.
    pub(super) fn end_if_away(&self, state: &SessionState, is_over: impl Fn(Instant) -> bool) {
        let mut ownership = state.ownership.lock();
        let Status::Away(until) = ownership.status else { return };
        if is_over(until) {
            ownership.status = Status::Ended;
            drop(ownership);
            self.resumable.record_back();
            self.end_session(state, LeaveReason::TimedOut);
        }
    }

    /// Removes a session, whose status is already ended, from the hub and from all rooms.
    pub(super) fn end_session(&self, state: &SessionState, reason: LeaveReason) {
        self.resumable.remove(state.id);
        self.directory.remove(state.id);
        if let Some(grant) = state.identity.clear() {
            self.expiries.remove(grant.expires_at, state.id);
        }
        self.leave_all(state.id, &self.rooms().disconnect(state.id), reason);
        if !self.shows_as_away(reason) {
            self.withdraw_join(state, reason);
        }
        // The transport may still hold the permit.
        let permit = state.permit.lock().take();
        drop(permit);
    }

    /// Counts and logs the end of a session's connection.
    pub(super) fn record_closed(&self, state: &SessionState, reason: LeaveReason) {
        self.directory.record_closed();
        state.metrics.closed(reason.as_str());
        info!(connection = %state.id, dialect = state.dialect.name, reason = reason.as_str(), "disconnected");
    }

    /// Leaves rooms one after the other, since two are never locked at once. Returns a send queue
    /// above its high-water mark, if there is one.
    pub(super) fn leave_all(
        &self,
        id: ConnectionId,
        rooms: &[RoomId],
        reason: LeaveReason,
    ) -> Option<Arc<QueueDepth>> {
        let mut congested = None;
        for room in rooms {
            // A panic in one room must not leave a stale peer in the next.
            let left = self.contain(id, || {
                let applied = self.rooms().leave(id, room, reason)?;
                if self.shows_as_away(reason) {
                    self.remove_media(&applied);
                    return None;
                }
                self.deliver(&applied, None, SystemTime::now()).congested
            });
            congested = left.flatten().or(congested);
        }
        congested
    }

    /// Announces in the session's rooms that its peer is away, or back.
    pub(super) fn announce(&self, id: ConnectionId, is_away: bool) {
        for room in self.rooms().of(id) {
            self.contain(id, || {
                if let Some(applied) = self.rooms().announce(id, &room, is_away) {
                    self.deliver(&applied, None, SystemTime::now());
                }
            });
        }
    }

    /// Closes a room for an operator; returns false if there is no such room.
    pub fn close_room(&self, id: &RoomId) -> bool {
        let Some(applied) = self.rooms().close(id) else {
            return false;
        };
        self.deliver(&applied, None, SystemTime::now());
        info!(room = %id, "room closed");
        true
    }

    /// Removes a peer of this node from a room for an operator; returns false if it is not in it.
    pub fn kick_peer(&self, room: &RoomId, connection: ConnectionId) -> bool {
        let Some(applied) = self.rooms().kick(connection, room) else { return false };
        self.deliver(&applied, None, SystemTime::now());
        info!(%room, %connection, "peer removed by an operator");
        true
    }

    /// Evicts a `/signal` peer from a full room to admit another: the older peer whose ping is
    /// overdue, which is returned.
    pub(super) fn evict_overdue_peer(&self, room: &RoomId) -> Option<ConnectionId> {
        let overdue = |id: &ConnectionId| {
            self.directory.get(*id).is_some_and(|entry| entry.mailbox.is_overdue())
        };
        let stale = self.rooms().paired_in(room).into_iter().find(overdue)?;
        if let Some(applied) = self.rooms().leave(stale, room, LeaveReason::TimedOut) {
            self.deliver(&applied, None, SystemTime::now());
        }
        if let Some(Entry { dialect, mailbox }) = self.directory.get(stale) {
            let event = Event::Removed { room: room.clone(), reason: RemovalReason::Replaced };
            if let Some(frame) = (dialect.encode)(&event, SystemTime::now()) {
                // Most likely the client does not read any more; otherwise it learns the reason.
                _ = mailbox.send(frame);
            }
            mailbox.close();
        }
        Some(stale)
    }
}
