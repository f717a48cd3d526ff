//! Accepts connections and speaks HTTP/1.1 on them.
//!
//! A loop of our own, since connections need what ready-made ones do not set: no delay for small writes, an end for
//! peers that vanish, a limit on the time for headers.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::http::proxies::PeerAddress;
use crate::lifecycle::Lifecycle;
use crate::metrics::Limit;
use crate::session::Hub;

/// What is accepted. Later, also TLS over it.
pub type Stream = TcpStream;

/// How many connections may wait to be accepted.
const ACCEPT_QUEUE: i32 = 4096;

/// How long data that was sent may go unacknowledged before the kernel gives a connection up: a peer that vanished is
/// found within ten seconds of traffic.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(9);

/// The pause after an accept that failed for want of something, such as open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// How long a connection may rest between two requests. Longer than load balancers rest theirs, so that it is they who
/// end one, and no request meets its end on the way.
const IDLE: Duration = Duration::from_secs(75);

/// The most bytes of a request's head, which is also what an HTTP connection buffers.
const MAX_HEAD: usize = 16 * 1024;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

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

/// What accepted connections are served with.
#[derive(Clone)]
pub struct Acceptor {
    /// Every route.
    pub router: Router,
    /// Where their tasks run.
    pub lifecycle: Lifecycle,
    /// Where limits that are hit are counted.
    pub hub: Arc<Hub>,
    /// Time for a request's head.
    pub header_timeout: Duration,
}

impl Acceptor {
    /// Accepts connections until the server stops.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.lifecycle.stopping() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    if let Err(error) = prepare(&stream) {
                        debug!(%error, "the connection ended at once");
                        continue;
                    }
                    self.lifecycle.spawn(self.clone().serve_connection(stream, address));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    self.hub.metrics().limit(Limit::OpenFiles);
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn serve_connection(self, stream: Stream, address: SocketAddr) {
        let Self { router, lifecycle, hub, header_timeout } = self;
        let has_served = Arc::new(AtomicBool::new(false));
        let timer = HeadTimer { rest: IDLE.saturating_sub(header_timeout), has_served: Arc::clone(&has_served) };
        let serving = Arc::clone(&has_served);
        let service = TowerToHyperService::new(router.map_request(move |request: http::Request<Incoming>| {
            serving.store(true, Ordering::Relaxed);
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(PeerAddress(address));
            request
        }));
        let connection = http1::Builder::new()
            .timer(timer)
            .header_read_timeout(header_timeout)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = lifecycle.stopping() => {
                // The response under way is finished, and no further request is read.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            if error.is_timeout() && !has_served.load(Ordering::Relaxed) {
                hub.metrics().limit(Limit::HandshakeTime);
            }
            debug!(%error, "the HTTP connection ended");
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Without it, Nagle's algorithm and delayed acknowledgements hold each small frame back for up to 40 ms.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT))?;
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
