//! Incoming streams of a client: which streams are accepted, and feedback on them.
//!
//! Invariant: an undeclared stream belongs to no producer until one of its packets was
//! authenticated (see [`undeclared`](crate::sfu::undeclared)).

use std::net::SocketAddr;
use std::time::Instant;

use str0m::Input;
use str0m::bwe::Bitrate;
use str0m::media::{KeyframeRequestKind, Mid, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Ssrc;

use super::{Transport, is_single_twcc_feedback, is_stun, media_kind, rtp_ssrc};
use crate::sfu::formats::ExtensionIds;
use crate::sfu::output::{TransportEvent, TransportOutput};
use crate::sfu::producer::{Layer, TrackDescription};
use crate::sfu::srtp::Decrypted;
use crate::sfu::undeclared::StreamName;

/// Maximum number of undeclared streams over the lifetime of a transport: str0m keeps some state of
/// each authenticated one forever. Switching on a camera creates six.
const MAX_UNDECLARED: usize = 16_384;

impl Transport {
    /// Processes a datagram of the client. Returns `false` if it was ignored.
    pub(in crate::sfu) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        datagram: &[u8],
        output: &mut TransportOutput,
    ) -> bool {
        self.addresses.datagram_arrived(from, datagram.len());
        if !is_stun(datagram) && !self.inbound_limit.has(now, 1.0) {
            output.over_limit += 1;
            return true;
        }
        let is_feedback = is_single_twcc_feedback(datagram);
        if let Some(trailer) = self.srtcp_trailer.filter(|_| is_feedback && !self.is_estimating)
            && self.addresses.is_validated(from)
        {
            self.addresses.feedback_skipped(trailer.index(datagram));
            return true;
        }
        let ssrc = rtp_ssrc(datagram);
        let known = ssrc.and_then(|ssrc| self.extensions_of(ssrc));
        let new_ssrc = ssrc.filter(|_| known.is_none());
        let named = new_ssrc.and_then(|_| self.unbound_names.named_by(datagram));
        let name = named.map(|(name, _)| name);
        if new_ssrc.is_some_and(|ssrc| !self.may_accept_undeclared(ssrc, name, datagram)) {
            return false;
        }
        let extensions =
            known.or(named.map(|(_, formats)| formats.extensions)).unwrap_or(self.extensions);
        self.extension_selector.select(extensions);
        if let (Some(ssrc), Some(name)) = (new_ssrc, name)
            && !self.expect_rtx(ssrc, name, output)
        {
            return false;
        }
        let events_before = output.events.len();
        let (decrypted, had_connected) = (Decrypted::current(), self.has_connected);
        let Ok(contents) = datagram.try_into() else { return false };
        let receive = Receive { proto: Protocol::Udp, source: from, destination: to, contents };
        self.advanced_at = now;
        // A datagram that str0m cannot parse is dropped.
        self.update_rtc(output, |rtc| _ = rtc.handle_input(Input::Receive(now, receive)));
        if let Some(trailer) = decrypted.since() {
            self.inbound_limit.take(now, 1.0);
            self.srtcp_trailer = Some(trailer);
            let index = if rtp_ssrc(datagram).is_some() { None } else { trailer.index(datagram) };
            if !(is_feedback && self.addresses.may_have_been_skipped(index)) {
                self.addresses.encrypted_datagram_arrived(from, index);
            }
        } else if self.has_connected && !had_connected {
            // The last DTLS handshake message was encrypted.
            self.addresses.encrypted_datagram_arrived(from, None);
        }
        if let Some(ssrc) = new_ssrc {
            let is_authentic =
                |(_, event): &(_, TransportEvent)| matches!(event, TransportEvent::Packet(_));
            if output.events.range(events_before..).any(is_authentic) {
                self.undeclared.insert(ssrc, (name.map(|name| name.mid), extensions));
                self.undeclared_total += 1;
                if let Some((name, formats)) = named {
                    self.unbound_names.bind(name);
                    // Without RTX, lost packets are not requested again.
                    self.update_rtc(output, |rtc| {
                        let mut api = rtc.direct_api();
                        let stream = api.stream_rx_by_mid(name.mid, name.rid);
                        stream.map(|stream| stream.suppress_nack(formats.rtx.is_none()))
                    });
                }
            } else if name.is_some() {
                // str0m has bound the name to this stream, although the packet was not authentic.
                self.update_rtc(output, |rtc| rtc.direct_api().remove_stream_rx(ssrc.into()));
            }
        }
        true
    }

    /// Returns whether the transport can still accept the undeclared streams of a description.
    pub(in crate::sfu) fn can_accept(&self, description: &TrackDescription) -> bool {
        let undeclared = description.layers.iter().filter(|layer| layer.ssrc.is_none()).count();
        // Each may have an RTX stream.
        undeclared == 0 || self.undeclared_total + 2 * undeclared <= MAX_UNDECLARED
    }

    /// Returns the extension ids of a stream that is declared or was authenticated.
    fn extensions_of(&self, ssrc: u32) -> Option<ExtensionIds> {
        let undeclared = || self.undeclared.get(&ssrc).map(|(_, extensions)| *extensions);
        self.declared.get(&ssrc).copied().or_else(undeclared)
    }

    /// Prepares str0m for an RTX stream that is recognized by its payload type, since str0m does
    /// not know payload types. Returns `false` if its main stream is unknown.
    fn expect_rtx(&mut self, ssrc: u32, name: StreamName, output: &mut TransportOutput) -> bool {
        if !name.is_rtx || name.rid.is_some() {
            return true;
        }
        let is_expected = self.update_rtc(output, |rtc| {
            let mut api = rtc.direct_api();
            let Some(main) = api.stream_rx_by_mid(name.mid, None).map(|main| main.ssrc()) else {
                return false;
            };
            api.expect_stream_rx(main, Some(ssrc.into()), name.mid, None);
            true
        });
        is_expected == Some(true)
    }

    /// Returns whether to pass on a packet of an unknown stream. Anyone can forge one, so only
    /// authenticated ones count towards the limit, and padding up to as many streams.
    fn may_accept_undeclared(
        &mut self,
        ssrc: u32,
        name: Option<StreamName>,
        datagram: &[u8],
    ) -> bool {
        // Streams without an unbound name are not accepted, except SSRC 0, on which clients probe
        // bandwidth.
        if ssrc != 0 && name.is_none() || self.undeclared_total >= MAX_UNDECLARED {
            return false;
        }
        let has_padding = datagram.first().is_some_and(|first| first & 0x20 != 0);
        if has_padding && self.undeclared_padding.len() < MAX_UNDECLARED {
            self.undeclared_padding.insert(ssrc);
        }
        !has_padding || self.undeclared_padding.contains(&ssrc)
    }

    /// Declares a producer's streams.
    pub(in crate::sfu) fn declare_streams(
        &mut self,
        description: &TrackDescription,
        output: &mut TransportOutput,
    ) {
        let kind = media_kind(description.codec.kind());
        let mid = description.mid;
        let extensions = description.formats.extensions;
        self.declared.extend(
            description.layers.iter().flat_map(Layer::ssrcs).map(|ssrc| (ssrc, extensions)),
        );
        self.extensions = extensions.or(self.extensions);
        self.unbound_names.add(description);
        self.update_rtc(output, |rtc| {
            let mut api = rtc.direct_api();
            let media = api.declare_media(mid, kind);
            for rid in description.layers.iter().filter_map(|layer| layer.rid) {
                media.expect_rid_rx(rid);
            }
            for layer in &description.layers {
                if let Some(ssrc) = layer.ssrc {
                    let stream = api.expect_stream_rx(
                        ssrc.into(),
                        layer.rtx.map(Into::into),
                        mid,
                        layer.rid,
                    );
                    // Without RTX, lost packets are not requested again.
                    stream.suppress_nack(description.formats.rtx.is_none());
                }
            }
        });
    }

    /// Removes a producer's streams.
    pub(in crate::sfu) fn remove_streams(
        &mut self,
        description: &TrackDescription,
        output: &mut TransportOutput,
    ) {
        for ssrc in description.layers.iter().flat_map(Layer::ssrcs) {
            self.declared.remove(&ssrc);
        }
        self.unbound_names.remove_mid(description.mid);
        // The stream may be used again, and must bind its name again then.
        self.undeclared.retain(|_, (mid, _)| *mid != Some(description.mid));
        self.remove_media(description.mid, output);
    }

    /// Returns the MID and RID of a stream that packets arrive on.
    pub(in crate::sfu) fn identify(
        &mut self,
        ssrc: Ssrc,
        output: &mut TransportOutput,
    ) -> Option<(Mid, Option<Rid>)> {
        self.update_rtc(output, |rtc| {
            rtc.direct_api().stream_rx(&ssrc).map(|stream| (stream.mid(), stream.rid()))
        })?
    }

    /// Requests a keyframe of a stream (PLI).
    pub(in crate::sfu) fn send_pli(
        &mut self,
        mid: Mid,
        layer: (Option<u32>, Option<Rid>),
        output: &mut TransportOutput,
    ) {
        self.on_stream(mid, layer, output, |stream| {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        });
    }

    /// Announces the maximum bitrate of all the client's streams together, in bits per second. REMB
    /// applies to the transport, whatever stream it is sent on.
    pub(in crate::sfu) fn send_remb(
        &mut self,
        bits: u64,
        mid: Mid,
        layer: (Option<u32>, Option<Rid>),
        output: &mut TransportOutput,
    ) {
        self.on_stream(mid, layer, output, |stream| stream.request_remb(Bitrate::from(bits)));
    }

    fn on_stream(
        &mut self,
        mid: Mid,
        (ssrc, rid): (Option<u32>, Option<Rid>),
        output: &mut TransportOutput,
        work: impl FnOnce(&mut str0m::rtp::StreamRx),
    ) {
        self.update_rtc(output, |rtc| {
            let mut api = rtc.direct_api();
            let stream = match ssrc {
                Some(ssrc) => api.stream_rx(&ssrc.into()),
                None => api.stream_rx_by_mid(mid, rid),
            };
            if let Some(stream) = stream {
                work(stream);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::tests::member;
    use super::*;
    use crate::sfu::parameters::TrackKind;
    use crate::sfu::request::{Direction, ErrorScope, MediaRequest, MediaResponse, SfuErrorKind};
    use crate::sfu::state::{Sfu, SfuSettings};

    #[test]
    fn exhausted_transport_accepts_only_declared_streams() {
        let settings = SfuSettings {
            announced: Vec::new(),
            max_bitrate: 1,
            max_producers: 9,
            max_app_data: 9,
            max_transports: 0,
            transports_per_second: 0,
            connect_timeout: Duration::from_secs(30),
        };
        let mut sfu = Sfu::new(settings).unwrap();
        let (now, member) = (Instant::now(), member());
        let request = MediaRequest::CreateTransport { direction: Direction::Send };
        let Ok(MediaResponse::TransportCreated { id, .. }) = sfu.handle(now, &member, request)
        else {
            panic!()
        };
        let mut produce = |undeclared_total: usize, mid: &str, encodings: serde_json::Value| {
            sfu.transports.get_mut(&id).unwrap().undeclared_total = undeclared_total;
            let codec = json!({ "mimeType": "video/VP8", "payloadType": 101, "clockRate": 90000 });
            let rtx = json!({
                "mimeType": "video/rtx", "payloadType": 102, "clockRate": 90000, "parameters": { "apt": 101 },
            });
            let extensions = json!([
                { "uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 1 },
                { "uri": "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "id": 2 },
            ]);
            let parameters = json!({
                "mid": mid, "codecs": [codec, rtx], "encodings": encodings, "headerExtensions": extensions,
            });
            let parameters = serde_json::from_value(parameters).unwrap();
            let transport = id.to_string();
            let request = MediaRequest::Produce {
                transport,
                kind: TrackKind::Video,
                parameters,
                app_data: "{}".into(),
            };
            sfu.handle(now, &member, request).map(|_| ())
        };
        let layers = json!([{ "rid": "a" }, { "rid": "b" }, { "rid": "c" }]);
        assert_eq!(produce(MAX_UNDECLARED - 6, "0", layers.clone()), Ok(()));
        assert_eq!(
            produce(MAX_UNDECLARED - 5, "1", layers),
            Err(SfuErrorKind::TransportExhausted.in_scope(ErrorScope::Produce))
        );
        assert_eq!(produce(MAX_UNDECLARED, "2", json!([{ "ssrc": 1 }])), Ok(()));
    }
}
