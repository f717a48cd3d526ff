//! Between the library's handlers and the session.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::ready;
use std::sync::Arc;
use std::time::SystemTime;

use socketioxide::handler::{ConnectMiddleware, MessageHandler, Value};
use socketioxide::socket::{DisconnectReason, Sid, Socket};
use tracing::{debug, warn};

use super::Protocol;
use super::link::Link;
use super::wire::Wire;
use crate::dialect::json::{self, Members};
use crate::dialect::socketio::{Request, decode, encode, session_id};
use crate::dialect::{DecodeError, Failure, RequestError};
use crate::id::RoomId;
use crate::metrics::{Kind, Limit};
use crate::room::{Answer, Code, LeaveReason, Snapshot};
use crate::session::{Excess, Handled, Moment, ResumeKey, Session};

/// Lets connections in, and registers for their events.
///
/// A middleware rather than the connect handler: CONNECT is answered in between, and a fast client's first events would
/// find nobody listening.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accept;

/// Tells our implementations of the library's traits from those it has for functions.
pub(super) struct Inline;

impl ConnectMiddleware<Wire, Inline> for Accept {
    async fn call<'a>(
        &'a self,
        socket: Arc<Socket<Wire>>,
        auth: &'a Option<Value>,
    ) -> Result<(), Box<dyn Display + Send>> {
        let Some(link) = socket.req_parts().extensions.get::<Arc<Link>>().cloned() else {
            return Err(Box::new("INTERNAL: internal error"));
        };
        let grant = match link.identify(auth.as_ref()) {
            Ok(grant) => grant,
            Err(denial) => {
                link.inner().hub.metrics().error(denial.code());
                return Err(Box::new(format!("{}: {denial}", denial.code().as_str())));
            }
        };
        let Credentials { pid, offset } = Credentials::read(auth.as_ref());
        if !link.open(grant, pid.as_deref().and_then(ResumeKey::parse).as_ref(), offset.as_deref()) {
            return Err(Box::new("this connection has ended"));
        }
        socket.on_fallback(Events(Arc::clone(&link)));
        socket.on_disconnect(move |reason: DisconnectReason| {
            match reason {
                _ if link.is_closed() => link.end(LeaveReason::Kicked),
                DisconnectReason::HeartbeatTimeout => link.lose(LeaveReason::TimedOut),
                // A client that gives up its transport, since a poll has failed or a heartbeat was missed, closes it, and
                // comes back. One that goes for good leaves the namespace first, or says so as the seam reads it.
                DisconnectReason::TransportClose
                | DisconnectReason::TransportError
                | DisconnectReason::MultipleHttpPollingError => link.lose(LeaveReason::Disconnected),
                DisconnectReason::ServerNSDisconnect => link.end(LeaveReason::Kicked),
                DisconnectReason::PacketParsingError
                | DisconnectReason::ClientNSDisconnect
                | DisconnectReason::ClosingServer => link.end(LeaveReason::Disconnected),
            }
            // A client that left the namespace has nothing more to say here: one connection is one session.
            link.close_at_once();
            ready(())
        });
        Ok(())
    }
}

/// What a client brings in its CONNECT packet.
#[derive(Default)]
struct Credentials {
    /// The key of the place that it had, from the CONNECT reply of its connection before.
    pid: Option<String>,
    /// The offset of the last event that it has seen.
    offset: Option<String>,
}

impl Credentials {
    /// What cannot be read is as good as nothing: pages put there what they like.
    fn read(auth: Option<&Value>) -> Self {
        let Some(Value::Str(text, _)) = auth else { return Self::default() };
        let members: Option<Members<'_>> = serde_json::from_str(text).ok();
        let text = |key| Some(json::string(members.as_ref()?.get(key)?)?.into_owned());
        Self { pid: text("pid"), offset: text("offset") }
    }
}

/// CONNECT has been answered.
pub(super) fn connected(socket: &Socket<Wire>) {
    if let Some(link) = socket.req_parts().extensions.get::<Arc<Link>>() {
        link.attach(socket.id);
    }
}

/// Handles the events of one connection, each to its end before the next.
struct Events(Arc<Link>);

impl MessageHandler<Wire, Inline> for Events {
    fn call(&self, socket: Arc<Socket<Wire>>, value: Value, ack: Option<i64>) {
        let Self(link) = self;
        // A panic here would kill the library's reader and leave the connection half alive.
        let handled = link.inner().hub.contain(link.id(), || handle(link, socket.id, &value, ack));
        if handled.is_none() {
            link.end(LeaveReason::Kicked);
            link.close();
        }
    }
}

fn handle(link: &Link, sid: Sid, value: &Value, ack: Option<i64>) {
    let (Some(session), Value::Str(text, attachments)) = (link.session(), value) else {
        return;
    };
    let received = Moment::now();
    let text = match link.protocol() {
        // Its client knows no other id of itself, and nobody else may know this one.
        Protocol::V3 => session_id::replace(text.as_str(), sid.as_str(), link.id()),
        Protocol::V4 => Cow::Borrowed(text.as_str()),
    };
    let text = &*text;
    let admitted = link.inbound().limiter().admit();
    let Some(request) = Request::read(text) else {
        if let Some(token) = decode::renewal(text) {
            renew(link, session, sid, ack, admitted.map_err(rate_limited).and_then(|()| Ok(token?)));
            return close_flood(link, admitted);
        }
        ignore(link, session, sid, ack, admitted);
        return;
    };
    let max = link.inner().settings.max_message_bytes;
    let Handled { result, congested, welcome_bytes, .. } = if let Err(excess) = admitted {
        session.received(Kind::Refused);
        Handled::refused(rate_limited(excess))
    } else if text.len() > max {
        refuse(session, DecodeError::TooLarge { max })
    } else if attachments.as_ref().is_some_and(|attachments| !attachments.is_empty()) {
        refuse(session, DecodeError::Binary)
    } else {
        carry_out(session, received, &request)
    };
    link.inbound().limiter().charge(welcome_bytes);
    if let Some(backlog) = congested {
        link.pause(backlog);
    }
    match &result {
        Ok(done) => {
            if let Some(ack) = ack {
                let frame = match done {
                    Answer::Joined(snapshot) => encode::ack_joined(snapshot, ice_servers(session, snapshot).as_deref()),
                    Answer::Inspected(_) | Answer::Left | Answer::Relayed => encode::ack(),
                };
                answer(link, frame, |frame| link.wire().ack(sid, ack, frame));
            }
        }
        Err(error) => {
            session.refused(error);
            let room = request.room();
            tell_error(link, sid, ack, &Failure::from(error), Some(request.event.name()), room.as_ref());
        }
    }
    close_flood(link, admitted);
}

fn close_flood(link: &Link, admitted: Result<(), Excess>) {
    if let Err(Excess::Flood(_)) = admitted {
        link.close();
    }
}

/// The event `auth`: a newer token for an open connection.
fn renew(link: &Link, session: &Session, sid: Sid, ack: Option<i64>, token: Result<String, RequestError>) {
    session.received(if token.is_ok() { Kind::Other } else { Kind::Refused });
    match token.and_then(|token| session.authenticate(Some(&token))) {
        Ok(_) => {
            if let Some(ack) = ack {
                answer(link, encode::ack(), |frame| link.wire().ack(sid, ack, frame));
            }
        }
        Err(error) => {
            session.refused(&error);
            tell_error(link, sid, ack, &Failure::from(&error), Some(decode::RENEWAL), None);
        }
    }
}

/// An event that is none of ours: not a word, unless one is asked for.
fn ignore(link: &Link, session: &Session, sid: Sid, ack: Option<i64>, admitted: Result<(), Excess>) {
    session.received(Kind::Unknown);
    debug!(connection = %link.id(), "unknown event ignored");
    if ack.is_some() {
        let failure = match admitted {
            Ok(()) => Failure::new(Code::InvalidMessage, "unknown event"),
            Err(excess) => Failure::from(&rate_limited(excess)),
        };
        link.inner().hub.metrics().error(failure.code);
        tell_error(link, sid, ack, &failure, None, None);
    }
    close_flood(link, admitted);
}

/// An error, as the acknowledgement where one was asked for, else as an event.
fn tell_error(
    link: &Link,
    sid: Sid,
    ack: Option<i64>,
    failure: &Failure<'_>,
    event: Option<&str>,
    room: Option<&RoomId>,
) {
    if let Some(ack) = ack {
        let frame = encode::ack_error(failure);
        answer(link, frame, |frame| link.wire().ack(sid, ack, frame));
    } else {
        let frame = encode::error(failure, event, room);
        answer(link, frame, |frame| link.wire().event(sid, frame));
    }
}

fn rate_limited(excess: Excess) -> RequestError {
    let (Excess::Wait(retry_after) | Excess::Flood(retry_after)) = excess;
    RequestError::RateLimited { retry_after }
}

fn carry_out(session: &Session, received: Moment, request: &Request<'_>) -> Handled {
    match request.command() {
        Ok(command) => session.handle(received, command, |snapshot| {
            let ice_servers = ice_servers(session, snapshot)?;
            Some(encode::room_users(snapshot, Some(&ice_servers)))
        }),
        Err(error) => refuse(session, error),
    }
}

/// What a joiner is told of ICE servers, where there is anything to tell.
fn ice_servers(session: &Session, snapshot: &Snapshot) -> Option<String> {
    Some(session.hub().ice_servers()?.for_peer(&snapshot.me.id, SystemTime::now()))
}

fn refuse(session: &Session, error: DecodeError) -> Handled {
    session.received(Kind::Refused);
    Handled::refused(RequestError::Decode(error))
}

/// Queues an answer. One that finds no place ends the connection: an answer that was asked for is never just missing.
fn answer(link: &Link, frame: String, send: impl FnOnce(String) -> Result<(), crate::session::QueueFull>) {
    link.inbound().limiter().charge(frame.len());
    if link.queue(frame, send).is_err() {
        warn!(connection = %link.id(), "closing: the client does not read its answers");
        link.inner().hub.metrics().limit(Limit::SendQueue);
        link.close();
        return;
    }
    link.pause_for_own_queue();
}
