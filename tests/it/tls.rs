//! TLS: accepted and refused clients, and the renewal of certificates.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::Method;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{Connector, MaybeTlsStream};

use crate::support::TestServer;
use crate::support::program::{Program, parlor};
use crate::support::protocol_peer::{PROTOCOLS, Peer, Protocol, Received, UNNAMED};
use crate::support::server::{Held, LIMIT, short};
use crate::support::stalled;
use crate::support::tls::{Authority, Https, Identity, folder, replace};

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn set_up(of: &str) -> (Authority, Identity) {
    let authority = Authority::new();
    let identity = authority.issue(&folder(of));
    (authority, identity)
}

#[tokio::test]
async fn rest_is_served_over_each_version_of_tls_and_of_http() {
    let (authority, identity) = set_up("tls-rest");
    let server = TestServer::secure(&authority, &identity, &[]);
    for version in BOTH {
        for is_http2 in [false, true] {
            let https =
                Https::connect(server.address(), authority.client(&[version]), is_http2).await;
            assert_eq!(https.post(&server.url("/api/rooms"), r#"{"roomId":"r"}"#).await.0, 201);
            let (status, rooms) = https.get(&server.url("/api/rooms")).await;
            let rooms: Value = serde_json::from_str(&rooms).unwrap();
            assert_eq!((status, &rooms[0]["id"]), (200, &json!("r")), "{version:?}");
            assert_eq!(
                https.ask(Method::DELETE, &server.url("/api/rooms/r"), None, "").await.0,
                204
            );
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn idle_http2_connection_is_closed() {
    let (authority, identity) = set_up("tls-idle");
    let server = TestServer::secure(&authority, &identity, &["--handshake-timeout-seconds=1"]);
    let https = Https::connect(server.address(), authority.client(&[&TLS13]), true).await;
    server.until("it is open", |held| held.tasks > 0).await;
    server.until("it is ended", |held| held == Held::NOTHING).await;
    drop(https);
    server.finish().await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_http2_connections() {
    let (authority, identity) = set_up("tls-shutdown");
    let server = TestServer::secure(&authority, &identity, &[]);
    let https = Https::connect(server.address(), authority.client(&[&TLS13]), true).await;
    assert_eq!(https.get(&server.url("/healthz")).await.0, 200);
    let asked = Instant::now();
    assert!(server.stop().await, "nothing is left");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    drop(https);
}

#[tokio::test]
async fn call_succeeds_over_every_protocol() {
    let (authority, identity) = set_up("tls-protocols");
    let server = TestServer::secure(&authority, &identity, &["--require-tls"]);
    for protocol in PROTOCOLS {
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        let mut bob = Peer::join(&server, protocol, "r", "bob").await;
        ann.expect_presence(Received::Joined(bob.id.clone())).await;
        // Long enough for several records of TLS.
        let sdp = "v=0\r\n".repeat(8_000);
        bob.offer(&ann.id, &sdp).await;
        let from = if protocol == Protocol::Session { UNNAMED.to_owned() } else { bob.id.clone() };
        assert_eq!(ann.next_event().await, Received::Offer { from, sdp }, "{protocol:?}");
        ann.answer(&bob.id, "an answer").await;
        let from = if protocol == Protocol::Session { UNNAMED.to_owned() } else { ann.id.clone() };
        assert_eq!(
            bob.next_event().await,
            Received::Answer { from, sdp: "an answer".to_owned() },
            "{protocol:?}"
        );
        ann.close().await;
        bob.close().await;
        server.until("the room is empty", |held| held == Held::NOTHING).await;
    }
    server.finish().await;
}

#[tokio::test]
async fn polling_works_over_http2_for_own_pages() {
    let (authority, identity) = set_up("tls-polling");
    let server = TestServer::secure(&authority, &identity, &[]);
    let https = Https::connect(server.address(), authority.client(&[&TLS13]), true).await;
    let open = server.url("/socket.io/?EIO=4&transport=polling");
    assert_eq!(https.ask(Method::GET, &open, Some("https://elsewhere.example"), "").await.0, 403);
    let (status, opened) = https.ask(Method::GET, &open, Some(&server.url("")), "").await;
    assert_eq!(status, 200, "{opened}");
    let opened: Value = serde_json::from_str(&opened[1..]).unwrap();
    let poll = format!("{open}&sid={}", opened["sid"].as_str().unwrap());
    let fetch = async || https.get(&poll).await.1;
    let post = async |body: &'static str| https.post(&poll, body).await.1;
    post("40").await;
    while !fetch().await.contains("40{") {}
    post(r#"420["join-room","r"]"#).await;
    while !fetch().await.contains(r#"430[{"ok":true"#) {}
    // A waiting poll, and on the same connection the message that it waits for.
    let (received, _) = tokio::join!(fetch(), post(r#"421["leave-room"]"#));
    assert_eq!(received, r#"431[{"ok":true,"success":true}]"#);
    post("1").await;
    drop(https);
    server.finish().await;
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_refused() {
    let (authority, identity) = set_up("tls-refused");
    let server = TestServer::secure(&authority, &identity, &[]);
    let address = server.address();
    let answers = tokio::task::spawn_blocking(move || {
        let plain = send_text(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        (plain, send_text(address, &hello_of_tls_1_1()), send_text(address, &[0; 64]))
    });
    let (plain, tls_1_1, garbage) = answers.await.unwrap();
    let plain = String::from_utf8(plain).unwrap();
    assert!(
        plain.starts_with("HTTP/1.1 400 ") && plain.ends_with("use https:// or wss://\n"),
        "{plain}"
    );
    // An alert (RFC 8446, section 6), fatal.
    assert_eq!((tls_1_1[0], tls_1_1[5]), (21, 2), "{tls_1_1:?}");
    assert_eq!(garbage.first().copied().unwrap_or(21), 21, "an alert or nothing: {garbage:?}");
    // A client that does not trust the authority.
    let strangers = Arc::new(Authority::new().client(&[&TLS13]));
    assert!(handshake(address, &strangers).await.is_err());
    server.finish().await;
}

/// Sends bytes, and returns everything until the server closes.
fn send_text(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(bytes).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 512]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return answer,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            // The reset comes after the alert if the server has unread bytes.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("the server closes in time: {error}"),
        }
    }
}

/// A `ClientHello` that offers TLS 1.1 at most (RFC 4346, section 7.4.1.2).
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    // No session; one suite, TLS_RSA_WITH_AES_128_CBC_SHA; no compression.
    body.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    hello
}

#[tokio::test]
async fn stalled_handshake_is_closed() {
    let (authority, identity) = set_up("tls-silent");
    let metrics = ["--handshake-timeout-seconds=1", "--metrics-addr=127.0.0.1:0"];
    let server = TestServer::secure(&authority, &identity, &metrics);
    let silent = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let half = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    half.writable().await.unwrap();
    half.try_write(&hello_of_tls_1_1()[..20]).unwrap();
    server.until("both are accepted", |held| held.tasks == 2).await;
    server.until("both are ended", |held| held == Held::NOTHING).await;
    let url = format!("http://{}/metrics", server.metrics_address().unwrap());
    let scrape = crate::support::scrape::Scrape::at(&url).await;
    assert_eq!(scrape.count(r#"parlor_limits_hit_total{limit="handshake_time"}"#), 2);
    drop((silent, half));
    server.finish().await;
}

#[tokio::test]
async fn stalled_reader_is_disconnected_over_tls() {
    let (authority, identity) = set_up("tls-stall");
    let stalls = PROTOCOLS.map(|protocol| {
        stalled::is_dropped(
            TestServer::secure_within(&short(), &authority, &identity, &stalled::FLAGS),
            protocol,
        )
    });
    futures_util::future::join_all(stalls).await;
}

/// Returns the certificate of the server.
async fn handshake(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
) -> std::io::Result<CertificateDer<'static>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    let stream = tokio_rustls::TlsConnector::from(Arc::clone(client)).connect(name, stream).await?;
    Ok(stream.get_ref().1.peer_certificates().expect("a server shows its certificate")[0].clone())
}

fn start(identity: &Identity) -> Program {
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0"]).args(identity.flags());
    Program::start(command)
}

fn read_pem(path: &Path) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_file(path).unwrap()
}

#[tokio::test]
async fn renewed_certificate_is_loaded_and_an_invalid_one_is_not() {
    let folder = folder("tls-renewal");
    let authority = Authority::new();
    let identity = authority.issue(&folder);
    let program = start(&identity);
    let address = program.address();
    // One client for all handshakes: no session of the old certificate may be resumed with the new
    // one.
    let client = Arc::new(authority.client(&BOTH));
    let first = read_pem(&identity.certificate);
    assert_eq!(handshake(address, &client).await.unwrap(), first);
    let request = format!("wss://{address}/ws").into_client_request().unwrap();
    let connector = Some(Connector::Rustls(Arc::clone(&client)));
    let connected =
        tokio_tungstenite::connect_async_tls_with_config(request, None, true, connector).await;
    let (mut open, _): (tokio_tungstenite::WebSocketStream<MaybeTlsStream<_>>, _) =
        connected.unwrap();

    authority.issue(&folder);
    let second = read_pem(&identity.certificate);
    program.until_printed("certificate reloaded");
    assert_ne!(first, second);
    assert_eq!(handshake(address, &client).await.unwrap(), second, "by itself");

    replace(&identity.certificate, "-----BEGIN CERTIFICATE-----\nnonsense\n");
    program.until_printed("cannot reload certificate, keeping the current one");
    assert_eq!(handshake(address, &client).await.unwrap(), second, "a broken one changes nothing");

    authority.issue(&folder);
    program.until_printed_times("certificate reloaded", 2);
    let third = read_pem(&identity.certificate);
    assert_eq!(handshake(address, &client).await.unwrap(), third);
    assert_eq!(
        program.printed("cannot reload certificate, keeping the current one"),
        1,
        "logged once, however often the file was checked"
    );

    program.signal("HUP");
    program.until_printed_times("certificate reloaded", 3);
    std::fs::remove_file(&identity.key).unwrap();
    program.signal("HUP");
    program.until_printed_times("cannot reload certificate, keeping the current one", 2);
    assert_eq!(handshake(address, &client).await.unwrap(), third);

    // A connection from before the reload is not affected.
    open.send(Message::text(json!({ "type": "ping", "payload": 1 }).to_string())).await.unwrap();
    let mut received = Vec::new();
    while !received.iter().any(|text: &String| text.contains("pong")) {
        received.push(open.next().await.unwrap().unwrap().to_string());
    }
    drop(open);
    program.stop();
}

#[test]
fn health_command_uses_tls() {
    let (_, identity) = set_up("tls-health");
    let program = start(&identity);
    assert!(
        program.until_printed("listening on").contains(&format!("https://{}", program.address()))
    );
    let port = program.address().port().to_string();
    let health = |flags: &[String]| {
        parlor().args(["health", "--host=127.0.0.1", "--port", &port]).args(flags).output().unwrap()
    };
    assert_eq!(health(&identity.flags()).status.code(), Some(0));
    // Without a certificate in its settings it requests plain HTTP and gets the hint.
    let plain = health(&[]);
    assert_eq!(plain.status.code(), Some(1));
    assert!(String::from_utf8(plain.stderr).unwrap().contains("400"));
    program.stop();
}

#[test]
fn sighup_without_a_certificate_is_ignored() {
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0"]);
    let program = Program::start(command);
    program.signal("HUP");
    program.until_printed("TLS is not configured, ignoring SIGHUP");
    program.stop();
}

#[test]
fn invalid_certificate_prevents_the_start_with_one_line() {
    let folder = folder("tls-wrong");
    let authority = Authority::new();
    let identity = authority.issue(&folder);
    let other = authority.issue(&folder.join("other"));
    let [cert, key] = identity.flags();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let swapped = [format!("--tls-cert={}", text(&identity.key)), key.clone()];
    for (flags, code, named) in [
        (vec![cert.clone()], 2, "TLS_KEY"),
        (vec![key.clone()], 2, "TLS_CERT"),
        (
            vec![cert.clone(), "--tls-key=/nowhere/key.pem".to_owned()],
            1,
            "TLS_KEY=/nowhere/key.pem: No such file",
        ),
        (
            vec![cert.clone(), format!("--tls-key={}", text(&other.key))],
            1,
            "is not the key of TLS_CERT=",
        ),
        (swapped.to_vec(), 1, "holds no certificate"),
        (
            vec![cert.clone(), format!("--tls-key={}", text(&identity.certificate))],
            1,
            "holds no private key",
        ),
    ] {
        for action in ["serve", "check"] {
            let output = parlor()
                .arg(action)
                .args(["--host=127.0.0.1", "--port=0"])
                .args(&flags)
                .output()
                .unwrap();
            let printed = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{printed}");
            assert!(
                printed.trim_end().lines().count() == 1 && printed.contains(named),
                "{printed}"
            );
        }
    }
}
