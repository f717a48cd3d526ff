//! The rules of rooms: their members, the limits on joins, and the events that each peer gets.
//!
//! A synchronous core without I/O, clock or protocol: it takes a [`Command`] with the time, and
//! returns [`Delivery`]s. Bodies of signals and metadata of peers are opaque to it.
//!
//! - [`Rooms::apply`] finds, creates or removes the room of a command, and locks it;
//! - [`state`] has the rules of one room, including the only code that removes a peer;
//! - [`Applied`] is the result, and keeps the room locked until it is dropped.
//!
//! Invariant: the caller of `apply` queues the deliveries *before* dropping [`Applied`]. Only then
//! do all peers see the events of a room in the same order.

pub mod command;
pub mod error;
pub mod event;
pub mod limits;
pub mod registry;
pub mod state;
pub mod summary;
mod waiting;

pub use command::{Command, Metadata, MetadataPatch, RoomKind, Signal, SignalKind, Target};
pub use error::{Code, RoomError};
pub use event::{
    Answer, Delivery, Event, FoundBy, LeaveReason, Peer, Recipients, RemovalReason, Snapshot,
};
pub use limits::RoomLimits;
pub use registry::{Admitted, Applied, JoinBounds, RoomSpec, Rooms, ShownRoom};
pub use state::Capacity;
pub use summary::{Counts, Cursor, Page, Summary};
