//! Values of a shape that is known, such as RTP parameters; and what is wrong with those that are not of it: where, and in
//! words that whoever wrote them knows.
//!
//! - [`read`] reads one with serde, which stops at the first thing that is wrong;
//! - what serde says of that names types of ours: [`plain`] says it as the other checks do.
//!
//! The guarantee that is easy to break: of the value itself nothing is said, only where it stands. What serde says has
//! parts of it.

use std::fmt::Write as _;

use crate::json::JsonText;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// What is wrong, and where within the value, such as `.codecs[0].payloadType`; empty for the value as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) place: String,
    pub(super) problem: String,
}

/// Reads a value. Arrays in place of objects are read as serde does: as the values of their fields.
pub(super) fn read<T: DeserializeOwned>(value: JsonText<'_>) -> Result<T, Mismatch> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let mut place = String::new();
        for segment in error.path() {
            match segment {
                // Writing to a string cannot fail.
                Segment::Seq { index } => _ = write!(place, "[{index}]"),
                Segment::Map { key } => _ = write!(place, ".{key}"),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        let said = error.into_inner().to_string();
        // Where in the text it stands helps nobody who made it with a library.
        let said = said.rsplit_once(" at line ").map_or(&*said, |(said, _)| said);
        for (start, problem) in [("missing field `", "missing"), ("duplicate field `", "there twice")] {
            if let Some(field) = said.strip_prefix(start) {
                place.push('.');
                place.push_str(field.trim_end_matches('`'));
                return Mismatch { place, problem: problem.to_owned() };
            }
        }
        Mismatch { place, problem: plain(said) }
    })
}

/// What serde says, as others say it. What it expects is the last that it says.
fn plain(said: &str) -> String {
    let expected = said.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
    let number = |max: u32| format!("must be an integer from 0 to {max}");
    match expected {
        "u8" => number(u8::MAX.into()),
        "u16" => number(u16::MAX.into()),
        "u32" => number(u32::MAX),
        "i64" => "must be an integer".to_owned(),
        "a string" | "unit" => "must be a string".to_owned(),
        // Of an enum: since it is JSON, it can be nothing else.
        _ if said == "expected value" => "must be a string".to_owned(),
        "a boolean" => "must be true or false".to_owned(),
        "a sequence" => "must be an array".to_owned(),
        "a map" => "must be an object".to_owned(),
        _ if expected.starts_with("struct ") => "must be an object".to_owned(),
        // Words that a field may be: `x` or `y`; one of `x`, `y`, `z`.
        _ if expected.contains('`') => {
            let words = expected.trim_start_matches("one of ").replace('`', "\"");
            let words = words.rsplit_once(", ").map(|(some, last)| format!("{some} or {last}")).unwrap_or(words);
            format!("must be {words}")
        }
        // Such as a number that is too large for any type.
        _ => "cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfu::parameters::{DtlsParameters, RtpParameters};

    fn wrong<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> (String, String) {
        let Mismatch { place, problem } = read::<T>(JsonText::parse(text).unwrap()).unwrap_err();
        (place, problem)
    }

    #[test]
    fn what_serde_says_is_said_in_plain_words() {
        let said = |place: &str, problem: &str| (place.to_owned(), problem.to_owned());
        for role in ["null", "true", "[]", "{}", r#"{"auto":7}"#] {
            let text = format!(r#"{{"role":{role},"fingerprints":[]}}"#);
            assert_eq!(wrong::<DtlsParameters>(&text), said(".role", "must be a string"), "{role}");
        }
        let lies = r#"{"codecs":[{"mimeType":"a","payloadType":"1 at line 1, expected u16","clockRate":1}]}"#;
        assert_eq!(wrong::<RtpParameters>(lies), said(".codecs[0].payloadType", "must be an integer"));
        assert_eq!(wrong::<RtpParameters>(r#"{"codecs":[],"codecs":[]}"#), said(".codecs", "there twice"));
        assert_eq!(wrong::<RtpParameters>(r#"{"codecs":[["a"]]}"#), said(".codecs[0]", "must be an object"));
        let huge = r#"{"codecs":[{"mimeType":"a","payloadType":1,"clockRate":1,"parameters":{"a":{"b":1e999}}}]}"#;
        assert_eq!(wrong::<RtpParameters>(huge), said(".codecs[0].parameters.a.b", "cannot be read"));
    }
}
