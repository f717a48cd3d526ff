//! Answers polls: takes queued frames, heartbeats of the library and the close packet into a
//! response.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Sleep;

use super::payload::{PollResponse, SEPARATOR};
use super::session::{PollingSession, State};
use crate::dialect::socketio::packet::{Revision, base64_packet};
use crate::session::{Outgoing, Sink};
use crate::transport::executor::End;

/// Reasons to answer a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Frames are queued, or the connection is closing.
    Frames,
    /// Nothing is queued; the client should continue its upgrade.
    Upgrade,
}

impl PollingSession {
    /// Completes when a poll should be answered.
    pub(super) fn poll_fetch(
        &self,
        context: &mut Context<'_>,
        release: &mut Option<Pin<Box<Sleep>>>,
    ) -> Poll<Fetched> {
        self.poller.register(context.waker());
        // Under the lock, because the queue wakes only one task, which after an upgrade is the
        // WebSocket's.
        let state = self.state.lock();
        if matches!(*state, State::Moved | State::Gone) {
            return Poll::Ready(Fetched::Upgrade);
        }
        if self.queue.poll_ready(context).is_ready() && !self.awaits_first_post() {
            return Poll::Ready(Fetched::Frames);
        }
        if !self.is_probed() {
            return Poll::Pending;
        }
        match release {
            Some(timer) => timer.as_mut().poll(context).map(|()| Fetched::Upgrade),
            // The poll was already waiting when the probe arrived.
            None => Poll::Ready(Fetched::Upgrade),
        }
    }

    /// Takes frames into a response. If the connection is closing, a response without other frames
    /// gets the close packet: official clients process it before the events of the same response,
    /// which they keep for their next connection, where the server sends them again.
    pub(super) fn take_frames(
        &self,
        response: &mut PollResponse,
        max_packets: usize,
        enough_bytes: usize,
    ) {
        let mut state = self.state.lock();
        if matches!(*state, State::Moved | State::Gone) {
            return;
        }
        if self.queue.is_ending() {
            // Before the last frames are taken: a signal that is accepted later would be lost.
            self.end(&mut state, &End::CLOSED);
        }
        let (mut packets, mut taken) = (response.packets(), response.len());
        let frames = self.queue.take_while(|frame| {
            let is_alone = packets == 0 || !matches!(frame, Outgoing::Close(..));
            packets += frame.messages();
            let fits = packets <= max_packets && taken < enough_bytes && is_alone;
            taken += frame.length();
            fits
        });
        let (mut bytes, mut is_last) = (0, false);
        for frame in &frames {
            bytes += frame.length();
            match frame {
                Outgoing::Text(text) => response.push(text.as_bytes()),
                Outgoing::Pair(texts, second) => {
                    let (first, second) = texts.as_bytes().split_at(*second);
                    response.push(first);
                    response.push(second);
                }
                Outgoing::Several(messages) => {
                    for text in messages {
                        response.push(text.as_bytes());
                    }
                }
                Outgoing::Attached(attached) => {
                    response.push(attached.text.as_bytes());
                    for data in &attached.attachments {
                        response.push(base64_packet(self.revision(), data).as_bytes());
                    }
                    if let Some(follower) = &attached.follower {
                        response.push(follower.as_bytes());
                    }
                }
                Outgoing::Ping => {}
                Outgoing::Close(..) => is_last = true,
            }
        }
        self.queue.depth().written(frames.len(), bytes);
        if is_last || (self.queue.is_closing() && self.queue.is_empty() && frames.is_empty()) {
            response.push(b"1");
            *state = State::Gone;
            self.leave();
        }
    }

    /// Adds packets of the library to a response; returns true if it left out a heartbeat, which
    /// the client need not answer.
    pub(super) fn take_library_packets(&self, body: &Bytes, response: &mut PollResponse) -> bool {
        if self.revision() == Revision::V3 {
            response.push_payload(body);
            return false;
        }
        let mut is_left_out = false;
        for packet in body.split(|byte| *byte == SEPARATOR).filter(|packet| !packet.is_empty()) {
            if packet == b"2" && !self.has_answered_ping.swap(true, Ordering::Relaxed) {
                is_left_out = true;
            } else {
                response.push(packet);
            }
        }
        is_left_out
    }
}
