//! Which nodes may be declared dead, by whom, and when.

use std::time::{Duration, Instant};

use parlor::cluster::Incarnation;
use parlor::cluster::node_list::NodeList;

const LEASE: Duration = Duration::from_secs(10);
const ME: Incarnation = Incarnation(2);
const DEAD: Incarnation = Incarnation(9);

/// A list of this node, one with a smaller incarnation, and a dead one.
fn list(now: Instant) -> NodeList {
    let mut list = NodeList::default();
    list.list(vec![Incarnation(1), ME, DEAD]);
    list.ready(now);
    list
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn dead_node_is_removed_after_a_lease_of_good_service() {
    let now = Instant::now();
    let mut nodes = list(now);
    assert!(
        nodes.to_reap(now + seconds(5), LEASE, ME, &[DEAD]).is_empty(),
        "not ready for a whole lease"
    );
    assert_eq!(nodes.to_reap(now + seconds(10), LEASE, ME, &[DEAD]), [DEAD]);
}

#[test]
fn slow_beat_or_lost_connection_begins_the_lease_anew() {
    let now = Instant::now();
    let mut nodes = list(now);
    nodes.beat_took(now + seconds(5), Duration::from_millis(2600));
    assert!(nodes.to_reap(now + seconds(10), LEASE, ME, &[DEAD]).is_empty());
    assert_eq!(nodes.to_reap(now + seconds(15), LEASE, ME, &[DEAD]), [DEAD]);
    nodes.connection_lost();
    assert!(nodes.to_reap(now + seconds(30), LEASE, ME, &[DEAD]).is_empty());
}

#[test]
fn smaller_living_incarnation_has_a_second_to_remove_it_first() {
    let now = Instant::now();
    let mut nodes = list(now);
    let later = now + seconds(20);
    assert!(nodes.to_reap(later, LEASE, ME, &[DEAD]).is_empty());
    assert_eq!(nodes.to_reap(later + seconds(1), LEASE, ME, &[DEAD]), [DEAD]);
    let mut nodes = list(now);
    let expired = [Incarnation(1), DEAD];
    assert_eq!(
        nodes.to_reap(later, LEASE, ME, &expired),
        expired,
        "the smaller one is dead itself"
    );
}

#[test]
fn node_that_beats_again_is_not_removed() {
    let now = Instant::now();
    let mut nodes = list(now);
    let later = now + seconds(20);
    assert!(nodes.to_reap(later, LEASE, ME, &[DEAD]).is_empty());
    assert!(nodes.to_reap(later + seconds(1), LEASE, ME, &[]).is_empty());
    assert!(
        nodes.to_reap(later + seconds(2), LEASE, ME, &[DEAD]).is_empty(),
        "its turn begins anew"
    );
}

#[test]
fn linked_node_is_dead_once_it_was_missing_for_a_lease() {
    let now = Instant::now();
    let mut nodes = list(now);
    let gone = Incarnation(5);
    let linked = || [ME, DEAD, gone].into_iter();
    assert!(nodes.dead(now, LEASE, linked()).is_empty(), "a wiped engine lists no node at first");
    assert_eq!(nodes.dead(now + LEASE, LEASE, linked()), [gone]);
    nodes.list(vec![ME, DEAD, gone]);
    nodes.list(vec![ME, DEAD]);
    assert!(nodes.dead(now + LEASE, LEASE, linked()).is_empty(), "it was back in between");
}
