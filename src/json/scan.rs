//! Finds the ends of JSON values (RFC 8259), without building them.
//!
//! A value is checked as it is passed over, so that what is relayed unread is JSON all the same. Long strings, the bodies of
//! session descriptions, are searched and checked by vector instructions; a general parser looks at every byte of them.
//!
//! The guarantee that is easy to break: no input makes it panic, recurse, or take more than linear time.

use memchr::memchr;

/// Length up to which a string is looked at byte by byte, in bytes.
const SHORT: usize = 48;

/// A position in a JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Begins with a text.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Passes whitespace; returns the byte that follows, if any.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    /// Passes whitespace and this byte, which must be ASCII; returns whether it was there.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Whether nothing but whitespace follows.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Passes a value; returns its text, or `None` where there is no value.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        self.peek();
        let start = self.at;
        self.pass_value()?;
        Some(&self.text[start..self.at])
    }

    /// Passes a string; returns its text with the quotes, or `None` where there is no string.
    pub(super) fn string(&mut self) -> Option<&'a str> {
        self.peek();
        let start = self.at;
        self.pass_string()?;
        Some(&self.text[start..self.at])
    }

    /// The text from the next value on, whitespace passed.
    pub(super) fn rest(&mut self) -> &'a str {
        self.peek();
        &self.text[self.at..]
    }

    fn pass_value(&mut self) -> Option<()> {
        let mut nesting = Nesting::default();
        loop {
            match self.peek()? {
                b'"' => self.pass_string()?,
                b'{' => {
                    self.at += 1;
                    if !self.take(b'}') {
                        nesting.enter(true);
                        self.pass_key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if !self.take(b']') {
                        nesting.enter(false);
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.pass_number()?,
                b't' => self.pass_word("true")?,
                b'f' => self.pass_word("false")?,
                b'n' => self.pass_word("null")?,
                _ => return None,
            }
            // After a value: the next one of the array or object, or its end, which ends a value in turn.
            while let Some(in_object) = nesting.innermost() {
                if self.take(b',') {
                    if in_object {
                        self.pass_key()?;
                    }
                    break;
                }
                if !self.take(if in_object { b'}' } else { b']' }) {
                    return None;
                }
                nesting.leave();
            }
            if nesting.innermost().is_none() {
                return Some(());
            }
        }
    }

    fn pass_key(&mut self) -> Option<()> {
        self.peek();
        self.pass_string()?;
        self.take(b':').then_some(())
    }

    fn pass_word(&mut self, word: &str) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn pass_string(&mut self) -> Option<()> {
        let content = self.text.as_bytes()[self.at..].strip_prefix(b"\"")?;
        // Keys and ids are short: setting up a search would take longer than looking at each byte.
        let is_plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
        let plain = content.iter().take(SHORT).take_while(is_plain).count();
        if content.get(plain) == Some(&b'"') {
            self.at += plain + 2;
            return Some(());
        }
        // The first quote that no backslash escapes. A run of backslashes is counted once, since a quote ends it.
        let mut end = plain;
        loop {
            end += memchr(b'"', &content[end..])?;
            let backslashes = content[..end].iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes % 2 == 0 {
                break;
            }
            end += 1;
        }
        check_string(&content[plain..end])?;
        self.at += end + 2;
        Some(())
    }

    fn pass_number(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = usize::from(rest[0] == b'-');
        let whole = digits(at);
        if whole == 0 || whole > 1 && rest[at] == b'0' {
            return None;
        }
        at += whole;
        if rest.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            at += 1 + fraction;
            if fraction == 0 {
                return None;
            }
        }
        if matches!(rest.get(at), Some(b'e' | b'E')) {
            at += 1 + usize::from(matches!(rest.get(at + 1), Some(b'+' | b'-')));
            let exponent = digits(at);
            at += exponent;
            if exponent == 0 {
                return None;
            }
        }
        self.at += at;
        Some(())
    }
}

/// Checks the content of a string: no control characters, and no escapes that do not exist.
fn check_string(content: &[u8]) -> Option<()> {
    #[expect(clippy::needless_bitwise_bool, reason = "without an early exit, the compiler uses vector instructions")]
    if content.iter().fold(false, |found, byte| found | (*byte < 0x20)) {
        return None;
    }
    let mut at = 0;
    while let Some(found) = memchr(b'\\', &content[at..]) {
        at += found;
        // Line ends of session descriptions are two escapes in a row.
        while content.get(at) == Some(&b'\\') {
            at += match content.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                b'u' if content.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
                _ => return None,
            };
        }
    }
    Some(())
}

/// The arrays and objects around a position, a bit each: as deep as the text has them, without recursion.
#[derive(Default)]
struct Nesting {
    depth: usize,
    /// Whether each of the innermost up to 64 is an object; the lowest bit is that of the innermost.
    innermost: u64,
    /// The same of those around them.
    outer: Vec<u64>,
}

impl Nesting {
    fn enter(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(std::mem::take(&mut self.innermost));
        }
        self.depth += 1;
        self.innermost = self.innermost << 1 | u64::from(is_object);
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.innermost >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.innermost = self.outer.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost is an object; `None` outside of all.
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.innermost & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// The text of the one value that `text` consists of.
    fn only(text: &str) -> Option<&str> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.is_at_end().then_some(value)
    }

    /// What a general parser says.
    fn expected(text: &str) -> Option<&str> {
        serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
    }

    #[test]
    fn agrees_with_a_general_parser_on_edge_cases() {
        for text in [
            "",
            " ",
            "0",
            "-0",
            "-",
            "01",
            "1.",
            "1.5",
            ".5",
            "1e",
            "1e+",
            "1E-7",
            "--1",
            "1 2",
            "true",
            "tru",
            "nulll",
            r#""""#,
            r#"""#,
            r#""\""#,
            r#""\\""#,
            r#""\\\""#,
            r#""\"""#,
            r#""\u12g4""#,
            r#""\u1234""#,
            r#""\u12""#,
            r#""\ud800""#,
            r#""\x""#,
            "\"\n\"",
            "\"\u{7f}\u{e9}\"",
            "[]",
            "[ ]",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1,2]",
            "{}",
            "{ }",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 , "b":[{}]}"#,
            "{1:2}",
            "[}",
            "{]",
            "[[]",
            "[]]",
            "\u{a0}1",
            "\u{feff}1",
            "\t\r\n 1\n",
            r#"{"a":{"b":[1,{"c":"\\"}]}} "#,
        ] {
            assert_eq!(only(text), expected(text), "{text:?}");
        }
    }

    #[test]
    fn passes_any_depth_without_recursion() {
        for depth in [1, 63, 64, 65, 128, 129, 100_000] {
            let text = ["[{\"a\":".repeat(depth), "1".to_owned(), "}]".repeat(depth)].concat();
            assert_eq!(only(&text), Some(&*text), "{depth}");
            assert_eq!(only(&text[..text.len() - 1]), None, "{depth}");
            let wrong = text.replacen("}]", "]}", 1);
            assert_eq!(only(&wrong), None, "{depth}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_general_parser(text in r#"([\[\]{}:, \\"\-+.0-9a-funtrlse/\n\x01é]|"[a-z\\"]{0,8}"|"a":|\\u00e9|true|null|-?[0-9.]{1,5}){0,16}"#) {
            prop_assert_eq!(only(&text), expected(&text));
        }

        #[test]
        fn agrees_on_valid_values(value in any::<String>().prop_map(|text| serde_json::json!({ "a": [text, 1.5, null], "b": {} }))) {
            for text in [value.to_string(), format!("{value:#}")] {
                prop_assert_eq!(only(&text), Some(&*text));
                let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                prop_assert_eq!(only(&text[..half]), expected(&text[..half]));
            }
        }
    }
}
