//! Limits on the number of transports, the rate of creating them, and the time that one may take to
//! connect.
//!
//! - [`Sfu::admit`] decides whether a connection may create a transport;
//! - [`Sfu::close_overdue`] closes transports that did not connect in time.
//!
//! A client in an empty room has no reason to connect: it creates a transport for each direction
//! and waits. So the newest transport of each direction of a connection may stay idle until its
//! client asks to connect it. Until then it costs almost nothing: it has neither an `Rtc` nor a
//! timer.
//!
//! Invariant: hoarded transports do not keep other clients out of a full server. The oldest
//! unconnected transport of the connection that has most of them is evicted first.

use std::time::Instant;

use super::id::TransportId;
use super::request::SfuErrorKind;
use super::state::Sfu;
use super::token_bucket::{Rate, TokenBucket};
use super::transport::Transport;
use crate::id::ConnectionId;

/// Rate of transports that one connection may create: a burst for four in each of eight rooms and
/// some more, then one for each direction per second. Reloading a page opens a new connection.
const CREATIONS: Rate = Rate { per_second: 2.0, burst: 40.0 };

/// Unconnected transports of a connection that are never evicted: one for each direction.
const PROTECTED_PER_OWNER: usize = 2;

/// Minimum number of owners at which those without transports are removed.
const MIN_SWEEP_AT: usize = 1024;

/// The transports of a connection, and its budget to create more.
#[derive(Debug)]
pub(super) struct Owner {
    creation_bucket: TokenBucket,
    /// Oldest first, in any room.
    pub(super) transports: Vec<TransportId>,
}

impl Sfu {
    /// Checks that a connection may create a transport, and evicts another if the server is full.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        connection: ConnectionId,
    ) -> Result<(), SfuErrorKind> {
        self.sweep_owners(now);
        let owner = self.owners.entry(connection);
        let owner = owner.or_insert_with(|| Owner {
            creation_bucket: TokenBucket::new(CREATIONS, now),
            transports: Vec::new(),
        });
        if !owner.creation_bucket.take(now, 1.0) {
            self.counted.creations_over_rate += 1;
            let seconds = owner.creation_bucket.time_until(now, 1.0).as_secs() + 1;
            return Err(SfuErrorKind::TooFast { seconds });
        }
        let max = self.settings.max_transports;
        if max > 0 && self.transports.len() >= max {
            self.counted.transports_over_limit += 1;
            let victim = self
                .eviction_candidate()
                .ok_or(SfuErrorKind::TooMany { what: "transports on this server", max })?;
            self.fail_transport(victim);
        }
        Ok(())
    }

    /// Removes owners that have no transports and a full budget, like new ones.
    fn sweep_owners(&mut self, now: Instant) {
        if self.owners.len() >= self.owners_swept_at {
            self.owners.retain(|_, owner| {
                !owner.transports.is_empty() || !owner.creation_bucket.is_full(now)
            });
            self.owners_swept_at = MIN_SWEEP_AT.max(2 * self.owners.len());
        }
    }

    /// Returns the oldest unconnected transport of the connection that has most of them.
    fn eviction_candidate(&self) -> Option<TransportId> {
        let is_unconnected =
            |id: &&TransportId| self.transports.get(id).is_some_and(|found| !found.is_connected);
        let unconnected = |owner: &Owner| owner.transports.iter().filter(is_unconnected).count();
        let owners = self.owners.values().map(|owner| (unconnected(owner), owner));
        let (_, owner) = owners
            .max_by_key(|(count, _)| *count)
            .filter(|(count, _)| *count > PROTECTED_PER_OWNER)?;
        owner.transports.iter().find(is_unconnected).copied()
    }

    /// Registers a new transport with its owner. Older idle transports of the same direction must
    /// connect in time from now on.
    pub(super) fn register_transport(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        id: TransportId,
    ) {
        let Some(owner) = self.owners.get_mut(&connection) else { return };
        let older = owner.transports.clone();
        owner.transports.push(id);
        self.set_connect_deadline(now, id);
        let direction = self.transports.get(&id).map(|transport| transport.direction);
        for older in older {
            let is_idle = |found: &Transport| {
                found.deadline.is_none()
                    && !found.has_connected
                    && Some(found.direction) == direction
            };
            if self.transports.get(&older).is_some_and(is_idle) {
                self.set_connect_deadline(now, older);
            }
        }
    }

    /// Sets the deadline for a transport to connect, unless it already has.
    pub(super) fn set_connect_deadline(&mut self, now: Instant, id: TransportId) {
        self.clear_deadline(id);
        let Some(transport) =
            self.transports.get_mut(&id).filter(|transport| !transport.has_connected)
        else {
            return;
        };
        let deadline = now + self.settings.connect_timeout;
        transport.deadline = Some(deadline);
        self.deadlines.insert((deadline, id));
    }

    /// Removes the deadline of a transport that has connected or is being closed.
    pub(super) fn clear_deadline(&mut self, id: TransportId) {
        if let Some(deadline) =
            self.transports.get_mut(&id).and_then(|transport| transport.deadline.take())
        {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// Removes a transport from its owner. The transport must still exist.
    pub(super) fn unregister_transport(&mut self, id: TransportId) {
        self.clear_deadline(id);
        let owner = self.transports.get(&id).map(|transport| transport.owner.connection);
        if let Some(owner) = owner.and_then(|owner| self.owners.get_mut(&owner)) {
            owner.transports.retain(|own| *own != id);
        }
    }

    /// Closes transports that have not connected in time.
    pub(super) fn close_overdue(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.clear_deadline(id);
            if !self.may_stay_idle(id) {
                self.counted.connect_timeouts += 1;
                self.fail_transport(id);
            }
        }
    }

    /// Returns whether a transport may stay unconnected: its client has neither asked to connect it
    /// nor created a newer one of the same direction.
    fn may_stay_idle(&self, id: TransportId) -> bool {
        let Some(transport) = self.transports.get(&id) else { return false };
        let Some(owner) = self.owners.get(&transport.owner.connection) else { return false };
        let mut idle =
            owner.transports.iter().filter_map(|own| self.transports.get(own)).filter(|own| {
                own.direction == transport.direction && !own.has_connected && !own.is_connecting()
            });
        !transport.is_connecting() && idle.next_back().is_some_and(|latest| latest.id == id)
    }
}
