//! ICE binding requests (RFC 8445, section 7.2) of a client that knows a transport's password.

use str0m::IceCreds;
use str0m::ice::{StunMessage, TransId};

/// Returns a signed binding request that nominates its path with the highest priority.
pub(crate) fn nomination(transport: &IceCreds) -> Vec<u8> {
    let username = format!("{}:eve", transport.ufrag);
    let request =
        StunMessage::binding_request(&username, TransId::new(), true, 1, 0x7fff_ffff, true);
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let mut buffer = vec![0; 500];
    let length = request
        .to_bytes(Some(transport.pass.as_bytes()), &mut buffer, |key, parts| {
            hmac.sha1_hmac(key, parts)
        })
        .unwrap();
    buffer.truncate(length);
    buffer
}
