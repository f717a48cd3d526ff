//! The numbered links to and from other nodes: which frames wait, are kept, are sent again, and are
//! processed next.

use std::time::Instant;

use tracing::warn;

use super::{Incarnation, Node, ReceivingLink, Replica};
use crate::clock::Moment;
use crate::cluster::frame::{Body, LinkFrame, encode_frame};
use crate::cluster::link::Receipt;

/// How many frames wait for one node while they cannot be sent.
const MAX_WAITING: usize = 256;

/// How many bytes wait for an engine that is connected.
const MAX_QUEUED: usize = 8 << 20;

impl Node {
    /// Returns whether another frame may be sent to a node, or wait for it.
    pub(super) fn has_capacity(&self, now: Moment, node: Incarnation) -> bool {
        if self.is_ready() {
            return self.engine.queued_bytes() < MAX_QUEUED;
        }
        let (count, oldest) =
            self.outgoing.get(&node).map(|link| link.waiting(now.instant)).unwrap_or_default();
        count < MAX_WAITING
            && oldest < self.settings.lease
            && self.kept_bytes < self.settings.kept_bytes
    }

    /// Adds a frame to the link to a node, and publishes it if the connection is ready.
    pub(in crate::cluster) fn push(&mut self, now: Moment, node: Incarnation, body: Body) {
        let from = self.me;
        let processed = self.incoming.get(&node).map_or(0, ReceivingLink::processed);
        let link = self.outgoing.entry(node).or_default();
        let before = link.bytes();
        link.push(now.instant, |number| encode_frame(&LinkFrame { from, number, processed, body }));
        self.kept_bytes += link.bytes() - before;
        while self.kept_bytes > self.settings.kept_bytes && self.evict_frame() {}
        self.publish_frames(node);
    }

    /// Forgets the frame that is kept longest. A reader that still misses it learns of the gap.
    fn evict_frame(&mut self) -> bool {
        let links = self.outgoing.values_mut().filter_map(|link| Some((link.oldest()?, link)));
        let Some((_, link)) = links.min_by_key(|(since, _)| *since) else { return false };
        self.kept_bytes -= link.evict();
        true
    }

    /// Forgets frames that were kept for two leases, in which their reader would have requested
    /// them. Those of a reader that may be dead stay until that is certain.
    pub(super) fn prune_links(&mut self, now: Instant) {
        let (age, is_ready) = (self.settings.lease * 2, self.is_ready());
        for (node, link) in &mut self.outgoing {
            if is_ready && self.members.is_beating(*node) {
                link.prune(now, age);
            }
        }
    }

    /// Publishes the frames that wait for a node.
    pub(super) fn publish_frames(&mut self, node: Incarnation) {
        if !self.is_ready() {
            return;
        }
        let Some(link) = self.outgoing.get_mut(&node) else { return };
        for (number, frame) in link.publish() {
            self.engine.publish(node, Some(number), frame);
        }
    }

    /// Publishes a frame that is not numbered.
    pub(super) fn publish_unnumbered(&mut self, node: Incarnation, body: Body) {
        let frame = encode_frame(&LinkFrame { from: self.me, number: 0, processed: 0, body });
        self.engine.publish(node, None, frame);
    }

    /// Reports that the engine has taken a frame.
    pub fn published(&mut self, now: Moment, to: Incarnation, number: u64) {
        if let Some(link) = self.outgoing.get_mut(&to) {
            link.confirm(now.instant, number);
        }
    }

    /// Takes a frame of a link.
    pub(super) fn frame(&mut self, now: Moment, frame: LinkFrame) {
        let LinkFrame { from, number, processed, body } = frame;
        if let Some(link) = self.outgoing.get_mut(&from) {
            self.kept_bytes -= link.processed(processed);
        }
        match body {
            Body::Echo if from == self.me => self.echoed(now),
            Body::Have { next, sent } => {
                self.resend(from, next);
                if self.incoming.get(&from).map_or(1, ReceivingLink::next) < sent {
                    self.request_missing(now, from);
                }
            }
            Body::Gap { first } => self.skip_gap(from, first),
            body if number > 0 => match self.incoming.entry(from).or_default().receive(number) {
                Receipt::Deliver if self.is_settled() && self.aside.is_empty() => {
                    self.process_next(now, from, number, body);
                }
                Receipt::Deliver => self.aside.push_back((from, number, body)),
                Receipt::Missing => self.request_missing(now, from),
                Receipt::Repeated => self.counters.repeated += 1,
            },
            _ => {}
        }
    }

    /// Skips frames that the sender does not keep any more.
    fn skip_gap(&mut self, from: Incarnation, first: u64) {
        if self.incoming.entry(from).or_default().skip_to(first) {
            self.counters.gaps += 1;
            warn!(node = %from, "frames of another node are lost, ending the sessions that share rooms with it");
            if self.is_settled() && self.aside.is_empty() {
                self.end_sessions_with(from);
            } else {
                // Which sessions share a room with it is known after the syncs.
                self.aside.push_back((from, 0, Body::Gap { first }));
            }
        }
    }

    fn request_missing(&mut self, now: Moment, node: Incarnation) {
        if self.incoming.entry(node).or_default().request(now.instant) {
            self.request_frames(node);
        }
    }

    /// Sends frames again that a node has not received.
    fn resend(&mut self, node: Incarnation, next: u64) {
        let Some(link) = self.outgoing.get_mut(&node) else { return };
        let resent = link.resend(next);
        if let Some(first) = resent.gap {
            self.publish_unnumbered(node, Body::Gap { first });
        }
        for (number, frame) in resent.frames {
            self.counters.resent += 1;
            self.engine.publish(node, Some(number), frame);
        }
    }

    /// Ends the local sessions that share a room with a node, or have their media there. So may those
    /// whose joins wait: the other nodes may know of them already.
    fn end_sessions_with(&mut self, node: Incarnation) {
        let is_there = |replica: &&Replica| {
            replica.media == Some(node) || replica.held_by(node).next().is_some()
        };
        for replica in self.replicas.values().filter(is_there) {
            replica.held_by(self.me).for_each(|member| self.host.end(member.connection()));
        }
        self.joins.keys().for_each(|(_, connection)| self.host.end(*connection));
    }

    /// Processes the frames that were put aside.
    pub(super) fn process_aside(&mut self, now: Moment) {
        while self.is_settled()
            && let Some((from, number, body)) = self.aside.pop_front()
        {
            match body {
                Body::Gap { .. } => self.end_sessions_with(from),
                body => self.process_next(now, from, number, body),
            }
        }
    }

    /// Processes the next frame of a link.
    fn process_next(&mut self, now: Moment, from: Incarnation, number: u64, body: Body) {
        self.incoming.entry(from).or_default().process(number);
        self.process(now, from, body);
    }
}
