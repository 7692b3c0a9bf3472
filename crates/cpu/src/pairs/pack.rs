//! Copies a side of a product into panels of pairs.

use super::shape::{Order, Side};
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

/// Where a panel goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub to: *mut u32,
    /// Positions of a panel.
    pub width: usize,
    /// Steps of a panel, in pairs; those beyond the side's are zeros.
    pub steps: usize,
    /// Whether the pairs of a position stand side by side in blocks of 16 steps, instead of the positions of a step.
    pub by_rows: bool,
}

/// Steps of a block of a panel by rows.
const BLOCK: usize = 16;

/// Copies some positions of a side to a panel: the pair of steps `2s` and `2s + 1` of position `i` goes to word
/// `s * width + i`, or by rows to `i * 16 + s % 16` of block `s / 16`, the earlier step in its lower half. Words
/// without a position, and halves without a step, are zero.
///
/// # Safety
/// All elements that the offsets reach from `from` are readable, and the target has room for `steps * width` words; at
/// most `width` positions, and at most `steps` pairs.
pub(super) unsafe fn pack_panel(
    level: Level,
    from: *const u16,
    side: &Side,
    positions: Range<usize>,
    target: Target,
) {
    let across = &side.across[positions];
    let Target { to, width, steps, by_rows } = target;
    let pairs = side.inner.len().div_ceil(2);
    // SAFETY: the caller's promise.
    unsafe {
        if by_rows {
            return pack_rows(from, across, &side.inner, side.order, target);
        }
        to.add(pairs * width).write_bytes(0, (steps - pairs) * width);
    }
    level.call(Panel { from, across, inner: &side.inner, order: side.order, to, width });
}

/// A panel by rows.
///
/// # Safety
/// As [`pack_panel`].
unsafe fn pack_rows(from: *const u16, across: &[isize], inner: &[isize], order: Order, target: Target) {
    let Target { to, width, steps, .. } = target;
    let whole = inner.len() / 2;
    for block in 0..steps / BLOCK {
        let pairs = inner.len().div_ceil(2).saturating_sub(block * BLOCK).min(BLOCK);
        let first = block * BLOCK;
        for position in 0..width {
            // SAFETY: the caller's promise.
            unsafe {
                let to = to.add((block * width + position) * BLOCK);
                let Some(&offset) = across.get(position) else {
                    to.write_bytes(0, BLOCK);
                    continue;
                };
                let from = from.offset(offset);
                if order == Order::PairsFollow && first + BLOCK <= whole {
                    // Mostly all pairs of a block follow one another.
                    let (start, last) = (inner[2 * first], inner[2 * (first + BLOCK) - 1]);
                    if last - start == 2 * BLOCK as isize - 1 {
                        to.cast::<u16>().copy_from_nonoverlapping(from.offset(start), 2 * BLOCK);
                        continue;
                    }
                }
                for pair in 0..pairs {
                    let at = 2 * (first + pair);
                    let low = u32::from(*from.offset(inner[at]));
                    let high = if at + 1 < inner.len() { u32::from(*from.offset(inner[at + 1])) } else { 0 };
                    *to.add(pair) = low | high << 16;
                }
                to.add(pairs).write_bytes(0, BLOCK - pairs);
            }
        }
    }
}

struct Panel<'a> {
    from: *const u16,
    across: &'a [isize],
    inner: &'a [isize],
    order: Order,
    to: *mut u32,
    width: usize,
}

impl Kernel for Panel<'_> {
    type Output = ();

    /// The compiler makes vectors of the loops, as wide as the instruction set has them.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Panel { from, across, inner, order, to, width } = self;
        let whole = inner.len() / 2;
        // SAFETY: promised to `pack_panel`.
        unsafe {
            if across.len() < width {
                for step in 0..inner.len().div_ceil(2) {
                    for position in across.len()..width {
                        *to.add(step * width + position) = 0;
                    }
                }
            }
            match order {
                Order::PairsFollow => {
                    for step in 0..whole {
                        let from = from.offset(inner[2 * step]);
                        let to = to.add(step * width);
                        for (position, &offset) in across.iter().enumerate() {
                            *to.add(position) = from.offset(offset).cast::<u32>().read_unaligned();
                        }
                    }
                }
                Order::PositionsFollow => {
                    let mut first = 0;
                    while first < across.len() {
                        let mut end = first + 1;
                        while end < across.len() && across[end] == across[end - 1] + 1 {
                            end += 1;
                        }
                        let (from, to) = (from.offset(across[first]), to.add(first));
                        for step in 0..whole {
                            let low = from.offset(inner[2 * step]);
                            let high = from.offset(inner[2 * step + 1]);
                            let to = to.add(step * width);
                            for position in 0..end - first {
                                let pair =
                                    u32::from(*low.add(position)) | u32::from(*high.add(position)) << 16;
                                *to.add(position) = pair;
                            }
                        }
                        first = end;
                    }
                }
                Order::Any => {
                    for step in 0..whole {
                        let (low, high) = (from.offset(inner[2 * step]), from.offset(inner[2 * step + 1]));
                        let to = to.add(step * width);
                        for (position, &offset) in across.iter().enumerate() {
                            *to.add(position) =
                                u32::from(*low.offset(offset)) | u32::from(*high.offset(offset)) << 16;
                        }
                    }
                }
            }
            if let [.., last] = inner
                && inner.len() % 2 == 1
            {
                let (from, to) = (from.offset(*last), to.add(whole * width));
                for (position, &offset) in across.iter().enumerate() {
                    *to.add(position) = u32::from(*from.offset(offset));
                }
            }
        }
    }
}
