//! Forwarding: datagrams in, packets to their consumers, datagrams out, and everything driven by
//! time.
//!
//! - [`Sfu::receive`] finds the transport of a datagram: by the ufrag of a STUN request, else by
//!   its source address;
//! - the resulting [`TransportEvent`]s are processed until there are no more;
//! - [`Sfu::poll`] runs due timers, and returns the datagrams to send and the notices to deliver.
//!
//! Invariant: a datagram of an unknown sender costs one look-up. Only a request that names a
//! transport has its MESSAGE-INTEGRITY verified, and only a verified one changes state or counts
//! towards a limit of its transport, since anyone can forge one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::ice::StunMessage;
use str0m::rtp::Ssrc;

use super::id::{ProducerId, TransportId};
use super::output::{Datagram, TransportEvent};
use super::packet::Packet;
use super::producer::max_bitrate;
use super::request::{Direction, MediaEvent, Notice};
use super::state::Sfu;
use super::stun;
use super::transport::Transport;

/// Largest datagram that is accepted, in bytes: what fits into an Ethernet frame.
const MAX_DATAGRAM: usize = 1500;

/// Interval of bandwidth allocation.
const ALLOCATION_INTERVAL: Duration = Duration::from_millis(250);

/// Interval of REMB messages to a client.
const REMB_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of transports whose timers run in one poll: their datagrams are sent before
/// others have their turn.
const MAX_TIMERS_PER_POLL: usize = 2;

/// Maximum number of transports whose written packets are sent in one poll. Their datagrams go to
/// the kernel together, which saves system calls; the thread yields to signaling between two polls,
/// so it takes no more than some hundred microseconds.
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
    /// Processes a received datagram. Returns `false` if it was dropped before anything was
    /// decrypted or sent for it, which costs little.
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
        let local =
            self.foundation.local.iter().find(|local| local.is_ipv4() == from.is_ipv4()).copied();
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

    /// Returns the transport whose password a binding request proves to know, and whether the
    /// request nominates its path (USE-CANDIDATE).
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

    /// Assigns an address to a transport. It is not taken over from another transport that is
    /// connected.
    fn accept_address(&mut self, id: TransportId, from: SocketAddr) -> Result<(), Dropped> {
        let holder = self.by_address.get(&from).copied().filter(|holder| *holder != id);
        let mut holder = holder.and_then(|holder| self.transports.get_mut(&holder));
        if holder.as_ref().is_some_and(|holder| holder.is_connected) {
            return Err(Dropped::Unknown);
        }
        if let Some(holder) = &mut holder {
            holder.addresses.remove(from);
        }
        let is_accepted =
            self.transports.get_mut(&id).is_some_and(|transport| transport.addresses.accept(from));
        if !is_accepted {
            return Err(Dropped::Unknown);
        }
        self.by_address.insert(from, id);
        Ok(())
    }

    /// Sends written packets, runs due timers, and replaces the contents of `poll_output`. If more
    /// is due at once, [`PollOutput::next`] is not in the future.
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
            self.on_transport(id, |transport, output| transport.timer_elapsed(now, output));
            self.process_events(now);
        }
        if self
            .allocated_at
            .is_none_or(|last| now.saturating_duration_since(last) >= ALLOCATION_INTERVAL)
        {
            self.allocated_at = Some(now);
            let is_receiving = |transport: &&Transport| {
                transport.direction == Direction::Receive && transport.is_connected
            };
            let receiving = self.transports.values().filter(is_receiving);
            let receiving: Vec<TransportId> = receiving.map(|transport| transport.id).collect();
            for id in receiving {
                self.allocate(now, id);
            }
            self.process_events(now);
        }
        let due = self.timers.first().map(|(due, _)| *due);
        let allocate_at = self
            .allocated_at
            .map(|last| last + ALLOCATION_INTERVAL)
            .filter(|_| self.counted.consumers > 0);
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
                TransportEvent::Packet(packet) => self.forward(now, id, &packet.into()),
                TransportEvent::KeyframeRequested(mid) => {
                    let Some(transport) = self.transports.get(&id) else { continue };
                    let Some(router) = self.routers.get(&transport.router) else { continue };
                    let mut consumers =
                        transport.consumers.iter().filter_map(|id| router.consumers.get(id));
                    let consumer =
                        consumers.find(|consumer| consumer.mid == mid).map(|consumer| consumer.id);
                    let router = transport.router;
                    if let Some(consumer) = consumer {
                        self.on_router(router, |router, outlet| {
                            router.request_keyframe_for(now, consumer, outlet);
                        });
                    }
                }
                TransportEvent::Connected | TransportEvent::Reconnected => {
                    self.clear_deadline(id);
                    let Some(transport) = self.transports.get(&id) else { continue };
                    let (router, consumers) = (transport.router, transport.consumers.clone());
                    self.on_router(router, |router, outlet| {
                        for consumer in consumers {
                            router.restart_consumer(now, consumer, outlet);
                        }
                    });
                }
                // The client may reconnect or restart ICE.
                TransportEvent::Disconnected => {
                    if let Some(owner) =
                        self.transports.get(&id).map(|transport| transport.owner.clone())
                    {
                        self.notify(&owner, MediaEvent::TransportFailed(id));
                    }
                }
                TransportEvent::Failed => self.fail_transport(id),
            }
        }
    }

    /// Passes a packet to the router of its room.
    fn forward(&mut self, now: Instant, id: TransportId, packet: &Packet) {
        let Some(transport) = self.transports.get(&id) else { return };
        let (router, known) = (transport.router, transport.streams.get(&packet.ssrc).copied());
        let Some((producer, layer)) = known.or_else(|| self.identify_stream(id, packet.ssrc))
        else {
            return;
        };
        let is_accepted = self.on_router(router, |router, outlet| {
            router.forward(now, (producer, layer), packet, outlet)
        });
        if is_accepted == Some(true) {
            self.send_remb(now, id, producer, layer);
        }
    }

    /// Returns the producer and layer of a stream at its first packet.
    fn identify_stream(&mut self, id: TransportId, ssrc: Ssrc) -> Option<(ProducerId, usize)> {
        let (mid, rid) = self
            .on_transport(id, |transport, output| transport.identify(ssrc, output))
            .flatten()?;
        let transport = self.transports.get_mut(&id)?;
        let router = self.routers.get(&transport.router)?;
        let mut producers = transport.producers.iter().filter_map(|id| router.producers.get(id));
        let producer = producers.find(|producer| producer.description.mid == mid)?;
        let found = (producer.id, producer.layer(*ssrc, rid)?);
        transport.streams.insert(ssrc, found);
        Some(found)
    }

    /// Sends a client its maximum bitrate (REMB) once per interval.
    fn send_remb(&mut self, now: Instant, id: TransportId, producer: ProducerId, layer: usize) {
        let Some(transport) = self.transports.get_mut(&id) else { return };
        if transport
            .remb_sent_at
            .is_some_and(|last| now.saturating_duration_since(last) < REMB_INTERVAL)
        {
            return;
        }
        transport.remb_sent_at = Some(now);
        let max = self.settings.max_bitrate;
        let Some(router) = self.routers.get(&transport.router) else { return };
        let producers = transport.producers.iter().filter_map(|id| router.producers.get(id));
        let bits = producers.map(|producer| u64::from(max_bitrate(producer.kind(), max))).sum();
        let Some(producer) = router.producers.get(&producer) else { return };
        let (mid, of_layer) = (producer.description.mid, &producer.description.layers[layer]);
        let stream = (of_layer.ssrc, of_layer.rid);
        self.on_transport(id, |transport, output| transport.send_remb(bits, mid, stream, output));
    }
}
