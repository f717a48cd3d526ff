//! Invalid input to the media server.

use anyhow::Context;
use parlor_testing::media::address_of;
use parlor_testing::requester::Requester;
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::json;
use tokio::net::UdpSocket;

use super::hostile::noise;
use crate::world::World;

/// Number of invalid datagrams per act.
const DATAGRAMS: usize = 50;

/// The errors for invalid parameters.
const CODES: [&str; 4] = ["TRANSPORT_ERROR", "PRODUCE_ERROR", "CONSUME_ERROR", "INVALID_MESSAGE"];

/// Datagrams that begin like those of each protocol, followed by noise.
pub(super) async fn garbage(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let mut requester = Requester::join(world.address, &world.name("hostile"), "garbage").await?;
    let created = requester.request("transport:create", json!({ "direction": "recv" })).await?;
    let server = address_of(&created)?;
    let ufrag = created["iceParameters"]["usernameFragment"].as_str().context("a ufrag")?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    for _ in 0..DATAGRAMS {
        let length = choices.random_range(1..1200);
        let mut datagram = noise(&mut choices, length);
        match choices.random_range(0..4) {
            // A binding request with a valid user name and no integrity: RFC 8489, section 5.
            0 => datagram = binding_request(ufrag, &mut choices),
            // DTLS and RTP: RFC 7983, section 7.
            1 => datagram[0] = 22,
            2 => datagram[0] = 128,
            _ => {}
        }
        // A datagram that is not sent is lost.
        socket.send_to(&datagram, server).await.ok();
    }
    requester.end(Disconnect::Close).await
}

fn binding_request(ufrag: &str, choices: &mut SmallRng) -> Vec<u8> {
    let name = format!("{ufrag}:soak");
    let padded = name.len().next_multiple_of(4);
    let length = u16::try_from(4 + padded).unwrap_or_default();
    let mut datagram = vec![0, 1];
    datagram.extend(length.to_be_bytes());
    datagram.extend(0x2112_A442_u32.to_be_bytes());
    datagram.extend(noise(choices, 12));
    datagram.extend([0, 6]);
    datagram.extend(u16::try_from(name.len()).unwrap_or_default().to_be_bytes());
    datagram.extend(name.as_bytes());
    datagram.resize(24 + padded, 0);
    datagram
}

/// Requests for unknown objects, and with invalid parameters.
pub(super) async fn lies(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let mut requester = Requester::join(world.address, &world.name("hostile"), "liar").await?;
    let created = requester.request("transport:create", json!({ "direction": "send" })).await?;
    let (transport, nothing) = (&created["id"], json!("00000000-0000-4000-8000-000000000000"));
    let opus =
        json!({ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2 });
    let lies = [
        ("transport:create", json!({ "direction": "up" })),
        (
            "transport:connect",
            json!({ "transportId": nothing, "dtlsParameters": { "fingerprints": [] } }),
        ),
        (
            "transport:connect",
            json!({ "transportId": transport, "dtlsParameters": {
            "role": "client", "fingerprints": [{ "algorithm": "sha-1", "value": "00:11" }] } }),
        ),
        ("transport:restart-ice", json!({ "transportId": nothing })),
        ("transport:close", json!({ "transportId": 7 })),
        ("produce", json!({ "transportId": transport, "kind": "audio", "rtpParameters": {} })),
        (
            "produce",
            json!({ "transportId": transport, "kind": "video", "rtpParameters": {
            "mid": "v", "codecs": [opus], "encodings": [{ "ssrc": 1 }] } }),
        ),
        (
            "produce",
            json!({ "transportId": transport, "kind": "audio", "rtpParameters": {
            "mid": "a", "codecs": [opus], "encodings": [{ "ssrc": 0 }] } }),
        ),
        (
            "consume",
            json!({ "transportId": transport, "producerId": nothing, "rtpCapabilities": {} }),
        ),
        ("consumer:resume", json!({ "consumerId": nothing })),
        ("consumer:layers", json!({ "consumerId": nothing, "spatialLayer": 1 })),
        ("producer:close", json!({ "producerId": nothing })),
    ];
    for _ in 0..4 {
        let (kind, payload) = &lies[choices.random_range(0..lies.len())];
        requester.fail(kind, payload.clone(), &CODES).await?;
    }
    requester.end(Disconnect::Close).await
}

/// Transports that no client connects to.
pub(super) async fn abandoned(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let mut requester = Requester::join(world.address, &world.name("hostile"), "abandons").await?;
    for number in 0..choices.random_range(1..=3) {
        let created = requester.request("transport:create", json!({ "direction": "send" })).await?;
        let transport = &created["id"];
        if choices.random() {
            let fingerprint = ["A5"; 32].join(":");
            let dtls = json!({ "role": "client", "fingerprints": [{ "algorithm": "sha-256", "value": fingerprint }] });
            requester
                .request(
                    "transport:connect",
                    json!({ "transportId": transport, "dtlsParameters": dtls }),
                )
                .await?;
        }
        let opus = json!({ "mimeType": "audio/opus", "payloadType": 111, "clockRate": 48000, "channels": 2 });
        let parameters =
            json!({ "mid": "a", "codecs": [opus], "encodings": [{ "ssrc": 10 + number }] });
        let request =
            json!({ "transportId": transport, "kind": "audio", "rtpParameters": parameters });
        requester.request("produce", request).await?;
    }
    requester.end(if choices.random() { Disconnect::Drop } else { Disconnect::Reset }).await
}
