//! A transparent reverse proxy in front of the server that is recorded.
//!
//! - requests of Engine.IO are distinguished by their query; their bodies are decoded before they
//!   pass, so that a cause is recorded before its effects;
//! - a WebSocket is a tunnel: bytes pass unchanged in both directions, and a copy is decoded;
//! - everything else passes as it is.
//!
//! Three headers of requests change: `Host` and the page's own `Origin` name the server, and
//! Engine.IO requests ask for no compression, which the recorder would not see through.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_EXTENSIONS, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use super::frames::{Found, FrameReader};
use super::payload;
use super::recorder::{Direction, Opening, Recorder, SessionId};
use super::trace::MAX_EVENT_BYTES;
use super::upstream::Upstream;
use crate::dialect::socketio::packet::Revision;
use crate::lifecycle::Lifecycle;
use crate::tls::Connection;

/// Maximum size of the body of one polling request or response, in bytes.
const MAX_POLLING_BYTES: usize = 128 * 1024 * 1024;

/// Size of the buffers of a tunnel, in bytes.
const BUFFER: usize = 64 * 1024;

/// Query parameters of Engine.IO itself.
const PROTOCOL_PARAMETERS: [&str; 7] =
    ["EIO", "transport", "t", "sid", "b64", "j", "supportsBinary"];

type Body = BoxBody<Bytes, hyper::Error>;

/// The proxy.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) upstream: Upstream,
    pub(super) recorder: Arc<Recorder>,
    pub(super) lifecycle: Lifecycle,
    /// Notified with what is wrong when the server cannot be reached any more.
    pub(super) failed: Arc<tokio::sync::watch::Sender<Option<String>>>,
}

/// A request of Engine.IO.
struct EngineRequest {
    opening: Opening,
    sid: Option<String>,
}

impl EngineRequest {
    fn of(uri: &http::Uri) -> Option<Self> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(uri.query()?).ok()?;
        let find =
            |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let revision = match find("EIO")?.as_str() {
            "3" => Revision::V3,
            "4" => Revision::V4,
            _ => return None,
        };
        find("transport")?;
        let sid = find("sid");
        let query: BTreeMap<String, String> = pairs
            .into_iter()
            .filter(|(key, _)| !PROTOCOL_PARAMETERS.contains(&key.as_str()))
            .collect();
        Some(Self { opening: Opening { revision, path: uri.path().to_owned(), query }, sid })
    }
}

impl Proxy {
    /// Accepts connections until the recording ends.
    pub(super) async fn serve(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.lifecycle.stopping() => return,
            };
            match accepted {
                Ok((stream, _)) => self.lifecycle.spawn(self.clone().connection(stream)),
                Err(error) => debug!(%error, "cannot accept a connection"),
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        _ = stream.set_nodelay(true);
        let lifecycle = self.lifecycle.clone();
        let service = service_fn(move |request| {
            let proxy = self.clone();
            async move { Ok::<_, Infallible>(proxy.handle(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::select! {
            ended = connection => if let Err(error) = ended { debug!(%error, "connection ended") },
            () = lifecycle.stopping() => {}
        }
    }

    async fn handle(self, request: Request<Incoming>) -> Response<Body> {
        match self.forward(request).await {
            Ok(response) => response,
            Err(error) => {
                debug!(%error, "request failed");
                let body = Full::new(Bytes::from(format!("parlor profile record: {error}\n")))
                    .map_err(|never| match never {});
                let mut response = Response::new(body.boxed());
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response
            }
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> io::Result<Response<Body>> {
        let engine = EngineRequest::of(request.uri());
        if engine.is_none() && is_call(&request) {
            self.recorder.request(request.method().as_str(), request.uri().path());
        }
        let is_upgrade = request.headers().contains_key(UPGRADE);
        let is_poll = request.method() == http::Method::GET;
        let client_side = is_upgrade.then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        self.rewrite(&mut parts.headers, engine.is_some(), is_upgrade);
        parts.version = Version::HTTP_11;
        parts.uri = parts
            .uri
            .path_and_query()
            .map_or_else(|| Ok(http::Uri::from_static("/")), |it| it.as_str().parse())
            .map_err(io::Error::other)?;
        let session = engine.as_ref().and_then(|engine| self.session(engine));
        let (stream, body) = match session {
            Some(session) if !is_upgrade => {
                let bytes = whole(body).await?;
                // Connecting takes time, above all with TLS: recorded before it, the events of two
                // clients could be in another order than the one in which the server gets them.
                let stream = self.connect().await?;
                self.payload(session, Direction::ToServer, &bytes);
                parts.headers.remove(TRANSFER_ENCODING);
                (stream, Full::new(bytes).map_err(|never| match never {}).boxed())
            }
            _ => (self.connect().await?, body.boxed()),
        };
        let mut response = self.send(stream, Request::from_parts(parts, body)).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let server_side = hyper::upgrade::on(&mut response);
            if let Some(client_side) = client_side {
                let proxy = self.clone();
                let is_new = engine.as_ref().is_some_and(|engine| engine.sid.is_none());
                self.lifecycle.spawn(async move {
                    let (Ok(client), Ok(server)) = (client_side.await, server_side.await) else {
                        return;
                    };
                    proxy.tunnel(TokioIo::new(client), TokioIo::new(server), session, is_new).await;
                });
            }
            let (parts, _) = response.into_parts();
            return Ok(Response::from_parts(
                parts,
                Full::default().map_err(|never| match never {}).boxed(),
            ));
        }
        let (mut parts, body) = response.into_parts();
        let Some(session) = session else { return Ok(Response::from_parts(parts, body.boxed())) };
        let bytes = whole(body).await?;
        if parts.status.is_success() && is_poll {
            self.payload(session, Direction::ToClient, &bytes);
        } else if !parts.status.is_success() {
            self.recorder.closed(session);
        }
        parts.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(parts, Full::new(bytes).map_err(|never| match never {}).boxed()))
    }

    /// Returns the session of a request, a new one if it names none.
    fn session(&self, engine: &EngineRequest) -> Option<SessionId> {
        match &engine.sid {
            Some(sid) => self.recorder.find(sid),
            None => self.recorder.open(engine.opening.clone()),
        }
    }

    fn rewrite(&self, headers: &mut HeaderMap, is_engine: bool, is_upgrade: bool) {
        let host =
            headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
        let is_own_page = headers
            .get(ORIGIN)
            .is_some_and(|origin| origin.as_bytes() == format!("http://{host}").as_bytes());
        if is_own_page && let Ok(origin) = HeaderValue::from_str(&self.upstream.origin) {
            headers.insert(ORIGIN, origin);
        }
        if let Ok(authority) = HeaderValue::from_str(&self.upstream.authority) {
            headers.insert(HOST, authority);
        }
        if is_engine {
            headers.remove(ACCEPT_ENCODING);
            headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        }
        if !is_upgrade {
            headers.remove(CONNECTION);
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let connected = self.upstream.connect().await;
        if let Err(error) = &connected {
            self.failed.send_replace(Some(error.to_string()));
        }
        connected
    }

    async fn send(
        &self,
        stream: Box<dyn Connection>,
        request: Request<Body>,
    ) -> io::Result<Response<Incoming>> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let lifecycle = self.lifecycle.clone();
        self.lifecycle.spawn(async move {
            tokio::select! {
                ended = connection.with_upgrades() => if let Err(error) = ended { debug!(%error, "connection to the server ended") },
                () = lifecycle.stopping() => {}
            }
        });
        sender.send_request(request).await.map_err(io::Error::other)
    }

    fn payload(&self, session: SessionId, direction: Direction, bytes: &[u8]) {
        for packet in payload::packets(self.recorder.revision(session), bytes) {
            self.recorder.packet(session, direction, &packet);
        }
    }

    /// Passes bytes in both directions until one side ends.
    async fn tunnel<C, S>(&self, client: C, server: S, session: Option<SessionId>, is_new: bool)
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (client_read, client_write) = tokio::io::split(client);
        let (server_read, server_write) = tokio::io::split(server);
        let mut to_server = Copy {
            recorder: &self.recorder,
            session,
            direction: Direction::ToServer,
            has_moved: is_new,
        };
        let mut to_client = Copy { direction: Direction::ToClient, ..to_server };
        let ended = async {
            tokio::join!(
                to_server.run(client_read, server_write),
                to_client.run(server_read, client_write)
            );
        };
        tokio::select! {
            () = ended => {}
            () = self.lifecycle.stopping() => {}
        }
        // A failed upgrade leaves the session to polling.
        if let Some(session) = session.filter(|_| to_server.has_moved) {
            self.recorder.closed(session);
        }
    }
}

/// One direction of a tunnel.
#[derive(Clone, Copy)]
struct Copy<'a> {
    recorder: &'a Recorder,
    session: Option<SessionId>,
    direction: Direction,
    /// Whether the session uses this transport.
    has_moved: bool,
}

impl Copy<'_> {
    async fn run(&mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut reader = FrameReader::default();
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if let Some(session) = self.session {
                self.record(session, reader.read(&buffer[..length]));
            }
            if to.write_all(&buffer[..length]).await.is_err() || to.flush().await.is_err() {
                break;
            }
        }
        self.close();
        _ = to.shutdown().await;
    }

    /// Records that the client ended the connection, before the server notices and notifies others.
    fn close(&self) {
        if let Some(session) =
            self.session.filter(|_| self.has_moved && self.direction == Direction::ToServer)
        {
            self.recorder.closed(session);
        }
    }

    fn record(&mut self, session: SessionId, found: Vec<Found>) {
        for message in found {
            match message {
                Found::Text(text) => {
                    self.has_moved |= self.recorder.packet(session, self.direction, &text);
                }
                Found::TooLong(bytes) => {
                    self.recorder.omit(format!(
                        "a message of {bytes} bytes; at most {MAX_EVENT_BYTES} are recorded"
                    ));
                }
                Found::Close => self.close(),
            }
        }
    }
}

async fn whole(body: Incoming) -> io::Result<Bytes> {
    let collected = Limited::new(body, MAX_POLLING_BYTES).collect().await;
    Ok(collected.map_err(io::Error::other)?.to_bytes())
}

/// Returns whether a request is one that the page's code makes, rather than one for the page
/// itself, a script or an image.
fn is_call(request: &Request<Incoming>) -> bool {
    const ASSETS: [&str; 16] = [
        "js", "mjs", "css", "html", "map", "png", "jpg", "jpeg", "gif", "svg", "ico", "webp",
        "woff", "woff2", "mp3", "json",
    ];
    let path = request.uri().path();
    let file = path.rsplit('/').next().unwrap_or_default();
    let is_asset = file.rsplit_once('.').is_some_and(|(_, extension)| ASSETS.contains(&extension));
    match request.headers().get("sec-fetch-dest").map(HeaderValue::as_bytes) {
        Some(b"empty") => !is_asset,
        Some(_) => false,
        None => !is_asset && path != "/",
    }
}
