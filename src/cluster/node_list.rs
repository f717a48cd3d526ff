//! Which nodes live, and whether this node may declare others dead.
//!
//! Pure. Only a node that was itself served well for a whole lease declares others dead, so that no
//! node is removed because the engine was away, paused or slow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::record::Incarnation;

/// Maximum time to the answer of a beat of a node that is served well.
const SLOW_BEAT: Duration = Duration::from_millis(2500);

/// How long a node waits for each living node with a smaller incarnation to remove a dead one.
const TURN: Duration = Duration::from_secs(1);

/// The nodes of the cluster, as the engine last listed them.
#[derive(Debug, Default)]
pub struct NodeList {
    living: BTreeSet<Incarnation>,
    /// When this node became ready, or was last served badly since.
    steady_since: Option<Instant>,
    /// Incarnations whose lease is over, and when this node first learned of that.
    expired: BTreeMap<Incarnation, Instant>,
    /// Incarnations that the engine does not list although this node has a link with them.
    missing: BTreeMap<Incarnation, Instant>,
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

    /// Notes the incarnations whose lease is over, and returns those that this node is to remove
    /// now. The living node with the smallest incarnation begins.
    pub fn to_reap(
        &mut self,
        now: Instant,
        lease: Duration,
        me: Incarnation,
        expired: &[Incarnation],
    ) -> Vec<Incarnation> {
        self.expired.retain(|incarnation, _| expired.contains(incarnation));
        for incarnation in expired {
            self.expired.entry(*incarnation).or_insert(now);
        }
        if !self.is_steady(now, lease) {
            return Vec::new();
        }
        let smaller =
            self.living.iter().filter(|living| **living < me && !expired.contains(living)).count();
        let turn = TURN.saturating_mul(u32::try_from(smaller).unwrap_or(u32::MAX));
        let is_due = |since: &Instant| now.duration_since(*since) >= turn;
        self.expired
            .iter()
            .filter(|(_, since)| is_due(since))
            .map(|(incarnation, _)| *incarnation)
            .collect()
    }

    /// Returns those of the linked incarnations that are dead: they have been missing from the list
    /// for a whole lease, in which this node was ready. A wiped engine lists no one at first.
    pub fn dead(
        &mut self,
        now: Instant,
        lease: Duration,
        linked: impl Iterator<Item = Incarnation>,
    ) -> Vec<Incarnation> {
        if self.steady_since.is_none() {
            return Vec::new();
        }
        let mut dead = Vec::new();
        for incarnation in linked.filter(|linked| !self.living.contains(linked)) {
            let since = *self.missing.entry(incarnation).or_insert(now);
            if now.duration_since(since) >= lease {
                dead.push(incarnation);
            }
        }
        dead
    }
}
