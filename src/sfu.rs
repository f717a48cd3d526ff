//! The media server: a selective forwarding unit (SFU; RFC 7667, section 3.7). A peer sends each
//! track once, and the SFU forwards it to every peer that consumes it.
//!
//! - [`state`] is the SFU itself, without sockets, threads or a clock: a [`MediaRequest`] in, a
//!   [`MediaResponse`] out; a datagram in, datagrams and [`Notice`]s out. [`handlers`] carries out
//!   the requests, [`close`] closes transports, producers and consumers, [`stats`] lists the
//!   counters;
//! - [`transport`] is one client's media connection, on str0m; a [`producer`] is a track that it
//!   receives, a [`consumer`] one that it sends; [`output`] collects the datagrams and events of
//!   transports, [`outlet`] is what routers send through;
//! - a [`router`] holds the producers and consumers of one room, and forwards packets from one to
//!   the other; a [`packet`] is what they read, [`payload`] parses its payload, [`rewrite`]
//!   renumbers them;
//! - [`forward`] takes datagrams to transports and packets to routers; [`undeclared`] assigns
//!   streams whose SSRC no producer declared;
//! - [`bandwidth`] chooses simulcast layers, [`congestion`] suspends video with one layer where it
//!   would push audio aside; [`active_speaker`] detects the active speaker;
//! - [`codecs`] lists the supported codecs and header extensions, [`formats`] maps them to the
//!   numbers of one transport, [`parameters`] is their JSON form;
//! - [`admission`] limits the number of transports and the time to connect one; [`token_bucket`]
//!   limits rates; [`srtp`] detects datagrams that were encrypted by their client, [`stun`] reads
//!   the ufrag of a binding request;
//! - [`driver`] runs all of it on a thread with a UDP [`socket`]; [`request_queue`] orders
//!   requests, [`cpu_yield`] shares the core with signaling, [`limit_log`] logs limits that were
//!   hit.
//!
//! The SFU knows neither rooms nor protocols: a room is a name here, and a peer is what
//! [`RoomMember`] says. Its events are typed and encoded by a dialect. No other layer names str0m.
//!
//! Invariant: no input causes a panic. The direct API of str0m panics on streams that were not
//! declared, so everything is checked before the call; any remaining panic ends only the transport
//! that it concerns.

mod active_speaker;
mod admission;
mod bandwidth;
mod close;
mod codecs;
mod congestion;
mod consumer;
mod cpu_yield;
mod driver;
mod formats;
mod forward;
mod handlers;
pub mod id;
mod limit_log;
mod outlet;
mod output;
mod packet;
pub mod parameters;
mod payload;
mod producer;
pub mod request;
mod request_queue;
mod rewrite;
mod router;
mod socket;
mod srtp;
mod state;
mod stats;
mod stun;
mod token_bucket;
mod transport;
mod undeclared;

pub use codecs::capabilities;
pub use driver::{MediaServer, MediaStartError, MediaThread, Reply, Signaling};
pub use forward::PollOutput;
pub use output::Datagram;
pub use request::{
    ConsumerAction, ConsumerInfo, Direction, ErrorScope, MediaEvent, MediaRequest, MediaResponse,
    Notice, NoticeTarget, ProducerAction, ProducerInfo, RoomMember, SfuError, SfuErrorKind,
};
pub use socket::detect_addresses;
pub use state::{CertificateError, Sfu, SfuSettings};
pub use stats::MediaStats;
