//! The requests that wait for the media thread, and which of them is next.
//!
//! Requests that create transports are paced for the whole server, and wait here beyond that. Nobody is refused for it, and
//! nobody gets ahead: each connection has one request under way.
//!
//! The guarantee that is easy to break: what waits is bounded, and requests of clients that have gone are not carried out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::bucket::{Bucket, Rate};
use super::driver::Reply;
use super::request::{Asker, Concern, Problem, Request};

/// Maximum number of requests for transports that wait.
const MAX_WAITING: usize = 4096;

/// After how long a client is told to try again that there was no more room for.
const FULL: Duration = Duration::from_secs(10);

/// A request, and who is answered.
pub(super) struct Command {
    pub(super) asker: Asker,
    pub(super) request: Request,
    pub(super) answer: Answering,
}

/// How a request is answered.
pub(super) struct Answering {
    pub(super) reply: Reply,
    /// Dropped when it is answered. Closed when its client has gone.
    pub(super) pending: oneshot::Sender<()>,
}

/// The requests to be carried out, in their order.
pub(super) struct Agenda {
    requests: mpsc::Receiver<Command>,
    /// The next, if it was waited for.
    next: Option<Command>,
    /// Those that create transports, and wait.
    creations: VecDeque<Command>,
    /// `None` where there is no limit.
    pace: Option<Bucket>,
}

impl Agenda {
    /// So many transports may be created in a second; 0 is no limit.
    pub(super) fn new(requests: mpsc::Receiver<Command>, per_second: u32, now: Instant) -> Self {
        let rate = Rate { per_second: per_second.into(), burst: per_second.into() };
        let pace = (per_second > 0).then(|| Bucket::new(rate, now));
        Self { requests, next: None, creations: VecDeque::new(), pace }
    }

    /// Waits for a request; `false` once there will be no more. Nothing is lost where this is given up.
    pub(super) async fn received(&mut self) -> bool {
        if self.next.is_none() {
            self.next = self.requests.recv().await;
        }
        self.next.is_some()
    }

    /// Returns the next request that may be carried out.
    pub(super) fn next(&mut self, now: Instant) -> Option<Command> {
        let may_create = self.pace.as_mut().is_none_or(|pace| pace.has(now, 1.0));
        while may_create && let Some(command) = self.creations.pop_front() {
            if !command.answer.pending.is_closed() {
                return Some(self.paced(now, command));
            }
        }
        while let Some(command) = self.next.take().or_else(|| self.requests.try_recv().ok()) {
            if may_create || !command.creates() {
                return Some(self.paced(now, command));
            }
            if self.creations.len() < MAX_WAITING {
                self.creations.push_back(command);
            } else {
                let problem = Problem::TooFast { seconds: FULL.as_secs() };
                (command.answer.reply)(Err(problem.of(Concern::Transport)));
            }
        }
        None
    }

    fn paced(&mut self, now: Instant, command: Command) -> Command {
        if let Some(pace) = self.pace.as_mut().filter(|_| command.creates()) {
            pace.take(now, 1.0);
        }
        command
    }

    /// When the first of those that wait may be carried out.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let pace = self.pace.as_mut().filter(|_| !self.creations.is_empty())?;
        Some(now + pace.wait(now, 1.0))
    }
}

impl Command {
    fn creates(&self) -> bool {
        matches!(self.request, Request::CreateTransport { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConnectionId, PeerId, RoomId};
    use crate::sfu::request::Direction;

    fn command(request: Request) -> (Command, oneshot::Receiver<()>) {
        let (room, peer) = (RoomId::new("room").unwrap(), PeerId::new("ann").unwrap());
        let asker = Asker { room, connection: ConnectionId::random(), peer };
        let (pending, answered) = oneshot::channel();
        (Command { asker, request, answer: Answering { reply: Box::new(|_| ()), pending } }, answered)
    }

    #[test]
    fn transports_are_created_at_the_rate_of_the_server_and_other_requests_pass() {
        let (start, (sender, receiver)) = (Instant::now(), mpsc::channel(99));
        let mut agenda = Agenda::new(receiver, 10, start);
        let create = Request::CreateTransport { direction: Direction::Receive, capabilities: None };
        let mut waiting = Vec::new();
        for request in std::iter::repeat_n(create, 30).chain([Request::ListProducers]) {
            let (command, answered) = command(request);
            waiting.push(answered);
            assert!(sender.try_send(command).is_ok());
        }
        let at = |agenda: &mut Agenda, milliseconds| {
            let now = start + Duration::from_millis(milliseconds);
            let requests = std::iter::from_fn(|| agenda.next(now));
            requests.map(|command| command.creates()).collect::<Vec<_>>()
        };
        let first = at(&mut agenda, 0);
        assert_eq!((first.len(), first.last()), (11, Some(&false)), "one that creates nothing waits for nobody");
        assert_eq!(at(&mut agenda, 50).len(), 0);
        let due = agenda.due(start + Duration::from_millis(50)).unwrap();
        assert!(due > start + Duration::from_millis(99) && due < start + Duration::from_millis(102));
        assert_eq!(at(&mut agenda, 550).len(), 5);
        // Those of clients that have gone are not carried out.
        waiting.drain(15..25);
        assert_eq!(at(&mut agenda, 1100).len(), 5);
        assert_eq!((at(&mut agenda, 9999).len(), agenda.due(start)), (0, None));
    }
}
