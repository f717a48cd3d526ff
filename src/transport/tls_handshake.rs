//! The TLS handshake of a connection, and the answer to clients that speak plain HTTP instead.

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

/// The answer to a client that spoke plain HTTP to TLS.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 45\r\nConnection: close\r\n\r\nThis port speaks TLS: use https:// or wss://\n";

impl Acceptor {
    /// Takes a connection through its TLS handshake, for a bounded time.
    pub(super) async fn secure(&self, tls: &Tls, stream: Tcp) -> Option<Stream> {
        let handshake = async {
            if speaks_http(&stream).await? {
                speak_tls(stream, self.hub.timeouts().last_write).await?;
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
                debug!(%error, "no TLS handshake");
                None
            }
            Err(_) => {
                self.hub.metrics().limit(Limit::HandshakeTime);
                debug!("the TLS handshake took too long");
                None
            }
        }
    }
}

/// Whether the first byte of a client is a letter, as in HTTP. TLS begins with the byte 22 (RFC 8446, section 5.1).
async fn speaks_http(stream: &Tcp) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Tells a client that spoke HTTP what is spoken here.
async fn speak_tls(mut stream: Tcp, limit: Duration) -> io::Result<()> {
    let mut rest = [0; 1024];
    // What is not read would end the connection with a reset, which may overtake the answer.
    let _some = stream.read(&mut rest).await?;
    stream.write_all(SPEAK_TLS).await?;
    stream.shutdown().await?;
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    timeout(limit, drained).await.ok();
    Ok(())
}
