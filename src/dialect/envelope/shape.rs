//! Reads values of a known type, such as RTP parameters, and reports problems with their path.
//!
//! - [`read`] reads a value with serde, which stops at the first problem;
//! - serde's messages name Rust types: [`plain`] rewrites them in the style of the other checks.
//!
//! Invariant: a problem never quotes the value, only its path. Serde's messages quote parts
//! of it.

use std::fmt::Write as _;

use crate::json::JsonText;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// A problem, and its path within the value, such as `.codecs[0].payloadType`; empty for the value
/// as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) path: String,
    pub(super) problem: String,
}

/// Reads a value. Arrays in place of objects are read as serde does: as the values of their fields.
pub(super) fn read<T: DeserializeOwned>(value: JsonText<'_>) -> Result<T, Mismatch> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let mut path = String::new();
        for segment in error.path() {
            match segment {
                // Writing to a string cannot fail.
                Segment::Seq { index } => _ = write!(path, "[{index}]"),
                Segment::Map { key } => _ = write!(path, ".{key}"),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        let message = error.into_inner().to_string();
        // The position in the text does not help clients that use a JSON library.
        let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
        for (start, problem) in [("missing field `", "missing"), ("duplicate field `", "duplicate")]
        {
            if let Some(field) = message.strip_prefix(start) {
                path.push('.');
                path.push_str(field.trim_end_matches('`'));
                return Mismatch { path, problem: problem.to_owned() };
            }
        }
        Mismatch { path, problem: plain(message) }
    })
}

/// Rewrites a message of serde, which ends with the expected type.
fn plain(message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
    let number = |max: u32| format!("must be an integer from 0 to {max}");
    match expected {
        "u8" => number(u8::MAX.into()),
        "u16" => number(u16::MAX.into()),
        "u32" => number(u32::MAX),
        "i64" => "must be an integer".to_owned(),
        "a string" | "unit" => "must be a string".to_owned(),
        // An enum: in valid JSON, only the wrong type causes this message.
        _ if message == "expected value" => "must be a string".to_owned(),
        "a boolean" => "must be true or false".to_owned(),
        "a sequence" => "must be an array".to_owned(),
        "a map" => "must be an object".to_owned(),
        _ if expected.starts_with("struct ") => "must be an object".to_owned(),
        // Accepted words: `x` or `y`; one of `x`, `y`, `z`.
        _ if expected.contains('`') => {
            let words = expected.trim_start_matches("one of ").replace('`', "\"");
            let words = words
                .rsplit_once(", ")
                .map(|(some, last)| format!("{some} or {last}"))
                .unwrap_or(words);
            format!("must be {words}")
        }
        // For example, a number that is too large for any type.
        _ => "cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfu::parameters::{DtlsParameters, RtpParameters};

    fn wrong<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> (String, String) {
        let Mismatch { path, problem } = read::<T>(JsonText::parse(text).unwrap()).unwrap_err();
        (path, problem)
    }

    #[test]
    fn serde_messages_are_rewritten() {
        let problem = |path: &str, problem: &str| (path.to_owned(), problem.to_owned());
        for role in ["null", "true", "[]", "{}", r#"{"auto":7}"#] {
            let text = format!(r#"{{"role":{role},"fingerprints":[]}}"#);
            assert_eq!(
                wrong::<DtlsParameters>(&text),
                problem(".role", "must be a string"),
                "{role}"
            );
        }
        let lies = r#"{"codecs":[{"mimeType":"a","payloadType":"1 at line 1, expected u16","clockRate":1}]}"#;
        assert_eq!(
            wrong::<RtpParameters>(lies),
            problem(".codecs[0].payloadType", "must be an integer")
        );
        assert_eq!(
            wrong::<RtpParameters>(r#"{"codecs":[],"codecs":[]}"#),
            problem(".codecs", "duplicate")
        );
        assert_eq!(
            wrong::<RtpParameters>(r#"{"codecs":[["a"]]}"#),
            problem(".codecs[0]", "must be an object")
        );
        let huge = r#"{"codecs":[{"mimeType":"a","payloadType":1,"clockRate":1,"parameters":{"a":{"b":1e999}}}]}"#;
        assert_eq!(
            wrong::<RtpParameters>(huge),
            problem(".codecs[0].parameters.a.b", "cannot be read")
        );
    }
}
