//! Entries and snapshots of rooms, which change the replicas and the rooms of this node.

use super::{
    Answer, Command, ConnectionId, Incarnation, LeaveReason, Member, Node, Refusal, Replica,
    RoomId, follow_departures, replacement,
};
use crate::clock::Moment;
use crate::cluster::frame::{LogEntry, RoomChange};
use crate::cluster::record::{Membership, Nonce, RoomRecord};
use crate::cluster::replica::{Position, Standing};
use crate::cluster::script::{Call, Sync};

impl Node {
    /// Applies an entry of the log of a room.
    pub(super) fn entry(&mut self, now: Moment, entry: LogEntry) {
        let LogEntry { room, serial, version, change } = entry;
        // The sync, which is yet to be called, will say what this entry says.
        if !self.can_call() {
            return;
        }
        if self.is_being_synced(&room) {
            let entry = LogEntry { room: room.clone(), serial, version, change };
            self.before_sync.entry(room).or_default().push(entry);
            return;
        }
        let Some(replica) = self.replicas.get_mut(&room) else {
            self.entry_without_replica(now, &room, &change);
            return;
        };
        if !replica.is_synced {
            return;
        }
        if let RoomChange::Snapshot(record) = &change {
            if replica.is_before(record) {
                self.adopt(now, record, Some(Refusal::Replaced));
                self.drop_unused(now, &room);
                // A node that was away may be in the room only now, or know of its peers only now.
                self.announce_away(now, &room);
            }
            return;
        }
        match replica.position(serial, version) {
            Position::Past => {}
            Position::Ahead => self.lost_messages(now, &room),
            Position::Next => {
                replica.version = version;
                self.apply(now, &room, version, change);
                self.drop_unused(now, &room);
            }
        }
    }

    /// Completes a join with the first snapshot of a room. Syncs the room for any other entry: the
    /// engine counts a member that this node does not have, unless a call that removes it is on its
    /// way.
    fn entry_without_replica(&mut self, now: Moment, room: &RoomId, change: &RoomChange) {
        if let RoomChange::Snapshot(record) = change
            && record.members.iter().any(|member| {
                matches!(self.standing(room, member), Standing::Waiting | Standing::Arriving)
            })
        {
            self.adopt(now, record, None);
            return;
        }
        if let RoomChange::Pin(media) = change {
            if *media == Some(self.me) {
                self.call_unpin(now, room);
            }
            return;
        }
        let is_leaving =
            |call: &Call| matches!(call, Call::Leave { room: leaving, .. } if leaving == room);
        if !self.calls.values().any(|(call, _)| is_leaving(call)) {
            self.sync(now, room);
        }
    }

    fn apply(&mut self, now: Moment, room: &RoomId, version: u64, change: RoomChange) {
        match change {
            RoomChange::Join { member, replaced } => {
                let connection = member.connection();
                let is_new = if member.holder != self.me {
                    self.admit(now, room, &[connection], &[member]);
                    true
                } else if self.standing(room, &member) == Standing::Waiting {
                    self.complete(now, room, member);
                    true
                } else {
                    false
                };
                // It is gone already, unless the join is one that this node does not have any more. A
                // former membership of the same connection is, and must not take the new one with it.
                if let Some(replaced) = replaced.filter(|it| !is_new || *it != connection) {
                    self.replaced(now, room, replaced);
                }
            }
            RoomChange::Leave { connection, reason: LeaveReason::HungUp } => {
                self.hung_up(now, room, connection);
            }
            RoomChange::Leave { connection, reason } => {
                if !self.is_local(room, connection) {
                    self.take_out(now, room, &[(connection, reason)]);
                    self.settle_departed(now, room, connection);
                }
            }
            RoomChange::Move { connection, holder } => {
                self.moved(now, room, version, connection, holder);
            }
            RoomChange::Update { membership, metadata } => {
                let member = self
                    .replicas
                    .get_mut(room)
                    .and_then(|replica| replica.members.get_mut(&membership.connection));
                if let Some(member) = member
                    .filter(|member| member.membership == membership && member.holder != self.me)
                {
                    member.metadata = metadata;
                    let member = member.clone();
                    self.show_metadata(now, room, &member);
                }
            }
            RoomChange::Close => {
                self.replicas.remove(room);
                if let Some(applied) = self.host.rooms().close(room) {
                    self.host.deliver(&applied, now);
                }
            }
            RoomChange::Pin(media) => self.set_media(now, room, media),
            RoomChange::Snapshot(_) => {}
        }
    }

    /// Applies a hang-up of another node's peer: a pair session ends for both peers, any other room
    /// continues without it.
    fn hung_up(&mut self, now: Moment, room: &RoomId, connection: ConnectionId) {
        let is_local = self.is_local(room, connection);
        let Some(replica) = self.replicas.get_mut(room) else { return };
        if replica.spec.is_pair {
            self.replicas.remove(room);
        } else if is_local || !replica.members.contains_key(&connection) {
            return;
        }
        if let Ok(applied) =
            self.host.rooms().apply(now, connection, Command::HangUp { room: Some(room.clone()) })
        {
            if let Some(replica) = self.replicas.get_mut(room) {
                follow_departures(replica, &applied);
            }
            self.host.deliver(&applied, now);
        }
    }

    /// Notes that the session of a member is on another node.
    fn moved(
        &mut self,
        now: Moment,
        room: &RoomId,
        version: u64,
        connection: ConnectionId,
        holder: Incarnation,
    ) {
        let is_local = self.is_local(room, connection);
        let member =
            self.replicas.get_mut(room).and_then(|replica| replica.members.get_mut(&connection));
        // Which local members a node has, it decides alone.
        let Some(member) = member.filter(|_| !is_local) else { return };
        if holder == self.me && !self.moves.is_arriving(room, member.membership) {
            // It was given up; its leave is on the way.
            self.take_out(now, room, &[(connection, LeaveReason::Disconnected)]);
            return;
        }
        let former = std::mem::replace(&mut member.holder, holder);
        member.since = version;
        if let Some(replica) = self.replicas.get_mut(room) {
            replica.moved(connection, former, holder);
        }
        if holder == self.me {
            self.taken(room, connection);
        }
        self.settle_departed(now, room, connection);
        self.release_moved(now, room, connection);
    }

    fn replaced(&mut self, now: Moment, room: &RoomId, connection: ConnectionId) {
        let member = self.replicas.get(room).and_then(|replica| replica.members.get(&connection));
        let Some(membership) = member.map(|member| member.membership) else { return };
        if self.is_local(room, connection) {
            self.lose(now, room, membership, Refusal::Replaced);
        } else {
            self.take_out(now, room, &[(connection, LeaveReason::Replaced)]);
            self.settle_departed(now, room, connection);
        }
    }

    /// Changes the replica and the rooms of this node to a record of the room. Members of this node
    /// that are missing in it are removed for the given reason; without one they stay, and the room
    /// is synced again.
    pub(super) fn adopt(&mut self, now: Moment, record: &RoomRecord, why_lost: Option<Refusal>) {
        let room = record.room();
        let replica =
            self.replicas.remove(room).unwrap_or_else(|| Replica::new(record.spec.clone()));
        let mut diff = replica.diff(record, self.me, |member| self.standing(room, member));
        let replica = self.replicas.entry(room.clone()).or_insert(replica);
        replica.spec = record.spec.clone();
        (replica.serial, replica.version) = (record.serial, record.version);
        replica.is_synced = diff.lost.is_empty() || why_lost.is_some();
        replica.provisional.retain(|membership| diff.lost.contains(membership));
        let me = self.me;
        let mut shown = Vec::new();
        for member in &diff.changed {
            let is_local = self.moves.is_local(me, replica, member.connection());
            let Some(known) = replica.members.get_mut(&member.connection()) else { continue };
            known.since = member.since;
            if !is_local {
                let former = std::mem::replace(known, member.clone()).holder;
                replica.moved(member.connection(), former, member.holder);
                shown.push(member.clone());
            }
        }
        // A member that arrives may be new in the replica.
        diff.new.extend(
            diff.arrived
                .iter()
                .filter(|member| replica.member(member.membership).is_none())
                .cloned(),
        );
        for member in &diff.arrived {
            if let Some(known) = replica.members.get_mut(&member.connection()) {
                let former = std::mem::replace(known, member.clone()).holder;
                replica.moved(member.connection(), former, member.holder);
            }
        }
        if replica.media == Some(me) {
            let gone = diff.gone.iter().filter_map(|gone| replica.members.get(gone));
            let gone = gone.filter(|member| member.holder != me).map(|member| member.membership);
            replica.without_media.prune(now.instant);
            for membership in gone.collect::<Vec<_>>() {
                replica.without_media.insert(now.instant, membership, ());
            }
        }
        for member in &shown {
            self.show_metadata(now, room, member);
        }
        self.admit(now, room, &diff.gone, &diff.new);
        for connection in &diff.gone {
            self.settle_departed(now, room, *connection);
        }
        for connection in shown.iter().map(Member::connection) {
            if !self.is_held_here(room, connection) {
                self.settle_departed(now, room, connection);
            }
            self.release_moved(now, room, connection);
        }
        for connection in diff.arrived.iter().map(Member::connection) {
            self.taken(room, connection);
        }
        if let Some(why) = why_lost {
            diff.lost.into_iter().for_each(|membership| self.lose(now, room, membership, why));
        }
        for member in diff.completed {
            self.complete(now, room, member);
        }
        if !diff.new.is_empty() {
            // Their nodes may have learned only now that peers of this node are in the room.
            self.announce_away(now, room);
        }
        self.set_media(now, room, record.media);
    }

    /// Applies the answer to a sync.
    pub(super) fn synced(
        &mut self,
        now: Moment,
        sync: &Sync,
        record: Option<&RoomRecord>,
        out: &[(ConnectionId, Nonce, Refusal)],
    ) {
        let room = &sync.spec.room;
        let is_listed = |membership| {
            record.is_some_and(|record| {
                record.members.iter().any(|member| member.membership == membership)
            })
        };
        let members =
            self.replicas.get(room).into_iter().flat_map(|replica| replica.members.values());
        let gone = members.filter(|member| !is_listed(member.membership)).count();
        self.counters.repairs += u64::try_from(gone).unwrap_or(u64::MAX);
        for (connection, nonce, why) in out {
            let membership = Membership { connection: *connection, nonce: *nonce };
            if self.is_waiting(room, membership) {
                self.joins.remove(&(room.clone(), *connection));
                self.host.joined(room, *connection, Err(*why), now);
            } else if self
                .replicas
                .get(room)
                .is_some_and(|replica| replica.member(membership).is_some())
                && self.is_local(room, *connection)
            {
                self.lose(now, room, membership, *why);
            }
        }
        let spec = sync.spec.clone();
        let nothing = RoomRecord { spec, serial: 0, version: 0, members: Vec::new(), media: None };
        if record.is_some() || self.replicas.contains_key(room) {
            self.adopt(now, record.unwrap_or(&nothing), None);
        }
        let called = |connection| {
            let is_it = |call: &Call| matches!(call, Call::Leave { room: left, connection: c, .. } if left == room && *c == connection);
            self.calls.values().any(|(call, _)| is_it(call))
        };
        let answered: Vec<_> =
            self.leaves.iter().filter(|(left, c)| left == room && !called(*c)).cloned().collect();
        for leave in &answered {
            self.leaves.remove(leave);
        }
        self.drop_unused(now, room);
        self.apply_later_entries(now, room, record);
        self.announce_away(now, room);
        self.settle(now);
    }

    /// Returns what this node has of a member that a record says it holds.
    fn standing(&self, room: &RoomId, member: &Member) -> Standing {
        if self.moves.is_arriving(room, member.membership) {
            return Standing::Arriving;
        }
        if self.moves.has_departed(room, member.connection()) {
            return Standing::Departed;
        }
        if self
            .replicas
            .get(room)
            .is_some_and(|replica| replica.member(member.membership).is_some())
        {
            return Standing::Member;
        }
        if self.is_waiting(room, member.membership) { Standing::Waiting } else { Standing::Gone }
    }

    /// Answers a join: its member is in the log.
    fn complete(&mut self, now: Moment, room: &RoomId, member: Member) {
        self.joins.remove(&(room.clone(), member.connection()));
        let Some(replica) = self.replicas.get_mut(room) else { return };
        let applied = self.host.rooms().admit(now, &replica.spec, member.admitted());
        follow_departures(replica, &applied);
        let connection = member.connection();
        replica.members.insert(connection, member);
        debug_assert!(matches!(applied.answer, Answer::Joined(_)));
        self.host.joined(room, connection, Ok(applied), now);
    }

    /// Takes members out and lets members of other nodes in.
    fn admit(&mut self, now: Moment, room: &RoomId, gone: &[ConnectionId], new: &[Member]) {
        let Some(replica) = self.replicas.get_mut(room) else { return };
        let gone: Vec<_> =
            gone.iter().map(|connection| (*connection, LeaveReason::Disconnected)).collect();
        if gone.is_empty() && new.is_empty() {
            return;
        }
        let admitted = new.iter().map(Member::admitted).collect();
        let applied = self.host.rooms().adopt(now, &replica.spec, &gone, admitted);
        follow_departures(replica, &applied);
        remove_all(replica, &gone);
        for member in new {
            replica.members.insert(member.connection(), member.clone());
        }
        self.host.deliver(&applied, now);
        self.tell_without_media(now, room, new);
    }

    /// Returns whether the log says that this node holds a member.
    pub(super) fn is_held_here(&self, room: &RoomId, connection: ConnectionId) -> bool {
        let member = self.replicas.get(room).and_then(|replica| replica.members.get(&connection));
        member.is_some_and(|member| member.holder == self.me)
    }

    pub(super) fn take_out(
        &mut self,
        now: Moment,
        room: &RoomId,
        leaving: &[(ConnectionId, LeaveReason)],
    ) {
        let Some(replica) = self.replicas.get_mut(room) else { return };
        let applied = self.host.rooms().adopt(now, &replica.spec, leaving, Vec::new());
        follow_departures(replica, &applied);
        remove_all(replica, leaving);
        self.host.deliver(&applied, now);
    }

    /// Removes a member of this node that has no place in the room, and tells its client.
    fn lose(&mut self, now: Moment, room: &RoomId, membership: Membership, why: Refusal) {
        let reason = match why {
            Refusal::Replaced => LeaveReason::Replaced,
            Refusal::Closed | Refusal::Ended => LeaveReason::Closed,
            Refusal::Full { .. }
            | Refusal::NotFound
            | Refusal::NotForPairs
            | Refusal::NotMember => LeaveReason::Kicked,
        };
        self.take_out(now, room, &[(membership.connection, reason)]);
        self.host.removed(room, membership.connection, why);
    }

    /// Shows the local peers other metadata of a member.
    fn show_metadata(&mut self, now: Moment, room: &RoomId, member: &Member) {
        let patch = replacement(&member.metadata);
        let command = Command::Update { room: Some(room.clone()), patch };
        if let Ok(applied) = self.host.rooms().apply(now, member.connection(), command) {
            self.host.deliver(&applied, now);
        }
    }
}

/// Removes members from a replica. Their room may lack them already: an engine that has lost some
/// seconds may say that another node holds a member whose session is, or was, on this node, and ends.
fn remove_all(replica: &mut Replica, leaving: &[(ConnectionId, LeaveReason)]) {
    for (connection, _) in leaving {
        replica.remove(*connection);
    }
}
