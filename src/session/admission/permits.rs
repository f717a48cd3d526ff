//! Permits: what an HTTP connection or a session holds while it counts towards the limits.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::entry::EntryId;
use super::{Admission, AdmissionError, Evict, network};

/// Permit of one HTTP connection, from `accept` to its end. Travels with its requests.
pub struct ConnectionPermit {
    pub(super) admission: Arc<Admission>,
    pub(super) id: EntryId,
    pub(super) is_proxy: bool,
    pub(super) is_evicted: AtomicBool,
    pub(super) evicted: Notify,
}

impl ConnectionPermit {
    /// Admits a request from a client's address that opens no session.
    pub fn admit(&self, address: IpAddr) -> Result<(), AdmissionError> {
        self.admission.change(|state| {
            let admitted = state.table.admit(self.id, network(address));
            admitted.inspect_err(|_| state.refuse(Some(self)))
        })
    }

    /// Returns whether a request that is always answered is within the limits; if not, the
    /// connection should close after it.
    pub fn fits(&self, address: IpAddr) -> bool {
        self.admission.change(|state| state.table.fits(self.id, network(address)))
    }

    /// Records the start of a request, which ends when the returned guard is dropped.
    pub fn begin_request(self: &Arc<Self>) -> RequestGuard {
        self.admission.state.lock().table.begin_request(self.id);
        RequestGuard(Arc::clone(self))
    }

    /// Completes when the connection is evicted.
    pub async fn evicted(&self) {
        // Created before the check, so that no notification is missed.
        let evicted = self.evicted.notified();
        if !self.is_evicted.load(Ordering::SeqCst) {
            evicted.await;
        }
    }

    /// Stops counting the connection, because it has ended or become a WebSocket.
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

/// A pending request of an HTTP connection.
pub struct RequestGuard(Arc<ConnectionPermit>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Self(permit) = self;
        permit.admission.change(|state| state.table.end_request(permit.id, permit.is_proxy));
    }
}

/// Permit of one session, which counts until the last copy is dropped.
pub struct Permit {
    pub(super) admission: Arc<Admission>,
    pub(super) id: EntryId,
    pub(super) network: IpAddr,
    pub(super) is_on_credit: AtomicBool,
}

impl Permit {
    /// Returns the address that the session counts for.
    pub fn address(&self) -> IpAddr {
        self.network
    }

    /// Counts an HTTP connection whose request names this session as part of it. Returns false if
    /// the session has too many or is gone; the connection then counts on its own.
    pub fn join(&self, connection: &ConnectionPermit) -> bool {
        self.admission.change(|state| state.table.join(connection.id, self.id))
    }

    /// Sets the handle that closes the session when it is evicted, or closes it if that has
    /// happened.
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

    /// Records that the client has sent CONNECT, after which the session is not evicted any more.
    /// Returns false if it was.
    pub fn connect(&self) -> bool {
        let mut state = self.admission.state.lock();
        state.closers.remove(&self.id);
        state.table.connect(self.id)
    }

    /// Ends the credit of a session, because it resumes no other one or has already done so. If a
    /// limit is exceeded then, the oldest away session that covered the credit is evicted.
    pub fn settle(&self) {
        if self.is_on_credit.swap(false, Ordering::Relaxed) {
            self.admission.change(|state| state.table.settle(self.id));
        }
    }

    /// Records that the session's connection is lost and the session may be resumed. If there are
    /// more than `max` away sessions, the oldest one of the address with most of them is evicted.
    pub fn lose(&self, closer: Weak<dyn Evict>, max: usize) {
        self.admission.change(|state| {
            if state.table.is_open(self.id) {
                state.closers.insert(self.id, closer);
                state.table.lose(self.id, max);
            }
        });
    }

    /// Stops counting the session, because another permit counts for it now.
    pub fn release(&self) {
        self.admission.remove(self.id);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}
