//! JSON parsed by serde, to compare with the server's parser.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object in their order, including repeated ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Object(Vec<(String, String)>);

impl Object {
    /// Reads an object; `None` for any other value.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Reads the members of an object without braces.
    pub(crate) fn of_members(text: &str) -> Self {
        Self::read(&format!("{{{text}}}")).unwrap_or_else(|| panic!("no members: {text}"))
    }

    /// Reads the first argument of a Socket.IO event of this name.
    pub(crate) fn of_event(text: &str, name: &str) -> Self {
        let values = array(text);
        assert_eq!(raw_string(values[0].get()).as_deref(), Some(name), "{text}");
        Self::read(values[1].get()).unwrap_or_else(|| panic!("no object: {text}"))
    }

    /// Returns the value of a key as JSON; of a repeated key the last value, as in JavaScript.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn first_of(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.get(key))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn count(&self, key: &str) -> usize {
        self.0.iter().filter(|(name, _)| name == key).count()
    }

    /// Returns the object without some members.
    pub(crate) fn less(&self, skip: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(key, _)| !skip(key)).cloned().collect())
    }

    /// Returns the object with a member added at the end.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.0.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Asserts that a member exists once with this text.
    pub(crate) fn assert_once(&self, key: &str, text: &str) {
        assert_eq!(self.count(key), 1, "{key} in {self:?}");
        assert_eq!(self.text(key).as_deref(), Some(text), "{key} in {self:?}");
    }

    /// Returns a member that is a string.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(raw_string)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((key, value.get().to_owned()));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// Returns whether a text is one JSON value.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Returns the values of an array, as JSON.
pub(crate) fn array(text: &str) -> Vec<&RawValue> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns the value of a JSON string; `None` for any other value, and for invalid Unicode.
pub(crate) fn raw_string(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}
