//! Session resumption: a new connection takes a session over. Whatever the previous connection
//! still sends is ignored.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;
use tracing::info;

use super::admission::Permit;
use super::handle::Session;
use super::hub::Hub;
use super::mailbox::Mailbox;
use super::replay_buffer::ReplayError;
use super::resume_token::ResumeToken;
use super::state::{Ownership, SessionState, Status};
use crate::id::{ConnectionId, PeerId};
use crate::room::LeaveReason;

/// A request to resume a session.
pub(super) struct Resumption<'a> {
    pub(super) token: &'a ResumeToken,
    /// Number of the last frame that the client has received.
    pub(super) seen: u64,
    /// The subject of the access token of the client, where tokens are required.
    pub(super) subject: Option<&'a PeerId>,
    /// Whether the session is to continue on another node.
    pub(super) is_elsewhere: bool,
}

impl Hub {
    /// Resumes the session of a resume token for a client that has received all frames up to
    /// `seen`. Returns `None` if there is no such session, or if a missed frame is no longer kept:
    /// frames are never replayed in part, and the session ends.
    ///
    /// If tokens are required, `subject` is the subject of the new connection's token and must be
    /// the session's. The new connection's permit replaces that of the session.
    pub fn resume(
        self: &Arc<Self>,
        token: &ResumeToken,
        seen: u64,
        subject: Option<&PeerId>,
        permit: Option<&Arc<Permit>>,
    ) -> Option<(Session, Arc<Mailbox>)> {
        let state = self.resumable.get(token.id()).filter(|_| !self.is_draining());
        let resumed = state.and_then(|state| {
            let generation = self.take_over(
                &state,
                &Resumption { token, seen, subject, is_elsewhere: false },
                permit,
            )?;
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
        resumption: &Resumption<'_>,
        permit: Option<&Arc<Permit>>,
    ) -> Option<u64> {
        let (mut ownership, was_away) = self.check_out(state, resumption)?;
        ownership.generation += 1;
        ownership.closer = None;
        ownership.status = Status::Connected;
        let generation = ownership.generation;
        let before = std::mem::replace(&mut *state.permit.lock(), permit.cloned());
        if was_away {
            self.resumable.record_back();
            self.directory.record_opened();
            state.metrics.opened();
            self.announce(state.id, false);
        }
        drop(ownership);
        // If the previous connection is still open, its permit counts until it is closed.
        if let Some(before) = before.filter(|_| was_away) {
            before.release();
        }
        state.settle();
        info!(connection = %state.id, dialect = state.dialect.name, was_away, "resumed");
        Some(generation)
    }

    /// Takes a session from its connection, for a client that may resume it and for which all
    /// missed frames are kept. Returns the session, locked, and whether it was away.
    pub(super) fn check_out<'a>(
        &self,
        state: &'a Arc<SessionState>,
        resumption: &Resumption<'_>,
    ) -> Option<(MutexGuard<'a, Ownership>, bool)> {
        let Resumption { token, seen, subject, is_elsewhere } = *resumption;
        // Another user's resume token has no effect.
        if state.identity.grant().map(|grant| grant.subject.clone()).as_ref() != subject {
            return None;
        }
        let mut ownership = state.ownership.lock();
        let is_valid = ownership.tokens.has(token);
        let was_away = match ownership.status {
            Status::Connected => false,
            Status::Away(_) => true,
            Status::Moving { .. } | Status::Ended => return None,
        };
        // A join that is not answered yet cannot move.
        if !is_valid || is_elsewhere && self.is_joining(state) {
            return None;
        }
        let prepared = if self.has_nothing_to_resume(state, seen) {
            Err(ReplayError::Gone)
        } else {
            state.mailbox.take_over(seen)
        };
        if prepared == Err(ReplayError::Late) {
            return None;
        }
        if prepared.is_err() {
            ownership.status = Status::Ended;
            drop(ownership);
            if was_away {
                self.resumable.record_back();
            } else {
                self.record_closed(state, LeaveReason::Replaced);
                state.mailbox.close();
            }
            self.end_session(state, LeaveReason::TimedOut);
            return None;
        }
        Some((ownership, was_away))
    }

    /// Returns whether a session is in no room and its client has missed nothing. A client that
    /// resumes does not join, but its join may be what was lost with the connection.
    fn has_nothing_to_resume(&self, state: &SessionState, seen: u64) -> bool {
        self.rooms().of(state.id).is_empty() && !state.mailbox.has_sent_since(seen)
    }

    /// Ends away sessions whose time is over, and prunes replay buffers. Must be called a few times
    /// per second.
    pub fn sweep(&self, now: Instant) {
        self.admission.sweep(now, self.timeouts.pending_connection);
        if let Some(limits) = self.resume_limits() {
            self.resumable.away_limit.rotate(now, limits.time, self.open_connections());
        }
        let timers = &self.resumable.timers;
        while let Some(id) = timers.away.pop(now) {
            self.end_if_away_by_id(id, |until| until <= now);
        }
        while let Some(id) = timers.ending.pop(now) {
            self.end_if_away_by_id(id, |_| true);
        }
        while let Some(id) = timers.replay_buffers.pop(now) {
            if self.directory.get(id).is_some_and(|entry| entry.mailbox.prune(now)) {
                timers.start_pruning(id, now);
            }
        }
    }

    /// Shrinks internal maps after a connection spike. Must be called a few times per minute.
    pub fn shrink(&self) {
        self.rooms().shrink();
        self.admission.shrink();
        self.invalid_tokens.shrink(Instant::now());
        self.unknown_nodes.shrink(Instant::now());
        self.directory.shrink();
        self.resumable.shrink();
    }

    /// Ends all away sessions.
    pub(super) fn end_away_sessions(&self) {
        for id in self.resumable.ids() {
            self.end_if_away_by_id(id, |_| true);
        }
    }

    fn end_if_away_by_id(&self, id: ConnectionId, is_over: impl Fn(Instant) -> bool) {
        if let Some(state) = self.resumable.get(id) {
            self.end_if_away(&state, is_over);
        }
    }
}
