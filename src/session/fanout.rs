//! Fan-out: encodes each event for its recipients, and queues it in their mailboxes.
//!
//! The guarantee that is easy to break: deliveries are queued while the room they come from is still locked. What queues
//! them must therefore neither wait nor call back.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tracing::info;

use super::backlog::{Backlog, QueueFull};
use super::directory::Entry;
use super::hub::Hub;
use super::mailbox::Mailbox;
use crate::dialect::{Dialect, Form, Frame, RequestError};
use crate::id::ConnectionId;
use crate::metrics::Limit;
use crate::room::state::Room;
use crate::room::{Answer, Applied, Delivery, Event};
use crate::sfu::MediaServer;

impl Hub {
    /// Queues what came of a command, in order; `applied` keeps the room locked meanwhile. `welcome` is
    /// what a joiner is told in place of the event.
    pub(super) fn deliver(&self, applied: &Applied, mut welcome: Option<Frame>, now: SystemTime) -> Delivered {
        // Signals that a join brings have waited for the joiner.
        let mut delivered =
            Delivered { are_promised: matches!(applied.answer, Answer::Joined(_)), ..Delivered::default() };
        for delivery in &applied.deliveries {
            log(&delivery.event);
            if let Some(media) = self.media.get() {
                tell_media_who_left(media, delivery);
            }
            let frame = match delivery.event {
                Event::Joined(_) => welcome.take(),
                _ => None,
            };
            self.deliver_one(delivery, applied.room(), frame, now, &mut delivered);
        }
        delivered
    }

    /// Ends the media of peers that left a room without the other peers being told.
    pub(super) fn forget_media(&self, applied: &Applied) {
        if let Some(media) = self.media.get() {
            applied.deliveries.iter().for_each(|delivery| tell_media_who_left(media, delivery));
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
            // A connection that is just ending; its rooms hear of that next.
            let Some(Entry { dialect, mailbox }) = self.directory.get(*recipient) else { continue };
            // A defect in telling one must not keep it from the others.
            let told = self.contain(*recipient, || {
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
                    // To one of them: as little is charged for a signal.
                    (Event::PeerUpdated { .. }, Some(frame)) if index == 0 => delivered.welcome_bytes += frame.length(),
                    (Event::SignalRelayed { signal, .. }, None) => {
                        let is_reserved = |name| (dialect.reserves)(name) || mailbox.framing().reserves(name);
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
            let Some((sent, congestion)) = told else {
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

    /// Queues a frame for one connection. Where that is full, decides what becomes of it: without what `is_vital` its
    /// picture of the room would be wrong from there on.
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
                // Nothing would tell it of the peer. It can join again.
                (is_vital && dialect.presence_is_vital).then_some("presence event did not fit its send queue")
            };
            // More may be sent to it before it has ended.
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

/// How the delivery of one command went.
#[derive(Default)]
pub(super) struct Delivered {
    /// Whether signals among it were accepted earlier.
    are_promised: bool,
    pub(super) recipients: usize,
    pub(super) failed: usize,
    /// Recipients that an application message was not written for, and how many of them reserve its name.
    withheld: usize,
    reserved: usize,
    /// The bytes of what joiners were told, or of an update.
    pub(super) welcome_bytes: usize,
    pub(super) congested: Option<Arc<Backlog>>,
}

impl Delivered {
    fn withhold(&mut self, is_reserved: bool) {
        self.withheld += 1;
        self.reserved += usize::from(is_reserved);
    }

    /// The number of recipients whose queues accepted a signal.
    pub(super) fn reached(&self) -> usize {
        self.recipients.saturating_sub(self.failed + self.withheld)
    }

    /// Returns why a signal was not delivered to all that should have it; `None` if it was.
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

/// One line per join and leave.
fn log(event: &Event) {
    match event {
        Event::PeerJoined { room, peer } => {
            info!(connection = %peer.connection, room = %room, peer = %peer.id, "joined");
        }
        Event::PeerLeft { room, peer, reason } => {
            info!(connection = %peer.connection, room = %room, peer = %peer.id, reason = reason.as_str(), "left");
        }
        Event::PeerAway { room, peer } => {
            info!(connection = %peer.connection, room = %room, peer = %peer.id, "away");
        }
        Event::PeerBack { room, peer } => {
            info!(connection = %peer.connection, room = %room, peer = %peer.id, "back");
        }
        Event::Joined(_)
        | Event::PeerUpdated { .. }
        | Event::SignalRelayed { .. }
        | Event::HungUp { .. }
        | Event::Removed { .. } => {}
    }
}

/// Tells the media server who has left a room.
fn tell_media_who_left(media: &MediaServer, delivery: &Delivery) {
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
