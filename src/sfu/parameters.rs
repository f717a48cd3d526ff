//! The descriptions of media and transports that `mediasoup-client` gives and takes, as JSON.
//!
//! Names and shapes follow ORTC as mediasoup has it (`RtpCapabilities`, `RtpParameters`, `DtlsParameters`,
//! `IceParameters`, `IceCandidate`). What is not named here is ignored. A value of these types has the right shape and
//! nothing more: whether it makes sense is for [`router`](super::router), [`producer`](super::producer) and
//! [`transport`](super::transport) to say.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Kind {
    /// Its word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// What a side can send or receive.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpCapabilities {
    /// Codecs, those of retransmission (`video/rtx`) among them.
    #[serde(default)]
    pub codecs: Vec<CodecCapability>,
    /// Header extensions.
    #[serde(default)]
    pub header_extensions: Vec<ExtensionCapability>,
}

/// A codec that a side can send or receive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodecCapability {
    /// What it carries.
    pub kind: Kind,
    /// Such as `video/VP8`; case does not matter.
    pub mime_type: String,
    /// The payload type that it would have, 0 to 127.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_payload_type: Option<u8>,
    /// Hz.
    pub clock_rate: u32,
    /// Of sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// As in `a=fmtp` of SDP.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// As in `a=rtcp-fb` of SDP.
    #[serde(default)]
    pub rtcp_feedback: Vec<RtcpFeedback>,
}

/// One kind of feedback, such as `nack pli`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtcpFeedback {
    /// Such as `nack`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Such as `pli`. Clients say that there is none in both ways: mediasoup-client by an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "unless_empty")]
    pub parameter: Option<String>,
}

fn unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// A header extension (RFC 8285) that a side knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionCapability {
    /// Of what; both where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its name.
    pub uri: String,
    /// The id that it would have.
    pub preferred_id: u16,
    /// Always false.
    #[serde(default)]
    pub preferred_encrypt: bool,
    /// `sendrecv`, `recvonly`, …, as the router sees it.
    #[serde(default = "both_ways")]
    pub direction: String,
}

fn both_ways() -> String {
    "sendrecv".to_owned()
}

/// How one track is sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpParameters {
    /// The media section that it has in SDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    /// The codec, and its retransmission.
    pub codecs: Vec<CodecParameters>,
    /// Header extensions in use.
    #[serde(default)]
    pub header_extensions: Vec<ExtensionParameters>,
    /// The streams: several where it is simulcast, the poorest first.
    #[serde(default)]
    pub encodings: Vec<Encoding>,
    /// RTCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtcp: Option<RtcpParameters>,
}

/// A codec in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodecParameters {
    /// Such as `video/VP8`; case does not matter.
    pub mime_type: String,
    /// 0 to 127.
    pub payload_type: u8,
    /// Hz.
    pub clock_rate: u32,
    /// Of sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// As in `a=fmtp` of SDP.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// As in `a=rtcp-fb` of SDP.
    #[serde(default)]
    pub rtcp_feedback: Vec<RtcpFeedback>,
}

/// A header extension in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtensionParameters {
    /// Its name.
    pub uri: String,
    /// Its id.
    pub id: u16,
    /// Always false.
    #[serde(default)]
    pub encrypt: bool,
    /// None are known.
    #[serde(default)]
    pub parameters: Map<String, Value>,
}

/// One stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encoding {
    /// Its synchronization source, where that is known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<u32>,
    /// Its name among the streams of a track (RFC 8851).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// What it is retransmitted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx: Option<Retransmission>,
    /// Such as `L1T3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalability_mode: Option<String>,
}

/// The stream that retransmits another (RFC 4588).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retransmission {
    /// Its synchronization source.
    pub ssrc: u32,
}

/// RTCP of a track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtcpParameters {
    /// The canonical name: tracks of one name are played in time with each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cname: Option<String>,
    /// RFC 5506.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduced_size: Option<bool>,
}

/// Who begins the DTLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtlsRole {
    /// As the other side likes.
    #[default]
    Auto,
    /// This side.
    Client,
    /// The other.
    Server,
}

/// One side of a DTLS connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtlsParameters {
    /// Its role.
    #[serde(default)]
    pub role: DtlsRole,
    /// Of its certificate.
    pub fingerprints: Vec<Fingerprint>,
}

/// The fingerprint of a certificate (RFC 8122).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Such as `sha-256`.
    pub algorithm: String,
    /// Pairs of hexadecimal digits with colons between them.
    pub value: String,
}

/// The server's side of ICE (RFC 8445).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IceParameters {
    /// Names the transport in a STUN request.
    pub username_fragment: String,
    /// Proves it.
    pub password: String,
    /// Always true: the client does the connectivity checks.
    pub ice_lite: bool,
}

/// An address of the server's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IceCandidate {
    /// The same for addresses of one kind.
    pub foundation: String,
    /// The higher, the rather it is taken.
    pub priority: u32,
    /// The address.
    pub ip: String,
    /// The same: newer clients read this.
    pub address: String,
    /// Always `udp`.
    pub protocol: &'static str,
    /// The port.
    pub port: u16,
    /// Always `host`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}
