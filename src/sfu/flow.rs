//! Media on its way: datagrams in, packets to their consumers, datagrams out, and what is done by the clock.
//!
//! - [`Sfu::receive`] finds the transport of a datagram: by the ufrag of a STUN request, else by its address;
//! - what happens on a transport because of it ([`Happening`]) is worked off until nothing more does;
//! - [`Sfu::poll`] lets time pass where that is due, and gives what is to be sent and told.
//!
//! The guarantee that is easy to break: a datagram from nobody costs one look-up. Only a request that names a transport
//! is checked for its signature, and only one that passes changes anything, or counts towards a limit of its transport:
//! anybody can write one in a client's name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::ice::StunMessage;
use str0m::rtp::RtpPacket;

use super::codec::Glance;
use super::consumer::Offered;
use super::id::{ConsumerId, ProducerId, TransportId};
use super::output::{Datagram, Happening};
use super::parameters::Kind;
use super::producer::max_bitrate;
use super::request::{Audience, Direction, MediaEvent, Notice};
use super::stun;
use super::switch::Sfu;
use super::transport::Transport;

/// The largest datagram that is read, in bytes: what fits into an Ethernet frame.
const MAX_DATAGRAM: usize = 1500;

/// How often bandwidth is shared out anew.
const ALLOT_INTERVAL: Duration = Duration::from_millis(250);

/// How often a client is told how much it may send.
const LIMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How many transports are let go on in one poll: what they send leaves before others have their turn.
const MOST_TICKS: usize = 2;

/// Why a datagram is dropped.
enum Dropped {
    /// It is nobody's.
    Unknown,
    /// Its transport has sent too many.
    OverLimit,
}

/// What is to be done. It is given to each poll anew, so that its memory is used again.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be sent, in this order.
    pub datagrams: Vec<Datagram>,
    /// To be told, in this order.
    pub notices: Vec<Notice>,
    /// When to poll again at the latest; `None` while there is nothing to do.
    pub next: Option<Instant>,
}

impl Sfu {
    /// Takes a datagram.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.counted.received += 1;
        self.counted.received_bytes += datagram.len() as u64;
        if datagram.len() > MAX_DATAGRAM {
            self.counted.ignored += 1;
            return;
        }
        // RFC 7983, section 7.
        let found = match datagram.first() {
            Some(0..=3) => self.authenticate(now, from, datagram),
            _ => self.by_address.get(&from).map(|id| (*id, false)).ok_or(Dropped::Unknown),
        };
        if matches!(found, Err(Dropped::OverLimit)) {
            self.counted.checks_over_limit += 1;
            return;
        }
        let local = self.foundation.local.iter().find(|local| local.is_ipv4() == from.is_ipv4()).copied();
        let (Ok((id, nominates)), Some(local)) = (found, local) else {
            self.counted.ignored += 1;
            return;
        };
        let is_taken = self.on_transport(id, |transport, sink| {
            if nominates {
                transport.leave_old_paths(from);
            }
            transport.receive(now, from, local, datagram, sink)
        });
        self.counted.ignored += u64::from(is_taken != Some(true));
        self.settle(now);
    }

    /// The transport that a binding request is for, if it proves to know its password; and whether it says that media is to
    /// come this way.
    fn authenticate(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(TransportId, bool), Dropped> {
        let id = stun::local_ufrag(datagram).and_then(|ufrag| self.by_ufrag.get(ufrag).copied());
        let id = id.ok_or(Dropped::Unknown)?;
        let transport = self.transports.get_mut(&id).ok_or(Dropped::Unknown)?;
        if !transport.checks.has(now, 1.0) {
            return Err(Dropped::OverLimit);
        }
        let request = StunMessage::parse(datagram).ok().filter(StunMessage::is_binding_request);
        let request = request.ok_or(Dropped::Unknown)?;
        let (_, theirs) = request.split_username().ok_or(Dropped::Unknown)?;
        if !transport.verifies(&request, &self.foundation.crypto) {
            return Err(Dropped::Unknown);
        }
        transport.checks.take(now, 1.0);
        if !transport.has_begun() {
            // The request is signed, but this transport answers none yet.
            if transport.direction == Direction::Send {
                return Ok((id, false));
            }
            self.begin(now, id);
        }
        self.accept_address(id, from)?;
        self.on_transport(id, |transport, sink| transport.accept_ufrag(theirs, sink));
        Ok((id, request.use_candidate()))
    }

    /// Makes an address a transport's. One that another has is not taken from it while it is in use.
    fn accept_address(&mut self, id: TransportId, from: SocketAddr) -> Result<(), Dropped> {
        let holder = self.by_address.get(&from).copied().filter(|holder| *holder != id);
        let mut holder = holder.and_then(|holder| self.transports.get_mut(&holder));
        if holder.as_ref().is_some_and(|holder| holder.is_connected) {
            return Err(Dropped::Unknown);
        }
        if let Some(holder) = &mut holder {
            holder.addresses.remove(from);
        }
        let is_accepted = self.transports.get_mut(&id).is_some_and(|transport| transport.addresses.accept(from));
        if !is_accepted {
            return Err(Dropped::Unknown);
        }
        self.by_address.insert(from, id);
        Ok(())
    }

    /// Lets time pass, and gives what is to be done instead of what was before. There may be more to poll for at once:
    /// [`Outputs::next`] has come then.
    pub fn poll(&mut self, now: Instant, outputs: &mut Outputs) {
        self.end_overdue(now);
        self.settle(now);
        let mut turns = 0;
        while let Some((due, id)) = self.timers.first().copied()
            && due <= now
        {
            turns += 1;
            if turns > MOST_TICKS {
                break;
            }
            self.on_transport(id, |transport, sink| transport.tick(now, sink));
            self.settle(now);
        }
        if self.allotted_at.is_none_or(|last| now.saturating_duration_since(last) >= ALLOT_INTERVAL) {
            self.allotted_at = Some(now);
            let is_receiving =
                |transport: &&Transport| transport.direction == Direction::Receive && transport.is_connected;
            let receiving = self.transports.values().filter(is_receiving);
            let receiving: Vec<TransportId> = receiving.map(|transport| transport.id).collect();
            for id in receiving {
                self.allot(now, id);
            }
            self.settle(now);
        }
        let due = self.timers.first().map(|(due, _)| *due);
        let allot_at = self.allotted_at.map(|last| last + ALLOT_INTERVAL).filter(|_| !self.consumers.is_empty());
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        outputs.next = due.into_iter().chain(allot_at).chain(deadline).min();
        outputs.datagrams.clear();
        std::mem::swap(&mut outputs.datagrams, &mut self.sink.datagrams);
        outputs.notices.clear();
        std::mem::swap(&mut outputs.notices, &mut self.notices);
    }

    /// Works off what happened, and what happens because of that.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some((id, happening)) = self.sink.happenings.pop_front() {
            match happening {
                Happening::Packet(packet) => self.forward(now, id, &packet),
                Happening::KeyframeWanted(mid) => {
                    let consumers = self.transports.get(&id).into_iter().flat_map(|transport| &transport.consumers);
                    let mut consumers = consumers.filter_map(|id| self.consumers.get(id));
                    if let Some(consumer) = consumers.find(|consumer| consumer.mid == mid).map(|consumer| consumer.id) {
                        self.ask_for(now, consumer);
                    }
                }
                Happening::Connected | Happening::Back => {
                    self.forget_deadline(id);
                    let consumers = self.transports.get(&id).map(|transport| transport.consumers.clone());
                    for consumer in consumers.into_iter().flatten() {
                        if let Some(consumer) = self.consumers.get_mut(&consumer) {
                            consumer.interrupt();
                        }
                        self.ask_for(now, consumer);
                    }
                }
                // It may come back, or restart ICE.
                Happening::Lost => {
                    if let Some(connection) = self.transports.get(&id).map(|transport| transport.owner.connection) {
                        self.tell(connection, MediaEvent::TransportFailed(id));
                    }
                }
                Happening::Dead => self.fail_transport(id),
            }
        }
    }

    /// Sends a packet on to all who want it.
    fn forward(&mut self, now: Instant, id: TransportId, packet: &RtpPacket) {
        let ssrc = packet.header.ssrc;
        let known = self.transports.get(&id).and_then(|transport| transport.streams.get(&ssrc)).copied();
        let Some((producer_id, layer)) = known.or_else(|| self.recognize(id, packet)) else { return };
        let Some(producer) = self.producers.get_mut(&producer_id) else { return };
        let size = packet.payload.len();
        // Padding has nothing in it; what else has another payload type is not what was described.
        if size == 0 || *packet.header.payload_type != producer.description.payload_type {
            return;
        }
        if !producer.allowance.take(now, size) {
            self.counted.over_limit += 1;
            return;
        }
        let codec = producer.description.codec;
        let glance = Glance::at(codec, &packet.payload);
        let of_layer = &mut producer.description.layers[layer];
        of_layer.meter.add(now, size);
        if glance.starts_keyframe {
            of_layer.asking.answered();
        }
        let mut needs_keyframe = of_layer.asking.is_due(now);
        if producer.is_paused {
            return;
        }
        let consumers = std::mem::take(&mut producer.consumers);
        for consumer in &consumers {
            needs_keyframe |= self.offer(now, *consumer, layer, packet, &glance);
        }
        if let Some(producer) = self.producers.get_mut(&producer_id) {
            producer.consumers = consumers;
        }
        if needs_keyframe && codec.kind() == Kind::Video {
            self.ask_layer(now, producer_id, layer);
        }
        if let (Kind::Audio, Some(level)) = (codec.kind(), packet.header.ext_vals.audio_level) {
            self.hear(now, producer_id, level);
        }
        self.limit(now, id, producer_id, layer);
    }

    /// Finds out whose a stream is, when it is first heard.
    fn recognize(&mut self, id: TransportId, packet: &RtpPacket) -> Option<(ProducerId, usize)> {
        let ssrc = packet.header.ssrc;
        let (mid, rid) = self.on_transport(id, |transport, sink| transport.identify(ssrc, sink)).flatten()?;
        let transport = self.transports.get_mut(&id)?;
        let mut producers = transport.producers.iter().filter_map(|id| self.producers.get(id));
        let producer = producers.find(|producer| producer.description.mid == mid)?;
        let found = (producer.id, producer.layer(*ssrc, rid)?);
        transport.streams.insert(ssrc, found);
        Some(found)
    }

    /// Offers a packet to one consumer; whether it needs a keyframe.
    fn offer(&mut self, now: Instant, id: ConsumerId, layer: usize, packet: &RtpPacket, glance: &Glance) -> bool {
        let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| !consumer.is_paused) else { return false };
        let is_connected = self.transports.get(&consumer.transport).is_some_and(|transport| transport.is_connected);
        if !is_connected {
            return false;
        }
        let Offered { write, needs_keyframe, has_switched } = consumer.offer(now, layer, packet, glance);
        let (transport, ssrc, connection) = (consumer.transport, consumer.ssrc, consumer.owner.connection);
        let producer = consumer.producer;
        if let Some(write) = write {
            let sent = self.on_transport(transport, |transport, sink| transport.send(now, ssrc, write, sink));
            if sent == Some(true) {
                self.counted.forwarded += 1;
            } else if let Some(consumer) = self.consumers.get_mut(&id) {
                consumer.interrupt();
            }
        }
        if has_switched && self.producers.get(&producer).is_some_and(|producer| producer.description.layers.len() > 1) {
            let layer = u8::try_from(layer).unwrap_or(u8::MAX);
            self.tell(connection, MediaEvent::LayersChanged(id, layer));
        }
        needs_keyframe
    }

    /// Asks the source of a consumer for a keyframe of the layer that it needs.
    pub(super) fn ask_for(&mut self, now: Instant, id: ConsumerId) {
        let Some(consumer) = self.consumers.get(&id).filter(|consumer| !consumer.is_paused) else { return };
        if consumer.codec.kind() == Kind::Video {
            let (producer, layer) = (consumer.producer, consumer.needed_layer());
            self.ask_layer(now, producer, layer);
        }
    }

    /// Asks for a keyframe, unless that was done just now.
    pub(super) fn ask_layer(&mut self, now: Instant, id: ProducerId, layer: usize) {
        let Some(producer) = self.producers.get_mut(&id).filter(|producer| !producer.is_paused) else { return };
        let (transport, mid) = (producer.transport, producer.description.mid);
        let Some(of_layer) = producer.description.layers.get_mut(layer) else { return };
        if of_layer.asking.ask(now) {
            let stream = (of_layer.ssrc, of_layer.rid);
            self.counted.keyframes += 1;
            self.on_transport(transport, |transport, sink| transport.ask_for_keyframe(mid, stream, sink));
        }
    }

    fn hear(&mut self, now: Instant, id: ProducerId, level: i8) {
        let Some(producer) = self.producers.get(&id) else { return };
        let room = producer.owner.room.clone();
        let heard = self.rooms.get_mut(&room).and_then(|media| media.speaker.hear(now, id, level));
        let Some((loudest, level)) = heard else { return };
        if let Some(peer) = self.producers.get(&loudest).map(|producer| producer.owner.peer.clone()) {
            let event = MediaEvent::ActiveSpeaker { peer, producer: loudest, level };
            self.notices.push(Notice { to: Audience::Room(room, None), event });
        }
    }

    /// Tells a client how much it may send, now and then.
    fn limit(&mut self, now: Instant, id: TransportId, producer: ProducerId, layer: usize) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        if transport.limited_at.is_some_and(|last| now.saturating_duration_since(last) < LIMIT_INTERVAL) {
            return;
        }
        transport.limited_at = Some(now);
        let max = self.settings.max_bitrate;
        let producers = transport.producers.iter().filter_map(|id| self.producers.get(id));
        let bits = producers.map(|producer| u64::from(max_bitrate(producer.kind(), max))).sum();
        let Some(producer) = self.producers.get(&producer) else { return };
        let (mid, of_layer) = (producer.description.mid, &producer.description.layers[layer]);
        let stream = (of_layer.ssrc, of_layer.rid);
        self.on_transport(id, |transport, sink| transport.limit(bits, mid, stream, sink));
    }
}
