//! WebSocket handshakes, for a new connection and for one that began with polling.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header};
use hyper::upgrade::OnUpgrade;
use tokio::io::AsyncReadExt;
use tower::Service;
use tracing::debug;

use super::link::Link;
use super::seam::Seam;
use super::{Inner, Query, engine_error, slim_request};
use crate::http::error::ApiError;
use crate::http::proxies::client_address;
use crate::http::token::token_of;
use crate::session::{ConnectionPermit, Opening};
use crate::transport::handshake::{accept_key, into_stream, switching};
use crate::transport::stream::Stream;

/// Answers a handshake, and hands the stream to the library once the HTTP side has let go of it.
pub(super) fn serve(inner: &Arc<Inner>, query: &Query, mut request: Request) -> Response {
    let Some(accept) = accept_key(&request) else {
        return not_a_handshake();
    };
    let connection = request.extensions().get::<Arc<ConnectionPermit>>().cloned();
    let (link, is_upgrade) = match query.sid {
        None => match inner.hub.open_permit(connection.as_deref(), client_address(&request), Opening::WebSocket) {
            Ok(permit) => (Link::new(inner, permit, query.protocol, token_of(&request)), false),
            Err(refused) => return ApiError::from(refused).into_response(),
        },
        Some(_) => match query.link(inner).filter(|link| !link.is_closed()) {
            Some(link) if link.begin_upgrade() => {
                link.join(connection.as_ref());
                (link, true)
            }
            Some(_) => return engine_error(3, "Bad request"),
            None => return engine_error(1, "Session ID unknown"),
        },
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let mut request = slim_request(Method::GET, request.uri(), ());
    request.extensions_mut().insert(Arc::clone(&link));
    let inner = Arc::clone(inner);
    inner.lifecycle.clone().spawn(async move {
        if hand_over(&inner, upgrade, &link, is_upgrade, request).await.is_none() {
            debug!(connection = %link.id(), "the upgrade came to nothing");
            link.abandon_upgrade();
        }
    });
    switching(accept)
}

async fn hand_over(
    inner: &Inner,
    upgrade: OnUpgrade,
    link: &Arc<Link>,
    is_upgrade: bool,
    request: http::Request<()>,
) -> Option<()> {
    let (mut stream, mut early) = into_stream(upgrade.await.ok()?)?;
    if is_upgrade && early.is_empty() {
        // From here on the library lets polling rest until the upgrade is done. A proxy that answers the handshake and
        // then passes no frame must not cost a working connection: so a first byte has to come through.
        early = first_bytes(&mut stream, inner).await?;
    }
    // In a box: the library's task has room for several of what it is given.
    let seam = Box::new(Seam::new(stream, early, Arc::clone(link), is_upgrade));
    let mut service = inner.service.clone();
    // The query was read before the handshake was answered; what else the library refuses, it drops.
    Service::<(Box<Seam<Stream>>, http::Request<()>)>::call(&mut service, (seam, request)).await.ok()
}

async fn first_bytes(stream: &mut Stream, inner: &Inner) -> Option<Bytes> {
    let mut bytes = BytesMut::with_capacity(64);
    let read = stream.read_buf(&mut bytes);
    match tokio::time::timeout(inner.settings.handshake_timeout, read).await {
        Ok(Ok(length)) if length > 0 => Some(bytes.freeze()),
        _ => None,
    }
}

fn not_a_handshake() -> Response {
    let mut response = engine_error(3, "Bad request");
    let headers = response.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
