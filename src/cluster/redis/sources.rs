//! The scripts that run in the engine, and their sources.

/// The scripts. Each begins with the same functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Hello,
    Beat,
    Join,
    Leave,
    Update,
    Move,
    Pin,
    Unpin,
    Sync,
    Reap,
    Audit,
    Close,
    Create,
    Sweep,
    Rooms,
    Bye,
    Nodes,
}

macro_rules! source {
    ($name:literal) => {
        concat!(include_str!("common.lua"), include_str!(concat!($name, ".lua")))
    };
}

impl Script {
    /// All scripts, in the order of their numbers, with their sources.
    pub(super) const ALL: [(Self, &str); 17] = [
        (Self::Hello, source!("hello")),
        (Self::Beat, source!("beat")),
        (Self::Join, source!("join")),
        (Self::Leave, source!("leave")),
        (Self::Update, source!("update")),
        (Self::Move, source!("move")),
        (Self::Pin, source!("pin")),
        (Self::Unpin, source!("unpin")),
        (Self::Sync, source!("sync")),
        (Self::Reap, source!("reap")),
        (Self::Audit, source!("audit")),
        (Self::Close, source!("close")),
        (Self::Create, source!("create")),
        (Self::Sweep, source!("sweep")),
        (Self::Rooms, source!("rooms")),
        (Self::Bye, source!("bye")),
        (Self::Nodes, source!("nodes")),
    ];
}
