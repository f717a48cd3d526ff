//! The TLS handshake of a connection, and the response to clients that speak plain HTTP instead.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::debug;

use super::listener::Acceptor;
use super::stream::Stream;
use super::tcp::Tcp;
use crate::metrics::Limit;
use crate::tls::Tls;

/// Response to a client that speaks plain HTTP on a TLS port.
const TLS_REQUIRED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 45\r\nConnection: close\r\n\r\nThis port speaks TLS: use https:// or wss://\n";

impl Acceptor {
    /// Completes the TLS handshake of a connection; returns `None` if it fails or takes too long.
    pub(super) async fn secure(&self, tls: &Tls, stream: Tcp) -> Option<Stream> {
        let handshake = async {
            if speaks_http(&stream).await? {
                send_tls_required(stream, self.hub.timeouts().last_write).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP"));
            }
            tls.accept(stream).await
        };
        let outcome = tokio::select! {
            outcome = timeout(self.header_timeout, handshake) => outcome,
            () = self.lifecycle.stopping() => return None,
        };
        match outcome {
            Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                debug!(%error, "TLS handshake failed");
                None
            }
            Err(_) => {
                self.hub.metrics().limit(Limit::HandshakeTime);
                debug!("TLS handshake timed out");
                None
            }
        }
    }
}

/// Returns whether the client's first byte is a letter, as in HTTP. TLS begins with byte 22 (RFC
/// 8446, section 5.1).
async fn speaks_http(stream: &Tcp) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Sends the plain HTTP response that names TLS.
async fn send_tls_required(mut stream: Tcp, limit: Duration) -> io::Result<()> {
    let mut rest = [0; 1024];
    // Unread data would make the close a reset, which may overtake the response.
    let _some = stream.read(&mut rest).await?;
    stream.write_all(TLS_REQUIRED).await?;
    stream.shutdown().await?;
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    timeout(limit, drained).await.ok();
    Ok(())
}
