//! Builds the requests to the long-polling library, and the header fields of responses.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Uri, header};

use super::super::socketio::PATH;
use super::payload::PollResponse;
use crate::request::proxies::ClientOverTls;

/// Returns a request that shares no memory with its original, whose head is a slice of hyper's
/// buffer and would keep that alive as long as the connection. The token in the query is left out.
pub(super) fn slim_request<B>(method: Method, uri: &Uri, body: B) -> http::Request<B> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("token=")).collect();
    *request.uri_mut() =
        format!("{path}?{}", kept.join("&")).parse().expect("a subset of a valid query is valid");
    request
}

/// Query parameter of a URL that [`redirection`] returns.
const REDIRECTED: &str = "redirected=1";

/// Returns the URL of a redirect to the same resource, whole, since clients in Node do not resolve
/// a relative one; `None` without a `Host` header, which HTTP/1.0 permits.
pub(super) fn redirection<B>(request: &http::Request<B>) -> Option<HeaderValue> {
    let scheme =
        if request.extensions().get::<ClientOverTls>().is_some() { "https" } else { "http" };
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let (path, query) = (request.uri().path(), request.uri().query()?);
    // Once is enough: the next process may be handing its socket over, too.
    let query = query.strip_suffix(REDIRECTED).unwrap_or(query).trim_end_matches('&');
    HeaderValue::try_from(format!("{scheme}://{host}{path}?{query}&{REDIRECTED}")).ok()
}

/// Makes the response to a redirected request the last one of its connection. Clients in Node keep
/// that connection for their next redirected request and, if it is closed meanwhile, repeat that
/// without ever sending it (xmlhttprequest-ssl 2.1.2).
pub(super) fn close_redirected(uri: &Uri, response: &mut Response) {
    if uri.query().is_some_and(|query| query.ends_with(REDIRECTED)) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Returns the cookie by which load balancers may send all requests of a client to this node.
pub(super) fn affinity_cookie(node: &str, is_tls: bool) -> HeaderValue {
    // Pages of other origins send it over TLS only.
    let attributes = if is_tls { "; SameSite=None; Secure" } else { "" };
    let cookie = format!("parlor-node={node}; Path={PATH}; HttpOnly{attributes}");
    HeaderValue::try_from(cookie).expect("names of nodes are letters, digits and hyphens")
}

/// Forbids caches between server and client to store payloads.
pub(super) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl PollResponse {
    /// Returns the response with its content type.
    pub(super) fn into_response(self) -> Response {
        let body = self.into_bytes();
        let headers =
            [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"))];
        (headers, body).into_response()
    }
}
