//! HTTP request handling shared by routes and transports: the client's address ([`proxies`]), the token ([`token`]),
//! and error responses ([`error`]).

pub mod error;
pub mod proxies;
pub mod token;
