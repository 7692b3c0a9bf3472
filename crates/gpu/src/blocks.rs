//! Which parts of the device's memory are taken: plain bookkeeping that never talks to the device.
//!
//! Memory comes from the device in *chunks*, and blocks are cut from them. Buffers that share a chunk share a binding,
//! so chunks grow with what is held: few of them reach the parameters of a whole network. A block larger than a chunk
//! gets one of its own. Sizes are rounded up to classes, so that a block that was freed fits the next one of about its
//! size; the smallest free range that is large enough is taken, and freed ranges merge with their neighbours at once.

use crate::tuning::{ALIGNMENT, CHUNK_BYTES, KEPT_BYTES, LARGE_GRAIN};
use std::collections::{BTreeMap, BTreeSet};

/// A part of a chunk that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Which chunk.
    pub chunk: usize,
    /// First byte.
    pub offset: u64,
    /// Bytes taken, rounding included.
    pub bytes: u64,
    /// Bytes that were asked for.
    pub requested: u64,
    /// Whether it may hold something other than zeros.
    pub used_before: bool,
}

struct Chunk {
    bytes: u64,
    /// Free ranges: start and length; no two touch.
    free: BTreeMap<u64, u64>,
    /// From here on nothing was ever used, so that it is still zero.
    fresh: u64,
    /// Holds one large block at a time, and nothing beside it.
    single: bool,
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.free.get(&0) == Some(&self.bytes)
    }
}

/// The chunks of a device and what is taken of them.
pub(crate) struct Blocks {
    chunks: Vec<Option<Chunk>>,
    /// Free ranges of chunks that are shared: length, chunk, start.
    by_length: BTreeSet<(u64, usize, u64)>,
    /// Free chunks for single large blocks: length, chunk.
    singles: BTreeSet<(u64, usize)>,
    /// Most bytes of a chunk.
    most: u64,
    counts: Counts,
}

/// Sums over all blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Blocks that are held.
    pub live: u64,
    /// Bytes of blocks, rounding included.
    pub in_use: u64,
    /// Bytes of blocks as they were asked for.
    pub requested: u64,
    /// Most bytes that were in use at once.
    pub peak: u64,
    /// Bytes of chunks.
    pub reserved: u64,
    /// Bytes of chunks without a block.
    pub empty: u64,
    /// Blocks that were ever taken.
    pub taken: u64,
    /// Those of them that needed no new chunk.
    pub reused: u64,
}

/// The bytes that a block takes: multiples of 256 up to 2 KiB, then eight classes for each power of two.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(1);
    if bytes > CHUNK_BYTES {
        return bytes.next_multiple_of(LARGE_GRAIN);
    }
    let step = ((bytes - 1) | 1).ilog2().saturating_sub(3);
    bytes.next_multiple_of(ALIGNMENT.max(1 << step))
}

impl Blocks {
    /// Bookkeeping of chunks of at most this many bytes, a multiple of the alignment.
    pub fn new(most: u64) -> Blocks {
        Blocks {
            chunks: Vec::new(),
            by_length: BTreeSet::new(),
            singles: BTreeSet::new(),
            most,
            counts: Counts::default(),
        }
    }

    /// The most bytes of a block.
    pub fn most(&self) -> u64 {
        self.most
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of the largest free range, and the bytes of the largest free range of each chunk together.
    pub fn largest_free(&self) -> (u64, u64) {
        let largest =
            self.chunks.iter().flatten().map(|chunk| chunk.free.values().copied().max().unwrap_or(0));
        largest.fold((0, 0), |(most, sum), bytes| (most.max(bytes), sum + bytes))
    }

    fn class(&self, bytes: u64) -> u64 {
        size_class(bytes).min(self.most)
    }

    /// Bytes of the next chunk that is shared.
    fn shared_chunk(&self) -> u64 {
        let quarter = self.counts.reserved / 4;
        let grown = if quarter > 0 { 1 << quarter.ilog2() } else { 0 };
        grown.max(CHUNK_BYTES).min(self.most)
    }

    /// A block of what is there; `None` if that takes another chunk.
    pub fn take(&mut self, bytes: u64) -> Option<Block> {
        let block = self.find(bytes)?;
        self.counts.reused += 1;
        Some(block)
    }

    /// A block of a chunk that was just added for it.
    pub fn take_new(&mut self, bytes: u64) -> Option<Block> {
        self.find(bytes)
    }

    fn find(&mut self, requested: u64) -> Option<Block> {
        let bytes = self.class(requested);
        let shared = self.by_length.range((bytes, 0, 0)..).next().map(|&(_, chunk, start)| (chunk, start));
        // A chunk of its own may be a little too large, but not so large that most of it would lie idle.
        let single = || {
            let fitting = self.singles.range((bytes, 0)..=(bytes + bytes / 4, usize::MAX)).next();
            fitting.filter(|_| bytes > CHUNK_BYTES).map(|&(_, chunk)| (chunk, 0))
        };
        let (index, start) = single().or(shared)?;
        let chunk = self.chunks.get_mut(index)?.as_mut()?;
        let whole = chunk.bytes;
        if chunk.is_empty() {
            self.counts.empty -= whole;
        }
        let length = chunk.free.remove(&start)?;
        let bytes = if chunk.single {
            self.singles.remove(&(length, index));
            length
        } else {
            self.by_length.remove(&(length, index, start));
            if length > bytes {
                chunk.free.insert(start + bytes, length - bytes);
                self.by_length.insert((length - bytes, index, start + bytes));
            }
            bytes
        };
        let used_before = start < chunk.fresh;
        chunk.fresh = chunk.fresh.max(start + bytes);
        self.counts.live += 1;
        self.counts.taken += 1;
        self.counts.in_use += bytes;
        self.counts.requested += requested;
        self.counts.peak = self.counts.peak.max(self.counts.in_use);
        Some(Block { chunk: index, offset: start, bytes, requested, used_before })
    }

    /// Sizes of chunks that would hold this many bytes: the one that is wanted, and the least.
    pub fn chunk_sizes(&self, bytes: u64) -> [u64; 2] {
        let class = self.class(bytes);
        [class.max(self.shared_chunk()), class]
    }

    /// Counts a new chunk in and says its number.
    pub fn add_chunk(&mut self, bytes: u64) -> usize {
        let single = bytes > self.shared_chunk();
        let index = self.chunks.iter().position(Option::is_none).unwrap_or(self.chunks.len());
        if index == self.chunks.len() {
            self.chunks.push(None);
        }
        self.chunks[index] = Some(Chunk { bytes, free: BTreeMap::from([(0, bytes)]), fresh: 0, single });
        if single {
            self.singles.insert((bytes, index));
        } else {
            self.by_length.insert((bytes, index, 0));
        }
        self.counts.reserved += bytes;
        self.counts.empty += bytes;
        index
    }

    /// Takes a block back. Says which chunk is to go back to the device, if more lies idle than is worth keeping.
    pub fn free(&mut self, block: &Block) -> Option<usize> {
        let index = block.chunk;
        let chunk = self.chunks.get_mut(index)?.as_mut()?;
        self.counts.live -= 1;
        self.counts.in_use -= block.bytes;
        self.counts.requested -= block.requested;
        let (mut start, mut bytes) = (block.offset, block.bytes);
        if chunk.single {
            self.singles.insert((bytes, index));
        } else {
            if let Some(after) = chunk.free.remove(&(start + bytes)) {
                self.by_length.remove(&(after, index, start + bytes));
                bytes += after;
            }
            let before = chunk.free.range(..start).next_back().map(|(&before, &length)| (before, length));
            if let Some((before, length)) = before.filter(|(before, length)| before + length == start) {
                chunk.free.remove(&before);
                self.by_length.remove(&(length, index, before));
                start = before;
                bytes += length;
            }
            self.by_length.insert((bytes, index, start));
        }
        chunk.free.insert(start, bytes);
        if chunk.is_empty() {
            self.counts.empty += chunk.bytes;
            if self.counts.empty > KEPT_BYTES.max(self.counts.peak / 2) {
                self.remove(index);
                return Some(index);
            }
        }
        None
    }

    /// Takes all chunks without a block out, and says which they were.
    pub fn release_empty(&mut self) -> Vec<usize> {
        let is_empty = |index: &usize| self.chunks[*index].as_ref().is_some_and(Chunk::is_empty);
        let empty: Vec<usize> = (0..self.chunks.len()).filter(is_empty).collect();
        for &index in &empty {
            self.remove(index);
        }
        empty
    }

    fn remove(&mut self, index: usize) {
        if let Some(chunk) = self.chunks[index].take() {
            self.counts.reserved -= chunk.bytes;
            self.counts.empty -= chunk.bytes;
            self.singles.remove(&(chunk.bytes, index));
            self.by_length.remove(&(chunk.bytes, index, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 128 << 20;

    /// A block, with a chunk added for it where that is needed.
    fn take(blocks: &mut Blocks, bytes: u64) -> Block {
        if let Some(block) = blocks.take(bytes) {
            return block;
        }
        let [wanted, least] = blocks.chunk_sizes(bytes);
        assert!(least <= wanted && wanted <= blocks.most());
        blocks.add_chunk(wanted);
        blocks.take_new(bytes).expect("the chunk was made for it")
    }

    /// Everything that must hold of the bookkeeping, found from the blocks alone.
    fn check(blocks: &Blocks, live: &[Block]) {
        let counts = blocks.counts();
        assert_eq!(counts.live, live.len() as u64);
        assert_eq!(counts.in_use, live.iter().map(|block| block.bytes).sum::<u64>());
        assert_eq!(counts.requested, live.iter().map(|block| block.requested).sum::<u64>());
        let (mut reserved, mut empty) = (0, 0);
        for (index, chunk) in blocks.chunks.iter().enumerate() {
            let mut ranges: Vec<(u64, u64, bool)> = live
                .iter()
                .filter(|block| block.chunk == index)
                .map(|block| (block.offset, block.bytes, false))
                .collect();
            let Some(chunk) = chunk else {
                assert!(ranges.is_empty(), "a block in a chunk that was given back");
                continue;
            };
            reserved += chunk.bytes;
            empty += if ranges.is_empty() { chunk.bytes } else { 0 };
            ranges.extend(chunk.free.iter().map(|(&start, &length)| (start, length, true)));
            ranges.sort_unstable();
            let mut at = 0;
            for (position, (start, length, _)) in ranges.iter().enumerate() {
                assert_eq!(*start, at, "ranges overlap or leave a hole");
                assert!(length.is_multiple_of(ALIGNMENT) && *length > 0);
                at += length;
                let both_free = position > 0 && ranges[position - 1].2 && ranges[position].2;
                assert!(!both_free, "free neighbours were not merged");
            }
            assert_eq!(at, chunk.bytes);
        }
        assert_eq!((counts.reserved, counts.empty), (reserved, empty));
        let free: usize = blocks.chunks.iter().flatten().map(|chunk| chunk.free.len()).sum();
        assert_eq!(free, blocks.by_length.len() + blocks.singles.len());
    }

    #[test]
    fn classes_waste_an_eighth_at_most() {
        let mut last = 0;
        for bytes in (1..100_000).chain([1 << 20, (1 << 20) + 1, CHUNK_BYTES - 1, CHUNK_BYTES]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGNMENT) && class >= last);
            assert!(class - bytes < ALIGNMENT.max(bytes / 8 + 1), "{bytes} takes {class}");
            assert_eq!(size_class(class), class);
            last = class;
        }
        assert_eq!(size_class(CHUNK_BYTES + 1), CHUNK_BYTES + LARGE_GRAIN);
    }

    #[test]
    fn random_sequences_keep_every_promise() {
        for seed in 1..40u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut random = move |bound: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % bound
            };
            let mut blocks = Blocks::new(MOST);
            let mut live: Vec<Block> = Vec::new();
            for step in 0..300 {
                match random(10) {
                    0..6 => {
                        let magnitude = 8 + random(19);
                        let bytes = 1 + random(1 << magnitude);
                        let block = take(&mut blocks, bytes);
                        assert!(block.bytes >= bytes && block.offset.is_multiple_of(ALIGNMENT));
                        live.push(block);
                    }
                    6..9 if !live.is_empty() => {
                        let block = live.swap_remove(random(live.len() as u64) as usize);
                        blocks.free(&block);
                    }
                    9 if step % 7 == 0 => {
                        blocks.release_empty();
                        assert_eq!(blocks.counts().empty, 0);
                    }
                    _ => {}
                }
                check(&blocks, &live);
            }
            for block in live.drain(..) {
                blocks.free(&block);
            }
            check(&blocks, &live);
            assert_eq!(blocks.counts().empty, blocks.counts().reserved);
            blocks.release_empty();
            assert_eq!(blocks.counts().reserved, 0);
        }
    }

    #[test]
    fn freed_memory_is_taken_again() {
        for bytes in [1000, 5 << 20, 40 << 20, 100 << 20] {
            let mut blocks = Blocks::new(MOST);
            let first = take(&mut blocks, bytes);
            assert!(!first.used_before);
            blocks.free(&first);
            let reserved = blocks.counts().reserved;
            let second = take(&mut blocks, bytes - 100);
            assert_eq!((second.chunk, second.offset), (first.chunk, first.offset));
            assert!(second.used_before);
            let counts = blocks.counts();
            assert_eq!((counts.reserved, counts.taken, counts.reused), (reserved, 2, 1));
        }
    }

    #[test]
    fn small_blocks_share_few_chunks_and_leave_large_ones_whole() {
        let mut blocks = Blocks::new(MOST);
        let large = take(&mut blocks, 100 << 20);
        blocks.free(&large);
        let small: Vec<Block> = (0..400).map(|_| take(&mut blocks, 1 << 20)).collect();
        assert!(small.iter().all(|block| block.chunk != large.chunk));
        let chunks: BTreeSet<usize> = small.iter().map(|block| block.chunk).collect();
        assert!(chunks.len() <= 12, "{} chunks", chunks.len());
        let again = take(&mut blocks, 90 << 20);
        assert_eq!(again.chunk, large.chunk);
    }

    #[test]
    fn idle_chunks_are_kept_only_up_to_a_bound() {
        let mut blocks = Blocks::new(MOST);
        let live: Vec<Block> = (0..20).map(|number| take(&mut blocks, (20 + number) << 20)).collect();
        let peak = blocks.counts().peak;
        for block in &live {
            blocks.free(block);
        }
        let counts = blocks.counts();
        assert!(counts.empty <= KEPT_BYTES.max(peak / 2) && counts.empty > 0, "{counts:?}");
    }
}
