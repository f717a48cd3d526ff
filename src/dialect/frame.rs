//! Messages to a client, before they are framed for its transport.

use bytes::Bytes;

/// A message to a client, or the end of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Text(String),
    /// Several messages, in this order.
    Several(Vec<String>),
    /// A message and the binary messages that belong to it.
    WithAttachments(String, Vec<Bytes>),
    /// A message that carries the resume token of its session.
    WithToken(TokenMessage),
    /// The end of the connection, with a code of RFC 6455, section 7.4, and a reason.
    Close(u16, &'static str),
}

/// A message that carries the resume token of its session. In parts, since a token works once: a
/// replay of the message carries the token that is valid by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMessage {
    /// The message up to the token.
    pub before: String,
    /// The token, which needs no escaping.
    pub token: String,
    /// The message after the token.
    pub after: String,
}

impl TokenMessage {
    /// Returns the length of the whole message, in bytes.
    pub fn length(&self) -> usize {
        self.before.len() + self.token.len() + self.after.len()
    }

    /// Returns the whole message.
    pub fn text(&self) -> String {
        [self.before.as_str(), &self.token, &self.after].concat()
    }
}

impl Frame {
    /// Returns the length of all its messages, in bytes.
    pub fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::WithAttachments(text, attachments) => {
                text.len() + attachments.iter().map(Bytes::len).sum::<usize>()
            }
            Self::WithToken(message) => message.length(),
            Self::Several(texts) => texts.iter().map(String::len).sum(),
            Self::Close(..) => 0,
        }
    }

    /// Returns its text messages.
    pub fn into_texts(self) -> Vec<String> {
        match self {
            Self::Text(text) | Self::WithAttachments(text, _) => vec![text],
            Self::Several(texts) => texts,
            Self::WithToken(message) => vec![message.text()],
            Self::Close(..) => Vec::new(),
        }
    }
}
