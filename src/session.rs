//! One connection's life, whatever its wire: let in, served, and ended exactly once.
//!
//! - [`Hub::open`] lets a connection in and gives its [`Session`];
//! - [`Session::handle`] carries a command to the rooms and queues what comes of it, in order, at every connection
//!   that it concerns;
//! - [`Session::end`], or dropping the session, takes the connection out of all its rooms. The first end counts;
//! - [`Session::lose`] keeps its [place] for a connection that comes back: [`Hub::resume`].
//!
//! The guarantee that is easy to break: deliveries are queued while the room they come from is still locked. What
//! queues them must therefore neither wait nor come back here: an [`Outbox`] only puts into a queue, or sets a flag.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use crate::dialect::{DecodeError, Frame, RequestError};
use crate::metrics::{Kind, Limit};
use crate::room::{Answer, Command, RoomError};

mod access;
pub mod admission;
mod away_limit;
pub mod backlog;
pub mod drain;
mod expiry;
pub mod history;
pub mod hub;
mod identity;
mod invalid_tokens;
pub mod key;
mod media;
mod notices;
pub mod place;
pub mod rate_limit;

pub use crate::clock::Moment;
pub use access::AccessPolicy;
pub use admission::{Admission, AdmissionError, ConnectionPermit, Evict, Opening, Permit, RequestGuard};
pub use backlog::Backlog;
pub use history::{History, ResumeLimits};
pub use hub::{Hub, Limits};
pub use key::ResumeKey;
pub use media::Answered;
pub use place::Session;
pub use rate_limit::{Excess, MessageRate, RateLimiter};

/// Where what is told to one connection waits to be written.
pub trait Outbox: Any + Send + Sync {
    /// Puts a frame at the end of the queue, without waiting.
    fn send(&self, frame: Frame) -> Result<(), QueueFull>;

    /// The same for a frame that was accepted when its recipient was not there. There is a place for as many of those
    /// as a session holds.
    fn send_promised(&self, frame: Frame) -> Result<(), QueueFull>;

    /// Asks for the connection to be closed; `true` if nobody has before. Must only ask: rooms may be locked.
    fn close(&self) -> bool;

    /// The queue, where it fills up so that senders should pause.
    fn congestion(&self) -> Option<Arc<Backlog>>;

    /// Whether the queue has stayed full for too long; asked when something found no place in it.
    fn stays_full(&self, now: Instant) -> bool;

    /// Whether the client owes the answer to a heartbeat.
    fn is_overdue(&self) -> bool {
        false
    }

    /// The connection is lost: from here on what is sent is held for the one that takes its place.
    fn detach(&self) {}

    /// Holds what is sent for a connection that is just taking the place, having seen what was sent up to a number, and
    /// asks the one before to close. Does nothing if that connection may not have it.
    fn take_over(&self, _seen: u64) -> Result<(), NotHeld> {
        Err(NotHeld::Gone)
    }

    /// Whether something is held that was sent after a number.
    fn has_sent_since(&self, _seen: u64) -> bool {
        false
    }

    /// Lets go of what is held for too long; whether anything is left.
    fn prune(&self, _now: Instant) -> bool {
        false
    }
}

/// Why what was missed cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// Part of it is not held any more, or never was.
    #[error("not held any more")]
    Gone,
    /// The peer has seen more by now: a connection that it gave up asks for its place, late.
    #[error("the peer has seen more since")]
    Late,
}

/// The frame was not queued, since as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// What came of a request, and whether its sender should pause.
#[derive(Debug)]
pub struct Handled {
    /// What to answer.
    pub result: Result<Answer, RequestError>,
    /// For how many recipients a signal was queued.
    pub reached: usize,
    /// The bytes of the list that a joiner was told, to be [charged](RateLimiter::charge).
    pub welcome_bytes: usize,
    /// A queue that this request found filling up. A transport that can should read no more of the sender until it has
    /// emptied: so a fast sender is slowed to the pace of its peers, and nothing is lost.
    pub congested: Option<Arc<Backlog>>,
}

impl Handled {
    /// Nothing came of it.
    pub fn refused(error: RequestError) -> Self {
        Self { result: Err(error), reached: 0, welcome_bytes: 0, congested: None }
    }
}

fn kind_of(command: &Command) -> Kind {
    match command {
        Command::Join { .. } => Kind::Join,
        Command::Inspect { .. } => Kind::Inspect,
        Command::Leave { .. } => Kind::Leave,
        Command::HangUp { .. } => Kind::HangUp,
        Command::Relay { signal, .. } => Kind::Signal(signal.kind),
    }
}

/// The limit that a request was refused by, if it was one.
fn limit_of(error: &RequestError) -> Option<Limit> {
    match error {
        RequestError::Decode(DecodeError::TooLarge { .. }) => Some(Limit::MessageBytes),
        RequestError::Room(RoomError::RoomFull { .. }) => Some(Limit::RoomSize),
        RequestError::Room(RoomError::SessionQueueFull) => Some(Limit::SessionQueue),
        RequestError::Room(RoomError::TooManyRooms { .. }) => Some(Limit::Rooms),
        RequestError::Room(RoomError::TooManyRoomsPerConnection { .. }) => Some(Limit::RoomsPerConnection),
        RequestError::Room(RoomError::ProfileTooLarge { .. }) => Some(Limit::MetadataBytes),
        // Counted where they arise, or no limits.
        RequestError::Decode(_)
        | RequestError::Room(_)
        | RequestError::DeliveryFailed { .. }
        | RequestError::RateLimited { .. }
        | RequestError::Media(_)
        | RequestError::Denied(_)
        | RequestError::Internal => None,
    }
}
