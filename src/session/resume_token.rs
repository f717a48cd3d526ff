//! The resume token of a session.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::id::ConnectionId;

/// Authorizes a client to resume a session: the session's id and a secret. Only sent to its client,
/// and never logged.
#[derive(Clone)]
pub struct ResumeToken {
    id: ConnectionId,
    secret: [u8; Self::SECRET_BYTES],
}

impl ResumeToken {
    /// Length of the secret in bytes: 144 random bits cannot be guessed, and have no padding in
    /// base64.
    const SECRET_BYTES: usize = 18;

    /// Creates a resume token; returns `None` if the system has no random numbers available.
    pub(super) fn random(id: ConnectionId) -> Option<Self> {
        let mut secret = [0; Self::SECRET_BYTES];
        getrandom::fill(&mut secret).ok()?;
        Some(Self { id, secret })
    }

    /// Parses a token that a client sends.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        Some(Self { id: ConnectionId::parse(id)?, secret: secret.try_into().ok()? })
    }

    /// Returns the token's text for its client: 57 characters.
    pub fn expose(&self) -> String {
        format!("{}.{}", self.id, URL_SAFE_NO_PAD.encode(self.secret))
    }

    /// Returns the id of the session.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Compares two tokens in constant time.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.id == other.id && bool::from(self.secret.ct_eq(&other.secret))
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeToken").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_round_trips_and_matches_no_other() {
        let token = ResumeToken::random(ConnectionId::random()).unwrap();
        let text = token.expose();
        assert_eq!(text.len(), 57);
        assert!(ResumeToken::parse(&text).unwrap().matches(&token));
        let other = ResumeToken::random(token.id()).unwrap();
        assert!(!other.matches(&token));
        for wrong in ["", ".", &text[..56], &format!("{text}A"), &text.replace('.', ""), "id.secret"] {
            assert!(ResumeToken::parse(wrong).is_none_or(|wrong| !wrong.matches(&token)), "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&text[33..]));
    }
}
