//! Integration tests of the whole server, one file per behaviour: a real server on a free port,
//! with real clients.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests panic, spawn and look around"
)]
#![allow(clippy::large_futures, reason = "a test has no others beside it")]

mod support;

mod activation;
mod architecture;
mod assets;
mod attacks;
mod auth;
mod auth_keys;
mod client_ids;
mod cluster;
mod cluster_congestion;
mod cluster_engines;
mod cluster_faults;
mod cluster_hops;
mod cluster_media;
mod cluster_media_faults;
mod cluster_moves;
mod cluster_network;
mod cluster_nodes;
mod cluster_races;
mod cluster_rest;
mod cluster_sim;
mod cluster_timeouts;
mod cluster_unknown_nodes;
mod cluster_versions;
mod connections;
mod containment;
mod conversations;
mod corpus;
mod docs;
mod drain;
mod drops;
mod fanout;
mod ice;
mod language;
mod last_words;
mod limits;
mod manifests;
mod message_log;
mod messages;
mod metrics;
mod order;
mod origins;
mod program;
mod protocols;
mod record;
mod recovery;
mod replay_buffer_model;
mod rest;
mod rooms;
mod rooms_model;
mod sfu;
mod sfu_addresses;
mod sfu_bounds;
mod sfu_congestion;
mod sfu_formats;
mod sfu_hostile;
mod sfu_idle;
mod sfu_limits;
mod sfu_metrics;
mod sfu_network;
mod sfu_panics;
mod sfu_protocol;
mod sfu_recovery;
mod sfu_requests;
mod signal_protocol;
mod socketio_decode;
mod socketio_frames;
mod socketio_packets;
mod socketio_profiles;
mod socketio_protocol;
mod tls;
mod websocket_protocols;
