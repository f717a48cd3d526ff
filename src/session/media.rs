//! Connects sessions to the media server, in both directions.
//!
//! The media of a peer whose connection is lost continues while its session is away; notices about
//! it go to the replay buffer.
//!
//! Invariant: a peer that leaves a room leaves its media. All ways out of a room go through
//! [`Hub::deliver`], which informs the media server.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::debug;

use super::directory::Entry;
use super::handle::Session;
use super::hub::Hub;
use crate::dialect::{MediaAnswer, RequestError};
use crate::id::{ConnectionId, RoomId};
use crate::room::RoomError;
use crate::sfu::{
    ErrorScope, MediaEvent, MediaRequest, MediaServer, MediaStats, Notice, NoticeTarget,
    RoomMember, SfuErrorKind, Signaling,
};

/// Completes when a request is answered.
pub type Answered = Pin<Box<dyn Future<Output = ()> + Send>>;

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

    /// Sends a media notice to one connection, if its dialect can express it.
    fn send_notice(&self, connection: ConnectionId, notice: &Notice, now: SystemTime) {
        let Some(Entry { dialect, mailbox }) = self.directory.get(connection) else { return };
        if let Some(write) = dialect.media {
            // A missed active speaker notice is soon followed by another, so it is no reason to
            // close the connection.
            let is_vital = !matches!(notice.event, MediaEvent::ActiveSpeaker { .. });
            self.contain(connection, || {
                _ = self.queue(connection, dialect, &mailbox, write(&notice.event, now), is_vital);
            });
        }
    }
}

impl Signaling for Hub {
    fn is_member(&self, member: &RoomMember) -> bool {
        self.rooms().peer(member.connection, &member.room).is_some_and(|peer| peer == member.peer)
    }

    fn deliver(&self, notice: Notice) {
        let now = SystemTime::now();
        match &notice.to {
            NoticeTarget::One(connection) => self.send_notice(*connection, &notice, now),
            NoticeTarget::Room(room, except) => {
                for connection in self.rooms().connections_in(room) {
                    if Some(connection) != *except {
                        self.send_notice(connection, &notice, now);
                    }
                }
            }
        }
    }
}

impl Session {
    /// Forwards a request of a room member to the media server. The response is queued in the
    /// mailbox; the connection should not be read until the returned future completes.
    pub fn media(
        &self,
        room: Option<RoomId>,
        request: MediaRequest,
        write: MediaAnswer,
    ) -> Result<Answered, RequestError> {
        let (hub, id) = (&self.hub, self.id());
        let media =
            hub.media.get().ok_or(SfuErrorKind::NotConfigured.in_scope(ErrorScope::Transport))?;
        // Fails if another connection has taken the session over.
        let member = self.while_held(|| {
            let room = hub.rooms().resolve(id, room)?;
            let peer = hub.rooms().peer(id, &room).ok_or(RoomError::NotInRoom)?;
            Ok::<_, RoomError>(RoomMember { room, connection: id, peer })
        });
        let member = member.ok_or(RoomError::ConnectionEnded)??;
        let mailbox = Arc::clone(&self.state.mailbox);
        let reply = {
            let hub = Arc::clone(hub);
            move |answer: Result<_, _>| {
                let answer = answer.map_err(RequestError::from);
                if let Err(error) = &answer {
                    debug!(connection = %id, code = error.code().as_str(), "media request refused");
                    hub.metrics.error(error.code());
                }
                let sent = hub.contain(id, || mailbox.send(write(answer, SystemTime::now())));
                // A client that misses a response does not know the state of its media.
                if !matches!(sent, Some(Ok(()))) {
                    mailbox.close();
                }
            }
        };
        let media = media.clone();
        Ok(Box::pin(async move { media.request(member, request, Box::new(reply)).await }))
    }
}
