//! Joins that the cluster answers. Until then nothing more is read of the client; what a polling client has sent already
//! waits here.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{End, Executor};
use crate::dialect::Step;
use crate::room::Command;
use crate::session::{Handled, Joining, Moment, Sink};

/// A join that is not answered yet.
pub(super) struct PendingJoin {
    handled: Arc<Mutex<Option<Handled>>>,
    received: Moment,
    deferred: Vec<Deferred>,
}

/// A message that waits.
#[derive(Debug)]
pub(in crate::transport) enum Deferred {
    Text(String),
    Binary(Bytes),
}

impl Executor {
    /// Returns whether a join is not answered yet.
    pub(in crate::transport) fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// Takes a message now, or once the join is answered.
    pub(in crate::transport) fn receive_in_turn(&mut self, message: Deferred) -> Result<(), End> {
        match (&mut self.joining, message) {
            (Some(joining), message) => {
                joining.deferred.push(message);
                Ok(())
            }
            (None, Deferred::Text(text)) => self.receive(&text),
            (None, Deferred::Binary(data)) => self.receive_binary(&data),
        }
    }

    /// Carries out a join in a cluster. Returns what follows from it, if it is answered at once.
    pub(super) fn join_in_cluster(&mut self, received: Moment, command: Command) -> Option<Step> {
        let other_rooms = self.rooms_beside(self.conversation.channel());
        let conversation = &self.conversation;
        let dialect = conversation.current_dialect();
        let open = self.sessions.get_mut(conversation.channel()).and_then(Option::as_mut)?;
        open.set_dialect(dialect);
        let welcome = conversation.welcome_later();
        let joining = open
            .session
            .join(received, command, other_rooms, welcome, |snapshot| conversation.welcome(snapshot, received.time));
        match joining {
            Joining::Now(handled) => self.joined(received, handled),
            Joining::Later(answer) => {
                let handled = Arc::new(Mutex::new(None));
                let slot = Arc::clone(&handled);
                self.pause = Some(Box::pin(async move {
                    let answer = answer.await;
                    *slot.lock() = Some(answer);
                }));
                self.joining = Some(Box::new(PendingJoin { handled, received, deferred: Vec::new() }));
                None
            }
        }
    }

    fn joined(&mut self, received: Moment, handled: Handled) -> Option<Step> {
        let Handled { result, welcome_bytes, .. } = handled;
        self.limiter.charge(welcome_bytes);
        if let Err(error) = &result {
            self.count(error);
        }
        self.conversation.answer(result, received.time)
    }

    /// Answers the join whose pause is over, and takes the messages that have waited for it.
    pub(super) fn join_answered(&mut self) {
        let Some(joining) = self.joining.take() else { return };
        let PendingJoin { handled, received, deferred } = *joining;
        let Some(handled) = handled.lock().take() else { return };
        let mut outcome = self.guarded(|this| {
            let next = this.joined(received, handled);
            this.take(received, next)
        });
        for message in deferred {
            outcome = outcome.and_then(|()| self.receive_in_turn(message));
        }
        if outcome.is_err() {
            self.queue.close();
        }
    }
}
