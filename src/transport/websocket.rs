//! WebSocket connections: one transport for every protocol.
//!
//! - [`route`] answers handshakes to the endpoint of one plain protocol, and begins a
//!   [`Conversation`](crate::dialect::Conversation) for each; Socket.IO has [an endpoint of its own](super::socketio);
//! - [`connection`] is the loop of one connection: it reads, has the conversation decide, and writes what waits;
//! - [`batch`] encodes the frames of a burst, [`heartbeat`] finds out when a client has fallen silent.
//!
//! The library is tungstenite: with a small read buffer an idle connection costs it under three kibibytes, and it hands on
//! text without looking into it.
//!
//! The guarantee that is easy to break: all that a client is told goes through its one queue, answers too, so that nothing
//! overtakes.

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
use super::executor::Executor;
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

/// The settings of WebSocket connections.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most bytes of one message.
    pub max_message_bytes: usize,
    /// How much waits for one connection.
    pub queue: QueueLimits,
    /// Time between two heartbeats of a plain protocol; a connection that misses two is closed.
    pub heartbeat: Duration,
    /// Time for the first message; half of it where that has to bring a token.
    pub handshake_timeout: Duration,
}

/// What all endpoints share.
#[derive(Clone)]
pub struct Endpoint {
    hub: Arc<Hub>,
    lifecycle: Lifecycle,
    settings: Arc<Settings>,
}

impl Endpoint {
    /// Endpoints whose connections meet in `hub`.
    pub fn new(hub: Arc<Hub>, lifecycle: Lifecycle, settings: Settings) -> Self {
        Self { hub, lifecycle, settings: Arc::new(settings) }
    }
}

/// On what terms a connection begins.
pub(super) struct Terms {
    /// What the token of the handshake grants.
    pub(super) grant: Option<Grant>,
    /// How long the client may take to say what it is here for.
    pub(super) patience: Duration,
    /// The most bytes of one message.
    pub(super) max_bytes: usize,
}

/// What follows the endpoint in the path, where something does.
type Segment = Result<Option<Path<String>>, PathRejection>;

/// An endpoint for the clients of one dialect.
pub(crate) fn route(begin: Begin) -> MethodRouter<Endpoint> {
    get(async move |State(endpoint): State<Endpoint>, segment: Segment, request: Request| {
        let segment = match segment {
            Ok(segment) => segment.map(|Path(segment)| segment),
            Err(_) => return ApiError::BadPath.into_response(),
        };
        endpoint.accept(begin, segment.as_deref(), request).unwrap_or_else(IntoResponse::into_response)
    })
}

impl Endpoint {
    fn accept(&self, begin: Begin, segment: Option<&str>, request: Request) -> Result<Response, ApiError> {
        if self.hub.is_draining() {
            return Err(ApiError::ShuttingDown);
        }
        let handshake = Handshake::read(&request).ok_or(ApiError::NotAHandshake)?;
        let query: Vec<(String, String)> =
            serde_urlencoded::from_str(request.uri().query().unwrap_or_default()).map_err(|_| ApiError::BadQuery)?;
        let address = client_address(&request);
        let connection = request.extensions().get::<Arc<ConnectionPermit>>().cloned();
        let permit = self.hub.open_permit(connection.as_deref(), address, Opening::WebSocket)?;
        let id = ConnectionId::random();
        let (now, heartbeat) = (SystemTime::now(), self.settings.heartbeat);
        let token = token_of(&request);
        // One that is brought must be good; where there is none, some clients may bring it later.
        let grant = match &token {
            Some(_) => self.hub.identify(address, token.as_deref())?,
            None => None,
        };
        let needs_token = self.hub.requires_tokens() && grant.is_none();
        let ice_servers = self.hub.ice_servers();
        let languages = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let hello =
            Hello { connection: id, segment, query: &query, languages, now, heartbeat, needs_token, ice_servers };
        let conversation = begin(&hello)?;
        if needs_token && !conversation.takes_tokens() {
            return Err(ApiError::Unauthorized);
        }
        let queue = SendQueue::new(self.settings.queue);
        let executor = Executor::new(Arc::clone(&self.hub), id, permit, conversation, queue);
        let patience = self.settings.handshake_timeout / if needs_token { 2 } else { 1 };
        Ok(self.open(
            request,
            handshake,
            executor,
            Terms { grant, patience, max_bytes: self.settings.max_message_bytes },
        ))
    }

    /// Answers a handshake, and serves the WebSocket once the HTTP side has let go of it.
    pub(super) fn open(
        &self,
        mut request: Request,
        handshake: Handshake,
        executor: Executor,
        terms: Terms,
    ) -> Response {
        let Terms { grant, patience, max_bytes } = terms;
        let upgrade = hyper::upgrade::on(&mut request);
        let pending = request.extensions_mut().remove::<Pending>();
        let settings = Arc::clone(&self.settings);
        // In boxes: what a task begins with takes room in it to its end.
        let executor = Box::new(executor);
        let opening = Box::pin(async move {
            let (stream, early) = upgrade.await.ok().and_then(into_stream)?;
            let limiter = Arc::clone(executor.limiter());
            let socket = accept(stream, early, limiter, max_bytes).await;
            let mut connection = Connection::new(socket, executor, &settings);
            let opened = connection.open(grant);
            drop(pending);
            Some((connection, opened))
        });
        let settings = Arc::clone(&self.settings);
        self.lifecycle.spawn(async move {
            let Some((mut connection, opened)) = opening.await else { return };
            connection.run(opened, patience, &settings).await;
        });
        handshake.accept()
    }

    /// Serves a connection that began with another transport, until it ends.
    pub(super) async fn take_over(&self, socket: Socket, executor: Box<Executor>) {
        let patience = self.settings.handshake_timeout;
        Connection::new(socket, executor, &self.settings).run(Ok(()), patience, &self.settings).await;
    }
}
