//! Reductions of each lane into an accumulator of its own, for columns that come one after another.

use super::reduce::{Accumulator, Reducer};
use super::tuning::COLUMNS_PER_FLUSH;
use crate::simd::Level;
use crate::vecmath::block::{Block, BlockFn, pick};
use crate::vecmath::functions;
use crate::vecmath::lanes::Lanes;
use crate::vecmath::operations::{Operation, block_function};
use dropforge_ir::{BinaryKind, DType};
use dropforge_plan::kernel::Reduction;

/// Accumulators of every lane, for columns that come one after another: four arrays of words, `block` lanes each.
///
/// Sum of floats: a short sum, then a wide one over two arrays. ArgMax: the largest and its column. LogSumExp: the
/// largest and the sum. MeanVariance: mean and sum of squared distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneReducer {
    pub reducer: Reducer,
    /// `f(to = accumulators, a = accumulators, b = lanes, c = parameters, count)`
    pub function: BlockFn,
    flush: BlockFn,
}

/// What the last argument of the block functions of a [`LaneReducer`] points to.
#[repr(C)]
pub(super) struct ColumnInfo {
    /// Lanes from one array of accumulators to the next.
    pub block: usize,
    /// Number of the column.
    pub column: usize,
    /// Columns seen before.
    pub seen: usize,
}

/// Arrays of a block's accumulators.
pub(super) const LANE_ARRAYS: usize = 4;

impl LaneReducer {
    pub fn new(reducer: Reducer, level: Level) -> LaneReducer {
        let dtype = if reducer.is_float { DType::F32 } else { DType::I32 };
        let pairwise = |kind| block_function(Operation::Binary(kind, dtype), [false; 3], level);
        let function = match reducer.kind {
            Reduction::Sum => pairwise(BinaryKind::Add),
            Reduction::Max => pairwise(BinaryKind::Maximum),
            Reduction::Min => pairwise(BinaryKind::Minimum),
            Reduction::Product => pairwise(BinaryKind::Multiply),
            Reduction::ArgMax if reducer.is_float => pick::<ArgMaxLanes<true>>(level),
            Reduction::ArgMax => pick::<ArgMaxLanes<false>>(level),
            Reduction::LogSumExp => pick::<LogSumExpLanes>(level),
            Reduction::MeanVariance => pick::<MeanVarianceLanes>(level),
        };
        LaneReducer { reducer, function, flush: pick::<Flush>(level) }
    }

    /// # Safety
    /// `accumulators` has [`LANE_ARRAYS`] arrays of `block` words.
    pub unsafe fn start(&self, accumulators: *mut u32, block: usize) {
        let first = self.reducer.start(0).word;
        let first = if self.reducer.kind == Reduction::MeanVariance { 0 } else { first };
        // SAFETY: the caller's promise.
        unsafe {
            for lane in 0..block {
                *accumulators.add(lane) = first;
            }
            let other = if self.reducer.kind == Reduction::ArgMax { u32::MAX } else { 0 };
            for lane in block..LANE_ARRAYS * block {
                *accumulators.add(lane) = other;
            }
        }
    }

    /// Adds one column.
    ///
    /// # Safety
    /// As for `start`, and `from` has `count` lanes.
    #[inline(always)]
    pub unsafe fn add(&self, accumulators: *mut u32, from: *const u32, info: &ColumnInfo, count: usize) {
        let parameters: *const ColumnInfo = info;
        // SAFETY: the caller's promise.
        unsafe {
            (self.function)(accumulators, accumulators, from, parameters.cast(), count);
            if (info.seen + 1).is_multiple_of(COLUMNS_PER_FLUSH) {
                self.flush(accumulators, info.block, count);
            }
        }
    }

    /// Moves short sums into wide ones.
    ///
    /// # Safety
    /// As for `start`.
    pub unsafe fn flush(&self, accumulators: *mut u32, block: usize, count: usize) {
        if self.reducer.kind == Reduction::Sum && self.reducer.is_float {
            // SAFETY: the wide sums stand in the third and fourth array.
            unsafe {
                let wide = accumulators.add(2 * block);
                (self.flush)(accumulators, wide, std::ptr::null(), std::ptr::null(), count);
            }
        }
    }

    /// What one lane has seen, after a flush.
    ///
    /// # Safety
    /// As for `start`.
    pub unsafe fn extract(
        &self,
        accumulators: *const u32,
        block: usize,
        lane: usize,
        seen: usize,
    ) -> Accumulator {
        // SAFETY: the caller's promise.
        unsafe {
            let (first, second) = (*accumulators.add(lane), *accumulators.add(block + lane));
            let mut result = Accumulator { wide: [0.0; 2], word: first, index: 0, seen: seen as u64 };
            match self.reducer.kind {
                Reduction::Sum => {
                    result.wide[0] = accumulators.add(2 * block).cast::<f64>().add(lane).read_unaligned();
                }
                Reduction::ArgMax => result.index = second,
                Reduction::LogSumExp => {
                    // Here a sum is relative to infinite shifts too.
                    let (shift, sum) = (f32::from_bits(first), f32::from_bits(second));
                    result.wide[0] =
                        if shift.is_infinite() && !sum.is_nan() { shift.exp() } else { sum }.into();
                }
                Reduction::MeanVariance => {
                    result.wide = [f32::from_bits(first).into(), f32::from_bits(second).into()];
                }
                _ => {}
            }
            result
        }
    }
}

/// Adds the f32 at `to` to the f64 at `a`, and clears them.
struct Flush;

impl Block for Flush {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller gives `count` short and wide sums, both writable.
        unsafe {
            let (short, wide) = (to.cast::<f32>(), a.cast_mut().cast::<f64>());
            for lane in 0..count {
                let place = wide.add(lane);
                place.write_unaligned(place.read_unaligned() + f64::from(*short.add(lane)));
                *short.add(lane) = 0.0;
            }
        }
    }
}

struct ArgMaxLanes<const FLOAT: bool>;

impl<const FLOAT: bool> Block for ArgMaxLanes<FLOAT> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, _: *const u32, b: *const u32, c: *const u32, count: usize) {
        // SAFETY: the caller gives accumulators padded to whole vectors, `count` lanes and the parameters.
        unsafe {
            let info = &*c.cast::<ColumnInfo>();
            let (column, none) = (V::splat_bits(info.column as u32), V::splat_bits(u32::MAX));
            let indices = to.add(info.block);
            let mut i = 0;
            while i < count {
                let x = if i + V::COUNT <= count {
                    V::load(b.add(i))
                } else {
                    V::load_first(b.add(i), count - i)
                };
                let (known, index) = (V::load(to.add(i)), V::load(indices.add(i)));
                let greater = if FLOAT {
                    let (x, known) = (V::float(x), V::float(known));
                    // NaN is larger than what is not NaN.
                    let new_nan = V::select_bits(V::is_nan(known), V::splat_bits(0), V::flag(V::is_nan(x)));
                    V::mask_or(V::less(known, x), V::int_equal(new_nan, V::splat_bits(1)))
                } else {
                    V::int_less(known, x)
                };
                let greater = V::mask_or(greater, V::int_equal(index, none));
                V::store(V::select_bits(greater, x, known), to.add(i));
                V::store(V::select_bits(greater, column, index), indices.add(i));
                i += V::COUNT;
            }
        }
    }
}

struct LogSumExpLanes;

impl Block for LogSumExpLanes {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, _: *const u32, b: *const u32, c: *const u32, count: usize) {
        // SAFETY: as above.
        unsafe {
            let info = &*c.cast::<ColumnInfo>();
            let sums = to.add(info.block);
            let one = V::splat(1.0);
            let mut i = 0;
            while i < count {
                let x = if i + V::COUNT <= count {
                    V::load(b.add(i))
                } else {
                    V::load_first(b.add(i), count - i)
                };
                let x = V::float(x);
                let (known, sum) = (V::float(V::load(to.add(i))), V::float(V::load(sums.add(i))));
                // Of two equal numbers the difference may be NaN, for infinities.
                let distance = V::neg(V::abs(V::sub(x, known)));
                let e = V::select(V::equal(x, known), one, functions::exp::<V>(distance));
                let grows = V::less(known, x);
                let sum = V::select(grows, V::mul_add(sum, e, one), V::add(sum, e));
                V::store(V::bits(V::select(grows, x, known)), to.add(i));
                V::store(V::bits(sum), sums.add(i));
                i += V::COUNT;
            }
        }
    }
}

struct MeanVarianceLanes;

impl Block for MeanVarianceLanes {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, _: *const u32, b: *const u32, c: *const u32, count: usize) {
        // SAFETY: as above.
        unsafe {
            let info = &*c.cast::<ColumnInfo>();
            let squares = to.add(info.block);
            let factor = V::splat(1.0 / (info.seen + 1) as f32);
            let mut i = 0;
            while i < count {
                let x = if i + V::COUNT <= count {
                    V::load(b.add(i))
                } else {
                    V::load_first(b.add(i), count - i)
                };
                let x = V::float(x);
                let (mean, square) = (V::float(V::load(to.add(i))), V::float(V::load(squares.add(i))));
                let distance = V::sub(x, mean);
                let new = V::mul_add(distance, factor, mean);
                // Between infinities the distance is NaN, the mean not always.
                let new = V::select(V::is_nan(new), V::add(mean, x), new);
                let square = V::mul_add(distance, V::sub(x, new), square);
                V::store(V::bits(new), to.add(i));
                V::store(V::bits(square), squares.add(i));
                i += V::COUNT;
            }
        }
    }
}
