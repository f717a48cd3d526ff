//! Occasions: after which joins the recorded server sends an event, to the client that joins or to
//! the others.

use std::collections::{BTreeMap, BTreeSet};

use super::membership::Membership;
use super::presence::Seen;
use super::shape;
use super::timeline::{Action, Cause, Timeline};
use crate::record::trace::Message;

/// The joins after which an event is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Occasion {
    /// After each join, once.
    Each,
    /// After each join, once for each other peer.
    EachPeer,
    /// After joins to rooms that reach one of these sizes. The flag says whether the largest
    /// recorded room is among them, so that the recording does not show what the server sends in
    /// larger rooms.
    Sizes(BTreeSet<usize>, bool),
}

/// An occasion, and the deliveries that it does not explain.
type Found = (Occasion, Option<&'static str>);

/// Returns when the client that joins is sent an event.
pub(super) fn of_joiner(membership: &Membership, timeline: &Timeline, seen: &[Seen<'_>]) -> Found {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, _, _, cause) in seen {
        *counts.entry(cause.index).or_default() += 1;
    }
    let count = |cause: &Cause| counts.get(&cause.index).copied().unwrap_or_default();
    if joins(timeline).all(|cause| count(cause) == 1) {
        return (Occasion::Each, None);
    }
    let has_list = seen.iter().any(|(_, _, message, _)| message.args.iter().any(shape::has_list));
    if has_list && counts.values().all(|count| *count == 1) {
        // A list for every joiner is the more general rule: it is empty for the first.
        return (Occasion::Each, Some("sent after some joins only, Parlor sends it after each"));
    }
    if joins(timeline).all(|cause| count(cause) == cause.members.len().saturating_sub(1)) {
        return (Occasion::EachPeer, None);
    }
    if seen.iter().all(|(_, receiver, message, cause)| {
        named_peer(membership, message, *receiver, cause).is_some()
    }) {
        return (
            Occasion::EachPeer,
            Some("sent for some of the other peers only, Parlor sends it for each"),
        );
    }
    match sizes(timeline, |cause| count(cause) == 1, |cause| count(cause) == 0) {
        Some(occasion) => (occasion, None),
        None if counts.values().any(|count| *count > 1) => {
            (Occasion::EachPeer, Some("not sent once for each other peer, as Parlor does"))
        }
        None => (Occasion::Each, Some("sent after some joins only, Parlor sends it after each")),
    }
}

/// Returns when the other peers are sent an event.
pub(super) fn of_others(timeline: &Timeline, seen: &[Seen<'_>]) -> Found {
    let mut receivers: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (_, receiver, _, cause) in seen {
        receivers.entry(cause.index).or_default().insert(*receiver);
    }
    let count = |cause: &Cause| receivers.get(&cause.index).map_or(0, BTreeSet::len);
    let all =
        |cause: &Cause| count(cause) > 0 && count(cause) >= cause.members.len().saturating_sub(1);
    if joins(timeline).all(|cause| !cause.has_company || all(cause)) {
        return (Occasion::Each, None);
    }
    match sizes(timeline, all, |cause| count(cause) == 0) {
        Some(occasion) => (occasion, None),
        None => (Occasion::Each, Some("sent to some of the others only, Parlor sends it to each")),
    }
}

fn joins(timeline: &Timeline) -> impl Iterator<Item = &Cause> {
    timeline.causes.iter().filter(|cause| cause.action == Action::Join)
}

/// Returns the room sizes at which the event is sent, if they decide whether it is.
fn sizes(
    timeline: &Timeline,
    is_sent: impl Fn(&Cause) -> bool,
    is_left_out: impl Fn(&Cause) -> bool,
) -> Option<Occasion> {
    let size = |cause: &Cause| cause.members.len();
    let with: BTreeSet<usize> = joins(timeline).filter(|cause| is_sent(cause)).map(size).collect();
    let is_decided = joins(timeline)
        .all(|cause| if with.contains(&size(cause)) { is_sent(cause) } else { is_left_out(cause) });
    let largest = joins(timeline).map(size).max()?;
    (is_decided && !with.is_empty()).then(|| {
        let has_largest = with.contains(&largest);
        Occasion::Sizes(with, has_largest)
    })
}

/// Returns the other peer that an event to a joining client names.
pub(super) fn named_peer(
    membership: &Membership,
    message: &Message,
    receiver: usize,
    cause: &Cause,
) -> Option<usize> {
    let others: Vec<usize> =
        cause.members.iter().copied().filter(|member| *member != receiver).collect();
    let mut found = None;
    shape::scalars(&message.args, false, &mut |_, value| {
        found = found.or_else(|| membership.named_among(value, &others));
    });
    found
}
