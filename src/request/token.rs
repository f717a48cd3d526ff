//! The token of a request.

use http::header;

/// Returns the token of a request, from `?token=` or `Authorization: Bearer`. An empty one counts as none.
pub(crate) fn token_of<B>(request: &http::Request<B>) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let in_query = pairs.into_iter().find(|(name, value)| name == "token" && !value.is_empty());
    in_query.map(|(_, token)| token).or_else(|| {
        let header = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = header.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty();
        is_bearer.then(|| token.trim().to_owned())
    })
}
