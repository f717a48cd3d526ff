//! One track that a peer sends: what of its description is accepted, its layers, and how much it may send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::{Mid, Rid};

use super::formats::Formats;
use super::id::{ConsumerId, ProducerId, TransportId};
use super::parameters::{Kind, RtpParameters};
use super::request::{Asker, Listed, Problem};
use super::router::Codec;

/// The least time between two keyframe requests to one layer: keyframes are large, and many consumers ask at once.
const BETWEEN_KEYFRAMES: Duration = Duration::from_millis(500);

/// The most layers of one track.
const MAX_LAYERS: usize = 4;

/// What stands in a description that was accepted.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) mid: Mid,
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) layers: Vec<Layer>,
    pub(super) cname: Option<String>,
}

/// One stream of a track, the poorest first.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) rid: Option<Rid>,
    pub(super) ssrc: Option<u32>,
    pub(super) rtx: Option<u32>,
    pub(super) meter: Meter,
    pub(super) asking: Asking,
}

impl Description {
    /// Checks a description against what its transport can receive.
    pub(super) fn check(kind: Kind, parameters: &RtpParameters, formats: &Formats) -> Result<Self, Problem> {
        let wrong = |field, problem| Problem::Parameter { field, problem };
        let mid = parameters.mid.as_deref().ok_or(wrong("rtpParameters.mid", "missing"))?;
        if mid.is_empty() || mid.len() > 16 || !mid.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("rtpParameters.mid", "must be 1 to 16 printable ASCII characters"));
        }
        let first = parameters.codecs.first().ok_or(wrong("rtpParameters.codecs", "empty"))?;
        let codec = Codec::read(&first.mime_type, first.clock_rate, first.channels, &first.parameters)
            .ok_or(wrong("rtpParameters.codecs", "the router does not carry this codec"))?;
        if codec.kind() != kind {
            return Err(wrong("kind", "not that of the codec"));
        }
        let announced = formats.codec(first.payload_type);
        let Some((_, rtx)) = announced.filter(|(announced, _)| *announced == codec) else {
            let problem = "the transport does not know this payload type for this codec";
            return Err(Problem::NotAnnounced { field: "rtpParameters.codecs", problem });
        };
        formats.check_extensions(&parameters.header_extensions)?;
        let layers = Self::layers(kind, parameters, rtx.is_some())?;
        let needs_names = layers.iter().any(|layer| layer.ssrc.is_none());
        if needs_names && !formats.can_name(&parameters.header_extensions) {
            let problem = "streams are told apart by rid, and the transport does not know its extension";
            return Err(Problem::NotAnnounced { field: "rtpParameters.encodings", problem });
        }
        // It stands in the session descriptions of others, where a line break would begin a line of its own.
        let is_word =
            |cname: &String| (1..=255).contains(&cname.len()) && cname.bytes().all(|byte| byte.is_ascii_graphic());
        let cname = parameters.rtcp.as_ref().and_then(|rtcp| rtcp.cname.clone()).filter(is_word);
        Ok(Self { mid: mid.into(), codec, payload_type: first.payload_type, layers, cname })
    }

    fn layers(kind: Kind, parameters: &RtpParameters, has_rtx: bool) -> Result<Vec<Layer>, Problem> {
        const FIELD: &str = "rtpParameters.encodings";
        let wrong = |problem| Problem::Parameter { field: FIELD, problem };
        let most = if kind == Kind::Audio { 1 } else { MAX_LAYERS };
        if parameters.encodings.is_empty() || parameters.encodings.len() > most {
            return Err(wrong(if kind == Kind::Audio { "must be one" } else { "must be one to four" }));
        }
        let mut layers: Vec<Layer> = Vec::new();
        for encoding in &parameters.encodings {
            let rid = match encoding.rid.as_deref() {
                None => None,
                Some(rid) if (1..=8).contains(&rid.len()) && rid.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    Some(Rid::from(rid))
                }
                Some(_) => return Err(wrong("a rid must be 1 to 8 ASCII letters and digits")),
            };
            let rtx = encoding.rtx.as_ref().map(|rtx| rtx.ssrc).filter(|_| has_rtx);
            if encoding.ssrc.is_none() && rid.is_none() {
                return Err(wrong("needs an ssrc or a rid"));
            }
            if encoding.ssrc == Some(0) || rtx == Some(0) {
                return Err(wrong("an ssrc must not be 0"));
            }
            let layer = Layer { rid, ssrc: encoding.ssrc, rtx, meter: Meter::default(), asking: Asking::default() };
            if rid.is_some() && layers.iter().any(|other| other.rid == rid) {
                return Err(wrong("the same rid twice"));
            }
            layers.push(layer);
        }
        let ssrcs: Vec<u32> = layers.iter().flat_map(Layer::ssrcs).collect();
        let is_twice = |(index, ssrc): (usize, &u32)| ssrcs[..index].contains(ssrc);
        if ssrcs.iter().enumerate().any(is_twice) {
            return Err(wrong("the same ssrc twice"));
        }
        Ok(layers)
    }
}

impl Layer {
    pub(super) fn ssrcs(&self) -> impl Iterator<Item = u32> {
        self.ssrc.into_iter().chain(self.rtx)
    }
}

/// A track.
#[derive(Debug)]
pub(super) struct Producer {
    pub(super) id: ProducerId,
    pub(super) owner: Asker,
    pub(super) transport: TransportId,
    pub(super) is_paused: bool,
    pub(super) app_data: Arc<str>,
    pub(super) description: Description,
    pub(super) consumers: Vec<ConsumerId>,
    pub(super) allowance: Allowance,
}

impl Producer {
    pub(super) fn kind(&self) -> Kind {
        self.description.codec.kind()
    }

    pub(super) fn listed(&self) -> Listed {
        Listed {
            id: self.id,
            peer: self.owner.peer.clone(),
            kind: self.kind(),
            is_paused: self.is_paused,
            app_data: Arc::clone(&self.app_data),
        }
    }

    /// The layer that a stream is, by what its packets say.
    pub(super) fn layer(&self, ssrc: u32, rid: Option<Rid>) -> Option<usize> {
        let layers = &self.description.layers;
        if let Some(found) = layers.iter().position(|layer| layer.ssrc == Some(ssrc)) {
            return Some(found);
        }
        match rid {
            Some(_) => layers.iter().position(|layer| layer.rid == rid),
            // A new source of the only stream.
            None => (layers.len() == 1).then_some(0),
        }
    }

    /// The bits a second of each layer; `None` for those that do not flow.
    pub(super) fn rates(&self, now: Instant) -> Vec<Option<u64>> {
        self.description.layers.iter().map(|layer| layer.meter.rate(now)).collect()
    }
}

/// How much flows, over the last three seconds: keyframes come now and then, and are many times larger than what is between.
#[derive(Debug, Default)]
pub(super) struct Meter {
    began: Option<Instant>,
    last: Option<Instant>,
    /// Bytes, each of a tenth of a second, by its number since the beginning.
    slots: [(u64, u64); Self::SLOTS],
}

impl Meter {
    const SLOTS: usize = 30;
    const SLOT: Duration = Duration::from_millis(100);
    /// Without a packet for so long, it does not flow: encoders send five pictures a second at the least.
    const SILENCE: Duration = Duration::from_millis(1500);

    pub(super) fn add(&mut self, now: Instant, bytes: usize) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) > Self::SILENCE) {
            *self = Self::default();
        }
        let number = self.number(now);
        self.began.get_or_insert(now);
        self.last = Some(now);
        let slot = &mut self.slots[Self::place(number)];
        if slot.0 != number {
            *slot = (number, 0);
        }
        slot.1 += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    fn number(&self, now: Instant) -> u64 {
        let age = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        u64::try_from(age.as_millis() / Self::SLOT.as_millis()).unwrap_or(u64::MAX)
    }

    fn place(number: u64) -> usize {
        usize::try_from(number % Self::SLOTS as u64).unwrap_or_default()
    }

    /// Bits a second; `None` where nothing flows.
    pub(super) fn rate(&self, now: Instant) -> Option<u64> {
        let last = self.last?;
        if now.saturating_duration_since(last) > Self::SILENCE {
            return None;
        }
        let number = self.number(now);
        let recent = self.slots.iter().filter(|(slot, _)| slot + Self::SLOTS as u64 > number);
        let bytes: u64 = recent.map(|(_, bytes)| bytes).sum();
        let slots = (number + 1).min(Self::SLOTS as u64);
        Some(bytes * 8 * 10 / slots)
    }
}

/// When a layer was asked for a keyframe.
#[derive(Debug, Default)]
pub(super) struct Asking {
    last: Option<Instant>,
    /// Whether somebody asked too soon after another.
    is_due: bool,
}

impl Asking {
    /// Whether to ask now; if not, [`Asking::is_due`] says when.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        self.is_due = self.is_soon(now);
        if !self.is_due {
            self.last = Some(now);
        }
        !self.is_due
    }

    /// Whether it is time to ask for one who asked too soon.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_due && !self.is_soon(now)
    }

    fn is_soon(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < BETWEEN_KEYFRAMES)
    }

    /// A keyframe has come.
    pub(super) fn answered(&mut self) {
        self.is_due = false;
    }
}

/// What a producer may send: a bucket that fills at twice its bitrate, and holds two seconds of that.
///
/// The client is told of the bitrate itself (REMB) and keeps to it; this is for one that does not.
#[derive(Debug)]
pub(super) struct Allowance {
    bytes_a_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    const SECONDS: f64 = 2.0;

    pub(super) fn new(bits_a_second: u32, now: Instant) -> Self {
        let bytes_a_second = f64::from(bits_a_second) / 8.0 * 2.0;
        Self { bytes_a_second, left: bytes_a_second * Self::SECONDS, at: now }
    }

    /// Whether a packet may pass.
    pub(super) fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.bytes_a_second).min(self.bytes_a_second * Self::SECONDS);
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        let may_pass = self.left >= bytes;
        if may_pass {
            self.left -= bytes;
        }
        may_pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_shows_the_last_three_seconds() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        let tenth = |number: u64| start + Duration::from_millis(number * 100);
        (0..50).for_each(|number| meter.add(tenth(number), 1250));
        assert_eq!(meter.rate(tenth(49)), Some(100_000));
        assert_eq!(meter.rate(tenth(59)), Some(66_666), "of three seconds one was silent");
        assert_eq!(meter.rate(tenth(70)), None);
        meter.add(tenth(70), 1250);
        assert_eq!(meter.rate(tenth(70)), Some(100_000), "what was before the silence does not count");
    }

    #[test]
    fn asking_is_limited_and_not_forgotten() {
        let (start, mut asking) = (Instant::now(), Asking::default());
        assert!(asking.ask(start));
        assert!(!asking.ask(start + Duration::from_millis(100)));
        assert!(!asking.is_due(start + Duration::from_millis(400)));
        let later = start + Duration::from_millis(500);
        assert!(asking.is_due(later) && asking.ask(later));
        assert!(!asking.is_due(start + Duration::from_secs(5)));
    }

    #[test]
    fn an_allowance_ends_and_comes_back() {
        let start = Instant::now();
        let mut allowance = Allowance::new(80_000, start);
        let sent = (0..100).filter(|_| allowance.take(start, 1000)).count();
        assert_eq!(sent, 40);
        assert!(allowance.take(start + Duration::from_secs(1), 1000));
    }
}
