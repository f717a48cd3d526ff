//! Simulated clients: what each of them sees of its rooms, and the rules for the events that it
//! receives.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use parlor::cluster::Incarnation;
use parlor::id::{ConnectionId, PeerId};
use parlor::room::{Event, Metadata, Peer};

use super::ledger::{Ledger, Sent};
use super::world::CAPACITY;

/// A client, which has at most one session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: PeerId,
    /// Whether it rarely leaves its rooms.
    pub(crate) is_steady: bool,
    pub(crate) session: Option<Session>,
    /// Number of its present connection; messages of former ones are ignored.
    pub(crate) attachment: u64,
}

/// A session as its client knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: ConnectionId,
    /// The node that has it, and the incarnation in its resume token.
    pub(crate) node: usize,
    pub(crate) token: Incarnation,
    pub(crate) state: Connection,
    /// When the present connection was made.
    pub(crate) open_since: Duration,
    /// Number of the last message that was received.
    pub(crate) seen: u64,
    pub(crate) rooms: BTreeMap<usize, State>,
}

/// The connection of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Connected.
    Open,
    /// Lost; the client is about to resume.
    Lost,
    /// Resuming.
    Resuming,
}

/// Location of a session.
#[derive(Debug)]
pub(crate) enum State {
    Joining {
        since: Duration,
    },
    Inside(Inside),
    /// It has left, and ignores what is still on its way.
    Leaving,
}

/// A session's view of a room that it is in.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Number of the join.
    pub(crate) join: u64,
    pub(crate) joined_at: SystemTime,
    pub(crate) metadata: Metadata,
    pub(crate) view: BTreeMap<ConnectionId, Seen>,
    /// Number of the last signal from each join.
    last: BTreeMap<u64, u64>,
}

/// A peer in a view.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Number of the event that announced it.
    pub(crate) announcement: u64,
    pub(crate) peer: PeerId,
    pub(crate) metadata: Metadata,
    /// Unknown of a peer that was in the room before.
    pub(crate) is_away: Option<bool>,
}

impl Session {
    pub(crate) fn inside(&self, room: usize) -> Option<&Inside> {
        match self.rooms.get(&room) {
            Some(State::Inside(inside)) => Some(inside),
            _ => None,
        }
    }
}

impl Inside {
    pub(crate) fn new(join: u64, me: &Peer) -> Self {
        let (joined_at, metadata) = (me.joined_at, me.metadata.clone());
        Self { join, joined_at, metadata, view: BTreeMap::new(), last: BTreeMap::new() }
    }

    /// The client receives an event of the room. Returns `false` if it has been removed from it.
    pub(crate) fn tell(&mut self, ledger: &mut Ledger, me: ConnectionId, event: &Event) -> bool {
        match event {
            Event::Joined(snapshot) => {
                assert!(self.view.is_empty(), "is shown the room twice");
                for peer in snapshot.others() {
                    self.add(ledger, peer, None);
                }
            }
            Event::PeerJoined { peer, .. } => self.add(ledger, peer, Some(false)),
            Event::PeerLeft { peer, .. } => {
                let seen = self.view.remove(&peer.connection);
                let seen = seen
                    .unwrap_or_else(|| panic!("{} leaves, which is not there", peer.connection));
                ledger.part(self.join, seen.announcement);
            }
            Event::PeerUpdated { peer, .. } => {
                let seen =
                    self.view.get_mut(&peer.connection).expect("a peer that is updated is there");
                seen.metadata = peer.metadata.clone();
            }
            Event::PeerAway { peer, .. } | Event::PeerBack { peer, .. } => {
                let seen = self
                    .view
                    .get_mut(&peer.connection)
                    .expect("a peer that is away or back is there");
                let is_away = Some(matches!(event, Event::PeerAway { .. }));
                assert_ne!(seen.is_away, is_away, "{} is shown twice as such", peer.connection);
                seen.is_away = is_away;
            }
            Event::SignalRelayed { from, signal, .. } => {
                assert!(
                    self.view.contains_key(&from.connection),
                    "{} sends, which is not there",
                    from.connection
                );
                let Sent { number, join } = Sent::parse(signal);
                let last = self.last.insert(join, number).unwrap_or_default();
                assert!(number > last, "signal {number} arrives after {last}");
                ledger.deliver(number, me, signal);
            }
            Event::Removed { .. } => return false,
            Event::HungUp { .. } => {}
        }
        true
    }

    fn add(&mut self, ledger: &mut Ledger, peer: &Peer, is_away: Option<bool>) {
        let (id, metadata) = (peer.id.clone(), peer.metadata.clone());
        let namesake = self.view.values().find(|seen| seen.peer == id);
        assert!(namesake.is_none(), "the peer id {id} twice in a view");
        let seen = Seen { announcement: ledger.number(), peer: id, metadata, is_away };
        let before = self.view.insert(peer.connection, seen);
        assert!(before.is_none(), "{} joins twice", peer.connection);
        if self.view.len() + 1 > CAPACITY {
            ledger.note_overfull();
        }
    }
}
