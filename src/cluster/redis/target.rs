//! Finds an engine by its URL: at an address, or through the sentinels that know it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, TlsCertificates, cmd,
};

use super::Problem;
use crate::tls::{self, Connection, Connector};

const SENTINEL: &str = "redis+sentinel://";

/// Address of an engine.
#[derive(Clone)]
pub struct EngineTarget {
    /// The engine, or the sentinels that know it.
    hosts: Vec<ConnectionInfo>,
    /// Name of the engine as the sentinels know it.
    group: Option<String>,
    /// PEM of the authority that signed the engine's certificate.
    authority: Option<Vec<u8>>,
    /// For an engine with TLS.
    connector: Option<Connector>,
    /// Without user and password.
    name: String,
}

/// Why an engine cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL names no engine.
    #[error("not a URL of an engine: {0}")]
    Url(String),
    /// The authority's certificate cannot be read.
    #[error(transparent)]
    Authority(io::Error),
}

impl EngineTarget {
    /// Reads the URL of an engine. With TLS, the engine's certificate is verified by the
    /// authorities of a PEM file, or else by those that the system trusts.
    pub fn new(url: &str, authority: Option<Vec<u8>>) -> Result<Self, TargetError> {
        let read = |url: &str| {
            let info = url.into_connection_info();
            let info = info.map_err(|error| TargetError::Url(error.to_string()))?;
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            Ok::<_, TargetError>(info.set_redis_settings(settings))
        };
        let Some(sentinel) = url.strip_prefix(SENTINEL) else {
            let host = read(url)?;
            let name = host.addr().to_string();
            let connector = match host.addr() {
                ConnectionAddr::TcpTls { .. } => Some(
                    tls::authority_connector(authority.as_deref())
                        .map_err(TargetError::Authority)?,
                ),
                _ => None,
            };
            return Ok(Self { hosts: vec![host], group: None, authority, connector, name });
        };
        let (hosts, group) = sentinel
            .rsplit_once('/')
            .ok_or_else(|| TargetError::Url("the name of the group is missing".into()))?;
        let (user, hosts) =
            hosts.rsplit_once('@').map_or(("", hosts), |(user, hosts)| (user, hosts));
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let hosts = hosts.split(',').map(|host| read(&format!("redis://{user}{}", host.trim())));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            hosts,
            group: Some(group.to_owned()),
            authority,
            connector: None,
            name: format!("sentinel/{group}"),
        })
    }

    /// Returns the name for logs, without user and password.
    pub fn host(&self) -> &str {
        &self.name
    }

    /// Returns an address of the engine, or of a sentinel, as far as it can be resolved now.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.hosts.first()?.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host.as_str(), *port).to_socket_addrs().ok()?.next()
            }
            _ => None,
        }
    }

    fn client(&self, info: ConnectionInfo) -> Result<Client, Problem> {
        let client = match &self.authority {
            Some(root_cert) => Client::build_with_tls(
                info,
                TlsCertificates { client_tls: None, root_cert: Some(root_cert.clone()) },
            ),
            None => Client::open(info),
        };
        client.map_err(Problem::from)
    }

    /// Looks up the engine for each connection.
    pub(super) async fn find(&self) -> Result<ConnectionInfo, Problem> {
        let Some(group) = &self.group else { return Ok(self.hosts[0].clone()) };
        let mut last = Problem::Lost("no sentinel knows the engine".to_owned());
        for sentinel in &self.hosts {
            match self.ask_sentinel(sentinel.clone(), group).await {
                Ok(url) => {
                    let info = url.as_str().into_connection_info()?;
                    return Ok(info.set_redis_settings(sentinel.redis_settings().clone()));
                }
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    async fn ask_sentinel(&self, sentinel: ConnectionInfo, group: &str) -> Result<String, Problem> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(Duration::from_secs(1)));
        // Sentinels have no users of their own.
        let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let client = self.client(sentinel.set_redis_settings(settings))?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let asked = cmd("SENTINEL")
            .arg("get-master-addr-by-name")
            .arg(group)
            .query_async(&mut connection)
            .await?;
        let address: Option<(String, u16)> = asked;
        let (host, port) =
            address.ok_or_else(|| Problem::Lost(format!("the sentinel does not know {group}")))?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(format!("redis://{host}:{port}"))
    }

    /// Opens a connection for commands that are sent one by one.
    pub(super) async fn open_simple(&self) -> Result<MultiplexedConnection, Problem> {
        let client = self.client(self.find().await?)?;
        Ok(client.get_multiplexed_async_connection().await?)
    }

    /// Connects to an address of the engine.
    pub(super) async fn connect(
        &self,
        address: &ConnectionAddr,
    ) -> Result<Box<dyn Connection>, Problem> {
        let (host, port, connector) = match address {
            ConnectionAddr::Tcp(host, port) => (host, port, None),
            ConnectionAddr::TcpTls { host, port, .. } => (host, port, self.connector.as_ref()),
            _ => return Err(Problem::Refused("not an address of an engine".to_owned())),
        };
        Ok(tls::open(host, *port, connector).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str, authority: Option<&[u8]>) -> String {
        let target = EngineTarget::new(url, authority.map(<[u8]>::to_vec));
        target.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn certificates_of_the_authority_are_read_at_once() {
        let none = "the file holds no certificate in PEM form";
        assert_eq!(error("rediss://engine.example", Some(b"not PEM")), none);
        assert_eq!(error("rediss://engine.example", None), "");
        assert_eq!(error("redis://engine.example", Some(b"not PEM")), "", "it is not needed");
    }

    #[test]
    fn url_that_names_no_engine_is_refused() {
        assert!(error("http://engine.example", None).starts_with("not a URL of an engine: "));
        let without_group = error("redis+sentinel://one:26379,two", None);
        assert_eq!(without_group, "not a URL of an engine: the name of the group is missing");
    }
}
