//! Which pages may use the server.
//!
//! Browsers say in `Origin` which page a request comes from. The list in `CLIENT_URL`, and the server's own origin, are
//! allowed: CORS headers say so for REST. CORS covers neither a WebSocket handshake, nor the effect of a request whose
//! answer it hides: [`guard`] and [`guard_writes`] refuse those with 403. A request without `Origin` comes from a native
//! client, and is allowed.
//!
//! The guarantee that is easy to break: a page of another origin whose name an attacker lets resolve to this server
//! (DNS rebinding) has an `Origin` equal to its `Host`. So the own origin counts only under a host that cannot be such a
//! name.

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
use crate::request::proxies::Proxies;
use crate::tls::Tls;

/// How often a refused origin is logged.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Maximum number of refused origins that are logged in that time.
const MAX_LOGGED: usize = 64;

/// Maximum number of characters of an origin that are logged.
const MAX_LOGGED_CHARS: usize = 200;

/// The allowed origins.
pub struct Origins {
    allowed: ClientUrl,
    proxies: Arc<Proxies>,
    certificate: Option<Arc<Tls>>,
    /// The refused origins that were logged, and when.
    logged: Mutex<HashMap<String, Instant>>,
}

/// The parts of a request that say where it comes from and where it is addressed to.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its target; with HTTP/2 the host is part of it.
    pub uri: &'a Uri,
    /// What the listener knows of its connection.
    pub extensions: &'a Extensions,
}

impl<'a, B> From<&'a http::Request<B>> for Head<'a> {
    fn from(request: &'a http::Request<B>) -> Self {
        Self { headers: request.headers(), uri: request.uri(), extensions: request.extensions() }
    }
}

impl Origins {
    /// Allows the origins of the setting, and the server's own under the names of its certificate.
    pub fn new(allowed: ClientUrl, proxies: Arc<Proxies>, certificate: Option<Arc<Tls>>) -> Self {
        Self { allowed, proxies, certificate, logged: Mutex::default() }
    }

    /// Whether a page of this origin may use the server. A refusal is logged.
    pub fn allow(&self, origin: &HeaderValue, head: Head<'_>) -> bool {
        let is_allowed = origin.to_str().is_ok_and(|origin| self.allowed.allows(origin) || self.is_own(origin, head));
        if !is_allowed {
            self.log(origin);
        }
        is_allowed
    }

    /// Whether every `Origin` of a request is allowed.
    fn allows_all(&self, head: Head<'_>) -> bool {
        head.headers.get_all(header::ORIGIN).iter().all(|origin| self.allow(origin, head))
    }

    /// Whether a page of this origin was served under the name that the request is addressed to. The scheme does not
    /// count, since TLS may be terminated by a proxy.
    fn is_own(&self, origin: &str, head: Head<'_>) -> bool {
        let Some(page) = split(origin) else { return false };
        let Some(default) = default_port(page.scheme) else { return false };
        let Some((host, port)) = self.addressed(head) else { return false };
        page.host.eq_ignore_ascii_case(&host)
            && page.port.unwrap_or(default) == port.unwrap_or(default)
            && self.is_trusted_host(page.host)
    }

    /// Whether a host cannot be a name that somebody else lets resolve to this server.
    fn is_trusted_host(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        host == "localhost"
            || host.parse::<Ipv4Addr>().is_ok()
            || bare.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            || self.allowed.names_host(host)
            || self.certificate.as_ref().is_some_and(|certificate| certificate.covers(host))
    }

    /// The host and port that the client has addressed: those of `Host`, or behind a trusted proxy those that it
    /// forwards.
    fn addressed(&self, head: Head<'_>) -> Option<(String, Option<u16>)> {
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let own = head.headers.get(header::HOST).and_then(text);
        let own = own.or_else(|| head.uri.authority().map(ToString::to_string));
        let (forwarded_host, forwarded_port) = self.proxies.forwarded_host(head.headers, head.extensions);
        let authority = forwarded_host.or(own)?;
        let (host, port) = host_and_port(&authority)?;
        let port = match (forwarded_port, port) {
            // A port that the proxy names with the host is the one of the page.
            (Some(port), None) => Some(port),
            (_, Some(port)) => Some(port.parse().ok()?),
            (None, None) => None,
        };
        Some((host.to_owned(), port))
    }

    /// Logs a refused origin: each at most once in an interval, and not more of them than anyone would read.
    fn log(&self, origin: &HeaderValue) {
        let text: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(MAX_LOGGED_CHARS).collect();
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged.contains_key(&text) || logged.len() >= MAX_LOGGED {
            logged.retain(|_, at| now.duration_since(*at) < LOG_INTERVAL);
        }
        if logged.contains_key(&text) || logged.len() >= MAX_LOGGED {
            return;
        }
        warn!(origin = text, allowed = %self.allowed, "origin refused; add it to CLIENT_URL to allow its pages");
        logged.insert(text, now);
    }
}

/// Refuses requests from pages whose origin is not allowed.
pub async fn guard(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Result<Response, ApiError> {
    if !origins.allows_all(Head::from(&request)) {
        return Err(ApiError::ForeignOrigin);
    }
    Ok(next.run(request).await)
}

/// Refuses requests by which a page of another site would change something: with an `Origin` that is not allowed, or
/// without one where the browser says that the page is of another site. A page can send a body without asking
/// first (a CORS preflight) in types other than JSON; those are refused from pages, too.
pub async fn guard_writes(
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

/// Whether the body is said to be JSON, and nothing else.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter().peekable();
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().ok().and_then(|value| value.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    };
    types.peek().is_some() && types.all(is_json)
}
