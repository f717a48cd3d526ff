//! Assignment of undeclared streams: SSRCs that no producer announced.
//!
//! A client may leave out the SSRCs of its streams and name them in their packets instead: by MID
//! (RFC 9143), RID (RFC 8852) and payload type. str0m believes such names before it has
//! authenticated the packet, and replaces the stream that had the name before.
//!
//! [`UnboundNames`] holds the names that no stream has yet. A name is bound, and removed from the
//! set, once an authenticated packet carries it.
//!
//! Invariant: a bound name is never given to another stream. Anyone who knows a client's address
//! can forge one, and clients stop sending names once their packets are acknowledged.

use str0m::media::{Mid, Rid};
use str0m::rtp::Extension;

use super::formats::{ExtensionIds, TrackFormats};
use super::producer::TrackDescription;

/// The name of a stream in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamName {
    pub(super) mid: Mid,
    pub(super) rid: Option<Rid>,
    /// Whether it is the RTX stream.
    pub(super) is_rtx: bool,
}

/// A track with stream names that no stream has yet.
#[derive(Debug)]
struct UnboundTrack {
    formats: TrackFormats,
    names: Vec<StreamName>,
}

/// The stream names of one transport that no stream has yet.
#[derive(Debug, Default)]
pub(super) struct UnboundNames(Vec<UnboundTrack>);

impl UnboundNames {
    /// Adds the names of streams whose SSRC a description leaves out.
    pub(super) fn add(&mut self, description: &TrackDescription) {
        let (mid, formats) = (description.mid, description.formats);
        let mut names = Vec::new();
        for layer in &description.layers {
            let name = |is_rtx| StreamName { mid, rid: layer.rid, is_rtx };
            names.extend(layer.ssrc.is_none().then(|| name(false)));
            names.extend((formats.rtx.is_some() && layer.rtx.is_none()).then(|| name(true)));
        }
        if !names.is_empty() {
            self.0.push(UnboundTrack { formats, names });
        }
    }

    /// Removes the names with a MID.
    pub(super) fn remove_mid(&mut self, mid: Mid) {
        self.retain(|name| name.mid != mid);
    }

    /// Binds a name to an authenticated stream.
    pub(super) fn bind(&mut self, name: StreamName) {
        self.retain(|other| *other != name);
    }

    fn retain(&mut self, is_kept: impl Fn(&StreamName) -> bool) {
        self.0.retain_mut(|track| {
            track.names.retain(&is_kept);
            !track.names.is_empty()
        });
    }

    /// Returns the unbound name that an RTP packet carries, if any, and the formats of its track.
    pub(super) fn named_by(&self, packet: &[u8]) -> Option<(StreamName, TrackFormats)> {
        // Most tracks have the same ids, so that one reading of the header serves all of them.
        let mut last: Option<(ExtensionIds, Option<HeaderNames>)> = None;
        for UnboundTrack { formats, names } in &self.0 {
            let header = match last {
                Some((ids, header)) if ids == formats.extensions => header,
                _ => HeaderNames::read(packet, formats.extensions),
            };
            last = Some((formats.extensions, header));
            let Some(HeaderNames { mid: Some(mid), rid, repaired }) = header else { continue };
            let is_rtx = match (rid, repaired) {
                (Some(_), _) => false,
                (None, Some(_)) => true,
                (None, None) => packet.get(1).is_some_and(|byte| Some(byte & 0x7f) == formats.rtx),
            };
            let name = StreamName { mid, rid: rid.or(repaired), is_rtx };
            if names.contains(&name) {
                return Some((name, *formats));
            }
        }
        None
    }
}

/// The MID and RIDs in the header extensions of a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct HeaderNames {
    mid: Option<Mid>,
    rid: Option<Rid>,
    repaired: Option<Rid>,
}

impl HeaderNames {
    /// Parses header extensions (RFC 3550, section 5.3.1, and RFC 8285, section 4). Returns `None`
    /// if the header is truncated.
    fn read(packet: &[u8], ids: ExtensionIds) -> Option<Self> {
        let mut names = Self::default();
        let first = *packet.first()?;
        if first & 0x10 == 0 {
            return Some(names);
        }
        let (head, rest) =
            packet.get(12 + 4 * usize::from(first & 0x0f)..)?.split_first_chunk::<4>()?;
        let is_one_byte = head[..2] == [0xbe, 0xde];
        if !is_one_byte && (head[0] != 0x10 || head[1] & 0xf0 != 0) {
            return None;
        }
        let mut elements = rest.get(..4 * usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        while let Some((id, value, rest)) = element(elements, is_one_byte) {
            elements = rest;
            let (Some(extension), Ok(text)) = (ids.get(id), std::str::from_utf8(value)) else {
                continue;
            };
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

/// Splits off the first element: returns its id, its value, and the remaining elements.
fn element(elements: &[u8], is_one_byte: bool) -> Option<(u8, &[u8], &[u8])> {
    let padding = elements.iter().take_while(|byte| **byte == 0).count();
    let elements = &elements[padding..];
    let (id, length, rest) = match (is_one_byte, elements) {
        // Id 15 ends the elements.
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

    /// Returns a packet with header extensions of the given form.
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
        let HeaderNames { mid, rid, repaired } =
            HeaderNames::read(packet, ExtensionIds::of_router())?;
        Some((
            mid.map(|it| it.to_string()),
            rid.map(|it| it.to_string()),
            repaired.map(|it| it.to_string()),
        ))
    }

    #[test]
    fn names_are_parsed_in_one_byte_and_two_byte_form() {
        let text = |text: &str| Some(text.to_owned());
        let short = packet([0xbe, 0xde], b"\x10v\0\x21r0");
        assert_eq!(names(&short), Some((text("v"), text("r0"), None)));
        let long = packet([0x10, 0x05], b"\x01\x01v\0\0\x03\x02r1");
        assert_eq!(names(&long), Some((text("v"), None, text("r1"))));
        assert_eq!(
            names(&packet([0xbe, 0xde], b"\x10a\x10b")),
            Some((text("b"), None, None)),
            "the last name wins"
        );
        assert_eq!(
            names(&packet([0xbe, 0xde], b"\xf0\0\x10v")),
            Some((None, None, None)),
            "after the end marker"
        );
        assert_eq!(
            names(&packet([0xbe, 0xde], b"\x1f")),
            Some((None, None, None)),
            "length beyond the end"
        );
        assert_eq!(names(&packet([0xab, 0xcd], b"\x10v")), None, "unknown form");
        assert_eq!(names(&short[..14]), None);
        assert_eq!(names(&[0x80, 96]), Some((None, None, None)), "no extensions");
    }

    proptest! {
        #[test]
        fn arbitrary_packets_do_not_panic(packet in proptest::collection::vec(any::<u8>(), 0..60)) {
            HeaderNames::read(&packet, ExtensionIds::of_router());
        }
    }
}
