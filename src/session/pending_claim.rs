//! A claim of a session that another node of the cluster has.

use std::net::IpAddr;

use tokio::sync::oneshot;

use super::resume_token::ResumeToken;
use crate::auth::Grant;
use crate::dialect::{Dialect, Framing};

/// A session of another node that a client waits for, on one connection or, if it has lost that, on
/// several.
pub(super) struct PendingClaim {
    /// `None` once the session is here.
    pub(super) client: Option<Claimant>,
    /// One for each connection that waits, dropped when the session is here, or refused; used if it
    /// moves from node to node.
    pub(super) answers: Vec<oneshot::Sender<()>>,
}

/// The client that claims a session.
pub struct Claimant {
    /// The address of the client.
    pub address: IpAddr,
    /// The dialect of the client.
    pub dialect: &'static Dialect,
    /// Completes the frames of the session.
    pub framing: Box<dyn Framing>,
    /// The grant of the access token, where tokens are required.
    pub grant: Option<Grant>,
    /// The resume token.
    pub token: ResumeToken,
    /// Number of the last frame that the client has received.
    pub seen: u64,
}
