//! Executes the steps of a conversation.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::debug;

use super::{End, Executor};
use crate::dialect::{Ending, Frame, MediaMessage, RequestError, Step};
use crate::metrics::Limit;
use crate::room::{Code, Command};
use crate::session::{Handled, Moment, Outgoing, QueueDepth, QueueFull, Sink};
use crate::transport::message_log;

impl Executor {
    /// Executes a step and those that follow from it.
    pub(super) fn take(&mut self, received: Moment, mut next: Option<Step>) -> Result<(), End> {
        let now = received.time;
        while let Some(step) = next.take() {
            match step {
                Step::Tell(frame) => self.tell(frame)?,
                Step::Answer(text) => self.answer(text)?,
                Step::Resume { resume_token, seen } => next = self.resume(&resume_token, seen),
                Step::Connect { token, resume } => self.connect(token.as_deref(), resume)?,
                Step::Disconnect => self.disconnect(),
                Step::End(ending) => {
                    if ending == Ending::TooManyConnects {
                        self.hub.limit_hit(
                            Limit::ConnectPackets,
                            "too many CONNECT packets, closing the connection",
                        );
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
                    debug!(connection = %self.id, "ignoring unknown event");
                    if let Some(answer) = answer {
                        self.hub.metrics().error(Code::InvalidMessage);
                        self.answer(answer)?;
                    }
                }
                Step::Last(text, code, reason) => {
                    self.tell(Frame::Text(text))?;
                    self.tell(Frame::Close(code, reason))?;
                }
                Step::Media(message) => next = self.request_media(message, now),
                Step::Authenticate(token) => next = self.authenticate(token.as_deref()),
                Step::Do(command) => {
                    let channel = self.conversation.channel();
                    let other_rooms = if matches!(command, Command::Join { .. }) {
                        if self.hub.cluster().is_some() {
                            next = self.join_in_cluster(received, command);
                            continue;
                        }
                        self.rooms_beside(channel)
                    } else {
                        0
                    };
                    let Some(open) = self.sessions.get_mut(channel).and_then(Option::as_mut) else {
                        continue;
                    };
                    let conversation = &self.conversation;
                    let dialect = conversation.current_dialect();
                    open.set_dialect(dialect);
                    let Handled { result, congested, welcome_bytes, .. } =
                        open.session.handle(received, command, other_rooms, |snapshot| {
                            conversation.welcome(snapshot, now)
                        });
                    self.limiter.charge(welcome_bytes);
                    if let Some(depth) = congested {
                        self.pause = Some(Box::pin(below_high_water(
                            depth,
                            open.session.backpressure_limit(),
                        )));
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

    /// Forwards a request to the media server. The connection is not read until the response, so
    /// that responses keep the order of their requests.
    fn request_media(&mut self, message: MediaMessage, now: SystemTime) -> Option<Step> {
        let write = self.conversation.media()?;
        match self.current_session()?.session.media(message, write) {
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
        let grant = self.current_session()?.session.authenticate(token);
        if let Err(error) = &grant {
            self.count(error);
        }
        let grant = grant.as_ref().map(Option::as_deref).map_err(Clone::clone);
        self.conversation.authenticated(grant, SystemTime::now())
    }

    /// Sends a frame in the client's session, numbered for the replay buffer.
    fn tell(&mut self, frame: Frame) -> Result<(), End> {
        self.limiter.charge(frame.length());
        let queued = match self.current_session() {
            Some(open) => open.mailbox.send(frame),
            None => Ok(()),
        };
        self.after_answer(queued)
    }

    /// Queues a reply outside the replay buffer.
    pub(super) fn answer(&mut self, text: String) -> Result<(), End> {
        self.limiter.charge(text.len());
        let queued = self.queue.push(Outgoing::Text(text), false);
        self.after_answer(queued)
    }

    /// Applies backpressure to a client that does not read its replies, and closes it if its send
    /// queue is full.
    fn after_answer(&mut self, queued: Result<(), QueueFull>) -> Result<(), End> {
        if queued.is_err() {
            self.hub.limit_hit(Limit::SendQueue, "send queue full, closing slow consumer");
            return Err(End::closing(1008, "answers are not read"));
        }
        let depth = self.queue.depth();
        if depth.is_high() {
            self.pause = Some(Box::pin(below_high_water(
                Arc::clone(depth),
                self.hub.timeouts().write_stall,
            )));
        }
        Ok(())
    }
}

/// Completes when the send queue is below its high-water mark. After `limit`, backpressure for this
/// queue ends.
async fn below_high_water(depth: Arc<QueueDepth>, limit: Duration) {
    if !depth.below_high_water(limit).await {
        depth.set_stuck();
    }
}
