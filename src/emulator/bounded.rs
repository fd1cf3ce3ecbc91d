//! A map that forgets what it was told first when it is full.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// At most so many entries.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    most: usize,
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V: Default> Bounded<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, map: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// The value of `key`, which is made if it is not there; and whether another one was forgotten for it.
    pub(super) fn entry(&mut self, key: &K) -> (&mut V, bool) {
        let mut forgot = false;
        if !self.map.contains_key(key) {
            if self.map.len() >= self.most
                && let Some(first) = self.order.pop_front()
            {
                self.map.remove(&first);
                forgot = true;
            }
            self.order.push_back(key.clone());
        }
        (self.map.entry(key.clone()).or_default(), forgot)
    }

    /// In the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().filter_map(|key| self.map.get_key_value(key))
    }

    pub(super) fn clear(&mut self) {
        self.map.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_goes_when_it_is_full() {
        let mut map = Bounded::<u8, u8>::new(2);
        for (key, forgot) in [(1, false), (2, false), (1, false), (3, true)] {
            let (value, f) = map.entry(&key);
            *value += 1;
            assert_eq!(f, forgot, "{key}");
        }
        assert_eq!(map.iter().collect::<Vec<_>>(), [(&2, &1), (&3, &1)]);
        assert_eq!(map.get(&1), None);
        map.clear();
        assert_eq!(map.iter().count(), 0);
    }
}
