//! Converts signals between protocols.
//!
//! Within a dialect a signal's body is relayed unchanged. Between dialects only the frame around it
//! changes: an SDP is text or `{type, sdp}`, a candidate is text or an `RTCIceCandidateInit`, and
//! null is the end of candidates. Descriptions and candidates are not parsed: their members are
//! located, and their text is copied.

use std::borrow::Cow;

use super::json::{self, Members, push_raw};
use crate::json::JsonText;
use crate::room::{Signal, SignalKind};

/// Returns the description or candidate as it is in the body.
fn raw(signal: &Signal) -> &str {
    signal.body.get(signal.content.clone()).filter(|text| !text.is_empty()).unwrap_or("null")
}

/// Returns the type of a description as a JSON string, for senders that do not state it.
fn type_of(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Offer => r#""offer""#,
        SignalKind::Answer => r#""answer""#,
        SignalKind::Candidate | SignalKind::Message => "null",
    }
}

/// Returns the data of an application message: one JSON value.
pub fn data(signal: &Signal) -> &str {
    raw(signal)
}

/// Returns the text of the SDP and its type, each as JSON.
pub fn sdp(signal: &Signal) -> (Cow<'_, str>, Cow<'_, str>) {
    let text = raw(signal);
    let read = Members::parse(text);
    let member =
        |key| read.as_ref().and_then(|members| members.get(key)).filter(|value| value.is_string());
    match member("sdp") {
        Some(sdp) => {
            let kind = member("type")
                .map_or(Cow::Borrowed(type_of(signal.kind)), |kind| kind.get().to_owned().into());
            (sdp.get().to_owned().into(), kind)
        }
        None => (as_text(text), type_of(signal.kind).into()),
    }
}

/// Converts a JSON value to a JSON string: a typed client never receives any other type.
fn as_text(value: &str) -> Cow<'_, str> {
    if value.starts_with('"') {
        return value.into();
    }
    let mut text = String::new();
    json::push_string(&mut text, value);
    text.into()
}

/// Returns a description as `{type, sdp}`.
pub fn description(signal: &Signal) -> Cow<'_, str> {
    let text = raw(signal);
    if Members::parse(text).is_some_and(|members| members.get("sdp").is_none()) {
        // Not a description that the server knows: relayed unchanged.
        return text.into();
    }
    let (sdp, kind) = sdp(signal);
    let mut out = String::with_capacity(sdp.len() + 32);
    out.push('{');
    push_raw(&mut out, "type", &kind);
    push_raw(&mut out, "sdp", &sdp);
    out.push('}');
    out.into()
}

/// The members of an `RTCIceCandidateInit` that every protocol carries.
pub const CANDIDATE_MEMBERS: [&str; 4] =
    ["candidate", "sdpMid", "sdpMLineIndex", "usernameFragment"];

/// Returns a candidate as an `RTCIceCandidateInit`, or null for the end of candidates.
pub fn candidate(signal: &Signal) -> Cow<'_, str> {
    let text = raw(signal);
    if text.starts_with('"') {
        // A browser rejects a candidate without a media line; with bundling, the first line applies
        // to all.
        return format!(r#"{{"candidate":{text},"sdpMid":null,"sdpMLineIndex":0}}"#).into();
    }
    match Members::parse(text) {
        Some(members) if members.get("candidate").is_none_or(JsonText::is_null) => "null".into(),
        Some(members) => {
            format!("{{{}}}", members.text_without(|key| !CANDIDATE_MEMBERS.contains(&key))).into()
        }
        None => text.into(),
    }
}

/// Returns the members of a candidate, each as JSON: the text and its media line. A null text is
/// the end of candidates.
pub fn candidate_members(signal: &Signal) -> [(&'static str, Cow<'_, str>); 3] {
    let text = raw(signal);
    let read = Members::parse(text);
    let member = |key| read.as_ref().and_then(|members| members.get(key));
    let or_null = |value: Option<JsonText<'_>>| {
        value.map_or("null".into(), |value| value.get().to_owned().into())
    };
    let text_or_null =
        |key| -> Cow<'_, str> { or_null(member(key).filter(|value| value.is_string())) };
    let candidate = match &read {
        Some(_) => text_or_null("candidate"),
        None if text == "null" => text.into(),
        None => as_text(text),
    };
    let index = || or_null(member("sdpMLineIndex").filter(|value| value.is_number()));
    let index = if text.starts_with('"') { "0".into() } else { index() };
    [("candidate", candidate), ("sdpMid", text_or_null("sdpMid")), ("sdpMLineIndex", index)]
}
