//! JSON Merge Patch (RFC 7396) of a peer's metadata.
//!
//! Members that the patch does not name keep their text: nothing is parsed into a tree, so that no
//! number changes its form.

use indexmap::IndexMap;

use super::DecodeError;
use super::json::{Members, push_string};
use crate::json::JsonText;
use crate::room::MetadataPatch;

/// Maximum depth of objects in a patch: merging reads each level once more.
const MAX_DEPTH: usize = 32;

/// Reads a patch, which is in `field`.
pub fn read(field: &'static str, value: JsonText<'_>) -> Result<MetadataPatch, DecodeError> {
    let patch =
        Members::read(value).ok_or(DecodeError::WrongType { field, expected: "an object" })?;
    if !is_within_depth(&patch, MAX_DEPTH) {
        return Err(DecodeError::WrongType { field, expected: "an object of at most 32 levels" });
    }
    Ok(MetadataPatch { text: patch.text_without(|_| false).into(), merge })
}

fn is_within_depth(patch: &Members<'_>, depth: usize) -> bool {
    depth > 0
        && patch.iter().all(|(_, value)| {
            Members::read(value).is_none_or(|inner| is_within_depth(&inner, depth - 1))
        })
}

/// Applies a patch to an object. Both, and the result, are the members of an object without its
/// braces.
pub fn merge(target: &str, patch: &str) -> String {
    let (target, patch) = (format!("{{{target}}}"), format!("{{{patch}}}"));
    let mut out = String::with_capacity(target.len() + patch.len());
    merge_members(&mut out, &read_members(&target), &read_members(&patch));
    out
}

fn read_members(object: &str) -> Members<'_> {
    Members::parse(object).unwrap_or_default()
}

/// Returns the values by key, in the order of the keys. The last value of a key counts.
fn by_key<'a>(members: &'a Members<'_>) -> IndexMap<&'a str, JsonText<'a>> {
    members.iter().collect()
}

fn merge_members(out: &mut String, target: &Members<'_>, patch: &Members<'_>) {
    let (target, patch) = (by_key(target), by_key(patch));
    let kept = target.iter().map(|(key, current)| (*key, Some(*current), patch.get(key).copied()));
    let added = patch.iter().filter(|(key, _)| !target.contains_key(*key));
    let added = added.map(|(key, change)| (*key, None, Some(*change)));
    let start = out.len();
    for (key, current, change) in kept.chain(added) {
        if change.is_some_and(JsonText::is_null) {
            continue;
        }
        if out.len() > start {
            out.push(',');
        }
        push_string(out, key);
        out.push(':');
        merge_value(out, current, change);
    }
}

fn merge_value(out: &mut String, current: Option<JsonText<'_>>, change: Option<JsonText<'_>>) {
    if let Some(patch) = change.and_then(Members::read) {
        out.push('{');
        merge_members(out, &current.and_then(Members::read).unwrap_or_default(), &patch);
        out.push('}');
    } else if let Some(value) = change.or(current) {
        out.push_str(value.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(target: &str, patch: &str) -> String {
        let MetadataPatch { text, merge } =
            read("metadata", JsonText::parse(patch).unwrap()).unwrap();
        format!("{{{}}}", merge(&target[1..target.len() - 1], &text))
    }

    #[test]
    fn patches_are_applied_as_in_the_appendix_of_rfc_7396() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch), result, "{target} with {patch}");
        }
    }

    #[test]
    fn untouched_members_keep_their_text() {
        assert_eq!(
            merged(r#"{"a":1.00,"b":1e999}"#, r#"{"c":2.0}"#),
            r#"{"a":1.00,"b":1e999,"c":2.0}"#
        );
    }

    #[test]
    fn last_of_duplicate_keys_counts() {
        assert_eq!(merged(r#"{"a":1,"a":2}"#, r#"{"b":1,"b":null}"#), r#"{"a":2}"#);
        assert_eq!(merged(r#"{"a":1,"a":2}"#, r#"{"\u0061":3,"a":4}"#), r#"{"a":4}"#);
    }

    #[test]
    fn patch_that_is_not_an_object_or_too_deep_is_refused() {
        let read_text = |text: &str| read("metadata", JsonText::parse(text).unwrap()).map(|_| ());
        for text in ["[]", "1", "null", r#""text""#] {
            assert!(read_text(text).is_err(), "{text}");
        }
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert_eq!(read_text(&nested(MAX_DEPTH)), Ok(()));
        assert!(read_text(&nested(MAX_DEPTH + 1)).is_err());
        assert!(read_text(&nested(10_000)).is_err());
    }
}
