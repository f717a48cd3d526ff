//! Reads the outermost level of JSON without copying, and writes JSON members by hand.
//!
//! Values stay the text that was received: a [`JsonText`] is a slice of the message. Nested values
//! are checked to be JSON but not parsed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value as it was received, without white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonText<'a>(&'a str);

impl<'a> JsonText<'a> {
    /// Parses a text that is a single value; returns `None` for any other text.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Parses the first value of a comma-separated list.
    pub fn first(text: &'a str) -> Option<Self> {
        serde_json::Deserializer::from_str(text).into_iter().next()?.ok()
    }

    /// Parses the values of an array; returns `None` for any other text.
    pub fn array(text: &'a str) -> Option<Vec<Self>> {
        serde_json::from_str(text).ok()
    }

    /// Returns the value's text.
    pub fn get(self) -> &'a str {
        self.0
    }

    /// Returns whether the value is a string.
    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Returns whether the value is a number.
    pub fn is_number(self) -> bool {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// Returns whether the value is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Returns whether the value is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }
}

/// Wraps a value that serde has validated.
impl<'a> From<&'a RawValue> for JsonText<'a> {
    fn from(value: &'a RawValue) -> Self {
        Self(value.get())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::from)
    }
}

/// The members of a JSON object in their original order, with unparsed values.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, JsonText<'a>)>);

impl<'a> Members<'a> {
    /// Parses a text that is an object; returns `None` for any other text, and for keys that are
    /// not valid strings.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Parses an object; returns `None` if `value` is anything else.
    pub fn read(value: JsonText<'a>) -> Option<Self> {
        Self::parse(value.0)
    }

    /// Returns the value of a key. If a key occurs twice the last one counts, as in JavaScript, so
    /// that the value checked here is the one that the receiver reads.
    pub fn get(&self, key: &str) -> Option<JsonText<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Returns the first of `keys` that is present, with its value.
    pub fn first_of(&self, keys: &[&'static str]) -> Option<(&'static str, JsonText<'a>)> {
        keys.iter().find_map(|key| self.get(key).map(|value| (*key, value)))
    }

    /// Returns whether a key is present.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// Returns the members in their original order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, JsonText<'a>)> {
        self.0.iter().map(|(key, value)| (&**key, *value))
    }

    /// Returns the keys in their original order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| &**key)
    }

    /// Returns the object's text without the members that `skip` selects, and the range of the
    /// value of `key` in it (of the last one, if the key occurs twice).
    pub fn object_without(
        &self,
        skip: impl Fn(&str) -> bool,
        key: &str,
    ) -> (Box<str>, Range<usize>) {
        // The exact size if nothing is skipped: the boxed text then needs no reallocation.
        let mut object = String::with_capacity(self.length().max(1) + 1);
        object.push('{');
        let found = self.write(&mut object, skip, key);
        object.push('}');
        (object.into(), found)
    }

    /// Returns the members' text without braces and without those that `skip` selects. Values are
    /// copied unchanged.
    pub fn text_without(&self, skip: impl Fn(&str) -> bool) -> String {
        let mut text = String::with_capacity(self.length());
        self.write(&mut text, skip, "");
        text
    }

    /// Returns the length of the members' text in bytes, with a comma after each.
    fn length(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.get().len() + 4).sum()
    }

    fn write(&self, out: &mut String, skip: impl Fn(&str) -> bool, wanted: &str) -> Range<usize> {
        let mut found = 0..0;
        let mut is_first = true;
        for (key, value) in self.0.iter().filter(|(key, _)| !skip(key)) {
            if !std::mem::take(&mut is_first) {
                out.push(',');
            }
            push_string(out, key);
            out.push(':');
            let start = out.len();
            out.push_str(value.get());
            if key == wanted {
                found = start..out.len();
            }
        }
        found
    }
}

impl<'a> IntoIterator for Members<'a> {
    type Item = (Cow<'a, str>, JsonText<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(Text(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// The name and first arguments of an event in Socket.IO's form: `["name", first, second, …]`.
#[derive(Debug)]
pub struct Arguments<'a> {
    /// Name of the event.
    pub name: Cow<'a, str>,
    /// The first argument, if there is one.
    pub first: Option<Argument<'a>>,
    /// The second argument, if there is one.
    pub second: Option<JsonText<'a>>,
    /// Text of the arguments from the second on, with the commas between them.
    pub rest: &'a str,
}

/// An argument of an event.
#[derive(Debug)]
pub enum Argument<'a> {
    /// An object.
    Object(Members<'a>),
    /// Any other value, or an object with invalid keys.
    Other(JsonText<'a>),
}

impl<'a> Arguments<'a> {
    /// Parses the array of an event; returns `None` for any other text.
    pub fn read(text: &'a str) -> Option<Self> {
        // Most events have an object as their first argument, which is read in the same pass. Any
        // other argument fails at its first byte, and is short.
        if let Ok(List { name, first, second }) =
            serde_json::from_str::<List<'_, Members<'_>>>(text)
        {
            return Some(Self {
                name,
                first: first.map(Argument::Object),
                second,
                rest: from(text, second),
            });
        }
        let List { name, first, second } =
            serde_json::from_str::<List<'_, JsonText<'_>>>(text).ok()?;
        Some(Self { name, first: first.map(Argument::Other), second, rest: from(text, second) })
    }
}

/// Returns the text of an array from `value` on, without the closing bracket.
fn from<'a>(array: &'a str, value: Option<JsonText<'a>>) -> &'a str {
    let Some(value) = value else { return "" };
    let start = value.0.as_ptr() as usize - array.as_ptr() as usize;
    array
        .get(start..)
        .and_then(|text| text.trim_end().strip_suffix(']'))
        .unwrap_or_default()
        .trim_end()
}

/// The array of an event, with its first argument parsed as `F`.
struct List<'a, F> {
    name: Cow<'a, str>,
    first: Option<F>,
    second: Option<JsonText<'a>>,
}

impl<'de: 'a, 'a, F: Deserialize<'de>> Deserialize<'de> for List<'a, F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<F>(PhantomData<F>);

        impl<'de, F: Deserialize<'de>> Visitor<'de> for Reader<F> {
            type Value = List<'de, F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array that begins with a name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let Text(name) =
                    seq.next_element()?.ok_or_else(|| Error::invalid_length(0, &self))?;
                let first = seq.next_element()?;
                let second = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(List { name, first, second })
            }
        }

        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// A string, borrowed from the message unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

/// Returns the text of members (without braces) without those that `names` lists.
pub fn without<'a>(members: &'a str, names: &[&str]) -> Cow<'a, str> {
    // Usually none of the names and no escaped key occurs, which shows without parsing.
    if !members.contains('\\') && !names.iter().any(|name| members.contains(name)) {
        return Cow::Borrowed(members);
    }
    let object = format!("{{{members}}}");
    Cow::Owned(
        Members::parse(&object)
            .map(|read| read.text_without(|key| names.contains(&key)))
            .unwrap_or_default(),
    )
}

/// Parses a string; returns `None` for any other value.
pub fn string(value: JsonText<'_>) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// Appends a JSON string.
pub fn push_string(out: &mut String, text: &str) {
    // Checks every byte without an early exit, which compiles to vector instructions.
    #[expect(clippy::needless_bitwise_bool, reason = "`||` is an early exit")]
    let needs_escape = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    if text.bytes().fold(false, |found, byte| found | needs_escape(byte)) {
        out.push_str(&serde_json::Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// Appends a member `"key":value` whose value is already JSON.
pub fn push_raw(out: &mut String, key: &'static str, value: &str) {
    push_key(out, key);
    out.push_str(value);
}

fn push_key(out: &mut String, key: &'static str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(key);
    out.push_str("\":");
}

/// Appends a member `"key":"text"`, with a comma before it unless it is the first of its object.
/// The key must not need escapes.
pub fn push_member(out: &mut String, key: &'static str, text: &str) {
    push_key(out, key);
    push_string(out, text);
}
