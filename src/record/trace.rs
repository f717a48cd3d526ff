//! A trace: what the clients of one server sent and received, as decoded events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Maximum number of entries in a trace; a recording ends there.
pub const MAX_ENTRIES: usize = 10_000;

/// Maximum number of clients in a trace; a recording ends there.
pub const MAX_CLIENTS: usize = 64;

/// Maximum size of the JSON of one recorded event, in bytes. Larger ones pass the proxy, but are
/// not recorded.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// Maximum size of the JSON of all recorded events, in bytes; a recording ends there.
pub const MAX_TRACE_BYTES: usize = 32 * 1024 * 1024;

/// The events that the clients of one server sent and received.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The Socket.IO connections, in the order in which they opened.
    pub clients: Vec<RecordedClient>,
    /// The events in order. A cause precedes its effects.
    pub entries: Vec<Entry>,
    /// Requests that are not Socket.IO's, as `GET /path`, each once.
    #[serde(default)]
    pub requests: Vec<String>,
    /// The parts that were not recorded, with the reason, a sentence each.
    #[serde(default)]
    pub omissions: Vec<String>,
}

/// One Socket.IO connection: a transport connection and a namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedClient {
    /// The id that the server gave it, the client's `socket.id`; empty if it did not say.
    pub id: String,
    /// The namespace, `/` by default.
    pub namespace: String,
    /// The path of the server's endpoint, `/socket.io/` by default.
    pub path: String,
    /// The revision of Engine.IO, 3 or 4.
    pub revision: u8,
    /// The application's query parameters, and the members of `auth` that are strings.
    #[serde(default)]
    pub handshake: BTreeMap<String, String>,
}

/// One entry of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Time since the recording began, in milliseconds.
    pub at: u64,
    /// Index of the client.
    pub client: usize,
    /// The event.
    #[serde(flatten)]
    pub what: What,
}

/// An event of a client's connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The server confirmed its connection.
    Connected,
    /// The connection ended.
    Disconnected,
    /// The client sent an event.
    Sent(Message),
    /// The server sent an event.
    Received(Message),
    /// The server acknowledged an event.
    Acknowledged {
        /// The acknowledgement id of the event.
        ack: u64,
        /// The arguments of the callback.
        args: Vec<Value>,
    },
}

/// An event with its arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The name.
    pub event: String,
    /// The arguments; binary attachments are `{"_placeholder":true,"num":N}`.
    pub args: Vec<Value>,
    /// The acknowledgement id, if the sender waits for an acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<u64>,
    /// Number of binary attachments.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attachments: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// An error in the text of a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It is not the JSON that `--save-trace` writes.
    #[error("not a trace of `parlor profile record --save-trace` (line {line}: {reason})")]
    Format {
        /// The line, from 1.
        line: usize,
        /// The mistake in it.
        reason: String,
    },
    /// An entry names a client that is not listed.
    #[error("entry {0} belongs to a client that the trace does not list")]
    Client(usize),
    /// It exceeds what a recording holds.
    #[error("more than {MAX_ENTRIES} entries, or more than {MAX_CLIENTS} clients")]
    Length,
}

impl Trace {
    /// Reads what [`Trace::to_text`] wrote.
    pub fn read(text: &str) -> Result<Self, TraceError> {
        let trace: Self = serde_json::from_str(text).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
            TraceError::Format { line: error.line(), reason }
        })?;
        if trace.entries.len() > MAX_ENTRIES || trace.clients.len() > MAX_CLIENTS {
            return Err(TraceError::Length);
        }
        match trace.entries.iter().position(|entry| entry.client >= trace.clients.len()) {
            Some(index) => Err(TraceError::Client(index)),
            None => Ok(trace),
        }
    }

    /// Writes the trace as JSON, one entry a line.
    pub fn to_text(&self) -> String {
        let list = |items: Vec<String>| {
            if items.is_empty() { String::new() } else { format!("\n{}\n", items.join(",\n")) }
        };
        let lines = |values: Vec<Value>| list(values.iter().map(Value::to_string).collect());
        let json = |value: &dyn Fn() -> serde_json::Result<Value>| value().unwrap_or_default();
        let clients =
            self.clients.iter().map(|client| json(&|| serde_json::to_value(client))).collect();
        let entries =
            self.entries.iter().map(|entry| json(&|| serde_json::to_value(entry))).collect();
        let texts =
            |texts: &[String]| lines(texts.iter().map(|text| Value::from(text.as_str())).collect());
        format!(
            "{{\"clients\":[{}],\n\"entries\":[{}],\n\"requests\":[{}],\n\"omissions\":[{}]}}\n",
            lines(clients),
            lines(entries),
            texts(&self.requests),
            texts(&self.omissions),
        )
    }

    /// Returns the events that clients sent, with their position and client.
    pub fn sent(&self) -> impl Iterator<Item = (usize, usize, &Message)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| match &entry.what {
            What::Sent(message) => Some((index, entry.client, message)),
            _ => None,
        })
    }

    /// Returns the events that clients received, with their position and client.
    pub fn received(&self) -> impl Iterator<Item = (usize, usize, &Message)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| match &entry.what {
            What::Received(message) => Some((index, entry.client, message)),
            _ => None,
        })
    }

    /// Returns the number of clients that sent at least one event.
    pub fn active_clients(&self) -> usize {
        let mut clients: Vec<usize> = self.sent().map(|(_, client, _)| client).collect();
        clients.sort_unstable();
        clients.dedup();
        clients.len()
    }
}
