//! Updates of optimizers as one function each: from memory to memory in one pass, since step by step they would walk
//! over one operand after another, which keeps neither the dividers nor the memory busy.

use super::lanes::{Lanes, prefetch};
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use crate::simd::Level;

/// Most values of an update that differ from lane to lane, that are the same for all lanes, and that it gives.
pub(crate) const BLOCKS: usize = 4;
/// See [`BLOCKS`].
pub(crate) const SINGLES: usize = 7;
/// See [`BLOCKS`].
pub(crate) const RESULTS: usize = 3;

/// Which update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdateKind {
    /// Blocks: value, direction, gradient. Singles: weight decay, momentum, rate. Gives direction and value.
    Momentum,
    /// Blocks: value, first and second moment, gradient. Singles: weight decay, 1 − β₁, β₂, 1 − β₂, inverse root of the
    /// second correction, ε, step size. Gives both moments and the value.
    Adam,
    /// As `Adam`, with the part of the value that is kept instead of weight decay.
    AdamW,
}

/// Where an update reads and writes.
pub(crate) struct UpdatePointers {
    pub blocks: [*const u32; BLOCKS],
    pub singles: [*const u32; SINGLES],
    pub results: [*mut u32; RESULTS],
    /// How far from each block, in bytes, memory is that will be needed soon, if it is.
    pub ahead: [Option<isize>; BLOCKS],
}

/// # Safety
/// Every block and result that the kind has holds `count` elements, every single one. What is written is not read at
/// another position.
pub(crate) type UpdateFn = unsafe fn(pointers: &UpdatePointers, count: usize);

/// The formula of an update.
trait Formula {
    const BLOCKS: usize;
    const SINGLES: usize;
    const RESULTS: usize;

    fn apply<V: Lanes>(blocks: [V::F; BLOCKS], singles: [V::F; SINGLES]) -> [V::F; RESULTS];
}

struct Momentum;

impl Formula for Momentum {
    const BLOCKS: usize = 3;
    const SINGLES: usize = 3;
    const RESULTS: usize = 2;

    #[inline(always)]
    fn apply<V: Lanes>(blocks: [V::F; BLOCKS], singles: [V::F; SINGLES]) -> [V::F; RESULTS] {
        let [value, direction, gradient, _] = blocks;
        let [decay, momentum, rate, ..] = singles;
        let gradient = V::mul_add(value, decay, gradient);
        let direction = V::mul_add(direction, momentum, gradient);
        let value = V::sub(value, V::mul(direction, rate));
        [direction, value, value]
    }
}

/// The moments, and the step without its size.
#[inline(always)]
fn moments<V: Lanes>(blocks: [V::F; BLOCKS], gradient: V::F, singles: [V::F; SINGLES]) -> [V::F; 3] {
    let [_, first, second, _] = blocks;
    let [_, fresh, kept, fresh_square, inverse_root, eps, _] = singles;
    let first = V::mul_add(V::sub(gradient, first), fresh, first);
    let second = V::mul_add(second, kept, V::mul(V::mul(gradient, gradient), fresh_square));
    let denominator = V::mul_add(V::sqrt(second), inverse_root, eps);
    [first, second, V::div(first, denominator)]
}

/// Adam, or with `DECOUPLED` weight decay AdamW.
struct Adam<const DECOUPLED: bool>;

impl<const DECOUPLED: bool> Formula for Adam<DECOUPLED> {
    const BLOCKS: usize = 4;
    const SINGLES: usize = 7;
    const RESULTS: usize = 3;

    #[inline(always)]
    fn apply<V: Lanes>(blocks: [V::F; BLOCKS], singles: [V::F; SINGLES]) -> [V::F; RESULTS] {
        let [value, _, _, gradient] = blocks;
        let (value, gradient) = if DECOUPLED {
            (V::mul(value, singles[0]), gradient)
        } else {
            (value, V::mul_add(value, singles[0], gradient))
        };
        let [first, second, step] = moments::<V>(blocks, gradient, singles);
        [first, second, V::sub(value, V::mul(singles[6], step))]
    }
}

/// # Safety
/// As [`UpdateFn`], on a machine with the instructions of `V`.
#[inline(always)]
unsafe fn run<U: Formula, V: Lanes>(pointers: &UpdatePointers, count: usize) {
    // SAFETY: every position is below `count`; the caller promises the rest. A prefetch of any address is allowed.
    unsafe {
        let mut singles = [V::splat(0.0); SINGLES];
        for (single, &from) in singles.iter_mut().zip(&pointers.singles).take(U::SINGLES) {
            *single = V::float(V::splat_bits(*from));
        }
        let mut i = 0;
        while i < count {
            let rest = (count - i).min(V::COUNT);
            let mut blocks = [V::splat(0.0); BLOCKS];
            for (number, block) in blocks.iter_mut().enumerate().take(U::BLOCKS) {
                let from = pointers.blocks[number].add(i);
                if let Some(ahead) = pointers.ahead[number] {
                    prefetch(from.cast::<u8>().wrapping_offset(ahead));
                }
                *block = V::float(if rest == V::COUNT { V::load(from) } else { V::load_first(from, rest) });
            }
            let results = U::apply::<V>(blocks, singles);
            for (&result, &to) in results.iter().zip(&pointers.results).take(U::RESULTS) {
                if rest == V::COUNT {
                    V::store(V::bits(result), to.add(i));
                } else {
                    V::store_first(V::bits(result), to.add(i), rest);
                }
            }
            i += V::COUNT;
        }
    }
}

/// # Safety
/// As [`UpdateFn`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn with_avx512<U: Formula>(pointers: &UpdatePointers, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { run::<U, Avx512>(pointers, count) }
}

/// # Safety
/// As [`UpdateFn`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn with_avx2<U: Formula>(pointers: &UpdatePointers, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { run::<U, Avx2>(pointers, count) }
}

/// # Safety
/// As [`UpdateFn`].
unsafe fn with_portable<U: Formula>(pointers: &UpdatePointers, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { run::<U, Portable>(pointers, count) }
}

fn pick<U: Formula>(level: Level) -> UpdateFn {
    match level.name() {
        #[cfg(target_arch = "x86_64")]
        "avx512" => with_avx512::<U>,
        #[cfg(target_arch = "x86_64")]
        "avx2" => with_avx2::<U>,
        _ => with_portable::<U>,
    }
}

/// The function of an update. A level exists only on machines that have its instructions.
pub(crate) fn update_function(kind: UpdateKind, level: Level) -> UpdateFn {
    match kind {
        UpdateKind::Momentum => pick::<Momentum>(level),
        UpdateKind::Adam => pick::<Adam<false>>(level),
        UpdateKind::AdamW => pick::<Adam<true>>(level),
    }
}
