//! Faults of nodes, connections and the engine, and their end.

use std::time::Duration;

use super::world::{Fault, Happening, World};

impl World {
    /// Begins a random fault.
    pub(crate) fn fault(&mut self) {
        if self.are_faults_over() {
            return;
        }
        let next = self.random.millis(200, 6000);
        self.after(next, Happening::Fault);
        self.stats.faults += 1;
        let node = self.random.index(self.machines.len());
        let engine = self.random.index(self.engines.len());
        match self.random.below(100) {
            0..5 => self.release_media(node),
            5..35 => {
                let is_noticed = self.random.percent(50);
                self.cut(node, engine, is_noticed);
            }
            35..45 => self.stop_node(node, None),
            45..55 => self.crash_node(node, None),
            55..65 => self.cut_node_off(node),
            65..75 => self.stop_engine(engine),
            75..83 => self.slow_engine(engine),
            _ => self.crash_engine(engine),
        }
    }

    /// In some cases, a node that has handed a session over dies while the other nodes learn of it.
    pub(crate) fn crash_after_handover(&mut self, node: usize) {
        if self.has_faults && !self.are_faults_over() && self.random.percent(8) {
            let (delay, life) = (self.random.micros(0, 20_000), self.machines[node].life);
            self.after(delay, Happening::Crash { node, life });
        }
    }

    /// The media of all rooms on a node ends, as in a drain.
    fn release_media(&mut self, node: usize) {
        self.note(|| format!("node {node} releases its media"));
        self.with_node(node, |process, now| {
            if !process.is_stopped {
                for room in process.nodes.media_rooms() {
                    process.nodes.release_media(now, &room);
                }
            }
        });
    }

    pub(crate) fn stop_node(&mut self, node: usize, time: Option<Duration>) {
        let life = self.machines[node].life;
        let Some(process) =
            self.machines[node].process.as_mut().filter(|process| !process.is_stopped)
        else {
            return;
        };
        process.is_stopped = true;
        self.stats.nodes_stopped += 1;
        self.note(|| format!("node {node} is stopped"));
        let time = time.unwrap_or_else(|| self.random.millis(500, 18_000));
        self.after(time, Happening::EndOfFault(Fault::NodeStopped { node, life }));
    }

    pub(crate) fn crash_node(&mut self, node: usize, time: Option<Duration>) {
        if self.machines[node].process.is_none() {
            return;
        }
        self.note(|| format!("node {node} is killed"));
        self.stats.nodes_killed += 1;
        self.kill_node(node);
        let time = time.unwrap_or_else(|| self.random.millis(500, 15_000));
        self.after(time, Happening::EndOfFault(Fault::NodeDead { node }));
    }

    fn cut_node_off(&mut self, node: usize) {
        if std::mem::replace(&mut self.machines[node].is_cut_off, true) {
            return;
        }
        for engine in 0..self.engines.len() {
            let is_noticed = self.random.percent(50);
            self.cut(node, engine, is_noticed);
        }
        let time = self.random.millis(500, 18_000);
        self.after(time, Happening::EndOfFault(Fault::NodeCutOff { node }));
    }

    fn stop_engine(&mut self, engine: usize) {
        if self.engines[engine].is_stopped || self.engines[engine].is_dead {
            return;
        }
        self.engines[engine].is_stopped = true;
        self.note(|| format!("engine {engine} is stopped"));
        let time = self.random.millis(200, 16_000);
        self.after(time, Happening::EndOfFault(Fault::EngineStopped { engine }));
    }

    fn slow_engine(&mut self, engine: usize) {
        if !self.engines[engine].delay.is_zero() {
            return;
        }
        self.engines[engine].delay = Duration::from_millis(300);
        self.note(|| format!("engine {engine} is slow"));
        let time = self.random.millis(1000, 10_000);
        self.after(time, Happening::EndOfFault(Fault::EngineSlow { engine }));
    }

    fn crash_engine(&mut self, engine: usize) {
        if self.engines[engine].is_dead {
            return;
        }
        self.note(|| format!("engine {engine} is killed"));
        self.stats.engines_killed += 1;
        self.kill_engine(engine);
        // Some for longer than frames are kept.
        let is_long = self.random.percent(10);
        let time = if is_long {
            self.random.millis(21_000, 30_000)
        } else {
            self.random.millis(100, 14_000)
        };
        let time = time.min(self.time_for_faults());
        self.after(time, Happening::EndOfFault(Fault::EngineDead { engine }));
    }

    /// A fault is over.
    pub(crate) fn end_fault(&mut self, fault: Fault) {
        self.note(|| format!("over: {fault:?}"));
        match fault {
            Fault::NodeStopped { node, life } => self.continue_node(node, life),
            Fault::NodeDead { node } => self.start_node(node),
            Fault::NodeCutOff { node } => self.machines[node].is_cut_off = false,
            Fault::EngineStopped { engine } => self.continue_engine(engine),
            Fault::EngineSlow { engine } => self.engines[engine].delay = Duration::ZERO,
            Fault::EngineDead { engine } => self.restart_engine(engine),
        }
    }

    /// Kills the engines, which start again with their data.
    pub(crate) fn restart_engine_at_once(&mut self) {
        for engine in 0..self.engines.len() {
            self.kill_engine(engine);
            self.engines[engine].is_dead = false;
        }
    }

    fn continue_node(&mut self, node: usize, life: u64) {
        let machine = &mut self.machines[node];
        let Some(process) = machine.process.as_mut().filter(|_| machine.life == life) else {
            return;
        };
        process.is_stopped = false;
        machine.continued_at = self.now;
        for (connection, packet) in std::mem::take(&mut machine.unread) {
            self.at_node(connection, packet);
        }
    }

    /// The engine restarts: with its data, with none, or with data of some seconds ago.
    fn restart_engine(&mut self, engine: usize) {
        self.engines[engine].is_dead = false;
        match self.random.below(3) {
            0 => {}
            1 => {
                self.has_lost_data = true;
                let epoch = self.random.next();
                self.engines[engine].wipe(self.now, epoch);
            }
            _ => {
                self.has_old_data = true;
                let age = self.random.index(10);
                self.engines[engine].data = self.engines[engine].old(age);
            }
        }
    }
}
