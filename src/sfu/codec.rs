//! What can be told of a packet from its payload: whether a whole picture starts in it, and how it is numbered.

use std::sync::Arc;

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

use super::router::Codec;

/// A look at a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glance {
    /// Whether a picture starts that needs no other.
    pub(super) starts_keyframe: bool,
    /// The layer of the frame rate that it belongs to.
    pub(super) temporal_layer: u8,
    /// Whether layers up to its own can be decoded from here on without what came before of them.
    pub(super) is_sync: bool,
    pub(super) numbers: Option<Numbers>,
}

/// How a picture is numbered in its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) picture: u16,
    /// 15 bits rather than 7.
    pub(super) is_wide: bool,
    /// Of the lowest temporal layer, modulo 256.
    pub(super) base: Option<u8>,
    pub(super) picture_at: usize,
    pub(super) base_at: usize,
}

impl Glance {
    const NOTHING: Self = Self { starts_keyframe: false, temporal_layer: 0, is_sync: false, numbers: None };

    pub(super) fn at(codec: Codec, payload: &[u8]) -> Self {
        match codec {
            // Each packet stands for itself.
            Codec::Opus => Self { starts_keyframe: true, ..Self::NOTHING },
            Codec::Vp8 => vp8(payload).unwrap_or(Self::NOTHING),
            Codec::Vp9 => vp9(payload).unwrap_or(Self::NOTHING),
            Codec::H264 => Self { starts_keyframe: h264_starts_keyframe(payload), ..Self::NOTHING },
            // AV1 RTP, section 4.4: the N bit is set in the first packet of a coded video sequence.
            Codec::Av1 => {
                Self { starts_keyframe: payload.first().is_some_and(|header| header & 0x08 != 0), ..Self::NOTHING }
            }
        }
    }
}

/// Reads a descriptor byte by byte.
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

    /// A picture id of 7 or 15 bits; both codecs write it alike.
    fn picture(&mut self) -> Option<(u16, bool, usize)> {
        let at = self.at;
        let high = self.next()?;
        if high & 0x80 == 0 {
            return Some((high.into(), false, at));
        }
        Some((u16::from_be_bytes([high & 0x7f, self.next()?]), true, at))
    }
}

/// RFC 7741, section 4.2.
fn vp8(payload: &[u8]) -> Option<Glance> {
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
    let numbers = picture.map(|(picture, is_wide, picture_at)| Numbers { picture, is_wide, base, picture_at, base_at });
    Some(Glance {
        starts_keyframe,
        temporal_layer: if has_layer { layers >> 6 } else { 0 },
        is_sync: has_layer && layers & 0x20 != 0,
        numbers,
    })
}

/// RFC 9628, section 4.2.
fn vp9(payload: &[u8]) -> Option<Glance> {
    let mut reader = Reader { payload, at: 0 };
    let first = reader.next()?;
    let (has_picture, is_predicted, has_layers) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0);
    let (is_flexible, starts_frame) = (first & 0x10 != 0, first & 0x08 != 0);
    let picture = if has_picture { Some(reader.picture()?) } else { None };
    let layers = if has_layers { reader.next()? } else { 0 };
    let base_at = reader.at;
    let base = if has_layers && !is_flexible { Some(reader.next()?) } else { None };
    let numbers = picture.map(|(picture, is_wide, picture_at)| Numbers { picture, is_wide, base, picture_at, base_at });
    let spatial = (layers >> 1) & 0x07;
    // Temporal layers are left as they are: dropping some needs more than this of the structure.
    Some(Glance {
        starts_keyframe: starts_frame && !is_predicted && spatial == 0,
        temporal_layer: 0,
        is_sync: false,
        numbers,
    })
}

/// RFC 6184: whether a sequence parameter set is in it, which comes before each picture that needs no other.
fn h264_starts_keyframe(payload: &[u8]) -> bool {
    const SEQUENCE_PARAMETERS: u8 = 7;
    let kind = |byte: &u8| byte & 0x1f;
    match payload.first().map(kind) {
        Some(SEQUENCE_PARAMETERS) => true,
        // Several units, each after its length.
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
        // A part of one; the first.
        Some(28) => payload.get(1).is_some_and(|header| header & 0x80 != 0 && kind(header) == SEQUENCE_PARAMETERS),
        _ => false,
    }
}

/// A payload with other numbers in it: those of VP8 are put there as it is written, so that it need not be copied before.
pub(super) fn renumber(codec: Codec, payload: &Arc<[u8]>, from: Numbers, to: Numbers) -> (Arc<[u8]>, Option<Vp8Patch>) {
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
    fn keyframes_of_vp8_are_found() {
        // X, I with 15 bits, L and T; then a frame header.
        let packet = |first: u8, frame: u8| [first, 0xe0, 0x81, 0x02, 0x07, 0x60, frame];
        let glance = Glance::at(Codec::Vp8, &packet(0x90, 0x00));
        assert!(glance.starts_keyframe);
        assert_eq!((glance.temporal_layer, glance.is_sync), (1, true));
        let numbers = glance.numbers.unwrap();
        assert_eq!((numbers.picture, numbers.is_wide, numbers.base), (0x0102, true, Some(7)));
        assert!(!Glance::at(Codec::Vp8, &packet(0x90, 0x01)).starts_keyframe, "predicted");
        assert!(!Glance::at(Codec::Vp8, &packet(0x80, 0x00)).starts_keyframe, "not the start");
        assert!(!Glance::at(Codec::Vp8, &packet(0x91, 0x00)).starts_keyframe, "another partition");
        assert!(Glance::at(Codec::Vp8, &[0x10, 0x00]).starts_keyframe, "no extension");
    }

    #[test]
    fn keyframes_of_the_others_are_found() {
        assert!(Glance::at(Codec::H264, &[0x67, 1, 2]).starts_keyframe);
        assert!(!Glance::at(Codec::H264, &[0x65, 1, 2]).starts_keyframe, "a picture without its parameters");
        assert!(Glance::at(Codec::H264, &[24, 0, 1, 0x09, 0, 2, 0x67, 1]).starts_keyframe, "the second unit");
        assert!(!Glance::at(Codec::H264, &[24, 0xff, 0xff, 0x09, 0x67]).starts_keyframe, "a length that lies");
        assert!(Glance::at(Codec::H264, &[28, 0x87]).starts_keyframe);
        assert!(!Glance::at(Codec::H264, &[28, 0x07]).starts_keyframe, "not its first part");
        assert!(Glance::at(Codec::Av1, &[0x18, 0]).starts_keyframe);
        assert!(!Glance::at(Codec::Av1, &[0x10, 0]).starts_keyframe);
        assert!(Glance::at(Codec::Vp9, &[0x88, 0x05, 0]).starts_keyframe);
        assert!(!Glance::at(Codec::Vp9, &[0xc8, 0x05, 0]).starts_keyframe, "predicted");
        assert!(!Glance::at(Codec::Vp9, &[0xa8, 0x05, 0x02, 0x01, 0]).starts_keyframe, "an upper spatial layer");
    }

    fn from_hex(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn what_chromium_sends_is_told_apart() {
        let recorded = include_str!("../../tests/fixtures/media/payloads.txt");
        let (mut keys, mut last) = (0, None);
        for line in recorded.lines().filter(|line| !line.starts_with('#')) {
            let [codec, what, payload] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let codec = CODECS.into_iter().find(|known| format!("{known:?}").eq_ignore_ascii_case(codec)).unwrap();
            let glance = Glance::at(codec, &from_hex(payload));
            assert_eq!(glance.starts_keyframe, what == "key", "{line}");
            keys += u8::from(glance.starts_keyframe);
            let Some(picture) = glance.numbers.map(|numbers| numbers.picture) else {
                assert!(!matches!(codec, Codec::Vp8 | Codec::Vp9), "{line}");
                continue;
            };
            // The frame after a keyframe has the next number, and all parts of one have the same.
            match what {
                "rest" | "delta-rest" => assert_eq!(Some(picture), last, "{line}"),
                "delta" => assert_eq!(Some(picture), last.map(|last| (last + 1) & 0x7fff), "{line}"),
                _ => {}
            }
            last = Some(picture);
        }
        assert_eq!(keys, 8, "two of each codec");
    }

    proptest! {
        #[test]
        fn no_payload_is_too_odd(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let payload: Arc<[u8]> = payload.into();
            for codec in CODECS {
                let Some(from) = Glance::at(codec, &payload).numbers else { continue };
                let mask = if from.is_wide { 0x7fff } else { 0x7f };
                let to = Numbers { picture: (from.picture + 1) & mask, base: from.base.map(|base| base.wrapping_add(9)), ..from };
                let (renumbered, _) = renumber(codec, &payload, from, to);
                if codec == Codec::Vp9 {
                    assert_eq!(Glance::at(codec, &renumbered).numbers, Some(to));
                } else {
                    // What the library finds too odd to change goes on as it is.
                    assert!(Arc::ptr_eq(&renumbered, &payload));
                }
            }
        }
    }
}
