//! The parts of a cluster, each by itself: messages, links, replicas, session moves, the list of
//! nodes.

mod expiring_map;
mod frame;
mod link;
mod lost_signals;
mod moving;
mod node_list;
mod replica;
mod scripts;

use parlor::cluster::{Incarnation, Member, Membership, Nonce, RoomRecord};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{Capacity, Metadata, RoomSpec};

fn room() -> RoomId {
    RoomId::new("room").unwrap()
}

fn spec() -> RoomSpec {
    let capacity = Capacity { peers: 6, is_chosen: false };
    RoomSpec {
        room: room(),
        created_at: std::time::SystemTime::UNIX_EPOCH,
        capacity,
        is_pair: false,
    }
}

fn membership(connection: u128, nonce: u64) -> Membership {
    Membership { connection: ConnectionId::from_u128(connection), nonce: Nonce(nonce) }
}

/// A member that a node has held since a version.
fn member(connection: u128, nonce: u64, holder: u64, since: u64) -> Member {
    Member {
        membership: membership(connection, nonce),
        holder: Incarnation(holder),
        since,
        joined_at: 1_700_000_000_000,
        is_paired: false,
        peer: PeerId::new(&format!("peer {connection}")).unwrap(),
        metadata: Metadata::new("\"name\":\"Ann\""),
    }
}

fn record(version: u64, members: &[Member]) -> RoomRecord {
    RoomRecord { spec: spec(), serial: 1, version, members: members.to_vec(), media: None }
}
