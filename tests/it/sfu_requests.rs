//! Invalid requests to the media server: each is refused with the right error code.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::player::{consume, produce_audio, transport};
use crate::support::resuming_client::{ClientKind, ResumingClient};

/// The type of a field.
#[derive(Debug, Clone, Copy)]
enum FieldType {
    Text,
    /// One of several strings.
    Words,
    Object,
    Layer,
    /// A room id, which may be a number.
    Room,
}

impl FieldType {
    /// Returns invalid values.
    fn wrong(self) -> Vec<Value> {
        let mut wrong = vec![json!(true), json!(1.5), json!([]), json!(["x"])];
        match self {
            Self::Text => wrong.extend([json!(7), json!({})]),
            Self::Words => {
                wrong.extend([json!(7), json!({}), json!("neither"), json!({ "audio": null })]);
            }
            Self::Object => wrong.extend([json!(7), json!("x")]),
            Self::Layer => wrong.extend([json!("1"), json!({}), json!(-1), json!(256)]),
            Self::Room => {
                wrong.remove(1);
                wrong.extend([json!({}), json!(""), json!("x".repeat(129))]);
            }
        }
        wrong
    }
}

/// A message with a valid payload, and its fields: the type of each, and whether it is required.
type Described = (&'static str, Value, Vec<(&'static str, FieldType, bool)>);

/// Returns all messages to the media server.
fn messages() -> Vec<Described> {
    let (transport, producer, consumer) = (
        ("transportId", FieldType::Text, true),
        ("producerId", FieldType::Text, true),
        ("consumerId", FieldType::Text, true),
    );
    let named = |field: &str| json!({ field: "x" });
    let parameters = json!({ "codecs": [] });
    vec![
        ("router:capabilities", json!({}), vec![]),
        ("producers:list", json!({}), vec![]),
        (
            "transport:create",
            json!({ "direction": "send" }),
            vec![
                ("direction", FieldType::Words, true),
                ("rtpCapabilities", FieldType::Object, false),
            ],
        ),
        (
            "transport:connect",
            json!({ "transportId": "x", "dtlsParameters": { "fingerprints": [] } }),
            vec![transport, ("dtlsParameters", FieldType::Object, true)],
        ),
        ("transport:restart-ice", named("transportId"), vec![transport]),
        ("transport:close", named("transportId"), vec![transport]),
        (
            "produce",
            json!({ "transportId": "x", "kind": "audio", "rtpParameters": parameters }),
            vec![
                transport,
                ("kind", FieldType::Words, true),
                ("rtpParameters", FieldType::Object, true),
                ("appData", FieldType::Object, false),
            ],
        ),
        (
            "consume",
            json!({ "transportId": "x", "producerId": "x", "rtpCapabilities": {} }),
            vec![transport, producer, ("rtpCapabilities", FieldType::Object, true)],
        ),
        ("consumer:resume", named("consumerId"), vec![consumer]),
        ("consumer:pause", named("consumerId"), vec![consumer]),
        ("consumer:close", named("consumerId"), vec![consumer]),
        ("consumer:keyframe", named("consumerId"), vec![consumer]),
        (
            "consumer:layers",
            json!({ "consumerId": "x", "spatialLayer": 1 }),
            vec![
                consumer,
                ("spatialLayer", FieldType::Layer, true),
                ("temporalLayer", FieldType::Layer, false),
            ],
        ),
        ("producer:pause", named("producerId"), vec![producer]),
        ("producer:resume", named("producerId"), vec![producer]),
        ("producer:close", named("producerId"), vec![producer]),
    ]
}

/// Sends an invalid request, and returns the paths of its errors.
async fn paths(client: &mut ResumingClient, kind: &str, payload: &Value) -> BTreeSet<String> {
    let error = client.ask(kind, payload.clone()).await;
    assert_eq!(error["code"], "INVALID_MESSAGE", "{kind} {payload}: {error}");
    let details = error["details"].as_array().unwrap_or_else(|| panic!("{error}"));
    assert!(
        details
            .iter()
            .all(|detail| detail["problem"].as_str().is_some_and(|problem| !problem.is_empty()))
    );
    details.iter().map(|detail| detail["path"].as_str().unwrap().to_owned()).collect()
}

async fn one(server: &TestServer) -> ResumingClient {
    ResumingClient::joined(server, ClientKind::Envelope, "ann").await
}

#[tokio::test]
async fn every_field_of_every_message_is_validated() {
    let server = TestServer::with(&["--messages-per-second=0"]);
    let mut ann = one(&server).await;
    for (kind, good, fields) in messages() {
        let answer = ann.ask(kind, good.clone()).await;
        assert_ne!(answer["code"], "INVALID_MESSAGE", "{kind}: {answer}");
        let required = fields.iter().filter(|(_, _, is_required)| *is_required);
        let required: BTreeSet<String> =
            required.map(|(field, ..)| format!("payload.{field}")).collect();
        if !required.is_empty() {
            assert_eq!(
                paths(&mut ann, kind, &json!({})).await,
                required,
                "{kind}: all errors at once"
            );
        }
        for (field, field_type, is_required) in
            fields.into_iter().chain([("roomId", FieldType::Room, false)])
        {
            let path = BTreeSet::from([format!("payload.{field}")]);
            let mut wrong = field_type.wrong();
            if is_required {
                wrong.push(Value::Null);
            }
            for value in wrong {
                let mut payload = good.clone();
                payload[field] = value;
                assert_eq!(paths(&mut ann, kind, &payload).await, path, "{kind} {payload}");
            }
        }
        for payload in [json!(null), json!([]), json!("x"), json!(7)] {
            assert_eq!(
                paths(&mut ann, kind, &payload).await,
                BTreeSet::from(["payload".to_owned()]),
                "{kind}"
            );
        }
    }
    // One of the requests created a transport.
    server.until("one transport exists", |held| held.transports == 1).await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn nested_fields_are_validated() {
    let server = TestServer::with(&["--messages-per-second=0"]);
    let mut ann = one(&server).await;
    let opus =
        json!({ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2 });
    let (text, object, array) = ("must be a string", "must be an object", "must be an array");
    let codec = |field: &str, value: Value| {
        let mut codec = opus.clone();
        codec[field] = value;
        json!([opus, codec])
    };
    let (byte, integer) = ("must be an integer from 0 to 255", "must be an integer");
    let places = [
        ("mid", json!(7), "", text),
        ("codecs", json!({}), "", array),
        ("codecs", json!([7]), "[0]", object),
        ("codecs", json!([{}]), "[0].mimeType", "missing"),
        ("codecs", json!(null), "", array),
        ("codecs", codec("payloadType", json!(1.5)), "[1].payloadType", integer),
        ("codecs", codec("payloadType", json!("100, expected u32")), "[1].payloadType", integer),
        ("codecs", codec("clockRate", json!("48000")), "[1].clockRate", integer),
        ("codecs", codec("parameters", json!("a=b")), "[1].parameters", object),
        (
            "codecs",
            codec("rtcpFeedback", json!([{ "type": "nack" }, {}])),
            "[1].rtcpFeedback[1].type",
            "missing",
        ),
        ("headerExtensions", json!([{ "uri": 1, "id": 1 }]), "[0].uri", text),
        ("headerExtensions", json!([{ "uri": "x", "id": "1" }]), "[0].id", integer),
        (
            "headerExtensions",
            json!([{ "uri": "x", "id": 1, "encrypt": 0 }]),
            "[0].encrypt",
            "must be true or false",
        ),
        ("encodings", json!([{ "ssrc": "1" }]), "[0].ssrc", integer),
        ("encodings", json!([{ "ssrc": 1, "rtx": 2 }]), "[0].rtx", object),
        ("encodings", json!([{ "rid": 1 }]), "[0].rid", text),
        ("rtcp", json!({ "cname": 1 }), ".cname", text),
    ];
    for (field, value, place, problem) in places {
        let mut parameters = json!({ "mid": "0", "codecs": [opus], "encodings": [{ "ssrc": 1 }] });
        parameters[field] = value;
        let payload = json!({ "transportId": "x", "kind": "audio", "rtpParameters": parameters });
        let expected = json!([{ "path": format!("payload.rtpParameters.{field}{place}"), "problem": problem }]);
        assert_eq!(ann.ask("produce", payload).await["details"], expected);
    }
    let words = "must be \"auto\", \"client\" or \"server\"";
    let fingerprints = |value: Value| json!({ "fingerprints": value });
    let of_dtls = [
        (fingerprints(json!(7)), ".fingerprints", array),
        (fingerprints(json!({})), ".fingerprints", array),
        (fingerprints(json!(["x"])), ".fingerprints[0]", object),
        (fingerprints(json!([{ "algorithm": "sha-256" }])), ".fingerprints[0].value", "missing"),
        (json!({}), ".fingerprints", "missing"),
        (json!({ "role": "neither", "fingerprints": [] }), ".role", words),
        (json!({ "role": 7, "fingerprints": [] }), ".role", text),
    ];
    for (dtls, place, problem) in of_dtls {
        let payload = json!({ "transportId": "x", "dtlsParameters": dtls });
        let error = ann.ask("transport:connect", payload).await;
        let expected =
            json!([{ "path": format!("payload.dtlsParameters{place}"), "problem": problem }]);
        assert_eq!(error["details"], expected, "{dtls}");
    }
    let mut capabilities =
        ann.ask("router:capabilities", json!({})).await["rtpCapabilities"].take();
    capabilities["codecs"][1]["kind"] = json!("smell");
    let error = ann
        .ask("transport:create", json!({ "direction": "send", "rtpCapabilities": capabilities }))
        .await;
    let path = "payload.rtpCapabilities.codecs[1].kind";
    assert_eq!(
        error["details"],
        json!([{ "path": path, "problem": "must be \"audio\" or \"video\"" }])
    );
    assert_eq!(error["message"], format!("{path}: must be \"audio\" or \"video\""));
    for (layer, problem) in [(json!("1"), byte), (json!(-1), byte), (json!(1.5), byte)] {
        let payload = json!({ "consumerId": "x", "spatialLayer": layer });
        let expected = json!([{ "path": "payload.spatialLayer", "problem": problem }]);
        assert_eq!(ann.ask("consumer:layers", payload).await["details"], expected);
    }
    ann.close().await;
    server.finish().await;
}

/// Sends a request, and returns the code of its error.
async fn code(client: &mut ResumingClient, kind: &str, payload: Value) -> String {
    let error = client.ask(kind, payload).await;
    error["code"].as_str().unwrap_or_else(|| panic!("{kind}: {error}")).to_owned()
}

#[tokio::test]
async fn ids_of_other_peers_are_not_found() {
    let server = TestServer::with(&["--messages-per-second=0"]);
    let mut ann = one(&server).await;
    let (sender, producer) = produce_audio(&mut ann).await;
    let mut eve = ResumingClient::connect(&server, ClientKind::Envelope, None, None).await.unwrap();
    eve.join("elsewhere", "eve").await;
    let spy = transport(&mut eve, "recv").await;
    let wanted = json!({ "transportId": spy.id(), "producerId": producer, "rtpCapabilities": { "codecs": [] } });
    let error = eve.ask("consume", wanted).await;
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("CONSUME_ERROR"), &json!("producerId: no producer of that id"))
    );
    // Naming the other room does not help.
    let list = json!({ "roomId": "r" });
    assert_eq!(code(&mut eve, "producers:list", list).await, "NOT_IN_ROOM");
    let parameters = json!({ "codecs": [] });
    for id in [sender.id(), "x", ""] {
        let named = json!({ "transportId": id });
        assert_eq!(code(&mut eve, "transport:restart-ice", named.clone()).await, "TRANSPORT_ERROR");
        assert_eq!(code(&mut eve, "transport:close", named).await, "TRANSPORT_ERROR");
        let dtls = json!({ "transportId": id, "dtlsParameters": { "fingerprints": [] } });
        assert_eq!(code(&mut eve, "transport:connect", dtls).await, "TRANSPORT_ERROR");
        let produce = json!({ "transportId": id, "kind": "audio", "rtpParameters": parameters });
        assert_eq!(code(&mut eve, "produce", produce).await, "TRANSPORT_ERROR");
    }
    for action in ["producer:pause", "producer:resume", "producer:close"] {
        assert_eq!(
            code(&mut eve, action, json!({ "producerId": producer })).await,
            "PRODUCE_ERROR"
        );
    }
    let receiver = consume(&mut ann, &producer).await;
    receiver.receives_more(5).await;
    let error = ann.ask("transport:connect", receiver.connecting()).await;
    let expected = (&json!("TRANSPORT_ERROR"), &json!("transportId: connected already"));
    assert_eq!((&error["code"], &error["message"]), expected);
    let produce =
        json!({ "transportId": receiver.id(), "kind": "audio", "rtpParameters": parameters });
    assert_eq!(code(&mut ann, "produce", produce).await, "PRODUCE_ERROR");
    receiver.receives_more(5).await;
    ann.close().await;
    eve.close().await;
    server.finish().await;
}

#[tokio::test]
async fn media_requests_need_a_room_and_must_name_it_if_ambiguous() {
    let server = TestServer::with(&["--messages-per-second=0"]);
    let mut ann = ResumingClient::connect(&server, ClientKind::Envelope, None, None).await.unwrap();
    for (kind, payload, _) in messages() {
        assert_eq!(code(&mut ann, kind, payload).await, "NOT_IN_ROOM", "{kind}");
    }
    ann.join("r", "ann").await;
    ann.join("s", "ann").await;
    let created = json!({ "direction": "recv" });
    let refused = code(&mut ann, "transport:create", created).await;
    assert_eq!(
        refused,
        code(&mut ann, "sdp:offer", json!({ "sdp": "x" })).await,
        "the same code as for signals"
    );
    let transport =
        ann.ask("transport:create", json!({ "direction": "recv", "roomId": "s" })).await;
    let in_room = |room: &str| json!({ "transportId": transport["id"], "roomId": room });
    assert_eq!(code(&mut ann, "transport:close", in_room("r")).await, "TRANSPORT_ERROR");
    assert_eq!(ann.ask("transport:close", in_room("s")).await["transportId"], transport["id"]);
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn limits_of_transports_producers_and_app_data_are_enforced() {
    let server = TestServer::with(&[
        "--messages-per-second=0",
        "--sfu-max-producers=2",
        "--max-metadata-bytes=1024",
    ]);
    let mut ann = one(&server).await;
    let capabilities = ann.ask("router:capabilities", json!({})).await["rtpCapabilities"].take();
    let create = json!({ "direction": "send", "rtpCapabilities": capabilities });
    let mut transports = Vec::new();
    for _ in 0..4 {
        transports.push(ann.ask("transport:create", create.clone()).await["id"].take());
    }
    assert_eq!(code(&mut ann, "transport:create", create.clone()).await, "TRANSPORT_ERROR");
    let opus =
        json!({ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2 });
    let produce = |number: usize, text: &str| {
        let parameters = json!({ "mid": number.to_string(), "codecs": [opus], "encodings": [{ "ssrc": number + 1 }] });
        json!({ "transportId": transports[number % 4], "kind": "audio", "rtpParameters": parameters, "appData": { "x": text } })
    };
    assert_eq!(code(&mut ann, "produce", produce(0, &"x".repeat(1024))).await, "PRODUCE_ERROR");
    // The limit is per peer, over all its transports.
    for number in 0..2 {
        assert!(ann.ask("produce", produce(number, "x")).await["id"].is_string());
    }
    for number in 2..4 {
        assert_eq!(code(&mut ann, "produce", produce(number, "x")).await, "PRODUCE_ERROR");
    }
    // Closed ones do not count.
    ann.ask("transport:close", json!({ "transportId": transports[0] })).await;
    assert!(ann.ask("produce", produce(2, "x")).await["id"].is_string());
    assert!(ann.ask("transport:create", create).await["id"].is_string());
    ann.close().await;
    server.finish().await;
}
