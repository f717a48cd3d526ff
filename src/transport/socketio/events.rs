//! Between the library's handlers and the session.

use std::fmt::Display;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use socketioxide::handler::{ConnectMiddleware, MessageHandler, Value};
use socketioxide::socket::{DisconnectReason, Sid, Socket};
use tracing::{error, warn};

use super::link::Link;
use super::wire::Wire;
use crate::dialect::socketio::{Request, encode};
use crate::dialect::{DecodeError, RequestError};
use crate::room::{Answer, LeaveReason};
use crate::session::{Handled, Session};

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
        _: &'a Option<Value>,
    ) -> Result<(), Box<dyn Display + Send>> {
        let Some(link) = socket.req_parts().extensions.get::<Arc<Link>>().cloned() else {
            return Err(Box::new("INTERNAL: internal error"));
        };
        if !link.open(socket.id) {
            let draining = link.inner().hub.is_draining();
            let why = if draining { "SHUTTING_DOWN: the server is draining" } else { "this connection has ended" };
            return Err(Box::new(why));
        }
        socket.on_fallback(Events(Arc::clone(&link)));
        socket.on_disconnect(move |reason: DisconnectReason| {
            link.end(leave_reason(reason));
            // A client that left the namespace has nothing more to say here: one connection is one session.
            link.close();
            ready(())
        });
        Ok(())
    }
}

fn leave_reason(reason: DisconnectReason) -> LeaveReason {
    match reason {
        DisconnectReason::HeartbeatTimeout => LeaveReason::TimedOut,
        DisconnectReason::ServerNSDisconnect => LeaveReason::Kicked,
        DisconnectReason::TransportClose
        | DisconnectReason::TransportError
        | DisconnectReason::MultipleHttpPollingError
        | DisconnectReason::PacketParsingError
        | DisconnectReason::ClientNSDisconnect
        | DisconnectReason::ClosingServer => LeaveReason::Disconnected,
    }
}

/// Handles the events of one connection, each to its end before the next.
struct Events(Arc<Link>);

impl MessageHandler<Wire, Inline> for Events {
    fn call(&self, socket: Arc<Socket<Wire>>, value: Value, ack: Option<i64>) {
        let Self(link) = self;
        // A panic here would kill the library's reader and leave the connection half alive.
        let outcome = catch_unwind(AssertUnwindSafe(|| handle(link, socket.id, &value, ack)));
        if outcome.is_err() {
            error!(connection = %link.id, "a defect in the handling of an event; closing the connection");
            link.end(LeaveReason::Kicked);
            link.close();
        }
    }
}

fn handle(link: &Link, sid: Sid, value: &Value, ack: Option<i64>) {
    let (Some(session), Value::Str(text, attachments)) = (link.session(), value) else {
        return;
    };
    let text = text.as_str();
    let Some(request) = Request::read(text) else {
        link.inner().hub.ignore(link.id);
        if let Some(ack) = ack {
            let error = encode::ack_error(crate::room::Code::InvalidMessage, "unknown event");
            answer(link, || link.wire().ack(sid, ack, error));
        }
        return;
    };
    let max = link.inner().settings.max_message_bytes;
    let Handled { result, congested } = if text.len() > max {
        refuse(DecodeError::TooLarge { max })
    } else if attachments.as_ref().is_some_and(|attachments| !attachments.is_empty()) {
        refuse(DecodeError::Binary)
    } else {
        carry_out(session, &request)
    };
    if let Some(backlog) = congested {
        link.pause(backlog);
    }
    match (&result, ack) {
        (Ok(done), Some(ack)) => {
            let frame = match done {
                Answer::Joined(snapshot) => encode::ack_joined(snapshot),
                Answer::Inspected(_) | Answer::Left | Answer::Relayed => encode::ack(),
            };
            answer(link, || link.wire().ack(sid, ack, frame));
        }
        (Ok(_), None) => {}
        (Err(error), Some(ack)) => {
            let frame = encode::ack_error(error.code(), &error.to_string());
            answer(link, || link.wire().ack(sid, ack, frame));
        }
        (Err(error), None) => {
            let (event, room) = (request.event.name(), request.room());
            let frame = encode::error(error.code(), &error.to_string(), Some(event), room.as_ref());
            answer(link, || link.wire().event(sid, frame));
        }
    }
}

fn carry_out(session: &Session, request: &Request<'_>) -> Handled {
    match request.command() {
        Ok(command) => session.handle(command, |_| None),
        Err(error) => refuse(error),
    }
}

fn refuse(error: DecodeError) -> Handled {
    Handled { result: Err(RequestError::Decode(error)), congested: None }
}

/// Queues an answer. One that finds no place ends the connection: an answer that was asked for is never just missing.
fn answer(link: &Link, send: impl FnOnce() -> Result<(), crate::session::QueueFull>) {
    if link.backlog().queue(send).is_err() {
        warn!(connection = %link.id, "closing: the client does not read its answers");
        link.close();
        return;
    }
    link.pause_for_own_queue();
}
