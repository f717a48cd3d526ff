//! The wrapper around str0m's `Rtc`: changes to it, its time, and its output.
//!
//! Invariant: after each change to an `Rtc`, its output is drained before the next change. So
//! changes go through [`Transport::update_rtc`], which also catches str0m's panics. Written packets
//! are the exception: they have no effect before time advances, so all that were written until
//! [`Transport::send_written`] leave together.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use str0m::bwe::BweKind;
use str0m::net::{DatagramSend, Transmit};
use str0m::stats::{MediaEgressStats, PeerStats};
use str0m::{Event, IceConnectionState, Input, Output, PacerReason, Reason, Rtc};

use super::addresses::Route;
use super::{IDLE_TIMER, Transport, VideoStream, is_stun, rtp_ssrc};
use crate::sfu::output::{Datagram, TransportEvent, TransportOutput};

/// Maximum number of str0m timeouts that one transport handles in a row.
const MAX_TIMEOUTS: usize = 64;

/// Timeouts that are due this soon are handled at once. str0m spaces packets by a microsecond; on a
/// busy machine timers run milliseconds late, and audio would leave no time for video.
const TIMER_GRANULARITY: Duration = Duration::from_millis(1);

/// Interval of timeouts that serve only pacing, bandwidth estimation, reports and stats, when
/// bandwidth is not estimated. str0m asks for one every 25 to 40 ms, which adds up with hundreds of
/// receivers of which few get packets. Anything sent or received advances time as well; reports and
/// stats are late by less than this.
const IDLE_PACING: Duration = Duration::from_millis(500);

/// The interval when nothing is sent. Sender reports then tell clients nothing new.
const SILENT_PACING: Duration = Duration::from_secs(2);

/// Time without packets after which nothing is sent, long enough for the last sender report.
const SILENCE: Duration = Duration::from_secs(2);

/// Minimum share of retransmissions that indicates heavy loss, in percent of the packets written,
/// and the minimum number of those. Retransmissions are lost as well and requested again, so this
/// is a loss of a quarter.
const HEAVY_LOSS: (u64, u64) = (35, 10);

/// Number of stats in a row by which a loss is heavy, so that a short outage does not count.
const HEAVY_LOSSES: u32 = 2;

/// One step of draining an `Rtc`.
#[derive(Debug, PartialEq, Eq)]
enum Polled {
    /// A packet that [`Transport::send`] has written was sent.
    Written,
    /// Something else was sent or reported.
    Other,
    /// There is no more output.
    Drained,
}

impl Transport {
    /// Changes the `Rtc` and drains its output. Returns `None` if that panicked, or if there is no
    /// `Rtc`.
    pub(super) fn update_rtc<T>(
        &mut self,
        output: &mut TransportOutput,
        change: impl FnOnce(&mut Rtc) -> T,
    ) -> Option<T> {
        self.catch_panics(output, |transport, rtc, output| {
            let changed = change(rtc);
            while transport.poll(rtc, output) != Polled::Drained {}
            changed
        })
    }

    /// Calls `work` with the `Rtc`. If it panics, this transport alone fails.
    pub(super) fn catch_panics<T>(
        &mut self,
        output: &mut TransportOutput,
        work: impl FnOnce(&mut Self, &mut Rtc, &mut TransportOutput) -> T,
    ) -> Option<T> {
        let mut rtc = self.rtc.take()?;
        let done = catch_unwind(AssertUnwindSafe(|| work(self, &mut rtc, output)));
        output.panics += u64::from(done.is_err());
        if done.is_err() || !rtc.is_alive() {
            self.fail(output);
        } else {
            self.rtc = Some(rtc);
        }
        done.ok()
    }

    fn fail(&mut self, output: &mut TransportOutput) {
        self.rtc = None;
        output.events.push_back((self.id, TransportEvent::Failed));
    }

    fn poll(&mut self, rtc: &mut Rtc, output: &mut TransportOutput) -> Polled {
        let event = match rtc.poll_output() {
            Ok(Output::Timeout(due)) => {
                self.has_backlog =
                    !self.written.is_empty() || !is_idle_reason(rtc.last_timeout_reason());
                let is_waiting = !self.has_connected && !self.is_connecting();
                self.due = if is_waiting {
                    due + IDLE_TIMER
                } else {
                    self.idle_until().map_or(due, |until| due.max(until))
                };
                return Polled::Drained;
            }
            Ok(Output::Transmit(Transmit { destination, contents, .. })) => {
                let ssrc = rtp_ssrc(&contents);
                if !ssrc.is_some_and(|ssrc| self.is_withheld(ssrc)) {
                    self.dispatch(destination, contents, output);
                }
                let written =
                    ssrc.and_then(|ssrc| self.written.iter().position(|written| *written == ssrc));
                return match written {
                    Some(index) => {
                        self.written.swap_remove(index);
                        Polled::Written
                    }
                    None => Polled::Other,
                };
            }
            Ok(Output::Event(event)) => self.handle_event(rtc, event),
            // Such as a certificate that does not match the announced fingerprint.
            Err(_) => {
                rtc.disconnect();
                return Polled::Drained;
            }
        };
        output.events.extend(event.map(|event| (self.id, event)));
        Polled::Other
    }

    /// Returns when the next timeout is handled that is not urgent, if nothing is sent or received
    /// until then; `None` while bandwidth is estimated or str0m has packets queued.
    fn idle_until(&self) -> Option<Instant> {
        let is_silent = |at: Instant| self.advanced_at.saturating_duration_since(at) > SILENCE;
        let interval = if self.sent_at.is_none_or(is_silent) { SILENT_PACING } else { IDLE_PACING };
        (!self.is_estimating && !self.has_backlog).then(|| self.advanced_at + interval)
    }

    /// Queues a datagram for the client's validated addresses.
    fn dispatch(
        &mut self,
        destination: SocketAddr,
        contents: DatagramSend,
        output: &mut TransportOutput,
    ) {
        // A response to a binding request is no longer than the request, and its sender waits for
        // it.
        if is_stun(&contents) {
            output.datagrams.push(Datagram { to: destination, contents });
            return;
        }
        let Route { main, copy } = self.addresses.route(destination, contents.len());
        output.unvalidated += u64::from(main.is_none() && copy.is_none());
        if let (Some(to), Some(_)) = (copy, main) {
            output.datagrams.push(Datagram { to, contents: contents.to_vec().into() });
        }
        output.datagrams.extend(main.or(copy).map(|to| Datagram { to, contents }));
    }

    fn handle_event(&mut self, rtc: &Rtc, event: Event) -> Option<TransportEvent> {
        match event {
            Event::Connected => {
                (self.is_connected, self.has_connected) = (true, true);
                Some(TransportEvent::Connected)
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                let was_connected = std::mem::replace(&mut self.is_connected, false);
                was_connected.then_some(TransportEvent::Disconnected)
            }
            Event::IceConnectionStateChange(
                IceConnectionState::Connected | IceConnectionState::Completed,
            ) => {
                let is_back = rtc.is_connected() && !self.is_connected;
                self.is_connected |= is_back;
                is_back.then_some(TransportEvent::Reconnected)
            }
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.estimate.set_average(estimate.as_u64());
                None
            }
            Event::PeerStats(PeerStats { bwe_tx: Some(latest), rtt, .. }) => {
                self.estimate.add_latest(latest.as_u64());
                // The round trip of transport-wide feedback.
                if rtt.is_some() {
                    self.congestion.feedback_arrived();
                }
                None
            }
            Event::MediaEgressStats(MediaEgressStats { mid, loss, packets, timestamp, .. }) => {
                if let Some(loss) = loss {
                    self.congestion.loss_reported(timestamp, loss);
                }
                if let Some(stream) = self.video_streams.iter_mut().find(|stream| stream.mid == mid)
                    && stream.is_lost(packets)
                {
                    self.congestion.heavy_loss(timestamp);
                }
                None
            }
            Event::KeyframeRequest(request) => Some(TransportEvent::KeyframeRequested(request.mid)),
            Event::RtpPacket(packet) => Some(TransportEvent::Packet(packet)),
            // The client has ended DTLS.
            Event::Closed => Some(TransportEvent::Failed),
            _ => None,
        }
    }

    /// Runs the timer. Time that was advanced since the timer was set is not advanced again.
    pub(in crate::sfu) fn timer_elapsed(&mut self, now: Instant, output: &mut TransportOutput) {
        match self.idle_until().filter(|until| *until > now && self.rtc.is_some()) {
            Some(until) => self.due = until,
            None => self.advance(now, output),
        }
    }

    /// Advances time. str0m sends one packet per timeout, so this handles timeouts while they are
    /// due, up to [`MAX_TIMEOUTS`].
    pub(in crate::sfu) fn advance(&mut self, now: Instant, output: &mut TransportOutput) {
        let mut at = now;
        for _ in 0..MAX_TIMEOUTS {
            (self.due, self.advanced_at) = (at + IDLE_TIMER, at);
            if self.update_rtc(output, |rtc| rtc.handle_input(Input::Timeout(at)).is_ok())
                == Some(false)
            {
                self.fail(output);
            }
            if self.due > now + TIMER_GRANULARITY {
                break;
            }
            at = at.max(self.due);
        }
    }

    /// Writes the packets that were kept, and sends all that were written since the last call.
    ///
    /// After each packet str0m asks for another timeout, which would find that nothing is left to
    /// send, and costs as much as the packet. It is left out when bandwidth is not estimated and
    /// nothing else is queued; the timer set before stays. Another timeout follows with the next
    /// packet, or when the timer is due.
    pub(in crate::sfu) fn send_written(&mut self, now: Instant, output: &mut TransportOutput) {
        self.write_packets(output);
        self.sent_at = Some(now);
        if self.is_estimating || self.has_backlog {
            return self.advance(now, output);
        }
        self.advanced_at = now;
        while !self.written.is_empty() {
            let polled = self.catch_panics(output, |transport, rtc, output| {
                if rtc.handle_input(Input::Timeout(now)).is_err() {
                    rtc.disconnect();
                }
                loop {
                    match transport.poll(rtc, output) {
                        Polled::Other => {}
                        polled => return polled,
                    }
                }
            });
            match polled {
                Some(Polled::Written) => {}
                // The pacer delays the packet.
                Some(_) => return self.advance(now, output),
                None => return,
            }
        }
    }
}

impl VideoStream {
    /// Counts what was sent since the last stats, of `total` packets until now with
    /// retransmissions. Returns whether the loss has been heavy for [`HEAVY_LOSSES`] stats. Clients
    /// request lost packets again within a round trip, whereas their receiver reports take up to
    /// five seconds.
    fn is_lost(&mut self, total: u64) -> bool {
        let (written, sent) = (self.written, total.saturating_sub(self.sent));
        (self.written, self.sent) = (0, total);
        let (share, least) = HEAVY_LOSS;
        let is_heavy = written >= least && 100 * sent.saturating_sub(written) >= share * written;
        self.heavy_losses = if is_heavy { self.heavy_losses + 1 } else { 0 };
        self.heavy_losses >= HEAVY_LOSSES
    }
}

/// Returns whether a timeout serves nothing but pacing, bandwidth estimation, reports and stats,
/// with no packet queued.
fn is_idle_reason(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Pacer(PacerReason::Handle)
            | Reason::BweDelayControl
            | Reason::BweProbeControl
            | Reason::BweProbeEstimator
            | Reason::Feedback
            | Reason::Stats
    )
}
