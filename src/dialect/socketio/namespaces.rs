//! The namespaces that one client is connected to, numbered by channel.

use std::borrow::Cow;
use std::sync::Arc;

use super::choice::Choice;
use super::packet::ROOT;

/// Maximum number of namespaces that one connection may use at a time.
const MAX_NAMESPACES: usize = 4;

/// Maximum number of CONNECT packets of one connection: some are refused, and some follow a
/// DISCONNECT.
const MAX_CONNECTS: u8 = 16;

/// Maximum length of a namespace's name, in bytes.
const MAX_NAMESPACE_BYTES: usize = 256;

/// A namespace that the client is connected to.
pub(super) struct Namespace {
    name: Box<str>,
    /// The event profile of the client in this namespace.
    pub(super) choice: Arc<Choice>,
    /// The key that named the room when the client last joined one.
    pub(super) join_key: Option<&'static str>,
}

/// The reason for which a CONNECT packet opens no namespace.
pub(super) enum ConnectError {
    /// The connection has sent too many CONNECT packets.
    TooMany,
    /// The client is connected to the namespace already.
    Duplicate,
    /// The namespace is refused, with a message for the client.
    Refused(Cow<'static, str>),
}

/// The namespaces of one client.
#[derive(Default)]
pub(super) struct Namespaces {
    /// By channel; `None` if the client has left the namespace.
    by_channel: Vec<Option<Namespace>>,
    /// The channel of the current packet.
    current: usize,
    /// The namespace of the current CONNECT.
    connecting: Option<Box<str>>,
    /// Number of CONNECT packets received.
    connects: u8,
}

impl Namespaces {
    /// Returns the channel of the current packet.
    pub(super) fn channel(&self) -> usize {
        self.current
    }

    /// Returns whether the client is connected to no namespace.
    pub(super) fn is_empty(&self) -> bool {
        self.by_channel.iter().all(Option::is_none)
    }

    /// Returns the namespace of the current packet.
    pub(super) fn current(&self) -> Option<&Namespace> {
        self.by_channel.get(self.current)?.as_ref()
    }

    /// Returns the namespace of the current packet, to change it.
    pub(super) fn current_mut(&mut self) -> Option<&mut Namespace> {
        self.by_channel.get_mut(self.current)?.as_mut()
    }

    /// Returns the name of the namespace of the current packet.
    pub(super) fn current_name(&self) -> &str {
        self.current().map_or(ROOT, |namespace| &namespace.name)
    }

    /// Returns the name of the namespace of the current CONNECT, or of the current packet.
    pub(super) fn connecting_name(&self) -> &str {
        self.connecting.as_deref().unwrap_or_else(|| self.current_name())
    }

    /// Makes a namespace the current one; returns whether the client is connected to it.
    pub(super) fn select(&mut self, name: &str) -> bool {
        let channel = self.channel_of(name);
        self.current = channel.unwrap_or(self.current);
        channel.is_some()
    }

    /// Handles a CONNECT: makes a free channel the current one, until [`Self::end_connect`].
    pub(super) fn begin_connect(
        &mut self,
        name: &str,
        is_served: bool,
    ) -> Result<(), ConnectError> {
        self.connects += 1;
        if self.connects > MAX_CONNECTS {
            return Err(ConnectError::TooMany);
        }
        if self.channel_of(name).is_some() {
            return Err(ConnectError::Duplicate);
        }
        if name.len() > MAX_NAMESPACE_BYTES || !is_served {
            return Err(ConnectError::Refused("Invalid namespace".into()));
        }
        let free =
            self.by_channel.iter().position(Option::is_none).unwrap_or(self.by_channel.len());
        if free >= MAX_NAMESPACES {
            let message = format!("LIMIT_REACHED: too many namespaces, at most {MAX_NAMESPACES}");
            return Err(ConnectError::Refused(message.into()));
        }
        (self.current, self.connecting) = (free, Some(name.into()));
        Ok(())
    }

    /// Begins to connect to the default namespace, without a CONNECT.
    pub(super) fn connect_to_root(&mut self) {
        self.connecting = Some(ROOT.into());
    }

    /// Returns the name of the namespace of the current CONNECT, which is answered now.
    pub(super) fn end_connect(&mut self) -> Box<str> {
        self.connecting.take().unwrap_or_else(|| ROOT.into())
    }

    /// Adds a namespace on the current channel.
    pub(super) fn insert(&mut self, name: Box<str>, choice: Arc<Choice>) {
        if self.current == self.by_channel.len() {
            self.by_channel.reserve_exact(1);
            self.by_channel.push(None);
        }
        self.by_channel[self.current] = Some(Namespace { name, choice, join_key: None });
    }

    /// Removes a namespace, whose channel becomes the current one. Returns `None` if the client is
    /// not connected to it.
    pub(super) fn remove(&mut self, name: &str) -> Option<()> {
        self.current = self.channel_of(name)?;
        self.by_channel[self.current] = None;
        Some(())
    }

    fn channel_of(&self, name: &str) -> Option<usize> {
        self.by_channel
            .iter()
            .position(|known| known.as_ref().is_some_and(|known| &*known.name == name))
    }
}
