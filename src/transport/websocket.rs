//! The WebSocket transport, shared by all protocols.
//!
//! - [`route`] accepts handshakes for one plain WebSocket protocol and starts a
//!   [`Conversation`](crate::dialect::Conversation) for each; Socket.IO has [its own
//!   endpoint](super::socketio);
//! - [`connection`] is the loop of one connection: it reads messages, passes them to the executor
//!   and writes queued frames;
//! - [`batch`] encodes the frames of a burst, [`heartbeat`] detects silent clients.
//!
//! The WebSocket library is tungstenite: with a small read buffer, an idle connection takes less
//! than 3 KiB, and text is passed on without being parsed.
//!
//! Invariant: everything that is sent to a client, replies included, goes through its one send
//! queue, so that nothing is reordered.

mod batch;
mod connection;
mod heartbeat;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header;

use self::connection::Connection;
pub(super) use self::connection::{Socket, accept};
use super::executor::{End, Executor};
use super::handshake::{Handshake, into_stream};
use super::listener::Pending;
use super::queue::{QueueLimits, SendQueue};
use crate::auth::Grant;
use crate::dialect::{Begin, Hello};
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;
use crate::request::error::ApiError;
use crate::request::proxies::client_address;
use crate::request::token::token_of;
use crate::session::{ConnectionPermit, Hub, Opening};

/// Settings of WebSocket connections.
#[derive(Debug, Clone)]
pub struct WebSocketSettings {
    /// Maximum size of a message, in bytes.
    pub max_message_bytes: usize,
    /// Capacity of each connection's send queue.
    pub queue: QueueLimits,
    /// Time between two pings of a plain WebSocket protocol; a connection that misses two is
    /// closed.
    pub heartbeat: Duration,
    /// Time for the first message; half of it if that message must carry a token.
    pub handshake_timeout: Duration,
}

/// Serves the WebSocket connections of all protocols. Cloning is cheap.
#[derive(Clone)]
pub struct WebSocketEndpoint {
    hub: Arc<Hub>,
    lifecycle: Lifecycle,
    settings: Arc<WebSocketSettings>,
}

impl WebSocketEndpoint {
    /// Creates an endpoint whose clients share `hub`.
    pub fn new(hub: Arc<Hub>, lifecycle: Lifecycle, settings: WebSocketSettings) -> Self {
        Self { hub, lifecycle, settings: Arc::new(settings) }
    }
}

/// Conditions under which a connection starts.
pub(super) struct Terms {
    /// Grant of the handshake's token.
    pub(super) grant: Option<Grant>,
    /// Time for the client to join or connect.
    pub(super) settle_timeout: Duration,
    /// Maximum size of a message, in bytes.
    pub(super) max_bytes: usize,
}

/// The path segment after the endpoint, such as the topic, if there is one.
type Segment = Result<Option<Path<String>>, PathRejection>;

/// Returns the route for the clients of one protocol.
pub(crate) fn route(begin: Begin) -> MethodRouter<WebSocketEndpoint> {
    get(
        async move |State(endpoint): State<WebSocketEndpoint>,
                    segment: Segment,
                    request: Request| {
            let segment = match segment {
                Ok(segment) => segment.map(|Path(segment)| segment),
                Err(_) => return ApiError::BadPath.into_response(),
            };
            endpoint
                .accept(begin, segment.as_deref(), request)
                .unwrap_or_else(IntoResponse::into_response)
        },
    )
}

impl WebSocketEndpoint {
    fn accept(
        &self,
        begin: Begin,
        segment: Option<&str>,
        request: Request,
    ) -> Result<Response, ApiError> {
        if self.hub.is_draining() {
            return Err(ApiError::ShuttingDown);
        }
        let handshake = Handshake::read(&request).ok_or(ApiError::NotAHandshake)?;
        let query: Vec<(String, String)> =
            serde_urlencoded::from_str(request.uri().query().unwrap_or_default())
                .map_err(|_| ApiError::BadQuery)?;
        let address = client_address(&request);
        let connection = request.extensions().get::<Arc<ConnectionPermit>>().cloned();
        let permit = self.hub.open_permit(connection.as_deref(), address, Opening::WebSocket)?;
        let id = ConnectionId::random();
        let (now, heartbeat) = (SystemTime::now(), self.settings.heartbeat);
        let token = token_of(&request);
        // A token in the handshake must be valid; clients of some protocols may send theirs in a
        // message instead.
        let grant = match &token {
            Some(_) => self.hub.identify(address, token.as_deref())?,
            None => None,
        };
        let needs_token = self.hub.requires_tokens() && grant.is_none();
        let ice_servers = self.hub.ice_servers();
        let languages =
            request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let hello = Hello {
            connection: id,
            segment,
            query: &query,
            languages,
            now,
            heartbeat,
            needs_token,
            ice_servers,
        };
        let conversation = begin(&hello)?;
        if needs_token && !conversation.takes_tokens() {
            return Err(ApiError::Unauthorized);
        }
        let queue = SendQueue::new(self.settings.queue);
        let executor = Executor::new(Arc::clone(&self.hub), id, permit, conversation, queue);
        let settle_timeout = self.settings.handshake_timeout / if needs_token { 2 } else { 1 };
        Ok(self.open(
            request,
            handshake,
            executor,
            Terms { grant, settle_timeout, max_bytes: self.settings.max_message_bytes },
        ))
    }

    /// Answers a handshake, and serves the WebSocket once hyper has released the stream.
    pub(super) fn open(
        &self,
        mut request: Request,
        handshake: Handshake,
        executor: Executor,
        terms: Terms,
    ) -> Response {
        let Terms { grant, settle_timeout, max_bytes } = terms;
        let upgrade = hyper::upgrade::on(&mut request);
        let pending = request.extensions_mut().remove::<Pending>();
        let settings = Arc::clone(&self.settings);
        let executor = Box::new(executor);
        let opening = async move {
            let (stream, early) = upgrade.await.ok().and_then(into_stream)?;
            let limiter = Arc::clone(executor.limiter());
            let socket = accept(stream, early, limiter, max_bytes).await;
            let mut connection = Connection::new(socket, executor, &settings);
            let opened = connection.open(grant);
            drop(pending);
            Some((connection, opened))
        };
        self.spawn(opening, settle_timeout);
        handshake.accept()
    }

    /// Serves a connection that upgrades from another transport, once `upgrading` has its
    /// WebSocket.
    pub(super) fn take_over<U>(&self, upgrading: U)
    where
        U: Future<Output = Option<(Socket, Box<Executor>)>> + Send + 'static,
    {
        let settings = Arc::clone(&self.settings);
        let opening = async move {
            let (socket, executor) = upgrading.await?;
            Some((Connection::new(socket, executor, &settings), Ok(())))
        };
        self.spawn(opening, self.settings.handshake_timeout);
    }

    /// Spawns the task of a connection: it waits for `opening`, and serves the connection if that
    /// succeeds.
    ///
    /// A task occupies the memory of its largest phase for its whole life. So the first and the
    /// last phase are boxed, and no function comes between the task and [`Connection::serve`].
    fn spawn<O>(&self, opening: O, settle_timeout: Duration)
    where
        O: Future<Output = Option<(Connection, Result<(), End>)>> + Send + 'static,
    {
        let (opening, settings) = (Box::pin(opening), Arc::clone(&self.settings));
        self.lifecycle.spawn(async move {
            let Some((mut connection, opened)) = opening.await else { return };
            let end = match opened {
                Ok(()) => connection.serve(settle_timeout, &settings).await,
                Err(end) => end,
            };
            Box::pin(connection.finish(end)).await;
        });
    }
}
