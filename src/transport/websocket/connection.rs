//! The loop of one WebSocket connection, whatever its protocol.
//!
//! One task reads messages, passes them to the [`Executor`], and writes queued frames. The library
//! decodes frames; outgoing frames are encoded here, all of a burst into one buffer.
//!
//! Invariant: the library's own write buffer is empty whenever frames are written, since it is
//! flushed after each frame that the library answers by itself.

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
use super::{WebSocketSettings, batch};
use crate::auth::Grant;
use crate::metrics::Limit;
use crate::room::LeaveReason;
use crate::session::{Outgoing, RateLimiter, Sink};
use crate::transport::executor::{End, Executor};
use crate::transport::metered::Metered;
use crate::transport::queue::SendQueue;
use crate::transport::read_ahead::{READ_BUFFER, ReadAhead};
use crate::transport::stream::Stream;

/// Maximum number of bytes that are read after sending a close frame: more than the kernel buffers
/// by default.
const MAX_UNREAD: usize = 8 << 20;

/// A WebSocket over a rate-limited stream.
pub(in crate::transport) type Socket = WebSocketStream<Metered<ReadAhead<Stream>>>;

/// Creates a WebSocket whose handshake is already answered; `early` was read together with the
/// request.
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
    /// Deadline for writing the rest, once the connection is closing.
    deadline: Option<Instant>,
}

/// An event for the connection's task.
enum Wake {
    Write(VecDeque<Outgoing>),
    Read(Option<Result<Message, Error>>),
    Beat(Beat),
    Unsettled,
}

impl Connection {
    pub(super) fn new(
        socket: Socket,
        executor: Box<Executor>,
        settings: &WebSocketSettings,
    ) -> Self {
        let heartbeat = HeartbeatTimer::new(executor.heartbeat(), settings.heartbeat);
        let queue = Arc::clone(executor.queue());
        Self { socket, executor, queue, heartbeat, deadline: None }
    }

    /// Opens the conversation with the grant of the handshake's token.
    pub(super) fn open(&mut self, grant: Option<Grant>) -> Result<(), End> {
        self.executor.open(grant)
    }

    /// Ends the sessions of the connection, and sends the close frame that `end` asks for.
    pub(super) async fn finish(&mut self, end: End) {
        self.executor.finish(&end);
        if let Some((code, why)) = end.close {
            let limit = self.executor.hub().timeouts().last_write;
            timeout(limit, self.send_close(code, why)).await.ok();
        }
    }

    async fn send_close(&mut self, code: u16, why: &'static str) {
        let mut rest = self.queue.rest();
        while !rest.is_empty() {
            let (buffer, ..) = batch::encode(&mut rest);
            if self.socket.get_mut().write_all(&buffer).await.is_err() {
                return;
            }
        }
        let frame = CloseFrame { code: CloseCode::from(code), reason: why.into() };
        self.socket.close(Some(frame)).await.ok();
        // The client answers the close frame by closing its side (RFC 6455, section 7.1.1). Reading
        // until then lets the close frame arrive before the reset that unread data would cause.
        self.socket.get_mut().shutdown().await.ok();
        let (mut unread, mut left) = ([0; READ_BUFFER], MAX_UNREAD);
        while left > 0 {
            match self.socket.get_mut().read(&mut unread).await {
                Ok(length) if length > 0 => left = left.saturating_sub(length),
                _ => return,
            }
        }
        // The client sends too much: it is not read any more, and has until the time limit to read
        // the close frame.
        std::future::pending::<()>().await;
    }

    /// Serves the connection until it ends. The client has `settle_timeout` to join or connect.
    pub(super) async fn serve(
        &mut self,
        mut settle_timeout: Duration,
        settings: &WebSocketSettings,
    ) -> End {
        let mut unsettled: Option<Pin<Box<Sleep>>> = None;
        loop {
            let wake = poll_fn(|context| {
                self.poll_wake(context, &mut unsettled, &mut settle_timeout, settings)
            })
            .await;
            let done = match wake {
                Wake::Write(mut frames) => self.write(&mut frames).await,
                Wake::Read(message) => {
                    let is_answered =
                        matches!(message, Some(Ok(Message::Ping(_) | Message::Close(_))));
                    match self.read(message) {
                        // Answered by the library, whose own queue has no bound.
                        Ok(()) if is_answered => self.flush().await,
                        done => done,
                    }
                }
                Wake::Beat(beat) => self.beat(beat).await,
                Wake::Unsettled => {
                    self.executor.hub().metrics().limit(Limit::HandshakeTime);
                    Err(End::closing(1008, "the first message took too long"))
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Completes with the next event; writing has priority over reading.
    fn poll_wake(
        &mut self,
        context: &mut Context<'_>,
        unsettled: &mut Option<Pin<Box<Sleep>>>,
        settle_timeout: &mut Duration,
        settings: &WebSocketSettings,
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
            // Completing a message may take longer than sending the first one.
            *settle_timeout = settings.handshake_timeout;
        } else {
            let timer =
                unsettled.get_or_insert_with(|| Box::pin(tokio::time::sleep(*settle_timeout)));
            if timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Unsettled);
            }
        }
        Poll::Pending
    }

    fn read(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        if matches!(message, Some(Ok(_))) {
            self.heartbeat.note_received();
            self.queue.set_overdue(false);
        }
        match message {
            Some(Ok(Message::Text(text))) => self.executor.receive(&text),
            Some(Ok(Message::Binary(data))) => self.executor.receive_binary(&data),
            // Answered by the library, but counted towards the rate limit.
            Some(Ok(Message::Ping(_))) => self.executor.receive_control(),
            Some(Ok(Message::Pong(payload))) => {
                if payload == batch::RESUMED {
                    self.executor.has_read_resumption();
                }
                self.executor.receive_control()
            }
            // The end of the stream follows.
            Some(Ok(Message::Close(frame))) => {
                if frame.is_some() || self.executor.bare_close_is_leave() {
                    self.executor.set_left();
                }
                Ok(())
            }
            Some(Ok(Message::Frame(_))) => Ok(()),
            Some(Err(Error::Capacity(_))) => {
                self.executor.hub().metrics().limit(Limit::MessageBytes);
                Err(End::closing(1009, "the message is too large"))
            }
            Some(Err(Error::Utf8(_))) => Err(End::closing(1007, "not UTF-8")),
            Some(Err(Error::Protocol(problem))) => {
                debug!(connection = %self.executor.id(), %problem, "WebSocket protocol violation");
                Err(End::lost(LeaveReason::Disconnected))
            }
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::QuotaExceeded => {
                Err(End::FLOOD)
            }
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::TimedOut => {
                Err(End::lost(LeaveReason::TimedOut))
            }
            Some(Err(_)) | None => Err(End::lost(LeaveReason::Disconnected)),
        }
    }

    /// Writes queued frames in as few writes as possible. If a close frame is among them, ends the
    /// sessions, and also writes what was queued until then.
    async fn write(&mut self, frames: &mut VecDeque<Outgoing>) -> Result<(), End> {
        // Boxed: it would occupy memory for the life of the connection.
        let end = batch::end_of(frames).map(Box::new);
        if end.is_some() {
            self.executor.end_sessions(LeaveReason::Kicked);
            frames.extend(self.queue.rest());
        }
        while !frames.is_empty() {
            let (buffer, count, bytes) = batch::encode(frames);
            self.write_buffer(&buffer).await?;
            self.queue.depth().written(count, bytes);
        }
        end.map_or(Ok(()), |end| Err(*end))
    }

    async fn write_buffer(&mut self, buffer: &[u8]) -> Result<(), End> {
        self.write_bounded(async |socket| {
            let stream = socket.get_mut();
            stream.write_all(buffer).await?;
            stream.flush().await?;
            Ok(())
        })
        .await
    }

    /// Writes what the library has queued.
    async fn flush(&mut self) -> Result<(), End> {
        self.write_bounded(async |socket| futures_util::SinkExt::flush(socket).await).await
    }

    /// Runs a write that may take as long as the peer makes progress, but no longer than the limit
    /// for the last write once the connection is closing.
    async fn write_bounded(
        &mut self,
        write: impl AsyncFnOnce(&mut Socket) -> Result<(), Error>,
    ) -> Result<(), End> {
        let Self { executor, queue, deadline, socket, .. } = self;
        let mut write = pin!(write(socket));
        // Usually the write completes at once and needs no timer. The slow path is boxed, so that
        // the future stays small for the life of the connection.
        let outcome = match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Box::pin(wait(executor, queue, deadline, write)).await?,
        };
        match outcome {
            // The library reports an error for anything after a close frame.
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => {
                Ok(())
            }
            // No progress for too long: see [`crate::transport::tcp`].
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                executor.hub().metrics().limit(Limit::WriteTime);
                Err(End::lost(LeaveReason::TimedOut))
            }
            Err(_) => Err(End::lost(LeaveReason::Disconnected)),
        }
    }

    async fn beat(&mut self, beat: Beat) -> Result<(), End> {
        self.queue.set_overdue(self.heartbeat.is_overdue());
        match beat {
            Beat::Dead => Err(End::lost(LeaveReason::TimedOut)),
            Beat::Ping => self.write_buffer(&batch::ping()).await,
            Beat::Message(text) => self.write_buffer(&batch::text(text)).await,
        }
    }
}

/// Completes a write that is pending, but within the limit for the last write once the connection
/// is closing.
async fn wait(
    executor: &mut Executor,
    queue: &SendQueue,
    deadline: &mut Option<Instant>,
    write: Pin<&mut impl Future<Output = Result<(), Error>>>,
) -> Result<Result<(), Error>, End> {
    let closing = async {
        poll_fn(|context| queue.poll_closing(context)).await;
        // The client's peers do not wait for the rest to be written.
        executor.end_sessions(LeaveReason::Kicked);
        let limit = executor.hub().timeouts().last_write;
        // The limit is for the whole rest, not for each frame, so that a slow reader cannot extend
        // it.
        tokio::time::sleep_until(*deadline.get_or_insert_with(|| Instant::now() + limit)).await;
    };
    tokio::select! {
        biased;
        outcome = write => Ok(outcome),
        () = closing => Err(End::KICKED),
    }
}
