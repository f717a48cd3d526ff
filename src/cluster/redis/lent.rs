//! Lends a connection to the library, which authenticates on it.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::Connection;

/// A connection that the library has until it is reclaimed. The library has read no more than the
/// replies to its commands then, since nothing else arrives without a subscription.
#[derive(Clone)]
pub(super) struct Lent(Arc<Mutex<Option<Box<dyn Connection>>>>);

impl Lent {
    pub(super) fn new(stream: Box<dyn Connection>) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }

    pub(super) fn reclaim(&self) -> Option<Box<dyn Connection>> {
        self.0.lock().take()
    }

    fn poll<T>(
        &self,
        poll: impl FnOnce(Pin<&mut dyn Connection>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.0.lock() {
            Some(stream) => poll(Pin::new(&mut **stream)),
            None => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(context))
    }
}
