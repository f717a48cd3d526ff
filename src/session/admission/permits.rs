//! What HTTP connections and sessions count for, as those hold it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::entry::EntryId;
use super::{Admission, AdmissionError, Evict, network};

/// What one HTTP connection counts for, from `accept` to its end. Travels with its requests.
pub struct ConnectionPermit {
    pub(super) admission: Arc<Admission>,
    pub(super) id: EntryId,
    pub(super) is_proxy: bool,
    pub(super) is_evicted: AtomicBool,
    pub(super) evicted: Notify,
}

impl ConnectionPermit {
    /// Admits a request that opens no session, from a client's address.
    pub fn admit(&self, address: IpAddr) -> Result<(), AdmissionError> {
        self.admission.change(|state| {
            let admitted = state.table.admit(self.id, network(address));
            admitted.inspect_err(|_| state.refuse(Some(self)))
        })
    }

    /// Whether a request that is always answered is within the limits: if not, the connection should close after it.
    pub fn fits(&self, address: IpAddr) -> bool {
        self.admission.change(|state| state.table.fits(self.id, network(address)))
    }

    /// Notes that a request begins; it ends when what this returns is dropped.
    pub fn begin_request(self: &Arc<Self>) -> RequestGuard {
        self.admission.state.lock().table.begin_request(self.id);
        RequestGuard(Arc::clone(self))
    }

    /// Resolves when the connection is evicted.
    pub async fn evicted(&self) {
        // Notified from here on, whether or not it has been polled.
        let evicted = self.evicted.notified();
        if !self.is_evicted.load(Ordering::SeqCst) {
            evicted.await;
        }
    }

    /// The connection has ended, or has become a WebSocket. What is left of it counts no more.
    pub fn close(&self) {
        self.admission.remove(self.id);
    }
}

impl Evict for ConnectionPermit {
    fn evict(self: Arc<Self>) {
        self.is_evicted.store(true, Ordering::SeqCst);
        self.evicted.notify_waiters();
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.close();
    }
}

/// A request under way on an HTTP connection.
pub struct RequestGuard(Arc<ConnectionPermit>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Self(permit) = self;
        permit.admission.change(|state| state.table.end_request(permit.id, permit.is_proxy));
    }
}

/// What one session counts for, until the last that shares this drops it.
pub struct Permit {
    pub(super) admission: Arc<Admission>,
    pub(super) id: EntryId,
    pub(super) network: IpAddr,
    pub(super) is_on_credit: AtomicBool,
}

impl Permit {
    /// The address that it counts for.
    pub fn address(&self) -> IpAddr {
        self.network
    }

    /// Has an HTTP connection whose request names this session count as part of it. `false` if it has too many, or is
    /// gone: the connection then counts on its own.
    pub fn join(&self, connection: &ConnectionPermit) -> bool {
        self.admission.change(|state| state.table.join(connection.id, self.id))
    }

    /// How to close the session if it is evicted, or has been.
    pub fn set_closer(&self, closer: &Arc<impl Evict + 'static>) {
        let mut state = self.admission.state.lock();
        if state.table.is_open(self.id) {
            let closer: Weak<dyn Evict> = Arc::<_>::downgrade(closer) as Weak<dyn Evict>;
            state.closers.insert(self.id, closer);
        } else {
            drop(state);
            Arc::clone(closer).evict();
        }
    }

    /// The client has sent CONNECT: the session is not evicted any more. `false` if it has been.
    pub fn connect(&self) -> bool {
        let mut state = self.admission.state.lock();
        state.closers.remove(&self.id);
        state.table.connect(self.id)
    }

    /// Ends the credit of a session that resumes no other one, or has done so: of the away sessions it was admitted on
    /// credit of, the oldest is evicted if the limit is still exceeded.
    pub fn settle(&self) {
        if self.is_on_credit.swap(false, Ordering::Relaxed) {
            self.admission.change(|state| state.table.settle(self.id));
        }
    }

    /// The connection of the session is lost, and the session may be resumed. Of more away sessions than `max`, the oldest
    /// of the address that has most of them is evicted.
    pub fn lose(&self, closer: Weak<dyn Evict>, max: usize) {
        self.admission.change(|state| {
            if state.table.is_open(self.id) {
                state.closers.insert(self.id, closer);
                state.table.lose(self.id, max);
            }
        });
    }

    /// Another permit has taken over what this one counted for.
    pub fn release(&self) {
        self.admission.remove(self.id);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}
