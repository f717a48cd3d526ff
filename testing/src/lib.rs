//! Test clients for Parlor, shared by its integration tests, its soak test and its benchmarks.
//!
//! - [`protocol`]: the messages of the four protocols, as text: what a client sends, and what it
//!   receives;
//! - [`connection`]: a client of any protocol over any transport, which joins rooms and resumes
//!   sessions;
//! - [`transport`], [`polling`]: WebSocket and HTTP long-polling below it;
//! - [`requester`]: an envelope client (`/ws`) that waits for the response to each request;
//! - [`media`]: the client's end of a media transport: ICE, DTLS and SRTP over UDP;
//! - [`frame`]: WebSocket frames and handshakes as bytes, for clients that bypass a WebSocket
//!   library.
//!
//! Everything here returns errors. The integration tests add clients that panic instead.

pub mod connection;
pub mod frame;
pub mod media;
pub mod polling;
pub mod protocol;
pub mod requester;
pub mod transport;
