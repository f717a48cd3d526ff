//! Long-polling: Engine.IO 3 and 4 over plain HTTP requests.
//!
//! The library engineioxide, which socketioxide uses, creates session ids, decodes POST bodies and
//! sends heartbeats. Everything above that is the same
//! [`Conversation`](crate::dialect::Conversation) as on a WebSocket.
//!
//! - [`Polling::serve`] handles requests: it opens a [`PollingSession`], forwards POST bodies, and
//!   answers polls from the connection's send queue or with packets of the library;
//! - [`body`] passes the body of a POST request to the library in small chunks, each packet counted
//!   by the rate limiter;
//! - [`session`] is the state of one connection, including its upgrade to a WebSocket.
//!
//! Invariant: no frame is ever in the library's own queue, so that an upgrade moves all frames with
//! the connection's executor.

mod body;
mod fetch;
mod first_post;
mod handler;
mod line_breaks;
mod payload;
mod requests;
mod session;
mod upgrade;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dashmap::DashMap;
use engineioxide::config::EngineIoConfig;
use engineioxide::service::{EngineIoService, NotFoundService};
pub(super) use engineioxide::socket::Sid;
use futures_util::future::join_all;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::BodyExt;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::fetch::Fetched;
use self::handler::Handler;
use self::payload::PollResponse;
use self::requests::{affinity_cookie, close_redirected, no_store, redirection, slim_request};
pub(super) use self::session::PollingSession;
use super::executor::Executor;
use super::hop::Hop;
use super::queue::SendQueue;
use super::socketio::{PATH, Query, SocketIoSettings, engine_error};
use crate::dialect::socketio::{Client, Setup};
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;
use crate::metrics::Limit;
use crate::request::error::ApiError;
use crate::request::proxies::{ClientOverTls, client_address};
use crate::request::token::token_of;
use crate::room::LeaveReason;
use crate::session::{ConnectionPermit, Hub, Opening, Permit};
use crate::shrink;

/// Maximum number of packets in a response, which is what the official Python client accepts.
const MAX_PACKETS: usize = 16;

/// Size of a response, in bytes, beyond which further packets wait for the next poll.
const SUFFICIENT_BYTES: usize = 256 * 1024;

/// How long a poll waits while its client probes a WebSocket, as in the reference server.
const PROBING_POLL: Duration = Duration::from_millis(100);

/// Capacity of the library's own queue, in packets: heartbeats and the close packet.
const LIBRARY_QUEUE: usize = 8;

/// Live polling connections, by Engine.IO session id.
type Sessions = DashMap<Sid, Arc<PollingSession>>;

/// The long-polling transport. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Polling(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    lifecycle: Lifecycle,
    settings: SocketIoSettings,
    service: EngineIoService<Handler, NotFoundService>,
    /// Set in a cluster: session ids end with the name of this node.
    hop: Arc<OnceLock<Hop>>,
    sessions: Arc<Sessions>,
    /// Set while this process hands its listening socket over; cancelled when the next process
    /// accepts new connections.
    handed_over: OnceLock<CancellationToken>,
}

impl Polling {
    pub(super) fn new(
        hub: Arc<Hub>,
        lifecycle: Lifecycle,
        settings: SocketIoSettings,
        hop: Arc<OnceLock<Hop>>,
    ) -> Self {
        let config = EngineIoConfig::builder()
            .req_path(PATH)
            .ping_interval(settings.ping_interval)
            .ping_timeout(settings.ping_timeout)
            .max_payload(settings.max_payload() as u64)
            .max_buffer_size(LIBRARY_QUEUE)
            .build();
        let service = EngineIoService::with_config(Arc::new(Handler), config);
        let (sessions, handed_over) = (Arc::default(), OnceLock::new());
        Self(Arc::new(Inner { hub, lifecycle, settings, service, hop, sessions, handed_over }))
    }

    /// Returns the live connection with an Engine.IO session id.
    pub(super) fn session(&self, sid: Sid) -> Option<Arc<PollingSession>> {
        self.0.sessions.get(&sid).map(|session| Arc::clone(&session))
    }

    /// Returns the number of live connections.
    pub(super) fn len(&self) -> usize {
        self.0.sessions.len()
    }

    /// Shrinks internal maps after a connection spike.
    pub(super) fn shrink(&self) {
        shrink::shrink_map(&self.0.sessions);
    }

    fn all(&self) -> Vec<Arc<PollingSession>> {
        self.0.sessions.iter().map(|session| Arc::clone(&session)).collect()
    }

    /// Asks all clients to disconnect, and waits until they have fetched their queued frames.
    ///
    /// From now on, handshakes wait for `handed_over`: a session that they opened here would be
    /// unknown to the next process, which gets the client's next request.
    pub(super) async fn drain(&self, handed_over: CancellationToken) {
        // Once is enough.
        _ = self.0.handed_over.set(handed_over);
        let sessions = self.all();
        for session in &sessions {
            for id in session.connections() {
                self.0.hub.drain_one(id);
            }
        }
        join_all(sessions.iter().map(|session| session.gone())).await;
    }

    /// Waits until the clients that were asked to disconnect have fetched their queued frames.
    pub(super) async fn fetched(&self) {
        let sessions = self.all();
        join_all(
            sessions.iter().filter(|session| session.is_closing()).map(|session| session.gone()),
        )
        .await;
    }

    /// Redirects a handshake to its own URL while the listening socket is handed over. The client
    /// opens another connection, since every response is the last one of its connection then, and
    /// the next process accepts it.
    pub(super) fn redirect(
        &self,
        request: &Request,
    ) -> Option<impl Future<Output = Response> + use<>> {
        let handed_over = self.0.handed_over.get()?.clone();
        let location = [(header::LOCATION, redirection(request)?)];
        Some(async move {
            handed_over.cancelled().await;
            no_store((StatusCode::TEMPORARY_REDIRECT, location).into_response())
        })
    }

    /// Handles one request.
    pub(super) async fn serve(&self, query: &Query, request: Request) -> Response {
        let method = request.method().clone();
        let session = query.sid.and_then(Result::ok).and_then(|sid| self.session(sid));
        if let Some(session) = &session {
            session.join(&request);
        }
        let response = match (method, query.sid) {
            (Method::GET, None) => {
                let connection = request.extensions().get::<Arc<ConnectionPermit>>();
                let opened = self.0.hub.open_permit(
                    connection.map(Arc::as_ref),
                    client_address(&request),
                    Opening::Polling,
                );
                let (token, uri) = (token_of(&request), query.uri(request.uri()));
                let is_tls = request.extensions().get::<ClientOverTls>().is_some();
                let origin = request.headers().get(header::ORIGIN).cloned();
                drop(request);
                let mut response = match opened {
                    Ok(permit) => self.open(query, &uri, permit, token, origin, is_tls).await,
                    Err(refused) => ApiError::from(refused).into_response(),
                };
                close_redirected(&uri, &mut response);
                response
            }
            (Method::GET, Some(_)) => match session {
                Some(session) => {
                    let uri = query.uri(request.uri());
                    drop(request);
                    self.poll(&session, &uri).await
                }
                None => engine_error(1, "Session ID unknown"),
            },
            (Method::POST, Some(_)) => match session {
                // Ignored, as on a WebSocket. An error would make the client give up before it
                // fetches the rest.
                Some(session) if !session.is_live() => "ok".into_response(),
                Some(session) => self.post(session, query, request).await,
                None => engine_error(1, "Session ID unknown"),
            },
            _ => engine_error(2, "Bad handshake method"),
        };
        no_store(response)
    }

    /// Opens a connection.
    async fn open(
        &self,
        query: &Query,
        uri: &Uri,
        permit: Arc<Permit>,
        token: Option<String>,
        origin: Option<HeaderValue>,
        is_tls: bool,
    ) -> Response {
        let Inner { hub, lifecycle, settings, sessions, hop, .. } = &*self.0;
        let queue = SendQueue::new(settings.queue);
        let session =
            PollingSession::new(query.revision, Arc::clone(&queue), Arc::downgrade(sessions));
        let mut slim = slim_request(Method::GET, uri, Body::empty());
        slim.extensions_mut().insert(Arc::clone(&session));
        let (response, body) = self.call(slim).await;
        let Some(sid) = session.sid() else { return engine_error(3, "Bad request") };
        let tagged = hop.get().map(|hop| format!("{sid}.{}", hop.name()));
        let client = Client::new(Setup {
            revision: query.revision,
            // Clients of revision 3 know themselves by it.
            sid: tagged.as_deref().unwrap_or(sid.as_str()).into(),
            is_opened: true,
            token,
            ping_interval: settings.ping_interval,
            ping_timeout: settings.ping_timeout,
            max_message_bytes: settings.max_message_bytes,
            ice_servers: hub.ice_servers().cloned(),
            profiles: Arc::clone(&settings.profiles),
        });
        let id = ConnectionId::random();
        let executor =
            Executor::new(Arc::clone(hub), id, Arc::clone(&permit), Box::new(client), queue);
        session.start(executor.with_origin(origin.as_ref()));
        sessions.insert(sid, Arc::clone(&session));
        permit.set_closer(&session);
        session.act(|executor| executor.open(None));
        let (first, later) = (settings.connect_timeout(), settings.handshake_timeout);
        lifecycle.spawn(session.supervise(lifecycle.clone(), first, later));
        match (hop.get(), tagged) {
            (Some(hop), Some(tagged)) => {
                let opening = PollResponse::opening(query.revision, &body, sid.as_str(), &tagged);
                let mut response = opening.into_response();
                response
                    .headers_mut()
                    .extend([(header::SET_COOKIE, affinity_cookie(hop.name(), is_tls))]);
                response
            }
            _ => response.map(|()| Body::from(body)),
        }
    }

    /// Answers a poll as soon as there is something to send.
    async fn poll(&self, session: &Arc<PollingSession>, uri: &Uri) -> Response {
        let pending = PendingPoll { session, lifecycle: &self.0.lifecycle };
        // A client that probes a WebSocket continues when its poll is answered.
        let mut release = session.is_probed().then(|| Box::pin(tokio::time::sleep(PROBING_POLL)));
        let response = loop {
            let poll = slim_request(Method::GET, uri, Body::empty());
            if let Some(response) = self.poll_once(session, poll, &mut release).await {
                break response;
            }
        };
        // Answered, so the connection is not lost.
        std::mem::forget(pending);
        response
    }

    /// Waits for something to send and returns the response, or `None` if there is nothing after
    /// all.
    async fn poll_once(
        &self,
        session: &PollingSession,
        request: http::Request<Body>,
        release: &mut Option<std::pin::Pin<Box<Sleep>>>,
    ) -> Option<Response> {
        let mut answer = PollResponse::new(session.revision());
        // The library is polled first, because it refuses a second concurrent poll. Dropping its
        // future loses nothing.
        let mut library = pin!(self.call(request));
        let fetched = poll_fn(|context| match library.as_mut().poll(context) {
            Poll::Ready(answered) => Poll::Ready(Err(answered)),
            Poll::Pending => session.poll_fetch(context, release).map(Ok),
        });
        match fetched.await {
            // The client continues over its WebSocket and does not need the library's close packet.
            Err(_) if session.has_moved() => answer.push(b"6"),
            Err((head, body)) if head.status() != StatusCode::OK => {
                return Some(head.map(|()| Body::from(body)));
            }
            Err((_, body)) => {
                if session.take_library_packets(&body, &mut answer) {
                    // Answered on behalf of the client: the library sends its first heartbeat at
                    // once, which would keep the client's transport busy while it connects.
                    self.post_pong(session).await;
                }
                session.take_frames(&mut answer, MAX_PACKETS, SUFFICIENT_BYTES);
            }
            Ok(Fetched::Frames) => session.take_frames(&mut answer, MAX_PACKETS, SUFFICIENT_BYTES),
            Ok(Fetched::Upgrade) => answer.push(b"6"),
        }
        (!answer.is_empty()).then(|| answer.into_response())
    }

    async fn post_pong(&self, session: &PollingSession) {
        let Some(sid) = session.sid() else { return };
        let uri = format!("{PATH}?EIO=4&transport=polling&sid={sid}")
            .parse()
            .expect("a session id is plain text");
        let (response, _) = self.call(slim_request(Method::POST, &uri, Body::from("3"))).await;
        tracing::trace!(status = response.status().as_u16(), "answered the first heartbeat");
    }

    /// Forwards a POST body. The request's headers are kept, since they name the encoding of the
    /// body.
    async fn post(
        &self,
        session: Arc<PollingSession>,
        query: &Query,
        request: Request,
    ) -> Response {
        let uri = query.uri(request.uri());
        let (mut head, body) = request.into_parts();
        head.uri = uri;
        let first_post = session.begin_post();
        let SocketIoSettings { handshake_timeout, .. } = self.0.settings;
        let max_bytes = self.0.settings.max_payload();
        let (body, outcome) =
            body::limited(body, &head.headers, Arc::clone(&session), handshake_timeout, max_bytes);
        let (response, answer) = self.call(http::Request::from_parts(head, body)).await;
        session.update_settled();
        // The library has only one response to a body that it cannot read.
        if outcome.is_too_slow() {
            return ApiError::TooSlow.into_response();
        }
        if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
            self.0.hub.metrics().limit(Limit::MessageBytes);
        }
        let mut response = response.map(|()| Body::from(answer));
        if let Some(first_post) = first_post {
            response.extensions_mut().insert(first_post);
        }
        response
    }

    /// Calls the library. Its response bodies are already in memory.
    async fn call(&self, request: http::Request<Body>) -> (http::Response<()>, Bytes) {
        let Ok(response) =
            ServiceExt::<http::Request<Body>>::oneshot(self.0.service.clone(), request).await;
        let (head, body) = response.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        (http::Response::from_parts(head, ()), body)
    }
}

/// Ends the connection when it is dropped with a pending poll, because the client hung up, as a
/// closed tab does. Otherwise the loss would only show at the next heartbeat.
struct PendingPoll<'a> {
    session: &'a Arc<PollingSession>,
    lifecycle: &'a Lifecycle,
}

impl Drop for PendingPoll<'_> {
    fn drop(&mut self) {
        let session = Arc::clone(self.session);
        // In a task, because a destructor must not lock rooms.
        self.lifecycle.spawn(async move { session.lose(LeaveReason::Disconnected) });
    }
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("sessions", &self.0.sessions.len()).finish_non_exhaustive()
    }
}
