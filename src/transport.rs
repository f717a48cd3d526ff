//! What carries bytes: the listener, and for each kind of client the code between its socket and its session.

pub mod bind;
mod executor;
mod frames;
mod handshake;
mod head_timer;
mod http2;
pub mod listener;
mod metered;
mod polling;
pub mod queue;
mod read_ahead;
mod response_body;
pub mod socketio;
pub mod stream;
pub mod tcp;
mod throttle;
mod tls_handshake;
pub mod websocket;
mod write_through;
