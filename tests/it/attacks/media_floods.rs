//! Requests, packets and STUN without end, all of them well formed: the audio of another pair goes on.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use str0m::IceCreds;
use tokio::net::UdpSocket;

use super::UNLIMITED;
use super::media::ask;
use crate::support::player::{Player, floods, listens, speaks};
use crate::support::raw::Raw;
use crate::support::roamer::{Roamer, Way};
use crate::support::scrape::Scrape;
use crate::support::stun::nomination;
use crate::support::{TestServer, besieged};

/// How long an attack lasts.
const LENGTH: Duration = Duration::from_secs(3);

/// The audio of two who do nothing wrong.
struct Audio {
    peers: [Roamer; 2],
    mouth: Player,
    ear: Player,
}

impl Audio {
    async fn beside(server: &TestServer) -> Self {
        let mut ann = Roamer::joined(server, Way::Envelope, "ann").await;
        let mut ben = Roamer::joined(server, Way::Envelope, "ben").await;
        let (mouth, producer) = speaks(&mut ann).await;
        let ear = listens(&mut ben, &producer).await;
        ear.hears_more(10).await;
        Self { peers: [ann, ben], mouth, ear }
    }

    /// Must arrive while an attack goes on. How much, and how late, is asserted with `PARLOR_TEST_LATENCY=1` only: it depends
    /// on what else the machine does.
    async fn goes_on(&self, attack: impl Future<Output = ()>) {
        let mut attack = pin!(attack);
        let (sent, first) = (self.mouth.sent(), self.ear.heard());
        let (mut heard, mut at, mut longest) = (first, Instant::now(), Duration::ZERO);
        loop {
            let is_over = tokio::select! {
                biased;
                () = &mut attack => true,
                () = tokio::time::sleep(Duration::from_millis(2)) => false,
            };
            let silence = at.elapsed();
            if self.ear.heard() > heard || is_over {
                (heard, at, longest) = (self.ear.heard(), Instant::now(), longest.max(silence));
            }
            if is_over {
                break;
            }
        }
        let (sent, heard) = (self.mouth.sent() - sent, heard - first);
        println!("{heard} of {sent} packets, the longest silence was {longest:?}");
        assert!(heard > 0, "none of {sent} packets arrived");
        if std::env::var_os("PARLOR_TEST_LATENCY").is_some_and(|value| value == "1") {
            // One may be on its way.
            assert!((heard + 1) * 100 >= sent * 97, "{heard} of {sent} packets");
            assert!(longest < Duration::from_millis(220), "silent for {longest:?}");
        }
        self.ear.hears_more(20).await;
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

#[test]
fn transports_created_and_closed_in_a_loop() {
    besieged(&[], async |server, bystander| {
        let audio = Audio::beside(server).await;
        let loops = async |number: usize| {
            let mut raw = Raw::websocket(server.address(), "/ws").await;
            ask(&mut raw, "room:join", json!({ "roomId": format!("looped-{number}") })).await;
            let began = Instant::now();
            let (mut clock, mut creations) = (tokio::time::interval(Duration::from_millis(25)), 0);
            while began.elapsed() < LENGTH {
                clock.tick().await;
                let created = ask(&mut raw, "transport:create", json!({ "direction": "recv" })).await;
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
        audio.goes_on(async { creations = join_all((0..20).map(loops)).await }).await;
        // 200 at once and 200 a second, of which each connection has its share.
        let (total, most) = (creations.iter().sum::<u64>(), 200 * (began.elapsed().as_secs() + 2));
        assert!(total > 100 && total <= most, "{total} of {most}");
        let [least, greatest] = [creations.iter().min(), creations.iter().max()].map(|count| *count.unwrap());
        assert!(greatest <= 2 * least + 5, "{creations:?}");
        bystander.round().await;
        audio.end().await;
    });
}

#[test]
fn many_small_packets_to_many_receivers() {
    besieged(&[UNLIMITED], async |server, bystander| {
        let audio = Audio::beside(server).await;
        let mut eve = Roamer::joined(server, Way::Envelope, "eve").await;
        let (mouth, producer) = floods(&mut eve).await;
        let mut ears = Vec::new();
        for _ in 0..2 {
            ears.push(listens(&mut eve, &producer).await);
        }
        let flood = async {
            let until = mouth.sent() + 3000;
            while mouth.sent() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        audio.goes_on(flood).await;
        assert!(count(server, r#"parlor_media_lost_total{reason="over_limit"}"#).await > 0);
        bystander.round().await;
        eve.close().await;
        audio.end().await;
    });
}

#[test]
fn signed_stun_requests_without_end() {
    besieged(&[UNLIMITED], async |server, bystander| {
        let audio = Audio::beside(server).await;
        let mut eve = Roamer::joined(server, Way::Envelope, "eve").await;
        let created = eve.ask("transport:create", json!({ "direction": "recv" })).await;
        let text = |key: &str| created["iceParameters"][key].as_str().unwrap().to_owned();
        let request = nomination(&IceCreds { ufrag: text("usernameFragment"), pass: text("password") });
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let flood = async {
            let began = Instant::now();
            while began.elapsed() < LENGTH {
                for _ in 0..64 {
                    socket.send_to(&request, audio.mouth.server).await.ok();
                }
                tokio::task::yield_now().await;
            }
        };
        audio.goes_on(flood).await;
        assert!(count(server, r#"parlor_media_lost_total{reason="stun_rate"}"#).await > 1000);
        bystander.round().await;
        eve.close().await;
        audio.end().await;
    });
}
