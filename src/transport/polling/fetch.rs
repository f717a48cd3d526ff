//! What a poll fetches from its session: frames, heartbeats of the library, the end.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Sleep;

use super::payload::{Answer, SEPARATOR};
use super::session::{PollingSession, State};
use crate::dialect::socketio::packet::{Revision, base64_packet};
use crate::session::{Outgoing, Sink};
use crate::transport::executor::End;

/// Why a poll is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Frames wait, or the connection is to be closed.
    Frames,
    /// Nothing waits; the client is to upgrade.
    Released,
}

impl PollingSession {
    /// Ready when a poll is to be answered.
    pub(super) fn poll_fetch(&self, context: &mut Context<'_>, release: &mut Option<Pin<Box<Sleep>>>) -> Poll<Fetched> {
        self.poller.register(context.waker());
        // Under the lock: the queue wakes one task only, and after an upgrade that is the WebSocket's.
        let state = self.state.lock();
        if matches!(*state, State::Moved | State::Gone) {
            return Poll::Ready(Fetched::Released);
        }
        if self.queue.poll_ready(context).is_ready() && !self.awaits_first_post() {
            return Poll::Ready(Fetched::Frames);
        }
        if !self.is_probed() {
            return Poll::Pending;
        }
        match release {
            Some(timer) => timer.as_mut().poll(context).map(|()| Fetched::Released),
            // It waited already when the probe came.
            None => Poll::Ready(Fetched::Released),
        }
    }

    /// Takes frames into an answer to a poll, and the end if that follows.
    pub(super) fn take_frames(&self, answer: &mut Answer, max_packets: usize, enough_bytes: usize) {
        let mut state = self.state.lock();
        if matches!(*state, State::Moved | State::Gone) {
            return;
        }
        if self.queue.is_ending() {
            // Before the last frames are taken: a signal that is accepted after them would be lost.
            self.end(&mut state, &End::CLOSED);
        }
        let (mut packets, mut taken) = (answer.packets(), answer.len());
        let frames = self.queue.take_while(|frame| {
            packets += frame.messages();
            let fits = packets <= max_packets && taken < enough_bytes;
            taken += frame.length();
            fits
        });
        let (mut bytes, mut is_last) = (0, false);
        for frame in &frames {
            bytes += frame.length();
            match frame {
                Outgoing::Text(text) => answer.push(text),
                Outgoing::Pair(first, second) => {
                    answer.push(first);
                    answer.push(second);
                }
                Outgoing::Several(messages) => messages.iter().for_each(|text| answer.push(text)),
                Outgoing::Attached(attached) => {
                    answer.push(&attached.text);
                    for data in &attached.attachments {
                        answer.push(base64_packet(self.revision(), data).as_bytes());
                    }
                    if let Some(follower) = &attached.follower {
                        answer.push(follower);
                    }
                }
                Outgoing::Ping => {}
                Outgoing::Close(..) => is_last = true,
            }
        }
        self.queue.backlog().written(frames.len(), bytes);
        if is_last || (self.queue.is_closing() && self.queue.is_empty()) {
            answer.push(b"1");
            *state = State::Gone;
            self.leave();
        }
    }

    /// Takes what the library has to say into an answer; `true` if a heartbeat was left out which the client need not
    /// answer.
    pub(super) fn take_library_packets(&self, body: &Bytes, answer: &mut Answer) -> bool {
        if self.revision() == Revision::V3 {
            answer.push_payload(body);
            return false;
        }
        let mut is_left_out = false;
        for packet in body.split(|byte| *byte == SEPARATOR).filter(|packet| !packet.is_empty()) {
            if packet == b"2" && !self.has_answered_ping.swap(true, Ordering::Relaxed) {
                is_left_out = true;
            } else {
                answer.push(packet);
            }
        }
        is_left_out
    }
}
