//! What the routes and the transports ask of an HTTP request: the client's address ([`proxies`]), its token ([`token`]), and
//! the one form in which requests are refused ([`error`]).

pub mod error;
pub mod proxies;
pub mod token;
