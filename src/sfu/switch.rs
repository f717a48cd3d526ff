//! The media server without its socket: requests and datagrams in, answers, notices and datagrams out.
//!
//! - [`Sfu::handle`] carries out a request of a room's member;
//! - [`flow`](super::flow) takes datagrams, forwards packets and keeps time;
//! - [`ending`](super::ending) is how anything here ends, and who is told.
//!
//! The guarantee that is easy to break: what a request names must be the asker's own, or of its room. All look-ups for a
//! request are here.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::crypto::CryptoProvider;

use super::admission::Owner;
use super::authentic;
use super::consumer::{Consumer, Streams};
use super::figures::Figures;
use super::formats::Formats;
use super::id::{ById, ConsumerId, ProducerId, TransportId};
use super::output::Sink;
use super::parameters::{
    DtlsParameters, DtlsRole, Encoding, Fingerprint, IceCandidate, Kind, Retransmission, RtcpParameters,
    RtpCapabilities, RtpParameters,
};
use super::producer::{Allowance, Description, Layer, Producer};
use super::request::{
    Answer, Asker, Audience, Concern, ConsumerAction, Consuming, Direction, MediaEvent, Notice, Problem,
    ProducerAction, Request, SfuError,
};
use super::router;
use super::speaker::Speaker;
use super::transport::{Foundation, Transport, write_fingerprint};
use crate::id::{ConnectionId, RoomId};

/// The most transports of one peer: one each way, and what it has not closed yet.
const MAX_TRANSPORTS: usize = 4;

/// The most consumers of one transport.
const MAX_CONSUMERS: usize = 1024;

/// What the media server is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where clients reach it, as they are told.
    pub announced: Vec<SocketAddr>,
    /// Of one producer, in bits a second.
    pub max_bitrate: u32,
    /// Of one peer.
    pub max_producers: usize,
    /// The most bytes that a client may say of a producer.
    pub max_app_data: usize,
    /// Transports of all peers together; 0 is no limit.
    pub max_transports: usize,
    /// Transports that are created in a second, of all peers together; requests beyond wait. 0 is no limit.
    pub transports_per_second: u32,
    /// Time for a transport to connect, from its creation, and again from [`Request::ConnectTransport`].
    pub connect_timeout: Duration,
}

/// The media of all rooms.
pub struct Sfu {
    pub(super) settings: Settings,
    pub(super) foundation: Foundation,
    fingerprint: String,
    pub(super) transports: ById<TransportId, Transport>,
    pub(super) producers: ById<ProducerId, Producer>,
    pub(super) consumers: ById<ConsumerId, Consumer>,
    /// Who has transports, and which.
    pub(super) peers: HashMap<(RoomId, ConnectionId), Vec<TransportId>>,
    pub(super) rooms: HashMap<RoomId, Room>,
    pub(super) by_ufrag: HashMap<String, TransportId>,
    pub(super) by_address: HashMap<SocketAddr, TransportId>,
    pub(super) timers: BTreeSet<(Instant, TransportId)>,
    /// When transports end that have not connected by then.
    pub(super) deadlines: BTreeSet<(Instant, TransportId)>,
    pub(super) owners: HashMap<ConnectionId, Owner>,
    pub(super) owners_swept_at: usize,
    pub(super) allotted_at: Option<Instant>,
    pub(super) sink: Sink,
    pub(super) notices: Vec<Notice>,
    /// What is counted, but for what there is.
    pub(super) counted: Figures,
}

/// The media of one room.
#[derive(Default)]
pub(super) struct Room {
    /// The oldest first.
    pub(super) producers: Vec<ProducerId>,
    pub(super) speaker: Speaker,
}

/// The media server cannot be started: the library of cryptography makes no certificate.
#[derive(Debug, thiserror::Error)]
#[error("no certificate for media could be made")]
pub struct NoCertificate;

impl Sfu {
    /// A media server with nothing in it.
    pub fn new(settings: Settings) -> Result<Self, NoCertificate> {
        let crypto: Arc<CryptoProvider> = Arc::new(authentic::provider());
        let certificate = crypto.dtls_provider.generate_certificate().ok_or(NoCertificate)?;
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
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            timers: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            owners: HashMap::new(),
            owners_swept_at: 0,
            allotted_at: None,
            sink: Sink::default(),
            notices: Vec::new(),
            counted: Figures::default(),
        })
    }

    /// Carries out a request. Afterwards [`Sfu::poll`](super::flow) says what else came of it.
    pub fn handle(&mut self, now: Instant, asker: &Asker, request: Request) -> Result<Answer, SfuError> {
        let answer = match request {
            Request::Capabilities => Ok(Answer::Capabilities(router::capabilities())),
            Request::CreateTransport { direction, capabilities } => {
                self.create_transport(now, asker, direction, capabilities.as_ref())
            }
            Request::ConnectTransport { transport, dtls } => self.own_transport(asker, &transport).and_then(|id| {
                self.on_transport(id, |transport, sink| transport.connect(&dtls, sink))
                    .unwrap_or(Err(Problem::Internal))
                    .map_err(|problem| problem.of(Concern::Transport))?;
                self.await_connection(now, id);
                Ok(Answer::TransportConnected(id))
            }),
            Request::RestartIce { transport } => self.own_transport(asker, &transport).map(|id| self.restart_ice(id)),
            Request::CloseTransport { transport } => self.own_transport(asker, &transport).map(|id| {
                self.close_transport(id);
                Answer::TransportClosed(id)
            }),
            Request::Produce { transport, kind, parameters, app_data } => {
                self.produce(now, asker, &transport, (kind, &parameters), app_data)
            }
            Request::Consume { transport, producer, capabilities } => {
                self.consume(now, asker, &transport, &producer, &capabilities)
            }
            Request::Consumer(consumer, action) => self.act_on_consumer(now, asker, &consumer, action),
            Request::Producer(producer, action) => self.act_on_producer(now, asker, &producer, action),
            Request::ListProducers => Ok(Answer::Producers(self.list(&asker.room))),
        };
        self.settle(now);
        answer
    }

    fn list(&self, room: &RoomId) -> Vec<super::request::Listed> {
        let producers = self.rooms.get(room).into_iter().flat_map(|room| &room.producers);
        producers.filter_map(|id| self.producers.get(id)).map(Producer::listed).collect()
    }

    /// Works on a transport, and keeps its time.
    pub(super) fn on_transport<T>(
        &mut self,
        id: TransportId,
        work: impl FnOnce(&mut Transport, &mut Sink) -> T,
    ) -> Option<T> {
        let transport = self.transports.get_mut(&id)?;
        let due = transport.due;
        let done = work(transport, &mut self.sink);
        if transport.due != due {
            self.timers.remove(&(due, id));
            self.timers.insert((transport.due, id));
        }
        Some(done)
    }

    fn own_transport(&self, asker: &Asker, id: &str) -> Result<TransportId, SfuError> {
        let own = TransportId::parse(id).and_then(|id| self.transports.get(&id));
        let own = own.filter(|transport| is_of(&transport.owner, asker));
        let unknown = Problem::Unknown { field: "transportId", what: "transport" };
        own.map(|transport| transport.id).ok_or(unknown.of(Concern::Transport))
    }

    fn create_transport(
        &mut self,
        now: Instant,
        asker: &Asker,
        direction: Direction,
        capabilities: Option<&RtpCapabilities>,
    ) -> Result<Answer, SfuError> {
        let key = (asker.room.clone(), asker.connection);
        if self.peers.get(&key).is_some_and(|own| own.len() >= MAX_TRANSPORTS) {
            return Err(Problem::TooMany { what: "transports", max: MAX_TRANSPORTS }.of(Concern::Transport));
        }
        self.admit(now, asker.connection).map_err(|problem| problem.of(Concern::Transport))?;
        let formats = match (direction, capabilities) {
            (Direction::Receive, _) => Formats::of_router(),
            (Direction::Send, Some(capabilities)) => Formats::read(capabilities),
            (Direction::Send, None) => Formats::of_chromium(),
        };
        let transport = Transport::new(now, asker.clone(), direction, formats);
        let (id, ice) = (transport.id, transport.ice());
        self.by_ufrag.insert(ice.username_fragment.clone(), id);
        self.timers.insert((transport.due, id));
        self.transports.insert(id, transport);
        self.peers.entry(key).or_default().push(id);
        self.await_request(now, asker.connection, id);
        let fingerprint = Fingerprint { algorithm: "sha-256".to_owned(), value: self.fingerprint.clone() };
        let dtls = DtlsParameters { role: DtlsRole::Auto, fingerprints: vec![fingerprint] };
        Ok(Answer::TransportCreated { id, ice, candidates: self.candidates(), dtls })
    }

    /// Our addresses, those that were named first before others.
    fn candidates(&self) -> Vec<IceCandidate> {
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

    fn restart_ice(&mut self, id: TransportId) -> Answer {
        let restarted = self.on_transport(id, |transport, sink| {
            // It may come from as many addresses again; where it is now it may stay until it has found another.
            (transport.restart_ice(sink), transport.ice(), transport.addresses.restart())
        });
        let (old, ice, left) = restarted.expect("it was looked up just now");
        self.by_ufrag.remove(&old);
        self.by_ufrag.insert(ice.username_fragment.clone(), id);
        for address in left {
            self.forget_address(address, id);
        }
        Answer::IceRestarted(id, ice)
    }

    fn produce(
        &mut self,
        now: Instant,
        asker: &Asker,
        transport: &str,
        (kind, parameters): (Kind, &RtpParameters),
        app_data: Arc<str>,
    ) -> Result<Answer, SfuError> {
        let id = self.own_transport(asker, transport)?;
        let wrong = |problem: Problem| problem.of(Concern::Produce);
        let own = &self.transports[&id];
        if own.direction != Direction::Send {
            return Err(wrong(Problem::WrongDirection("receiving")));
        }
        let max = self.settings.max_producers;
        if self.producers_of(asker) >= max {
            return Err(wrong(Problem::TooMany { what: "producers", max }));
        }
        if app_data.len() > self.settings.max_app_data {
            return Err(wrong(Problem::Parameter { field: "appData", problem: "too large" }));
        }
        let renumbered = (!own.has_begun()).then(|| own.formats.with_first(parameters));
        let formats = renumbered.as_ref().unwrap_or(&own.formats);
        let description = Description::check(kind, parameters, formats).map_err(wrong)?;
        self.check_free(own, &description).map_err(wrong)?;
        if !own.has_room_for(&description) {
            return Err(wrong(Problem::Worn));
        }
        if let Some(formats) = renumbered {
            if let Some(transport) = self.transports.get_mut(&id) {
                transport.formats = formats;
            }
            self.begin(now, id);
        }
        let producer = Producer {
            id: ProducerId::random(),
            owner: asker.clone(),
            transport: id,
            is_paused: false,
            app_data,
            description,
            consumers: Vec::new(),
            allowance: Allowance::new(kind, self.settings.max_bitrate, now),
        };
        self.on_transport(id, |transport, sink| {
            transport.expect(&producer.description, sink);
            transport.producers.push(producer.id);
        });
        self.rooms.entry(asker.room.clone()).or_default().producers.push(producer.id);
        self.tell_others(asker, MediaEvent::ProducerAdded(producer.listed()));
        let (id, transport) = (producer.id, producer.transport);
        self.producers.insert(id, producer);
        self.expect_packets(transport);
        Ok(Answer::Produced(id))
    }

    /// Keeps a transport's limit in step with its producers.
    pub(super) fn expect_packets(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let producers = transport.producers.iter().filter_map(|id| self.producers.get(id));
        let packets = producers.map(|producer| producer.allowance.packets_per_second()).sum();
        transport.expect_packets(packets);
    }

    /// Begins a transport: one that sends with its first producer, one that receives when its client first needs it.
    pub(super) fn begin(&mut self, now: Instant, id: TransportId) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        let due = transport.due;
        transport.begin(now, &self.foundation, &mut self.sink);
        self.timers.remove(&(due, id));
        self.timers.insert((transport.due, id));
    }

    fn producers_of(&self, asker: &Asker) -> usize {
        let transports = self.peers.get(&(asker.room.clone(), asker.connection));
        let transports = transports.into_iter().flatten().filter_map(|id| self.transports.get(id));
        transports.map(|transport| transport.producers.len()).sum()
    }

    /// A media section and a stream are one producer's.
    fn check_free(&self, transport: &Transport, description: &Description) -> Result<(), Problem> {
        let others = || transport.producers.iter().filter_map(|id| self.producers.get(id));
        let taken = |field, problem| Problem::Parameter { field, problem };
        if others().any(|other| other.description.mid == description.mid) {
            return Err(taken("rtpParameters.mid", "another producer has it"));
        }
        let ssrcs: Vec<u32> = others().flat_map(|other| &other.description.layers).flat_map(Layer::ssrcs).collect();
        let mut own = description.layers.iter().flat_map(Layer::ssrcs);
        if own.any(|ssrc| ssrcs.contains(&ssrc) || transport.streams.contains_key(&ssrc.into())) {
            return Err(taken("rtpParameters.encodings", "another producer has this ssrc"));
        }
        Ok(())
    }

    fn consume(
        &mut self,
        now: Instant,
        asker: &Asker,
        transport: &str,
        producer: &str,
        capabilities: &RtpCapabilities,
    ) -> Result<Answer, SfuError> {
        let id = self.own_transport(asker, transport)?;
        let wrong = |problem: Problem| problem.of(Concern::Consume);
        let own = &self.transports[&id];
        if own.direction != Direction::Receive {
            return Err(wrong(Problem::WrongDirection("sending")));
        }
        if own.consumers.len() >= MAX_CONSUMERS {
            return Err(wrong(Problem::TooMany { what: "consumers", max: MAX_CONSUMERS }));
        }
        let producer = ProducerId::parse(producer).and_then(|id| self.producers.get(&id));
        let producer = producer.filter(|producer| producer.owner.room == asker.room);
        let producer = producer.ok_or(wrong(Problem::Unknown { field: "producerId", what: "producer" }))?;
        let is_here = |consumer| self.consumers.get(consumer).is_some_and(|consumer| consumer.transport == id);
        if producer.consumers.iter().any(is_here) {
            return Err(wrong(Problem::Parameter {
                field: "producerId",
                problem: "this transport consumes it already",
            }));
        }
        let (codec, kind) = (producer.description.codec, producer.kind());
        let codecs = router::codecs_for(codec, capabilities);
        if codecs.is_empty() {
            let problem = "the codec of this producer is not among them";
            return Err(wrong(Problem::Parameter { field: "rtpCapabilities.codecs", problem }));
        }
        let layers = producer.description.layers.len();
        // Tracks of one peer are played in time with each other.
        let cname = producer.description.cname.clone().unwrap_or_else(|| producer.owner.connection.to_string());
        let (producer_id, listed) = (producer.id, producer.listed());
        let has_rtx = codecs.len() > 1;
        if !self.transports[&id].has_begun() {
            self.begin(now, id);
        }
        let streams = self.on_transport(id, |transport, sink| transport.declare(kind, has_rtx, sink)).flatten();
        let streams = streams.ok_or(wrong(Problem::Internal))?;
        let consumer = Consumer::new(asker.clone(), producer_id, id, codec, layers, streams);
        let consumer_id = consumer.id;
        if let Some(transport) = self.transports.get_mut(&id) {
            transport.consumers.push(consumer_id);
        }
        if let Some(producer) = self.producers.get_mut(&producer_id) {
            producer.consumers.push(consumer_id);
        }
        self.consumers.insert(consumer_id, consumer);
        let rtx = streams.rtx.map(|ssrc| Retransmission { ssrc: *ssrc });
        let parameters = RtpParameters {
            mid: Some(streams.mid.to_string()),
            codecs,
            header_extensions: router::extensions_for(kind, capabilities),
            encodings: vec![Encoding { ssrc: Some(*streams.ssrc), rtx, ..Encoding::default() }],
            rtcp: Some(RtcpParameters { cname: Some(cname), reduced_size: Some(true) }),
        };
        let is_simulcast = layers > 1;
        Ok(Answer::Consuming(Box::new(Consuming { id: consumer_id, producer: listed, parameters, is_simulcast })))
    }

    fn act_on_consumer(
        &mut self,
        now: Instant,
        asker: &Asker,
        id: &str,
        action: ConsumerAction,
    ) -> Result<Answer, SfuError> {
        let own = ConsumerId::parse(id).and_then(|id| self.consumers.get_mut(&id));
        let own = own.filter(|consumer| is_of(&consumer.owner, asker));
        let unknown = Problem::Unknown { field: "consumerId", what: "consumer" };
        let consumer = own.ok_or(unknown.of(Concern::Consume))?;
        let id = consumer.id;
        let mut done = action;
        match action {
            ConsumerAction::Pause | ConsumerAction::Resume => {
                let is_paused = action == ConsumerAction::Pause;
                if consumer.is_paused != is_paused {
                    consumer.is_paused = is_paused;
                    consumer.interrupt();
                    let streams = Streams { mid: consumer.mid, ssrc: consumer.ssrc, rtx: consumer.rtx };
                    let transport = consumer.transport;
                    self.on_transport(transport, |transport, _| transport.withhold(streams, is_paused));
                    self.allot(now, transport);
                    self.ask_for(now, id);
                }
            }
            ConsumerAction::Close => self.close_consumer(id),
            ConsumerAction::Layers { spatial, temporal } => {
                let layers = self.producers.get(&consumer.producer).map_or(1, |of| of.description.layers.len());
                consumer.wanted = usize::from(spatial).min(layers.saturating_sub(1));
                consumer.wanted_temporal = temporal.unwrap_or(u8::MAX);
                let spatial = u8::try_from(consumer.wanted).unwrap_or(u8::MAX);
                let transport = consumer.transport;
                self.allot(now, transport);
                done = ConsumerAction::Layers { spatial, temporal };
            }
            ConsumerAction::Keyframe => self.ask_for(now, id),
        }
        Ok(Answer::Consumer(id, done))
    }

    fn act_on_producer(
        &mut self,
        now: Instant,
        asker: &Asker,
        id: &str,
        action: ProducerAction,
    ) -> Result<Answer, SfuError> {
        let own = ProducerId::parse(id).and_then(|id| self.producers.get_mut(&id));
        let own = own.filter(|producer| is_of(&producer.owner, asker));
        let unknown = Problem::Unknown { field: "producerId", what: "producer" };
        let producer = own.ok_or(unknown.of(Concern::Produce))?;
        let id = producer.id;
        if action == ProducerAction::Close {
            self.close_producer(id);
            return Ok(Answer::Producer(id, action));
        }
        let is_paused = action == ProducerAction::Pause;
        if producer.is_paused != is_paused {
            producer.is_paused = is_paused;
            let consumers = producer.consumers.clone();
            for consumer in consumers {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.interrupt();
                }
                self.ask_for(now, consumer);
            }
            self.tell_others(asker, MediaEvent::ProducerChanged(id, asker.peer.clone(), action));
        }
        Ok(Answer::Producer(id, action))
    }

    /// Tells all others in the room of a peer.
    pub(super) fn tell_others(&mut self, asker: &Asker, event: MediaEvent) {
        let to = Audience::Room(asker.room.clone(), Some(asker.connection));
        self.notices.push(Notice { to, event });
    }

    pub(super) fn tell(&mut self, to: ConnectionId, event: MediaEvent) {
        self.notices.push(Notice { to: Audience::One(to), event });
    }
}

fn is_of(owner: &Asker, asker: &Asker) -> bool {
    owner.connection == asker.connection && owner.room == asker.room
}
