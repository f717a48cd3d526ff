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
    pub(crate) nodes_killed: u64,
    pub(crate) nodes_stopped: u64,
    pub(crate) engines_killed: u64,
    /// Connections between nodes and engines that were cut.
    pub(crate) cuts: u64,
    /// Connections of clients that were lost, sessions that were resumed, and those that could not
    /// be.
    pub(crate) drops: u64,
    pub(crate) resumed: u64,
    pub(crate) resumes_refused: u64,
    /// Sessions that moved to another node, and moves that were refused or failed.
    pub(crate) arrived: u64,
    pub(crate) moves_refused: u64,
    pub(crate) kicked: u64,
    /// Media requests.
    pub(crate) media: u64,
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
        self.nodes_killed += other.nodes_killed;
        self.nodes_stopped += other.nodes_stopped;
        self.engines_killed += other.engines_killed;
        self.cuts += other.cuts;
        self.drops += other.drops;
        self.resumed += other.resumed;
        self.resumes_refused += other.resumes_refused;
        self.arrived += other.arrived;
        self.moves_refused += other.moves_refused;
        self.kicked += other.kicked;
        self.media += other.media;
        self.add_counters(other.counters);
    }

    pub(crate) fn add_counters(&mut self, counters: Counters) {
        let Counters {
            connects,
            fenced,
            reaped,
            provisional,
            resent,
            repeated,
            gaps,
            not_found,
            not_delivered,
            repairs,
            malformed,
            differing,
            ghosts,
            ..
        } = counters;
        let sum = &mut self.counters;
        sum.connects += connects;
        sum.fenced += fenced;
        sum.reaped += reaped;
        sum.provisional += provisional;
        sum.resent += resent;
        sum.repeated += repeated;
        sum.gaps += gaps;
        sum.not_found += not_found;
        sum.not_delivered += not_delivered;
        sum.repairs += repairs;
        sum.malformed += malformed;
        sum.differing += differing;
        sum.ghosts += ghosts;
        for (sum, count) in sum.reconnects.iter_mut().zip(counters.reconnects) {
            *sum += count;
        }
        sum.departed += counters.departed;
    }
}
