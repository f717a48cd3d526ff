//! The SFU without sockets, threads or a clock: its transports, producers and consumers, and the indexes over them.
//!
//! [`handlers`](super::handlers) carries out requests, [`forward`](super::forward) takes datagrams and forwards
//! packets, [`close`](super::close) closes transports, producers and consumers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use str0m::crypto::CryptoProvider;

use super::active_speaker::ActiveSpeakerDetector;
use super::admission::Owner;
use super::consumer::Consumer;
use super::id::{ById, ConsumerId, ProducerId, TransportId};
use super::output::TransportOutput;
use super::producer::Producer;
use super::request::{MediaEvent, Notice, NoticeTarget, RoomMember};
use super::srtp;
use super::stats::MediaStats;
use super::transport::{Foundation, Transport, write_fingerprint};
use crate::id::{ConnectionId, RoomId};

/// Configuration of the media server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SfuSettings {
    /// Addresses announced to clients as ICE candidates, in order of preference.
    pub announced: Vec<SocketAddr>,
    /// Maximum bitrate of one producer, in bits per second.
    pub max_bitrate: u32,
    /// Maximum number of producers per peer.
    pub max_producers: usize,
    /// Maximum size of the `appData` of a producer, in bytes.
    pub max_app_data: usize,
    /// Maximum number of transports of all peers together; 0 means no limit.
    pub max_transports: usize,
    /// Maximum number of transports created per second, of all peers together; further requests wait. 0 means no limit.
    pub transports_per_second: u32,
    /// Time for a transport to connect, from its creation, and again from [`MediaRequest::ConnectTransport`].
    ///
    /// [`MediaRequest::ConnectTransport`]: super::MediaRequest::ConnectTransport
    pub connect_timeout: Duration,
}

/// A selective forwarding unit for all rooms.
pub struct Sfu {
    pub(super) settings: SfuSettings,
    pub(super) foundation: Foundation,
    pub(super) fingerprint: String,
    pub(super) transports: ById<TransportId, Transport>,
    pub(super) producers: ById<ProducerId, Producer>,
    pub(super) consumers: ById<ConsumerId, Consumer>,
    /// The transports of each peer.
    pub(super) peers: HashMap<(RoomId, ConnectionId), Vec<TransportId>>,
    pub(super) rooms: HashMap<RoomId, RoomMedia>,
    /// Ufrags are random, and chosen by the server, so a fast hash is enough.
    pub(super) by_ufrag: FxHashMap<Vec<u8>, TransportId>,
    pub(super) by_address: HashMap<SocketAddr, TransportId>,
    pub(super) timers: BTreeSet<(Instant, TransportId)>,
    /// Transports with packets to send, in the order in which they got the first one.
    pub(super) ready: VecDeque<TransportId>,
    /// When a transport that has not connected is closed.
    pub(super) deadlines: BTreeSet<(Instant, TransportId)>,
    pub(super) owners: HashMap<ConnectionId, Owner>,
    /// The number of owners at which those without transports are removed next.
    pub(super) owners_swept_at: usize,
    pub(super) allocated_at: Option<Instant>,
    pub(super) output: TransportOutput,
    pub(super) notices: Vec<Notice>,
    /// Counters; the gauges in it are not kept up to date.
    pub(super) counted: MediaStats,
}

/// The producers of one room.
#[derive(Default)]
pub(super) struct RoomMedia {
    /// Oldest first.
    pub(super) producers: Vec<ProducerId>,
    pub(super) active_speaker: ActiveSpeakerDetector,
}

/// The cryptography library could not generate a certificate.
#[derive(Debug, thiserror::Error)]
#[error("cannot generate a DTLS certificate")]
pub struct CertificateError;

impl Sfu {
    /// Creates an SFU without transports and generates its DTLS certificate.
    pub fn new(settings: SfuSettings) -> Result<Self, CertificateError> {
        let crypto: Arc<CryptoProvider> = Arc::new(srtp::provider());
        let certificate = crypto.dtls_provider.generate_certificate().ok_or(CertificateError)?;
        let fingerprint = write_fingerprint(&crypto.sha256_provider.sha256(&certificate.certificate));
        let first = |is_v4| settings.announced.iter().find(|address| address.is_ipv4() == is_v4);
        let local = [first(true), first(false)].into_iter().flatten().copied().collect();
        Ok(Self {
            settings,
            foundation: Foundation { crypto, certificate, local },
            fingerprint,
            transports: ById::default(),
            producers: ById::default(),
            consumers: ById::default(),
            peers: HashMap::new(),
            rooms: HashMap::new(),
            by_ufrag: FxHashMap::default(),
            by_address: HashMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            deadlines: BTreeSet::new(),
            owners: HashMap::new(),
            owners_swept_at: 0,
            allocated_at: None,
            output: TransportOutput::default(),
            notices: Vec::new(),
            counted: MediaStats::default(),
        })
    }

    /// Calls `work` with a transport, and updates its timer. Returns `None` if there is no such transport.
    pub(super) fn on_transport<T>(
        &mut self,
        id: TransportId,
        work: impl FnOnce(&mut Transport, &mut TransportOutput) -> T,
    ) -> Option<T> {
        let transport = self.transports.get_mut(&id)?;
        let due = transport.due;
        let done = work(transport, &mut self.output);
        if transport.due != due {
            self.timers.remove(&(due, id));
            self.timers.insert((transport.due, id));
        }
        Some(done)
    }

    /// Sets a transport's packet limit to the sum of its producers' limits.
    pub(super) fn update_packet_limit(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let producers = transport.producers.iter().filter_map(|id| self.producers.get(id));
        let packets = producers.map(|producer| producer.limit.packets_per_second()).sum();
        transport.set_packet_limit(packets);
    }

    /// Creates a transport's `Rtc`, when its client first needs it.
    pub(super) fn start(&mut self, now: Instant, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let due = transport.due;
        transport.start(now, &self.foundation, &mut self.output);
        self.timers.remove(&(due, id));
        self.timers.insert((transport.due, id));
    }

    /// Queues an event for all other members of a member's room.
    pub(super) fn notify_others(&mut self, member: &RoomMember, event: MediaEvent) {
        let to = NoticeTarget::Room(member.room.clone(), Some(member.connection));
        self.notices.push(Notice { to, event });
    }

    /// Queues an event for one connection.
    pub(super) fn notify(&mut self, to: ConnectionId, event: MediaEvent) {
        self.notices.push(Notice { to: NoticeTarget::One(to), event });
    }
}
