//! The resume tokens of a session. In a cluster they also name the node that has the session.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::moved::{Reader, Writer};
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

/// Maximum number of resume tokens of a session that are valid at a time.
const MAX_TOKENS: usize = 5;

/// The valid resume tokens of a session, in the order in which they were made; none if it cannot be
/// resumed.
///
/// The last one is the current one. Until the client confirms it, earlier ones stay valid: each
/// reply with a token may be lost with its connection, and several connections of the client may
/// resume at the same time.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<ResumeToken>);

impl Tokens {
    /// Returns the current token.
    pub(super) fn current(&self) -> Option<&ResumeToken> {
        self.0.last()
    }

    /// Returns whether a token is valid.
    pub(super) fn has(&self, token: &ResumeToken) -> bool {
        self.0.iter().any(|own| own.matches(token))
    }

    /// Adds a new token after the use of another one. The client has no earlier one than that any
    /// more, but may not have received any later one.
    pub(super) fn renew(&mut self, used: &ResumeToken, token: ResumeToken) {
        let earlier = self.0.iter().position(|own| own.matches(used)).unwrap_or_default();
        self.0.drain(..earlier);
        if self.0.len() >= MAX_TOKENS {
            self.0.remove(1);
        }
        self.0.push(token);
    }

    /// Records that the client has received the current token.
    pub(super) fn confirm(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(1));
    }

    /// Writes the tokens for another node.
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.number(self.0.len() as u64);
        for token in &self.0 {
            writer.bytes(token.secret()).number(token.node.map_or(0, |node| node.0));
        }
    }

    /// Reads the tokens of a session that has moved here for a client with the token `used`. Nodes
    /// of earlier versions write none.
    pub(super) fn read(id: ConnectionId, used: ResumeToken, reader: &mut Reader<'_>) -> Self {
        let mut tokens = Self::default();
        for _ in 0..reader.number().unwrap_or_default().min(MAX_TOKENS as u64) {
            let token = reader.bytes().and_then(|secret| ResumeToken::from_secret(id, secret));
            let Some((token, node)) = token.zip(reader.number()) else { break };
            tokens.0.push(ResumeToken { node: Some(Incarnation(node)), ..token });
        }
        if !tokens.has(&used) {
            tokens.0 = vec![used];
        }
        tokens
    }
}

impl FromIterator<ResumeToken> for Tokens {
    fn from_iter<I: IntoIterator<Item = ResumeToken>>(tokens: I) -> Self {
        Self(tokens.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: ConnectionId) -> ResumeToken {
        ResumeToken::random(id, Some(Incarnation(7))).unwrap()
    }

    #[test]
    fn tokens_stay_valid_until_a_later_one_is_used_or_confirmed() {
        let id = ConnectionId::random();
        let all: Vec<_> = (0..4).map(|_| token(id)).collect();
        let mut tokens: Tokens = all[..1].iter().cloned().collect();
        // Two connections resume with the first one.
        tokens.renew(&all[0], all[1].clone());
        tokens.renew(&all[0], all[2].clone());
        assert!(all[..3].iter().all(|token| tokens.has(token)) && !tokens.has(&all[3]));
        // The client has received the reply on one of them.
        tokens.renew(&all[1], all[3].clone());
        assert_eq!([0, 1, 2, 3].map(|n| tokens.has(&all[n])), [false, true, true, true]);
        assert!(tokens.current().unwrap().matches(&all[3]));
        tokens.confirm();
        assert_eq!([0, 1, 2, 3].map(|n| tokens.has(&all[n])), [false, false, false, true]);
    }

    #[test]
    fn number_of_tokens_is_bounded_and_the_used_one_stays_valid() {
        let id = ConnectionId::random();
        let used = token(id);
        let mut tokens: Tokens = [used.clone()].into_iter().collect();
        for _ in 0..3 * MAX_TOKENS {
            let new = token(id);
            tokens.renew(&used, new.clone());
            assert!(tokens.has(&used) && tokens.current().unwrap().matches(&new));
            assert!(tokens.0.len() <= MAX_TOKENS);
        }
    }

    #[test]
    fn tokens_move_with_their_session() {
        let id = ConnectionId::random();
        let (first, second, wrong) = (token(id), token(id), token(id));
        let tokens: Tokens = [first.clone(), second.clone()].into_iter().collect();
        let mut writer = Writer::default();
        tokens.write(&mut writer);
        let written = writer.finish();
        let read = Tokens::read(id, first.clone(), &mut Reader::new(&written));
        assert!(read.has(&first) && read.current().unwrap().matches(&second));
        assert_eq!(read.current().unwrap().node(), second.node());
        for length in 0..written.len() {
            let read = Tokens::read(id, first.clone(), &mut Reader::new(&written[..length]));
            assert!(read.has(&first), "cut after {length} bytes");
        }
        let read = Tokens::read(id, wrong.clone(), &mut Reader::new(&written));
        assert!(read.has(&wrong) && !read.has(&first), "its own node has checked the token");
    }

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
