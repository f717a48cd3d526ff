//! The access policy: token verification and the ICE servers that clients are given.

use std::sync::Arc;

use crate::auth::Verifier;
use crate::ice::IceServers;

/// Token verification, and the ICE servers that clients are given.
#[derive(Debug, Default)]
pub struct AccessPolicy {
    /// Verifies tokens; without a verifier, no tokens are required.
    pub verifier: Option<Verifier>,
    /// ICE servers that clients are given.
    pub ice_servers: Option<Arc<IceServers>>,
}
