//! A client of `/ws` that asks and waits for the answer: for what comes before the work, and is not measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::clients::request;
use crate::wire::{self, Frame};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Asker {
    stream: TcpStream,
    /// What came and was not read yet.
    rest: Vec<u8>,
    asked: u64,
}

impl Asker {
    /// Comes into a room.
    pub(crate) fn join(server: SocketAddr, room: &str, name: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(request("/ws", server).as_bytes())?;
        let mut asker = Self { stream, rest: Vec::new(), asked: 0 };
        let head = loop {
            if let Some(end) = memchr::memmem::find(&asker.rest, b"\r\n\r\n") {
                break end + 4;
            }
            asker.read()?;
        };
        ensure!(asker.rest.starts_with(b"HTTP/1.1 101"), "the handshake is refused");
        asker.rest.drain(..head);
        asker.ask("room:join", &json!({ "roomId": room, "user": { "id": name } }))?;
        Ok(asker)
    }

    /// Asks for something: the payload of the answer. What else is told meanwhile is let go.
    pub(crate) fn ask(&mut self, kind: &str, payload: &Value) -> anyhow::Result<Value> {
        self.asked += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}", self.asked);
        let mut out = Vec::new();
        let text = json!({ "type": kind, "payload": payload, "correlationId": id }).to_string();
        wire::write_text(text.as_bytes(), &mut out);
        self.stream.write_all(&out)?;
        loop {
            let Some((frame, length)) = wire::read(&self.rest)? else {
                self.read().with_context(|| format!("{kind} is not answered"))?;
                continue;
            };
            let mut pong = Vec::new();
            let mut answer = None;
            match frame {
                Frame::Text(text) => {
                    let said: Value = serde_json::from_slice(text)?;
                    answer = (said["correlationId"] == *id).then_some(said);
                }
                Frame::Ping(payload) => wire::write_pong(payload, &mut pong),
                Frame::Pong => {}
                Frame::Close => bail!("the server closed the connection"),
            }
            self.rest.drain(..length);
            self.stream.write_all(&pong)?;
            if let Some(mut answer) = answer {
                ensure!(answer["type"] != "error", "{kind} is answered with {answer}");
                return Ok(answer["payload"].take());
            }
        }
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let length = self.stream.read(&mut buffer)?;
        ensure!(length > 0, "the server ended the connection");
        self.rest.extend_from_slice(&buffer[..length]);
        Ok(())
    }
}
