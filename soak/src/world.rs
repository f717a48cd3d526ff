//! The shared state of the actors, and the phases of the run.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::client::LIMIT;
use crate::tally::Tally;

/// Pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    /// For REST and metrics. It keeps no connection, so that only traffic counts.
    pub(crate) http: reqwest::Client,
    pub(crate) tally: Tally,
    seed: u64,
    names: AtomicU64,
}

impl World {
    pub(crate) fn new(address: SocketAddr, seed: u64) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(LIMIT)
            .build()?;
        Ok(Self { address, http, tally: Tally::default(), seed, names: AtomicU64::new(0) })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns a unique name.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// The random choices of an actor: the same for the same seed, whatever other actors do.
    pub(crate) fn choices(&self, who: &impl Display) -> SmallRng {
        let mut hasher = DefaultHasher::new();
        who.to_string().hash(&mut hasher);
        SmallRng::seed_from_u64(self.seed ^ hasher.finish())
    }

    /// Records the failure of a well-behaved actor, and pauses before its next attempt.
    pub(crate) async fn check(&self, who: impl Display, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            self.tally.violation(format!("{who}: {error:#}"));
            sleep(AFTER_FAILURE).await;
        }
    }

    /// Waits until a room has so many peers, for protocols that do not announce them.
    pub(crate) async fn until_room_has(&self, room: &str, peers: u64) -> anyhow::Result<()> {
        let url = self.url(&format!("/api/rooms/{room}"));
        let waiting = async {
            loop {
                let room: Value = self.http.get(&url).send().await?.json().await?;
                if room["participantCount"] == peers {
                    return anyhow::Ok(());
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, waiting)
            .await
            .with_context(|| format!("{room} does not come to have {peers} peers"))?
    }
}

/// A phase of the run.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    begun: Instant,
    ends: Instant,
}

impl Phase {
    pub(crate) fn begin(name: &'static str, length: Duration) -> Self {
        let begun = Instant::now();
        Self { name, begun, ends: begun + length }
    }

    /// Whether there is time left for an action of this length. At the very beginning there always
    /// is.
    pub(crate) fn has_time_for(&self, length: Duration) -> bool {
        let now = Instant::now();
        now + length <= self.ends || (now < self.ends && now - self.begun < Duration::from_secs(1))
    }
}

/// Limits the rate of a repeated action.
pub(crate) struct Pace(Instant);

impl Pace {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Waits until `interval` has passed since the last call returned.
    pub(crate) async fn keep(&mut self, interval: Duration) {
        tokio::time::sleep_until(self.0 + interval).await;
        self.0 = Instant::now();
    }
}
