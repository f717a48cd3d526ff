//! What sessions share: the rooms, the open connections, and the way from an event to the queues of its recipients.
//!
//! The guarantee that is easy to break: deliveries are queued while the room they come from is still locked. What
//! queues them must therefore neither wait nor come back here.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use dashmap::DashMap;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::access::AccessPolicy;
use super::admission::{self, Admission, AdmissionError, Cause, ConnectionPermit, Opening, Permit};
use super::away_limit::AwayLimit;
use super::expiry::Expiries;
use super::history::ResumeLimits;
use super::invalid_tokens::InvalidTokens;
use super::key::ResumeKey;
use super::media::heed;
use super::notices::Notices;
use super::place::{Place, Timeline};
use super::rate_limit::{MessageRate, RateLimiter};
use super::{Backlog, Mailbox, QueueFull, Session, limit_of};
use crate::dialect::{Dialect, Frame, RequestError};
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::metrics::{Limit, Metrics};
use crate::room::{Answer, Applied, Delivery, Event, LeaveReason, RemovalReason, Rooms, Signal};
use crate::sfu::Media;
use crate::spare;
use crate::timeouts::Timeouts;

/// Everything that sessions share: the rooms of this node and its open connections.
pub struct Hub {
    rooms: Rooms,
    pub(super) connections: DashMap<ConnectionId, Connection>,
    pub(super) open: AtomicUsize,
    pub(super) draining: AtomicBool,
    pub(super) ended: Notify,
    limits: Limits,
    timeouts: Timeouts,
    admission: Arc<Admission>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access: AccessPolicy,
    pub(super) invalid_tokens: InvalidTokens,
    notices: Arc<Notices>,
    pub(super) expiries: Expiries,
    /// The media server, where there is one.
    pub(super) media: OnceLock<Media>,
    /// Those that a new connection may take, with or without one now.
    pub(super) places: DashMap<ConnectionId, Arc<Place>>,
    /// How many of them are without one.
    pub(super) away: AtomicUsize,
    away_limit: AwayLimit,
    /// Places whose time is over, and those to be given up before.
    pub(super) absences: Timeline,
    given_up: Timeline,
    /// Connections for which something is held that will be too old.
    histories: Timeline,
}

/// What bounds connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Connections and sessions.
    pub admission: admission::Limits,
    /// Invalid tokens of one address, in a minute; `None` is no limit.
    pub invalid_tokens_per_minute: Option<NonZeroU32>,
    /// Messages of one connection.
    pub message_rate: Option<MessageRate>,
    /// What is held for a peer whose connection drops; `None` where it loses its place at once.
    pub resume: Option<ResumeLimits>,
}

#[derive(Clone)]
pub(super) struct Connection {
    pub(super) dialect: &'static Dialect,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Hub {
    /// A hub over rooms.
    pub fn new(rooms: Rooms, limits: Limits, timeouts: Timeouts, metrics: Arc<Metrics>, access: AccessPolicy) -> Self {
        let notices = Arc::new(Notices::default());
        Self {
            rooms,
            connections: DashMap::new(),
            open: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            ended: Notify::new(),
            limits,
            timeouts,
            admission: admission(limits.admission, &metrics, &notices),
            metrics,
            access,
            invalid_tokens: InvalidTokens::new(limits.invalid_tokens_per_minute),
            notices,
            expiries: Expiries::default(),
            media: OnceLock::new(),
            places: DashMap::new(),
            away: AtomicUsize::new(0),
            away_limit: AwayLimit::default(),
            absences: Timeline::default(),
            given_up: Timeline::default(),
            histories: Timeline::default(),
        }
    }

    /// The time limits that are not settings.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The permits of HTTP connections and sessions.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Admits a handshake from a client's address, which came over an HTTP connection.
    pub fn open_permit(
        &self,
        connection: Option<&ConnectionPermit>,
        address: IpAddr,
        opening: Opening,
    ) -> Result<Arc<Permit>, AdmissionError> {
        let opened = self.admission.open(connection, address, opening);
        opened.inspect_err(|refused| self.note_refused(*refused))
    }

    /// Admits a request that opens no session.
    pub fn admit_request(&self, connection: &ConnectionPermit, address: IpAddr) -> Result<(), AdmissionError> {
        connection.admit(address).inspect_err(|refused| self.note_refused(*refused))
    }

    fn note_refused(&self, refused: AdmissionError) {
        match refused {
            AdmissionError::TooMany { .. } => {
                self.limit_hit(Limit::Connections, "connection limit reached, refusing handshakes");
            }
            AdmissionError::TooManyFromAddress { .. } => {
                let notice = "connection limit of one address reached, refusing its handshakes";
                self.limit_hit(Limit::ConnectionsPerIp, notice);
            }
            AdmissionError::TooManyUnconnected { .. } => {
                let notice = "too many polling sessions of one address without CONNECT, refusing its handshakes";
                self.limit_hit(Limit::UnconnectedPerIp, notice);
            }
            // Counted where it is found.
            AdmissionError::TooManyInvalidTokens => {}
        }
    }

    /// Counts a limit that was hit, and logs it at most once a minute.
    pub fn limit_hit(&self, limit: Limit, notice: &'static str) {
        limit_hit(&self.metrics, &self.notices, limit, notice);
    }

    /// Does something that concerns a connection so that a defect in it, a panic, goes no further: it is logged with the
    /// connection's id and counted. `None` where there was one; the connection is then to end.
    pub fn contain<T>(&self, connection: ConnectionId, work: impl FnOnce() -> T) -> Option<T> {
        // What it may have left half done is the connection's own, and goes with it: rooms are changed in steps that
        // cannot fail half-way.
        let done = catch_unwind(AssertUnwindSafe(work));
        if done.is_err() {
            self.metrics.panic();
            error!(%connection, "a defect; closing the connection that it concerns");
        }
        done.ok()
    }

    /// Counts an error that a client is told.
    pub fn refused(&self, error: &RequestError) {
        self.metrics.error(error.code());
        if let Some(limit) = limit_of(error) {
            self.metrics.limit(limit);
        }
    }

    /// The rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// How many sessions have a connection.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many places wait for their peers to come back.
    pub fn away(&self) -> usize {
        self.away.load(Ordering::Relaxed)
    }

    /// What is held for a peer whose connection drops, if anything.
    pub fn resume_limits(&self) -> Option<ResumeLimits> {
        self.limits.resume
    }

    /// A secret with which the client of a new session may resume it. `None` where sessions are not resumed.
    pub fn resume_key(&self, id: ConnectionId) -> Option<ResumeKey> {
        self.limits.resume.and_then(|_| ResumeKey::random(id))
    }

    /// Opens a session, which a later connection may resume if it has a `key`. Its client is asked to disconnect at once
    /// while the server drains: the handshake was answered before.
    pub fn open(
        self: &Arc<Self>,
        id: ConnectionId,
        dialect: &'static Dialect,
        mailbox: Arc<Mailbox>,
        key: Option<ResumeKey>,
        permit: Option<Arc<Permit>>,
    ) -> Session {
        self.rooms.connect(id);
        self.connections.insert(id, Connection { dialect, mailbox: Arc::clone(&mailbox) });
        self.away_limit.note(self.open.fetch_add(1, Ordering::Relaxed) + 1);
        if self.is_draining() {
            self.dismiss_one(id);
        }
        let metrics = self.metrics.dialect(dialect.name);
        metrics.opened();
        info!(connection = %id, dialect = dialect.name, "connected");
        let is_kept = key.is_some();
        let place = Place::new(Arc::clone(self), id, dialect, metrics, mailbox, key, permit);
        let place = Arc::new(place);
        if is_kept {
            self.places.insert(id, Arc::clone(&place));
        }
        Session::first(place)
    }

    /// Gives a place to the connection that knows its key and has seen what was sent up to a number. `None` where the
    /// place is gone, the key is another, or something that was missed is not held any more: a part is never told. The
    /// place then ends. Where tokens are required, `subject` is the person of the newcomer's, and must be the place's.
    /// The permit of the new connection replaces that of the place.
    pub fn resume(
        &self,
        key: &ResumeKey,
        seen: u64,
        subject: Option<&PeerId>,
        permit: Option<&Arc<Permit>>,
    ) -> Option<(Session, Arc<Mailbox>)> {
        let place = self.places.get(&key.id()).filter(|_| !self.is_draining()).map(|place| Arc::clone(&place));
        let resumed = place.and_then(|place| {
            let session = Session::resume(&place, key, seen, subject, permit)?;
            Some((session, Arc::clone(place.mailbox())))
        });
        self.metrics.resumed(resumed.is_some());
        resumed
    }

    /// Notes that something is held for a connection from now on, so that it is let go of in time.
    pub fn holds_for(&self, id: ConnectionId, now: Instant) {
        if let Some(limits) = self.limits.resume {
            self.histories.push(now + limits.time, id);
        }
    }

    /// Has a place end soon whose peer is away and could not be told all.
    pub fn give_up(&self, id: ConnectionId) {
        self.given_up.push(Instant::now(), id);
    }

    /// Ends the places whose time is over, and lets go of what is too old. Call it a few times a second.
    pub fn sweep(&self, now: Instant) {
        self.admission.sweep(now, self.timeouts.pending_connection);
        if let Some(limits) = self.limits.resume {
            self.away_limit.turn(now, limits.time, self.open_connections());
        }
        while let Some(id) = self.absences.pop(now) {
            self.end_away(id, |until| until <= now);
        }
        while let Some(id) = self.given_up.pop(now) {
            self.end_away(id, |_| true);
        }
        while let Some(id) = self.histories.pop(now) {
            let mailbox = self.connections.get(&id).map(|connection| Arc::clone(&connection.mailbox));
            if mailbox.is_some_and(|mailbox| mailbox.prune(now)) {
                self.holds_for(id, now);
            }
        }
    }

    /// Gives back memory that a crowd needed that has gone. Call it a few times a minute.
    pub fn give_back(&self) {
        self.rooms.give_back();
        self.admission.shrink();
        self.invalid_tokens.shrink(Instant::now());
        spare::give_back(&self.connections);
        spare::give_back(&self.places);
    }

    /// The rate limiter of a new connection.
    pub fn rate_limiter(&self) -> RateLimiter {
        RateLimiter::new(
            self.limits.message_rate,
            self.timeouts.flood,
            Arc::clone(&self.metrics),
            Arc::clone(&self.notices),
        )
    }

    /// Ends all places that wait for their peers.
    pub(super) fn end_absences(&self) {
        let away: Vec<ConnectionId> = self.places.iter().map(|place| *place.key()).collect();
        for id in away {
            self.end_away(id, |_| true);
        }
    }

    fn end_away(&self, id: ConnectionId, is_over: impl Fn(Instant) -> bool) {
        let place = self.places.get(&id).map(|place| Arc::clone(&place));
        if let Some(place) = place {
            place.end_if_away(is_over);
        }
    }

    /// The maximum number of away sessions.
    pub(super) fn max_away(&self) -> usize {
        self.away_limit.max()
    }

    /// Closes a room at an operator's word; `false` where there is none of that id.
    pub fn close_room(&self, id: &RoomId) -> bool {
        let Some(applied) = self.rooms.close(id) else {
            return false;
        };
        self.deliver(&applied, None, SystemTime::now());
        info!(room = %id, "room closed");
        true
    }

    /// Makes room for a `/signal` peer in a full room: evicts the older of its `/signal` peers whose ping is overdue. Returns
    /// `false` if there is none.
    pub(super) fn make_way(&self, room: &RoomId) -> bool {
        let overdue = |id: &ConnectionId| self.connections.get(id).is_some_and(|entry| entry.mailbox.is_overdue());
        let Some(stale) = self.rooms.paired_in(room).into_iter().find(overdue) else {
            return false;
        };
        if let Some(applied) = self.rooms.leave(stale, room, LeaveReason::TimedOut) {
            self.deliver(&applied, None, SystemTime::now());
        }
        if let Some(Connection { dialect, mailbox }) = self.connections.get(&stale).map(|entry| entry.clone()) {
            let event = Event::Removed { room: room.clone(), reason: RemovalReason::Replaced };
            if let Some(frame) = (dialect.encode)(&event, SystemTime::now()) {
                // It most likely reads no more; if it does, it learns why.
                _ = mailbox.send(frame);
            }
            mailbox.close();
        }
        true
    }

    /// Queues what came of a command, in order; `applied` keeps the room locked meanwhile. `welcome` is
    /// what a joiner is told in place of the event.
    pub(super) fn deliver(&self, applied: &Applied, mut welcome: Option<Frame>, now: SystemTime) -> Delivered {
        // Signals that a join brings have waited for the joiner.
        let mut delivered =
            Delivered { are_promised: matches!(applied.answer, Answer::Joined(_)), ..Delivered::default() };
        for delivery in &applied.deliveries {
            log(&delivery.event);
            if let Some(media) = self.media.get() {
                heed(media, delivery);
            }
            let frame = match delivery.event {
                Event::Joined(_) => welcome.take(),
                _ => None,
            };
            self.deliver_one(delivery, frame, now, &mut delivered);
        }
        delivered
    }

    fn deliver_one(&self, delivery: &Delivery, mut written: Option<Frame>, now: SystemTime, delivered: &mut Delivered) {
        let is_signal = matches!(delivery.event, Event::SignalRelayed { .. });
        let mut encoded: Option<(&'static Dialect, Option<Frame>)> = None;
        let recipients = delivery.to.as_slice();
        for (index, recipient) in recipients.iter().enumerate() {
            // A connection that is just ending; its rooms hear of that next.
            let Some(Connection { dialect, mailbox }) = self.connections.get(recipient).map(|entry| entry.clone())
            else {
                continue;
            };
            // A defect in telling one must not keep it from the others.
            let told = self.contain(*recipient, || {
                let frame = match (written.take(), encoded.take()) {
                    (Some(written), _) => Some(written),
                    (None, Some((written_for, frame))) if std::ptr::eq(written_for, dialect) => frame,
                    (None, _) => (dialect.encode)(&delivery.event, now),
                };
                if index + 1 < recipients.len() {
                    encoded = Some((dialect, frame.clone()));
                }
                match (&delivery.event, &frame) {
                    (Event::Joined(_), Some(frame)) => delivered.welcome_bytes += frame.length(),
                    // To one of them: as little is charged for a signal.
                    (Event::PeerUpdated { .. }, Some(frame)) if index == 0 => delivered.welcome_bytes += frame.length(),
                    (Event::SignalRelayed { signal, .. }, None) => delivered.withhold(dialect, signal),
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
            let cause = if mailbox.stays_full(Instant::now()) {
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

fn admission(limits: admission::Limits, metrics: &Arc<Metrics>, notices: &Arc<Notices>) -> Arc<Admission> {
    let (metrics, notices) = (Arc::clone(metrics), Arc::clone(notices));
    Admission::new(limits, move |cause| {
        let (limit, notice) = match cause {
            Cause::Total => (Limit::Connections, "connection limit reached, evicting idle and away clients"),
            Cause::PerAddress => {
                (Limit::ConnectionsPerIp, "connection limit of one address reached, evicting its idle and away clients")
            }
            Cause::Away => (Limit::AwaySessions, "too many away sessions, evicting the oldest"),
            Cause::Descriptors => (Limit::OpenFiles, "out of file descriptors, closing idle HTTP connections"),
        };
        limit_hit(&metrics, &notices, limit, notice);
    })
}

/// Counts a limit that was hit, and logs it at most once a minute.
pub(super) fn limit_hit(metrics: &Metrics, notices: &Notices, limit: Limit, notice: &'static str) {
    metrics.limit(limit);
    if notices.is_due(notice, Instant::now()) {
        warn!(limit = limit.as_str(), "{notice}");
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
    fn withhold(&mut self, dialect: &Dialect, signal: &Signal) {
        self.withheld += 1;
        self.reserved += usize::from(signal.name.as_deref().is_some_and(dialect.reserves));
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
