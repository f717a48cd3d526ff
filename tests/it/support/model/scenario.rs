//! Scenarios: sequences of operations with low limits.

use std::fmt;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::limits::PairSessionLimits;
use parlor::room::{LeaveReason, RoomKind, RoomLimits};

/// Number of concurrent connections.
pub(crate) const SEATS: u8 = 5;
/// Number of room ids.
pub(crate) const ROOMS: u8 = 4;
/// Time limit of everything that expires.
pub(crate) const TTL: Duration = Duration::from_mins(1);
/// Maximum size of a peer's metadata, in bytes.
pub(crate) const METADATA_BYTES: usize = 6;

/// A number below `N`.
#[derive(Clone, Copy)]
pub(crate) struct Below<const N: u8>(pub(crate) u8);

impl<'a, const N: u8> Arbitrary<'a> for Below<N> {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        u.int_in_range(0..=N - 1).map(Self)
    }
}

pub(crate) type Seat = Below<SEATS>;

// A failure prints the scenario, each step on a line.
impl<const N: u8> fmt::Debug for Below<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.of_room())
    }
}

/// A room: `r0`, `r1` …
#[derive(Clone, Copy, Arbitrary)]
pub(crate) struct Place(pub(crate) Below<ROOMS>);

impl Place {
    pub(crate) fn id(self) -> RoomId {
        RoomId::new(&format!("r{}", self.0.0)).expect("a good id")
    }
}

/// An id for a peer: one of three, or the id of a connection.
#[derive(Clone, Copy, Arbitrary)]
pub(crate) struct Name(Below<8>);

impl Name {
    pub(crate) fn id(self) -> PeerId {
        match self.0.0 {
            index @ 0..3 => {
                PeerId::new(["ann", "bob", "cid"][usize::from(index)]).expect("a good id")
            }
            index => PeerId::from(ConnectionId::from_u128(u128::from(index) - 2)),
        }
    }
}

/// A kind of room, mostly a group: several group joins fill a room, and one session join makes it a
/// pair session.
#[derive(Clone, Copy, Arbitrary)]
pub(crate) struct Kind(Below<6>);

impl Kind {
    pub(crate) fn of_room(self) -> RoomKind {
        match self.0.0 {
            0 => RoomKind::Pair,
            1 => RoomKind::PairUnlessEnded,
            _ => RoomKind::Group,
        }
    }
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) enum Reason {
    Disconnected,
    TimedOut,
    Kicked,
}

impl Reason {
    pub(crate) fn of_leaving(self) -> LeaveReason {
        match self {
            Self::Disconnected => LeaveReason::Disconnected,
            Self::TimedOut => LeaveReason::TimedOut,
            Self::Kicked => LeaveReason::Kicked,
        }
    }
}

/// A step of a scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Opens a connection in a slot, unless the slot is used.
    Connect(Seat),
    Join {
        who: Seat,
        room: Place,
        peer: Option<Name>,
        kind: Kind,
        reply: Below<8>,
    },
    Inspect {
        who: Seat,
        room: Place,
    },
    Leave {
        who: Seat,
        room: Option<Place>,
    },
    /// A leave without a room, which sessions execute room by room.
    LeaveAll {
        who: Seat,
    },
    HangUp {
        who: Seat,
        room: Option<Place>,
    },
    Update {
        who: Seat,
        room: Option<Place>,
        /// Bytes to add to the metadata, or with 0 to remove all of it.
        length: Below<4>,
    },
    Relay {
        who: Seat,
        room: Option<Place>,
        target: Option<Name>,
        length: Below<4>,
    },
    /// A connection ends and leaves all its rooms, and a new one takes its seat.
    End {
        who: Seat,
        reason: Reason,
    },
    /// A connection ends and has not left its rooms yet: other steps precede that.
    Part {
        who: Seat,
        reason: Reason,
    },
    /// The peer that disconnected first leaves a room.
    LeaveNext,
    Create {
        room: Place,
        capacity: Option<Below<4>>,
    },
    Close {
        room: Place,
    },
    Expire,
    /// Time passes, in quarters of the time limit.
    Wait(Below<8>),
}

/// Mostly joins, since there are many ways to leave a room, and an empty one has few events.
impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let kind = u.int_in_range(0..=31_u8)?;
        let who = u.arbitrary()?;
        Ok(match kind {
            0..=9 => Self::Join {
                who,
                room: u.arbitrary()?,
                peer: u.arbitrary()?,
                kind: u.arbitrary()?,
                reply: u.arbitrary()?,
            },
            10..=15 => Self::Relay {
                who,
                room: u.arbitrary()?,
                target: u.arbitrary()?,
                length: u.arbitrary()?,
            },
            16 => Self::Update { who, room: u.arbitrary()?, length: u.arbitrary()? },
            17 => Self::Inspect { who, room: u.arbitrary()? },
            18 | 19 => Self::Leave { who, room: u.arbitrary()? },
            20 => Self::LeaveAll { who },
            21 => Self::HangUp { who, room: u.arbitrary()? },
            22 => Self::End { who, reason: u.arbitrary()? },
            23 => Self::Part { who, reason: u.arbitrary()? },
            24 | 25 => Self::LeaveNext,
            26 => Self::Connect(who),
            27 | 28 => Self::Create { room: u.arbitrary()?, capacity: u.arbitrary()? },
            29 => Self::Close { room: u.arbitrary()? },
            30 => Self::Expire,
            _ => Self::Wait(u.arbitrary()?),
        })
    }
}

/// As many steps as the bytes suffice for: the derived implementation would end after two steps on
/// average.
#[derive(Debug)]
pub(crate) struct Steps(pub(crate) Vec<Step>);

impl<'a> Arbitrary<'a> for Steps {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut steps = Vec::new();
        while !u.is_empty() {
            steps.push(u.arbitrary()?);
        }
        Ok(Self(steps))
    }
}

/// Low limits.
#[derive(Debug, Arbitrary)]
pub(crate) struct Scenario {
    must_exist: bool,
    room_size: Below<4>,
    /// 0: unlimited.
    rooms: Below<4>,
    rooms_per_connection: Below<3>,
    waiting: Below<4>,
    waiting_bytes: Below<8>,
    pub(crate) steps: Steps,
}

impl Scenario {
    pub(crate) fn limits(&self) -> RoomLimits {
        let most = |value: u8| usize::from(value) + 1;
        let session = PairSessionLimits {
            messages: usize::from(self.waiting.0),
            bytes: usize::from(self.waiting_bytes.0),
            ttl: TTL,
        };
        RoomLimits {
            auto_create: !self.must_exist,
            room_size: most(self.room_size.0),
            rooms: (self.rooms.0 > 0).then_some(usize::from(self.rooms.0)),
            rooms_per_connection: most(self.rooms_per_connection.0),
            metadata_bytes: METADATA_BYTES,
            empty_room_ttl: TTL,
            session,
        }
    }
}

/// Derives the scenario of these bytes, as the fuzz target does.
pub(crate) fn scenario(data: &[u8]) -> Option<Scenario> {
    Scenario::arbitrary_take_rest(Unstructured::new(data)).ok()
}
