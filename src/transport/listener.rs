//! Accepts connections, takes them through TLS where there is a certificate, and speaks HTTP on them.
//!
//! A loop of our own, since connections need what ready-made ones do not set: no delay for small writes, an end for
//! peers that vanish, a limit on the time for handshakes and headers.
//!
//! - [`bind`] makes a listening socket, [`inherited`] takes the one that a service manager has made;
//! - [`Acceptor::serve`] accepts, until the server stops or leaves newcomers to the process that follows it;
//! - a connection speaks HTTP/1.1, or under TLS HTTP/2 if its client asked for that.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt;
use tracing::debug;

use super::http2;

use super::stream::Stream;
use super::tcp::Tcp;
use crate::lifecycle::Lifecycle;
use crate::metrics::Limit;
use crate::request::proxies::{OverTls, PeerAddress, Proxies};
use crate::session::{ConnectionPermit, Hub, RequestGuard};
use crate::tls::{HTTP_2, Tls};

/// How many connections may wait to be accepted.
const ACCEPT_QUEUE: i32 = 4096;

/// The errors of accept(2) that say that the process or the system has run out of something.
const EXHAUSTED: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

/// The most bytes of a request's head, which is also what an HTTP connection buffers.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// The most headers of a request.
const MAX_HEADERS: usize = 100;

/// The answer to a client that spoke plain HTTP to TLS.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 45\r\nConnection: close\r\n\r\nThis port speaks TLS: use https:// or wss://\n";

/// Binds a listening socket. Where `host` is a name the first of its addresses that can be had is taken; on `::` both
/// IPv6 and IPv4 are served.
pub fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match bind_to(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE)?;
    TcpListener::from_std(socket.into())
}

/// The listening socket that a service manager has handed over, if one has: `LISTEN_FDS`, as systemd passes sockets
/// (`sd_listen_fds(3)`). Takes the variables out of the environment, so it is called before there are threads.
pub fn inherited() -> io::Result<Option<std::net::TcpListener>> {
    let mut sockets = listenfd::ListenFd::from_env();
    if sockets.len() == 0 {
        return Ok(None);
    }
    let wrong = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
    if sockets.len() > 1 {
        return Err(wrong("there are several, and one is served"));
    }
    let listener = sockets.take_tcp_listener(0)?.ok_or_else(|| wrong("it is gone"))?;
    if !SockRef::from(&listener).is_listener()? {
        return Err(wrong("it does not listen: a systemd socket is to have Accept=no"));
    }
    Ok(Some(listener))
}

/// When a listener accepts, and what it has accepted and not let in yet.
#[derive(Debug, Clone, Default)]
pub struct Door {
    /// Cancelled when newcomers are left to the process that follows this one.
    pub closed: CancellationToken,
    /// Accepted, and neither answered nor let in. A process that has left the listener to another waits for these before
    /// it refuses anyone.
    pub newcomers: TaskTracker,
}

/// What accepted connections are served with.
#[derive(Clone)]
pub struct Acceptor {
    /// Every route.
    pub router: Router,
    /// Where their tasks run.
    pub lifecycle: Lifecycle,
    /// Has the fixed time limits, and counts the limits that are hit.
    pub hub: Arc<Hub>,
    /// Time for a handshake, and for a request's head.
    pub header_timeout: Duration,
    /// The certificate; without one, connections are plain.
    pub tls: Option<Arc<Tls>>,
    /// When it accepts.
    pub door: Door,
    /// The trusted proxies, whose connections count for their clients; `None` where connections count towards no limit.
    pub proxies: Option<Arc<Proxies>>,
}

impl Acceptor {
    /// Accepts connections until the door is closed or the server stops.
    pub async fn serve(self, listener: TcpListener) {
        // Whom this loop is just accepting is a newcomer already.
        let newcomer = Newcomer(self.door.newcomers.token());
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.lifecycle.stopping() => return,
                () = self.door.closed.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let stream = match Tcp::new(stream, self.hub.timeouts().write_stall) {
                        Ok(stream) => stream,
                        Err(error) => {
                            debug!(%error, "connection ended at once");
                            continue;
                        }
                    };
                    let permit = self.proxies.as_ref().map(|proxies| {
                        let is_proxy = proxies.trusts(address.ip());
                        self.hub.admission().accept(address.ip(), is_proxy)
                    });
                    let connection = self.clone().serve_connection(stream, address, newcomer.clone(), permit.clone());
                    self.lifecycle.spawn(until_evicted(connection, permit, self.hub.timeouts().last_write));
                }
                Err(error) if is_exhausted(&error) => {
                    debug!(%error, "cannot accept a connection");
                    self.hub
                        .limit_hit(Limit::OpenFiles, "cannot accept connections: out of file descriptors or memory");
                    self.hub.admission().free_descriptors();
                    tokio::time::sleep(self.hub.timeouts().accept_retry).await;
                }
                // This one connection is gone, such as by a reset before it was accepted: accept(2) reports its errors.
                Err(error) => debug!(%error, "a connection ended before it was accepted"),
            }
        }
    }

    async fn serve_connection(
        self,
        stream: Tcp,
        address: SocketAddr,
        newcomer: Newcomer,
        permit: Option<Arc<ConnectionPermit>>,
    ) {
        let newcomer = Arc::new(Mutex::new(Some(newcomer)));
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            // In boxes, here and below: a plain connection is not to be larger for what it does not do.
            Some(tls) => match Box::pin(self.secure(tls, stream)).await {
                Some(stream) => stream,
                None => return,
            },
        };
        let (is_tls, is_http2) = match &stream {
            Stream::Plain(_) => (false, false),
            Stream::Tls(stream) => (true, stream.get_ref().1.alpn_protocol() == Some(HTTP_2)),
        };
        let Self { router, lifecycle, hub, header_timeout, door, .. } = self;
        let has_served = Arc::new(AtomicBool::new(false));
        let (keep_alive, last_responses) = (hub.timeouts().keep_alive, hub.timeouts().last_responses);
        let timer = HeadTimer { rest: keep_alive.saturating_sub(header_timeout), has_served: Arc::clone(&has_served) };
        let leaving = leaving(&lifecycle, &door, Arc::clone(&newcomer), permit.clone());
        let (serving, is_last) = (Arc::clone(&has_served), door.closed.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            serving.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(PeerAddress(address));
            if let Some(newcomer) = newcomer.lock().clone() {
                request.extensions_mut().insert(newcomer);
            }
            let guard = permit.as_ref().map(ConnectionPermit::begin_request);
            if let Some(permit) = &permit {
                request.extensions_mut().insert(Arc::clone(permit));
            }
            if is_tls {
                request.extensions_mut().insert(OverTls);
            }
            if is_http2 {
                name_host(&mut request);
            }
            let response = router.clone().oneshot(request);
            let (newcomer, is_last) = (Arc::clone(&newcomer), is_last.clone());
            async move {
                let mut response: Response = response.await?;
                newcomer.lock().take();
                if is_last.is_cancelled() && !is_http2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Guarded::wrap(body, guard)))
            }
        });
        let result = if is_http2 {
            let idle = keep_alive.max(header_timeout);
            let limits = http2::Limits { first: header_timeout, idle, last: last_responses };
            Box::pin(http2::serve(stream, service, &lifecycle, leaving, limits)).await
        } else {
            let connection = http1::Builder::new()
                .timer(timer)
                .header_read_timeout(header_timeout)
                .max_buf_size(MAX_HEAD)
                .max_headers(MAX_HEADERS)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => result,
                () = leaving => {
                    // The response under way is finished, and no further request is read.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = result {
            if error.is_timeout() && !has_served.load(Ordering::Relaxed) {
                hub.metrics().limit(Limit::HandshakeTime);
            }
            debug!(%error, "the HTTP connection ended");
        }
    }

    /// Takes a connection through its TLS handshake, for a bounded time.
    async fn secure(&self, tls: &Tls, stream: Tcp) -> Option<Stream> {
        let handshake = async {
            if speaks_http(&stream).await? {
                speak_tls(stream, self.hub.timeouts().last_write).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP"));
            }
            tls.accept(stream).await
        };
        let outcome = tokio::select! {
            outcome = timeout(self.header_timeout, handshake) => outcome,
            () = self.lifecycle.stopping() => return None,
        };
        match outcome {
            Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                debug!(%error, "no TLS handshake");
                None
            }
            Err(_) => {
                self.hub.metrics().limit(Limit::HandshakeTime);
                debug!("the TLS handshake took too long");
                None
            }
        }
    }
}

/// Whether a failed accept found no file descriptor or memory left, so that the next one fails, too.
fn is_exhausted(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}

/// Resolves when a connection is to be asked nothing more: the server stops, or leaves newcomers to the next process, who
/// may well come over a connection that they have open. One that was asked nothing yet is a newcomer itself.
async fn leaving(
    lifecycle: &Lifecycle,
    door: &Door,
    newcomer: Arc<Mutex<Option<Newcomer>>>,
    permit: Option<Arc<ConnectionPermit>>,
) {
    let has_closed = async {
        door.closed.cancelled().await;
        if newcomer.lock().is_some() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = lifecycle.stopping() => {}
        () = has_closed => {}
        () = evicted(permit.as_deref()) => {}
    }
}

/// Resolves when a connection is evicted to make room for another.
async fn evicted(permit: Option<&ConnectionPermit>) {
    match permit {
        Some(permit) => permit.evicted().await,
        None => std::future::pending().await,
    }
}

/// Serves a connection to its end, or until shortly after it was evicted, and then ends its permit.
async fn until_evicted(
    connection: impl Future<Output = ()>,
    permit: Option<Arc<ConnectionPermit>>,
    last_write: Duration,
) {
    let over = async {
        evicted(permit.as_deref()).await;
        tokio::time::sleep(last_write).await;
    };
    tokio::select! {
        () = connection => {}
        () = over => {}
    }
    if let Some(permit) = permit {
        permit.close();
    }
}

/// A response body, and the request that is under way as long as it is.
struct Guarded {
    body: Body,
    _guard: RequestGuard,
}

impl Guarded {
    fn wrap(body: Body, guard: Option<RequestGuard>) -> Body {
        match guard {
            Some(guard) if !body.is_end_stream() => Body::new(Self { body, _guard: guard }),
            _ => body,
        }
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Travels with the first request of a connection. Whoever lets that in later than it is answered keeps this until then:
/// see [`Door::newcomers`].
#[derive(Clone)]
pub(super) struct Newcomer(#[expect(dead_code, reason = "what counts is that it is held")] TaskTrackerToken);

/// HTTP/2 has the host in a field of its own (RFC 9113, section 8.3.1); what comes after looks for the header.
fn name_host<B>(request: &mut http::Request<B>) {
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = authority {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
}

/// Whether a client begins with a word, as HTTP does. TLS begins with the byte 22 (RFC 8446, section 5.1).
async fn speaks_http(stream: &Tcp) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Tells a client that spoke HTTP what is spoken here.
async fn speak_tls(mut stream: Tcp, limit: Duration) -> io::Result<()> {
    let mut rest = [0; 1024];
    // What is not read would end the connection with a reset, which may overtake the answer.
    let _some = stream.read(&mut rest).await?;
    stream.write_all(SPEAK_TLS).await?;
    stream.shutdown().await?;
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    timeout(limit, drained).await.ok();
    Ok(())
}

/// The timer for heads: hyper has one limit for the time that a head may take and for the rest before it. After its first
/// request a connection may take longer.
#[derive(Clone)]
struct HeadTimer {
    rest: Duration,
    has_served: Arc<AtomicBool>,
}

impl HeadTimer {
    fn extended(&self, deadline: Instant) -> Instant {
        if self.has_served.load(Ordering::Relaxed) { deadline + self.rest } else { deadline }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep_until(self.extended(deadline))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        TokioTimer::new().reset(sleep, self.extended(deadline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exhaustion_pauses_the_listener() {
        for code in EXHAUSTED {
            assert!(is_exhausted(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [libc::ECONNABORTED, libc::EPROTO, libc::EPERM, libc::ENETDOWN, libc::EHOSTUNREACH, libc::EINTR] {
            assert!(!is_exhausted(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
