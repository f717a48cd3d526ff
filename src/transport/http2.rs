//! HTTP/2, for clients that ask for it in their TLS handshake: pages, REST and polling, several requests at a time.
//!
//! A WebSocket does not come this way: the server does not announce extended CONNECT (RFC 8441), so browsers open an
//! HTTP/1.1 connection for each.
//!
//! The guarantee that is easy to break: a connection on which nothing is asked ends as one of HTTP/1.1 does, which
//! hyper sees to there, and not here.

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

/// Requests of one connection that may be under way at a time. A page of the demo asks for some twenty.
const MAX_REQUESTS: u32 = 64;

/// What waits to be sent of one response, in bytes.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// Has hyper's own tasks run where all of ours do.
#[derive(Clone)]
struct Tasks(Lifecycle);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// The time limits of a connection.
pub(super) struct Limits {
    /// Until the first request.
    pub(super) first: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// For the responses under way once it is to end.
    pub(super) last: Duration,
}

/// Serves one connection until it ends, until it was idle for too long, or until it is to be asked nothing more.
pub(super) async fn serve<S>(
    stream: Stream,
    service: S,
    lifecycle: &Lifecycle,
    leaving: impl Future<Output = ()>,
    limits: Limits,
) -> Result<(), hyper::Error>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let requests = Arc::new(watch::Sender::new(0_usize));
    let counted = Arc::clone(&requests);
    let service = service_fn(move |request| {
        let under_way = UnderWay::new(&counted);
        let answer = service.call(request);
        async move {
            let answer = answer.await;
            drop(under_way);
            answer
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

/// A request that is not answered yet.
struct UnderWay(Arc<watch::Sender<usize>>);

impl UnderWay {
    fn new(requests: &Arc<watch::Sender<usize>>) -> Self {
        requests.send_modify(|count| *count += 1);
        Self(Arc::clone(requests))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Resolves when nothing was under way for so long: before the first request, and after it.
async fn idle(mut requests: watch::Receiver<usize>, first: Duration, later: Duration) {
    let mut limit = first;
    // Its sender lives as long as the connection that this is waited for with.
    while requests.wait_for(|count| *count == 0).await.is_ok() {
        if timeout(limit, requests.changed()).await.is_err() {
            return;
        }
        limit = later;
    }
}
