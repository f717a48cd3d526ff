//! Header fields that restrict what browsers do with responses.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

const CONTENT_TYPE_OPTIONS: HeaderValue = HeaderValue::from_static("nosniff");

/// Fields of pages, beside their Content Security Policy: what a call needs is allowed, for the
/// page itself only.
const OF_PAGES: [(HeaderName, HeaderValue); 3] = [
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "camera=(self), microphone=(self), speaker-selection=(self), display-capture=(self), autoplay=(self), \
             fullscreen=(self), picture-in-picture=(self), screen-wake-lock=(self), clipboard-write=(self), \
             geolocation=(), payment=(), usb=()",
        ),
    ),
    // The address of a page contains the room, which is no concern of linked sites.
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Adds the fields to a response, unless it has its own.
pub(crate) async fn add(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(CONTENT_TYPE_OPTIONS);
    let is_page = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page {
        for (name, value) in OF_PAGES {
            headers.entry(name).or_insert(value);
        }
    }
    response
}
