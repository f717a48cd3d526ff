//! The way to a client: ICE, and the handshake of DTLS over it.
//!
//! ICE is "lite" (RFC 8445, section 2.5): the client checks connectivity, and we answer. The client's own ufrag is never
//! told to us; it is taken from a binding request, once that has proved that it knows our password.
//!
//! The guarantee that is easy to break: what is not proved changes nothing. Who calls here has verified the request.

use std::net::SocketAddr;

use str0m::crypto::{CryptoProvider, Fingerprint};
use str0m::ice::StunMessage;
use str0m::{Candidate, IceCreds};

use super::Transport;
use crate::sfu::output::Sink;
use crate::sfu::parameters::{DtlsParameters, DtlsRole, IceParameters};
use crate::sfu::request::Problem;

impl Transport {
    /// Whether a binding request proves that its sender was told this transport's password.
    pub(in crate::sfu) fn verifies(&self, request: &StunMessage<'_>, crypto: &CryptoProvider) -> bool {
        request.verify(self.credentials.pass.as_bytes(), |key, parts| crypto.sha1_hmac_provider.sha1_hmac(key, parts))
    }

    /// Takes the ufrag of a binding request that was verified.
    pub(in crate::sfu) fn accept_ufrag(&mut self, ufrag: &str, sink: &mut Sink) {
        if self.remote_ufrag.as_deref() == Some(ufrag) {
            return;
        }
        self.remote_ufrag = Some(ufrag.to_owned());
        // A lite agent makes no requests: it has no use for the client's password.
        let credentials = IceCreds { ufrag: ufrag.to_owned(), pass: String::new() };
        self.change(sink, |rtc| rtc.direct_api().set_remote_ice_credentials(credentials));
    }

    pub(in crate::sfu) fn ice(&self) -> IceParameters {
        IceParameters {
            username_fragment: self.credentials.ufrag.clone(),
            password: self.credentials.pass.clone(),
            ice_lite: true,
        }
    }

    /// Starts DTLS, or remembers how to.
    pub(in crate::sfu) fn connect(&mut self, dtls: &DtlsParameters, sink: &mut Sink) -> Result<(), Problem> {
        if self.is_connecting() {
            return Err(Problem::ConnectedAlready);
        }
        let sha256 = dtls.fingerprints.iter().find(|one| one.algorithm.eq_ignore_ascii_case("sha-256"));
        let bytes = parse_fingerprint(&sha256.ok_or(Problem::NoSha256)?.value).ok_or(Problem::BadFingerprint)?;
        let fingerprint = Fingerprint { hash_func: "sha-256".to_owned(), bytes };
        // Where the client leaves it open, it begins.
        self.dtls = Some((fingerprint, dtls.role == DtlsRole::Server));
        if !self.has_begun() || self.start_dtls(sink) { Ok(()) } else { Err(Problem::Internal) }
    }

    /// Whether its client has asked to connect it.
    pub(in crate::sfu) fn is_connecting(&self) -> bool {
        self.dtls.is_some()
    }

    pub(super) fn start_dtls(&mut self, sink: &mut Sink) -> bool {
        let Some((fingerprint, is_active)) = self.dtls.clone() else { return false };
        self.change(sink, |rtc| rtc.direct_api().set_remote_fingerprint(fingerprint));
        self.change(sink, |rtc| rtc.direct_api().start_dtls(is_active).is_ok()) == Some(true)
    }

    /// Takes new ICE credentials, and returns the old ufrag.
    pub(in crate::sfu) fn restart_ice(&mut self, sink: &mut Sink) -> String {
        let fresh = IceCreds::new();
        let old = std::mem::replace(&mut self.credentials, fresh.clone());
        self.outdated = self.addresses.iter().collect();
        self.change(sink, |rtc| rtc.direct_api().set_local_ice_credentials(fresh));
        old.ufrag
    }

    /// The client says that it wants media at an address. If it has that since it restarted ICE, nothing more is to be sent to
    /// where it was before: the library would keep to that path for as long as it works. The new one it finds in the request
    /// that says so, which must be given to it next.
    pub(in crate::sfu) fn leave_old_paths(&mut self, from: SocketAddr) {
        let Some(rtc) = self.rtc.as_mut().filter(|_| !self.outdated.contains(&from)) else { return };
        for old in std::mem::take(&mut self.outdated) {
            let text = format!("candidate:0 1 udp 1 {} {} typ prflx", old.ip(), old.port());
            if let Ok(candidate) = Candidate::from_sdp_string(&text) {
                rtc.direct_api().invalidate_candidate(&candidate);
            }
        }
    }
}

/// 32 pairs of hexadecimal digits with colons between them.
fn parse_fingerprint(text: &str) -> Option<Vec<u8>> {
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|pair| Some(pair).filter(is_pair).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    bytes.filter(|bytes| bytes.len() == 32)
}

/// A fingerprint as it is written in [`DtlsParameters`].
pub(in crate::sfu) fn write_fingerprint(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_strictly() {
        let good = ["0A"; 32].join(":");
        assert_eq!(parse_fingerprint(&good), Some(vec![10; 32]));
        assert_eq!(write_fingerprint(&[10; 32]), good);
        for bad in
            ["", "0A", &good[..93], &format!("{good}:0A"), &good.replacen("0A", "+A", 1), &good.replacen("0A", "é", 1)]
        {
            assert_eq!(parse_fingerprint(bad), None, "{bad}");
        }
    }
}
