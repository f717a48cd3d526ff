//! What the two sides of the library share about one connection: the seam below it and the session above.

use std::any::Any;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use futures_util::task::AtomicWaker;
use http::Method;
use parking_lot::Mutex;
use socketioxide::handler::Value;
use socketioxide::socket::Sid;
use tokio::sync::Notify;
use tokio::time::{Sleep, timeout};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::inbound::{Inbound, Violation};
use super::outbound::Outbound;
use super::wire::Wire;
use super::{Inner, PATH, Protocol, slim_request};
use crate::auth::{Denial, Grant};
use crate::dialect::socketio::decode::token;
use crate::dialect::socketio::{DIALECT, Offset};
use crate::id::{ConnectionId, PeerId};
use crate::metrics::{Kind, Limit};
use crate::room::LeaveReason;
use crate::session::{Backlog, ConnectionPermit, Evict, Outbox, Permit, QueueFull, ResumeKey, Session};
use crate::transport::throttle::poll_delay;

/// What the library writes before an event: `42`. Before an acknowledgement also its number, which is not counted.
pub(super) const PACKET_HEAD: usize = 2;

/// How many bad tokens a connection may bring and try another.
const MAX_REFUSALS: u8 = 4;

/// One Engine.IO connection. It travels in the extensions of the connection's first request, and so lives as long as
/// the library keeps that; when the library forgets the connection without a word, dropping this loses the session.
pub(super) struct Link {
    /// Its id as long as it has no session.
    new_id: ConnectionId,
    protocol: Protocol,
    inner: Arc<Inner>,
    /// What the connection counts for, as long as its transport is there. Its session shares it.
    permit: Mutex<Option<Arc<Permit>>>,
    /// The token that the first request brought, until it is looked at. Never logged.
    token: Mutex<Option<String>>,
    refusals: AtomicU8,
    began: Instant,
    /// The Engine.IO session id, where the connection began with polling. Its owner's secret: never logged.
    sid: OnceLock<Sid>,
    session: OnceLock<Session>,
    /// Where the session's events come from as soon as CONNECT is answered, and up to which number they were seen.
    pending: Mutex<Option<(Arc<Outbound>, u64)>>,
    /// Whether the transport is gone, which may be before there is a session.
    is_lost: AtomicBool,
    /// Whether the client has said goodbye: it does not come back.
    has_said_goodbye: AtomicBool,
    connect_reply: AtomicU8,
    upgrading: AtomicBool,
    closed: AtomicBool,
    /// Whether nothing more is accepted for it.
    has_ended: AtomicBool,
    /// Told when it has ended, and of what is written from when it is closed.
    changed: Notify,
    reader: AtomicWaker,
    writer: AtomicWaker,
    backlog: Arc<Backlog>,
    inbound: Inbound,
    pause: Mutex<Option<Pause>>,
}

/// Whether a packet is one that we have queued, and not one of the library's own: an event or an acknowledgement.
pub(super) fn is_queued(packet: &[u8]) -> bool {
    packet.starts_with(b"42") || packet.starts_with(b"43")
}

/// Whether the CONNECT reply, which must name our connection id, has gone by.
mod connect_reply {
    /// Not asked for yet.
    pub(super) const AWAITED: u8 = 0;
    /// In the queue.
    pub(super) const QUEUED: u8 = 1;
    /// Written, or never to be.
    pub(super) const DONE: u8 = 2;
}

/// Why the connection is not read.
struct Pause {
    backlog: Arc<Backlog>,
    /// Whether to wait no longer than the dialect's patience.
    is_bounded: bool,
}

impl Link {
    pub(super) fn new(inner: &Arc<Inner>, permit: Arc<Permit>, protocol: Protocol, token: Option<String>) -> Arc<Self> {
        let connect_reply = match protocol {
            // The reply of the older protocol names no id.
            Protocol::V3 => connect_reply::DONE,
            Protocol::V4 => connect_reply::AWAITED,
        };
        Arc::new(Self {
            new_id: ConnectionId::random(),
            protocol,
            inner: Arc::clone(inner),
            permit: Mutex::new(Some(permit)),
            token: Mutex::new(token),
            refusals: AtomicU8::new(0),
            began: Instant::now(),
            sid: OnceLock::new(),
            session: OnceLock::new(),
            pending: Mutex::new(None),
            is_lost: AtomicBool::new(false),
            has_said_goodbye: AtomicBool::new(false),
            connect_reply: AtomicU8::new(connect_reply),
            upgrading: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            changed: Notify::new(),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            backlog: Backlog::new(inner.settings.send_queue, inner.settings.send_queue_bytes),
            inbound: Inbound::new(inner.hub.rate_limiter()),
            pause: Mutex::new(None),
        })
    }

    /// Makes later requests find this connection by its Engine.IO session id.
    pub(super) fn register(self: &Arc<Self>, sid: Sid) {
        if self.sid.set(sid).is_ok() {
            self.inner.links.insert(sid, Arc::downgrade(self));
        }
    }

    /// Checks the token of the CONNECT packet, or else that of the first request.
    pub(super) fn identify(&self, auth: Option<&Value>) -> Result<Option<Grant>, Denial> {
        let auth = match auth {
            Some(Value::Str(auth, _)) => token(auth.as_str()),
            Some(Value::Bytes(_)) | None => None,
        };
        let first = self.token.lock().take();
        let address = self.permit.lock().as_ref().map(|permit| permit.address());
        // Without a permit its transport is gone.
        let address = address.ok_or(Denial::Unauthorized)?;
        self.inner.hub.identify(address, auth.or(first).as_deref()).inspect_err(|denial| {
            // Each costs a signature, and there is no session yet that would count messages. A client whose address has
            // to wait comes back by itself after a lost transport; a refusal would be final to it.
            let has_to_wait = *denial == Denial::TooManyInvalid;
            if has_to_wait || self.refusals.fetch_add(1, Ordering::Relaxed) >= MAX_REFUSALS {
                self.close();
            }
        })
    }

    /// Opens the session, with what its token grants: the one that the client comes back to, if it brings the key and the
    /// offset of one, else a new one. `false` where the connection has had one.
    pub(super) fn open(self: &Arc<Self>, grant: Option<Grant>, key: Option<&ResumeKey>, offset: Option<&str>) -> bool {
        // A probe that failed leaves polling, where a refusal would be read, and is final to official clients.
        let is_gone = self.is_lost.load(Ordering::SeqCst) && self.sid.get().is_none();
        if self.session.get().is_some() || self.is_closed() || is_gone {
            return false;
        }
        let Some(permit) = self.permit.lock().clone().filter(|permit| permit.connect()) else {
            return false;
        };
        let subject = grant.as_ref().map(|grant| grant.subject.clone());
        let resumed = key.and_then(|key| self.resume(key, offset, subject.as_ref(), &permit));
        let (session, outbound, seen) = resumed.unwrap_or_else(|| self.begin(&permit));
        if grant.is_some_and(|grant| session.accept(grant).is_err()) || self.session.set(session).is_err() {
            return false;
        }
        *self.pending.lock() = Some((outbound, seen));
        // The library opens in a task of its own, and its reader goes on: it may have found the end since we looked.
        if self.is_lost.load(Ordering::SeqCst) {
            self.lose(LeaveReason::Disconnected);
        }
        // Set before the library queues the reply, which it does when the middleware that called us returns.
        let (from, to) = (connect_reply::AWAITED, connect_reply::QUEUED);
        _ = self.connect_reply.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        true
    }

    fn begin(&self, permit: &Arc<Permit>) -> (Session, Arc<Outbound>, u64) {
        permit.settle();
        let can_resume = self.protocol == Protocol::V4;
        let outbound = Outbound::new(self.new_id, Arc::clone(&self.inner), can_resume);
        let outbox = Arc::clone(&outbound) as Arc<dyn Outbox>;
        let permit = Some(Arc::clone(permit));
        (self.inner.hub.open(self.new_id, &DIALECT, outbox, can_resume, permit), outbound, 0)
    }

    fn resume(
        &self,
        key: &ResumeKey,
        offset: Option<&str>,
        subject: Option<&PeerId>,
        permit: &Arc<Permit>,
    ) -> Option<(Session, Arc<Outbound>, u64)> {
        let seen = Offset::seen(key.id(), offset)?;
        let (session, outbox) = self.inner.hub.resume(key, seen, subject, Some(permit))?;
        let outbound = Arc::downcast::<Outbound>(outbox as Arc<dyn Any + Send + Sync>).ok()?;
        Some((session, outbound, seen))
    }

    /// Lets the session's events come: CONNECT has been answered.
    pub(super) fn attach(self: &Arc<Self>, sid: Sid) {
        let Some((outbound, seen)) = self.pending.lock().take() else { return };
        let attached = self.session.get().and_then(|session| session.while_held(|| outbound.attach(self, sid, seen)));
        match attached {
            Some(Ok(())) => {}
            Some(Err(QueueFull)) => {
                warn!(connection = %self.id(), "closing: the queue does not hold what was missed");
                self.close();
            }
            // Lost already, or taken by a newer connection.
            None => self.close(),
        }
    }

    /// The connection's id, as others know it.
    pub(super) fn id(&self) -> ConnectionId {
        self.session.get().map_or(self.new_id, Session::id)
    }

    /// Has an HTTP connection whose request names this polling session count as part of it.
    pub(super) fn join(&self, connection: Option<&Arc<ConnectionPermit>>) {
        if let (Some(permit), Some(connection)) = (&*self.permit.lock(), connection) {
            permit.join(connection);
        }
    }

    /// Makes room for another connection: the transport of this one is gone, whatever the library still keeps of it.
    pub(super) fn release_permit(&self) {
        *self.permit.lock() = None;
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.session.get()
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.inner.wire
    }

    pub(super) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// The rate limiter, and what it does not let pass.
    pub(super) fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// Takes a packet or a frame of the client by `take`; `false` if the connection is to end for it, which it then does.
    pub(super) fn admit(&self, take: impl FnOnce(&Inbound) -> Result<(), Violation>) -> bool {
        self.inner.metrics.received(Kind::Control);
        let taken = take(&self.inbound);
        if let Err(violation) = taken {
            self.refuse(violation);
        }
        taken.is_ok()
    }

    /// Takes a text packet, by its first bytes. Events of a session are counted where they are handled.
    pub(super) fn admit_text(&self, prefix: &[u8]) -> bool {
        if self.session.get().is_some() && Inbound::is_event(prefix) {
            return true;
        }
        self.admit(|inbound| inbound.take(prefix))
    }

    fn refuse(&self, violation: Violation) {
        if self.is_closed() {
            return;
        }
        if violation == Violation::Connect {
            self.inner.hub.limit_hit(Limit::ConnectPackets, "too many CONNECT packets, closing the connection");
        }
        self.close();
    }

    /// Ready when the rate limiter lets the connection be read.
    pub(super) fn poll_delay(&self, timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_closed() {
            return Poll::Ready(());
        }
        poll_delay(self.inbound.limiter(), timer, context)
    }

    /// Ready, and the connection is closed, when the attachments of a packet have not come in time.
    pub(super) fn poll_attachments(&self, timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> Poll<()> {
        let Some(left) = self.inbound.time_for_attachments(self.inner.settings.handshake_timeout) else {
            *timer = None;
            return Poll::Pending;
        };
        if !left.is_zero() {
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            let due = tokio::time::Instant::now() + left;
            if timer.deadline() < due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(context));
        }
        *timer = None;
        self.inner.hub.limit_hit(Limit::HandshakeTime, "attachments took too long, closing the connection");
        self.close();
        Poll::Ready(())
    }

    /// Queues an answer.
    pub(super) fn queue(
        &self,
        frame: String,
        send: impl FnOnce(String) -> Result<(), QueueFull>,
    ) -> Result<(), QueueFull> {
        self.backlog.queue(frame.len() + PACKET_HEAD, || send(frame))
    }

    /// Whether the CONNECT reply has gone by, so that nothing need be looked at any more.
    pub(super) fn is_connected(&self) -> bool {
        self.connect_reply.load(Ordering::Acquire) == connect_reply::DONE
    }

    /// What to send in place of `packet` if that is the CONNECT reply.
    pub(super) fn connect_reply(&self, packet: &[u8]) -> Option<String> {
        if !packet.starts_with(br#"40{"sid":"#) {
            return None;
        }
        let (from, to) = (connect_reply::QUEUED, connect_reply::DONE);
        self.connect_reply.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).ok()?;
        let key = self.session.get().and_then(Session::key).map(|key| format!(r#","pid":"{}""#, key.expose()));
        Some(format!(r#"40{{"sid":"{}"{}}}"#, self.id(), key.unwrap_or_default()))
    }

    /// Claims the one upgrade that a connection may have; `false` where it is taken.
    pub(super) fn begin_upgrade(&self) -> bool {
        !self.upgrading.swap(true, Ordering::AcqRel)
    }

    /// Gives the claim back, for an attempt that the library never heard of.
    pub(super) fn abandon_upgrade(&self) {
        self.upgrading.store(false, Ordering::Release);
    }

    /// Ends the session; the transport may still be open.
    pub(super) fn end(&self, reason: LeaveReason) {
        if let Some(session) = self.session.get() {
            session.end(reason);
        }
        self.has_ended.store(true, Ordering::Release);
        self.changed.notify_waiters();
        // Whoever paused for this connection need not any more.
        self.backlog.give_up();
    }

    /// Ends the session, whose connection is lost: if the client had not said goodbye, nor was sent away, its place waits
    /// for it.
    pub(super) fn lose(&self, reason: LeaveReason) {
        let was_lost = self.is_lost.swap(true, Ordering::SeqCst);
        self.changed.notify_waiters();
        // Who is closed because it was lost may have got its session since.
        if self.is_closed() && !was_lost {
            return self.end(LeaveReason::Kicked);
        }
        if self.has_said_goodbye.load(Ordering::Acquire) {
            return self.end(reason);
        }
        if let Some(session) = self.session.get() {
            session.lose(reason);
        }
        self.backlog.close();
    }

    /// Notes that the client closes the connection as one does who does not come back.
    pub(super) fn note_goodbye(&self) {
        self.has_said_goodbye.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the transport once what is queued has been written: a WebSocket reads its end, a polling session is closed
    /// in its own name. Takes no lock of a room, and may be called under one.
    pub(super) fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.reader.wake();
        self.writer.wake();
        self.backlog.give_up();
        let polling = self.sid.get().and_then(|sid| self.inner.links.get(sid)?.upgrade());
        let Some(link) = polling else { return };
        self.inner.lifecycle.spawn(async move {
            // Nothing more is accepted for it, and what was is fetched by the next poll.
            link.end(LeaveReason::Kicked);
            tokio::select! {
                _ = timeout(link.inner.hub.timeouts().last_poll, link.fetched()) => {}
                () = link.inner.lifecycle.stopping() => {}
            }
            link.close_polling();
        });
    }

    /// The same where nothing that is queued will be read any more.
    pub(super) fn close_at_once(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
        self.close();
    }

    /// Resolves when all that was accepted for it was fetched, and no more is accepted, or when it is lost.
    pub(super) async fn fetched(&self) {
        loop {
            let changed = self.changed.notified();
            let has_ended = self.has_ended.load(Ordering::Acquire) || self.session.get().is_none();
            if has_ended && self.backlog.waiting() == 0 || self.is_lost.load(Ordering::SeqCst) {
                return;
            }
            changed.await;
        }
    }

    /// Notes that so many frames, and so many bytes of them, have been written.
    pub(super) fn note_written(&self, frames: usize, bytes: usize) {
        self.backlog.written(frames, bytes);
        if self.is_closed() {
            self.changed.notify_waiters();
            self.reader.wake();
        }
    }

    /// Whether what it is told is fetched by polls.
    pub(super) fn is_polling(&self) -> bool {
        self.sid.get().is_some() && !self.upgrading.load(Ordering::Acquire)
    }

    /// Makes the library forget a connection that began with polling. Without effect on one that has been upgraded.
    pub(super) fn close_polling(&self) {
        let Some(sid) = self.sid.get() else { return };
        let eio = match self.protocol {
            Protocol::V3 => 3,
            Protocol::V4 => 4,
        };
        // A close packet, posted by its owner.
        let body = match self.protocol {
            Protocol::V3 => "1:1",
            Protocol::V4 => "1",
        };
        let uri = format!("{PATH}?EIO={eio}&transport=polling&sid={sid}").parse().expect("a session id is plain text");
        let request = slim_request(Method::POST, &uri, Body::from(body));
        let service = self.inner.service.clone();
        self.inner.lifecycle.spawn(async move {
            let Ok(response) = service.oneshot(request).await;
            debug!(status = response.status().as_u16(), "polling session closed");
        });
    }

    /// Reads no more of this connection while `backlog` is high, or for a bounded time.
    pub(super) fn pause(&self, backlog: Arc<Backlog>) {
        let is_bounded = !Arc::ptr_eq(&backlog, &self.backlog);
        *self.pause.lock() = Some(Pause { backlog, is_bounded });
    }

    /// Pauses for this connection's own queue, if that fills: who does not read is not read.
    pub(super) fn pause_for_own_queue(&self) {
        if self.backlog.is_high() {
            self.pause(Arc::clone(&self.backlog));
        }
    }

    /// Ready when the connection may be read on.
    pub(super) fn poll_pause(&self, timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> Poll<()> {
        let mut guard = self.pause.lock();
        let Some(pause) = &*guard else {
            return Poll::Ready(());
        };
        if pause.backlog.poll_relief(context).is_pending() && !self.is_closed() {
            if !pause.is_bounded {
                return Poll::Pending;
            }
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(DIALECT.patience)));
            ready!(timer.as_mut().poll(context));
            pause.backlog.give_up();
        }
        *guard = None;
        *timer = None;
        Poll::Ready(())
    }

    /// Has the current reader woken when the connection is closed.
    pub(super) fn register_reader(&self, context: &Context<'_>) {
        self.reader.register(context.waker());
    }

    /// Has a writer that is blocked woken when the connection is closed.
    pub(super) fn register_writer(&self, context: &Context<'_>) {
        self.writer.register(context.waker());
    }
}

impl Evict for Link {
    fn evict(self: Arc<Self>) {
        self.close_at_once();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The library has forgotten it without a word.
        self.lose(LeaveReason::Disconnected);
        if self.session.get().is_none() && self.began.elapsed() >= self.inner.settings.connect_timeout() {
            self.inner.hub.metrics().limit(Limit::HandshakeTime);
        }
        if let Some(sid) = self.sid.get() {
            self.inner.links.remove(sid);
        }
    }
}
