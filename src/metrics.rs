//! Prometheus metrics.
//!
//! - [`Metrics`] has the metrics of the server as a whole, and renders all of them;
//! - [`DialectMetrics`] has those per dialect. Its counters are looked up once per connection, so
//!   that counting a message is a single addition;
//! - [`media`] and [`cluster`] have the metrics of the media server and of a cluster, which
//!   [`copied`] sets from snapshots of their counters.
//!
//! Current values (rooms, peers, tasks) are not counted but read when the metrics are rendered:
//! [`Held`].
//!
//! Invariant: no label has a value that a client can choose, so that the number of series is
//! bounded.

mod cluster;
mod copied;
mod labels;
mod media;
mod process;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

pub use self::cluster::{ClusterFigures, ClusterMetrics};
pub use self::labels::{Limit, MessageKind};
use self::labels::{SIGNALS, signal_index};
use crate::room::{Code, SignalKind};
use crate::sfu::MediaStats;

/// Objects that a server holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Number of rooms.
    pub rooms: usize,
    /// Number of peers in rooms.
    pub peers: usize,
    /// Number of open sessions.
    pub sessions: usize,
    /// Number of sessions that are away.
    pub away: usize,
    /// Number of Engine.IO sessions that started with polling and still exist.
    pub polling: usize,
    /// Number of media transports.
    pub transports: usize,
    /// Number of running tasks, except those that run as long as the server.
    pub tasks: usize,
}

impl Held {
    /// A server without clients.
    pub const NOTHING: Self =
        Self { rooms: 0, peers: 0, sessions: 0, away: 0, polling: 0, transports: 0, tasks: 0 };
}

/// Minimum average time between two renderings, each of which takes about a millisecond.
const RENDER_INTERVAL: Duration = Duration::from_millis(50);

/// Maximum number of renderings in a burst.
const RENDER_BURST: u32 = 32;

/// The last rendering.
struct Rendered {
    text: Bytes,
    /// Time at which the next rendering is due at the sustained rate.
    due: Instant,
}

/// All metrics of one server.
pub struct Metrics {
    registry: Registry,
    rooms: IntGauge,
    peers: IntGauge,
    tasks: IntGauge,
    polling_sessions: IntGauge,
    connections: IntGaugeVec,
    opened: IntCounterVec,
    closed: IntCounterVec,
    received: IntCounterVec,
    relayed: IntCounterVec,
    queue_full: IntCounterVec,
    errors: IntCounterVec,
    limits: IntCounterVec,
    panics: IntCounter,
    resumptions: IntCounterVec,
    profiles: IntCounterVec,
    away: IntGauge,
    relay_seconds: Histogram,
    media: media::MediaMetrics,
    cluster: OnceLock<ClusterMetrics>,
    hops: AtomicU64,
    rendered: Mutex<Rendered>,
    dialects: RwLock<Vec<(&'static str, Arc<DialectMetrics>)>>,
}

/// Metrics of the connections of one dialect.
pub struct DialectMetrics {
    name: &'static str,
    open: IntGauge,
    opened: IntCounter,
    closed: IntCounterVec,
    received: [IntCounter; MessageKind::NAMES.len()],
    relayed: [IntCounter; SIGNALS.len()],
    queue_full: IntCounter,
}

/// Upper bounds of the relay time histogram, in seconds: ten microseconds to a second.
const RELAY_BUCKETS: [f64; 14] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 1.0];

/// Reason why registration cannot fail.
const CONSTANT: &str = "names and labels are constant, valid, and registered once";

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Panics
    ///
    /// Never: the names are constant.
    pub fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect(CONSTANT);
            registry.register(Box::new(gauge.clone())).expect(CONSTANT);
            gauge
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).expect(CONSTANT);
            registry.register(Box::new(counters.clone())).expect(CONSTANT);
            counters
        };
        let connections =
            IntGaugeVec::new(Opts::new("parlor_connections", "Open connections."), &["dialect"]);
        let connections = connections.expect(CONSTANT);
        registry.register(Box::new(connections.clone())).expect(CONSTANT);
        let panics =
            IntCounter::new("parlor_panics_total", "Panics that were contained.").expect(CONSTANT);
        registry.register(Box::new(panics.clone())).expect(CONSTANT);
        let relay_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "parlor_relay_seconds",
                "Time from receiving a signal to having queued it for its recipients.",
            )
            .buckets(RELAY_BUCKETS.to_vec()),
        )
        .expect(CONSTANT);
        registry.register(Box::new(relay_seconds.clone())).expect(CONSTANT);
        #[cfg(target_os = "linux")]
        process::register(&registry);
        let limits = counters("parlor_limits_hit_total", "Limits hit, by name.", &["limit"]);
        for limit in Limit::ALL {
            limits.with_label_values(&[limit.as_str()]);
        }
        let media = media::MediaMetrics::new(&registry, panics.clone(), &limits);
        Self {
            rooms: gauge("parlor_rooms", "Rooms."),
            peers: gauge("parlor_peers", "Peers in rooms."),
            tasks: gauge(
                "parlor_tasks",
                "Tasks that serve connections, including the one of this request.",
            ),
            polling_sessions: gauge(
                "parlor_polling_sessions",
                "Engine.IO sessions that started with polling.",
            ),
            connections,
            opened: counters(
                "parlor_connections_opened_total",
                "Connections admitted.",
                &["dialect"],
            ),
            closed: counters(
                "parlor_connections_closed_total",
                "Connections ended, by reason.",
                &["dialect", "reason"],
            ),
            received: counters(
                "parlor_messages_received_total",
                "Messages received, by kind.",
                &["dialect", "kind"],
            ),
            relayed: counters(
                "parlor_messages_relayed_total",
                "Signals queued for a recipient, by the sender's dialect and kind.",
                &["dialect", "kind"],
            ),
            queue_full: counters(
                "parlor_queue_full_total",
                "Messages dropped because the recipient's queue was full, by its dialect.",
                &["dialect"],
            ),
            errors: counters(
                "parlor_errors_total",
                "Errors reported to clients, by code.",
                &["code"],
            ),
            profiles: counters(
                "parlor_event_profiles_total",
                "Sessions for which an event profile was chosen, by its name.",
                &["profile"],
            ),
            resumptions: counters(
                "parlor_resumptions_total",
                "Attempts to resume a session, by outcome.",
                &["outcome"],
            ),
            away: gauge("parlor_away", "Sessions that are away and may be resumed."),
            limits,
            media,
            panics,
            relay_seconds,
            registry,
            cluster: OnceLock::new(),
            hops: AtomicU64::new(0),
            rendered: Mutex::new(Rendered { text: Bytes::new(), due: Instant::now() }),
            dialects: RwLock::new(Vec::new()),
        }
    }

    /// Returns the metrics of one dialect.
    pub fn dialect(&self, name: &'static str) -> Arc<DialectMetrics> {
        let find = |known: &[(&str, Arc<DialectMetrics>)]| {
            known.iter().find(|(known, _)| *known == name).map(|(_, metrics)| Arc::clone(metrics))
        };
        if let Some(known) = find(&self.dialects.read()) {
            return known;
        }
        let mut dialects = self.dialects.write();
        // Another thread may have added it in the meantime.
        if let Some(known) = find(&dialects) {
            return known;
        }
        let metrics = Arc::new(DialectMetrics {
            name,
            open: self.connections.with_label_values(&[name]),
            opened: self.opened.with_label_values(&[name]),
            closed: self.closed.clone(),
            received: MessageKind::NAMES.map(|kind| self.received.with_label_values(&[name, kind])),
            relayed: SIGNALS.map(|kind| self.relayed.with_label_values(&[name, kind])),
            queue_full: self.queue_full.with_label_values(&[name]),
        });
        dialects.push((name, Arc::clone(&metrics)));
        metrics
    }

    /// Counts a request that is forwarded to another node of the cluster.
    pub fn hopped(&self) {
        self.hops.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of requests that were forwarded to other nodes.
    pub fn hops(&self) -> u64 {
        self.hops.load(Ordering::Relaxed)
    }

    /// Returns the metrics of the cluster, which are there from the first call on.
    pub fn cluster(&self) -> &ClusterMetrics {
        self.cluster.get_or_init(|| ClusterMetrics::new(&self.registry))
    }

    /// Sets the figures of the cluster, which has metrics from the first time on.
    pub fn set_cluster(&self, figures: &ClusterFigures) {
        self.cluster().update(figures);
    }

    /// Counts an error that is reported to a client.
    pub fn error(&self, code: Code) {
        self.errors.with_label_values(&[code.as_str()]).inc();
    }

    /// Counts a limit that was hit.
    pub fn limit(&self, limit: Limit) {
        self.limits.with_label_values(&[limit.as_str()]).inc();
    }

    /// Counts a contained panic.
    pub fn panic(&self) {
        self.panics.inc();
    }

    /// Counts a session for which an event profile was chosen.
    pub fn profile_chosen(&self, profile: &str) {
        self.profiles.with_label_values(&[profile]).inc();
    }

    /// Counts an attempt to resume a session.
    pub fn resumed(&self, recovered: bool) {
        self.resumptions
            .with_label_values(&[if recovered { "recovered" } else { "refused" }])
            .inc();
    }

    /// Records the time from receiving a signal to queuing it for its recipients.
    pub fn relay_took(&self, time: Duration) {
        self.relay_seconds.observe(time.as_secs_f64());
    }

    /// Renders all metrics, or returns the last rendering if they are requested too often; that is
    /// at most [`RENDER_INTERVAL`] old.
    pub fn render_limited(&self, held: impl FnOnce() -> (Held, MediaStats)) -> Bytes {
        let mut rendered = self.rendered.lock();
        let now = Instant::now();
        let ahead = rendered.due.saturating_duration_since(now);
        if ahead + RENDER_INTERVAL <= RENDER_INTERVAL * RENDER_BURST {
            rendered.due = now + ahead + RENDER_INTERVAL;
            let (held, media) = held();
            rendered.text = self.render(held, &media).into();
        }
        rendered.text.clone()
    }

    /// Renders all metrics in the Prometheus text format 0.0.4.
    pub fn render(&self, held: Held, media: &MediaStats) -> String {
        self.media.update(media);
        let set =
            |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.rooms, held.rooms);
        set(&self.peers, held.peers);
        set(&self.away, held.away);
        set(&self.tasks, held.tasks);
        set(&self.polling_sessions, held.polling);
        // Encoding into a string only fails by a bug of the library; what precedes it is still
        // valid.
        let mut text = String::new();
        _ = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }
}

impl DialectMetrics {
    /// Counts an admitted connection.
    pub fn opened(&self) {
        self.opened.inc();
        self.open.inc();
    }

    /// Counts a closed connection.
    pub fn closed(&self, reason: &str) {
        self.closed.with_label_values(&[self.name, reason]).inc();
        self.open.dec();
    }

    /// Counts a received message.
    pub fn received(&self, kind: MessageKind) {
        self.received[kind.index()].inc();
    }

    /// Counts a signal once for each recipient that it was queued for.
    pub fn relayed(&self, kind: SignalKind, recipients: usize) {
        self.relayed[signal_index(kind)].inc_by(recipients as u64);
    }

    /// Counts a message that was dropped because a send queue was full.
    pub fn queue_full(&self) {
        self.queue_full.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendering_is_rate_limited() {
        let metrics = Metrics::new();
        let mut renderings = 0;
        let began = Instant::now();
        for _ in 0..RENDER_BURST * 10 {
            let text = metrics.render_limited(|| {
                renderings += 1;
                (Held::NOTHING, MediaStats::default())
            });
            assert!(!text.is_empty());
        }
        let sustained = began.elapsed().div_duration_f64(RENDER_INTERVAL).ceil();
        assert!(renderings >= RENDER_BURST);
        assert!(f64::from(renderings - RENDER_BURST) <= sustained, "{renderings} renderings");
    }
}
