//! The SFU without sockets, threads or a clock: its transports, the routers of its rooms, and the
//! indexes over them.
//!
//! [`handlers`](super::handlers) carries out requests, [`forward`](super::forward) takes datagrams
//! and forwards packets, [`close`](super::close) closes transports, producers and consumers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use str0m::crypto::CryptoProvider;

use super::admission::Owner;
use super::id::{ById, RouterId, TransportId};
use super::outlet::TransportOutlet;
use super::output::TransportOutput;
use super::parameters::IceCandidate;
use super::request::{MediaEvent, Notice, NoticeTarget, RoomMember};
use super::router::Router;
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
    /// Maximum number of transports created per second, of all peers together; further requests
    /// wait. 0 means no limit.
    pub transports_per_second: u32,
    /// Time for a transport to connect, from its creation, and again from
    /// [`MediaRequest::ConnectTransport`].
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
    pub(super) routers: ById<RouterId, Router>,
    pub(super) rooms: HashMap<RoomId, RouterId>,
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
    /// Rooms that got their first transport, or lost their last one.
    pub(super) room_changes: Vec<RoomChange>,
    /// Counters and gauges, except that of transports.
    pub(super) counted: MediaStats,
}

/// The first transport of a room was created, or its last one closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoomChange {
    pub(super) room: RoomId,
    pub(super) is_open: bool,
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
        let fingerprint =
            write_fingerprint(&crypto.sha256_provider.sha256(&certificate.certificate));
        let first = |is_v4| settings.announced.iter().find(|address| address.is_ipv4() == is_v4);
        let local = [first(true), first(false)].into_iter().flatten().copied().collect();
        Ok(Self {
            settings,
            foundation: Foundation { crypto, certificate, local },
            fingerprint,
            transports: ById::default(),
            routers: ById::default(),
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
            room_changes: Vec::new(),
            counted: MediaStats::default(),
        })
    }

    /// Returns the announced addresses as host candidates, in order of preference.
    pub(super) fn candidates(&self) -> Vec<IceCandidate> {
        let candidate = |(address, preference): (&SocketAddr, u32)| IceCandidate {
            foundation: "udpcandidate".to_owned(),
            // RFC 8445, section 5.1.2.1: a host candidate, the first component.
            priority: (126 << 24) + (preference << 8) + 255,
            ip: address.ip().to_string(),
            address: address.ip().to_string(),
            protocol: "udp",
            port: address.port(),
            kind: "host",
        };
        self.settings.announced.iter().zip((0..=65_535).rev()).map(candidate).collect()
    }

    /// Calls `work` with a transport, and updates its timer. Returns `None` if there is no such
    /// transport.
    pub(super) fn on_transport<T>(
        &mut self,
        id: TransportId,
        work: impl FnOnce(&mut Transport, &mut TransportOutput) -> T,
    ) -> Option<T> {
        self.split().1.on_transport(id, work)
    }

    /// Calls `work` with a router and the transports of its room. Returns `None` if there is no
    /// such router.
    pub(super) fn on_router<T>(
        &mut self,
        id: RouterId,
        work: impl FnOnce(&mut Router, &mut TransportOutlet<'_>) -> T,
    ) -> Option<T> {
        let (routers, mut outlet) = self.split();
        routers.get_mut(&id).map(|router| work(router, &mut outlet))
    }

    /// Borrows the routers and what they send through at the same time.
    pub(super) fn split(&mut self) -> (&mut ById<RouterId, Router>, TransportOutlet<'_>) {
        let Self { routers, transports, timers, ready, output, notices, counted, .. } = self;
        (routers, TransportOutlet { transports, timers, ready, output, notices, counted })
    }

    /// Returns the router of a room, if any of its peers has a transport.
    pub(super) fn router_of(&self, room: &RoomId) -> Option<&Router> {
        self.rooms.get(room).and_then(|id| self.routers.get(id))
    }

    /// Sets a transport's packet limit to the sum of its producers' limits.
    pub(super) fn update_packet_limit(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let Some(router) = self.routers.get(&transport.router) else { return };
        let producers = transport.producers.iter().filter_map(|id| router.producers.get(id));
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

    /// Queues an event for one member of a room.
    pub(super) fn notify(&mut self, to: &RoomMember, event: MediaEvent) {
        let to = NoticeTarget::One(to.room.clone(), to.connection);
        self.notices.push(Notice { to, event });
    }
}
