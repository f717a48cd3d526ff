//! Who speaks in a room, by the levels that come with the sound (RFC 6464).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::id::ProducerId;

/// How often the loudest is looked for.
const INTERVAL: Duration = Duration::from_millis(300);

/// What counts as speech, in dBov.
const SPEECH: i32 = -55;

/// How much louder than the one who speaks another must be to take over at once, in decibel.
const MARGIN: i32 = 6;

/// The active speaker of one room.
#[derive(Debug, Default)]
pub(super) struct Speaker {
    levels: HashMap<ProducerId, Level>,
    current: Option<ProducerId>,
    last_look: Option<Instant>,
}

#[derive(Debug, Default)]
struct Level {
    sum: i32,
    count: i32,
}

impl Speaker {
    /// Takes the level of a packet, in dBov. Now and then it says who speaks, where that is another than before, and how
    /// loud.
    pub(super) fn hear(&mut self, now: Instant, producer: ProducerId, level: i8) -> Option<(ProducerId, i8)> {
        let heard = self.levels.entry(producer).or_default();
        heard.sum += i32::from(level);
        heard.count += 1;
        let last_look = *self.last_look.get_or_insert(now);
        if now.saturating_duration_since(last_look) < INTERVAL {
            return None;
        }
        self.last_look = Some(now);
        self.look()
    }

    fn look(&mut self) -> Option<(ProducerId, i8)> {
        let levels: HashMap<ProducerId, i32> =
            self.levels.drain().map(|(producer, level)| (producer, level.sum / level.count.max(1))).collect();
        let (loudest, level) = levels.iter().max_by_key(|(producer, level)| (**level, **producer))?;
        if *level < SPEECH || self.current == Some(*loudest) {
            return None;
        }
        let current = self.current.and_then(|current| levels.get(&current)).copied();
        // One who speaks is not cut off by an echo.
        if current.is_some_and(|current| current >= SPEECH && *level < current + MARGIN) {
            return None;
        }
        self.current = Some(*loudest);
        Some((*loudest, i8::try_from(*level).unwrap_or(i8::MIN)))
    }

    /// A producer has ended.
    pub(super) fn forget(&mut self, producer: ProducerId) {
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
    fn the_loudest_speaks_and_an_echo_does_not() {
        let (anna, ben) = (ProducerId::random(), ProducerId::random());
        let (start, mut speaker) = (Instant::now(), Speaker::default());
        let mut told = Vec::new();
        let levels = [(-30, -90), (-30, -32), (-90, -40), (-20, -40), (-100, -100)];
        for (phase, (of_anna, of_ben)) in (0u64..).zip(levels) {
            for packet in 0..50 {
                let now = start + Duration::from_millis(phase * 1000 + packet * 20);
                told.extend(speaker.hear(now, anna, of_anna).map(|(who, _)| who == anna));
                told.extend(speaker.hear(now, ben, of_ben).map(|(who, _)| who == anna));
            }
        }
        assert_eq!(told, [true, false, true]);
    }
}
