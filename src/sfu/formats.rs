//! Payload types and header extension ids.
//!
//! Consumers get the router's numbers. Each producer has those of its client, which may differ from
//! its other producers: [`TrackFormats`] are read from the parameters of `produce`, as in
//! mediasoup.
//!
//! An `Rtc` of str0m has one set of numbers, fixed when it is created. So that of a sending
//! transport accepts all:
//! - each payload type is declared as its own RTX, so that str0m recognizes retransmissions by
//!   their SSRC alone;
//! - each extension id is declared as a [`SelectedExtension`], whose meaning is set before each
//!   packet, by [`ExtensionSelector::select`], to that in the packet's track.
//!
//! Invariant: what a number means depends only on the track that a packet belongs to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use str0m::format::{CodecConfig, FormatParams};
use str0m::media::Frequency;
use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};

use super::codecs::{Codec, EXTENSIONS, as_number};
use super::parameters::{CodecParameters, ExtensionParameters, RtpParameters};
use super::request::SfuErrorKind;

/// Payload types of Opus in Chromium and Safari, in Firefox, and of the router. Opus with another
/// one works as well, but receiver reports state its jitter in units of a video clock, as str0m
/// must know the clock rate in advance.
const OPUS_PAYLOAD_TYPES: [u8; 3] = [111, 109, Codec::Opus.payload_type()];

/// Returns whether a payload type can be used. The others are those of RTCP (RFC 5761, section 4).
fn is_valid_payload_type(payload_type: u8) -> bool {
    matches!(payload_type, 0..=63 | 96..=127)
}

/// The payload types and extension ids of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrackFormats {
    payload_type: u8,
    /// The payload type of RTX, if it is used.
    pub(super) rtx: Option<u8>,
    pub(super) extensions: ExtensionIds,
}

impl TrackFormats {
    /// Reads the numbers of a track, which uses the first of its codecs.
    pub(super) fn read(parameters: &RtpParameters) -> Result<Self, SfuErrorKind> {
        let wrong = |problem| SfuErrorKind::Parameter { field: "rtpParameters.codecs", problem };
        let codecs = &parameters.codecs;
        let first = codecs.first().ok_or(wrong("empty"))?;
        let mut taken = [false; 128];
        for codec in codecs {
            if !is_valid_payload_type(codec.payload_type) {
                return Err(wrong("a payload type must be 0 to 63 or 96 to 127"));
            }
            if std::mem::replace(&mut taken[usize::from(codec.payload_type)], true) {
                return Err(wrong("the same payload type twice"));
            }
        }
        let is_rtx_of = |rtx: &CodecParameters, codec: &CodecParameters| {
            !is_rtx(codec)
                && rtx.parameters.get("apt").and_then(as_number) == Some(codec.payload_type.into())
        };
        let mut all_rtx = codecs.iter().filter(|codec| is_rtx(codec));
        if all_rtx.clone().any(|rtx| !codecs.iter().any(|codec| is_rtx_of(rtx, codec))) {
            return Err(wrong(
                "rtx without its codec: apt must be the payload type of another entry",
            ));
        }
        let rtx = all_rtx.find(|rtx| is_rtx_of(rtx, first)).map(|rtx| rtx.payload_type);
        let extensions = ExtensionIds::read(&parameters.header_extensions)?;
        Ok(Self { payload_type: first.payload_type, rtx, extensions })
    }

    /// Returns whether packets of the track may have a payload type. Those that were retransmitted
    /// keep that of RTX.
    pub(super) fn has_payload_type(&self, payload_type: u8) -> bool {
        payload_type == self.payload_type || Some(payload_type) == self.rtx
    }
}

fn is_rtx(codec: &CodecParameters) -> bool {
    codec.mime_type.get(6..).is_some_and(|subtype| subtype.eq_ignore_ascii_case("rtx"))
}

/// The meaning of each header extension id: four bits for each id from 1, which hold the index in
/// [`EXTENSIONS`] plus 1, or 0 for extensions that the router does not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ExtensionIds(u64);

const _: () = assert!(EXTENSIONS.len() < 16, "an index must fit into four bits");

impl ExtensionIds {
    /// The largest id that str0m reads. Clients number the few extensions that the router supports
    /// from 1.
    const MAX: u8 = 16;

    /// Returns the router's ids.
    #[cfg(test)]
    pub(super) fn of_router() -> Self {
        let mut ids = Self::default();
        for (index, extension) in EXTENSIONS.iter().enumerate() {
            ids.set(extension.id, index);
        }
        ids
    }

    /// Reads the ids of a track.
    fn read(declared: &[ExtensionParameters]) -> Result<Self, SfuErrorKind> {
        let wrong =
            |problem| SfuErrorKind::Parameter { field: "rtpParameters.headerExtensions", problem };
        let mut ids = Self::default();
        let mut taken = [false; 256];
        for extension in declared {
            let id = u8::try_from(extension.id).ok().filter(|id| *id > 0);
            let id = id.ok_or(wrong("an id must be 1 to 255"))?;
            if std::mem::replace(&mut taken[usize::from(id)], true) {
                return Err(wrong("the same id twice"));
            }
            let Some(index) = EXTENSIONS.iter().position(|known| known.uri == extension.uri) else {
                continue;
            };
            if id > Self::MAX {
                return Err(wrong("the id of an extension that the router reads must be 1 to 16"));
            }
            if ids.has(&EXTENSIONS[index].extension) {
                return Err(wrong("the same uri twice"));
            }
            ids.set(id, index);
        }
        Ok(ids)
    }

    fn set(&mut self, id: u8, index: usize) {
        self.0 |= (index as u64 + 1) << (4 * u32::from(id - 1));
    }

    /// Returns the number that is stored for an id.
    fn number(self, id: u8) -> u64 {
        if (1..=Self::MAX).contains(&id) { self.0 >> (4 * u32::from(id - 1)) & 0xf } else { 0 }
    }

    /// Returns the extension with an id.
    pub(super) fn get(self, id: u8) -> Option<&'static Extension> {
        let index = usize::try_from(self.number(id)).ok()?.checked_sub(1)?;
        EXTENSIONS.get(index).map(|known| &known.extension)
    }

    /// Returns whether an extension has an id.
    pub(super) fn has(self, extension: &Extension) -> bool {
        (1..=Self::MAX).any(|id| self.get(id) == Some(extension))
    }

    /// Returns these ids, and those of `other` that are free.
    pub(super) fn or(mut self, other: Self) -> Self {
        for id in 1..=Self::MAX {
            if self.number(id) == 0 {
                self.0 |= other.number(id) << (4 * u32::from(id - 1));
            }
        }
        self
    }
}

/// Sets the meaning of header extension ids for the packet that an `Rtc` parses next.
#[derive(Debug, Default)]
pub(super) struct ExtensionSelector(Arc<AtomicU64>);

impl ExtensionSelector {
    pub(super) fn select(&self, ids: ExtensionIds) {
        self.0.store(ids.0, Ordering::Relaxed);
    }

    /// Returns an extension map that reads each id as selected.
    pub(super) fn extension_map(&self) -> ExtensionMap {
        let mut map = ExtensionMap::empty();
        for id in 1..=ExtensionIds::MAX {
            map.set(
                id,
                Extension::with_serializer(
                    "",
                    SelectedExtension { id, selected: Arc::clone(&self.0) },
                ),
            );
        }
        map
    }
}

/// The header extension that an id has in the packet that is being parsed. It is never written.
#[derive(Debug)]
struct SelectedExtension {
    id: u8,
    selected: Arc<AtomicU64>,
}

impl ExtensionSerializer for SelectedExtension {
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, value: &[u8], values: &mut ExtensionValues) -> bool {
        let ids = ExtensionIds(self.selected.load(Ordering::Relaxed));
        ids.get(self.id).is_some_and(|extension| read_value(extension, value, values).is_some())
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        true
    }
}

/// Reads the value of a header extension. Returns `None` if it is malformed, or of no use.
fn read_value(extension: &Extension, value: &[u8], values: &mut ExtensionValues) -> Option<()> {
    let text = || std::str::from_utf8(value).ok();
    match extension {
        Extension::RtpMid => values.mid = Some(text()?.into()),
        Extension::RtpStreamId => values.rid = Some(text()?.into()),
        Extension::RepairedRtpStreamId => values.rid_repair = Some(text()?.into()),
        Extension::TransportSequenceNumber => {
            values.transport_cc = Some(u16::from_be_bytes(*value.first_chunk()?));
        }
        // RFC 6464, section 3: the voice activity flag, and the level in -dBov.
        Extension::AudioLevel => {
            let [first, ..] = value else { return None };
            values.audio_level = i8::try_from(first & 0x7f).ok().map(i8::wrapping_neg);
            values.voice_activity = Some(first & 0x80 != 0);
        }
        Extension::VideoOrientation => values.video_orientation = Some((value.first()? & 3).into()),
        _ => return None,
    }
    Some(())
}

/// Declares the router's codecs, which consumers get.
pub(super) fn add_router_codecs(config: &mut CodecConfig) {
    for codec in Codec::ALL {
        let (payload_type, rtx) =
            (codec.payload_type().into(), codec.rtx_payload_type().map(Into::into));
        config.add_config(
            payload_type,
            rtx,
            codec.to_str0m(),
            clock(codec),
            codec.channels(),
            FormatParams::default(),
        );
    }
}

/// Declares all payload types, for producers of any codec. In RTP mode str0m uses nothing but the
/// clock rate of them.
pub(super) fn add_any_codecs(config: &mut CodecConfig) {
    let others = (96..=127).chain(0..=63).filter(|number| !OPUS_PAYLOAD_TYPES.contains(number));
    let audio = OPUS_PAYLOAD_TYPES.into_iter().map(|number| (number, Codec::Opus));
    for (number, codec) in audio.chain(others.map(|number| (number, Codec::Vp8))) {
        let itself = Some(number.into());
        let (name, channels) = (codec.to_str0m(), codec.channels());
        config.add_config(
            number.into(),
            itself,
            name,
            clock(codec),
            channels,
            FormatParams::default(),
        );
    }
}

fn clock(codec: Codec) -> Frequency {
    if codec == Codec::Opus { Frequency::FORTY_EIGHT_KHZ } else { Frequency::NINETY_KHZ }
}

/// Returns the router's extension ids, which consumers get.
pub(super) fn router_extension_map() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    for known in &EXTENSIONS {
        map.set(known.id, known.extension.clone());
    }
    map
}
