//! The ICE servers announced to clients: those of the configuration, and TURN servers with
//! credentials per peer.
//!
//! TURN credentials are time-limited and derived from a secret shared with the TURN server: user
//! name `<expiry in Unix seconds>:<peer id>`, credential `base64(HMAC-SHA1(secret, user name))`, as
//! coturn's `use-auth-secret` expects them (draft-uberti-behave-turn-rest-00).
//!
//! - [`list`] and [`turn_url`] validate the settings;
//! - [`IceServers::for_peer`] returns the list for one peer, ready for
//!   `new RTCPeerConnection({ iceServers })`.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::id::PeerId;
use crate::json::{push_member, push_raw, push_string};

/// Maximum length of a user name, in bytes: RFC 8489, section 14.3, requires fewer than 509.
const MAX_USER_NAME: usize = 508;

/// The ICE servers for clients. `Debug` hides them, since they may hold passwords.
#[derive(Clone)]
pub struct IceServers {
    /// The configured servers, as the elements of a JSON array.
    fixed: String,
    turn: Option<Turn>,
}

/// TURN servers with a shared secret.
#[derive(Debug, Clone)]
pub struct Turn {
    urls: String,
    secret: hmac::Key,
    ttl: Duration,
}

impl fmt::Debug for IceServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServers").finish_non_exhaustive()
    }
}

impl Turn {
    /// Returns TURN servers at `urls`, whose credentials are valid for `ttl`.
    pub fn new(urls: &[String], secret: &str, ttl: Duration) -> Self {
        let mut list = String::from("[");
        for (index, url) in urls.iter().enumerate() {
            if index > 0 {
                list.push(',');
            }
            push_string(&mut list, url);
        }
        list.push(']');
        // TURN servers require SHA-1, which is not broken as a MAC.
        let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        Self { urls: list, secret, ttl }
    }

    fn push(&self, out: &mut String, peer: &PeerId, now: SystemTime) {
        let expiry =
            (now + self.ttl).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut user_name = format!("{expiry}:{peer}");
        user_name.truncate(user_name.floor_char_boundary(MAX_USER_NAME));
        let credential = STANDARD.encode(hmac::sign(&self.secret, user_name.as_bytes()));
        out.push('{');
        push_raw(out, "urls", &self.urls);
        push_member(out, "username", &user_name);
        push_member(out, "credential", &credential);
        out.push('}');
    }
}

impl IceServers {
    /// Combines a list accepted by [`list`] with TURN servers. Returns `None` if there are no
    /// servers.
    pub fn new(fixed: Option<&str>, turn: Option<Turn>) -> Option<Self> {
        let fixed = fixed.map(|list| list[1..list.len() - 1].trim().to_owned()).unwrap_or_default();
        (!fixed.is_empty() || turn.is_some()).then_some(Self { fixed, turn })
    }

    /// Returns the JSON array for one peer.
    pub fn for_peer(&self, peer: &PeerId, now: SystemTime) -> String {
        let mut out = format!("[{}", self.fixed);
        if let Some(turn) = &self.turn {
            if !self.fixed.is_empty() {
                out.push(',');
            }
            turn.push(&mut out, peer, now);
        }
        out.push(']');
        out
    }
}

/// Validates a list of servers, and returns its text on one line.
///
/// # Errors
///
/// Returns a description of the accepted form.
pub(crate) fn list(text: &str) -> Result<String, String> {
    const ACCEPTED: &str = r#"a JSON array such as [{"urls":"stun:stun.example.com:3478"}], each with urls that begin with stun:, stuns:, turn: or turns:"#;
    let servers: Vec<Map<String, Value>> = serde_json::from_str(text).map_err(|_| ACCEPTED)?;
    let is_url = |url: &Value| {
        url.as_str().is_some_and(|url| is_url(url, &["stun:", "stuns:", "turn:", "turns:"]))
    };
    let is_valid = |server: &Map<String, Value>| match server.get("urls") {
        Some(Value::Array(urls)) => !urls.is_empty() && urls.iter().all(is_url),
        Some(url) => is_url(url),
        None => false,
    };
    if !servers.iter().all(is_valid) {
        return Err(ACCEPTED.to_owned());
    }
    // Some protocols send one message per line.
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| ACCEPTED)?;
    Ok(raw.get().replace(['\n', '\r'], " "))
}

/// Validates the URL of a TURN server.
///
/// # Errors
///
/// Returns a description of the accepted form.
pub(crate) fn turn_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    if is_url(text, &["turn:", "turns:"]) {
        Ok(text.to_owned())
    } else {
        Err("addresses such as turn:turn.example.com:3478?transport=udp, comma-separated"
            .to_owned())
    }
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.contains(|character: char| character.is_whitespace() || character == ',')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_is_as_coturn_expects() {
        let turn =
            Turn::new(&["turn:turn.example.com".to_owned()], "s3cr3t", Duration::from_hours(1));
        let servers = IceServers::new(None, Some(turn)).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_412_345 - 3600);
        assert_eq!(
            servers.for_peer(&PeerId::new("alice").unwrap(), now),
            r#"[{"urls":["turn:turn.example.com"],"username":"1735412345:alice","credential":"YBxu/apih+Y++2G7z3H1F/6ampk="}]"#
        );
    }

    #[test]
    fn user_name_is_truncated_for_turn() {
        let turn = Turn::new(&["turn:t".to_owned()], "secret", Duration::from_hours(1));
        let servers = IceServers::new(None, Some(turn)).unwrap();
        let json = servers.for_peer(&PeerId::new(&"🦀".repeat(128)).unwrap(), SystemTime::now());
        let list: serde_json::Value = serde_json::from_str(&json).unwrap();
        let user_name = list[0]["username"].as_str().unwrap();
        assert!((500..=MAX_USER_NAME).contains(&user_name.len()), "{}", user_name.len());
    }

    #[test]
    fn configured_list_is_passed_on_unchanged() {
        let given =
            r#"[ {"urls":["stun:a","turns:b:443"],"username":"u","credential":"c","x":1.0} ]"#;
        let peer = PeerId::new("p").unwrap();
        let servers = IceServers::new(Some(&list(given).unwrap()), None).unwrap();
        assert_eq!(
            servers.for_peer(&peer, SystemTime::now()),
            r#"[{"urls":["stun:a","turns:b:443"],"username":"u","credential":"c","x":1.0}]"#
        );
        assert!(IceServers::new(Some(&list("[]").unwrap()), None).is_none());
        for wrong in [
            "",
            "{}",
            r#"{"urls":"stun:a"}"#,
            r#"[{"url":"stun:a"}]"#,
            r#"[{"urls":"http://a"}]"#,
            r#"[{"urls":[]}]"#,
            r#"[["stun:a"]]"#,
        ] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
        assert!(
            turn_url("stun:a").is_err()
                && turn_url("turn:").is_err()
                && turn_url(" turn:a ").is_ok()
        );
    }
}
