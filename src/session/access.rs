//! The access policy.

use std::sync::Arc;

use crate::auth::Verifier;
use crate::ice::IceServers;

/// Verifies tokens, and holds the ICE servers that clients are told.
#[derive(Debug, Default)]
pub struct AccessPolicy {
    /// Verifies tokens; without it, none are required.
    pub verifier: Option<Verifier>,
    /// The ICE servers that clients are told.
    pub ice_servers: Option<Arc<IceServers>>,
}
