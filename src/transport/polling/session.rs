//! The state of one polling connection.
//!
//! The executor is here until the connection upgrades to a WebSocket, which takes it, or ends. The library only knows the
//! connection by its session id; it is closed silently when the executor has gone.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use engineioxide::socket::{DisconnectReason, Sid, Socket};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::first_post::FirstPostState;
use super::upgrade::UpgradeState;
use super::{Data, Sessions};
use crate::dialect::socketio::packet::Revision;
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;
use crate::metrics::Limit;
use crate::room::LeaveReason;
use crate::session::{ConnectionPermit, Evict, RateLimiter, Sink};
use crate::transport::executor::{End, Executor};
use crate::transport::queue::SendQueue;

/// One polling connection.
pub(crate) struct PollingSession {
    revision: Revision,
    pub(super) queue: Arc<SendQueue>,
    pub(super) state: Mutex<State>,
    pub(super) upgrade: UpgradeState,
    /// The library's side.
    socket: OnceLock<(Sid, Weak<Socket<Data>>)>,
    sessions: Weak<Sessions>,
    pub(super) has_answered_ping: AtomicBool,
    pub(super) first_post: FirstPostState,
    /// The poll that waits, where one does.
    pub(super) poller: AtomicWaker,
    /// Told when the executor is gone.
    gone: Notify,
    /// Told when the connection makes room for another.
    evicted: Notify,
    /// Told when the client is not connected to any namespace, or owes attachments.
    unsettled: Notify,
    unsettled_since: Mutex<Option<Instant>>,
}

pub(super) enum State {
    Live(Box<Executor>),
    /// All sessions have ended, and the client may still fetch what waits for it.
    Ending(Box<Executor>),
    /// The connection has moved to a WebSocket.
    Moved,
    /// The connection is over, or not there yet.
    Gone,
}

impl PollingSession {
    /// A connection that the library has yet to open.
    pub(super) fn new(revision: Revision, queue: Arc<SendQueue>, sessions: Weak<Sessions>) -> Arc<Self> {
        Arc::new(Self {
            revision,
            queue,
            state: Mutex::new(State::Gone),
            upgrade: UpgradeState::default(),
            socket: OnceLock::new(),
            sessions,
            has_answered_ping: AtomicBool::new(false),
            first_post: FirstPostState::default(),
            poller: AtomicWaker::new(),
            gone: Notify::new(),
            evicted: Notify::new(),
            unsettled: Notify::new(),
            unsettled_since: Mutex::new(None),
        })
    }

    /// The library has opened it.
    pub(super) fn start(&self, executor: Executor) {
        *self.state.lock() = State::Live(Box::new(executor));
    }

    pub(super) fn set_socket(&self, socket: &Arc<Socket<Data>>) {
        // The library opens each of its sessions once.
        _ = self.socket.set((socket.id, Arc::downgrade(socket)));
    }

    pub(super) fn sid(&self) -> Option<Sid> {
        self.socket.get().map(|(sid, _)| *sid)
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Has the HTTP connection of a request count as part of this connection.
    pub(crate) fn join(&self, request: &Request) {
        let permit = match &*self.state.lock() {
            State::Live(executor) | State::Ending(executor) => Arc::clone(executor.permit()),
            State::Moved | State::Gone => return,
        };
        if let Some(connection) = request.extensions().get::<Arc<ConnectionPermit>>() {
            permit.join(connection);
        }
    }

    /// The rate limiter of the connection, as long as it is there.
    pub(crate) fn limiter(&self) -> Option<Arc<RateLimiter>> {
        match &*self.state.lock() {
            State::Live(executor) | State::Ending(executor) => Some(Arc::clone(executor.limiter())),
            State::Moved | State::Gone => None,
        }
    }

    /// Whether the client is still heard.
    pub(super) fn is_live(&self) -> bool {
        matches!(*self.state.lock(), State::Live(_)) && !self.queue.is_closing()
    }

    /// Whether the client was asked to disconnect.
    pub(super) fn is_closing(&self) -> bool {
        self.queue.is_closing()
    }

    /// The ids of its sessions.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        match &*self.state.lock() {
            State::Live(executor) => executor.connections(),
            State::Ending(_) | State::Moved | State::Gone => Vec::new(),
        }
    }

    /// Lets the executor act, and ends the connection if that says so.
    pub(super) fn act(&self, act: impl FnOnce(&mut Executor) -> Result<(), End>) {
        let mut state = self.state.lock();
        let State::Live(executor) = &mut *state else { return };
        if let Err(end) = act(executor) {
            self.end(&mut state, &end);
        }
    }

    /// Ends the sessions. Where the client is told, it may fetch the rest first.
    pub(super) fn end(&self, state: &mut State, end: &End) {
        if !matches!(state, State::Live(_)) {
            return;
        }
        let State::Live(mut executor) = std::mem::replace(state, State::Gone) else { return };
        executor.finish(end);
        if end.close.is_some() {
            *state = State::Ending(executor);
            self.queue.close();
        } else {
            self.leave();
        }
    }

    /// The connection is lost; its sessions may be resumed.
    pub(super) fn lose(&self, reason: LeaveReason) {
        let mut state = self.state.lock();
        self.end(&mut state, &End::gone(reason));
        if matches!(*state, State::Ending(_)) {
            *state = State::Gone;
            self.leave();
        }
    }

    /// Has the library forget the connection.
    pub(super) fn leave(&self) {
        if let Some((sid, socket)) = self.socket.get() {
            if let Some(sessions) = self.sessions.upgrade() {
                sessions.remove(sid);
            }
            if let Some(socket) = socket.upgrade() {
                socket.close(DisconnectReason::TransportClose);
            }
        }
        self.poller.wake();
        self.gone.notify_waiters();
    }

    /// The library has ended its session.
    pub(super) fn library_closed(&self, reason: &DisconnectReason) {
        let end = match reason {
            DisconnectReason::HeartbeatTimeout => End::gone(LeaveReason::TimedOut),
            // A client that gives up its transport, since a poll has failed or a heartbeat was missed, closes it, and comes
            // back. One that leaves for good leaves its namespaces first.
            DisconnectReason::TransportClose
            | DisconnectReason::TransportError
            | DisconnectReason::MultipleHttpPollingError => End::gone(LeaveReason::Disconnected),
            DisconnectReason::PacketParsingError | DisconnectReason::ClosingServer => {
                End { reason: LeaveReason::Disconnected, is_lost: false, close: None }
            }
        };
        let mut state = self.state.lock();
        if matches!(*state, State::Moved) {
            return;
        }
        self.end(&mut state, &end);
        *state = State::Gone;
        self.leave();
    }

    /// Resolves when the connection has moved or is over.
    pub(super) async fn gone(&self) {
        loop {
            let gone = self.gone.notified();
            if matches!(*self.state.lock(), State::Moved | State::Gone) {
                return;
            }
            gone.await;
        }
    }

    /// Ends the connection when it is to be closed, or when its client does not say what it is here for.
    /// It may take the time of `first` for that, and of `later` for the rest of what it has begun to say.
    pub(super) async fn supervise(self: Arc<Self>, lifecycle: Lifecycle, first: Duration, later: Duration) {
        tokio::select! {
            () = self.gone() => return,
            () = std::future::poll_fn(|context| self.queue.poll_close_requested(context)) => {}
            () = self.evicted.notified() => {
                self.act(|_| Err(End::KICKED));
                return;
            }
            () = self.stays_unsettled(first, later) => {
                self.act(|executor| {
                    executor.hub().metrics().limit(Limit::HandshakeTime);
                    Err(End { reason: LeaveReason::Disconnected, is_lost: false, close: None })
                });
                return;
            }
            () = lifecycle.stopping() => {}
        }
        // Nothing more is accepted for it, and what was is fetched by the next polls.
        let limit = {
            let mut state = self.state.lock();
            self.end(&mut state, &End::CLOSED);
            match &*state {
                State::Live(executor) | State::Ending(executor) => executor.hub().timeouts().last_poll,
                State::Moved | State::Gone => return,
            }
        };
        tokio::select! {
            _ = timeout(limit, self.gone()) => {}
            () = lifecycle.stopping() => {}
        }
        let mut state = self.state.lock();
        if matches!(*state, State::Ending(_)) {
            *state = State::Gone;
            self.leave();
        }
    }

    /// Resolves when the client has not been connected to a namespace for too long, or owes attachments.
    async fn stays_unsettled(&self, first: Duration, later: Duration) {
        let mut limit = first;
        self.note_settled();
        loop {
            let unsettled = self.unsettled.notified();
            let since = *self.unsettled_since.lock();
            let Some(since) = since else {
                unsettled.await;
                continue;
            };
            sleep_until(since + limit).await;
            if *self.unsettled_since.lock() == Some(since) {
                return;
            }
            limit = later;
        }
    }

    fn is_settled(&self) -> bool {
        match &*self.state.lock() {
            State::Live(executor) => executor.is_settled(),
            State::Ending(_) | State::Moved | State::Gone => true,
        }
    }

    /// Has [`supervise`](Self::supervise) know whether the client owes something.
    pub(super) fn note_settled(&self) {
        let is_settled = self.is_settled();
        let mut since = self.unsettled_since.lock();
        if is_settled {
            *since = None;
        } else if since.is_none() {
            *since = Some(Instant::now());
            self.unsettled.notify_waiters();
        }
    }

    /// Ready when the client may be read on.
    pub(super) fn poll_pause(&self, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self.state.lock() {
            State::Live(executor) => executor.poll_pause(context),
            State::Ending(_) | State::Moved | State::Gone => Poll::Ready(()),
        }
    }
}

impl Evict for PollingSession {
    fn evict(self: Arc<Self>) {
        // By its own task: nobody here may wait for a lock of the connection.
        self.evicted.notify_one();
    }
}
