//! What a room can carry: codecs, header extensions, and how a client's are matched with them.
//!
//! All rooms carry the same. The payload types and extension ids here are those that consumers get; producers send with
//! their own, which [`Formats`] reads off what their client says it sends with.

use serde_json::{Map, Value, json};
use str0m::format::{CodecConfig, FormatParams};
use str0m::media::Frequency;
use str0m::rtp::{Extension, ExtensionMap};

use super::parameters::{
    CodecCapability, CodecParameters, ExtensionCapability, ExtensionParameters, Kind, RtcpFeedback, RtpCapabilities,
    RtpParameters,
};
use super::request::Problem;

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

    fn to_str0m(self) -> str0m::format::Codec {
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
fn as_number(value: &Value) -> Option<u64> {
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
struct Carried {
    uri: &'static str,
    extension: Extension,
    id: u8,
    /// What the router does with it for sound and for pictures; `None` where it has no use there.
    audio: Option<&'static str>,
    video: Option<&'static str>,
}

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Ids are the router's. `recvonly` does not go on to consumers: it names streams that are one to them.
const EXTENSIONS: [Carried; 7] = [
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

/// The payload types and extension ids that one transport uses: fixed when it begins.
#[derive(Debug, Clone)]
pub(super) struct Formats {
    /// Payload types, their codecs, and the payload types of their retransmissions.
    payloads: Vec<(u8, Codec, Option<u8>)>,
    /// Ids, and places in [`EXTENSIONS`].
    extensions: Vec<(u8, usize)>,
}

/// The most entries that are read of what a client says it can: browsers have under forty.
const MOST_ENTRIES: usize = 128;

/// The largest id that a header extension may have.
const MAX_EXTENSION_ID: u8 = 16;

/// An id that a header extension may have. One of any other is as good as not there.
fn usable(id: u16) -> Option<u8> {
    u8::try_from(id).ok().filter(|id| (1..=MAX_EXTENSION_ID).contains(id))
}

/// Adds an extension, if it is carried, its id can be used, and neither is there yet.
fn add_extension(extensions: &mut Vec<(u8, usize)>, uri: &str, id: u16) {
    let place = EXTENSIONS.iter().position(|carried| carried.uri == uri);
    let (Some(place), Some(id)) = (place, usable(id)) else { return };
    if !extensions.iter().any(|(taken, known)| *taken == id || *known == place) {
        extensions.push((id, place));
    }
}

impl Formats {
    /// Those of the router, for transports to clients.
    pub(super) fn of_router() -> Self {
        Self::read(&capabilities())
    }

    /// Those of a client that sends. What is not carried, or has no number that can be used, is left out.
    pub(super) fn read(client: &RtpCapabilities) -> Self {
        let mut payloads: Vec<(u8, Codec, Option<u8>)> = Vec::new();
        let codecs = || client.codecs.iter().take(MOST_ENTRIES);
        for offered in codecs() {
            let codec = Codec::read(&offered.mime_type, offered.clock_rate, offered.channels, &offered.parameters);
            let payload_type = offered.preferred_payload_type.filter(|payload_type| *payload_type < 128);
            let (Some(codec), Some(payload_type)) = (codec, payload_type) else { continue };
            let rtx = codecs().find(|rtx| {
                rtx.mime_type.eq_ignore_ascii_case("video/rtx")
                    && rtx.parameters.get("apt").and_then(as_number) == Some(payload_type.into())
            });
            let rtx = rtx.and_then(|rtx| rtx.preferred_payload_type).filter(|rtx| *rtx < 128 && *rtx != payload_type);
            let is_taken = |number: u8| {
                payloads.iter().any(|(payload_type, _, rtx)| *payload_type == number || *rtx == Some(number))
            };
            if !is_taken(payload_type) && !rtx.is_some_and(is_taken) {
                payloads.push((payload_type, codec, rtx));
            }
        }
        let mut extensions: Vec<(u8, usize)> = Vec::new();
        for offered in client.header_extensions.iter().take(MOST_ENTRIES) {
            add_extension(&mut extensions, &offered.uri, offered.preferred_id);
        }
        Self { payloads, extensions }
    }

    /// What current Chromium sends with, for clients that do not say.
    pub(super) fn of_chromium() -> Self {
        let payloads = vec![
            (111, Codec::Opus, None),
            (96, Codec::Vp8, Some(97)),
            (98, Codec::Vp9, Some(99)),
            (108, Codec::H264, Some(109)),
            (45, Codec::Av1, Some(46)),
        ];
        let id_of = |carried: &Carried| match carried.extension {
            Extension::AudioLevel => 1,
            Extension::AbsoluteSendTime => 2,
            Extension::TransportSequenceNumber => 3,
            Extension::RtpMid => 4,
            Extension::RtpStreamId => 10,
            Extension::RepairedRtpStreamId => 11,
            _ => 13,
        };
        let extensions = EXTENSIONS.iter().enumerate().map(|(place, carried)| (id_of(carried), place)).collect();
        Self { payloads, extensions }
    }

    /// The codec of a payload type, and the payload type of its retransmissions.
    pub(super) fn codec(&self, payload_type: u8) -> Option<(Codec, Option<u8>)> {
        let mut payloads = self.payloads.iter();
        payloads.find(|(own, _, _)| *own == payload_type).map(|(_, codec, rtx)| (*codec, *rtx))
    }

    /// Whether a payload type is that of retransmissions.
    pub(super) fn is_repair(&self, payload_type: u8) -> bool {
        self.payloads.iter().any(|(_, _, rtx)| *rtx == Some(payload_type))
    }

    /// The header extension of an id.
    pub(super) fn extension(&self, id: u8) -> Option<&'static Extension> {
        let mut extensions = self.extensions.iter();
        extensions.find(|(own, _)| *own == id).map(|(_, place)| &EXTENSIONS[*place].extension)
    }

    /// These, as far as the first track that is sent says nothing else of header extensions: browsers number them by the
    /// kind of that. Where it does so in another way than was announced, the id that the level of sound will have cannot be
    /// known: it is what comes under any that is free.
    pub(super) fn with_first(&self, parameters: &RtpParameters) -> Self {
        let mut extensions: Vec<(u8, usize)> = Vec::new();
        for declared in parameters.header_extensions.iter().take(MOST_ENTRIES) {
            add_extension(&mut extensions, &declared.uri, declared.id);
        }
        let is_as_announced = extensions.iter().all(|extension| self.extensions.contains(extension));
        for (id, place) in &self.extensions {
            add_extension(&mut extensions, EXTENSIONS[*place].uri, (*id).into());
        }
        let level = EXTENSIONS.iter().position(|carried| carried.extension == Extension::AudioLevel);
        let is_declared = parameters.header_extensions.iter().any(|declared| declared.uri == AUDIO_LEVEL);
        if let (Some(place), false, false) = (level, is_as_announced, is_declared) {
            let free: Vec<u8> = (1..=14).filter(|id| extensions.iter().all(|(taken, _)| taken != id)).collect();
            extensions.extend(free.into_iter().map(|id| (id, place)));
        }
        Self { payloads: self.payloads.clone(), extensions }
    }

    /// Checks those of a track. Only what streams are told apart by must have the transport's ids: a track is carried
    /// without the others as well. But what the transport itself reads must not be something else.
    pub(super) fn check_extensions(&self, declared: &[ExtensionParameters]) -> Result<(), Problem> {
        let wrong = |problem| Problem::NotAnnounced { field: "rtpParameters.headerExtensions", problem };
        let both = |declared| self.extensions.iter().map(move |(id, place)| (declared, *id, EXTENSIONS[*place].uri));
        let declared = declared.iter().filter(|declared| usable(declared.id).is_some());
        for (declared, id, uri) in declared.flat_map(both) {
            match (declared.uri == uri, declared.id == u16::from(id)) {
                (true, false) if [MID, RID, REPAIRED_RID].contains(&uri) => {
                    return Err(wrong("the transport knows another id for this extension"));
                }
                (false, true) if [MID, RID, REPAIRED_RID, TRANSPORT_CC].contains(&uri) => {
                    return Err(wrong("the transport knows another extension of this id"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the streams of a track can be told apart by what their packets say: it is told where, and the track does not
    /// say it under ids that cannot be read.
    pub(super) fn can_name(&self, declared: &[ExtensionParameters]) -> bool {
        let is_known = |uri: &str| self.extensions.iter().any(|(_, place)| EXTENSIONS[*place].uri == uri);
        let is_lost = |uri: &str| {
            let mut ids = declared.iter().filter(|declared| declared.uri == uri).map(|declared| usable(declared.id));
            ids.any(|id| id.is_none())
        };
        [MID, RID].into_iter().all(|uri| is_known(uri) && !is_lost(uri))
    }

    pub(super) fn add_to(&self, config: &mut CodecConfig) {
        for (payload_type, codec, rtx) in &self.payloads {
            let clock = if codec.kind() == Kind::Audio { Frequency::FORTY_EIGHT_KHZ } else { Frequency::NINETY_KHZ };
            let rtx = rtx.map(Into::into);
            let codec = codec.to_str0m();
            let channels = (codec == str0m::format::Codec::Opus).then_some(2);
            config.add_config((*payload_type).into(), rtx, codec, clock, channels, FormatParams::default());
        }
    }

    pub(super) fn extension_map(&self) -> ExtensionMap {
        let mut map = ExtensionMap::empty();
        for (id, place) in &self.extensions {
            map.set(*id, EXTENSIONS[*place].extension.clone());
        }
        map
    }
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

    #[test]
    fn numbers_that_cannot_be_used_are_left_out() {
        let mut client = capabilities();
        client.codecs[0].preferred_payload_type = Some(200);
        // Twice the same, and a retransmission that has another's number.
        client.codecs[3].preferred_payload_type = client.codecs[1].preferred_payload_type;
        client.header_extensions[0].preferred_id = 17;
        client.header_extensions[1].preferred_id = 0;
        let formats = Formats::read(&client);
        assert_eq!(formats.codec(200), None);
        assert_eq!(formats.codec(101), Some((Codec::Vp8, Some(102))));
        assert_eq!(formats.codec(103), None);
        assert_eq!(formats.codec(105), Some((Codec::H264, Some(106))));
        assert!(formats.extensions.iter().all(|(id, _)| (1..=16).contains(id)));
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

    fn declared(extensions: &[(&str, u16)]) -> RtpParameters {
        let extension = |(uri, id): &(&str, u16)| ExtensionParameters {
            uri: (*uri).to_owned(),
            id: *id,
            encrypt: false,
            parameters: Map::new(),
        };
        RtpParameters { header_extensions: extensions.iter().map(extension).collect(), ..RtpParameters::default() }
    }

    fn id_of(formats: &Formats, extension: &Extension) -> Option<u8> {
        formats.extension_map().id_of(extension.clone())
    }

    #[test]
    fn the_first_track_numbers_extensions() {
        let announced = Formats::of_chromium();
        // What Chromium sends with where pictures come first.
        let first = announced.with_first(&declared(&[
            (MID, 9),
            (RID, 10),
            (REPAIRED_RID, 11),
            ("http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", 2),
            (TRANSPORT_CC, 4),
            ("urn:3gpp:video-orientation", 3),
            ("urn:of:something-else", 5),
        ]));
        let numbered = [
            (Extension::RtpMid, 9),
            (Extension::RtpStreamId, 10),
            (Extension::TransportSequenceNumber, 4),
            (Extension::VideoOrientation, 3),
        ];
        for (extension, id) in numbered {
            assert_eq!(id_of(&first, &extension), Some(id), "{extension:?}");
        }
        let levels = first.extension_map();
        let levels = levels.iter().filter(|(_, extension)| **extension == Extension::AudioLevel).map(|(id, _)| id);
        assert_eq!(levels.collect::<Vec<_>>(), [1, 5, 6, 7, 8, 12, 13, 14], "wherever it may come");
        // Sound comes first.
        let same = announced.with_first(&declared(&[(MID, 4), (TRANSPORT_CC, 3)]));
        assert_eq!(same.extensions.len(), announced.extensions.len());
        assert!(announced.extensions.iter().all(|extension| same.extensions.contains(extension)));
        // Ids that cannot be used, or twice the same.
        let odd = announced.with_first(&declared(&[(MID, 0), (RID, 17), (TRANSPORT_CC, 7), (REPAIRED_RID, 7)]));
        assert_eq!(id_of(&odd, &Extension::TransportSequenceNumber), Some(7));
        assert_eq!(id_of(&odd, &Extension::RtpMid), Some(4));
    }

    #[test]
    fn what_streams_are_told_apart_by_must_fit() {
        let formats = Formats::of_chromium();
        let check = |extensions: &[(&str, u16)]| formats.check_extensions(&declared(extensions).header_extensions);
        assert_eq!(check(&[(MID, 4), (TRANSPORT_CC, 3), (AUDIO_LEVEL, 1)]), Ok(()));
        assert_eq!(check(&[(MID, 4), (TRANSPORT_CC, 12), (AUDIO_LEVEL, 13)]), Ok(()), "of no use, and no harm");
        for unusable in
            [(MID, 17), (RID, 200), (REPAIRED_RID, 65_535), (TRANSPORT_CC, 0), ("urn:of:something-else", 260)]
        {
            assert_eq!(check(&[(MID, 4), unusable]), Ok(()), "{unusable:?}");
        }
        for bad in [(MID, 5), (RID, 4), (AUDIO_LEVEL, 3), ("urn:of:something-else", 10)] {
            assert!(check(&[bad]).is_err(), "{bad:?}");
        }
    }
}
