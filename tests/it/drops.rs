//! Drops at delicate moments: in the midst of coming back, of an upgrade, before the first word.
//!
//! What they were found by is `tests/drops`; here each stands by itself.

use crate::support::{Client, TestServer};

#[tokio::test]
async fn who_is_in_no_room_has_nothing_to_come_back_to() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    // Its `join-room` is lost with the line.
    let bob = Client::connect(&server).await;
    let (id, pid) = (bob.id.clone(), bob.pid.clone().unwrap());
    bob.cut();
    server.until("nobody is there", |held| held.sessions == 0).await;
    assert_eq!(server.held().away, 0);
    let bob = Client::resume(&server, &pid, None).await;
    assert_ne!(bob.id, id, "a page that was recovered does not join");
    // The same where the server has not noticed yet.
    let (id, pid) = (bob.id.clone(), bob.pid.clone().unwrap());
    let newer = Client::resume(&server, &pid, None).await;
    assert_ne!(newer.id, id);
    bob.ended().await;
    newer.close().await;
    server.finish().await;
}
