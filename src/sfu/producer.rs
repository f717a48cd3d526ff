//! One track that a peer sends: its checked RTP parameters, its simulcast layers, and its rate
//! limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::{Mid, Rid};
use str0m::rtp::Extension;

use super::codecs::Codec;
use super::formats::TrackFormats;
use super::id::{ConsumerId, ProducerId, TransportId};
use super::parameters::{RtpParameters, TrackKind};
use super::request::{ProducerInfo, RoomMember, SfuErrorKind};
use super::token_bucket::{Rate, TokenBucket};

/// Minimum time between two keyframe requests to one layer: keyframes are large, and many consumers
/// need one at once.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

/// Maximum number of simulcast layers of one track.
const MAX_LAYERS: usize = 4;

/// The RTP parameters of a track, after they were checked.
#[derive(Debug)]
pub(super) struct TrackDescription {
    pub(super) mid: Mid,
    pub(super) codec: Codec,
    pub(super) formats: TrackFormats,
    pub(super) layers: Vec<Layer>,
    pub(super) cname: Option<String>,
}

/// One simulcast layer of a track.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) rid: Option<Rid>,
    pub(super) ssrc: Option<u32>,
    pub(super) rtx: Option<u32>,
    pub(super) meter: BitrateMeter,
    pub(super) keyframe_throttle: KeyframeThrottle,
}

impl TrackDescription {
    /// Checks RTP parameters.
    pub(super) fn check(kind: TrackKind, parameters: &RtpParameters) -> Result<Self, SfuErrorKind> {
        let wrong = |field, problem| SfuErrorKind::Parameter { field, problem };
        let mid = parameters.mid.as_deref().ok_or(wrong("rtpParameters.mid", "missing"))?;
        if mid.is_empty() || mid.len() > 16 || !mid.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("rtpParameters.mid", "must be 1 to 16 printable ASCII characters"));
        }
        let first = parameters.codecs.first().ok_or(wrong("rtpParameters.codecs", "empty"))?;
        let codec =
            Codec::parse(&first.mime_type, first.clock_rate, first.channels, &first.parameters)
                .ok_or(wrong("rtpParameters.codecs", "the router does not support this codec"))?;
        if codec.kind() != kind {
            return Err(wrong("kind", "not that of the codec"));
        }
        let formats = TrackFormats::read(parameters)?;
        let layers = Self::layers(kind, parameters, formats.rtx.is_some())?;
        let needs_rids = layers.iter().any(|layer| layer.ssrc.is_none());
        if needs_rids
            && ![Extension::RtpMid, Extension::RtpStreamId]
                .iter()
                .all(|name| formats.extensions.has(name))
        {
            let problem =
                "without an ssrc, headerExtensions must hold those of mid and rtp-stream-id";
            return Err(wrong("rtpParameters.encodings", problem));
        }
        // Consumers get it in session descriptions, where a line break would start another line.
        let is_printable = |cname: &String| {
            (1..=255).contains(&cname.len()) && cname.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let cname =
            parameters.rtcp.as_ref().and_then(|rtcp| rtcp.cname.clone()).filter(is_printable);
        Ok(Self { mid: mid.into(), codec, formats, layers, cname })
    }

    fn layers(
        kind: TrackKind,
        parameters: &RtpParameters,
        has_rtx: bool,
    ) -> Result<Vec<Layer>, SfuErrorKind> {
        const FIELD: &str = "rtpParameters.encodings";
        let wrong = |problem| SfuErrorKind::Parameter { field: FIELD, problem };
        let max = if kind == TrackKind::Audio { 1 } else { MAX_LAYERS };
        if parameters.encodings.is_empty() || parameters.encodings.len() > max {
            return Err(wrong(if kind == TrackKind::Audio {
                "must be one"
            } else {
                "must be one to four"
            }));
        }
        let mut layers: Vec<Layer> = Vec::new();
        for encoding in &parameters.encodings {
            let rid = match encoding.rid.as_deref() {
                None => None,
                Some(rid)
                    if (1..=8).contains(&rid.len())
                        && rid.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
                {
                    Some(Rid::from(rid))
                }
                Some(_) => return Err(wrong("a rid must be 1 to 8 ASCII letters and digits")),
            };
            let rtx = encoding.rtx.as_ref().map(|rtx| rtx.ssrc).filter(|_| has_rtx);
            if encoding.ssrc.is_none() && rid.is_none() {
                return Err(wrong("needs an ssrc or a rid"));
            }
            if encoding.ssrc == Some(0) || rtx == Some(0) {
                return Err(wrong("an ssrc must be 1 to 4294967295"));
            }
            let layer = Layer {
                rid,
                ssrc: encoding.ssrc,
                rtx,
                meter: BitrateMeter::default(),
                keyframe_throttle: KeyframeThrottle::default(),
            };
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

/// A track that a peer sends.
#[derive(Debug)]
pub(super) struct Producer {
    pub(super) id: ProducerId,
    pub(super) owner: RoomMember,
    pub(super) transport: TransportId,
    pub(super) is_paused: bool,
    pub(super) app_data: Arc<str>,
    pub(super) description: TrackDescription,
    pub(super) consumers: Vec<ConsumerId>,
    pub(super) limit: ProducerLimit,
}

impl Producer {
    pub(super) fn kind(&self) -> TrackKind {
        self.description.codec.kind()
    }

    pub(super) fn info(&self) -> ProducerInfo {
        ProducerInfo {
            id: self.id,
            peer: self.owner.peer.clone(),
            kind: self.kind(),
            is_paused: self.is_paused,
            app_data: Arc::clone(&self.app_data),
        }
    }

    /// Returns the layer of a stream, by its SSRC or the RID in its packets.
    pub(super) fn layer(&self, ssrc: u32, rid: Option<Rid>) -> Option<usize> {
        let layers = &self.description.layers;
        if let Some(found) = layers.iter().position(|layer| layer.ssrc == Some(ssrc)) {
            return Some(found);
        }
        match rid {
            Some(_) => layers.iter().position(|layer| layer.rid == rid),
            // A new SSRC of the only stream.
            None => (layers.len() == 1).then_some(0),
        }
    }

    /// Returns whether packets arrive.
    pub(super) fn is_active(&self, now: Instant) -> bool {
        self.description.layers.iter().any(|layer| layer.meter.rate(now).is_some())
    }

    /// Returns the bitrate of each layer, in bits per second; `None` for layers without packets.
    pub(super) fn bitrates(&self, now: Instant) -> Vec<Option<u64>> {
        self.description.layers.iter().map(|layer| layer.meter.rate(now)).collect()
    }
}

/// Measures the bitrate of the last three seconds: keyframes are rare, and many times larger than
/// other frames.
#[derive(Debug, Default)]
pub(super) struct BitrateMeter {
    began: Option<Instant>,
    last: Option<Instant>,
    /// Ring of slots of 100 ms: number since the start, and bytes.
    slots: [(u64, u64); Self::SLOTS],
}

impl BitrateMeter {
    const SLOTS: usize = 30;
    const SLOT: Duration = Duration::from_millis(100);
    /// A layer without packets for this long is inactive: encoders send at least five frames per
    /// second.
    const TIMEOUT: Duration = Duration::from_millis(1500);

    pub(super) fn add(&mut self, now: Instant, bytes: usize) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) > Self::TIMEOUT) {
            *self = Self::default();
        }
        let number = self.number(now);
        self.began.get_or_insert(now);
        self.last = Some(now);
        let slot = &mut self.slots[Self::slot_index(number)];
        if slot.0 != number {
            *slot = (number, 0);
        }
        slot.1 += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    fn number(&self, now: Instant) -> u64 {
        let age = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        u64::try_from(age.as_millis() / Self::SLOT.as_millis()).unwrap_or(u64::MAX)
    }

    fn slot_index(number: u64) -> usize {
        usize::try_from(number % Self::SLOTS as u64).unwrap_or_default()
    }

    /// Returns the bitrate in bits per second; `None` if the layer is inactive.
    pub(super) fn rate(&self, now: Instant) -> Option<u64> {
        let last = self.last?;
        if now.saturating_duration_since(last) > Self::TIMEOUT {
            return None;
        }
        let number = self.number(now);
        let recent = self.slots.iter().filter(|(slot, _)| slot + Self::SLOTS as u64 > number);
        let bytes: u64 = recent.map(|(_, bytes)| bytes).sum();
        let slots = (number + 1).min(Self::SLOTS as u64);
        Some(bytes * 8 * 10 / slots)
    }
}

/// Limits keyframe requests to one layer.
#[derive(Debug, Default)]
pub(super) struct KeyframeThrottle {
    last: Option<Instant>,
    /// Whether a request was suppressed because it came too soon after another.
    is_pending: bool,
}

impl KeyframeThrottle {
    /// Returns whether to send a request now; if not, [`KeyframeThrottle::is_due`] tells when to.
    pub(super) fn request(&mut self, now: Instant) -> bool {
        self.is_pending = self.is_too_soon(now);
        if !self.is_pending {
            self.last = Some(now);
        }
        !self.is_pending
    }

    /// Returns whether it is time to send a suppressed request.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_pending && !self.is_too_soon(now)
    }

    fn is_too_soon(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < KEYFRAME_INTERVAL)
    }

    /// Records that a keyframe has arrived.
    pub(super) fn keyframe_arrived(&mut self) {
        self.is_pending = false;
    }
}

/// Maximum bitrate of audio, in bits per second: that of Opus.
const AUDIO_BITRATE: u32 = 510_000;

/// How many times its maximum bitrate a producer may send. Clients keep to the bitrate that REMB
/// announces; the limit is for those that do not.
const HEADROOM: f64 = 2.0;

/// Bytes of a packet besides its payload: IP, UDP, RTP with extensions, and the SRTP tag.
const OVERHEAD: usize = 64;

/// Maximum number of audio packets per second. Opus sends 400 with its shortest frames.
const AUDIO_PACKETS: f64 = 500.0;

/// Minimum limit of video packets per second, and the packet size from which a higher one is
/// derived for high bitrates.
const VIDEO_PACKETS: f64 = 1000.0;
const VIDEO_PACKET: f64 = 500.0;

/// Burst capacity after a stall, in seconds of the sustained rate: for bytes, since keyframes are
/// large, and for packets.
const BYTE_BURST: f64 = 2.0;
const PACKET_BURST: f64 = 0.25;

/// Returns the maximum bitrate of a producer, in bits per second, as announced to its client.
pub(super) fn max_bitrate(kind: TrackKind, configured: u32) -> u32 {
    match kind {
        TrackKind::Audio => configured.min(AUDIO_BITRATE),
        TrackKind::Video => configured,
    }
}

/// Limits what a producer may send, in bytes including headers, and in packets, since each costs
/// the same work.
#[derive(Debug)]
pub(super) struct ProducerLimit {
    bytes: TokenBucket,
    packets: TokenBucket,
    packets_per_second: f64,
}

impl ProducerLimit {
    pub(super) fn new(kind: TrackKind, bitrate: u32, now: Instant) -> Self {
        let per_second = f64::from(max_bitrate(kind, bitrate)) / 8.0 * HEADROOM;
        let packets_per_second = match kind {
            TrackKind::Audio => AUDIO_PACKETS,
            TrackKind::Video => VIDEO_PACKETS.max(per_second / VIDEO_PACKET),
        };
        let bytes = Rate { per_second, burst: per_second * BYTE_BURST };
        let packets =
            Rate { per_second: packets_per_second, burst: packets_per_second * PACKET_BURST };
        Self {
            bytes: TokenBucket::new(bytes, now),
            packets: TokenBucket::new(packets, now),
            packets_per_second,
        }
    }

    /// Returns whether a packet with a payload of `payload` bytes is within the limits.
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
    fn meter_covers_last_three_seconds() {
        let (start, mut meter) = (Instant::now(), BitrateMeter::default());
        let tenth = |number: u64| start + Duration::from_millis(number * 100);
        (0..50).for_each(|number| meter.add(tenth(number), 1250));
        assert_eq!(meter.rate(tenth(49)), Some(100_000));
        assert_eq!(meter.rate(tenth(59)), Some(66_666), "one of three seconds without packets");
        assert_eq!(meter.rate(tenth(70)), None);
        meter.add(tenth(70), 1250);
        assert_eq!(meter.rate(tenth(70)), Some(100_000), "packets before the gap do not count");
    }

    #[test]
    fn early_keyframe_request_is_deferred() {
        let (start, mut keyframe_throttle) = (Instant::now(), KeyframeThrottle::default());
        assert!(keyframe_throttle.request(start));
        assert!(!keyframe_throttle.request(start + Duration::from_millis(100)));
        assert!(!keyframe_throttle.is_due(start + Duration::from_millis(400)));
        let later = start + Duration::from_millis(500);
        assert!(keyframe_throttle.is_due(later) && keyframe_throttle.request(later));
        assert!(!keyframe_throttle.is_due(start + Duration::from_secs(5)));
    }

    #[test]
    fn limit_counts_bytes_with_headers() {
        let start = Instant::now();
        let mut limit = ProducerLimit::new(TrackKind::Video, 80_000, start);
        let sent = (0..100).filter(|_| limit.take(start, 1000 - OVERHEAD)).count();
        assert_eq!(sent, 40, "two seconds of twice its bitrate");
        assert!(limit.take(start + Duration::from_secs(1), 1000));
    }

    #[test]
    fn limit_counts_packets() {
        let start = Instant::now();
        let sent_in_a_second = |kind, bits, every: Duration| {
            let mut limit = ProducerLimit::new(kind, bits, start);
            let count =
                u32::try_from(Duration::from_secs(1).as_micros() / every.as_micros()).unwrap();
            (0..count).filter(|n| limit.take(start + every * *n, 1)).count()
        };
        let of_flood = sent_in_a_second(TrackKind::Audio, 2_500_000, Duration::from_micros(125));
        assert!((620..=626).contains(&of_flood), "500 and a burst of 125: {of_flood}");
        assert_eq!(
            sent_in_a_second(TrackKind::Audio, 2_500_000, Duration::from_micros(2500)),
            400,
            "the shortest frames"
        );
        let of_flood = sent_in_a_second(TrackKind::Video, 2_500_000, Duration::from_micros(50));
        assert!((1555..=1563).contains(&of_flood), "{of_flood}");
    }
}
