//! Shrinks maps after a connection spike, since they keep their capacity otherwise.

use std::hash::{BuildHasher, Hash};

use dashmap::DashMap;

/// Minimum capacity of a map.
const MIN_CAPACITY: usize = 1024;

/// Shrinks a map that is less than one eighth full. Locks one shard at a time.
pub(crate) fn shrink_map<K: Eq + Hash, V, S: BuildHasher + Clone>(map: &DashMap<K, V, S>) {
    let capacity = map.capacity();
    if capacity > MIN_CAPACITY && map.len() < capacity / 8 {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_empty_map_is_shrunk_and_keeps_its_entries() {
        let map: DashMap<u32, u32> = (0..20_000).map(|key| (key, key)).collect();
        let full = map.capacity();
        shrink_map(&map);
        assert_eq!(map.capacity(), full);
        map.retain(|key, _| *key < 100);
        shrink_map(&map);
        assert!(map.capacity() < 1_000, "{}", map.capacity());
        assert!((0..100).all(|key| map.get(&key).is_some_and(|value| *value == key)));
    }
}
