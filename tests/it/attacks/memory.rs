//! Memory cost of attacks: the resident memory of the program, in a separate process.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;

use super::{ENDPOINTS, SOCKET_IO, UNLIMITED};
use crate::support::Bystander;
use crate::support::bystander::{ATTEMPTS, Report};
use crate::support::raw::{PING, Raw, TEXT, frame, frame_head};

/// Maximum permanent growth by an attack, in KiB.
const MAX_GROWTH: usize = 16 * 1024;

/// A running program, which is killed if the test fails.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_parlor"))
            .args(["--host=127.0.0.1", "--port=0", "--log-level=error"])
            .args(flags)
            .env_clear()
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let (_, address) =
            first.split_once("http://").expect("the first line contains the address");
        let address =
            address.split_whitespace().next().unwrap().trim_end_matches('/').parse().unwrap();
        Self { child, address }
    }

    /// Returns the resident memory, in KiB.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends it as a service manager does; asserts the exit code 0 of a graceful shutdown.
    fn stop(mut self) {
        let killed =
            Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

/// Measures the memory that an attack adds, at its peak and afterwards. The attack runs once
/// before, since first uses cost more: heaps of threads, buffers, pages of code.
pub(super) async fn assert_bounded(attack: impl AsyncFn(SocketAddr) -> Vec<Raw>) {
    assert_bounded_with(&[], attack).await;
}

/// Measures the growth of a program with these flags.
async fn assert_bounded_with(flags: &[&str], attack: impl AsyncFn(SocketAddr) -> Vec<Raw>) {
    let mut slow = Vec::new();
    while slow.len() < ATTEMPTS {
        let report = measure(flags, &attack).await;
        if report.is_quick() {
            return;
        }
        slow.push(report);
    }
    panic!("slow each time: {slow:?}");
}

async fn measure(flags: &[&str], attack: &impl AsyncFn(SocketAddr) -> Vec<Raw>) -> Report {
    let program = Program::start(flags);
    let mut bystander = Bystander::beside(program.address).await;
    attack(program.address).await;
    let before = program.resident();
    let held = attack(program.address).await;
    bystander.round().await;
    let at_height = program.resident();
    drop(held);
    bystander.round().await;
    let after = program.resident();
    println!("{before} KiB, {at_height} at the height, {after} in the end");
    assert!(at_height < before + MAX_GROWTH, "from {before} KiB to {at_height}");
    assert!(after < before + MAX_GROWTH, "from {before} KiB to {after}");
    let report = bystander.finish().await;
    program.stop();
    report
}

#[tokio::test]
async fn claimed_length_is_not_allocated() {
    assert_bounded(async |address| {
        let mut held = Vec::new();
        for path in ENDPOINTS {
            for _ in 0..25 {
                let mut raw = Raw::websocket(address, path).await;
                raw.send(frame_head(TEXT, 64 << 20)).await;
                raw.send("a few bytes").await;
                raw.close_code().await;
                held.push(raw);
            }
        }
        // The maximum length that may be claimed, so that the server waits for all of it.
        for _ in 0..100 {
            let mut raw = Raw::websocket(address, "/ws").await;
            raw.send(frame_head(TEXT, 65_536)).await;
            raw.send("a few bytes").await;
            held.push(raw);
        }
        held
    })
    .await;
}

#[tokio::test]
async fn oversized_message_is_not_buffered() {
    assert_bounded(async |address| {
        let large = frame(TEXT, vec![b'x'; 8 << 20]);
        let mut endless = frame(0x01, vec![b'x'; 1024]);
        for _ in 0..8 * 1024 {
            endless.extend(frame(0x00, vec![b'x'; 1024]));
        }
        let (large, endless) = (&large, &endless);
        join_all(ENDPOINTS.map(async |path| {
            let mut held = Vec::new();
            for bytes in [large, endless] {
                let mut raw = Raw::websocket(address, path).await;
                raw.send(bytes).await;
                let code = raw.close_code().await;
                assert!(path == SOCKET_IO || code == 1009, "{path}: {code}");
                held.push(raw);
            }
            held
        }))
        .await
        .into_iter()
        .flatten()
        .collect()
    })
    .await;
}

/// Request heads and bodies without an end are not buffered either.
#[tokio::test]
async fn endless_requests_are_not_buffered() {
    assert_bounded(async |address| {
        let head = format!("GET /health HTTP/1.1\r\nX-Large: {}", "x".repeat(1 << 20));
        let path = format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20));
        let body = format!(
            "POST /api/rooms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            u32::MAX
        );
        let body = format!("{body}{}", "x".repeat(8 << 20));
        let claim =
            "POST /api/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 9007199254740991\r\n\r\n{"
                .to_owned();
        let mut open = Vec::new();
        for bytes in [head, path, body, claim].iter().cycle().take(40) {
            let mut raw = Raw::connect(address).await;
            raw.send(bytes).await;
            open.push(raw);
        }
        open
    })
    .await;
}

/// Even without the rate limiter, unread pongs are not queued: the server no longer reads from
/// their recipient.
#[tokio::test]
async fn unread_pongs_are_not_queued() {
    assert_bounded_with(&[UNLIMITED], async |address| {
        let pings = frame(PING, [b'x'; 100]).repeat(500);
        let attackers = ENDPOINTS.map(async |path| {
            let mut raw = Raw::websocket(address, path).await;
            if path == SOCKET_IO {
                raw.send(frame(TEXT, "40")).await;
            }
            // As much as the buffers of both kernels hold, and as the server reads in the meantime.
            let mut refused = 0;
            let mut sent = 0;
            while refused < 200 && sent < 100 << 20 {
                if let Some(length) = raw.send_some(&pings[sent % pings.len()..]) {
                    (refused, sent) = (0, sent + length);
                } else {
                    refused += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            }
            assert!(sent < 100 << 20, "{path}: the server continues to read");
            raw
        });
        join_all(attackers).await
    })
    .await;
}
