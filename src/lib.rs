//! Parlor: the signaling server for WebRTC.
//!
//! Two browsers that want to talk to each other directly must first find each other and exchange offers, answers and
//! ICE candidates. This is where they meet.
//!
//! A message's way through the code, one file a step:
//!
//! 1. [`transport`] takes bytes from a socket and finds the message in them;
//! 2. [`dialect`] decodes it into a [`room::Command`];
//! 3. [`session`] takes that to the rooms on behalf of its connection;
//! 4. [`room`] applies the rules, and says who is to be told what: [`room::Delivery`];
//! 5. [`session`] has each event encoded by the dialect of its recipient, and queues it in that one's outbox;
//! 6. [`transport`] writes it.
//!
//! Around that: [`auth`] says who may do so, [`ice`] where media may meet, [`server`] wires everything, [`config`] reads
//! the settings, [`cluster`] makes several nodes one, [`http`] has the routes, [`tls`] the certificate, [`lifecycle`] the tasks. Who may know whom is told in
//! `ARCHITECTURE.md`, and tested.

pub mod auth;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod dialect;
pub mod health;
pub mod http;
pub(crate) mod ice;
pub mod id;
pub mod json;
pub mod lifecycle;
pub mod metrics;
pub mod record;
pub(crate) mod request;
pub mod room;
pub mod server;
pub mod session;
pub mod sfu;
pub(crate) mod shrink;
pub mod telemetry;
pub mod timeouts;
pub(crate) mod tls;
pub mod token;
pub mod transport;
