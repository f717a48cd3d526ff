//! Checks settings against each other: contradictions prevent the start, exposures cause warnings.

use super::Config;
use std::net::IpAddr;

use super::identity::Tokens;
use super::values::Secret;

/// Minimum length of an HS256 key in bytes, which is the length of its hash (RFC 7518, section
/// 3.2).
const MIN_SECRET_BYTES: usize = 32;

impl Tokens {
    fn is_required(&self) -> bool {
        self.jwt_secret.is_some() || self.jwt_public_key.is_some() || self.jwt_jwks.is_some()
    }
}

impl Config {
    /// Returns a description of settings that contradict each other, in one line.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let Tokens { jwt_secret, jwt_public_key, jwt_jwks, jwt_issuer, jwt_audience } =
            &self.tokens;
        let is_empty = |secret: &Option<Secret>| {
            secret.as_ref().is_some_and(|secret| secret.as_str().is_empty())
        };
        if is_empty(jwt_secret) || is_empty(&self.ice.turn_secret) {
            return Some("JWT_SECRET and TURN_SECRET must not be empty if they are set");
        }
        let kinds = [jwt_secret.is_some(), jwt_public_key.is_some(), jwt_jwks.is_some()];
        if kinds.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Some(
                "only one way to verify tokens can be used: set one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS",
            );
        }
        if !self.tokens.is_required() && (jwt_issuer.is_some() || !jwt_audience.is_empty()) {
            return Some(
                "JWT_ISSUER and JWT_AUDIENCE need one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS",
            );
        }
        if self.ice.turn_secret.is_some() == self.ice.turn_urls.is_empty() {
            return Some("TURN_URLS and TURN_SECRET go together: set both or neither");
        }
        if self.network.dev_tls && (self.network.tls_cert.is_some() || self.is_production()) {
            return Some("DEV_TLS is for development, without TLS_CERT and TLS_KEY");
        }
        None
    }

    /// Returns a warning if only this machine reaches the media server. In production that is an
    /// error.
    pub fn local_media(&self) -> Option<String> {
        let media = &self.media;
        let is_local = |host: &str| {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        // A server for this machine alone, such as a test's.
        let is_all_local = is_local(&self.network.host)
            && self.http.trusted_proxies.is_empty()
            && !self.is_production();
        if !media.sfu || is_all_local {
            return None;
        }
        let (setting, value) = if media.sfu_announced_address.is_empty() {
            match &media.sfu_host {
                Some(host) => ("SFU_HOST", host.clone()),
                None => ("HOST", self.network.host.clone()),
            }
        } else {
            let announced = media.sfu_announced_address.iter();
            let mut others =
                announced.clone().map(|announced| announced.ip).filter(|ip| !ip.is_loopback());
            let first =
                announced.map(|announced| announced.ip.to_string()).next().unwrap_or_default();
            ("SFU_ANNOUNCED_ADDRESS", others.next().map_or(first, |ip| ip.to_string()))
        };
        is_local(&value).then(|| {
            format!(
                "only this machine reaches the media server, because of {setting}={value}: set SFU_HOST=0.0.0.0 and \
                 SFU_ANNOUNCED_ADDRESS to an address that clients reach, or SFU=off"
            )
        })
    }

    /// Returns warnings about token settings that expose the server.
    pub(super) fn identity_exposures(&self) -> impl Iterator<Item = String> {
        let secret = self
            .tokens
            .jwt_secret
            .as_ref()
            .filter(|secret| secret.as_str().len() < MIN_SECRET_BYTES);
        let short = secret.map(|_| {
            format!("JWT_SECRET has less than {MIN_SECRET_BYTES} bytes: anyone who sees a token can guess it and forge others")
        });
        let is_public_turn =
            self.is_production() && self.ice.turn_secret.is_some() && !self.tokens.is_required();
        let turn = is_public_turn.then(|| {
            "TURN_SECRET is set and tokens are not required: anyone can get credentials for the TURN servers".to_owned()
        });
        short.into_iter().chain(turn)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::load_from;

    fn local_media(line: &str) -> Option<String> {
        let flags = line.split_whitespace().map(Into::into);
        load_from(flags, BTreeMap::new(), BTreeMap::new()).unwrap().config.local_media()
    }

    #[test]
    fn media_addresses_of_this_machine_are_found() {
        for reachable in [
            "",
            "--host=127.0.0.1",
            "--node-env=production",
            "--node-env=production --host=127.0.0.1 --sfu=off",
            "--node-env=production --host=127.0.0.1 --sfu-host=0.0.0.0",
            "--host=127.0.0.1 --trusted-proxies=127.0.0.1 --sfu-announced-address=127.0.0.1,203.0.113.7",
        ] {
            assert_eq!(local_media(reachable), None, "{reachable}");
        }
        for (local, setting) in [
            ("--node-env=production --host=127.0.0.1", "HOST=127.0.0.1"),
            ("--host=localhost --trusted-proxies=127.0.0.1", "HOST=localhost"),
            ("--sfu-host=::1", "SFU_HOST=::1"),
            ("--sfu-announced-address=127.0.0.1", "SFU_ANNOUNCED_ADDRESS=127.0.0.1"),
        ] {
            assert!(local_media(local).is_some_and(|warning| warning.contains(setting)), "{local}");
        }
    }
}
