//! The `process_*` metrics of Prometheus client libraries, read from `/proc/self` (proc(5)) when
//! they are collected.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Registry};

use super::CONSTANT;

/// Unit of the times in `/proc/self/stat`: `USER_HZ`, which is 100 on every supported architecture.
const TICKS_PER_SECOND: u64 = 100;

/// Collects the metrics of this process. A value that cannot be read keeps its last one.
struct Process {
    cpu_seconds: IntCounter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    start_time: IntGauge,
    threads: IntGauge,
}

/// The values of `/proc/self/stat`, in the units of the metrics.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_seconds: u64,
    threads: u64,
    /// Since boot.
    start_seconds: u64,
    virtual_bytes: u64,
}

/// Registers the metrics of this process.
pub(super) fn register(registry: &Registry) {
    let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect(CONSTANT);
    let process = Process {
        cpu_seconds: IntCounter::new(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
        )
        .expect(CONSTANT),
        open_fds: gauge("process_open_fds", "Number of open file descriptors."),
        max_fds: gauge("process_max_fds", "Maximum number of open file descriptors."),
        virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes."),
        resident_memory: gauge("process_resident_memory_bytes", "Resident memory size in bytes."),
        start_time: gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        ),
        threads: gauge("process_threads", "Number of OS threads in the process."),
    };
    registry.register(Box::new(process)).expect(CONSTANT);
}

impl Process {
    fn metrics(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu_seconds,
            &self.open_fds,
            &self.max_fds,
            &self.virtual_memory,
            &self.resident_memory,
            &self.start_time,
            &self.threads,
        ]
    }

    fn update(&self) {
        let set =
            |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        if let Some(stat) = read("stat").as_deref().and_then(Stat::parse) {
            // A concurrent collection may have counted these seconds already.
            self.cpu_seconds.inc_by(stat.cpu_seconds.saturating_sub(self.cpu_seconds.get()));
            set(&self.threads, stat.threads);
            set(&self.virtual_memory, stat.virtual_bytes);
            if let Some(boot) = fs::read_to_string("/proc/stat")
                .ok()
                .as_deref()
                .and_then(|text| number_after(text, "btime "))
            {
                set(&self.start_time, boot + stat.start_seconds);
            }
        }
        if let Some(kib) = read("status").as_deref().and_then(|text| number_after(text, "VmRSS:")) {
            set(&self.resident_memory, kib * 1024);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            set(&self.open_fds, files.count() as u64);
        }
        if let Ok((soft, _)) = rlimit::Resource::NOFILE.get() {
            set(&self.max_fds, soft);
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.update();
        self.metrics().into_iter().flat_map(Collector::collect).collect()
    }
}

impl Stat {
    /// Parses the fields behind the command name, which may itself hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        // Field 3 of proc_pid_stat(5) is the first one here.
        let field =
            |number: usize| fields.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            start_seconds: field(22)? / TICKS_PER_SECOND,
            virtual_bytes: field(23)?,
        })
    }
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// Returns the number that follows `key` at the start of a line.
fn number_after(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_spaces_and_parentheses_in_command_is_parsed() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 5 0 12345 104857600 2560 1844674";
        let expected =
            Stat { cpu_seconds: 4, threads: 5, start_seconds: 123, virtual_bytes: 104_857_600 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1 7"), None);
    }

    #[test]
    fn number_after_key_is_parsed() {
        assert_eq!(number_after("Name:\tx\nVmRSS:\t    5120 kB\n", "VmRSS:"), Some(5120));
        assert_eq!(number_after("cpu 1\nbtime 1700000000\n", "btime "), Some(1_700_000_000));
        assert_eq!(number_after("btime x\n", "btime "), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn metrics_of_this_process_are_collected() {
        let registry = Registry::new();
        register(&registry);
        let values = |name: &str| {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == name).expect(name);
            family.get_metric()[0].get_gauge().get_value()
        };
        for name in [
            "process_open_fds",
            "process_max_fds",
            "process_virtual_memory_bytes",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_threads",
        ] {
            assert!(values(name) > 0.0, "{name}");
        }
        assert_eq!(registry.gather().len(), 7);
    }
}
