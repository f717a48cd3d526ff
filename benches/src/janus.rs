//! Janus Gateway as a peer of the media benchmark: its settings, and requests to its plugin
//! `VideoRoom`.
//!
//! Requests and responses are JSON over a Unix datagram socket: one session, and a handle of the
//! plugin for each client. Janus gathers no candidates on loopback interfaces, so media runs over
//! another address of this machine.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use parlor_testing::media::{Endpoint, Media, Source, parameters};
use serde_json::{Value, json};
use str0m::media::MediaKind;

use crate::server::root;

/// The longest wait for a message.
const LIMIT: Duration = Duration::from_secs(20);

const ROOM: u64 = 1;

/// Plugins and transports that are installed with Janus, and not loaded.
const OTHER_PLUGINS: [&str; 11] = [
    "audiobridge",
    "duktape",
    "echotest",
    "lua",
    "nosip",
    "recordplay",
    "sip",
    "streaming",
    "textroom",
    "videocall",
    "voicemail",
];
const OTHER_TRANSPORTS: [&str; 5] = ["http", "mqtt", "nanomsg", "rabbitmq", "websockets"];

/// Returns the folder of its settings and sockets.
fn folder() -> PathBuf {
    root().join("target/bench-janus")
}

/// Returns the path of the socket that takes requests.
fn socket() -> PathBuf {
    folder().join("requests")
}

/// Returns whether a server takes requests.
pub(crate) fn is_listening() -> bool {
    UnixDatagram::unbound().and_then(|client| client.connect(socket())).is_ok()
}

/// Returns an address of this machine that is not a loopback one, if there is a route to elsewhere.
pub(crate) fn address() -> Option<IpAddr> {
    // Connecting a UDP socket sends nothing, it only looks up the route. The address is one of RFC
    // 5737.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Returns whether Janus is installed, with `VideoRoom` and a network to use.
pub(crate) fn is_installed() -> bool {
    Path::new("/usr/bin/janus").exists() && address().is_some()
}

/// Writes the settings of a server with this number of event loops. Returns the command that starts
/// it.
pub(crate) fn command(event_loops: usize) -> anyhow::Result<Vec<String>> {
    let folder = folder();
    fs::create_dir_all(&folder)?;
    // Left over from a server that was killed.
    fs::remove_file(socket()).ok();
    let ip = address().context("this machine has no address but loopback ones")?;
    let libraries = |names: &[&str]| {
        names.iter().map(|name| format!("libjanus_{name}.so")).collect::<Vec<_>>().join(",")
    };
    let plugins = libraries(&OTHER_PLUGINS);
    let transports = libraries(&OTHER_TRANSPORTS);
    let settings = format!(
        "general: {{ interface = \"{ip}\", event_loops = {event_loops}, session_timeout = 0, debug_level = 2 }}\n\
         nat: {{ ice_lite = true, ice_enforce_list = \"{ip}\" }}\n\
         plugins: {{ disable = \"{plugins}\" }}\n\
         transports: {{ disable = \"{transports}\" }}\n\
         loggers: {{ disable = \"libjanus_jsonlog.so\" }}\n\
         events: {{ broadcast = false }}\n"
    );
    fs::write(folder.join("janus.jcfg"), settings)?;
    let unix = format!(
        "general: {{ enabled = true, json = \"compact\", path = \"{}\", type = \"SOCK_DGRAM\" }}\n",
        socket().display()
    );
    fs::write(folder.join("janus.transport.pfunix.jcfg"), unix)?;
    Ok(vec!["janus".to_owned(), "-F".to_owned(), folder.to_string_lossy().into_owned()])
}

/// A session, and a room with one publisher.
pub(crate) struct Session {
    socket: UnixDatagram,
    id: u64,
    transactions: u64,
    /// Handles whose transport is connected.
    connected: HashSet<u64>,
}

impl Session {
    /// Creates the session and the room.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let own = folder().join("responses");
        fs::remove_file(&own).ok();
        let socket = UnixDatagram::bind(&own)?;
        socket.connect(self::socket())?;
        socket.set_read_timeout(Some(LIMIT))?;
        let mut session = Self { socket, id: 0, transactions: 0, connected: HashSet::new() };
        session.id = session.request(json!({ "janus": "create" }))?["data"]["id"]
            .as_u64()
            .context("a session")?;
        let handle = session.attach()?;
        let room = json!({
            "request": "create", "room": ROOM, "publishers": 1, "bitrate": 0, "videocodec": "vp8", "notify_joining": false,
        });
        session.message(handle, &room, None)?;
        Ok(session)
    }

    /// Connects a sender of one video stream; returns its transport and the id to receive it by.
    pub(crate) async fn publish(&mut self, source: Source) -> anyhow::Result<(Media, u64)> {
        let handle = self.attach()?;
        let mut endpoint = Endpoint::bind(address().context("an address")?).await?;
        let stream = parameters(MediaKind::Video, 0, 1);
        let offer =
            json!({ "type": "offer", "sdp": describe(&mut endpoint, "sendonly", &stream, &[]) });
        let join = json!({
            "request": "joinandconfigure", "ptype": "publisher", "room": ROOM, "audio": false, "video": true,
        });
        let joined = self.message(handle, &join, Some(&offer))?;
        let media = endpoint.connect(&transport(&joined["jsep"])?, Some(source))?;
        media.send(MediaKind::Video, 0);
        media.pause(true);
        media.connected().await?;
        // Subscriptions are refused before.
        while !self.connected.contains(&handle) {
            self.receive()?;
        }
        let id = joined["plugindata"]["data"]["id"].as_u64().context("the id of a publisher")?;
        Ok((media, id))
    }

    /// Connects a receiver of a sender.
    pub(crate) async fn subscribe(&mut self, publisher: u64) -> anyhow::Result<Media> {
        let handle = self.attach()?;
        let join = json!({
            "request": "join", "ptype": "subscriber", "room": ROOM, "streams": [{ "feed": publisher }],
        });
        let offer = self.message(handle, &join, None)?["jsep"].take();
        let lines = Lines::of(&offer)?;
        let extensions: Vec<&str> =
            lines.0.iter().copied().filter(|line| line.starts_with("a=extmap:")).collect();
        let mut stream = parameters(MediaKind::Video, 0, 1);
        stream["mid"] = json!(lines.value("a=mid:")?);
        let ssrc: u32 = lines.value("a=ssrc:")?.split(' ').next().unwrap_or_default().parse()?;
        stream["encodings"] = json!([{ "ssrc": ssrc }]);
        let mut endpoint = Endpoint::bind(address().context("an address")?).await?;
        let answer = describe(&mut endpoint, "recvonly", &stream, &extensions);
        let media = endpoint.connect(&transport(&offer)?, None)?;
        media.receive(&json!({ "kind": "video", "rtpParameters": stream }))?;
        self.message(
            handle,
            &json!({ "request": "start" }),
            Some(&json!({ "type": "answer", "sdp": answer })),
        )?;
        media.connected().await?;
        Ok(media)
    }

    fn attach(&mut self) -> anyhow::Result<u64> {
        let attached =
            self.request(json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" }))?;
        attached["data"]["id"].as_u64().context("a handle")
    }

    fn message(
        &mut self,
        handle: u64,
        body: &Value,
        jsep: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = json!({ "janus": "message", "handle_id": handle, "body": body });
        if let Some(jsep) = jsep {
            request["jsep"] = jsep.clone();
        }
        let response = self.request(request)?;
        ensure!(
            response["plugindata"]["data"]["error"].is_null(),
            "{body} is answered with {response}"
        );
        Ok(response)
    }

    /// Sends a request, and waits for what comes after its acknowledgement.
    fn request(&mut self, mut request: Value) -> anyhow::Result<Value> {
        self.transactions += 1;
        let transaction = json!(self.transactions.to_string());
        request["transaction"] = transaction.clone();
        if self.id != 0 {
            request["session_id"] = json!(self.id);
        }
        self.socket.send(request.to_string().as_bytes())?;
        loop {
            let response = self.receive()?;
            if response["transaction"] != transaction {
                continue;
            }
            match response["janus"].as_str() {
                Some("ack") => {}
                Some("success" | "event") => return Ok(response),
                _ => bail!("{request} is answered with {response}"),
            }
        }
    }

    fn receive(&mut self) -> anyhow::Result<Value> {
        let mut buffer = vec![0; 64 * 1024];
        let length = self.socket.recv(&mut buffer).context("Janus does not answer")?;
        let message: Value = serde_json::from_slice(&buffer[..length])?;
        if message["janus"] == "webrtcup" {
            self.connected.extend(message["sender"].as_u64());
        }
        Ok(message)
    }
}

/// The lines of a session description.
struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    fn of(jsep: &'a Value) -> anyhow::Result<Self> {
        Ok(Self(jsep["sdp"].as_str().context("a session description")?.lines().collect()))
    }

    /// Returns the rest of the first line with this beginning.
    fn value(&self, beginning: &str) -> anyhow::Result<&'a str> {
        let found = self.0.iter().find_map(|line| line.strip_prefix(beginning));
        found.with_context(|| format!("no {beginning} in a session description"))
    }
}

/// Returns the server's side of a transport in the form of the response to `transport:create`.
fn transport(jsep: &Value) -> anyhow::Result<Value> {
    let lines = Lines::of(jsep)?;
    // RFC 8839, section 5.1: foundation, component, transport, priority, address, port.
    let candidate: Vec<&str> = lines.value("a=candidate:")?.split(' ').collect();
    let (Some(ip), Some(port)) = (candidate.get(4), candidate.get(5)) else {
        bail!("a candidate of {candidate:?}")
    };
    let fingerprint = lines.value("a=fingerprint:")?.rsplit(' ').next();
    Ok(json!({
        "id": "janus",
        "iceParameters": {
            "usernameFragment": lines.value("a=ice-ufrag:")?, "password": lines.value("a=ice-pwd:")?,
        },
        "iceCandidates": [{ "ip": ip, "port": port.parse::<u16>()? }],
        "dtlsParameters": { "fingerprints": [{ "algorithm": "sha-256", "value": fingerprint }] },
    }))
}

/// Returns the session description of a client with one video stream.
fn describe(
    endpoint: &mut Endpoint,
    direction: &str,
    stream: &Value,
    extensions: &[&str],
) -> String {
    let credentials = endpoint.credentials();
    let (mid, ip) = (stream["mid"].as_str().unwrap_or_default(), endpoint.address.ip());
    let [vp8, rtx] =
        [0, 1].map(|codec| stream["codecs"][codec]["payloadType"].as_u64().unwrap_or_default());
    let mut lines = vec![
        "v=0".to_owned(),
        format!("o=- 1 1 IN IP4 {ip}"),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        format!("a=group:BUNDLE {mid}"),
        format!("m=video 9 UDP/TLS/RTP/SAVPF {vp8} {rtx}"),
        format!("c=IN IP4 {ip}"),
        format!("a=ice-ufrag:{}", credentials.ufrag),
        format!("a=ice-pwd:{}", credentials.pass),
        format!("a=fingerprint:sha-256 {}", endpoint.fingerprint()),
        "a=setup:active".to_owned(),
        format!("a=mid:{mid}"),
        format!("a={direction}"),
        "a=rtcp-mux".to_owned(),
        "a=rtcp-rsize".to_owned(),
        format!("a=rtpmap:{vp8} VP8/90000"),
        format!("a=rtcp-fb:{vp8} nack"),
        format!("a=rtcp-fb:{vp8} nack pli"),
        format!("a=rtpmap:{rtx} rtx/90000"),
        format!("a=fmtp:{rtx} apt={vp8}"),
    ];
    if direction == "sendonly" {
        let ssrc = &stream["encodings"][0]["ssrc"];
        let of_rtx = &stream["encodings"][0]["rtx"]["ssrc"];
        lines.push(format!("a=ssrc-group:FID {ssrc} {of_rtx}"));
        lines.extend([ssrc, of_rtx].map(|ssrc| format!("a=ssrc:{ssrc} cname:bench")));
    }
    lines.extend(extensions.iter().map(|line| (*line).to_owned()));
    lines.push(format!("a=candidate:1 1 udp 2130706431 {ip} {} typ host", endpoint.address.port()));
    lines.push("a=end-of-candidates".to_owned());
    lines.join("\r\n") + "\r\n"
}
