//! The state of one polling connection.
//!
//! It owns the executor until the connection ends or upgrades to a WebSocket, which takes it over.
//! The library knows the connection by its session id only; its session is closed silently when the
//! executor is gone.

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

use super::Sessions;
use super::first_post::FirstPostState;
use super::handler::Data;
use super::upgrade::UpgradeState;
use crate::dialect::socketio::packet::Revision;
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;
use crate::metrics::Limit;
use crate::room::LeaveReason;
use crate::session::{ConnectionPermit, Evict, RateLimiter, Sink};
use crate::transport::executor::{Deferred, End, Executor};
use crate::transport::queue::SendQueue;

/// One polling connection.
pub(crate) struct PollingSession {
    revision: Revision,
    pub(super) queue: Arc<SendQueue>,
    pub(super) state: Mutex<State>,
    pub(super) upgrade: UpgradeState,
    /// The library's session.
    socket: OnceLock<(Sid, Weak<Socket<Data>>)>,
    sessions: Weak<Sessions>,
    pub(super) has_answered_ping: AtomicBool,
    pub(super) first_post: FirstPostState,
    /// Wakes the pending poll.
    pub(super) poller: AtomicWaker,
    /// Notified when the executor has ended or moved.
    gone: Notify,
    /// Notified when the connection is evicted.
    evicted: Notify,
    /// Notified when the client is not connected to a namespace, or attachments are missing.
    unsettled: Notify,
    unsettled_since: Mutex<Option<Instant>>,
    /// Notified when a request waits for the cluster.
    waiting: Notify,
    /// The body that is read on when the cluster has answered.
    after_answer: AtomicWaker,
}

pub(super) enum State {
    Live(Box<Executor>),
    /// All sessions have ended; the client may still fetch its queued frames.
    Ending(Box<Executor>),
    /// The connection has moved to a WebSocket.
    Moved,
    /// The connection has ended, or is not open yet.
    Gone,
}

impl PollingSession {
    /// Creates a connection that the library has yet to open.
    pub(super) fn new(
        revision: Revision,
        queue: Arc<SendQueue>,
        sessions: Weak<Sessions>,
    ) -> Arc<Self> {
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
            waiting: Notify::new(),
            after_answer: AtomicWaker::new(),
        })
    }

    /// Starts the connection, once the library has opened it.
    pub(super) fn start(&self, executor: Executor) {
        *self.state.lock() = State::Live(Box::new(executor));
    }

    pub(super) fn set_socket(&self, socket: &Arc<Socket<Data>>) {
        // The library opens each session once.
        _ = self.socket.set((socket.id, Arc::downgrade(socket)));
    }

    pub(super) fn sid(&self) -> Option<Sid> {
        self.socket.get().map(|(sid, _)| *sid)
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Counts the HTTP connection of a request as part of this connection.
    pub(crate) fn join(&self, request: &Request) {
        let permit = match &*self.state.lock() {
            State::Live(executor) | State::Ending(executor) => Arc::clone(executor.permit()),
            State::Moved | State::Gone => return,
        };
        if let Some(connection) = request.extensions().get::<Arc<ConnectionPermit>>() {
            permit.join(connection);
        }
    }

    /// Returns the rate limiter of the connection, unless that has ended.
    pub(crate) fn limiter(&self) -> Option<Arc<RateLimiter>> {
        match &*self.state.lock() {
            State::Live(executor) | State::Ending(executor) => Some(Arc::clone(executor.limiter())),
            State::Moved | State::Gone => None,
        }
    }

    /// Returns whether messages of the client are still handled.
    pub(super) fn is_live(&self) -> bool {
        matches!(*self.state.lock(), State::Live(_)) && !self.queue.is_closing()
    }

    /// Returns whether the connection is closing.
    pub(super) fn is_closing(&self) -> bool {
        self.queue.is_closing()
    }

    /// Returns the connection ids of its sessions.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        match &*self.state.lock() {
            State::Live(executor) => executor.connections(),
            State::Ending(_) | State::Moved | State::Gone => Vec::new(),
        }
    }

    /// Runs `act` on the executor, and ends the connection if it returns an error.
    pub(super) fn act(&self, act: impl FnOnce(&mut Executor) -> Result<(), End>) {
        let mut state = self.state.lock();
        let State::Live(executor) = &mut *state else { return };
        if let Err(end) = act(executor) {
            self.end(&mut state, &end);
        }
    }

    /// Ends the sessions. If the end has a close reason, the client may still fetch its queued
    /// frames.
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

    /// Ends the connection as lost; its sessions may be resumed.
    pub(super) fn lose(&self, reason: LeaveReason) {
        let mut state = self.state.lock();
        self.end(&mut state, &End::lost(reason));
        if matches!(*state, State::Ending(_)) {
            *state = State::Gone;
            self.leave();
        }
    }

    /// Removes the connection from the map and from the library.
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

    /// Handles the end of the library's session.
    pub(super) fn library_closed(&self, reason: &DisconnectReason) {
        let end = match reason {
            DisconnectReason::HeartbeatTimeout => End::lost(LeaveReason::TimedOut),
            // A client that gives up its transport, after a failed poll or a missed heartbeat,
            // closes it and reconnects. One that leaves for good disconnects from its namespaces
            // first.
            DisconnectReason::TransportClose
            | DisconnectReason::TransportError
            | DisconnectReason::MultipleHttpPollingError => End::lost(LeaveReason::Disconnected),
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

    /// Completes when the connection has moved to a WebSocket or ended.
    pub(super) async fn gone(&self) {
        loop {
            let gone = self.gone.notified();
            if matches!(*self.state.lock(), State::Moved | State::Gone) {
                return;
            }
            gone.await;
        }
    }

    /// Ends the connection when it is closing, or when its client does not connect to a namespace
    /// within `first`, or does not complete a message within `later`.
    pub(super) async fn supervise(
        self: Arc<Self>,
        lifecycle: Lifecycle,
        first: Duration,
        later: Duration,
    ) {
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
            () = self.await_cluster() => {}
            () = lifecycle.stopping() => {}
        }
        // Accepts nothing more; the next polls fetch the queued frames.
        let limit = {
            let mut state = self.state.lock();
            self.end(&mut state, &End::CLOSED);
            match &*state {
                State::Live(executor) | State::Ending(executor) => {
                    executor.hub().timeouts().last_poll
                }
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

    /// Completes when the client was not connected to a namespace for too long, or attachments are
    /// missing.
    async fn stays_unsettled(&self, first: Duration, later: Duration) {
        let mut limit = first;
        self.update_settled();
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

    /// Updates whether [`supervise`](Self::supervise) waits for something from the client.
    pub(super) fn update_settled(&self) {
        let is_settled = self.is_settled();
        let mut since = self.unsettled_since.lock();
        if is_settled {
            *since = None;
        } else if since.is_none() {
            *since = Some(Instant::now());
            self.unsettled.notify_waiters();
        }
    }

    /// Handles a message of the client.
    pub(super) fn receive(&self, message: impl FnOnce() -> Deferred) {
        let mut is_waiting = false;
        self.act(|executor| {
            let received = executor.receive_in_turn(message());
            is_waiting = executor.is_waiting();
            received
        });
        if is_waiting {
            self.waiting.notify_one();
        }
    }

    /// Answers requests when the cluster has, one after the other. Never resolves.
    async fn await_cluster(&self) {
        loop {
            self.waiting.notified().await;
            std::future::poll_fn(|context| match &mut *self.state.lock() {
                State::Live(executor) if executor.is_waiting() => executor.poll_pause(context),
                _ => Poll::Ready(()),
            })
            .await;
            self.after_answer.wake();
            // The POST request with CONNECT was answered before.
            self.update_settled();
        }
    }

    /// Completes when the connection may be read again.
    pub(super) fn poll_pause(&self, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self.state.lock() {
            State::Live(executor) if executor.is_waiting() => {
                // Registered before the lock is released, so that the reply is not missed.
                self.after_answer.register(context.waker());
                Poll::Pending
            }
            State::Live(executor) => executor.poll_pause(context),
            State::Ending(_) | State::Moved | State::Gone => Poll::Ready(()),
        }
    }
}

impl Evict for PollingSession {
    fn evict(self: Arc<Self>) {
        // Done by the connection's own task: the caller must not wait for a lock of the connection.
        self.evicted.notify_one();
    }
}
