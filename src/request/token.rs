//! Extracts tokens from requests.

use http::{HeaderMap, header};

/// Returns the token of a request, from `?token=` or `Authorization: Bearer`. An empty one counts
/// as none.
pub(crate) fn token_of<B>(request: &http::Request<B>) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let in_query = pairs.into_iter().find(|(name, value)| name == "token" && !value.is_empty());
    in_query.map(|(_, token)| token).or_else(|| bearer_token(request.headers()).map(str::to_owned))
}

/// Returns the token of `Authorization: Bearer` (RFC 6750, section 2.1), unless it is empty.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}
