//! Session moves: a client resumes on this node a session that another node has, or the other way
//! round.
//!
//! 1. [`Hub::claim`] asks the other node for the session. There, [`Hub::check_out`](super::Hub)
//!    detaches it from its connection, whose client receives nothing more on it, and
//!    [`Hub::release_session`] writes it for the claiming node.
//! 2. [`Hub::restore`] makes an away session of that. The events that the client has missed follow,
//!    and go into the replay buffer.
//! 3. The client then resumes the session as any other of this node.
//!
//! Invariant: nothing is delivered to a session after it was serialized. [`Rooms::moved_away`]
//! waits for deliveries in progress, and later ones do not find the session.
//!
//! [`Rooms::moved_away`]: crate::room::Rooms::moved_away

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::info;

use super::directory::Entry;
use super::hub::Hub;
use super::mailbox::Mailbox;
use super::moved::{Reader, Writer};
use super::pending_claim::{Claimant, PendingClaim};
use super::resume_token::{ResumeToken, Tokens};
use super::resumption::Resumption;
use super::state::{SessionState, Status};
use crate::cluster::Released;
use crate::id::{ConnectionId, PeerId};
use crate::metrics::Limit;
use crate::room::LeaveReason;

/// A claim as it travels to the node that has the session.
struct ClaimRequest<'a> {
    token: ResumeToken,
    seen: u64,
    dialect: &'a str,
    subject: Option<PeerId>,
}

impl<'a> ClaimRequest<'a> {
    fn write(client: &Claimant) -> Bytes {
        let mut writer = Writer::default();
        writer
            .bytes(client.token.secret())
            .number(client.seen)
            .bytes(client.dialect.name.as_bytes());
        let subject = client.grant.as_ref().map(|grant| grant.subject.as_str());
        writer.number(u64::from(subject.is_some())).bytes(subject.unwrap_or_default().as_bytes());
        writer.finish()
    }

    fn read(connection: ConnectionId, request: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(request);
        let token = ResumeToken::from_secret(connection, reader.bytes()?)?;
        let (seen, dialect) = (reader.number()?, reader.text()?);
        let (has_subject, subject) = (reader.number()? != 0, reader.text()?);
        let subject = if has_subject { Some(PeerId::exact(subject).ok()?) } else { None };
        Some(Self { token, seen, dialect, subject })
    }
}

impl Hub {
    /// Returns whether this node has the session of a token, connected or away.
    fn has_session(&self, token: &ResumeToken) -> bool {
        let is_leaving = |state: Arc<SessionState>| {
            matches!(state.ownership.lock().status, Status::Moving { .. })
        };
        self.resumable.get(token.id()).is_some_and(|state| !is_leaving(state))
    }

    /// Returns whether the session of a token has moved on from this node.
    pub fn has_moved_on(&self, token: &ResumeToken) -> bool {
        !self.has_session(token)
            && self.cluster().is_some_and(|cluster| cluster.has_moved_on(token.id()))
    }

    /// Returns whether a resume token names another node than this one, or an earlier life of it.
    pub fn is_foreign(&self, token: &ResumeToken) -> bool {
        token.node() != self.cluster().map(|cluster| cluster.token_of(token.id()))
    }

    /// Asks another node for the session of a resume token, which names it, or has had the session
    /// itself before. Completes when the session is here or lost; [`Hub::resume`] tells which. Resolves
    /// with a value if other connections of the client claim it again and again.
    /// Returns `None` if there is no node to ask.
    pub fn claim(&self, client: Claimant) -> Option<oneshot::Receiver<()>> {
        let (cluster, id) = (self.cluster()?, client.token.id());
        let node = client.token.node()?;
        self.resume_limits()?;
        if self.has_session(&client.token) || self.is_draining() {
            return None;
        }
        let request = ClaimRequest::write(&client);
        let (sender, answered) = oneshot::channel();
        match self.claims.entry(id) {
            // A former connection of the client has claimed it.
            dashmap::Entry::Occupied(mut pending) => {
                pending.get_mut().answers.push(sender);
                return Some(answered);
            }
            dashmap::Entry::Vacant(vacant) => {
                vacant.insert(PendingClaim { client: Some(client), answers: vec![sender] });
            }
        }
        if !cluster.claim(id, node, request) {
            self.claims.remove(&id);
            return None;
        }
        Some(answered)
    }

    /// Takes a session from its connection for a client that resumes it on another node. Returns
    /// `false` if that may not.
    pub(super) fn grant_claim(&self, connection: ConnectionId, request: &[u8]) -> bool {
        let Some(ClaimRequest { token, seen, dialect, subject }) =
            ClaimRequest::read(connection, request)
        else {
            return false;
        };
        let state = self.resumable.get(connection).filter(|state| state.dialect.name == dialect);
        let Some(state) = state else { return false };
        let resumption =
            Resumption { token: &token, seen, subject: subject.as_ref(), is_elsewhere: true };
        let Some((mut ownership, was_away)) = self.check_out(&state, &resumption) else {
            return false;
        };
        ownership.generation += 1;
        ownership.closer = None;
        ownership.status = Status::Moving { seen };
        let permit = state.permit.lock().take();
        if was_away {
            self.resumable.record_back();
        } else {
            self.record_closed(&state, LeaveReason::Replaced);
            self.announce(state.id, true);
        }
        drop(ownership);
        // If the connection is still open, its permit counts until it is closed.
        if let Some(permit) = permit.filter(|_| was_away) {
            permit.release();
        }
        true
    }

    /// Takes a session that was claimed out of this node, and writes it for the other.
    pub(super) fn release_session(&self, connection: ConnectionId) -> Option<Released> {
        let state = self.resumable.get(connection)?;
        let (seen, tokens) = {
            let mut ownership = state.ownership.lock();
            let Status::Moving { seen } = ownership.status else { return None };
            ownership.status = Status::Ended;
            (seen, std::mem::take(&mut ownership.tokens))
        };
        self.resumable.remove(connection);
        self.directory.remove(connection);
        if let Some(grant) = state.identity.clear() {
            self.expiries.remove(grant.expires_at, connection);
        }
        // Its media stays where it is.
        let rooms = self.rooms().moved_away(connection);
        let mut writer = Writer::default();
        state.mailbox.release(seen, &mut writer);
        tokens.write(&mut writer);
        Some(Released { session: writer.finish(), rooms })
    }

    /// Makes a session that was claimed and will not be released an away one.
    pub(super) fn keep_claimed(&self, connection: ConnectionId) {
        let Some((state, limits)) = self.resumable.get(connection).zip(self.resume_limits()) else {
            return;
        };
        let mut ownership = state.ownership.lock();
        if matches!(ownership.status, Status::Moving { .. }) {
            let until = Instant::now() + limits.time;
            ownership.status = Status::Away(until);
            self.resumable.record_away();
            self.resumable.timers.away.push(until, connection);
        }
    }

    /// Ends a session that was claimed and will not be released. Returns `false` if it is none.
    pub(super) fn end_claimed(&self, connection: ConnectionId) -> bool {
        let Some(state) = self.resumable.get(connection) else { return false };
        let mut ownership = state.ownership.lock();
        if !matches!(ownership.status, Status::Moving { .. }) {
            return false;
        }
        ownership.status = Status::Ended;
        drop(ownership);
        self.end_session(&state, LeaveReason::Disconnected);
        true
    }

    /// Makes an away session of what another node has released. Returns `None` if no client claims
    /// it, or it cannot be read.
    pub(super) fn restore(&self, connection: ConnectionId, session: &[u8]) -> Option<()> {
        let Claimant { dialect, framing, grant, token, .. } =
            self.claims.get_mut(&connection)?.client.take()?;
        let limits = self.resume_limits()?;
        let timers = Arc::clone(&self.resumable.timers);
        let mut reader = Reader::new(session);
        let mailbox = Mailbox::restored(connection, timers, framing, &mut reader)?;
        let tokens = Tokens::read(connection, token, &mut reader);
        let (metrics, until) = (self.metrics.dialect(dialect.name), Instant::now() + limits.time);
        let state =
            SessionState::new(connection, dialect, metrics, Arc::clone(&mailbox), tokens, None);
        state.has_joined.store(true, std::sync::atomic::Ordering::Relaxed);
        state.ownership.lock().status = Status::Away(until);
        if let Some(grant) = grant {
            self.expiries.insert(grant.expires_at, connection);
            // A session without a grant accepts any.
            _ = state.identity.accept(grant);
        }
        self.rooms().connect(connection);
        self.directory.insert_arriving(connection, Entry { dialect, mailbox });
        self.resumable.record_away();
        self.resumable.timers.away.push(until, connection);
        self.resumable.insert(Arc::new(state));
        info!(%connection, dialect = dialect.name, "session moved here");
        Some(())
    }

    /// Returns whether all nodes may be asked for a session that a client waits for. Made-up resume
    /// tokens must not make each node work.
    pub(super) fn may_search(&self, connection: ConnectionId) -> bool {
        let pending = self.claims.get(&connection);
        let client = pending.as_ref().and_then(|pending| pending.client.as_ref());
        let Some(address) = client.map(|client| client.address) else { return false };
        let now = Instant::now();
        if self.unknown_nodes.wait(address, now).is_some() {
            let notice = "too many resume tokens of unknown nodes from one address, refusing them";
            self.limit_hit(Limit::UnknownNodesPerIp, notice);
            return false;
        }
        self.unknown_nodes.record(address, now);
        true
    }

    /// Tells the client of a claim that it has been decided.
    pub(super) fn decide_claim(&self, connection: ConnectionId) {
        self.claims.remove(&connection);
    }
}
