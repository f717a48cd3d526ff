//! Opens a connection to an engine, and checks that it is one that can be used.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value, from_redis_value_ref, pipe};
use tokio::time::timeout;
use tracing::warn;

use super::lent::Lent;
use super::resp::RespStream;
use super::sources::Script;
use super::{EngineTarget, Problem};

/// How long an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection that receives what is published to an inbox, on which no reply is due.
pub(super) struct Opened {
    pub(super) stream: RespStream,
    /// The hash of each script.
    pub(super) scripts: Vec<String>,
    /// Whether the engine permits `CLIENT REPLY`.
    pub(super) may_skip_replies: bool,
}

/// Opens a connection to an engine. The library authenticates on it, and asks the engine what it is.
pub(super) async fn open(
    target: &EngineTarget,
    inbox: &str,
    is_first: bool,
) -> Result<Opened, Problem> {
    let info = target.find().await?;
    let unanswered = |_| Problem::Lost("the engine does not answer".to_owned());
    let stream = timeout(CONNECT, target.connect(info.addr())).await.map_err(unanswered)??;
    let lent = Lent::new(stream);
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let settings = info.redis_settings();
    let greeting = MultiplexedConnection::new_with_config(settings, lent.clone(), config);
    let (connection, driver) = timeout(CONNECT, greeting).await.map_err(unanswered)??;
    // From here on, an engine that does not answer is noticed by the beats of the node.
    let closed = || Problem::from(io::Error::from(ErrorKind::UnexpectedEof));
    let (scripts, may_skip_replies) = tokio::select! {
        asked = ask(target, connection, is_first) => asked?,
        () = driver => return Err(closed()),
    };
    let stream = lent.reclaim().ok_or_else(closed)?;
    let stream = RespStream::subscribe(stream, inbox).await?;
    Ok(Opened { stream, scripts, may_skip_replies })
}

/// Checks what the engine is, and loads all scripts, which a restart and a failover forget.
/// Returns the hash of each, and whether the engine lets replies be skipped.
async fn ask(
    target: &EngineTarget,
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
        return Err(Problem::Lost("the engine is a replica, which takes no changes".to_owned()));
    }
    if let [info, policy] = rest {
        check(target.host(), info, policy)?;
    }
    let may_skip_replies = *reply == Value::Okay && pushes_while_skipping(server);
    Ok((load_scripts(&mut connection).await?, may_skip_replies))
}

/// Refuses an engine that cannot serve a cluster, and warns of settings that lose data. Some
/// managed engines forbid both questions.
fn check(engine: &str, info: &Value, policy: &Value) -> Result<(), Problem> {
    let info: Result<String, _> = from_redis_value_ref(info);
    if info.is_ok_and(|info| info.contains("cluster_enabled:1")) {
        let why = "the engine is in Redis Cluster mode, which is not supported: use several independent instances";
        return Err(Problem::Refused(why.to_owned()));
    }
    let policy: Result<HashMap<String, String>, _> = from_redis_value_ref(policy);
    let policy = policy.ok().and_then(|pair| pair.into_values().next());
    if let Some(policy) = policy.filter(|policy| policy != "noeviction") {
        warn!(
            engine,
            policy, "maxmemory-policy of the cluster's engine is not noeviction: rooms may be lost"
        );
    }
    Ok(())
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
