//! Placeholders: a trace without bodies, tokens, names and addresses, from which the same profile
//! is inferred.
//!
//! Equal values get equal placeholders and different values different ones, of the same length and
//! kinds of characters. Names of events and keys of objects stay; a key that is also a value, such
//! as a connection id, is replaced like the value.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::infer::{Description, description};
use super::trace::{Trace, What};

/// Numbers below this identify no person: they are counts and flags.
const SMALL: u64 = 1_000;

/// Returns the trace with placeholders.
pub(super) fn conceal(trace: &Trace) -> Trace {
    let mut concealer = Concealer::default();
    let mut result = trace.clone();
    for client in &mut result.clients {
        client.id = concealer.text(&client.id);
        client.handshake = client
            .handshake
            .iter()
            .map(|(key, value)| (key.clone(), concealer.text(value)))
            .collect();
    }
    for entry in &mut result.entries {
        match &mut entry.what {
            What::Sent(message) | What::Received(message) => concealer.values(&mut message.args),
            What::Acknowledged { args, .. } => concealer.values(args),
            What::Connected | What::Disconnected => {}
        }
    }
    // Keys that are ids are recognized when all values are known.
    for entry in &mut result.entries {
        match &mut entry.what {
            What::Sent(message) | What::Received(message) => {
                message.args.iter_mut().for_each(|value| concealer.keys(value));
            }
            What::Acknowledged { args, .. } => {
                for value in args.iter_mut() {
                    concealer.keys(value);
                }
            }
            What::Connected | What::Disconnected => {}
        }
    }
    result.requests = trace.requests.iter().map(|request| conceal_path(request)).collect();
    let cut = |text: &String| text.split(": ").next().unwrap_or_default().to_owned();
    result.omissions = trace.omissions.iter().map(cut).collect();
    result
}

/// Keeps the words of a path, not what looks like an id.
fn conceal_path(request: &str) -> String {
    let is_word = |part: &str| {
        !part.bytes().any(|byte| byte.is_ascii_digit() || byte == b'%' || byte == b'@')
            && part.len() < 24
    };
    let parts: Vec<&str> =
        request.split('/').map(|part| if is_word(part) { part } else { ":id" }).collect();
    parts.join("/")
}

#[derive(Default)]
struct Concealer {
    texts: HashMap<String, String>,
    used: HashSet<String>,
    numbers: BTreeMap<u64, u64>,
}

impl Concealer {
    fn values(&mut self, values: &mut [Value]) {
        for value in values {
            self.value(value, None);
        }
    }

    fn value(&mut self, value: &mut Value, key: Option<&str>) {
        match value {
            Value::String(text) if key.is_some_and(is_word_key) && is_word(text) => {}
            Value::String(text) => *text = self.text(text),
            Value::Number(number) => {
                if let Some(concealed) = number.as_u64().and_then(|number| self.number(number)) {
                    *value = Value::from(concealed);
                } else if number.is_f64() {
                    *value = Value::from(0.5);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value, None)),
            Value::Object(members) => {
                for (key, value) in members.iter_mut() {
                    self.value(value, Some(key));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Returns the placeholder of a number; `None` if it stays. Times stay times.
    fn number(&mut self, number: u64) -> Option<u64> {
        let next = self.numbers.len() as u64;
        let is_time = (1_000_000_000_000..4_000_000_000_000).contains(&number);
        let base = if is_time { 1_600_000_000_000 } else { SMALL };
        (number >= SMALL).then(|| *self.numbers.entry(number).or_insert(base + next))
    }

    fn text(&mut self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let serial = self.texts.len();
        let is_description = text.starts_with("v=0");
        let mut placeholder = match description(&[Value::from(text)]) {
            _ if is_description => format!("v=0 placeholder {serial}"),
            Some(Description::Candidate) => {
                format!("candidate:{serial} 1 udp 1 192.0.2.1 9 typ host")
            }
            _ if super::infer::is_time(text) => format!("2020-01-01T00:00:00.{serial:03}Z"),
            _ => shape(text, serial),
        };
        while self.used.contains(&placeholder) {
            placeholder.push('x');
        }
        self.used.insert(placeholder.clone());
        self.texts.insert(text.to_owned(), placeholder.clone());
        placeholder
    }

    fn keys(&self, value: &mut Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(|value| self.keys(value)),
            Value::Object(members) => {
                let old = std::mem::take(members);
                *members = old
                    .into_iter()
                    .map(|(key, mut value)| {
                        self.keys(&mut value);
                        let is_id =
                            key.len() >= 16 || key.bytes().any(|byte| byte.is_ascii_digit());
                        let concealed = self.texts.get(&key).filter(|_| is_id).cloned();
                        (concealed.unwrap_or(key), value)
                    })
                    .collect();
            }
            _ => {}
        }
    }
}

/// Keys whose short texts name a kind, which inference reads.
fn is_word_key(key: &str) -> bool {
    ["type", "kind"].contains(&key.to_lowercase().as_str())
}

fn is_word(text: &str) -> bool {
    text.len() <= 24
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_')
}

/// Returns a text of the same length and kinds of characters, which differs from those of other
/// serial numbers.
fn shape(text: &str, serial: usize) -> String {
    let mut rest = serial;
    let mut letters: Vec<char> = Vec::with_capacity(text.len());
    for letter in text.chars().rev().take(256) {
        letters.push(match letter {
            '0'..='9' => take(&mut rest, b'0', 10),
            letter if letter.is_uppercase() => take(&mut rest, b'A', 26),
            letter if letter.is_alphabetic() => take(&mut rest, b'a', 26),
            letter => letter,
        });
    }
    letters.iter().rev().collect()
}

fn take(rest: &mut usize, first: u8, base: usize) -> char {
    let digit = u8::try_from(*rest % base).unwrap_or_default();
    *rest /= base;
    char::from(first + digit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::trace::{Entry, Message, RecordedClient};

    #[test]
    fn placeholders_remove_personal_data_and_keep_relations() {
        let sent = |client, args: Value| {
            let args = args.as_array().unwrap().clone();
            Entry {
                at: 1,
                client,
                what: What::Sent(Message { event: "join".into(), args, ..Message::default() }),
            }
        };
        let handshake = BTreeMap::from([("token".to_owned(), "s3cret-token".to_owned())]);
        let client =
            RecordedClient { id: "AbC-123".into(), handshake, ..RecordedClient::default() };
        let trace = Trace {
            clients: vec![client.clone(), RecordedClient { id: "XyZ-987".into(), ..client }],
            entries: vec![
                sent(
                    0,
                    json!([{ "room": "secret room", "name": "Ann Bell", "type": "guest", "phone": 441_234_567, "n": 3 }]),
                ),
                sent(
                    1,
                    json!([{ "room": "secret room", "name": "Bo", "to": "AbC-123", "at": 1_700_000_000_000_u64 }]),
                ),
                sent(
                    1,
                    json!([{ "type": "offer", "sdp": "v=0\r\no=- 1 1 IN IP4 10.1.2.3" }, { "AbC-123": 1 }]),
                ),
                sent(
                    0,
                    json!([{ "candidate": "candidate:1 1 udp 1 10.1.2.3 5000 typ host", "sdpMid": "0" }]),
                ),
            ],
            requests: vec!["GET /api/users/42/ann@example.org".into()],
            omissions: vec!["a connection that the server refused: {\"message\":\"Ann\"}".into()],
        };
        let concealed = conceal(&trace);
        let text = concealed.to_text();
        for secret in [
            "secret", "Ann", "Bell", "Bo\"", "s3cret", "AbC-123", "XyZ", "10.1.2.3", "441", "42",
            "ann@",
        ] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(Trace::read(&text).unwrap(), concealed);
        let args = |index: usize| match &concealed.entries[index].what {
            What::Sent(message) => message.args.clone(),
            _ => unreachable!(),
        };
        assert_eq!(args(0)[0]["room"], args(1)[0]["room"]);
        assert_ne!(args(0)[0]["name"], args(1)[0]["name"]);
        assert_eq!(args(1)[0]["to"], concealed.clients[0].id.as_str());
        assert_eq!((&args(0)[0]["type"], &args(0)[0]["n"]), (&json!("guest"), &json!(3)));
        assert_eq!(
            args(2)[1].as_object().unwrap().keys().next().unwrap(),
            &concealed.clients[0].id
        );
        assert_eq!(description(&args(2)), Some(Description::Offer));
        assert_eq!(description(&args(3)), Some(Description::Candidate));
    }
}
