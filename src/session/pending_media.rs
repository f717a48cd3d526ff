//! A media request that waits for the cluster, and one that the media server of this node has.

use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::cluster::Cluster;
use crate::cluster::frame::MediaAnswered;
use crate::cluster::media::ServedMedia;
use crate::id::{ConnectionId, RoomId};
use crate::sfu::{MediaResponse, SfuError};

/// Completes when a media request is answered.
pub type Answered = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sends the answer to a media request. Both methods return the text of the answer if the session
/// has moved to another node.
pub(super) trait MediaReply: Send {
    /// Encodes an answer and queues it.
    fn send(self: Box<Self>, answer: Result<MediaResponse, SfuError>) -> Option<Box<str>>;

    /// Queues an answer that another node has encoded.
    fn send_text(self: Box<Self>, text: &str) -> Option<Box<str>>;
}

/// A media request that waits for the cluster.
pub(super) struct PendingMedia {
    pub(super) room: RoomId,
    pub(super) connection: ConnectionId,
    /// Taken by the code that answers the request.
    pub(super) reply: Arc<Mutex<Option<Box<dyn MediaReply>>>>,
    /// Tells the session that the media server of this node is to answer. Dropped if another has.
    pub(super) decided: oneshot::Sender<MediaTurn>,
}

/// A request that the media server of this node has. The cluster learns when it is answered, or
/// dropped.
pub(super) struct MediaTurn {
    cluster: Arc<Cluster>,
    served: Option<ServedMedia>,
}

impl MediaTurn {
    pub(super) fn new(cluster: &Arc<Cluster>, served: ServedMedia) -> Self {
        Self { cluster: Arc::clone(cluster), served: Some(served) }
    }

    /// Reports the answer.
    pub(super) fn answer(mut self, answer: MediaAnswered) {
        if let Some(served) = &mut self.served {
            served.answer = Some(answer);
        }
    }
}

impl Drop for MediaTurn {
    fn drop(&mut self) {
        if let Some(served) = self.served.take() {
            self.cluster.served(served);
        }
    }
}
