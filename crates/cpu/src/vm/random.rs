//! Philox4x32-10 on blocks; [`dropforge_ir::random`] defines the numbers.

use crate::vecmath::block::Block;
use crate::vecmath::lanes::Lanes;
use dropforge_ir::random::philox;

/// What the fourth argument of the block functions points to.
#[repr(C)]
pub(super) struct Draw {
    pub key: [u32; 2],
    pub step: u32,
    pub stream: u32,
}

/// Counters that are worked on at once, each giving four words.
const COUNTERS: usize = 16;

/// Replaces positions by the words there; `b` is a [`Draw`].
pub(super) struct Words;

impl Block for Words {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, _: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller promises `count` readable and writable elements.
        unsafe {
            let draw = &*b.cast::<Draw>();
            let mut i = 0;
            while i < count {
                let first = *to.add(i);
                let length = (count - i).min(4 * COUNTERS);
                let in_order = (1..length).all(|j| *to.add(i + j) == first.wrapping_add(j as u32));
                if in_order && first <= u32::MAX - 4 * COUNTERS as u32 {
                    let skipped = (first % 4) as usize;
                    let words = blocks(draw, first / 4);
                    let length = length.min(4 * COUNTERS - skipped);
                    std::ptr::copy_nonoverlapping(words.as_ptr().add(skipped), to.add(i), length);
                    i += length;
                } else {
                    for j in i..i + length {
                        let position = *to.add(j);
                        let words = philox(draw.key, [position / 4, draw.step, draw.stream, 0]);
                        *to.add(j) = words[(position % 4) as usize];
                    }
                    i += length;
                }
            }
        }
    }
}

/// The words of [`COUNTERS`] counters from `first` on.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "lanes of several arrays")]
fn blocks(draw: &Draw, first: u32) -> [u32; 4 * COUNTERS] {
    let [mut k0, mut k1] = draw.key;
    let mut c0 = [0u32; COUNTERS];
    let mut c1 = [draw.step; COUNTERS];
    let mut c2 = [draw.stream; COUNTERS];
    let mut c3 = [0u32; COUNTERS];
    for lane in 0..COUNTERS {
        c0[lane] = first + lane as u32;
    }
    for _ in 0..10 {
        for lane in 0..COUNTERS {
            let low = u64::from(0xD251_1F53u32) * u64::from(c0[lane]);
            let high = u64::from(0xCD9E_8D57u32) * u64::from(c2[lane]);
            c0[lane] = (high >> 32) as u32 ^ c1[lane] ^ k0;
            c1[lane] = high as u32;
            c2[lane] = (low >> 32) as u32 ^ c3[lane] ^ k1;
            c3[lane] = low as u32;
        }
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    let mut words = [0; 4 * COUNTERS];
    for lane in 0..COUNTERS {
        words[4 * lane] = c0[lane];
        words[4 * lane + 1] = c1[lane];
        words[4 * lane + 2] = c2[lane];
        words[4 * lane + 3] = c3[lane];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;
    use crate::vecmath::block::pick;
    use dropforge_ir::random::random_bits;

    #[test]
    fn words_are_those_of_the_definition() {
        let draw = Draw { key: [7, 8], step: 3, stream: 5 };
        let expected = random_bits([7, 8], 3, 5, 400);
        let walks: Vec<Vec<u32>> = vec![
            (0..333).collect(),
            (3..77).collect(),
            (0..100).map(|i| 3 * i).collect(),
            vec![9; 70],
            (0..200).rev().collect(),
        ];
        for level in Level::available() {
            for walk in &walks {
                let mut words = walk.clone();
                // SAFETY: the block has as many elements as are asked for.
                unsafe {
                    let draw: *const Draw = &draw;
                    pick::<Words>(level)(
                        words.as_mut_ptr(),
                        std::ptr::null(),
                        draw.cast(),
                        std::ptr::null(),
                        words.len(),
                    );
                }
                let wanted: Vec<u32> = walk.iter().map(|&position| expected[position as usize]).collect();
                assert_eq!(words, wanted);
            }
        }
    }
}
