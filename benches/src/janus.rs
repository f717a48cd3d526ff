//! Janus Gateway as a peer of the media benchmark: its settings, and requests to its plugin
//! `VideoRoom`.
//!
//! Requests and responses are JSON over a Unix datagram socket: one session, and a handle of the
//! plugin for each client. Media runs over loopback, on which Janus gathers candidates only with a
//! preloaded library (`peers/loopback.c`).
//!
//! Every wait has a limit, after which an error names what is missing.

use std::collections::HashSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use parlor_testing::media::{Endpoint, Media, Numbers, Source, parameters};
use serde_json::{Value, json};
use str0m::media::MediaKind;

use crate::server::{peers, root};

/// The longest wait for the response to a request, and for a connection to be reported.
const LIMIT: Duration = Duration::from_secs(20);

/// The longest wait for the response to a ping.
const PONG: Duration = Duration::from_millis(500);

/// The number of starts after which Janus is considered broken. The thread of its transport plugin
/// ends at once if it runs before the plugin is marked as initialized, and Janus then exits: on a
/// single core this happens in every third start.
pub(crate) const STARTS: usize = 20;

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

/// Returns whether a server answers requests.
pub(crate) fn is_listening() -> bool {
    let own = folder().join("ping");
    fs::remove_file(&own).ok();
    let ping = || {
        let client = UnixDatagram::bind(&own)?;
        client.connect(socket())?;
        client.set_write_timeout(Some(PONG))?;
        client.set_read_timeout(Some(PONG))?;
        client.send(json!({ "janus": "ping", "transaction": "ping" }).to_string().as_bytes())?;
        client.recv(&mut [0; 1024])
    };
    ping().is_ok()
}

/// Returns whether Janus is installed.
pub(crate) fn is_installed() -> bool {
    Path::new("/usr/bin/janus").exists()
}

/// Writes the settings of a server with this number of event loops. Returns the command that starts
/// it.
pub(crate) fn command(event_loops: usize) -> anyhow::Result<Vec<String>> {
    let folder = folder();
    fs::create_dir_all(&folder)?;
    // Left over from a server that was killed.
    fs::remove_file(socket()).ok();
    let ip = Ipv4Addr::LOCALHOST;
    let libraries = |names: &[&str]| {
        names.iter().map(|name| format!("libjanus_{name}.so")).collect::<Vec<_>>().join(",")
    };
    let plugins = libraries(&OTHER_PLUGINS);
    let transports = libraries(&OTHER_TRANSPORTS);
    let settings = format!(
        "general: {{ interface = \"{ip}\", event_loops = {event_loops}, session_timeout = 0, debug_level = 2, debug_colors = false }}\n\
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
    // Without the file Janus logs errors.
    fs::write(folder.join("janus.plugin.videoroom.jcfg"), "general: { events = false }\n")?;
    let preload = format!("LD_PRELOAD={}", loopback_library()?.display());
    let folder = folder.to_string_lossy().into_owned();
    Ok(["env".to_owned(), preload, "janus".to_owned(), "-F".to_owned(), folder].into())
}

/// Builds the library that lets Janus use loopback interfaces.
fn loopback_library() -> anyhow::Result<PathBuf> {
    let library = folder().join("loopback.so");
    let status = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&library, &peers().join("loopback.c")])
        .arg("-ldl")
        .status()
        .context("cc is missing, which builds a library for Janus")?;
    ensure!(status.success(), "cc cannot build peers/loopback.c: {status}");
    Ok(library)
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
        socket.set_write_timeout(Some(LIMIT))?;
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
        let mut endpoint = Endpoint::bind(Numbers::ROUTER).await?;
        let stream = parameters(MediaKind::Video, 0, 1);
        let sdp = describe(&mut endpoint, "sendonly", &stream, Numbers::ROUTER, &[]);
        let join = json!({
            "request": "joinandconfigure", "ptype": "publisher", "room": ROOM, "audio": false, "video": true,
        });
        let joined = self.message(handle, &join, Some(&json!({ "type": "offer", "sdp": sdp })))?;
        let media = endpoint.connect(&transport(&joined["jsep"])?, Some(source))?;
        media.send(MediaKind::Video, 0);
        media.pause(true);
        media.connected().await.context("the sender has no connection to Janus")?;
        // Subscriptions are refused before.
        let until = Instant::now() + LIMIT;
        while !self.connected.contains(&handle) {
            self.receive(until).context("Janus does not report the sender as connected")?;
        }
        let id = joined["plugindata"]["data"]["id"].as_u64().context("the id of a publisher")?;
        Ok((media, id))
    }

    /// Starts to connect a receiver of a sender. Connecting takes a second: Janus discards the first
    /// flight of DTLS if it has not yet noticed that ICE is connected.
    pub(crate) async fn subscribe(&mut self, publisher: u64) -> anyhow::Result<Media> {
        let handle = self.attach()?;
        let join = json!({
            "request": "join", "ptype": "subscriber", "room": ROOM, "streams": [{ "feed": publisher }],
        });
        let offer = self.message(handle, &join, None)?["jsep"].take();
        let lines = Lines::of(&offer)?;
        let extensions: Vec<&str> =
            lines.0.iter().copied().filter(|line| line.starts_with("a=extmap:")).collect();
        // Janus sends with the numbers of its offer, whatever the answer has.
        let numbers = lines.numbers()?;
        let mut stream = parameters(MediaKind::Video, 0, 1);
        stream["mid"] = json!(lines.value("a=mid:")?);
        let ssrc: u32 = lines.value("a=ssrc:")?.split(' ').next().unwrap_or_default().parse()?;
        stream["encodings"] = json!([{ "ssrc": ssrc }]);
        let mut endpoint = Endpoint::bind(numbers).await?;
        let answer = describe(&mut endpoint, "recvonly", &stream, numbers, &extensions);
        let media = endpoint.connect(&transport(&offer)?, None)?;
        media.receive(&json!({ "kind": "video", "rtpParameters": stream }))?;
        self.message(
            handle,
            &json!({ "request": "start" }),
            Some(&json!({ "type": "answer", "sdp": answer })),
        )?;
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
        self.socket
            .send(request.to_string().as_bytes())
            .with_context(|| format!("Janus does not take {request}"))?;
        let until = Instant::now() + LIMIT;
        loop {
            let response = self
                .receive(until)
                .with_context(|| format!("there is no response to {request}"))?;
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

    /// Waits for a message until then.
    fn receive(&mut self, until: Instant) -> anyhow::Result<Value> {
        let mut buffer = vec![0; 64 * 1024];
        // A timeout of zero would be none.
        let wait = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait))?;
        let length = self.socket.recv(&mut buffer).context("Janus sends no message")?;
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

    /// Returns the payload types and extension ids of its video.
    fn numbers(&self) -> anyhow::Result<Numbers> {
        let number = |beginning: &str, end: &str| {
            let of = |line: &&str| line.strip_prefix(beginning)?.strip_suffix(end)?.parse().ok();
            let found = self.0.iter().find_map(of);
            found.with_context(|| format!("no {beginning}…{end} in a session description"))
        };
        Ok(Numbers {
            vp8: number("a=rtpmap:", " VP8/90000")?,
            rtx: number("a=rtpmap:", " rtx/90000")?,
            mid: number("a=extmap:", " urn:ietf:params:rtp-hdrext:sdes:mid")?,
            send_time: number(
                "a=extmap:",
                " http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            )?,
            transport_sequence: number(
                "a=extmap:",
                " http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            )?,
        })
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
    Numbers { vp8, rtx, .. }: Numbers,
    extensions: &[&str],
) -> String {
    let credentials = endpoint.credentials();
    let (mid, ip) = (stream["mid"].as_str().unwrap_or_default(), endpoint.address.ip());
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
