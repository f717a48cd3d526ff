//! Connects sessions to the media server, in both directions.
//!
//! The media of a peer whose connection is lost continues while its session is away; notices about
//! it go to the replay buffer.
//!
//! Invariant: a peer that leaves a room leaves its media. All ways out of a room go through
//! [`Hub::deliver`], which informs the media server.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::debug;

use super::directory::Entry;
use super::handle::Session;
use super::hub::Hub;
use super::mailbox::Mailbox;
use super::media_nodes::RemoteNotice;
use super::pending_media::{Answered, MediaReply};
use crate::dialect::{Frame, MediaAnswer, MediaMessage, RequestError};
use crate::id::{ConnectionId, RoomId};
use crate::room::RoomError;
use crate::sfu::{
    ErrorScope, MediaEvent, MediaResponse, MediaServer, MediaStats, Notice, NoticeTarget,
    RoomMember, SfuError, SfuErrorKind, Signaling,
};

impl Hub {
    /// Sets the media server; only the first call has an effect.
    pub fn set_media(&self, media: MediaServer) {
        // A second one is ignored.
        _ = self.media.set(media);
    }

    /// Returns whether there is a media server.
    pub fn has_media(&self) -> bool {
        self.media.get().is_some()
    }

    /// Returns the media server's current values and counters.
    pub fn media_stats(&self) -> MediaStats {
        self.media.get().map(MediaServer::stats).unwrap_or_default()
    }

    /// Sends an event of the media server to one connection, if its dialect can express it. Returns
    /// `false` if it has no session here.
    pub(super) fn send_media_event(
        &self,
        connection: ConnectionId,
        event: &MediaEvent,
        now: SystemTime,
    ) -> bool {
        let Some(Entry { dialect, mailbox }) = self.directory.get(connection) else { return false };
        if let Some(write) = dialect.media {
            self.contain(connection, || {
                let frame = write(event, now);
                _ = self.queue(connection, dialect, &mailbox, frame, event.is_vital());
            });
        }
        true
    }
}

impl Signaling for Hub {
    fn is_member(&self, member: &RoomMember) -> bool {
        self.rooms().peer(member.connection, &member.room).is_some_and(|peer| peer == member.peer)
    }

    fn deliver(&self, Notice { to, event }: Notice) {
        let now = SystemTime::now();
        let mut elsewhere = RemoteNotice::default();
        match &to {
            NoticeTarget::One(room, connection) => {
                if !self.send_media_event(*connection, &event, now) {
                    elsewhere.send(self, room, *connection, &event, now);
                }
            }
            NoticeTarget::Room(room, except) => {
                for connection in self.rooms().connections_in(room) {
                    if Some(connection) != *except
                        && !self.send_media_event(connection, &event, now)
                    {
                        elsewhere.send(self, room, connection, &event, now);
                    }
                }
            }
        }
    }

    fn room_closed(&self, room: &RoomId) {
        self.tell_cluster(|cluster| cluster.media_ended(room));
    }
}

/// Sends the answer to a media request to a session of this node.
struct SessionReply {
    hub: Arc<Hub>,
    id: ConnectionId,
    mailbox: Arc<Mailbox>,
    write: MediaAnswer,
}

impl MediaReply for SessionReply {
    fn send(self: Box<Self>, answer: Result<MediaResponse, SfuError>) -> Option<Box<str>> {
        let Self { hub, id, mailbox, write } = *self;
        let answer = answer.map_err(RequestError::from);
        if let Err(error) = &answer {
            debug!(connection = %id, code = error.code().as_str(), "media request refused");
            hub.metrics.error(error.code());
        }
        let frame = hub.contain(id, || write(answer, SystemTime::now()));
        hub.send_media_answer(id, &mailbox, frame)
    }

    fn send_text(self: Box<Self>, text: &str) -> Option<Box<str>> {
        self.hub.send_media_answer(self.id, &self.mailbox, Some(Frame::Text(text.to_owned())))
    }
}

impl Hub {
    /// Queues the answer to a media request. Returns its text if the session has moved to another
    /// node.
    fn send_media_answer(
        &self,
        id: ConnectionId,
        mailbox: &Mailbox,
        frame: Option<Frame>,
    ) -> Option<Box<str>> {
        let text = match &frame {
            Some(Frame::Text(text)) if self.cluster().is_some() => Some(text.as_str().into()),
            _ => None,
        };
        let sent = frame.and_then(|frame| self.contain(id, || mailbox.send(frame)));
        if matches!(sent, Some(Ok(()))) {
            return None;
        }
        // A client that misses a response does not know the state of its media.
        mailbox.close();
        text.filter(|_| self.directory.get(id).is_none())
    }
}

impl Session {
    /// Forwards a request of a room member to the media server. The response is queued in the
    /// mailbox; the connection should not be read until the returned future completes.
    pub fn media(
        &self,
        MediaMessage { room, request, text, form }: MediaMessage,
        write: MediaAnswer,
    ) -> Result<Answered, RequestError> {
        let (hub, id) = (&self.hub, self.id());
        if hub.cluster().is_none() && !hub.has_media() {
            return Err(SfuErrorKind::NotConfigured.in_scope(ErrorScope::Transport).into());
        }
        // Fails if another connection has taken the session over.
        let member = self.while_held(|| {
            let room = hub.rooms().resolve(id, room)?;
            let peer = hub.rooms().peer(id, &room).ok_or(RoomError::NotInRoom)?;
            Ok::<_, RoomError>(RoomMember { room, connection: id, peer })
        });
        let member = member.ok_or(RoomError::ConnectionEnded)??;
        let mailbox = Arc::clone(&self.state.mailbox);
        let reply = Box::new(SessionReply { hub: Arc::clone(hub), id, mailbox, write });
        if hub.cluster().is_some() {
            return Ok(hub.request_media(member, request, (form, text), reply));
        }
        let media = hub.media.get().cloned();
        Ok(Box::pin(async move {
            if let Some(media) = media {
                // Without a cluster, no session has moved.
                let reply = Box::new(|answer| _ = reply.send(answer));
                media.request(member, request, reply).await;
            }
        }))
    }
}
