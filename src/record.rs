//! Learning an event profile by watching one call through an existing Socket.IO server.
//!
//! 1. `proxy` forwards everything unchanged between clients and the server; `recorder` decodes a
//!    copy into a [`trace`];
//! 2. `guide` prints the next step of the call in the terminal;
//! 3. [`infer`](mod@infer) finds the profile that explains the trace, and lists the events that no
//!    profile explains;
//! 4. `proof` replays the recorded clients against a Parlor with that profile; `report` summarizes
//!    the reproduced events;
//! 5. the profile is written atomically, with the summary as a comment.
//!
//! Invariant: a trace stays in memory. Only `--save-trace` writes one, with `placeholders`.

mod frames;
mod guide;
pub mod infer;
mod payload;
mod placeholders;
mod proof;
mod proxy;
mod recorder;
mod report;
pub mod trace;
mod upstream;

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, interval};

use self::guide::{Guide, Seen};
use self::infer::InferError;
use self::proof::{Proof, ProofError, prove};
use self::proxy::Proxy;
use self::recorder::Recorder;
use self::trace::{Trace, TraceError};
use self::upstream::{InvalidUrl, Upstream};
use crate::config::record::{Infer, Order, Record};
use crate::dialect::socketio::profile::Profile;
use crate::lifecycle::Lifecycle;

/// Interval at which the guidance is updated.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// Time without events, once everything has been seen, after which the recording ends by itself.
const QUIET: Duration = Duration::from_secs(3);

/// Time limit for open connections to end.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The name of the profiles that are learned, where the file gives none.
const NAME: &str = "recorded";

/// An error of a recording or an inference.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The upstream is not the address of a server.
    #[error("--upstream: {0}")]
    Upstream(String),
    /// The server cannot be reached.
    #[error("the server at {url} cannot be reached: {reason}")]
    Unreachable {
        /// The address of the server.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The server ended during the recording.
    #[error("the server at {url} ended during the recording ({reason}); nothing was written")]
    Ended {
        /// The address of the server.
        url: String,
        /// The error of the connection.
        reason: String,
    },
    /// No connection of Socket.IO was seen.
    #[error(
        "no Socket.IO connection came through: open the page at {listening}, or point it there; is {url} a Socket.IO server?"
    )]
    NotSocketIo {
        /// The address of the recorder.
        listening: String,
        /// The address of the server.
        url: String,
    },
    /// The port cannot be bound.
    #[error("cannot listen on port {port}")]
    Bind {
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a trace.
    #[error("{}", path.display())]
    Trace {
        /// The path of the file.
        path: PathBuf,
        /// The mistake in it.
        source: TraceError,
    },
    /// No profile can be inferred from the trace.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The profile could not be tried.
    #[error("the profile could not be tried, so nothing was written: {0}")]
    Proof(String),
}

impl From<InvalidUrl> for RecordError {
    fn from(error: InvalidUrl) -> Self {
        Self::Upstream(error.to_string())
    }
}

impl From<ProofError> for RecordError {
    fn from(error: ProofError) -> Self {
        Self::Proof(error.to_string())
    }
}

/// Carries out the command until it ends or is interrupted (Ctrl-C); returns what to print.
pub async fn run(order: &Order) -> Result<String, RecordError> {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    match order {
        Order::Record(order) => record(order, interrupted).await,
        Order::Infer(order) => infer(order).await,
    }
}

/// Records a call and writes the profile; returns what to print at the end. Ends by itself, or when
/// `interrupted` does.
pub async fn record(
    order: &Record,
    interrupted: impl Future<Output = ()>,
) -> Result<String, RecordError> {
    let upstream = Upstream::parse(&order.upstream, order.insecure)?;
    let unreachable = |error: io::Error| RecordError::Unreachable {
        url: upstream.origin.clone(),
        reason: error.to_string(),
    };
    drop(upstream.connect().await.map_err(unreachable)?);
    let bind = |source| RecordError::Bind { port: order.port, source };
    let listener = TcpListener::bind(("127.0.0.1", order.port)).await.map_err(bind)?;
    let listening = format!("http://localhost:{}", listener.local_addr().map_err(bind)?.port());
    // Not after a whole call.
    for path in std::iter::once(&order.out).chain(&order.save_trace) {
        drop(Scratch::create(path, "")?);
    }

    print(&format!(
        "Recording {} at {listening}: open the page there, or point its socket there. Ctrl-C ends the recording.\n",
        upstream.origin
    ));
    let trace = watch(&upstream, listener, interrupted).await?;
    if let Some(path) = &order.save_trace {
        write(path, &placeholders::conceal(&trace).to_text())?;
    }
    if trace.clients.is_empty() {
        return Err(RecordError::NotSocketIo { listening, url: upstream.origin });
    }
    conclude(&trace, Some(&order.out), &order.out).await
}

/// Infers and tries the profile of a saved trace; returns what to print.
pub async fn infer(order: &Infer) -> Result<String, RecordError> {
    let file = |source| RecordError::File { path: order.trace.clone(), source };
    let text = std::fs::read_to_string(&order.trace).map_err(file)?;
    let trace = Trace::read(&text)
        .map_err(|source| RecordError::Trace { path: order.trace.clone(), source })?;
    // With a file for the profile, the folder of the trace may be read-only.
    let neighbor = order.out.as_ref().unwrap_or(&order.trace);
    conclude(&trace, order.out.as_deref(), neighbor).await
}

/// Runs the proxy until everything has been seen, the trace is full, the server ends, or the user
/// does.
async fn watch(
    upstream: &Upstream,
    listener: TcpListener,
    interrupted: impl Future<Output = ()>,
) -> Result<Trace, RecordError> {
    let (recorder, lifecycle) = (Arc::new(Recorder::new()), Lifecycle::default());
    let (failed, mut failure) = tokio::sync::watch::channel(None);
    let proxy = Proxy {
        upstream: upstream.clone(),
        recorder: Arc::clone(&recorder),
        lifecycle: lifecycle.clone(),
        failed: Arc::new(failed),
    };
    lifecycle.spawn(proxy.serve(listener));
    let mut guide = Guide::default();
    let mut ticks = interval(SHOW_INTERVAL);
    let (mut length, mut changed) = (0, Instant::now());
    tokio::pin!(interrupted);
    let reason = loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut interrupted => break None,
            _ = failure.changed() => break failure.borrow().clone(),
        }
        let (seen, entries) = recorder.look(|trace| (Seen::of(trace), trace.entries.len()));
        guide.show(seen);
        if entries != length {
            (length, changed) = (entries, Instant::now());
        }
        if recorder.is_full() || (seen.is_complete() && changed.elapsed() >= QUIET) {
            break None;
        }
    };
    guide.show(recorder.look(Seen::of));
    let trace = recorder.finish();
    lifecycle.shut_down(CLOSE_LIMIT).await;
    match reason {
        Some(reason) => Err(RecordError::Ended { url: upstream.origin.clone(), reason }),
        None => Ok(trace),
    }
}

/// Infers the profile, proves it and writes it. The profile is tried from a file beside `neighbor`.
async fn conclude(
    trace: &Trace,
    out: Option<&Path>,
    neighbor: &Path,
) -> Result<String, RecordError> {
    let inferred = infer::infer(trace)?;
    let stem = out.and_then(|out| out.file_stem()).and_then(|stem| stem.to_str()).unwrap_or(NAME);
    let text =
        |comment: &str| inferred.to_toml(stem, "recorded from a call through its server", comment);
    let scratch = Scratch::create(neighbor, &text(""))?;
    let profiles = scratch.0.display().to_string();
    let proof = prove(trace, &settings(&profiles, inferred.relay_events.as_deref())).await?;
    drop(scratch);
    if let Some((name, builtin)) = builtin(trace, inferred.relay_events.as_deref()).await?
        && builtin.is_as_good_as(&proof)
    {
        let summary = report::summary_of_builtin(trace, &inferred, &builtin, name);
        return Ok(format!(
            "The built-in profile `{name}` reproduces the server: no file is needed.\n{summary}"
        ));
    }
    let shown = out.map_or_else(|| format!("{NAME}.toml"), |out| out.display().to_string());
    let summary = report::summary(trace, &inferred, &proof, &shown);
    let file = text(&summary);
    match out {
        None => Ok(file),
        Some(out) => {
            write(out, &file)?;
            Ok(format!("{summary}\nWritten to {}", out.display()))
        }
    }
}

/// Returns the first built-in profile that no other surpasses, and its proof.
async fn builtin(
    trace: &Trace,
    relay_events: Option<&str>,
) -> Result<Option<(&'static str, Proof)>, RecordError> {
    let mut best: Option<(&'static str, Proof)> = None;
    for profile in Profile::builtin() {
        let proof = prove(trace, &settings(profile.name(), relay_events)).await?;
        if best.as_ref().is_none_or(|(_, best)| !best.is_as_good_as(&proof)) {
            best = Some((profile.name(), proof));
        }
    }
    Ok(best)
}

fn settings(profiles: &str, relay_events: Option<&str>) -> Vec<String> {
    let mut settings = vec![format!("--socketio-profiles={profiles}")];
    settings.extend(relay_events.map(|events| format!("--relay-events={events}")));
    settings
}

/// A file with a profile, which is removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// Creates the file beside `neighbor`.
    fn create(neighbor: &Path, text: &str) -> Result<Self, RecordError> {
        let path = neighbor.with_added_extension("trial.toml");
        let file = |source| RecordError::File { path: path.clone(), source };
        let mut options = std::fs::OpenOptions::new();
        let mut created = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(file)?;
        let scratch = Self(path.clone());
        created.write_all(text.as_bytes()).map_err(file)?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), RecordError> {
    let part = path.with_added_extension("part");
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|source| {
        _ = std::fs::remove_file(&part);
        RecordError::File { path: path.to_owned(), source }
    })
}

fn print(text: &str) {
    _ = writeln!(io::stdout(), "{text}");
}
