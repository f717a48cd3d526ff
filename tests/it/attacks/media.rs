//! Floods of the media port, and loops that open and close transports: media continues, and memory
//! is bounded.

use std::net::SocketAddr;
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use super::UNLIMITED;
#[cfg(target_os = "linux")]
use super::memory::assert_bounded;
use crate::support::attacked;
use crate::support::player::{consume, produce_audio};
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::resuming_client::{ClientKind, ResumingClient};
use crate::support::server::LIMIT;

/// Minimum number of datagrams of the attack, and of packets that must be forwarded during it.
const SENT: usize = 10_000;
const FORWARDED: u64 = 50;

/// Returns a binding request (RFC 8489) with an invalid MESSAGE-INTEGRITY.
fn binding_request(ufrag: &str) -> Vec<u8> {
    let username = format!("{ufrag}:evil");
    let mut attributes = vec![0, 0x06];
    attributes.extend(u16::try_from(username.len()).unwrap().to_be_bytes());
    attributes.extend(username.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    // MESSAGE-INTEGRITY.
    attributes.extend([0, 0x08, 0, 20]);
    attributes.extend([0x5a; 20]);
    let mut message = vec![0, 1];
    message.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    message.extend(0x2112_a442_u32.to_be_bytes());
    message.extend([7; 12]);
    message.extend(attributes);
    message
}

/// Returns malformed or unauthenticated STUN, DTLS, RTP and RTCP datagrams of various lengths.
fn garbage(ufrag: &str) -> Vec<Vec<u8>> {
    let with = |head: &[u8], length: usize| {
        let mut datagram = head.to_vec();
        datagram.resize(length, 0xa5);
        datagram
    };
    vec![
        Vec::new(),
        vec![0],
        binding_request(ufrag),
        binding_request("unknown"),
        binding_request(""),
        with(&[0, 1, 0xff, 0xff, 0x21, 0x12, 0xa4, 0x42], 100),
        // DTLS: a ClientHello, an alert.
        with(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 1], 113),
        with(&[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0], 15),
        // RTP and RTCP with the SSRC of the producer's stream.
        with(&[0x90, 100, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7], 200),
        with(&[0x80, 200, 0, 6, 0, 0, 0, 7], 60),
        with(&[255], 1200),
        with(&[0x80], 1500),
        with(&[22], 9000),
    ]
}

#[test]
fn media_continues_while_media_port_is_flooded() {
    attacked(&[UNLIMITED], async |server, bystander| {
        let mut ann = ResumingClient::joined(server, ClientKind::Envelope, "ann").await;
        let mut ben = ResumingClient::joined(server, ClientKind::Envelope, "ben").await;
        let (sender, producer) = produce_audio(&mut ann).await;
        let receiver = consume(&mut ben, &producer).await;
        receiver.receives_more(10).await;
        let ice = ann.ask("transport:restart-ice", json!({ "transportId": sender.id() })).await;
        let ufrag = ice["iceParameters"]["usernameFragment"].as_str().unwrap();
        let datagrams = garbage(ufrag);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (began, before, mut sent) = (Instant::now(), receiver.packets_received(), 0);
        // The kernel drops some datagrams, including valid ones.
        while sent < SENT || receiver.packets_received() - before < FORWARDED {
            assert!(
                began.elapsed() < LIMIT,
                "{} packets under {sent} datagrams",
                receiver.packets_received() - before
            );
            for datagram in &datagrams {
                sent += usize::from(socket.send_to(datagram, sender.server).await.is_ok());
            }
            tokio::task::yield_now().await;
        }
        let mut answer = [0; 100];
        let answered = socket.try_recv_from(&mut answer);
        assert!(answered.is_err(), "no datagram gets a response: {answered:?}");
        receiver.receives_more(50).await;
        bystander.round().await;
        ann.close().await;
        ben.close().await;
    });
}

/// Sends a request, and returns the payload of its response.
pub(super) async fn ask(raw: &mut Raw, kind: &str, payload: Value) -> Value {
    let id = uuid::Uuid::new_v4().to_string();
    let message = json!({ "type": kind, "payload": payload, "correlationId": id });
    raw.send(frame(TEXT, message.to_string())).await;
    loop {
        let mut message: Value =
            serde_json::from_str(&raw.text().await.expect("the connection is open")).unwrap();
        if message["correlationId"] == json!(id) {
            return message["payload"].take();
        }
    }
}

/// Number of connections, and of rounds of each: within the message burst.
const CONNECTIONS: usize = 20;
const ROUNDS: usize = 20;

async fn open_and_close_transports(address: SocketAddr, number: usize) -> Raw {
    let mut raw = Raw::websocket(address, "/ws").await;
    ask(&mut raw, "room:join", json!({ "roomId": format!("looped-{number}") })).await;
    let opus =
        json!({ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2 });
    let parameters = json!({ "mid": "0", "codecs": [opus], "encodings": [{ "ssrc": 1 }] });
    let capabilities =
        ask(&mut raw, "router:capabilities", json!({})).await["rtpCapabilities"].take();
    for _ in 0..ROUNDS {
        let sending = ask(&mut raw, "transport:create", json!({ "direction": "send" })).await;
        let receiving = ask(&mut raw, "transport:create", json!({ "direction": "recv" })).await;
        let produce =
            json!({ "transportId": sending["id"], "kind": "audio", "rtpParameters": parameters });
        let produced = ask(&mut raw, "produce", produce).await;
        let consume = json!({
            "transportId": receiving["id"], "producerId": produced["id"], "rtpCapabilities": capabilities,
        });
        let consumer = ask(&mut raw, "consume", consume).await;
        assert!(consumer["id"].is_string(), "{consumer}");
        for transport in [sending, receiving] {
            ask(&mut raw, "transport:close", json!({ "transportId": transport["id"] })).await;
        }
    }
    raw
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn closed_transports_release_memory() {
    assert_bounded(async |address| {
        join_all((0..CONNECTIONS).map(|number| open_and_close_transports(address, number))).await
    })
    .await;
}
