//! What carries bytes: the listener, and for each kind of client the code between its socket and its session.

mod executor;
mod frames;
mod handshake;
mod http2;
pub mod listener;
mod metered;
mod polling;
pub mod queue;
mod read_ahead;
pub mod socketio;
pub mod stream;
pub mod tcp;
mod throttle;
pub mod websocket;
