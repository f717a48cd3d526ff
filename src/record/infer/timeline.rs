//! The rooms of a trace: which clients were members when, and what each client did.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::membership::Membership;
use crate::record::trace::{Trace, What};

/// Maximum number of members of a room that are followed.
const MAX_MEMBERS: usize = 64;

/// An action of a client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Action {
    /// Joined a room.
    Join,
    /// Left its room, by an event or by closing its connection.
    Leave,
    /// Connected, or disconnected without being in a room.
    Connection,
    /// Sent a signal: the name of the event.
    Signal(String),
    /// Sent another event: its name.
    Application(String),
}

/// A client action.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    /// The position in the trace.
    pub(super) index: usize,
    pub(super) client: usize,
    pub(super) action: Action,
    /// The client's room before or, for a join, after the action.
    pub(super) room: Option<String>,
    /// The members of that room after the action, in join order.
    pub(super) members: Vec<usize>,
    /// Whether another client was in the room.
    pub(super) has_company: bool,
}

/// All client actions in order.
pub(super) struct Timeline {
    pub(super) causes: Vec<Cause>,
}

impl Timeline {
    /// Follows the clients through their rooms.
    pub(super) fn follow(
        trace: &Trace,
        membership: &Membership,
        signals: &BTreeSet<String>,
    ) -> Self {
        let mut rooms: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut room_of: HashMap<usize, String> = HashMap::new();
        let mut causes = Vec::new();
        for (index, entry) in trace.entries.iter().enumerate() {
            let client = entry.client;
            let action = match &entry.what {
                What::Received(_) | What::Acknowledged { .. } => continue,
                What::Disconnected if room_of.contains_key(&client) => Action::Leave,
                What::Connected | What::Disconnected => Action::Connection,
                What::Sent(message) => match membership.joined_room(message) {
                    Some(room) => {
                        leave(&mut rooms, &mut room_of, client);
                        let members = rooms.entry(room.clone()).or_default();
                        if members.len() < MAX_MEMBERS {
                            members.push(client);
                        }
                        room_of.insert(client, room);
                        Action::Join
                    }
                    None if membership.leaves.contains(&message.event)
                        && room_of.contains_key(&client) =>
                    {
                        Action::Leave
                    }
                    None if signals.contains(&message.event) => {
                        Action::Signal(message.event.clone())
                    }
                    None => Action::Application(message.event.clone()),
                },
            };
            let room = room_of.get(&client).cloned();
            if action == Action::Leave {
                leave(&mut rooms, &mut room_of, client);
            }
            let members =
                room.as_ref().and_then(|room| rooms.get(room)).cloned().unwrap_or_default();
            let has_company = members.iter().any(|member| *member != client);
            causes.push(Cause { index, client, action, room, members, has_company });
        }
        Self { causes }
    }

    /// Returns the action at a position of the trace.
    pub(super) fn at(&self, index: usize) -> Option<&Cause> {
        self.causes
            .binary_search_by_key(&index, |cause| cause.index)
            .ok()
            .map(|found| &self.causes[found])
    }
}

fn leave(
    rooms: &mut BTreeMap<String, Vec<usize>>,
    room_of: &mut HashMap<usize, String>,
    client: usize,
) {
    if let Some(members) = room_of.remove(&client).and_then(|room| rooms.get_mut(&room)) {
        members.retain(|member| *member != client);
    }
}
