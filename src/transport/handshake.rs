//! WebSocket handshakes: answered by us, and the stream taken back from the HTTP side.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tungstenite::handshake::derive_accept_key;

use super::stream::Stream;

/// What a handshake is answered with.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    accept: HeaderValue,
    /// The first subprotocol that the client offers. Which it is does not matter here, but a browser that has offered some
    /// fails a WebSocket for which none is chosen.
    protocol: Option<HeaderValue>,
}

impl Handshake {
    /// Reads the request; `None` if it is no handshake (RFC 6455, section 4.2.1).
    pub(super) fn read<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let has = |name, token: &str| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
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
        let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        let first = offered.and_then(|offered| offered.split(',').map(str::trim).find(|name| !name.is_empty()));
        Some(Self { accept, protocol: first.and_then(|name| HeaderValue::from_str(name).ok()) })
    }

    /// The answer.
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

/// The socket, and what hyper had read of it beyond the request.
pub(super) fn into_stream(upgraded: Upgraded) -> Option<(Stream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    // A copy: the rest of hyper's buffer goes.
    Some((parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf)))
}
