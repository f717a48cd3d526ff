//! Pinning of this process to cores.

use anyhow::{Context, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The cores of a run: one for servers, another for the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// Returns the given cores, or the first two that this process may use, which are equal if
    /// there is only one.
    pub(crate) fn choose(server: Option<usize>, load: Option<usize>) -> anyhow::Result<Self> {
        let usable = sched_getaffinity(Pid::from_raw(0))?;
        let usable: Vec<usize> =
            (0..CpuSet::count()).filter(|core| usable.is_set(*core).unwrap_or(false)).collect();
        let (first, second) = (usable[0], *usable.get(1).unwrap_or(&usable[0]));
        Ok(Self { server: server.unwrap_or(first), load: load.unwrap_or(second) })
    }

    /// Pins this process to its own core.
    pub(crate) fn apart(self) -> anyhow::Result<()> {
        ensure!(
            self.server != self.load,
            "two cores are needed, one for a server and one for the load"
        );
        stay_on(&[self.load])
    }
}

/// Pins this process to these cores.
pub(crate) fn stay_on(cores: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("there is no core {cores:?}"))
}
