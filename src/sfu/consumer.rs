//! One producer on its way to one peer: which packets, with which numbers.
//!
//! - [`Consumer::offer`] is given each packet of its producer, and makes of it what goes out, if it does;
//! - another layer is switched to where a keyframe of it starts, and not before: until then the old one goes on;
//! - [`allot`] says which layers a transport's consumers are to have, by its bandwidth.
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
        let write = |payload: Arc<[u8]>| {
            RtpWrite::new(payload_type, number.into(), timestamp, packet.timestamp, payload)
                .marker(header.marker)
                .ext_vals(extensions.clone())
                .nackable(is_video)
        };
        match glance.numbers {
            Some(from) => renumber(self.codec, &packet.payload, from, self.pictures.map(from), &write),
            None => write(Arc::clone(&packet.payload)),
        }
    }
}

/// One consumer of pictures, as far as bandwidth is concerned.
#[derive(Debug)]
pub(super) struct Demand {
    /// Bits a second of each layer, the poorest first; `None` for those that do not flow.
    pub(super) rates: Vec<Option<u64>>,
    /// The most that is wanted.
    pub(super) wanted: usize,
    /// What it has.
    pub(super) current: Option<usize>,
}

/// What the consumers of one transport are to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allotment {
    /// A layer for each; `None` where none flows.
    pub(super) targets: Vec<Option<usize>>,
    /// Bits a second that one step up would take, all together: padding up to there finds out whether they are to be had.
    pub(super) next: u64,
    /// Bits a second of all that is wanted.
    pub(super) desired: u64,
    /// Bits a second of the poorest layers, which are sent whatever the bandwidth.
    pub(super) least: u64,
}

/// Shares out a bandwidth, in bits a second: first the poorest layer for each, whatever it takes, then step by step the
/// better ones. A step up must leave a tenth, so that it is not taken back at once.
pub(super) fn allot(bandwidth: u64, demands: &[Demand]) -> Allotment {
    let flowing = |demand: &Demand, above: Option<usize>| {
        let first = above.map_or(0, |above| above + 1);
        (first..demand.rates.len().min(demand.wanted + 1)).find_map(|layer| Some((layer, demand.rates[layer]?)))
    };
    let lowest = |demand: &Demand| {
        // Where nothing that is wanted flows, what flows at all.
        flowing(demand, None)
            .or_else(|| demand.rates.iter().enumerate().find_map(|(layer, rate)| Some((layer, (*rate)?))))
    };
    let mut chosen: Vec<Option<(usize, u64)>> = demands.iter().map(lowest).collect();
    let least = chosen.iter().flatten().map(|(_, rate)| rate).sum();
    let mut total: u64 = least;
    let mut next = None;
    loop {
        let mut has_changed = false;
        for (demand, chosen) in demands.iter().zip(&mut chosen) {
            let Some((layer, rate)) = *chosen else { continue };
            let Some((better, better_rate)) = flowing(demand, Some(layer)) else { continue };
            let with_it = total - rate + better_rate;
            let is_step_up = demand.current.is_none_or(|current| better > current);
            let available = if is_step_up { bandwidth / 10 * 9 } else { bandwidth };
            if with_it <= available {
                *chosen = Some((better, better_rate));
                (total, has_changed) = (with_it, true);
            } else if !has_changed {
                next = Some(next.unwrap_or(u64::MAX).min(with_it / 8 * 10));
            }
        }
        if !has_changed {
            break;
        }
        next = None;
    }
    let best = |demand: &Demand| demand.rates.iter().take(demand.wanted + 1).flatten().max().copied().unwrap_or(0);
    let desired = demands.iter().map(best).sum::<u64>() / 8 * 10;
    let targets = chosen.iter().map(|chosen| chosen.map(|(layer, _)| layer)).collect();
    Allotment { targets, next: next.unwrap_or(total), desired, least }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(wanted: usize, current: Option<usize>) -> Demand {
        Demand { rates: vec![Some(100), Some(300), Some(1000)], wanted, current }
    }

    fn targets(bandwidth: u64, demands: &[Demand]) -> Vec<Option<usize>> {
        allot(bandwidth, demands).targets
    }

    #[test]
    fn bandwidth_is_shared_from_the_poorest_up() {
        assert_eq!(targets(10, &[demand(2, None)]), [Some(0)], "one at the least");
        assert_eq!(targets(10_000, &[demand(2, None)]), [Some(2)]);
        assert_eq!(targets(10_000, &[demand(1, None)]), [Some(1)], "no more than wanted");
        assert_eq!(targets(700, &[demand(2, None), demand(2, None)]), [Some(1), Some(1)]);
        assert_eq!(targets(500, &[demand(2, None), demand(2, None)]), [Some(1), Some(0)]);
    }

    #[test]
    fn a_step_up_leaves_something_and_a_layer_is_kept_while_it_fits() {
        assert_eq!(targets(1050, &[demand(2, Some(1))]), [Some(1)]);
        assert_eq!(targets(1050, &[demand(2, Some(2))]), [Some(2)]);
        assert_eq!(targets(950, &[demand(2, Some(2))]), [Some(1)]);
    }

    #[test]
    fn layers_that_do_not_flow_are_passed_over() {
        let gap = Demand { rates: vec![Some(100), None, Some(1000)], wanted: 2, current: None };
        assert_eq!(targets(5000, &[gap]), [Some(2)]);
        let upper = Demand { rates: vec![None, None, Some(1000)], wanted: 0, current: None };
        assert_eq!(targets(5000, &[upper]), [Some(2)], "rather more than nothing");
        let none = Demand { rates: vec![None], wanted: 0, current: None };
        assert_eq!(targets(5000, &[none]), [None]);
    }

    #[test]
    fn what_would_be_used_is_looked_for() {
        let allotment = allot(700, &[demand(2, Some(1))]);
        assert_eq!((allotment.next, allotment.desired, allotment.least), (1250, 1250, 100));
        assert_eq!(allot(700, &[]), Allotment { targets: vec![], next: 0, desired: 0, least: 0 });
    }
}
