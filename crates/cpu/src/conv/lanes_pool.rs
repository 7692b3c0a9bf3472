//! Max-pools of outputs with one image in each lane: after a convolution, and before its gradients. So the planes that
//! are four times as large never leave the cache, and are not brought into another layout.
//!
//! Windows are 2×2 and lie side by side. What counts as the maximum is as in [`crate::pooling::max_pool`].

use super::ConvShape;
use super::layout::Block;
use crate::simd::Vector;

/// All channels of the pooled output at once.
#[inline(always)]
fn pooled_block(shape: &ConvShape, lanes: usize) -> Block {
    let count = shape.out_channels * shape.pooled_plane();
    Block { lane_stride: count, lanes, rows: 1, width: count, row_step: count }
}

/// Pools a block of outputs and brings values and positions to their images, by way of `[values, positions]` blocks.
///
/// # Safety
/// `output` is a block of outputs, `blocks` have room for blocks of pooled ones, and `to` for `lanes` images.
#[inline(always)]
pub(super) unsafe fn pool_block<V: Vector>(
    shape: &ConvShape,
    lanes: usize,
    output: *const f32,
    blocks: [*mut f32; 2],
    to: (*mut f32, *mut i32),
) {
    let [height, width] = shape.output();
    let mut at = 0;
    for channel in 0..shape.out_channels {
        for y in 0..height / 2 {
            for x in 0..width / 2 {
                let position = 2 * y * width + 2 * x;
                // SAFETY: the window is in the plane; `at` counts the pooled elements.
                unsafe {
                    let load = |offset: usize| {
                        V::load(output.add((channel * height * width + position + offset) * V::LANES))
                    };
                    let (mut best, mut index) = (load(0), V::splat(position as f32));
                    for offset in [1, width, width + 1] {
                        let value = load(offset);
                        let better = value.beats(best);
                        best = V::select(better, value, best);
                        index = V::select(better, V::splat((position + offset) as f32), index);
                    }
                    best.store(blocks[0].add(at * V::LANES));
                    index.store_i32(blocks[1].add(at * V::LANES).cast(), V::LANES);
                }
                at += 1;
            }
        }
    }
    // SAFETY: the caller's promise. Positions are moved as bits.
    unsafe {
        pooled_block(shape, lanes).gather::<V>(blocks[0], to.0);
        pooled_block(shape, lanes).gather::<V>(blocks[1], to.1.cast());
    }
}

/// Makes a block of the output's gradient out of that of the pooled output, by way of `[gradient, positions]` blocks.
///
/// # Safety
/// `from` are `lanes` images of gradients and positions, `blocks` have room for blocks of pooled outputs, and `output`
/// for a block of outputs.
#[inline(always)]
pub(super) unsafe fn spread_block<V: Vector>(
    shape: &ConvShape,
    lanes: usize,
    from: (*const f32, *const i32),
    blocks: [*mut f32; 2],
    output: *mut f32,
) {
    // SAFETY: the caller's promise. Positions are moved as bits.
    unsafe {
        pooled_block(shape, lanes).spread::<V>(from.0, blocks[0]);
        pooled_block(shape, lanes).spread::<V>(from.1.cast(), blocks[1]);
    }
    let [height, width] = shape.output();
    let mut at = 0;
    for channel in 0..shape.out_channels {
        // SAFETY: the pixels are in the plane; `at` counts the pooled elements.
        let store = |value: V, position: usize| unsafe {
            value.store(output.add((channel * height * width + position) * V::LANES));
        };
        for y in 0..height / 2 {
            for x in 0..width / 2 {
                let position = 2 * y * width + 2 * x;
                // SAFETY: as above.
                let (gradient, index) = unsafe {
                    (
                        V::load(blocks[0].add(at * V::LANES)),
                        V::load_i32(blocks[1].add(at * V::LANES).cast_const().cast(), V::LANES),
                    )
                };
                for offset in [0, 1, width, width + 1] {
                    let chosen = index.equal(V::splat((position + offset) as f32));
                    store(V::select(chosen, gradient, V::zero()), position + offset);
                }
                at += 1;
            }
            if width % 2 == 1 {
                store(V::zero(), 2 * y * width + width - 1);
                store(V::zero(), (2 * y + 1) * width + width - 1);
            }
        }
        if height % 2 == 1 {
            for x in 0..width {
                store(V::zero(), (height - 1) * width + x);
            }
        }
    }
}
