//! Log fields in the pretty format.
//!
//! Ids are chosen by clients. An id with a space, a quote, an equals sign or a control character is
//! quoted and escaped, so that it cannot forge fields or lines.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Formats the message unquoted, and each field as `name=value`.
pub(super) struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_empty: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    is_empty: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn push(&mut self, field: &Field, value: &str) {
        if self.result.is_ok() {
            self.result = self.write(field, value);
        }
    }

    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.is_empty) {
            self.writer.write_char(' ')?;
        }
        if field.name() == MESSAGE {
            self.writer.write_str(value)
        } else if self.writer.has_ansi_escapes() {
            write!(self.writer, "\x1b[3m{field}\x1b[0m\x1b[2m=\x1b[0m{value}")
        } else {
            write!(self.writer, "{field}={value}")
        }
    }
}

const MESSAGE: &str = "message";

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            return self.push(field, &printable(value));
        }
        self.push(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            _ = write!(text, ": {error}");
            source = error.source();
        }
        self.push(field, &format!("{text:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == MESSAGE {
            self.push(field, &printable(&text));
        } else if is_plain(&text) {
            self.push(field, &text);
        } else {
            self.push(field, &format!("{text:?}"));
        }
    }
}

/// Returns whether a value is unambiguous without quotes.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    !text.is_empty() && text.bytes().all(is_plain)
}

/// Escapes line breaks and other non-printable characters.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => out.push(character),
            character => out.extend(character.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::info;

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the log line of one event, without the time.
    fn logged(log: impl FnOnce()) -> String {
        let output = Output::default();
        let writer = output.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .fmt_fields(Fields)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = output.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn plain_id_is_written_unquoted() {
        let line =
            logged(|| info!(room = %"daily/stand-up#1", peers = 2, reason = "left", "joined"));
        assert_eq!(line.trim(), r#"INFO joined room=daily/stand-up#1 peers=2 reason="left""#);
    }

    #[test]
    fn id_cannot_forge_fields_or_lines() {
        for (id, written) in [
            (r#"x peer=admin reason="kicked""#, r#""x peer=admin reason=\"kicked\"""#),
            (r#""x" peer="admin""#, r#""\"x\" peer=\"admin\"""#),
            ("a=b", r#""a=b""#),
            ("", r#""""#),
            ("a\nINFO b", r#""a\nINFO b""#),
            ("a\u{1b}[2Kb", r#""a\u{1b}[2Kb""#),
            ("a\u{202e}b", r#""a\u{202e}b""#),
            ("a\u{2028}b", r#""a\u{2028}b""#),
            ("caf\u{e9}", "\"caf\u{e9}\""),
        ] {
            let line = logged(|| info!(room = %id, peer = %"p", "joined"));
            assert_eq!(line.trim_end(), format!(" INFO joined room={written} peer=p"), "{id:?}");
        }
    }

    #[test]
    fn message_stays_on_one_line() {
        let text = "a \"b\"\n\u{202e}c";
        assert_eq!(logged(|| info!("{text}")).trim(), r#"INFO a "b"\n\u{202e}c"#);
    }

    #[test]
    fn error_is_written_with_its_sources() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("disk full"));
        let line = logged(|| info!(error = &error as &dyn Error, "failed"));
        assert_eq!(line.trim(), r#"INFO failed error="cannot read: disk full""#);
    }
}
