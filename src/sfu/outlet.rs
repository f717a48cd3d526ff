//! The outlet of routers: the transports of the SFU, and its notices and counters.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use str0m::media::{Mid, Rid};
use str0m::rtp::{RtpWrite, Ssrc};

use super::id::{ById, TransportId};
use super::output::TransportOutput;
use super::request::Notice;
use super::router::Outlet;
use super::stats::MediaStats;
use super::transport::Transport;

/// The parts of the SFU that a router sends through.
pub(super) struct TransportOutlet<'a> {
    pub(super) transports: &'a mut ById<TransportId, Transport>,
    pub(super) timers: &'a mut BTreeSet<(Instant, TransportId)>,
    pub(super) ready: &'a mut VecDeque<TransportId>,
    pub(super) output: &'a mut TransportOutput,
    pub(super) notices: &'a mut Vec<Notice>,
    pub(super) counted: &'a mut MediaStats,
}

impl TransportOutlet<'_> {
    /// Calls `work` with a transport, and updates its timer. Returns `None` if there is no such
    /// transport.
    pub(super) fn on_transport<T>(
        &mut self,
        id: TransportId,
        work: impl FnOnce(&mut Transport, &mut TransportOutput) -> T,
    ) -> Option<T> {
        let transport = self.transports.get_mut(&id)?;
        let due = transport.due;
        let done = work(transport, self.output);
        if transport.due != due {
            self.timers.remove(&(due, id));
            self.timers.insert((transport.due, id));
        }
        Some(done)
    }
}

impl Outlet for TransportOutlet<'_> {
    fn is_connected(&self, id: TransportId) -> bool {
        self.transports.get(&id).is_some_and(|transport| transport.is_connected)
    }

    fn send(&mut self, id: TransportId, ssrc: Ssrc, write: RtpWrite) -> bool {
        let Some(transport) = self.transports.get_mut(&id) else { return false };
        let is_queued = transport.send(ssrc, write, self.output);
        if is_queued && !std::mem::replace(&mut transport.is_ready, true) {
            self.ready.push_back(id);
        }
        is_queued
    }

    fn request_keyframe(&mut self, id: TransportId, mid: Mid, stream: (Option<u32>, Option<Rid>)) {
        self.on_transport(id, |transport, output| transport.send_pli(mid, stream, output));
    }

    fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn counters(&mut self) -> &mut MediaStats {
        self.counted
    }
}
