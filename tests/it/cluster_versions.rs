//! Nodes of two versions side by side, of which the later sends what the other does not know.

use bytes::Bytes;
use parlor::cluster::Incarnation;
use parlor::cluster::frame::{Body, LinkFrame, encode_frame};
use parlor::id::{ConnectionId, RoomId};

use crate::cluster_nodes::{member, node};
use crate::support::redis::Redis;

/// A node of a later version, which has a link to each other node.
struct LaterNode {
    engine: redis::aio::MultiplexedConnection,
    inboxes: Vec<String>,
    sent: u64,
}

impl LaterNode {
    async fn start(redis: &Redis) -> Self {
        let mut engine = redis.connection().await;
        let mut command = redis::cmd("PUBSUB");
        command.arg("CHANNELS").arg("parlor:1:i:*");
        let inboxes = command.query_async(&mut engine).await.unwrap();
        Self { engine, inboxes, sent: 0 }
    }

    /// Returns the next frame, before it is changed.
    fn frame(&mut self, body: Body) -> Vec<u8> {
        self.sent += 1;
        encode_frame(&LinkFrame { from: Incarnation(1), number: self.sent, processed: 0, body })
            .to_vec()
    }

    /// Sends a message to all nodes.
    async fn send(&mut self, message: Vec<u8>) {
        for inbox in &self.inboxes {
            let mut command = redis::cmd("PUBLISH");
            command.arg(inbox).arg(&message);
            command.exec_async(&mut self.engine).await.unwrap();
        }
    }
}

#[tokio::test]
async fn messages_of_a_later_version_stop_no_link() {
    let redis = Redis::start();
    let server = node(&redis, "one", &[]);
    let ann = member(&server, "r", "ann").await;
    let mut ben = member(&server, "r", "ben").await;
    let mut later = LaterNode::start(&redis).await;
    assert_eq!(later.inboxes.len(), 1);
    let room = RoomId::new("r").unwrap();
    let connection = ConnectionId::parse(&ann.id).unwrap();
    // An unknown kind of frame, an unknown kind of log entry, and another form of messages.
    let claim = Body::Claim { connection, request: Bytes::from_static(b"unknown") };
    let mut unknown = later.frame(claim);
    unknown[1] = b'z';
    later.send(unknown).await;
    for (position, byte) in [(1, b'Z'), (0, b'2')] {
        let mut unknown = later.frame(Body::Withdrawn);
        later.sent -= 1;
        unknown[position] = byte;
        later.send(unknown).await;
    }
    // A known kind with a field that is unknown.
    let mut known = later.frame(Body::Kick { room, connection, id: 1 });
    known.extend([250, 2, 1, 2]);
    later.send(known).await;
    let left = ben.next_event("user-left").await;
    assert_eq!(left[0]["userId"], "ann", "{left:?}");
    for client in [ann, ben] {
        client.close().await;
    }
    server.finish().await;
}
