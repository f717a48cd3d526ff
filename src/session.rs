//! The state of one client, whatever its protocol: opened, served, and ended exactly once.
//!
//! - [`Hub::open`] opens a [`Session`] ([`opening`]);
//! - [`Session::handle`] takes a command to the rooms ([`handle`]), and queues its deliveries, in order, in the [`Mailbox`]
//!   of every session that they concern ([`fanout`]);
//! - [`Session::end`] takes the session out of all its rooms. The first end counts. [`Session::lose`] keeps it for a client
//!   whose connection dropped ([`end`]);
//! - [`Hub::resume`] gives it to a new connection ([`resumption`]).
//!
//! The guarantee that is easy to break: deliveries are queued while the room they come from is still locked. What queues
//! them must therefore neither wait nor call back: a [`Sink`] only puts into a queue, or sets a flag.

mod access;
pub mod admission;
mod authentication;
mod away_limit;
pub mod backlog;
mod directory;
pub mod drain;
mod end;
mod expiries;
mod expiry;
mod fanout;
mod handle;
pub mod history;
pub mod hub;
mod identity;
mod invalid_tokens;
pub mod key;
mod mailbox;
mod media;
mod notices;
mod opening;
pub mod rate_limit;
mod refused_handshakes;
mod resumable;
mod resumption;
mod state;
mod timers;

pub use crate::clock::Moment;
pub use access::AccessPolicy;
pub use admission::{Admission, AdmissionError, ConnectionPermit, Evict, Opening, Permit, RequestGuard};
pub use backlog::{Backlog, QueueFull};
pub use handle::{Handled, Session, kind_of};
pub use history::{History, NotHeld, ResumeLimits};
pub use hub::{Hub, Limits};
pub use key::ResumeKey;
pub use mailbox::{Attached, Mailbox, Outgoing, Sink};
pub use media::Answered;
pub use rate_limit::{Excess, MessageRate, RateLimiter};
