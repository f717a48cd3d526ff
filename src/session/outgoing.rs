//! Frames in a send queue.

use bytes::Bytes;

/// A frame in a send queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A text message.
    Text(String),
    /// Two text messages that are written together, in one string: the second begins at this byte.
    Pair(String, usize),
    /// A text message with its binary attachments, and possibly another text message, written
    /// together.
    Attached(Box<Attached>),
    /// The text messages of one event, written together; counts as one frame.
    Several(Vec<String>),
    /// A WebSocket ping whose pong confirms that everything before it was read.
    Ping,
    /// The end of the connection, with a close code and a reason.
    Close(u16, &'static str),
}

/// A text message with attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Text of the message.
    pub text: String,
    /// Binary attachments of the message.
    pub attachments: Vec<Bytes>,
    /// Text message that follows the attachments.
    pub follower: Option<String>,
}

impl Outgoing {
    /// Returns the number of messages.
    pub fn messages(&self) -> usize {
        match self {
            Self::Text(_) | Self::Ping | Self::Close(..) => 1,
            Self::Pair(..) => 2,
            Self::Several(messages) => messages.len(),
            Self::Attached(attached) => {
                1 + attached.attachments.len() + usize::from(attached.follower.is_some())
            }
        }
    }

    /// Returns the number of bytes that count in a queue.
    pub fn length(&self) -> usize {
        match self {
            Self::Text(text) | Self::Pair(text, _) => text.len(),
            Self::Several(messages) => messages.iter().map(String::len).sum(),
            Self::Attached(attached) => {
                let follower = attached.follower.as_ref().map_or(0, String::len);
                attached.text.len()
                    + attached.attachments.iter().map(Bytes::len).sum::<usize>()
                    + follower
            }
            Self::Ping | Self::Close(..) => 0,
        }
    }
}
