//! Which cores this process runs on.

use anyhow::Context;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The cores of a run: servers on one, the load on another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// Both, as `taskset` writes them.
    pub(crate) fn both(self) -> String {
        format!("{},{}", self.server, self.load)
    }

    /// Keeps this process to its own core.
    pub(crate) fn apart(self) -> anyhow::Result<()> {
        stay_on(&[self.load])
    }

    /// Lets this process have the servers' core, too.
    pub(crate) fn together(self) -> anyhow::Result<()> {
        stay_on(&[self.server, self.load])
    }
}

fn stay_on(cores: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("there is no core {cores:?}"))
}
