//! Resumption: a new connection takes a session over, whatever the one before still does or says is ignored from then on.

use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::admission::Permit;
use super::handle::Session;
use super::history::NotHeld;
use super::hub::Hub;
use super::key::ResumeKey;
use super::mailbox::Mailbox;
use super::state::{SessionState, Status};
use crate::id::{ConnectionId, PeerId};
use crate::room::LeaveReason;

impl Hub {
    /// Resumes the session of a key for a client that has seen what was sent up to a number. `None` where there is no such
    /// session, or something that was missed is not kept any more: it is never replayed in part, and the session ends.
    /// Where tokens are required, `subject` is that of the new connection's token, and must be the session's. The permit of
    /// the new connection replaces that of the session.
    pub fn resume(
        self: &Arc<Self>,
        key: &ResumeKey,
        seen: u64,
        subject: Option<&PeerId>,
        permit: Option<&Arc<Permit>>,
    ) -> Option<(Session, Arc<Mailbox>)> {
        let state = self.resumable.get(key.id()).filter(|_| !self.is_draining());
        let resumed = state.and_then(|state| {
            let generation = self.take_over(&state, key, seen, subject, permit)?;
            let mailbox = Arc::clone(&state.mailbox);
            Some((Session { hub: Arc::clone(self), state, generation }, mailbox))
        });
        self.metrics.resumed(resumed.is_some());
        resumed
    }

    /// Makes the calling connection the owner of a session, and returns its generation.
    fn take_over(
        &self,
        state: &Arc<SessionState>,
        key: &ResumeKey,
        seen: u64,
        subject: Option<&PeerId>,
        permit: Option<&Arc<Permit>>,
    ) -> Option<u64> {
        // A key is of no use to another user.
        if state.identity.grant().map(|grant| grant.subject.clone()).as_ref() != subject {
            return None;
        }
        let mut ownership = state.ownership.lock();
        let fits = [&ownership.key, &ownership.spent].into_iter().flatten().any(|own| own.opens(key));
        if !fits || ownership.status == Status::Ended {
            return None;
        }
        let was_away = ownership.status != Status::Connected;
        let taken =
            if self.has_nothing_to_resume(state, seen) { Err(NotHeld::Gone) } else { state.mailbox.take_over(seen) };
        if taken == Err(NotHeld::Late) {
            return None;
        }
        if taken.is_err() {
            ownership.status = Status::Ended;
            drop(ownership);
            if was_away {
                self.resumable.note_back();
            } else {
                self.note_closed(state, LeaveReason::Replaced);
                state.mailbox.close();
            }
            self.end_session(state, LeaveReason::TimedOut);
            return None;
        }
        ownership.generation += 1;
        ownership.closer = None;
        ownership.status = Status::Connected;
        let generation = ownership.generation;
        let before = std::mem::replace(&mut *state.permit.lock(), permit.cloned());
        if was_away {
            self.resumable.note_back();
            self.directory.note_opened();
            state.metrics.opened();
            self.announce(state.id, false);
        }
        drop(ownership);
        // Where the connection before is still open, it counts until it is closed.
        if let Some(before) = before.filter(|_| was_away) {
            before.release();
        }
        state.settle();
        info!(connection = %state.id, dialect = state.dialect.name, was_away, "resumed");
        Some(generation)
    }

    /// Whether a session is in no room and its client has missed nothing. Resumed, the client would not join, and its join
    /// may be what was lost with the connection.
    fn has_nothing_to_resume(&self, state: &SessionState, seen: u64) -> bool {
        self.rooms().of(state.id).is_empty() && !state.mailbox.has_sent_since(seen)
    }

    /// Ends away sessions whose time is over, and prunes replay buffers. Call it a few times a second.
    pub fn sweep(&self, now: Instant) {
        self.admission.sweep(now, self.timeouts.pending_connection);
        if let Some(limits) = self.resume_limits() {
            self.resumable.away_limit.turn(now, limits.time, self.open_connections());
        }
        let timers = &self.resumable.timers;
        while let Some(id) = timers.absences.pop(now) {
            self.end_absence(id, |until| until <= now);
        }
        while let Some(id) = timers.given_up.pop(now) {
            self.end_absence(id, |_| true);
        }
        while let Some(id) = timers.histories.pop(now) {
            if self.directory.get(id).is_some_and(|entry| entry.mailbox.prune(now)) {
                timers.start_history(id, now);
            }
        }
    }

    /// Shrinks internal maps after a connection spike. Call it a few times a minute.
    pub fn shrink(&self) {
        self.rooms().give_back();
        self.admission.shrink();
        self.invalid_tokens.shrink(Instant::now());
        self.directory.shrink();
        self.resumable.shrink();
    }

    /// Ends all away sessions.
    pub(super) fn end_absences(&self) {
        for id in self.resumable.ids() {
            self.end_absence(id, |_| true);
        }
    }

    fn end_absence(&self, id: ConnectionId, is_over: impl Fn(Instant) -> bool) {
        if let Some(state) = self.resumable.get(id) {
            self.end_if_away(&state, is_over);
        }
    }
}
