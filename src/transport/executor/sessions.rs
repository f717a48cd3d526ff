//! The sessions of a connection: opened, resumed and left, each in a channel of its conversation.

use std::sync::Arc;
use std::time::SystemTime;

use super::{End, Executor, Seat};
use crate::auth::{Denial, Grant};
use crate::dialect::{Connected, Frame, Step};
use crate::id::ConnectionId;
use crate::room::LeaveReason;
use crate::session::{Mailbox, Outgoing, QueueFull, ResumeKey, Sink};

/// The most tokens that one connection may try in vain.
const MAX_DENIALS: u8 = 5;

impl Executor {
    /// A mailbox for a session with this id, and the secret with which that session may be resumed.
    pub(super) fn new_mailbox(&self, id: ConnectionId) -> (Arc<Mailbox>, Option<ResumeKey>) {
        let framing = self.conversation.framing(id);
        let mailbox = self.hub.mailbox(id, framing, self.sink());
        let key = if mailbox.can_resume() { self.hub.resume_key(id) } else { None };
        (mailbox, key)
    }

    /// Opens a session in the current channel.
    pub(super) fn begin(
        &mut self,
        mailbox: Arc<Mailbox>,
        id: ConnectionId,
        key: Option<ResumeKey>,
        grant: Option<Grant>,
    ) {
        let dialect = self.conversation.dialect();
        let session = self.hub.open(id, dialect, Arc::clone(&mailbox), key, Some(Arc::clone(&self.permit)));
        if let Some(grant) = grant {
            session.accept(grant).expect("the first grant belongs to nobody else");
        }
        self.sit(Seat { session, mailbox, speaks: dialect });
    }

    fn sit(&mut self, seat: Seat) {
        let channel = self.conversation.channel();
        while self.seats.len() <= channel {
            self.seats.reserve_exact(1);
            self.seats.push(None);
        }
        self.seats[channel] = Some(seat);
    }

    /// Opens a session in the current channel, or resumes one, and confirms that before anything else is sent in it.
    pub(super) fn connect(&mut self, token: Option<&str>, resume: Option<(String, u64)>) -> Result<(), End> {
        let grant = match self.hub.identify(self.permit.address(), token) {
            Ok(grant) => grant,
            // A client whose address has to wait comes back by itself after a lost transport; a refusal would be final
            // to it.
            Err(denial @ Denial::TooManyInvalid) => {
                self.note_refused(denial);
                return Err(End::told(1008, "RATE_LIMITED"));
            }
            Err(denial) => {
                self.note_refused(denial);
                let refusal = self.conversation.connected(Err(denial));
                self.answer(refusal)?;
                self.denials += 1;
                // Each costs a signature.
                return if self.denials >= MAX_DENIALS { Err(End::told(1008, "UNAUTHORIZED")) } else { Ok(()) };
            }
        };
        if !self.permit.connect() {
            // Evicted.
            return Err(End::KICKED);
        }
        let subject = grant.as_ref().map(|grant| &grant.subject);
        let resumed = resume.and_then(|(key, seen)| {
            let (session, mailbox) = self.hub.resume(&ResumeKey::parse(&key)?, seen, subject, Some(&self.permit))?;
            Some((session, mailbox, seen))
        });
        let Some((session, mailbox, seen)) = resumed else {
            self.permit.settle();
            let id = if self.has_used_id { ConnectionId::random() } else { self.id };
            self.has_used_id = true;
            let (mailbox, key) = self.new_mailbox(id);
            self.confirm(id, key.as_ref(), &mailbox)?;
            self.begin(mailbox, id, key, grant);
            return Ok(());
        };
        if let Some(grant) = grant {
            session.accept(grant).expect("a session is resumed by its own subject");
        }
        let (id, key) = (session.id(), session.key());
        let confirmed = self.confirm(id, key.as_ref(), &mailbox);
        let attached = session.while_held(|| mailbox.attach(&self.sink(), None, seen, None));
        let speaks = self.conversation.dialect();
        self.sit(Seat { session, mailbox, speaks });
        confirmed?;
        match attached {
            Some(Ok(())) => Ok(()),
            Some(Err(QueueFull)) => Err(End::told(1008, "what was missed does not fit the send queue")),
            // A newer connection has resumed it since.
            None => Err(End::KICKED),
        }
    }

    fn note_refused(&self, denial: Denial) {
        self.hub.metrics().error(denial.code());
        self.hub.note_refused_handshake("token", denial.code(), self.origin.as_deref());
    }

    fn confirm(&mut self, connection: ConnectionId, key: Option<&ResumeKey>, mailbox: &Mailbox) -> Result<(), End> {
        let (key, framing) = (key.map(ResumeKey::expose), mailbox.framing());
        let reply = self.conversation.connected(Ok(Connected { connection, key: key.as_deref(), framing }));
        self.answer(reply)
    }

    pub(super) fn disconnect(&mut self) {
        let channel = self.conversation.channel();
        if let Some(seat) = self.seats.get_mut(channel).and_then(Option::take) {
            seat.session.end(LeaveReason::Disconnected);
        }
    }

    /// Resumes the session of a connection that was lost, if the client knows its key and missed nothing that is not kept.
    pub(super) fn resume(&mut self, key: &str, seen: u64) -> Option<Step> {
        let now = SystemTime::now();
        let (own, grant) = self.seat().map(|seat| (seat.session.id(), seat.session.grant()))?;
        let subject = grant.as_ref().map(|grant| &grant.subject);
        // A client does not resume the session that it is in.
        let key = ResumeKey::parse(key).filter(|key| key.id() != own);
        let resumed = key.and_then(|key| Some((self.hub.resume(&key, seen, subject, Some(&self.permit))?, key)));
        let Some(((session, mailbox), used)) = resumed else {
            return Some(Step::Tell(self.conversation.resumed(None, now)));
        };
        // From here on it is there by the token that it came back with.
        if let Some(grant) = grant {
            session.accept(Grant::clone(&grant)).expect("a session is resumed by its own subject");
        }
        // The key works once.
        let key = session.renew_key(used).map(|key| key.expose());
        self.conversation.keep(key.clone());
        let speaks = self.conversation.speaks();
        session.speak(speaks);
        let greeting = match self.conversation.resumed(Some(session.id()), now) {
            Frame::Text(greeting) => greeting,
            Frame::WithToken(greeting) => greeting.text(),
            Frame::WithAttachments(..) | Frame::Several(_) | Frame::Close(..) => return None,
        };
        let attached = mailbox.attach(&self.sink(), Some(greeting), seen, key.as_deref());
        // Its answer says that the client has its new key.
        let attached = attached.and_then(|()| self.queue.push(Outgoing::Ping, true));
        let channel = self.conversation.channel();
        // The session that this connection began with is in no room, or leaves it.
        if let Some(seat) = self.seats.get_mut(channel).and_then(Option::take) {
            seat.session.end(LeaveReason::Disconnected);
        }
        self.sit(Seat { session, mailbox, speaks });
        match attached {
            Ok(()) => None,
            Err(QueueFull) => Some(Step::Tell(Frame::Close(1008, "what was missed is too much"))),
        }
    }
}
