//! WebSocket handshakes: answered by us, and the stream taken back from the HTTP side.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tungstenite::handshake::derive_accept_key;

use super::stream::Stream;

/// The value of `Sec-WebSocket-Accept`, if the request is a handshake (RFC 6455, section 4.2.1).
pub(super) fn accept_key<B>(request: &Request<B>) -> Option<HeaderValue> {
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
    is_handshake.then(|| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()).flatten()
}

/// The answer to a handshake that is accepted.
pub(super) fn switching(accept: HeaderValue) -> Response {
    let headers = [
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// The socket, and what hyper had read of it beyond the request.
pub(super) fn into_stream(upgraded: Upgraded) -> Option<(Stream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    // A copy: the rest of hyper's buffer goes.
    Some((parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf)))
}
