//! What the two sides of the library share about one connection: the seam below it and the session above.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use futures_util::task::AtomicWaker;
use http::Method;
use parking_lot::Mutex;
use socketioxide::handler::Value;
use socketioxide::socket::Sid;
use tokio::time::Sleep;
use tower::ServiceExt;
use tracing::debug;

use super::wire::Wire;
use super::{Inner, PATH, Protocol, slim_request};
use crate::auth::{Denial, Grant};
use crate::dialect::Frame;
use crate::dialect::socketio::DIALECT;
use crate::dialect::socketio::decode::token;
use crate::id::ConnectionId;
use crate::metrics::Limit;
use crate::room::LeaveReason;
use crate::session::{Backlog, Outbox, Place, QueueFull, Session};

/// What the library writes before an event: `42`. Before an acknowledgement also its number, which is not counted.
const PACKET_HEAD: usize = 2;

/// How many bad tokens a connection may bring and try another.
const MAX_REFUSALS: u8 = 4;

/// One Engine.IO connection. It travels in the extensions of the connection's first request, and so lives as long as
/// the library keeps that; when the library forgets the connection without a word, dropping this ends the session.
pub(super) struct Link {
    pub(super) id: ConnectionId,
    protocol: Protocol,
    inner: Arc<Inner>,
    place: Mutex<Option<Place>>,
    /// The token that the first request brought, until it is looked at. Never logged.
    token: Mutex<Option<String>>,
    refusals: AtomicU8,
    began: Instant,
    /// The Engine.IO session id, where the connection began with polling. Its owner's secret: never logged.
    sid: OnceLock<Sid>,
    session: OnceLock<Session>,
    connect_reply: AtomicU8,
    upgrading: AtomicBool,
    closed: AtomicBool,
    reader: AtomicWaker,
    backlog: Arc<Backlog>,
    pause: Mutex<Option<Pause>>,
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
    pub(super) fn new(inner: &Arc<Inner>, place: Place, protocol: Protocol, token: Option<String>) -> Arc<Self> {
        let connect_reply = match protocol {
            // The reply of the older protocol names no id.
            Protocol::V3 => connect_reply::DONE,
            Protocol::V4 => connect_reply::AWAITED,
        };
        Arc::new(Self {
            id: ConnectionId::random(),
            protocol,
            inner: Arc::clone(inner),
            place: Mutex::new(Some(place)),
            token: Mutex::new(token),
            refusals: AtomicU8::new(0),
            began: Instant::now(),
            sid: OnceLock::new(),
            session: OnceLock::new(),
            connect_reply: AtomicU8::new(connect_reply),
            upgrading: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            backlog: Backlog::new(inner.settings.send_queue, inner.settings.send_queue_bytes),
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
        self.inner.hub.identify(auth.or(first).as_deref()).inspect_err(|_| {
            // Each costs a signature, and there is no session yet that would count messages.
            if self.refusals.fetch_add(1, Ordering::Relaxed) >= MAX_REFUSALS {
                self.close();
            }
        })
    }

    /// Opens the session, with what its token grants; `false` where the connection has had one.
    pub(super) fn open(self: &Arc<Self>, sid: Sid, grant: Option<Grant>) -> bool {
        if self.session.get().is_some() || self.is_closed() {
            return false;
        }
        let outbox = Arc::new(Outbound {
            wire: Arc::clone(&self.inner.wire),
            sid,
            backlog: Arc::clone(&self.backlog),
            link: Arc::downgrade(self),
        });
        let session = self.inner.hub.open(self.id, &DIALECT, outbox);
        if grant.is_some_and(|grant| session.accept(grant).is_err()) || self.session.set(session).is_err() {
            return false;
        }
        // Set before the library queues the reply, which it does when the middleware that called us returns.
        let (from, to) = (connect_reply::AWAITED, connect_reply::QUEUED);
        _ = self.connect_reply.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        true
    }

    /// Gives the connection's place to another: its transport is gone, whatever the library still keeps of it.
    pub(super) fn release_place(&self) {
        *self.place.lock() = None;
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

    pub(super) fn backlog(&self) -> &Backlog {
        &self.backlog
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
        Some(format!(r#"40{{"sid":"{}"}}"#, self.id))
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
        // Whoever paused for this connection need not any more.
        self.backlog.close();
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
        self.backlog.close();
        self.close_polling();
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
}

impl Drop for Link {
    fn drop(&mut self) {
        self.backlog.close();
        if self.session.get().is_none() && self.began.elapsed() >= self.inner.settings.handshake_timeout {
            self.inner.hub.metrics().limit(Limit::HandshakeTime);
        }
        if let Some(sid) = self.sid.get() {
            self.inner.links.remove(sid);
        }
    }
}

/// The outgoing side of a connection.
struct Outbound {
    wire: Arc<Wire>,
    sid: Sid,
    backlog: Arc<Backlog>,
    link: Weak<Link>,
}

impl Outbox for Outbound {
    fn send(&self, frame: Frame) -> Result<(), QueueFull> {
        match frame {
            Frame::Text(text) => self.backlog.queue(text.len() + PACKET_HEAD, || self.wire.event(self.sid, text)),
            Frame::Close(..) => {
                self.close();
                Ok(())
            }
        }
    }

    fn send_promised(&self, frame: Frame) -> Result<(), QueueFull> {
        match frame {
            Frame::Text(text) => {
                self.backlog.queue_promised(text.len() + PACKET_HEAD, || self.wire.event(self.sid, text))
            }
            Frame::Close(..) => self.send(frame),
        }
    }

    fn close(&self) {
        let Some(link) = self.link.upgrade() else { return };
        // In a task of its own: should this turn out to be the last of the link, its session ends with it, and that
        // locks the rooms which may be locked now.
        link.inner.lifecycle.clone().spawn(async move { link.close() });
    }

    fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }
}
