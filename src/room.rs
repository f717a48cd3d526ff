//! The rules of a room: who is in it, who may join, whom a signal reaches, who hears of what.
//!
//! A synchronous core without I/O. It knows no wire, no clock and no queue: a [`Command`] goes in with the time, and
//! [`Delivery`]s come out. Bodies of signals and the metadata of peers pass through unread.
//!
//! - [`Rooms::apply`] finds the room a command is about, creates or forgets it, and locks it;
//! - [`state`] holds the rules of one room, and the one path by which a peer leaves it;
//! - [`Applied`] carries what came of it, and keeps the room locked until it is dropped.
//!
//! The guarantee that is easy to break: whoever calls `apply` queues its deliveries *before* dropping [`Applied`].
//! Only then does each peer see the events of a room in the order in which they happened.

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
pub use event::{Answer, Delivery, Event, FoundBy, LeaveReason, Peer, Recipients, RemovalReason, Snapshot};
pub use limits::Limits;
pub use registry::{Admitted, Applied, Founding, JoinBounds, Rooms};
pub use state::Capacity;
pub use summary::{Counts, Cursor, Page, Summary};
