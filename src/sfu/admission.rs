//! How many transports there may be, how fast they are created, and how long one may take to connect.
//!
//! - [`Sfu::admit`] decides whether a connection may create one more;
//! - [`Sfu::end_overdue`] ends those that did not connect in time.
//!
//! A client in an empty room has nothing to connect for: it creates a transport for each direction and waits. So the latest of
//! each direction of a connection may wait for as long as its client has not asked to connect it. It costs next to nothing
//! until then: it has no `Rtc`, and no timer.
//!
//! The guarantee that is easy to break: a full server refuses nobody for the sake of transports that somebody hoards. What is
//! not connected and belongs to the connection that has most of that goes first.

use std::time::Instant;

use super::bucket::{Bucket, Rate};
use super::id::TransportId;
use super::request::Problem;
use super::switch::Sfu;
use super::transport::Transport;
use crate::id::ConnectionId;

/// Transports that one connection may create: at once four in each of eight rooms and some more, for as long as it likes one
/// each way every second. A page that is loaded again has a new connection.
const CREATIONS: Rate = Rate { per_second: 2.0, burst: 40.0 };

/// Unconnected transports of a connection that are left to it when the server is full: one for each direction.
const LEFT_TO_EACH: usize = 2;

/// Owners beyond which those are looked for that have nothing any more.
const SWEEP_AT: usize = 1024;

/// What a connection has.
#[derive(Debug)]
pub(super) struct Owner {
    creations: Bucket,
    /// The oldest first, in whatever room.
    pub(super) transports: Vec<TransportId>,
}

impl Sfu {
    /// Decides whether a connection may create a transport, and makes room for it.
    pub(super) fn admit(&mut self, now: Instant, connection: ConnectionId) -> Result<(), Problem> {
        self.sweep_owners(now);
        let owner = self.owners.entry(connection);
        let owner = owner.or_insert_with(|| Owner { creations: Bucket::new(CREATIONS, now), transports: Vec::new() });
        if !owner.creations.take(now, 1.0) {
            self.counted.creations_over_rate += 1;
            let seconds = owner.creations.wait(now, 1.0).as_secs() + 1;
            return Err(Problem::TooFast { seconds });
        }
        let max = self.settings.max_transports;
        if max > 0 && self.transports.len() >= max {
            self.counted.transports_over_limit += 1;
            let victim = self.superfluous().ok_or(Problem::TooMany { what: "transports on this server", max })?;
            self.fail_transport(victim);
        }
        Ok(())
    }

    /// Forgets connections that have no transports, and that may create as many as one that has just come.
    fn sweep_owners(&mut self, now: Instant) {
        if self.owners.len() >= self.owners_swept_at {
            self.owners.retain(|_, owner| !owner.transports.is_empty() || !owner.creations.is_full(now));
            self.owners_swept_at = SWEEP_AT.max(2 * self.owners.len());
        }
    }

    /// Returns the oldest transport that is not connected of the connection that has most of these.
    fn superfluous(&self) -> Option<TransportId> {
        let is_unconnected = |id: &&TransportId| self.transports.get(id).is_some_and(|found| !found.is_connected);
        let unconnected = |owner: &Owner| owner.transports.iter().filter(is_unconnected).count();
        let owners = self.owners.values().map(|owner| (unconnected(owner), owner));
        let (_, owner) = owners.max_by_key(|(count, _)| *count).filter(|(count, _)| *count > LEFT_TO_EACH)?;
        owner.transports.iter().find(is_unconnected).copied()
    }

    /// A transport was created, and waits for its client to ask for more. An older one of the same direction has to go on
    /// or to end from now on.
    pub(super) fn await_request(&mut self, now: Instant, connection: ConnectionId, id: TransportId) {
        let Some(owner) = self.owners.get_mut(&connection) else { return };
        let older = owner.transports.clone();
        owner.transports.push(id);
        self.await_connection(now, id);
        let direction = self.transports.get(&id).map(|transport| transport.direction);
        for older in older {
            let is_idle = |found: &Transport| {
                found.deadline.is_none() && !found.has_connected && Some(found.direction) == direction
            };
            if self.transports.get(&older).is_some_and(is_idle) {
                self.await_connection(now, older);
            }
        }
    }

    /// Gives a transport time to connect, unless it already has.
    pub(super) fn await_connection(&mut self, now: Instant, id: TransportId) {
        self.forget_deadline(id);
        let Some(transport) = self.transports.get_mut(&id).filter(|transport| !transport.has_connected) else { return };
        let deadline = now + self.settings.connect_timeout;
        transport.deadline = Some(deadline);
        self.deadlines.insert((deadline, id));
    }

    /// A transport has connected, or ends.
    pub(super) fn forget_deadline(&mut self, id: TransportId) {
        if let Some(deadline) = self.transports.get_mut(&id).and_then(|transport| transport.deadline.take()) {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// A transport ends: it is nobody's any more. To be called while it is there.
    pub(super) fn disown(&mut self, id: TransportId) {
        self.forget_deadline(id);
        let owner = self.transports.get(&id).map(|transport| transport.owner.connection);
        if let Some(owner) = owner.and_then(|owner| self.owners.get_mut(&owner)) {
            owner.transports.retain(|own| *own != id);
        }
    }

    /// Ends transports that have not connected in time.
    pub(super) fn end_overdue(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.forget_deadline(id);
            if !self.may_wait(id) {
                self.counted.connect_timeouts += 1;
                self.fail_transport(id);
            }
        }
    }

    /// Whether a transport may wait for longer: its client has not asked to connect it, nor made a newer one for the same.
    fn may_wait(&self, id: TransportId) -> bool {
        let Some(transport) = self.transports.get(&id) else { return false };
        let Some(owner) = self.owners.get(&transport.owner.connection) else { return false };
        let mut idle = owner
            .transports
            .iter()
            .filter_map(|own| self.transports.get(own))
            .filter(|own| own.direction == transport.direction && !own.has_connected && !own.is_connecting());
        !transport.is_connecting() && idle.next_back().is_some_and(|latest| latest.id == id)
    }
}
