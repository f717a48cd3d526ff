//! The resume token of a session. In a cluster it also names the node that has the session.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::cluster::Incarnation;
use crate::id::ConnectionId;

/// Authorizes a client to resume a session: the session's id and a secret. Only sent to its client,
/// and never logged.
#[derive(Clone)]
pub struct ResumeToken {
    id: ConnectionId,
    secret: [u8; Self::SECRET_BYTES],
    node: Option<Incarnation>,
}

impl ResumeToken {
    /// Length of the secret in bytes: 144 random bits cannot be guessed, and have no padding in
    /// base64.
    const SECRET_BYTES: usize = 18;

    /// Creates a resume token of a session on a node of a cluster, or without one; returns `None`
    /// if the system has no random numbers available.
    pub(super) fn random(id: ConnectionId, node: Option<Incarnation>) -> Option<Self> {
        let mut secret = [0; Self::SECRET_BYTES];
        getrandom::fill(&mut secret).ok()?;
        Some(Self { id, secret, node })
    }

    /// Returns the token of a session with this secret, of no node.
    pub(super) fn from_secret(id: ConnectionId, secret: &[u8]) -> Option<Self> {
        Some(Self { id, secret: secret.try_into().ok()?, node: None })
    }

    /// Parses a token that a client sends.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let (secret, node) =
            secret.split_once('.').map_or((secret, None), |(secret, node)| (secret, Some(node)));
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let node = match node {
            Some(node) => Some(Incarnation(u64::from_be_bytes(
                URL_SAFE_NO_PAD.decode(node).ok()?.try_into().ok()?,
            ))),
            None => None,
        };
        Some(Self { id: ConnectionId::parse(id)?, secret: secret.try_into().ok()?, node })
    }

    /// Returns the token's text for its client: 57 characters, and 12 more in a cluster.
    pub fn expose(&self) -> String {
        let mut text = format!("{}.{}", self.id, URL_SAFE_NO_PAD.encode(self.secret));
        if let Some(node) = self.node {
            text.push('.');
            text.push_str(&URL_SAFE_NO_PAD.encode(node.0.to_be_bytes()));
        }
        text
    }

    /// Returns the node that has the session, in a cluster.
    pub fn node(&self) -> Option<Incarnation> {
        self.node
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
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
        let token = ResumeToken::random(ConnectionId::random(), None).unwrap();
        let text = token.expose();
        assert_eq!(text.len(), 57);
        assert!(ResumeToken::parse(&text).unwrap().matches(&token));
        let other = ResumeToken::random(token.id(), None).unwrap();
        assert!(!other.matches(&token));
        for wrong in
            ["", ".", &text[..56], &format!("{text}A"), &text.replace('.', ""), "id.secret"]
        {
            assert!(
                ResumeToken::parse(wrong).is_none_or(|wrong| !wrong.matches(&token)),
                "{wrong}"
            );
        }
        assert!(!format!("{token:?}").contains(&text[33..]));
        let node = Some(Incarnation(0x0102_0304_0506_0708));
        let token = ResumeToken::random(token.id(), node).unwrap();
        let text = token.expose();
        assert_eq!((text.len(), ResumeToken::parse(&text).unwrap().node()), (69, node));
        assert!(ResumeToken::parse(&text).unwrap().matches(&token));
        assert!(
            ResumeToken::parse(&text[..68]).is_none()
                && ResumeToken::parse(&format!("{text}.")).is_none()
        );
    }
}
