//! A client of the media server over a real socket, which sends or receives media.

use std::net::SocketAddr;
use std::time::Duration;

use parlor_testing::media::{Media, Source, address_of};
use serde_json::{Value, json};
use str0m::media::MediaKind;
use str0m::rtp::Ssrc;

use super::resuming_client::ResumingClient;

/// Fifty audio packets per second.
const SOURCE: Source =
    Source { interval: Duration::from_millis(20), packets: 1, bytes: 600, layers: 1 };

/// A client's end of one transport. Dropping it stops the client.
pub(crate) struct Player {
    /// Address of the media server.
    pub(crate) server: SocketAddr,
    media: Media,
    /// The consumed stream.
    stream: Option<Ssrc>,
}

impl Player {
    /// Returns the transport's id.
    pub(crate) fn id(&self) -> &str {
        &self.media.id
    }

    /// Returns the payload of its `transport:connect` request.
    pub(crate) fn connecting(&self) -> Value {
        self.media.connect_request()
    }

    /// Returns the number of received packets.
    pub(crate) fn packets_received(&self) -> u64 {
        self.media.received()
    }

    /// Returns the number of sent packets.
    pub(crate) fn packets_sent(&self) -> u64 {
        self.media.sent()
    }

    /// Waits for `count` more packets.
    pub(crate) async fn receives_more(&self, count: u64) {
        self.media.receives(self.stream.unwrap(), count).await.unwrap();
    }
}

/// Returns the router's RTP capabilities.
async fn capabilities(client: &mut ResumingClient) -> Value {
    client.ask("router:capabilities", json!({})).await["rtpCapabilities"].take()
}

/// Creates and connects a transport.
pub(crate) async fn transport(client: &mut ResumingClient, direction: &str) -> Player {
    transport_with(client, direction, SOURCE).await
}

async fn transport_with(client: &mut ResumingClient, direction: &str, source: Source) -> Player {
    let capabilities = capabilities(client).await;
    let created = client
        .ask("transport:create", json!({ "direction": direction, "rtpCapabilities": capabilities }))
        .await;
    let media = Media::new(&created, Some(source)).await.unwrap();
    client.ask("transport:connect", media.connect_request()).await;
    Player { server: address_of(&created).unwrap(), media, stream: None }
}

/// Sends audio. Returns the producer's id.
pub(crate) async fn produce_audio(client: &mut ResumingClient) -> (Player, String) {
    produces(client, SOURCE, MediaKind::Audio, "audio").await
}

/// Sends video as two thousand small packets per second. Returns the producer's id.
pub(crate) async fn produce_small_packets(client: &mut ResumingClient) -> (Player, String) {
    let source = Source { interval: Duration::from_millis(20), packets: 40, bytes: 8, layers: 1 };
    produces(client, source, MediaKind::Video, "video").await
}

async fn produces(
    client: &mut ResumingClient,
    source: Source,
    kind: MediaKind,
    name: &str,
) -> (Player, String) {
    let player = transport_with(client, "send", source).await;
    let parameters = player.media.send(kind, 0);
    let request = json!({ "transportId": player.id(), "kind": name, "rtpParameters": parameters });
    let produced = client.ask("produce", request).await;
    (player, produced["id"].as_str().unwrap_or_else(|| panic!("{produced}")).to_owned())
}

/// Consumes a producer.
pub(crate) async fn consume(client: &mut ResumingClient, producer: &str) -> Player {
    let mut player = transport(client, "recv").await;
    let capabilities = capabilities(client).await;
    let request = json!({ "transportId": player.id(), "producerId": producer, "rtpCapabilities": capabilities });
    let consumer = client.ask("consume", request).await;
    player.stream = Some(player.media.receive(&consumer).unwrap());
    client.ask("consumer:resume", json!({ "consumerId": consumer["id"] })).await;
    player
}
