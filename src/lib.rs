//! Parlor, a signaling server for WebRTC.
//!
//! Browsers that want to connect to each other first exchange session descriptions and ICE
//! candidates. Parlor relays them: clients join a room over Socket.IO, a plain WebSocket protocol
//! or a polling connection, and signals go to the other peers of the room, whatever their protocol.
//! For large rooms it can also forward media, as a selective forwarding unit.
//!
//! A message passes through these modules, one file per step:
//!
//! 1. [`transport`] reads it from a socket;
//! 2. [`dialect`] decodes it into a [`room::Command`];
//! 3. [`session`] applies the command on behalf of its client;
//! 4. [`room`] holds the rules and returns each [`room::Delivery`], an event with its recipients;
//! 5. [`session`] encodes each event in the dialect of its recipient, and queues it;
//! 6. [`transport`] writes it.
//!
//! Further modules: [`server`] assembles everything, [`config`] reads the settings, [`auth`]
//! verifies tokens, [`sfu`] is the media server, [`cluster`] connects several nodes, [`http`] has
//! the routes, and [`lifecycle`] the tasks. `ARCHITECTURE.md` describes how they depend on each
//! other; a test enforces it.

pub mod auth;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod dialect;
pub(crate) mod file_watch;
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
