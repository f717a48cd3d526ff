//! Types and parsers of setting values. An error names the accepted values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use crate::dialect::socketio::profile::Profile;

/// A value that is never shown in logs or messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the value in plain text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Secret {
    /// Returns a secret without a value, to show in place of another.
    pub(super) fn hidden() -> Self {
        Self(String::new())
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    whole(text, 0, u64::from(u16::MAX))
        .map(|port| u16::try_from(port).expect("the range is that of the type"))
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAndPort {
    /// Host name or address.
    pub host: String,
    /// Port number; 0 uses a free port.
    pub port: u16,
}

pub(super) fn host_and_port(text: &str) -> Result<HostAndPort, String> {
    const ACCEPTED: &str = "an address and a port, such as 127.0.0.1:9100 or [::1]:9100";
    let (host, port) = text.trim().rsplit_once(':').ok_or(ACCEPTED)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_plain = !host.is_empty()
        && host.chars().all(|letter| letter.is_alphanumeric() || ".-:%_".contains(letter));
    match self::port(port) {
        Ok(port) if is_plain => Ok(HostAndPort { host: host.to_owned(), port }),
        _ => Err(ACCEPTED.to_owned()),
    }
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "networks such as 10.0.0.0/8 or 127.0.0.1, comma-separated".to_owned())
}

pub(super) fn count<const MIN: usize>(text: &str) -> Result<usize, String> {
    size(text, MIN, 1_000_000_000)
}

/// Parses a rate of at most a million per second; 0 means no limit.
pub(super) fn rate(text: &str) -> Result<u32, String> {
    whole(text, 0, 1_000_000).map(|number| u32::try_from(number).expect("the range fits the type"))
}

/// Parses a size in bytes, from 1 KiB (256 bytes would not hold a session description) to `MAX`
/// MiB.
pub(super) fn megabytes<const MAX: usize>(text: &str) -> Result<usize, String> {
    size(text, 1024, MAX * 1024 * 1024)
}

pub(super) fn queue(text: &str) -> Result<usize, String> {
    size(text, 8, 65_536)
}

/// Parses a time in seconds, at most a day.
pub(super) fn seconds<const MIN: u64>(text: &str) -> Result<Duration, String> {
    whole(text, MIN, 86_400).map(Duration::from_secs)
}

/// Reads the lease of a node: 5 to 60 seconds.
pub(super) fn lease(text: &str) -> Result<Duration, String> {
    whole(text, 5, 60).map(Duration::from_secs)
}

/// Parses a time in milliseconds, from 50 ms to an hour.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    whole(text, 50, 3_600_000).map(Duration::from_millis)
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    flag(text).map_err(|_| "on or off".to_owned())
}

/// An address announced to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// IP address.
    pub ip: IpAddr,
    /// Port number; `None` for the port of the socket.
    pub port: Option<u16>,
}

pub(super) fn announced(text: &str) -> Result<Announced, String> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse().map(|ip| Announced { ip, port: None });
    let with_port =
        |address: SocketAddr| Announced { ip: address.ip(), port: Some(address.port()) };
    // Only a unicast address with a port can be reached.
    let is_one =
        |ip: IpAddr| !ip.is_unspecified() && !ip.is_multicast() && ip != Ipv4Addr::BROADCAST;
    alone
        .or_else(|_| text.parse().map(with_port))
        .ok()
        .filter(|announced: &Announced| is_one(announced.ip) && announced.port != Some(0))
        .ok_or_else(|| {
            "addresses such as 203.0.113.7 or 203.0.113.7:4000, comma-separated".to_owned()
        })
}

/// Parses a bitrate in kbit/s, from 16 (speech) to a gigabit per second.
pub(super) fn bitrate(text: &str) -> Result<u32, String> {
    whole(text, 16, 1_000_000).map(|number| u32::try_from(number).expect("the range fits the type"))
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    // A word that is not a level would be parsed as a module name, which disables everything else.
    let is_word = text.chars().all(char::is_alphanumeric);
    let is_level = text.parse::<tracing::Level>().is_ok() || text == "off";
    if (is_word && !is_level) || text.parse::<EnvFilter>().is_err() {
        return Err("error, warn, info, debug, trace, or a filter such as info,parlor::room=debug"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// Name that denotes all built-in event profiles.
pub(super) const AUTO_PROFILES: &str = "auto";

/// Parses the name of a built-in event profile, or the path of a file.
pub(super) fn profile(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_known = text == AUTO_PROFILES || Profile::source(text).is_some();
    if is_known || Path::new(text).extension().is_some() || text.contains('/') {
        return Ok(text.to_owned());
    }
    let names: Vec<&str> = Profile::builtin().iter().map(|builtin| builtin.name()).collect();
    Err(format!("auto, {}, or paths of files such as ./frontend.toml", names.join(", ")))
}

/// Parses a Socket.IO namespace, or `*`.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_valid = text == "*" || (text.starts_with('/') && !text.contains(['?', ' ']));
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err("* or namespaces such as /,/chat, comma-separated".to_owned())
    }
}

/// Parses a path at which Socket.IO may be served, and adds a slash to its end.
pub(super) fn socketio_path(text: &str) -> Result<String, String> {
    const TAKEN: [&str; 7] = ["", "ws", "signal", "api", "health", "healthz", "metrics"];
    let text = text.trim().trim_end_matches('/');
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    let is_taken = TAKEN.contains(&text.split('/').nth(1).unwrap_or_default());
    if text.starts_with('/') && !text.contains("//") && text.chars().all(is_plain) && !is_taken {
        return Ok(format!("{text}/"));
    }
    Err("paths such as /socket.io/ that nothing else is served at, comma-separated".to_owned())
}

fn size(text: &str, min: usize, max: usize) -> Result<usize, String> {
    whole(text, min as u64, max as u64)
        .map(|number| usize::try_from(number).expect("the range fits the type"))
}

fn whole(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let number = text.trim().parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("a whole number from {min} to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(port("65536"), Err("a whole number from 0 to 65535".to_owned()));
        assert_eq!(port(" 80 "), Ok(80));
        assert!(count::<1>("0").is_err());
        assert!(count::<1>("-1").is_err());
        assert!(seconds::<0>("1.5").is_err());
    }

    #[test]
    fn listen_address_has_a_host_and_a_port() {
        let parts = |text| host_and_port(text).map(|address| (address.host, address.port)).ok();
        assert_eq!(parts("127.0.0.1:9100"), Some(("127.0.0.1".to_owned(), 9100)));
        assert_eq!(parts("[::1]:0"), Some(("::1".to_owned(), 0)));
        assert_eq!(parts("localhost:1"), Some(("localhost".to_owned(), 1)));
        for wrong in ["9100", ":9100", "localhost", "localhost:x", "a b:1", "http://localhost:1"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn announced_address_must_be_reachable() {
        let parsed =
            |text| announced(text).map(|announced| (announced.ip.to_string(), announced.port)).ok();
        assert_eq!(parsed(" 203.0.113.7 "), Some(("203.0.113.7".to_owned(), None)));
        assert_eq!(parsed("203.0.113.7:500"), Some(("203.0.113.7".to_owned(), Some(500))));
        for v6 in ["2001:db8::1", "[2001:db8::1]"] {
            assert_eq!(parsed(v6), Some(("2001:db8::1".to_owned(), None)), "{v6}");
        }
        assert_eq!(parsed("[2001:db8::1]:500"), Some(("2001:db8::1".to_owned(), Some(500))));
        for wrong in
            ["", "media.example.com", "0.0.0.0", "::", "203.0.113.7:0", "203.0.113.7:99999"]
        {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        for wrong in ["[2001:db8::1", "224.0.0.1", "255.255.255.255", "ff02::1"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn misspelt_log_level_is_refused() {
        assert!(log_level("inof").is_err());
        assert!(log_level("info,parlor::room=loud").is_err());
        assert!(log_level("warn").is_ok());
        assert!(log_level("info,parlor::room=debug").is_ok());
    }
}
