//! Network transports: the listener, TLS, HTTP, WebSocket and long-polling, up to the session of a
//! client.
//!
//! - [`listener`] accepts connections, and serves HTTP over them, with TLS if there is a
//!   certificate;
//! - [`websocket`] runs the loop of one WebSocket, for all protocols; [`polling`] serves
//!   long-polling;
//! - [`socketio`] has the handshakes of Socket.IO, and its upgrade from polling to WebSocket;
//! - [`executor`] executes the steps of a client's conversation, on either transport;
//! - [`queue`] is the send queue of a connection, which survives an upgrade.

pub mod bind;
mod executor;
mod frames;
mod handshake;
mod head_timer;
pub(crate) mod hop;
mod http2;
pub(crate) mod listener;
mod message_log;
mod metered;
mod polling;
pub(crate) mod queue;
mod read_ahead;
mod response_body;
pub(crate) mod socketio;
pub(crate) mod stream;
pub(crate) mod tcp;
mod throttle;
mod tls_handshake;
pub(crate) mod websocket;
mod write_through;
