//! A defect in the media server ends what it concerns: its clients are told, and the operator too.
//!
//! The defect is a room that panics when it is asked for one of its members.

use std::net::UdpSocket;
use std::sync::Arc;

use parlor::id::PeerId;
use parlor::metrics::{Held, Metrics};
use parlor::sfu::{
    Answer, Asker, Audience, Company, Concern, Direction, Figures, Media, MediaEvent, Notice, Problem, Request,
    SfuError,
};
use tokio::sync::{mpsc, oneshot};

use crate::support::media::{member, settings};

/// A room, in which one is asked for to no good.
struct Room {
    bomb: PeerId,
    told: mpsc::UnboundedSender<Notice>,
}

impl Company for Room {
    fn is_member(&self, asker: &Asker) -> bool {
        assert_ne!(asker.peer, self.bomb, "a defect, as ordered");
        true
    }

    fn tell(&self, notice: Notice) {
        self.told.send(notice).unwrap();
    }
}

async fn ask(media: &Media, asker: &Asker) -> Result<Answer, SfuError> {
    let (reply, answered) = oneshot::channel();
    let request = Request::CreateTransport { direction: Direction::Receive, capabilities: None };
    media.request(asker.clone(), request, Box::new(|answer| _ = reply.send(answer))).await;
    answered.await.expect("each request is answered")
}

#[tokio::test]
async fn whoever_has_a_transport_is_told_that_all_media_has_ended() {
    let (ann, ben, eve) = (member("room", "ann"), member("room", "ben"), member("room", "eve"));
    let (told, mut notices) = mpsc::unbounded_channel();
    let room = Room { bomb: eve.peer.clone(), told };
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (media, running) = Media::start(socket, settings(), Arc::new(room)).unwrap();
    let mut expected = Vec::new();
    for asker in [&ann, &ben, &ben] {
        let Ok(Answer::TransportCreated { id, .. }) = ask(&media, asker).await else { panic!() };
        expected.push(Notice { to: Audience::One(asker.connection), event: MediaEvent::TransportFailed(id) });
    }
    assert_eq!(ask(&media, &eve).await, Err(Problem::Internal.of(Concern::Transport)));
    for _ in 0..expected.len() {
        let notice = notices.recv().await.unwrap();
        let place = expected.iter().position(|expected| *expected == notice);
        expected.remove(place.unwrap_or_else(|| panic!("{notice:?}")));
    }
    assert!(ask(&media, &ann).await.is_ok(), "it goes on");
    // As of a moment ago.
    while media.figures().transports != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(media.figures().defects, 1);
    assert!(ask(&media, &eve).await.is_err());
    while media.figures().defects != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(media.figures().transports, 0, "without anything that happens afterwards");
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[test]
fn defects_of_media_are_among_all_others() {
    let metrics = Metrics::new();
    let held = Held { rooms: 0, peers: 0, sessions: 0, away: 0, links: 0, transports: 0, tasks: 0 };
    let panics = |defects| {
        let text = metrics.render(held, &Figures { defects, ..Figures::default() });
        let line = text.lines().find_map(|line| line.strip_prefix("parlor_panics_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(panics(0), 0);
    metrics.panic();
    assert_eq!([panics(2), panics(2), panics(3)], [3, 3, 4]);
}
