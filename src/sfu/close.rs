//! Closing of transports, producers and consumers: each closes what depends on it and notifies the
//! clients concerned.

use std::net::SocketAddr;

use super::consumer::Consumer;
use super::id::{ConsumerId, ProducerId, RouterId, TransportId};
use super::request::{MediaEvent, Notice, NoticeTarget, ProducerAction};
use super::state::{RoomChange, Sfu};
use super::stats::MediaStats;
use super::transport::Transport;
use crate::id::{ConnectionId, RoomId};

impl Sfu {
    /// Closes all transports that a peer has in a room.
    pub fn remove_peer(&mut self, room: &RoomId, connection: ConnectionId) {
        let last = |sfu: &Self| sfu.router_of(room)?.peers.get(&connection)?.last().copied();
        while let Some(transport) = last(self) {
            self.close_transport(transport);
        }
    }

    /// Closes all transports of a room as failed, and notifies their clients.
    pub fn fail_room(&mut self, room: &RoomId) {
        let peers = self.router_of(room).map(|router| &router.peers);
        let transports: Vec<TransportId> =
            peers.into_iter().flat_map(|peers| peers.values().flatten().copied()).collect();
        for transport in transports {
            self.fail_transport(transport);
        }
    }

    /// Returns the current gauges and counters.
    pub fn stats(&self) -> MediaStats {
        MediaStats {
            transports: self.transports.len(),
            panics: self.counted.panics + self.output.panics,
            over_limit: self.counted.over_limit + self.output.over_limit,
            unvalidated: self.counted.unvalidated + self.output.unvalidated,
            ..self.counted
        }
    }

    /// Returns a notice of failure for each transport, for use after a panic. Reads nothing but the
    /// transports, since other state may be inconsistent.
    pub(super) fn failure_notices(&self) -> Vec<Notice> {
        let failed = |(id, transport): (&TransportId, &Transport)| Notice {
            to: NoticeTarget::One(transport.owner.room.clone(), transport.owner.connection),
            event: MediaEvent::TransportFailed(*id),
        };
        self.transports.iter().map(failed).collect()
    }

    /// Continues the counters of a previous SFU.
    pub(super) fn restore_counters(&mut self, stats: MediaStats) {
        self.counted = MediaStats { transports: 0, producers: 0, consumers: 0, ..stats };
    }

    /// Returns whether no state of any transport is left.
    pub fn is_empty(&self) -> bool {
        self.transports.is_empty()
            && self.routers.is_empty()
            && self.rooms.is_empty()
            && self.by_ufrag.is_empty()
            && self.by_address.is_empty()
            && self.timers.is_empty()
            && self.deadlines.is_empty()
            && self.owners.values().all(|owner| owner.transports.is_empty())
    }

    /// Closes a transport that has failed, and notifies its client of that and of what closes with
    /// it.
    pub(super) fn fail_transport(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let owner = transport.owner.clone();
        let (producers, consumers) = (transport.producers.clone(), transport.consumers.clone());
        self.notify(&owner, MediaEvent::TransportFailed(id));
        for id in producers {
            let peer = owner.peer.clone();
            self.notify(&owner, MediaEvent::ProducerChanged(id, peer, ProducerAction::Close));
        }
        for consumer in consumers {
            self.notify(&owner, MediaEvent::ConsumerClosed(consumer));
        }
        self.close_transport(id);
    }

    pub(super) fn close_transport(&mut self, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let (producers, consumers, due) =
            (transport.producers.clone(), transport.consumers.clone(), transport.due);
        self.timers.remove(&(due, id));
        self.unregister_transport(id);
        // Removed first, so that its streams are not removed one by one.
        let Some(transport) = self.transports.remove(&id) else { return };
        for producer in producers {
            self.close_producer(transport.router, producer);
        }
        for consumer in consumers {
            self.close_consumer(transport.router, consumer);
        }
        self.by_ufrag.remove(transport.ice().username_fragment.as_bytes());
        for address in transport.addresses.iter() {
            self.remove_address(address, id);
        }
        let Some(router) = self.routers.get_mut(&transport.router) else { return };
        if let Some(own) = router.peers.get_mut(&transport.owner.connection) {
            own.retain(|own| *own != id);
            if own.is_empty() {
                router.peers.remove(&transport.owner.connection);
            }
        }
        if router.peers.is_empty() {
            self.routers.remove(&transport.router);
            self.rooms.remove(&transport.owner.room);
            let room = transport.owner.room;
            self.room_changes.push(RoomChange { room, is_open: false });
        }
    }

    /// Removes an address from the index, unless another transport has taken it over.
    pub(super) fn remove_address(&mut self, address: SocketAddr, id: TransportId) {
        if self.by_address.get(&address) == Some(&id) {
            self.by_address.remove(&address);
        }
    }

    pub(super) fn close_producer(&mut self, router: RouterId, id: ProducerId) {
        let producer = self.routers.get(&router).and_then(|router| router.producers.get(&id));
        let Some(consumers) = producer.map(|producer| producer.consumers.clone()) else { return };
        for consumer in consumers {
            if let Some(consumer) = self.close_consumer(router, consumer) {
                self.notify(&consumer.owner, MediaEvent::ConsumerClosed(consumer.id));
            }
        }
        let removed =
            self.on_router(router, |router, outlet| router.remove_producer(id, outlet)).flatten();
        let Some(producer) = removed else { return };
        self.on_transport(producer.transport, |transport, output| {
            transport.producers.retain(|own| *own != id);
            transport.streams.retain(|_, (own, _)| *own != id);
            transport.remove_streams(&producer.description, output);
        });
        self.update_packet_limit(producer.transport);
        let closed =
            MediaEvent::ProducerChanged(id, producer.owner.peer.clone(), ProducerAction::Close);
        self.on_router(router, |router, outlet| {
            router.notify_others(&producer.owner, closed, outlet);
        });
    }

    /// Closes a consumer, and returns it.
    pub(super) fn close_consumer(&mut self, router: RouterId, id: ConsumerId) -> Option<Consumer> {
        let consumer = self
            .on_router(router, |router, outlet| router.remove_consumer(id, outlet))
            .flatten()?;
        self.on_transport(consumer.transport, |transport, output| {
            transport.consumers.retain(|own| *own != id);
            transport.set_withheld(consumer.streams(), false);
            transport.remove_media(consumer.mid, output);
        });
        Some(consumer)
    }
}
