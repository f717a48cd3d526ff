//! ICE, and the DTLS handshake over it.
//!
//! ICE is lite (RFC 8445, section 2.5): the client runs the connectivity checks, and the server
//! responds. The client's ufrag is not signaled; it is taken from a verified binding request.
//!
//! Invariant: unverified requests change nothing. Callers verify a request before they call here.

use std::net::SocketAddr;

use str0m::crypto::{CryptoProvider, Fingerprint};
use str0m::ice::StunMessage;
use str0m::{Candidate, IceCreds};

use super::Transport;
use crate::sfu::output::TransportOutput;
use crate::sfu::parameters::{DtlsParameters, DtlsRole, IceParameters};
use crate::sfu::request::SfuErrorKind;

impl Transport {
    /// Returns whether a binding request was made with this transport's password.
    pub(in crate::sfu) fn verifies(
        &self,
        request: &StunMessage<'_>,
        crypto: &CryptoProvider,
    ) -> bool {
        request.verify(self.credentials.pass.as_bytes(), |key, parts| {
            crypto.sha1_hmac_provider.sha1_hmac(key, parts)
        })
    }

    /// Accepts the client's ufrag from a verified binding request.
    pub(in crate::sfu) fn accept_ufrag(&mut self, ufrag: &str, output: &mut TransportOutput) {
        if self.remote_ufrag.as_deref() == Some(ufrag) {
            return;
        }
        self.remote_ufrag = Some(ufrag.to_owned());
        // A lite agent sends no requests, so it needs no password of the client.
        let credentials = IceCreds { ufrag: ufrag.to_owned(), pass: String::new() };
        self.update_rtc(output, |rtc| rtc.direct_api().set_remote_ice_credentials(credentials));
    }

    pub(in crate::sfu) fn ice(&self) -> IceParameters {
        IceParameters {
            username_fragment: self.credentials.ufrag.clone(),
            password: self.credentials.pass.clone(),
            ice_lite: true,
        }
    }

    /// Starts DTLS, or stores its parameters until the transport starts.
    pub(in crate::sfu) fn connect(
        &mut self,
        dtls: &DtlsParameters,
        output: &mut TransportOutput,
    ) -> Result<(), SfuErrorKind> {
        if self.is_connecting() {
            return Err(SfuErrorKind::ConnectedAlready);
        }
        let sha256 =
            dtls.fingerprints.iter().find(|one| one.algorithm.eq_ignore_ascii_case("sha-256"));
        let bytes = parse_fingerprint(&sha256.ok_or(SfuErrorKind::NoSha256)?.value)
            .ok_or(SfuErrorKind::BadFingerprint)?;
        let fingerprint = Fingerprint { hash_func: "sha-256".to_owned(), bytes };
        // A client that leaves the role open starts the handshake.
        self.dtls = Some((fingerprint, dtls.role == DtlsRole::Server));
        if !self.has_started() || self.start_dtls(output) {
            Ok(())
        } else {
            Err(SfuErrorKind::Internal)
        }
    }

    /// Returns whether the client has asked to connect the transport.
    pub(in crate::sfu) fn is_connecting(&self) -> bool {
        self.dtls.is_some()
    }

    pub(super) fn start_dtls(&mut self, output: &mut TransportOutput) -> bool {
        let Some((fingerprint, is_active)) = self.dtls.clone() else { return false };
        self.update_rtc(output, |rtc| rtc.direct_api().set_remote_fingerprint(fingerprint));
        self.update_rtc(output, |rtc| rtc.direct_api().start_dtls(is_active).is_ok()) == Some(true)
    }

    /// Replaces the ICE credentials, and returns the old ufrag.
    pub(in crate::sfu) fn restart_ice(&mut self, output: &mut TransportOutput) -> String {
        let fresh = IceCreds::new();
        let old = std::mem::replace(&mut self.credentials, fresh.clone());
        self.addresses_before_restart = self.addresses.iter().collect();
        self.update_rtc(output, |rtc| rtc.direct_api().set_local_ice_credentials(fresh));
        old.ufrag
    }

    /// Processes the nomination of a path from `from`. If the address is new since the last ICE
    /// restart, the paths from before are invalidated: str0m would keep to them as long as they
    /// work. It learns the new path from the nominating request, which must be passed to it next.
    pub(in crate::sfu) fn abandon_old_paths(&mut self, from: SocketAddr) {
        let Some(rtc) =
            self.rtc.as_mut().filter(|_| !self.addresses_before_restart.contains(&from))
        else {
            return;
        };
        for old in std::mem::take(&mut self.addresses_before_restart) {
            let text = format!("candidate:0 1 udp 1 {} {} typ prflx", old.ip(), old.port());
            if let Ok(candidate) = Candidate::from_sdp_string(&text) {
                rtc.direct_api().invalidate_candidate(&candidate);
            }
        }
    }
}

/// Parses 32 pairs of hexadecimal digits separated by colons.
fn parse_fingerprint(text: &str) -> Option<Vec<u8>> {
    let is_pair =
        |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|pair| Some(pair).filter(is_pair).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    bytes.filter(|bytes| bytes.len() == 32)
}

/// Formats a fingerprint as in [`DtlsParameters`].
pub(in crate::sfu) fn write_fingerprint(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_parsed_strictly() {
        let good = ["0A"; 32].join(":");
        assert_eq!(parse_fingerprint(&good), Some(vec![10; 32]));
        assert_eq!(write_fingerprint(&[10; 32]), good);
        for bad in [
            "",
            "0A",
            &good[..93],
            &format!("{good}:0A"),
            &good.replacen("0A", "+A", 1),
            &good.replacen("0A", "é", 1),
        ] {
            assert_eq!(parse_fingerprint(bad), None, "{bad}");
        }
    }
}
