//! What sessions share: the rooms, the directory of connections, the limits, and the counters.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use tracing::error;

use super::access::AccessPolicy;
use super::admission::{self, Admission, AdmissionError, Cause, ConnectionPermit, Opening, Permit};
use super::directory::Directory;
use super::expiries::Expiries;
use super::history::ResumeLimits;
use super::invalid_tokens::InvalidTokens;
use super::key::ResumeKey;
use super::mailbox::{Mailbox, Sink};
use super::notices::{Notices, limit_hit};
use super::rate_limit::{MessageRate, RateLimiter};
use super::refused_handshakes::RefusedHandshakes;
use super::resumable::Resumable;
use crate::dialect::{DecodeError, Framing, RequestError};
use crate::id::ConnectionId;
use crate::metrics::{Limit, Metrics};
use crate::room::{Code, RoomError, Rooms};
use crate::sfu::MediaServer;
use crate::timeouts::Timeouts;

/// Everything that sessions share.
pub struct Hub {
    rooms: Rooms,
    pub(super) directory: Directory,
    pub(super) resumable: Resumable,
    pub(super) draining: AtomicBool,
    limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) admission: Arc<Admission>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access: AccessPolicy,
    pub(super) invalid_tokens: InvalidTokens,
    notices: Arc<Notices>,
    refused_handshakes: RefusedHandshakes,
    pub(super) expiries: Expiries,
    /// The media server, where there is one.
    pub(super) media: OnceLock<MediaServer>,
}

/// What bounds connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Connections and sessions.
    pub admission: admission::Limits,
    /// Invalid tokens of one address, in a minute; `None` is no limit.
    pub invalid_tokens_per_minute: Option<NonZeroU32>,
    /// Messages of one connection.
    pub message_rate: Option<MessageRate>,
    /// What is kept for a client whose connection drops; `None` where its session ends at once.
    pub resume: Option<ResumeLimits>,
}

impl Hub {
    /// A hub over rooms.
    pub fn new(rooms: Rooms, limits: Limits, timeouts: Timeouts, metrics: Arc<Metrics>, access: AccessPolicy) -> Self {
        let notices = Arc::new(Notices::default());
        Self {
            rooms,
            directory: Directory::default(),
            resumable: Resumable::new(limits.resume),
            draining: AtomicBool::new(false),
            limits,
            timeouts,
            admission: admission(limits.admission, &metrics, &notices),
            metrics,
            access,
            invalid_tokens: InvalidTokens::new(limits.invalid_tokens_per_minute),
            notices,
            refused_handshakes: RefusedHandshakes::default(),
            expiries: Expiries::default(),
            media: OnceLock::new(),
        }
    }

    /// The time limits that are not settings.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The permits of HTTP connections and sessions.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Admits a handshake from a client's address, which came over an HTTP connection.
    pub fn open_permit(
        &self,
        connection: Option<&ConnectionPermit>,
        address: IpAddr,
        opening: Opening,
    ) -> Result<Arc<Permit>, AdmissionError> {
        let opened = self.admission.open(connection, address, opening);
        opened.inspect_err(|refused| self.note_refused(*refused))
    }

    /// Logs that a handshake was refused: a request, or the CONNECT packet of a Socket.IO client. `origin` is that of the
    /// page, if a browser sent it.
    pub fn note_refused_handshake(&self, cause: &'static str, code: Code, origin: Option<&str>) {
        self.refused_handshakes.note(cause, code, origin);
    }

    /// Admits a request that opens no session.
    pub fn admit_request(&self, connection: &ConnectionPermit, address: IpAddr) -> Result<(), AdmissionError> {
        connection.admit(address).inspect_err(|refused| self.note_refused(*refused))
    }

    fn note_refused(&self, refused: AdmissionError) {
        match refused {
            AdmissionError::TooMany { .. } => {
                self.limit_hit(Limit::Connections, "connection limit reached, refusing handshakes");
            }
            AdmissionError::TooManyFromAddress { .. } => {
                let notice = "connection limit of one address reached, refusing its handshakes";
                self.limit_hit(Limit::ConnectionsPerIp, notice);
            }
            AdmissionError::TooManyUnconnected { .. } => {
                let notice = "too many polling sessions of one address without CONNECT, refusing its handshakes";
                self.limit_hit(Limit::UnconnectedPerIp, notice);
            }
            // Counted where it is found.
            AdmissionError::TooManyInvalidTokens => {}
        }
    }

    /// Counts a limit that was hit, and logs it at most once a minute.
    pub fn limit_hit(&self, limit: Limit, notice: &'static str) {
        limit_hit(&self.metrics, &self.notices, limit, notice);
    }

    /// Does something that concerns a connection so that a defect in it, a panic, goes no further: it is logged with the
    /// connection's id and counted. `None` where there was one; the connection is then to end.
    pub fn contain<T>(&self, connection: ConnectionId, work: impl FnOnce() -> T) -> Option<T> {
        // What it may have left half done is the connection's own, and goes with it: rooms are changed in steps that
        // cannot fail half-way.
        let done = catch_unwind(AssertUnwindSafe(work));
        if done.is_err() {
            self.metrics.panic();
            error!(%connection, "a defect; closing the connection that it concerns");
        }
        done.ok()
    }

    /// Counts an error that a client is told.
    pub fn refused(&self, error: &RequestError) {
        self.metrics.error(error.code());
        if let Some(limit) = limit_of(error) {
            self.metrics.limit(limit);
        }
    }

    /// The rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// How many sessions have a connection.
    pub fn open_connections(&self) -> usize {
        self.directory.open()
    }

    /// How many sessions are away.
    pub fn away(&self) -> usize {
        self.resumable.away()
    }

    /// What is kept for a client whose connection drops, if anything.
    pub fn resume_limits(&self) -> Option<ResumeLimits> {
        self.limits.resume
    }

    /// A secret with which the client of a new session may resume it. `None` where sessions are not resumed.
    pub fn resume_key(&self, id: ConnectionId) -> Option<ResumeKey> {
        self.limits.resume.and_then(|_| ResumeKey::random(id))
    }

    /// The mailbox of a new session.
    pub fn mailbox(&self, id: ConnectionId, framing: Box<dyn Framing>, sink: Arc<dyn Sink>) -> Arc<Mailbox> {
        Mailbox::new(id, Arc::clone(&self.resumable.timers), framing, sink)
    }

    /// The rate limiter of a new connection.
    pub fn rate_limiter(&self) -> RateLimiter {
        RateLimiter::new(
            self.limits.message_rate,
            self.timeouts.flood,
            Arc::clone(&self.metrics),
            Arc::clone(&self.notices),
        )
    }
}

fn admission(limits: admission::Limits, metrics: &Arc<Metrics>, notices: &Arc<Notices>) -> Arc<Admission> {
    let (metrics, notices) = (Arc::clone(metrics), Arc::clone(notices));
    Admission::new(limits, move |cause| {
        let (limit, notice) = match cause {
            Cause::Total => (Limit::Connections, "connection limit reached, evicting idle and away clients"),
            Cause::PerAddress => {
                (Limit::ConnectionsPerIp, "connection limit of one address reached, evicting its idle and away clients")
            }
            Cause::Away => (Limit::AwaySessions, "too many away sessions, evicting the oldest"),
            Cause::Descriptors => (Limit::OpenFiles, "out of file descriptors, closing idle HTTP connections"),
        };
        limit_hit(&metrics, &notices, limit, notice);
    })
}

/// The limit that a request was refused by, if it was one.
fn limit_of(error: &RequestError) -> Option<Limit> {
    match error {
        RequestError::Decode(DecodeError::TooLarge { .. }) => Some(Limit::MessageBytes),
        RequestError::Room(RoomError::RoomFull { .. }) => Some(Limit::RoomSize),
        RequestError::Room(RoomError::SessionQueueFull) => Some(Limit::SessionQueue),
        RequestError::Room(RoomError::TooManyRooms { .. }) => Some(Limit::Rooms),
        RequestError::Room(RoomError::TooManyRoomsPerConnection { .. }) => Some(Limit::RoomsPerConnection),
        RequestError::Room(RoomError::MetadataTooLarge { .. }) => Some(Limit::MetadataBytes),
        // Counted where they arise, or no limits.
        RequestError::Decode(_)
        | RequestError::Room(_)
        | RequestError::DeliveryFailed { .. }
        | RequestError::ReservedName
        | RequestError::NoReceiver
        | RequestError::RateLimited { .. }
        | RequestError::Media(_)
        | RequestError::Denied(_)
        | RequestError::Internal => None,
    }
}
