//! Counts of the work of an engine for the nodes of a simulated cluster.

use std::collections::BTreeMap;

use parlor::cluster::Call;
use parlor::cluster::frame::TrafficKind;

/// Counts of the commands of an engine.
#[derive(Debug, Default, Clone)]
pub(crate) struct Costs {
    /// Scripts by name, and the log entries that they published.
    pub(crate) scripts: BTreeMap<&'static str, (u64, u64)>,
    /// Frames by kind.
    pub(crate) frames: BTreeMap<&'static str, u64>,
}

impl Costs {
    pub(crate) fn call(&mut self, call: &Call, entries: usize) {
        let (count, published) = self.scripts.entry(name(call)).or_default();
        *count += 1;
        *published += u64::try_from(entries).unwrap();
    }

    pub(crate) fn publish(&mut self, message: &[u8]) {
        *self.frames.entry(TrafficKind::of(message).as_str()).or_default() += 1;
    }

    /// Returns how often a script ran, and how many entries it published in total.
    pub(crate) fn script(&self, name: &str) -> (u64, u64) {
        self.scripts.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn frames(&self, kind: TrafficKind) -> u64 {
        self.frames.get(kind.as_str()).copied().unwrap_or_default()
    }
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Hello { .. } => "hello",
        Call::Beat => "beat",
        Call::Join(_) => "join",
        Call::Leave { .. } => "leave",
        Call::Update { .. } => "update",
        Call::Move { .. } => "move",
        Call::Pin { .. } => "pin",
        Call::Unpin { .. } => "unpin",
        Call::Sync(_) => "sync",
        Call::Reap { .. } => "reap",
        Call::Audit(_) => "audit",
    }
}
