//! Serves HTTP/2 to clients that negotiate it with ALPN: pages, REST and polling, several requests
//! at a time.
//!
//! There is no WebSocket over HTTP/2: the server does not announce extended CONNECT (RFC 8441), so
//! browsers open an HTTP/1.1 connection for each WebSocket.
//!
//! Invariant: an idle connection is closed after the keep-alive time. hyper does this for HTTP/1.1
//! only.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::timeout;

use super::listener::MAX_HEAD;
use super::stream::Stream;
use crate::lifecycle::Lifecycle;

/// Maximum number of concurrent requests of a connection. The demo page makes about twenty.
const MAX_REQUESTS: u32 = 64;

/// Maximum number of buffered bytes of one response.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// Spawns hyper's tasks where all tasks of the server are tracked.
#[derive(Clone)]
struct Tasks(Lifecycle);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Time limits of a connection.
pub(super) struct Http2Limits {
    /// Time until the first request.
    pub(super) first: Duration,
    /// Time between two requests.
    pub(super) idle: Duration,
    /// Time for the pending responses once the connection is closing.
    pub(super) last: Duration,
}

/// Serves one connection until the client closes it, it is idle for too long, or `leaving`
/// completes.
pub(super) async fn serve<S>(
    stream: Stream,
    service: S,
    lifecycle: &Lifecycle,
    leaving: impl Future<Output = ()>,
    limits: Http2Limits,
) -> Result<(), hyper::Error>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let requests = Arc::new(watch::Sender::new(0_usize));
    let counted = Arc::clone(&requests);
    let service = service_fn(move |request| {
        let pending = PendingRequest::new(&counted);
        let response = service.call(request);
        async move {
            let response = response.await;
            drop(pending);
            response
        }
    });
    let connection = http2::Builder::new(Tasks(lifecycle.clone()))
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_REQUESTS)
        .max_header_list_size(u32::try_from(MAX_HEAD).expect("a head is short"))
        .max_send_buf_size(MAX_SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        () = idle(requests.subscribe(), limits.first, limits.idle) => {}
        () = leaving => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(limits.last, connection).await.unwrap_or(Ok(()))
}

/// Counts a request until its response is complete.
struct PendingRequest(Arc<watch::Sender<usize>>);

impl PendingRequest {
    fn new(requests: &Arc<watch::Sender<usize>>) -> Self {
        requests.send_modify(|count| *count += 1);
        Self(Arc::clone(requests))
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Completes when no request was pending for `first`, or after the first request for `later`.
async fn idle(mut requests: watch::Receiver<usize>, first: Duration, later: Duration) {
    let mut limit = first;
    // The sender lives as long as the connection, which is polled beside this.
    while requests.wait_for(|count| *count == 0).await.is_ok() {
        if timeout(limit, requests.changed()).await.is_err() {
            return;
        }
        limit = later;
    }
}
