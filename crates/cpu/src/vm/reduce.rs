//! Reductions of runs of lanes into one accumulator, and of the rows of packed blocks.

use crate::simd::Level;
use crate::vecmath::block::{Block, BlockFn, pick};
use crate::vecmath::functions;
use crate::vecmath::lanes::Lanes;
use dropforge_ir::DType;
use dropforge_plan::kernel::Reduction;

/// What is known about the columns seen so far.
///
/// Sum: `wide[0]` (floats), `word` (integers). Extrema and products: `word`. ArgMax: `word` is the largest, `index`
/// where it stands. LogSumExp: `wide[0]` is the sum of e^(x − shift), with the shift as f32 bits in `word`.
/// MeanVariance: `wide[0]` the mean, `wide[1]` the sum of squared distances from it, `seen` how many.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Accumulator {
    pub wide: [f64; 2],
    pub word: u32,
    pub index: u32,
    /// Columns seen; for ArgMax the number of the next one.
    pub seen: u64,
}

/// A kind of reduction of a type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reducer {
    pub kind: Reduction,
    pub is_float: bool,
}

impl Reducer {
    pub fn new(kind: Reduction, dtype: DType) -> Reducer {
        Reducer { kind, is_float: dtype == DType::F32 }
    }

    /// Nothing seen yet; the next column is number `column`.
    pub fn start(self, column: usize) -> Accumulator {
        let word = match (self.kind, self.is_float) {
            (Reduction::Max | Reduction::LogSumExp, true) => f32::NEG_INFINITY.to_bits(),
            (Reduction::ArgMax, true) => f32::NEG_INFINITY.to_bits(),
            (Reduction::Min, true) => f32::INFINITY.to_bits(),
            (Reduction::Product, true) => 1f32.to_bits(),
            (Reduction::Max | Reduction::ArgMax, false) => i32::MIN as u32,
            (Reduction::Min, false) => i32::MAX as u32,
            (Reduction::Product, false) => 1,
            _ => 0,
        };
        let seen = if self.kind == Reduction::ArgMax { column as u64 } else { 0 };
        Accumulator { wide: [0.0; 2], word, index: u32::MAX, seen }
    }

    /// Adds what was seen of later columns.
    pub fn merge(self, into: &mut Accumulator, other: &Accumulator) {
        let (a, b) = (f32::from_bits(into.word), f32::from_bits(other.word));
        match (self.kind, self.is_float) {
            (Reduction::Sum, true) => into.wide[0] += other.wide[0],
            (Reduction::Sum, false) => into.word = into.word.wrapping_add(other.word),
            (Reduction::Max, true) => into.word = if a.is_nan() || a > b { a } else { b }.to_bits(),
            (Reduction::Min, true) => into.word = if a.is_nan() || a < b { a } else { b }.to_bits(),
            (Reduction::Max, false) => into.word = (into.word as i32).max(other.word as i32) as u32,
            (Reduction::Min, false) => into.word = (into.word as i32).min(other.word as i32) as u32,
            (Reduction::Product, true) => into.word = (a * b).to_bits(),
            (Reduction::Product, false) => into.word = into.word.wrapping_mul(other.word),
            (Reduction::ArgMax, _) => {
                let greater = if self.is_float {
                    b > a || (b.is_nan() && !a.is_nan())
                } else {
                    other.word as i32 > into.word as i32
                };
                if greater || into.index == u32::MAX {
                    (into.word, into.index) = (other.word, other.index);
                }
                into.seen = other.seen;
            }
            (Reduction::LogSumExp, _) => {
                let shift = if a > b || a.is_nan() { a } else { b };
                let safe = finite_or_zero(shift);
                let scale = |x: f32| f64::from(finite_or_zero(x) - safe).exp();
                into.wide[0] = part(into.wide[0], a, scale(a)) + part(other.wide[0], b, scale(b));
                into.word = shift.to_bits();
            }
            (Reduction::MeanVariance, _) => {
                let (n, m) = (into.seen as f64, other.seen as f64);
                if m > 0.0 {
                    let total = n + m;
                    let distance = other.wide[0] - into.wide[0];
                    let mean = into.wide[0] + distance * m / total;
                    // Between infinities the distance is NaN, the mean not always.
                    into.wide[0] = if mean.is_nan() { into.wide[0] + other.wide[0] } else { mean };
                    into.wide[1] += other.wide[1] + distance * distance * n * m / total;
                    into.seen += other.seen;
                }
            }
        }
    }

    /// The results, as bits.
    pub fn finish(self, from: &Accumulator) -> [u32; 2] {
        let first = match (self.kind, self.is_float) {
            (Reduction::Sum, true) => (from.wide[0] as f32).to_bits(),
            (Reduction::ArgMax, _) => from.index,
            (Reduction::LogSumExp, _) => {
                let shift = f32::from_bits(from.word);
                let sum = from.wide[0].ln() + f64::from(finite_or_zero(shift));
                (sum as f32).to_bits()
            }
            (Reduction::MeanVariance, _) => {
                let count = from.seen as f64;
                let (mean, variance) =
                    if from.seen == 0 { (f64::NAN, f64::NAN) } else { (from.wide[0], from.wide[1] / count) };
                return [(mean as f32).to_bits(), (variance as f32).to_bits()];
            }
            _ => from.word,
        };
        [first, 0]
    }

    /// The block function that adds a run of lanes: `to` is an [`Accumulator`], `a` the lanes.
    pub fn run_function(self, level: Level) -> BlockFn {
        match (self.kind, self.is_float) {
            (Reduction::Sum, true) => pick::<SumRun>(level),
            (Reduction::Sum, false) => pick::<WordRun<IntSum>>(level),
            (Reduction::Max, true) => pick::<WordRun<Max>>(level),
            (Reduction::Max, false) => pick::<WordRun<IntMax>>(level),
            (Reduction::Min, true) => pick::<WordRun<Min>>(level),
            (Reduction::Min, false) => pick::<WordRun<IntMin>>(level),
            (Reduction::Product, true) => pick::<WordRun<Product>>(level),
            (Reduction::Product, false) => pick::<WordRun<IntProduct>>(level),
            (Reduction::ArgMax, true) => pick::<ArgMaxRun<true>>(level),
            (Reduction::ArgMax, false) => pick::<ArgMaxRun<false>>(level),
            (Reduction::LogSumExp, _) => pick::<LogSumExpRun>(level),
            (Reduction::MeanVariance, _) => pick::<MeanVarianceRun>(level),
        }
    }
}

impl Reducer {
    /// The block function that reduces the rows of a packed block: `to` is the first results, `a` the lanes, `b` a
    /// [`RowInfo`]; the count is that of the rows.
    pub fn rows_function(self, level: Level) -> BlockFn {
        match (self.kind, self.is_float) {
            (Reduction::Sum, true) => pick::<Rows<SumRun>>(level),
            (Reduction::Sum, false) => pick::<Rows<WordRun<IntSum>>>(level),
            (Reduction::Max, true) => pick::<Rows<WordRun<Max>>>(level),
            (Reduction::Max, false) => pick::<Rows<WordRun<IntMax>>>(level),
            (Reduction::Min, true) => pick::<Rows<WordRun<Min>>>(level),
            (Reduction::Min, false) => pick::<Rows<WordRun<IntMin>>>(level),
            (Reduction::Product, true) => pick::<Rows<WordRun<Product>>>(level),
            (Reduction::Product, false) => pick::<Rows<WordRun<IntProduct>>>(level),
            (Reduction::ArgMax, true) => pick::<Rows<ArgMaxRun<true>>>(level),
            (Reduction::ArgMax, false) => pick::<Rows<ArgMaxRun<false>>>(level),
            (Reduction::LogSumExp, _) => pick::<Rows<LogSumExpRun>>(level),
            (Reduction::MeanVariance, _) => pick::<Rows<MeanVarianceRun>>(level),
        }
    }
}

/// A sum that is relative to a shift, once its shift has changed; sums over nothing stay nothing.
fn part(sum: f64, shift: f32, scale: f64) -> f64 {
    if sum == 0.0 && shift == f32::NEG_INFINITY { 0.0 } else { sum * scale }
}

fn finite_or_zero(x: f32) -> f32 {
    if x.is_finite() { x } else { 0.0 }
}

/// Combines all lanes, halves with halves.
#[inline(always)]
fn fold<V: Lanes, C: Combine>(x: V::I) -> u32 {
    let mut x = x;
    if V::COUNT > 8 {
        x = C::combine::<V>(x, V::swap::<8>(x));
    }
    if V::COUNT > 4 {
        x = C::combine::<V>(x, V::swap::<4>(x));
    }
    x = C::combine::<V>(x, V::swap::<2>(x));
    x = C::combine::<V>(x, V::swap::<1>(x));
    let mut lanes = [0; 16];
    // SAFETY: the array has room for the largest vector.
    unsafe { V::store(x, lanes.as_mut_ptr()) };
    lanes[0]
}

/// Adds all lanes.
#[inline(always)]
fn sum_lanes<V: Lanes>(x: V::F) -> f64 {
    f32::from_bits(fold::<V, FloatSum>(V::bits(x))).into()
}

/// The sum of `f(x)` over a run, where absent lanes count as `f(absent)` = 0.
macro_rules! sum_run {
    ($V:ident, $from:expr, $count:expr, $absent:expr, |$x:ident| $body:expr) => {{
        let (from, count, zero) = ($from, $count, $V::splat(0.0));
        let mut sums = [zero; 4];
        let mut i = 0;
        while i + 4 * $V::COUNT <= count {
            for (j, sum) in sums.iter_mut().enumerate() {
                let $x = $V::float($V::load(from.add(i + j * $V::COUNT)));
                *sum = $V::add(*sum, $body);
            }
            i += 4 * $V::COUNT;
        }
        let mut j = 0;
        while i < count {
            let length = (count - i).min($V::COUNT);
            let $x = load_or::<$V>(from.add(i), length, $absent);
            sums[j] = $V::add(sums[j], $body);
            i += length;
            j = (j + 1) % 4;
        }
        sum_lanes::<$V>($V::add($V::add(sums[0], sums[1]), $V::add(sums[2], sums[3])))
    }};
}

/// The first `count` lanes, the others `absent`.
///
/// # Safety
/// `count` readable elements.
#[inline(always)]
unsafe fn load_or<V: Lanes>(from: *const u32, count: usize, absent: f32) -> V::F {
    // SAFETY: the caller's promise.
    unsafe {
        if count == V::COUNT {
            V::float(V::load(from))
        } else {
            V::select(V::first(count), V::float(V::load_first(from, count)), V::splat(absent))
        }
    }
}

struct SumRun;

impl Block for SumRun {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller gives an accumulator and `count` lanes.
        unsafe {
            let sum = sum_run!(V, a, count, 0.0, |x| x);
            (*to.cast::<Accumulator>()).wide[0] += sum;
        }
    }
}

/// A function that combines words, and the word that changes nothing.
trait Combine {
    const NEUTRAL: u32;
    fn combine<V: Lanes>(a: V::I, b: V::I) -> V::I;
}

macro_rules! combine {
    ($($name:ident, $neutral:expr, |$a:ident, $b:ident| $body:expr;)*) => {$(
        struct $name;
        impl Combine for $name {
            const NEUTRAL: u32 = $neutral;
            #[inline(always)]
            fn combine<V: Lanes>($a: V::I, $b: V::I) -> V::I {
                $body
            }
        }
    )*};
}

combine! {
    FloatSum, 0, |a, b| V::bits(V::add(V::float(a), V::float(b)));
    IntSum, 0, |a, b| V::int_add(a, b);
    Max, f32::NEG_INFINITY.to_bits(), |a, b| V::bits(V::max_nan(V::float(a), V::float(b)));
    Min, f32::INFINITY.to_bits(), |a, b| V::bits(V::min_nan(V::float(a), V::float(b)));
    IntMax, i32::MIN as u32, |a, b| V::select_bits(V::int_less(a, b), b, a);
    IntMin, i32::MAX as u32, |a, b| V::select_bits(V::int_less(a, b), a, b);
    Product, 1f32.to_bits(), |a, b| V::bits(V::mul(V::float(a), V::float(b)));
    IntProduct, 1, |a, b| V::int_mul(a, b);
}

/// The combination of all lanes of a run.
///
/// # Safety
/// `count` readable elements.
#[inline(always)]
unsafe fn combine_run<V: Lanes, C: Combine>(from: *const u32, count: usize) -> u32 {
    // SAFETY: every position is below `count`; the arrays have room for a vector.
    unsafe {
        let mut all = [V::splat_bits(C::NEUTRAL); 4];
        let mut i = 0;
        while i + 4 * V::COUNT <= count {
            for (j, all) in all.iter_mut().enumerate() {
                *all = C::combine::<V>(*all, V::load(from.add(i + j * V::COUNT)));
            }
            i += 4 * V::COUNT;
        }
        while i < count {
            let length = (count - i).min(V::COUNT);
            let x = load_or::<V>(from.add(i), length, f32::from_bits(C::NEUTRAL));
            all[0] = C::combine::<V>(all[0], V::bits(x));
            i += length;
        }
        let all = C::combine::<V>(C::combine::<V>(all[0], all[1]), C::combine::<V>(all[2], all[3]));
        fold::<V, C>(all)
    }
}

/// Combines two words.
#[inline(always)]
fn combine_words<V: Lanes, C: Combine>(a: u32, b: u32) -> u32 {
    let mut lanes = [0; 16];
    let all = C::combine::<V>(V::splat_bits(a), V::splat_bits(b));
    // SAFETY: the array has room for a vector.
    unsafe { V::store(all, lanes.as_mut_ptr()) };
    lanes[0]
}

struct WordRun<C>(std::marker::PhantomData<C>);

impl<C: Combine> Block for WordRun<C> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller gives an accumulator and `count` lanes.
        unsafe {
            let word = combine_run::<V, C>(a, count);
            let accumulator = &mut *to.cast::<Accumulator>();
            accumulator.word = combine_words::<V, C>(accumulator.word, word);
        }
    }
}

struct ArgMaxRun<const FLOAT: bool>;

impl<const FLOAT: bool> Block for ArgMaxRun<FLOAT> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller gives an accumulator and `count` lanes.
        unsafe {
            let accumulator = &mut *to.cast::<Accumulator>();
            let start = accumulator.seen as u32;
            accumulator.seen += count as u64;
            let (best, is_nan, greater) = if FLOAT {
                let best = f32::from_bits(combine_run::<V, Max>(a, count));
                let known = f32::from_bits(accumulator.word);
                (best.to_bits(), best.is_nan(), best > known || (best.is_nan() && !known.is_nan()))
            } else {
                let best = combine_run::<V, IntMax>(a, count);
                (best, false, best as i32 > accumulator.word as i32)
            };
            if count == 0 || !(greater || accumulator.index == u32::MAX) {
                return;
            }
            let is_best = |i: usize| {
                let bits = *a.add(i);
                if !FLOAT {
                    bits == best
                } else if is_nan {
                    f32::from_bits(bits).is_nan()
                } else {
                    f32::from_bits(bits) == f32::from_bits(best)
                }
            };
            let place = (0..count).find(|&i| is_best(i)).unwrap_or(0);
            accumulator.word = best;
            accumulator.index = start + place as u32;
        }
    }
}

struct LogSumExpRun;

impl Block for LogSumExpRun {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller gives an accumulator and `count` lanes.
        unsafe {
            let accumulator = &mut *to.cast::<Accumulator>();
            let known = f32::from_bits(accumulator.word);
            let largest = f32::from_bits(combine_run::<V, Max>(a, count));
            let shift = if known.is_nan() || known > largest { known } else { largest };
            let safe = finite_or_zero(shift);
            if safe != finite_or_zero(known) && accumulator.wide[0] != 0.0 {
                accumulator.wide[0] *= f64::from(finite_or_zero(known) - safe).exp();
            }
            accumulator.word = shift.to_bits();
            let all = V::splat(safe);
            accumulator.wide[0] +=
                sum_run!(V, a, count, f32::NEG_INFINITY, |x| functions::exp::<V>(V::sub(x, all)));
        }
    }
}

struct MeanVarianceRun;

impl Block for MeanVarianceRun {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        if count == 0 {
            return;
        }
        // SAFETY: the caller gives an accumulator and `count` lanes.
        unsafe {
            let accumulator = &mut *to.cast::<Accumulator>();
            let n = count as f64;
            let mean = sum_run!(V, a, count, 0.0, |x| x) / n;
            // Distances from the rounded mean, corrected for the rounding.
            let near = mean as f32;
            let all = V::splat(near);
            let squares = sum_run!(V, a, count, near, |x| {
                let distance = V::sub(x, all);
                V::mul(distance, distance)
            });
            let rounding = mean - f64::from(near);
            let run = Accumulator {
                wide: [mean, (squares - n * rounding * rounding).max(0.0)],
                word: 0,
                index: 0,
                seen: count as u64,
            };
            // A NaN mean must not be lost in the maximum above.
            let run = if mean.is_nan() || squares.is_nan() {
                Accumulator { wide: [mean, f64::NAN], ..run }
            } else {
                run
            };
            Reducer { kind: Reduction::MeanVariance, is_float: true }.merge(accumulator, &run);
        }
    }
}

/// What the fourth argument of the functions of packed rows points to.
#[repr(C)]
pub(super) struct RowInfo {
    pub columns: usize,
    /// Where the second results go, if there are any; else anywhere that as many words fit.
    pub second: *mut u32,
}

/// A reduction of each row of a packed block: `to` is the results, `a` the lanes, `b` a [`RowInfo`], `count` the rows.
/// `F` reduces one row to two words.
struct Rows<F>(std::marker::PhantomData<F>);

trait OfRow {
    /// Whether [`OfRow::finish`] is to be called.
    const FINISHES: bool = false;
    /// # Safety
    /// `columns` readable elements, at least one.
    unsafe fn row<V: Lanes>(from: *const u32, columns: usize) -> [u32; 2];
    /// The result of a vector of rows from their two words.
    #[inline(always)]
    fn finish<V: Lanes>(first: V::F, _: V::F) -> V::F {
        first
    }
}

impl<F: OfRow> Block for Rows<F> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller gives as many lanes as rows and columns say, and room for the results and a vector more.
        unsafe {
            let info = &*b.cast::<RowInfo>();
            for row in 0..count {
                let [first, second] = F::row::<V>(a.add(row * info.columns), info.columns);
                *to.add(row) = first;
                *info.second.add(row) = second;
            }
            let mut row = 0;
            while F::FINISHES && row < count {
                let first = V::float(V::load(to.add(row)));
                let second = V::float(V::load(info.second.add(row)));
                V::store(V::bits(F::finish::<V>(first, second)), to.add(row));
                row += V::COUNT;
            }
        }
    }
}

impl OfRow for SumRun {
    #[inline(always)]
    unsafe fn row<V: Lanes>(from: *const u32, columns: usize) -> [u32; 2] {
        // SAFETY: the caller's promise.
        let sum = unsafe { sum_run!(V, from, columns, 0.0, |x| x) };
        [(sum as f32).to_bits(), 0]
    }
}

impl<C: Combine> OfRow for WordRun<C> {
    #[inline(always)]
    unsafe fn row<V: Lanes>(from: *const u32, columns: usize) -> [u32; 2] {
        // SAFETY: the caller's promise.
        [unsafe { combine_run::<V, C>(from, columns) }, 0]
    }
}

impl<const FLOAT: bool> OfRow for ArgMaxRun<FLOAT> {
    #[inline(always)]
    unsafe fn row<V: Lanes>(from: *const u32, columns: usize) -> [u32; 2] {
        let mut seen = Reducer { kind: Reduction::ArgMax, is_float: FLOAT }.start(0);
        let accumulator: *mut Accumulator = &mut seen;
        // SAFETY: the caller's promise.
        unsafe { Self::run::<V>(accumulator.cast(), from, from, from, columns) };
        [seen.index, 0]
    }
}

impl OfRow for LogSumExpRun {
    const FINISHES: bool = true;
    #[inline(always)]
    unsafe fn row<V: Lanes>(from: *const u32, columns: usize) -> [u32; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let shift = finite_or_zero(f32::from_bits(combine_run::<V, Max>(from, columns)));
            let all = V::splat(shift);
            let sum = sum_run!(V, from, columns, f32::NEG_INFINITY, |x| functions::exp::<V>(V::sub(x, all)));
            [shift.to_bits(), (sum as f32).to_bits()]
        }
    }
    #[inline(always)]
    fn finish<V: Lanes>(first: V::F, second: V::F) -> V::F {
        V::add(first, functions::log::<V>(second))
    }
}

impl OfRow for MeanVarianceRun {
    #[inline(always)]
    unsafe fn row<V: Lanes>(from: *const u32, columns: usize) -> [u32; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let n = columns as f64;
            let mean = sum_run!(V, from, columns, 0.0, |x| x) / n;
            let near = mean as f32;
            let all = V::splat(near);
            let squares = sum_run!(V, from, columns, near, |x| {
                let distance = V::sub(x, all);
                V::mul(distance, distance)
            });
            [near.to_bits(), ((squares / n) as f32).to_bits()]
        }
    }
}
