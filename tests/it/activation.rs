//! Socket activation: while a service manager holds the listening socket, a restart refuses no
//! connection.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_tungstenite::MaybeTlsStream;

use crate::support::program::{Program, parlor};
use crate::support::protocol_peer::message;
use crate::support::server::LIMIT;

/// Starts the program as a service manager does: with the socket as file descriptor 3, and its own
/// process id in the environment.
fn command_with_socket(socket: impl Into<OwnedFd>) -> Command {
    let mut command = Command::new("sh");
    let script =
        r#"exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$PARLOR" --port=1"#;
    command
        .env_clear()
        .env("PARLOR", env!("CARGO_BIN_EXE_parlor"))
        .args(["-c", script])
        .stdin(socket.into());
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Connects, and returns the first message of the server, or the reason of the failure.
async fn connect(address: SocketAddr) -> Result<(), String> {
    let connecting = tokio_tungstenite::connect_async(format!("ws://{address}/ws/t"));
    let (mut socket, _) = connecting.await.map_err(|error| error.to_string())?;
    match message(&mut socket).await {
        Ok(welcome) if welcome.contains("welcome") => {}
        other => return Err(format!("{other:?}")),
    }
    let MaybeTlsStream::Plain(stream) = socket.get_ref() else { panic!("no TLS here") };
    // With FIN, thousands of closed connections would keep their ports for a minute.
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_refuses_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let first = Program::start(command_with_socket(listener.try_clone().unwrap()));
    assert_eq!(first.address(), address, "not the address of the settings");
    // A client that delays the shutdown.
    let mut staying =
        tokio_tungstenite::connect_async(format!("ws://{address}/ws/t")).await.unwrap().0;
    message(&mut staying).await.unwrap();

    let (visits, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (visits, done) = (Arc::clone(&visits), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    connect(address).await?;
                    visits.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    let more = async |than: usize| {
        let end = Instant::now() + LIMIT;
        while visits.load(Ordering::SeqCst) < than {
            assert!(
                Instant::now() < end,
                "connections continue: {}",
                visits.load(Ordering::SeqCst)
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let mut running = first;
    for _ in 0..3 {
        more(visits.load(Ordering::SeqCst) + 20).await;
        running.signal("TERM");
        let ended = tokio::task::spawn_blocking(move || running.ended()).await.unwrap();
        assert_eq!(ended.code(), Some(0));
        // The interval in which no process accepts.
        let next = command_with_socket(listener.try_clone().unwrap());
        running = tokio::task::spawn_blocking(move || Program::start(next)).await.unwrap();
        more(visits.load(Ordering::SeqCst) + 20).await;
    }
    done.store(true, Ordering::SeqCst);
    for visitor in visitors {
        assert_eq!(visitor.await.unwrap(), Ok(()));
    }
    while message(&mut staying).await.is_ok() {}
    running.signal("TERM");
    assert_eq!(tokio::task::spawn_blocking(|| running.ended()).await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_on_an_open_connection_is_not_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let first = Program::start(command_with_socket(listener.try_clone().unwrap()));
    // A browser keeps its connections open. This one sends another request while the server closes
    // the others.
    let http = reqwest::Client::new();
    assert_eq!(http.get(format!("http://{address}/healthz")).send().await.unwrap().status(), 200);
    let mut staying = Vec::new();
    for _ in 0..50 {
        let mut socket =
            tokio_tungstenite::connect_async(format!("ws://{address}/ws/t")).await.unwrap().0;
        message(&mut socket).await.unwrap();
        staying.push(async move { while message(&mut socket).await.is_ok() {} });
    }
    first.signal("TERM");
    let ((), _, staying) =
        futures_util::future::select_all(staying.into_iter().map(Box::pin)).await;
    let late = http.get(format!("http://{address}/socket.io/?EIO=4&transport=polling")).send();
    let late = tokio::spawn(late);
    futures_util::future::join_all(staying).await;
    assert_eq!(tokio::task::spawn_blocking(move || first.ended()).await.unwrap().code(), Some(0));
    let next = command_with_socket(listener.try_clone().unwrap());
    let next = tokio::task::spawn_blocking(move || Program::start(next)).await.unwrap();
    assert_eq!(late.await.unwrap().unwrap().status(), 200);
    next.signal("TERM");
    assert_eq!(tokio::task::spawn_blocking(|| next.ended()).await.unwrap().code(), Some(0));
}

fn polling_url(address: SocketAddr) -> String {
    format!("http://{address}/socket.io/?EIO=4&transport=polling")
}

/// Returns the URL of the session that the response to a handshake over long-polling has opened.
async fn polling_session(address: SocketAddr, response: reqwest::Response) -> String {
    assert_eq!(response.status(), 200);
    let opening = response.text().await.unwrap();
    let packet: serde_json::Value =
        serde_json::from_str(opening.strip_prefix('0').expect("an open packet")).unwrap();
    format!("{}&sid={}", polling_url(address), packet["sid"].as_str().unwrap())
}

async fn open_polling(http: &reqwest::Client, address: SocketAddr) -> String {
    polling_session(address, http.get(polling_url(address)).send().await.unwrap()).await
}

/// Sends a CONNECT packet over long-polling; returns the status of the response.
async fn connect_polling(http: &reqwest::Client, session: &str) -> u16 {
    http.post(session).body("40").send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_client_that_connects_during_a_handover_gets_its_session_from_the_next_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = command_with_socket(listener.try_clone().unwrap());
    command.env("SHUTDOWN_SECONDS", "4");
    let first = Program::start(command);
    let http = reqwest::Client::new();
    // The handover waits for this client, which fetches nothing.
    let silent = open_polling(&http, address).await;
    assert_eq!(connect_polling(&http, &silent).await, 200);
    let session = open_polling(&http, address).await;
    assert_eq!(connect_polling(&http, &session).await, 200);
    first.signal("TERM");
    // Polls until the packet that closes the session: the handover has begun.
    loop {
        let response = http.get(&session).send().await.unwrap();
        assert_eq!(response.status(), 200);
        if response.text().await.unwrap().split('\u{1e}').any(|packet| packet == "1") {
            break;
        }
    }

    let late = tokio::spawn(reqwest::get(polling_url(address)));
    assert_eq!(tokio::task::spawn_blocking(move || first.ended()).await.unwrap().code(), Some(0));
    let next = command_with_socket(listener.try_clone().unwrap());
    let next = tokio::task::spawn_blocking(move || Program::start(next)).await.unwrap();
    let late = late.await.unwrap().unwrap();
    assert_eq!(late.headers()["connection"], "close");
    let session = polling_session(address, late).await;
    assert_eq!(connect_polling(&http, &session).await, 200, "unknown to the next process");
    next.signal("TERM");
    assert_eq!(tokio::task::spawn_blocking(|| next.ended()).await.unwrap().code(), Some(0));
}

#[test]
fn inherited_socket_of_another_kind_prevents_the_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let output = command_with_socket(connected).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(
        printed.trim_end().lines().count() == 1 && printed.contains("does not listen"),
        "{printed}"
    );
}

#[test]
fn sockets_for_another_process_are_ignored() {
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0"]).envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]);
    let program = Program::start(command);
    program.stop();
}
