//! The JSON of messages: [`crate::json`], and helpers for the errors of dialects.

use super::{DecodeError, Failure};
use crate::id::IdError;
pub use crate::json::*;

/// Reads an id: a string, or a number by its decimal text.
pub fn id<T>(
    field: &'static str,
    value: JsonText<'_>,
    new: impl FnOnce(&str) -> Result<T, IdError>,
) -> Result<T, DecodeError> {
    let text = value.get();
    let id = match text.as_bytes().first() {
        Some(b'"') => {
            // This fails for a lone surrogate only, which Rust strings cannot hold.
            let text =
                string(value).ok_or(DecodeError::WrongType { field, expected: "valid Unicode" })?;
            new(&text)
        }
        Some(b'-' | b'0'..=b'9') => new(text),
        _ => return Err(DecodeError::WrongType { field, expected: "a string or a number" }),
    };
    id.map_err(|problem| DecodeError::BadId { field, problem })
}

/// Appends the members of an error.
pub fn push_failure(out: &mut String, failure: &Failure<'_>) {
    push_member(out, "code", failure.code.as_str());
    push_member(out, "message", &failure.message);
    push_retry(out, failure);
}

/// Appends the time until the next attempt, if known.
pub fn push_retry(out: &mut String, failure: &Failure<'_>) {
    if let Some(milliseconds) = failure.retry_after_ms {
        push_raw(out, "retryAfterMs", &milliseconds.to_string());
    }
}
