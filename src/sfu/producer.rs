//! One track that a peer sends: what of its description is accepted, its layers, and how much it may send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::{Mid, Rid};

use super::bucket::{Bucket, Rate};
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

/// Maximum bitrate of sound, in bits a second: that of Opus.
const AUDIO_BITRATE: u32 = 510_000;

/// How much more than its bitrate a producer may send: its client is told of that (REMB) and keeps to it; the limit is for one
/// that does not.
const HEADROOM: f64 = 2.0;

/// Bytes of a packet beside its payload: IP, UDP, RTP with extensions, and the tag of SRTP.
const OVERHEAD: usize = 64;

/// Maximum packets of sound in a second. Opus sends 400 with its shortest frames.
const AUDIO_PACKETS: f64 = 500.0;

/// Packets of a picture that every producer may send in a second, and the bytes of one where more are needed for its bitrate.
const VIDEO_PACKETS: f64 = 1000.0;
const VIDEO_PACKET: f64 = 500.0;

/// What comes at once after a stall, in seconds of what a producer may send: of bytes, since keyframes are large, and of
/// packets.
const BURST_OF_BYTES: f64 = 2.0;
const BURST_OF_PACKETS: f64 = 0.25;

/// Returns the bits a second that a producer is told to keep to.
pub(super) fn max_bitrate(kind: Kind, of_any: u32) -> u32 {
    match kind {
        Kind::Audio => of_any.min(AUDIO_BITRATE),
        Kind::Video => of_any,
    }
}

/// What a producer may send, in bytes with all headers, and in packets: the work is done for each packet, however small.
#[derive(Debug)]
pub(super) struct Allowance {
    bytes: Bucket,
    packets: Bucket,
    packets_per_second: f64,
}

impl Allowance {
    pub(super) fn new(kind: Kind, bits_a_second: u32, now: Instant) -> Self {
        let per_second = f64::from(max_bitrate(kind, bits_a_second)) / 8.0 * HEADROOM;
        let packets_per_second = match kind {
            Kind::Audio => AUDIO_PACKETS,
            Kind::Video => VIDEO_PACKETS.max(per_second / VIDEO_PACKET),
        };
        let bytes = Rate { per_second, burst: per_second * BURST_OF_BYTES };
        let packets = Rate { per_second: packets_per_second, burst: packets_per_second * BURST_OF_PACKETS };
        Self { bytes: Bucket::new(bytes, now), packets: Bucket::new(packets, now), packets_per_second }
    }

    /// Whether a packet with such a payload may pass.
    pub(super) fn take(&mut self, now: Instant, payload: usize) -> bool {
        let bytes = f64::from(u32::try_from(payload + OVERHEAD).unwrap_or(u32::MAX));
        self.packets.has(now, 1.0) && self.bytes.take(now, bytes) && self.packets.take(now, 1.0)
    }

    pub(super) fn packets_per_second(&self) -> f64 {
        self.packets_per_second
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
    fn an_allowance_counts_bytes_with_headers() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Kind::Video, 80_000, start);
        let sent = (0..100).filter(|_| allowance.take(start, 1000 - OVERHEAD)).count();
        assert_eq!(sent, 40, "two seconds of twice its bitrate");
        assert!(allowance.take(start + Duration::from_secs(1), 1000));
    }

    #[test]
    fn an_allowance_counts_packets() {
        let start = Instant::now();
        let sent_in_a_second = |kind, bits, every: Duration| {
            let mut allowance = Allowance::new(kind, bits, start);
            let count = u32::try_from(Duration::from_secs(1).as_micros() / every.as_micros()).unwrap();
            (0..count).filter(|n| allowance.take(start + every * *n, 1)).count()
        };
        let of_flood = sent_in_a_second(Kind::Audio, 2_500_000, Duration::from_micros(125));
        assert!((620..=626).contains(&of_flood), "500 and a burst of 125: {of_flood}");
        assert_eq!(sent_in_a_second(Kind::Audio, 2_500_000, Duration::from_micros(2500)), 400, "the shortest frames");
        let of_flood = sent_in_a_second(Kind::Video, 2_500_000, Duration::from_micros(50));
        assert!((1555..=1563).contains(&of_flood), "{of_flood}");
    }
}
