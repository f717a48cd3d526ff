//! What a room can carry: codecs, header extensions, and how a client's are matched with them.
//!
//! All rooms carry the same. The payload types and extension ids here are those that consumers get; producers send with
//! their own (see [`formats`](super::formats)).

use serde_json::{Map, Value, json};
use str0m::rtp::Extension;

use super::parameters::{
    CodecCapability, CodecParameters, ExtensionCapability, ExtensionParameters, Kind, RtcpFeedback, RtpCapabilities,
};

/// A codec that is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Opus,
    Vp8,
    Vp9,
    H264,
    Av1,
}

impl Codec {
    const ALL: [Self; 5] = [Self::Opus, Self::Vp8, Self::Vp9, Self::H264, Self::Av1];

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Opus => Kind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => Kind::Video,
        }
    }

    /// Ticks of its timestamps a second.
    pub(super) fn clock_rate(self) -> u32 {
        match self.kind() {
            Kind::Audio => 48_000,
            Kind::Video => 90_000,
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

    fn channels(self) -> Option<u8> {
        (self == Self::Opus).then_some(2)
    }

    /// The payload type that its consumers get.
    pub(super) fn payload_type(self) -> u8 {
        match self {
            Self::Opus => 100,
            Self::Vp8 => 101,
            Self::Vp9 => 103,
            Self::H264 => 105,
            Self::Av1 => 107,
        }
    }

    /// That of its retransmissions.
    pub(super) fn rtx_payload_type(self) -> Option<u8> {
        (self.kind() == Kind::Video).then(|| self.payload_type() + 1)
    }

    fn parameters(self) -> Map<String, Value> {
        let parameters = match self {
            Self::Opus => json!({ "minptime": 10, "useinbandfec": 1 }),
            Self::Vp8 => json!({}),
            Self::Vp9 => json!({ "profile-id": 0 }),
            // Constrained baseline, level 3.1: what every browser has.
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
            Kind::Audio => &[("transport-cc", None)],
            Kind::Video => &[
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

    /// The codec that a client means, if it is carried.
    pub(super) fn read(
        mime_type: &str,
        clock_rate: u32,
        channels: Option<u8>,
        parameters: &Map<String, Value>,
    ) -> Option<Self> {
        let codec = Self::ALL.into_iter().find(|codec| codec.mime_type().eq_ignore_ascii_case(mime_type))?;
        let fits = clock_rate == codec.clock_rate() && codec.channels().is_none_or(|own| channels == Some(own));
        let number = |name: &str, otherwise: u64| parameters.get(name).map_or(Some(otherwise), as_number);
        let has_profile = match codec {
            Self::Opus | Self::Vp8 => true,
            Self::Vp9 => number("profile-id", 0) == Some(0),
            Self::Av1 => number("profile", 0) == Some(0),
            Self::H264 => {
                let profile = parameters.get("profile-level-id").and_then(Value::as_str);
                number("packetization-mode", 0) == Some(1) && profile.is_some_and(is_constrained_baseline)
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

/// A whole number, which some clients write as text.
pub(super) fn as_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// RFC 6184, table 5: the spellings of the constrained baseline profile.
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

/// A header extension that is carried or made use of.
pub(super) struct Carried {
    pub(super) uri: &'static str,
    pub(super) extension: Extension,
    id: u8,
    /// What the router does with it for sound and for pictures; `None` where it has no use there.
    audio: Option<&'static str>,
    video: Option<&'static str>,
}

pub(super) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub(super) const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub(super) const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
pub(super) const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
pub(super) const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Ids are the router's. `recvonly` does not go on to consumers: it names streams that are one to them.
pub(super) const EXTENSIONS: [Carried; 7] = [
    Carried { uri: MID, extension: Extension::RtpMid, id: 1, audio: Some("sendrecv"), video: Some("sendrecv") },
    Carried { uri: RID, extension: Extension::RtpStreamId, id: 2, audio: None, video: Some("recvonly") },
    Carried {
        uri: REPAIRED_RID,
        extension: Extension::RepairedRtpStreamId,
        id: 3,
        audio: None,
        video: Some("recvonly"),
    },
    Carried {
        uri: "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        extension: Extension::AbsoluteSendTime,
        id: 4,
        audio: Some("sendrecv"),
        video: Some("sendrecv"),
    },
    Carried {
        uri: TRANSPORT_CC,
        extension: Extension::TransportSequenceNumber,
        id: 5,
        audio: Some("sendrecv"),
        video: Some("sendrecv"),
    },
    Carried { uri: AUDIO_LEVEL, extension: Extension::AudioLevel, id: 10, audio: Some("sendrecv"), video: None },
    Carried {
        uri: "urn:3gpp:video-orientation",
        extension: Extension::VideoOrientation,
        id: 11,
        audio: None,
        video: Some("sendrecv"),
    },
];

/// What every room carries.
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
                parameters: retransmits(codec.payload_type()),
                rtcp_feedback: Vec::new(),
            });
        }
    }
    let extension = |carried: &Carried, kind, direction: Option<&str>| {
        direction.map(|direction| ExtensionCapability {
            kind: Some(kind),
            uri: carried.uri.to_owned(),
            preferred_id: carried.id.into(),
            preferred_encrypt: false,
            direction: direction.to_owned(),
        })
    };
    let audio = EXTENSIONS.iter().filter_map(|carried| extension(carried, Kind::Audio, carried.audio));
    let video = EXTENSIONS.iter().filter_map(|carried| extension(carried, Kind::Video, carried.video));
    RtpCapabilities { codecs, header_extensions: audio.chain(video).collect() }
}

fn retransmits(payload_type: u8) -> Map<String, Value> {
    Map::from_iter([("apt".to_owned(), payload_type.into())])
}

/// The codecs of a consumer, for a client with these capabilities: the codec, then its retransmission where the client
/// knows that. Empty where it cannot receive the codec.
pub(super) fn codecs_for(codec: Codec, client: &RtpCapabilities) -> Vec<CodecParameters> {
    let of_client = client.codecs.iter().find(|offered| {
        Codec::read(&offered.mime_type, offered.clock_rate, offered.channels, &offered.parameters) == Some(codec)
    });
    let Some(of_client) = of_client else { return Vec::new() };
    let knows_rtx = client.codecs.iter().any(|offered| offered.mime_type.eq_ignore_ascii_case("video/rtx"));
    // What is lost is sent again as that and in no other way.
    let is_given = |feedback: &RtcpFeedback| match (feedback.kind.as_str(), &feedback.parameter) {
        // Of the two estimates of bandwidth, ours is made here, of transport-wide feedback.
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
            .filter(|feedback| is_given(feedback) && of_client.rtcp_feedback.contains(feedback))
            .collect(),
    }];
    if let Some(payload_type) = codec.rtx_payload_type().filter(|_| knows_rtx) {
        codecs.push(CodecParameters {
            mime_type: "video/rtx".to_owned(),
            payload_type,
            clock_rate: codec.clock_rate(),
            channels: None,
            parameters: retransmits(codec.payload_type()),
            rtcp_feedback: Vec::new(),
        });
    }
    codecs
}

/// The header extensions of a consumer, for a client with these capabilities.
pub(super) fn extensions_for(kind: Kind, client: &RtpCapabilities) -> Vec<ExtensionParameters> {
    let is_sent = |carried: &&Carried| {
        let direction = if kind == Kind::Audio { carried.audio } else { carried.video };
        direction == Some("sendrecv")
    };
    let is_known = |carried: &&Carried| {
        let mut known = client.header_extensions.iter();
        known.any(|known| known.uri == carried.uri && known.kind.is_none_or(|known| known == kind))
    };
    let extension = |carried: &Carried| ExtensionParameters {
        uri: carried.uri.to_owned(),
        id: carried.id.into(),
        encrypt: false,
        parameters: Map::new(),
    };
    EXTENSIONS.iter().filter(is_sent).filter(is_known).map(extension).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_h264_are_told_apart() {
        for good in ["42e01f", "42C02A", "4d801f", "58c01f"] {
            assert!(is_constrained_baseline(good), "{good}");
        }
        for bad in ["42001f", "4d001f", "640c1f", "", "42e0", "zzzzzz", "+42e01", "éé1f"] {
            assert!(!is_constrained_baseline(bad), "{bad}");
        }
    }

    /// As mediasoup-client has the capabilities of a browser.
    #[test]
    fn a_consumer_tells_what_it_misses() {
        let mut client = serde_json::to_value(capabilities()).unwrap();
        for codec in client["codecs"].as_array_mut().unwrap() {
            for feedback in codec["rtcpFeedback"].as_array_mut().unwrap() {
                if feedback.get("parameter").is_none() {
                    feedback["parameter"] = "".into();
                }
            }
        }
        let codecs = codecs_for(Codec::Vp8, &serde_json::from_value(client.clone()).unwrap());
        let feedback: Vec<_> =
            codecs[0].rtcp_feedback.iter().map(|one| (one.kind.as_str(), one.parameter.as_deref())).collect();
        let expected = [("nack", None), ("nack", Some("pli")), ("ccm", Some("fir")), ("transport-cc", None)];
        assert_eq!(feedback, expected);
        let codecs = client["codecs"].as_array_mut().unwrap();
        codecs.retain(|codec| codec["mimeType"] != "video/rtx");
        let codecs = codecs_for(Codec::Vp8, &serde_json::from_value(client).unwrap());
        let feedback = codecs[0].rtcp_feedback.iter().map(|one| (one.kind.as_str(), one.parameter.as_deref()));
        assert_eq!(feedback.collect::<Vec<_>>(), expected[1..], "nothing can be sent again");
    }
}
