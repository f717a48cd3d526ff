//! Bandwidth: how that of one client is shared out among what it is sent.
//!
//! - [`Sfu::allot`] runs four times a second, for each receiving transport, with what the library estimates it can take;
//! - [`allot`] says which layer each of its consumers is to have;
//! - [`Restraint`] keeps layers that were taken back from being tried again too soon.
//!
//! The guarantee that is easy to break: each switch costs a keyframe, which a narrow line hardly bears. So layers must not
//! swing, however the estimate and the rates of the layers do.

use std::time::{Duration, Instant};

use super::id::TransportId;
use super::parameters::Kind;
use super::switch::Sfu;
use super::transport::FIRST_ESTIMATE;

/// How long a step down is kept at first, and at the most: each step up that does not last doubles it.
const FIRST_HOLD: Duration = Duration::from_secs(5);
const LONGEST_HOLD: Duration = Duration::from_secs(20);

/// The end of a hold, in which padding finds out whether a step up is to be had. Before that, what waits on the line drains.
const TRIAL: Duration = Duration::from_secs(3);

/// A step up that is kept for so long has lasted.
const LASTING: Duration = Duration::from_secs(10);

impl Sfu {
    /// Shares out the bandwidth of a transport among its consumers, if there is anything to choose.
    pub(super) fn allot(&mut self, now: Instant, id: TransportId) {
        let Some(transport) = self.transports.get(&id) else { return };
        let mut producers =
            transport.consumers.iter().filter_map(|id| self.producers.get(&self.consumers.get(id)?.producer));
        let has_choice = producers.any(|producer| producer.description.layers.len() > 1);
        if self.on_transport(id, |transport, sink| transport.estimates(now, has_choice, sink)) != Some(true) {
            return;
        }
        let Some(transport) = self.transports.get(&id) else { return };
        let (mut audio, mut consumers, mut demands) = (0, Vec::new(), Vec::new());
        let flowing = transport.consumers.iter().filter_map(|id| self.consumers.get(id));
        for consumer in flowing.filter(|consumer| !consumer.is_paused) {
            let Some(producer) = self.producers.get(&consumer.producer) else { continue };
            let rates = producer.rates(now);
            if consumer.codec.kind() == Kind::Audio {
                audio += rates.into_iter().flatten().sum::<u64>();
            } else {
                consumers.push(consumer.id);
                demands.push(Demand { rates, wanted: consumer.wanted, current: consumer.layer() });
            }
        }
        let ceiling = transport.restraint.ceiling(now);
        let allotment = allot(transport.estimate.bits().saturating_sub(audio), ceiling, &demands);
        let (mut has_risen, mut has_fallen) = (false, false);
        for ((id, target), demand) in consumers.iter().zip(allotment.targets).zip(&demands) {
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            let Some(target) = target.filter(|target| *target != consumer.target) else { continue };
            has_risen |= target > consumer.target;
            has_fallen |= target < consumer.target && demand.could_have(consumer.target);
            consumer.target = target;
            let producer = consumer.producer;
            self.ask_layer(now, producer, target);
        }
        // What has only begun to flow tells nothing yet of how much it will be.
        let desired = (allotment.desired + audio).max(FIRST_ESTIMATE);
        let (total, least) = (allotment.total + audio, allotment.least + audio);
        self.on_transport(id, |transport, sink| {
            if has_risen {
                transport.restraint.risen(now);
            }
            if has_fallen {
                transport.restraint.fallen(now, allotment.total);
            }
            let next = if transport.restraint.is_resting(now) { total } else { allotment.next + audio };
            let (next, desired) = if demands.is_empty() { (0, 0) } else { (next, desired) };
            if !demands.is_empty() {
                transport.lift(now, least, sink);
            }
            transport.aim(next, desired, sink);
        });
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

impl Demand {
    /// Whether a layer is wanted, and flows: what keeps it from being had is bandwidth.
    fn could_have(&self, layer: usize) -> bool {
        layer <= self.wanted && self.rates.get(layer).is_some_and(Option::is_some)
    }
}

/// What the consumers of one transport are to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allotment {
    /// A layer for each; `None` where none flows.
    pub(super) targets: Vec<Option<usize>>,
    /// Bits a second of those.
    pub(super) total: u64,
    /// Bits a second that one step up would take, all together: padding up to there finds out whether they are to be had.
    pub(super) next: u64,
    /// Bits a second of all that is wanted.
    pub(super) desired: u64,
    /// Bits a second of the poorest layers, which are sent whatever the bandwidth.
    pub(super) least: u64,
}

/// Shares out a bandwidth, in bits a second: first the poorest layer for each, whatever it takes, then step by step the
/// better ones. A step up must leave a fifth, so that its keyframe does not take it back, and all of it be below the ceiling.
fn allot(bandwidth: u64, ceiling: u64, demands: &[Demand]) -> Allotment {
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
            let available = if is_step_up { (bandwidth / 5 * 4).min(ceiling) } else { bandwidth };
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
    let best = |demand: &Demand| demand.rates.iter().take(demand.wanted + 1).flatten().max().copied().unwrap_or(0);
    let desired = demands.iter().map(best).sum::<u64>() / 5 * 7;
    let targets = chosen.iter().map(|chosen| chosen.map(|(layer, _)| layer)).collect();
    Allotment { targets, total, next: next.unwrap_or(total), desired, least }
}

/// When the consumers of one transport may have more again, after some of it was taken back.
///
/// The estimate of a line that bears one layer and not quite the next comes and goes. A step up that had to be taken back is
/// tried again after a while, and after twice that if it was in vain.
#[derive(Debug)]
pub(super) struct Restraint {
    /// Until when, and what all may take together meanwhile, in bits a second.
    hold: Option<(Instant, u64)>,
    length: Duration,
    risen_at: Option<Instant>,
}

/// What the library estimates that one client can receive, in bits a second.
#[derive(Debug)]
pub(super) struct Estimate {
    /// Of three seconds: steady, and too late for a line that has become narrow.
    average: u64,
    /// Of the last two looks at it: not every dip is one.
    latest: [u64; 2],
}

impl Estimate {
    pub(super) fn new(bits: u64) -> Self {
        Self { average: bits, latest: [bits; 2] }
    }

    pub(super) fn average_is(&mut self, bits: u64) {
        self.average = bits;
    }

    pub(super) fn latest_is(&mut self, bits: u64) {
        self.latest = [bits, self.latest[0]];
    }

    pub(super) fn bits(&self) -> u64 {
        self.average.min(self.latest[0].max(self.latest[1]))
    }
}

impl Restraint {
    pub(super) fn new() -> Self {
        Self { hold: None, length: FIRST_HOLD, risen_at: None }
    }

    /// The bits a second up to which there may be steps up.
    fn ceiling(&self, now: Instant) -> u64 {
        self.hold.filter(|(until, _)| now < *until).map_or(u64::MAX, |(_, ceiling)| ceiling)
    }

    /// Whether not even padding is to look for more.
    fn is_resting(&self, now: Instant) -> bool {
        self.hold.is_some_and(|(until, _)| now + TRIAL < until)
    }

    fn risen(&mut self, now: Instant) {
        self.risen_at = Some(now);
    }

    /// Something was taken back, so that `total` bits a second are left.
    fn fallen(&mut self, now: Instant, total: u64) {
        match self.risen_at.take() {
            Some(at) if now.saturating_duration_since(at) >= LASTING => self.length = FIRST_HOLD,
            Some(_) if self.hold.is_some() => self.length = (self.length * 2).min(LONGEST_HOLD),
            _ => {}
        }
        self.hold = Some((now + self.length, total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(wanted: usize, current: Option<usize>) -> Demand {
        Demand { rates: vec![Some(100), Some(300), Some(1000)], wanted, current }
    }

    fn targets(bandwidth: u64, demands: &[Demand]) -> Vec<Option<usize>> {
        allot(bandwidth, u64::MAX, demands).targets
    }

    #[test]
    fn bandwidth_is_shared_from_the_poorest_up() {
        assert_eq!(targets(10, &[demand(2, None)]), [Some(0)], "one at the least");
        assert_eq!(targets(10_000, &[demand(2, None)]), [Some(2)]);
        assert_eq!(targets(10_000, &[demand(1, None)]), [Some(1)], "no more than wanted");
        assert_eq!(targets(750, &[demand(2, None), demand(2, None)]), [Some(1), Some(1)]);
        assert_eq!(targets(500, &[demand(2, None), demand(2, None)]), [Some(1), Some(0)]);
    }

    #[test]
    fn a_step_up_leaves_something_and_a_layer_is_kept_while_it_fits() {
        assert_eq!(targets(1200, &[demand(2, Some(1))]), [Some(1)]);
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
        let allotment = allot(700, u64::MAX, &[demand(2, Some(1))]);
        assert_eq!((allotment.total, allotment.next, allotment.desired, allotment.least), (300, 1400, 1400, 100));
        let nothing = Allotment { targets: vec![], total: 0, next: 0, desired: 0, least: 0 };
        assert_eq!(allot(700, u64::MAX, &[]), nothing);
    }

    #[test]
    fn below_a_ceiling_what_there_is_may_change_hands() {
        let two = [demand(0, Some(1)), demand(2, Some(0))];
        assert_eq!(allot(10_000, 400, &two).targets, [Some(0), Some(1)]);
        assert_eq!(allot(10_000, 399, &two).targets, [Some(0), Some(0)]);
        assert_eq!(allot(10_000, 0, &[demand(2, Some(1))]).targets, [Some(1)], "what one has is no step up");
    }

    #[test]
    fn an_estimate_falls_at_the_second_look() {
        let mut estimate = Estimate::new(800);
        estimate.latest_is(300);
        assert_eq!(estimate.bits(), 800);
        estimate.latest_is(400);
        assert_eq!(estimate.bits(), 400);
        estimate.latest_is(900);
        assert_eq!(estimate.bits(), 800);
        estimate.average_is(350);
        assert_eq!(estimate.bits(), 350);
    }

    #[test]
    fn what_was_taken_back_is_tried_again_later_and_later() {
        let (mut now, mut restraint) = (Instant::now(), Restraint::new());
        let mut hold = |restraint: &mut Restraint, lasts: Duration| {
            restraint.risen(now);
            now += lasts;
            restraint.fallen(now, 300);
            let began = now;
            assert!(restraint.is_resting(now) && restraint.ceiling(now) == 300);
            while restraint.ceiling(now) == 300 {
                now += Duration::from_millis(250);
            }
            assert_eq!(restraint.ceiling(now), u64::MAX);
            let length = now - began;
            assert!(!restraint.is_resting(began + length.saturating_sub(TRIAL)));
            length.as_secs()
        };
        let (briefly, long) = (Duration::from_secs(2), LASTING);
        let holds = [briefly, briefly, briefly, briefly, long, briefly].map(|lasts| hold(&mut restraint, lasts));
        assert_eq!(holds, [5, 10, 20, 20, 5, 10]);
        // A second step down belongs to the first.
        restraint.fallen(now, 100);
        assert_eq!(restraint.ceiling(now + Duration::from_secs(9)), 100);
        assert_eq!(restraint.ceiling(now + Duration::from_secs(10)), u64::MAX);
    }
}
