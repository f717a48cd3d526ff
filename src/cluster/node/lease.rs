//! The lease of this node, the removal of dead nodes, and what this node does when it was declared
//! dead itself.

use std::time::Instant;

use tracing::warn;

use super::{Incarnation, Member, Node, Nonce, ReconnectReason};
use crate::clock::Moment;
use crate::cluster::frame::Body;
use crate::cluster::script::Call;

/// The last beat. Each is sent to the engine and to the inbox of this node, to see that both ways
/// work.
#[derive(Debug, Default)]
pub(super) struct Beat {
    sent: Option<Instant>,
    is_answered: bool,
    is_echoed: bool,
}

impl Node {
    /// Sends a beat when it is time to; without an answer and an echo of the last, the connection
    /// is of no use.
    pub(super) fn tend_beat(&mut self, now: Moment) {
        let Beat { sent, is_answered, is_echoed } = self.beat;
        let lease = self.settings.lease;
        match sent.map(|sent| now.instant.duration_since(sent)) {
            Some(elapsed) if !(is_answered && is_echoed) => {
                if elapsed >= lease / 2 {
                    self.reconnect(now, ReconnectReason::Silent);
                }
            }
            Some(elapsed) if elapsed < lease / 5 => {}
            _ => {
                self.beat = Beat { sent: Some(now.instant), is_answered: false, is_echoed: false };
                self.call(now.instant, Call::Beat);
                self.publish_unnumbered(self.me, Body::Echo);
            }
        }
    }

    /// Returns whether the list of nodes is one that was requested since.
    pub(in crate::cluster) fn has_list_since(&self, since: Instant) -> bool {
        self.listed.is_some_and(|listed| listed >= since)
    }

    /// Requests the list of nodes, unless it is on its way.
    pub(in crate::cluster) fn list_again(&mut self, now: Moment) {
        if self.is_ready() && !self.calls.values().any(|(call, _)| matches!(call, Call::Beat)) {
            self.call(now.instant, Call::Beat);
        }
    }

    pub(super) fn echoed(&mut self, now: Moment) {
        if let Some(sent) = self.beat.sent.filter(|_| !self.beat.is_echoed) {
            self.host.echoed(now.instant.duration_since(sent));
        }
        self.beat.is_echoed = true;
    }

    pub(super) fn beat_answered(
        &mut self,
        now: Moment,
        called: Instant,
        living: Vec<Incarnation>,
        expired: &[Incarnation],
    ) {
        self.beat.is_answered = true;
        self.listed = Some(called);
        let lease = self.settings.lease;
        self.members.beat_took(now.instant, now.instant.duration_since(called));
        self.members.list(living);
        self.members.expire(now.instant, expired);
        self.reap(now);
        let linked: Vec<Incarnation> = self.outgoing.keys().copied().collect();
        for dead in self.members.dead(now.instant, called, lease, linked.into_iter()) {
            self.forget_link(now, dead);
        }
    }

    /// Removes dead nodes whose removal is up to this node.
    pub(super) fn reap(&mut self, now: Moment) {
        if !self.is_ready() {
            return;
        }
        for dead in self.members.to_reap(now.instant, self.settings.lease, self.me) {
            let is_reaping =
                |call: &Call| matches!(call, Call::Reap { dead: reaping } if *reaping == dead);
            if !self.calls.values().any(|(call, _)| is_reaping(call)) {
                warn!(node = %dead, "removing a dead node");
                self.counters.reaped += 1;
                self.call(now.instant, Call::Reap { dead });
            }
        }
    }

    /// This node was declared dead while it was running. Its peers have left for all others:
    /// sessions that share a room with other nodes end, and rooms that this node has alone are
    /// announced anew, each member as a new one.
    pub(super) fn fence(&mut self, now: Moment) {
        warn!(node = %self.me, "this node was declared dead, joining the cluster as a new one");
        self.counters.fenced += 1;
        let former = self.me;
        self.disconnected(now);
        self.me = Incarnation(self.host.random());
        // The engine does not know the new incarnation, and is right in that.
        self.epoch = None;
        self.outgoing.clear();
        self.kept_bytes = 0;
        self.incoming.clear();
        self.aside.clear();
        self.leaves.clear();
        self.end_congestion();
        self.end_moves(now);
        for (room, replica) in &mut self.replicas {
            let is_shared = replica.is_shared(former);
            if is_shared && replica.media == Some(former) {
                // The others have notified their peers, and may have moved the media to another node.
                self.host.end_media(room);
            }
            let has_media = replica.media == Some(former) && !is_shared;
            replica.media = has_media.then_some(self.me);
            (replica.serial, replica.version) = (0, 0);
            for member in replica.members.values_mut().filter(|member| member.holder == former) {
                if is_shared {
                    self.host.end(member.connection());
                }
                renew(member, self.me, self.host.random());
            }
            let own = replica.members.values().filter(|member| member.holder == self.me);
            replica.provisional = own.map(|member| member.membership).collect();
        }
        self.reconnect(now, ReconnectReason::Fenced);
    }
}

/// Makes a member one of another incarnation.
fn renew(member: &mut Member, me: Incarnation, nonce: u64) {
    member.holder = me;
    member.since = 0;
    member.membership.nonce = Nonce(nonce);
}
