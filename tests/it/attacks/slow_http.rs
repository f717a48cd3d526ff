//! Requests that do not complete: incomplete heads, slow bodies, handshakes without a first
//! message.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::support::raw::{Raw, handshake};
use crate::support::{Bystander, TestServer, attacked};

const FLAGS: [&str; 1] = ["--handshake-timeout-seconds=1"];

/// The time for a head, a body or a first message, with a margin for a busy machine.
const IN_TIME: Duration = Duration::from_secs(6);

/// Interval between two bytes of a slow request: never idle for the whole time limit.
const DRIP: Duration = Duration::from_millis(100);

/// Number of connections of each kind.
const MANY: usize = 40;

/// End of a request head.
const END: &str = "\r\n\r\n";

/// Waits, without sending, until the server has ended a connection; returns the status of the
/// response, if there was one.
async fn wait_for_status(mut raw: Raw) -> Option<u16> {
    let status = raw.response().await.map(|response| response.status);
    raw.rest().await;
    status
}

/// Sends further bytes one by one while waiting for the status.
async fn drip(mut raw: Raw, drop: &[u8]) -> Option<u16> {
    loop {
        match tokio::time::timeout(DRIP, raw.response()).await {
            Ok(response) => {
                raw.rest().await;
                return response.map(|response| response.status);
            }
            Err(_) => {
                raw.send(drop).await;
            }
        }
    }
}

/// Returns whether the request was refused or cut off, and not answered as a complete one.
fn is_cut_off(status: Option<u16>) -> bool {
    matches!(status, None | Some(400 | 408))
}

#[test]
fn incomplete_heads_time_out() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let address = server.address();
        let began = Instant::now();
        let beginnings = [
            "",
            "G",
            "GET /health HTTP/1.1",
            "GET /health HTTP/1.1\r\nHost: x\r\n",
            "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n",
            "POST /api/rooms HTTP/1.1\r\nContent-Length: 2\r\n",
            handshake("/ws", "").strip_suffix("\r\n").unwrap(),
        ]
        .map(str::to_owned);
        let many = beginnings.iter().cycle().take(MANY * beginnings.len());
        let silence = many
            .map(async |beginning| wait_for_status(Raw::sending(address, beginning).await).await);
        let drops = (0..MANY).map(async |_| {
            drip(Raw::sending(address, "GET /health HTTP/1.1\r\nHost: x\r\nX-Drip: ").await, b"x")
                .await
        });
        let lines = (0..MANY).map(async |_| {
            drip(Raw::sending(address, "GET /health HTTP/1.1\r\n").await, b"a: b\r\n").await
        });
        let (silence, drops, lines, ()) =
            tokio::join!(join_all(silence), join_all(drops), join_all(lines), bystander.round());
        assert!(silence.into_iter().chain(drops).chain(lines).all(is_cut_off));
        assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    });
}

/// No room is created from an incomplete body.
#[test]
fn slow_bodies_time_out() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let address = server.address();
        let mut polling = Vec::new();
        for _ in 0..MANY {
            polling.push(format!("POST {} HTTP/1.1\r\nHost: x\r\n", polling_path(address).await));
        }
        let rest = "POST /api/rooms HTTP/1.1\r\nHost: x\r\n".to_owned();
        let began = Instant::now();
        let requests = polling.iter().chain(std::iter::repeat_n(&rest, MANY));
        let bodies = requests.enumerate().map(async |(number, request)| match number % 4 {
            0 => {
                wait_for_status(
                    Raw::sending(address, format!("{request}Content-Length: 1000{END}")).await,
                )
                .await
            }
            1 => {
                drip(
                    Raw::sending(address, format!("{request}Content-Length: 1000{END}")).await,
                    b" ",
                )
                .await
            }
            2 => {
                let head = format!("{request}Transfer-Encoding: chunked{END}");
                drip(Raw::sending(address, head).await, b"1\r\n \r\n").await
            }
            _ => {
                // One byte per chunk, and never the end of the chunk's size line.
                let head = format!("{request}Transfer-Encoding: chunked{END}1;x=");
                drip(Raw::sending(address, head).await, b"x").await
            }
        });
        let (statuses, ()) = tokio::join!(join_all(bodies), bystander.round());
        for (number, status) in statuses.into_iter().enumerate() {
            // A client that continues to send may detect the end of the connection before it has
            // read the response.
            let may_miss_it = number % 4 != 0;
            // A polling session has its own time limit. After that requests are ignored until the
            // client has fetched the close, and then refused.
            let is_of_ended_session = number < MANY && matches!(status, Some(200 | 400));
            let is_timeout =
                status == Some(408) || is_of_ended_session || (may_miss_it && status.is_none());
            assert!(is_timeout, "{number}: {status:?}");
        }
        assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    });
}

/// Handshakes without a first message.
#[test]
fn handshakes_without_a_first_message_time_out() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let address = server.address();
        let began = Instant::now();
        let paths = ["/ws", "/signal", super::SOCKET_IO];
        let idle = (0..MANY).map(async |number| {
            Raw::websocket(address, paths[number % paths.len()]).await.rest().await;
        });
        let polling = (0..MANY).map(async |_| polling_path(address).await);
        let (_, paths, ()) = tokio::join!(join_all(idle), join_all(polling), bystander.round());
        assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
        server.until("the polling sessions have ended", |held| held.polling == 0).await;
        for path in paths {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close{END}");
            assert_eq!(wait_for_status(Raw::sending(address, request).await).await, Some(400));
        }
    });
}

/// Opens a polling session; returns the path of its requests.
async fn polling_path(address: SocketAddr) -> String {
    let path = "/socket.io/?EIO=4&transport=polling";
    let mut raw =
        Raw::sending(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close{END}"))
            .await;
    let open = raw.response().await.expect("a new connection is opened");
    let open: serde_json::Value = serde_json::from_str(&open.text()[1..]).unwrap();
    format!("{path}&sid={}", open["sid"].as_str().unwrap())
}
