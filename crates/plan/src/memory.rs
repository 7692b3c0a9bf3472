//! Where intermediate values lie in the arena.

use crate::tuning::ARENA_ALIGNMENT;

/// A piece of memory and the steps, first and last, during which it must keep its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Size.
    pub bytes: usize,
    /// The step that writes it first.
    pub first: usize,
    /// The last step that touches it.
    pub last: usize,
}

/// Offsets for a list of lifetimes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// In the order of the lifetimes.
    pub offsets: Vec<usize>,
    /// End of the last piece.
    pub bytes: usize,
    /// The largest sum of pieces that are alive in one step.
    pub lower_bound: usize,
}

/// Places the largest pieces first, each at the lowest offset that is free during its whole life.
pub fn place(lifetimes: &[Lifetime]) -> Placement {
    let aligned = |bytes: usize| bytes.next_multiple_of(ARENA_ALIGNMENT);
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(lifetimes[index].bytes), lifetimes[index].first, index));
    let mut offsets = vec![0; lifetimes.len()];
    // What is placed, by offset.
    let mut placed: Vec<usize> = Vec::new();
    let mut bytes = 0;
    for index in order {
        let this = lifetimes[index];
        let mut offset = 0;
        for &other in &placed {
            let Lifetime { bytes, first, last } = lifetimes[other];
            if first > this.last || this.first > last {
                continue;
            }
            if offset + aligned(this.bytes) <= offsets[other] {
                break;
            }
            offset = offset.max(offsets[other] + aligned(bytes));
        }
        offsets[index] = offset;
        bytes = bytes.max(offset + aligned(this.bytes));
        placed.insert(placed.partition_point(|&other| offsets[other] <= offset), index);
    }
    Placement { offsets, bytes, lower_bound: largest_live_sum(lifetimes) }
}

fn largest_live_sum(lifetimes: &[Lifetime]) -> usize {
    let steps = lifetimes.iter().map(|lifetime| lifetime.last + 1).max().unwrap_or(0);
    let mut change = vec![0i64; steps + 1];
    for lifetime in lifetimes {
        change[lifetime.first] += lifetime.bytes as i64;
        change[lifetime.last + 1] -= lifetime.bytes as i64;
    }
    let mut live = 0;
    change
        .into_iter()
        .map(|difference| {
            live += difference;
            live as usize
        })
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_live_together_never_overlap() {
        let mut state = 7u64;
        let mut random = |bound: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % bound
        };
        for _ in 0..50 {
            let lifetimes: Vec<Lifetime> = (0..60)
                .map(|_| {
                    let first = random(40) as usize;
                    Lifetime { bytes: random(5000) as usize, first, last: first + random(12) as usize }
                })
                .collect();
            let placement = place(&lifetimes);
            for (a, one) in lifetimes.iter().enumerate() {
                assert!(placement.offsets[a] + one.bytes <= placement.bytes);
                for (b, other) in lifetimes.iter().enumerate().skip(a + 1) {
                    let together = one.first <= other.last && other.first <= one.last;
                    let apart = placement.offsets[a] + one.bytes <= placement.offsets[b]
                        || placement.offsets[b] + other.bytes <= placement.offsets[a];
                    assert!(!together || apart, "{one:?} and {other:?} overlap");
                }
            }
            assert!(placement.bytes >= placement.lower_bound);
        }
    }

    #[test]
    fn a_chain_of_equal_pieces_needs_two() {
        let lifetimes: Vec<Lifetime> =
            (0..10).map(|i| Lifetime { bytes: 64, first: i, last: i + 1 }).collect();
        let placement = place(&lifetimes);
        assert_eq!((placement.bytes, placement.lower_bound), (128, 128));
    }
}
