//! Payload types and header extension ids of one transport.
//!
//! Consumers use the router's numbers. Producers use those of their client, taken from its capabilities and its first
//! track.
//!
//! Invariant: the numbers are fixed when the transport starts. Tracks with other numbers are refused later.

use str0m::format::{CodecConfig, FormatParams};
use str0m::media::Frequency;
use str0m::rtp::{Extension, ExtensionMap};

use super::parameters::{ExtensionParameters, RtpCapabilities, RtpParameters, TrackKind};
use super::request::SfuErrorKind;
use super::router::{
    AUDIO_LEVEL, Codec, EXTENSIONS, MID, REPAIRED_RID, RID, SupportedExtension, TRANSPORT_CC, as_number, capabilities,
};

/// The payload types and extension ids of one transport.
#[derive(Debug, Clone)]
pub(super) struct Formats {
    /// Payload type, codec, and payload type of RTX.
    payloads: Vec<(u8, Codec, Option<u8>)>,
    /// Id, and index in [`EXTENSIONS`].
    extensions: Vec<(u8, usize)>,
}

/// Maximum number of codecs, and of extensions, that are read of a client's capabilities. Browsers have fewer than
/// forty.
const MAX_ENTRIES: usize = 128;

/// Largest valid id of a header extension.
const MAX_EXTENSION_ID: u8 = 16;

/// Returns a header extension id if it is valid. Extensions with other ids are ignored.
fn valid_id(id: u16) -> Option<u8> {
    u8::try_from(id).ok().filter(|id| (1..=MAX_EXTENSION_ID).contains(id))
}

/// Adds an extension if it is supported, its id is valid, and neither is present yet.
fn add_extension(extensions: &mut Vec<(u8, usize)>, uri: &str, id: u16) {
    let index = EXTENSIONS.iter().position(|extension| extension.uri == uri);
    let (Some(index), Some(id)) = (index, valid_id(id)) else { return };
    if !extensions.iter().any(|(taken, known)| *taken == id || *known == index) {
        extensions.push((id, index));
    }
}

impl Formats {
    /// Returns the router's numbers, for receiving transports.
    pub(super) fn of_router() -> Self {
        Self::read(&capabilities())
    }

    /// Returns the numbers in a sending client's capabilities. Unsupported codecs and extensions, and those with
    /// invalid numbers, are left out.
    pub(super) fn read(client: &RtpCapabilities) -> Self {
        let mut payloads: Vec<(u8, Codec, Option<u8>)> = Vec::new();
        let codecs = || client.codecs.iter().take(MAX_ENTRIES);
        for offered in codecs() {
            let codec = Codec::parse(&offered.mime_type, offered.clock_rate, offered.channels, &offered.parameters);
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
        for offered in client.header_extensions.iter().take(MAX_ENTRIES) {
            add_extension(&mut extensions, &offered.uri, offered.preferred_id);
        }
        Self { payloads, extensions }
    }

    /// Returns the numbers of current Chromium, for clients that send no capabilities.
    pub(super) fn of_chromium() -> Self {
        let payloads = vec![
            (111, Codec::Opus, None),
            (96, Codec::Vp8, Some(97)),
            (98, Codec::Vp9, Some(99)),
            (108, Codec::H264, Some(109)),
            (45, Codec::Av1, Some(46)),
        ];
        let id_of = |extension: &SupportedExtension| match extension.extension {
            Extension::AudioLevel => 1,
            Extension::AbsoluteSendTime => 2,
            Extension::TransportSequenceNumber => 3,
            Extension::RtpMid => 4,
            Extension::RtpStreamId => 10,
            Extension::RepairedRtpStreamId => 11,
            _ => 13,
        };
        let extensions = EXTENSIONS.iter().enumerate().map(|(index, extension)| (id_of(extension), index)).collect();
        Self { payloads, extensions }
    }

    /// Returns the codec of a payload type, and its RTX payload type.
    pub(super) fn codec(&self, payload_type: u8) -> Option<(Codec, Option<u8>)> {
        let mut payloads = self.payloads.iter();
        payloads.find(|(own, _, _)| *own == payload_type).map(|(_, codec, rtx)| (*codec, *rtx))
    }

    /// Returns whether a payload type is that of RTX.
    pub(super) fn is_rtx(&self, payload_type: u8) -> bool {
        self.payloads.iter().any(|(_, _, rtx)| *rtx == Some(payload_type))
    }

    /// Returns the header extension with an id.
    pub(super) fn extension(&self, id: u8) -> Option<&'static Extension> {
        let mut extensions = self.extensions.iter();
        extensions.find(|(own, _)| *own == id).map(|(_, index)| &EXTENSIONS[*index].extension)
    }

    /// Returns these numbers with the extension ids of the first track taking precedence: browsers number extensions by
    /// the kind of that track. If its ids differ from those announced, the id of the audio level cannot be predicted,
    /// and every free id is read as one.
    pub(super) fn with_first_track(&self, parameters: &RtpParameters) -> Self {
        let mut extensions: Vec<(u8, usize)> = Vec::new();
        for declared in parameters.header_extensions.iter().take(MAX_ENTRIES) {
            add_extension(&mut extensions, &declared.uri, declared.id);
        }
        let is_as_announced = extensions.iter().all(|extension| self.extensions.contains(extension));
        for (id, index) in &self.extensions {
            add_extension(&mut extensions, EXTENSIONS[*index].uri, (*id).into());
        }
        let level = EXTENSIONS.iter().position(|extension| extension.extension == Extension::AudioLevel);
        let is_declared = parameters.header_extensions.iter().any(|declared| declared.uri == AUDIO_LEVEL);
        if let (Some(index), false, false) = (level, is_as_announced, is_declared) {
            let free: Vec<u8> = (1..=14).filter(|id| extensions.iter().all(|(taken, _)| taken != id)).collect();
            extensions.extend(free.into_iter().map(|id| (id, index)));
        }
        Self { payloads: self.payloads.clone(), extensions }
    }

    /// Checks the extension ids of a track. Those that identify streams must match the transport's ids; a track can be
    /// forwarded without the others. No other extension may have the id of one that the transport itself reads.
    pub(super) fn check_extensions(&self, declared: &[ExtensionParameters]) -> Result<(), SfuErrorKind> {
        let wrong = |problem| SfuErrorKind::NotAnnounced { field: "rtpParameters.headerExtensions", problem };
        let both = |declared| self.extensions.iter().map(move |(id, index)| (declared, *id, EXTENSIONS[*index].uri));
        let declared = declared.iter().filter(|declared| valid_id(declared.id).is_some());
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

    /// Returns whether the streams of a track can be identified by MID and RID: the transport knows the ids of both,
    /// and the track declares no invalid ones.
    pub(super) fn can_identify_streams(&self, declared: &[ExtensionParameters]) -> bool {
        let is_known = |uri: &str| self.extensions.iter().any(|(_, index)| EXTENSIONS[*index].uri == uri);
        let is_lost = |uri: &str| {
            let mut ids = declared.iter().filter(|declared| declared.uri == uri).map(|declared| valid_id(declared.id));
            ids.any(|id| id.is_none())
        };
        [MID, RID].into_iter().all(|uri| is_known(uri) && !is_lost(uri))
    }

    pub(super) fn add_to(&self, config: &mut CodecConfig) {
        for (payload_type, codec, rtx) in &self.payloads {
            let clock =
                if codec.kind() == TrackKind::Audio { Frequency::FORTY_EIGHT_KHZ } else { Frequency::NINETY_KHZ };
            let rtx = rtx.map(Into::into);
            let codec = codec.to_str0m();
            let channels = (codec == str0m::format::Codec::Opus).then_some(2);
            config.add_config((*payload_type).into(), rtx, codec, clock, channels, FormatParams::default());
        }
    }

    pub(super) fn extension_map(&self) -> ExtensionMap {
        let mut map = ExtensionMap::empty();
        for (id, index) in &self.extensions {
            map.set(*id, EXTENSIONS[*index].extension.clone());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

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
    fn first_track_determines_extension_ids() {
        let announced = Formats::of_chromium();
        // Chromium's ids if video comes first.
        let first = announced.with_first_track(&declared(&[
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
        assert_eq!(levels.collect::<Vec<_>>(), [1, 5, 6, 7, 8, 12, 13, 14], "all free ids");
        // Audio first.
        let same = announced.with_first_track(&declared(&[(MID, 4), (TRANSPORT_CC, 3)]));
        assert_eq!(same.extensions.len(), announced.extensions.len());
        assert!(announced.extensions.iter().all(|extension| same.extensions.contains(extension)));
        // Invalid and duplicate ids.
        let odd = announced.with_first_track(&declared(&[(MID, 0), (RID, 17), (TRANSPORT_CC, 7), (REPAIRED_RID, 7)]));
        assert_eq!(id_of(&odd, &Extension::TransportSequenceNumber), Some(7));
        assert_eq!(id_of(&odd, &Extension::RtpMid), Some(4));
    }

    #[test]
    fn extensions_that_identify_streams_must_match() {
        let formats = Formats::of_chromium();
        let check = |extensions: &[(&str, u16)]| formats.check_extensions(&declared(extensions).header_extensions);
        assert_eq!(check(&[(MID, 4), (TRANSPORT_CC, 3), (AUDIO_LEVEL, 1)]), Ok(()));
        assert_eq!(check(&[(MID, 4), (TRANSPORT_CC, 12), (AUDIO_LEVEL, 13)]), Ok(()), "harmless");
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
