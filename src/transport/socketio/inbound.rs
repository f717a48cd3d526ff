//! What a client sends over one connection, before the library acts on it.
//!
//! The library spawns a task for each CONNECT packet, waits for attachments as long as the connection lives, and limits
//! nothing. So every packet is looked at while its bytes pass, over either transport: [`Inbound::take`] counts it, and says
//! whether the connection is to end instead. Events of an open session are counted where they are handled, so that they can
//! be answered.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::session::{Excess, RateLimiter};

/// How many bytes of a packet tell its kind.
pub(super) const PREFIX: usize = crate::transport::frames::PREFIX;

/// The most CONNECT packets of one connection: one that is accepted, and some that come twice, are for namespaces that do not
/// exist, or bring tokens that are not good. The library ignores those that come twice, but spawns a task first.
const MAX_CONNECTS: u8 = 16;

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// Too much for too long. Counted by the rate limiter.
    Flood,
    /// More than [`MAX_CONNECTS`] CONNECT packets.
    Connect,
}

/// The packets of one connection.
pub(super) struct Inbound {
    limiter: RateLimiter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connects: u8,
    /// How many attachments of a binary packet are still to come, and since when.
    attachments: Option<(u8, Instant)>,
}

/// A packet, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    /// An event of the main namespace.
    Event,
    Connect,
    /// The head of a packet with attachments.
    Binary {
        attachments: u8,
    },
    Other,
}

impl Packet {
    fn read(prefix: &[u8]) -> Self {
        match prefix {
            [b'4', b'2', b'/', ..] => Self::Other,
            [b'4', b'2', ..] => Self::Event,
            [b'4', b'0', ..] => Self::Connect,
            // More than nine are more than are accepted.
            [b'4', b'5' | b'6', count @ b'1'..=b'9', ..] => Self::Binary { attachments: count - b'0' },
            _ => Self::Other,
        }
    }
}

impl Inbound {
    pub(super) fn new(limiter: RateLimiter) -> Self {
        Self { limiter, state: Mutex::default() }
    }

    pub(super) fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }

    /// Whether a packet is an event of the main namespace.
    pub(super) fn is_event(prefix: &[u8]) -> bool {
        Packet::read(prefix) == Packet::Event
    }

    /// Takes a text packet, by its first bytes, as many as [`PREFIX`] if it has them.
    pub(super) fn take(&self, prefix: &[u8]) -> Result<(), Violation> {
        let packet = Packet::read(prefix);
        self.take_other()?;
        let mut state = self.state.lock();
        match packet {
            Packet::Connect => {
                state.connects = state.connects.saturating_add(1);
                if state.connects > MAX_CONNECTS {
                    return Err(Violation::Connect);
                }
            }
            Packet::Binary { attachments } => state.attachments = Some((attachments, Instant::now())),
            Packet::Event | Packet::Other => {}
        }
        Ok(())
    }

    /// Takes an attachment.
    pub(super) fn take_attachment(&self) -> Result<(), Violation> {
        let attachments = &mut self.state.lock().attachments;
        *attachments = attachments.and_then(|(left, since)| (left > 1).then(|| (left - 1, since)));
        self.take_other()
    }

    /// Takes a frame that is no packet, or the rest of one.
    pub(super) fn take_other(&self) -> Result<(), Violation> {
        match self.limiter.admit_frame() {
            Ok(()) | Err(Excess::Wait(_)) => Ok(()),
            Err(Excess::Flood(_)) => Err(Violation::Flood),
        }
    }

    /// How much time is left for attachments that have not come yet.
    pub(super) fn time_for_attachments(&self, limit: Duration) -> Option<Duration> {
        self.state.lock().attachments.map(|(_, since)| limit.saturating_sub(since.elapsed()))
    }
}
