//! Long-polling: the first request of a connection, what it posts, and what it fetches.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::BodyExt;
use socketioxide::socket::Sid;
use tokio::time::Sleep;
use tower::ServiceExt;

use super::inbound::Inbound;
use super::link::{Link, is_queued};
use super::payload::{Packet, PacketReader, SEPARATOR};
use super::{Inner, Protocol, Query, READ_BUFFER, engine_error, slim_request};
use crate::http::error::ApiError;
use crate::http::proxies::client_address;
use crate::http::token::token_of;
use crate::metrics::Limit;
use crate::room::LeaveReason;
use crate::session::{ConnectionPermit, Opening};

/// The content type by which a client of Engine.IO 3 says that the lengths of its packets are not written as text.
const BINARY: &str = "application/octet-stream";

/// Answers a polling request.
pub(super) async fn serve(inner: Arc<Inner>, query: Query, request: Request) -> Response {
    let method = request.method().clone();
    let connection = request.extensions().get::<Arc<ConnectionPermit>>().cloned();
    let link = query.link(&inner).inspect(|link| link.join(connection.as_ref()));
    let response = match (method, &query.sid) {
        (Method::GET, None) => {
            match inner.hub.open_permit(connection.as_deref(), client_address(&request), Opening::Polling) {
                Ok(permit) => {
                    let link = Link::new(&inner, Arc::clone(&permit), query.protocol, token_of(&request));
                    permit.set_closer(&link);
                    open(&inner, link, request.uri()).await
                }
                Err(refused) => ApiError::from(refused).into_response(),
            }
        }
        (Method::GET, Some(_)) => match link {
            Some(link) => fetch(&inner, &link, request.uri().clone()).await,
            None => engine_error(1, "Session ID unknown"),
        },
        (Method::POST, Some(_)) => match link {
            // It is not heard any more, as on a WebSocket. An error would have it give up before it fetches the rest.
            Some(link) if link.is_closed() => "ok".into_response(),
            Some(link) => post(&inner, link, request).await,
            None => engine_error(1, "Session ID unknown"),
        },
        _ => engine_error(2, "Bad handshake method"),
    };
    no_store(response)
}

/// A new connection.
async fn open(inner: &Inner, link: Arc<Link>, uri: &Uri) -> Response {
    let mut slim = slim_request(Method::GET, uri, Body::empty());
    slim.extensions_mut().insert(Arc::clone(&link));
    let (response, body) = call(inner, slim).await;
    if let Some(sid) = opened_sid(&body) {
        link.register(sid);
        if link.is_closed() {
            // Evicted before it could be found.
            link.close_polling();
        }
    }
    response.map(|()| Body::from(body))
}

/// What waits for a connection, its CONNECT reply with our id in it.
async fn fetch(inner: &Inner, link: &Link, uri: Uri) -> Response {
    let slim = slim_request(Method::GET, &uri, Body::empty());
    let unanswered = Unanswered(link);
    let (mut response, mut body) = call(inner, slim).await;
    // Answered: nothing is to be ended.
    std::mem::forget(unanswered);
    // The library hands over all that waits, up to a limit. Where packets can be told apart they are counted.
    let (packets, bytes) = match link.protocol() {
        Protocol::V3 => (link.backlog().waiting(), usize::MAX),
        Protocol::V4 => {
            let queued = body.split(|byte| *byte == SEPARATOR).filter(|packet| is_queued(packet));
            queued.fold((0, 0), |(packets, bytes), packet| (packets + 1, bytes + packet.len()))
        }
    };
    link.note_written(packets, bytes);
    if !link.is_connected()
        && let Some(replaced) = replace_connect_reply(&body, link)
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(replaced.len()));
        body = replaced;
    }
    response.map(|()| Body::from(body))
}

/// A poll that was not answered yet. Dropped with its request when the client hangs up, as a closed tab does: nobody would
/// learn of that before the next heartbeat otherwise.
struct Unanswered<'a>(&'a Link);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.lose(LeaveReason::Disconnected);
        self.0.close();
    }
}

/// What a connection sends. Its head is kept, since it says how the body is to be read.
async fn post(inner: &Arc<Inner>, link: Arc<Link>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let is_binary = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == BINARY);
    let packets = PacketReader::new(link.protocol(), is_binary);
    let is_too_slow = Arc::new(AtomicBool::new(false));
    let paced = Paced {
        body,
        rest: Bytes::new(),
        link,
        pause: None,
        delay: None,
        attachments: None,
        deadline: None,
        is_too_slow: Arc::clone(&is_too_slow),
        packets,
    };
    let (response, body) = call(inner, http::Request::from_parts(head, Body::new(paced))).await;
    // The library knows but one answer to a body that it cannot read.
    if is_too_slow.load(Ordering::Acquire) {
        return ApiError::TooSlow.into_response();
    }
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        inner.hub.metrics().limit(Limit::MessageBytes);
    }
    response.map(|()| Body::from(body))
}

/// Has the library answer. Its bodies are whole in memory already.
async fn call(inner: &Inner, request: http::Request<Body>) -> (http::Response<()>, Bytes) {
    let Ok(response) = inner.service.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    (http::Response::from_parts(head, ()), body)
}

/// The session id in an OPEN packet, `0{"sid":"…",…}`, which Engine.IO 3 prefixes with its length.
fn opened_sid(body: &[u8]) -> Option<Sid> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(r#"0{"sid":""#)?;
    rest.split_once('"')?.0.parse().ok()
}

fn replace_connect_reply(body: &[u8], link: &Link) -> Option<Bytes> {
    let mut replaced = Vec::with_capacity(body.len() + 32);
    let mut found = false;
    for (index, packet) in body.split(|byte| *byte == SEPARATOR).enumerate() {
        if index > 0 {
            replaced.push(SEPARATOR);
        }
        match link.connect_reply(packet) {
            Some(reply) => {
                found = true;
                replaced.extend_from_slice(reply.as_bytes());
            }
            None => replaced.extend_from_slice(packet),
        }
    }
    found.then(|| replaced.into())
}

/// Payloads must not be kept by anything on the way.
fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body that is handed on in small pieces, not while its sender is paused, and for a bounded time otherwise.
#[derive(Debug)]
struct Paced {
    body: Body,
    rest: Bytes,
    link: Arc<Link>,
    pause: Option<Pin<Box<Sleep>>>,
    /// How long the rate limiter keeps the client from being read.
    delay: Option<Pin<Box<Sleep>>>,
    /// How long attachments of earlier packets may still take.
    attachments: Option<Pin<Box<Sleep>>>,
    /// When all of the body must have come; begins anew after a pause.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether that was over first.
    is_too_slow: Arc<AtomicBool>,
    packets: PacketReader,
}

impl Paced {
    /// A body that takes too long ends its connection, as if the line had dropped: part of what was sent may have been
    /// handled already.
    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<axum::Error> {
        let inner = self.link.inner();
        let limit = inner.settings.handshake_timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(context));
        self.is_too_slow.store(true, Ordering::Release);
        self.link.lose(LeaveReason::TimedOut);
        self.link.close();
        Poll::Ready(axum::Error::new(ApiError::TooSlow))
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if this.link.poll_pause(&mut this.pause, context).is_pending()
            || this.link.poll_delay(&mut this.delay, context).is_pending()
        {
            this.deadline = None;
            return Poll::Pending;
        }
        if this.link.poll_attachments(&mut this.attachments, context).is_ready() {
            return refused("attachments took too long");
        }
        while this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => this.rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => {
                    // The line has dropped. To the library a body that is broken off is one that makes no sense.
                    this.link.lose(LeaveReason::Disconnected);
                    this.link.close();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    let link = &this.link;
                    return if this.packets.finish(|packet| admit(link, packet)) {
                        Poll::Ready(None)
                    } else {
                        refused("over a limit")
                    };
                }
                Poll::Pending => return this.poll_too_slow(context).map(|error| Some(Err(error))),
            }
        }
        let length = this.rest.len().min(READ_BUFFER);
        let piece = this.rest.split_to(length);
        let link = &this.link;
        if !this.packets.follow(&piece, |packet| admit(link, packet)) {
            return refused("over a limit, or a packet ends within a character");
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// Counts a packet; `false` if the connection is to end for it.
fn admit(link: &Link, packet: Packet<'_>) -> bool {
    match packet {
        Packet::Text(prefix) => link.admit_text(prefix),
        Packet::Binary => link.admit(Inbound::take_attachment),
    }
}

/// The body ends here: the library gets nothing of this piece, and closes the session.
fn refused<T>(problem: &'static str) -> Poll<Option<Result<T, axum::Error>>> {
    Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(problem)))))
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Link").field(&self.id()).finish()
    }
}
