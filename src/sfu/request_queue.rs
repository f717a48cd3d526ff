//! The queue of requests to the media thread.
//!
//! Requests that create transports are rate-limited for the whole server, and wait here beyond
//! that. None is refused for it, and no client gets ahead of another: each connection has one
//! request in flight.
//!
//! Invariant: the number of waiting requests is bounded, and requests of clients that have
//! disconnected are not carried out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::driver::Reply;
use super::request::{ErrorScope, MediaRequest, RoomMember, SfuErrorKind};
use super::token_bucket::{Rate, TokenBucket};

/// Maximum number of requests for transports that wait for the rate limit.
const MAX_WAITING: usize = 4096;

/// Time after which clients should retry when too many requests wait.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A request of a room member, and how to respond to it.
pub(super) struct QueuedRequest {
    pub(super) member: RoomMember,
    pub(super) request: MediaRequest,
    pub(super) responder: Responder,
}

/// Sends the response to a request.
pub(super) struct Responder {
    pub(super) reply: Reply,
    /// Dropped after the response. Closed if the client has disconnected.
    pub(super) pending: oneshot::Sender<()>,
}

/// The requests to carry out, in order.
pub(super) struct RequestQueue {
    requests: mpsc::Receiver<QueuedRequest>,
    /// The request that [`RequestQueue::received`] has received.
    next: Option<QueuedRequest>,
    /// Requests that did not come by the channel.
    added: VecDeque<QueuedRequest>,
    /// Requests that create transports and wait for the rate limit.
    waiting: VecDeque<QueuedRequest>,
    /// The rate limiter of those requests; `None` if there is no limit.
    creation_bucket: Option<TokenBucket>,
}

impl RequestQueue {
    /// Creates a queue that lets `per_second` transports be created per second; 0 means no limit.
    pub(super) fn new(
        requests: mpsc::Receiver<QueuedRequest>,
        per_second: u32,
        now: Instant,
    ) -> Self {
        let rate = Rate { per_second: per_second.into(), burst: per_second.into() };
        let creation_bucket = (per_second > 0).then(|| TokenBucket::new(rate, now));
        Self {
            requests,
            next: None,
            added: VecDeque::new(),
            waiting: VecDeque::new(),
            creation_bucket,
        }
    }

    /// Adds requests that did not come by the channel.
    pub(super) fn add(&mut self, requests: Vec<QueuedRequest>) {
        self.added.extend(requests);
    }

    /// Waits for a request. Returns `false` once the channel is closed. Cancel safe.
    pub(super) async fn received(&mut self) -> bool {
        if self.next.is_none() {
            self.next = self.requests.recv().await;
        }
        self.next.is_some()
    }

    /// Returns the next request to carry out.
    pub(super) fn next(&mut self, now: Instant) -> Option<QueuedRequest> {
        let may_create = self
            .creation_bucket
            .as_mut()
            .is_none_or(|creation_bucket| creation_bucket.has(now, 1.0));
        while may_create && let Some(request) = self.waiting.pop_front() {
            if !request.responder.pending.is_closed() {
                return Some(self.take_token(now, request));
            }
        }
        while let Some(request) = self
            .next
            .take()
            .or_else(|| self.added.pop_front())
            .or_else(|| self.requests.try_recv().ok())
        {
            if may_create || !request.creates_transport() {
                return Some(self.take_token(now, request));
            }
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push_back(request);
            } else {
                let error = SfuErrorKind::TooFast { seconds: RETRY_AFTER.as_secs() };
                (request.responder.reply)(Err(error.in_scope(ErrorScope::Transport)));
            }
        }
        None
    }

    fn take_token(&mut self, now: Instant, request: QueuedRequest) -> QueuedRequest {
        if let Some(creation_bucket) =
            self.creation_bucket.as_mut().filter(|_| request.creates_transport())
        {
            creation_bucket.take(now, 1.0);
        }
        request
    }

    /// Returns when the next request may be carried out that [`RequestQueue::received`] does not
    /// report.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        if !self.added.is_empty() {
            return Some(now);
        }
        let creation_bucket = self.creation_bucket.as_mut().filter(|_| !self.waiting.is_empty())?;
        Some(now + creation_bucket.time_until(now, 1.0))
    }
}

impl QueuedRequest {
    fn creates_transport(&self) -> bool {
        matches!(self.request, MediaRequest::CreateTransport { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConnectionId, PeerId, RoomId};
    use crate::sfu::request::Direction;

    fn queued(request: MediaRequest) -> (QueuedRequest, oneshot::Receiver<()>) {
        let (room, peer) = (RoomId::new("room").unwrap(), PeerId::new("ann").unwrap());
        let member = RoomMember { room, connection: ConnectionId::random(), peer };
        let (pending, answered) = oneshot::channel();
        (
            QueuedRequest {
                member,
                request,
                responder: Responder { reply: Box::new(|_| ()), pending },
            },
            answered,
        )
    }

    #[test]
    fn creations_wait_for_rate_limit_and_other_requests_pass() {
        let (start, (sender, receiver)) = (Instant::now(), mpsc::channel(99));
        let mut request_queue = RequestQueue::new(receiver, 10, start);
        let create = MediaRequest::CreateTransport { direction: Direction::Receive };
        let mut waiting = Vec::new();
        for request in std::iter::repeat_n(create, 30).chain([MediaRequest::ListProducers]) {
            let (request, answered) = queued(request);
            waiting.push(answered);
            assert!(sender.try_send(request).is_ok());
        }
        let at = |request_queue: &mut RequestQueue, milliseconds| {
            let now = start + Duration::from_millis(milliseconds);
            let requests = std::iter::from_fn(|| request_queue.next(now));
            requests.map(|request| request.creates_transport()).collect::<Vec<_>>()
        };
        let first = at(&mut request_queue, 0);
        assert_eq!((first.len(), first.last()), (11, Some(&false)), "other requests do not wait");
        assert_eq!(at(&mut request_queue, 50).len(), 0);
        let due = request_queue.due(start + Duration::from_millis(50)).unwrap();
        assert!(
            due > start + Duration::from_millis(99) && due < start + Duration::from_millis(102)
        );
        assert_eq!(at(&mut request_queue, 550).len(), 5);
        // Requests of disconnected clients are not carried out.
        waiting.drain(15..25);
        assert_eq!(at(&mut request_queue, 1100).len(), 5);
        assert_eq!((at(&mut request_queue, 9999).len(), request_queue.due(start)), (0, None));
    }
}
