//! Panics in the media server: clients are notified, and the panic is counted.
//!
//! The tests inject one into the membership check.

use std::net::UdpSocket;
use std::sync::Arc;

use parlor::id::PeerId;
use parlor::metrics::{Held, Metrics};
use parlor::sfu::{
    Direction, ErrorScope, MediaEvent, MediaRequest, MediaResponse, MediaServer, MediaStats,
    Notice, NoticeTarget, RoomMember, SfuError, SfuErrorKind, Signaling,
};
use tokio::sync::{mpsc, oneshot};

use crate::support::media::{member, settings};

/// A membership check that panics for one peer.
struct Room {
    panics_for: PeerId,
    notices: mpsc::UnboundedSender<Notice>,
}

impl Signaling for Room {
    fn is_member(&self, member: &RoomMember) -> bool {
        assert_ne!(member.peer, self.panics_for, "intended panic");
        true
    }

    fn deliver(&self, notice: Notice) {
        self.notices.send(notice).unwrap();
    }
}

async fn ask(media: &MediaServer, member: &RoomMember) -> Result<MediaResponse, SfuError> {
    let (reply, answered) = oneshot::channel();
    let request = MediaRequest::CreateTransport { direction: Direction::Receive };
    media.request(member.clone(), request, Box::new(|answer| _ = reply.send(answer))).await;
    answered.await.expect("every request gets a response")
}

#[tokio::test]
async fn panic_notifies_all_clients_that_their_transports_failed() {
    let (ann, ben, eve) = (member("room", "ann"), member("room", "ben"), member("room", "eve"));
    let (notices, mut received) = mpsc::unbounded_channel();
    let room = Room { panics_for: eve.peer.clone(), notices };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (media, running) = MediaServer::start(socket, settings(), Arc::new(room)).unwrap();
    let mut expected = Vec::new();
    for member in [&ann, &ben, &ben] {
        let Ok(MediaResponse::TransportCreated { id, .. }) = ask(&media, member).await else {
            panic!()
        };
        expected.push(Notice {
            to: NoticeTarget::One(member.room.clone(), member.connection),
            event: MediaEvent::TransportFailed(id),
        });
    }
    assert_eq!(
        ask(&media, &eve).await,
        Err(SfuErrorKind::Internal.in_scope(ErrorScope::Transport))
    );
    for _ in 0..expected.len() {
        let notice = received.recv().await.unwrap();
        let index = expected.iter().position(|expected| *expected == notice);
        expected.remove(index.unwrap_or_else(|| panic!("{notice:?}")));
    }
    assert!(ask(&media, &ann).await.is_ok(), "the media server continues");
    // The stats are those of the last turn.
    while media.stats().transports != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(media.stats().panics, 1);
    assert!(ask(&media, &eve).await.is_err());
    while media.stats().panics != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(media.stats().transports, 0, "published without a further turn");
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[test]
fn media_panics_are_added_to_panic_counter() {
    let metrics = Metrics::new();
    let held =
        Held { rooms: 0, peers: 0, sessions: 0, away: 0, polling: 0, transports: 0, tasks: 0 };
    let panics = |panics| {
        let text = metrics.render(held, &MediaStats { panics, ..MediaStats::default() });
        let line = text.lines().find_map(|line| line.strip_prefix("parlor_panics_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(panics(0), 0);
    metrics.panic();
    assert_eq!([panics(2), panics(2), panics(3)], [3, 3, 4]);
}
