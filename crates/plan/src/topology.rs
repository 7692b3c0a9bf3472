//! An order in which every unit comes after what it waits for, kept while units join and wait for more.
//!
//! Whether one unit waits for another is asked for each node that is fused. Between units that stand in such an order
//! only those in between can lie on the way, so that an answer mostly takes a few steps, however many units there are.
//! The order is changed where it must be alone, as Pearce and Kelly do (*A dynamic topological sort algorithm for
//! directed acyclic graphs*, 2006): what has to move goes right behind another unit.

use std::collections::BTreeMap;

/// Units in order, by keys with room in between.
#[derive(Default)]
pub struct Topology {
    /// The key of each unit; units that are gone keep theirs.
    keys: Vec<i128>,
    /// The units that are there.
    units: BTreeMap<i128, usize>,
}

/// Room between neighbours.
const GAP: i128 = 1 << 64;

impl Topology {
    /// Units `0..count` in the order `order`.
    pub fn of(order: &[usize]) -> Topology {
        let mut keys = vec![0; order.len()];
        let mut units = BTreeMap::new();
        for (position, &unit) in order.iter().enumerate() {
            keys[unit] = position as i128 * GAP;
            units.insert(keys[unit], unit);
        }
        Topology { keys, units }
    }

    /// The place of a unit: smaller comes before.
    pub fn key(&self, unit: usize) -> i128 {
        self.keys[unit]
    }

    /// Adds a unit, whose number is the next one, before all others.
    pub fn push_front(&mut self) {
        let key = self.units.first_key_value().map_or(0, |(first, _)| first - GAP);
        self.units.insert(key, self.keys.len());
        self.keys.push(key);
    }

    /// Adds a unit, whose number is the next one, in the place of several others, which go: in that of the last.
    pub fn replace(&mut self, others: &[usize]) {
        let mut last = None;
        for &other in others {
            self.units.remove(&self.keys[other]);
            last = last.max(Some(self.keys[other]));
        }
        let key = last.unwrap_or_else(|| self.units.first_key_value().map_or(0, |(first, _)| first - GAP));
        self.units.insert(key, self.keys.len());
        self.keys.push(key);
    }

    /// Adds a unit, whose number is the next one, right before another one, in the place of several others, which go.
    /// Some units move before it, in the order they have.
    pub fn replace_before(&mut self, others: &[usize], reader: usize, mut moved: Vec<usize>) {
        moved.sort_unstable_by_key(|&unit| self.keys[unit]);
        for unit in others.iter().chain(&moved) {
            self.units.remove(&self.keys[*unit]);
        }
        moved.push(self.keys.len());
        self.keys.push(0);
        let count = moved.len() as i128 + 1;
        let room = |topology: &Topology| {
            let end = topology.keys[reader];
            let before = topology.units.range(..end).next_back().map(|(&key, _)| key);
            before.map_or(GAP, |before| (end - before) / count)
        };
        if room(self) == 0 {
            self.spread();
        }
        let step = room(self);
        for (number, &unit) in moved.iter().enumerate() {
            let key = self.keys[reader] - step * (count - 1 - number as i128);
            self.keys[unit] = key;
            self.units.insert(key, unit);
        }
    }

    /// Moves units, in the order they have, right behind another one.
    pub fn move_behind(&mut self, anchor: usize, mut moved: Vec<usize>) {
        if moved.is_empty() {
            return;
        }
        moved.sort_unstable_by_key(|&unit| self.keys[unit]);
        for &unit in &moved {
            self.units.remove(&self.keys[unit]);
        }
        let room = |topology: &Topology| {
            let start = topology.keys[anchor];
            let next = topology.units.range(start + 1..).next().map(|(&key, _)| key);
            next.map_or(GAP, |next| (next - start) / (moved.len() as i128 + 1))
        };
        if room(self) == 0 {
            self.spread();
        }
        let step = room(self);
        for (number, &unit) in moved.iter().enumerate() {
            let key = self.keys[anchor] + step * (number as i128 + 1);
            self.keys[unit] = key;
            self.units.insert(key, unit);
        }
    }

    /// Makes room between all neighbours.
    fn spread(&mut self) {
        let order: Vec<usize> = self.units.values().copied().collect();
        self.units.clear();
        for (position, unit) in order.into_iter().enumerate() {
            self.keys[unit] = position as i128 * GAP;
            self.units.insert(self.keys[unit], unit);
        }
    }
}

/// An order of units in which each comes after its sources.
///
/// # Panics
/// If units wait for each other.
pub fn sorted(sources: &[Vec<usize>]) -> Vec<usize> {
    let mut waiting: Vec<usize> = sources.iter().map(Vec::len).collect();
    let followers = followers(sources);
    let mut ready: std::collections::VecDeque<usize> =
        (0..sources.len()).filter(|&unit| waiting[unit] == 0).collect();
    let mut order = Vec::with_capacity(sources.len());
    while let Some(unit) = ready.pop_front() {
        order.push(unit);
        for &follower in &followers[unit] {
            waiting[follower] -= 1;
            if waiting[follower] == 0 {
                ready.push_back(follower);
            }
        }
    }
    assert_eq!(order.len(), sources.len(), "fusion made kernels that wait for each other");
    order
}

/// For each unit those that have it among their sources.
pub fn followers(sources: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut followers = vec![Vec::new(); sources.len()];
    for (unit, sources) in sources.iter().enumerate() {
        sources.iter().for_each(|&source| followers[source].push(unit));
    }
    followers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(topology: &Topology) -> Vec<usize> {
        topology.units.values().copied().collect()
    }

    #[test]
    fn units_keep_their_order_when_some_move() {
        let mut topology = Topology::of(&[0, 1, 2, 3, 4]);
        topology.move_behind(3, vec![2, 1]);
        assert_eq!(order(&topology), [0, 3, 1, 2, 4]);
        topology.push_front();
        topology.replace(&[0, 1]);
        assert_eq!(order(&topology), [5, 3, 6, 2, 4]);
        topology.move_behind(4, vec![3]);
        assert_eq!(order(&topology), [5, 6, 2, 4, 3]);
        topology.replace_before(&[3], 6, vec![4]);
        assert_eq!(order(&topology), [5, 4, 7, 6, 2]);
        // Until there is no room any more, and beyond.
        for unit in 7..200 {
            topology.replace_before(&[unit], 6, vec![4]);
        }
        assert_eq!(order(&topology), [5, 4, 200, 6, 2]);
        for _ in 0..200 {
            topology.move_behind(5, vec![2]);
            topology.move_behind(5, vec![4]);
        }
        assert_eq!(order(&topology), [5, 4, 2, 200, 6]);
    }

    #[test]
    fn sources_come_first() {
        let sources = [vec![2, 1], vec![], vec![1], vec![0]];
        assert_eq!(sorted(&sources), [1, 2, 0, 3]);
    }
}
