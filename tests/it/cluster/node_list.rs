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
    nodes.expire(now + seconds(5), &[DEAD]);
    assert!(nodes.to_reap(now + seconds(5), LEASE, ME).is_empty(), "not ready for a whole lease");
    assert_eq!(nodes.to_reap(now + seconds(10), LEASE, ME), [DEAD]);
    assert!(nodes.to_reap(now + seconds(10), LEASE, ME).is_empty(), "its removal is on its way");
    nodes.expire(now + seconds(12), &[DEAD]);
    assert_eq!(nodes.to_reap(now + seconds(12), LEASE, ME), [DEAD], "it was not removed");
}

#[test]
fn slow_beat_or_lost_connection_begins_the_lease_anew() {
    let now = Instant::now();
    let mut nodes = list(now);
    nodes.expire(now, &[DEAD]);
    nodes.beat_took(now + seconds(5), Duration::from_millis(2600));
    assert!(nodes.to_reap(now + seconds(10), LEASE, ME).is_empty());
    assert_eq!(nodes.to_reap(now + seconds(15), LEASE, ME), [DEAD]);
    nodes.connection_lost();
    nodes.expire(now + seconds(30), &[DEAD]);
    assert!(nodes.to_reap(now + seconds(30), LEASE, ME).is_empty());
}

#[test]
fn smaller_living_incarnation_has_some_time_to_remove_it_first() {
    let now = Instant::now();
    let mut nodes = list(now);
    let later = now + seconds(20);
    nodes.expire(later, &[DEAD]);
    assert!(nodes.to_reap(later, LEASE, ME).is_empty());
    assert_eq!(nodes.to_reap(later + Duration::from_millis(250), LEASE, ME), [DEAD]);
    let mut nodes = list(now);
    let expired = [Incarnation(1), DEAD];
    nodes.expire(later, &expired);
    assert_eq!(nodes.to_reap(later, LEASE, ME), expired, "the smaller one is dead itself");
}

#[test]
fn node_that_beats_again_is_not_removed() {
    let now = Instant::now();
    let mut nodes = list(now);
    let later = now + seconds(20);
    nodes.expire(later, &[DEAD]);
    nodes.expire(later + seconds(1), &[]);
    assert!(nodes.to_reap(later + seconds(1), LEASE, ME).is_empty());
    nodes.expire(later + seconds(2), &[DEAD]);
    assert!(nodes.to_reap(later + seconds(2), LEASE, ME).is_empty(), "its turn begins anew");
}

#[test]
fn linked_node_is_dead_once_two_lists_lack_it_after_a_lease_of_service() {
    let now = Instant::now();
    let mut nodes = list(now);
    let gone = Incarnation(5);
    let linked = || [ME, DEAD, gone].into_iter();
    assert!(
        nodes.dead(now, now, LEASE, linked()).is_empty(),
        "a wiped engine lists no node at first"
    );
    let later = now + LEASE;
    assert!(nodes.dead(later, later, LEASE, linked()).is_empty(), "it may just have been linked");
    let answered = later + seconds(1);
    assert!(nodes.dead(answered, now, LEASE, linked()).is_empty(), "the list is an old one");
    assert_eq!(nodes.dead(answered, later, LEASE, linked()), [gone]);
    nodes.list(vec![ME, DEAD, gone]);
    nodes.list(vec![ME, DEAD]);
    assert!(nodes.dead(answered, answered, LEASE, linked()).is_empty(), "it was back in between");
}

#[test]
fn node_whose_lease_is_over_is_not_beating() {
    let now = Instant::now();
    let mut nodes = list(now);
    assert!(nodes.is_beating(DEAD) && !nodes.is_beating(Incarnation(5)));
    nodes.expire(now, &[DEAD]);
    assert!(!nodes.is_beating(DEAD));
    nodes.expire(now, &[]);
    assert!(nodes.is_beating(DEAD));
}
