//! A join that waits for the cluster.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::queue_depth::QueueDepth;
use super::state::SessionState;
use crate::cluster::Refusal;
use crate::dialect::WelcomeLater;
use crate::room::Answer;

/// A join that waits for the cluster.
pub(super) struct PendingJoin {
    pub(super) state: Arc<SessionState>,
    pub(super) welcome: WelcomeLater,
    pub(super) answer: oneshot::Sender<JoinAnswer>,
    /// When the cluster was asked.
    pub(super) since: Instant,
}

/// The answer to a join.
pub(super) type JoinAnswer = Result<Joined, Refusal>;

/// A join that was admitted.
pub(super) struct Joined {
    pub(super) answer: Answer,
    /// Size of the joiner's list, in bytes.
    pub(super) welcome_bytes: usize,
    /// A send queue above its high-water mark, if the join found one.
    pub(super) congested: Option<Arc<QueueDepth>>,
}
