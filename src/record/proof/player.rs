//! One recorded client, played against Parlor over a WebSocket.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message as Frame;

use crate::dialect::socketio::packet::{Packet, PacketKind, ROOT, push_head};
use crate::record::trace::{Message, RecordedClient};

/// Time limit for one answer of Parlor.
const LIMIT: Duration = Duration::from_secs(10);

/// An event that clients cannot send, so that it is refused and reaches no client.
const REFUSED_EVENT: &str = "error";

/// A recorded client that is played.
pub(super) struct Player {
    socket: WebSocketStream<TcpStream>,
    namespace: String,
    is_v3: bool,
    next_ack: u64,
    /// The id by which other clients know the connection.
    pub(super) id: String,
    /// The events that it has received.
    pub(super) received: Vec<Message>,
    acknowledged: HashMap<u64, Vec<Value>>,
}

impl Player {
    /// Connects as a recorded client did.
    pub(super) async fn connect(address: SocketAddr, client: &RecordedClient) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let url = format!("ws://{address}/socket.io/?EIO={}&transport=websocket", client.revision);
        let (socket, _) =
            tokio_tungstenite::client_async(url, stream).await.map_err(io::Error::other)?;
        let mut player = Self {
            socket,
            namespace: client.namespace.clone(),
            is_v3: client.revision == 3,
            next_ack: 0,
            id: String::new(),
            received: Vec::new(),
            acknowledged: HashMap::new(),
        };
        if !(player.is_v3 && player.namespace == ROOT) {
            let mut connect = String::new();
            push_head(&mut connect, PacketKind::Connect, &player.namespace, None);
            player.send(connect).await?;
        }
        while player.id.is_empty() {
            player.read().await?;
        }
        Ok(player)
    }

    /// Sends an event and waits for its acknowledgement, after which everything that it causes is
    /// queued.
    pub(super) async fn emit(&mut self, message: &Message) -> io::Result<Vec<Value>> {
        let ack = self.next_ack;
        self.next_ack += 1;
        let mut packet = String::new();
        let kind =
            if message.attachments > 0 { PacketKind::BinaryEvent } else { PacketKind::Event };
        push_head(&mut packet, kind, &self.namespace, Some(ack));
        if message.attachments > 0 {
            // The number of attachments follows the type, which is two characters with that of
            // Engine.IO.
            packet.insert_str(2, &format!("{}-", message.attachments));
        }
        let mut array = vec![Value::from(message.event.as_str())];
        array.extend(message.args.iter().cloned());
        packet.push_str(&Value::from(array).to_string());
        self.send(packet).await?;
        for _ in 0..message.attachments {
            // Engine.IO 3 writes the type of a packet before its bytes.
            let attachment = if self.is_v3 { vec![4, 0] } else { vec![0] };
            self.socket.send(Frame::binary(attachment)).await.map_err(io::Error::other)?;
        }
        loop {
            if let Some(args) = self.acknowledged.remove(&ack) {
                if let Some(id) = args.first().and_then(|args| args.get("socketId")?.as_str()) {
                    id.clone_into(&mut self.id);
                }
                return Ok(args);
            }
            self.read().await?;
        }
    }

    /// Reads everything that is queued for the client.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        let refused = Message {
            event: REFUSED_EVENT.to_owned(),
            args: vec![json!({})],
            ..Message::default()
        };
        self.emit(&refused).await.map(drop)
    }

    /// Disconnects and waits until Parlor has noticed.
    pub(super) async fn close(mut self) -> io::Result<Vec<Message>> {
        self.drain().await?;
        let mut packet = String::new();
        push_head(&mut packet, PacketKind::Disconnect, &self.namespace, None);
        self.send(packet).await?;
        self.socket.close(None).await.map_err(io::Error::other)?;
        while let Ok(Some(Ok(_))) = timeout(LIMIT, self.socket.next()).await {}
        Ok(self.received)
    }

    async fn send(&mut self, text: String) -> io::Result<()> {
        self.socket.send(Frame::text(text)).await.map_err(io::Error::other)
    }

    async fn read(&mut self) -> io::Result<()> {
        let frame = timeout(LIMIT, self.socket.next())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
        let Frame::Text(text) = frame else { return Ok(()) };
        let text = text.as_str();
        match text.split_at_checked(1) {
            Some(("0", opening)) if self.is_v3 => {
                let opening: Value = serde_json::from_str(opening)?;
                opening["sid"].as_str().unwrap_or_default().clone_into(&mut self.id);
                Ok(())
            }
            Some(("2", _)) if !self.is_v3 => self.send("3".to_owned()).await,
            Some(("4", packet)) => self.packet(packet),
            _ => Ok(()),
        }
    }

    fn packet(&mut self, text: &str) -> io::Result<()> {
        if text.starts_with('4') {
            return Err(io::Error::other(format!("connection refused: {text}")));
        }
        let packet = Packet::decode(text).map_err(io::Error::other)?;
        match packet.kind {
            PacketKind::Connect if !self.is_v3 && packet.namespace == self.namespace => {
                let reply: Value = serde_json::from_str(packet.data)?;
                reply["sid"].as_str().unwrap_or_default().clone_into(&mut self.id);
            }
            PacketKind::Event | PacketKind::BinaryEvent => {
                let mut args: Vec<Value> = serde_json::from_str(packet.data)?;
                let event = args.remove(0).as_str().unwrap_or_default().to_owned();
                self.received.push(Message { event, args, ..Message::default() });
            }
            PacketKind::Ack => {
                self.acknowledged
                    .insert(packet.id.unwrap_or_default(), serde_json::from_str(packet.data)?);
            }
            _ => {}
        }
        Ok(())
    }
}
