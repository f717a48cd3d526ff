//! Signals that were kept for a node that has died, and whose recipients are on other nodes by then.
//!
//! A session moves only after all nodes with peers in its rooms hold signals to it, so the node that
//! it leaves has read everything before. A node that enters a room in that moment, or whose hold
//! ends too early, may still write to the former node, which returns the signal. If it dies before,
//! only the sender's node knows of the signal.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Incarnation, Node};
use crate::clock::Moment;
use crate::cluster::SignalFailure;
use crate::cluster::frame::{Body, Bounce, InboxMessage, LinkFrame, decode};

impl Node {
    /// Drops the frames for a dead node. Reports those signals as failed that it has not read, as far
    /// as this node knows, and whose recipients live elsewhere. All others were for peers that have left with it.
    pub(super) fn forget_link(&mut self, now: Moment, dead: Incarnation) {
        let Some(frames) = self.outgoing.get_mut(&dead).map(super::SendingLink::forget) else {
            return;
        };
        for bounce in self.unread_signals(dead, &frames) {
            self.counters.not_delivered += 1;
            self.bounced(now, self.me, bounce);
        }
    }

    fn unread_signals(&self, dead: Incarnation, frames: &[Bytes]) -> Vec<Bounce> {
        let mut unread = Vec::new();
        // The sessions that have left the dead node, and those that have left this one: the dead
        // node has read all signals to them, or from them, before it answered.
        let (mut held, mut departed) = (BTreeSet::new(), BTreeSet::new());
        for frame in frames.iter().rev() {
            let Ok(Some(InboxMessage::Frame(LinkFrame { body, .. }))) = decode(frame) else {
                continue;
            };
            match body {
                Body::Held { connection } => _ = held.insert(connection),
                Body::Hold { connection, .. } => _ = departed.insert(connection),
                Body::Signal(signal) if !departed.contains(&signal.from.connection) => {
                    let Some(replica) = self.replicas.get(&signal.room) else { continue };
                    for to in signal.to.into_iter().rev() {
                        let is_elsewhere =
                            replica.member(to).is_some_and(|member| member.holder != dead);
                        if is_elsewhere && !held.contains(&to.connection) {
                            let (room, from, note) =
                                (signal.room.clone(), signal.from, signal.note);
                            let failure = SignalFailure::NotDelivered;
                            unread.push(Bounce { room, from, to, failure, note });
                        }
                    }
                }
                _ => {}
            }
        }
        unread.reverse();
        unread
    }
}
