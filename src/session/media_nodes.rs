//! Media in a cluster, where the media of a room is on one node.
//!
//! A request of a local peer waits for the cluster, which has this node serve it or forwards it. On
//! the node with the media, requests of peers of other nodes are decoded from the text of their
//! clients, and notices for them are encoded for each dialect.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::directory::Entry;
use super::hub::Hub;
use super::pending_media::{Answered, MediaReply, MediaTurn, PendingMedia};
use crate::cluster::frame::{MediaAnswered, MediaNotice, RemoteMediaRequest};
use crate::cluster::media::{MediaRole, PeerMediaRequest, ServedMedia};
use crate::cluster::{Host, Incarnation, MediaHost};
use crate::dialect::{self, Frame, MEDIA_DIALECTS, RequestError};
use crate::id::{ConnectionId, RoomId};
use crate::sfu::id::TransportId;
use crate::sfu::{self, ErrorScope, MediaEvent, MediaResponse, RoomMember, SfuError, SfuErrorKind};

/// Maximum time for which a drain waits for the end of media that it has ended. The media server
/// takes a few milliseconds.
const MEDIA_END: Duration = Duration::from_millis(500);

/// An event for peers of other nodes, which is encoded when the first of them is found.
#[derive(Default)]
pub(super) struct RemoteNotice(Option<Arc<MediaNotice>>);

impl RemoteNotice {
    /// Sends the event to a peer that has no session here.
    pub(super) fn send(
        &mut self,
        hub: &Hub,
        room: &RoomId,
        to: ConnectionId,
        event: &MediaEvent,
        now: SystemTime,
    ) {
        let Some(cluster) = hub.cluster() else { return };
        let notice = self.0.get_or_insert_with(|| {
            let texts = MEDIA_DIALECTS.iter().filter_map(|dialect| dialect.media);
            let texts = texts.map(|write| text_of(write(event, now))).collect();
            let failed = match event {
                MediaEvent::TransportFailed(id) => Some(id.to_string().into()),
                _ => None,
            };
            Arc::new(MediaNotice { texts, is_vital: event.is_vital(), failed, created: None })
        });
        cluster.notify(room, to, notice);
    }
}

fn text_of(frame: Frame) -> Box<str> {
    match frame {
        Frame::Text(text) => text.into(),
        // Messages of the media server have no other form.
        _ => Box::default(),
    }
}

/// Returns what a response changes: the transport that was created, and the one that was closed.
fn changes(response: &Result<MediaResponse, SfuError>) -> MediaAnswered {
    let (created, closed) = match response {
        Ok(MediaResponse::TransportCreated { id, .. }) => (Some(id.to_string().into()), None),
        Ok(MediaResponse::TransportClosed(id)) => (None, Some(id.to_string().into())),
        _ => (None, None),
    };
    MediaAnswered { text: Box::default(), created, closed }
}

impl Hub {
    /// Takes a request to the media server of its room, on whichever node that is.
    pub(super) fn request_media(
        &self,
        member: RoomMember,
        request: sfu::MediaRequest,
        (form, text): (usize, Box<str>),
        reply: Box<dyn MediaReply>,
    ) -> Answered {
        let (id, reply) = (Host::random(self), Arc::new(Mutex::new(Some(reply))));
        let (sender, decided) = oneshot::channel();
        let (room, connection) = (member.room.clone(), member.connection);
        let pending = PendingMedia { room, connection, reply: Arc::clone(&reply), decided: sender };
        self.media_requests.insert(id, pending);
        let asking = PeerMediaRequest {
            room: member.room.clone(),
            connection: member.connection,
            id,
            form: u64::try_from(form).unwrap_or(u64::MAX),
            text,
            creates: matches!(request, sfu::MediaRequest::CreateTransport { .. }),
        };
        if !self.cluster().is_some_and(|cluster| cluster.request_media(asking)) {
            self.media_failed(id);
        }
        let media = self.media.get().cloned();
        Box::pin(async move {
            // Else it is answered.
            let Ok(turn) = decided.await else { return };
            let Some(reply) = reply.lock().take() else { return };
            let send = move |response: Result<MediaResponse, SfuError>| {
                let changes = changes(&response);
                let text = reply.send(response).unwrap_or_default();
                turn.answer(MediaAnswered { text, ..changes });
            };
            match media {
                Some(media) => media.request(member, request, Box::new(send)).await,
                None => send(Err(SfuErrorKind::NotConfigured.in_scope(ErrorScope::Transport))),
            }
        })
    }

    /// Ends the media of the rooms that this node shares with others, one after the other over
    /// `period`, and waits until it has ended: its peers, which are about to be disconnected if they
    /// are on this node, create their transports on another one.
    pub async fn release_media(&self, period: Duration) {
        let Some(cluster) = self.cluster() else { return };
        let is_elsewhere = |connection: &ConnectionId| self.directory.get(*connection).is_none();
        let mut rooms = cluster.media_rooms();
        rooms.retain(|room| self.rooms().connections_in(room).iter().any(is_elsewhere));
        let started = Instant::now();
        let count = u32::try_from(rooms.len()).unwrap_or(u32::MAX).max(1);
        for (room, nth) in rooms.iter().zip(0..) {
            sleep_until(started + period * nth / count).await;
            cluster.release_media(room);
        }
        let until = Instant::now() + MEDIA_END;
        while rooms.iter().any(|room| MediaHost::has_media(self, room)) && Instant::now() < until {
            sleep_until(until.min(Instant::now() + MEDIA_END / 50)).await;
        }
    }

    /// Ends the media of the rooms of a session on this node, which the session is about to leave.
    pub(super) fn release_media_of(&self, connection: ConnectionId) {
        if let Some(cluster) = self.cluster().filter(|_| self.has_media()) {
            for room in self.rooms().of(connection) {
                cluster.release_media(&room);
            }
        }
    }

    #[expect(
        clippy::let_and_return,
        reason = "the guard must be dropped before what it borrows from"
    )]
    fn take_pending_media(&self, id: u64) -> Option<Box<dyn MediaReply>> {
        let (_, pending) = self.media_requests.remove(&id)?;
        let reply = pending.reply.lock().take();
        reply
    }
}

impl MediaHost for Hub {
    fn media_role(&self) -> MediaRole {
        match (self.has_media(), self.is_draining()) {
            (false, _) => MediaRole::Off,
            (true, true) => MediaRole::Draining,
            (true, false) => MediaRole::Serving,
        }
    }

    fn has_media(&self, room: &RoomId) -> bool {
        self.media.get().is_some_and(|media| media.has_room(room))
    }

    fn end_media(&self, room: &RoomId) {
        if let Some(media) = self.media.get() {
            media.fail_room(room);
        }
    }

    fn serve_media(&self, id: u64) {
        let (Some((_, pending)), Some(cluster)) = (self.media_requests.remove(&id), self.cluster())
        else {
            return;
        };
        let served = ServedMedia {
            room: pending.room,
            connection: pending.connection,
            asked_by: None,
            answer: None,
        };
        // If the client has disconnected meanwhile, the turn is over at once.
        _ = pending.decided.send(MediaTurn::new(cluster, served));
    }

    fn serve_forwarded(&self, from: Incarnation, request: &RemoteMediaRequest) {
        let Some(cluster) = self.cluster() else { return };
        let RemoteMediaRequest { room, connection, id, form, text } = request;
        let served = ServedMedia {
            room: room.clone(),
            connection: *connection,
            asked_by: Some((from, *id)),
            answer: None,
        };
        // If the request is not answered, the value is dropped, which notifies the other node.
        let turn = MediaTurn::new(cluster, served);
        let form = usize::try_from(*form).unwrap_or(usize::MAX);
        let decoded = self.contain(*connection, || dialect::forwarded_media(form, text));
        let peer = self.rooms().peer(*connection, room);
        let (Some(Some((request, write))), Some(peer), Some(media)) =
            (decoded, peer, self.media.get())
        else {
            return;
        };
        let member = RoomMember { room: room.clone(), connection: *connection, peer };
        let metrics = Arc::clone(&self.metrics);
        let reply = move |response: Result<MediaResponse, SfuError>| {
            let changes = changes(&response);
            let response = response.map_err(RequestError::from);
            if let Err(error) = &response {
                metrics.error(error.code());
            }
            let text = text_of(write(response, SystemTime::now()));
            turn.answer(MediaAnswered { text, ..changes });
        };
        media.submit(member, request, Box::new(reply));
    }

    fn media_answered(&self, id: u64, text: &str) -> bool {
        self.take_pending_media(id).is_none_or(|reply| reply.send_text(text).is_none())
    }

    fn media_failed(&self, id: u64) {
        if let Some(reply) = self.take_pending_media(id) {
            // A session that has moved has lost its requests.
            _ = reply.send(Err(SfuErrorKind::Unreachable.in_scope(ErrorScope::Transport)));
        }
    }

    fn media_notice(&self, to: ConnectionId, notice: &MediaNotice) {
        let Some(Entry { dialect, mailbox }) = self.directory.get(to) else { return };
        let form = MEDIA_DIALECTS.iter().position(|known| std::ptr::eq(*known, dialect));
        if let Some(text) = form.and_then(|form| notice.text(form)) {
            self.contain(to, || {
                let frame = Frame::Text(text.to_owned());
                _ = self.queue(to, dialect, &mailbox, frame, notice.is_vital);
            });
        }
    }

    fn transports_failed(&self, connection: ConnectionId, transports: &[Box<str>]) {
        let now = SystemTime::now();
        for id in transports.iter().filter_map(|id| TransportId::parse(id)) {
            self.send_media_event(connection, &MediaEvent::TransportFailed(id), now);
        }
    }
}
