//! What carries bytes: the listener, and for each kind of client the code between its socket and its session.

pub mod listener;
pub mod socketio;
