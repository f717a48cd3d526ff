//! A panic in the handling of a message ends one connection and nothing else.
//!
//! The panic is injected by the log: the server logs in the middle of the handling, after the room
//! has changed and before any peer is notified.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parlor::dialect::{Dialect, Frame, Names};
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{Command, LeaveReason, Metadata, RoomKind};
use parlor::session::Moment;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::TestServer;
use crate::support::outbox::{Nowhere, session};
use crate::support::protocol_peer::{PROTOCOLS, Peer, Protocol, Received, message, open};
use crate::support::scrape::Scrape;

/// Panics once, when a message is logged.
struct PanicLayer {
    at: &'static str,
    is_armed: Arc<AtomicBool>,
}

struct Is<'a>(&'a str, bool);

impl Visit for Is<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.1 |= field.name() == "message" && format!("{value:?}") == self.0;
    }
}

impl<S: Subscriber> Layer<S> for PanicLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut is = Is(self.at, false);
        event.record(&mut is);
        assert!(!(is.1 && self.is_armed.swap(false, Ordering::SeqCst)), "deliberate panic");
    }
}

/// Installs a panicking subscriber on this thread, on which the server runs, too.
fn panic_when_logged(at: &'static str) -> (Arc<AtomicBool>, DefaultGuard) {
    let is_armed = Arc::new(AtomicBool::new(false));
    let layer = PanicLayer { at, is_armed: Arc::clone(&is_armed) };
    (is_armed, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
}

#[tokio::test]
async fn panic_in_a_join_ends_the_connection_and_leaves_no_ghost() {
    for protocol in PROTOCOLS {
        let (is_armed, _guard) = panic_when_logged("joined");
        let server = TestServer::start();
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        let (path, join) = Peer::joining(protocol, "r", "bob");
        is_armed.store(true, Ordering::SeqCst);
        let mut socket = open(&server, &path).await;
        if protocol == Protocol::SocketIo {
            message(&mut socket).await.unwrap();
        }
        Peer::send_all(&mut socket, join).await;
        Peer::ended(socket).await;
        assert!(!is_armed.load(Ordering::SeqCst), "{protocol:?}: the handling has panicked");
        server
            .until("the failed peer is removed", |held| held.peers == 1 && held.sessions == 1)
            .await;
        assert_eq!(Scrape::of(&server).await.count("parlor_panics_total"), 1);
        // Other clients are not affected.
        if protocol.announces_peers() {
            assert!(matches!(ann.next_event().await, Received::Left(_)), "{protocol:?}");
        }
        let mut carol = Peer::join(&server, protocol, "r", "carol").await;
        ann.expect_presence(Received::Joined(carol.id.clone())).await;
        ann.offer(&carol.id, "sdp").await;
        assert_eq!(
            carol.next_event().await,
            Received::Offer { from: ann.id.clone(), sdp: "sdp".to_owned() },
            "{protocol:?}"
        );
        carol.close().await;
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn panic_in_a_rest_request_is_an_internal_error() {
    let (is_armed, _guard) = panic_when_logged("room closed");
    let server = TestServer::start();
    let mut ann = Peer::join(&server, PROTOCOLS[0], "r", "ann").await;
    is_armed.store(true, Ordering::SeqCst);
    let answer = reqwest::Client::new().delete(server.url("/api/rooms/r")).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body, serde_json::json!({ "error": "internal error", "code": "INTERNAL" }));
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count("parlor_panics_total"), 1);
    assert_eq!(scrape.count(r#"parlor_errors_total{code="INTERNAL"}"#), 1);
    assert_eq!(ann.next_event().await, Received::Error("ROOM_CLOSED".to_owned()));
    ann.close().await;
    server.finish().await;
}

/// A dialect whose events cannot be encoded.
static BROKEN: Dialect = Dialect {
    name: "broken",
    encode: |_, _| panic!("deliberate panic"),
    media: None,
    shutdown_frame: |_, _| Frame::Close(1001, ""),
    failure: |_, _, _, _| None,
    expired: |_| Vec::new(),
    names: Names::Chosen,
    backpressure_limit: Duration::ZERO,
    reserves: |_| false,
    presence_is_vital: false,
};

#[tokio::test]
async fn panic_for_one_recipient_does_not_affect_the_others() {
    let server = TestServer::start();
    let (connection, id) = (Nowhere::new(), ConnectionId::random());
    let broken = session(server.hub(), id, &BROKEN, &connection);
    let join = Command::Join {
        room: RoomId::new("r").unwrap(),
        peer: None,
        metadata: Metadata::default(),
        kind: RoomKind::Group,
    };
    assert!(
        broken.handle(Moment::now(), join, 0, |_| Some(Frame::Text(String::new()))).result.is_ok()
    );

    let mut ann = Peer::join(&server, PROTOCOLS[0], "r", "ann").await;
    let bob = Peer::join(&server, PROTOCOLS[0], "r", "bob").await;
    assert_eq!(
        ann.next_event().await,
        Received::Joined("bob".to_owned()),
        "although the broken recipient is first"
    );
    ann.offer(&id.to_string(), "sdp").await;
    assert_eq!(ann.next_event().await, Received::Error("DELIVERY_FAILED".to_owned()));
    assert!(connection.closed() >= 1, "the connection whose event panicked is closed");
    broken.end(LeaveReason::Disconnected);
    assert_eq!(ann.next_event().await, Received::Left(id.to_string()));
    bob.close().await;
    ann.close().await;
    server.finish().await;
}
