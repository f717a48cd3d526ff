//! Counts of a run, to see that the faults happen.

use parlor::cluster::node::Counters;

/// Counts of a run.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Stats {
    pub(crate) signals: u64,
    pub(crate) delivered: u64,
    pub(crate) reported: u64,
    pub(crate) joins: u64,
    pub(crate) refused: u64,
    pub(crate) ended: u64,
    pub(crate) faults: u64,
    /// Counters of the nodes that run at the end.
    pub(crate) counters: Counters,
}

impl Stats {
    pub(crate) fn add(&mut self, other: &Self) {
        self.signals += other.signals;
        self.delivered += other.delivered;
        self.reported += other.reported;
        self.joins += other.joins;
        self.refused += other.refused;
        self.ended += other.ended;
        self.faults += other.faults;
        self.add_counters(other.counters);
    }

    pub(crate) fn add_counters(&mut self, counters: Counters) {
        let Counters { connects, fenced, reaped, provisional, resent, repeated, gaps, bounced, malformed } = counters;
        let sum = &mut self.counters;
        sum.connects += connects;
        sum.fenced += fenced;
        sum.reaped += reaped;
        sum.provisional += provisional;
        sum.resent += resent;
        sum.repeated += repeated;
        sum.gaps += gaps;
        sum.bounced += bounced;
        sum.malformed += malformed;
    }
}
