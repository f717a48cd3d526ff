//! A client of the media server over a real socket: it plays sound, or listens to some.

use std::net::SocketAddr;
use std::time::Duration;

use parlor_testing::media::{Media, Source, address_of};
use serde_json::{Value, json};
use str0m::media::MediaKind;
use str0m::rtp::Ssrc;

use super::roamer::Roamer;

/// Fifty packets of sound a second.
const SOURCE: Source = Source { interval: Duration::from_millis(20), packets: 1, bytes: 600, layers: 1 };

/// One transport of media, at its client's end. It ends when it is dropped.
pub(crate) struct Player {
    /// Where the media server is.
    pub(crate) server: SocketAddr,
    media: Media,
    /// What it listens to.
    stream: Option<Ssrc>,
}

impl Player {
    /// The transport's id.
    pub(crate) fn id(&self) -> &str {
        &self.media.id
    }

    /// What it says to connect.
    pub(crate) fn connecting(&self) -> Value {
        self.media.connect_request()
    }

    /// How many packets it has heard.
    pub(crate) fn heard(&self) -> u64 {
        self.media.received()
    }

    /// How many packets it has sent.
    pub(crate) fn sent(&self) -> u64 {
        self.media.sent()
    }

    /// Waits until it has heard so many more.
    pub(crate) async fn hears_more(&self, count: u64) {
        self.media.receives(self.stream.unwrap(), count).await.unwrap();
    }
}

/// What the server can carry.
async fn capabilities(roamer: &mut Roamer) -> Value {
    roamer.ask("router:capabilities", json!({})).await["rtpCapabilities"].take()
}

/// A transport of a client's that is in the only room it is in, connecting.
pub(crate) async fn transport(roamer: &mut Roamer, direction: &str) -> Player {
    transport_with(roamer, direction, SOURCE).await
}

async fn transport_with(roamer: &mut Roamer, direction: &str, source: Source) -> Player {
    let capabilities = capabilities(roamer).await;
    let created =
        roamer.ask("transport:create", json!({ "direction": direction, "rtpCapabilities": capabilities })).await;
    let media = Media::new(&created, Some(source)).await.unwrap();
    roamer.ask("transport:connect", media.connect_request()).await;
    Player { server: address_of(&created).unwrap(), media, stream: None }
}

/// Plays sound: its producer's id.
pub(crate) async fn speaks(roamer: &mut Roamer) -> (Player, String) {
    produces(roamer, SOURCE, MediaKind::Audio, "audio").await
}

/// Plays pictures of many small packets, two thousand a second: its producer's id.
pub(crate) async fn floods(roamer: &mut Roamer) -> (Player, String) {
    let source = Source { interval: Duration::from_millis(20), packets: 40, bytes: 8, layers: 1 };
    produces(roamer, source, MediaKind::Video, "video").await
}

async fn produces(roamer: &mut Roamer, source: Source, kind: MediaKind, name: &str) -> (Player, String) {
    let player = transport_with(roamer, "send", source).await;
    let parameters = player.media.send(kind, 0);
    let request = json!({ "transportId": player.id(), "kind": name, "rtpParameters": parameters });
    let produced = roamer.ask("produce", request).await;
    (player, produced["id"].as_str().unwrap_or_else(|| panic!("{produced}")).to_owned())
}

/// Listens to a producer.
pub(crate) async fn listens(roamer: &mut Roamer, producer: &str) -> Player {
    let mut player = transport(roamer, "recv").await;
    let capabilities = capabilities(roamer).await;
    let request = json!({ "transportId": player.id(), "producerId": producer, "rtpCapabilities": capabilities });
    let consumer = roamer.ask("consume", request).await;
    player.stream = Some(player.media.receive(&consumer).unwrap());
    roamer.ask("consumer:resume", json!({ "consumerId": consumer["id"] })).await;
    player
}
