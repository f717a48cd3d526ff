//! What carries bytes: the listener, and for each kind of client the code between its socket and its session.

mod handshake;
mod http2;
pub mod listener;
mod read_ahead;
pub mod socketio;
pub mod stream;
pub mod websocket;
