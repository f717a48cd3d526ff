//! Memory that a crowd needed, given back when it has gone: a map keeps its size until it is told.

use std::hash::Hash;

use dashmap::DashMap;

/// Entries for which a map always has room.
const KEPT: usize = 1024;

/// Shrinks a map that holds less than an eighth of what it has room for. Locks a part of it at a time, as long as moving
/// what that part still holds takes.
pub fn give_back<K: Eq + Hash, V>(map: &DashMap<K, V>) {
    let capacity = map.capacity();
    if capacity > KEPT && map.len() < capacity / 8 {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_shrunk_when_it_is_nearly_empty_and_never_below_what_it_holds() {
        let map: DashMap<u32, u32> = (0..20_000).map(|key| (key, key)).collect();
        let full = map.capacity();
        give_back(&map);
        assert_eq!(map.capacity(), full);
        map.retain(|key, _| *key < 100);
        give_back(&map);
        assert!(map.capacity() < 1_000, "{}", map.capacity());
        assert!((0..100).all(|key| map.get(&key).is_some_and(|value| *value == key)));
    }
}
