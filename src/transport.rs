//! What carries bytes: the listener, and for each kind of client the code between its socket and its session.

pub mod bind;
mod executor;
mod frames;
mod handshake;
mod head_timer;
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
