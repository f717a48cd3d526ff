//! How transports, producers and consumers end: each takes with it what depends on it, and those concerned are told.

use std::net::SocketAddr;

use super::figures::Figures;
use super::id::{ConsumerId, ProducerId, TransportId};
use super::request::{Audience, MediaEvent, Notice, ProducerAction};
use super::switch::Sfu;
use super::transport::Transport;
use crate::id::{ConnectionId, RoomId};

impl Sfu {
    /// A peer has left a room, and all that it has there ends.
    pub fn leave(&mut self, room: &RoomId, connection: ConnectionId) {
        let key = (room.clone(), connection);
        while let Some(transport) = self.peers.get(&key).and_then(|transports| transports.last()).copied() {
            self.close_transport(transport);
        }
    }

    /// What there is, and what was counted.
    pub fn figures(&self) -> Figures {
        let (transports, producers, consumers) = (self.transports.len(), self.producers.len(), self.consumers.len());
        Figures {
            transports,
            producers,
            consumers,
            defects: self.counted.defects + self.sink.defects,
            over_limit: self.counted.over_limit + self.sink.over_limit,
            unvalidated: self.counted.unvalidated + self.sink.unvalidated,
            ..self.counted
        }
    }

    /// What the owners of transports are told when all of them end at once, by a defect: it looks at nothing else, since
    /// nothing else may be whole.
    pub(super) fn last_words(&self) -> Vec<Notice> {
        let failed = |(id, transport): (&TransportId, &Transport)| Notice {
            to: Audience::One(transport.owner.connection),
            event: MediaEvent::TransportFailed(*id),
        };
        self.transports.iter().map(failed).collect()
    }

    /// Counts on from what another has counted.
    pub(super) fn continue_from(&mut self, figures: Figures) {
        self.counted = figures;
    }

    /// Whether nothing is left: no transport, and nothing that was of one.
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

    /// A transport cannot go on: its client is told, and what it carried ends.
    pub(super) fn fail_transport(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let (connection, producers, consumers) =
            (transport.owner.connection, transport.producers.clone(), transport.consumers.clone());
        self.tell(connection, MediaEvent::TransportFailed(id));
        for id in producers {
            if let Some(producer) = self.producers.get(&id) {
                let peer = producer.owner.peer.clone();
                self.tell(connection, MediaEvent::ProducerChanged(id, peer, ProducerAction::Close));
            }
        }
        for consumer in consumers {
            self.tell(connection, MediaEvent::ConsumerClosed(consumer));
        }
        self.close_transport(id);
    }

    pub(super) fn close_transport(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let (producers, consumers, due) = (transport.producers.clone(), transport.consumers.clone(), transport.due);
        self.timers.remove(&(due, id));
        self.disown(id);
        // First, since its streams need not be taken down one by one.
        let Some(transport) = self.transports.remove(&id) else { return };
        for producer in producers {
            self.close_producer(producer);
        }
        for consumer in consumers {
            self.close_consumer(consumer);
        }
        self.by_ufrag.remove(&transport.ice().username_fragment);
        for address in transport.addresses.iter() {
            self.forget_address(address, id);
        }
        let key = (transport.owner.room, transport.owner.connection);
        if let Some(own) = self.peers.get_mut(&key) {
            own.retain(|own| *own != id);
            if own.is_empty() {
                self.peers.remove(&key);
            }
        }
    }

    /// Forgets that an address is a transport's; where it is another's by now, it stays.
    pub(super) fn forget_address(&mut self, address: SocketAddr, id: TransportId) {
        if self.by_address.get(&address) == Some(&id) {
            self.by_address.remove(&address);
        }
    }

    pub(super) fn close_producer(&mut self, id: ProducerId) {
        let Some(producer) = self.producers.remove(&id) else { return };
        for id in &producer.consumers {
            if let Some(consumer) = self.consumers.get(id) {
                let connection = consumer.owner.connection;
                self.tell(connection, MediaEvent::ConsumerClosed(*id));
            }
            self.close_consumer(*id);
        }
        self.on_transport(producer.transport, |transport, sink| {
            transport.producers.retain(|own| *own != id);
            transport.streams.retain(|_, (own, _)| *own != id);
            transport.unexpect(&producer.description, sink);
        });
        self.expect_packets(producer.transport);
        let room = &producer.owner.room;
        if let Some(media) = self.rooms.get_mut(room) {
            media.producers.retain(|own| *own != id);
            media.speaker.forget(id);
            if media.producers.is_empty() {
                self.rooms.remove(room);
            }
        }
        let closed = MediaEvent::ProducerChanged(id, producer.owner.peer.clone(), ProducerAction::Close);
        self.tell_others(&producer.owner, closed);
    }

    pub(super) fn close_consumer(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.remove(&id) else { return };
        if let Some(producer) = self.producers.get_mut(&consumer.producer) {
            producer.consumers.retain(|own| *own != id);
        }
        self.on_transport(consumer.transport, |transport, sink| {
            transport.consumers.retain(|own| *own != id);
            let streams = super::consumer::Streams { mid: consumer.mid, ssrc: consumer.ssrc, rtx: consumer.rtx };
            transport.withhold(streams, false);
            transport.remove(consumer.mid, sink);
        });
    }
}
