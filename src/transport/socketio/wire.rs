//! Queues frames that are written already.
//!
//! socketioxide's own `emit` takes a value and writes it as JSON. What we send is text that the dialect wrote; an
//! adapter is the one place where the library hands out the means to queue it as it is.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use socketioxide::adapter::Emitter;
use socketioxide_core::adapter::errors::SocketError;
use socketioxide_core::adapter::{BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, SocketEmitter};
use socketioxide_core::packet::Packet;
use socketioxide_core::{Sid, Str, Value};

use crate::session::QueueFull;

/// The namespace everything happens in.
const NAMESPACE: &str = "/";

/// Where the library's adapter becomes known to us.
pub(super) type Published = Arc<OnceLock<Weak<Wire>>>;

/// The adapter that was made for the namespace, if one was.
pub(super) fn published(published: &Published) -> Option<Arc<Wire>> {
    published.get()?.upgrade()
}

/// The way to each connection's queue.
pub(super) struct Wire {
    local: CoreLocalAdapter<Emitter>,
    published: Published,
}

impl Wire {
    /// Queues an event: the text of its JSON array.
    pub(super) fn event(&self, to: Sid, frame: impl Into<Str>) -> Result<(), QueueFull> {
        self.send(to, Packet::event(NAMESPACE, Value::Str(frame.into(), None)))
    }

    /// Queues an acknowledgement: the text of its JSON array.
    pub(super) fn ack(&self, to: Sid, id: i64, frame: String) -> Result<(), QueueFull> {
        self.send(to, Packet::ack(NAMESPACE, Value::Str(frame.into(), None), id))
    }

    /// A connection that is gone takes nothing and is no error: its session is just ending.
    fn send(&self, to: Sid, packet: Packet) -> Result<(), QueueFull> {
        let Err(errors) = self.local.broadcast(packet, BroadcastOptions::new(to)) else {
            return Ok(());
        };
        let is_full = errors.iter().any(|error| matches!(error, SocketError::InternalChannelFull));
        if is_full { Err(QueueFull) } else { Ok(()) }
    }
}

impl CoreAdapter<Emitter> for Wire {
    type Error = Infallible;
    type State = Published;
    type AckStream = <Emitter as SocketEmitter>::AckStream;
    type InitRes = ();

    fn new(state: &Self::State, local: CoreLocalAdapter<Emitter>) -> Self {
        Self { local, published: Arc::clone(state) }
    }

    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) -> Self::InitRes {
        // There is one namespace, hence one adapter.
        _ = self.published.set(Arc::downgrade(&self));
        on_success();
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        options: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<Self::AckStream, Self::Error> {
        Ok(self.local.broadcast_with_ack(packet, options, timeout).0)
    }

    fn get_local(&self) -> &CoreLocalAdapter<Emitter> {
        &self.local
    }
}

impl DefinedAdapter for Wire {}
