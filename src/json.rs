//! Reading the outermost level of JSON, and writing it by hand.
//!
//! Values are handed on as the text they came in: a [`JsonText`] is a slice of the message. Nothing below the outermost level is
//! looked at, beyond a check that it is JSON.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value as the text it came in, without whitespace around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonText<'a>(&'a str);

impl<'a> JsonText<'a> {
    /// Reads a text that is one value; `None` for anything else.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Reads the first of the values that a text begins with, separated by commas.
    pub fn first(text: &'a str) -> Option<Self> {
        serde_json::Deserializer::from_str(text).into_iter().next()?.ok()
    }

    /// Reads the values of a text that is one array; `None` for anything else.
    pub fn array(text: &'a str) -> Option<Vec<Self>> {
        serde_json::from_str(text).ok()
    }

    /// The text.
    pub fn get(self) -> &'a str {
        self.0
    }

    /// Whether it is a string.
    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Whether it is a number.
    pub fn is_number(self) -> bool {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }
}

/// What serde has checked already.
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

/// The members of a JSON object, in the order they came, each value unread.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, JsonText<'a>)>);

impl<'a> Members<'a> {
    /// Reads a text that is one object; `None` for anything else, and for an object whose keys cannot be read.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Reads an object; `None` if `value` is anything else.
    pub fn read(value: JsonText<'a>) -> Option<Self> {
        Self::parse(value.0)
    }

    /// The value of a key. Where a key stands twice the last one counts, as in JavaScript: what is checked here is
    /// what the receiver will read.
    pub fn get(&self, key: &str) -> Option<JsonText<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// The first of `keys` that is present, and its value.
    pub fn first_of(&self, keys: &[&'static str]) -> Option<(&'static str, JsonText<'a>)> {
        keys.iter().find_map(|key| self.get(key).map(|value| (*key, value)))
    }

    /// Whether a key is present.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// The members, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, JsonText<'a>)> {
        self.0.iter().map(|(key, value)| (&**key, *value))
    }

    /// The keys, in the order they came.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| &**key)
    }

    /// The object as text, less the members that `skip` names, and where in it the value of `key` stands (the last one, if
    /// it stands twice).
    pub fn object_without(&self, skip: impl Fn(&str) -> bool, key: &str) -> (Box<str>, Range<usize>) {
        // Exact if nothing is skipped: a box of the text then needs no other allocation.
        let mut object = String::with_capacity(self.length().max(1) + 1);
        object.push('{');
        let found = self.write(&mut object, skip, key);
        object.push('}');
        (object.into(), found)
    }

    /// The members as text without the braces, those left out that `skip` names. Values are copied as they came.
    pub fn text_without(&self, skip: impl Fn(&str) -> bool) -> String {
        let mut text = String::with_capacity(self.length());
        self.write(&mut text, skip, "");
        text
    }

    /// Bytes of the members as text, each with the comma after it.
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

/// An event's name and its first arguments, as Socket.IO sends them: `["name", first, second, …]`.
#[derive(Debug)]
pub struct Arguments<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// The first argument, if there is one.
    pub first: Option<Argument<'a>>,
    /// The second one.
    pub second: Option<JsonText<'a>>,
    /// The text of the arguments after the first, with the commas between them.
    pub rest: &'a str,
}

/// An argument of an event.
#[derive(Debug)]
pub enum Argument<'a> {
    /// An object.
    Object(Members<'a>),
    /// Anything else; also an object whose keys cannot be read.
    Other(JsonText<'a>),
}

impl<'a> Arguments<'a> {
    /// Reads the array of an event; `None` for anything else.
    pub fn read(text: &'a str) -> Option<Self> {
        // Nearly every event has an object, which is read in the same pass. Anything else fails at its first byte, and is
        // short.
        if let Ok(List { name, first, second }) = serde_json::from_str::<List<'_, Members<'_>>>(text) {
            return Some(Self { name, first: first.map(Argument::Object), second, rest: from(text, second) });
        }
        let List { name, first, second } = serde_json::from_str::<List<'_, JsonText<'_>>>(text).ok()?;
        Some(Self { name, first: first.map(Argument::Other), second, rest: from(text, second) })
    }
}

/// The text of an array's values from one of them on.
fn from<'a>(array: &'a str, value: Option<JsonText<'a>>) -> &'a str {
    let Some(value) = value else { return "" };
    let start = value.0.as_ptr() as usize - array.as_ptr() as usize;
    array.get(start..).and_then(|text| text.trim_end().strip_suffix(']')).unwrap_or_default().trim_end()
}

/// The array of an event, with the first argument read as `F`.
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
                let Text(name) = seq.next_element()?.ok_or_else(|| Error::invalid_length(0, &self))?;
                let first = seq.next_element()?;
                let second = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(List { name, first, second })
            }
        }

        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// A string, borrowed from the message where it holds no escapes.
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

/// The members of an object, as text without the braces, less some of them.
pub fn without<'a>(members: &'a str, names: &[&str]) -> Cow<'a, str> {
    // Most objects hold none of them, and no key with escapes: those are told without being read.
    if !members.contains('\\') && !names.iter().any(|name| members.contains(name)) {
        return Cow::Borrowed(members);
    }
    let object = format!("{{{members}}}");
    Cow::Owned(Members::parse(&object).map(|read| read.text_without(|key| names.contains(&key))).unwrap_or_default())
}

/// Reads a string; `None` for anything else.
pub fn string(value: JsonText<'_>) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// Appends a JSON string.
pub fn push_string(out: &mut String, text: &str) {
    // Every byte is looked at, without an early exit: the compiler turns that into vector instructions.
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

/// Appends a member `"key":value` whose value is JSON already.
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

/// Appends a member `"key":"text"`, with a comma before it unless it is the first of its object. The key must need no
/// escape.
pub fn push_member(out: &mut String, key: &'static str, text: &str) {
    push_key(out, key);
    push_string(out, text);
}
