//! Parsing of RTP payloads: keyframes, temporal layers and picture numbers.

use std::sync::Arc;

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

use super::codecs::Codec;

/// Information about the payload of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct PayloadInfo {
    /// Whether a keyframe starts in this packet.
    pub(super) starts_keyframe: bool,
    /// The temporal layer of the frame.
    pub(super) temporal_layer: u8,
    /// Whether a receiver can switch up to the temporal layer of this frame here.
    pub(super) is_sync: bool,
    pub(super) numbers: Option<PictureNumbers>,
}

/// Picture id and TL0PICIDX in a payload, with their byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PictureNumbers {
    pub(super) picture: u16,
    /// Whether the picture id has 15 bits rather than 7.
    pub(super) is_wide: bool,
    /// TL0PICIDX, if present.
    pub(super) base: Option<u8>,
    pub(super) picture_at: usize,
    pub(super) base_at: usize,
}

impl PayloadInfo {
    const UNKNOWN: Self =
        Self { starts_keyframe: false, temporal_layer: 0, is_sync: false, numbers: None };

    pub(super) fn parse(codec: Codec, payload: &[u8]) -> Self {
        match codec {
            // Each packet can be decoded without the others.
            Codec::Opus => Self { starts_keyframe: true, ..Self::UNKNOWN },
            Codec::Vp8 => vp8(payload).unwrap_or(Self::UNKNOWN),
            Codec::Vp9 => vp9(payload).unwrap_or(Self::UNKNOWN),
            Codec::H264 => Self { starts_keyframe: h264_starts_keyframe(payload), ..Self::UNKNOWN },
            // AV1 RTP, section 4.4: the N bit is set in the first packet of a coded video sequence.
            Codec::Av1 => Self {
                starts_keyframe: payload.first().is_some_and(|header| header & 0x08 != 0),
                ..Self::UNKNOWN
            },
        }
    }
}

/// Reads a payload descriptor byte by byte.
struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.payload.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Reads a picture id of 7 or 15 bits, which VP8 and VP9 encode alike. Returns the id, whether
    /// it has 15 bits, and its offset.
    fn picture(&mut self) -> Option<(u16, bool, usize)> {
        let at = self.at;
        let high = self.next()?;
        if high & 0x80 == 0 {
            return Some((high.into(), false, at));
        }
        Some((u16::from_be_bytes([high & 0x7f, self.next()?]), true, at))
    }
}

/// Parses a VP8 payload descriptor (RFC 7741, section 4.2).
fn vp8(payload: &[u8]) -> Option<PayloadInfo> {
    let mut reader = Reader { payload, at: 0 };
    let first = reader.next()?;
    let extension = if first & 0x80 == 0 { 0 } else { reader.next()? };
    let picture = if extension & 0x80 == 0 { None } else { Some(reader.picture()?) };
    let base_at = reader.at;
    let base = if extension & 0x40 == 0 { None } else { Some(reader.next()?) };
    let layers = if extension & 0x30 == 0 { 0 } else { reader.next()? };
    let has_layer = extension & 0x20 != 0;
    let partition = first & 0x07;
    let starts_frame = first & 0x10 != 0 && partition == 0;
    let starts_keyframe = starts_frame && reader.next()? & 0x01 == 0;
    let numbers = picture.map(|(picture, is_wide, picture_at)| PictureNumbers {
        picture,
        is_wide,
        base,
        picture_at,
        base_at,
    });
    Some(PayloadInfo {
        starts_keyframe,
        temporal_layer: if has_layer { layers >> 6 } else { 0 },
        is_sync: has_layer && layers & 0x20 != 0,
        numbers,
    })
}

/// Parses a VP9 payload descriptor (RFC 9628, section 4.2).
fn vp9(payload: &[u8]) -> Option<PayloadInfo> {
    let mut reader = Reader { payload, at: 0 };
    let first = reader.next()?;
    let (has_picture, is_predicted, has_layers) =
        (first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0);
    let (is_flexible, starts_frame) = (first & 0x10 != 0, first & 0x08 != 0);
    let picture = if has_picture { Some(reader.picture()?) } else { None };
    let layers = if has_layers { reader.next()? } else { 0 };
    let base_at = reader.at;
    let base = if has_layers && !is_flexible { Some(reader.next()?) } else { None };
    let numbers = picture.map(|(picture, is_wide, picture_at)| PictureNumbers {
        picture,
        is_wide,
        base,
        picture_at,
        base_at,
    });
    let spatial = (layers >> 1) & 0x07;
    // All temporal layers are forwarded: dropping some would require the scalability structure.
    Some(PayloadInfo {
        starts_keyframe: starts_frame && !is_predicted && spatial == 0,
        temporal_layer: 0,
        is_sync: false,
        numbers,
    })
}

/// Returns whether an H.264 payload (RFC 6184) holds a sequence parameter set, which precedes each
/// IDR picture.
fn h264_starts_keyframe(payload: &[u8]) -> bool {
    const SEQUENCE_PARAMETERS: u8 = 7;
    let kind = |byte: &u8| byte & 0x1f;
    match payload.first().map(kind) {
        Some(SEQUENCE_PARAMETERS) => true,
        // STAP-A: several units, each preceded by its length.
        Some(24) => {
            let mut rest = &payload[1..];
            while let [high, low, unit @ ..] = rest {
                if unit.first().map(kind) == Some(SEQUENCE_PARAMETERS) {
                    return true;
                }
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest = unit.get(length..).unwrap_or_default();
            }
            false
        }
        // FU-A: the first fragment of a unit.
        Some(28) => payload
            .get(1)
            .is_some_and(|header| header & 0x80 != 0 && kind(header) == SEQUENCE_PARAMETERS),
        _ => false,
    }
}

/// Replaces the picture numbers in a payload. For VP8 it returns a patch that str0m applies when it
/// writes the packet, which saves a copy.
pub(super) fn renumber(
    codec: Codec,
    payload: &Arc<[u8]>,
    from: PictureNumbers,
    to: PictureNumbers,
) -> (Arc<[u8]>, Option<Vp8Patch>) {
    if from == to {
        return (Arc::clone(payload), None);
    }
    if codec == Codec::Vp8 {
        let patch = Vp8Descriptor::parse(payload).ok().and_then(|descriptor| {
            let patch = descriptor.patch().picture_id(to.picture);
            match to.base {
                Some(base) => patch.tl0_pic_idx(base).build().ok(),
                None => patch.build().ok(),
            }
        });
        return (Arc::clone(payload), patch);
    }
    let mut changed = payload.to_vec();
    let [high, low] = to.picture.to_be_bytes();
    if to.is_wide {
        changed[to.picture_at] = high | 0x80;
        changed[to.picture_at + 1] = low;
    } else {
        changed[to.picture_at] = low;
    }
    if let Some(base) = to.base {
        changed[to.base_at] = base;
    }
    (changed.into(), None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODECS: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

    #[test]
    fn vp8_keyframes_are_detected() {
        // X, I with 15 bits, L and T; then a frame header.
        let packet = |first: u8, frame: u8| [first, 0xe0, 0x81, 0x02, 0x07, 0x60, frame];
        let info = PayloadInfo::parse(Codec::Vp8, &packet(0x90, 0x00));
        assert!(info.starts_keyframe);
        assert_eq!((info.temporal_layer, info.is_sync), (1, true));
        let numbers = info.numbers.unwrap();
        assert_eq!((numbers.picture, numbers.is_wide, numbers.base), (0x0102, true, Some(7)));
        assert!(
            !PayloadInfo::parse(Codec::Vp8, &packet(0x90, 0x01)).starts_keyframe,
            "predicted frame"
        );
        assert!(
            !PayloadInfo::parse(Codec::Vp8, &packet(0x80, 0x00)).starts_keyframe,
            "not the start of a frame"
        );
        assert!(
            !PayloadInfo::parse(Codec::Vp8, &packet(0x91, 0x00)).starts_keyframe,
            "another partition"
        );
        assert!(PayloadInfo::parse(Codec::Vp8, &[0x10, 0x00]).starts_keyframe, "no extension");
    }

    #[test]
    fn keyframes_of_other_codecs_are_detected() {
        assert!(PayloadInfo::parse(Codec::H264, &[0x67, 1, 2]).starts_keyframe);
        assert!(
            !PayloadInfo::parse(Codec::H264, &[0x65, 1, 2]).starts_keyframe,
            "IDR picture without parameter set"
        );
        assert!(
            PayloadInfo::parse(Codec::H264, &[24, 0, 1, 0x09, 0, 2, 0x67, 1]).starts_keyframe,
            "the second unit"
        );
        assert!(
            !PayloadInfo::parse(Codec::H264, &[24, 0xff, 0xff, 0x09, 0x67]).starts_keyframe,
            "length beyond the end"
        );
        assert!(PayloadInfo::parse(Codec::H264, &[28, 0x87]).starts_keyframe);
        assert!(
            !PayloadInfo::parse(Codec::H264, &[28, 0x07]).starts_keyframe,
            "not the first fragment"
        );
        assert!(PayloadInfo::parse(Codec::Av1, &[0x18, 0]).starts_keyframe);
        assert!(!PayloadInfo::parse(Codec::Av1, &[0x10, 0]).starts_keyframe);
        assert!(PayloadInfo::parse(Codec::Vp9, &[0x88, 0x05, 0]).starts_keyframe);
        assert!(
            !PayloadInfo::parse(Codec::Vp9, &[0xc8, 0x05, 0]).starts_keyframe,
            "predicted frame"
        );
        assert!(
            !PayloadInfo::parse(Codec::Vp9, &[0xa8, 0x05, 0x02, 0x01, 0]).starts_keyframe,
            "an upper spatial layer"
        );
    }

    fn from_hex(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn recorded_chromium_payloads_are_parsed() {
        let recorded = include_str!("../../tests/fixtures/media/payloads.txt");
        let (mut keys, mut last) = (0, None);
        for line in recorded.lines().filter(|line| !line.starts_with('#')) {
            let [codec, what, payload] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let codec = CODECS
                .into_iter()
                .find(|known| format!("{known:?}").eq_ignore_ascii_case(codec))
                .unwrap();
            let info = PayloadInfo::parse(codec, &from_hex(payload));
            assert_eq!(info.starts_keyframe, what == "key", "{line}");
            keys += u8::from(info.starts_keyframe);
            let Some(picture) = info.numbers.map(|numbers| numbers.picture) else {
                assert!(!matches!(codec, Codec::Vp8 | Codec::Vp9), "{line}");
                continue;
            };
            // All packets of a frame have the same picture id, and the next frame has the next one.
            match what {
                "rest" | "delta-rest" => assert_eq!(Some(picture), last, "{line}"),
                "delta" => {
                    assert_eq!(Some(picture), last.map(|last| (last + 1) & 0x7fff), "{line}");
                }
                _ => {}
            }
            last = Some(picture);
        }
        assert_eq!(keys, 8, "two of each codec");
    }

    proptest! {
        #[test]
        fn arbitrary_payloads_do_not_panic(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let payload: Arc<[u8]> = payload.into();
            for codec in CODECS {
                let Some(from) = PayloadInfo::parse(codec, &payload).numbers else { continue };
                let mask = if from.is_wide { 0x7fff } else { 0x7f };
                let base = from.base.map(|base| base.wrapping_add(9));
                let to = PictureNumbers { picture: (from.picture + 1) & mask, base, ..from };
                let (renumbered, _) = renumber(codec, &payload, from, to);
                if codec == Codec::Vp9 {
                    assert_eq!(PayloadInfo::parse(codec, &renumbered).numbers, Some(to));
                } else {
                    // A descriptor that str0m cannot patch is left unchanged.
                    assert!(Arc::ptr_eq(&renumbered, &payload));
                }
            }
        }
    }
}
