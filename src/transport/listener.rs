//! Accepts TCP connections, completes their TLS handshake and serves HTTP on them.
//!
//! This is not `axum::serve`, because connections need `TCP_NODELAY`, a limit on stalled writes,
//! and limits on the time for handshakes and headers.
//!
//! - [`Acceptor::serve`] accepts until the server stops or hands the listening socket over to the
//!   next process;
//! - a connection speaks HTTP/1.1, or HTTP/2 if a TLS client negotiated it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt;
use tracing::debug;

use super::head_timer::HeadTimer;
use super::http2;
use super::response_body::Guarded;
use super::stream::Stream;
use super::tcp::Tcp;
use crate::lifecycle::Lifecycle;
use crate::metrics::Limit;
use crate::request::proxies::{OverTls, PeerAddress, Proxies};
use crate::session::{ConnectionPermit, Hub};
use crate::tls::{HTTP_2, Tls};

/// Errors of accept(2) for exhausted file descriptors or memory.
const EXHAUSTED: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

/// Maximum size of a request head, and of the read buffer of an HTTP connection, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// Maximum number of headers of a request.
const MAX_HEADERS: usize = 100;

/// State of handing the listening socket over to the next process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handover {
    /// Cancelled when the next process accepts new connections.
    pub begun: CancellationToken,
    /// Accepted connections whose first request is not answered yet. This process waits for them
    /// before it refuses any.
    pub pending: TaskTracker,
}

/// Accepts connections and holds what is needed to serve them.
#[derive(Clone)]
pub(crate) struct Acceptor {
    /// All routes.
    pub router: Router,
    /// Spawns the connections' tasks.
    pub lifecycle: Lifecycle,
    /// Holds the fixed time limits, and counts limits that are hit.
    pub hub: Arc<Hub>,
    /// Time for a TLS handshake, and for a request head.
    pub header_timeout: Duration,
    /// TLS configuration; `None` serves plain connections.
    pub tls: Option<Arc<Tls>>,
    /// Ends accepting when a handover begins.
    pub handover: Handover,
    /// Trusted proxies, whose connections count for their clients; `None` if connections are not
    /// limited.
    pub proxies: Option<Arc<Proxies>>,
}

impl Acceptor {
    /// Accepts connections until the server stops or hands the socket over.
    pub(crate) async fn serve(self, listener: TcpListener) {
        // A connection that this loop is about to accept is already pending.
        let pending = Pending(self.handover.pending.token());
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.lifecycle.stopping() => return,
                () = self.handover.begun.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let stream = match Tcp::new(stream, self.hub.timeouts().write_stall) {
                        Ok(stream) => stream,
                        Err(error) => {
                            debug!(%error, "cannot configure accepted socket");
                            continue;
                        }
                    };
                    let permit = self.proxies.as_ref().map(|proxies| {
                        let is_proxy = proxies.forwards(address.ip());
                        self.hub.admission().accept(address.ip(), is_proxy)
                    });
                    let connection = self.clone().serve_connection(
                        stream,
                        address,
                        pending.clone(),
                        permit.clone(),
                    );
                    self.lifecycle.spawn(until_evicted(
                        connection,
                        permit,
                        self.hub.timeouts().last_write,
                    ));
                }
                Err(error) if is_exhausted(&error) => {
                    debug!(%error, "cannot accept a connection");
                    self.hub.limit_hit(
                        Limit::OpenFiles,
                        "cannot accept connections: out of file descriptors or memory",
                    );
                    self.hub.admission().free_descriptors();
                    tokio::time::sleep(self.hub.timeouts().accept_retry).await;
                }
                // Only this connection failed, for example by a reset before accept(2).
                Err(error) => debug!(%error, "connection closed before it was accepted"),
            }
        }
    }

    async fn serve_connection(
        self,
        stream: Tcp,
        address: SocketAddr,
        pending: Pending,
        permit: Option<Arc<ConnectionPermit>>,
    ) {
        let pending = Arc::new(Mutex::new(Some(pending)));
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            // Boxed, here and below, so that the future of a plain connection stays small.
            Some(tls) => match Box::pin(self.secure(tls, stream)).await {
                Some(stream) => stream,
                None => return,
            },
        };
        let (is_tls, is_http2) = match &stream {
            Stream::Plain(_) => (false, false),
            Stream::Tls(stream) => (true, stream.get_ref().1.alpn_protocol() == Some(HTTP_2)),
        };
        let Self { router, lifecycle, hub, header_timeout, handover, .. } = self;
        let has_served = Arc::new(AtomicBool::new(false));
        let (keep_alive, last_responses) =
            (hub.timeouts().keep_alive, hub.timeouts().last_responses);
        let timer = HeadTimer {
            idle: keep_alive.saturating_sub(header_timeout),
            has_served: Arc::clone(&has_served),
        };
        let leaving = leaving(&lifecycle, &handover, Arc::clone(&pending), permit.clone());
        let (serving, is_last) = (Arc::clone(&has_served), handover.begun.clone());
        let service_hub = Arc::clone(&hub);
        let service = service_fn(move |request: http::Request<Incoming>| {
            serving.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(PeerAddress(address));
            if let Some(pending) = pending.lock().clone() {
                request.extensions_mut().insert(pending);
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
            let (pending, is_last) = (Arc::clone(&pending), is_last.clone());
            let hub = Arc::clone(&service_hub);
            async move {
                let mut response: Response = response.await?;
                pending.lock().take();
                // At the end of a drain, connections are closed without waiting for requests that
                // are on their way.
                if (is_last.is_cancelled() || hub.is_draining())
                    && !is_http2
                    && response.status() != StatusCode::SWITCHING_PROTOCOLS
                {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Guarded::wrap(body, guard)))
            }
        });
        let result = if is_http2 {
            let idle = keep_alive.max(header_timeout);
            let limits = http2::Http2Limits { first: header_timeout, idle, last: last_responses };
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
                    // Finishes the pending response and reads no further request.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = result {
            if error.is_timeout() && !has_served.load(Ordering::Relaxed) {
                hub.metrics().limit(Limit::HandshakeTime);
            }
            debug!(%error, "HTTP connection ended with an error");
        }
    }
}

/// Returns whether accept(2) failed for lack of file descriptors or memory, so that the next call
/// would fail, too.
fn is_exhausted(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}

/// Completes when a connection should take no further request: the server stops, the connection is
/// evicted, or the next process has taken over and the first request of the connection is answered.
async fn leaving(
    lifecycle: &Lifecycle,
    handover: &Handover,
    pending: Arc<Mutex<Option<Pending>>>,
    permit: Option<Arc<ConnectionPermit>>,
) {
    let has_closed = async {
        handover.begun.cancelled().await;
        if pending.lock().is_some() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = lifecycle.stopping() => {}
        () = has_closed => {}
        () = evicted(permit.as_deref()) => {}
    }
}

/// Completes when a connection is evicted in favour of another.
async fn evicted(permit: Option<&ConnectionPermit>) {
    match permit {
        Some(permit) => permit.evicted().await,
        None => std::future::pending().await,
    }
}

/// Serves a connection until it ends or, once it is evicted, for at most `last_write`; then closes
/// its permit.
async fn until_evicted(
    connection: impl Future<Output = ()>,
    permit: Option<Arc<ConnectionPermit>>,
    last_write: Duration,
) {
    let evicted = async {
        evicted(permit.as_deref()).await;
        tokio::time::sleep(last_write).await;
    };
    tokio::select! {
        () = connection => {}
        () = evicted => {}
    }
    if let Some(permit) = permit {
        permit.close();
    }
}

/// Travels with the first request of a connection, so that a handshake can keep it until its
/// session is open: see [`Handover::pending`].
#[derive(Clone)]
pub(super) struct Pending(
    #[expect(dead_code, reason = "held for its destructor")] TaskTrackerToken,
);

/// Copies the `:authority` of HTTP/2 (RFC 9113, section 8.3.1) to the `Host` header that routes
/// read.
fn name_host<B>(request: &mut http::Request<B>) {
    let authority = request
        .uri()
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = authority {
        request.headers_mut().entry(header::HOST).or_insert(host);
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
        for code in [
            libc::ECONNABORTED,
            libc::EPROTO,
            libc::EPERM,
            libc::ENETDOWN,
            libc::EHOSTUNREACH,
            libc::EINTR,
        ] {
            assert!(!is_exhausted(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
