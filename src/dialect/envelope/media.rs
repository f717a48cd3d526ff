//! The messages of the media server, as envelopes.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::checker::{Checker, Problem, field};
use super::encode::Envelope;
use super::shape::{self, Mismatch};
use super::style::Style;
use crate::dialect::Frame;
use crate::dialect::json::{push_member, push_raw};
use crate::id::RoomId;
use crate::json::JsonText;
use crate::sfu::parameters::{RtpCapabilities, TrackKind};
use crate::sfu::{
    ConsumerAction, Direction, MediaEvent, MediaRequest, MediaResponse, ProducerAction,
    ProducerInfo,
};

/// The types of all requests to the media server.
pub(super) const KINDS: [&str; 16] = [
    "router:capabilities",
    "transport:create",
    "transport:connect",
    "transport:restart-ice",
    "transport:close",
    "produce",
    "consume",
    "consumer:resume",
    "consumer:pause",
    "consumer:close",
    "consumer:layers",
    "consumer:keyframe",
    "producer:pause",
    "producer:resume",
    "producer:close",
    "producers:list",
];

/// Decodes a request to the media server, and the room if the request names one.
pub(super) fn request(
    kind: &str,
    mut payload: Checker<'_>,
) -> Result<(Option<RoomId>, MediaRequest), Vec<Problem>> {
    let room = payload.id("payload.roomId", RoomId::new);
    let request = match kind {
        "router:capabilities" => Some(MediaRequest::Capabilities),
        "producers:list" => Some(MediaRequest::ListProducers),
        "transport:create" => create(&mut payload),
        "transport:connect" => connect(&mut payload),
        "transport:restart-ice" => name(&mut payload, "payload.transportId")
            .map(|transport| MediaRequest::RestartIce { transport }),
        "transport:close" => name(&mut payload, "payload.transportId")
            .map(|transport| MediaRequest::CloseTransport { transport }),
        "produce" => produce(&mut payload),
        "consume" => consume(&mut payload),
        "producer:pause" => producer(&mut payload, ProducerAction::Pause),
        "producer:resume" => producer(&mut payload, ProducerAction::Resume),
        "producer:close" => producer(&mut payload, ProducerAction::Close),
        "consumer:resume" => consumer(&mut payload, ConsumerAction::Resume),
        "consumer:pause" => consumer(&mut payload, ConsumerAction::Pause),
        "consumer:close" => consumer(&mut payload, ConsumerAction::Close),
        "consumer:keyframe" => consumer(&mut payload, ConsumerAction::Keyframe),
        _ => {
            let id = name(&mut payload, "payload.consumerId");
            let spatial = typed(&mut payload, "payload.spatialLayer", true);
            let temporal = typed(&mut payload, "payload.temporalLayer", false);
            let layers = spatial.map(|spatial| ConsumerAction::Layers { spatial, temporal });
            id.zip(layers).map(|(id, layers)| MediaRequest::Consumer(id, layers))
        }
    };
    let problems = payload.problems();
    match request {
        Some(request) if problems.is_empty() => Ok((room, request)),
        _ => Err(problems),
    }
}

/// Returns the value of a required string field.
fn name(payload: &mut Checker<'_>, path: &'static str) -> Option<String> {
    typed(payload, path, true)
}

/// Returns the value of a field of a known type. An optional field may be null.
fn typed<T: DeserializeOwned>(
    payload: &mut Checker<'_>,
    path: &'static str,
    is_needed: bool,
) -> Option<T> {
    let value = payload.value(field(path)).filter(|value| is_needed || !value.is_null());
    let Some(value) = value else {
        if is_needed {
            payload.wrong(path, "missing");
        }
        return None;
    };
    match shape::read(value) {
        Ok(value) => Some(value),
        Err(Mismatch { path: subpath, problem }) => {
            payload.wrong(format!("{path}{subpath}"), problem);
            None
        }
    }
}

/// Returns the value of a field that is an object of a known type. Serde alone would accept an
/// array of its values as well.
fn object<T: DeserializeOwned>(
    payload: &mut Checker<'_>,
    path: &'static str,
    is_needed: bool,
) -> Option<T> {
    if payload.value(field(path)).is_some_and(|value| !value.is_null() && !value.is_object()) {
        payload.wrong(path, "must be an object");
        return None;
    }
    typed(payload, path, is_needed)
}

/// Returns the value of a field that is one of two words.
fn either<T>(payload: &mut Checker<'_>, path: &'static str, words: [(&str, T); 2]) -> Option<T> {
    let word = name(payload, path)?;
    let problem = format!("must be \"{}\" or \"{}\"", words[0].0, words[1].0);
    let value = words.into_iter().find(|(known, _)| *known == word).map(|(_, value)| value);
    if value.is_none() {
        payload.wrong(path, problem);
    }
    value
}

fn create(payload: &mut Checker<'_>) -> Option<MediaRequest> {
    let directions = [("send", Direction::Send), ("recv", Direction::Receive)];
    let direction = either(payload, "payload.direction", directions);
    // The media server does not need this hint, since `produce` names the same numbers.
    let _: Option<RtpCapabilities> = object(payload, "payload.rtpCapabilities", false);
    Some(MediaRequest::CreateTransport { direction: direction? })
}

fn connect(payload: &mut Checker<'_>) -> Option<MediaRequest> {
    let transport = name(payload, "payload.transportId");
    let dtls = object(payload, "payload.dtlsParameters", true);
    Some(MediaRequest::ConnectTransport { transport: transport?, dtls: dtls? })
}

fn produce(payload: &mut Checker<'_>) -> Option<MediaRequest> {
    let transport = name(payload, "payload.transportId");
    let kind = either(
        payload,
        "payload.kind",
        [TrackKind::Audio, TrackKind::Video].map(|kind| (kind.as_str(), kind)),
    );
    let parameters = object(payload, "payload.rtpParameters", true);
    let app_data = payload.value("appData").filter(|value| !value.is_null());
    if app_data.is_some_and(|value| !value.is_object()) {
        payload.wrong("payload.appData", "must be an object");
    }
    let app_data: Arc<str> = app_data.map_or("{}", JsonText::get).into();
    Some(MediaRequest::Produce {
        transport: transport?,
        kind: kind?,
        parameters: Box::new(parameters?),
        app_data,
    })
}

fn consume(payload: &mut Checker<'_>) -> Option<MediaRequest> {
    let transport = name(payload, "payload.transportId");
    let producer = name(payload, "payload.producerId");
    let capabilities = object(payload, "payload.rtpCapabilities", true);
    Some(MediaRequest::Consume {
        transport: transport?,
        producer: producer?,
        capabilities: Box::new(capabilities?),
    })
}

fn producer(payload: &mut Checker<'_>, action: ProducerAction) -> Option<MediaRequest> {
    name(payload, "payload.producerId").map(|id| MediaRequest::Producer(id, action))
}

fn consumer(payload: &mut Checker<'_>, action: ConsumerAction) -> Option<MediaRequest> {
    name(payload, "payload.consumerId").map(|id| MediaRequest::Consumer(id, action))
}

/// Returns the type and the payload of a response.
pub(super) fn answer(answer: &MediaResponse) -> (&'static str, String) {
    match answer {
        MediaResponse::Capabilities(capabilities) => {
            ("router:capabilities", json!({ "rtpCapabilities": capabilities }).to_string())
        }
        MediaResponse::TransportCreated { id, ice, candidates, dtls } => {
            let payload = json!({
                "id": id.to_string(), "iceParameters": ice, "iceCandidates": candidates, "dtlsParameters": dtls,
            });
            ("transport:created", payload.to_string())
        }
        MediaResponse::TransportConnected(id) => ("transport:connected", named("transportId", id)),
        MediaResponse::IceRestarted(id, ice) => {
            let payload = json!({ "transportId": id.to_string(), "iceParameters": ice });
            ("transport:ice-restarted", payload.to_string())
        }
        MediaResponse::TransportClosed(id) => ("transport:closed", named("transportId", id)),
        MediaResponse::ProducerCreated(id) => {
            let id = id.to_string();
            ("produced", json!({ "id": id, "producerId": id }).to_string())
        }
        MediaResponse::ConsumerCreated(consuming) => {
            let ProducerInfo { id: producer, peer, kind, is_paused, app_data } =
                &consuming.producer;
            let mut out = String::from("{");
            let id = consuming.id.to_string();
            // Existing clients read either name.
            push_member(&mut out, "id", &id);
            push_member(&mut out, "consumerId", &id);
            push_member(&mut out, "producerId", &producer.to_string());
            push_member(&mut out, "userId", peer.as_str());
            push_member(&mut out, "kind", kind.as_str());
            push_raw(&mut out, "rtpParameters", &written(&consuming.parameters));
            push_member(
                &mut out,
                "type",
                if consuming.is_simulcast { "simulcast" } else { "simple" },
            );
            push_raw(&mut out, "producerPaused", truth(*is_paused));
            push_raw(&mut out, "appData", app_data);
            out.push('}');
            ("consumer:created", out)
        }
        MediaResponse::Consumer(id, action) => {
            let kind = match action {
                ConsumerAction::Resume => "consumer:resumed",
                ConsumerAction::Pause => "consumer:paused",
                ConsumerAction::Close => "consumer:closed",
                ConsumerAction::Keyframe => "consumer:keyframe",
                ConsumerAction::Layers { spatial, temporal } => {
                    let payload = json!({
                        "consumerId": id.to_string(), "spatialLayer": spatial, "temporalLayer": temporal,
                    });
                    return ("consumer:layers", payload.to_string());
                }
            };
            (kind, named("consumerId", id))
        }
        MediaResponse::Producer(id, action) => (changed(*action), named("producerId", id)),
        MediaResponse::Producers(producers) => {
            let mut out = String::from(r#"{"producers":["#);
            for (index, producer) in producers.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push('{');
                listed(&mut out, producer);
                push_raw(&mut out, "paused", truth(producer.is_paused));
                out.push('}');
            }
            out.push_str("]}");
            ("producers:list", out)
        }
    }
}

/// Encodes an event of the media server.
pub(super) fn event(style: Style, event: &MediaEvent, now: SystemTime) -> Frame {
    let (kind, payload) = match event {
        MediaEvent::ProducerAdded(producer) => {
            let mut out = String::from("{");
            listed(&mut out, producer);
            // Existing clients read either name.
            push_member(&mut out, "peerId", producer.peer.as_str());
            out.push('}');
            ("new:producer", out)
        }
        MediaEvent::ProducerChanged(id, peer, action) => (
            changed(*action),
            json!({ "producerId": id.to_string(), "userId": peer.as_str() }).to_string(),
        ),
        MediaEvent::ConsumerClosed(id) => ("consumer:closed", named("consumerId", id)),
        MediaEvent::LayersChanged(id, layer) => {
            let payload = json!({ "consumerId": id.to_string(), "spatialLayer": layer });
            ("consumer:layers-changed", payload.to_string())
        }
        MediaEvent::TransportFailed(id) => ("transport:failed", named("transportId", id)),
        MediaEvent::ActiveSpeaker { peer, producer, level } => {
            let payload = json!({ "userId": peer.as_str(), "producerId": producer.to_string(), "level": level });
            ("room:active-speaker", payload.to_string())
        }
    };
    let envelope = Envelope { style, kind, now, correlation: None };
    Frame::Text(envelope.with(|out| out.push_str(&payload)))
}

fn changed(action: ProducerAction) -> &'static str {
    match action {
        ProducerAction::Pause => "producer:paused",
        ProducerAction::Resume => "producer:resumed",
        ProducerAction::Close => "producer:closed",
    }
}

/// Appends the members that identify a producer.
fn listed(out: &mut String, producer: &ProducerInfo) {
    push_member(out, "producerId", &producer.id.to_string());
    push_member(out, "userId", producer.peer.as_str());
    push_member(out, "kind", producer.kind.as_str());
    push_raw(out, "appData", &producer.app_data);
}

fn named(key: &'static str, id: &impl std::fmt::Display) -> String {
    let mut out = String::from("{");
    push_member(&mut out, key, &id.to_string());
    out.push('}');
    out
}

fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("maps with text for keys are all that is written")
}

fn truth(is_so: bool) -> &'static str {
    if is_so { "true" } else { "false" }
}
