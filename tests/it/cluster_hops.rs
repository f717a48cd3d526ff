//! Polling clients whose requests reach other nodes than the one that has their session.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parlor_testing::connection::{Connection, Joined, Route};
use parlor_testing::transport::{Disconnect, Options, Transport};
use rustls::version::TLS13;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cluster_nodes::{member, node, process, until_engine};
use crate::support::TestServer;
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::scrape::Scrape;
use crate::support::server::LIMIT;
use crate::support::tls::{Authority, Https, folder};

/// A load balancer that sends each request to the next node: it closes connections after one
/// response, and passes the bytes of a WebSocket on.
async fn round_robin(nodes: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let turn = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let target = nodes[turn.fetch_add(1, Ordering::Relaxed) % nodes.len()];
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match client.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let is_upgrade = head.to_ascii_lowercase().contains("\r\nupgrade:");
                let kept = head.split("\r\n").filter(|line| {
                    is_upgrade || !line.to_ascii_lowercase().starts_with("connection:")
                });
                let mut head: Vec<&str> = kept.collect();
                if !is_upgrade {
                    head.insert(1, "Connection: close");
                }
                let mut server = TcpStream::connect(target).await.unwrap();
                server.write_all(head.join("\r\n").as_bytes()).await.unwrap();
                _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn polling_clients_reach_their_session_through_any_node() {
    let redis = Redis::start();
    let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &[]));
    let balancer = round_robin(nodes.iter().map(Into::into).collect()).await;
    let mut ann = member(&nodes[0], "r", "ann").await;
    for route in [Route::Polling, Route::Upgrade] {
        for round in 0..3 {
            let joining = Connection::join(balancer, route, "r", "ben", Options::default());
            let (mut ben, Joined { peers, .. }) =
                joining.await.unwrap_or_else(|error| panic!("{route:?}, {round}: {error:#}"));
            assert_eq!(peers, ["ann"], "{route:?}");
            assert_eq!(ann.next_event("user-joined").await[0]["userId"], "ben");
            for number in 0..10 {
                let offer = json!({ "roomId": "r", "targetId": "ann", "offer": { "type": "offer", "sdp": number } });
                ben.transport.send(vec![format!("42{}", json!(["offer", offer]))]).await.unwrap();
                assert_eq!(ann.next_event("offer").await[0]["offer"]["sdp"], number);
                let answer = json!({ "roomId": "r", "targetId": "ben", "answer": { "type": "answer", "sdp": number } });
                ann.tell("answer", answer).await;
                let answer = loop {
                    let text = ben.transport.next().await.unwrap();
                    if text.starts_with(r#"42["answer""#) {
                        break text;
                    }
                };
                assert!(answer.contains(&format!(r#""sdp":{number}"#)), "{answer}");
            }
            ben.end(Disconnect::Leave).await;
            assert_eq!(ann.next_event("user-left").await[0]["userId"], "ben");
        }
    }
    let mut hops = 0;
    for server in &nodes {
        hops += Scrape::of(server).await.count("parlor_cluster_hops_total");
    }
    assert!(hops > 50, "{hops} requests were forwarded");
    ann.close().await;
    for server in nodes {
        server.finish().await;
    }
}

/// Two nodes that are connected to the engine.
async fn pair(redis: &Redis, flags: &[&str]) -> (TestServer, TestServer) {
    let nodes = (node(redis, "one", flags), node(redis, "two", flags));
    until_engine(&nodes.0, "connected").await;
    until_engine(&nodes.1, "connected").await;
    nodes
}

/// Sends a request on a connection of its own: the status and the text of the response.
async fn send(address: SocketAddr, head: &str, headers: &str) -> (u16, String) {
    let request = format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    let response = Raw::sending(address, request).await.response().await.expect("it is answered");
    (response.status, response.text().to_owned())
}

#[tokio::test]
async fn session_ids_name_their_node_and_others_are_unknown() {
    let redis = Redis::start();
    let (one, two) = pair(&redis, &[]).await;
    let response = reqwest::get(one.url("/socket.io/?EIO=4&transport=polling")).await.unwrap();
    assert_eq!(response.headers()["set-cookie"], "parlor-node=one; Path=/socket.io/; HttpOnly");
    let text = response.text().await.unwrap();
    let open: Value = serde_json::from_str(text.strip_prefix('0').unwrap()).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let (id, name) = sid.split_once('.').unwrap();
    assert_eq!(name, "one");
    let poll = |sid: &str| format!("GET /socket.io/?EIO=4&transport=polling&sid={sid}");
    for unknown in
        [format!("{id}.two"), format!("{id}.missing"), "x.one".to_owned(), "..".to_owned()]
    {
        let (status, text) = send(two.address(), &poll(&unknown), "").await;
        assert_eq!((status, text.contains("Session ID unknown")), (400, true), "{unknown}: {text}");
    }
    // Only nodes have the key of the header.
    let post = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}");
    let forged = "Parlor-Hop: 127.0.0.1|http|0|00\r\n";
    let (status, text) =
        send(two.address(), &post, &format!("{forged}Content-Length: 2\r\n\r\n40")).await;
    assert_eq!((status, text.as_str()), (200, "ok"), "a header that is not signed changes nothing");
    let (status, text) = send(two.address(), &poll(sid), "").await;
    assert_eq!((status, text.starts_with("40{")), (200, true), "{text}");
    let (status, text) = send(two.address(), &post, "Content-Length: 4\r\n\r\n41\u{1e}1").await;
    assert_eq!((status, text.as_str()), (200, "ok"));
    two.finish().await;
    one.until("it has ended", |held| held.polling == 0).await;
    one.finish().await;
}

#[tokio::test]
async fn forwarded_clients_count_for_their_own_address() {
    let redis = Redis::start();
    let flags = ["--trusted-proxies=127.0.0.1", "--max-connections-per-ip=2"];
    let (one, two) = pair(&redis, &flags).await;
    // Opens a session at one node, and connects by way of the other.
    let connect = async |address: IpAddr| {
        let header = format!("X-Forwarded-For: {address}\r\n");
        let (status, text) =
            send(one.address(), "GET /socket.io/?EIO=4&transport=polling", &header).await;
        if status != 200 {
            return Err(status);
        }
        let start = text.find(r#""sid":""#).unwrap() + 7;
        let sid = text[start..].split('"').next().unwrap().to_owned();
        let post = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}");
        let (status, text) =
            send(two.address(), &post, &format!("{header}Content-Length: 2\r\n\r\n40")).await;
        assert_eq!((status, text.as_str()), (200, "ok"), "{address}");
        Ok(sid)
    };
    let mut open = Vec::new();
    // More in all than one address may have.
    for client in 1..=6 {
        open.push(connect([203, 0, 113, client].into()).await.expect("its address has no other"));
    }
    open.push(connect([203, 0, 113, 1].into()).await.expect("an address may have two"));
    assert_eq!(connect([203, 0, 113, 1].into()).await, Err(429), "its own limit holds");
    one.until("they are connected", |held| held.sessions == 7).await;
    for sid in open {
        let post = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}");
        send(two.address(), &post, "Content-Length: 4\r\n\r\n41\u{1e}1").await;
    }
    one.until("they have left", |held| held.sessions == 0).await;
    assert!(two.stop().await);
    assert!(one.stop().await);
}

#[tokio::test]
async fn message_is_forwarded_although_its_node_stops() {
    let redis = Redis::start();
    let (one, two) = (process(&redis, "one"), node(&redis, "two", &[]));
    until_engine(&two, "connected").await;
    let health = format!("http://{}/health", one.address());
    let connected = async {
        loop {
            let health: Value = reqwest::get(&health).await.unwrap().json().await.unwrap();
            if health["cluster"]["nodes"] == 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, connected).await.expect("the nodes are one cluster");
    let mut ann = member(&two, "r", "ann").await;
    let joining = Connection::join(two.address(), Route::Polling, "r", "ben", Options::default());
    let (ben, _) = joining.await.unwrap();
    assert_eq!(ann.next_event("user-joined").await[0]["userId"], "ben");
    let Transport::Polling(polling) = &ben.transport else { panic!("it polls") };
    let offer = json!({ "roomId": "r", "targetId": "ann", "offer": { "type": "offer", "sdp": 1 } });
    let body = format!("42{}", json!(["offer", offer]));
    let (early, late) = body.split_at(body.len() / 2);
    let (path, length) = (polling.path(), body.len());
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{early}");
    let mut post = Raw::sending(one.address(), head).await;
    post.until_read().await;
    let stopping = one.address();
    one.signal("TERM");
    let refused = async {
        while TcpStream::connect(stopping).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("it stops");
    post.send(late).await;
    assert_eq!(post.response().await.unwrap().text(), "ok");
    assert_eq!(ann.next_event("offer").await[0]["offer"]["sdp"], 1);
    let ended = tokio::task::spawn_blocking(move || one.ended()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    ben.end(Disconnect::Leave).await;
    ann.close().await;
    two.finish().await;
}

#[tokio::test]
async fn older_clients_know_themselves_by_the_whole_id() {
    let redis = Redis::start();
    let (one, two) = pair(&redis, &[]).await;
    let opened = reqwest::get(one.url("/socket.io/?EIO=3&transport=polling&b64=1"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let (length, packet) = opened.split_once(':').unwrap();
    let length: usize = length.parse().unwrap();
    let open: Value = serde_json::from_str(&packet[1..length]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    assert_eq!(sid.split_once('.').map(|(_, node)| node), Some("one"), "{opened}");
    let poll = format!("GET /socket.io/?EIO=3&transport=polling&b64=1&sid={sid}");
    let (status, text) = send(two.address(), &poll, "").await;
    assert_eq!((status, text.as_str()), (200, "2:40"));
    // A page that names itself to others by this id is named by the id that they know.
    let mut ann = member(&two, "r", "ann").await;
    let join = r#"42["join-room",{"roomId":"r","userId":"ben"}]"#;
    let offer =
        format!(r#"42["offer",{{"roomId":"r","targetId":"ann","offer":{{"sdp":"{sid}"}}}}]"#);
    for packet in [join, &offer] {
        let post = format!("POST /socket.io/?EIO=3&transport=polling&b64=1&sid={sid}");
        let body = format!("{}:{packet}", packet.len());
        let headers =
            format!("Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(send(two.address(), &post, &headers).await.0, 200);
    }
    let joined = ann.next_event("user-joined").await;
    let offer = ann.next_event("offer").await;
    assert_eq!(offer[0]["offer"]["sdp"], joined[0]["socketId"]);
    let post = format!("POST /socket.io/?EIO=3&transport=polling&b64=1&sid={sid}");
    send(two.address(), &post, "Content-Length: 3\r\n\r\n1:1").await;
    ann.next_event("user-left").await;
    ann.close().await;
    one.finish().await;
    two.finish().await;
}

/// Passes connections on to a node that starts later, and counts them.
async fn counted(node: Arc<OnceLock<SocketAddr>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::Relaxed);
            let node = *node.get().expect("the node has started");
            tokio::spawn(async move {
                let mut to = TcpStream::connect(node).await.unwrap();
                _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, count)
}

/// Forwards requests to a node, with or without TLS, and counts the connections to it.
async fn connections_are_shared(is_secure: bool) {
    let redis = Redis::start();
    let target = Arc::new(OnceLock::new());
    let (address, count) = counted(Arc::clone(&target)).await;
    let flags = [
        format!("--cluster-url={}", redis.url()),
        "--cluster-node=one".to_owned(),
        format!("--cluster-address={}://{address}", if is_secure { "https" } else { "http" }),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let authority = Authority::new();
    let path = "/socket.io/?EIO=4&transport=polling";
    let (one, opened) = if is_secure {
        let identity = authority.issue(&folder("hop-connections"));
        let one = TestServer::secure(&authority, &identity, &flags);
        let https = Https::connect(one.address(), authority.client(&[&TLS13]), false).await;
        let (_, opened) = https.get(&one.url(path)).await;
        (one, opened)
    } else {
        let one = TestServer::with(&flags);
        let opened = reqwest::get(one.url(path)).await.unwrap().text().await.unwrap();
        (one, opened)
    };
    target.set(one.address()).unwrap();
    let two = node(&redis, "two", &["--cluster-lease-seconds=10"]);
    until_engine(&two, "connected").await;
    let open: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let (post, poll) = (format!("POST {path}&sid={sid}"), format!("GET {path}&sid={sid}"));
    let post = async |body: &str| {
        let headers = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let (status, text) = send(two.address(), &post, &headers).await;
        assert_eq!((status, text.as_str()), (200, "ok"));
    };
    post("40").await;
    let (status, text) = send(two.address(), &poll, "").await;
    assert_eq!((status, text.starts_with("40{")), (200, true), "{text}");
    for number in 1..=20 {
        post(&format!(r#"42{number}["leave-room","no such room"]"#)).await;
        let (status, text) = send(two.address(), &poll, "").await;
        let acknowledged = text.contains(&format!("43{number}["));
        assert_eq!((status, acknowledged), (200, true), "{number}: {text}");
    }
    post("41\u{1e}1").await;
    assert_eq!(Scrape::of(&two).await.count("parlor_cluster_hops_total"), 43);
    // One request after the other, so one connection does; two if it was not yet back in time.
    let count = count.load(Ordering::Relaxed);
    assert!((1..=2).contains(&count), "{count} connections for 43 requests");
    two.finish().await;
    one.finish().await;
}

#[tokio::test]
async fn forwarded_requests_share_a_connection() {
    connections_are_shared(false).await;
}

#[tokio::test]
async fn forwarded_requests_share_a_connection_over_tls() {
    connections_are_shared(true).await;
}
