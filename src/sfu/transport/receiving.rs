//! What a client sends: which streams are listened to, and what is asked of them.
//!
//! The guarantee that is easy to break: a stream that nobody described is nobody's until a packet of it was signed (see
//! [`newcomer`](crate::sfu::newcomer)).

use std::net::SocketAddr;
use std::time::Instant;

use str0m::Input;
use str0m::bwe::Bitrate;
use str0m::media::{KeyframeRequestKind, Mid, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Ssrc;

use super::{Transport, is_feedback_alone, is_stun, media_kind, stream_of};
use crate::sfu::authentic::Decrypted;
use crate::sfu::newcomer::Place;
use crate::sfu::output::{Happening, Sink};
use crate::sfu::producer::{Description, Layer};

/// The most streams of a client's, over a transport's life, beside those that were described: the library keeps a little
/// of each that is signed for ever. A camera that is switched on is six new ones.
const MAX_STREAMS: usize = 16_384;

impl Transport {
    /// Takes a datagram of the client's; `false` where nothing is made of it.
    pub(in crate::sfu) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        datagram: &[u8],
        sink: &mut Sink,
    ) -> bool {
        self.addresses.received(from, datagram.len());
        if !is_stun(datagram) && !self.inbound.has(now, 1.0) {
            sink.over_limit += 1;
            return true;
        }
        if !self.is_estimating && self.addresses.is_valid(from) && is_feedback_alone(datagram) {
            return true;
        }
        let new = stream_of(datagram).filter(|ssrc| !self.described.contains(ssrc) && !self.heard.contains_key(ssrc));
        let place = new.and_then(|_| self.places.claimed(datagram, &self.formats));
        if new.is_some_and(|ssrc| !self.may_listen(ssrc, place, datagram)) {
            return false;
        }
        let before = sink.happenings.len();
        let (decrypted, had_connected) = (Decrypted::so_far(), self.has_connected);
        let Ok(contents) = datagram.try_into() else { return false };
        let receive = Receive { proto: Protocol::Udp, source: from, destination: to, contents };
        // What cannot be read is lost, as on the way.
        self.change(sink, |rtc| _ = rtc.handle_input(Input::Receive(now, receive)));
        if let Some(trailer) = decrypted.since() {
            self.inbound.take(now, 1.0);
            let index = if stream_of(datagram).is_some() { None } else { trailer.index(datagram) };
            self.addresses.encrypted_came(from, index);
        } else if self.has_connected && !had_connected {
            // The end of the handshake was encrypted.
            self.addresses.encrypted_came(from, None);
        }
        if let Some(ssrc) = new {
            let is_signed = |(_, happening): &(_, Happening)| matches!(happening, Happening::Packet(_));
            if sink.happenings.range(before..).any(is_signed) {
                self.heard.insert(ssrc, place.map(|place| place.mid));
                self.heard_ever += 1;
                if let Some(place) = place {
                    self.places.close(place);
                }
            } else if place.is_some() {
                // The library has taken it for the stream of that name.
                self.change(sink, |rtc| rtc.direct_api().remove_stream_rx(ssrc.into()));
            }
        }
        true
    }

    /// Whether it still listens to as many streams as a description leaves open.
    pub(in crate::sfu) fn has_room_for(&self, description: &Description) -> bool {
        let open = description.layers.iter().filter(|layer| layer.ssrc.is_none()).count();
        // Each may have another that repairs it.
        open == 0 || self.heard_ever + 2 * open <= MAX_STREAMS
    }

    /// Whether to listen to a stream that was neither described nor heard. Anybody can say that it is the client's: only
    /// what is signed counts, and padding as long as it is little.
    fn may_listen(&mut self, ssrc: u32, place: Option<Place>, datagram: &[u8]) -> bool {
        // Where none is open there are no others, but for what the client finds out its bandwidth with.
        if ssrc != 0 && place.is_none() || self.heard_ever >= MAX_STREAMS {
            return false;
        }
        let has_padding = datagram.first().is_some_and(|first| first & 0x20 != 0);
        if has_padding && self.padded.len() < MAX_STREAMS {
            self.padded.insert(ssrc);
        }
        !has_padding || self.padded.contains(&ssrc)
    }

    /// Expects a producer's streams.
    pub(in crate::sfu) fn expect(&mut self, description: &Description, sink: &mut Sink) {
        let kind = media_kind(description.codec.kind());
        let mid = description.mid;
        self.described.extend(description.layers.iter().flat_map(Layer::ssrcs));
        self.places.open(description);
        self.change(sink, |rtc| {
            let mut api = rtc.direct_api();
            let media = api.declare_media(mid, kind);
            for rid in description.layers.iter().filter_map(|layer| layer.rid) {
                media.expect_rid_rx(rid);
            }
            for layer in &description.layers {
                if let Some(ssrc) = layer.ssrc {
                    // What is not retransmitted is not to be asked for.
                    let stream = api.expect_stream_rx(ssrc.into(), layer.rtx.map(Into::into), mid, layer.rid);
                    stream.suppress_nack(layer.rtx.is_none());
                }
            }
        });
    }

    /// Forgets a producer's streams.
    pub(in crate::sfu) fn unexpect(&mut self, description: &Description, sink: &mut Sink) {
        for ssrc in description.layers.iter().flat_map(Layer::ssrcs) {
            self.described.remove(&ssrc);
        }
        self.places.forget(description.mid);
        // It may be used again, and is to take its place then.
        self.heard.retain(|_, mid| *mid != Some(description.mid));
        self.remove(description.mid, sink);
    }

    /// The media section and rid of a stream that packets come on.
    pub(in crate::sfu) fn identify(&mut self, ssrc: Ssrc, sink: &mut Sink) -> Option<(Mid, Option<Rid>)> {
        self.change(sink, |rtc| rtc.direct_api().stream_rx(&ssrc).map(|stream| (stream.mid(), stream.rid())))?
    }

    /// Asks the client for a keyframe of one of its streams.
    pub(in crate::sfu) fn ask_for_keyframe(&mut self, mid: Mid, layer: (Option<u32>, Option<Rid>), sink: &mut Sink) {
        self.on_stream(mid, layer, sink, |stream| stream.request_keyframe(KeyframeRequestKind::Pli));
    }

    /// Tells the client how much it may send, in bits a second, all of it together: REMB counts for the transport,
    /// whatever stream it comes on.
    pub(in crate::sfu) fn limit(&mut self, bits: u64, mid: Mid, layer: (Option<u32>, Option<Rid>), sink: &mut Sink) {
        self.on_stream(mid, layer, sink, |stream| stream.request_remb(Bitrate::from(bits)));
    }

    fn on_stream(
        &mut self,
        mid: Mid,
        (ssrc, rid): (Option<u32>, Option<Rid>),
        sink: &mut Sink,
        work: impl FnOnce(&mut str0m::rtp::StreamRx),
    ) {
        self.change(sink, |rtc| {
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
    use crate::sfu::parameters::Kind;
    use crate::sfu::request::{Answer, Concern, Direction, Problem, Request};
    use crate::sfu::router::capabilities;
    use crate::sfu::switch::{Settings, Sfu};

    #[test]
    fn a_transport_that_has_had_too_many_streams_takes_only_those_that_are_described() {
        let settings = Settings {
            announced: Vec::new(),
            max_bitrate: 1,
            max_producers: 9,
            max_app_data: 9,
            max_transports: 0,
            transports_per_second: 0,
            connect_timeout: Duration::from_secs(30),
        };
        let mut sfu = Sfu::new(settings).unwrap();
        let (now, asker) = (Instant::now(), member());
        let request = Request::CreateTransport { direction: Direction::Send, capabilities: Some(capabilities()) };
        let Ok(Answer::TransportCreated { id, .. }) = sfu.handle(now, &asker, request) else { panic!() };
        let mut produce = |heard: usize, mid: &str, encodings: serde_json::Value| {
            sfu.transports.get_mut(&id).unwrap().heard_ever = heard;
            let codec = json!({ "mimeType": "video/VP8", "payloadType": 101, "clockRate": 90000 });
            let parameters = json!({ "mid": mid, "codecs": [codec], "encodings": encodings });
            let parameters = serde_json::from_value(parameters).unwrap();
            let transport = id.to_string();
            let request = Request::Produce { transport, kind: Kind::Video, parameters, app_data: "{}".into() };
            sfu.handle(now, &asker, request).map(|_| ())
        };
        let layers = json!([{ "rid": "a" }, { "rid": "b" }, { "rid": "c" }]);
        assert_eq!(produce(MAX_STREAMS - 6, "0", layers.clone()), Ok(()));
        assert_eq!(produce(MAX_STREAMS - 5, "1", layers), Err(Problem::Worn.of(Concern::Produce)));
        assert_eq!(produce(MAX_STREAMS, "2", json!([{ "ssrc": 1 }])), Ok(()));
    }
}
