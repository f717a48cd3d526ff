//! The scripts on a real engine, compared with their model after each of many random calls.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use parlor::cluster::frame::{InboxMessage, LogEntry, decode};
use parlor::cluster::redis::{EngineTarget, NodeIdentity, Scripts};
use parlor::cluster::script::{Audit, AuditedRoom, Join, Listed, Refusal, Sync};
use parlor::cluster::{Call, Incarnation, Member, Membership, Nonce, ScriptReply};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{Capacity, LeaveReason, Metadata, RoomSpec};

use crate::cluster_sim::model::{Caller, Clock, Model};
use crate::cluster_sim::random::Random;
use crate::support::redis::Redis;
use crate::support::server::LIMIT;

const NODES: u64 = 3;
const PREFIX: &str = "test";
const LEASE: u64 = 10_000;
const EPOCH: u64 = 7;
/// The time of the model: the engine's own does not matter to it.
const NOW: u64 = 1_000_000;

struct Test {
    random: Random,
    model: Model,
    generations: BTreeMap<Incarnation, u64>,
}

impl Test {
    fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    fn room(&mut self) -> RoomId {
        RoomId::new(&format!("room {}", self.below(3))).unwrap()
    }

    fn connection(&mut self) -> ConnectionId {
        ConnectionId::from_u128(u128::from(self.below(8)))
    }

    fn spec(&mut self, room: &RoomId) -> RoomSpec {
        let capacity = Capacity { peers: 3, is_chosen: self.below(3) == 0 };
        let created_at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        RoomSpec { room: room.clone(), created_at, capacity, is_pair: self.below(4) == 0 }
    }

    fn member(&mut self, me: Incarnation) -> Member {
        Member {
            membership: Membership { connection: self.connection(), nonce: Nonce(self.below(3)) },
            holder: me,
            since: self.below(6),
            joined_at: self.below(4),
            is_paired: self.below(4) == 0,
            peer: PeerId::new(&format!("peer {}", self.below(5))).unwrap(),
            metadata: Metadata::new(&format!("\"n\":{}", self.below(3))),
        }
    }

    /// A member of a room that a node has, if there is one.
    fn own(&mut self, room: &RoomId, me: Incarnation) -> Option<Member> {
        let members =
            self.model.rooms.get(room)?.members.iter().filter(|member| member.holder == me);
        let members: Vec<Member> = members.cloned().collect();
        let index = usize::try_from(self.below(members.len().max(1) as u64)).unwrap();
        members.get(index).cloned()
    }

    fn call(&mut self, me: Incarnation) -> Call {
        let room = self.room();
        match self.below(25) {
            0..8 => {
                let (spec, member) = (self.spec(&room), self.member(me));
                let member = Member { since: 0, ..member };
                let spec = RoomSpec { is_pair: member.is_paired, ..spec };
                Call::Join(Join {
                    spec,
                    may_create: self.below(8) > 0,
                    unless_ended: self.below(3) == 0,
                    member,
                })
            }
            8..11 => {
                let connection =
                    self.own(&room, me).map_or(self.connection(), |member| member.connection());
                let reason = [LeaveReason::Left, LeaveReason::HungUp, LeaveReason::TimedOut]
                    [self.random.index(3)];
                Call::Leave { room, connection, reason }
            }
            11..13 => {
                let member = self.own(&room, me).unwrap_or_else(|| self.member(me));
                let metadata = Metadata::new(&format!("\"n\":{}", self.below(9)));
                Call::Update { room, membership: member.membership, metadata }
            }
            13..18 => {
                let mut members = Vec::new();
                for _ in 0..self.below(3) {
                    let member = self.own(&room, me).unwrap_or_else(|| self.member(me));
                    if !members
                        .iter()
                        .any(|listed: &Listed| listed.member.connection() == member.connection())
                    {
                        let (is_admitted, is_arriving) = (self.below(3) > 0, self.below(6) == 0);
                        members.push(Listed { member, is_admitted, is_arriving });
                    }
                }
                let known = self
                    .model
                    .rooms
                    .get(&room)
                    .map_or((0, 0), |record| (record.serial, record.version));
                let (serial, version) =
                    if self.below(3) > 0 { known } else { (self.below(4), self.below(20)) };
                let may_create = self.below(8) > 0;
                let media = [None, Some(me), Some(Incarnation(self.below(NODES) + 1))];
                let media = media[self.random.index(3)];
                let spec = self.spec(&room);
                Call::Sync(Sync { spec, may_create, serial, version, members, media })
            }
            18 if self.below(4) == 0 => Call::Beat,
            18 => {
                let from = Incarnation(self.below(NODES) + 1);
                let member = self.own(&room, from).unwrap_or_else(|| self.member(from));
                Call::Move { room, membership: member.membership, from }
            }
            19..21 => {
                let mut rooms = Vec::new();
                for room in 0..self.below(4) {
                    let room = RoomId::new(&format!("room {room}")).unwrap();
                    let known = self.model.rooms.get(&room);
                    let (serial, version) =
                        known.map_or((1, 1), |record| (record.serial, record.version));
                    let version = version + u64::from(self.below(3) == 0);
                    rooms.push(AuditedRoom { room, serial, version });
                }
                Call::Audit(Audit { rooms, position: self.below(2) })
            }
            21..23 => Call::Pin { room },
            23 => Call::Unpin { room },
            _ => Call::Reap { dead: Incarnation(self.below(NODES) + 1) },
        }
    }
}

/// Lists of nodes have no order.
fn sorted(reply: ScriptReply) -> ScriptReply {
    let sort = |mut nodes: Vec<Incarnation>| {
        nodes.sort_unstable();
        nodes
    };
    match reply {
        ScriptReply::Alive { living, expired } => {
            ScriptReply::Alive { living: sort(living), expired: sort(expired) }
        }
        ScriptReply::Welcome { epoch, living } => {
            ScriptReply::Welcome { epoch, living: sort(living) }
        }
        reply => reply,
    }
}

fn inbox(node: Incarnation) -> String {
    format!("{PREFIX}:1:i:{node}")
}

/// Connects all nodes to the engine.
async fn connect_nodes(engine: &Redis) -> BTreeMap<Incarnation, Scripts> {
    let lease = std::time::Duration::from_millis(LEASE);
    let text = |text: &str| text.to_owned();
    let mut scripts = BTreeMap::new();
    for node in 1..=NODES {
        let (name, address, engines) =
            (format!("node-{node}"), text("http://127.0.0.1:1"), text("one"));
        let identity = NodeIdentity { prefix: text(PREFIX), name, address, engines, lease };
        let target = EngineTarget::new(&engine.url(), None).unwrap();
        scripts.insert(Incarnation(node), Scripts::open(identity, target).await.unwrap());
    }
    scripts
}

#[tokio::test]
async fn scripts_do_what_their_model_does() {
    const MARK: &str = "mark";
    let engine = Redis::start();
    let mut scripts = connect_nodes(&engine).await;
    let mut publisher = engine.connection().await;
    let client = redis::Client::open(engine.url()).unwrap();
    let mut inboxes = client.get_async_pubsub().await.unwrap();
    inboxes.subscribe(MARK).await.unwrap();
    for node in scripts.keys() {
        inboxes.subscribe(inbox(*node)).await.unwrap();
    }
    let mut messages = inboxes.into_on_message();
    let clock = Clock { now: NOW, lease: LEASE, subscribed: scripts.keys().copied().collect() };
    let mut run =
        Test { random: Random(1), model: Model::new(EPOCH), generations: BTreeMap::new() };
    let mut removed_by_audits = 0;
    for step in 0..4_000 {
        let me = Incarnation(run.below(NODES) + 1);
        let mut generation = run.generations.get(&me).copied().unwrap_or_default();
        let call = match run.below(40) {
            0 => {
                generation += run.below(2);
                Call::Hello { known_epoch: (run.below(2) == 0).then_some(EPOCH) }
            }
            2 if run.below(4) == 0 => {
                // It is forgotten, but not its members.
                run.model.forget(me);
                for (command, key) in [("ZREM", "alive"), ("HDEL", "generations")] {
                    let mut forget = redis::cmd(command);
                    forget.arg(format!("{PREFIX}:1:{key}")).arg(&me.0.to_be_bytes()[..]);
                    forget.exec_async(&mut publisher).await.unwrap();
                }
                continue;
            }
            1 if run.model.alive.contains_key(&me) => {
                // It falls silent.
                run.model.alive.insert(me, 0);
                let node = &me.0.to_be_bytes()[..];
                let () = redis::cmd("ZADD")
                    .arg(format!("{PREFIX}:1:alive"))
                    .arg(0)
                    .arg(node)
                    .query_async(&mut publisher)
                    .await
                    .unwrap();
                continue;
            }
            _ => run.call(me),
        };
        let scripts = scripts.get_mut(&me).unwrap();
        let (expected, entries) = run.model.run(&clock, Caller { me, generation }, &call);
        let reply = scripts
            .run(me, generation, &call, EPOCH)
            .await
            .unwrap_or_else(|error| panic!("{call:?}: {error}"));
        assert_eq!(
            sorted(reply),
            sorted(expected.clone()),
            "step {step}: {me} {generation} {call:?}"
        );
        if let ScriptReply::Audited { removed, .. } = &expected {
            removed_by_audits += removed;
        }
        if matches!(expected, ScriptReply::Welcome { .. }) {
            run.generations.insert(me, generation);
        } else if expected == ScriptReply::Fenced {
            run.generations.remove(&me);
        }
        // Entries of one room are in order; a dead node's rooms are emptied in any.
        let mut expected: BTreeMap<(String, RoomId), Vec<LogEntry>> = BTreeMap::new();
        for (node, entry) in entries {
            expected.entry((inbox(node), entry.room.clone())).or_default().push(entry);
        }
        let () = redis::cmd("PUBLISH").arg(MARK).arg("").query_async(&mut publisher).await.unwrap();
        let mut received: BTreeMap<(String, RoomId), Vec<LogEntry>> = BTreeMap::new();
        loop {
            let message = tokio::time::timeout(LIMIT, messages.next())
                .await
                .expect("a mark arrives")
                .unwrap();
            if message.get_channel_name() == MARK {
                break;
            }
            let Ok(Some(InboxMessage::Entry(entry))) = decode(message.get_payload_bytes()) else {
                panic!("{message:?}")
            };
            let key = (message.get_channel_name().to_owned(), entry.room.clone());
            received.entry(key).or_default().push(entry);
        }
        assert_eq!(received, expected, "step {step}: {me} {call:?}");
        let names: Vec<RoomId> = run.model.rooms.keys().cloned().collect();
        let rooms = scripts.rooms(&names).await.unwrap();
        assert_eq!(
            rooms,
            run.model.rooms.values().cloned().collect::<Vec<_>>(),
            "step {step}: {me} {call:?}"
        );
    }
    assert!(removed_by_audits > 0, "audits have found members of nodes without a lease");
}

/// Nodes that call scripts on a real engine.
struct Callers(BTreeMap<Incarnation, Scripts>);

impl Callers {
    const GENERATION: u64 = 1;

    async fn of(engine: &Redis) -> Self {
        let mut callers = Self(connect_nodes(engine).await);
        for node in 1..=NODES {
            callers.call(node, &Call::Hello { known_epoch: None }).await;
        }
        callers
    }

    async fn call(&mut self, node: u64, call: &Call) -> ScriptReply {
        let node = Incarnation(node);
        let scripts = self.0.get_mut(&node).unwrap();
        scripts.run(node, Self::GENERATION, call, EPOCH).await.unwrap()
    }

    async fn join(&mut self, room: &RoomId, member: &Member) -> ScriptReply {
        let (spec, member) = (spec_of(room), member.clone());
        let join = Join { spec, may_create: true, unless_ended: false, member };
        self.call(join.member.holder.0, &Call::Join(join)).await
    }
}

fn spec_of(room: &RoomId) -> RoomSpec {
    let capacity = Capacity { peers: 3, is_chosen: false };
    RoomSpec { room: room.clone(), created_at: std::time::UNIX_EPOCH, capacity, is_pair: false }
}

/// A member of a node, which has one connection.
fn member_of(node: u64, peer: &str, joined_at: u64) -> Member {
    let connection = ConnectionId::from_u128(u128::from(node));
    Member {
        membership: Membership { connection, nonce: Nonce(node) },
        holder: Incarnation(node),
        since: 0,
        joined_at,
        is_paired: false,
        peer: PeerId::new(peer).unwrap(),
        metadata: Metadata::default(),
    }
}

/// Two joins of one user, of a tab that was reloaded, reach the engine in the wrong order.
#[tokio::test]
async fn join_that_has_waited_does_not_replace_a_later_one() {
    let engine = Redis::start();
    let mut nodes = Callers::of(&engine).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    // The rooms, the times of the first and of the second join, and whether the second one replaces
    // the first.
    let cases = [
        ("waited", now - 4_000, now - 5_000, false),
        ("later", now - 5_000, now - 4_000, true),
        ("clocks differ", now + 500, now + 400, true),
    ];
    for (room, first, second, replaces) in cases {
        let room = RoomId::new(room).unwrap();
        assert_eq!(nodes.join(&room, &member_of(1, "ann", first)).await, ScriptReply::Done);
        let expected =
            if replaces { ScriptReply::Done } else { ScriptReply::Denied(Refusal::Replaced) };
        assert_eq!(nodes.join(&room, &member_of(2, "ann", second)).await, expected, "{room}");
    }
}

/// A node that was cut off has missed that its member was replaced, and that the later session of the
/// user has left again.
#[tokio::test]
async fn replaced_member_is_not_put_back() {
    let engine = Redis::start();
    let mut nodes = Callers::of(&engine).await;
    let room = RoomId::new("room").unwrap();
    let (former, later) = (member_of(1, "ann", 1), member_of(2, "ann", 2));
    for member in [&former, &later, &member_of(3, "bob", 3)] {
        assert_eq!(nodes.join(&room, member).await, ScriptReply::Done);
    }
    let leave = Call::Leave {
        room: room.clone(),
        connection: later.connection(),
        reason: LeaveReason::Left,
    };
    assert_eq!(nodes.call(2, &leave).await, ScriptReply::Done);
    let membership = former.membership;
    let sync = Sync {
        spec: spec_of(&room),
        may_create: true,
        serial: 1,
        version: 1,
        members: vec![Listed { member: former, is_admitted: true, is_arriving: false }],
        media: None,
    };
    let ScriptReply::Synced { record, out } = nodes.call(1, &Call::Sync(sync)).await else {
        panic!("no answer to the sync");
    };
    assert_eq!(out, [(membership.connection, membership.nonce, Refusal::Replaced)]);
    let peers: Vec<_> = record.unwrap().members.into_iter().map(|member| member.peer).collect();
    assert_eq!(peers, [PeerId::new("bob").unwrap()]);
}
