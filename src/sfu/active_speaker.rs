//! Active speaker detection from the audio levels in RTP header extensions (RFC 6464).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::id::ProducerId;

/// Interval at which the loudest producer is determined.
const INTERVAL: Duration = Duration::from_millis(300);

/// Minimum level of speech, in dBov.
const SPEECH: i32 = -55;

/// How much louder than the active speaker another must be to replace it, in dB.
const MARGIN: i32 = 6;

/// Detects the active speaker of one room.
#[derive(Debug, Default)]
pub(super) struct ActiveSpeakerDetector {
    levels: HashMap<ProducerId, Level>,
    current: Option<ProducerId>,
    last_selection: Option<Instant>,
}

#[derive(Debug, Default)]
struct Level {
    sum: i32,
    count: i32,
}

impl ActiveSpeakerDetector {
    /// Records the audio level of a packet, in dBov. Returns the active speaker and its level when
    /// the speaker has changed.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        producer: ProducerId,
        level: i8,
    ) -> Option<(ProducerId, i8)> {
        let total = self.levels.entry(producer).or_default();
        total.sum += i32::from(level);
        total.count += 1;
        let last_selection = *self.last_selection.get_or_insert(now);
        if now.saturating_duration_since(last_selection) < INTERVAL {
            return None;
        }
        self.last_selection = Some(now);
        self.select()
    }

    fn select(&mut self) -> Option<(ProducerId, i8)> {
        let levels: HashMap<ProducerId, i32> = self
            .levels
            .drain()
            .map(|(producer, level)| (producer, level.sum / level.count.max(1)))
            .collect();
        let (loudest, level) =
            levels.iter().max_by_key(|(producer, level)| (**level, **producer))?;
        if *level < SPEECH || self.current == Some(*loudest) {
            return None;
        }
        let current = self.current.and_then(|current| levels.get(&current)).copied();
        // Keeps the speaker while its own echo arrives from another producer.
        if current.is_some_and(|current| current >= SPEECH && *level < current + MARGIN) {
            return None;
        }
        self.current = Some(*loudest);
        Some((*loudest, i8::try_from(*level).unwrap_or(i8::MIN)))
    }

    /// Removes a producer that was closed.
    pub(super) fn remove(&mut self, producer: ProducerId) {
        self.levels.remove(&producer);
        if self.current == Some(producer) {
            self.current = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loudest_producer_is_active_and_echo_is_not() {
        let (anna, ben) = (ProducerId::random(), ProducerId::random());
        let (start, mut speaker) = (Instant::now(), ActiveSpeakerDetector::default());
        let mut changes = Vec::new();
        let levels = [(-30, -90), (-30, -32), (-90, -40), (-20, -40), (-100, -100)];
        for (phase, (of_anna, of_ben)) in (0u64..).zip(levels) {
            for packet in 0..50 {
                let now = start + Duration::from_millis(phase * 1000 + packet * 20);
                changes.extend(speaker.observe(now, anna, of_anna).map(|(id, _)| id == anna));
                changes.extend(speaker.observe(now, ben, of_ben).map(|(id, _)| id == anna));
            }
        }
        assert_eq!(changes, [true, false, true]);
    }
}
