//! Bandwidth allocation: which simulcast layer each consumer of a transport gets.
//!
//! - [`Sfu::allocate`] runs four times a second for each receiving transport, with str0m's
//!   bandwidth estimate;
//! - [`allocate`] chooses a layer for each consumer;
//! - [`UpgradeBackoff`] delays the next upgrade after a downgrade.
//!
//! Invariant: layers do not oscillate, however the estimate and the bitrates of the layers do. Each
//! switch costs a keyframe, which a narrow path can hardly carry.

use std::time::{Duration, Instant};

use super::id::TransportId;
use super::parameters::TrackKind;
use super::state::Sfu;
use super::transport::FIRST_ESTIMATE;

/// Time without upgrades after a downgrade. Each upgrade that does not last doubles it, up to the
/// maximum.
const MIN_BACKOFF: Duration = Duration::from_secs(5);
const MAX_BACKOFF: Duration = Duration::from_secs(20);

/// Last part of the backoff, in which padding probes for an upgrade. Before that, queues on the
/// path drain.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// The time over which str0m averages its estimates.
const AVERAGE_TIME: Duration = Duration::from_secs(3);

/// An upgrade that is kept for this long has lasted.
const STABLE_TIME: Duration = Duration::from_secs(10);

impl Sfu {
    /// Allocates the bandwidth of a transport to its consumers, if any of their producers has
    /// several layers, or if the path may be too narrow for one.
    pub(super) fn allocate(&mut self, now: Instant, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let router_id = transport.router;
        let Some(router) = self.routers.get(&router_id) else { return };
        let (mut has_choice, mut is_suspended, mut video_arrives) = (false, false, false);
        for consumer in transport.consumers.iter().filter_map(|id| router.consumers.get(id)) {
            is_suspended |= consumer.is_suspended;
            let producer = router.producers.get(&consumer.producer);
            has_choice |= producer.is_some_and(|producer| producer.description.layers.len() > 1);
            if transport.congestion.is_starting()
                && consumer.is_flowing()
                && consumer.codec.kind() == TrackKind::Video
            {
                video_arrives |= producer.is_some_and(|producer| producer.is_active(now));
            }
        }
        let is_estimating = self.on_transport(id, |transport, output| {
            if video_arrives {
                transport.congestion.video_arrives(now);
            }
            has_choice |= is_suspended || transport.congestion.is_suspected(now);
            transport.update_estimation(now, has_choice, output)
        });
        if is_estimating != Some(true) {
            return;
        }
        let (Some(transport), Some(router)) =
            (self.transports.get(&id), self.routers.get(&router_id))
        else {
            return;
        };
        let (mut audio, mut consumers, mut demands) = (0, Vec::new(), Vec::new());
        let flowing = transport.consumers.iter().filter_map(|id| router.consumers.get(id));
        for consumer in flowing.filter(|consumer| !consumer.is_paused) {
            let Some(producer) = router.producers.get(&consumer.producer) else { continue };
            let rates = producer.bitrates(now);
            if consumer.codec.kind() == TrackKind::Audio {
                audio += rates.into_iter().flatten().sum::<u64>();
            } else {
                consumers.push(consumer.id);
                let (max_layer, current) = (consumer.max_layer, consumer.layer());
                demands.push(VideoDemand {
                    rates,
                    max_layer,
                    current,
                    is_suspended: consumer.is_suspended,
                });
            }
        }
        let (estimate, has_feedback) =
            (transport.estimate.bits(now), transport.congestion.has_feedback());
        let ceiling = transport.upgrade_backoff.ceiling(now);
        let allocation = allocate(estimate.saturating_sub(audio), ceiling, &demands);
        let (mut has_upgraded, mut has_downgraded) = (false, false);
        let (routers, mut outlet) = self.split();
        let Some(router) = routers.get_mut(&router_id) else { return };
        for ((id, target), demand) in consumers.iter().zip(&allocation.targets).zip(&demands) {
            let Some(consumer) = router.consumers.get_mut(id) else { continue };
            let target = target.filter(|target| demand.is_suspended || *target != consumer.target);
            let Some(target) = target else { continue };
            has_upgraded |= demand.is_suspended || target > consumer.target;
            has_downgraded |= target < consumer.target && demand.is_available(consumer.target);
            (consumer.target, consumer.is_suspended) = (target, false);
            let producer = consumer.producer;
            router.request_keyframe(now, producer, target, &mut outlet);
        }
        let mut total = allocation.total;
        if let Some((index, rate)) = largest_single_layer(&demands) {
            let is_short = outlet.on_transport(id, |transport, _| {
                transport.congestion.is_short(now, estimate, total + audio)
            });
            let consumer = consumers.get(index).and_then(|id| router.consumers.get_mut(id));
            if let Some(consumer) = consumer.filter(|_| is_short == Some(true)) {
                consumer.is_suspended = true;
                consumer.interrupt();
                has_downgraded = true;
                total = total.saturating_sub(rate);
            }
        }
        // The bitrate of a stream that has only just started is not meaningful yet.
        let desired = (allocation.desired + audio).max(FIRST_ESTIMATE);
        // The bitrate that is sent in any case. With feedback, the estimate decides about video
        // with a single layer.
        let least =
            allocation.least + audio - if has_feedback { single_layers(&demands) } else { 0 };
        self.on_transport(id, |transport, output| {
            if has_upgraded {
                transport.upgrade_backoff.upgraded(now);
            }
            if has_downgraded {
                transport.upgrade_backoff.downgraded(now, total);
            }
            let is_quiet = transport.upgrade_backoff.suppresses_probing(now);
            let next = if is_quiet { total } else { allocation.next } + audio;
            let (next, desired) = if demands.is_empty() { (0, 0) } else { (next, desired) };
            if !demands.is_empty() {
                transport.raise_estimate(now, least, output);
            }
            transport.set_bitrates(now, next, desired, output);
        });
    }
}

/// Returns the index and bitrate of the flowing video with a single layer and the highest bitrate.
fn largest_single_layer(demands: &[VideoDemand]) -> Option<(usize, u64)> {
    let rates = demands.iter().map(VideoDemand::single_layer).enumerate();
    rates.filter_map(|(index, rate)| Some((index, rate?))).max_by_key(|(_, rate)| *rate)
}

/// Returns the total bitrate of flowing video with a single layer.
fn single_layers(demands: &[VideoDemand]) -> u64 {
    demands.iter().filter_map(VideoDemand::single_layer).sum()
}

/// The bandwidth demand of one video consumer.
#[derive(Debug)]
pub(super) struct VideoDemand {
    /// Bitrate of each layer in bits per second, lowest quality first; `None` for layers without
    /// packets.
    pub(super) rates: Vec<Option<u64>>,
    /// The highest layer that the client wants.
    pub(super) max_layer: usize,
    /// The layer being forwarded.
    pub(super) current: Option<usize>,
    /// Whether forwarding has stopped, since the path is too narrow for the only layer.
    pub(super) is_suspended: bool,
}

impl VideoDemand {
    /// Returns whether a layer is wanted and has packets, so that only bandwidth can prevent
    /// forwarding it.
    fn is_available(&self, layer: usize) -> bool {
        layer <= self.max_layer && self.rates.get(layer).is_some_and(Option::is_some)
    }

    /// Returns the bitrate if there is only one layer, and it is not suspended.
    fn single_layer(&self) -> Option<u64> {
        match &*self.rates {
            [rate] if !self.is_suspended => *rate,
            _ => None,
        }
    }
}

/// The layers allocated to the consumers of one transport. Bitrates are in bits per second.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allocation {
    /// The layer of each consumer; `None` if no layer has packets, or if it stays suspended.
    pub(super) targets: Vec<Option<usize>>,
    /// Total bitrate of these layers.
    pub(super) total: u64,
    /// Total bitrate after the next upgrade. Padding up to this bitrate probes whether it is
    /// available.
    pub(super) next: u64,
    /// Total bitrate of the highest wanted layers.
    pub(super) desired: u64,
    /// Total bitrate of the lowest layers, which are sent regardless of bandwidth.
    pub(super) least: u64,
}

/// Allocates a bandwidth in bits per second: first the lowest layer to each consumer that is not
/// suspended, whatever it takes, then higher ones step by step. An upgrade, which a resumption is
/// as well, must leave a fifth of the bandwidth, so that its own keyframe does not revert it, and
/// keep the total below the ceiling.
fn allocate(bandwidth: u64, ceiling: u64, demands: &[VideoDemand]) -> Allocation {
    let flowing = |demand: &VideoDemand, above: Option<usize>| {
        let first = above.map_or(0, |above| above + 1);
        (first..demand.rates.len().min(demand.max_layer + 1))
            .find_map(|layer| Some((layer, demand.rates[layer]?)))
    };
    let lowest = |demand: &VideoDemand| {
        // If no wanted layer has packets, the lowest one that has.
        flowing(demand, None).or_else(|| {
            demand.rates.iter().enumerate().find_map(|(layer, rate)| Some((layer, (*rate)?)))
        })
    };
    let first = |demand: &VideoDemand| if demand.is_suspended { None } else { lowest(demand) };
    let mut chosen: Vec<Option<(usize, u64)>> = demands.iter().map(first).collect();
    let least = chosen.iter().flatten().map(|(_, rate)| rate).sum();
    let mut total: u64 = least;
    let mut next = None;
    loop {
        let mut has_changed = false;
        for (demand, chosen) in demands.iter().zip(&mut chosen) {
            let (layer, rate) = chosen.unzip();
            if layer.is_none() && !demand.is_suspended {
                continue;
            }
            let Some((better, better_rate)) = flowing(demand, layer) else { continue };
            let with_it = total - rate.unwrap_or_default() + better_rate;
            let is_upgrade =
                demand.is_suspended || demand.current.is_none_or(|current| better > current);
            let available = if is_upgrade { (bandwidth / 5 * 4).min(ceiling) } else { bandwidth };
            if with_it <= available {
                *chosen = Some((better, better_rate));
                (total, has_changed) = (with_it, true);
            } else if !has_changed {
                next = Some(next.unwrap_or(u64::MAX).min(with_it / 5 * 7));
            }
        }
        if !has_changed {
            break;
        }
        next = None;
    }
    let best = |demand: &VideoDemand| {
        demand.rates.iter().take(demand.max_layer + 1).flatten().max().copied().unwrap_or(0)
    };
    let desired = demands.iter().map(best).sum::<u64>() / 5 * 7;
    let targets = chosen.iter().map(|chosen| chosen.map(|(layer, _)| layer)).collect();
    Allocation { targets, total, next: next.unwrap_or(total), desired, least }
}

/// Delays upgrades of a transport after a downgrade.
///
/// The estimate of a path that carries one layer but not quite the next one fluctuates. An upgrade
/// that was reverted is tried again after a while, and after twice as long if it fails again.
#[derive(Debug)]
pub(super) struct UpgradeBackoff {
    /// The end of the backoff, and the maximum total bitrate until then, in bits per second.
    limit: Option<(Instant, u64)>,
    length: Duration,
    upgraded_at: Option<Instant>,
}

/// The bandwidth estimate for one client, in bits per second.
#[derive(Debug)]
pub(super) struct BandwidthEstimate {
    /// str0m's average over three seconds: stable, but slow to follow a path that has become
    /// narrower.
    average: u64,
    /// The last two momentary estimates: a single low one is ignored.
    latest: [u64; 2],
    /// Until when the average is ignored, since it includes what was estimated before a restart.
    restarted_until: Option<Instant>,
}

impl BandwidthEstimate {
    pub(super) fn new(bits: u64) -> Self {
        Self { average: bits, latest: [bits; 2], restarted_until: None }
    }

    /// Starts again at `bits` bits per second, after a time without estimation.
    pub(super) fn restart(bits: u64, now: Instant) -> Self {
        Self { restarted_until: Some(now + AVERAGE_TIME), ..Self::new(bits) }
    }

    pub(super) fn set_average(&mut self, bits: u64) {
        self.average = bits;
    }

    pub(super) fn add_latest(&mut self, bits: u64) {
        self.latest = [bits, self.latest[0]];
    }

    pub(super) fn bits(&self, now: Instant) -> u64 {
        let latest = self.latest[0].max(self.latest[1]);
        if self.restarted_until.is_some_and(|until| now < until) {
            latest
        } else {
            self.average.min(latest)
        }
    }
}

impl UpgradeBackoff {
    pub(super) fn new() -> Self {
        Self { limit: None, length: MIN_BACKOFF, upgraded_at: None }
    }

    /// Returns the maximum total bitrate after upgrades, in bits per second.
    fn ceiling(&self, now: Instant) -> u64 {
        self.limit.filter(|(until, _)| now < *until).map_or(u64::MAX, |(_, ceiling)| ceiling)
    }

    /// Returns whether padding must not probe for more bandwidth yet.
    fn suppresses_probing(&self, now: Instant) -> bool {
        self.limit.is_some_and(|(until, _)| now + PROBE_TIME < until)
    }

    fn upgraded(&mut self, now: Instant) {
        self.upgraded_at = Some(now);
    }

    /// Records a downgrade to a total bitrate of `total` bits per second.
    fn downgraded(&mut self, now: Instant, total: u64) {
        match self.upgraded_at.take() {
            Some(at) if now.saturating_duration_since(at) >= STABLE_TIME => {
                self.length = MIN_BACKOFF;
            }
            Some(_) if self.limit.is_some() => self.length = (self.length * 2).min(MAX_BACKOFF),
            _ => {}
        }
        self.limit = Some((now + self.length, total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(max_layer: usize, current: Option<usize>) -> VideoDemand {
        VideoDemand {
            rates: vec![Some(100), Some(300), Some(1000)],
            max_layer,
            current,
            is_suspended: false,
        }
    }

    fn targets(bandwidth: u64, demands: &[VideoDemand]) -> Vec<Option<usize>> {
        allocate(bandwidth, u64::MAX, demands).targets
    }

    #[test]
    fn bandwidth_is_allocated_from_lowest_layer_up() {
        assert_eq!(targets(10, &[demand(2, None)]), [Some(0)], "at least the lowest layer");
        assert_eq!(targets(10_000, &[demand(2, None)]), [Some(2)]);
        assert_eq!(targets(10_000, &[demand(1, None)]), [Some(1)], "not above the wanted layer");
        assert_eq!(targets(750, &[demand(2, None), demand(2, None)]), [Some(1), Some(1)]);
        assert_eq!(targets(500, &[demand(2, None), demand(2, None)]), [Some(1), Some(0)]);
    }

    #[test]
    fn upgrade_leaves_headroom_and_layer_is_kept_while_it_fits() {
        assert_eq!(targets(1200, &[demand(2, Some(1))]), [Some(1)]);
        assert_eq!(targets(1050, &[demand(2, Some(2))]), [Some(2)]);
        assert_eq!(targets(950, &[demand(2, Some(2))]), [Some(1)]);
    }

    #[test]
    fn suspended_video_resumes_with_headroom() {
        let single = |is_suspended| VideoDemand {
            rates: vec![Some(1000)],
            max_layer: 0,
            current: Some(0),
            is_suspended,
        };
        assert_eq!(targets(300, &[single(false)]), [Some(0)], "until it is suspended");
        assert_eq!(targets(1200, &[single(true)]), [None]);
        assert_eq!(targets(1250, &[single(true)]), [Some(0)]);
        let allocation = allocate(300, u64::MAX, &[single(true), demand(2, None)]);
        assert_eq!(
            (allocation.targets, allocation.total, allocation.least),
            (vec![None, Some(0)], 100, 100)
        );
        assert_eq!(allocation.next, 420, "the next layer of the other one");
        assert_eq!(allocate(300, u64::MAX, &[single(true)]).next, 1400);
        assert_eq!(allocate(5000, 999, &[single(true)]).targets, [None], "not above the ceiling");
        assert_eq!(
            largest_single_layer(&[single(true), demand(2, None), single(false)]),
            Some((2, 1000))
        );
        assert_eq!(single_layers(&[single(true), demand(2, None), single(false)]), 1000);
    }

    #[test]
    fn layers_without_packets_are_skipped() {
        let gap = VideoDemand {
            rates: vec![Some(100), None, Some(1000)],
            max_layer: 2,
            current: None,
            is_suspended: false,
        };
        assert_eq!(targets(5000, &[gap]), [Some(2)]);
        let upper = VideoDemand {
            rates: vec![None, None, Some(1000)],
            max_layer: 0,
            current: None,
            is_suspended: false,
        };
        assert_eq!(targets(5000, &[upper]), [Some(2)], "a higher layer rather than none");
        let none =
            VideoDemand { rates: vec![None], max_layer: 0, current: None, is_suspended: false };
        assert_eq!(targets(5000, &[none]), [None]);
    }

    #[test]
    fn padding_probes_for_next_upgrade() {
        let allocation = allocate(700, u64::MAX, &[demand(2, Some(1))]);
        assert_eq!(
            (allocation.total, allocation.next, allocation.desired, allocation.least),
            (300, 1400, 1400, 100)
        );
        let nothing = Allocation { targets: vec![], total: 0, next: 0, desired: 0, least: 0 };
        assert_eq!(allocate(700, u64::MAX, &[]), nothing);
    }

    #[test]
    fn ceiling_limits_total_of_upgrades() {
        let two = [demand(0, Some(1)), demand(2, Some(0))];
        assert_eq!(allocate(10_000, 400, &two).targets, [Some(0), Some(1)]);
        assert_eq!(allocate(10_000, 399, &two).targets, [Some(0), Some(0)]);
        assert_eq!(
            allocate(10_000, 0, &[demand(2, Some(1))]).targets,
            [Some(1)],
            "keeping a layer is no upgrade"
        );
    }

    #[test]
    fn estimate_drops_at_second_low_value() {
        let now = Instant::now();
        let mut estimate = BandwidthEstimate::new(800);
        estimate.add_latest(300);
        assert_eq!(estimate.bits(now), 800);
        estimate.add_latest(400);
        assert_eq!(estimate.bits(now), 400);
        estimate.add_latest(900);
        assert_eq!(estimate.bits(now), 800);
        estimate.set_average(350);
        assert_eq!(estimate.bits(now), 350);
    }

    #[test]
    fn average_from_before_a_restart_is_ignored() {
        let now = Instant::now();
        let mut estimate = BandwidthEstimate::restart(800, now);
        estimate.set_average(400);
        assert_eq!(estimate.bits(now), 800);
        estimate.add_latest(700);
        estimate.add_latest(600);
        assert_eq!(estimate.bits(now), 700);
        assert_eq!(estimate.bits(now + AVERAGE_TIME), 400);
    }

    #[test]
    fn backoff_doubles_after_each_failed_upgrade() {
        let (mut now, mut upgrade_backoff) = (Instant::now(), UpgradeBackoff::new());
        let mut backoff = |upgrade_backoff: &mut UpgradeBackoff, lasts: Duration| {
            upgrade_backoff.upgraded(now);
            now += lasts;
            upgrade_backoff.downgraded(now, 300);
            let began = now;
            assert!(upgrade_backoff.suppresses_probing(now) && upgrade_backoff.ceiling(now) == 300);
            while upgrade_backoff.ceiling(now) == 300 {
                now += Duration::from_millis(250);
            }
            assert_eq!(upgrade_backoff.ceiling(now), u64::MAX);
            let length = now - began;
            assert!(!upgrade_backoff.suppresses_probing(began + length.saturating_sub(PROBE_TIME)));
            length.as_secs()
        };
        let (briefly, long) = (Duration::from_secs(2), STABLE_TIME);
        let backoffs = [briefly, briefly, briefly, briefly, long, briefly]
            .map(|lasts| backoff(&mut upgrade_backoff, lasts));
        assert_eq!(backoffs, [5, 10, 20, 20, 5, 10]);
        // A second downgrade belongs to the first.
        upgrade_backoff.downgraded(now, 100);
        assert_eq!(upgrade_backoff.ceiling(now + Duration::from_secs(9)), 100);
        assert_eq!(upgrade_backoff.ceiling(now + Duration::from_secs(10)), u64::MAX);
    }
}
