//! Closing of transports, producers and consumers: each closes what depends on it and notifies the clients concerned.

use std::net::SocketAddr;

use super::id::{ConsumerId, ProducerId, TransportId};
use super::request::{MediaEvent, Notice, NoticeTarget, ProducerAction};
use super::state::Sfu;
use super::stats::MediaStats;
use super::transport::Transport;
use crate::id::{ConnectionId, RoomId};

impl Sfu {
    /// Closes all transports that a peer has in a room.
    pub fn remove_peer(&mut self, room: &RoomId, connection: ConnectionId) {
        let key = (room.clone(), connection);
        while let Some(transport) = self.peers.get(&key).and_then(|transports| transports.last()).copied() {
            self.close_transport(transport);
        }
    }

    /// Returns the current gauges and counters.
    pub fn stats(&self) -> MediaStats {
        let (transports, producers, consumers) = (self.transports.len(), self.producers.len(), self.consumers.len());
        MediaStats {
            transports,
            producers,
            consumers,
            panics: self.counted.panics + self.output.panics,
            over_limit: self.counted.over_limit + self.output.over_limit,
            unvalidated: self.counted.unvalidated + self.output.unvalidated,
            ..self.counted
        }
    }

    /// Returns a notice of failure for each transport, for use after a panic. Reads nothing but the transports, since
    /// other state may be inconsistent.
    pub(super) fn failure_notices(&self) -> Vec<Notice> {
        let failed = |(id, transport): (&TransportId, &Transport)| Notice {
            to: NoticeTarget::One(transport.owner.connection),
            event: MediaEvent::TransportFailed(*id),
        };
        self.transports.iter().map(failed).collect()
    }

    /// Continues the counters of a previous SFU.
    pub(super) fn restore_counters(&mut self, stats: MediaStats) {
        self.counted = stats;
    }

    /// Returns whether no state of any transport is left.
    pub fn is_empty(&self) -> bool {
        self.transports.is_empty()
            && self.producers.is_empty()
            && self.consumers.is_empty()
            && self.peers.is_empty()
            && self.rooms.is_empty()
            && self.by_ufrag.is_empty()
            && self.by_address.is_empty()
            && self.timers.is_empty()
            && self.deadlines.is_empty()
            && self.owners.values().all(|owner| owner.transports.is_empty())
    }

    /// Closes a transport that has failed, and notifies its client of that and of what closes with it.
    pub(super) fn fail_transport(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let (connection, producers, consumers) =
            (transport.owner.connection, transport.producers.clone(), transport.consumers.clone());
        self.notify(connection, MediaEvent::TransportFailed(id));
        for id in producers {
            if let Some(producer) = self.producers.get(&id) {
                let peer = producer.owner.peer.clone();
                self.notify(connection, MediaEvent::ProducerChanged(id, peer, ProducerAction::Close));
            }
        }
        for consumer in consumers {
            self.notify(connection, MediaEvent::ConsumerClosed(consumer));
        }
        self.close_transport(id);
    }

    pub(super) fn close_transport(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let (producers, consumers, due) = (transport.producers.clone(), transport.consumers.clone(), transport.due);
        self.timers.remove(&(due, id));
        self.unregister_transport(id);
        // Removed first, so that its streams are not removed one by one.
        let Some(transport) = self.transports.remove(&id) else { return };
        for producer in producers {
            self.close_producer(producer);
        }
        for consumer in consumers {
            self.close_consumer(consumer);
        }
        self.by_ufrag.remove(transport.ice().username_fragment.as_bytes());
        for address in transport.addresses.iter() {
            self.remove_address(address, id);
        }
        let key = (transport.owner.room, transport.owner.connection);
        if let Some(own) = self.peers.get_mut(&key) {
            own.retain(|own| *own != id);
            if own.is_empty() {
                self.peers.remove(&key);
            }
        }
    }

    /// Removes an address from the index, unless another transport has taken it over.
    pub(super) fn remove_address(&mut self, address: SocketAddr, id: TransportId) {
        if self.by_address.get(&address) == Some(&id) {
            self.by_address.remove(&address);
        }
    }

    pub(super) fn close_producer(&mut self, id: ProducerId) {
        let Some(producer) = self.producers.remove(&id) else { return };
        for id in &producer.consumers {
            if let Some(consumer) = self.consumers.get(id) {
                let connection = consumer.owner.connection;
                self.notify(connection, MediaEvent::ConsumerClosed(*id));
            }
            self.close_consumer(*id);
        }
        self.on_transport(producer.transport, |transport, output| {
            transport.producers.retain(|own| *own != id);
            transport.streams.retain(|_, (own, _)| *own != id);
            transport.remove_streams(&producer.description, output);
        });
        self.update_packet_limit(producer.transport);
        let room = &producer.owner.room;
        if let Some(media) = self.rooms.get_mut(room) {
            media.producers.retain(|own| *own != id);
            media.active_speaker.remove(id);
            if media.producers.is_empty() {
                self.rooms.remove(room);
            }
        }
        let closed = MediaEvent::ProducerChanged(id, producer.owner.peer.clone(), ProducerAction::Close);
        self.notify_others(&producer.owner, closed);
    }

    pub(super) fn close_consumer(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.remove(&id) else { return };
        if let Some(producer) = self.producers.get_mut(&consumer.producer) {
            producer.consumers.retain(|own| *own != id);
        }
        self.on_transport(consumer.transport, |transport, output| {
            transport.consumers.retain(|own| *own != id);
            let streams = consumer.streams();
            transport.set_withheld(streams, false);
            transport.remove_media(consumer.mid, output);
        });
    }
}
