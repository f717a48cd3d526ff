//! The hub: what all sessions share, such as rooms, directory, limits and metrics.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use tokio::sync::oneshot;
use tracing::error;

use super::access::AccessPolicy;
use super::address_limit::AddressLimit;
use super::admission::{
    Admission, AdmissionError, AdmissionLimits, Cause, ConnectionPermit, Opening, Permit,
};
use super::directory::Directory;
use super::expiries::Expiries;
use super::mailbox::{Mailbox, Sink};
use super::notices::{Notices, limit_hit};
use super::pending_claim::PendingClaim;
use super::pending_join::PendingJoin;
use super::pending_media::PendingMedia;
use super::queue_depth::QueueDepth;
use super::rate_limit::{MessageRate, RateLimiter};
use super::refused_handshakes::RefusedHandshakes;
use super::replay_buffer::ResumeLimits;
use super::resumable::Resumable;
use super::resume_token::ResumeToken;
use crate::cluster::Cluster;
use crate::dialect::{DecodeError, Framing, RequestError};
use crate::id::{ConnectionId, RoomId};
use crate::lifecycle::Lifecycle;
use crate::metrics::{Limit, Metrics};
use crate::room::{Code, RoomError, Rooms};
use crate::sfu::MediaServer;
use crate::timeouts::Timeouts;

/// Resume tokens of an address per minute that name no node of the cluster, or one that does not
/// answer. For each of them all nodes are asked, since the session may have moved on before.
const UNKNOWN_NODES_PER_MINUTE: u32 = 60;

/// Everything that sessions share.
pub struct Hub {
    rooms: Rooms,
    pub(super) directory: Directory,
    pub(super) resumable: Resumable,
    pub(super) draining: AtomicBool,
    limits: HubLimits,
    pub(super) timeouts: Timeouts,
    pub(super) admission: Arc<Admission>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access: AccessPolicy,
    pub(super) invalid_tokens: AddressLimit,
    /// Resume tokens of nodes that the cluster does not know.
    pub(super) unknown_nodes: AddressLimit,
    notices: Arc<Notices>,
    refused_handshakes: RefusedHandshakes,
    pub(super) expiries: Expiries,
    /// The media server, if there is one.
    pub(super) media: OnceLock<MediaServer>,
    /// The cluster that this node is part of, where it is.
    pub(super) cluster: OnceLock<Arc<Cluster>>,
    /// The tasks of the server, for those that the cluster needs.
    pub(super) lifecycle: OnceLock<Lifecycle>,
    /// Joins that the cluster has not answered.
    pub(super) joins: DashMap<(RoomId, ConnectionId), PendingJoin>,
    /// Sessions of other nodes that clients of this one wait for.
    pub(super) claims: DashMap<ConnectionId, PendingClaim, FxBuildHasher>,
    /// Media requests that the cluster has not answered.
    pub(super) media_requests: DashMap<u64, PendingMedia>,
    /// Peers of other nodes whose send queues are above their high-water marks.
    pub(super) congested_elsewhere: DashMap<ConnectionId, Arc<QueueDepth>, FxBuildHasher>,
    /// Removals of peers that other nodes are asked for.
    pub(super) kicks: DashMap<u64, oneshot::Sender<bool>>,
}

/// Limits on connections and sessions.
#[derive(Debug, Clone, Copy, Default)]
pub struct HubLimits {
    /// Limits on the number of connections and sessions.
    pub admission: AdmissionLimits,
    /// Invalid tokens of an address per minute; `None` means no limit.
    pub invalid_tokens_per_minute: Option<NonZeroU32>,
    /// Message rate of a connection; `None` means no limit.
    pub message_rate: Option<MessageRate>,
    /// Limits on session resumption; `None` ends sessions with their connection.
    pub resume: Option<ResumeLimits>,
}

impl Hub {
    /// Creates a hub for these rooms.
    pub fn new(
        rooms: Rooms,
        limits: HubLimits,
        timeouts: Timeouts,
        metrics: Arc<Metrics>,
        access: AccessPolicy,
    ) -> Self {
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
            invalid_tokens: AddressLimit::new(limits.invalid_tokens_per_minute),
            unknown_nodes: AddressLimit::new(NonZeroU32::new(UNKNOWN_NODES_PER_MINUTE)),
            notices,
            refused_handshakes: RefusedHandshakes::default(),
            expiries: Expiries::default(),
            media: OnceLock::new(),
            cluster: OnceLock::new(),
            lifecycle: OnceLock::new(),
            joins: DashMap::new(),
            claims: DashMap::default(),
            media_requests: DashMap::new(),
            congested_elsewhere: DashMap::default(),
            kicks: DashMap::new(),
        }
    }

    /// Returns the fixed time limits.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Returns the server's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns the admission of HTTP connections and sessions.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Admits a handshake from a client's address over an HTTP connection.
    pub fn open_permit(
        &self,
        connection: Option<&ConnectionPermit>,
        address: IpAddr,
        opening: Opening,
    ) -> Result<Arc<Permit>, AdmissionError> {
        let opened = self.admission.open(connection, address, opening);
        opened.inspect_err(|refused| self.record_refusal(*refused))
    }

    /// Logs a refused handshake: a request, or the CONNECT packet of a Socket.IO client. `origin`
    /// is the page's, if a browser sent one.
    pub fn log_refused_handshake(&self, cause: &'static str, code: Code, origin: Option<&str>) {
        self.refused_handshakes.log(cause, code, origin);
    }

    /// Admits a request that opens no session.
    pub fn admit_request(
        &self,
        connection: &ConnectionPermit,
        address: IpAddr,
    ) -> Result<(), AdmissionError> {
        connection.admit(address).inspect_err(|refused| self.record_refusal(*refused))
    }

    fn record_refusal(&self, refused: AdmissionError) {
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
            // Counted where they are detected.
            AdmissionError::TooManyInvalidTokens => {}
        }
    }

    /// Counts a limit that was hit, and logs it at most once a minute.
    pub fn limit_hit(&self, limit: Limit, notice: &'static str) {
        limit_hit(&self.metrics, &self.notices, limit, notice);
    }

    /// Runs `work` for a connection and contains a panic in it, which is logged with the
    /// connection's id and counted. Returns `None` after a panic; the connection must then be
    /// closed.
    pub fn contain<T>(&self, connection: ConnectionId, work: impl FnOnce() -> T) -> Option<T> {
        // State that a panic leaves half changed belongs to the connection and goes with it; rooms
        // are changed in steps that cannot fail half-way.
        let done = catch_unwind(AssertUnwindSafe(work));
        if done.is_err() {
            self.metrics.panic();
            error!(%connection, "panic contained, closing the connection");
        }
        done.ok()
    }

    /// Counts an error that is reported to a client.
    pub fn refused(&self, error: &RequestError) {
        self.metrics.error(error.code());
        if let Some(limit) = limit_of(error) {
            self.metrics.limit(limit);
        }
    }

    /// Returns the rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Returns the number of sessions with a connection.
    pub fn open_connections(&self) -> usize {
        self.directory.open()
    }

    /// Returns the number of away sessions.
    pub fn away(&self) -> usize {
        self.resumable.away()
    }

    /// Returns the limits on session resumption, if sessions can be resumed.
    pub fn resume_limits(&self) -> Option<ResumeLimits> {
        self.limits.resume
    }

    /// Creates the resume token of a new session; returns `None` if sessions cannot be resumed.
    pub fn new_resume_token(&self, id: ConnectionId) -> Option<ResumeToken> {
        self.limits.resume.and_then(|_| {
            ResumeToken::random(id, self.cluster().map(|cluster| cluster.token_of(id)))
        })
    }

    /// Creates the mailbox of a new session.
    pub fn mailbox(
        &self,
        id: ConnectionId,
        framing: Box<dyn Framing>,
        sink: Arc<dyn Sink>,
    ) -> Arc<Mailbox> {
        Mailbox::new(id, Arc::clone(&self.resumable.timers), framing, sink)
    }

    /// Creates the rate limiter of a new connection.
    pub fn rate_limiter(&self) -> RateLimiter {
        RateLimiter::new(
            self.limits.message_rate,
            self.timeouts.flood,
            Arc::clone(&self.metrics),
            Arc::clone(&self.notices),
        )
    }
}

fn admission(
    limits: AdmissionLimits,
    metrics: &Arc<Metrics>,
    notices: &Arc<Notices>,
) -> Arc<Admission> {
    let (metrics, notices) = (Arc::clone(metrics), Arc::clone(notices));
    Admission::new(limits, move |cause| {
        let (limit, notice) = match cause {
            Cause::Total => {
                (Limit::Connections, "connection limit reached, evicting idle and away clients")
            }
            Cause::PerAddress => (
                Limit::ConnectionsPerIp,
                "connection limit of one address reached, evicting its idle and away clients",
            ),
            Cause::Away => (Limit::AwaySessions, "too many away sessions, evicting the oldest"),
            Cause::Descriptors => {
                (Limit::OpenFiles, "out of file descriptors, closing idle HTTP connections")
            }
        };
        limit_hit(&metrics, &notices, limit, notice);
    })
}

/// Returns the limit that caused an error, if one did.
fn limit_of(error: &RequestError) -> Option<Limit> {
    match error {
        RequestError::Decode(DecodeError::TooLarge { .. }) => Some(Limit::MessageBytes),
        RequestError::Room(RoomError::RoomFull { .. }) => Some(Limit::RoomSize),
        RequestError::Room(RoomError::SessionQueueFull) => Some(Limit::SessionQueue),
        RequestError::Room(RoomError::TooManyRooms { .. }) => Some(Limit::Rooms),
        RequestError::Room(RoomError::TooManyRoomsPerConnection { .. }) => {
            Some(Limit::RoomsPerConnection)
        }
        RequestError::Room(RoomError::MetadataTooLarge { .. }) => Some(Limit::MetadataBytes),
        // Not limits, or counted where they are detected.
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
