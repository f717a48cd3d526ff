//! Entries of the admission table: HTTP connections and sessions, by their eviction class.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Pseudo-network of idle connections from trusted proxies: clients share them, so they count for
/// no client.
pub(super) const PROXIES: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Identifies an entry; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryId(pub(super) u64);

/// Classes of entries that can be evicted. The first three are listed in the order of eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// An HTTP connection without a pending request.
    Idle,
    /// A polling session without a CONNECT.
    Unconnected,
    /// A session whose connection was lost.
    Away,
    /// An HTTP connection that does not count yet; evicted only to free file descriptors.
    Pending,
}

pub(super) const CLASSES: usize = 4;

/// The limit that caused an eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The limit on connections and sessions in total.
    Total,
    /// The limit on connections and sessions of one address.
    PerAddress,
    /// The limit on away sessions in total.
    Away,
    /// The system's limit on file descriptors.
    Descriptors,
}

/// The transport of a session that a handshake opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// WebSocket: never evicted while it is connected.
    WebSocket,
    /// Long-polling: can be evicted until its client sends CONNECT.
    Polling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An HTTP connection; `is_admitted` if it counts.
    Http {
        is_admitted: bool,
    },
    /// An HTTP connection that counts as part of a session.
    Part(EntryId),
    Unconnected,
    /// A polling session that was evicted before its client sent CONNECT, and still exists in the
    /// library.
    Closing,
    Live,
    Away,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) network: IpAddr,
    pub(super) kind: Kind,
    /// Number of pending requests of an HTTP connection.
    pub(super) requests: u32,
    /// Position in the queue of the entry's class, if it has one.
    pub(super) position: u64,
    /// Limits that the entry exceeds on credit of an away session.
    pub(super) credit: Credit,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Credit {
    pub(super) of_network: bool,
    pub(super) of_all: bool,
}

impl Entry {
    pub(super) fn counts(&self) -> bool {
        !matches!(self.kind, Kind::Http { is_admitted: false } | Kind::Part(_) | Kind::Closing)
    }

    /// Returns whether this is a polling session without a CONNECT.
    pub(super) fn is_unconnected(&self) -> bool {
        matches!(self.kind, Kind::Unconnected | Kind::Closing)
    }

    pub(super) fn class(&self) -> Option<Class> {
        match self.kind {
            Kind::Http { is_admitted: false } => Some(Class::Pending),
            Kind::Http { is_admitted: true } => (self.requests == 0).then_some(Class::Idle),
            Kind::Unconnected => Some(Class::Unconnected),
            Kind::Away => Some(Class::Away),
            Kind::Live | Kind::Part(_) | Kind::Closing => None,
        }
    }
}

/// Entries of one network.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub(super) entries: usize,
    pub(super) counted: usize,
    pub(super) on_credit: usize,
    pub(super) unconnected: usize,
    /// Queue of each class, oldest entries first.
    pub(super) queues: [BTreeSet<(u64, EntryId)>; CLASSES],
}

impl Holdings {
    pub(super) fn len(&self, class: Class) -> usize {
        self.queues[class as usize].len()
    }

    /// Returns the number of counted entries, less those on credit that away sessions cover.
    pub(super) fn due(&self) -> usize {
        self.counted - self.on_credit.min(self.len(Class::Away))
    }
}
