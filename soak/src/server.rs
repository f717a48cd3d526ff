//! The server under test, a process of its own, and its resource usage.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::world::World;

/// The settings of the server: short timeouts, so that the run does not wait long for abandoned
/// connections.
const FLAGS: [&str; 6] = [
    "--host=127.0.0.1",
    "--node-env=test",
    "--handshake-timeout-seconds=5",
    "--ping-interval-ms=5000",
    "--ping-timeout-ms=5000",
    "--ws-ping-seconds=5",
];

/// The settings of a server that is no node: `RESUME_TIME` is short, so that sessions often expire.
pub(crate) const ALONE: [&str; 2] = ["--port=0", "--resume-seconds=2"];

/// How long a session can be resumed.
pub(crate) const RESUME_TIME: Duration = Duration::from_secs(2);

/// Maximum time until the server holds nothing.
const SETTLING: Duration = Duration::from_secs(30);

/// How long and how often memory is sampled: the minimum counts, since each sample costs some.
const MEMORY_WINDOW: Duration = Duration::from_secs(3);
const MEMORY_INTERVAL: Duration = Duration::from_millis(250);

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Reads its output; returns the errors.
    log: Option<JoinHandle<Vec<String>>>,
}

impl Server {
    /// Starts a server with some settings of its own. Its log is added to a file, if that is given.
    pub(crate) fn start(
        program: &Path,
        own: impl IntoIterator<Item = impl AsRef<OsStr>>,
        log: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let program = program
            .canonicalize()
            .with_context(|| format!("no server at {}", program.display()))?;
        // No settings from the environment, nor from a file in the working directory.
        let mut child = Command::new(&program)
            .args(FLAGS)
            .arg(format!("--log-level={}", if log.is_some() { "debug" } else { "warn" }))
            .args(own)
            .env_clear()
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut out = BufReader::new(child.stdout.take().context("its output is piped")?);
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log: None };
        let mut options = OpenOptions::new();
        let mut log = log.map(|log| options.create(true).append(true).open(log)).transpose()?;
        server.address = loop {
            let mut line = String::new();
            ensure!(out.read_line(&mut line)? > 0, "{} ends at once", program.display());
            if let Some(log) = &mut log {
                log.write_all(line.as_bytes())?;
            }
            if let Some((_, address)) = line.trim_end().split_once("listening on http://") {
                break address.parse()?;
            }
        };
        server.log = Some(std::thread::spawn(move || errors(out, log)));
        Ok(server)
    }

    /// Stops it like a service manager; returns its exit status and the errors it logged.
    pub(crate) fn stop(mut self) -> anyhow::Result<(ExitStatus, Vec<String>)> {
        let killed = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        ensure!(killed.success(), "cannot stop the server");
        let status = self.child.wait()?;
        let log = self
            .log
            .take()
            .map(JoinHandle::join)
            .and_then(Result::ok)
            .context("cannot read the log to its end")?;
        Ok((status, log))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn health(&self, http: &reqwest::Client) -> anyhow::Result<Value> {
        Ok(http.get(self.url("/health")).send().await?.json().await?)
    }

    fn memory_now(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Samples the resident memory; returns the minimum in KiB.
    pub(crate) async fn memory(&self) -> anyhow::Result<u64> {
        let until = Instant::now() + MEMORY_WINDOW;
        let mut least = self.memory_now()?;
        while Instant::now() < until {
            sleep(MEMORY_INTERVAL).await;
            least = least.min(self.memory_now()?);
        }
        Ok(least)
    }

    pub(crate) fn open_files(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Waits until the server holds as little as at the start, at most [`SETTLING`]; returns what
    /// it holds then.
    pub(crate) async fn settled(&self, world: &World, start: &Held) -> anyhow::Result<Held> {
        let until = Instant::now() + SETTLING;
        loop {
            let held = Held::ask(world, self).await?;
            if held.differences(start).is_empty() || Instant::now() >= until {
                return Ok(held);
            }
            sleep(MEMORY_INTERVAL).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Reads the log to its end, so that the server never blocks on it.
fn errors(out: BufReader<ChildStdout>, mut log: Option<File>) -> Vec<String> {
    let lines = out
        .lines()
        .map_while(Result::ok)
        .inspect(|line| {
            if let Some(log) = &mut log {
                // The log is for people; the run does not depend on it.
                writeln!(log, "{line}").ok();
            }
        })
        .filter(|line| line.contains("WARN") || line.contains("ERROR"));
    lines
        .inspect(|line| eprintln!("server: {line}"))
        .filter(|line| line.contains("ERROR"))
        .collect()
}

/// The resources that the server holds for clients, according to `/health`, `/metrics` and the
/// kernel.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    health: [(&'static str, u64); 3],
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) files: usize,
}

/// The gauges of client state.
const GAUGES: [&str; 8] = [
    "parlor_connections",
    "parlor_rooms",
    "parlor_peers",
    "parlor_away",
    "parlor_polling_sessions",
    "parlor_media_transports",
    "parlor_media_producers",
    "parlor_media_consumers",
];

/// Tolerance of open files.
const FILES: usize = 2;

impl Held {
    pub(crate) async fn ask(world: &World, server: &Server) -> anyhow::Result<Self> {
        let health = server.health(&world.http).await?;
        let figure =
            |key: &'static str| anyhow::Ok((key, health[key].as_u64().context("a figure")?));
        let health = [figure("rooms")?, figure("participants")?, figure("connections")?];
        let answer = world.http.get(server.url("/metrics")).send().await?;
        ensure!(answer.status() == 200, "GET /metrics answers {}", answer.status());
        let metrics = Arc::new(Metrics::read(&answer.text().await?)?);
        Ok(Self { health, metrics, files: server.open_files()? })
    }

    /// Returns the differences from an idle server.
    pub(crate) fn differences(&self, start: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (key, value) in self.health {
            if value != 0 {
                found.push(format!("{value} {key} by /health"));
            }
        }
        for name in GAUGES {
            let mut series = self.metrics.series(name, "").peekable();
            if series.peek().is_none() {
                found.push(format!("/metrics has no {name}"));
            }
            found.extend(
                series
                    .filter(|(_, value)| *value != 0.0)
                    .map(|(labels, value)| format!("{name}{{{labels}}} is {value}")),
            );
        }
        // The request for the metrics is a task itself in both samples.
        match (self.metrics.sum("parlor_tasks", ""), start.metrics.sum("parlor_tasks", "")) {
            (Some(now), Some(then)) if now <= then => {}
            (now, then) => {
                found.push(format!("parlor_tasks is {now:?}, was {then:?} at the start"));
            }
        }
        if self.files.abs_diff(start.files) > FILES {
            found.push(format!("{} open files, {} at the start", self.files, start.files));
        }
        found
    }
}

/// The series of `/metrics`: name, labels, value.
#[derive(Debug)]
pub(crate) struct Metrics(Vec<(String, String, f64)>);

impl Metrics {
    fn read(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.map(|line| {
            let (series, value) =
                line.rsplit_once(' ').with_context(|| format!("no value in {line}"))?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Ok((name.to_owned(), labels.trim_end_matches('}').to_owned(), value.parse()?))
        });
        let series: anyhow::Result<Vec<_>> = series.collect();
        let series = series?;
        if series.is_empty() {
            bail!("/metrics is empty");
        }
        Ok(Self(series))
    }

    /// Returns the labels and values of all series of a name with a label, written `key="value"`.
    fn series(&self, name: &str, label: &str) -> impl Iterator<Item = (&str, f64)> {
        let of_name = self
            .0
            .iter()
            .filter(move |(known, labels, _)| known == name && has_label(labels, label));
        of_name.map(|(_, labels, value)| (labels.as_str(), *value))
    }

    /// Returns the sum of the values; `None` if there are none.
    pub(crate) fn sum(&self, name: &str, label: &str) -> Option<f64> {
        self.series(name, label).map(|(_, value)| value).reduce(|sum, value| sum + value)
    }
}

fn has_label(labels: &str, label: &str) -> bool {
    label.is_empty() || labels.split(',').any(|known| known == label)
}
