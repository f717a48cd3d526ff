//! Validates and accepts WebSocket handshakes, and takes the stream over from hyper.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tungstenite::handshake::derive_accept_key;

use super::stream::Stream;

/// A valid handshake request.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    accept: HeaderValue,
    /// First subprotocol that the client offers. The server supports none in particular, but a
    /// browser that offered some fails the WebSocket if the server selects none.
    protocol: Option<HeaderValue>,
}

impl Handshake {
    /// Parses the request; returns `None` if it is not a handshake (RFC 6455, section 4.2.1).
    pub(super) fn read<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let has = |name, token: &str| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            values
                .flat_map(|value| value.split(','))
                .any(|value| value.trim().eq_ignore_ascii_case(token))
        };
        let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
        let is_handshake = request.version() == Version::HTTP_11
            && has(header::CONNECTION, "upgrade")
            && has(header::UPGRADE, "websocket")
            && has(header::SEC_WEBSOCKET_VERSION, "13")
            && key.len() == 24;
        if !is_handshake {
            return None;
        }
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
        let offered =
            headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        let first = offered
            .and_then(|offered| offered.split(',').map(str::trim).find(|name| !name.is_empty()));
        Some(Self { accept, protocol: first.and_then(|name| HeaderValue::from_str(name).ok()) })
    }

    /// Returns the response that accepts the handshake.
    pub(super) fn accept(self) -> Response {
        let headers = [
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept),
        ];
        let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
        if let Some(protocol) = self.protocol {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

/// Returns the stream, and the bytes that hyper read beyond the request.
pub(super) fn into_stream(upgraded: Upgraded) -> Option<(Stream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    // A copy, so that hyper's read buffer is freed.
    Some((parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf)))
}
