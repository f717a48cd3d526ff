//! The connection loop: the life of one WebSocket, whatever its protocol.
//!
//! One task reads, has the [`Executor`] carry out what the conversation decides, and writes what waits in the send queue.
//! The library decodes frames; ours are encoded here, all of a burst into one buffer.
//!
//! The guarantee that is easy to break: the library's own buffer is empty whenever we write, since it is flushed after each
//! frame that it answers by itself.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tracing::debug;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message};

use super::heartbeat::{Beat, HeartbeatTimer};
use super::{Settings, batch};
use crate::auth::Grant;
use crate::metrics::Limit;
use crate::room::LeaveReason;
use crate::session::{Outgoing, RateLimiter, Sink};
use crate::transport::executor::{End, Executor};
use crate::transport::metered::Metered;
use crate::transport::queue::SendQueue;
use crate::transport::read_ahead::{READ_BUFFER, ReadAhead};
use crate::transport::stream::Stream;

/// The most bytes that are read of a connection after its close frame was sent: more than a kernel buffers by default.
const MAX_UNREAD: usize = 8 << 20;

/// A WebSocket over one of our streams.
pub(in crate::transport) type Socket = WebSocketStream<Metered<ReadAhead<Stream>>>;

/// A WebSocket whose handshake has been answered. `early` is what was read of it with the request.
pub(in crate::transport) async fn accept(
    stream: Stream,
    early: Bytes,
    limiter: Arc<RateLimiter>,
    max_message_bytes: usize,
) -> Socket {
    let stream = Metered::new(ReadAhead::new(stream, early), limiter);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
}

pub(super) struct Connection {
    socket: Socket,
    executor: Box<Executor>,
    queue: Arc<SendQueue>,
    heartbeat: HeartbeatTimer,
    /// Until when what waits may still be written, once that is known.
    deadline: Option<Instant>,
}

/// What a connection has to do.
enum Wake {
    Write(VecDeque<Outgoing>),
    Read(Option<Result<Message, Error>>),
    Beat(Beat),
    Unsettled,
}

impl Connection {
    pub(super) fn new(socket: Socket, executor: Box<Executor>, settings: &Settings) -> Self {
        let heartbeat = HeartbeatTimer::new(executor.heartbeat(), settings.heartbeat);
        let queue = Arc::clone(executor.queue());
        Self { socket, executor, queue, heartbeat, deadline: None }
    }

    /// Opens the conversation, with what the token of the handshake grants.
    pub(super) fn open(&mut self, grant: Option<Grant>) -> Result<(), End> {
        self.executor.open(grant)
    }

    /// Serves until the connection ends; `opened` is what came of opening it. The client may take `patience` to say what
    /// it is here for.
    pub(super) async fn run(&mut self, opened: Result<(), End>, patience: Duration, settings: &Settings) {
        let end = match opened {
            Ok(()) => self.serve(patience, settings).await,
            Err(end) => end,
        };
        self.executor.finish(&end);
        if let Some((code, why)) = end.close {
            let limit = self.executor.hub().timeouts().last_write;
            // In a box: a connection is not to be larger all its life for how it ends.
            timeout(limit, Box::pin(self.say_goodbye(code, why))).await.ok();
        }
    }

    async fn say_goodbye(&mut self, code: u16, why: &'static str) {
        let mut rest = self.queue.rest();
        while !rest.is_empty() {
            let (buffer, ..) = batch::encode(&mut rest);
            if self.socket.get_mut().write_all(&buffer).await.is_err() {
                return;
            }
        }
        let frame = CloseFrame { code: CloseCode::from(code), reason: why.into() };
        self.socket.close(Some(frame)).await.ok();
        // The client hears that all is said, and answers by ending its side: RFC 6455, section 7.1.1. It is read until
        // then, so that the close frame arrives before the reset that unread data causes.
        self.socket.get_mut().shutdown().await.ok();
        let (mut unread, mut left) = ([0; READ_BUFFER], MAX_UNREAD);
        while left > 0 {
            match self.socket.get_mut().read(&mut unread).await {
                Ok(length) if length > 0 => left = left.saturating_sub(length),
                _ => return,
            }
        }
        // It sends on: it has until the time limit to read the close frame, and is not read any more.
        std::future::pending::<()>().await;
    }

    async fn serve(&mut self, mut patience: Duration, settings: &Settings) -> End {
        let mut unsettled: Option<Pin<Box<Sleep>>> = None;
        loop {
            let wake = poll_fn(|context| self.poll_wake(context, &mut unsettled, &mut patience, settings)).await;
            let done = match wake {
                Wake::Write(frames) => self.write(frames).await,
                Wake::Read(message) => {
                    let is_answered = matches!(message, Some(Ok(Message::Ping(_) | Message::Close(_))));
                    match self.read(message) {
                        // By the library, which queues its answers without a bound.
                        Ok(()) if is_answered => self.flush().await,
                        done => done,
                    }
                }
                Wake::Beat(beat) => self.beat(beat).await,
                Wake::Unsettled => {
                    self.executor.hub().metrics().limit(Limit::HandshakeTime);
                    Err(End::told(1008, "the first message took too long"))
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Ready with what is to be done next: what waits to be written before what waits to be read.
    fn poll_wake(
        &mut self,
        context: &mut Context<'_>,
        unsettled: &mut Option<Pin<Box<Sleep>>>,
        patience: &mut Duration,
        settings: &Settings,
    ) -> Poll<Wake> {
        if let Poll::Ready(frames) = self.queue.poll_take(context) {
            return Poll::Ready(Wake::Write(frames));
        }
        if self.executor.poll_pause(context).is_ready()
            && let Poll::Ready(message) = self.socket.poll_next_unpin(context)
        {
            return Poll::Ready(Wake::Read(message));
        }
        if let Poll::Ready(beat) = self.heartbeat.poll_beat(context) {
            return Poll::Ready(Wake::Beat(beat));
        }
        if self.executor.is_settled() {
            *unsettled = None;
            // The rest of what it has begun to say may take longer than the first message.
            *patience = settings.handshake_timeout;
        } else {
            let timer = unsettled.get_or_insert_with(|| Box::pin(tokio::time::sleep(*patience)));
            if timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Unsettled);
            }
        }
        Poll::Pending
    }

    fn read(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        if matches!(message, Some(Ok(_))) {
            self.heartbeat.note_heard();
            self.queue.set_overdue(false);
        }
        match message {
            Some(Ok(Message::Text(text))) => self.executor.receive(&text),
            Some(Ok(Message::Binary(data))) => self.executor.receive_binary(&data),
            // Answered by the library, but counted: a flood of them is a flood.
            Some(Ok(Message::Ping(_))) => self.executor.receive_control(),
            Some(Ok(Message::Pong(payload))) => {
                if payload == batch::BACK {
                    self.executor.has_read_resumption();
                }
                self.executor.receive_control()
            }
            // What follows a close is its own end.
            Some(Ok(Message::Close(frame))) => {
                if frame.is_some() || self.executor.bare_close_is_leave() {
                    self.executor.set_left();
                }
                Ok(())
            }
            Some(Ok(Message::Frame(_))) => Ok(()),
            Some(Err(Error::Capacity(_))) => {
                self.executor.hub().metrics().limit(Limit::MessageBytes);
                Err(End::told(1009, "the message is too large"))
            }
            Some(Err(Error::Utf8(_))) => Err(End::told(1007, "not UTF-8")),
            Some(Err(Error::Protocol(problem))) => {
                debug!(connection = %self.executor.id(), %problem, "WebSocket protocol violation");
                Err(End::gone(LeaveReason::Disconnected))
            }
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::QuotaExceeded => Err(End::FLOOD),
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::TimedOut => {
                Err(End::gone(LeaveReason::TimedOut))
            }
            Some(Err(_)) | None => Err(End::gone(LeaveReason::Disconnected)),
        }
    }

    /// Writes what waits, in as few writes as it takes. Once the end is among it nothing more is accepted, and what was
    /// is written too.
    async fn write(&mut self, mut frames: VecDeque<Outgoing>) -> Result<(), End> {
        let end = batch::end_of(&frames);
        if end.is_some() {
            self.executor.end_sessions(LeaveReason::Kicked);
            frames.extend(self.queue.rest());
        }
        while !frames.is_empty() {
            let (buffer, count, bytes) = batch::encode(&mut frames);
            self.write_buffer(&buffer).await?;
            self.queue.backlog().written(count, bytes);
        }
        end.map_or(Ok(()), Err)
    }

    async fn write_buffer(&mut self, buffer: &[u8]) -> Result<(), End> {
        self.bounded(async |socket| {
            let stream = socket.get_mut();
            stream.write_all(buffer).await?;
            stream.flush().await?;
            Ok(())
        })
        .await
    }

    /// Writes what the library has queued by itself.
    async fn flush(&mut self) -> Result<(), End> {
        self.bounded(async |socket| futures_util::SinkExt::flush(socket).await).await
    }

    /// Writes while the peer takes what is written, and no longer than a last write may take once the connection is to be
    /// closed.
    async fn bounded(&mut self, write: impl AsyncFnOnce(&mut Socket) -> Result<(), Error>) -> Result<(), End> {
        let Self { executor, queue, deadline, socket, .. } = self;
        let mut write = pin!(write(socket));
        // Nearly always there is nothing to wait for, and no timer to be made. What waits does so in a box: a connection
        // is not to be larger all its life for that.
        let outcome = match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Box::pin(wait(executor, queue, deadline, write)).await?,
        };
        match outcome {
            // The library answers nothing after a close.
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => Ok(()),
            // The peer took no byte for too long: see [`crate::transport::tcp`].
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                executor.hub().metrics().limit(Limit::WriteTime);
                Err(End::gone(LeaveReason::TimedOut))
            }
            Err(_) => Err(End::gone(LeaveReason::Disconnected)),
        }
    }

    async fn beat(&mut self, beat: Beat) -> Result<(), End> {
        self.queue.set_overdue(self.heartbeat.is_overdue());
        match beat {
            Beat::Dead => Err(End::gone(LeaveReason::TimedOut)),
            Beat::Ping => self.write_buffer(&batch::ping()).await,
            Beat::Message(text) => self.write_buffer(&batch::text(text)).await,
        }
    }
}

/// Waits for a write that cannot be finished at once, but no longer than a last write may take once the connection is to be
/// closed.
async fn wait(
    executor: &mut Executor,
    queue: &SendQueue,
    deadline: &mut Option<Instant>,
    write: Pin<&mut impl Future<Output = Result<(), Error>>>,
) -> Result<Result<(), Error>, End> {
    let closing = async {
        poll_fn(|context| queue.poll_closing(context)).await;
        // Its peers need not wait for the rest to be written.
        executor.end_sessions(LeaveReason::Kicked);
        let limit = executor.hub().timeouts().last_write;
        // As long as all of it takes, not each frame: a client that reads a little at a time does not stay for that.
        tokio::time::sleep_until(*deadline.get_or_insert_with(|| Instant::now() + limit)).await;
    };
    tokio::select! {
        biased;
        outcome = write => Ok(outcome),
        () = closing => Err(End::KICKED),
    }
}
