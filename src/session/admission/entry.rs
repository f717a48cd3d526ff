//! What the table of admission holds: HTTP connections and sessions, and what can be evicted of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// The network of idle connections of trusted proxies: their clients share them, so no client's limit counts them.
pub(super) const PROXIES: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Names an entry. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryId(pub(super) u64);

/// What can be evicted. The order of the first three is the order of eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// An HTTP connection without a request under way.
    Idle,
    /// A polling session that has sent no CONNECT.
    Unconnected,
    /// A session whose connection was lost.
    Away,
    /// An HTTP connection that does not count yet. Evicted only for want of file descriptors.
    Pending,
}

pub(super) const CLASSES: usize = 4;

/// The limit for which something was evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Connections and sessions in total.
    Total,
    /// Connections and sessions of one address.
    PerAddress,
    /// Away sessions in total.
    Away,
    /// File descriptors.
    Descriptors,
}

/// A session that a handshake opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Over a WebSocket: never evicted while it is connected.
    WebSocket,
    /// Over long-polling: can be evicted until its client sends CONNECT.
    Polling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An HTTP connection, and whether it counts.
    Http {
        is_admitted: bool,
    },
    /// An HTTP connection that counts as part of a session.
    Part(EntryId),
    Unconnected,
    /// A polling session that was evicted before its client sent CONNECT, and is not gone yet.
    Closing,
    Live,
    Away,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) network: IpAddr,
    pub(super) kind: Kind,
    /// Requests under way, of an HTTP connection.
    pub(super) requests: u32,
    /// Its position in the queue of its class, if it has one.
    pub(super) position: u64,
    /// Whether it exceeds the limit of its network, of all, on credit of an away session.
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

    /// Whether it is a polling session that is held without a CONNECT.
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

/// What one network holds.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub(super) entries: usize,
    pub(super) counted: usize,
    pub(super) on_credit: usize,
    pub(super) unconnected: usize,
    /// Each class, the oldest first.
    pub(super) queues: [BTreeSet<(u64, EntryId)>; CLASSES],
}

impl Holdings {
    pub(super) fn len(&self, class: Class) -> usize {
        self.queues[class as usize].len()
    }

    /// How much counts beyond what is covered by away sessions.
    pub(super) fn due(&self) -> usize {
        self.counted - self.on_credit.min(self.len(Class::Away))
    }
}
