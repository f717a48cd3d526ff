//! Requests to the media server, its responses, and its notices.

use std::sync::Arc;

use super::id::{ConsumerId, ProducerId, TransportId};
use super::parameters::{
    DtlsParameters, IceCandidate, IceParameters, RtpCapabilities, RtpParameters, TrackKind,
};
use crate::id::{ConnectionId, PeerId, RoomId};

/// A connection as a member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMember {
    /// The room. A request cannot reach anything outside of it.
    pub room: RoomId,
    /// The member's connection.
    pub connection: ConnectionId,
    /// The member's peer id in the room.
    pub peer: PeerId,
}

/// The direction of a transport, as seen by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Send,
    /// To the client.
    Receive,
}

/// A request to the media server. Ids are as sent by the client.
#[derive(Debug, Clone)]
pub enum MediaRequest {
    /// Returns the router's RTP capabilities.
    Capabilities,
    /// Creates a transport.
    CreateTransport {
        /// The direction.
        direction: Direction,
    },
    /// Starts DTLS on a transport.
    ConnectTransport {
        /// The id.
        transport: String,
        /// The client's DTLS parameters.
        dtls: DtlsParameters,
    },
    /// Replaces the ICE credentials of a transport.
    RestartIce {
        /// The id.
        transport: String,
    },
    /// Closes a transport with its producers and consumers.
    CloseTransport {
        /// The id.
        transport: String,
    },
    /// Creates a producer.
    Produce {
        /// The sending transport.
        transport: String,
        /// Audio or video.
        kind: TrackKind,
        /// Codec, streams and header extensions.
        parameters: Box<RtpParameters>,
        /// Application data, as JSON.
        app_data: Arc<str>,
    },
    /// Creates a consumer.
    Consume {
        /// The receiving transport.
        transport: String,
        /// The producer to consume.
        producer: String,
        /// The client's capabilities for receiving.
        capabilities: Box<RtpCapabilities>,
    },
    /// Acts on a consumer of the member.
    Consumer(String, ConsumerAction),
    /// Acts on a producer of the member.
    Producer(String, ProducerAction),
    /// Lists all producers of the room.
    ListProducers,
}

impl MediaRequest {
    /// Returns the request's name, for logs.
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
            Self::Consumer(_, ConsumerAction::Layers { .. }) => "set consumer layers",
            Self::Consumer(_, ConsumerAction::Keyframe) => "request keyframe",
            Self::Producer(_, ProducerAction::Pause) => "pause producer",
            Self::Producer(_, ProducerAction::Resume) => "resume producer",
            Self::Producer(_, ProducerAction::Close) => "close producer",
            Self::ListProducers => "list producers",
        }
    }
}

/// An action on a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerAction {
    /// Resumes forwarding.
    Resume,
    /// Pauses forwarding.
    Pause,
    /// Closes the consumer.
    Close,
    /// Limits the layers that are forwarded.
    Layers {
        /// The highest simulcast layer, where 0 is the lowest.
        spatial: u8,
        /// The highest temporal layer, where 0 is the lowest.
        temporal: Option<u8>,
    },
    /// Requests a keyframe.
    Keyframe,
}

/// An action on a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProducerAction {
    /// Pauses the producer for all consumers.
    Pause,
    /// Resumes the producer.
    Resume,
    /// Closes the producer and its consumers.
    Close,
}

/// The response to a successful request.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaResponse {
    /// The router's RTP capabilities.
    Capabilities(RtpCapabilities),
    /// The parameters of a new transport.
    TransportCreated {
        /// The id.
        id: TransportId,
        /// The server's ICE credentials.
        ice: IceParameters,
        /// The server's ICE candidates.
        candidates: Vec<IceCandidate>,
        /// The server's DTLS parameters.
        dtls: DtlsParameters,
    },
    /// The transport accepts the client's DTLS handshake.
    TransportConnected(TransportId),
    /// The transport's new ICE credentials.
    IceRestarted(TransportId, IceParameters),
    /// The transport was closed.
    TransportClosed(TransportId),
    /// The new producer.
    ProducerCreated(ProducerId),
    /// The new consumer, which is paused.
    ConsumerCreated(Box<ConsumerInfo>),
    /// The action that was applied to a consumer.
    Consumer(ConsumerId, ConsumerAction),
    /// The action that was applied to a producer.
    Producer(ProducerId, ProducerAction),
    /// All producers of the room, oldest first.
    Producers(Vec<ProducerInfo>),
}

/// The parameters of a consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerInfo {
    /// The id.
    pub id: ConsumerId,
    /// The consumed producer.
    pub producer: ProducerInfo,
    /// Codec, streams and header extensions.
    pub parameters: RtpParameters,
    /// Whether the producer has several simulcast layers.
    pub is_simulcast: bool,
}

/// A producer, as announced to other members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerInfo {
    /// The id.
    pub id: ProducerId,
    /// The peer that sends it.
    pub peer: PeerId,
    /// Audio or video.
    pub kind: TrackKind,
    /// Whether it is paused.
    pub is_paused: bool,
    /// Application data of its client, as JSON.
    pub app_data: Arc<str>,
}

/// An event and its recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The recipients.
    pub to: NoticeTarget,
    /// The event.
    pub event: MediaEvent,
}

/// The recipients of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeTarget {
    /// One member of a room.
    One(RoomId, ConnectionId),
    /// All members of a room, except one connection.
    Room(RoomId, Option<ConnectionId>),
}

/// An event that clients are notified of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// Another member has created a producer.
    ProducerAdded(ProducerInfo),
    /// A producer was paused, resumed or closed, by its peer or with its transport.
    ProducerChanged(ProducerId, PeerId, ProducerAction),
    /// A consumer was closed because its producer was.
    ConsumerClosed(ConsumerId),
    /// A consumer has switched to another simulcast layer.
    LayersChanged(ConsumerId, u8),
    /// A transport has lost its connection to the client.
    TransportFailed(TransportId),
    /// The active speaker of the room has changed.
    ActiveSpeaker {
        /// The peer that speaks.
        peer: PeerId,
        /// The peer's audio producer.
        producer: ProducerId,
        /// Audio level in dBov, from 0 down to -127.
        level: i8,
    },
}

impl MediaEvent {
    /// Returns whether a client that misses the event has a wrong view of the media. A missed
    /// active speaker is soon followed by another, so it is no reason to close the connection.
    pub fn is_vital(&self) -> bool {
        !matches!(self, Self::ActiveSpeaker { .. })
    }
}

/// The subject of a failed request. Each has an error code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorScope {
    /// A transport.
    Transport,
    /// A producer.
    Produce,
    /// A consumer.
    Consume,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct SfuError {
    /// The subject of the request.
    pub scope: ErrorScope,
    /// The reason.
    pub kind: SfuErrorKind,
}

/// The reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SfuErrorKind {
    /// The server has no media server.
    #[error("no media server configured")]
    NotConfigured,
    /// The media server is shutting down.
    #[error("the media server is shutting down")]
    ShuttingDown,
    /// The node of the cluster with the media of the room cannot be reached, or there is none yet.
    #[error("the media server of the room cannot be reached, try again")]
    Unreachable,
    /// The media server panicked.
    #[error("internal error")]
    Internal,
    /// The member has left the room meanwhile.
    #[error("not in the room")]
    NotInRoom,
    /// The member has nothing with this id.
    #[error("{field}: no {what} of that id")]
    Unknown {
        /// The field that holds the id.
        field: &'static str,
        /// The kind of object that the id should identify.
        what: &'static str,
    },
    /// A limit has been reached.
    #[error("too many {what}, at most {max}")]
    TooMany {
        /// The limited resource.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The connection creates transports too fast.
    #[error("transports are created too fast, try again in {seconds} s")]
    TooFast {
        /// Seconds until one more may be created.
        seconds: u64,
    },
    /// The transport has the other direction.
    #[error("transportId: this transport is for {0}")]
    WrongDirection(&'static str),
    /// The transport has received as many undeclared streams as it may in its lifetime.
    #[error("transportId: this transport has had too many streams, create another")]
    TransportExhausted,
    /// The transport can be connected only once.
    #[error("transportId: connected already")]
    ConnectedAlready,
    /// No SHA-256 fingerprint was given.
    #[error(
        "dtlsParameters.fingerprints: a sha-256 fingerprint is needed, others are not accepted"
    )]
    NoSha256,
    /// The fingerprint is malformed.
    #[error(
        "dtlsParameters.fingerprints: not a sha-256 fingerprint: 32 pairs of hexadecimal digits"
    )]
    BadFingerprint,
    /// A parameter is invalid.
    #[error("{field}: {problem}")]
    Parameter {
        /// Which field.
        field: &'static str,
        /// The problem.
        problem: &'static str,
    },
}

impl SfuErrorKind {
    /// Returns the error of this kind for a request.
    pub fn in_scope(self, scope: ErrorScope) -> SfuError {
        SfuError { scope, kind: self }
    }
}
