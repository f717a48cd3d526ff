//! Long-polling: connections of Engine.IO 3 and 4 over plain HTTP requests.
//!
//! engineioxide, the transport of socketioxide, serves them: it makes session ids, decodes what clients post, and sends
//! heartbeats. Everything above that is the [`Conversation`](crate::dialect::Conversation) that a WebSocket has, too.
//!
//! - [`Polling::serve`] answers requests: it opens a [`PollingSession`], passes on what a client posts, and answers a poll
//!   from the send queue of the connection, or with what the library has to say;
//! - [`body`] hands the body of a POST request to the library in small pieces, each packet counted by the rate limiter;
//! - [`session`] is the state of one connection, with its upgrade to a WebSocket.
//!
//! The guarantee that is easy to break: no frame is ever in the library's own queue, so that an upgrade moves all of them
//! by moving the connection's executor.

mod body;
mod fetch;
mod first_post;
mod line_breaks;
mod payload;
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
use engineioxide::handler::EngineIoHandler;
use engineioxide::service::{EngineIoService, NotFoundService};
pub(super) use engineioxide::socket::Sid;
use engineioxide::socket::{DisconnectReason, Socket};
use engineioxide::{ProtocolVersion, Str};
use futures_util::future::join_all;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::BodyExt;
use tokio::time::Sleep;
use tower::ServiceExt;

use self::fetch::Fetched;
use self::payload::Answer;
pub(super) use self::session::PollingSession;
use super::executor::Executor;
use super::queue::SendQueue;
use super::socketio::{PATH, Query, Settings, engine_error};
use crate::dialect::socketio::{Client, Setup};
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;
use crate::metrics::Limit;
use crate::request::error::ApiError;
use crate::request::proxies::client_address;
use crate::request::token::token_of;
use crate::room::LeaveReason;
use crate::session::{ConnectionPermit, Hub, Opening, Permit};
use crate::shrink;

/// The most packets of one answer: what the official Python client accepts.
const MAX_PACKETS: usize = 16;

/// How many bytes of an answer are enough: a packet that comes after that waits for the next poll.
const ENOUGH_BYTES: usize = 256 * 1024;

/// How long a poll waits while its client tries a WebSocket: the reference server's time.
const PROBING_POLL: Duration = Duration::from_millis(100);

/// Packets that the library may have to send by itself: heartbeats and the end.
const LIBRARY_QUEUE: usize = 8;

/// Live polling connections, by Engine.IO session id.
type Sessions = DashMap<Sid, Arc<PollingSession>>;

/// The long-polling transport. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Polling(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    lifecycle: Lifecycle,
    settings: Settings,
    service: EngineIoService<Handler, NotFoundService>,
    sessions: Arc<Sessions>,
}

impl Polling {
    pub(super) fn new(hub: Arc<Hub>, lifecycle: Lifecycle, settings: Settings) -> Self {
        let config = EngineIoConfig::builder()
            .req_path(PATH)
            .ping_interval(settings.ping_interval)
            .ping_timeout(settings.ping_timeout)
            .max_payload(settings.max_payload() as u64)
            .max_buffer_size(LIBRARY_QUEUE)
            .build();
        let service = EngineIoService::with_config(Arc::new(Handler), config);
        Self(Arc::new(Inner { hub, lifecycle, settings, service, sessions: Arc::default() }))
    }

    /// The live connection of a request.
    pub(super) fn session(&self, sid: Sid) -> Option<Arc<PollingSession>> {
        self.0.sessions.get(&sid).map(|session| Arc::clone(&session))
    }

    /// How many connections there are.
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

    /// Asks all clients to disconnect, and waits until they have fetched what waits for them.
    pub(super) async fn dismiss(&self) {
        let sessions = self.all();
        for session in &sessions {
            for id in session.connections() {
                self.0.hub.dismiss_one(id);
            }
        }
        join_all(sessions.iter().map(|session| session.gone())).await;
    }

    /// Waits until the clients that were asked to disconnect have fetched what waits for them.
    pub(super) async fn fetched(&self) {
        let sessions = self.all();
        join_all(sessions.iter().filter(|session| session.is_closing()).map(|session| session.gone())).await;
    }

    /// Answers one request.
    pub(super) async fn serve(&self, query: &Query, request: Request) -> Response {
        let method = request.method().clone();
        let session = query.sid.and_then(Result::ok).and_then(|sid| self.session(sid));
        if let Some(session) = &session {
            session.join(&request);
        }
        let response = match (method, query.sid) {
            (Method::GET, None) => {
                let connection = request.extensions().get::<Arc<ConnectionPermit>>();
                let opened =
                    self.0.hub.open_permit(connection.map(Arc::as_ref), client_address(&request), Opening::Polling);
                let (token, uri) = (token_of(&request), query.uri(request.uri()));
                let origin = request.headers().get(header::ORIGIN).cloned();
                drop(request);
                match opened {
                    Ok(permit) => self.open(query, &uri, permit, token, origin).await,
                    Err(refused) => ApiError::from(refused).into_response(),
                }
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
                // It is not heard any more, as on a WebSocket. An error would have it give up before it fetches the rest.
                Some(session) if !session.is_live() => "ok".into_response(),
                Some(session) => self.post(session, query, request).await,
                None => engine_error(1, "Session ID unknown"),
            },
            _ => engine_error(2, "Bad handshake method"),
        };
        no_store(response)
    }

    /// A new connection.
    async fn open(
        &self,
        query: &Query,
        uri: &Uri,
        permit: Arc<Permit>,
        token: Option<String>,
        origin: Option<HeaderValue>,
    ) -> Response {
        let Inner { hub, lifecycle, settings, sessions, .. } = &*self.0;
        let queue = SendQueue::new(settings.queue);
        let session = PollingSession::new(query.revision, Arc::clone(&queue), Arc::downgrade(sessions));
        let mut slim = slim_request(Method::GET, uri, Body::empty());
        slim.extensions_mut().insert(Arc::clone(&session));
        let (response, body) = self.call(slim).await;
        let Some(sid) = session.sid() else { return engine_error(3, "Bad request") };
        let client = Client::new(Setup {
            revision: query.revision,
            sid: sid.as_str().into(),
            is_opened: true,
            token,
            ping_interval: settings.ping_interval,
            ping_timeout: settings.ping_timeout,
            max_message_bytes: settings.max_message_bytes,
            ice_servers: hub.ice_servers().cloned(),
            profiles: Arc::clone(&settings.profiles),
        });
        let id = ConnectionId::random();
        let executor = Executor::new(Arc::clone(hub), id, Arc::clone(&permit), Box::new(client), queue);
        session.start(executor.with_origin(origin.as_ref()));
        sessions.insert(sid, Arc::clone(&session));
        permit.set_closer(&session);
        session.act(|executor| executor.open(None));
        let (first, later) = (settings.connect_timeout(), settings.handshake_timeout);
        lifecycle.spawn(session.supervise(lifecycle.clone(), first, later));
        response.map(|()| Body::from(body))
    }

    /// Answers a poll: with what waits for the client, or as soon as something does.
    async fn poll(&self, session: &Arc<PollingSession>, uri: &Uri) -> Response {
        let unanswered = Unanswered { session, lifecycle: &self.0.lifecycle };
        // A client that tries a WebSocket goes on when its poll is answered.
        let mut release = session.is_probed().then(|| Box::pin(tokio::time::sleep(PROBING_POLL)));
        let response = loop {
            let poll = slim_request(Method::GET, uri, Body::empty());
            if let Some(response) = self.poll_once(session, poll, &mut release).await {
                break response;
            }
        };
        // Answered: nothing is to be ended.
        std::mem::forget(unanswered);
        response
    }

    /// The answer to a poll; `None` where there was nothing to say after all.
    async fn poll_once(
        &self,
        session: &PollingSession,
        request: http::Request<Body>,
        release: &mut Option<std::pin::Pin<Box<Sleep>>>,
    ) -> Option<Response> {
        let mut answer = Answer::new(session.revision());
        // The library first: it is the one that refuses a second poll. Dropped while it waits, it has taken nothing.
        let mut library = pin!(self.call(request));
        let fetched = poll_fn(|context| match library.as_mut().poll(context) {
            Poll::Ready(answered) => Poll::Ready(Err(answered)),
            Poll::Pending => session.poll_fetch(context, release).map(Ok),
        });
        match fetched.await {
            // What the library says of its end is not for the client, who goes on by WebSocket.
            Err(_) if session.has_moved() => answer.push(b"6"),
            Err((head, body)) if head.status() != StatusCode::OK => return Some(head.map(|()| Body::from(body))),
            Err((_, body)) => {
                if session.take_library_packets(&body, &mut answer) {
                    // The first heartbeat comes at once, and would make clients busy when they connect: they need not
                    // answer it.
                    self.post_pong(session).await;
                }
                session.take_frames(&mut answer, MAX_PACKETS, ENOUGH_BYTES);
            }
            Ok(Fetched::Frames) => session.take_frames(&mut answer, MAX_PACKETS, ENOUGH_BYTES),
            Ok(Fetched::Released) => answer.push(b"6"),
        }
        (!answer.is_empty()).then(|| answer.into_response())
    }

    async fn post_pong(&self, session: &PollingSession) {
        let Some(sid) = session.sid() else { return };
        let uri = format!("{PATH}?EIO=4&transport=polling&sid={sid}").parse().expect("a session id is plain text");
        let (response, _) = self.call(slim_request(Method::POST, &uri, Body::from("3"))).await;
        tracing::trace!(status = response.status().as_u16(), "answered the first heartbeat");
    }

    /// Passes on what a client posts. The head is kept, since it says how the body is encoded.
    async fn post(&self, session: Arc<PollingSession>, query: &Query, request: Request) -> Response {
        let uri = query.uri(request.uri());
        let (mut head, body) = request.into_parts();
        head.uri = uri;
        let first_post = session.begin_post();
        let Settings { handshake_timeout, .. } = self.0.settings;
        let max_bytes = self.0.settings.max_payload();
        let (body, outcome) = body::limited(body, &head.headers, Arc::clone(&session), handshake_timeout, max_bytes);
        let (response, answer) = self.call(http::Request::from_parts(head, body)).await;
        session.note_settled();
        // The library knows but one answer to a body that it cannot read.
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

    /// Has the library answer. Its bodies are whole in memory already.
    async fn call(&self, request: http::Request<Body>) -> (http::Response<()>, Bytes) {
        let Ok(response) = ServiceExt::<http::Request<Body>>::oneshot(self.0.service.clone(), request).await;
        let (head, body) = response.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        (http::Response::from_parts(head, ()), body)
    }
}

/// A poll that was not answered yet. Dropped with its request when the client hangs up, as a closed tab does: nobody would
/// learn of that before the next heartbeat otherwise.
struct Unanswered<'a> {
    session: &'a Arc<PollingSession>,
    lifecycle: &'a Lifecycle,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let session = Arc::clone(self.session);
        // In a task: a destructor takes no locks of rooms.
        self.lifecycle.spawn(async move { session.lose(LeaveReason::Disconnected) });
    }
}

/// What the library is told to do with connections.
#[derive(Debug)]
struct Handler;

/// The connection of one of the library's sessions.
#[derive(Default)]
struct Data(OnceLock<Arc<PollingSession>>);

impl EngineIoHandler for Handler {
    type Data = Data;

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<Data>>) {
        if let Some(session) = socket.req_parts.extensions.get::<Arc<PollingSession>>() {
            session.set_socket(&socket);
            // Nobody else sets it.
            _ = socket.data.0.set(Arc::clone(session));
        }
    }

    fn on_disconnect(&self, socket: Arc<Socket<Data>>, reason: DisconnectReason) {
        if let Some(session) = socket.data.0.get() {
            session.library_closed(&reason);
        }
    }

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<Socket<Data>>) {
        if let Some(session) = socket.data.0.get() {
            session.act(|executor| {
                // An Engine.IO message has lost its type.
                let packet = format!("4{message}");
                executor.receive(&packet)
            });
        }
    }

    fn on_binary(self: &Arc<Self>, data: Bytes, socket: Arc<Socket<Data>>) {
        if let Some(session) = socket.data.0.get() {
            session.act(|executor| match socket.protocol {
                // On a WebSocket the attachment follows its type.
                ProtocolVersion::V3 => executor.receive_binary(&[&[4], &data[..]].concat()),
                ProtocolVersion::V4 => executor.receive_binary(&data),
            });
        }
    }
}

/// A request that holds no part of the one it is made from: hyper's buffer, of which the head of that is a slice, would
/// otherwise live as long as the connection. Nor the token of its query.
fn slim_request<B>(method: Method, uri: &Uri, body: B) -> http::Request<B> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("token=")).collect();
    *request.uri_mut() = format!("{path}?{}", kept.join("&")).parse().expect("what is left of a URI is one");
    request
}

/// Payloads must not be stored by anything between server and client.
fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("sessions", &self.0.sessions.len()).finish_non_exhaustive()
    }
}

impl Answer {
    fn into_response(self) -> Response {
        let body = self.into_bytes();
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"))];
        (headers, body).into_response()
    }
}
