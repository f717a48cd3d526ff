//! Plain WebSocket connections: one transport for every dialect that is not Socket.IO.
//!
//! - [`route`] answers handshakes to one endpoint, and begins a [`Conversation`](crate::dialect::Conversation) for each;
//! - [`connection`] is the life of one: it reads, has the conversation decide, and writes what waits in its queue;
//! - [`outbound`] is that queue, and what is held for a peer whose connection is lost.
//!
//! The library is tokio-tungstenite, as under Socket.IO: with a read buffer of a kibibyte an idle connection costs it under
//! three, and it hands on text without looking into it.
//!
//! The guarantee that is easy to break: all that a client is told goes through its one queue, answers too, so that nothing
//! overtakes.

mod connection;
mod outbound;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use self::connection::Connection;
use super::handshake::{accept_key, into_stream, switching};
use super::listener::Newcomer;
use crate::dialect::{Begin, Hello};
use crate::http::error::ApiError;
use crate::http::proxies::client_address;
use crate::http::token::token_of;
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;
use crate::session::{ConnectionPermit, Hub, Opening};

/// The settings of plain WebSocket connections.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most bytes of one message.
    pub max_message_bytes: usize,
    /// The most frames that wait for one connection.
    pub send_queue: usize,
    /// The most bytes of all those frames.
    pub send_queue_bytes: usize,
    /// The most frames that may have been promised to a connection before it came.
    pub promised: usize,
    /// Time between two heartbeats; a connection that misses two is closed.
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

/// What follows the endpoint in the path, where something does.
type Segment = Result<Option<Path<String>>, PathRejection>;

/// An endpoint for the clients of one dialect.
pub fn route(begin: Begin) -> MethodRouter<Endpoint> {
    get(async move |State(endpoint): State<Endpoint>, segment: Segment, request: Request| {
        let segment = match segment {
            Ok(segment) => segment.map(|Path(segment)| segment),
            Err(_) => return ApiError::BadPath.into_response(),
        };
        endpoint.accept(begin, segment.as_deref(), request).unwrap_or_else(IntoResponse::into_response)
    })
}

impl Endpoint {
    fn accept(&self, begin: Begin, segment: Option<&str>, mut request: Request) -> Result<Response, ApiError> {
        if self.hub.is_draining() {
            return Err(ApiError::ShuttingDown);
        }
        let accept = accept_key(&request).ok_or(ApiError::NotAHandshake)?;
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
        let hello = Hello { connection: id, segment, query: &query, now, heartbeat, needs_token, ice_servers };
        let conversation = begin(&hello)?;
        if needs_token && !conversation.takes_tokens() {
            return Err(ApiError::Unauthorized);
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let newcomer = request.extensions_mut().remove::<Newcomer>();
        let (hub, settings) = (Arc::clone(&self.hub), Arc::clone(&self.settings));
        // In a box that is gone once the connection is there: what a task begins with takes room in it to its end.
        let opening = Box::pin(async move {
            let (stream, early) = upgrade.await.ok().and_then(into_stream)?;
            let connection = Connection::open(&hub, permit, &settings, id, stream, early, conversation).await;
            connection.identify(grant);
            drop(newcomer);
            Some(connection)
        });
        let settings = Arc::clone(&self.settings);
        self.lifecycle.spawn(async move {
            let Some(mut connection) = opening.await else { return };
            connection.run(&settings, needs_token).await;
        });
        Ok(switching(accept))
    }
}
