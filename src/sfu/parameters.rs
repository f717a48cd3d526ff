//! RTP, DTLS and ICE parameters, as JSON in the form of `mediasoup-client`.
//!
//! Names and shapes follow ORTC as mediasoup has it (`RtpCapabilities`, `RtpParameters`,
//! `DtlsParameters`, `IceParameters`, `IceCandidate`). Unknown fields are ignored. These types only
//! ensure the right shape; their values are checked by [`codecs`](super::codecs),
//! [`producer`](super::producer) and [`transport`](super::transport).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The kind of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

impl TrackKind {
    /// Returns the kind as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// The codecs and header extensions that an endpoint can send or receive.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpCapabilities {
    /// Codecs, including RTX (`video/rtx`).
    #[serde(default)]
    pub codecs: Vec<CodecCapability>,
    /// Header extensions.
    #[serde(default)]
    pub header_extensions: Vec<ExtensionCapability>,
}

/// A codec that an endpoint can send or receive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodecCapability {
    /// Audio or video.
    pub kind: TrackKind,
    /// Such as `video/VP8`; case-insensitive.
    pub mime_type: String,
    /// The preferred payload type, 0 to 127.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_payload_type: Option<u8>,
    /// Clock rate, in Hz.
    pub clock_rate: u32,
    /// Number of audio channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// As in `a=fmtp` of SDP.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// As in `a=rtcp-fb` of SDP.
    #[serde(default)]
    pub rtcp_feedback: Vec<RtcpFeedback>,
}

/// An RTCP feedback mechanism, such as `nack pli`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtcpFeedback {
    /// Such as `nack`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Such as `pli`. An empty one, as mediasoup-client sends it, counts as none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    pub parameter: Option<String>,
}

fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// Reads a number. One outside of its range becomes 0, which [`TrackDescription`](super::producer)
/// refuses.
fn number_or_zero<'de, D: Deserializer<'de>, T: TryFrom<i64> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(T::try_from(i64::deserialize(deserializer)?).unwrap_or_default())
}

/// Reads a number that may be left out, like [`number_or_zero`].
fn optional_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = Option::<i64>::deserialize(deserializer)?;
    Ok(number.map(|number| u32::try_from(number).unwrap_or_default()))
}

/// Reads a number of which 0 is valid. One outside of its range becomes the maximum, which is
/// refused.
fn small_or_max<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    Ok(u8::try_from(i64::deserialize(deserializer)?).unwrap_or(u8::MAX))
}

/// A header extension (RFC 8285) that an endpoint supports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionCapability {
    /// The kind of tracks it is for; both if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TrackKind>,
    /// The URI that identifies the extension.
    pub uri: String,
    /// The preferred id.
    pub preferred_id: u16,
    /// Always false.
    #[serde(default)]
    pub preferred_encrypt: bool,
    /// `sendrecv`, `recvonly`, …, from the router's point of view.
    #[serde(default = "sendrecv")]
    pub direction: String,
}

fn sendrecv() -> String {
    "sendrecv".to_owned()
}

/// The parameters with which one track is sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtpParameters {
    /// The MID of its media section in SDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    /// The codec, then RTX if it is used.
    pub codecs: Vec<CodecParameters>,
    /// Header extensions in use.
    #[serde(default)]
    pub header_extensions: Vec<ExtensionParameters>,
    /// The streams: several for simulcast, lowest quality first.
    #[serde(default)]
    pub encodings: Vec<Encoding>,
    /// RTCP parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtcp: Option<RtcpParameters>,
}

/// A codec in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodecParameters {
    /// Such as `video/VP8`; case-insensitive.
    pub mime_type: String,
    /// The payload type, 0 to 127.
    #[serde(deserialize_with = "small_or_max")]
    pub payload_type: u8,
    /// Clock rate, in Hz.
    #[serde(deserialize_with = "number_or_zero")]
    pub clock_rate: u32,
    /// Number of audio channels.
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
    /// The URI that identifies the extension.
    pub uri: String,
    /// The id in packets.
    #[serde(deserialize_with = "number_or_zero")]
    pub id: u16,
    /// Always false.
    #[serde(default)]
    pub encrypt: bool,
    /// Ignored.
    #[serde(default)]
    pub parameters: Map<String, Value>,
}

/// One stream of a track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encoding {
    /// The SSRC, if it is known in advance.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "optional_or_zero"
    )]
    pub ssrc: Option<u32>,
    /// The RID, which identifies the stream in its track (RFC 8851).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// The RTX stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx: Option<Retransmission>,
    /// Such as `L1T3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalability_mode: Option<String>,
}

/// The RTX stream of another stream (RFC 4588).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retransmission {
    /// The SSRC of the RTX stream.
    #[serde(deserialize_with = "number_or_zero")]
    pub ssrc: u32,
}

/// The RTCP parameters of a track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtcpParameters {
    /// The CNAME. Clients synchronize tracks of the same CNAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cname: Option<String>,
    /// Whether reduced-size RTCP is used (RFC 5506).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduced_size: Option<bool>,
}

/// The DTLS role of an endpoint: the client starts the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtlsRole {
    /// Left to the other endpoint.
    #[default]
    Auto,
    /// DTLS client.
    Client,
    /// DTLS server.
    Server,
}

/// The DTLS parameters of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtlsParameters {
    /// The endpoint's role.
    #[serde(default)]
    pub role: DtlsRole,
    /// Fingerprints of the endpoint's certificate.
    pub fingerprints: Vec<Fingerprint>,
}

/// The fingerprint of a certificate (RFC 8122).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Hash algorithm, such as `sha-256`.
    pub algorithm: String,
    /// The hash, as pairs of hexadecimal digits separated by colons.
    pub value: String,
}

/// The server's ICE credentials (RFC 8445).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IceParameters {
    /// The ufrag, which identifies the transport in STUN requests.
    pub username_fragment: String,
    /// The key of MESSAGE-INTEGRITY.
    pub password: String,
    /// Always true: the client runs the connectivity checks.
    pub ice_lite: bool,
}

/// An ICE candidate of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IceCandidate {
    /// Equal for candidates of one type.
    pub foundation: String,
    /// Candidates of higher priority are preferred.
    pub priority: u32,
    /// The IP address.
    pub ip: String,
    /// The IP address again, which newer clients read.
    pub address: String,
    /// Always `udp`.
    pub protocol: &'static str,
    /// The UDP port.
    pub port: u16,
    /// Always `host`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}
