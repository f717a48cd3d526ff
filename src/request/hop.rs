//! Requests that one node of a cluster forwards to another: the header that names their client,
//! signed with a key that the nodes share.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use http::{HeaderName, HeaderValue};
use parking_lot::RwLock;

/// The header:
/// `{client address}|{http or https}|{seconds since 1970}|{HMAC-SHA256 in hexadecimal}`.
pub(crate) const HOP: HeaderName = HeaderName::from_static("parlor-hop");

/// How long a signature is valid. Clocks of the nodes may differ by as much.
const MAX_AGE: Duration = Duration::from_mins(1);

/// The key of the cluster; none until it is known.
#[derive(Default)]
pub struct HopKey(RwLock<Option<(Vec<u8>, hmac::Key)>>);

impl fmt::Debug for HopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HopKey").finish_non_exhaustive()
    }
}

/// The client of a request that was forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hopped {
    pub(crate) address: IpAddr,
    /// Whether the client's connection is TLS.
    pub(crate) is_tls: bool,
}

impl HopKey {
    /// Sets the key.
    pub fn set(&self, secret: &[u8]) {
        if self.0.read().as_ref().is_none_or(|(known, _)| known != secret) {
            *self.0.write() = Some((secret.to_vec(), hmac::Key::new(hmac::HMAC_SHA256, secret)));
        }
    }

    /// Returns the header for a client; `None` while there is no key.
    pub(crate) fn sign(
        &self,
        Hopped { address, is_tls }: Hopped,
        now: SystemTime,
    ) -> Option<HeaderValue> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        let text = format!("{address}|{}|{seconds}", if is_tls { "https" } else { "http" });
        let signature = hmac::sign(&self.0.read().as_ref()?.1, text.as_bytes());
        let mut header = format!("{text}|");
        for byte in signature.as_ref() {
            write!(header, "{byte:02x}").ok()?;
        }
        HeaderValue::try_from(header).ok()
    }

    /// Reads a header. Returns `None` if it is not signed with the key, or too old.
    pub(crate) fn verify(&self, header: &HeaderValue, now: SystemTime) -> Option<Hopped> {
        let (text, digits) = header.to_str().ok()?.rsplit_once('|')?;
        let digit = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let signature: Vec<u8> = (0..digits.len()).step_by(2).map(digit).collect::<Option<_>>()?;
        hmac::verify(&self.0.read().as_ref()?.1, text.as_bytes(), &signature).ok()?;
        let mut parts = text.split('|');
        let (address, scheme, seconds) =
            (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let signed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        let age = now.duration_since(signed).unwrap_or_else(|ahead| ahead.duration());
        let hopped = Hopped { address: address.parse().ok()?, is_tls: scheme == "https" };
        (age <= MAX_AGE).then_some(hopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recent_headers_of_the_key_are_accepted() {
        let (key, other) = (HopKey::default(), HopKey::default());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let client = Hopped { address: "2001:db8::7".parse().unwrap(), is_tls: true };
        assert_eq!(key.sign(client, now), None);
        key.set(&[1; 32]);
        other.set(&[2; 32]);
        let header = key.sign(client, now).unwrap();
        assert!(header.to_str().unwrap().starts_with("2001:db8::7|https|1700000000|"));
        assert_eq!(key.verify(&header, now), Some(client));
        assert_eq!(key.verify(&header, now + MAX_AGE), Some(client));
        assert_eq!(key.verify(&header, now + MAX_AGE + Duration::from_secs(1)), None);
        assert_eq!(other.verify(&header, now), None);
        let text = header.to_str().unwrap();
        for forged in [
            text.replace("::7", "::8"),
            text.replace("https", "http"),
            text[..text.len() - 2].to_owned(),
        ] {
            assert_eq!(key.verify(&HeaderValue::try_from(forged).unwrap(), now), None);
        }
        for malformed in ["", "|", "|||", "a|b|c|zz", "é|1"] {
            assert_eq!(
                HeaderValue::try_from(malformed).ok().and_then(|header| key.verify(&header, now)),
                None
            );
        }
    }
}
