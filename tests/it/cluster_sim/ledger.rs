//! The fate of every signal, and who was seen leaving although it had not left.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parlor::cluster::Membership;
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{Peer, Signal, SignalKind};

use super::client::{Client, State};

/// How long after the last fault a signal may take until it is delivered, or reported as failed.
const PROMPT: Duration = Duration::from_secs(8);

/// How long a pair may be together, while nothing but nodes fails, with a signal that is lost: until
/// its recipient's former node is dead, by its lease, and two lists of nodes lack it. The node of the
/// sender, which reports the loss, does not hang meanwhile.
const REPORTED: Duration = Duration::from_secs(22);

/// A signal, as its body identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) join: u64,
}

impl Sent {
    /// Returns the signal: some are application messages with attachments.
    pub(crate) fn signal(self) -> Signal {
        let body = format!("{} {}", self.number, self.join);
        let is_message = self.number.is_multiple_of(3);
        let attachment = Bytes::from(self.number.to_be_bytes().to_vec());
        Signal {
            kind: [SignalKind::Message, SignalKind::Offer, SignalKind::Candidate]
                [(self.number % 3) as usize],
            name: is_message.then(|| "room:message".into()),
            origin: "test",
            content: 0..body.len(),
            body: body.into(),
            note: self.number,
            echo: false,
            attachments: if is_message { vec![attachment] } else { Vec::new() },
        }
    }

    pub(crate) fn parse(signal: &Signal) -> Self {
        let mut numbers = signal.body.split(' ').map(|number| number.parse().unwrap());
        Self { number: numbers.next().unwrap(), join: numbers.next().unwrap() }
    }
}

/// The fate of a signal to one recipient.
#[derive(Debug)]
struct Fate {
    /// The join of the sender, and the announcement of the recipient in its view; 0 if it did not
    /// see it.
    join: u64,
    announcement: u64,
    sent: Duration,
    delivered: Option<Duration>,
    reported: bool,
}

/// A peer was seen leaving.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missed {
    pub(crate) when: Duration,
    /// The membership and the index of the node that the peer had then, if it was still there.
    pub(crate) had: Option<(Membership, usize)>,
}

/// All signals, and what became of them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) now: Duration,
    /// From when on nothing fails any more.
    pub(crate) calm_since: Duration,
    fates: BTreeMap<(u64, ConnectionId), Fate>,
    numbers: u64,
    /// When joins ended.
    ended: BTreeMap<u64, Duration>,
    /// When a join has seen a peer leave, by the announcement of the peer.
    parted: BTreeMap<(u64, u64), Duration>,
    /// When the node of a join was seen hanging: it reports nothing then, and afterwards it has to
    /// learn anew which nodes are dead.
    hanging: BTreeMap<u64, Vec<Duration>>,
    /// The times in which all nodes were ready and no engine failed.
    calm: Vec<Range<Duration>>,
    /// Peers that were seen leaving: the connection, the room, and when it joined.
    missed: BTreeMap<(ConnectionId, RoomId, SystemTime), Missed>,
    pub(crate) delivered: u64,
    pub(crate) reported: u64,
    pub(crate) joins: u64,
    /// Since when all nodes that run have been ready, and none of them hangs.
    pub(crate) connected_since: Option<Duration>,
    /// Since when the client has been connected that receives an event.
    pub(crate) open_since: Duration,
    /// When views had more peers than the room takes, while all nodes had reached each other for a
    /// second. A node that was cut off brings its members back beside those that have joined
    /// meanwhile: a sync puts back members that were admitted, whatever the capacity, since the engine
    /// may lack them because it has lost data. A client that was away learns of it only when it has
    /// resumed.
    pub(crate) overfull: Vec<Duration>,
}

impl Ledger {
    /// Returns another number for a join, an announcement or a signal.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn sent(&mut self, sent: Sent, to: ConnectionId, announcement: u64) {
        let (join, sent_at) = (sent.join, self.now);
        let fate = Fate { join, announcement, sent: sent_at, delivered: None, reported: false };
        self.fates.insert((sent.number, to), fate);
    }

    pub(crate) fn report(&mut self, number: u64, to: ConnectionId) {
        self.reported += 1;
        let fate = self.fates.get_mut(&(number, to)).expect("a signal that was sent");
        assert!(fate.delivered.is_none(), "signal {number} was delivered and reported as failed");
        assert!(!fate.reported, "signal {number} was reported as failed twice");
        fate.reported = true;
    }

    pub(crate) fn deliver(&mut self, number: u64, to: ConnectionId, signal: &Signal) {
        let fate = self
            .fates
            .get_mut(&(number, to))
            .expect("a signal reaches the peer that it was sent to");
        assert!(fate.delivered.is_none(), "signal {number} arrives twice");
        assert!(!fate.reported, "signal {number} arrives after it was reported as failed");
        assert_eq!(
            *signal,
            Sent { number, join: fate.join }.signal(),
            "signal {number} was changed"
        );
        fate.delivered = Some(self.now);
        self.delivered += 1;
    }

    /// A peer is seen joining again, as after an engine has lost its data.
    pub(crate) fn seen_again(&mut self, room: &RoomId, peer: &Peer) {
        self.missed.remove(&(peer.connection, room.clone(), peer.joined_at));
    }

    /// A peer is seen leaving.
    pub(crate) fn lost_sight(
        &mut self,
        room: &RoomId,
        peer: &Peer,
        had: Option<(Membership, usize)>,
    ) {
        let missed = Missed { when: self.now, had };
        self.missed.entry((peer.connection, room.clone(), peer.joined_at)).or_insert(missed);
    }

    /// A join has seen a peer leave.
    pub(crate) fn part(&mut self, join: u64, announcement: u64) {
        self.parted.insert((join, announcement), self.now);
    }

    /// Notes that the node of a join hangs.
    pub(crate) fn hang(&mut self, join: u64) {
        self.hanging.entry(join).or_default().push(self.now);
    }

    /// Notes whether all nodes are ready now, and no engine fails.
    pub(crate) fn note_calm(&mut self, since: Option<Duration>) {
        let Some(since) = since else { return };
        match self.calm.last_mut().filter(|last| last.start == since) {
            Some(last) => last.end = self.now,
            None => self.calm.push(since..self.now),
        }
    }

    /// A view has more peers than the room takes.
    pub(crate) fn note_overfull(&mut self) {
        let second = Duration::from_secs(1);
        let since = self.connected_since.map(|since| since.max(self.open_since));
        if since.is_some_and(|since| since + second < self.now) {
            self.overfull.push(self.now);
        }
    }

    /// A join ended.
    pub(crate) fn end(&mut self, join: u64) {
        self.ended.insert(join, self.now);
    }

    /// Checks the fates at the end. A signal may be lost with the session of its recipient or of
    /// its sender; but not between peers that are still together, and not if a later one of the
    /// pair was delivered.
    pub(crate) fn finish(&self, clients: &[Client]) {
        let mut views: BTreeMap<u64, BTreeSet<(ConnectionId, u64)>> = BTreeMap::new();
        for session in clients.iter().filter_map(|client| client.session.as_ref()) {
            for state in session.rooms.values() {
                if let State::Inside(inside) = state {
                    let view = inside
                        .view
                        .iter()
                        .map(|(connection, seen)| (*connection, seen.announcement));
                    views.insert(inside.join, view.collect());
                }
            }
        }
        // The last delivery of each pair.
        let mut last: BTreeMap<(u64, ConnectionId, u64), (u64, Duration)> = BTreeMap::new();
        for ((number, to), fate) in &self.fates {
            if let Some(delivered) = fate.delivered {
                last.insert((fate.join, *to, fate.announcement), (*number, delivered));
            }
        }
        for ((number, to), fate) in
            self.fates.iter().filter(|(_, fate)| fate.delivered.is_none() && !fate.reported)
        {
            let view = views.get(&fate.join);
            let are_together = view.is_some_and(|view| view.contains(&(*to, fate.announcement)));
            assert!(!are_together, "signal {number} to {to} is lost");
            let end = self.ended.get(&fate.join).copied().unwrap_or(self.now);
            let parted = self.parted.get(&(fate.join, fate.announcement)).copied();
            let end = end.min(parted.unwrap_or(self.now));
            let hanging = self.hanging.get(&fate.join).map_or(&[][..], Vec::as_slice);
            let is_overdue = |calm: &Range<Duration>| {
                let (start, end) = (fate.sent.max(calm.start), end.min(calm.end));
                let interruptions = hanging.iter().filter(|at| (start..end).contains(*at));
                let mut since = start;
                interruptions
                    .chain([&end])
                    .any(|at| at.saturating_sub(std::mem::replace(&mut since, *at)) >= REPORTED)
            };
            assert!(
                fate.announcement == 0 || !self.calm.iter().any(is_overdue),
                "signal {number} to {to} is lost, though they were together from {:?} to {end:?}",
                fate.sent
            );
            let later =
                last.get(&(fate.join, *to, fate.announcement)).filter(|(later, _)| later > number);
            if let Some((later, delivered)) = later {
                let end = self.ended.get(&fate.join).copied().unwrap_or(self.now);
                let waited = end.saturating_sub(self.calm_since.max(*delivered));
                assert!(
                    waited < PROMPT,
                    "signal {number} to {to} is lost, though {later} was delivered"
                );
            }
        }
    }

    /// Returns whether, and when, a peer was seen leaving that is still in the room.
    pub(crate) fn was_missed(
        &self,
        me: ConnectionId,
        room: RoomId,
        joined_at: SystemTime,
    ) -> Option<Missed> {
        self.missed.get(&(me, room, joined_at)).copied()
    }

    /// Returns the number of signals.
    pub(crate) fn signals(&self) -> usize {
        self.fates.len()
    }
}
