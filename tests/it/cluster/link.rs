//! Links: each frame is delivered once and in order, whatever is lost or repeated on the way.

use std::time::{Duration, Instant};

use bytes::Bytes;
use parlor::cluster::link::{Receipt, ReceivingLink, Resent, SendingLink};
use proptest::prelude::*;

fn push(link: &mut SendingLink, now: Instant) {
    link.push(now, |number| Bytes::from(number.to_string()));
}

fn publish(link: &mut SendingLink) -> Vec<(u64, Bytes)> {
    link.publish().collect()
}

fn numbers(frames: &[(u64, Bytes)]) -> Vec<u64> {
    frames.iter().map(|(number, _)| *number).collect()
}

#[test]
fn frames_are_numbered_and_published_in_order() {
    let (mut link, now) = (SendingLink::default(), Instant::now());
    (0..3).for_each(|_| push(&mut link, now));
    assert_eq!(publish(&mut link), [(1, "1".into()), (2, "2".into()), (3, "3".into())]);
    assert!(publish(&mut link).is_empty());
}

#[test]
fn unconfirmed_frames_are_published_again_after_a_lost_connection() {
    let (mut link, now) = (SendingLink::default(), Instant::now());
    (0..3).for_each(|_| push(&mut link, now));
    publish(&mut link);
    link.confirm(now, 1);
    link.connection_lost();
    assert_eq!(link.waiting(now + Duration::from_secs(1)), (2, Duration::from_secs(1)));
    assert_eq!(numbers(&publish(&mut link)), [2, 3]);
}

#[test]
fn requested_frames_are_resent_and_count_as_unconfirmed() {
    let (mut link, now) = (SendingLink::default(), Instant::now());
    (0..3).for_each(|_| push(&mut link, now));
    publish(&mut link);
    (1..=3).for_each(|number| link.confirm(now, number));
    push(&mut link, now);
    let resent = link.resend(2);
    assert_eq!(
        (numbers(&resent.frames), resent.gap),
        (vec![2, 3], None),
        "the fourth is published anyway"
    );
    link.connection_lost();
    assert_eq!(numbers(&publish(&mut link)), [2, 3, 4]);
}

#[test]
fn request_for_a_forgotten_frame_is_answered_with_the_gap() {
    let (mut link, now) = (SendingLink::default(), Instant::now());
    (0..3).for_each(|_| push(&mut link, now));
    publish(&mut link);
    link.confirm(now, 1);
    link.prune(now + Duration::from_secs(21), Duration::from_secs(20));
    let resent = link.resend(1);
    assert_eq!((numbers(&resent.frames), resent.gap), (vec![2, 3], Some(2)));
    link.forget();
    assert_eq!(link.resend(2), Resent { gap: Some(4), frames: Vec::new() });
    push(&mut link, now);
    assert_eq!(numbers(&publish(&mut link)), [4], "numbers go on");
    assert_eq!(link.bytes(), 1);
}

#[test]
fn processed_frames_are_forgotten() {
    let (mut link, now) = (SendingLink::default(), Instant::now());
    (0..2).for_each(|_| push(&mut link, now));
    publish(&mut link);
    push(&mut link, now);
    assert_eq!(link.processed(1), 1, "one byte");
    assert_eq!(link.processed(1), 0);
    assert_eq!(link.processed(9), 1, "the third is not published yet");
    assert_eq!(link.resend(3), Resent { gap: None, frames: Vec::new() });
    assert_eq!(numbers(&publish(&mut link)), [3]);
    link.connection_lost();
    assert_eq!(numbers(&publish(&mut link)), [3], "the engine has not confirmed it");
    assert_eq!(link.processed(3), 1);
    assert_eq!((link.bytes(), link.forget()), (0, Vec::new()));
}

#[test]
fn frame_that_has_waited_long_is_kept_after_it_was_published() {
    let (mut link, start) = (SendingLink::default(), Instant::now());
    let (age, later) = (Duration::from_secs(20), start + Duration::from_mins(1));
    push(&mut link, start);
    publish(&mut link);
    link.confirm(later, 1);
    link.prune(later + age, age);
    assert_eq!(numbers(&link.resend(1).frames), [1], "its reader may have been away as long");
    link.confirm(later, 1);
    link.prune(later + age + Duration::from_secs(1), age);
    assert_eq!(link.resend(1).gap, Some(2));
}

#[test]
fn frame_that_is_not_confirmed_is_not_pruned() {
    let (mut link, now) = (SendingLink::default(), Instant::now());
    push(&mut link, now);
    publish(&mut link);
    link.prune(now + Duration::from_mins(1), Duration::from_secs(20));
    assert_eq!(numbers(&link.resend(1).frames), [1]);
    assert_eq!(link.oldest(), None, "nor evicted");
    link.confirm(now, 1);
    assert_eq!((link.oldest(), link.evict()), (Some(now), 1));
}

#[test]
fn gap_moves_forward_only() {
    let mut link = ReceivingLink::default();
    assert!(link.skip_to(5));
    assert!(!link.skip_to(3), "a late one");
    assert_eq!(
        (link.next(), link.receive(4), link.receive(5)),
        (5, Receipt::Repeated, Receipt::Deliver)
    );
}

#[test]
fn missing_frames_are_requested_twenty_times_a_second_at_most() {
    let (mut link, now) = (ReceivingLink::default(), Instant::now());
    assert_eq!(link.receive(2), Receipt::Missing);
    assert!(link.request(now));
    assert!(!link.request(now + Duration::from_millis(49)));
    assert!(link.request(now + Duration::from_millis(50)));
}

/// A step of a lossy channel.
#[derive(Debug, Clone)]
enum Step {
    Send,
    /// Publishes what waits; this many of the frames are lost, and the engine confirms this many.
    Publish {
        lost: usize,
        confirmed: usize,
    },
    LoseConnection,
    /// The reader requests what it misses; one frame is repeated.
    Request,
    /// The sender learns which frame the reader has processed last.
    Learn,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publish =
        (0..4_usize, 0..4_usize).prop_map(|(lost, confirmed)| Step::Publish { lost, confirmed });
    let step = prop_oneof![4 => Just(Step::Send), 3 => publish, 1 => Just(Step::LoseConnection), 2 => Just(Step::Request), 2 => Just(Step::Learn)];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_is_delivered_once_and_in_order(steps in steps()) {
        let (mut sender, mut reader, now) = (SendingLink::default(), ReceivingLink::default(), Instant::now());
        let (mut sent, mut delivered) = (0, Vec::new());
        let mut receive = |reader: &mut ReceivingLink, frames: &[(u64, Bytes)]| {
            for (number, frame) in frames {
                if reader.receive(*number) == Receipt::Deliver {
                    reader.process(*number);
                    delivered.push(frame.clone());
                }
            }
        };
        for step in steps.into_iter().chain([Step::LoseConnection, Step::Publish { lost: 0, confirmed: 0 }, Step::Request, Step::Learn]) {
            match step {
                Step::Send => {
                    push(&mut sender, now);
                    sent += 1;
                }
                Step::Publish { lost, confirmed } => {
                    let frames = publish(&mut sender);
                    for (number, _) in frames.iter().take(confirmed) {
                        sender.confirm(now, *number);
                    }
                    receive(&mut reader, &frames[lost.min(frames.len())..]);
                }
                Step::LoseConnection => sender.connection_lost(),
                Step::Learn => _ = sender.processed(reader.processed()),
                Step::Request => {
                    let resent = sender.resend(reader.next());
                    prop_assert_eq!(resent.gap, None, "nothing that it misses is forgotten");
                    let again: Vec<_> = resent.frames.iter().take(1).cloned().chain(resent.frames.clone()).collect();
                    receive(&mut reader, &again);
                }
            }
        }
        let expected: Vec<Bytes> = (1..=sent).map(|number: u64| Bytes::from(number.to_string())).collect();
        prop_assert_eq!(delivered, expected);
        prop_assert_eq!(sender.bytes(), 0);
    }
}
