//! This node's copy of a shared room: its members, their holders, and the version that the copy is
//! at.
//!
//! Pure. A node alone decides which local members it has: records of others and of the engine
//! cannot add one, and remove one only in a snapshot that is later than its join.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::expiring_map::ExpiringMap;
use super::record::{Incarnation, Member, Membership, RoomRecord};
use crate::id::ConnectionId;
use crate::room::RoomSpec;

/// How long a node that is cut off may keep members of whose media an engine that has lost data does
/// not know, and how many of them a room has at most.
const WITHOUT_MEDIA_LIFETIME: Duration = Duration::from_hours(1);
const MAX_WITHOUT_MEDIA: usize = 1024;

/// A copy of a room.
#[derive(Debug)]
pub struct Replica {
    /// The properties of the room.
    pub spec: RoomSpec,
    /// Which of the rooms of this name it is; 0 while it is only provisional.
    pub serial: u64,
    /// Version of the room.
    pub version: u64,
    /// The members, in the order in which this node learned of them.
    pub members: IndexMap<ConnectionId, Member, FxBuildHasher>,
    /// Members of this node that it admitted alone.
    pub provisional: BTreeSet<Membership>,
    /// The order of the signals of members that have moved, or have sent some.
    signal_orders: FxHashMap<ConnectionId, SignalOrder>,
    /// The node with the media of the room.
    pub media: Option<Incarnation>,
    /// The transports that members of this node have there.
    pub transports: BTreeMap<ConnectionId, Vec<Box<str>>>,
    /// Members of other nodes whose media on this node has ended, because a record of the room
    /// lacked them. If an engine that has lost data learns of them again, their nodes tell them.
    pub without_media: ExpiringMap<Membership, ()>,
    /// Whether the copy is known to be that of the engine, since the connection was made. Entries
    /// are applied only then.
    pub is_synced: bool,
}

/// The nodes that have had a session before the present one, by whether a signal from them would
/// still be in order.
#[derive(Debug, Default)]
struct SignalOrder {
    /// Those from which signals may still arrive, the last one last.
    former: Vec<Incarnation>,
    /// Those from which a signal would be delivered after later ones.
    overtaken: BTreeSet<Incarnation>,
    /// Whether the present node, or a former one, has sent a signal.
    has_signaled: bool,
}

/// How an entry relates to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// It is the next change.
    Next,
    /// The replica has it already.
    Past,
    /// Entries before it are missing.
    Ahead,
}

/// The state of a member on its own node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A member in this node's rooms.
    Member,
    /// A join that waits for the log.
    Waiting,
    /// The session is moving here, which the log will confirm.
    Arriving,
    /// The session was handed over to another node, which the log will confirm.
    Departed,
    /// Nothing: the peer has left, and the engine is about to learn of it.
    Gone,
}

/// The steps from a replica to a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Members of other nodes that are not in the record, and members whose session did not arrive
    /// here.
    pub gone: Vec<ConnectionId>,
    /// Members of this node that are not in the record.
    pub lost: Vec<Membership>,
    /// New members of other nodes.
    pub new: Vec<Member>,
    /// Joins of this node that the record completes.
    pub completed: Vec<Member>,
    /// Members whose session is moving here, and which the record says this node holds.
    pub arrived: Vec<Member>,
    /// Members with another record than the replica has of them.
    pub changed: Vec<Member>,
}

impl Replica {
    /// Creates a replica without members.
    pub fn new(spec: RoomSpec) -> Self {
        Self {
            spec,
            serial: 0,
            version: 0,
            members: IndexMap::default(),
            provisional: BTreeSet::new(),
            signal_orders: FxHashMap::default(),
            media: None,
            transports: BTreeMap::new(),
            without_media: ExpiringMap::new(WITHOUT_MEDIA_LIFETIME, MAX_WITHOUT_MEDIA),
            is_synced: false,
        }
    }

    /// Returns the position of an entry that is no snapshot.
    pub fn position(&self, serial: u64, version: u64) -> Position {
        match (serial.cmp(&self.serial), version.cmp(&(self.version + 1))) {
            (Ordering::Less, _) | (Ordering::Equal, Ordering::Less) => Position::Past,
            (Ordering::Equal, Ordering::Equal) => Position::Next,
            (Ordering::Greater, _) | (Ordering::Equal, Ordering::Greater) => Position::Ahead,
        }
    }

    /// Returns whether a snapshot is later than the replica.
    pub fn is_before(&self, record: &RoomRecord) -> bool {
        (self.serial, self.version) < (record.serial, record.version)
    }

    /// Returns the member of a connection, if it is this membership.
    pub fn member(&self, membership: Membership) -> Option<&Member> {
        self.members.get(&membership.connection).filter(|member| member.membership == membership)
    }

    /// Returns the members of a node.
    pub fn held_by(&self, holder: Incarnation) -> impl Iterator<Item = &Member> {
        self.members.values().filter(move |member| member.holder == holder)
    }

    /// Returns whether another node has members of the room, or its media.
    pub fn is_shared(&self, me: Incarnation) -> bool {
        self.members.values().any(|member| member.holder != me)
            || self.media.is_some_and(|media| media != me)
    }

    /// Notes that the session of a member has moved from one node to another.
    pub fn moved(&mut self, connection: ConnectionId, from: Incarnation, to: Incarnation) {
        if from == to {
            return;
        }
        let order = self.signal_orders.entry(connection).or_default();
        order.overtaken.remove(&to);
        order.former.retain(|node| ![from, to].contains(node));
        order.former.push(from);
    }

    /// Notes that a node has sent a signal of a member. Returns `false` if that must not be
    /// delivered any more, because a node that has had the session later has sent one before.
    pub fn accept_signal(&mut self, connection: ConnectionId, node: Incarnation) -> bool {
        let is_holder = self.members.get(&connection).is_some_and(|member| member.holder == node);
        let Some(order) = self.signal_orders.get_mut(&connection) else {
            if is_holder {
                let order = SignalOrder { has_signaled: true, ..SignalOrder::default() };
                self.signal_orders.insert(connection, order);
            }
            return true;
        };
        if order.overtaken.contains(&node) {
            return false;
        }
        let earlier = match order.former.iter().position(|former| *former == node) {
            Some(index) => index,
            None if is_holder => order.former.len(),
            // It has had the session, but an engine without its data has forgotten when.
            None => return !order.has_signaled,
        };
        order.overtaken.extend(order.former.drain(..earlier));
        order.has_signaled = true;
        true
    }

    /// Forgets a member.
    pub fn remove(&mut self, connection: ConnectionId) {
        self.members.shift_remove(&connection);
        self.transports.remove(&connection);
        self.signal_orders.remove(&connection);
        self.provisional.retain(|membership| membership.connection != connection);
    }

    /// Compares the replica with a record of the room.
    pub fn diff(
        &self,
        record: &RoomRecord,
        me: Incarnation,
        standing: impl Fn(&Member) -> Standing,
    ) -> Diff {
        let mut diff = Diff::default();
        let listed: BTreeSet<Membership> =
            record.members.iter().map(|member| member.membership).collect();
        for known in self.members.values().filter(|known| !listed.contains(&known.membership)) {
            if known.holder == me && standing(known) != Standing::Departed {
                diff.lost.push(known.membership);
            } else {
                diff.gone.push(known.connection());
            }
        }
        for member in &record.members {
            match self.member(member.membership) {
                // The later record is right: an engine that has lost some seconds is about to learn
                // of it.
                Some(known) if known == member || member.since < known.since => {}
                Some(known) if member.holder == me && known.holder != me => {
                    if standing(member) == Standing::Arriving {
                        diff.arrived.push(member.clone());
                    } else {
                        diff.gone.push(member.connection());
                    }
                }
                Some(_) => diff.changed.push(member.clone()),
                None if member.holder != me => diff.new.push(member.clone()),
                None => match standing(member) {
                    Standing::Waiting => diff.completed.push(member.clone()),
                    Standing::Arriving => diff.arrived.push(member.clone()),
                    Standing::Member | Standing::Departed | Standing::Gone => {}
                },
            }
        }
        diff
    }
}
