//! Reading the outermost level of JSON, and writing it by hand.
//!
//! Values are handed on as the text they came in: a [`JsonText`] is a slice of the message. Nothing below the outermost level is
//! looked at, beyond a check that it is JSON.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use self::scan::Scanner;

mod scan;

/// A JSON value as the text it came in, without whitespace around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonText<'a>(&'a str);

impl<'a> JsonText<'a> {
    /// Reads a text that is one value; `None` for anything else.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.is_at_end().then_some(Self(value))
    }

    /// Reads the first of the values that a text begins with, separated by commas.
    pub fn first(text: &'a str) -> Option<Self> {
        Scanner::new(text).value().map(Self)
    }

    /// Reads the values of a text that is one array; `None` for anything else.
    pub fn array(text: &'a str) -> Option<Vec<Self>> {
        let mut scanner = Scanner::new(text);
        if !scanner.take(b'[') {
            return None;
        }
        let mut values = Vec::with_capacity(4);
        if !scanner.take(b']') {
            loop {
                values.push(Self(scanner.value()?));
                if !scanner.take(b',') {
                    break;
                }
            }
            if !scanner.take(b']') {
                return None;
            }
        }
        scanner.is_at_end().then_some(values)
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

/// The members of a JSON object, in the order they came, each value unread.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, JsonText<'a>)>);

impl<'a> Members<'a> {
    /// Reads a text that is one object; `None` for anything else, and for an object whose keys cannot be read.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut scanner = Scanner::new(text);
        let members = Self::scan(&mut scanner)?;
        scanner.is_at_end().then_some(members)
    }

    /// Reads an object; `None` if `value` is anything else.
    pub fn read(value: JsonText<'a>) -> Option<Self> {
        Self::parse(value.0)
    }

    fn scan(scanner: &mut Scanner<'a>) -> Option<Self> {
        if !scanner.take(b'{') {
            return None;
        }
        let mut members = Vec::with_capacity(8);
        if scanner.take(b'}') {
            return Some(Self(members));
        }
        loop {
            let key = unquote(scanner.string()?)?;
            if !scanner.take(b':') {
                return None;
            }
            members.push((key, JsonText(scanner.value()?)));
            if !scanner.take(b',') {
                return scanner.take(b'}').then_some(Self(members));
            }
        }
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
        let mut scanner = Scanner::new(text);
        if !scanner.take(b'[') {
            return None;
        }
        let name = unquote(scanner.string()?)?;
        let first = if scanner.take(b',') { Some(Argument::scan(&mut scanner)?) } else { None };
        let (mut second, mut rest) = (None, "");
        if first.is_some() && scanner.take(b',') {
            let from_second = scanner.rest();
            second = Some(JsonText(scanner.value()?));
            while scanner.take(b',') {
                scanner.value()?;
            }
            rest = from_second[..from_second.len() - scanner.rest().len()].trim_ascii_end();
        }
        (scanner.take(b']') && scanner.is_at_end()).then_some(Self { name, first, second, rest })
    }
}

impl<'a> Argument<'a> {
    fn scan(scanner: &mut Scanner<'a>) -> Option<Self> {
        let start = *scanner;
        if let Some(members) = Members::scan(scanner) {
            return Some(Self::Object(members));
        }
        *scanner = start;
        scanner.value().map(|value| Self::Other(JsonText(value)))
    }
}

/// The content of a string with its quotes, borrowed where it holds no escapes; `None` where an escape is a lone surrogate.
fn unquote(string: &str) -> Option<Cow<'_, str>> {
    let content = string.strip_prefix('"')?.strip_suffix('"')?;
    if content.bytes().any(|byte| byte == b'\\') {
        return serde_json::from_str(string).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(content))
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
    unquote(value.get())
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
