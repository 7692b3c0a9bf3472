//! Maps and sets by small keys that nobody outside chooses, such as values and nodes: compilers look up very many of
//! them, and the standard hasher, which withstands chosen keys, takes longer than what is done with what is found.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such keys. Its order is the same in each process.
pub type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;
/// A set of such keys. Its order is the same in each process.
pub type QuickSet<K> = HashSet<K, BuildHasherDefault<QuickHasher>>;

/// An odd number without a pattern: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Multiplies words into one.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuickHasher(u64);

impl Hasher for QuickHasher {
    #[inline]
    fn finish(&self) -> u64 {
        // A product is mixed best in its upper half; tables look at both ends.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(FACTOR);
        mixed ^ (mixed >> 32)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(FACTOR);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, Hash};

    /// Keys in steps of any power of two spread over both ends of the hash.
    #[test]
    fn hashes_of_neighbours_differ() {
        for step in [1u64, 16, 64, 4096, 1 << 20] {
            let hash = |index: u64| BuildHasherDefault::<QuickHasher>::default().hash_one(index * step);
            for bits in [|hash: u64| hash & 1023, |hash: u64| hash >> 54] {
                let found: HashSet<u64> = (0..1024).map(|index| bits(hash(index))).collect();
                assert!(found.len() > 500, "{} of 1024 for steps of {step}", found.len());
            }
        }
        let of = |key: &dyn Fn(&mut QuickHasher)| {
            let mut hasher = QuickHasher::default();
            key(&mut hasher);
            hasher.finish()
        };
        assert_ne!(of(&|hasher| "ab".hash(hasher)), of(&|hasher| "ba".hash(hasher)));
    }
}
