//! Which nodes live, and whether this node may declare others dead.
//!
//! Pure. Only a node that was itself served well for a whole lease declares others dead, so that no
//! node is removed because the engine was away, paused or slow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::record::Incarnation;

/// Maximum time to the answer of a beat of a node that is served well.
const SLOW_BEAT: Duration = Duration::from_millis(2500);

/// How long a node waits for each living node with a smaller incarnation to remove a dead one. Some
/// of them may hang.
const TURN: Duration = Duration::from_millis(250);

/// The nodes of the cluster, as the engine last listed them.
#[derive(Debug, Default)]
pub struct NodeList {
    living: BTreeSet<Incarnation>,
    /// When this node became ready, or was last served badly since.
    steady_since: Option<Instant>,
    /// Incarnations whose lease is over.
    expired: BTreeMap<Incarnation, Expired>,
    /// Incarnations that the engine does not list although this node has a link with them.
    missing: BTreeMap<Incarnation, Instant>,
}

/// An incarnation whose lease is over.
#[derive(Debug)]
struct Expired {
    /// When this node first learned of that.
    since: Instant,
    /// Whether this node removes it, unless the next list says otherwise.
    is_being_removed: bool,
}

impl NodeList {
    /// Returns the nodes with a lease.
    pub fn living(&self) -> &BTreeSet<Incarnation> {
        &self.living
    }

    /// Notes the list of the nodes with a lease.
    pub fn list(&mut self, living: Vec<Incarnation>) {
        self.living = living.into_iter().collect();
        self.missing.retain(|incarnation, _| !self.living.contains(incarnation));
    }

    /// Notes that the connection is ready.
    pub fn ready(&mut self, now: Instant) {
        self.steady_since = Some(now);
    }

    /// Notes that the connection is lost.
    pub fn connection_lost(&mut self) {
        self.steady_since = None;
        self.expired.clear();
        self.missing.clear();
    }

    /// Notes how long the answer to a beat took.
    pub fn beat_took(&mut self, now: Instant, time: Duration) {
        if time > SLOW_BEAT && self.steady_since.is_some() {
            self.steady_since = Some(now);
        }
    }

    /// Returns whether this node has been served well for a whole lease.
    fn is_steady(&self, now: Instant, lease: Duration) -> bool {
        self.steady_since.is_some_and(|since| now.duration_since(since) >= lease)
    }

    /// Notes the incarnations whose lease is over.
    pub fn expire(&mut self, now: Instant, expired: &[Incarnation]) {
        self.expired.retain(|incarnation, _| expired.contains(incarnation));
        for incarnation in expired {
            let new = Expired { since: now, is_being_removed: false };
            self.expired.entry(*incarnation).or_insert(new).is_being_removed = false;
        }
    }

    /// Returns the incarnations that this node is to remove now, once for each list of those whose
    /// lease is over. The living node with the smallest incarnation begins.
    pub fn to_reap(&mut self, now: Instant, lease: Duration, me: Incarnation) -> Vec<Incarnation> {
        if !self.is_steady(now, lease) {
            return Vec::new();
        }
        let is_expired = |living: &Incarnation| self.expired.contains_key(living);
        let smaller =
            self.living.iter().filter(|living| **living < me && !is_expired(living)).count();
        let turn = TURN.saturating_mul(u32::try_from(smaller).unwrap_or(u32::MAX));
        let is_due = |expired: &Expired| {
            !expired.is_being_removed && now.duration_since(expired.since) >= turn
        };
        let due = self.expired.iter_mut().filter(|(_, expired)| is_due(expired));
        due.map(|(incarnation, expired)| {
            expired.is_being_removed = true;
            *incarnation
        })
        .collect()
    }

    /// Returns those of the linked incarnations that are dead: they are missing from the list, which
    /// was requested at some time, and were missing from one before, since this node has been ready
    /// for a whole lease. A wiped engine lists no one at first, and the list may have been on its
    /// way when a new node was linked.
    pub fn dead(
        &mut self,
        now: Instant,
        requested: Instant,
        lease: Duration,
        linked: impl Iterator<Item = Incarnation>,
    ) -> Vec<Incarnation> {
        if !self.is_steady(now, lease) {
            return Vec::new();
        }
        let mut dead = Vec::new();
        for incarnation in linked.filter(|linked| !self.living.contains(linked)) {
            match self.missing.get(&incarnation) {
                None => _ = self.missing.insert(incarnation, now),
                Some(since) if requested >= *since => dead.push(incarnation),
                Some(_) => {}
            }
        }
        dead
    }

    /// Returns whether a node has a lease that is not over, as of the last beat.
    pub fn is_beating(&self, node: Incarnation) -> bool {
        self.living.contains(&node) && !self.expired.contains_key(&node)
    }
}
