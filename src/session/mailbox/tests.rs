//! Tests of how frames are queued and kept.

use std::time::Duration;

use super::*;
use crate::dialect::Framing;
use crate::session::ResumeLimits;

/// Completes frames as Socket.IO does, with an offset after each.
struct Offsets;

impl Framing for Offsets {
    fn push_follower(&self, number: u64, out: &mut String) {
        out.push_str("offset ");
        out.push_str(&number.to_string());
    }

    fn is_numbered(&self) -> bool {
        true
    }
}

/// A connection that writes nothing.
struct Unread {
    depth: Arc<QueueDepth>,
    queued: Mutex<Vec<Outgoing>>,
}

impl Sink for Unread {
    fn push(&self, frame: Outgoing, _: bool) -> Result<(), QueueFull> {
        self.depth.queue(frame.length(), || {
            self.queued.lock().push(frame);
            Ok(())
        })
    }

    fn close(&self) -> bool {
        true
    }

    fn depth(&self) -> &Arc<QueueDepth> {
        &self.depth
    }
}

/// Returns a sink for `frames` frames.
fn unread(frames: usize) -> Arc<Unread> {
    Arc::new(Unread { depth: QueueDepth::new(frames, 10_000), queued: Mutex::default() })
}

fn mailbox(sink: &Arc<Unread>) -> Arc<Mailbox> {
    let limits = ResumeLimits { time: Duration::from_secs(10), messages: 100, bytes: 10_000 };
    let timers = Arc::new(Timers { limits: Some(limits), ..Timers::default() });
    Mailbox::new(
        ConnectionId::random(),
        timers,
        Box::new(Offsets),
        Arc::clone(sink) as Arc<dyn Sink>,
    )
}

fn several(count: usize) -> Frame {
    Frame::Several((1..=count).map(|number| format!("message {number}")).collect())
}

#[test]
fn messages_of_one_event_take_one_slot_of_the_queue() {
    let sink = unread(2);
    let mailbox = mailbox(&sink);
    assert_eq!(mailbox.send(several(2)), Ok(()));
    assert_eq!(mailbox.send(several(3)), Ok(()));
    assert_eq!(mailbox.send(several(2)), Err(QueueFull));
    let expected = ["message 1", "offset 1", "message 2", "offset 2"].map(str::to_owned);
    assert_eq!(sink.queued.lock()[0], Outgoing::Several(expected.to_vec()));
}

#[test]
fn messages_of_one_event_are_replayed_one_by_one() {
    let first = unread(2);
    let mailbox = mailbox(&first);
    assert_eq!(mailbox.send(several(3)), Ok(()));
    mailbox.detach();
    assert_eq!(mailbox.send(several(1)), Ok(()));
    let second = unread(10);
    let resumed: Arc<dyn Sink> = Arc::clone(&second) as Arc<dyn Sink>;
    assert_eq!(mailbox.attach(&resumed, None, 1, None), Ok(()));
    let expected =
        [("message 2", "offset 2"), ("message 3", "offset 3"), ("message 1", "offset 4")];
    let expected =
        expected.map(|(text, offset)| Outgoing::Pair([text, offset].concat(), text.len()));
    assert_eq!(*second.queued.lock(), expected);
}

#[test]
fn messages_of_one_event_are_split_to_fit_poll_responses() {
    let sink = unread(10);
    let mailbox = mailbox(&sink);
    assert_eq!(mailbox.send(several(20)), Ok(()));
    let counts: Vec<usize> = sink.queued.lock().iter().map(Outgoing::messages).collect();
    assert_eq!(counts, [16, 16, 8]);
}
