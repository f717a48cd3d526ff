//! Opens a connection to an engine, and checks that it is one that can be used.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, TlsCertificates, Value, cmd, from_redis_value_ref, pipe,
};
use tracing::warn;

use super::Problem;

/// How long an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Address of an engine.
#[derive(Debug, Clone)]
pub struct EngineTarget {
    /// The engine, or the sentinels that know it.
    hosts: Vec<ConnectionInfo>,
    /// Name of the engine as the sentinels know it.
    group: Option<String>,
    /// PEM of the authority that signed the engine's certificate.
    authority: Option<Vec<u8>>,
    /// Without user and password.
    name: String,
}

/// A URL that names no engine.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not a URL of an engine: {0}")]
pub struct BadUrl(String);

const SENTINEL: &str = "redis+sentinel://";

impl EngineTarget {
    /// Reads the URL of an engine.
    pub fn new(url: &str, authority: Option<Vec<u8>>) -> Result<Self, BadUrl> {
        let read = |url: &str| {
            let info = url.into_connection_info().map_err(|error| BadUrl(error.to_string()))?;
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            Ok::<_, BadUrl>(info.set_redis_settings(settings))
        };
        let Some(sentinel) = url.strip_prefix(SENTINEL) else {
            let host = read(url)?;
            let name = host.addr().to_string();
            return Ok(Self { hosts: vec![host], group: None, authority, name });
        };
        let (hosts, group) = sentinel
            .rsplit_once('/')
            .ok_or_else(|| BadUrl("the name of the group is missing".into()))?;
        let (user, hosts) =
            hosts.rsplit_once('@').map_or(("", hosts), |(user, hosts)| (user, hosts));
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let hosts = hosts.split(',').map(|host| read(&format!("redis://{user}{}", host.trim())));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            hosts,
            group: Some(group.to_owned()),
            authority,
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
    async fn find(&self) -> Result<ConnectionInfo, Problem> {
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
        let settings = redis::RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
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

    /// Opens a connection whose messages go to `receive`.
    pub(super) async fn open(
        &self,
        receive: impl AsyncPushSender,
        is_first: bool,
    ) -> Result<MultiplexedConnection, Problem> {
        let client = self.client(self.find().await?)?;
        // An engine that does not answer is noticed by the beats of the node.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_push_sender(receive);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        // In one round trip, which a slow network makes long.
        let mut questions = pipe();
        questions.cmd("ROLE");
        if is_first {
            questions.cmd("INFO").arg("cluster");
            questions.cmd("CONFIG").arg("GET").arg("maxmemory-policy");
        }
        let count = questions.len();
        let answers = connection.send_packed_commands(&questions, 0, count).await?;
        let [role, rest @ ..] = &answers[..] else {
            return Err(Problem::Lost("the engine did not say its role".to_owned()));
        };
        if !is_master(role)? {
            return Err(Problem::Lost(
                "the engine is a replica, which takes no changes".to_owned(),
            ));
        }
        if let [info, policy] = rest {
            self.check(info, policy)?;
        }
        Ok(connection)
    }

    /// Refuses an engine that cannot serve a cluster, and warns of settings that lose data. Some
    /// managed engines forbid both questions.
    fn check(&self, info: &Value, policy: &Value) -> Result<(), Problem> {
        let info: Result<String, _> = from_redis_value_ref(info);
        if info.is_ok_and(|info| info.contains("cluster_enabled:1")) {
            let why = "the engine is in Redis Cluster mode, which is not supported: use several independent instances";
            return Err(Problem::Refused(why.to_owned()));
        }
        let policy: Result<HashMap<String, String>, _> = from_redis_value_ref(policy);
        let policy = policy.ok().and_then(|pair| pair.into_values().next());
        if let Some(policy) = policy.filter(|policy| policy != "noeviction") {
            let engine = self.host();
            warn!(
                engine,
                policy,
                "maxmemory-policy of the cluster's engine is not noeviction: rooms may be lost"
            );
        }
        Ok(())
    }
}

/// Reads the answer to ROLE.
fn is_master(role: &Value) -> Result<bool, Problem> {
    match role {
        Value::Array(parts) => Ok(match parts.first() {
            Some(Value::BulkString(role)) => role == b"master",
            Some(Value::SimpleString(role)) => role == "master",
            _ => false,
        }),
        Value::ServerError(error) => Err(Problem::Lost(error.to_string())),
        _ => Ok(false),
    }
}
