//! The gradient for queries and keys of one head.

use super::exponential::exp;
use super::forward::LANE_NUMBERS;
use super::tile::{Multiply, Parts, Rows, length, multiply, pack_transposed, whole_vectors};
use super::{
    AttentionGradient, AttentionGradientPointers, AttentionShape, HeadStrides, KEYS, QUERIES, range_of,
};
use crate::simd::{Kernel, Level, MAX_LANES, Vector};
use std::ops::Range;

/// A logsumexp beyond this is rounded so coarsely that weights made from it would miss their sum of 1 by more than
/// 1e-6.
const LARGE: f32 = 16.0;

/// Which gradients a task computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All three; the task has all queries and all keys.
    All,
    /// That of its queries; the task has all keys.
    Queries,
    /// Those of its keys and values; the task has all queries.
    KeysAndValues,
}

/// Queries and keys of one head whose gradients one thread computes.
pub(super) struct Task<'a> {
    pub gradient: &'a AttentionGradient,
    pub pointers: &'a AttentionGradientPointers,
    pub head: usize,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
    pub wanted: Wanted,
    pub scratch: Parts,
}

/// Lengths of the pieces of [`Buffers`], in their order.
fn pieces(shape: &AttentionShape, lanes: usize) -> [usize; 12] {
    let size = shape.size.next_multiple_of(lanes);
    let (keys, queries, scores) = (size * KEYS, size * QUERIES, KEYS * QUERIES);
    [
        keys,
        keys,
        keys,
        queries,
        queries,
        queries,
        queries,
        scores,
        scores,
        shape.queries,
        shape.queries,
        shape.queries,
    ]
}

/// Scratch elements for one thread.
pub(super) fn scratch(shape: &AttentionShape, level: Level) -> usize {
    length(&pieces(shape, level.lanes()))
}

struct Buffers {
    /// Keys and values of a tile: `[number, key]`.
    keys: *mut f32,
    values: *mut f32,
    /// The keys where their size is not whole vectors.
    key_rows: *mut f32,
    /// Queries and output gradients of a block: `[number, query]`.
    queries: *mut f32,
    output_gradients: *mut f32,
    /// The same where the size is not whole vectors.
    query_rows: *mut f32,
    output_gradient_rows: *mut f32,
    /// Scores, then weights: `[query, key]`.
    weights: *mut f32,
    /// Gradients of the weights, then of the scores: `[query, key]`.
    gradients: *mut f32,
    /// For each query, the product of output and its gradient.
    products: *mut f32,
    /// For each query, the logsumexp of its scores in two parts: a weight is e^((score − base) − rest).
    bases: *mut f32,
    rests: *mut f32,
}

impl Buffers {
    fn new(mut parts: Parts, shape: &AttentionShape, lanes: usize) -> Buffers {
        let [
            keys,
            values,
            key_rows,
            queries,
            output_gradients,
            query_rows,
            output_gradient_rows,
            weights,
            gradients,
            products,
            bases,
            rests,
        ] = pieces(shape, lanes).map(|length| parts.take(length));
        Buffers {
            keys,
            values,
            key_rows,
            queries,
            output_gradients,
            query_rows,
            output_gradient_rows,
            weights,
            gradients,
            products,
            bases,
            rests,
        }
    }
}

/// One head and the part of it that is computed.
struct Head<'a> {
    shape: &'a AttentionShape,
    wanted: Wanted,
    queries: Range<usize>,
    query: Rows,
    key: Rows,
    value: Rows,
    output: Rows,
    logsumexp: *const f32,
    output_gradient: Rows,
    query_gradient: Rows,
    key_gradient: Rows,
    value_gradient: Rows,
    buffers: Buffers,
}

impl Task<'_> {
    /// # Safety
    /// As [`AttentionGradient::run`], for this task's part.
    pub unsafe fn run(self) {
        self.gradient.level.call(self);
    }
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Task { gradient, pointers, head, queries, keys, wanted, scratch } = self;
        let (shape, layout) = (&gradient.shape, &gradient.layout);
        let of_head = |pointer: *const f32, strides: &HeadStrides| Rows {
            pointer: pointer.wrapping_offset(strides.offset(shape, head)),
            stride: strides.position,
        };
        let head = Head {
            shape,
            wanted,
            queries,
            query: of_head(pointers.query, &layout.forward.query),
            key: of_head(pointers.key, &layout.forward.key),
            value: of_head(pointers.value, &layout.forward.value),
            output: of_head(pointers.output, &layout.forward.output),
            logsumexp: pointers.logsumexp.wrapping_add(head * shape.queries),
            output_gradient: of_head(pointers.output_gradient, &layout.output_gradient),
            query_gradient: of_head(pointers.query_gradient, &layout.query_gradient),
            key_gradient: of_head(pointers.key_gradient, &layout.key_gradient),
            value_gradient: of_head(pointers.value_gradient, &layout.value_gradient),
            buffers: Buffers::new(scratch, shape, V::LANES),
        };
        // SAFETY: `AttentionGradient::run` was promised that everything is accessible.
        unsafe {
            head.start::<V>();
            for block in 0..head.queries.len().div_ceil(QUERIES) {
                let part = range_of(block, QUERIES, head.queries.len());
                head.find_bases::<V>(head.queries.start + part.start..head.queries.start + part.end);
            }
            for tile in 0..keys.len().div_ceil(KEYS) {
                let part = range_of(tile, KEYS, keys.len());
                head.add_keys::<V>(keys.start + part.start..keys.start + part.end);
            }
        }
    }
}

// SAFETY of all functions: called by `Task::run` only, whose caller promises access; pieces of scratch are as long as
// `pieces` says.
impl Head<'_> {
    /// Multiplies outputs with their gradients, and clears gradients that nothing is added to.
    #[inline(always)]
    unsafe fn start<V: Vector>(&self) {
        let size = self.shape.size;
        for query in self.queries.clone() {
            // SAFETY: see above.
            unsafe {
                let (output, gradient) =
                    (self.output.from(query).pointer, self.output_gradient.from(query).pointer);
                let mut sum = V::zero();
                for first in (0..size).step_by(V::LANES) {
                    let count = (size - first).min(V::LANES);
                    let output = V::load_partial(output.add(first), count);
                    sum = output.mul_add(V::load_partial(gradient.add(first), count), sum);
                }
                *self.buffers.products.add(query) = sum.sum();
                if self.wanted != Wanted::KeysAndValues {
                    // Blocks that see keys are overwritten by the first tile.
                    clear(self.query_gradient.from(query), 1, size);
                }
            }
        }
    }

    /// Finds what the scores of a block of queries are relative to: their logsumexp as it is, or, where one is large,
    /// the largest score and the logarithm of the sum relative to it, from the same scores as the weights.
    #[inline(always)]
    unsafe fn find_bases<V: Vector>(&self, queries: Range<usize>) {
        let (shape, buffers) = (self.shape, &self.buffers);
        let mut some_large = false;
        // SAFETY: see above.
        unsafe {
            for query in queries.clone() {
                let logsumexp = *self.logsumexp.add(query);
                *buffers.bases.add(query) = logsumexp;
                *buffers.rests.add(query) = 0.0;
                some_large |= logsumexp.is_finite() && logsumexp.abs() > LARGE;
            }
            if !some_large {
                return;
            }
            let (mut largest, mut totals) = ([f32::NEG_INFINITY; QUERIES], [0.0f32; QUERIES]);
            pack_transposed::<V>(
                self.query.from(queries.start),
                queries.len(),
                shape.size,
                buffers.queries,
                QUERIES,
            );
            let lanes = V::load(LANE_NUMBERS.as_ptr());
            let scale = V::splat(shape.scale);
            for tile in 0..shape.keys.div_ceil(KEYS) {
                let keys = range_of(tile, KEYS, shape.keys);
                let visible = shape.visible(queries.end - 1).min(keys.end).saturating_sub(keys.start);
                if visible == 0 {
                    break;
                }
                pack_transposed::<V>(self.key.from(keys.start), keys.len(), shape.size, buffers.keys, KEYS);
                self.products_with_keys::<V>(
                    buffers.queries,
                    buffers.keys,
                    buffers.weights,
                    queries.len(),
                    visible,
                );
                for (row, query) in queries.clone().enumerate() {
                    let seen = shape.visible(query).saturating_sub(keys.start).min(visible);
                    let unseen = V::splat(f32::NEG_INFINITY);
                    let scores = |first: usize| {
                        let scores = V::load(buffers.weights.add(row * KEYS + first)).mul(scale);
                        let hidden = lanes.beats(V::splat(seen as f32 - first as f32 - 0.5));
                        V::select(hidden, unseen, scores)
                    };
                    let before = largest[row];
                    let mut numbers = [0.0f32; MAX_LANES];
                    for first in (0..seen).step_by(V::LANES) {
                        scores(first).store(numbers.as_mut_ptr());
                        largest[row] = numbers[..V::LANES].iter().fold(largest[row], |a, &b| a.max(b));
                    }
                    if largest[row] == f32::NEG_INFINITY {
                        continue;
                    }
                    let base = V::splat(largest[row]);
                    let mut sum = V::zero();
                    for first in (0..seen).step_by(V::LANES) {
                        sum = sum.add(exp(scores(first).sub(base)));
                    }
                    totals[row] = totals[row] * (before - largest[row]).exp() + sum.sum();
                }
            }
            for (row, query) in queries.clone().enumerate() {
                let logsumexp = *self.logsumexp.add(query);
                if logsumexp.is_finite() && logsumexp.abs() > LARGE {
                    *buffers.bases.add(query) = largest[row];
                    *buffers.rests.add(query) = totals[row].ln();
                }
            }
        }
    }

    /// Products of the packed rows of a block with the packed columns of a tile of keys.
    #[inline(always)]
    unsafe fn products_with_keys<V: Vector>(
        &self,
        left: *const f32,
        right: *const f32,
        out: *mut f32,
        rows: usize,
        visible: usize,
    ) {
        // SAFETY: see above.
        unsafe {
            multiply::<V, 1>(Multiply {
                left,
                left_step: QUERIES,
                right,
                right_step: KEYS as isize,
                steps: self.shape.size,
                rows,
                columns: visible.next_multiple_of(V::LANES),
                out,
                out_row: KEYS as isize,
                accumulate: false,
            });
        }
    }

    /// Adds what a tile of keys contributes to the gradients of the queries, and computes the gradients of the tile.
    #[inline(always)]
    unsafe fn add_keys<V: Vector>(&self, keys: Range<usize>) {
        let (shape, buffers) = (self.shape, &self.buffers);
        let (size, count) = (shape.size, keys.len());
        let mut first = true;
        // SAFETY: see above.
        unsafe {
            pack_transposed::<V>(self.key.from(keys.start), count, size, buffers.keys, KEYS);
            pack_transposed::<V>(self.value.from(keys.start), count, size, buffers.values, KEYS);
            let key_rows = whole_vectors::<V>(self.key.from(keys.start), count, size, buffers.key_rows);
            for block in 0..self.queries.len().div_ceil(QUERIES) {
                let range = range_of(block, QUERIES, self.queries.len());
                let queries = self.queries.start + range.start..self.queries.start + range.end;
                let visible = shape.visible(queries.end - 1).min(keys.end);
                if visible <= keys.start {
                    continue;
                }
                let visible = visible - keys.start;
                self.scores::<V>(&queries, &keys, visible);
                if self.wanted != Wanted::KeysAndValues {
                    multiply::<V, KEYS>(Multiply {
                        left: buffers.gradients,
                        left_step: 1,
                        right: key_rows.pointer,
                        right_step: key_rows.stride,
                        steps: visible,
                        rows: queries.len(),
                        columns: size,
                        out: self.query_gradient.from(queries.start).pointer.cast_mut(),
                        out_row: self.query_gradient.stride,
                        accumulate: keys.start > 0,
                    });
                }
                if self.wanted != Wanted::Queries {
                    self.sum_over_queries::<V>(&queries, &keys, visible, first);
                    if first && visible < count {
                        clear(self.key_gradient.from(keys.start + visible), count - visible, size);
                        clear(self.value_gradient.from(keys.start + visible), count - visible, size);
                    }
                }
                first = false;
            }
            if first && self.wanted != Wanted::Queries {
                clear(self.key_gradient.from(keys.start), count, size);
                clear(self.value_gradient.from(keys.start), count, size);
            }
        }
    }

    /// Computes the weights of the first `visible` keys of a tile for a block of queries, and the gradients of their
    /// scores.
    #[inline(always)]
    unsafe fn scores<V: Vector>(&self, queries: &Range<usize>, keys: &Range<usize>, visible: usize) {
        let (shape, buffers) = (self.shape, &self.buffers);
        let size = shape.size;
        // SAFETY: see above.
        unsafe {
            let (query, gradient) =
                (self.query.from(queries.start), self.output_gradient.from(queries.start));
            pack_transposed::<V>(query, queries.len(), size, buffers.queries, QUERIES);
            pack_transposed::<V>(gradient, queries.len(), size, buffers.output_gradients, QUERIES);
            for (left, right, out) in [
                (buffers.queries, buffers.keys, buffers.weights),
                (buffers.output_gradients, buffers.values, buffers.gradients),
            ] {
                self.products_with_keys::<V>(left, right, out, queries.len(), visible);
            }
            let scale = V::splat(shape.scale);
            let lanes = V::load(LANE_NUMBERS.as_ptr());
            for (row, query) in queries.clone().enumerate() {
                let seen = shape.visible(query).saturating_sub(keys.start).min(visible);
                let base = V::splat(*buffers.bases.add(query));
                let rest = V::splat(*buffers.rests.add(query));
                let product = V::splat(*buffers.products.add(query));
                for first in (0..visible).step_by(V::LANES) {
                    let weight = buffers.weights.add(row * KEYS + first);
                    let gradient = buffers.gradients.add(row * KEYS + first);
                    let mut value = exp(V::load(weight).mul(scale).sub(base).sub(rest));
                    let mut score = V::load(gradient).sub(product).mul(value).mul(scale);
                    if first + V::LANES > seen {
                        let hidden = lanes.beats(V::splat(seen as f32 - first as f32 - 0.5));
                        value = V::select(hidden, V::zero(), value);
                        score = V::select(hidden, V::zero(), score);
                    }
                    value.store(weight);
                    score.store(gradient);
                }
            }
        }
    }

    /// Adds what a block of queries contributes to the gradients of keys and values.
    #[inline(always)]
    unsafe fn sum_over_queries<V: Vector>(
        &self,
        queries: &Range<usize>,
        keys: &Range<usize>,
        visible: usize,
        first: bool,
    ) {
        let (buffers, size, count) = (&self.buffers, self.shape.size, queries.len());
        // SAFETY: see above.
        unsafe {
            let query = self.query.from(queries.start);
            let output_gradient = self.output_gradient.from(queries.start);
            let query = whole_vectors::<V>(query, count, size, buffers.query_rows);
            let output_gradient =
                whole_vectors::<V>(output_gradient, count, size, buffers.output_gradient_rows);
            for (left, right, out) in [
                (buffers.weights, output_gradient, self.value_gradient),
                (buffers.gradients, query, self.key_gradient),
            ] {
                multiply::<V, 1>(Multiply {
                    left,
                    left_step: KEYS,
                    right: right.pointer,
                    right_step: right.stride,
                    steps: count,
                    rows: visible,
                    columns: size,
                    out: out.from(keys.start).pointer.cast_mut(),
                    out_row: out.stride,
                    accumulate: !first,
                });
            }
        }
    }
}

/// Writes zeros.
///
/// # Safety
/// The rows are writable.
#[inline(always)]
unsafe fn clear(rows: Rows, count: usize, size: usize) {
    for row in 0..count {
        // SAFETY: the caller's promise.
        unsafe { rows.from(row).pointer.cast_mut().write_bytes(0, size) };
    }
}
