//! WebSocket frames that no client library would send, on every endpoint.

use futures_util::future::join_all;

use super::{ENDPOINTS, SOCKET_IO};
use crate::support::raw::{CLOSE, PING, Raw, TEXT, frame, frame_head};
use crate::support::{Bystander, TestServer, attacked};

/// First bytes of the frames of a fragmented text message: the first, a middle one, the last.
const FIRST_PART: u8 = 0x01;
const NEXT_PART: u8 = 0x00;
const LAST_PART: u8 = 0x80;

/// Expected close codes of invalid frames; `None` is the end of the connection without a close
/// frame.
const NO_PROTOCOL: [u16; 2] = [1002, 1006];

/// Asserts that these bytes end the connection with one of these codes, on every endpoint.
async fn assert_ends(server: &TestServer, what: &str, bytes: &[u8], codes: &[u16]) {
    join_all(ENDPOINTS.map(async |path| {
        let mut raw = Raw::websocket(server.address(), path).await;
        // The server may close before it has read all bytes.
        raw.send(bytes).await;
        let code = raw.close_code().await;
        assert!(path == SOCKET_IO || codes.contains(&code), "{path}: {what}: closed with {code}");
    }))
    .await;
}

/// Returns a message that every endpoint replies to, which shows that it was read to its end. Its
/// middle may have any length.
fn message_with_reply(path: &str, middle: &str) -> (String, &'static str) {
    match path {
        SOCKET_IO => (format!(r#"428["leave-room"{middle}]"#), r#"438[{"ok":true"#),
        "/ws/attacked" => (format!("{{{middle}}}"), "invalid_type"),
        _ => (format!("{{{middle}}}"), "INVALID_MESSAGE"),
    }
}

/// Opens a connection that is ready to reply.
async fn ready(server: &TestServer, path: &str) -> Raw {
    let mut raw = Raw::websocket(server.address(), path).await;
    if path == SOCKET_IO {
        raw.send(frame(TEXT, "40")).await;
        expect_event(&mut raw, "40{", path).await;
    }
    raw
}

async fn expect_event(raw: &mut Raw, part: &str, path: &str) {
    loop {
        match raw.text().await {
            Ok(text) if text.contains(part) => return,
            Ok(_) => {}
            Err(code) => panic!("{path} was closed with {code} before {part}"),
        }
    }
}

#[test]
fn oversized_frames_are_refused() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let whole = frame(TEXT, vec![b'x'; 8 << 20]);
        let mut parts = frame(FIRST_PART, vec![b'x'; 1024]);
        for _ in 0..1024 {
            parts.extend(frame(NEXT_PART, vec![b'x'; 1024]));
        }
        bystander
            .repeat(async || {
                assert_ends(server, "8 MB in one frame", &whole, &[1009]).await;
                assert_ends(server, "fragments without end", &parts, &[1009]).await;
            })
            .await;
    });
}

#[test]
fn claimed_frame_lengths_allocate_nothing() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                for length in [64 << 20, 1 << 32, 1 << 62, 1 << 63, u64::MAX] {
                    for first in [TEXT, FIRST_PART, 0x82] {
                        let mut claim = frame_head(first, length);
                        claim.extend(b"a few bytes");
                        assert_ends(server, &format!("a claim of {length}"), &claim, &[1009]).await;
                    }
                }
            })
            .await;
        // In a fragment that follows a valid one.
        let mut claim = frame(FIRST_PART, "{");
        claim.extend(frame_head(NEXT_PART, 64 << 20));
        assert_ends(server, "a large part", &claim, &[1009]).await;
    });
}

#[test]
fn message_in_ten_thousand_fragments_is_answered() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let attack = async |path: &str, is_padded: bool| {
            let (message, answer) = message_with_reply(path, &" ".repeat(10_000));
            let last = message.len() - 1;
            let mut bytes = Vec::new();
            for (index, byte) in message.bytes().enumerate() {
                let first = [NEXT_PART, FIRST_PART, LAST_PART]
                    [usize::from(index == 0) + 2 * usize::from(index == last)];
                bytes.extend(frame(first, [byte]));
                if is_padded && index < last {
                    bytes.extend(frame(NEXT_PART, ""));
                }
                if is_padded && index % 100 == 1 {
                    bytes.extend(frame(PING, "between"));
                }
            }
            let mut raw = ready(server, path).await;
            assert!(raw.send(bytes).await, "{path}");
            expect_event(&mut raw, answer, path).await;
        };
        bystander
            .repeat(async || {
                drop(join_all(ENDPOINTS.map(async |path| attack(path, false).await)).await);
            })
            .await;
        for path in ENDPOINTS {
            attack(path, true).await;
        }
    });
}

#[test]
fn reserved_bits_and_opcodes_close_the_connection() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        // All except the valid ones: continuation, text, binary, close, ping, pong.
        let meaningless = |first: u8| ![0x01, 0x02, 0x81, 0x82, 0x88, 0x89, 0x8a].contains(&first);
        let all: Vec<u8> = (0..=u8::MAX).filter(|first| meaningless(*first)).collect();
        let mut under_way = all.chunks(8).cycle();
        let mut attack = async || {
            let some = under_way.next().expect("a cycle has no end").iter();
            join_all(some.map(async |first| {
                assert_ends(server, &format!("{first:#04x}"), &frame(*first, "2"), &NO_PROTOCOL)
                    .await;
            }))
            .await;
        };
        for _ in all.chunks(8) {
            attack().await;
        }
        bystander.repeat(attack).await;
    });
}

#[test]
fn frames_that_violate_the_protocol_close_the_connection() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let unmasked = b"\x81\x012".to_vec();
        let part_within_message = [frame(FIRST_PART, "{"), frame(TEXT, "{}")].concat();
        let compressed = frame(0xc1, b"\xaa\x56\x4a\x2c\x4a\x57\xb2\x52\x0a\x00");
        bystander
            .repeat(async || {
                assert_ends(server, "an unmasked frame", &unmasked, &NO_PROTOCOL).await;
                assert_ends(server, "a compressed frame", &compressed, &NO_PROTOCOL).await;
                assert_ends(
                    server,
                    "a message within a message",
                    &part_within_message,
                    &NO_PROTOCOL,
                )
                .await;
                assert_ends(
                    server,
                    "a continuation without a message",
                    &frame(NEXT_PART, "x"),
                    &NO_PROTOCOL,
                )
                .await;
                assert_ends(
                    server,
                    "a final continuation without a message",
                    &frame(LAST_PART, "x"),
                    &NO_PROTOCOL,
                )
                .await;
                for (name, first) in [("close", CLOSE), ("ping", PING), ("pong", 0x8a)] {
                    let large = frame(first, [3; 126]);
                    assert_ends(server, &format!("a large {name}"), &large, &NO_PROTOCOL).await;
                    let split = frame(first & 0x7f, [3, 0xe8]);
                    assert_ends(server, &format!("a split {name}"), &split, &NO_PROTOCOL).await;
                }
                assert_ends(server, "no frame at all", b"GET / HTTP/1.1\r\n\r\n", &NO_PROTOCOL)
                    .await;
            })
            .await;
    });
}

#[test]
fn invalid_utf8_closes_the_connection() {
    const WRONG: [&[u8]; 7] = [
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"{\"\xc3\"}",
        b"\xf0\x9f\x8e",
        b"{}\x80",
    ];
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                for wrong in WRONG {
                    assert_ends(server, &format!("{wrong:?}"), &frame(TEXT, wrong), &[1007]).await;
                    let (first, last) = wrong.split_at(wrong.len() / 2);
                    let parts = [frame(FIRST_PART, first), frame(LAST_PART, last)].concat();
                    assert_ends(server, &format!("{wrong:?} in parts"), &parts, &[1007]).await;
                }
            })
            .await;
        // A fragment may end within a character.
        for path in ENDPOINTS {
            let (message, answer) =
                message_with_reply(path, if path == SOCKET_IO { ",\"é🎥\"" } else { "\"é🎥\":1" });
            let mut bytes = frame(FIRST_PART, "");
            for byte in message.bytes() {
                bytes.extend(frame(NEXT_PART, [byte]));
            }
            bytes.extend(frame(LAST_PART, ""));
            let mut raw = ready(server, path).await;
            raw.send(bytes).await;
            let answer = if path == SOCKET_IO { "438[" } else { answer };
            expect_event(&mut raw, answer, path).await;
        }
    });
}

#[test]
fn unusual_close_frames_close_the_connection() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let with = |code: u16, reason: &[u8]| frame(CLOSE, [&code.to_be_bytes(), reason].concat());
        bystander
            .repeat(async || {
                for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
                    assert_ends(server, &format!("close {code}"), &with(code, b""), &NO_PROTOCOL)
                        .await;
                }
                assert_ends(server, "a truncated code", &frame(CLOSE, [3]), &NO_PROTOCOL).await;
                assert_ends(
                    server,
                    "a reason that is not text",
                    &with(1000, b"\xff"),
                    &[1002, 1006, 1007],
                )
                .await;
            })
            .await;
        for code in [1000, 1001, 1003, 3000, 4999] {
            let close = [with(code, &[b'x'; 123]), frame(TEXT, "{}"), with(1000, b"")].concat();
            assert_ends(server, &format!("close {code}"), &close, &[code]).await;
        }
        assert_ends(server, "no code", &frame(CLOSE, ""), &[1005]).await;
    });
}
