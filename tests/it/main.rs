//! The behaviour of a whole server, each in a file: a real one on a free port, and clients that speak the wire.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests panic, spawn and look around")]
#![allow(clippy::large_futures, reason = "a test has no others beside it")]

mod support;

mod activation;
mod architecture;
mod attacks;
mod auth;
mod auth_keys;
mod client_ids;
mod cluster;
mod cluster_sim;
mod connections;
mod containment;
mod conversations;
mod corpus;
mod docs;
mod drain;
mod drops;
mod fanout;
mod history_model;
mod ice;
mod language;
mod last_words;
mod limits;
mod message_log;
mod messages;
mod metrics;
mod order;
mod origins;
mod plain_wires;
mod program;
mod record;
mod recovery;
mod rest;
mod rooms;
mod rooms_model;
mod session_wire;
mod sfu;
mod sfu_addresses;
mod sfu_bounds;
mod sfu_formats;
mod sfu_hostile;
mod sfu_limits;
mod sfu_metrics;
mod sfu_network;
mod sfu_panics;
mod sfu_recovery;
mod sfu_requests;
mod sfu_wire;
mod socketio_decode;
mod socketio_frames;
mod socketio_packets;
mod socketio_profiles;
mod socketio_protocol;
mod tls;
mod wires;
