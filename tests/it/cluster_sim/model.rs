//! The engine's scripts as a model: the same effects, replies and publications, without an engine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use parlor::cluster::frame::{LogEntry, RoomChange};
use parlor::cluster::script::{Audit, Join, Listed, Sync};
use parlor::cluster::{
    Call, Incarnation, Member, Membership, Nonce, Refusal, RoomRecord, ScriptReply,
};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{LeaveReason, Metadata, RoomSpec};

/// How many rooms one `reap` empties.
const REAPED_ROOMS: usize = 64;

/// In how many rooms one `audit` looks for members of dead nodes.
const AUDITED_ROOMS: usize = 100;

/// How long a node without a subscriber to its inbox may be silent, in milliseconds.
const GONE: u64 = 3000;

/// The age from which on a join may have been overtaken by a later one, in milliseconds.
const WAITED: u64 = 250;

/// How many replaced members a room remembers.
const MAX_REPLACED: usize = 8;

/// The data of an engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) epoch: u64,
    serial: u64,
    /// The nodes with a lease, and the time of their last beat in milliseconds.
    pub(crate) alive: BTreeMap<Incarnation, u64>,
    generations: BTreeMap<Incarnation, u64>,
    pub(crate) rooms: BTreeMap<RoomId, RoomRecord>,
    /// Members of each room that were replaced by a member of another node.
    replaced: BTreeMap<RoomId, VecDeque<Membership>>,
    /// Rooms that ended, and the serial that they had.
    ended: BTreeMap<RoomId, u64>,
    /// Whether the last call has added a member to a room.
    was_added: bool,
}

/// A script that runs.
struct Run<'a> {
    data: &'a mut Model,
    me: Incarnation,
    published: Vec<(Incarnation, LogEntry)>,
}

/// The caller of a script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) me: Incarnation,
    pub(crate) generation: u64,
}

/// The inputs of a script beside the data of the engine.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The time in milliseconds.
    pub(crate) now: u64,
    pub(crate) lease: u64,
    /// The incarnations whose inboxes have a subscriber.
    pub(crate) subscribed: BTreeSet<Incarnation>,
}

impl Clock {
    /// Returns whether a node may be dead: its lease is over, or its process is gone.
    fn is_over(&self, node: Incarnation, beat: u64) -> bool {
        let age = self.now.saturating_sub(beat);
        age > self.lease || age > GONE && !self.subscribed.contains(&node)
    }
}

impl Model {
    /// Returns the data of an engine that was wiped.
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Checks the data after a call.
    pub(crate) fn check(&self, call: &Call, capacity: usize) {
        let Some(record) = call.room().and_then(|room| self.rooms.get(room)) else { return };
        let peers: BTreeSet<_> = record.members.iter().map(|member| &member.peer).collect();
        assert_eq!(peers.len(), record.members.len(), "a peer id twice after {call:?}");
        let connections: BTreeSet<_> = record.members.iter().map(Member::connection).collect();
        assert_eq!(connections.len(), record.members.len(), "a connection twice after {call:?}");
        let last = record.members.last().map(|member| member.membership);
        if let Call::Join(join) = call
            && last == Some(join.member.membership)
            && self.was_added
        {
            assert!(record.members.len() <= capacity, "{call:?} exceeds the capacity");
        }
    }

    /// Changes rooms without an entry in their logs: a room loses the metadata of a member, and
    /// another one gets a member of a node that does not live.
    pub(crate) fn change_silently(&mut self, adds_member: bool) {
        for record in self.rooms.values_mut() {
            if !adds_member {
                record.version += 1;
                record.members[0].metadata = Metadata::new(r#""was":"lost""#);
                continue;
            }
            let membership = Membership { connection: ConnectionId::from_u128(7), nonce: Nonce(7) };
            let holder = Incarnation(7);
            let peer = PeerId::new("ghost").unwrap();
            let ghost = Member { membership, holder, peer, ..record.members[0].clone() };
            record.members.push(ghost);
        }
    }

    /// Forgets a node, but not its members.
    pub(crate) fn forget(&mut self, node: Incarnation) {
        self.alive.remove(&node);
        self.generations.remove(&node);
    }

    /// Remembers that a member of another node was replaced.
    fn remember_replaced(&mut self, room: &RoomId, me: Incarnation, member: &Member) {
        if member.holder != me {
            let replaced = self.replaced.entry(room.clone()).or_default();
            replaced.push_back(member.membership);
            if replaced.len() > MAX_REPLACED {
                replaced.pop_front();
            }
        }
    }

    /// Returns whether the incarnation that a call was to remove is gone.
    pub(crate) fn is_removed(&self, call: &Call) -> bool {
        matches!(call, Call::Reap { dead } if !self.alive.contains_key(dead))
    }

    /// Runs a script. Returns its reply, and what it published to whose inbox.
    pub(crate) fn run(
        &mut self,
        clock: &Clock,
        caller: Caller,
        call: &Call,
    ) -> (ScriptReply, Vec<(Incarnation, LogEntry)>) {
        let Caller { me, generation } = caller;
        let now = clock.now;
        self.was_added = false;
        let mut run = Run { data: self, me, published: Vec::new() };
        let reply = match call {
            Call::Hello { known_epoch } => run.hello(now, generation, *known_epoch),
            _ if !run.data.alive.contains_key(&me) => ScriptReply::Fenced,
            _ if run.data.generations.get(&me) != Some(&generation) => ScriptReply::Stale,
            Call::Beat => run.beat(clock),
            Call::Join(join) => run.join(now, join),
            Call::Leave { room, connection, reason } => {
                run.leave(room, *connection, *reason);
                ScriptReply::Done
            }
            Call::Update { room, membership, metadata } => {
                run.update(room, |member| {
                    if member.membership == *membership {
                        member.metadata = metadata.clone();
                    }
                    (member.membership == *membership).then(|| RoomChange::Update {
                        membership: *membership,
                        metadata: metadata.clone(),
                    })
                });
                ScriptReply::Done
            }
            Call::Pin { room } => run.pin(room),
            Call::Unpin { room } => {
                if run.data.rooms.get(room).is_some_and(|record| record.media == Some(me)) {
                    run.set_media(room, None);
                }
                ScriptReply::Done
            }
            Call::Sync(sync) => run.sync(sync),
            Call::Reap { dead } => run.reap(clock, *dead),
            Call::Audit(audit) => run.audit(audit),
            Call::Move { room, membership, from } => run.take_over(room, *membership, *from),
        };
        (reply, run.published)
    }
}

/// The nodes with a member in a room, or with its media.
fn holders(record: Option<&RoomRecord>) -> BTreeSet<Incarnation> {
    record
        .into_iter()
        .flat_map(|record| record.members.iter().map(|member| member.holder).chain(record.media))
        .collect()
}

/// Returns whether a room takes no members over `/signal`, since its capacity was chosen.
fn is_refused_as_pair(member: &Member, spec: &RoomSpec) -> bool {
    member.is_paired && !spec.is_pair && spec.capacity.is_chosen
}

/// Returns whether a member is one that a join replaces: the same connection, or the same peer id.
fn is_replaced(member: &Member, join: &Join) -> bool {
    member.connection() == join.member.connection() || member.peer == join.member.peer
}

impl Run<'_> {
    fn hello(&mut self, now: u64, generation: u64, known_epoch: Option<u64>) -> ScriptReply {
        let recorded = self.data.generations.get(&self.me).copied().unwrap_or_default();
        if known_epoch == Some(self.data.epoch) && !self.data.alive.contains_key(&self.me) {
            return ScriptReply::Fenced;
        }
        if recorded > generation {
            return ScriptReply::Stale;
        }
        self.data.generations.insert(self.me, generation);
        self.data.alive.insert(self.me, now);
        ScriptReply::Welcome {
            epoch: self.data.epoch,
            living: self.data.alive.keys().copied().collect(),
        }
    }

    fn beat(&mut self, clock: &Clock) -> ScriptReply {
        self.data.alive.insert(self.me, clock.now);
        let expired = self.data.alive.iter().filter(|(node, beat)| clock.is_over(**node, **beat));
        let expired = expired.map(|(node, _)| *node).collect();
        ScriptReply::Alive { living: self.data.alive.keys().copied().collect(), expired }
    }

    fn join(&mut self, now: u64, join: &Join) -> ScriptReply {
        let room = &join.spec.room;
        let Some(record) = self.data.rooms.get(room) else {
            if !join.may_create {
                return ScriptReply::Denied(Refusal::NotFound);
            }
            if join.unless_ended && self.data.ended.contains_key(room) {
                return ScriptReply::Denied(Refusal::Ended);
            }
            if is_refused_as_pair(&join.member, &join.spec) {
                return ScriptReply::Denied(Refusal::NotForPairs);
            }
            self.create(join);
            return self.admit(join);
        };
        if record.members.iter().any(|member| member.membership == join.member.membership) {
            return ScriptReply::Done;
        }
        let joined_at = join.member.joined_at;
        let has_waited = now.saturating_sub(joined_at) > WAITED;
        if has_waited
            && record
                .members
                .iter()
                .find(|old| is_replaced(old, join))
                .is_some_and(|old| old.joined_at > joined_at)
        {
            return ScriptReply::Denied(Refusal::Replaced);
        }
        self.admit(join)
    }

    fn create(&mut self, join: &Join) {
        self.data.serial += 1;
        let record = RoomRecord {
            spec: join.spec.clone(),
            serial: self.data.serial,
            version: 0,
            members: Vec::new(),
            media: None,
        };
        self.data.rooms.insert(join.spec.room.clone(), record);
    }

    fn admit(&mut self, join: &Join) -> ScriptReply {
        let room = &join.spec.room;
        let record = self.data.rooms.get_mut(room).unwrap();
        if is_refused_as_pair(&join.member, &record.spec) {
            return ScriptReply::Denied(Refusal::NotForPairs);
        }
        let old = record.members.iter().position(|member| is_replaced(member, join));
        let capacity = record.capacity(join.member.is_paired);
        if record.members.len() - usize::from(old.is_some()) >= capacity {
            if join.member.is_paired {
                return ScriptReply::PairFull { capacity, nodes: holders(Some(record)) };
            }
            return ScriptReply::Denied(Refusal::Full { capacity });
        }
        let before = holders(Some(record));
        self.data.was_added = old.is_none();
        let replaced = old.map(|old| record.members.remove(old));
        if let Some(member) = &replaced {
            self.data.remember_replaced(room, self.me, member);
        }
        let replaced = replaced.map(|member| member.connection());
        let record = self.data.rooms.get_mut(room).unwrap();
        record.version += 1;
        let member = Member { since: record.version, ..join.member.clone() };
        record.members.push(member.clone());
        self.publish(room, &before, RoomChange::Join { member, replaced });
        if !before.contains(&self.me) {
            self.publish_snapshot(room, &BTreeSet::from([self.me]));
        }
        ScriptReply::Done
    }

    /// Compares replicas with the rooms, and removes members of nodes without a lease from some.
    fn audit(&mut self, Audit { rooms, position }: &Audit) -> ScriptReply {
        let is_same = |record: &RoomRecord, (serial, version)| {
            (record.serial, record.version) == (serial, version)
        };
        let differing = rooms.iter().filter(|audited| {
            let record = self.data.rooms.get(&audited.room);
            !record.is_some_and(|record| is_same(record, (audited.serial, audited.version)))
        });
        let differing = differing.map(|audited| audited.room.clone()).collect();
        let mut listed: Vec<_> = self
            .data
            .rooms
            .values()
            .map(|record| (record.spec.created_at, record.room().clone()))
            .collect();
        listed.sort();
        let position = usize::try_from(*position).unwrap();
        let page: Vec<_> = listed.into_iter().skip(position).take(AUDITED_ROOMS).collect();
        let next = if page.len() < AUDITED_ROOMS { 0 } else { position + AUDITED_ROOMS };
        let mut removed = 0;
        for (_, room) in page {
            let mut gone = BTreeSet::new();
            for member in self.data.rooms[&room].members.clone() {
                let is_dead = !self.data.alive.contains_key(&member.holder);
                if is_dead && gone.insert(member.connection()) {
                    self.remove(&room, member.connection(), LeaveReason::Disconnected);
                    removed += 1;
                }
            }
            let media = self.data.rooms.get(&room).and_then(|record| record.media);
            if media.is_some_and(|media| !self.data.alive.contains_key(&media)) {
                self.set_media(&room, None);
                removed += 1;
            }
        }
        ScriptReply::Audited { differing, next: next as u64, removed }
    }

    /// Takes a member over from another node.
    fn take_over(
        &mut self,
        room: &RoomId,
        membership: Membership,
        from: Incarnation,
    ) -> ScriptReply {
        let record = self.data.rooms.get_mut(room);
        let before = holders(record.as_deref());
        let Some(record) = record else { return ScriptReply::Denied(Refusal::NotMember) };
        let version = record.version + 1;
        let member = record
            .members
            .iter_mut()
            .find(|member| member.membership == membership && member.holder == from);
        let Some(member) = member else { return ScriptReply::Denied(Refusal::NotMember) };
        (member.holder, member.since) = (self.me, version);
        record.version = version;
        self.publish(
            room,
            &before,
            RoomChange::Move { connection: membership.connection, holder: self.me },
        );
        if !before.contains(&self.me) {
            self.publish_snapshot(room, &BTreeSet::from([self.me]));
        }
        ScriptReply::Done
    }

    fn pin(&mut self, room: &RoomId) -> ScriptReply {
        let Some(record) =
            self.data.rooms.get(room).filter(|record| holders(Some(record)).contains(&self.me))
        else {
            return ScriptReply::Denied(Refusal::NotMember);
        };
        if record.media.is_none_or(|media| !self.data.alive.contains_key(&media)) {
            self.set_media(room, Some(self.me));
        }
        ScriptReply::Done
    }

    /// Changes the node with the media of a room.
    fn set_media(&mut self, room: &RoomId, media: Option<Incarnation>) {
        let record = self.data.rooms.get_mut(room).unwrap();
        let before = holders(Some(record));
        record.media = media;
        record.version += 1;
        self.publish(room, &before, RoomChange::Pin(media));
    }

    fn leave(&mut self, room: &RoomId, connection: ConnectionId, reason: LeaveReason) {
        let Some(record) = self.data.rooms.get_mut(room) else { return };
        if record.member(connection).is_some_and(|member| member.holder == self.me) {
            self.remove(room, connection, reason);
        }
    }

    fn remove(&mut self, room: &RoomId, connection: ConnectionId, reason: LeaveReason) {
        let record = self.data.rooms.get_mut(room).unwrap();
        let before = holders(Some(record));
        // A peer that hangs up ends a pair session for both.
        let ends_all = record.spec.is_pair && reason == LeaveReason::HungUp;
        record.members.retain(|member| member.connection() != connection && !ends_all);
        record.version += 1;
        self.publish(room, &before, RoomChange::Leave { connection, reason });
        self.delete_if_empty(room);
    }

    fn delete_if_empty(&mut self, room: &RoomId) {
        if self.data.rooms.get(room).is_some_and(|record| record.members.is_empty()) {
            let record = self.data.rooms.remove(room).unwrap();
            self.data.replaced.remove(room);
            if record.spec.is_pair {
                self.data.ended.insert(room.clone(), record.serial);
            }
        }
    }

    /// Changes members of the calling node.
    fn update(&mut self, room: &RoomId, mut change: impl FnMut(&mut Member) -> Option<RoomChange>) {
        let Some(record) = self.data.rooms.get_mut(room) else { return };
        let before = holders(Some(record));
        let own = record.members.iter_mut().filter(|member| member.holder == self.me);
        let changes: Vec<RoomChange> = own.filter_map(&mut change).collect();
        for change in changes {
            self.data.rooms.get_mut(room).unwrap().version += 1;
            self.publish(room, &before, change);
        }
    }

    fn reap(&mut self, clock: &Clock, dead: Incarnation) -> ScriptReply {
        let Some(beat) = self.data.alive.get(&dead) else {
            return ScriptReply::Reaped { is_over: true };
        };
        if !clock.is_over(dead, *beat) {
            return ScriptReply::Reaped { is_over: true };
        }
        let rooms = self
            .data
            .rooms
            .iter()
            .filter(|(_, record)| holders(Some(record)).contains(&dead))
            .map(|(room, _)| room.clone());
        let rooms: Vec<RoomId> = rooms.take(REAPED_ROOMS + 1).collect();
        for room in rooms.iter().take(REAPED_ROOMS) {
            let members = &self.data.rooms[room].members;
            let own = members.iter().filter(|member| member.holder == dead).map(Member::connection);
            let mut gone = BTreeSet::new();
            let own: Vec<_> = own.filter(|connection| gone.insert(*connection)).collect();
            for connection in own {
                self.remove(room, connection, LeaveReason::Disconnected);
            }
            if self.data.rooms.get(room).is_some_and(|record| record.media == Some(dead)) {
                self.set_media(room, None);
            }
        }
        let is_over = rooms.len() <= REAPED_ROOMS;
        if is_over {
            self.data.alive.remove(&dead);
            self.data.generations.remove(&dead);
        }
        ScriptReply::Reaped { is_over }
    }

    fn sync(&mut self, sync: &Sync) -> ScriptReply {
        let room = &sync.spec.room;
        let before = holders(self.data.rooms.get(room));
        let is_over =
            sync.serial > 0 && self.data.ended.get(room).is_some_and(|ended| *ended >= sync.serial);
        let mut out: Vec<(ConnectionId, Nonce, Refusal)> = Vec::new();
        let refuse = |listed: &Listed, why| {
            (listed.member.connection(), listed.member.membership.nonce, why)
        };
        let mut record = self.data.rooms.remove(room);
        let (mut has_changed, is_new) = (false, record.is_none());
        if let Some(record) = &mut record {
            let count = record.members.len();
            let is_listed = |member: &Member| {
                sync.members.iter().any(|l| l.member.membership == member.membership)
            };
            record.members.retain(|member| member.holder != self.me || is_listed(member));
            has_changed = record.members.len() != count;
        }
        for listed in sync.members.iter().filter(|listed| !listed.is_arriving) {
            if listed.is_admitted && is_over {
                out.push(refuse(listed, Refusal::Closed));
                continue;
            }
            if record.is_none() && !listed.is_admitted && !sync.may_create {
                out.push(refuse(listed, Refusal::NotFound));
                continue;
            }
            let record = record.get_or_insert_with(|| {
                has_changed = true;
                let spec = sync.spec.clone();
                RoomRecord {
                    spec,
                    serial: sync.serial,
                    version: sync.version,
                    members: Vec::new(),
                    media: None,
                }
            });
            match self.put_back(record, listed) {
                Ok(changed) => has_changed |= changed,
                Err(why) => out.push(refuse(listed, why)),
            }
        }
        if let Some(record) = &mut record {
            let media = self.media_after(record, sync, is_new);
            has_changed |= media != record.media;
            record.media = media;
            let serial = record.serial.max(sync.serial);
            has_changed |=
                serial != record.serial || record.serial == 0 || record.version < sync.version;
            record.serial = if serial == 0 { self.data.serial + 1 } else { serial };
            self.data.serial = self.data.serial.max(record.serial);
            if has_changed {
                record.version = record.version.max(sync.version) + 1;
                let version = record.version;
                record
                    .members
                    .iter_mut()
                    .filter(|member| member.since == u64::MAX)
                    .for_each(|new| new.since = version);
            }
            if record.members.is_empty() {
                record.media = None;
            }
            self.data.rooms.insert(room.clone(), record.clone());
        }
        if has_changed && let Some(record) = self.data.rooms.get(room) {
            let mut nodes = holders(Some(record));
            nodes.extend(before);
            nodes.remove(&self.me);
            self.publish_snapshot(room, &nodes);
        }
        self.delete_if_empty(room);
        ScriptReply::Synced { record: self.data.rooms.get(room).cloned(), out }
    }

    /// Returns the node with the media of a room after a sync.
    fn media_after(&self, record: &RoomRecord, sync: &Sync, is_new: bool) -> Option<Incarnation> {
        let me = Some(self.me);
        if is_new || (sync.serial, sync.version) > (record.serial, record.version) {
            return sync.media;
        }
        let is_free = record.media.is_none_or(|media| !self.data.alive.contains_key(&media));
        match record.media {
            media if media == me && sync.media != me => None,
            _ if sync.media == me && is_free => me,
            media => media,
        }
    }

    /// Puts a member of the calling node into a record. Returns whether that changed it.
    fn put_back(&mut self, record: &mut RoomRecord, listed: &Listed) -> Result<bool, Refusal> {
        let Listed { member, is_admitted, .. } = listed;
        if let Some(known) =
            record.members.iter_mut().find(|known| known.membership == member.membership)
        {
            if known.holder != self.me && known.since > member.since {
                return Err(Refusal::Replaced);
            }
            let since = known.since.max(member.since);
            let has_changed = (known.holder, &known.metadata) != (member.holder, &member.metadata);
            *known = Member { since, ..member.clone() };
            return Ok(has_changed);
        }
        let replaced = self.data.replaced.get(record.room());
        if replaced.is_some_and(|replaced| replaced.contains(&member.membership)) {
            return Err(Refusal::Replaced);
        }
        let is_same = |other: &&Member| {
            other.peer == member.peer || other.connection() == member.connection()
        };
        if let Some(other) = record.members.iter().find(is_same) {
            if other.joined_at > member.joined_at {
                return Err(Refusal::Replaced);
            }
        } else if !is_admitted {
            let capacity = record.capacity(member.is_paired);
            if record.members.len() >= capacity {
                return Err(Refusal::Full { capacity });
            }
        }
        let room = record.room().clone();
        for other in record.members.extract_if(.., |other| is_same(&&*other)) {
            self.data.remember_replaced(&room, self.me, &other);
        }
        // A new member gets the version that this change results in.
        let since = if *is_admitted { member.since } else { u64::MAX };
        record.members.push(Member { since, ..member.clone() });
        Ok(true)
    }

    fn publish(&mut self, room: &RoomId, to: &BTreeSet<Incarnation>, change: RoomChange) {
        let RoomRecord { serial, version, .. } = self.data.rooms[room];
        let entry = LogEntry { room: room.clone(), serial, version, change };
        self.published.extend(to.iter().map(|node| (*node, entry.clone())));
    }

    fn publish_snapshot(&mut self, room: &RoomId, to: &BTreeSet<Incarnation>) {
        let record = self.data.rooms[room].clone();
        self.publish(room, to, RoomChange::Snapshot(record));
    }
}
