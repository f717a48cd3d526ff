//! The protocol of a connection (RESP3): commands to the engine, its replies and messages.
//!
//! Messages of the node's inbox are most of what arrives, and are not copied. All other values are
//! parsed by the library.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::{Buf, BytesMut};
use redis::{PushKind, Value, parse_redis_value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::Problem;
use crate::tls::Connection;

/// Size of a read, in bytes.
const READ: usize = 16 * 1024;

/// Capacity of buffers that an idle connection keeps, in bytes.
const KEPT: usize = 64 * 1024;

/// Maximum length of a value, in bytes: that of a bulk string of the engine by default.
const MAX_VALUE: usize = 512 << 20;

/// Maximum number of digits of a length.
const MAX_DIGITS: usize = 18;

/// Ends each line.
const LINE_END: &[u8] = b"\r\n";

/// A message or a reply of the engine.
#[derive(Debug, PartialEq)]
pub(super) enum Received<'a> {
    /// A message in the inbox.
    Message(&'a [u8]),
    /// The reply to the oldest command that has none yet.
    Reply(Value),
}

/// An open connection.
pub(super) struct RespStream<S = Box<dyn Connection>> {
    stream: S,
    commands: Vec<u8>,
    /// Bytes of `commands` that were sent.
    sent: usize,
    is_flushed: bool,
    received: BytesMut,
    /// Bytes of `received` that were returned.
    consumed: usize,
    /// The bytes before the length of a message in the inbox.
    message_head: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RespStream<S> {
    /// Subscribes to an inbox on a connection on which no reply is due.
    pub(super) async fn subscribe(stream: S, inbox: &str) -> Result<Self, Problem> {
        let length = inbox.len();
        let mut connection = Self {
            stream,
            commands: Vec::new(),
            sent: 0,
            is_flushed: true,
            received: BytesMut::new(),
            consumed: 0,
            message_head: format!(">3\r\n$7\r\nmessage\r\n${length}\r\n{inbox}\r\n$").into_bytes(),
        };
        connection.command(&[b"SUBSCRIBE", inbox.as_bytes()]);
        loop {
            connection.progress().await?;
            match connection.take()? {
                None => {}
                Some(Value::Push { kind: PushKind::Subscribe, .. }) => return Ok(connection),
                Some(Value::ServerError(error)) => return Err(Problem::Lost(error.to_string())),
                Some(_) => return Err(malformed()),
            }
        }
    }

    /// Adds a command to those that [`progress`](Self::progress) sends.
    pub(super) fn command(&mut self, parts: &[&[u8]]) {
        self.length(b'*', parts.len());
        for part in parts {
            self.part(part);
        }
    }

    /// Adds a command that publishes a message to a channel, of which `head` is the
    /// [`publish_head`].
    pub(super) fn publish(&mut self, head: &[u8], message: &[u8]) {
        self.commands.extend_from_slice(head);
        self.part(message);
    }

    fn part(&mut self, part: &[u8]) {
        self.length(b'$', part.len());
        self.commands.extend_from_slice(part);
        self.commands.extend_from_slice(LINE_END);
        self.is_flushed = false;
    }

    /// Has the engine not reply to the next command.
    pub(super) fn skip_next_reply(&mut self) {
        self.commands.extend_from_slice(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n");
    }

    fn length(&mut self, kind: u8, length: usize) {
        let mut digits = itoa::Buffer::new();
        self.commands.push(kind);
        self.commands.extend_from_slice(digits.format(length).as_bytes());
        self.commands.extend_from_slice(LINE_END);
    }

    /// Returns whether the connection has taken all commands.
    pub(super) fn is_sent(&self) -> bool {
        self.is_flushed
    }

    /// Completes when the last command was sent, or something was received. Cancel-safe.
    pub(super) async fn progress(&mut self) -> io::Result<()> {
        self.received.advance(std::mem::take(&mut self.consumed));
        if self.received.is_empty() && self.received.capacity() > KEPT {
            self.received = BytesMut::new();
        }
        self.received.reserve(READ);
        poll_fn(|context| {
            let is_sending = !self.is_flushed;
            while self.sent < self.commands.len() {
                let unsent = &self.commands[self.sent..];
                match Pin::new(&mut self.stream).poll_write(context, unsent)? {
                    Poll::Ready(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                    Poll::Ready(written) => self.sent += written,
                    Poll::Pending => break,
                }
            }
            if is_sending && self.sent == self.commands.len() {
                self.is_flushed = Pin::new(&mut self.stream).poll_flush(context)?.is_ready();
                self.commands.clear();
                self.commands.shrink_to(KEPT);
                self.sent = 0;
            }
            // Also while sending: the engine may read no more until what it sends is read.
            match pin!(self.stream.read_buf(&mut self.received)).poll(context)? {
                Poll::Ready(0) => Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                Poll::Ready(_) => Poll::Ready(Ok(())),
                Poll::Pending if is_sending && self.is_flushed => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Returns what was received next, if it is complete.
    pub(super) fn next(&mut self) -> Result<Option<Received<'_>>, Problem> {
        loop {
            let unread = &self.received[self.consumed..];
            if let Some(rest) = unread.strip_prefix(&self.message_head[..]) {
                let Some((length, head)) = number_line(rest)? else { return Ok(None) };
                let length = usize::try_from(length).map_err(|_| malformed())?;
                let start = self.consumed + self.message_head.len() + head;
                let Some(end) = complete(start, length, self.received.len())? else {
                    return Ok(None);
                };
                self.consumed = end + LINE_END.len();
                return Ok(Some(Received::Message(&self.received[start..end])));
            }
            match self.take()? {
                None => return Ok(None),
                // Such as the end of a subscription.
                Some(Value::Push { .. }) => {}
                Some(value) => return Ok(Some(Received::Reply(value))),
            }
        }
    }

    /// Takes the next value, if it is complete.
    fn take(&mut self) -> Result<Option<Value>, Problem> {
        let unread = &self.received[self.consumed..];
        let Some(length) = value_length(unread)? else { return Ok(None) };
        let value = parse_redis_value(&unread[..length])?;
        self.consumed += length;
        Ok(Some(value))
    }
}

/// Returns the beginning of commands that publish to a channel, which is the same for all of them.
pub(super) fn publish_head(channel: &str) -> Vec<u8> {
    format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n", channel.len()).into_bytes()
}

/// Returns the end of a string, if it and the end of its line were received.
fn complete(start: usize, length: usize, received: usize) -> Result<Option<usize>, Problem> {
    if length > MAX_VALUE {
        return Err(malformed());
    }
    Ok(Some(start + length).filter(|end| end + LINE_END.len() <= received))
}

/// Reads the rest of a line, which is a number. Returns it, and the length with the end of the line.
fn number_line(bytes: &[u8]) -> Result<Option<(i64, usize)>, Problem> {
    let Some(end) = line_end(bytes) else { return Ok(None) };
    let (sign, digits) = match &bytes[..end] {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    Ok(Some((sign * number, end + LINE_END.len())))
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(LINE_END.len()).position(|window| window == LINE_END)
}

/// Returns the length of the first value, with all that it contains; `None` if it is not complete.
fn value_length(bytes: &[u8]) -> Result<Option<usize>, Problem> {
    let (mut at, mut values) = (0_usize, 1_usize);
    while values > 0 {
        values -= 1;
        let Some((kind, line)) = bytes.get(at..).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        let per_entry = match kind {
            b'$' | b'=' | b'!' | b'*' | b'~' | b'>' => 1,
            b'%' | b'|' => 2,
            _ => {
                let Some(end) = line_end(line) else { return Ok(None) };
                at += 1 + end + LINE_END.len();
                continue;
            }
        };
        let Some((length, rest)) = number_line(line)? else { return Ok(None) };
        at += 1 + rest;
        // Negative for a value that is absent.
        let Ok(length) = usize::try_from(length) else { continue };
        if matches!(kind, b'$' | b'=' | b'!') {
            let Some(end) = complete(at, length, bytes.len())? else { return Ok(None) };
            at = end + LINE_END.len();
        } else {
            values = length.saturating_mul(per_entry).saturating_add(values);
            // Attributes precede the value that they are about.
            values = values.saturating_add(usize::from(*kind == b'|'));
        }
    }
    Ok(Some(at))
}

fn malformed() -> Problem {
    Problem::Lost("malformed reply of the engine".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const SUBSCRIBED: &[u8] = b">3\r\n$9\r\nsubscribe\r\n$2\r\nin\r\n:1\r\n";

    /// Returns a connection that is subscribed, and the end of the engine.
    async fn subscribed() -> (RespStream<DuplexStream>, DuplexStream) {
        let (stream, mut engine) = duplex(1 << 20);
        engine.write_all(SUBSCRIBED).await.unwrap();
        let connection =
            RespStream::subscribe(stream, "in").await.unwrap_or_else(|it| panic!("{it}"));
        let mut command = [0; 27];
        engine.read_exact(&mut command).await.unwrap();
        assert_eq!(command, *b"*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nin\r\n");
        (connection, engine)
    }

    /// Returns what is received of bytes that are sent in pieces of a length, as texts.
    async fn receive(bytes: &[u8], piece: usize) -> Result<Vec<String>, String> {
        let (mut connection, mut engine) = subscribed().await;
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            engine.write_all(piece).await.unwrap();
            connection.progress().await.unwrap();
            while let Some(received) = connection.next().map_err(|problem| problem.to_string())? {
                found.push(match received {
                    Received::Message(message) => String::from_utf8_lossy(message).into_owned(),
                    Received::Reply(reply) => format!("{reply:?}"),
                });
            }
        }
        Ok(found)
    }

    #[tokio::test]
    async fn values_are_received_however_they_are_cut() {
        let bytes = b">3\r\n$7\r\nmessage\r\n$2\r\nin\r\n$5\r\na\r\nb:\r\n:7\r\n\
            *3\r\n$4\r\ndone\r\n*1\r\n:-1\r\n$-1\r\n\
            >3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$1\r\nx\r\n\
            -NOPERM no\r\n>3\r\n$7\r\nmessage\r\n$2\r\nin\r\n$0\r\n\r\n\
            %1\r\n+a\r\n#t\r\n|1\r\n+b\r\n:1\r\n+OK\r\n_\r\n";
        let whole = receive(bytes, bytes.len()).await.unwrap();
        assert_eq!(whole[..2], ["a\r\nb:", "int(7)"]);
        assert_eq!(whole[2], r#"array([bulk-string('"done"'), array([int(-1)]), nil])"#);
        assert_eq!(whole[4], "");
        assert_eq!(whole.len(), 8, "{whole:?}");
        for piece in 1..40 {
            assert_eq!(receive(bytes, piece).await.unwrap(), whole, "{piece}");
        }
    }

    #[tokio::test]
    async fn malformed_values_end_the_connection() {
        for malformed in [
            &b">3\r\n$7\r\nmessage\r\n$2\r\nin\r\n$x\r\n"[..],
            b">3\r\n$7\r\nmessage\r\n$2\r\nin\r\n$-1\r\n",
            b">3\r\n$7\r\nmessage\r\n$2\r\nin\r\n$99999999999\r\n",
            b"$99999999999\r\n",
            b"$99999999999999999999\r\n",
            b"*one\r\n",
            b"what\r\n",
        ] {
            let outcome = receive(malformed, malformed.len()).await;
            assert!(outcome.is_err(), "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn commands_are_sent_in_order() {
        let (mut connection, mut engine) = subscribed().await;
        assert!(connection.is_sent());
        connection.skip_next_reply();
        connection.publish(&publish_head("out"), b"\r\n");
        connection.command(&[b"PING"]);
        assert!(!connection.is_sent());
        connection.progress().await.unwrap();
        assert!(connection.is_sent());
        let expected = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n\
            *3\r\n$7\r\nPUBLISH\r\n$3\r\nout\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n";
        let mut sent = vec![0; expected.len()];
        engine.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, expected);
        drop(engine);
        assert_eq!(connection.progress().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn refused_subscription_says_why() {
        let (stream, mut engine) = duplex(1 << 10);
        engine.write_all(b"-NOPERM no channels\r\n").await.unwrap();
        let refused =
            RespStream::subscribe(stream, "in").await.err().map(|problem| problem.to_string());
        assert!(refused.is_some_and(|why| why.contains("no channels")));
    }
}
