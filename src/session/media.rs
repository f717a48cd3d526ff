//! The way of a session to the media server, and the way back.
//!
//! A peer whose connection drops has left nothing: its media goes on while its place waits for it, and what it is told of
//! that meanwhile is held for it like all else.
//!
//! The guarantee that is easy to break: whoever leaves a room leaves its media. All ways out of a room pass
//! [`Hub::deliver`], which tells the media server.

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
    ErrorScope, MediaEvent, MediaRequest, MediaServer, MediaStats, Notice, NoticeTarget, RoomMember, SfuErrorKind,
    Signaling,
};

/// Ready when a request was answered.
pub type Answered = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Hub {
    /// Takes the media server into use.
    pub fn set_media(&self, media: MediaServer) {
        // One is enough.
        _ = self.media.set(media);
    }

    /// Returns whether there is a media server.
    pub fn has_media(&self) -> bool {
        self.media.get().is_some()
    }

    /// What there is of media, and what was counted of it.
    pub fn media_stats(&self) -> MediaStats {
        self.media.get().map(MediaServer::stats).unwrap_or_default()
    }

    /// Tells one connection something of its media, where its wire has words for it.
    fn tell_media(&self, connection: ConnectionId, notice: &Notice, now: SystemTime) {
        let Some(Entry { dialect, mailbox }) = self.directory.get(connection) else { return };
        if let Some(write) = dialect.media {
            // Who speaks is told again soon: nobody has to go, or to come back to less, for having missed it.
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
            NoticeTarget::One(connection) => self.tell_media(*connection, &notice, now),
            NoticeTarget::Room(room, except) => {
                for connection in self.rooms().connections_in(room) {
                    if Some(connection) != *except {
                        self.tell_media(connection, &notice, now);
                    }
                }
            }
        }
    }
}

impl Session {
    /// Takes a request to the media server, as a member of a room. What is answered is queued like all that the client is
    /// told; until then nothing else should be read of it.
    pub fn media(
        &self,
        room: Option<RoomId>,
        request: MediaRequest,
        write: MediaAnswer,
    ) -> Result<Answered, RequestError> {
        let (hub, id) = (&self.hub, self.id());
        let media = hub.media.get().ok_or(SfuErrorKind::NotConfigured.in_scope(ErrorScope::Transport))?;
        // Whose place another connection has taken by now is silent here, too.
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
                let told = hub.contain(id, || mailbox.send(write(answer, SystemTime::now())));
                // Who does not read its answers cannot know what it has.
                if !matches!(told, Some(Ok(()))) {
                    mailbox.close();
                }
            }
        };
        let media = media.clone();
        Ok(Box::pin(async move { media.request(member, request, Box::new(reply)).await }))
    }
}
