//! Replicas: how entries and records relate to them.

use parlor::cluster::Incarnation;
use parlor::cluster::replica::{Position, Replica, Standing};
use parlor::id::ConnectionId;

use super::{member, membership, record, spec};

const ME: Incarnation = Incarnation(1);

/// A replica at version 5 of the room with serial 1.
fn replica(members: &[parlor::cluster::Member]) -> Replica {
    let mut replica = Replica::new(spec());
    (replica.serial, replica.version) = (1, 5);
    replica.members = members.iter().map(|member| (member.connection(), member.clone())).collect();
    replica
}

#[test]
fn only_the_next_entry_is_applied() {
    let replica = replica(&[]);
    for (serial, version, expected) in [
        (1, 5, Position::Past),
        (1, 6, Position::Next),
        (1, 7, Position::Ahead),
        (0, 6, Position::Past),
        (2, 6, Position::Ahead),
    ] {
        assert_eq!(replica.position(serial, version), expected, "{serial} {version}");
    }
    assert!(replica.is_before(&record(6, &[])));
    assert!(!replica.is_before(&record(5, &[])));
}

#[test]
fn record_adds_and_removes_members_of_other_nodes() {
    let (gone, stays, new) = (member(1, 11, 2, 1), member(2, 12, 2, 2), member(3, 13, 2, 6));
    let diff = replica(&[gone, stays.clone()])
        .diff(&record(6, &[stays, new.clone()]), ME, |_| Standing::Gone);
    assert_eq!((diff.gone, diff.new), (vec![ConnectionId::from_u128(1)], vec![new]));
    assert!(diff.lost.is_empty() && diff.completed.is_empty() && diff.changed.is_empty());
}

#[test]
fn another_join_of_a_connection_is_another_member() {
    let diff = replica(&[member(1, 11, 2, 1)])
        .diff(&record(6, &[member(1, 12, 2, 6)]), ME, |_| Standing::Gone);
    assert_eq!(
        (diff.gone, diff.new),
        (vec![ConnectionId::from_u128(1)], vec![member(1, 12, 2, 6)])
    );
}

#[test]
fn record_does_not_bring_a_local_member_back() {
    let mine = [member(1, 11, 1, 6)];
    let diff = |standing| replica(&[]).diff(&record(6, &mine), ME, |_| standing);
    assert_eq!(diff(Standing::Waiting).completed, mine);
    assert_eq!(
        diff(Standing::Gone),
        parlor::cluster::replica::Diff::default(),
        "its leave is on the way"
    );
}

#[test]
fn local_member_that_the_record_lacks_is_lost() {
    let diff = replica(&[member(1, 11, 1, 1)]).diff(&record(6, &[]), ME, |_| Standing::Member);
    assert_eq!((diff.lost, diff.gone), (vec![membership(1, 11)], vec![]));
}

#[test]
fn older_record_of_a_member_does_not_replace_the_later() {
    let known = [member(1, 11, 2, 5)];
    let old = member(1, 11, 3, 4);
    let later = member(1, 11, 3, 6);
    let diff = |member| replica(&known).diff(&record(6, &[member]), ME, |_| Standing::Gone);
    assert!(diff(old).changed.is_empty(), "an engine that lost some seconds");
    assert_eq!(diff(later.clone()).changed, [later]);
}

#[test]
fn member_that_departed_follows_the_record() {
    let mine = [member(1, 11, 1, 5)];
    let taken = member(1, 11, 2, 6);
    let diff = |record| replica(&mine).diff(&record, ME, |_| Standing::Departed);
    assert_eq!(diff(record(6, std::slice::from_ref(&taken))).changed, [taken]);
    assert_eq!(diff(record(6, &[])).gone, [ConnectionId::from_u128(1)]);
}

#[test]
fn member_that_arrives_completes_and_one_that_was_given_up_is_gone() {
    let taken = member(1, 11, 1, 6);
    let theirs = [member(1, 11, 2, 5)];
    let diff = |known: &[_], standing| {
        replica(known).diff(&record(6, std::slice::from_ref(&taken)), ME, |_| standing)
    };
    assert_eq!(diff(&theirs, Standing::Arriving).arrived, std::slice::from_ref(&taken));
    assert_eq!(diff(&[], Standing::Arriving).arrived, std::slice::from_ref(&taken));
    assert_eq!(diff(&theirs, Standing::Gone).gone, [ConnectionId::from_u128(1)]);
    assert_eq!(diff(&[], Standing::Gone), parlor::cluster::replica::Diff::default());
}

#[test]
fn signal_of_a_former_holder_is_not_delivered_after_one_of_a_later_one() {
    let [one, two, three] = [1, 2, 3].map(Incarnation);
    let mut replica = Replica::new(spec());
    let ann = member(7, 1, 1, 1);
    let connection = ann.connection();
    replica.members.insert(connection, ann);
    let mut moved = |from: Incarnation, to: Incarnation| {
        replica.members[&connection].holder = to;
        replica.moved(connection, from, to);
    };
    moved(one, two);
    moved(two, three);
    let mut accepts = |node| replica.accept_signal(connection, node);
    assert!(accepts(one) && accepts(two), "in the order in which they have had the session");
    assert!(!accepts(one) && accepts(two) && accepts(three));
    assert!(!accepts(two));
    // It returns to a former holder.
    replica.members[&connection].holder = two;
    replica.moved(connection, three, two);
    assert!(replica.accept_signal(connection, three) && replica.accept_signal(connection, two));
    assert!(!replica.accept_signal(connection, three) && !replica.accept_signal(connection, one));
    replica.remove(connection);
    assert!(replica.accept_signal(connection, one), "it is another member");
}

#[test]
fn signal_of_an_unknown_former_holder_is_not_delivered_after_one_of_the_holder() {
    let [one, two] = [1, 2].map(Incarnation);
    let mut replica = Replica::new(spec());
    let ann = member(7, 1, 2, 1);
    let connection = ann.connection();
    replica.members.insert(connection, ann);
    assert!(replica.accept_signal(connection, one), "the holder has sent nothing");
    assert!(replica.accept_signal(connection, two) && !replica.accept_signal(connection, one));
    replica.remove(connection);
    assert!(replica.accept_signal(connection, one), "it is another member");
}
