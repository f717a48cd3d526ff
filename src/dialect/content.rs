//! What a signal says, for a wire that it was not sent on.
//!
//! Within a dialect a signal's body passes as it came. Between dialects only the frame around it changes: an SDP stands as
//! text or as `{type, sdp}`, a candidate as text or as an `RTCIceCandidateInit`, and null is the end of candidates. Nothing
//! of a description or a candidate is parsed: its members are found, and their text is copied.

use std::borrow::Cow;

use super::json::{self, Members, push_raw};
use crate::json::JsonText;
use crate::room::{Signal, SignalKind};

/// The description or candidate as it stands in the body.
fn raw(signal: &Signal) -> &str {
    signal.body.get(signal.content.clone()).filter(|text| !text.is_empty()).unwrap_or("null")
}

/// The type of a description as a JSON string, where the sender did not say it.
fn type_of(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Offer => r#""offer""#,
        SignalKind::Answer => r#""answer""#,
        SignalKind::Candidate | SignalKind::Message => "null",
    }
}

/// The data of an application message: one JSON value.
pub fn data(signal: &Signal) -> &str {
    raw(signal)
}

/// The text of the SDP and its type, each as JSON.
pub fn sdp(signal: &Signal) -> (Cow<'_, str>, Cow<'_, str>) {
    let text = raw(signal);
    let read = Members::parse(text);
    let member = |key| read.as_ref().and_then(|members| members.get(key)).filter(|value| value.is_string());
    match member("sdp") {
        Some(sdp) => {
            let kind = member("type").map_or(Cow::Borrowed(type_of(signal.kind)), |kind| kind.get().to_owned().into());
            (sdp.get().to_owned().into(), kind)
        }
        None => (as_text(text), type_of(signal.kind).into()),
    }
}

/// A JSON value that is no text, as one: a typed client is never handed anything else.
fn as_text(value: &str) -> Cow<'_, str> {
    if value.starts_with('"') {
        return value.into();
    }
    let mut text = String::new();
    json::push_string(&mut text, value);
    text.into()
}

/// A description as `{type, sdp}`.
pub fn description(signal: &Signal) -> Cow<'_, str> {
    let text = raw(signal);
    if Members::parse(text).is_some_and(|members| members.get("sdp").is_none()) {
        // No description that we know: it is handed on as it is.
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

/// The members of an `RTCIceCandidateInit` that every wire carries.
pub const CANDIDATE_MEMBERS: [&str; 4] = ["candidate", "sdpMid", "sdpMLineIndex", "usernameFragment"];

/// A candidate as an `RTCIceCandidateInit`, or null for the end of candidates.
pub fn candidate(signal: &Signal) -> Cow<'_, str> {
    let text = raw(signal);
    if text.starts_with('"') {
        // Without a media line a browser takes none: with bundling, the first is that of all.
        return format!(r#"{{"candidate":{text},"sdpMid":null,"sdpMLineIndex":0}}"#).into();
    }
    match Members::parse(text) {
        Some(members) if members.get("candidate").is_none_or(JsonText::is_null) => "null".into(),
        Some(members) => format!("{{{}}}", members.text_without(|key| !CANDIDATE_MEMBERS.contains(&key))).into(),
        None => text.into(),
    }
}

/// The members of a candidate, each as JSON: the text and the place. Null is the end of candidates.
pub fn candidate_members(signal: &Signal) -> [(&'static str, Cow<'_, str>); 3] {
    let text = raw(signal);
    let read = Members::parse(text);
    let member = |key| read.as_ref().and_then(|members| members.get(key));
    let or_null = |value: Option<JsonText<'_>>| value.map_or("null".into(), |value| value.get().to_owned().into());
    let text_or_null = |key| -> Cow<'_, str> { or_null(member(key).filter(|value| value.is_string())) };
    let candidate = match &read {
        Some(_) => text_or_null("candidate"),
        None if text == "null" => text.into(),
        None => as_text(text),
    };
    let index = || or_null(member("sdpMLineIndex").filter(|value| value.is_number()));
    let index = if text.starts_with('"') { "0".into() } else { index() };
    [("candidate", candidate), ("sdpMid", text_or_null("sdpMid")), ("sdpMLineIndex", index)]
}
