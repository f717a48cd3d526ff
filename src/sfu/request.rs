//! What is asked of the media server, what it answers, and what it tells unasked.

use std::sync::Arc;

use super::id::{ConsumerId, ProducerId, TransportId};
use super::parameters::{DtlsParameters, IceCandidate, IceParameters, Kind, RtpCapabilities, RtpParameters};
use crate::id::{ConnectionId, PeerId, RoomId};

/// Who asks, as a member of which room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The room: nothing outside of it can be reached.
    pub room: RoomId,
    /// The connection.
    pub connection: ConnectionId,
    /// Its peer's name in the room.
    pub peer: PeerId,
}

/// Which way a transport carries media, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Send,
    /// To the client.
    Receive,
}

/// One request. Ids are as the client wrote them.
#[derive(Debug, Clone)]
pub enum Request {
    /// What the room's router can carry.
    Capabilities,
    /// A new transport.
    CreateTransport {
        /// Which way.
        direction: Direction,
        /// What the client sends with: its own payload types and extension ids.
        capabilities: Option<RtpCapabilities>,
    },
    /// Start DTLS on a transport.
    ConnectTransport {
        /// Which.
        transport: String,
        /// The client's side.
        dtls: DtlsParameters,
    },
    /// New ICE credentials.
    RestartIce {
        /// Of which transport.
        transport: String,
    },
    /// End a transport and all it carries.
    CloseTransport {
        /// Which.
        transport: String,
    },
    /// Send a track.
    Produce {
        /// Over which transport.
        transport: String,
        /// What it carries.
        kind: Kind,
        /// How it is sent.
        parameters: Box<RtpParameters>,
        /// What the client says of it, as JSON.
        app_data: Arc<str>,
    },
    /// Receive a track.
    Consume {
        /// Over which transport.
        transport: String,
        /// Which.
        producer: String,
        /// What the client can receive.
        capabilities: Box<RtpCapabilities>,
    },
    /// Do something with a consumer of one's own.
    Consumer(String, ConsumerAction),
    /// Do something with a producer of one's own.
    Producer(String, ProducerAction),
    /// All producers of the room.
    ListProducers,
}

impl Request {
    /// What it is about, for logs: nothing of what it says.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::CreateTransport { .. } => "create transport",
            Self::ConnectTransport { .. } => "connect transport",
            Self::RestartIce { .. } => "restart ice",
            Self::CloseTransport { .. } => "close transport",
            Self::Produce { .. } => "produce",
            Self::Consume { .. } => "consume",
            Self::Consumer(_, ConsumerAction::Resume) => "resume consumer",
            Self::Consumer(_, ConsumerAction::Pause) => "pause consumer",
            Self::Consumer(_, ConsumerAction::Close) => "close consumer",
            Self::Consumer(_, ConsumerAction::Layers { .. }) => "layers of consumer",
            Self::Consumer(_, ConsumerAction::Keyframe) => "keyframe of consumer",
            Self::Producer(_, ProducerAction::Pause) => "pause producer",
            Self::Producer(_, ProducerAction::Resume) => "resume producer",
            Self::Producer(_, ProducerAction::Close) => "close producer",
            Self::ListProducers => "list producers",
        }
    }
}

/// What can be done with a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerAction {
    /// Let it flow.
    Resume,
    /// Stop it.
    Pause,
    /// End it.
    Close,
    /// Send no more than these layers.
    Layers {
        /// The streams of a simulcast track, from 0, the poorest.
        spatial: u8,
        /// Of the frame rate, from 0.
        temporal: Option<u8>,
    },
    /// Ask its source for a whole picture.
    Keyframe,
}

/// What can be done with a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerAction {
    /// Stop it for all.
    Pause,
    /// Let it flow.
    Resume,
    /// End it.
    Close,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// What the router can carry.
    Capabilities(RtpCapabilities),
    /// A transport, and how to reach it.
    TransportCreated {
        /// Its id.
        id: TransportId,
        /// ICE.
        ice: IceParameters,
        /// Where it is.
        candidates: Vec<IceCandidate>,
        /// DTLS.
        dtls: DtlsParameters,
    },
    /// DTLS may start.
    TransportConnected(TransportId),
    /// New credentials.
    IceRestarted(TransportId, IceParameters),
    /// It is gone.
    TransportClosed(TransportId),
    /// A producer.
    Produced(ProducerId),
    /// A consumer, paused.
    Consuming(Box<Consuming>),
    /// Done.
    Consumer(ConsumerId, ConsumerAction),
    /// Done.
    Producer(ProducerId, ProducerAction),
    /// All producers of the room, the oldest first.
    Producers(Vec<Listed>),
}

/// A consumer as its client is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Consuming {
    /// Its id.
    pub id: ConsumerId,
    /// What it receives.
    pub producer: Listed,
    /// How it is sent.
    pub parameters: RtpParameters,
    /// Whether there are several layers to choose from.
    pub is_simulcast: bool,
}

/// A producer as others are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: ProducerId,
    /// Whose it is.
    pub peer: PeerId,
    /// What it carries.
    pub kind: Kind,
    /// Whether it is stopped.
    pub is_paused: bool,
    /// What its client says of it, as JSON.
    pub app_data: Arc<str>,
}

/// Something that is told unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// To whom.
    pub to: Audience,
    /// What.
    pub event: MediaEvent,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// One connection.
    One(ConnectionId),
    /// All of a room, but for one.
    Room(RoomId, Option<ConnectionId>),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// Another's producer is there.
    ProducerAdded(Listed),
    /// Something was done with a producer: by its peer, or since its transport has ended.
    ProducerChanged(ProducerId, PeerId, ProducerAction),
    /// A consumer has ended, since its source has.
    ConsumerClosed(ConsumerId),
    /// A consumer receives another layer.
    LayersChanged(ConsumerId, u8),
    /// A transport has lost its peer.
    TransportFailed(TransportId),
    /// Another speaks.
    ActiveSpeaker {
        /// Who.
        peer: PeerId,
        /// The sound.
        producer: ProducerId,
        /// How loud, in decibel below the loudest (dBov), 0 down to -127.
        level: i8,
    },
}

/// What a request was about when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// A transport.
    Transport,
    /// A producer.
    Produce,
    /// A consumer.
    Consume,
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct SfuError {
    /// What it was about.
    pub concern: Concern,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no media server.
    #[error("no media server configured")]
    NotConfigured,
    /// It is going.
    #[error("the media server is shutting down")]
    Stopping,
    /// A defect of ours.
    #[error("internal error")]
    Internal,
    /// The asker has left meanwhile.
    #[error("not in the room")]
    NotInRoom,
    /// None of that id is the asker's.
    #[error("{field}: no {what} of that id")]
    Unknown {
        /// The field that names it.
        field: &'static str,
        /// What it should name.
        what: &'static str,
    },
    /// There are as many as there may be.
    #[error("too many {what}, at most {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most.
        max: usize,
    },
    /// Its connection has created too many in a short time.
    #[error("transports are created too fast, try again in {seconds} s")]
    TooFast {
        /// When one more may be created.
        seconds: u64,
    },
    /// The transport goes the other way.
    #[error("transportId: this transport is for {0}")]
    WrongDirection(&'static str),
    /// It has had as many streams as it listens to in its life.
    #[error("transportId: this transport has had too many streams, make another")]
    Worn,
    /// It can be connected once.
    #[error("transportId: connected already")]
    ConnectedAlready,
    /// Others are not checked.
    #[error("dtlsParameters.fingerprints: a sha-256 fingerprint is needed, others are not accepted")]
    NoSha256,
    /// Not 32 bytes.
    #[error("dtlsParameters.fingerprints: not a sha-256 fingerprint: 32 pairs of hexadecimal digits")]
    BadFingerprint,
    /// Something of the parameters makes no sense here.
    #[error("{field}: {problem}")]
    Parameter {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It would work if the transport had been made for it.
    #[error("{field}: {problem}; send rtpCapabilities (device.sendRtpCapabilities) with transport:create")]
    NotAnnounced {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Problem {
    /// The error that it makes of a request.
    pub fn of(self, concern: Concern) -> SfuError {
        SfuError { concern, problem: self }
    }
}
