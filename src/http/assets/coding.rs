//! Content codings: chooses one that the client accepts (RFC 9110, section 12.5.3).

use http::{HeaderMap, header};

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
    Identity,
}

impl Coding {
    /// Returns the best coding that is available and accepted.
    pub(super) fn choose(request: &HeaderMap, has_gzip: bool, has_brotli: bool) -> Self {
        if has_brotli && accepts(request, "br") {
            Self::Brotli
        } else if has_gzip && accepts(request, "gzip") {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    /// Returns the name for `Content-Encoding`.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    /// Returns the end of an entity tag: tags of different codings must differ.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => "-br",
            Self::Gzip => "-gz",
            Self::Identity => "",
        }
    }
}

/// Returns whether `Accept-Encoding` lists a coding with a weight above 0.
fn accepts(request: &HeaderMap, coding: &str) -> bool {
    let values =
        request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let weight =
            parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        is_named && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_is_preferred_and_weights_of_zero_exclude() {
        let choose = |accepted: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static(accepted));
            Coding::choose(&headers, true, true)
        };
        assert_eq!(choose("gzip, deflate, br, zstd"), Coding::Brotli);
        assert_eq!(choose("gzip;q=1.0, br;q=0"), Coding::Gzip);
        assert_eq!(choose("GZIP"), Coding::Gzip);
        assert_eq!(choose("identity"), Coding::Identity);
        assert_eq!(choose("br;q=x"), Coding::Identity);
        assert_eq!(Coding::choose(&HeaderMap::new(), true, true), Coding::Identity);
    }
}
