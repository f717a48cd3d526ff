//! HTTP request handling shared by routes and transports: the client's address ([`proxies`]), the
//! token ([`token`]), and error responses ([`error`]).

pub(crate) mod error;
pub(crate) mod hop;
pub(crate) mod proxies;
pub(crate) mod token;
