//! The router of one room: its producers, its consumers, and its active speaker.
//!
//! A router decides which packets go to which consumers and how they are numbered. It knows
//! transports only by their ids: packets, keyframe requests and notices leave through its
//! [`Outlet`].
//!
//! Invariant: a router reads and changes nothing of another room, so that a room can run on a
//! thread of its own.

use std::collections::HashMap;
use std::time::Instant;

use str0m::media::{Mid, Rid};
use str0m::rtp::{RtpWrite, Ssrc};

use super::active_speaker::ActiveSpeakerDetector;
use super::consumer::{Consumer, Forwarded};
use super::id::{ById, ConsumerId, ProducerId, TransportId};
use super::packet::Packet;
use super::parameters::TrackKind;
use super::payload::PayloadInfo;
use super::producer::Producer;
use super::request::{MediaEvent, Notice, NoticeTarget, ProducerInfo, RoomMember};
use super::stats::MediaStats;
use crate::id::{ConnectionId, RoomId};

/// The transports of a room, and the clients behind them, as needed by its router.
pub(super) trait Outlet {
    /// Returns whether a transport can send.
    fn is_connected(&self, transport: TransportId) -> bool;

    /// Queues a packet on a stream of a transport. Returns `false` if it was dropped.
    fn send(&mut self, transport: TransportId, ssrc: Ssrc, write: RtpWrite) -> bool;

    /// Requests a keyframe of a stream, which is identified by its SSRC or its RID.
    fn request_keyframe(
        &mut self,
        transport: TransportId,
        mid: Mid,
        stream: (Option<u32>, Option<Rid>),
    );

    /// Queues a notice.
    fn notify(&mut self, notice: Notice);

    /// Returns the counters to add to.
    fn counters(&mut self) -> &mut MediaStats;
}

/// The router of one room. It exists while a peer of the room has a transport.
pub(super) struct Router {
    pub(super) room: RoomId,
    /// The transports of each peer.
    pub(super) peers: HashMap<ConnectionId, Vec<TransportId>>,
    pub(super) producers: ById<ProducerId, Producer>,
    pub(super) consumers: ById<ConsumerId, Consumer>,
    /// All producers, oldest first.
    order: Vec<ProducerId>,
    active_speaker: ActiveSpeakerDetector,
}

impl Router {
    pub(super) fn new(room: RoomId) -> Self {
        Self {
            room,
            peers: HashMap::new(),
            producers: ById::default(),
            consumers: ById::default(),
            order: Vec::new(),
            active_speaker: ActiveSpeakerDetector::default(),
        }
    }

    /// Lists the producers, oldest first.
    pub(super) fn list(&self) -> Vec<ProducerInfo> {
        self.order.iter().filter_map(|id| self.producers.get(id)).map(Producer::info).collect()
    }

    /// Adds a producer and announces it to the other members of the room.
    pub(super) fn add_producer(&mut self, producer: Producer, outlet: &mut impl Outlet) {
        self.notify_others(&producer.owner, MediaEvent::ProducerAdded(producer.info()), outlet);
        outlet.counters().producers += 1;
        self.order.push(producer.id);
        self.producers.insert(producer.id, producer);
    }

    /// Adds a consumer of one of the producers.
    pub(super) fn add_consumer(&mut self, consumer: Consumer, outlet: &mut impl Outlet) {
        if let Some(producer) = self.producers.get_mut(&consumer.producer) {
            producer.consumers.push(consumer.id);
        }
        outlet.counters().consumers += 1;
        self.consumers.insert(consumer.id, consumer);
    }

    /// Removes a producer, whose consumers must have been removed before.
    pub(super) fn remove_producer(
        &mut self,
        id: ProducerId,
        outlet: &mut impl Outlet,
    ) -> Option<Producer> {
        let producer = self.producers.remove(&id)?;
        outlet.counters().producers -= 1;
        self.order.retain(|own| *own != id);
        self.active_speaker.remove(id);
        Some(producer)
    }

    /// Removes a consumer.
    pub(super) fn remove_consumer(
        &mut self,
        id: ConsumerId,
        outlet: &mut impl Outlet,
    ) -> Option<Consumer> {
        let consumer = self.consumers.remove(&id)?;
        outlet.counters().consumers -= 1;
        if let Some(producer) = self.producers.get_mut(&consumer.producer) {
            producer.consumers.retain(|own| *own != id);
        }
        Some(consumer)
    }

    /// Pauses or resumes a producer. Returns whether that changed anything.
    pub(super) fn set_producer_paused(
        &mut self,
        now: Instant,
        id: ProducerId,
        is_paused: bool,
        outlet: &mut impl Outlet,
    ) -> bool {
        let Some(producer) =
            self.producers.get_mut(&id).filter(|producer| producer.is_paused != is_paused)
        else {
            return false;
        };
        producer.is_paused = is_paused;
        for consumer in producer.consumers.clone() {
            self.restart_consumer(now, consumer, outlet);
        }
        true
    }

    /// Stops forwarding to a consumer until the next keyframe, which is requested.
    pub(super) fn restart_consumer(
        &mut self,
        now: Instant,
        id: ConsumerId,
        outlet: &mut impl Outlet,
    ) {
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.interrupt();
        }
        self.request_keyframe_for(now, id, outlet);
    }

    /// Forwards a packet of a producer's layer to all its consumers. Returns whether the packet was
    /// accepted.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        (producer_id, layer): (ProducerId, usize),
        packet: &Packet,
        outlet: &mut impl Outlet,
    ) -> bool {
        let Some(producer) = self.producers.get_mut(&producer_id) else { return false };
        let size = packet.payload.len();
        // Padding has no payload.
        if size == 0 {
            return false;
        }
        if !producer.description.formats.has_payload_type(packet.payload_type) {
            outlet.counters().undeclared_payload_types += 1;
            return false;
        }
        if !producer.limit.take(now, size) {
            outlet.counters().over_limit += 1;
            return false;
        }
        let codec = producer.description.codec;
        let info = PayloadInfo::parse(codec, &packet.payload);
        let is_simulcast = producer.description.layers.len() > 1;
        let of_layer = &mut producer.description.layers[layer];
        of_layer.meter.add(now, size);
        if info.starts_keyframe {
            of_layer.keyframe_throttle.keyframe_arrived();
        }
        let mut needs_keyframe = of_layer.keyframe_throttle.is_due(now);
        if producer.is_paused {
            return false;
        }
        for id in &producer.consumers {
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            if !consumer.is_flowing() || !outlet.is_connected(consumer.transport) {
                continue;
            }
            let Forwarded { write, needs_keyframe: is_broken, has_switched } =
                consumer.forward(now, layer, packet, &info);
            needs_keyframe |= is_broken;
            if let Some(write) = write {
                if outlet.send(consumer.transport, consumer.ssrc, write) {
                    outlet.counters().forwarded += 1;
                } else {
                    consumer.interrupt();
                }
            }
            if has_switched && is_simulcast {
                let event = MediaEvent::LayersChanged(*id, u8::try_from(layer).unwrap_or(u8::MAX));
                let to = NoticeTarget::One(self.room.clone(), consumer.owner.connection);
                outlet.notify(Notice { to, event });
            }
        }
        if needs_keyframe && codec.kind() == TrackKind::Video {
            self.request_keyframe(now, producer_id, layer, outlet);
        }
        if let (TrackKind::Audio, Some(level)) = (codec.kind(), packet.extensions.audio_level) {
            self.observe_audio_level(now, producer_id, level, outlet);
        }
        true
    }

    /// Requests a keyframe of the layer that a consumer needs.
    pub(super) fn request_keyframe_for(
        &mut self,
        now: Instant,
        id: ConsumerId,
        outlet: &mut impl Outlet,
    ) {
        let Some(consumer) = self.consumers.get(&id).filter(|consumer| consumer.is_flowing())
        else {
            return;
        };
        if consumer.codec.kind() == TrackKind::Video {
            let (producer, layer) = (consumer.producer, consumer.needed_layer());
            self.request_keyframe(now, producer, layer, outlet);
        }
    }

    /// Requests a keyframe of a producer's layer, unless one was requested just now.
    pub(super) fn request_keyframe(
        &mut self,
        now: Instant,
        id: ProducerId,
        layer: usize,
        outlet: &mut impl Outlet,
    ) {
        let Some(producer) = self.producers.get_mut(&id).filter(|producer| !producer.is_paused)
        else {
            return;
        };
        let Some(of_layer) = producer.description.layers.get_mut(layer) else { return };
        if of_layer.keyframe_throttle.request(now) {
            let stream = (of_layer.ssrc, of_layer.rid);
            outlet.counters().keyframes += 1;
            outlet.request_keyframe(producer.transport, producer.description.mid, stream);
        }
    }

    fn observe_audio_level(
        &mut self,
        now: Instant,
        id: ProducerId,
        level: i8,
        outlet: &mut impl Outlet,
    ) {
        let Some((loudest, level)) = self.active_speaker.observe(now, id, level) else { return };
        if let Some(peer) = self.producers.get(&loudest).map(|producer| producer.owner.peer.clone())
        {
            let event = MediaEvent::ActiveSpeaker { peer, producer: loudest, level };
            outlet.notify(Notice { to: NoticeTarget::Room(self.room.clone(), None), event });
        }
    }

    /// Queues an event for all other members of the room.
    pub(super) fn notify_others(
        &self,
        member: &RoomMember,
        event: MediaEvent,
        outlet: &mut impl Outlet,
    ) {
        let to = NoticeTarget::Room(self.room.clone(), Some(member.connection));
        outlet.notify(Notice { to, event });
    }
}

#[cfg(test)]
mod tests;
