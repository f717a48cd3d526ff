//! Admission: limits on connections and sessions, in total and per address, with eviction at a
//! limit.
//!
//! - [`Admission::accept`] gives an HTTP connection its [`ConnectionPermit`];
//! - [`ConnectionPermit::admit`] admits a request that opens no session;
//! - [`Admission::open`] admits a handshake and gives the session its [`Permit`], which the session
//!   and its transport share; it counts until both have dropped it;
//! - [`table`] decides, without clock or sockets. Evicted entries are closed by their [`Evict`].
//!
//! Invariant: nothing is closed under the lock of the table, since closing a session calls this
//! module again. Callers do not hold a lock of a session or a room either.

mod entry;
mod permits;
mod table;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::entry::{Cause, Opening};
use self::entry::{EntryId, PROXIES};
pub use self::permits::{ConnectionPermit, Permit, RequestGuard};
use self::table::Table;

/// Number of connections that are evicted when the process is out of file descriptors.
const EVICTED_FOR_DESCRIPTORS: usize = 16;

/// Reasons why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The server is at its limit.
    #[error("too many connections on this server, at most {max}")]
    TooMany {
        /// Value of the limit.
        max: usize,
    },
    /// The address is at its limit.
    #[error("too many connections from this address, at most {max}")]
    TooManyFromAddress {
        /// Value of the limit.
        max: usize,
    },
    /// The address has too many polling sessions without CONNECT.
    #[error("too many polling sessions from this address wait for CONNECT, at most {max}")]
    TooManyUnconnected {
        /// Value of the limit.
        max: usize,
    },
    /// The address has recently sent too many invalid tokens.
    #[error("too many invalid tokens from this address")]
    TooManyInvalidTokens,
}

/// Limits of admission; `None` means no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdmissionLimits {
    /// Connections and sessions of the server.
    pub total: Option<usize>,
    /// Connections and sessions of an address.
    pub per_address: Option<usize>,
    /// Polling sessions of an address that have sent no CONNECT.
    pub unconnected_per_address: Option<usize>,
}

/// Closes an evicted session or connection. Called without locks; must not wait.
pub trait Evict: Send + Sync {
    /// Ends the session or connection.
    fn evict(self: Arc<Self>);
}

/// Counts connections from `accept` on, and sessions from their handshake until they are dropped.
pub struct Admission {
    state: Mutex<State>,
    on_eviction: Box<dyn Fn(Cause) + Send + Sync>,
}

struct State {
    table: Table,
    /// Handles that close what can be evicted.
    closers: HashMap<EntryId, Weak<dyn Evict>>,
    /// Connections that do not count yet, with the time since when.
    pending: VecDeque<(Instant, EntryId)>,
}

impl Admission {
    /// Creates an empty table. `on_eviction` is called for each eviction with its cause.
    pub fn new(
        limits: AdmissionLimits,
        on_eviction: impl Fn(Cause) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (closers, pending) = (HashMap::new(), VecDeque::new());
        let state = State { table: Table::new(limits), closers, pending };
        Arc::new(Self { state: Mutex::new(state), on_eviction: Box::new(on_eviction) })
    }

    /// Returns a permit for an accepted HTTP connection. It counts for the peer's address, or, if
    /// the peer is a trusted proxy, for the clients whose requests it forwards.
    pub fn accept(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Arc<ConnectionPermit> {
        let mut state = self.state.lock();
        let id = state.table.accept(if is_proxy { PROXIES } else { network(address) });
        state.pending.push_back((Instant::now(), id));
        let permit = ConnectionPermit {
            admission: Arc::clone(self),
            id,
            is_proxy,
            is_evicted: AtomicBool::new(false),
            evicted: Notify::new(),
        };
        let permit = Arc::new(permit);
        let closer: Weak<ConnectionPermit> = Arc::downgrade(&permit);
        state.closers.insert(id, closer);
        permit
    }

    /// Admits a handshake from a client's address over an HTTP connection. At a limit, the session
    /// may be admitted on credit of an away session: see [`Permit::settle`].
    pub fn open(
        self: &Arc<Self>,
        connection: Option<&ConnectionPermit>,
        address: IpAddr,
        opening: Opening,
    ) -> Result<Arc<Permit>, AdmissionError> {
        let network = network(address);
        self.change(|state| {
            let opened =
                state.table.open(connection.map(|connection| connection.id), network, opening);
            let id = opened.inspect_err(|_| state.refuse(connection))?;
            let is_on_credit = AtomicBool::new(state.table.is_on_credit(id));
            Ok(Arc::new(Permit { admission: Arc::clone(self), id, network, is_on_credit }))
        })
    }

    /// Closes idle HTTP connections to free file descriptors. Returns false if there were none.
    pub fn free_descriptors(&self) -> bool {
        self.change(|state| {
            (0..EVICTED_FOR_DESCRIPTORS).filter(|_| state.table.evict_connection()).count() > 0
        })
    }

    /// Counts connections that have been open for `limit` without an admitted request. Must be
    /// called a few times per second.
    pub fn sweep(&self, now: Instant, limit: Duration) {
        self.change(|state| {
            while let Some((since, id)) = state.pending.front().copied() {
                if now.duration_since(since) < limit {
                    break;
                }
                state.pending.pop_front();
                state.table.age(id);
            }
        });
    }

    /// Shrinks internal maps after a connection spike.
    pub fn shrink(&self) {
        let mut state = self.state.lock();
        state.table.shrink();
        if state.closers.len() < state.closers.capacity() / 8 {
            state.closers.shrink_to(1024);
        }
        if state.pending.len() < state.pending.capacity() / 8 {
            state.pending.shrink_to(1024);
        }
    }

    /// Changes the table, and closes evicted entries after unlocking it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        if state.table.evicted.is_empty() {
            return changed;
        }
        let evicted: Vec<_> = std::mem::take(&mut state.table.evicted);
        let evicted: Vec<_> =
            evicted.into_iter().map(|(id, cause)| (state.closers.remove(&id), cause)).collect();
        drop(state);
        for (closer, cause) in evicted {
            (self.on_eviction)(cause);
            if let Some(closer) = closer.and_then(|closer| closer.upgrade()) {
                closer.evict();
            }
        }
        changed
    }

    fn remove(&self, id: EntryId) {
        self.change(|state| {
            state.closers.remove(&id);
            state.table.remove(id);
        });
    }
}

impl State {
    /// Lets a connection whose request was refused count after a while, if it is still open.
    fn refuse(&mut self, connection: Option<&ConnectionPermit>) {
        if let Some(connection) = connection {
            self.pending.push_back((Instant::now(), connection.id));
        }
    }
}

/// Returns the address under which a client counts. An IPv6 client usually has a whole /64 (RFC
/// 6177), so a /64 counts as one address.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    struct Closer(AtomicBool);

    impl Evict for Closer {
        fn evict(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn permit_counts_until_the_last_share_is_dropped() {
        let limits =
            AdmissionLimits { total: Some(2), per_address: Some(1), ..AdmissionLimits::default() };
        let admission = Admission::new(limits, |_| {});
        let open = |address| admission.open(None, ip(address), Opening::WebSocket);
        let first = open("10.0.0.1").unwrap();
        let shared = Arc::clone(&first);
        drop(first);
        assert_eq!(open("10.0.0.1").err(), Some(AdmissionError::TooManyFromAddress { max: 1 }));
        // A refused handshake holds nothing.
        let second = open("10.0.0.2").unwrap();
        assert_eq!(open("10.0.0.3").err(), Some(AdmissionError::TooMany { max: 2 }));
        drop(shared);
        drop((open("10.0.0.1").unwrap(), second));
        let state = admission.state.lock();
        assert_eq!((state.table.counted(), state.closers.len()), (0, 0));
    }

    #[test]
    fn ipv6_networks_count_as_one_address() {
        assert_eq!(network(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_ne!(network(ip("2001:db8:1:2::1")), network(ip("2001:db8:1:3::1")));
    }

    #[test]
    fn evicted_session_is_closed_and_counted() {
        let evictions = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&evictions);
        let limits = AdmissionLimits { total: Some(1), ..AdmissionLimits::default() };
        let admission = Admission::new(limits, move |cause| recorded.lock().push(cause));
        let polling = admission.open(None, ip("10.0.0.1"), Opening::Polling).unwrap();
        let closer = Arc::new(Closer(AtomicBool::new(false)));
        polling.set_closer(&closer);
        let websocket = admission.open(None, ip("10.0.0.2"), Opening::WebSocket).unwrap();
        assert!(closer.0.load(Ordering::Relaxed) && !polling.connect());
        assert_eq!(*evictions.lock(), [Cause::Total]);
        // A closer that is set later is called at once.
        let late = Arc::new(Closer(AtomicBool::new(false)));
        polling.set_closer(&late);
        assert!(late.0.load(Ordering::Relaxed));
        // The evicted session no longer counts.
        drop(polling);
        assert!(admission.open(None, ip("10.0.0.1"), Opening::Polling).is_err());
        drop(websocket);
    }

    #[tokio::test]
    async fn silent_connection_is_evicted_once_it_counts() {
        let limits = AdmissionLimits { per_address: Some(1), ..AdmissionLimits::default() };
        let admission = Admission::new(limits, |_| {});
        let silent = admission.accept(ip("10.0.0.1"), false);
        let _session = admission.open(None, ip("10.0.0.1"), Opening::WebSocket).unwrap();
        let limit = Duration::from_mins(1);
        admission.sweep(Instant::now(), limit);
        assert_eq!(admission.state.lock().pending.len(), 1);
        admission.sweep(Instant::now() + limit, limit);
        silent.evicted().await;
    }
}
