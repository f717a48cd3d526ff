//! Forwarding: datagrams in, packets to their consumers, datagrams out, and everything driven by time.
//!
//! - [`Sfu::receive`] finds the transport of a datagram: by the ufrag of a STUN request, else by its source address;
//! - the resulting [`TransportEvent`]s are processed until there are no more;
//! - [`Sfu::poll`] runs due timers, and returns the datagrams to send and the notices to deliver.
//!
//! Invariant: a datagram of an unknown sender costs one look-up. Only a request that names a transport has its
//! MESSAGE-INTEGRITY verified, and only a verified one changes state or counts towards a limit of its transport, since
//! anyone can forge one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::ice::StunMessage;
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};

use super::consumer::Forwarded;
use super::id::{ConsumerId, ProducerId, TransportId};
use super::output::{Datagram, TransportEvent};
use super::parameters::TrackKind;
use super::payload::PayloadInfo;
use super::producer::max_bitrate;
use super::request::{Direction, MediaEvent, Notice, NoticeTarget};
use super::state::Sfu;
use super::stun;
use super::transport::Transport;

/// Largest datagram that is accepted, in bytes: what fits into an Ethernet frame.
const MAX_DATAGRAM: usize = 1500;

/// Interval of bandwidth allocation.
const ALLOCATION_INTERVAL: Duration = Duration::from_millis(250);

/// Interval of REMB messages to a client.
const REMB_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of transports whose timers run in one poll: their datagrams are sent before others have their turn.
const MAX_TIMERS_PER_POLL: usize = 2;

/// Maximum number of transports whose written packets are sent in one poll. Their datagrams go to the kernel together,
/// which saves system calls; the thread yields to signaling between two polls, so it takes no more than some hundred
/// microseconds.
const MAX_READY_PER_POLL: usize = 16;

/// Why a datagram is dropped.
enum Dropped {
    /// The datagram belongs to no transport.
    Unknown,
    /// The transport has exceeded its rate limit.
    OverLimit,
}

/// The result of [`Sfu::poll`], passed to each poll again to reuse its memory.
#[derive(Debug, Default)]
pub struct PollOutput {
    /// Datagrams to send, in order.
    pub datagrams: Vec<Datagram>,
    /// Notices to deliver, in order.
    pub notices: Vec<Notice>,
    /// When to poll again at the latest; `None` if no timer is set.
    pub next: Option<Instant>,
}

impl Sfu {
    /// Processes a received datagram. Returns `false` if it was dropped before anything was decrypted or sent for it,
    /// which costs little.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> bool {
        self.counted.received += 1;
        self.counted.received_bytes += datagram.len() as u64;
        if datagram.len() > MAX_DATAGRAM {
            self.counted.ignored += 1;
            return false;
        }
        // RFC 7983, section 7.
        let found = match datagram.first() {
            Some(0..=3) => self.authenticate(now, from, datagram),
            _ => self.by_address.get(&from).map(|id| (*id, false)).ok_or(Dropped::Unknown),
        };
        if matches!(found, Err(Dropped::OverLimit)) {
            self.counted.binding_requests_over_limit += 1;
            return false;
        }
        let local = self.foundation.local.iter().find(|local| local.is_ipv4() == from.is_ipv4()).copied();
        let (Ok((id, is_nominated)), Some(local)) = (found, local) else {
            self.counted.ignored += 1;
            return false;
        };
        let is_accepted = self.on_transport(id, |transport, output| {
            if is_nominated {
                transport.abandon_old_paths(from);
            }
            transport.receive(now, from, local, datagram, output)
        });
        self.counted.ignored += u64::from(is_accepted != Some(true));
        self.process_events(now);
        true
    }

    /// Returns the transport whose password a binding request proves to know, and whether the request nominates its
    /// path (USE-CANDIDATE).
    fn authenticate(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(TransportId, bool), Dropped> {
        let id = stun::local_ufrag(datagram).and_then(|ufrag| self.by_ufrag.get(ufrag).copied());
        let id = id.ok_or(Dropped::Unknown)?;
        let transport = self.transports.get_mut(&id).ok_or(Dropped::Unknown)?;
        if !transport.binding_requests.has(now, 1.0) {
            return Err(Dropped::OverLimit);
        }
        let request = StunMessage::parse(datagram).ok().filter(StunMessage::is_binding_request);
        let request = request.ok_or(Dropped::Unknown)?;
        let (_, remote_ufrag) = request.split_username().ok_or(Dropped::Unknown)?;
        if !transport.verifies(&request, &self.foundation.crypto) {
            return Err(Dropped::Unknown);
        }
        transport.binding_requests.take(now, 1.0);
        if !transport.has_started() {
            self.start(now, id);
        }
        self.accept_address(id, from)?;
        self.on_transport(id, |transport, output| transport.accept_ufrag(remote_ufrag, output));
        Ok((id, request.use_candidate()))
    }

    /// Assigns an address to a transport. It is not taken over from another transport that is connected.
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

    /// Sends written packets, runs due timers, and replaces the contents of `poll_output`. If more is due at once,
    /// [`PollOutput::next`] is not in the future.
    pub fn poll(&mut self, now: Instant, output: &mut PollOutput) {
        self.close_overdue(now);
        self.process_events(now);
        self.send_written(now);
        let mut timers_run = 0;
        while let Some((due, id)) = self.timers.first().copied()
            && due <= now
        {
            timers_run += 1;
            if timers_run > MAX_TIMERS_PER_POLL {
                break;
            }
            self.on_transport(id, |transport, output| transport.advance(now, output));
            self.process_events(now);
        }
        if self.allocated_at.is_none_or(|last| now.saturating_duration_since(last) >= ALLOCATION_INTERVAL) {
            self.allocated_at = Some(now);
            let is_receiving =
                |transport: &&Transport| transport.direction == Direction::Receive && transport.is_connected;
            let receiving = self.transports.values().filter(is_receiving);
            let receiving: Vec<TransportId> = receiving.map(|transport| transport.id).collect();
            for id in receiving {
                self.allocate(now, id);
            }
            self.process_events(now);
        }
        let due = self.timers.first().map(|(due, _)| *due);
        let allocate_at =
            self.allocated_at.map(|last| last + ALLOCATION_INTERVAL).filter(|_| !self.consumers.is_empty());
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        let at_once = (!self.ready.is_empty()).then_some(now);
        output.next = due.into_iter().chain(allocate_at).chain(deadline).chain(at_once).min();
        output.datagrams.clear();
        std::mem::swap(&mut output.datagrams, &mut self.output.datagrams);
        output.notices.clear();
        std::mem::swap(&mut output.notices, &mut self.notices);
    }

    /// Sends the packets written to the next [`MAX_READY_PER_POLL`] transports.
    fn send_written(&mut self, now: Instant) {
        for _ in 0..MAX_READY_PER_POLL {
            let Some(id) = self.ready.pop_front() else { return };
            self.on_transport(id, |transport, output| {
                transport.is_ready = false;
                transport.send_written(now, output);
            });
            self.process_events(now);
        }
    }

    /// Processes the events of transports, and the events that result from them.
    pub(super) fn process_events(&mut self, now: Instant) {
        while let Some((id, event)) = self.output.events.pop_front() {
            match event {
                TransportEvent::Packet(packet) => self.forward(now, id, &packet),
                TransportEvent::KeyframeRequested(mid) => {
                    let consumers = self.transports.get(&id).into_iter().flat_map(|transport| &transport.consumers);
                    let mut consumers = consumers.filter_map(|id| self.consumers.get(id));
                    if let Some(consumer) = consumers.find(|consumer| consumer.mid == mid).map(|consumer| consumer.id) {
                        self.request_keyframe_for(now, consumer);
                    }
                }
                TransportEvent::Connected | TransportEvent::Reconnected => {
                    self.clear_deadline(id);
                    let consumers = self.transports.get(&id).map(|transport| transport.consumers.clone());
                    for consumer in consumers.into_iter().flatten() {
                        if let Some(consumer) = self.consumers.get_mut(&consumer) {
                            consumer.interrupt();
                        }
                        self.request_keyframe_for(now, consumer);
                    }
                }
                // The client may reconnect or restart ICE.
                TransportEvent::Disconnected => {
                    if let Some(connection) = self.transports.get(&id).map(|transport| transport.owner.connection) {
                        self.notify(connection, MediaEvent::TransportFailed(id));
                    }
                }
                TransportEvent::Failed => self.fail_transport(id),
            }
        }
    }

    /// Forwards a packet to all consumers of its producer.
    fn forward(&mut self, now: Instant, id: TransportId, packet: &RtpPacket) {
        let ssrc = packet.header.ssrc;
        let known = self.transports.get(&id).and_then(|transport| transport.streams.get(&ssrc)).copied();
        let Some((producer_id, layer)) = known.or_else(|| self.identify_stream(id, packet)) else { return };
        let Some(producer) = self.producers.get_mut(&producer_id) else { return };
        let size = packet.payload.len();
        // Padding has no payload.
        if size == 0 {
            return;
        }
        if !producer.description.formats.has_payload_type(*packet.header.payload_type) {
            self.counted.undeclared_payload_types += 1;
            return;
        }
        if !producer.limit.take(now, size) {
            self.counted.over_limit += 1;
            return;
        }
        let codec = producer.description.codec;
        let info = PayloadInfo::parse(codec, &packet.payload);
        let of_layer = &mut producer.description.layers[layer];
        of_layer.meter.add(now, size);
        if info.starts_keyframe {
            of_layer.keyframe_throttle.keyframe_arrived();
        }
        let mut needs_keyframe = of_layer.keyframe_throttle.is_due(now);
        if producer.is_paused {
            return;
        }
        let consumers = std::mem::take(&mut producer.consumers);
        for consumer in &consumers {
            needs_keyframe |= self.forward_to(now, *consumer, layer, packet, &info);
        }
        if let Some(producer) = self.producers.get_mut(&producer_id) {
            producer.consumers = consumers;
        }
        if needs_keyframe && codec.kind() == TrackKind::Video {
            self.request_keyframe(now, producer_id, layer);
        }
        if let (TrackKind::Audio, Some(level)) = (codec.kind(), packet.header.ext_vals.audio_level) {
            self.observe_audio_level(now, producer_id, level);
        }
        self.send_remb(now, id, producer_id, layer);
    }

    /// Returns the producer and layer of a stream at its first packet.
    fn identify_stream(&mut self, id: TransportId, packet: &RtpPacket) -> Option<(ProducerId, usize)> {
        let ssrc = packet.header.ssrc;
        let (mid, rid) = self.on_transport(id, |transport, output| transport.identify(ssrc, output)).flatten()?;
        let transport = self.transports.get_mut(&id)?;
        let mut producers = transport.producers.iter().filter_map(|id| self.producers.get(id));
        let producer = producers.find(|producer| producer.description.mid == mid)?;
        let found = (producer.id, producer.layer(*ssrc, rid)?);
        transport.streams.insert(ssrc, found);
        Some(found)
    }

    /// Forwards a packet to one consumer, and returns whether the consumer needs a keyframe.
    fn forward_to(
        &mut self,
        now: Instant,
        id: ConsumerId,
        layer: usize,
        packet: &RtpPacket,
        info: &PayloadInfo,
    ) -> bool {
        let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| consumer.is_flowing()) else { return false };
        let is_connected = self.transports.get(&consumer.transport).is_some_and(|transport| transport.is_connected);
        if !is_connected {
            return false;
        }
        let Forwarded { write, needs_keyframe, has_switched } = consumer.forward(now, layer, packet, info);
        let (transport, ssrc, connection) = (consumer.transport, consumer.ssrc, consumer.owner.connection);
        let producer = consumer.producer;
        if let Some(write) = write {
            if self.send(transport, ssrc, write) {
                self.counted.forwarded += 1;
            } else if let Some(consumer) = self.consumers.get_mut(&id) {
                consumer.interrupt();
            }
        }
        if has_switched && self.producers.get(&producer).is_some_and(|producer| producer.description.layers.len() > 1) {
            let layer = u8::try_from(layer).unwrap_or(u8::MAX);
            self.notify(connection, MediaEvent::LayersChanged(id, layer));
        }
        needs_keyframe
    }

    /// Queues a packet of a transport, and returns whether it was queued.
    fn send(&mut self, id: TransportId, ssrc: Ssrc, write: RtpWrite) -> bool {
        let Some(transport) = self.transports.get_mut(&id) else { return false };
        let is_queued = transport.send(ssrc, write, &mut self.output);
        if is_queued && !std::mem::replace(&mut transport.is_ready, true) {
            self.ready.push_back(id);
        }
        is_queued
    }

    /// Requests a keyframe of the layer that a consumer needs.
    pub(super) fn request_keyframe_for(&mut self, now: Instant, id: ConsumerId) {
        let Some(consumer) = self.consumers.get(&id).filter(|consumer| consumer.is_flowing()) else { return };
        if consumer.codec.kind() == TrackKind::Video {
            let (producer, layer) = (consumer.producer, consumer.needed_layer());
            self.request_keyframe(now, producer, layer);
        }
    }

    /// Requests a keyframe of a producer's layer, unless one was requested just now.
    pub(super) fn request_keyframe(&mut self, now: Instant, id: ProducerId, layer: usize) {
        let Some(producer) = self.producers.get_mut(&id).filter(|producer| !producer.is_paused) else { return };
        let (transport, mid) = (producer.transport, producer.description.mid);
        let Some(of_layer) = producer.description.layers.get_mut(layer) else { return };
        if of_layer.keyframe_throttle.request(now) {
            let stream = (of_layer.ssrc, of_layer.rid);
            self.counted.keyframes += 1;
            self.on_transport(transport, |transport, output| transport.send_pli(mid, stream, output));
        }
    }

    fn observe_audio_level(&mut self, now: Instant, id: ProducerId, level: i8) {
        let Some(producer) = self.producers.get(&id) else { return };
        let room = producer.owner.room.clone();
        let changed = self.rooms.get_mut(&room).and_then(|media| media.active_speaker.observe(now, id, level));
        let Some((loudest, level)) = changed else { return };
        if let Some(peer) = self.producers.get(&loudest).map(|producer| producer.owner.peer.clone()) {
            let event = MediaEvent::ActiveSpeaker { peer, producer: loudest, level };
            self.notices.push(Notice { to: NoticeTarget::Room(room, None), event });
        }
    }

    /// Sends a client its maximum bitrate (REMB) once per interval.
    fn send_remb(&mut self, now: Instant, id: TransportId, producer: ProducerId, layer: usize) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        if transport.remb_sent_at.is_some_and(|last| now.saturating_duration_since(last) < REMB_INTERVAL) {
            return;
        }
        transport.remb_sent_at = Some(now);
        let max = self.settings.max_bitrate;
        let producers = transport.producers.iter().filter_map(|id| self.producers.get(id));
        let bits = producers.map(|producer| u64::from(max_bitrate(producer.kind(), max))).sum();
        let Some(producer) = self.producers.get(&producer) else { return };
        let (mid, of_layer) = (producer.description.mid, &producer.description.layers[layer]);
        let stream = (of_layer.ssrc, of_layer.rid);
        self.on_transport(id, |transport, output| transport.send_remb(bits, mid, stream, output));
    }
}
