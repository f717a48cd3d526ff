//! Sessions: the server's state of one client, whatever its protocol. A session is opened, used,
//! and ended exactly once.
//!
//! - [`Hub::open`] opens a [`Session`] ([`opening`]);
//! - [`Session::handle`] applies a command to the rooms ([`handle`]), and queues its deliveries, in
//!   order, in the [`Mailbox`] of every session that they are for ([`fanout`]);
//! - [`Session::end`] removes the session from all its rooms; only the first end has an effect.
//!   [`Session::lose`] keeps the session of a lost connection for its client ([`end`]);
//! - [`Hub::resume`] attaches it to a new connection ([`resumption`]).
//!
//! Invariant: deliveries are queued while the room that they come from is still locked. Queuing
//! must therefore neither wait nor call back into sessions or rooms: a [`Sink`] only pushes to a
//! queue or sets a flag.

mod access;
mod address_limit;
pub mod admission;
mod authentication;
mod away_limit;
mod cluster;
mod congestion;
mod directory;
pub mod drain;
mod end;
mod expiries;
mod expiry;
mod fanout;
mod handle;
pub mod hub;
mod identity;
mod mailbox;
mod media;
mod media_nodes;
mod moved;
mod moving;
mod notices;
mod opening;
mod outgoing;
mod pending_claim;
mod pending_join;
mod pending_media;
pub mod queue_depth;
pub mod rate_limit;
mod refused_handshakes;
pub mod replay_buffer;
mod resumable;
pub mod resume_token;
mod resumption;
mod state;
mod timers;

pub use crate::clock::Moment;
pub use access::AccessPolicy;
pub use admission::{
    Admission, AdmissionError, ConnectionPermit, Evict, Opening, Permit, RequestGuard,
};
pub use cluster::Joining;
pub use handle::{Handled, Session, kind_of};
pub use hub::{Hub, HubLimits};
pub use mailbox::{Mailbox, Sink};
pub use outgoing::{Attached, Outgoing};
pub use pending_claim::Claimant;
pub use pending_media::Answered;
pub use queue_depth::{QueueDepth, QueueFull};
pub use rate_limit::{Excess, MessageRate, RateLimiter};
pub use replay_buffer::{ReplayBuffer, ReplayError, Replayed, ResumeLimits};
pub use resume_token::ResumeToken;
