//! The form of all messages: a version, a kind, then fields, each a tag, a length and a value.
//! Unknown tags are skipped, so that two neighbouring versions understand each other.

use super::Malformed;
use crate::cluster::record::{Incarnation, Membership, Nonce};
use crate::id::{ConnectionId, RoomId};

/// Version of the form.
const VERSION: u8 = 1;

/// Memory for a message of common length, in bytes.
pub(super) const COMMON_LENGTH: usize = 128;

/// Writes one message.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Begins a message, with memory for so many bytes: frames are kept, and those of signals should
    /// take no more memory than they need.
    pub(super) fn message(kind: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(&[VERSION, kind]);
        Self(bytes)
    }

    /// Begins the value of a field that has fields itself.
    pub(super) fn nested() -> Self {
        Self(Vec::new())
    }

    /// Returns the bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Adds a field.
    pub(super) fn bytes(&mut self, tag: u8, value: &[u8]) -> &mut Self {
        match u8::try_from(value.len()) {
            Ok(length) if length < 0x80 => self.0.extend_from_slice(&[tag, length]),
            _ => {
                self.0.push(tag);
                self.varint(u64::try_from(value.len()).unwrap_or(u64::MAX));
            }
        }
        self.0.extend_from_slice(value);
        self
    }

    /// Adds a number, in as many bytes as it needs.
    pub(super) fn number(&mut self, tag: u8, value: u64) -> &mut Self {
        let zeros = usize::try_from(value.leading_zeros() / 8).unwrap_or_default();
        self.bytes(tag, &value.to_be_bytes()[zeros..])
    }

    /// Adds a text.
    pub(super) fn text(&mut self, tag: u8, value: &str) -> &mut Self {
        self.bytes(tag, value.as_bytes())
    }

    /// Adds a connection.
    pub(super) fn connection(&mut self, tag: u8, value: ConnectionId) -> &mut Self {
        self.bytes(tag, &value.to_u128().to_be_bytes())
    }

    /// Adds a membership.
    pub(super) fn membership(
        &mut self,
        tag: u8,
        Membership { connection, nonce }: Membership,
    ) -> &mut Self {
        let mut value = [0; 24];
        value[..16].copy_from_slice(&connection.to_u128().to_be_bytes());
        value[16..].copy_from_slice(&nonce.0.to_be_bytes());
        self.bytes(tag, &value)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

/// The fields of a message.
#[derive(Clone)]
pub(super) struct Fields<'a>(Vec<(u8, &'a [u8])>);

impl<'a> Fields<'a> {
    /// Reads the value of a field that has fields itself.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Vec::new();
        each(bytes, |tag, value| {
            fields.push((tag, value));
            Ok(())
        })?;
        Ok(Self(fields))
    }

    /// Returns the values of a field that may be repeated.
    pub(super) fn all(&self, tag: u8) -> impl Iterator<Item = &'a [u8]> + use<'_, 'a> {
        self.0.iter().filter(move |(found, _)| *found == tag).map(|(_, value)| *value)
    }

    /// Returns the value of a field that may be absent.
    pub(super) fn find(&self, tag: u8) -> Option<&'a [u8]> {
        self.all(tag).next()
    }

    /// Returns the value of a field.
    pub(super) fn bytes(&self, tag: u8) -> Result<&'a [u8], Malformed> {
        self.find(tag).ok_or(Malformed)
    }

    /// Returns a number.
    pub(super) fn number(&self, tag: u8) -> Result<u64, Malformed> {
        number(self.bytes(tag)?)
    }

    /// Returns a text.
    pub(super) fn text(&self, tag: u8) -> Result<&'a str, Malformed> {
        text(self.bytes(tag)?)
    }

    /// Returns the id of a room.
    pub(super) fn room(&self, tag: u8) -> Result<RoomId, Malformed> {
        room(self.bytes(tag)?)
    }

    /// Returns an incarnation.
    pub(super) fn incarnation(&self, tag: u8) -> Result<Incarnation, Malformed> {
        self.number(tag).map(Incarnation)
    }

    /// Returns a connection.
    pub(super) fn connection(&self, tag: u8) -> Result<ConnectionId, Malformed> {
        connection(self.bytes(tag)?)
    }

    /// Returns a membership.
    pub(super) fn membership(&self, tag: u8) -> Result<Membership, Malformed> {
        membership(self.bytes(tag)?)
    }
}

/// Returns the kind of a message, and its fields.
pub(super) fn kind(message: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    match message {
        [VERSION, kind, fields @ ..] => Ok((*kind, fields)),
        _ => Err(Malformed),
    }
}

/// Reads fields, and calls `take` with the tag and the value of each.
pub(super) fn each<'a>(
    mut bytes: &'a [u8],
    mut take: impl FnMut(u8, &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while let Some((tag, rest)) = bytes.split_first() {
        let (length, rest) = varint(rest)?;
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        take(*tag, value)?;
        bytes = rest;
    }
    Ok(())
}

/// Reads a text.
pub(super) fn text(value: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(value).map_err(|_| Malformed)
}

/// Reads a number.
pub(super) fn number(value: &[u8]) -> Result<u64, Malformed> {
    if value.len() > 8 {
        return Err(Malformed);
    }
    Ok(value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Reads the id of a room.
pub(super) fn room(value: &[u8]) -> Result<RoomId, Malformed> {
    RoomId::exact(text(value)?).map_err(|_| Malformed)
}

/// Reads the id of a connection.
pub(super) fn connection(value: &[u8]) -> Result<ConnectionId, Malformed> {
    let value = value.try_into().map_err(|_| Malformed)?;
    Ok(ConnectionId::from_u128(u128::from_be_bytes(value)))
}

/// Reads a membership.
pub(super) fn membership(value: &[u8]) -> Result<Membership, Malformed> {
    let (id, nonce) =
        value.split_at_checked(16).filter(|(_, nonce)| nonce.len() == 8).ok_or(Malformed)?;
    Ok(Membership { connection: connection(id)?, nonce: Nonce(number(nonce)?) })
}

fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    Err(Malformed)
}
