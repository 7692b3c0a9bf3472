//! Counter-based random numbers: Philox4x32-10, the same on every device.
//!
//! From Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A number depends on its key and
//! counter only, so that it can be computed anywhere, in any order, again.

/// Philox4x32-10: four random words from a key and a counter.
pub fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    let ([mut k0, mut k1], [mut c0, mut c1, mut c2, mut c3]) = (key, counter);
    for round in 0..10 {
        if round > 0 {
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        let first = u64::from(MULTIPLIER[0]) * u64::from(c0);
        let second = u64::from(MULTIPLIER[1]) * u64::from(c2);
        (c0, c1, c2, c3) =
            ((second >> 32) as u32 ^ c1 ^ k0, second as u32, (first >> 32) as u32 ^ c3 ^ k1, first as u32);
    }
    [c0, c1, c2, c3]
}

/// The words that [`Op::RandomBits`](crate::Op::RandomBits) gives: word `i` is word `i mod 4` of Philox with key `seed`
/// and counter `(i / 4, step, stream, 0)`.
pub fn random_bits(seed: [u32; 2], step: u32, stream: u32, count: usize) -> Vec<u32> {
    let mut words = Vec::with_capacity(count.next_multiple_of(4));
    for block in 0..count.div_ceil(4) {
        words.extend(philox(seed, [block as u32, step, stream, 0]));
    }
    words.truncate(count);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors of the authors' library, Random123.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 2], [u32::MAX; 4]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn words_do_not_depend_on_the_count() {
        let all = random_bits([1, 2], 3, 4, 11);
        assert_eq!(all.len(), 11);
        assert_eq!(random_bits([1, 2], 3, 4, 6), all[..6]);
        assert_eq!(all[4..8], philox([1, 2], [1, 3, 4, 0]));
        assert!(random_bits([1, 2], 3, 4, 0).is_empty());
    }
}
