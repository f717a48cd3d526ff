//! A map whose entries expire in the order in which they were inserted.
//!
//! Pure: no clock.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeFrom;
use std::time::{Duration, Instant};

/// A map whose entries all expire after the same time. It holds a limited number of them; beyond
/// that, the oldest is removed.
#[derive(Debug)]
pub struct ExpiringMap<K, V> {
    lifetime: Duration,
    capacity: usize,
    entries: BTreeMap<K, (V, u64)>,
    /// In the order of insertion. An entry that was replaced or removed since is here still, under
    /// another number.
    order: VecDeque<(Instant, u64, K)>,
    count: u64,
}

impl<K: Ord + Clone, V> ExpiringMap<K, V> {
    /// Creates an empty map.
    pub fn new(lifetime: Duration, capacity: usize) -> Self {
        let (entries, order) = (BTreeMap::new(), VecDeque::new());
        Self { lifetime, capacity, entries, order, count: 0 }
    }

    /// Inserts an entry, or replaces it: its lifetime begins anew.
    pub fn insert(&mut self, now: Instant, key: K, value: V) {
        self.count += 1;
        self.order.push_back((now, self.count, key.clone()));
        self.entries.insert(key, (value, self.count));
        while self.order.len() > self.capacity {
            self.remove_first();
        }
    }

    /// Returns the value of an entry.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// Removes an entry, and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(value, _)| value)
    }

    /// Returns the keys of a range, in their order.
    pub fn keys_from(&self, range: RangeFrom<K>) -> impl Iterator<Item = &K> {
        self.entries.range(range).map(|(key, _)| key)
    }

    /// Removes the entries that have expired.
    pub fn prune(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        let is_over = |(since, ..): &(Instant, u64, K)| now.duration_since(*since) >= lifetime;
        while self.order.front().is_some_and(is_over) {
            self.remove_first();
        }
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    fn remove_first(&mut self) {
        if let Some((_, number, key)) = self.order.pop_front()
            && self.entries.get(&key).is_some_and(|(_, inserted)| *inserted == number)
        {
            self.entries.remove(&key);
        }
    }
}
