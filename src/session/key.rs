//! The key of a place.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::id::ConnectionId;

/// What authorises a client to take its place again: the place's id and a secret. Its owner's alone, and never logged.
#[derive(Clone)]
pub struct ResumeKey {
    id: ConnectionId,
    secret: [u8; Self::SECRET_BYTES],
}

impl ResumeKey {
    /// 144 random bits: more than anybody can guess, and a whole number of base64 digits.
    const SECRET_BYTES: usize = 18;

    /// A new key of a place. `None` where the system has no random numbers to give.
    pub(super) fn random(id: ConnectionId) -> Option<Self> {
        let mut secret = [0; Self::SECRET_BYTES];
        getrandom::fill(&mut secret).ok()?;
        Some(Self { id, secret })
    }

    /// Reads what a client gives back.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        Some(Self { id: ConnectionId::parse(id)?, secret: secret.try_into().ok()? })
    }

    /// As its owner is told it: 57 characters.
    pub fn expose(&self) -> String {
        format!("{}.{}", self.id, URL_SAFE_NO_PAD.encode(self.secret))
    }

    /// The place.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whether it is the same key, found out in a time that does not tell how much of it is right.
    pub(super) fn opens(&self, other: &Self) -> bool {
        self.id == other.id && bool::from(self.secret.ct_eq(&other.secret))
    }
}

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_opens_nothing_else() {
        let key = ResumeKey::random(ConnectionId::random()).unwrap();
        let text = key.expose();
        assert_eq!(text.len(), 57);
        assert!(ResumeKey::parse(&text).unwrap().opens(&key));
        let other = ResumeKey::random(key.id()).unwrap();
        assert!(!other.opens(&key));
        for wrong in ["", ".", &text[..56], &format!("{text}A"), &text.replace('.', ""), "nobody.nothing"] {
            assert!(ResumeKey::parse(wrong).is_none_or(|wrong| !wrong.opens(&key)), "{wrong}");
        }
        assert!(!format!("{key:?}").contains(&text[33..]));
    }
}
