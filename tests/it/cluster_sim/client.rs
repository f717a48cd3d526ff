//! Simulated clients, and the rules for the events that each of them receives.

use std::collections::{BTreeMap, BTreeSet};

use parlor::id::{ConnectionId, PeerId};
use parlor::room::{Event, Signal};

/// A client, which has at most one session, in at most one room.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: PeerId,
    pub(crate) session: Option<Session>,
}

/// A session of a client.
#[derive(Debug)]
pub(crate) struct Session {
    /// Index of the node.
    pub(crate) node: usize,
    pub(crate) connection: ConnectionId,
    pub(crate) state: State,
}

/// Where a session is.
#[derive(Debug)]
pub(crate) enum State {
    Outside,
    Joining { room: usize },
    Inside(Inside),
}

/// A session's view of the room that it is in.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) room: usize,
    /// Number of the join.
    pub(crate) join: u64,
    /// The other peers, and the number of the event that announced each.
    pub(crate) view: BTreeMap<ConnectionId, u64>,
    /// Number of the last signal from each join.
    last: BTreeMap<u64, u64>,
}

impl Inside {
    pub(crate) fn new(room: usize, join: u64) -> Self {
        Self { room, join, view: BTreeMap::new(), last: BTreeMap::new() }
    }
}

/// A signal, as its body identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) join: u64,
}

impl Sent {
    pub(crate) fn body(self) -> String {
        format!("{} {}", self.number, self.join)
    }

    fn parse(signal: &Signal) -> Self {
        let mut numbers = signal.body.split(' ').map(|number| number.parse().unwrap());
        Self { number: numbers.next().unwrap(), join: numbers.next().unwrap() }
    }
}

/// The fate of a signal.
#[derive(Debug)]
struct Fate {
    /// The join of the sender, and the connection and announcement of the recipient in the sender's view.
    join: u64,
    to: ConnectionId,
    announcement: u64,
    delivered: bool,
    reported: bool,
}

/// All signals, and what became of them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    fates: BTreeMap<u64, Fate>,
    numbers: u64,
    /// Signals delivered, and of these within a node.
    pub(crate) delivered: u64,
    pub(crate) reported: u64,
    pub(crate) joins: u64,
}

impl Ledger {
    /// Returns another number for a join, an announcement or a signal.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn sent(&mut self, sent: Sent, to: ConnectionId, announcement: u64) {
        let fate = Fate { join: sent.join, to, announcement, delivered: false, reported: false };
        self.fates.insert(sent.number, fate);
    }

    pub(crate) fn report(&mut self, number: u64) {
        self.reported += 1;
        let fate = self.fates.get_mut(&number).unwrap();
        assert!(!fate.delivered, "signal {number} was delivered and reported as failed");
        assert!(!fate.reported, "signal {number} was reported as failed twice");
        fate.reported = true;
    }

    /// A client receives an event of the room that it is in. Returns `false` if it has been removed from it.
    pub(crate) fn tell(&mut self, inside: &mut Inside, me: ConnectionId, event: &Event) -> bool {
        match event {
            Event::Joined(snapshot) => {
                assert!(inside.view.is_empty(), "is shown the room twice");
                inside.view = snapshot.others().map(|peer| (peer.connection, self.number())).collect();
            }
            Event::PeerJoined { peer, .. } => {
                let before = inside.view.insert(peer.connection, self.number());
                assert_eq!(before, None, "{} joins twice", peer.connection);
            }
            Event::PeerLeft { peer, .. } => {
                assert!(
                    inside.view.remove(&peer.connection).is_some(),
                    "{} leaves, which is not there",
                    peer.connection
                );
            }
            Event::PeerUpdated { peer, .. } => {
                assert!(
                    inside.view.contains_key(&peer.connection),
                    "{} is updated, which is not there",
                    peer.connection
                );
            }
            Event::SignalRelayed { from, signal, .. } => {
                assert!(inside.view.contains_key(&from.connection), "{} sends, which is not there", from.connection);
                let Sent { number, join } = Sent::parse(signal);
                let last = inside.last.insert(join, number).unwrap_or_default();
                assert!(number > last, "signal {number} arrives after {last}");
                let fate = self.fates.get_mut(&number).unwrap();
                assert_eq!(fate.to, me, "signal {number} reaches another peer");
                assert!(!fate.delivered, "signal {number} arrives twice");
                assert!(!fate.reported, "signal {number} arrives after it was reported as failed");
                fate.delivered = true;
                self.delivered += 1;
            }
            Event::Removed { .. } => return false,
            Event::PeerAway { .. } | Event::PeerBack { .. } | Event::HungUp { .. } => {}
        }
        true
    }

    /// Checks at the end that signals between peers that are still together were delivered, or reported as failed.
    pub(crate) fn finish(&self, clients: &[Client]) {
        let inside = clients.iter().filter_map(|client| match &client.session.as_ref()?.state {
            State::Inside(inside) => Some((inside.join, inside)),
            _ => None,
        });
        let inside: BTreeMap<u64, &Inside> = inside.collect();
        for (number, fate) in &self.fates {
            let still = inside.get(&fate.join).and_then(|sender| sender.view.get(&fate.to));
            let are_together = still == Some(&fate.announcement);
            assert!(!are_together || fate.delivered || fate.reported, "signal {number} is lost");
        }
    }

    /// Returns the number of signals.
    pub(crate) fn signals(&self) -> usize {
        self.fates.len()
    }
}

/// Returns the connections of the clients in a room.
pub(crate) fn members(clients: &[Client], room: usize) -> BTreeSet<ConnectionId> {
    let sessions = clients.iter().filter_map(|client| client.session.as_ref());
    let inside = sessions.filter(|session| matches!(&session.state, State::Inside(inside) if inside.room == room));
    inside.map(|session| session.connection).collect()
}
