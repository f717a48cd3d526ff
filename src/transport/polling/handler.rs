//! Passes events of the long-polling library to the connection that they belong to.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use engineioxide::handler::EngineIoHandler;
use engineioxide::socket::{DisconnectReason, Socket};
use engineioxide::{ProtocolVersion, Str};

use super::session::PollingSession;
use crate::transport::executor::Deferred;

/// Receives the library's events.
#[derive(Debug)]
pub(super) struct Handler;

/// The connection that belongs to one of the library's sessions.
#[derive(Default)]
pub(super) struct Data(OnceLock<Arc<PollingSession>>);

impl EngineIoHandler for Handler {
    type Data = Data;

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<Data>>) {
        if let Some(session) = socket.req_parts.extensions.get::<Arc<PollingSession>>() {
            session.set_socket(&socket);
            // Only set here.
            _ = socket.data.0.set(Arc::clone(session));
        }
    }

    fn on_disconnect(&self, socket: Arc<Socket<Data>>, reason: DisconnectReason) {
        if let Some(session) = socket.data.0.get() {
            session.library_closed(&reason);
        }
    }

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<Socket<Data>>) {
        if let Some(session) = socket.data.0.get() {
            session.receive(|| {
                // The library strips the packet type.
                Deferred::Text(format!("4{message}"))
            });
        }
    }

    fn on_binary(self: &Arc<Self>, data: Bytes, socket: Arc<Socket<Data>>) {
        if let Some(session) = socket.data.0.get() {
            session.receive(|| match socket.protocol {
                // On a WebSocket, the packet type precedes the attachment.
                ProtocolVersion::V3 => Deferred::Binary([&[4], &data[..]].concat().into()),
                ProtocolVersion::V4 => Deferred::Binary(data),
            });
        }
    }
}
