//! Serves the link of an engine: one connection at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Problem;
use super::codec::decode_reply;
use super::connect::{self, Opened};
use super::link::{Link, Request, Wanted};
use super::resp::{Received, RespStream, publish_head};
use super::sources::Script;
use crate::clock::Moment;
use crate::cluster::record::Incarnation;
use crate::cluster::script::{CallId, ScriptReply};
use crate::cluster::{Cluster, Nodes};

/// How many frames are published without a reply at most, and for how long.
const MAX_SILENT: usize = 256;
const MAX_SILENCE: Duration = Duration::from_millis(20);

/// Serves the link of one engine until `stopping` resolves.
pub async fn run(
    cluster: Arc<Cluster>,
    index: usize,
    link: Arc<Link>,
    stopping: impl Future<Output = ()>,
) {
    tokio::select! {
        () = stopping => {}
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
                if is_current(link, wanted) {
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
    let is_first = !link.was_welcome.load(Ordering::Relaxed);
    let inbox = link.inbox(wanted.me);
    let opened = tokio::select! {
        opened = connect::open(&link.target, &inbox, is_first) => opened,
        () = superseded(link, wanted) => return Problem::Superseded,
    };
    let Opened { stream, scripts, may_skip_replies } = match opened {
        Ok(opened) => opened,
        Err(problem) => return problem,
    };
    info!(engine = link.target.host(), "connected to the cluster's engine");
    *logged = None;
    link.is_connected.store(true, Ordering::Relaxed);
    let connection = Connection {
        cluster,
        index,
        link,
        wanted,
        stream,
        keys: link.identity.keys(),
        scripts,
        may_skip_replies,
        publish_heads: FxHashMap::default(),
        expected: VecDeque::new(),
        silent: Vec::new(),
        replied_to: Instant::now(),
    };
    connection.report(|nodes, now| nodes.connected(now, index));
    tokio::select! {
        problem = connection.run() => problem,
        () = superseded(link, wanted) => Problem::Superseded,
    }
}

/// Resolves when the node wants another connection.
async fn superseded(link: &Link, wanted: Wanted) {
    while is_current(link, wanted) {
        link.renewed.notified().await;
    }
}

/// A connection that is open.
struct Connection<'a> {
    cluster: &'a Arc<Cluster>,
    index: usize,
    link: &'a Arc<Link>,
    wanted: Wanted,
    stream: RespStream,
    /// The prefix of all keys.
    keys: String,
    /// The hash of each script.
    scripts: Vec<String>,
    may_skip_replies: bool,
    /// The beginnings of the commands that publish to a node.
    publish_heads: FxHashMap<Incarnation, Vec<u8>>,
    /// The replies that are due, in order.
    expected: VecDeque<Expected>,
    /// Frames that were published since the last command that is replied to.
    silent: Vec<Published>,
    /// When that command was sent.
    replied_to: Instant,
}

/// A frame that was published: the node, and its number on the link.
type Published = (Incarnation, u64);

/// A reply that is due.
struct Expected {
    /// The command.
    to: Question,
    /// Frames that were published before, without a reply of their own: the engine has taken them.
    taken: Vec<Published>,
}

enum Question {
    Call(CallId),
    Publish(Option<Published>),
    Ask(oneshot::Sender<Value>),
}

impl Connection<'_> {
    /// Sends what waits, and reports what is received, until something goes wrong.
    async fn run(mut self) -> Problem {
        loop {
            if let Err(problem) = self.step().await {
                return problem;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Problem> {
        if self.stream.is_sent() {
            self.cluster.flush();
            let batch = self.link.take(self.wanted);
            self.send(batch);
        }
        tokio::select! {
            biased;
            outcome = self.stream.progress() => outcome?,
            () = self.link.wake.notified(), if self.stream.is_sent() => return Ok(()),
        }
        let now = self.cluster.now();
        loop {
            match self.stream.next()? {
                None => return Ok(()),
                Some(Received::Message(message)) => {
                    let (link, wanted, index) = (self.link, self.wanted, self.index);
                    link.count(1, message);
                    self.cluster.report_at(now, |nodes, now| {
                        if is_current(link, wanted) {
                            nodes.received(now, index, message);
                        }
                    });
                }
                Some(Received::Reply(reply)) => self.replied(reply)?,
            }
        }
    }

    fn send(&mut self, batch: Vec<Request>) {
        let Wanted { me, generation, .. } = self.wanted;
        let is_soon = self.may_skip_replies && self.replied_to.elapsed() < MAX_SILENCE;
        for request in batch {
            match request {
                Request::Call { id, script, arguments } => {
                    self.call(script, &arguments, me, generation);
                    self.expect(Question::Call(id));
                }
                Request::Ask { script, arguments, answer } => {
                    self.call(script, &arguments, me, generation);
                    self.expect(Question::Ask(answer));
                }
                Request::Publish { to, number, message } => {
                    self.link.count(0, &message);
                    let published = number.map(|number| (to, number));
                    // A reply would wake this process once more for each signal. The next reply
                    // confirms the frames before it, and must not be far: until then, they are kept.
                    let silent = published.filter(|_| is_soon && self.silent.len() < MAX_SILENT);
                    if silent.is_some() {
                        self.stream.skip_next_reply();
                    }
                    let head = || publish_head(&self.link.inbox(to));
                    let head = self.publish_heads.entry(to).or_insert_with(head);
                    self.stream.publish(head, &message);
                    match silent {
                        Some(published) => self.silent.push(published),
                        None => self.expect(Question::Publish(published)),
                    }
                }
            }
        }
    }

    fn call(&mut self, script: Script, arguments: &[u8], me: Incarnation, generation: u64) {
        let mut digits = itoa::Buffer::new();
        self.stream.command(&[
            b"EVALSHA",
            self.scripts[script as usize].as_bytes(),
            b"1",
            self.keys.as_bytes(),
            &me.0.to_be_bytes(),
            digits.format(generation).as_bytes(),
            arguments,
        ]);
    }

    fn expect(&mut self, to: Question) {
        self.expected.push_back(Expected { to, taken: std::mem::take(&mut self.silent) });
        self.replied_to = Instant::now();
    }

    fn replied(&mut self, reply: Value) -> Result<(), Problem> {
        let Some(Expected { to, taken }) = self.expected.pop_front() else {
            return Err(Problem::Lost("the engine has sent a reply to nothing".to_owned()));
        };
        let index = self.index;
        let report = |call: Option<(CallId, ScriptReply)>, published: Option<Published>| {
            self.report(|nodes, now| {
                for (to, number) in taken.into_iter().chain(published) {
                    nodes.published(now, index, to, number);
                }
                if let Some((id, reply)) = call {
                    nodes.replied(now, index, id, reply);
                }
            });
        };
        match to {
            Question::Call(id) => {
                let reply = decode_reply(reply)?;
                if matches!(reply, ScriptReply::Welcome { .. }) {
                    self.link.was_welcome.store(true, Ordering::Relaxed);
                }
                report(Some((id, reply)), None);
            }
            Question::Publish(published) => {
                if let Value::ServerError(error) = reply {
                    return Err(Problem::Lost(error.to_string()));
                }
                report(None, published);
            }
            Question::Ask(answer) => {
                report(None, None);
                // The caller may have given up.
                _ = answer.send(reply);
            }
        }
        Ok(())
    }

    /// Reports something, unless the node wants another connection.
    fn report(&self, report: impl FnOnce(&mut Nodes, Moment)) {
        let (link, wanted) = (self.link, self.wanted);
        self.cluster.report(|nodes, now| {
            if is_current(link, wanted) {
                report(nodes, now);
            }
        });
    }
}

fn is_current(link: &Link, wanted: Wanted) -> bool {
    link.connection.load(Ordering::SeqCst) == wanted.number
}
