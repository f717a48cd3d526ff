//! Metrics that are copied from a snapshot of counters kept elsewhere. Each is defined in one
//! place: its name, its help text, and its value in the snapshot.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::CONSTANT;

/// Returns the value of a gauge in a snapshot.
type GaugeValue<S> = fn(&S) -> usize;

/// Returns the value of a counter in a snapshot.
type CounterValue<S> = fn(&S) -> u64;

/// Metrics that are set from snapshots of type `S`.
pub(super) struct Copied<'r, S> {
    registry: &'r Registry,
    values: Values<S>,
}

/// The registered metrics with their values in a snapshot.
pub(super) struct Values<S> {
    gauges: Vec<(IntGauge, GaugeValue<S>)>,
    counters: Vec<(IntCounter, CounterValue<S>)>,
}

impl<'r, S> Copied<'r, S> {
    pub(super) fn new(registry: &'r Registry) -> Self {
        Self { registry, values: Values { gauges: Vec::new(), counters: Vec::new() } }
    }

    /// Registers a gauge.
    pub(super) fn gauge(mut self, name: &str, help: &str, value: GaugeValue<S>) -> Self {
        let gauge = IntGauge::new(name, help).expect(CONSTANT);
        self.registry.register(Box::new(gauge.clone())).expect(CONSTANT);
        self.values.gauges.push((gauge, value));
        self
    }

    /// Registers a counter.
    pub(super) fn counter(mut self, name: &str, help: &str, value: CounterValue<S>) -> Self {
        let counter = IntCounter::new(name, help).expect(CONSTANT);
        self.registry.register(Box::new(counter.clone())).expect(CONSTANT);
        self.values.counters.push((counter, value));
        self
    }

    /// Registers counters of one name that differ in the value of a label.
    pub(super) fn labelled<const N: usize>(
        self,
        name: &str,
        help: &str,
        label: &str,
        values: [(&str, CounterValue<S>); N],
    ) -> Self {
        let counters = IntCounterVec::new(Opts::new(name, help), &[label]).expect(CONSTANT);
        self.registry.register(Box::new(counters.clone())).expect(CONSTANT);
        self.registered(&counters, values)
    }

    /// Adds counters of a name that is registered already.
    pub(super) fn registered<const N: usize>(
        mut self,
        counters: &IntCounterVec,
        values: [(&str, CounterValue<S>); N],
    ) -> Self {
        let values = values.map(|(label, value)| (counters.with_label_values(&[label]), value));
        self.values.counters.extend(values);
        self
    }

    /// Returns the metrics, to be set from snapshots.
    pub(super) fn build(self) -> Values<S> {
        self.values
    }
}

impl<S> Values<S> {
    /// Sets all metrics to a snapshot. Counters never decrease.
    pub(super) fn set(&self, snapshot: &S) {
        for (gauge, value) in &self.gauges {
            gauge.set(i64::try_from(value(snapshot)).unwrap_or(i64::MAX));
        }
        for (counter, value) in &self.counters {
            counter.inc_by(value(snapshot).saturating_sub(counter.get()));
        }
    }
}
