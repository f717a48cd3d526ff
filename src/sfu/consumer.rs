//! Forwarding of one producer to one peer: which packets are sent, and how they are numbered.
//!
//! [`Consumer::forward`] takes each packet of the producer and returns the packet to send, if any.
//! A consumer switches to another simulcast layer at a keyframe of that layer, and forwards the old
//! layer until then.
//!
//! Invariant: the sent packets form one continuous sequence (see [`rewrite`](super::rewrite)).

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::Mid;
use str0m::rtp::{ExtensionValues, RtpWrite, Ssrc};

use super::codecs::Codec;
use super::id::{ConsumerId, ProducerId, TransportId};
use super::packet::Packet;
use super::parameters::TrackKind;
use super::payload::{PayloadInfo, renumber};
use super::request::RoomMember;
use super::rewrite::{PictureRewriter, SequenceRewriter, TimestampRewriter, capture_time};

/// One producer forwarded to one peer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) id: ConsumerId,
    pub(super) owner: RoomMember,
    pub(super) producer: ProducerId,
    pub(super) transport: TransportId,
    pub(super) mid: Mid,
    pub(super) ssrc: Ssrc,
    pub(super) rtx: Option<Ssrc>,
    pub(super) codec: Codec,
    /// Number of simulcast layers of the producer.
    layers: usize,
    pub(super) is_paused: bool,
    /// Whether the server has stopped forwarding, since the path to the client is too narrow.
    pub(super) is_suspended: bool,
    /// The highest simulcast layer that the client wants.
    pub(super) max_layer: usize,
    pub(super) max_temporal_layer: u8,
    /// The layer to switch to at its next keyframe.
    pub(super) target: usize,
    /// The stream that is being forwarded.
    source: Option<Source>,
    /// Whether packets are missing, so that forwarding must restart at a keyframe.
    is_broken: bool,
    temporal: u8,
    sequence: SequenceRewriter,
    timestamps: TimestampRewriter,
    picture_ids: PictureRewriter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    layer: usize,
    ssrc: Ssrc,
}

/// The result of forwarding a packet.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    /// The packet to send.
    pub(super) write: Option<RtpWrite>,
    /// Whether the consumer needs a keyframe of the packet's layer.
    pub(super) needs_keyframe: bool,
    /// Whether the consumer has switched to the packet's layer.
    pub(super) has_switched: bool,
}

/// The MID and SSRCs of a consumer's streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    pub(super) mid: Mid,
    pub(super) ssrc: Ssrc,
    pub(super) rtx: Option<Ssrc>,
}

impl Consumer {
    pub(super) fn new(
        owner: RoomMember,
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
            layers,
            is_paused: true,
            is_suspended: false,
            max_layer: layers.saturating_sub(1),
            max_temporal_layer: u8::MAX,
            target: 0,
            source: None,
            is_broken: true,
            temporal: u8::MAX,
            sequence: SequenceRewriter::default(),
            timestamps: TimestampRewriter::new(codec.clock_rate()),
            picture_ids: PictureRewriter::default(),
        }
    }

    /// Sets the highest layers that the client wants, limited to those that the producer has.
    pub(super) fn set_max_layers(&mut self, spatial: u8, temporal: u8) {
        self.max_layer = usize::from(spatial).min(self.layers.saturating_sub(1));
        self.max_temporal_layer = temporal;
    }

    /// Returns the layer that is being forwarded.
    pub(super) fn layer(&self) -> Option<usize> {
        self.source.map(|source| source.layer)
    }

    /// Returns the MID and SSRCs of the streams that the client receives.
    pub(super) fn streams(&self) -> Streams {
        Streams { mid: self.mid, ssrc: self.ssrc, rtx: self.rtx }
    }

    /// Returns the layer whose keyframe the consumer needs, or would need after a loss.
    pub(super) fn needed_layer(&self) -> usize {
        if self.is_broken { self.target } else { self.layer().unwrap_or(self.target) }
    }

    /// Returns whether packets are forwarded.
    pub(super) fn is_flowing(&self) -> bool {
        !self.is_paused && !self.is_suspended
    }

    /// Stops forwarding until the next keyframe, since packets will be missing.
    pub(super) fn interrupt(&mut self) {
        self.is_broken = true;
    }

    /// Takes a packet of a layer, and returns what to send for it.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        layer: usize,
        packet: &Packet,
        info: &PayloadInfo,
    ) -> Forwarded {
        let from = Source { layer, ssrc: packet.ssrc };
        let is_current = self.source == Some(from) && !self.is_broken;
        if !is_current && layer != self.target {
            // The old layer is forwarded until a keyframe of the new one, unless its packets are
            // missing.
            return Forwarded::default();
        }
        let mut has_switched = false;
        if !is_current {
            if !info.starts_keyframe {
                return Forwarded { needs_keyframe: true, ..Forwarded::default() };
            }
            has_switched = self.layer() != Some(layer);
            self.restart_at(now, from, packet, info);
        }
        let number = packet.number;
        if self.drops(info) {
            self.sequence.skip(number);
            return Forwarded { has_switched, ..Forwarded::default() };
        }
        let Some(number) = self.sequence.map(number) else {
            return Forwarded { has_switched, ..Forwarded::default() };
        };
        let timestamp = self.timestamps.map(packet.timestamp, now, self.capture_time(packet));
        let write = self.write(packet, info, number, timestamp);
        Forwarded { write: Some(write), needs_keyframe: false, has_switched }
    }

    fn restart_at(&mut self, now: Instant, from: Source, packet: &Packet, info: &PayloadInfo) {
        self.sequence.restart_at(packet.number);
        // After a pause of the same source, its own timestamps tell how long the pause was.
        if self.source.is_some_and(|source| source.ssrc != from.ssrc) {
            self.timestamps.restart_at(packet.timestamp, now, self.capture_time(packet));
        }
        if let Some(numbers) = info.numbers {
            self.picture_ids.restart_at(numbers);
        }
        self.source = Some(from);
        self.is_broken = false;
        self.temporal = self.max_temporal_layer;
    }

    fn capture_time(&self, packet: &Packet) -> Option<Duration> {
        capture_time(packet.timestamp, self.codec.clock_rate(), packet.sender_info.as_ref())
    }

    /// Returns whether a packet belongs to a temporal layer that is not forwarded. Switches up
    /// where a higher layer can be decoded.
    fn drops(&mut self, info: &PayloadInfo) -> bool {
        if self.max_temporal_layer < self.temporal {
            self.temporal = self.max_temporal_layer;
        } else if info.temporal_layer > self.temporal
            && info.temporal_layer <= self.max_temporal_layer
            && (info.is_sync || info.starts_keyframe)
        {
            self.temporal = info.temporal_layer;
        }
        info.temporal_layer > self.temporal
    }

    fn write(
        &mut self,
        packet: &Packet,
        info: &PayloadInfo,
        number: u64,
        timestamp: u32,
    ) -> RtpWrite {
        let is_video = self.codec.kind() == TrackKind::Video;
        // MID, RID and transport-wide sequence numbers are set by the consumer's transport. Of the
        // others only those that the router supports for this kind are copied, since their ids may
        // mean something else on the producer's transport.
        let extensions = ExtensionValues {
            audio_level: packet.extensions.audio_level.filter(|_| !is_video),
            voice_activity: packet.extensions.voice_activity.filter(|_| !is_video),
            video_orientation: packet.extensions.video_orientation.filter(|_| is_video),
            ..ExtensionValues::default()
        };
        let payload_type = self.codec.payload_type().into();
        let (payload, patch) = match info.numbers {
            Some(from) => renumber(self.codec, &packet.payload, from, self.picture_ids.map(from)),
            None => (Arc::clone(&packet.payload), None),
        };
        // str0m panics when it retransmits on a stream without RTX.
        let can_retransmit = is_video && self.rtx.is_some();
        let write =
            RtpWrite::new(payload_type, number.into(), timestamp, packet.arrived_at, payload)
                .marker(packet.has_marker)
                .ext_vals(extensions)
                .nackable(can_retransmit);
        match patch {
            Some(patch) => write.vp8_patch(patch),
            None => write,
        }
    }
}
