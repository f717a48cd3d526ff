//! Support for the integration tests: a server, clients of all kinds, models and properties.

pub(crate) mod any_profile;
pub(crate) mod bystander;
pub(crate) mod client;
pub(crate) mod engine;
pub(crate) mod engine_messages;
pub(crate) mod frames;
pub(crate) mod media;
pub(crate) mod model;
pub(crate) mod outbox;
pub(crate) mod packets;
pub(crate) mod player;
pub(crate) mod polling;
pub(crate) mod program;
pub(crate) mod properties;
pub(crate) mod protocol_peer;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod replay_buffer;
pub(crate) mod resuming_client;
pub(crate) mod scrape;
pub(crate) mod server;
pub(crate) mod stalled;
pub(crate) mod stun;
pub(crate) mod suite;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod traces;

pub(crate) use bystander::{Bystander, attacked};
pub(crate) use client::Client;
pub(crate) use server::TestServer;
