//! Entries expire in order, whatever is replaced or removed meanwhile.

use std::time::{Duration, Instant};

use parlor::cluster::expiring_map::ExpiringMap;

const LIFETIME: Duration = Duration::from_mins(5);

#[test]
fn replaced_entry_lives_from_its_last_insertion_on() {
    let now = Instant::now();
    let mut map = ExpiringMap::new(LIFETIME, 10);
    map.insert(now, "first", 1);
    map.insert(now, "second", 1);
    let later = now + Duration::from_mins(1);
    map.insert(later, "first", 2);
    assert_eq!(map.remove(&"second"), Some(1));
    assert_eq!((map.get(&"first"), map.get(&"second")), (Some(&2), None));
    map.prune(now + LIFETIME);
    assert_eq!(map.get(&"first"), Some(&2));
    map.prune(later + LIFETIME);
    assert_eq!(map.get(&"first"), None);
}

#[test]
fn entry_that_is_inserted_again_at_once_outlives_the_one_before_it() {
    let now = Instant::now();
    let mut map = ExpiringMap::new(LIFETIME, 2);
    map.insert(now, 1, "before");
    map.remove(&1);
    map.insert(now, 1, "after");
    map.insert(now, 2, "other");
    assert_eq!((map.get(&1), map.get(&2)), (Some(&"after"), Some(&"other")));
}

#[test]
fn oldest_entries_are_removed_beyond_the_capacity() {
    let now = Instant::now();
    let mut map = ExpiringMap::new(LIFETIME, 3);
    (0..10).for_each(|key| map.insert(now, key, ()));
    assert_eq!(map.keys_from(0..).copied().collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(map.keys_from(8..).copied().collect::<Vec<_>>(), [8, 9]);
    map.clear();
    assert_eq!(map.keys_from(0..).next(), None);
}
