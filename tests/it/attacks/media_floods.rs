//! Floods of valid requests, packets and STUN: the audio of another pair continues.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use str0m::IceCreds;
use tokio::net::UdpSocket;

use super::UNLIMITED;
use super::media::ask;
use crate::support::bystander::{asserts_latency, time_factor};
use crate::support::player::{Player, consume, produce_audio, produce_small_packets};
use crate::support::raw::Raw;
use crate::support::resuming_client::{ClientKind, ResumingClient};
use crate::support::scrape::Scrape;
use crate::support::stun::nomination;
use crate::support::{TestServer, attacked};

/// How long an attack lasts.
const LENGTH: Duration = Duration::from_secs(3);

/// An audio call of two well-behaved peers.
struct AudioCall {
    peers: [ResumingClient; 2],
    sender: Player,
    receiver: Player,
}

impl AudioCall {
    async fn start(server: &TestServer) -> Self {
        let mut ann = ResumingClient::joined(server, ClientKind::Envelope, "ann").await;
        let mut ben = ResumingClient::joined(server, ClientKind::Envelope, "ben").await;
        let (sender, producer) = produce_audio(&mut ann).await;
        let receiver = consume(&mut ben, &producer).await;
        receiver.receives_more(10).await;
        Self { peers: [ann, ben], sender, receiver }
    }

    /// Asserts that audio arrives during an attack. Loss and delay are asserted with
    /// `PARLOR_TEST_LATENCY=1` only, since they depend on the load of the machine.
    async fn assert_media_continues(&self, attack: impl Future<Output = ()>) {
        let mut attack = pin!(attack);
        let (sent, first) = (self.sender.packets_sent(), self.receiver.packets_received());
        let (mut received, mut at, mut longest) = (first, Instant::now(), Duration::ZERO);
        loop {
            let is_over = tokio::select! {
                biased;
                () = &mut attack => true,
                () = tokio::time::sleep(Duration::from_millis(2)) => false,
            };
            let silence = at.elapsed();
            if self.receiver.packets_received() > received || is_over {
                (received, at, longest) =
                    (self.receiver.packets_received(), Instant::now(), longest.max(silence));
            }
            if is_over {
                break;
            }
        }
        let (sent, received) = (self.sender.packets_sent() - sent, received - first);
        println!("{received} of {sent} packets, the longest silence was {longest:?}");
        assert!(received > 0, "none of {sent} packets arrived");
        if asserts_latency() {
            let factor = time_factor();
            let least = 100 - u64::from(3 * factor);
            // One packet may be in flight.
            assert!((received + 1) * 100 >= sent * least, "{received} of {sent} packets");
            assert!(longest < Duration::from_millis(220) * factor, "silent for {longest:?}");
        }
        self.receiver.receives_more(20).await;
    }

    async fn end(self) {
        for peer in self.peers {
            peer.close().await;
        }
    }
}

async fn count(server: &TestServer, series: &str) -> u64 {
    Scrape::of(server).await.count(series)
}

async fn packets_in(server: &TestServer) -> u64 {
    count(server, r#"parlor_media_datagrams_total{direction="in"}"#).await
}

/// Returns the number of media packets that were dropped because they exceeded a limit.
async fn over_limit(server: &TestServer) -> u64 {
    count(server, r#"parlor_media_lost_total{reason="over_limit"}"#).await
}

#[test]
fn transport_creation_loop_does_not_disturb_media() {
    attacked(&[], async |server, bystander| {
        let audio = AudioCall::start(server).await;
        let loops = async |number: usize| {
            let mut raw = Raw::websocket(server.address(), "/ws").await;
            ask(&mut raw, "room:join", json!({ "roomId": format!("looped-{number}") })).await;
            let began = Instant::now();
            let (mut clock, mut creations) = (tokio::time::interval(Duration::from_millis(25)), 0);
            while began.elapsed() < LENGTH {
                clock.tick().await;
                let created =
                    ask(&mut raw, "transport:create", json!({ "direction": "recv" })).await;
                if created["id"].is_string() {
                    creations += 1;
                    ask(&mut raw, "transport:close", json!({ "transportId": created["id"] })).await;
                } else {
                    assert_eq!(created["code"], "TRANSPORT_ERROR", "{created}");
                }
            }
            creations
        };
        let mut creations: Vec<u64> = Vec::new();
        let began = Instant::now();
        audio
            .assert_media_continues(async { creations = join_all((0..20).map(loops)).await })
            .await;
        // A burst of 200, and 200 per second, shared by all connections.
        let (total, most) = (creations.iter().sum::<u64>(), 200 * (began.elapsed().as_secs() + 2));
        assert!(total > 100 && total <= most, "{total} of {most}");
        let [least, greatest] =
            [creations.iter().min(), creations.iter().max()].map(|count| *count.unwrap());
        assert!(greatest <= 2 * least + 5, "{creations:?}");
        bystander.round().await;
        audio.end().await;
    });
}

#[test]
fn flood_of_small_packets_does_not_disturb_media() {
    attacked(&[UNLIMITED], async |server, bystander| {
        let audio = AudioCall::start(server).await;
        let mut eve = ResumingClient::joined(server, ClientKind::Envelope, "eve").await;
        let (sender, producer) = produce_small_packets(&mut eve).await;
        let mut receiver = Vec::new();
        for _ in 0..2 {
            receiver.push(consume(&mut eve, &producer).await);
        }
        let flood = async {
            let (began, before) = (Instant::now(), packets_in(server).await);
            let until = sender.packets_sent() + 3000;
            let is_limited = async || {
                let seconds = began.elapsed().as_secs();
                over_limit(server).await > 0
                    // A machine that is too slow to send a thousand packets per second does not reach the limit.
                    || (seconds > 6 && packets_in(server).await - before < 1200 * seconds)
            };
            while sender.packets_sent() < until || !is_limited().await {
                assert!(began.elapsed() < 10 * LENGTH, "the flood does not exceed the limit");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        audio.assert_media_continues(flood).await;
        bystander.round().await;
        eve.close().await;
        audio.end().await;
    });
}

#[test]
fn flood_of_signed_stun_requests_does_not_disturb_media() {
    attacked(&[UNLIMITED], async |server, bystander| {
        let audio = AudioCall::start(server).await;
        let mut eve = ResumingClient::joined(server, ClientKind::Envelope, "eve").await;
        let created = eve.ask("transport:create", json!({ "direction": "recv" })).await;
        let text = |key: &str| created["iceParameters"][key].as_str().unwrap().to_owned();
        let request =
            nomination(&IceCreds { ufrag: text("usernameFragment"), pass: text("password") });
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let flood = async {
            let began = Instant::now();
            while began.elapsed() < LENGTH {
                for _ in 0..64 {
                    socket.send_to(&request, audio.sender.server).await.ok();
                }
                tokio::task::yield_now().await;
            }
        };
        audio.assert_media_continues(flood).await;
        assert!(count(server, r#"parlor_media_lost_total{reason="stun_rate"}"#).await > 1000);
        bystander.round().await;
        eve.close().await;
        audio.end().await;
    });
}
