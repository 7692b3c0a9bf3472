//! The forward pass for a group of queries of one head.

use super::exponential::exp;
use super::tile::{Multiply, Parts, Rows, length, multiply, pack_transposed, whole_vectors};
use super::{Attention, AttentionPointers, AttentionShape, GROUP, KEYS, QUERIES, range_of};
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

/// Queries that one task computes, all keys one after another.
pub(super) struct Task<'a> {
    pub attention: &'a Attention,
    pub pointers: &'a AttentionPointers,
    pub head: usize,
    pub queries: Range<usize>,
    pub scratch: Parts,
}

/// Lengths of the pieces of [`Buffers`], in their order.
fn pieces(shape: &AttentionShape, lanes: usize) -> [usize; 7] {
    let size = shape.size.next_multiple_of(lanes);
    [shape.size * GROUP, shape.size * KEYS, size * KEYS, KEYS * QUERIES, GROUP * size, GROUP, GROUP]
}

/// Scratch elements for one thread.
pub(super) fn scratch(shape: &AttentionShape, level: Level) -> usize {
    length(&pieces(shape, level.lanes()))
}

struct Buffers {
    /// For each block of queries, the scaled queries: `[number, query]`.
    queries: *mut f32,
    /// The keys: `[number, key]`.
    keys: *mut f32,
    /// The values, where their size is not whole vectors.
    values: *mut f32,
    /// Scores, then weights: `[key, query]`.
    scores: *mut f32,
    /// Sums of weighted values: `[query, number]`.
    sums: *mut f32,
    /// The largest score so far for each query.
    largest: *mut f32,
    /// The sum of weights for each query.
    total: *mut f32,
}

impl Buffers {
    fn new(mut parts: Parts, shape: &AttentionShape, lanes: usize) -> Buffers {
        let [queries, keys, values, scores, sums, largest, total] =
            pieces(shape, lanes).map(|length| parts.take(length));
        Buffers { queries, keys, values, scores, sums, largest, total }
    }
}

/// Positions 0, 1, 2, … of lanes.
pub(super) const LANE_NUMBERS: [f32; QUERIES] = {
    let mut numbers = [0.0; QUERIES];
    let mut i = 0;
    while i < QUERIES {
        numbers[i] = i as f32;
        i += 1;
    }
    numbers
};

impl Task<'_> {
    /// # Safety
    /// As [`Attention::run`], for this task's queries.
    pub unsafe fn run(self) {
        self.attention.level.call(self);
    }
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Task { attention, pointers, head, queries, scratch } = self;
        let (shape, layout) = (&attention.shape, &attention.layout);
        let of_head = |pointer: *const f32, strides: &super::HeadStrides| Rows {
            pointer: pointer.wrapping_offset(strides.offset(shape, head)),
            stride: strides.position,
        };
        let head = Head {
            shape,
            query: of_head(pointers.query, &layout.query).from(queries.start),
            key: of_head(pointers.key, &layout.key),
            value: of_head(pointers.value, &layout.value),
            output: of_head(pointers.output, &layout.output).from(queries.start),
            logsumexp: pointers.logsumexp.wrapping_add(head * shape.queries + queries.start),
            buffers: Buffers::new(scratch, shape, V::LANES),
            queries,
        };
        // SAFETY: `Attention::run` was promised that everything is accessible.
        unsafe {
            head.start::<V>();
            for tile in 0..shape.keys.div_ceil(KEYS) {
                head.add_keys::<V>(range_of(tile, KEYS, shape.keys));
            }
            head.finish::<V>();
        }
    }
}

/// A group of queries of one head. Rows of queries and output start with the group's.
struct Head<'a> {
    shape: &'a AttentionShape,
    query: Rows,
    key: Rows,
    value: Rows,
    output: Rows,
    logsumexp: *mut f32,
    buffers: Buffers,
    queries: Range<usize>,
}

// SAFETY of all functions: called by `Task::run` only, whose caller promises access; pieces of scratch are as long as
// `pieces` says.
impl Head<'_> {
    fn blocks(&self) -> usize {
        self.queries.len().div_ceil(QUERIES)
    }

    /// Packs the queries.
    #[inline(always)]
    unsafe fn start<V: Vector>(&self) {
        let size = self.shape.size;
        for block in 0..self.blocks() {
            let queries = range_of(block, QUERIES, self.queries.len());
            // SAFETY: see above.
            unsafe {
                let packed = self.buffers.queries.add(block * size * QUERIES);
                pack_transposed::<V>(self.query.from(queries.start), queries.len(), size, packed, QUERIES);
                for number in 0..size {
                    for first in (0..queries.len()).step_by(V::LANES) {
                        let vector = packed.add(number * QUERIES + first);
                        V::load(vector).mul(V::splat(self.shape.scale)).store(vector);
                    }
                }
                for first in (0..QUERIES).step_by(V::LANES) {
                    let place = block * QUERIES + first;
                    V::splat(f32::NEG_INFINITY).store(self.buffers.largest.add(place));
                    V::zero().store(self.buffers.total.add(place));
                }
            }
        }
    }

    /// Adds what the keys of a tile contribute to all queries of the group.
    #[inline(always)]
    unsafe fn add_keys<V: Vector>(&self, keys: Range<usize>) {
        let (shape, buffers) = (self.shape, &self.buffers);
        let width = shape.size.next_multiple_of(V::LANES);
        if shape.visible(self.queries.end - 1) <= keys.start {
            return;
        }
        // SAFETY: see above.
        unsafe {
            pack_transposed::<V>(self.key.from(keys.start), keys.len(), shape.size, buffers.keys, KEYS);
            let values =
                whole_vectors::<V>(self.value.from(keys.start), keys.len(), shape.size, buffers.values);
            for block in 0..self.blocks() {
                let queries = range_of(block, QUERIES, self.queries.len());
                let visible = shape.visible(self.queries.start + queries.end - 1).min(keys.end);
                if visible <= keys.start {
                    continue;
                }
                let visible = visible - keys.start;
                multiply::<V, 1>(Multiply {
                    left: buffers.keys,
                    left_step: KEYS,
                    right: buffers.queries.add(block * shape.size * QUERIES),
                    right_step: QUERIES as isize,
                    steps: shape.size,
                    rows: visible,
                    columns: queries.len().next_multiple_of(V::LANES),
                    out: buffers.scores,
                    out_row: QUERIES as isize,
                    accumulate: false,
                });
                let sums = buffers.sums.add(queries.start * width);
                self.weigh::<V>(&queries, &keys, visible, sums);
                multiply::<V, 1>(Multiply {
                    left: buffers.scores,
                    left_step: QUERIES,
                    right: values.pointer,
                    right_step: values.stride,
                    steps: visible,
                    rows: queries.len(),
                    columns: width,
                    out: sums,
                    out_row: width as isize,
                    accumulate: keys.start > 0,
                });
            }
        }
    }

    /// Turns scores into weights relative to the largest score so far, and what was summed before with them.
    #[inline(always)]
    unsafe fn weigh<V: Vector>(
        &self,
        queries: &Range<usize>,
        keys: &Range<usize>,
        visible: usize,
        sums: *mut f32,
    ) {
        let (shape, buffers) = (self.shape, &self.buffers);
        let width = shape.size.next_multiple_of(V::LANES);
        let mut factors = [1.0f32; QUERIES];
        // The first key of the tile that the block's first query does not see: from there on some lanes are masked.
        let masked_from =
            shape.visible(self.queries.start + queries.start).saturating_sub(keys.start).min(visible);
        // How many keys more than `masked_from` the queries see if positive; queries that see none if negative.
        let unseen = if shape.causal {
            (keys.start as isize + 1 + shape.queries as isize)
                - (self.queries.start + queries.start + 1 + shape.keys) as isize
        } else {
            0
        };
        // SAFETY: see above.
        unsafe {
            for first in (0..queries.len()).step_by(V::LANES) {
                let scores = buffers.scores.add(first);
                let lanes = V::load(LANE_NUMBERS.as_ptr().add(first));
                for key in masked_from..visible {
                    // Lane `i` sees key `key` if key + unseen <= i.
                    let place = scores.add(key * QUERIES);
                    let hidden = V::splat((key as isize + unseen) as f32).beats(lanes);
                    V::select(hidden, V::splat(f32::NEG_INFINITY), V::load(place)).store(place);
                }
                let before = V::load(buffers.largest.add(queries.start + first));
                let largest = largest_row::<V>(scores, visible, before);
                // A query that has seen no key yet must not subtract −∞ from −∞.
                let none = largest.equal(V::splat(f32::NEG_INFINITY));
                let shift = V::select(none, V::zero(), largest);
                let mut total = V::zero();
                for key in 0..visible {
                    let place = scores.add(key * QUERIES);
                    let weight = exp(V::load(place).sub(shift));
                    weight.store(place);
                    total = total.add(weight);
                }
                let factor = exp(before.sub(shift));
                factor.store_partial(factors.as_mut_ptr().add(first), V::LANES.min(QUERIES - first));
                let place = buffers.total.add(queries.start + first);
                V::load(place).mul_add(factor, total).store(place);
                largest.store(buffers.largest.add(queries.start + first));
            }
            if keys.start > 0 {
                for (query, &factor) in factors.iter().enumerate().take(queries.len()) {
                    if factor != 1.0 {
                        for number in (0..width).step_by(V::LANES) {
                            let place = sums.add(query * width + number);
                            V::load(place).mul(V::splat(factor)).store(place);
                        }
                    }
                }
            }
        }
    }

    /// Divides the sums by the totals and writes the results.
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self) {
        let size = self.shape.size;
        let width = size.next_multiple_of(V::LANES);
        for query in 0..self.queries.len() {
            // SAFETY: see above.
            unsafe {
                let (largest, total) = (*self.buffers.largest.add(query), *self.buffers.total.add(query));
                // ln 0 = −∞ is right; the sums were perhaps never written.
                *self.logsumexp.add(query) =
                    if total == 0.0 { f32::NEG_INFINITY } else { largest + total.ln() };
                let output = self.output.from(query).pointer.cast_mut();
                for first in (0..size).step_by(V::LANES) {
                    let count = (size - first).min(V::LANES);
                    let value = if total == 0.0 {
                        V::zero()
                    } else {
                        V::load(self.buffers.sums.add(query * width + first)).mul(V::splat(1.0 / total))
                    };
                    value.store_partial(output.add(first), count);
                }
            }
        }
    }
}

/// The largest of `before` and the rows' scores, lane by lane; NaN wins.
///
/// # Safety
/// `rows` rows, [`QUERIES`] apart, are readable.
#[inline(always)]
unsafe fn largest_row<V: Vector>(scores: *const f32, rows: usize, before: V) -> V {
    // Four at a time, because each comparison waits for the one before.
    const CHAINS: usize = 4;
    let mut largest = [before; CHAINS];
    let mut row = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while row + CHAINS <= rows {
            for (chain, largest) in largest.iter_mut().enumerate() {
                *largest = larger::<V>(V::load(scores.add((row + chain) * QUERIES)), *largest);
            }
            row += CHAINS;
        }
        while row < rows {
            largest[0] = larger::<V>(V::load(scores.add(row * QUERIES)), largest[0]);
            row += 1;
        }
    }
    larger::<V>(larger::<V>(largest[0], largest[1]), larger::<V>(largest[2], largest[3]))
}

#[inline(always)]
fn larger<V: Vector>(a: V, b: V) -> V {
    V::select(a.beats(b), a, b)
}
