//! Streams that nobody described, and that nobody has heard yet: which of them may be whose.
//!
//! A client may leave out the numbers of its streams (SSRC), and name them in their packets instead: by the media section
//! (RFC 9143), the layer (RFC 8852), and the payload type. The library believes such names before it knows whether a packet
//! is signed, and takes the stream that it had of that name for gone.
//!
//! - [`Places::claimed`] reads the name that a packet gives itself, as the library does;
//! - a [`Place`] is open until a stream that is signed has taken it, and closed from then on.
//!
//! The guarantee that is easy to break: a name that somebody has is not given to another. Anybody can write one who knows
//! a client's address, and the client goes on without names once it was told that its packets arrive.

use std::collections::HashSet;

use str0m::media::{Mid, Rid};
use str0m::rtp::Extension;

use super::formats::Formats;
use super::parameters::Kind;
use super::producer::Description;

/// A stream, as packets name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) mid: Mid,
    rid: Option<Rid>,
    /// Whether it retransmits the other stream of this name.
    is_repair: bool,
}

/// The places of one transport that no stream has taken.
#[derive(Debug, Default)]
pub(super) struct Places(HashSet<Place>);

impl Places {
    /// Opens those that a description leaves open.
    pub(super) fn open(&mut self, description: &Description) {
        let mid = description.mid;
        let is_video = description.codec.kind() == Kind::Video;
        for layer in &description.layers {
            let place = |is_repair| Place { mid, rid: layer.rid, is_repair };
            self.0.extend(layer.ssrc.is_none().then(|| place(false)));
            self.0.extend((is_video && layer.rtx.is_none()).then(|| place(true)));
        }
    }

    /// Forgets those of a media section.
    pub(super) fn forget(&mut self, mid: Mid) {
        self.0.retain(|place| place.mid != mid);
    }

    /// A stream has proved that a place is its own.
    pub(super) fn close(&mut self, place: Place) {
        self.0.remove(&place);
    }

    /// The place that a packet of RTP says is its stream's, where that is open.
    pub(super) fn claimed(&self, packet: &[u8], formats: &Formats) -> Option<Place> {
        if self.0.is_empty() {
            return None;
        }
        let Names { mid, rid, repaired } = Names::read(packet, formats)?;
        let is_repair = match (rid, repaired) {
            (Some(_), _) => false,
            (None, Some(_)) => true,
            (None, None) => formats.is_repair(packet.get(1)? & 0x7f),
        };
        let place = Place { mid: mid?, rid: rid.or(repaired), is_repair };
        self.0.contains(&place).then_some(place)
    }
}

/// What a packet says in its header extensions of the stream that it belongs to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    mid: Option<Mid>,
    rid: Option<Rid>,
    repaired: Option<Rid>,
}

impl Names {
    /// RFC 3550, section 5.3.1, and RFC 8285, section 4. `None` where the header is not whole.
    fn read(packet: &[u8], formats: &Formats) -> Option<Self> {
        let mut names = Self::default();
        let first = *packet.first()?;
        if first & 0x10 == 0 {
            return Some(names);
        }
        let (head, rest) = packet.get(12 + 4 * usize::from(first & 0x0f)..)?.split_first_chunk::<4>()?;
        let is_short = head[..2] == [0xbe, 0xde];
        if !is_short && (head[0] != 0x10 || head[1] & 0xf0 != 0) {
            return None;
        }
        let mut elements = rest.get(..4 * usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        while let Some((id, value, rest)) = element(elements, is_short) {
            elements = rest;
            let (Some(extension), Ok(text)) = (formats.extension(id), std::str::from_utf8(value)) else { continue };
            match extension {
                Extension::RtpMid => names.mid = Some(text.into()),
                Extension::RtpStreamId => names.rid = Some(text.into()),
                Extension::RepairedRtpStreamId => names.repaired = Some(text.into()),
                _ => {}
            }
        }
        Some(names)
    }
}

/// The first element of some: its id, its value, and what comes after it.
fn element(elements: &[u8], is_short: bool) -> Option<(u8, &[u8], &[u8])> {
    let padding = elements.iter().take_while(|byte| **byte == 0).count();
    let elements = &elements[padding..];
    let (id, length, rest) = match (is_short, elements) {
        // The end, by its id.
        (true, [first, ..]) if first >> 4 == 15 => return None,
        (true, [first, rest @ ..]) => (first >> 4, usize::from(first & 0x0f) + 1, rest),
        (false, [id, length, rest @ ..]) => (*id, usize::from(*length), rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((id, value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// With these header extensions, as the form says.
    fn packet(form: [u8; 2], elements: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7];
        packet.extend(form);
        let words = elements.len().div_ceil(4);
        packet.extend(u16::try_from(words).unwrap().to_be_bytes());
        packet.extend(elements);
        packet.resize(16 + 4 * words, 0);
        packet.extend([0xa5; 20]);
        packet
    }

    fn names(packet: &[u8]) -> Option<(Option<String>, Option<String>, Option<String>)> {
        let Names { mid, rid, repaired } = Names::read(packet, &Formats::of_chromium())?;
        Some((mid.map(|it| it.to_string()), rid.map(|it| it.to_string()), repaired.map(|it| it.to_string())))
    }

    #[test]
    fn names_are_read_in_both_forms() {
        let text = |text: &str| Some(text.to_owned());
        let short = packet([0xbe, 0xde], b"\x40v\0\xa1r0");
        assert_eq!(names(&short), Some((text("v"), text("r0"), None)));
        let long = packet([0x10, 0x05], b"\x04\x01v\0\0\x0b\x02r1");
        assert_eq!(names(&long), Some((text("v"), None, text("r1"))));
        assert_eq!(names(&packet([0xbe, 0xde], b"\x40a\x40b")), Some((text("b"), None, None)), "the last one counts");
        assert_eq!(names(&packet([0xbe, 0xde], b"\xf0\0\x40v")), Some((None, None, None)), "after the end");
        assert_eq!(names(&packet([0xbe, 0xde], b"\x4f")), Some((None, None, None)), "a length that lies");
        assert_eq!(names(&packet([0xab, 0xcd], b"\x40v")), None, "another form");
        assert_eq!(names(&short[..14]), None);
        assert_eq!(names(&[0x80, 96]), Some((None, None, None)), "no extensions");
    }

    proptest! {
        #[test]
        fn no_packet_is_too_odd(packet in proptest::collection::vec(any::<u8>(), 0..60)) {
            Names::read(&packet, &Formats::of_chromium());
        }
    }
}
