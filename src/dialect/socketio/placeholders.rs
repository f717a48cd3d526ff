//! Placeholders in the arguments of an event with binary attachments:
//! `{"_placeholder":true,"num":0}` denotes the first one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::dialect::json::Members;

/// Returns whether an object is a placeholder of an attachment.
pub(super) fn is_placeholder(members: &Members<'_>) -> bool {
    members.get("_placeholder").is_some_and(|value| value.get() == "true")
}

/// Returns whether each placeholder in some JSON refers to one of `count` attachments. Clients
/// disconnect at any other.
pub(super) fn are_valid(json: &str, count: usize) -> bool {
    let mut reader = serde_json::Deserializer::from_str(json);
    matches!(Placeholders { count }.deserialize(&mut reader), Ok(value) if value != Value::Invalid)
}

/// Reads any JSON, up to the depth that the library allows.
#[derive(Debug, Clone, Copy)]
struct Placeholders {
    count: usize,
}

/// The parts of a value that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    True,
    Number(u64),
    Other,
    /// Contains a placeholder that refers to no attachment.
    Invalid,
}

impl<'de> DeserializeSeed<'de> for Placeholders {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Placeholders {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(if value { Value::True } else { Value::Other })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        while let Some(value) = values.next_element_seed(self)? {
            if value == Value::Invalid {
                while values.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Value::Invalid);
            }
        }
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let (mut is_placeholder, mut number, mut is_valid) = (false, None, true);
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            let value = members.next_value_seed(self)?;
            is_valid &= value != Value::Invalid;
            // The last of duplicate keys counts, as in JavaScript.
            match &*key {
                "_placeholder" => is_placeholder = value == Value::True,
                "num" => number = Some(value),
                _ => {}
            }
        }
        let stands_for_one =
            matches!(number, Some(Value::Number(number)) if number < self.count as u64);
        Ok(if is_valid && (!is_placeholder || stands_for_one) {
            Value::Other
        } else {
            Value::Invalid
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_must_stand_for_an_attachment() {
        for (json, is_valid) in [
            (r#"["a",1,-1,0.5,null,{"num":7}]"#, true),
            (r#"[{"_placeholder":true,"num":0},{"a":[{"num":1,"_placeholder":true}]}]"#, true),
            (r#"[{"_placeholder":false,"num":9}]"#, true),
            (r#"[{"_placeholder":false,"_placeholder":true,"num":9}]"#, false),
            (r#"[{"_placeholder":true,"num":2}]"#, false),
            (r#"[{"_placeholder":true,"num":-1},1]"#, false),
            (r#"[{"_placeholder":true,"num":"0"}]"#, false),
            (r#"[{"_placeholder":true}]"#, false),
            (r#"[{"a":{"num":{"_placeholder":true,"num":2}}}]"#, false),
        ] {
            assert_eq!(are_valid(json, 2), is_valid, "{json}");
        }
        assert!(!are_valid(&"[".repeat(100_000), 1), "nested too deep");
    }
}
