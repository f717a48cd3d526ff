//! A server on a free port that must have no state at the end of a test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parlor::config;
pub(crate) use parlor::server::Held;
use parlor::server::Server;
use parlor::timeouts::Timeouts;
use rustls::ClientConfig;
use rustls::version::TLS13;
use tokio_tungstenite::Connector;

use super::tls::{Authority, Identity};

/// Time limit of every wait.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Time limits that end a connection within a few seconds, long enough for a busy machine: a sender
/// waits a second for a queue that is half full.
pub(crate) fn short() -> Timeouts {
    Timeouts {
        write_stall: Duration::from_secs(4),
        queue_full: Duration::from_secs(4),
        flood: Duration::from_secs(3),
        last_poll: Duration::from_secs(1),
        ..Timeouts::default()
    }
}

pub(crate) struct TestServer {
    server: Option<Server>,
    address: std::net::SocketAddr,
    /// Certificate that its clients trust, if it serves TLS.
    trusted: Option<Arc<ClientConfig>>,
}

/// Most tests cover the documented events of Socket.IO, not the additional ones of the profile
/// `standard`.
pub(crate) const DOCUMENTED_EVENTS: &str = concat!(
    "--socketio-profiles=",
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/socketio/documented.toml"
);

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with additional flags. Sessions cannot be resumed unless a flag allows it.
    pub(crate) fn with(flags: &[&str]) -> Self {
        Self::within(&Timeouts::default(), flags)
    }

    /// Starts a server with time limits of the test.
    pub(crate) fn within(timeouts: &Timeouts, flags: &[&str]) -> Self {
        let own = ["--host=127.0.0.1", "--port=0", "--resume-seconds=0", DOCUMENTED_EVENTS];
        let flags = own.iter().chain(flags).map(Into::into);
        let loaded = config::load_from(flags, BTreeMap::new(), BTreeMap::new())
            .expect("the settings are valid");
        let server = Server::start(loaded.config, None, *timeouts).expect("a free port");
        Self { address: server.local_addr(), server: Some(server), trusted: None }
    }

    /// Starts a TLS server; all its clients use TLS.
    pub(crate) fn secure(authority: &Authority, identity: &Identity, flags: &[&str]) -> Self {
        Self::secure_within(&Timeouts::default(), authority, identity, flags)
    }

    /// Starts a TLS server with time limits of the test.
    pub(crate) fn secure_within(
        timeouts: &Timeouts,
        authority: &Authority,
        identity: &Identity,
        flags: &[&str],
    ) -> Self {
        let files = identity.flags();
        let flags: Vec<&str> =
            files.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let mut server = Self::within(timeouts, &flags);
        server.trusted = Some(Arc::new(authority.client(&[&TLS13])));
        server
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.trusted.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    pub(crate) fn connector(&self) -> Option<Connector> {
        self.trusted.clone().map(Connector::Rustls)
    }

    pub(crate) fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.server.as_ref().expect("the server runs until the test is done").metrics_addr()
    }

    pub(crate) fn hub(&self) -> &Arc<parlor::session::Hub> {
        self.server.as_ref().expect("the server runs until the test is done").hub()
    }

    pub(crate) fn held(&self) -> Held {
        self.server.as_ref().expect("the server runs until the test is done").held()
    }

    /// Waits until the server holds what is expected.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(Held) -> bool) {
        let waiting = async {
            while !is_so(self.held()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, waiting).await.is_ok();
        assert!(in_time, "{what}: not in time, the server holds {:?}", self.held());
    }

    /// Shuts the server down with its connections; returns whether no state was left.
    pub(crate) async fn stop(mut self) -> bool {
        self.server.take().expect("stopped once").shutdown().await
    }

    /// Asserts, after all clients have disconnected, that the server holds no state for them.
    pub(crate) async fn finish(mut self) {
        self.until("nothing is left", |held| held == Held::NOTHING).await;
        let server = self.server.take().expect("finished once");
        assert!(server.shutdown().await, "every task ends within the limit of a shutdown");
    }
}

impl From<&TestServer> for std::net::SocketAddr {
    fn from(server: &TestServer) -> Self {
        server.address()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        assert!(self.server.is_none() || std::thread::panicking(), "a test ends with `finish`");
    }
}
