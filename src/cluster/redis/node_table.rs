//! The living nodes with their names, addresses and loads, as an engine lists them.

use redis::Value;

use super::codec::{BadReply, Parts, array};
use crate::cluster::record::Incarnation;

/// The load of a node, which it sends to the engine with each beat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// Peers in rooms whose sessions it has.
    pub participants: u64,
    /// Connections.
    pub connections: u64,
    /// Whether it shuts down.
    pub is_draining: bool,
}

impl NodeLoad {
    /// Writes the load as the engine keeps it.
    pub(super) fn encode(self) -> Vec<u8> {
        let Self { participants, connections, is_draining } = self;
        [&participants.to_be_bytes()[..], &connections.to_be_bytes(), &[u8::from(is_draining)]]
            .concat()
    }

    /// Reads a load. A node that has not sent any has none.
    fn decode(bytes: &[u8]) -> Self {
        let Some((participants, rest)) = bytes.split_first_chunk() else { return Self::default() };
        let Some((connections, rest)) = rest.split_first_chunk() else { return Self::default() };
        let (participants, connections) =
            (u64::from_be_bytes(*participants), u64::from_be_bytes(*connections));
        Self { participants, connections, is_draining: rest == [1] }
    }
}

/// A living node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedNode {
    /// The incarnation on this engine.
    pub incarnation: Incarnation,
    /// The name, `CLUSTER_NODE`.
    pub name: String,
    /// URL of its port for other nodes, such as `http://10.0.0.7:4000`.
    pub address: String,
    /// The load.
    pub load: NodeLoad,
}

/// The living nodes of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTable {
    /// Number of rooms on the engine.
    pub rooms: u64,
    /// The key with which nodes sign requests that they forward to each other.
    pub secret: [u8; SECRET_BYTES],
    /// The nodes.
    pub nodes: Vec<ListedNode>,
}

/// Length of the key, in bytes.
pub(super) const SECRET_BYTES: usize = 32;

/// Reads the list of nodes.
pub(super) fn decode_nodes(reply: Value) -> Result<NodeTable, BadReply> {
    let (name, mut parts) = Parts::of(reply)?;
    if name != "nodes" {
        return Err(BadReply::Malformed);
    }
    let (rooms, secret) = (parts.number()?, array(&parts.bytes()?)?);
    let nodes = parts.list()?.into_iter().map(|node| {
        let Value::Array(node) = node else { return Err(BadReply::Malformed) };
        let mut node = Parts::from(node);
        let incarnation = Incarnation(u64::from_be_bytes(array(&node.bytes()?)?));
        let (name, address, load) = (node.text()?, node.text()?, NodeLoad::decode(&node.bytes()?));
        Ok(ListedNode { incarnation, name, address, load })
    });
    Ok(NodeTable { rooms, secret, nodes: nodes.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_round_trips_and_a_short_one_is_none() {
        let load = NodeLoad { participants: 7, connections: u64::MAX, is_draining: true };
        let written = load.encode();
        assert_eq!(NodeLoad::decode(&written), load);
        assert_eq!(NodeLoad::decode(&written[..12]), NodeLoad::default());
    }
}
