//! The meaning of a message, which clients of other protocols must read.

use parlor::room::SignalKind;

use super::object::Object;
use super::{Protocol, word};

/// A signal in the form of its sender.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) protocol: Protocol,
    pub(crate) kind: SignalKind,
    /// The object that holds the keys of the signal: an event's argument, a message, an envelope's
    /// payload.
    pub(crate) object: Object,
    /// Time of sending according to the sender, on protocols that have it, as JSON.
    pub(crate) timestamp: Option<String>,
}

/// The content of a message, independent of its protocol. All texts are JSON, byte by byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A session description.
    Description {
        sdp: String,
        kind: String,
    },
    /// A candidate, with its media line if the form of the sender has one.
    Candidate {
        candidate: String,
        place: Option<Place>,
    },
    EndOfCandidates,
    /// Unknown content, which other protocols may write as any JSON.
    Other,
}

/// The media description of a candidate, as far as it is well formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) media: Option<String>,
    pub(crate) index: Option<String>,
}

impl Sent {
    pub(crate) fn new(
        protocol: Protocol,
        kind: SignalKind,
        object: Object,
        timestamp: Option<String>,
    ) -> Self {
        Self { protocol, kind, object, timestamp }
    }

    /// The keys of the description or candidate, in order of precedence.
    fn content_keys(&self) -> &'static [&'static str] {
        match (self.protocol, self.kind) {
            (Protocol::SocketIo, SignalKind::Offer) => {
                &["offer", "sdp", "description", "signal", "sessionDescription", "ans"]
            }
            (Protocol::SocketIo, SignalKind::Answer) => {
                &["answer", "sdp", "description", "signal", "sessionDescription", "ans"]
            }
            (Protocol::SocketIo, SignalKind::Candidate) => {
                &["candidate", "iceCandidate", "ice", "signal"]
            }
            (Protocol::Session, SignalKind::Offer | SignalKind::Answer) => &["sdp"],
            (Protocol::Session, SignalKind::Candidate) => &["candidate"],
            (Protocol::SocketIo | Protocol::Session, SignalKind::Message) => {
                panic!("neither has application messages")
            }
            (Protocol::Topic, _) => &["payload"],
            (Protocol::Envelope, SignalKind::Message) => &["data"],
            (Protocol::Envelope, _) => &[],
        }
    }

    /// The data of an application message, as JSON.
    pub(crate) fn data(&self) -> &str {
        self.object.first_of(self.content_keys()).unwrap_or("null")
    }

    pub(crate) fn meaning(&self) -> Meaning {
        if self.protocol == Protocol::Envelope {
            return self.of_object(&self.object);
        }
        let content = self.object.first_of(self.content_keys()).unwrap_or("null");
        // A candidate's members may be members of the message itself.
        let is_flat = self.protocol == Protocol::SocketIo
            && ["sdpMid", "sdpMLineIndex"].iter().any(|key| self.object.has(key));
        if self.kind == SignalKind::Candidate && is_flat && content.starts_with('"') {
            // Under another name it is still the candidate, although it is not an object.
            let is_whole = self.object.has("candidate");
            return Meaning::Candidate {
                candidate: content.to_owned(),
                place: is_whole.then(|| place(&self.object)),
            };
        }
        if let Some(object) = Object::read(content) {
            return self.of_object(&object);
        }
        match self.kind {
            SignalKind::Candidate if content == "null" => Meaning::EndOfCandidates,
            SignalKind::Candidate if content.starts_with('"') => {
                let place = Place { media: None, index: Some("0".to_owned()) };
                Meaning::Candidate { candidate: content.to_owned(), place: Some(place) }
            }
            SignalKind::Offer | SignalKind::Answer if content.starts_with('"') => {
                Meaning::Description { sdp: content.to_owned(), kind: self.kind_text() }
            }
            _ => Meaning::Other,
        }
    }

    fn of_object(&self, object: &Object) -> Meaning {
        if self.kind == SignalKind::Candidate {
            return match object.get("candidate") {
                None | Some("null") => Meaning::EndOfCandidates,
                Some(text) if text.starts_with('"') => {
                    Meaning::Candidate { candidate: text.to_owned(), place: Some(place(object)) }
                }
                Some(_) => Meaning::Other,
            };
        }
        match object.get("sdp").filter(|sdp| sdp.starts_with('"')) {
            Some(sdp) => {
                let kind = object.get("type").filter(|kind| kind.starts_with('"'));
                Meaning::Description {
                    sdp: sdp.to_owned(),
                    kind: kind.map_or(self.kind_text(), str::to_owned),
                }
            }
            None => Meaning::Other,
        }
    }

    fn kind_text(&self) -> String {
        format!("\"{}\"", word(self.kind, ""))
    }
}

fn place(object: &Object) -> Place {
    let member = |key, is_good: fn(&str) -> bool| {
        object.get(key).filter(|value| is_good(value)).map(str::to_owned)
    };
    Place {
        media: member("sdpMid", |value| value.starts_with('"')),
        index: member("sdpMLineIndex", |value| {
            value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        }),
    }
}
