//! Parses `CLIENT_URL` and matches `Origin` headers against it.
//!
//! Matching is textual, in the form that browsers send: lower case, without a default port. An
//! entry that no browser can send is an error, because it would never match.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

const ACCEPTED: &str = "origins as browsers send them, comma-separated, such as https://app.example.com, \
     https://*.example.com, http://localhost:*, file:// or null; or * alone";

/// Default in development: the origins of every page on this machine.
const THIS_MACHINE: &str = "http://localhost:*,https://localhost:*,http://127.0.0.1:*,https://127.0.0.1:*,\
     http://[::1]:*,https://[::1]:*";

/// Default in production.
const LOCALHOST_3000: &str = "http://localhost:3000";

/// URL schemes that are never the scheme of an origin.
const NO_ORIGINS: [&str; 7] = ["ws", "wss", "file", "data", "blob", "about", "javascript"];

/// The origins whose pages may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientUrl {
    /// Every origin, written `*`.
    Any,
    /// Origins that match one of these patterns.
    List(Vec<Pattern>),
}

impl ClientUrl {
    /// Returns the default: all origins on this machine in development, a single one in production.
    pub(super) fn default_for(is_production: bool) -> Self {
        let default = if is_production { LOCALHOST_3000 } else { THIS_MACHINE };
        client_url(default).expect("the defaults are valid")
    }

    /// Returns whether pages of this origin may connect.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(list) => list.iter().any(|pattern| pattern.matches(origin)),
        }
    }

    /// Returns whether an entry has this host, with any scheme and port.
    pub fn names_host(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(list) => list.iter().any(|pattern| match pattern {
                Pattern::Page { host: pattern, .. } => host_matches(pattern, host),
                Pattern::Null | Pattern::File => false,
            }),
        }
    }

    /// Returns whether only pages on localhost may connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Any => false,
            Self::List(list) => list.iter().all(
                |pattern| matches!(pattern, Pattern::Page { host, .. } if host == "localhost"),
            ),
        }
    }
}

impl fmt::Display for ClientUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::List(list) => {
                let list: Vec<String> = list.iter().map(Pattern::to_string).collect();
                f.write_str(&list.join(","))
            }
        }
    }
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `null`: pages without an origin, such as a sandboxed frame.
    Null,
    /// `file://`: pages that some web views open from files.
    File,
    /// Scheme, host and port.
    Page {
        /// URL scheme without the colon.
        scheme: String,
        /// Host name or address; a label `*` matches any label.
        host: String,
        /// Accepted ports.
        port: Port,
    },
}

/// Ports that an entry accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The default port of the scheme.
    Default,
    /// A single port.
    Is(u16),
    /// Every port, written `*`.
    Any,
}

impl Pattern {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Null => origin == "null",
            Self::File => origin == "file://",
            Self::Page { scheme, host, port } => split(origin).is_some_and(|found| {
                let is_port = match port {
                    Port::Default => found.port.is_none(),
                    Port::Is(port) => found.port == Some(*port),
                    Port::Any => true,
                };
                found.scheme == *scheme && host_matches(host, found.host) && is_port
            }),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::File => f.write_str("file://"),
            Self::Page { scheme, host, port: Port::Default } => write!(f, "{scheme}://{host}"),
            Self::Page { scheme, host, port: Port::Is(port) } => {
                write!(f, "{scheme}://{host}:{port}")
            }
            Self::Page { scheme, host, port: Port::Any } => write!(f, "{scheme}://{host}:*"),
        }
    }
}

/// The parts of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// URL scheme without the colon.
    pub scheme: &'a str,
    /// Host name or address; IPv6 addresses have brackets.
    pub host: &'a str,
    /// Port number; `None` for the default port of the scheme.
    pub port: Option<u16>,
}

/// Splits an origin in the form that browsers send; returns `None` for any other text.
pub fn split(origin: &str) -> Option<Parts<'_>> {
    let (scheme, authority) = origin.split_once("://")?;
    let (host, port) = host_and_port(authority)?;
    let port = match port {
        Some(text) => {
            let port: u16 = text.parse().ok()?;
            if port.to_string() != text || default_port(scheme) == Some(port) {
                return None;
            }
            Some(port)
        }
        None => None,
    };
    Some(Parts { scheme, host, port })
}

/// Splits `host`, `host:port` or `[address]:port`.
pub fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(end);
    match rest.strip_prefix(':') {
        _ if host.is_empty() => None,
        None if rest.is_empty() => Some((host, None)),
        None => None,
        Some(port) => Some((host, Some(port))),
    }
}

/// Returns the default port of a scheme.
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Returns whether a host matches the pattern, label by label.
fn host_matches(pattern: &str, host: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == host;
    }
    let mut labels = host.split('.');
    let all = pattern.split('.').all(|wanted| {
        labels.next().is_some_and(|label| {
            if wanted == "*" { !label.is_empty() && is_label(label) } else { wanted == label }
        })
    });
    all && labels.next().is_none()
}

fn is_label(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    })
}

/// Parses the setting.
pub(super) fn client_url(text: &str) -> Result<ClientUrl, String> {
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    match items.as_slice() {
        [] => return Err(ACCEPTED.to_owned()),
        ["*"] => return Ok(ClientUrl::Any),
        _ => {}
    }
    items
        .into_iter()
        .map(pattern)
        .collect::<Option<_>>()
        .map(ClientUrl::List)
        .ok_or_else(|| ACCEPTED.to_owned())
}

/// Parses an entry; returns `None` if no origin can match it.
fn pattern(text: &str) -> Option<Pattern> {
    match text {
        "null" => return Some(Pattern::Null),
        "file://" | "file:///" => return Some(Pattern::File),
        _ => {}
    }
    let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme || NO_ORIGINS.contains(&scheme) {
        return None;
    }
    let (host, port) = host_and_port(authority)?;
    let port = match port {
        None => Port::Default,
        Some("*") => Port::Any,
        Some(port) => match port.parse().ok().filter(|port| *port > 0)? {
            port if default_port(scheme) == Some(port) => Port::Default,
            port => Port::Is(port),
        },
    };
    Some(Pattern::Page { scheme: scheme.to_owned(), host: host_pattern(host)?, port })
}

/// Returns the host of an entry in the form that browsers send.
fn host_pattern(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let labels: Vec<&str> =
        host.strip_suffix('.').filter(|host| !host.is_empty()).unwrap_or(host).split('.').collect();
    let is_valid = |label: &&str| *label == "*" || (!label.is_empty() && is_label(label));
    // Electron applications have such hosts.
    if host != "." && !labels.iter().all(is_valid) {
        return None;
    }
    // A host whose last label is a number is an address, which browsers normalize.
    let last = labels.last().copied().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
        || last.starts_with("0x");
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    Some(host.to_owned())
}

#[cfg(test)]
mod tests;
