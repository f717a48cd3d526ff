//! Opens a connection to an engine, and checks that it is one that can be used.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, TlsCertificates, Value, cmd, from_redis_value_ref, pipe,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tracing::warn;

use super::Problem;
use super::sources::Script;
use crate::tls::{self, Connection};

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

/// A connection that the engine has accepted, on which no reply is due.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Connection>,
    /// The hash of each script.
    pub(super) scripts: Vec<String>,
    /// Whether the engine permits `CLIENT REPLY`.
    pub(super) may_skip_replies: bool,
}

/// A connection that the library has until it is reclaimed. The library has read no more than the
/// replies to its commands then, since nothing else arrives without a subscription.
#[derive(Clone)]
struct Lent(Arc<Mutex<Option<Box<dyn Connection>>>>);

impl Lent {
    fn reclaim(&self) -> Option<Box<dyn Connection>> {
        self.0.lock().take()
    }

    fn poll<T>(
        &self,
        poll: impl FnOnce(Pin<&mut dyn Connection>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.0.lock() {
            Some(stream) => poll(Pin::new(&mut **stream)),
            None => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(context))
    }
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

    /// Opens a connection for commands that are sent one by one.
    pub(super) async fn open_simple(&self) -> Result<MultiplexedConnection, Problem> {
        let client = self.client(self.find().await?)?;
        Ok(client.get_multiplexed_async_connection().await?)
    }

    /// Opens a connection. The library authenticates on it, and asks the engine what it is.
    pub(super) async fn open(&self, is_first: bool) -> Result<Opened, Problem> {
        let info = self.find().await?;
        let unanswered = |_| Problem::Lost("the engine does not answer".to_owned());
        let stream = timeout(CONNECT, self.connect(info.addr())).await.map_err(unanswered)??;
        let lent = Lent(Arc::new(Mutex::new(Some(stream))));
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let settings = info.redis_settings();
        let greeting = MultiplexedConnection::new_with_config(settings, lent.clone(), config);
        let (connection, driver) = timeout(CONNECT, greeting).await.map_err(unanswered)??;
        // From here on, an engine that does not answer is noticed by the beats of the node.
        let closed = || Problem::from(io::Error::from(ErrorKind::UnexpectedEof));
        let (scripts, may_skip_replies) = tokio::select! {
            asked = self.ask(connection, is_first) => asked?,
            () = driver => return Err(closed()),
        };
        let stream = lent.reclaim().ok_or_else(closed)?;
        Ok(Opened { stream, scripts, may_skip_replies })
    }

    async fn connect(&self, address: &ConnectionAddr) -> Result<Box<dyn Connection>, Problem> {
        Ok(match address {
            ConnectionAddr::Tcp(host, port) => tls::open(host, *port, None).await?,
            ConnectionAddr::TcpTls { host, port, .. } => {
                let connector = tls::authority_connector(self.authority.as_deref())?;
                tls::open(host, *port, Some(&connector)).await?
            }
            _ => return Err(Problem::Refused("not an address of an engine".to_owned())),
        })
    }

    /// Checks what the engine is, and loads all scripts, which a restart and a failover forget.
    /// Returns the hash of each, and whether the engine lets replies be skipped.
    async fn ask(
        &self,
        mut connection: MultiplexedConnection,
        is_first: bool,
    ) -> Result<(Vec<String>, bool), Problem> {
        // In one round trip, which a slow network makes long.
        let mut questions = pipe();
        questions.cmd("ROLE");
        questions.cmd("CLIENT").arg("REPLY").arg("ON");
        questions.cmd("INFO").arg("server");
        if is_first {
            questions.cmd("INFO").arg("cluster");
            questions.cmd("CONFIG").arg("GET").arg("maxmemory-policy");
        }
        let count = questions.len();
        let answers = connection.send_packed_commands(&questions, 0, count).await?;
        let [role, reply, server, rest @ ..] = &answers[..] else {
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
        let may_skip_replies = *reply == Value::Okay && pushes_while_skipping(server);
        Ok((load_scripts(&mut connection).await?, may_skip_replies))
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

/// Loads all scripts in one round trip. Returns the hash of each.
pub(super) async fn load_scripts(
    connection: &mut MultiplexedConnection,
) -> Result<Vec<String>, Problem> {
    let mut pipeline = pipe();
    for (_, source) in Script::ALL {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(source);
    }
    Ok(pipeline.query_async(connection).await?)
}

/// Returns whether an engine sends messages also while it leaves out a reply, which those before
/// 6.2.12 and 7.0.10 do not (redis/redis#11875).
fn pushes_while_skipping(info: &Value) -> bool {
    let Ok(info) = from_redis_value_ref::<String>(info) else { return false };
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    let Some(version) = version else { return false };
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let version: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    match version {
        [6, ..] => version >= [6, 2, 12],
        _ => version >= [7, 0, 10],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_skipped_only_where_messages_are_not() {
        let of = |version: &str| {
            let info = format!("# Server\r\nredis_version:{version}\r\nos:Linux\r\n");
            pushes_while_skipping(&Value::BulkString(info.into_bytes()))
        };
        for fixed in ["6.2.12", "6.2.21", "7.0.10", "7.0.15", "7.2.4", "8.0.0", "10.0"] {
            assert!(of(fixed), "{fixed}");
        }
        for earlier in ["6.2.11", "6.2.6", "7.0.9", "7.0.0", "5.0.14", "unknown"] {
            assert!(!of(earlier), "{earlier}");
        }
        let forbidden = redis::parse_redis_value(b"-NOPERM no\r\n").unwrap();
        assert!(!pushes_while_skipping(&forbidden));
    }
}
