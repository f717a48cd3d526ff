//! Compares the events that Parlor sends with those of the recorded server.

use std::collections::HashMap;

use serde_json::Value;

use crate::record::infer::{is_epoch, is_time};

/// The ids of connections: those of the recorded server, and Parlor's.
pub(super) type Ids = HashMap<String, String>;

/// Replaces the ids of the recorded server.
pub(super) fn translate(value: &Value, ids: &Ids) -> Value {
    match value {
        Value::String(text) => {
            ids.get(text).map_or_else(|| value.clone(), |id| Value::from(id.as_str()))
        }
        Value::Array(values) => values.iter().map(|value| translate(value, ids)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (ids.get(key).unwrap_or(key).clone(), translate(value, ids)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        scalar => scalar.clone(),
    }
}

/// Returns whether the arguments contain the expected ones. Additional arguments and keys are
/// allowed; lists may be in another order, and times differ.
pub(super) fn are_alike(expected: &[Value], actual: &[Value]) -> bool {
    expected
        .iter()
        .enumerate()
        .all(|(index, value)| is_alike(value, actual.get(index).unwrap_or(&Value::Null)))
}

fn is_alike(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected
            .iter()
            .all(|(key, value)| is_alike(value, actual.get(key).unwrap_or(&Value::Null))),
        (Value::Array(expected), Value::Array(actual)) => {
            let mut left: Vec<&Value> = actual.iter().collect();
            expected.len() == actual.len()
                && expected.iter().all(|value| {
                    let found = left.iter().position(|actual| is_alike(value, actual));
                    found.map(|index| left.swap_remove(index)).is_some()
                })
        }
        (Value::String(expected), Value::String(actual)) => {
            expected == actual || (is_time(expected) && is_time(actual))
        }
        (Value::Number(one), Value::Number(other)) => {
            one.as_f64() == other.as_f64() || (is_epoch(expected) && is_epoch(actual))
        }
        (expected, actual) => expected == actual,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_with_additional_values_match() {
        let alike =
            |expected: Value, actual: Value| are_alike(&[expected], &[actual, json!("more")]);
        assert!(alike(json!({ "a": 1, "none": null }), json!({ "a": 1.0, "b": 2 })));
        assert!(alike(
            json!([{ "id": "x" }, { "id": "y" }]),
            json!([{ "id": "y", "n": 1 }, { "id": "x" }])
        ));
        assert!(alike(json!("2020-01-01T00:00:00Z"), json!("2026-05-05T05:05:05.000Z")));
        assert!(!alike(json!({ "a": 1 }), json!({})));
        assert!(!alike(json!(["x", "x"]), json!(["x", "y"])));
        assert!(!alike(json!("x"), json!("y")));
    }

    #[test]
    fn ids_are_translated_everywhere() {
        let ids = Ids::from([("old".to_owned(), "new".to_owned())]);
        let translated = translate(&json!([{ "old": "old", "x": ["old", 1] }, "other"]), &ids);
        assert_eq!(translated, json!([{ "new": "new", "x": ["new", 1] }, "other"]));
    }
}
