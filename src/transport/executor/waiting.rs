//! Requests that the cluster answers: joins, and resumptions of sessions that another node has.
//! Until then nothing more is read of the client; what a polling client has sent already waits
//! here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::sessions::{CLAIMED_ELSEWHERE, ELSEWHERE};
use super::{End, Executor};
use crate::auth::Grant;
use crate::dialect::Step;
use crate::room::Command;
use crate::session::{Claimant, Handled, Joining, Moment, Outgoing, ResumeToken, Sink};

/// A request that is not answered yet.
pub(super) struct Waiting {
    received: Moment,
    request: Request,
    deferred: Vec<Deferred>,
}

enum Request {
    Join(Arc<Mutex<Option<Handled>>>),
    /// With whether other connections of the client claim the session again and again.
    Resume(Box<Resuming>, Arc<AtomicBool>),
}

/// A client that waits for a session of another node.
#[derive(Clone)]
pub(super) struct Resuming {
    /// Whether it has sent a CONNECT packet of Socket.IO, which is answered in any case.
    pub(super) is_connect: bool,
    pub(super) grant: Option<Grant>,
    pub(super) token: ResumeToken,
    /// Number of the last frame that it has received.
    pub(super) seen: u64,
    /// How many times the session was claimed.
    pub(super) claims: u8,
}

/// How many times a session is claimed that moves on before its client has it. A former connection
/// of the client may have claimed it on another node.
const MAX_CLAIMS: u8 = 5;

/// A message that waits.
#[derive(Debug)]
pub(in crate::transport) enum Deferred {
    Text(String),
    Binary(Bytes),
}

impl Executor {
    /// Returns whether a request waits for the cluster.
    pub(in crate::transport) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes a message now, or once the cluster has answered.
    pub(in crate::transport) fn receive_in_turn(&mut self, message: Deferred) -> Result<(), End> {
        match (&mut self.waiting, message) {
            (Some(waiting), message) => {
                waiting.deferred.push(message);
                Ok(())
            }
            (None, Deferred::Text(text)) => self.receive(&text),
            (None, Deferred::Binary(data)) => self.receive_binary(&data),
        }
    }

    fn wait_for(&mut self, received: Moment, request: Request) {
        self.waiting = Some(Box::new(Waiting { received, request, deferred: Vec::new() }));
    }

    /// Carries out a join in a cluster. Returns what follows from it, if it is answered at once.
    pub(super) fn join_in_cluster(&mut self, received: Moment, command: Command) -> Option<Step> {
        let other_rooms = self.rooms_beside(self.conversation.channel());
        let conversation = &self.conversation;
        let dialect = conversation.current_dialect();
        let open = self.sessions.get_mut(conversation.channel()).and_then(Option::as_mut)?;
        open.set_dialect(dialect);
        let welcome = conversation.welcome_later();
        let joining = open.session.join(received, command, other_rooms, welcome, |snapshot| {
            conversation.welcome(snapshot, received.time)
        });
        match joining {
            Joining::Now(handled) => self.joined(received, handled),
            Joining::Later(answer) => {
                let handled = Arc::new(Mutex::new(None));
                let slot = Arc::clone(&handled);
                self.pause = Some(Box::pin(async move {
                    let answer = answer.await;
                    *slot.lock() = Some(answer);
                }));
                self.wait_for(received, Request::Join(handled));
                None
            }
        }
    }

    /// Asks the node that has a session for it. Returns `false` if no other node is to be asked.
    pub(super) fn claim(&mut self, resuming: Resuming) -> bool {
        if self.hub.cluster().is_none() {
            return false;
        }
        let Resuming { grant, token, seen, .. } = &resuming;
        let (dialect, framing) =
            (self.conversation.dialect(), self.conversation.framing(token.id()));
        let claimed = self.hub.claim(Claimant {
            address: self.permit.address(),
            dialect,
            framing,
            grant: grant.clone(),
            token: token.clone(),
            seen: *seen,
        });
        let Some(decided) = claimed else { return false };
        let moves_on = Arc::new(AtomicBool::new(false));
        let is_used = Arc::clone(&moves_on);
        self.pause = Some(Box::pin(async move {
            is_used.store(decided.await.is_ok(), Ordering::Relaxed);
        }));
        self.wait_for(Moment::now(), Request::Resume(Box::new(resuming), moves_on));
        true
    }

    /// Resumes a session for which its client has waited, or follows it to where it has moved on.
    fn claimed(&mut self, received: Moment, resuming: Resuming) -> Result<(), End> {
        if self.hub.resumes_elsewhere() {
            // The server drains since.
            return Err(ELSEWHERE);
        }
        if resuming.is_connect {
            return self.resume_or_open(resuming);
        }
        let next = self.resume_here(&resuming);
        self.take(received, next)
    }

    /// Follows a session that has moved on to another node, perhaps in this moment. Returns `None`
    /// if it has not, or cannot be claimed.
    pub(super) fn follow(&mut self, resuming: &Resuming) -> Option<Result<(), End>> {
        if !self.hub.has_moved_on(&resuming.token) {
            return None;
        }
        if resuming.claims >= MAX_CLAIMS {
            return Some(Err(CLAIMED_ELSEWHERE));
        }
        let again = Resuming { claims: resuming.claims + 1, ..resuming.clone() };
        self.claim(again).then_some(Ok(()))
    }

    fn joined(&mut self, received: Moment, handled: Handled) -> Option<Step> {
        let Handled { result, welcome_bytes, .. } = handled;
        self.limiter.charge(welcome_bytes);
        if let Err(error) = &result {
            self.count(error);
        }
        self.conversation.answer(result, received.time)
    }

    /// Answers the request whose pause is over, and takes the messages that have waited for it.
    pub(super) fn cluster_answered(&mut self) {
        let Some(waiting) = self.waiting.take() else { return };
        let Waiting { received, request, deferred } = *waiting;
        let mut outcome = self.guarded(|this| match request {
            Request::Join(handled) => {
                let Some(handled) = handled.lock().take() else { return Ok(()) };
                let next = this.joined(received, handled);
                this.take(received, next)
            }
            Request::Resume(_, moves_on) if moves_on.load(Ordering::Relaxed) => {
                Err(CLAIMED_ELSEWHERE)
            }
            Request::Resume(resuming, _) => this.claimed(received, *resuming),
        });
        for message in deferred {
            outcome = outcome.and_then(|()| self.receive_in_turn(message));
        }
        match outcome.map_err(|end| end.close) {
            Ok(()) => {}
            // It has space for a close frame.
            Err(Some((code, why))) => _ = self.queue.push(Outgoing::Close(code, why), true),
            Err(None) => _ = self.queue.close(),
        }
    }

    /// Returns whether a resume token is for another node than this one, which has taken its
    /// session over.
    pub(super) fn has_moved(&self, token: &ResumeToken) -> bool {
        self.hub.cluster().is_some() && self.hub.is_foreign(token)
    }
}
