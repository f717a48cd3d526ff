//! Origin checks: which pages may use the server.
//!
//! Browsers send the origin of a page in `Origin`. The origins in `CLIENT_URL`, and the server's
//! own, are allowed. For REST, CORS headers tell the browser so. CORS covers neither WebSocket
//! handshakes nor the effect of a request whose response it hides: [`guard`] and [`guard_writes`]
//! refuse those with 403. A request without `Origin` comes from a native client and is allowed.
//!
//! Invariant: a page on a domain that an attacker lets resolve to this server (DNS rebinding) has
//! an `Origin` equal to its `Host`. So the own origin counts only for hosts that cannot be such a
//! domain.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, header};
use http_body::Body;
use parking_lot::Mutex;
use tracing::warn;

use crate::config::ClientUrl;
use crate::config::origin::{default_port, host_and_port, split};
use crate::request::error::ApiError;
use crate::request::proxies::{Forwarded, Proxies};
use crate::tls::Tls;

/// Minimum time between two log messages about the same refused origin.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Maximum number of refused origins logged per interval.
const MAX_LOGGED: usize = 64;

/// Maximum number of logged characters of an origin.
const MAX_LOGGED_CHARS: usize = 200;

/// The allowed origins.
pub(crate) struct Origins {
    allowed: ClientUrl,
    proxies: Arc<Proxies>,
    certificate: Option<Arc<Tls>>,
    /// Refused origins that were logged recently, and when.
    logged: Mutex<HashMap<String, Instant>>,
}

/// The parts of a request that tell its origin and its destination.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The target, which includes the host in HTTP/2.
    pub uri: &'a Uri,
    /// The extensions, in which the listener describes the connection.
    pub extensions: &'a Extensions,
}

impl<'a, B> From<&'a http::Request<B>> for Head<'a> {
    fn from(request: &'a http::Request<B>) -> Self {
        Self { headers: request.headers(), uri: request.uri(), extensions: request.extensions() }
    }
}

impl Origins {
    /// Allows the origins of the setting, and the server's own for hosts that the setting or the
    /// certificate names.
    pub(crate) fn new(
        allowed: ClientUrl,
        proxies: Arc<Proxies>,
        certificate: Option<Arc<Tls>>,
    ) -> Self {
        Self { allowed, proxies, certificate, logged: Mutex::default() }
    }

    /// Returns whether pages of an origin may use the server. Logs refusals.
    pub(crate) fn allow(&self, origin: &HeaderValue, head: Head<'_>) -> bool {
        let is_allowed = origin
            .to_str()
            .is_ok_and(|origin| self.allowed.allows(origin) || self.is_own(origin, head));
        if !is_allowed {
            self.log(origin);
        }
        is_allowed
    }

    /// Returns whether every `Origin` of a request is allowed.
    fn allows_all(&self, head: Head<'_>) -> bool {
        head.headers.get_all(header::ORIGIN).iter().all(|origin| self.allow(origin, head))
    }

    /// Returns whether an origin has the host and port that the request is addressed to. Ignores
    /// the scheme, since a proxy may terminate TLS.
    fn is_own(&self, origin: &str, head: Head<'_>) -> bool {
        let Some(page) = split(origin) else { return false };
        let Some(default) = default_port(page.scheme) else { return false };
        let Some((host, port)) = self.destination(head) else { return false };
        page.host.eq_ignore_ascii_case(&host)
            && page.port.unwrap_or(default) == port.unwrap_or(default)
            && self.is_trusted_host(page.host)
    }

    /// Returns whether a host cannot be a domain that a third party lets resolve to this server.
    fn is_trusted_host(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        host == "localhost"
            || host.parse::<Ipv4Addr>().is_ok()
            || bare.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            || self.allowed.names_host(host)
            || self.certificate.as_ref().is_some_and(|certificate| certificate.covers(host))
    }

    /// Returns the host and port that the client has addressed: those of `Host`, or those forwarded
    /// by a trusted proxy.
    fn destination(&self, head: Head<'_>) -> Option<(String, Option<u16>)> {
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let own = head.headers.get(header::HOST).and_then(text);
        let own = own.or_else(|| head.uri.authority().map(ToString::to_string));
        let (forwarded_host, forwarded_port) =
            self.proxies.forwarded_host(head.headers, head.extensions);
        let authority = forwarded_host.or(own)?;
        let (host, port) = host_and_port(&authority)?;
        let port = match (forwarded_port, port) {
            // A port in the forwarded host takes precedence.
            (Some(port), None) => Some(port),
            (_, Some(port)) => Some(port.parse().ok()?),
            (None, None) => None,
        };
        Some((host.to_owned(), port))
    }

    /// Logs a refused origin, at most once per interval, and at most [`MAX_LOGGED`] of them.
    fn log(&self, origin: &HeaderValue) {
        let text: String =
            String::from_utf8_lossy(origin.as_bytes()).chars().take(MAX_LOGGED_CHARS).collect();
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged.contains_key(&text) || logged.len() >= MAX_LOGGED {
            logged.retain(|_, at| now.duration_since(*at) < LOG_INTERVAL);
        }
        if logged.contains_key(&text) || logged.len() >= MAX_LOGGED {
            return;
        }
        warn!(origin = text, allowed = %self.allowed, "origin refused, add it to CLIENT_URL to allow its pages");
        logged.insert(text, now);
    }
}

/// Refuses requests with an `Origin` that is not allowed.
pub(crate) async fn guard(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // The node that has forwarded a request has checked it.
    let is_forwarded = request.extensions().get::<Forwarded>().is_some();
    if !is_forwarded && !origins.allows_all(Head::from(&request)) {
        return Err(ApiError::ForeignOrigin);
    }
    Ok(next.run(request).await)
}

/// Refuses cross-site writes: requests with an `Origin` that is not allowed, or without one if
/// `Sec-Fetch-Site` says that they are cross-site. Bodies of other types than JSON need no CORS
/// preflight, so they are refused from all pages.
pub(crate) async fn guard_writes(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if !matches!(*request.method(), Method::POST | Method::PATCH | Method::DELETE) {
        return Ok(next.run(request).await);
    }
    let headers = request.headers();
    let has_origin = headers.contains_key(header::ORIGIN);
    let is_cross_site = headers.get_all("sec-fetch-site").iter().any(|site| site == "cross-site");
    if !origins.allows_all(Head::from(&request)) || (is_cross_site && !has_origin) {
        return Err(ApiError::ForeignOrigin);
    }
    if has_origin && !request.body().is_end_stream() && !is_json(headers) {
        return Err(ApiError::NotJson);
    }
    Ok(next.run(request).await)
}

/// Returns whether all `Content-Type` headers say JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter().peekable();
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().ok().and_then(|value| value.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    };
    types.peek().is_some() && types.all(is_json)
}
