//! Numbers of a consumer's packets: one unbroken sequence, whatever source they come from.
//!
//! A consumer is one stream to its client. Its sources change with layers and pauses, each with numbers of its own.
//! [`Sequence`], [`Clock`] and [`Pictures`] carry on where the last source ended.
//!
//! The guarantee that is easy to break: two packets never get the same number, in whatever order they come.

use std::collections::VecDeque;
use std::time::{Duration, Instant, UNIX_EPOCH};

use str0m::rtp::rtcp::SenderInfo;

use super::codec::Numbers;

/// How many changes of the distance between a source's numbers and ours are remembered, for packets that come late.
const MOST_SPANS: usize = 64;

/// Sequence numbers.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// The oldest first. From a source's number on, ours is so much more.
    spans: VecDeque<(u64, i64)>,
    highest_in: u64,
    highest_out: Option<u64>,
}

impl Sequence {
    /// Begins with another source, or with the same after a pause. What is older than `first` is not sent.
    pub(super) fn begin(&mut self, first: u64) {
        // Ours start within 16 bits, so that the rollover counter of SRTP (RFC 3711, section 3.3.1) starts at nothing.
        let next = self.highest_out.map_or(first & 0x7fff, |highest| highest + 1);
        self.spans.clear();
        self.spans.push_back((first, next.cast_signed() - first.cast_signed()));
        self.highest_in = first.saturating_sub(1);
    }

    /// The number of a packet; `None` where it is too old.
    pub(super) fn map(&mut self, number: u64) -> Option<u64> {
        let (_, distance) = self.spans.iter().rev().find(|(from, _)| *from <= number)?;
        let mapped = number.checked_add_signed(*distance)?;
        self.highest_in = self.highest_in.max(number);
        self.highest_out = self.highest_out.max(Some(mapped));
        Some(mapped)
    }

    /// Leaves a packet out, so that it is not missed.
    pub(super) fn skip(&mut self, number: u64) {
        let Some((_, distance)) = self.spans.back().copied() else { return };
        // One that comes late left its gap already.
        if number <= self.highest_in {
            return;
        }
        self.highest_in = number;
        self.spans.push_back((number + 1, distance - 1));
        if self.spans.len() > MOST_SPANS {
            self.spans.pop_front();
        }
    }
}

/// The least time between the pictures of two sources.
const ONE_PICTURE: Duration = Duration::from_millis(10);

/// How far what sender reports say may be from when packets come: clocks are set, and clients lie.
const PLAUSIBLE: Duration = Duration::from_secs(3);

/// When a packet was captured, since 1970, by the clock that its sender has for all of its streams, if it has said so: sender reports
/// (RFC 3550, section 6.4.1).
pub(super) fn captured(timestamp: u32, rate: u32, report: Option<&SenderInfo>) -> Option<Duration> {
    let report = report?;
    // Modulo 2³², as timestamps are.
    let reported = u32::try_from(report.rtp_time.numer() & u64::from(u32::MAX)).ok()?;
    let ahead = timestamp.wrapping_sub(reported).cast_signed();
    let time = Duration::from_secs_f64(f64::from(ahead.unsigned_abs()) / f64::from(rate));
    let reported_at = report.ntp_time.duration_since(UNIX_EPOCH).ok()?;
    if ahead < 0 { reported_at.checked_sub(time) } else { reported_at.checked_add(time) }
}

/// The last timestamp, and when that was: here, and where it was captured.
#[derive(Debug, Clone, Copy)]
struct Last {
    timestamp: u32,
    came: Instant,
    captured: Option<Duration>,
}

/// Timestamps.
#[derive(Debug)]
pub(super) struct Clock {
    /// Ticks a second.
    rate: u32,
    distance: u32,
    last: Option<Last>,
}

impl Clock {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, distance: 0, last: None }
    }

    /// Begins with another source: its first timestamp is as much later as time has passed between what was captured, or
    /// where that is not known, between what has come.
    pub(super) fn begin(&mut self, first: u32, now: Instant, captured: Option<Duration>) {
        let Some(last) = self.last else { return };
        let between = now.saturating_duration_since(last.came);
        let captured = captured.zip(last.captured).map(|(first, last)| first.saturating_sub(last));
        let passed = captured.filter(|captured| captured.abs_diff(between) < PLAUSIBLE).unwrap_or(between);
        let passed = passed.max(ONE_PICTURE);
        let ticks = passed.as_micros() * u128::from(self.rate) / 1_000_000;
        // Modulo 2³², as timestamps are.
        let ticks = u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or_default();
        self.distance = last.timestamp.wrapping_add(ticks).wrapping_sub(first);
    }

    pub(super) fn map(&mut self, timestamp: u32, now: Instant, captured: Option<Duration>) -> u32 {
        let mapped = timestamp.wrapping_add(self.distance);
        let is_newer = |last: u32| mapped.wrapping_sub(last) < u32::MAX / 2;
        if self.last.is_none_or(|last| mapped != last.timestamp && is_newer(last.timestamp)) {
            self.last = Some(Last { timestamp: mapped, came: now, captured });
        }
        mapped
    }
}

/// Picture ids of VP8 and VP9, and the indices of their lowest temporal layer.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    distance: u16,
    base_distance: u8,
    last: Option<(u16, u8)>,
}

impl Pictures {
    /// Begins with another source, or with the same after a pause.
    pub(super) fn begin(&mut self, first: Numbers) {
        let Some((last, last_base)) = self.last else { return };
        self.distance = last.wrapping_add(1).wrapping_sub(first.picture);
        self.base_distance = last_base.wrapping_add(1).wrapping_sub(first.base.unwrap_or_default());
    }

    pub(super) fn map(&mut self, numbers: Numbers) -> Numbers {
        let mask = if numbers.is_wide { 0x7fff } else { 0x7f };
        let picture = numbers.picture.wrapping_add(self.distance) & mask;
        let base = numbers.base.map(|base| base.wrapping_add(self.base_distance));
        let (last, last_base) = self.last.unwrap_or((picture, base.unwrap_or_default()));
        let is_newer = picture.wrapping_sub(last) & mask <= mask / 2;
        let last = if is_newer { picture } else { last };
        let last_base = base.filter(|base| base.wrapping_sub(last_base) < 128).unwrap_or(last_base);
        self.last = Some((last, last_base));
        Numbers { picture, base, ..numbers }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::sfu::codec::Glance;
    use crate::sfu::router::Codec;

    fn numbers(picture: u16, base: u8) -> Numbers {
        let [high, low] = picture.to_be_bytes();
        Glance::at(Codec::Vp8, &[0x80, 0xe0, 0x80 | high, low, base, 0, 0]).numbers.unwrap()
    }

    #[test]
    fn a_sequence_goes_on_over_sources_and_what_is_left_out() {
        let mut sequence = Sequence::default();
        sequence.begin(70_000);
        let first = sequence.map(70_000).unwrap();
        assert!(first < 65_536);
        assert_eq!(sequence.map(69_999), None, "before the start");
        assert_eq!(sequence.map(70_002), Some(first + 2));
        assert_eq!(sequence.map(70_001), Some(first + 1), "late");
        sequence.skip(70_003);
        assert_eq!(sequence.map(70_004), Some(first + 3));
        sequence.begin(5);
        assert_eq!(sequence.map(5), Some(first + 4));
    }

    #[test]
    fn time_passes_between_sources() {
        let start = Instant::now();
        let mut clock = Clock::new(90_000);
        assert_eq!(clock.map(1000, start, None), 1000);
        let later = start + Duration::from_secs(1);
        clock.begin(77, later, None);
        assert_eq!(clock.map(77, later, None), 91_000);
        assert_eq!(clock.map(3077, later, None), 94_000);
        clock.begin(u32::MAX, later, None);
        assert_eq!(clock.map(u32::MAX, later, None), 94_900, "no two at once");
    }

    #[test]
    fn what_was_captured_counts_more_than_what_has_come() {
        let (start, wall) = (Instant::now(), Duration::from_hours(500_000));
        let after = |millis| Some(wall + Duration::from_millis(millis));
        let mut clock = Clock::new(90_000);
        assert_eq!(clock.map(1000, start, after(500)), 1000);
        clock.begin(77, start + Duration::from_millis(10), after(600));
        assert_eq!(clock.map(77, start + Duration::from_millis(10), after(600)), 10_000);
        clock.begin(5, start + Duration::from_millis(20), after(550));
        assert_eq!(clock.map(5, start + Duration::from_millis(20), after(550)), 10_900, "not back in time");
        clock.begin(7, start + Duration::from_millis(120), after(60_000));
        assert_eq!(clock.map(7, start + Duration::from_millis(120), after(60_000)), 19_900, "it cannot be so");
        clock.begin(9, start + Duration::from_millis(220), None);
        assert_eq!(clock.map(9, start + Duration::from_millis(220), None), 28_900, "not known");
    }

    #[test]
    fn sender_reports_tell_when_a_packet_was_captured() {
        let wall = Duration::from_hours(500_000);
        let report = SenderInfo {
            ssrc: 1.into(),
            ntp_time: UNIX_EPOCH + wall,
            rtp_time: str0m::media::MediaTime::new((1 << 32) + 100, str0m::media::Frequency::NINETY_KHZ),
            sender_packet_count: 0,
            sender_octet_count: 0,
        };
        let at = |timestamp| captured(timestamp, 90_000, Some(&report)).unwrap();
        assert_eq!(at(90_100), wall + Duration::from_secs(1));
        assert_eq!(at(100), wall);
        assert_eq!(at(100_u32.wrapping_sub(45_000)) + Duration::from_millis(500), wall);
        assert_eq!(captured(7, 90_000, None), None);
    }

    #[test]
    fn pictures_go_on_over_sources() {
        let mut pictures = Pictures::default();
        assert_eq!(pictures.map(numbers(0x7ffe, 254)).picture, 0x7ffe);
        assert_eq!(pictures.map(numbers(0x7fff, 255)).picture, 0x7fff);
        let next = numbers(400, 3);
        pictures.begin(next);
        let mapped = pictures.map(next);
        assert_eq!((mapped.picture, mapped.base), (0, Some(0)));
        let mapped = pictures.map(numbers(401, 4));
        assert_eq!((mapped.picture, mapped.base), (1, Some(1)));
    }

    proptest! {
        /// Packets come in any order, some are left out, sources change: no number is given twice, and without loss
        /// none is missing.
        #[test]
        fn no_number_twice(steps in proptest::collection::vec((0..12u8, 0..4u64), 1..200)) {
            let (mut sequence, mut given) = (Sequence::default(), HashSet::new());
            let mut next = 40_000_u64;
            let mut seen = HashSet::new();
            sequence.begin(next);
            for (step, back) in steps {
                match step {
                    0 => {
                        next += 1000;
                        seen.clear();
                        sequence.begin(next);
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
