//! The codecs and header extensions that the router supports, and how a client's capabilities are
//! matched with them.
//!
//! All rooms support the same. The payload types and extension ids here are those that consumers
//! get; producers use their own (see [`formats`](super::formats)).

use serde_json::{Map, Value, json};
use str0m::rtp::Extension;

use super::parameters::{
    CodecCapability, CodecParameters, ExtensionCapability, ExtensionParameters, RtcpFeedback,
    RtpCapabilities, TrackKind,
};

/// A supported codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Opus,
    Vp8,
    Vp9,
    H264,
    Av1,
}

impl Codec {
    pub(super) const ALL: [Self; 5] = [Self::Opus, Self::Vp8, Self::Vp9, Self::H264, Self::Av1];

    pub(super) fn kind(self) -> TrackKind {
        match self {
            Self::Opus => TrackKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => TrackKind::Video,
        }
    }

    /// Returns the clock rate of its RTP timestamps, in Hz.
    pub(super) fn clock_rate(self) -> u32 {
        match self.kind() {
            TrackKind::Audio => 48_000,
            TrackKind::Video => 90_000,
        }
    }

    fn mime_type(self) -> &'static str {
        match self {
            Self::Opus => "audio/opus",
            Self::Vp8 => "video/VP8",
            Self::Vp9 => "video/VP9",
            Self::H264 => "video/H264",
            Self::Av1 => "video/AV1",
        }
    }

    pub(super) fn channels(self) -> Option<u8> {
        (self == Self::Opus).then_some(2)
    }

    /// Returns the payload type that consumers get.
    pub(super) const fn payload_type(self) -> u8 {
        match self {
            Self::Opus => 100,
            Self::Vp8 => 101,
            Self::Vp9 => 103,
            Self::H264 => 105,
            Self::Av1 => 107,
        }
    }

    /// Returns the payload type of RTX that consumers get; `None` for audio.
    pub(super) fn rtx_payload_type(self) -> Option<u8> {
        (self.kind() == TrackKind::Video).then(|| self.payload_type() + 1)
    }

    fn parameters(self) -> Map<String, Value> {
        let parameters = match self {
            Self::Opus => json!({ "minptime": 10, "useinbandfec": 1 }),
            Self::Vp8 => json!({}),
            Self::Vp9 => json!({ "profile-id": 0 }),
            // Constrained baseline, level 3.1, which every browser supports.
            Self::H264 => {
                json!({ "packetization-mode": 1, "profile-level-id": "42e01f", "level-asymmetry-allowed": 1 })
            }
            Self::Av1 => json!({ "profile": 0 }),
        };
        match parameters {
            Value::Object(parameters) => parameters,
            _ => Map::new(),
        }
    }

    fn feedback(self) -> Vec<RtcpFeedback> {
        let all: &[(&str, Option<&str>)] = match self.kind() {
            TrackKind::Audio => &[("transport-cc", None)],
            TrackKind::Video => &[
                ("nack", None),
                ("nack", Some("pli")),
                ("ccm", Some("fir")),
                ("goog-remb", None),
                ("transport-cc", None),
            ],
        };
        let feedback = |(kind, parameter): &(&str, Option<&str>)| RtcpFeedback {
            kind: (*kind).to_owned(),
            parameter: parameter.map(str::to_owned),
        };
        all.iter().map(feedback).collect()
    }

    /// Returns the supported codec that a client's codec entry denotes, if any.
    pub(super) fn parse(
        mime_type: &str,
        clock_rate: u32,
        channels: Option<u8>,
        parameters: &Map<String, Value>,
    ) -> Option<Self> {
        let codec = Self::ALL
            .into_iter()
            .find(|codec| codec.mime_type().eq_ignore_ascii_case(mime_type))?;
        let fits = clock_rate == codec.clock_rate()
            && codec.channels().is_none_or(|own| channels == Some(own));
        let number =
            |name: &str, default: u64| parameters.get(name).map_or(Some(default), as_number);
        let has_profile = match codec {
            Self::Opus | Self::Vp8 => true,
            Self::Vp9 => number("profile-id", 0) == Some(0),
            Self::Av1 => number("profile", 0) == Some(0),
            Self::H264 => {
                let profile = parameters.get("profile-level-id").and_then(Value::as_str);
                number("packetization-mode", 0) == Some(1)
                    && profile.is_some_and(is_constrained_baseline)
            }
        };
        (fits && has_profile).then_some(codec)
    }

    pub(super) fn to_str0m(self) -> str0m::format::Codec {
        match self {
            Self::Opus => str0m::format::Codec::Opus,
            Self::Vp8 => str0m::format::Codec::Vp8,
            Self::Vp9 => str0m::format::Codec::Vp9,
            Self::H264 => str0m::format::Codec::H264,
            Self::Av1 => str0m::format::Codec::Av1,
        }
    }
}

/// Reads an integer, which some clients write as a string.
pub(super) fn as_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Returns whether a profile-level-id denotes the constrained baseline profile (RFC 6184, table 5).
fn is_constrained_baseline(profile_level_id: &str) -> bool {
    if profile_level_id.len() != 6 {
        return false;
    }
    let Ok(number) = u32::from_str_radix(profile_level_id, 16) else { return false };
    let [_, profile, constraints, _] = number.to_be_bytes();
    match profile {
        0x42 => constraints & 0x4f == 0x40,
        0x4d => constraints & 0x8f == 0x80,
        0x58 => constraints & 0xcf == 0xc0,
        _ => false,
    }
}

/// A header extension that the router forwards or reads.
pub(super) struct SupportedExtension {
    pub(super) uri: &'static str,
    pub(super) extension: Extension,
    pub(super) id: u8,
    /// Direction for audio and for video, from the router's point of view; `None` if it is not
    /// used.
    audio: Option<&'static str>,
    video: Option<&'static str>,
}

pub(super) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub(super) const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub(super) const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
pub(super) const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
pub(super) const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// The supported header extensions with the router's ids. Those that are `recvonly` are not sent to
/// consumers, which get a single stream.
pub(super) const EXTENSIONS: [SupportedExtension; 7] = [
    SupportedExtension {
        uri: MID,
        extension: Extension::RtpMid,
        id: 1,
        audio: Some("sendrecv"),
        video: Some("sendrecv"),
    },
    SupportedExtension {
        uri: RID,
        extension: Extension::RtpStreamId,
        id: 2,
        audio: None,
        video: Some("recvonly"),
    },
    SupportedExtension {
        uri: REPAIRED_RID,
        extension: Extension::RepairedRtpStreamId,
        id: 3,
        audio: None,
        video: Some("recvonly"),
    },
    SupportedExtension {
        uri: "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        extension: Extension::AbsoluteSendTime,
        id: 4,
        audio: Some("sendrecv"),
        video: Some("sendrecv"),
    },
    SupportedExtension {
        uri: TRANSPORT_CC,
        extension: Extension::TransportSequenceNumber,
        id: 5,
        audio: Some("sendrecv"),
        video: Some("sendrecv"),
    },
    SupportedExtension {
        uri: AUDIO_LEVEL,
        extension: Extension::AudioLevel,
        id: 10,
        audio: Some("sendrecv"),
        video: None,
    },
    SupportedExtension {
        uri: "urn:3gpp:video-orientation",
        extension: Extension::VideoOrientation,
        id: 11,
        audio: None,
        video: Some("sendrecv"),
    },
];

/// Returns the RTP capabilities of the router, which are the same for all rooms.
pub fn capabilities() -> RtpCapabilities {
    let mut codecs = Vec::new();
    for codec in Codec::ALL {
        codecs.push(CodecCapability {
            kind: codec.kind(),
            mime_type: codec.mime_type().to_owned(),
            preferred_payload_type: Some(codec.payload_type()),
            clock_rate: codec.clock_rate(),
            channels: codec.channels(),
            parameters: codec.parameters(),
            rtcp_feedback: codec.feedback(),
        });
        if let Some(payload_type) = codec.rtx_payload_type() {
            codecs.push(CodecCapability {
                kind: codec.kind(),
                mime_type: "video/rtx".to_owned(),
                preferred_payload_type: Some(payload_type),
                clock_rate: codec.clock_rate(),
                channels: None,
                parameters: rtx_parameters(codec.payload_type()),
                rtcp_feedback: Vec::new(),
            });
        }
    }
    let capability = |extension: &SupportedExtension, kind, direction: Option<&str>| {
        direction.map(|direction| ExtensionCapability {
            kind: Some(kind),
            uri: extension.uri.to_owned(),
            preferred_id: extension.id.into(),
            preferred_encrypt: false,
            direction: direction.to_owned(),
        })
    };
    let audio = EXTENSIONS
        .iter()
        .filter_map(|extension| capability(extension, TrackKind::Audio, extension.audio));
    let video = EXTENSIONS
        .iter()
        .filter_map(|extension| capability(extension, TrackKind::Video, extension.video));
    RtpCapabilities { codecs, header_extensions: audio.chain(video).collect() }
}

fn rtx_parameters(payload_type: u8) -> Map<String, Value> {
    Map::from_iter([("apt".to_owned(), payload_type.into())])
}

/// Returns the codecs of a consumer for a client with these capabilities: the codec, then RTX if
/// the client supports it. Empty if the client cannot receive the codec.
pub(super) fn codecs_for(codec: Codec, client: &RtpCapabilities) -> Vec<CodecParameters> {
    let of_client = client.codecs.iter().find(|offered| {
        Codec::parse(&offered.mime_type, offered.clock_rate, offered.channels, &offered.parameters)
            == Some(codec)
    });
    let Some(of_client) = of_client else { return Vec::new() };
    let knows_rtx =
        client.codecs.iter().any(|offered| offered.mime_type.eq_ignore_ascii_case("video/rtx"));
    // Lost packets are retransmitted over RTX only.
    let is_supported = |feedback: &RtcpFeedback| match (feedback.kind.as_str(), &feedback.parameter)
    {
        // The server estimates bandwidth from transport-wide feedback instead.
        ("goog-remb", _) => false,
        ("nack", None) => knows_rtx,
        _ => true,
    };
    let feedback = codec.feedback().into_iter();
    let mut codecs = vec![CodecParameters {
        mime_type: codec.mime_type().to_owned(),
        payload_type: codec.payload_type(),
        clock_rate: codec.clock_rate(),
        channels: codec.channels(),
        parameters: codec.parameters(),
        rtcp_feedback: feedback
            .filter(|feedback| is_supported(feedback) && of_client.rtcp_feedback.contains(feedback))
            .collect(),
    }];
    if let Some(payload_type) = codec.rtx_payload_type().filter(|_| knows_rtx) {
        codecs.push(CodecParameters {
            mime_type: "video/rtx".to_owned(),
            payload_type,
            clock_rate: codec.clock_rate(),
            channels: None,
            parameters: rtx_parameters(codec.payload_type()),
            rtcp_feedback: Vec::new(),
        });
    }
    codecs
}

/// Returns the header extensions of a consumer for a client with these capabilities.
pub(super) fn extensions_for(
    kind: TrackKind,
    client: &RtpCapabilities,
) -> Vec<ExtensionParameters> {
    let is_sent = |extension: &&SupportedExtension| {
        let direction = if kind == TrackKind::Audio { extension.audio } else { extension.video };
        direction == Some("sendrecv")
    };
    let is_known = |extension: &&SupportedExtension| {
        let mut known = client.header_extensions.iter();
        known
            .any(|known| known.uri == extension.uri && known.kind.is_none_or(|known| known == kind))
    };
    let extension = |extension: &SupportedExtension| ExtensionParameters {
        uri: extension.uri.to_owned(),
        id: extension.id.into(),
        encrypt: false,
        parameters: Map::new(),
    };
    EXTENSIONS.iter().filter(is_sent).filter(is_known).map(extension).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constrained_baseline_profiles_are_recognized() {
        for good in ["42e01f", "42C02A", "4d801f", "58c01f"] {
            assert!(is_constrained_baseline(good), "{good}");
        }
        for bad in ["42001f", "4d001f", "640c1f", "", "42e0", "zzzzzz", "+42e01", "éé1f"] {
            assert!(!is_constrained_baseline(bad), "{bad}");
        }
    }

    /// Uses the capabilities in the form of mediasoup-client.
    #[test]
    fn consumer_feedback_depends_on_rtx_support() {
        let mut client = serde_json::to_value(capabilities()).unwrap();
        for codec in client["codecs"].as_array_mut().unwrap() {
            for feedback in codec["rtcpFeedback"].as_array_mut().unwrap() {
                if feedback.get("parameter").is_none() {
                    feedback["parameter"] = "".into();
                }
            }
        }
        let codecs = codecs_for(Codec::Vp8, &serde_json::from_value(client.clone()).unwrap());
        let feedback: Vec<_> = codecs[0]
            .rtcp_feedback
            .iter()
            .map(|one| (one.kind.as_str(), one.parameter.as_deref()))
            .collect();
        let expected =
            [("nack", None), ("nack", Some("pli")), ("ccm", Some("fir")), ("transport-cc", None)];
        assert_eq!(feedback, expected);
        let codecs = client["codecs"].as_array_mut().unwrap();
        codecs.retain(|codec| codec["mimeType"] != "video/rtx");
        let codecs = codecs_for(Codec::Vp8, &serde_json::from_value(client).unwrap());
        let feedback =
            codecs[0].rtcp_feedback.iter().map(|one| (one.kind.as_str(), one.parameter.as_deref()));
        assert_eq!(feedback.collect::<Vec<_>>(), expected[1..], "no NACK without RTX");
    }
}
