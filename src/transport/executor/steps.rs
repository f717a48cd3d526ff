//! Carries out the steps of a conversation.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::timeout;
use tracing::debug;

use super::{End, Executor};
use crate::dialect::{Ending, Frame, RequestError, Step};
use crate::id::RoomId;
use crate::metrics::Limit;
use crate::room::{Code, Command};
use crate::session::{Backlog, Handled, Moment, Outgoing, QueueFull, Sink};
use crate::sfu;
use crate::transport::message_log;

impl Executor {
    /// Carries out a step, and those that follow from it.
    pub(super) fn take(&mut self, received: Moment, mut next: Option<Step>) -> Result<(), End> {
        let now = received.time;
        while let Some(step) = next.take() {
            match step {
                Step::Tell(frame) => self.tell(frame)?,
                Step::Answer(text) => self.answer(text)?,
                Step::Resume { key, seen } => next = self.resume(&key, seen),
                Step::Connect { token, resume } => self.connect(token.as_deref(), resume)?,
                Step::Disconnect => self.disconnect(),
                Step::End(ending) => {
                    if ending == Ending::TooManyConnects {
                        self.hub.limit_hit(Limit::ConnectPackets, "too many CONNECT packets, closing the connection");
                    }
                    return Err(ending.into());
                }
                Step::Refuse(code, frame) => {
                    self.hub.metrics().error(code);
                    message_log::refused(self.sender(), code, self.conversation.correlation());
                    self.tell(frame)?;
                }
                Step::Reject(error) => {
                    let error = RequestError::Decode(error);
                    self.count(&error);
                    next = self.conversation.answer(Err(error), now);
                }
                Step::Ignore(answer) => {
                    debug!(connection = %self.id, "unknown event ignored");
                    if let Some(answer) = answer {
                        self.hub.metrics().error(Code::InvalidMessage);
                        self.answer(answer)?;
                    }
                }
                Step::Last(text, code, reason) => {
                    self.tell(Frame::Text(text))?;
                    self.tell(Frame::Close(code, reason))?;
                }
                Step::Media(room, request) => next = self.take_to_media(room, request, now),
                Step::Authenticate(token) => next = self.authenticate(token.as_deref()),
                Step::Do(command) => {
                    let channel = self.conversation.channel();
                    let other_rooms =
                        if matches!(command, Command::Join { .. }) { self.rooms_beside(channel) } else { 0 };
                    let Some(seat) = self.seats.get_mut(channel).and_then(Option::as_mut) else { continue };
                    let conversation = &self.conversation;
                    let speaks = conversation.speaks();
                    if !std::ptr::eq(speaks, seat.speaks) {
                        seat.speaks = speaks;
                        seat.session.speak(speaks);
                    }
                    let Handled { result, congested, welcome_bytes, .. } =
                        seat.session
                            .handle(received, command, other_rooms, |snapshot| conversation.welcome(snapshot, now));
                    self.limiter.charge(welcome_bytes);
                    if let Some(backlog) = congested {
                        self.pause = Some(Box::pin(relief(backlog, seat.session.patience())));
                    }
                    if let Err(error) = &result {
                        self.count(error);
                    }
                    next = self.conversation.answer(result, now);
                }
            }
        }
        Ok(())
    }

    /// Takes a request to the media server. Nothing more is read until it is answered, so that answers keep their order.
    fn take_to_media(&mut self, room: Option<RoomId>, request: sfu::MediaRequest, now: SystemTime) -> Option<Step> {
        let write = self.conversation.media()?;
        match self.seat()?.session.media(room, request, write) {
            Ok(answered) => {
                self.pause = Some(answered);
                None
            }
            Err(error) => {
                self.count(&error);
                self.conversation.answer(Err(error), now)
            }
        }
    }

    fn authenticate(&mut self, token: Option<&str>) -> Option<Step> {
        let grant = self.seat()?.session.authenticate(token);
        if let Err(error) = &grant {
            self.count(error);
        }
        let grant = grant.as_ref().map(Option::as_deref).map_err(Clone::clone);
        self.conversation.authenticated(grant, SystemTime::now())
    }

    /// Tells the client something as a numbered frame of its session.
    fn tell(&mut self, frame: Frame) -> Result<(), End> {
        self.limiter.charge(frame.length());
        let told = match self.seat() {
            Some(seat) => seat.mailbox.send(frame),
            None => Ok(()),
        };
        self.after_answer(told)
    }

    /// Queues an answer as it is.
    pub(super) fn answer(&mut self, text: String) -> Result<(), End> {
        self.limiter.charge(text.len());
        let told = self.queue.push(Outgoing::Text(Bytes::from(text)), false);
        self.after_answer(told)
    }

    /// A client that does not read its answers is not read either, until it does.
    fn after_answer(&mut self, told: Result<(), QueueFull>) -> Result<(), End> {
        if told.is_err() {
            self.hub.limit_hit(Limit::SendQueue, "answers are not read, closing the connection");
            return Err(End::told(1008, "answers are not read"));
        }
        let backlog = self.queue.backlog();
        if backlog.is_high() {
            self.pause = Some(Box::pin(relief(Arc::clone(backlog), self.hub.timeouts().write_stall)));
        }
        Ok(())
    }
}

/// Resolves when the backlog is below the high-water mark. If that takes too long, nobody else pauses for it.
async fn relief(backlog: Arc<Backlog>, patience: Duration) {
    if timeout(patience, poll_fn(|context| backlog.poll_relief(context))).await.is_err() {
        backlog.give_up();
    }
}
