//! The handlers of [`MediaRequest`]s.
//!
//! Invariant: a request reaches only transports, producers and consumers of its member, and
//! producers of its room. All look-ups of ids in requests are in this file.

use std::sync::Arc;
use std::time::Instant;

use super::codecs;
use super::consumer::Consumer;
use super::id::{ConsumerId, ProducerId, RouterId, TransportId};
use super::parameters::{
    DtlsParameters, DtlsRole, Encoding, Fingerprint, Retransmission, RtcpParameters,
    RtpCapabilities, RtpParameters, TrackKind,
};
use super::producer::{Layer, Producer, ProducerLimit, TrackDescription};
use super::request::{
    ConsumerAction, ConsumerInfo, Direction, ErrorScope, MediaEvent, MediaRequest, MediaResponse,
    ProducerAction, RoomMember, SfuError, SfuErrorKind,
};
use super::router::Router;
use super::state::{RoomChange, Sfu};
use super::transport::Transport;
use crate::id::RoomId;

/// Maximum number of transports of one peer: one for each direction, and some that it has not
/// closed yet.
const MAX_TRANSPORTS: usize = 4;

/// Maximum number of consumers of one transport.
const MAX_CONSUMERS: usize = 1024;

impl Sfu {
    /// Carries out a request. [`Sfu::poll`](super::forward) returns the datagrams and notices that
    /// result from it.
    pub fn handle(
        &mut self,
        now: Instant,
        member: &RoomMember,
        request: MediaRequest,
    ) -> Result<MediaResponse, SfuError> {
        let response = match request {
            MediaRequest::Capabilities => Ok(MediaResponse::Capabilities(codecs::capabilities())),
            MediaRequest::CreateTransport { direction } => {
                self.create_transport(now, member, direction)
            }
            MediaRequest::ConnectTransport { transport, dtls } => self
                .own_transport(member, &transport)
                .and_then(|id| self.connect_transport(now, id, &dtls)),
            MediaRequest::RestartIce { transport } => {
                self.own_transport(member, &transport).map(|id| self.restart_ice(id))
            }
            MediaRequest::CloseTransport { transport } => {
                self.own_transport(member, &transport).map(|id| {
                    self.close_transport(id);
                    MediaResponse::TransportClosed(id)
                })
            }
            MediaRequest::Produce { transport, kind, parameters, app_data } => {
                self.produce(now, member, &transport, (kind, &parameters), app_data)
            }
            MediaRequest::Consume { transport, producer, capabilities } => {
                self.consume(now, member, &transport, &producer, &capabilities)
            }
            MediaRequest::Consumer(consumer, action) => {
                self.act_on_consumer(now, member, &consumer, action)
            }
            MediaRequest::Producer(producer, action) => {
                self.act_on_producer(now, member, &producer, action)
            }
            MediaRequest::ListProducers => Ok(MediaResponse::Producers(
                self.router_of(&member.room).map(Router::list).unwrap_or_default(),
            )),
        };
        self.process_events(now);
        response
    }

    fn connect_transport(
        &mut self,
        now: Instant,
        id: TransportId,
        dtls: &DtlsParameters,
    ) -> Result<MediaResponse, SfuError> {
        self.on_transport(id, |transport, output| transport.connect(dtls, output))
            .unwrap_or(Err(SfuErrorKind::Internal))
            .map_err(|kind| kind.in_scope(ErrorScope::Transport))?;
        self.set_connect_deadline(now, id);
        Ok(MediaResponse::TransportConnected(id))
    }

    fn own_transport(&self, member: &RoomMember, id: &str) -> Result<TransportId, SfuError> {
        let own = TransportId::parse(id).and_then(|id| self.transports.get(&id));
        let own = own.filter(|transport| is_owner(&transport.owner, member));
        let unknown = SfuErrorKind::Unknown { field: "transportId", what: "transport" };
        own.map(|transport| transport.id).ok_or(unknown.in_scope(ErrorScope::Transport))
    }

    fn create_transport(
        &mut self,
        now: Instant,
        member: &RoomMember,
        direction: Direction,
    ) -> Result<MediaResponse, SfuError> {
        let peers = self.router_of(&member.room).map(|router| &router.peers);
        let own = peers.and_then(|peers| peers.get(&member.connection));
        if own.is_some_and(|own| own.len() >= MAX_TRANSPORTS) {
            return Err(SfuErrorKind::TooMany { what: "transports", max: MAX_TRANSPORTS }
                .in_scope(ErrorScope::Transport));
        }
        self.admit(now, member.connection).map_err(|kind| kind.in_scope(ErrorScope::Transport))?;
        let router = self.open_router(&member.room);
        let transport = Transport::new(now, member.clone(), router, direction);
        let (id, ice) = (transport.id, transport.ice());
        self.by_ufrag.insert(ice.username_fragment.clone().into_bytes(), id);
        self.timers.insert((transport.due, id));
        self.transports.insert(id, transport);
        self.on_router(router, |router, _| {
            router.peers.entry(member.connection).or_default().push(id);
        });
        self.register_transport(now, member.connection, id);
        let fingerprint =
            Fingerprint { algorithm: "sha-256".to_owned(), value: self.fingerprint.clone() };
        let dtls = DtlsParameters { role: DtlsRole::Auto, fingerprints: vec![fingerprint] };
        Ok(MediaResponse::TransportCreated { id, ice, candidates: self.candidates(), dtls })
    }

    /// Returns the router of a room, and creates it if there is none.
    fn open_router(&mut self, room: &RoomId) -> RouterId {
        if let Some(id) = self.rooms.get(room) {
            return *id;
        }
        let id = RouterId::random();
        self.rooms.insert(room.clone(), id);
        self.routers.insert(id, Router::new(room.clone()));
        self.room_changes.push(RoomChange { room: room.clone(), is_open: true });
        id
    }

    fn restart_ice(&mut self, id: TransportId) -> MediaResponse {
        let restarted = self.on_transport(id, |transport, output| {
            // The client may use as many addresses again, and keeps its current one until it has
            // found another.
            (transport.restart_ice(output), transport.ice(), transport.addresses.restart())
        });
        let (old_ufrag, ice, forgotten) =
            restarted.expect("own_transport has just returned this id");
        self.by_ufrag.remove(old_ufrag.as_bytes());
        self.by_ufrag.insert(ice.username_fragment.clone().into_bytes(), id);
        for address in forgotten {
            self.remove_address(address, id);
        }
        MediaResponse::IceRestarted(id, ice)
    }

    fn produce(
        &mut self,
        now: Instant,
        member: &RoomMember,
        transport: &str,
        (kind, parameters): (TrackKind, &RtpParameters),
        app_data: Arc<str>,
    ) -> Result<MediaResponse, SfuError> {
        let id = self.own_transport(member, transport)?;
        let error = |kind: SfuErrorKind| kind.in_scope(ErrorScope::Produce);
        let own = &self.transports[&id];
        let router_id = own.router;
        if own.direction != Direction::Send {
            return Err(error(SfuErrorKind::WrongDirection("receiving")));
        }
        let max = self.settings.max_producers;
        if self.producers_of(member) >= max {
            return Err(error(SfuErrorKind::TooMany { what: "producers", max }));
        }
        if app_data.len() > self.settings.max_app_data {
            return Err(error(SfuErrorKind::Parameter { field: "appData", problem: "too large" }));
        }
        let description = TrackDescription::check(kind, parameters).map_err(error)?;
        self.check_unique(own, &description).map_err(error)?;
        if !own.can_accept(&description) {
            return Err(error(SfuErrorKind::TransportExhausted));
        }
        if !own.has_started() {
            self.start(now, id);
        }
        let producer = Producer {
            id: ProducerId::random(),
            owner: member.clone(),
            transport: id,
            is_paused: false,
            app_data,
            description,
            consumers: Vec::new(),
            limit: ProducerLimit::new(kind, self.settings.max_bitrate, now),
        };
        self.on_transport(id, |transport, output| {
            transport.declare_streams(&producer.description, output);
            transport.producers.push(producer.id);
        });
        let (id, transport) = (producer.id, producer.transport);
        self.on_router(router_id, |router, outlet| router.add_producer(producer, outlet));
        self.update_packet_limit(transport);
        Ok(MediaResponse::ProducerCreated(id))
    }

    fn producers_of(&self, member: &RoomMember) -> usize {
        let peers = self.router_of(&member.room).map(|router| &router.peers);
        let transports =
            peers.and_then(|peers| peers.get(&member.connection)).into_iter().flatten();
        let transports = transports.filter_map(|id| self.transports.get(id));
        transports.map(|transport| transport.producers.len()).sum()
    }

    /// Checks that no other producer of the transport has the same MID or SSRC.
    fn check_unique(
        &self,
        transport: &Transport,
        description: &TrackDescription,
    ) -> Result<(), SfuErrorKind> {
        let router = self.routers.get(&transport.router);
        let producer = |id| router.and_then(|router| router.producers.get(id));
        let others = || transport.producers.iter().filter_map(producer);
        let taken = |field, problem| SfuErrorKind::Parameter { field, problem };
        if others().any(|other| other.description.mid == description.mid) {
            return Err(taken("rtpParameters.mid", "another producer has it"));
        }
        let ssrcs: Vec<u32> =
            others().flat_map(|other| &other.description.layers).flat_map(Layer::ssrcs).collect();
        let mut ssrcs_of_new = description.layers.iter().flat_map(Layer::ssrcs);
        if ssrcs_of_new
            .any(|ssrc| ssrcs.contains(&ssrc) || transport.streams.contains_key(&ssrc.into()))
        {
            return Err(taken("rtpParameters.encodings", "another producer has this ssrc"));
        }
        Ok(())
    }

    fn consume(
        &mut self,
        now: Instant,
        member: &RoomMember,
        transport: &str,
        producer: &str,
        capabilities: &RtpCapabilities,
    ) -> Result<MediaResponse, SfuError> {
        let id = self.own_transport(member, transport)?;
        let error = |kind: SfuErrorKind| kind.in_scope(ErrorScope::Consume);
        let own = &self.transports[&id];
        let router_id = own.router;
        let router = self.routers.get(&router_id).ok_or(error(SfuErrorKind::Internal))?;
        if own.direction != Direction::Receive {
            return Err(error(SfuErrorKind::WrongDirection("sending")));
        }
        if own.consumers.len() >= MAX_CONSUMERS {
            return Err(error(SfuErrorKind::TooMany { what: "consumers", max: MAX_CONSUMERS }));
        }
        let producer = ProducerId::parse(producer).and_then(|id| router.producers.get(&id));
        let producer = producer
            .ok_or(error(SfuErrorKind::Unknown { field: "producerId", what: "producer" }))?;
        let is_consumed_here = |consumer| {
            router.consumers.get(consumer).is_some_and(|consumer| consumer.transport == id)
        };
        if producer.consumers.iter().any(is_consumed_here) {
            return Err(error(SfuErrorKind::Parameter {
                field: "producerId",
                problem: "this transport consumes it already",
            }));
        }
        let (codec, kind) = (producer.description.codec, producer.kind());
        let codecs = codecs::codecs_for(codec, capabilities);
        if codecs.is_empty() {
            let problem = "the codec of this producer is not among them";
            return Err(error(SfuErrorKind::Parameter {
                field: "rtpCapabilities.codecs",
                problem,
            }));
        }
        let layers = producer.description.layers.len();
        // Clients synchronize tracks of the same CNAME.
        let cname = producer
            .description
            .cname
            .clone()
            .unwrap_or_else(|| producer.owner.connection.to_string());
        let (producer_id, producer_info) = (producer.id, producer.info());
        let has_rtx = codecs.len() > 1;
        if !self.transports[&id].has_started() {
            self.start(now, id);
        }
        let streams = self
            .on_transport(id, |transport, output| {
                transport.add_consumer_streams(kind, has_rtx, output)
            })
            .flatten();
        let streams = streams.ok_or(error(SfuErrorKind::Internal))?;
        let consumer = Consumer::new(member.clone(), producer_id, id, codec, layers, streams);
        let consumer_id = consumer.id;
        if let Some(transport) = self.transports.get_mut(&id) {
            transport.consumers.push(consumer_id);
        }
        self.on_router(router_id, |router, outlet| router.add_consumer(consumer, outlet));
        let rtx = streams.rtx.map(|ssrc| Retransmission { ssrc: *ssrc });
        let parameters = RtpParameters {
            mid: Some(streams.mid.to_string()),
            codecs,
            header_extensions: codecs::extensions_for(kind, capabilities),
            encodings: vec![Encoding { ssrc: Some(*streams.ssrc), rtx, ..Encoding::default() }],
            rtcp: Some(RtcpParameters { cname: Some(cname), reduced_size: Some(true) }),
        };
        let is_simulcast = layers > 1;
        Ok(MediaResponse::ConsumerCreated(Box::new(ConsumerInfo {
            id: consumer_id,
            producer: producer_info,
            parameters,
            is_simulcast,
        })))
    }

    fn act_on_consumer(
        &mut self,
        now: Instant,
        member: &RoomMember,
        id: &str,
        action: ConsumerAction,
    ) -> Result<MediaResponse, SfuError> {
        let own = ConsumerId::parse(id).zip(self.rooms.get(&member.room).copied());
        let own = own.and_then(|(id, router)| {
            Some((self.routers.get_mut(&router)?.consumers.get_mut(&id)?, router))
        });
        let own = own.filter(|(consumer, _)| is_owner(&consumer.owner, member));
        let unknown = SfuErrorKind::Unknown { field: "consumerId", what: "consumer" };
        let (consumer, router) = own.ok_or(unknown.in_scope(ErrorScope::Consume))?;
        let (id, transport) = (consumer.id, consumer.transport);
        let mut effective = action;
        match action {
            ConsumerAction::Pause | ConsumerAction::Resume => {
                let is_paused = action == ConsumerAction::Pause;
                if consumer.is_paused != is_paused {
                    consumer.is_paused = is_paused;
                    consumer.is_suspended = false;
                    consumer.interrupt();
                    let (streams, kind) = (consumer.streams(), consumer.codec.kind());
                    self.on_transport(transport, |transport, _| {
                        transport.set_withheld(streams, is_paused);
                        if !is_paused && kind == TrackKind::Video {
                            transport.congestion.video_resumed();
                        }
                    });
                    self.allocate(now, transport);
                    self.on_router(router, |router, outlet| {
                        router.request_keyframe_for(now, id, outlet);
                    });
                }
            }
            ConsumerAction::Close => _ = self.close_consumer(router, id),
            ConsumerAction::Layers { spatial, temporal } => {
                consumer.set_max_layers(spatial, temporal.unwrap_or(u8::MAX));
                let spatial = u8::try_from(consumer.max_layer).unwrap_or(u8::MAX);
                self.allocate(now, transport);
                effective = ConsumerAction::Layers { spatial, temporal };
            }
            ConsumerAction::Keyframe => {
                self.on_router(router, |router, outlet| {
                    router.request_keyframe_for(now, id, outlet);
                });
            }
        }
        Ok(MediaResponse::Consumer(id, effective))
    }

    fn act_on_producer(
        &mut self,
        now: Instant,
        member: &RoomMember,
        id: &str,
        action: ProducerAction,
    ) -> Result<MediaResponse, SfuError> {
        let own = ProducerId::parse(id).zip(self.rooms.get(&member.room).copied());
        let own = own.and_then(|(id, router)| {
            Some((self.routers.get(&router)?.producers.get(&id)?, router))
        });
        let own = own.filter(|(producer, _)| is_owner(&producer.owner, member));
        let unknown = SfuErrorKind::Unknown { field: "producerId", what: "producer" };
        let (id, router) = own
            .map(|(producer, router)| (producer.id, router))
            .ok_or(unknown.in_scope(ErrorScope::Produce))?;
        if action == ProducerAction::Close {
            self.close_producer(router, id);
            return Ok(MediaResponse::Producer(id, action));
        }
        self.on_router(router, |router, outlet| {
            if router.set_producer_paused(now, id, action == ProducerAction::Pause, outlet) {
                let changed = MediaEvent::ProducerChanged(id, member.peer.clone(), action);
                router.notify_others(member, changed, outlet);
            }
        });
        Ok(MediaResponse::Producer(id, action))
    }
}

fn is_owner(owner: &RoomMember, member: &RoomMember) -> bool {
    owner.connection == member.connection && owner.room == member.room
}
