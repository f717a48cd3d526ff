//! Serves the link of an engine: one connection at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value, pipe};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Problem;
use super::codec::decode_reply;
use super::link::{Link, Request, Wanted};
use super::sources::Script;
use crate::cluster::Cluster;
use crate::cluster::record::Incarnation;
use crate::cluster::script::{CallId, ScriptReply};

/// How often a node does what is due.
const TICK: Duration = Duration::from_millis(50);

/// Serves the link of one engine until `stopping` resolves.
pub async fn run(
    cluster: Arc<Cluster>,
    index: usize,
    link: Arc<Link>,
    stopping: impl Future<Output = ()>,
) {
    let ticking = async {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            cluster.tick();
        }
    };
    tokio::select! {
        () = stopping => {}
        () = ticking => {}
        () = supervise(&cluster, index, &link) => {}
    }
}

async fn supervise(cluster: &Arc<Cluster>, index: usize, link: &Arc<Link>) {
    let started = Instant::now();
    let mut logged = None;
    loop {
        let Some(wanted) = link.take_wanted() else {
            link.renewed.notified().await;
            continue;
        };
        let problem = serve(cluster, index, link, wanted, &mut logged).await;
        link.is_connected.store(false, Ordering::Relaxed);
        let is_first = !link.was_welcome.load(Ordering::Relaxed);
        let is_refused = match &problem {
            Problem::Refused(_) => is_first,
            Problem::NameInUse => is_first && started.elapsed() >= link.identity.lease * 2,
            Problem::Lost(_) | Problem::Superseded => false,
        };
        let why = problem.to_string();
        if is_refused {
            // The server that listened for this is gone, if it does not any more.
            _ = link.refused.try_send(format!("{}: {why}", link.target.host()));
            return;
        }
        if !matches!(problem, Problem::Superseded) {
            if logged.as_ref() != Some(&why) {
                warn!(
                    engine = link.target.host(),
                    error = why,
                    "connection to the cluster's engine failed"
                );
                logged = Some(why);
            }
            cluster.report(|nodes, now| {
                if link.connection.load(Ordering::SeqCst) == wanted.number {
                    nodes.disconnected(now, index);
                }
            });
        }
    }
}

/// Opens one connection and serves it until it ends.
async fn serve(
    cluster: &Arc<Cluster>,
    index: usize,
    link: &Arc<Link>,
    wanted: Wanted,
    logged: &mut Option<String>,
) -> Problem {
    let opening = open(cluster, index, link, wanted);
    let opened = tokio::select! {
        opened = opening => opened,
        () = superseded(link, wanted) => return Problem::Superseded,
    };
    let (connection, scripts, closed) = match opened {
        Ok(opened) => opened,
        Err(problem) => return problem,
    };
    info!(engine = link.target.host(), "connected to the cluster's engine");
    *logged = None;
    link.is_connected.store(true, Ordering::Relaxed);
    cluster.report(|nodes, now| {
        if link.connection.load(Ordering::SeqCst) == wanted.number {
            nodes.connected(now, index);
        }
    });
    let writing = Writer { cluster, index, link, wanted, connection, scripts };
    tokio::select! {
        problem = writing.write() => problem,
        () = superseded(link, wanted) => Problem::Superseded,
        () = closed.notified() => Problem::Lost("the engine closed the connection".to_owned()),
    }
}

/// Resolves when the node wants another connection.
async fn superseded(link: &Link, wanted: Wanted) {
    while link.connection.load(Ordering::SeqCst) == wanted.number {
        link.renewed.notified().await;
    }
}

type Opened = (MultiplexedConnection, Vec<String>, Arc<Notify>);

async fn open(
    cluster: &Arc<Cluster>,
    index: usize,
    link: &Arc<Link>,
    wanted: Wanted,
) -> Result<Opened, Problem> {
    let closed = Arc::new(Notify::new());
    let receive = {
        let (cluster, link, closed) = (Arc::clone(cluster), Arc::clone(link), Arc::clone(&closed));
        move |push: PushInfo| {
            match push.kind {
                PushKind::Message => {
                    if let Some(Value::BulkString(message)) = push.data.get(1) {
                        link.count(1, message);
                        cluster.report(|nodes, now| {
                            if link.connection.load(Ordering::SeqCst) == wanted.number {
                                nodes.received(now, index, message);
                            }
                        });
                    }
                }
                PushKind::Disconnection => closed.notify_one(),
                _ => {}
            }
            Ok::<(), ()>(())
        }
    };
    let is_first = !link.was_welcome.load(Ordering::Relaxed);
    let mut connection = link.target.open(receive, is_first).await?;
    connection.subscribe(link.inbox(wanted.me)).await?;
    let scripts = load_scripts(&mut connection).await?;
    Ok((connection, scripts, closed))
}

/// Loads all scripts, which a restart and a failover forget, in one round trip. Returns the hash of
/// each.
pub(super) async fn load_scripts(
    connection: &mut MultiplexedConnection,
) -> Result<Vec<String>, Problem> {
    let mut pipeline = pipe();
    for (_, source) in Script::ALL {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(source);
    }
    Ok(pipeline.query_async(connection).await?)
}

/// A connection that is open.
struct Writer<'a> {
    cluster: &'a Arc<Cluster>,
    index: usize,
    link: &'a Arc<Link>,
    wanted: Wanted,
    connection: MultiplexedConnection,
    scripts: Vec<String>,
}

impl Writer<'_> {
    /// Writes what waits, and reports the replies, until something goes wrong.
    async fn write(mut self) -> Problem {
        loop {
            self.cluster.flush();
            let batch = self.link.take(self.wanted);
            if batch.is_empty() {
                self.link.wake.notified().await;
                continue;
            }
            if let Err(problem) = self.write_batch(batch).await {
                return problem;
            }
        }
    }

    async fn write_batch(&mut self, batch: Vec<Request>) -> Result<(), Problem> {
        let mut pipeline = pipe();
        let keys = self.link.identity.keys();
        for request in &batch {
            match request {
                Request::Call { script, arguments, .. }
                | Request::Ask { script, arguments, .. } => {
                    let Wanted { me, generation, .. } = self.wanted;
                    pipeline.cmd("EVALSHA").arg(&self.scripts[*script as usize]).arg(1).arg(&keys);
                    pipeline.arg(&me.0.to_be_bytes()[..]).arg(generation).arg(&arguments[..]);
                }
                Request::Publish { to, message, .. } => {
                    self.link.count(0, message);
                    pipeline.cmd("PUBLISH").arg(self.link.inbox(*to)).arg(&message[..]);
                }
            }
        }
        let replies = self.connection.send_packed_commands(&pipeline, 0, batch.len()).await?;
        let (cluster, index, link, wanted) = (self.cluster, self.index, self.link, self.wanted);
        let mut reports = Vec::with_capacity(batch.len());
        for (request, reply) in batch.into_iter().zip(replies) {
            match request {
                Request::Call { id, .. } => {
                    let reply = decode_reply(reply)?;
                    if matches!(reply, ScriptReply::Welcome { .. }) {
                        link.was_welcome.store(true, Ordering::Relaxed);
                    }
                    reports.push(Report::Reply(id, reply));
                }
                Request::Publish { to, number, .. } => {
                    if let Value::ServerError(error) = reply {
                        return Err(Problem::Lost(error.to_string()));
                    }
                    reports.extend(number.map(|number| Report::Published(to, number)));
                }
                // The caller may have given up.
                Request::Ask { answer, .. } => _ = answer.send(reply),
            }
        }
        cluster.report(|nodes, now| {
            for report in reports {
                if link.connection.load(Ordering::SeqCst) != wanted.number {
                    return;
                }
                match report {
                    Report::Reply(id, reply) => nodes.replied(now, index, id, reply),
                    Report::Published(to, number) => nodes.published(now, index, to, number),
                }
            }
        });
        Ok(())
    }
}

enum Report {
    Reply(CallId, ScriptReply),
    Published(Incarnation, u64),
}
