//! The proof: the recorded clients are played against a Parlor in this process, and what they
//! receive is compared with what they received from the recorded server.

mod compare;
mod player;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use self::compare::{Ids, are_alike, translate};
use self::player::Player;
use super::infer::{Description, description};
use super::trace::{Entry, Message, Trace, What};
use crate::config;
use crate::server::{Server, StartError};

/// After how many events each client reads what is queued for it, so that no queue overflows.
const DRAIN_INTERVAL: usize = 24;

/// Maximum size of a message in the played Parlor, above that of recorded events.
const MAX_MESSAGE_BYTES: &str = "1048576";

/// An error that prevents a proof.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProofError {
    /// The settings are not valid.
    #[error("{0}")]
    Settings(String),
    /// Parlor does not start, as with an invalid profile.
    #[error("{}", with_sources(.0))]
    Start(#[from] StartError),
    /// A client cannot be played.
    #[error("client {client} cannot be played: {source}")]
    Played {
        /// The number of the client, from 1.
        client: usize,
        /// The cause.
        source: io::Error,
    },
}

fn with_sources(error: &StartError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The result of a play.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Proof {
    /// Number of events and acknowledgements of the recorded server.
    pub(super) expected: usize,
    pub(super) reproduced: usize,
    /// By event: how many are missing, and the arguments of the first.
    pub(super) missing: BTreeMap<String, (usize, Value)>,
    /// Refused requests, with the code of the refusal.
    pub(super) refused: BTreeSet<(String, String)>,
    /// Events that the recorded server did not send, or not as often.
    pub(super) surplus: BTreeSet<String>,
    /// Number of surplus events whose names the recorded server sends, too.
    repeated: usize,
    /// Number of offers and answers that were delivered, and of those that should have been.
    descriptions: (usize, usize),
}

impl Proof {
    /// Returns whether the play reproduced no less than another, and repeated no more. Events of
    /// names that the recorded server never sends do not count: its pages do not listen to them.
    pub(super) fn is_as_good_as(&self, other: &Self) -> bool {
        let score =
            |proof: &Self| (proof.connects(), proof.reproduced.saturating_sub(proof.repeated));
        score(self) >= score(other) && self.refused.len() <= other.refused.len()
    }

    /// Returns whether every offer and answer was delivered.
    pub(super) fn connects(&self) -> bool {
        self.descriptions.1 > 1 && self.descriptions.0 == self.descriptions.1
    }
}

/// An event that one client should receive, or an acknowledgement.
struct Expected {
    message: Message,
    is_acknowledgement: bool,
}

/// Plays the clients of a trace against a Parlor with these settings.
pub(super) async fn prove(trace: &Trace, settings: &[String]) -> Result<Proof, ProofError> {
    let fixed = [
        "--host=127.0.0.1",
        "--port=0",
        "--sfu=off",
        "--demo=false",
        "--client-url=*",
        "--messages-per-second=0",
        "--max-room-size=1000",
        "--send-queue=1024",
        "--max-message-bytes",
        MAX_MESSAGE_BYTES,
    ];
    let flags = fixed.iter().map(Into::into).chain(settings.iter().map(Into::into));
    let loaded = config::load_from(flags, BTreeMap::new(), BTreeMap::new())
        .map_err(|invalid| ProofError::Settings(invalid.message))?;
    let server = Server::bind(loaded.config)?;
    let played = Play::new(trace, server.local_addr()).run().await;
    server.shutdown().await;
    played
}

struct Play<'t> {
    trace: &'t Trace,
    address: SocketAddr,
    players: Vec<Option<Player>>,
    ids: Ids,
    expected: Vec<Vec<Expected>>,
    actual: Vec<Vec<Message>>,
    proof: Proof,
}

impl<'t> Play<'t> {
    fn new(trace: &'t Trace, address: SocketAddr) -> Self {
        let lists = || 0..trace.clients.len();
        Self {
            trace,
            address,
            players: lists().map(|_| None).collect(),
            ids: Ids::new(),
            expected: lists().map(|_| Vec::new()).collect(),
            actual: lists().map(|_| Vec::new()).collect(),
            proof: Proof::default(),
        }
    }

    async fn run(mut self) -> Result<Proof, ProofError> {
        let mut pending: BTreeMap<(usize, u64), &str> = BTreeMap::new();
        let mut sent = 0;
        // The trace no longer contains the effects of the last disconnections.
        let is_event = |entry: &Entry| !matches!(entry.what, What::Connected | What::Disconnected);
        let end = self.trace.entries.iter().rposition(is_event).map_or(0, |last| last + 1);
        for entry in &self.trace.entries[..end] {
            let client = entry.client;
            match &entry.what {
                What::Connected => self.connect(client).await?,
                What::Disconnected => self.close(client).await?,
                What::Sent(message) => {
                    if let Some(ack) = message.ack {
                        pending.insert((client, ack), &message.event);
                    }
                    self.emit(client, message).await?;
                    sent += 1;
                    if sent % DRAIN_INTERVAL == 0 {
                        self.drain().await?;
                    }
                }
                What::Received(message) => {
                    self.expected[client]
                        .push(Expected { message: message.clone(), is_acknowledgement: false });
                }
                What::Acknowledged { ack, args } => {
                    let Some(event) = pending.remove(&(client, *ack)) else { continue };
                    let message = Message {
                        event: event.to_owned(),
                        args: args.clone(),
                        ..Message::default()
                    };
                    self.expected[client].push(Expected { message, is_acknowledgement: true });
                }
            }
        }
        self.drain().await?;
        for client in 0..self.players.len() {
            if let Some(player) = &mut self.players[client] {
                self.actual[client].append(&mut player.received);
            }
            self.players[client] = None;
        }
        self.compare();
        Ok(self.proof)
    }

    async fn connect(&mut self, client: usize) -> Result<(), ProofError> {
        let recorded = &self.trace.clients[client];
        let player = Player::connect(self.address, recorded).await;
        let player = player.map_err(|source| ProofError::Played { client: client + 1, source })?;
        self.ids.insert(recorded.id.clone(), player.id.clone());
        self.players[client] = Some(player);
        Ok(())
    }

    async fn emit(&mut self, client: usize, message: &Message) -> Result<(), ProofError> {
        let args = message.args.iter().map(|arg| translate(arg, &self.ids)).collect();
        let message = Message { args, ..message.clone() };
        let Some(player) = &mut self.players[client] else { return Ok(()) };
        let answer = player
            .emit(&message)
            .await
            .map_err(|source| ProofError::Played { client: client + 1, source })?;
        // A client of Engine.IO 3 learns the id that others know from the acknowledgement of its
        // join.
        self.ids.insert(self.trace.clients[client].id.clone(), player.id.clone());
        let code = answer.first().and_then(|answer| answer.get("code")?.as_str());
        if let Some(code) = code {
            self.proof.refused.insert((message.event.clone(), code.to_owned()));
        }
        if message.ack.is_some() {
            // Acknowledgements are compared under a name that no event has.
            let event = acknowledgement(&message.event);
            self.actual[client].push(Message { event, args: answer, ..Message::default() });
        }
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), ProofError> {
        for (client, player) in self.players.iter_mut().enumerate() {
            if let Some(player) = player {
                player
                    .drain()
                    .await
                    .map_err(|source| ProofError::Played { client: client + 1, source })?;
            }
        }
        Ok(())
    }

    async fn close(&mut self, client: usize) -> Result<(), ProofError> {
        if let Some(player) = self.players[client].take() {
            let received = player
                .close()
                .await
                .map_err(|source| ProofError::Played { client: client + 1, source })?;
            self.actual[client].extend(received);
        }
        Ok(())
    }

    /// Finds for each expected event one that Parlor sent.
    fn compare(&mut self) {
        let names: BTreeSet<&str> =
            self.trace.received().map(|(_, _, message)| message.event.as_str()).collect();
        for (expected, actual) in self.expected.iter().zip(&mut self.actual) {
            for Expected { message, is_acknowledgement } in expected {
                let event = if *is_acknowledgement {
                    acknowledgement(&message.event)
                } else {
                    message.event.clone()
                };
                let args: Vec<Value> =
                    message.args.iter().map(|arg| translate(arg, &self.ids)).collect();
                let is_it =
                    |actual: &Message| actual.event == event && are_alike(&args, &actual.args);
                let found = actual.iter().position(is_it);
                let is_description = matches!(
                    description(&message.args),
                    Some(Description::Offer | Description::Answer)
                );
                self.proof.expected += 1;
                self.proof.descriptions.1 += usize::from(is_description);
                if let Some(found) = found {
                    actual.remove(found);
                    self.proof.reproduced += 1;
                    self.proof.descriptions.0 += usize::from(is_description);
                } else {
                    // Not as expected, but not too many either.
                    if let Some(similar) = actual.iter().position(|actual| actual.event == event) {
                        actual.remove(similar);
                    }
                    let (count, _) = self
                        .proof
                        .missing
                        .entry(event)
                        .or_insert_with(|| (0, Value::from(message.args.clone())));
                    *count += 1;
                }
            }
            // Offsets are events whose name is the offset.
            let is_offset = |event: &str| {
                event.split_once('-').is_some_and(|(tag, number)| {
                    tag.len() == 6
                        && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
                        && number.parse::<u64>().is_ok()
                })
            };
            let surplus = actual.iter().filter(|message| {
                !is_offset(&message.event) && !message.event.starts_with(ACKNOWLEDGEMENT)
            });
            for message in surplus {
                self.proof.repeated += usize::from(names.contains(message.event.as_str()));
                self.proof.surplus.insert(message.event.clone());
            }
        }
    }
}

const ACKNOWLEDGEMENT: &str = "acknowledgement of ";

fn acknowledgement(event: &str) -> String {
    format!("{ACKNOWLEDGEMENT}{event}")
}
