//! Scaled dot-product attention and its gradient, without a matrix of scores.
//!
//! After Dao et al., *FlashAttention* (2022): scores exist for `QUERIES` queries and `KEYS` keys at a time; the
//! forward pass keeps a running maximum and sum for each query, the gradient computes the weights again from the
//! logsumexp. Tasks are handed out to whichever thread is free: each computes its results alone and in a fixed order,
//! so that they do not depend on the threads.

mod backward;
mod exponential;
mod forward;
#[cfg(test)]
mod tests;
mod tile;

use crate::pool::Pool;
use crate::simd::Level;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Queries whose scores are computed at once.
const QUERIES: usize = 32;
/// Keys whose scores are computed at once.
const KEYS: usize = 128;
/// Queries that share the packing of keys.
const GROUP: usize = 8 * QUERIES;

/// Sizes and parameters of an attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Sequences.
    pub batch: usize,
    /// Heads of each sequence.
    pub heads: usize,
    /// Queries of each head (t).
    pub queries: usize,
    /// Keys and values of each head (s).
    pub keys: usize,
    /// Numbers of a query, a key and a value (d).
    pub size: usize,
    /// Whether query `i` sees the first `i + 1 + keys − queries` keys only.
    pub causal: bool,
    /// Factor on the scores.
    pub scale: f32,
}

impl AttentionShape {
    fn head_count(&self) -> usize {
        self.batch * self.heads
    }

    /// How many keys query `i` sees.
    #[inline(always)]
    fn visible(&self, i: usize) -> usize {
        if self.causal { (i + 1 + self.keys).saturating_sub(self.queries) } else { self.keys }
    }
}

/// Where the numbers of a tensor with the axes batch, head, position, number stand: strides in elements. The numbers of
/// one position are contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadStrides {
    /// From one sequence to the next.
    pub batch: isize,
    /// From one head to the next.
    pub head: isize,
    /// From one position to the next.
    pub position: isize,
}

impl HeadStrides {
    /// The strides of a contiguous `[batch, heads, positions, size]`.
    pub fn contiguous(heads: usize, positions: usize, size: usize) -> HeadStrides {
        let head = (positions * size) as isize;
        HeadStrides { batch: heads as isize * head, head, position: size as isize }
    }

    fn offset(&self, shape: &AttentionShape, head: usize) -> isize {
        (head / shape.heads) as isize * self.batch + (head % shape.heads) as isize * self.head
    }
}

/// The tensors of an attention; output and query have the positions of queries, key and value those of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionLayout {
    /// The queries.
    pub query: HeadStrides,
    /// The keys.
    pub key: HeadStrides,
    /// The values.
    pub value: HeadStrides,
    /// The output.
    pub output: HeadStrides,
}

impl AttentionLayout {
    /// Four contiguous tensors.
    pub fn contiguous(shape: &AttentionShape) -> AttentionLayout {
        let queries = HeadStrides::contiguous(shape.heads, shape.queries, shape.size);
        let keys = HeadStrides::contiguous(shape.heads, shape.keys, shape.size);
        AttentionLayout { query: queries, key: keys, value: keys, output: queries }
    }
}

/// An attention whose shape and layout are settled.
#[derive(Clone, Debug)]
pub struct Attention {
    shape: AttentionShape,
    layout: AttentionLayout,
    threads: usize,
    level: Level,
}

/// The tensors of a forward pass.
#[derive(Clone, Copy, Debug)]
pub struct AttentionPointers {
    /// The queries.
    pub query: *const f32,
    /// The keys.
    pub key: *const f32,
    /// The values.
    pub value: *const f32,
    /// The output, written.
    pub output: *mut f32,
    /// The logsumexp of the scores, contiguous `[batch, heads, queries]`, written.
    pub logsumexp: *mut f32,
}

// SAFETY: the threads read, and write the rows of their own tasks.
unsafe impl Sync for AttentionPointers {}

/// Hands out the numbers `0..count` to the threads; `body` gets the thread and the number.
fn for_each_task(count: usize, pool: &Pool, threads: usize, body: impl Fn(usize, usize) + Sync) {
    let workers = threads.min(count).max(1);
    let next = AtomicUsize::new(0);
    pool.split(workers, 1, |_, workers| {
        for worker in workers {
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= count {
                    break;
                }
                body(worker, task);
            }
        }
    });
}

/// Numbers `0..count` in ranges of `length`.
fn range_of(index: usize, length: usize, count: usize) -> Range<usize> {
    index * length..((index + 1) * length).min(count)
}

impl Attention {
    /// Settles an attention on a pool of `threads` threads.
    pub fn new(shape: AttentionShape, layout: AttentionLayout, threads: usize) -> Attention {
        Attention { shape, layout, threads: threads.max(1), level: Level::detect() }
    }

    /// The number of `f32` of scratch memory that [`Attention::run`] needs.
    pub fn scratch(&self) -> usize {
        self.threads * forward::scratch(&self.shape, self.level)
    }

    /// Computes output and logsumexp.
    ///
    /// # Safety
    /// The pointers are to the first elements, everything that shape and layout reach is accessible and the outputs
    /// overlap nothing. `scratch` has room for [`Attention::scratch`] elements.
    pub unsafe fn run(&self, pointers: &AttentionPointers, scratch: *mut f32, pool: &Pool) {
        let groups = self.shape.queries.div_ceil(GROUP);
        let scratch = tile::Scratch::new(scratch, forward::scratch(&self.shape, self.level));
        for_each_task(self.shape.head_count() * groups, pool, self.threads, |thread, task| {
            // Later groups see more keys: they go first.
            let (head, group) = (task % self.shape.head_count(), groups - 1 - task / self.shape.head_count());
            let queries = range_of(group, GROUP, self.shape.queries);
            let task = forward::Task {
                attention: self,
                pointers,
                head,
                queries,
                scratch: scratch.of_thread(thread),
            };
            // SAFETY: the caller's promise; tasks write different queries.
            unsafe { task.run() };
        });
    }
}

/// The tensors of the gradient. Each gradient has the shape of its tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionGradientLayout {
    /// The tensors of the forward pass.
    pub forward: AttentionLayout,
    /// The gradient of the output, which is given.
    pub output_gradient: HeadStrides,
    /// The gradient of the queries.
    pub query_gradient: HeadStrides,
    /// The gradient of the keys.
    pub key_gradient: HeadStrides,
    /// The gradient of the values.
    pub value_gradient: HeadStrides,
}

impl AttentionGradientLayout {
    /// Contiguous tensors.
    pub fn contiguous(shape: &AttentionShape) -> AttentionGradientLayout {
        let forward = AttentionLayout::contiguous(shape);
        AttentionGradientLayout {
            forward,
            output_gradient: forward.output,
            query_gradient: forward.query,
            key_gradient: forward.key,
            value_gradient: forward.value,
        }
    }
}

/// The tensors of the gradient.
#[derive(Clone, Copy, Debug)]
pub struct AttentionGradientPointers {
    /// The queries.
    pub query: *const f32,
    /// The keys.
    pub key: *const f32,
    /// The values.
    pub value: *const f32,
    /// The output of the forward pass.
    pub output: *const f32,
    /// The logsumexp of the forward pass.
    pub logsumexp: *const f32,
    /// The gradient of the output.
    pub output_gradient: *const f32,
    /// The gradient of the queries, written.
    pub query_gradient: *mut f32,
    /// The gradient of the keys, written.
    pub key_gradient: *mut f32,
    /// The gradient of the values, written.
    pub value_gradient: *mut f32,
}

// SAFETY: the threads read, and write the rows of their own tasks.
unsafe impl Sync for AttentionGradientPointers {}

/// The gradient of an attention whose shape and layout are settled.
#[derive(Clone, Debug)]
pub struct AttentionGradient {
    shape: AttentionShape,
    layout: AttentionGradientLayout,
    threads: usize,
    level: Level,
}

impl AttentionGradient {
    /// Settles a gradient on a pool of `threads` threads.
    pub fn new(shape: AttentionShape, layout: AttentionGradientLayout, threads: usize) -> AttentionGradient {
        AttentionGradient { shape, layout, threads: threads.max(1), level: Level::detect() }
    }

    /// The number of `f32` of scratch memory that [`AttentionGradient::run`] needs.
    pub fn scratch(&self) -> usize {
        self.threads * backward::scratch(&self.shape, self.level)
    }

    /// Whether heads are divided among threads: scores are then computed twice, once for the gradient of the queries
    /// and once for the others.
    fn divides_heads(&self) -> bool {
        self.shape.head_count() < self.threads && self.shape.queries.max(self.shape.keys) > KEYS
    }

    /// Computes the three gradients.
    ///
    /// # Safety
    /// The pointers are to the first elements, everything that shape and layout reach is accessible and the outputs
    /// overlap nothing. `scratch` has room for [`AttentionGradient::scratch`] elements.
    pub unsafe fn run(&self, pointers: &AttentionGradientPointers, scratch: *mut f32, pool: &Pool) {
        let AttentionShape { queries, keys, .. } = self.shape;
        let heads = self.shape.head_count();
        let scratch = tile::Scratch::new(scratch, backward::scratch(&self.shape, self.level));
        let parts: Vec<(Range<usize>, Range<usize>, backward::Wanted)> = if self.divides_heads() {
            let of_keys = (0..keys.div_ceil(KEYS))
                .map(|part| (0..queries, range_of(part, KEYS, keys), backward::Wanted::KeysAndValues));
            let of_queries = (0..queries.div_ceil(GROUP / 2))
                .rev()
                .map(|part| (range_of(part, GROUP / 2, queries), 0..keys, backward::Wanted::Queries));
            of_keys.chain(of_queries).collect()
        } else {
            vec![(0..queries, 0..keys, backward::Wanted::All)]
        };
        for_each_task(heads * parts.len(), pool, self.threads, |thread, task| {
            let (queries, keys, wanted) = parts[task / heads].clone();
            let scratch = scratch.of_thread(thread);
            let head = task % heads;
            let task = backward::Task { gradient: self, pointers, head, queries, keys, wanted, scratch };
            // SAFETY: the caller's promise; tasks write different rows.
            unsafe { task.run() };
        });
    }
}
