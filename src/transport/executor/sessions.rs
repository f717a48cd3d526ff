//! Opens, resumes and ends the sessions of a connection, one for each channel of its conversation.

use std::sync::Arc;
use std::time::SystemTime;

use super::waiting::Resuming;
use super::{ChannelSession, End, Executor};
use crate::auth::{Denial, Grant};
use crate::dialect::{Connected, Frame, Step};
use crate::id::ConnectionId;
use crate::room::LeaveReason;
use crate::session::{Mailbox, Outgoing, QueueFull, ResumeToken, Sink};

/// The client tries again, and reaches another node.
pub(super) const ELSEWHERE: End = End::closing(1012, "SHUTTING_DOWN");

/// Other connections of the client have claimed its session again and again. The client tries again.
pub(super) const CLAIMED_ELSEWHERE: End = End::closing(1012, "SESSION_MOVED");

/// Maximum number of invalid tokens on one connection.
const MAX_DENIED_TOKENS: u8 = 5;

impl Executor {
    /// Creates the mailbox of a session, and its resume token if it can be resumed.
    pub(super) fn new_mailbox(&self, id: ConnectionId) -> (Arc<Mailbox>, Option<ResumeToken>) {
        let framing = self.conversation.framing(id);
        let mailbox = self.hub.mailbox(id, framing, self.sink());
        let resume_token = if mailbox.can_resume() { self.hub.new_resume_token(id) } else { None };
        (mailbox, resume_token)
    }

    /// Opens a session in the current channel.
    pub(super) fn begin(
        &mut self,
        mailbox: Arc<Mailbox>,
        id: ConnectionId,
        resume_token: Option<ResumeToken>,
        grant: Option<Grant>,
    ) {
        let dialect = self.conversation.dialect();
        let session = self.hub.open(
            id,
            dialect,
            Arc::clone(&mailbox),
            resume_token,
            Some(Arc::clone(&self.permit)),
        );
        if let Some(grant) = grant {
            session.accept(grant).expect("a new session accepts any grant");
        }
        self.set_session(ChannelSession { session, mailbox, dialect });
    }

    fn set_session(&mut self, opened: ChannelSession) {
        let channel = self.conversation.channel();
        while self.sessions.len() <= channel {
            self.sessions.reserve_exact(1);
            self.sessions.push(None);
        }
        self.sessions[channel] = Some(opened);
    }

    /// Opens or resumes a session in the current channel, and confirms it before any other frame of
    /// the session.
    pub(super) fn connect(
        &mut self,
        token: Option<&str>,
        resume: Option<(String, u64)>,
    ) -> Result<(), End> {
        let grant = match self.hub.identify(self.permit.address(), token) {
            Ok(grant) => grant,
            // A rate-limited client reconnects by itself after a lost transport, but would treat a
            // refusal as final.
            Err(denial @ Denial::TooManyInvalid) => {
                self.record_denial(denial);
                return Err(End::closing(1008, "RATE_LIMITED"));
            }
            Err(denial) => {
                self.record_denial(denial);
                let refusal = self.conversation.connected(Err(denial));
                self.answer(refusal)?;
                self.denied_tokens += 1;
                // Limits the signatures that one connection makes the server verify.
                return if self.denied_tokens >= MAX_DENIED_TOKENS {
                    Err(End::closing(1008, "UNAUTHORIZED"))
                } else {
                    Ok(())
                };
            }
        };
        if !self.permit.connect() {
            // Evicted in the meantime.
            return Err(End::KICKED);
        }
        let resume = resume
            .and_then(|(resume_token, seen)| Some((ResumeToken::parse(&resume_token)?, seen)));
        let Some((token, seen)) = resume else { return self.open_new(grant) };
        if self.hub.resumes_elsewhere() {
            return Err(ELSEWHERE);
        }
        let resuming = Resuming { is_connect: true, grant, token, seen, claims: 1 };
        if self.claim(resuming.clone()) {
            return Ok(());
        }
        self.resume_or_open(resuming)
    }

    /// Opens a session in the current channel.
    fn open_new(&mut self, grant: Option<Grant>) -> Result<(), End> {
        self.permit.settle();
        let id = if self.has_used_id { ConnectionId::random() } else { self.id };
        self.has_used_id = true;
        let (mailbox, resume_token) = self.new_mailbox(id);
        self.confirm(id, resume_token.as_ref(), &mailbox)?;
        self.begin(mailbox, id, resume_token, grant);
        Ok(())
    }

    /// Resumes a session of this node in the current channel, or opens one.
    pub(super) fn resume_or_open(&mut self, resuming: Resuming) -> Result<(), End> {
        let Resuming { grant, token: used, seen, .. } = &resuming;
        let subject = grant.as_ref().map(|grant| &grant.subject);
        let resumed = self.hub.resume(used, *seen, subject, Some(&self.permit));
        let Some((session, mailbox)) = resumed else {
            return match self.follow(&resuming) {
                Some(followed) => followed,
                None => self.open_new(resuming.grant),
            };
        };
        let Resuming { grant, token: used, seen, .. } = resuming;
        if let Some(grant) = grant {
            session.accept(grant).expect("only the session's own subject resumes it");
        }
        let id = session.id();
        let token = session.token();
        let has_moved = self.has_moved(&used) || token.as_ref().is_some_and(|t| self.has_moved(t));
        let resume_token = if has_moved { session.renew_token(&used) } else { token };
        if resume_token.is_none() {
            // A newer connection has resumed the session in the meantime. Without a token the client
            // could not resume it again.
            return Err(CLAIMED_ELSEWHERE);
        }
        let confirmed = self.confirm(id, resume_token.as_ref(), &mailbox);
        let attached = session.while_held(|| {
            mailbox.attach(&self.sink(), None, seen, None)?;
            // The client's pong confirms that it has the new resume token.
            if has_moved { self.queue.push(Outgoing::Ping, true) } else { Ok(()) }
        });
        let dialect = self.conversation.dialect();
        self.set_session(ChannelSession { session, mailbox, dialect });
        confirmed?;
        match attached {
            Some(Ok(())) => Ok(()),
            Some(Err(QueueFull)) => Err(End::closing(1008, "missed frames exceed the send queue")),
            // A newer connection has resumed the session in the meantime.
            None => Err(End::KICKED),
        }
    }

    fn record_denial(&self, denial: Denial) {
        self.hub.metrics().error(denial.code());
        self.hub.log_refused_handshake("token", denial.code(), self.origin.as_deref());
    }

    fn confirm(
        &mut self,
        connection: ConnectionId,
        resume_token: Option<&ResumeToken>,
        mailbox: &Mailbox,
    ) -> Result<(), End> {
        let (resume_token, framing) = (resume_token.map(ResumeToken::expose), mailbox.framing());
        let reply = self.conversation.connected(Ok(Connected {
            connection,
            resume_token: resume_token.as_deref(),
            framing,
        }));
        self.answer(reply)
    }

    pub(super) fn disconnect(&mut self) {
        let (channel, reason) = (self.conversation.channel(), self.reason_of_client());
        if let Some(open) = self.sessions.get_mut(channel).and_then(Option::take) {
            open.session.end(reason);
        }
    }

    /// Resumes the session of a lost connection if the client has its resume token and the replay
    /// buffer still holds all frames that it missed.
    pub(super) fn resume(&mut self, resume_token: &str, seen: u64) -> Option<Step> {
        let (own, grant) =
            self.current_session().map(|open| (open.session.id(), open.session.grant()))?;
        // A client cannot resume the session that it is in.
        let Some(resume_token) =
            ResumeToken::parse(resume_token).filter(|resume_token| resume_token.id() != own)
        else {
            return Some(Step::Tell(self.conversation.resumed(None, SystemTime::now())));
        };
        if self.hub.resumes_elsewhere() {
            return Some(Step::Tell(Frame::Close(1012, "SHUTTING_DOWN")));
        }
        let (grant, token) = (grant.as_deref().cloned(), resume_token);
        let resuming = Resuming { is_connect: false, grant, token, seen, claims: 1 };
        if self.claim(resuming.clone()) {
            return None;
        }
        self.resume_here(&resuming)
    }

    /// Resumes a session of this node.
    pub(super) fn resume_here(&mut self, resuming: &Resuming) -> Option<Step> {
        let (used, seen, now) = (&resuming.token, resuming.seen, SystemTime::now());
        let grant = self.current_session().map(|open| open.session.grant())?;
        let subject = grant.as_ref().map(|grant| &grant.subject);
        let Some((session, mailbox)) = self.hub.resume(used, seen, subject, Some(&self.permit))
        else {
            return match self.follow(resuming).map(|followed| followed.map_err(|end| end.close)) {
                Some(Err(Some((code, why)))) => Some(Step::Tell(Frame::Close(code, why))),
                Some(_) => None,
                None => Some(Step::Tell(self.conversation.resumed(None, now))),
            };
        };
        // The grant of the new connection's token replaces the old one.
        if let Some(grant) = grant {
            session
                .accept(Grant::clone(&grant))
                .expect("only the session's own subject resumes it");
        }
        // Each resume token works once.
        let Some(resume_token) = session.renew_token(used) else {
            // A newer connection has resumed the session in the meantime.
            return CLAIMED_ELSEWHERE.close.map(|(code, why)| Step::Tell(Frame::Close(code, why)));
        };
        let resume_token = resume_token.expose();
        self.conversation.keep(Some(resume_token.clone()));
        let dialect = self.conversation.current_dialect();
        session.set_dialect(dialect);
        let greeting = match self.conversation.resumed(Some(session.id()), now) {
            Frame::Text(greeting) => greeting,
            Frame::WithToken(greeting) => greeting.text(),
            Frame::WithAttachments(..) | Frame::Several(_) | Frame::Close(..) => return None,
        };
        let attached = mailbox.attach(&self.sink(), Some(greeting), seen, Some(&resume_token));
        // The client's pong confirms that it has the new resume token.
        let attached = attached.and_then(|()| self.queue.push(Outgoing::Ping, true));
        let channel = self.conversation.channel();
        // The session that this connection opened is in no room, or leaves it.
        if let Some(open) = self.sessions.get_mut(channel).and_then(Option::take) {
            open.session.end(LeaveReason::Disconnected);
        }
        self.set_session(ChannelSession { session, mailbox, dialect });
        match attached {
            Ok(()) => None,
            Err(QueueFull) => {
                Some(Step::Tell(Frame::Close(1008, "missed frames exceed the send queue")))
            }
        }
    }
}
