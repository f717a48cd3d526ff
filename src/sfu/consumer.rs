//! One producer on its way to one peer: which packets, with which numbers.
//!
//! - [`Consumer::offer`] is given each packet of its producer, and makes of it what goes out, if it does;
//! - another layer is switched to where a keyframe of it starts, and not before: until then the old one goes on.
//!
//! The guarantee that is easy to break: what goes out is one unbroken sequence (see [`rewrite`](super::rewrite)).

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::Mid;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};

use super::codec::{Glance, renumber};
use super::id::{ConsumerId, ProducerId, TransportId};
use super::parameters::Kind;
use super::request::Asker;
use super::rewrite::{Clock, Pictures, Sequence, captured};
use super::router::Codec;

/// A consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) id: ConsumerId,
    pub(super) owner: Asker,
    pub(super) producer: ProducerId,
    pub(super) transport: TransportId,
    pub(super) mid: Mid,
    pub(super) ssrc: Ssrc,
    pub(super) rtx: Option<Ssrc>,
    pub(super) codec: Codec,
    pub(super) is_paused: bool,
    /// The most that the client wants.
    pub(super) wanted: usize,
    pub(super) wanted_temporal: u8,
    /// The layer to have, as soon as it can be switched to.
    pub(super) target: usize,
    /// Where the packets come from now.
    source: Option<Source>,
    /// The source is to be begun again, at a keyframe: there is a gap.
    is_broken: bool,
    temporal: u8,
    sequence: Sequence,
    clock: Clock,
    pictures: Pictures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    layer: usize,
    ssrc: Ssrc,
}

/// What a consumer makes of a packet.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// What goes out.
    pub(super) write: Option<RtpWrite>,
    /// Whether a keyframe of the packet's layer is needed.
    pub(super) needs_keyframe: bool,
    /// Whether another layer than before begins with it.
    pub(super) has_switched: bool,
}

/// A consumer's streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    pub(super) mid: Mid,
    pub(super) ssrc: Ssrc,
    pub(super) rtx: Option<Ssrc>,
}

impl Consumer {
    pub(super) fn new(
        owner: Asker,
        producer: ProducerId,
        transport: TransportId,
        codec: Codec,
        layers: usize,
        streams: Streams,
    ) -> Self {
        Self {
            id: ConsumerId::random(),
            owner,
            producer,
            transport,
            mid: streams.mid,
            ssrc: streams.ssrc,
            rtx: streams.rtx,
            codec,
            is_paused: true,
            wanted: layers.saturating_sub(1),
            wanted_temporal: u8::MAX,
            target: 0,
            source: None,
            is_broken: true,
            temporal: u8::MAX,
            sequence: Sequence::default(),
            clock: Clock::new(codec.clock_rate()),
            pictures: Pictures::default(),
        }
    }

    /// The layer that it receives now.
    pub(super) fn layer(&self) -> Option<usize> {
        self.source.map(|source| source.layer)
    }

    /// The layer whose keyframe would help it now.
    pub(super) fn needed_layer(&self) -> usize {
        if self.is_broken { self.target } else { self.layer().unwrap_or(self.target) }
    }

    /// From here on something is missing: it goes on with a keyframe.
    pub(super) fn interrupt(&mut self) {
        self.is_broken = true;
    }

    /// Takes a packet of one layer.
    pub(super) fn offer(&mut self, now: Instant, layer: usize, packet: &RtpPacket, glance: &Glance) -> Offered {
        let from = Source { layer, ssrc: packet.header.ssrc };
        let is_current = self.source == Some(from) && !self.is_broken;
        if !is_current && layer != self.target {
            // The layer that is left goes on until the new one begins, if nothing of it is missing.
            return Offered::default();
        }
        let mut has_switched = false;
        if !is_current {
            if !glance.starts_keyframe {
                return Offered { needs_keyframe: true, ..Offered::default() };
            }
            has_switched = self.layer() != Some(layer);
            self.begin(now, from, packet, glance);
        }
        let number = *packet.seq_no;
        if self.leaves_out(glance) {
            self.sequence.skip(number);
            return Offered { has_switched, ..Offered::default() };
        }
        let Some(number) = self.sequence.map(number) else { return Offered { has_switched, ..Offered::default() } };
        let timestamp = self.clock.map(packet.header.timestamp, now, self.captured(packet));
        let write = self.write(packet, glance, number, timestamp);
        Offered { write: Some(write), needs_keyframe: false, has_switched }
    }

    fn begin(&mut self, now: Instant, from: Source, packet: &RtpPacket, glance: &Glance) {
        self.sequence.begin(*packet.seq_no);
        // After a pause the same source's own clock tells how long that was.
        if self.source.is_some_and(|source| source.ssrc != from.ssrc) {
            self.clock.begin(packet.header.timestamp, now, self.captured(packet));
        }
        if let Some(numbers) = glance.numbers {
            self.pictures.begin(numbers);
        }
        self.source = Some(from);
        self.is_broken = false;
        self.temporal = self.wanted_temporal;
    }

    fn captured(&self, packet: &RtpPacket) -> Option<Duration> {
        captured(packet.header.timestamp, self.codec.clock_rate(), packet.last_sender_info.as_ref())
    }

    /// Whether a packet belongs to a part of the frame rate that is not wanted. More of it is taken up again where it
    /// can be decoded.
    fn leaves_out(&mut self, glance: &Glance) -> bool {
        if self.wanted_temporal < self.temporal {
            self.temporal = self.wanted_temporal;
        } else if glance.temporal_layer > self.temporal
            && glance.temporal_layer <= self.wanted_temporal
            && (glance.is_sync || glance.starts_keyframe)
        {
            self.temporal = glance.temporal_layer;
        }
        glance.temporal_layer > self.temporal
    }

    fn write(&mut self, packet: &RtpPacket, glance: &Glance, number: u64, timestamp: u32) -> RtpWrite {
        let header = &packet.header;
        let is_video = self.codec.kind() == Kind::Video;
        // What names or times a packet is its transport's own; what else it seems to have may be something else.
        let extensions = ExtensionValues {
            audio_level: header.ext_vals.audio_level.filter(|_| !is_video),
            voice_activity: header.ext_vals.voice_activity.filter(|_| !is_video),
            video_orientation: header.ext_vals.video_orientation.filter(|_| is_video),
            ..ExtensionValues::default()
        };
        let payload_type = self.codec.payload_type().into();
        let (payload, patch) = match glance.numbers {
            Some(from) => renumber(self.codec, &packet.payload, from, self.pictures.map(from)),
            None => (Arc::clone(&packet.payload), None),
        };
        // The library panics where it is to send again what has no stream for that.
        let is_resendable = is_video && self.rtx.is_some();
        let write = RtpWrite::new(payload_type, number.into(), timestamp, packet.timestamp, payload)
            .marker(header.marker)
            .ext_vals(extensions)
            .nackable(is_resendable);
        match patch {
            Some(patch) => write.vp8_patch(patch),
            None => write,
        }
    }
}
