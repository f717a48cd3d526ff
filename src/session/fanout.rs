//! Fan-out: encodes each event for its recipients, and queues it in their mailboxes.
//!
//! Invariant: deliveries are queued while the room that they come from is still locked, so queuing
//! must neither wait nor call back into sessions or rooms.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tracing::info;

use super::directory::Entry;
use super::hub::Hub;
use super::mailbox::Mailbox;
use super::queue_depth::{QueueDepth, QueueFull};
use crate::dialect::{Dialect, Form, Frame, RequestError};
use crate::id::ConnectionId;
use crate::metrics::Limit;
use crate::room::state::Room;
use crate::room::{Answer, Applied, Delivery, Event};
use crate::sfu::MediaServer;

impl Hub {
    /// Queues the deliveries of a command in order, while `applied` keeps the room locked. A
    /// joining client gets `welcome` instead of the event, if that is given.
    pub(super) fn deliver(
        &self,
        applied: &Applied,
        welcome: Option<Frame>,
        now: SystemTime,
    ) -> Delivered {
        self.deliver_as(applied, welcome, now, false)
    }

    /// Queues deliveries as [`Hub::deliver`] does, of local peers or, if `is_by_cluster`, of the
    /// cluster.
    pub(super) fn deliver_as(
        &self,
        applied: &Applied,
        mut welcome: Option<Frame>,
        now: SystemTime,
        is_by_cluster: bool,
    ) -> Delivered {
        // The signals of a join were accepted earlier, while they waited for the joining peer.
        let mut delivered = Delivered {
            are_promised: matches!(applied.answer, Answer::Joined(_)),
            is_by_cluster,
            ..Delivered::default()
        };
        for delivery in &applied.deliveries {
            self.note(&delivery.event);
            if let Some(media) = self.media.get() {
                remove_media_of_left(media, delivery);
            }
            let frame = match delivery.event {
                Event::Joined(_) => welcome.take(),
                _ => None,
            };
            self.deliver_one(delivery, applied.room(), frame, now, &mut delivered);
        }
        delivered
    }

    /// Queues what a session has missed of a room, which the others know already.
    pub(super) fn deliver_missed(&self, applied: &Applied, now: SystemTime) {
        let mut delivered = Delivered { is_by_cluster: true, ..Delivered::default() };
        for delivery in &applied.deliveries {
            self.deliver_one(delivery, applied.room(), None, now, &mut delivered);
        }
    }

    /// Logs joins and leaves, and tells the other nodes of a cluster what local peers do.
    fn note(&self, event: &Event) {
        match event {
            Event::PeerJoined { room, peer } => {
                info!(connection = %peer.connection, room = %room, peer = %peer.id, "joined");
            }
            Event::PeerLeft { room, peer, reason } => {
                info!(connection = %peer.connection, room = %room, peer = %peer.id, reason = reason.as_str(), "left");
                self.tell_cluster(|cluster| cluster.left(room, peer.connection, *reason));
            }
            Event::PeerAway { room, peer } => {
                info!(connection = %peer.connection, room = %room, peer = %peer.id, "away");
                self.tell_cluster(|cluster| cluster.announce(room, peer.connection, true));
            }
            Event::PeerBack { room, peer } => {
                info!(connection = %peer.connection, room = %room, peer = %peer.id, "back");
                self.tell_cluster(|cluster| cluster.announce(room, peer.connection, false));
            }
            Event::PeerUpdated { room, peer } => {
                self.tell_cluster(|cluster| cluster.updated(room, peer.connection, &peer.metadata));
            }
            Event::HungUp { room } => self.tell_cluster(|cluster| cluster.hung_up(room)),
            Event::Joined(_) | Event::SignalRelayed { .. } | Event::Removed { .. } => {}
        }
    }

    /// Ends the media of peers that left a room, without notifying the other peers.
    pub(super) fn remove_media(&self, applied: &Applied) {
        if let Some(media) = self.media.get() {
            applied.deliveries.iter().for_each(|delivery| remove_media_of_left(media, delivery));
        }
    }

    fn deliver_one(
        &self,
        delivery: &Delivery,
        room: &Room,
        mut written: Option<Frame>,
        now: SystemTime,
        delivered: &mut Delivered,
    ) {
        let event = &delivery.event;
        let is_signal = matches!(event, Event::SignalRelayed { .. });
        let mut encoded: Option<(&'static Dialect, Form, Option<Frame>)> = None;
        let recipients = delivery.to.as_slice();
        for (index, recipient) in recipients.iter().enumerate() {
            let entry = self.directory.settled(*recipient);
            let entry = entry.or_else(|| {
                self.deliver_elsewhere(event, *recipient, room, delivered.is_by_cluster)
            });
            // It is on another node, or its connection is ending, as its rooms learn next.
            let Some(Entry { dialect, mailbox }) = entry else {
                if is_signal && !delivered.is_by_cluster {
                    let congestion = self.congestion_elsewhere(*recipient);
                    delivered.congested = congestion.or(delivered.congested.take());
                }
                continue;
            };
            // A panic for one recipient must not affect the others.
            let outcome = self.contain(*recipient, || {
                let form = mailbox.framing().form(event);
                let is_same = |encoded: &(&'static Dialect, Form, _)| {
                    std::ptr::eq(encoded.0, dialect) && encoded.1 == form && form != Form::Own
                };
                let frame = match (written.take(), encoded.take().filter(is_same)) {
                    (Some(written), _) => Some(written),
                    (None, Some((.., frame))) => frame,
                    (None, None) if form == Form::Dialect => (dialect.encode)(event, now),
                    (None, None) => mailbox.framing().encode(event, room, now),
                };
                if index + 1 < recipients.len() {
                    encoded = Some((dialect, form, frame.clone()));
                }
                match (event, &frame) {
                    (Event::Joined(_), Some(frame)) => delivered.welcome_bytes += frame.length(),
                    // Charged for one recipient only, as little as a signal.
                    (Event::PeerUpdated { .. }, Some(frame)) if index == 0 => {
                        delivered.welcome_bytes += frame.length();
                    }
                    (Event::SignalRelayed { signal, .. }, None) => {
                        let is_reserved =
                            |name| (dialect.reserves)(name) || mailbox.framing().reserves(name);
                        delivered.withhold(signal.name.as_deref().is_some_and(is_reserved));
                    }
                    _ => {}
                }
                let sent = frame.map(|frame| {
                    if is_signal && delivered.are_promised {
                        return mailbox.send_promised(frame);
                    }
                    self.queue(*recipient, dialect, &mailbox, frame, !is_signal)
                });
                (sent, mailbox.congestion())
            });
            let Some((sent, congestion)) = outcome else {
                delivered.failed += usize::from(is_signal);
                mailbox.close();
                continue;
            };
            delivered.failed += usize::from(is_signal && sent == Some(Err(QueueFull)));
            if sent.is_some() {
                delivered.congested = congestion.or(delivered.congested.take());
            }
        }
        if is_signal {
            delivered.recipients += recipients.len();
        }
    }

    /// Queues a frame for one connection. If its queue is full, decides whether to close the
    /// connection: without a frame that `is_vital`, the client's view of the room would be wrong
    /// from then on.
    pub(super) fn queue(
        &self,
        recipient: ConnectionId,
        dialect: &Dialect,
        mailbox: &Mailbox,
        frame: Frame,
        is_vital: bool,
    ) -> Result<(), QueueFull> {
        let sent = mailbox.send(frame);
        if sent.is_err() {
            self.metrics.dialect(dialect.name).queue_full();
            let cause = if mailbox.stays_full(Instant::now(), self.timeouts.queue_full) {
                Some("send queue stays full")
            } else {
                // Nothing else would inform it about the peer, while it can join again.
                (is_vital && dialect.presence_is_vital)
                    .then_some("presence event did not fit its send queue")
            };
            // More frames may be sent to it before it has ended.
            if let Some(cause) = cause
                && mailbox.close()
            {
                info!(connection = %recipient, cause, "closing slow consumer");
                self.metrics.limit(Limit::SendQueue);
            }
        }
        sent
    }
}

/// Result of delivering the events of one command.
#[derive(Default)]
pub(super) struct Delivered {
    /// Whether its signals were accepted earlier, so that there is room for them.
    are_promised: bool,
    /// Whether the cluster delivers them, which knows whether a recipient is on this node.
    is_by_cluster: bool,
    pub(super) recipients: usize,
    pub(super) failed: usize,
    /// Recipients whose dialect cannot express an application message, and how many of them reserve
    /// its name.
    withheld: usize,
    reserved: usize,
    /// Size in bytes of the welcome of a joining client, or of an update.
    pub(super) welcome_bytes: usize,
    pub(super) congested: Option<Arc<QueueDepth>>,
}

impl Delivered {
    fn withhold(&mut self, is_reserved: bool) {
        self.withheld += 1;
        self.reserved += usize::from(is_reserved);
    }

    /// Returns the number of recipients for which a signal was queued.
    pub(super) fn reached(&self) -> usize {
        self.recipients.saturating_sub(self.failed + self.withheld)
    }

    /// Returns why a signal was not delivered to all of its recipients, or `None` if it was.
    pub(super) fn failure(&self) -> Option<RequestError> {
        let Self { recipients, failed, withheld, reserved, .. } = *self;
        if failed > 0 {
            return Some(RequestError::DeliveryFailed { failed, recipients });
        }
        (withheld > 0 && withheld == recipients && !self.are_promised).then_some(if reserved > 0 {
            RequestError::ReservedName
        } else {
            RequestError::NoReceiver
        })
    }
}

/// Informs the media server about peers that left a room.
fn remove_media_of_left(media: &MediaServer, delivery: &Delivery) {
    match &delivery.event {
        Event::PeerLeft { room, peer, .. } => media.peer_left(room, peer.connection),
        Event::Removed { room, .. } => {
            for connection in delivery.to.as_slice() {
                media.peer_left(room, *connection);
            }
        }
        _ => {}
    }
}
