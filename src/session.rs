//! One connection's life, whatever its wire: let in, served, and ended exactly once.
//!
//! - [`Hub::open`] lets a connection in and gives its [`Session`];
//! - [`Session::handle`] carries a command to the rooms and queues what comes of it, in order, at every connection
//!   that it concerns;
//! - [`Session::end`] takes the connection out of all its rooms. The first end counts;
//! - [`Session::lose`] keeps its [place] for a connection that comes back: [`Hub::resume`].
//!
//! The guarantee that is easy to break: deliveries are queued while the room they come from is still locked. What
//! queues them must therefore neither wait nor come back here: a [`Sink`] only puts into a queue, or sets a flag.

use std::sync::Arc;

use crate::dialect::{DecodeError, RequestError};
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
mod mailbox;
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
pub use mailbox::{Mailbox, Outgoing, Sink};
pub use media::Answered;
pub use place::Session;
pub use rate_limit::{Excess, MessageRate, RateLimiter};

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
    /// The bytes of the list that a joiner was told, or of an update, to be [charged](RateLimiter::charge).
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
        Command::Update { .. } => Kind::Update,
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
        RequestError::Room(RoomError::MetadataTooLarge { .. }) => Some(Limit::MetadataBytes),
        // Counted where they arise, or no limits.
        RequestError::Decode(_)
        | RequestError::Room(_)
        | RequestError::DeliveryFailed { .. }
        | RequestError::ReservedName
        | RequestError::NoReceiver
        | RequestError::RateLimited { .. }
        | RequestError::Media(_)
        | RequestError::Denied(_)
        | RequestError::Internal => None,
    }
}
