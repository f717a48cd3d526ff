//! Rewriting of sequence numbers, timestamps and picture ids, so that a consumer's packets form one
//! continuous sequence.
//!
//! A consumer is one stream to its client, but its source changes with layers and pauses, and each
//! source has numbers of its own. [`SequenceRewriter`], [`TimestampRewriter`] and
//! [`PictureRewriter`] continue where the last source ended.
//!
//! Invariant: two packets never get the same number, in whatever order they arrive.

use std::collections::VecDeque;
use std::time::{Duration, Instant, UNIX_EPOCH};

use str0m::rtp::rtcp::SenderInfo;

use super::payload::PictureNumbers;

/// Maximum number of offsets that are remembered for late packets.
const MAX_SPANS: usize = 64;

/// Rewrites RTP sequence numbers.
#[derive(Debug, Default)]
pub(super) struct SequenceRewriter {
    /// Source numbers, oldest first, each with the offset that applies from there on.
    spans: VecDeque<(u64, i64)>,
    highest_in: u64,
    highest_out: Option<u64>,
}

impl SequenceRewriter {
    /// Starts at packet `first` of another source, or of the same one after a pause. Older packets
    /// are not sent.
    pub(super) fn restart_at(&mut self, first: u64) {
        // Starts within 16 bits, so that the rollover counter of SRTP (RFC 3711, section 3.3.1)
        // starts at 0.
        let next = self.highest_out.map_or(first & 0x7fff, |highest| highest + 1);
        self.spans.clear();
        self.spans.push_back((first, next.cast_signed() - first.cast_signed()));
        self.highest_in = first.saturating_sub(1);
    }

    /// Returns the rewritten number of a packet, or `None` if the packet is too old.
    pub(super) fn map(&mut self, number: u64) -> Option<u64> {
        let (_, offset) = self.spans.iter().rev().find(|(from, _)| *from <= number)?;
        let mapped = number.checked_add_signed(*offset)?;
        self.highest_in = self.highest_in.max(number);
        self.highest_out = self.highest_out.max(Some(mapped));
        Some(mapped)
    }

    /// Drops a packet without leaving a gap.
    pub(super) fn skip(&mut self, number: u64) {
        let Some((_, offset)) = self.spans.back().copied() else { return };
        // A late packet has left its gap already.
        if number <= self.highest_in {
            return;
        }
        self.highest_in = number;
        self.spans.push_back((number + 1, offset - 1));
        if self.spans.len() > MAX_SPANS {
            self.spans.pop_front();
        }
    }
}

/// Minimum time between the last frame of a source and the first of the next.
const MIN_FRAME_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum difference between capture times and arrival times: clocks are adjusted, and clients may
/// lie.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(3);

/// Returns when a packet was captured, since 1970 by its sender's wall clock, which all streams of
/// the sender share. Derived from the last sender report (RFC 3550, section 6.4.1).
pub(super) fn capture_time(
    timestamp: u32,
    rate: u32,
    report: Option<&SenderInfo>,
) -> Option<Duration> {
    let report = report?;
    // Modulo 2³², as timestamps are.
    let reported = u32::try_from(report.rtp_time.numer() & u64::from(u32::MAX)).ok()?;
    let ahead = timestamp.wrapping_sub(reported).cast_signed();
    let time = Duration::from_secs_f64(f64::from(ahead.unsigned_abs()) / f64::from(rate));
    let reported_at = report.ntp_time.duration_since(UNIX_EPOCH).ok()?;
    if ahead < 0 { reported_at.checked_sub(time) } else { reported_at.checked_add(time) }
}

/// The last rewritten timestamp, with its packet's arrival and capture time.
#[derive(Debug, Clone, Copy)]
struct Last {
    timestamp: u32,
    arrived: Instant,
    captured: Option<Duration>,
}

/// Rewrites RTP timestamps.
#[derive(Debug)]
pub(super) struct TimestampRewriter {
    /// Ticks per second.
    rate: u32,
    offset: u32,
    last: Option<Last>,
}

impl TimestampRewriter {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, offset: 0, last: None }
    }

    /// Starts at timestamp `first` of another source, which is moved on by the time between the
    /// capture times, or between the arrivals if those are not known.
    pub(super) fn restart_at(&mut self, first: u32, now: Instant, captured: Option<Duration>) {
        let Some(last) = self.last else { return };
        let between = now.saturating_duration_since(last.arrived);
        let captured = captured.zip(last.captured).map(|(first, last)| first.saturating_sub(last));
        let passed = captured
            .filter(|captured| captured.abs_diff(between) < MAX_CLOCK_DIFFERENCE)
            .unwrap_or(between);
        let passed = passed.max(MIN_FRAME_INTERVAL);
        let ticks = passed.as_micros() * u128::from(self.rate) / 1_000_000;
        // Modulo 2³², as timestamps are.
        let ticks = u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or_default();
        self.offset = last.timestamp.wrapping_add(ticks).wrapping_sub(first);
    }

    pub(super) fn map(&mut self, timestamp: u32, now: Instant, captured: Option<Duration>) -> u32 {
        let mapped = timestamp.wrapping_add(self.offset);
        let is_newer = |last: u32| mapped.wrapping_sub(last) < u32::MAX / 2;
        if self.last.is_none_or(|last| mapped != last.timestamp && is_newer(last.timestamp)) {
            self.last = Some(Last { timestamp: mapped, arrived: now, captured });
        }
        mapped
    }
}

/// Rewrites the picture ids of VP8 and VP9, and their TL0PICIDX.
#[derive(Debug, Default)]
pub(super) struct PictureRewriter {
    offset: u16,
    base_offset: u8,
    last: Option<(u16, u8)>,
}

impl PictureRewriter {
    /// Starts at another source, or at the same one after a pause.
    pub(super) fn restart_at(&mut self, first: PictureNumbers) {
        let Some((last, last_base)) = self.last else { return };
        self.offset = last.wrapping_add(1).wrapping_sub(first.picture);
        self.base_offset = last_base.wrapping_add(1).wrapping_sub(first.base.unwrap_or_default());
    }

    pub(super) fn map(&mut self, numbers: PictureNumbers) -> PictureNumbers {
        let mask = if numbers.is_wide { 0x7fff } else { 0x7f };
        let picture = numbers.picture.wrapping_add(self.offset) & mask;
        let base = numbers.base.map(|base| base.wrapping_add(self.base_offset));
        let (last, last_base) = self.last.unwrap_or((picture, base.unwrap_or_default()));
        let is_newer = picture.wrapping_sub(last) & mask <= mask / 2;
        let last = if is_newer { picture } else { last };
        let last_base = base.filter(|base| base.wrapping_sub(last_base) < 128).unwrap_or(last_base);
        self.last = Some((last, last_base));
        PictureNumbers { picture, base, ..numbers }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::sfu::codecs::Codec;
    use crate::sfu::payload::PayloadInfo;

    fn numbers(picture: u16, base: u8) -> PictureNumbers {
        let [high, low] = picture.to_be_bytes();
        PayloadInfo::parse(Codec::Vp8, &[0x80, 0xe0, 0x80 | high, low, base, 0, 0]).numbers.unwrap()
    }

    #[test]
    fn sequence_continues_across_sources_and_dropped_packets() {
        let mut sequence = SequenceRewriter::default();
        sequence.restart_at(70_000);
        let first = sequence.map(70_000).unwrap();
        assert!(first < 65_536);
        assert_eq!(sequence.map(69_999), None, "before the first packet");
        assert_eq!(sequence.map(70_002), Some(first + 2));
        assert_eq!(sequence.map(70_001), Some(first + 1), "late");
        sequence.skip(70_003);
        assert_eq!(sequence.map(70_004), Some(first + 3));
        sequence.restart_at(5);
        assert_eq!(sequence.map(5), Some(first + 4));
    }

    #[test]
    fn timestamps_advance_between_sources() {
        let start = Instant::now();
        let mut clock = TimestampRewriter::new(90_000);
        assert_eq!(clock.map(1000, start, None), 1000);
        let later = start + Duration::from_secs(1);
        clock.restart_at(77, later, None);
        assert_eq!(clock.map(77, later, None), 91_000);
        assert_eq!(clock.map(3077, later, None), 94_000);
        clock.restart_at(u32::MAX, later, None);
        assert_eq!(clock.map(u32::MAX, later, None), 94_900, "timestamps stay distinct");
    }

    #[test]
    fn capture_times_take_precedence_over_arrivals() {
        let (start, wall) = (Instant::now(), Duration::from_hours(500_000));
        let after = |millis| Some(wall + Duration::from_millis(millis));
        let mut clock = TimestampRewriter::new(90_000);
        assert_eq!(clock.map(1000, start, after(500)), 1000);
        clock.restart_at(77, start + Duration::from_millis(10), after(600));
        assert_eq!(clock.map(77, start + Duration::from_millis(10), after(600)), 10_000);
        clock.restart_at(5, start + Duration::from_millis(20), after(550));
        assert_eq!(
            clock.map(5, start + Duration::from_millis(20), after(550)),
            10_900,
            "never back in time"
        );
        clock.restart_at(7, start + Duration::from_millis(120), after(60_000));
        assert_eq!(
            clock.map(7, start + Duration::from_millis(120), after(60_000)),
            19_900,
            "implausible"
        );
        clock.restart_at(9, start + Duration::from_millis(220), None);
        assert_eq!(clock.map(9, start + Duration::from_millis(220), None), 28_900, "unknown");
    }

    #[test]
    fn capture_time_follows_from_sender_report() {
        let wall = Duration::from_hours(500_000);
        let report = SenderInfo {
            ssrc: 1.into(),
            ntp_time: UNIX_EPOCH + wall,
            rtp_time: str0m::media::MediaTime::new(
                (1 << 32) + 100,
                str0m::media::Frequency::NINETY_KHZ,
            ),
            sender_packet_count: 0,
            sender_octet_count: 0,
        };
        let at = |timestamp| capture_time(timestamp, 90_000, Some(&report)).unwrap();
        assert_eq!(at(90_100), wall + Duration::from_secs(1));
        assert_eq!(at(100), wall);
        assert_eq!(at(100_u32.wrapping_sub(45_000)) + Duration::from_millis(500), wall);
        assert_eq!(capture_time(7, 90_000, None), None);
    }

    #[test]
    fn picture_ids_continue_across_sources() {
        let mut picture_ids = PictureRewriter::default();
        assert_eq!(picture_ids.map(numbers(0x7ffe, 254)).picture, 0x7ffe);
        assert_eq!(picture_ids.map(numbers(0x7fff, 255)).picture, 0x7fff);
        let next = numbers(400, 3);
        picture_ids.restart_at(next);
        let mapped = picture_ids.map(next);
        assert_eq!((mapped.picture, mapped.base), (0, Some(0)));
        let mapped = picture_ids.map(numbers(401, 4));
        assert_eq!((mapped.picture, mapped.base), (1, Some(1)));
    }

    proptest! {
        /// Packets arrive in any order, some are dropped, sources change.
        #[test]
        fn no_number_is_given_twice(steps in proptest::collection::vec((0..12u8, 0..4u64), 1..200)) {
            let (mut sequence, mut given) = (SequenceRewriter::default(), HashSet::new());
            let mut next = 40_000_u64;
            let mut seen = HashSet::new();
            sequence.restart_at(next);
            for (step, back) in steps {
                match step {
                    0 => {
                        next += 1000;
                        seen.clear();
                        sequence.restart_at(next);
                    }
                    1..=3 => {
                        if seen.insert(next) {
                            sequence.skip(next);
                        }
                        next += 1;
                    }
                    _ => {
                        let number = next - back.min(next);
                        if seen.insert(number) && let Some(mapped) = sequence.map(number) {
                            prop_assert!(given.insert(mapped), "{number} became {mapped}, again");
                        }
                        next += 1;
                    }
                }
            }
        }
    }
}
