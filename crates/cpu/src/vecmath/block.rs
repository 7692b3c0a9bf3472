//! Block functions: loops over the elements of a block, compiled for every instruction set.

#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use super::{lanes::Lanes, portable::Portable};
use crate::simd::Level;
use std::marker::PhantomData;

/// `to[i] = f(a[i], b[i], c[i])` for `i < count`, where some arguments are one element for all `i`, and some unused.
///
/// # Safety
/// The elements exist, and what is written is not read through another argument, except that an argument
/// may be exactly `to`.
pub(crate) type BlockFn = unsafe fn(to: *mut u32, a: *const u32, b: *const u32, c: *const u32, count: usize);

/// A block function before the instruction set is chosen.
pub(crate) trait Block {
    /// # Safety
    /// As [`BlockFn`] says, on a machine with the instructions of `V`.
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, c: *const u32, count: usize);
}

/// # Safety
/// As [`BlockFn`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn with_avx512<B: Block>(to: *mut u32, a: *const u32, b: *const u32, c: *const u32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { B::run::<Avx512>(to, a, b, c, count) }
}

/// # Safety
/// As [`BlockFn`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_avx2<B: Block>(to: *mut u32, a: *const u32, b: *const u32, c: *const u32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { B::run::<Avx2>(to, a, b, c, count) }
}

/// # Safety
/// As [`BlockFn`].
unsafe fn with_portable<B: Block>(to: *mut u32, a: *const u32, b: *const u32, c: *const u32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { B::run::<Portable>(to, a, b, c, count) }
}

/// The block function for an instruction set. A level exists only on machines that have its instructions.
pub(crate) fn pick<B: Block>(level: Level) -> BlockFn {
    match level.name() {
        #[cfg(target_arch = "x86_64")]
        "avx512" => with_avx512::<B>,
        #[cfg(target_arch = "x86_64")]
        "avx2" => with_avx2::<B>,
        _ => with_portable::<B>,
    }
}

/// A function of one element.
pub(crate) trait Unary {
    fn apply<V: Lanes>(x: V::I) -> V::I;
}

/// A function of two elements.
pub(crate) trait Binary {
    fn apply<V: Lanes>(a: V::I, b: V::I) -> V::I;
}

/// A function of three elements.
pub(crate) trait Ternary {
    fn apply<V: Lanes>(a: V::I, b: V::I, c: V::I) -> V::I;
}

/// Element `i` of an argument, or its only one.
///
/// # Safety
/// `V::COUNT` readable elements at `i`, or one.
#[inline(always)]
unsafe fn get<V: Lanes, const ONE: bool>(from: *const u32, all: V::I, i: usize) -> V::I {
    // SAFETY: the caller's promise.
    if ONE { all } else { unsafe { V::load(from.add(i)) } }
}

/// The elements from `i` on that are fewer than a vector.
///
/// # Safety
/// `count` readable elements at `i`, or one.
#[inline(always)]
unsafe fn get_first<V: Lanes, const ONE: bool>(from: *const u32, all: V::I, i: usize, count: usize) -> V::I {
    // SAFETY: the caller's promise.
    if ONE { all } else { unsafe { V::load_first(from.add(i), count) } }
}

/// The only element of an argument in every lane, or zeros.
///
/// # Safety
/// One readable element if `ONE`.
#[inline(always)]
unsafe fn only<V: Lanes, const ONE: bool>(from: *const u32) -> V::I {
    // SAFETY: the caller's promise.
    V::splat_bits(if ONE { unsafe { *from } } else { 0 })
}

/// A [`Unary`] of every element.
pub(crate) struct Map1<O>(PhantomData<O>);

impl<O: Unary> Block for Map1<O> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        // SAFETY: every position is below `count`; the caller promises the rest.
        unsafe {
            let mut i = 0;
            while i + V::COUNT <= count {
                V::store(O::apply::<V>(V::load(a.add(i))), to.add(i));
                i += V::COUNT;
            }
            if i < count {
                V::store_first(O::apply::<V>(V::load_first(a.add(i), count - i)), to.add(i), count - i);
            }
        }
    }
}

/// A [`Binary`] of every pair; `A` and `B` say which argument is a single element.
pub(crate) struct Map2<O, const A: bool, const B: bool>(PhantomData<O>);

impl<O: Binary, const A: bool, const B: bool> Block for Map2<O, A, B> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        // SAFETY: every position is below `count`; the caller promises the rest.
        unsafe {
            let (all_a, all_b) = (only::<V, A>(a), only::<V, B>(b));
            let mut i = 0;
            while i + V::COUNT <= count {
                let result = O::apply::<V>(get::<V, A>(a, all_a, i), get::<V, B>(b, all_b, i));
                V::store(result, to.add(i));
                i += V::COUNT;
            }
            if i < count {
                let rest = count - i;
                let a = get_first::<V, A>(a, all_a, i, rest);
                let b = get_first::<V, B>(b, all_b, i, rest);
                V::store_first(O::apply::<V>(a, b), to.add(i), rest);
            }
        }
    }
}

/// A [`Ternary`] of every triple; `A`, `B` and `C` say which argument is a single element.
pub(crate) struct Map3<O, const A: bool, const B: bool, const C: bool>(PhantomData<O>);

impl<O: Ternary, const A: bool, const B: bool, const C: bool> Block for Map3<O, A, B, C> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, c: *const u32, count: usize) {
        // SAFETY: every position is below `count`; the caller promises the rest.
        unsafe {
            let (all_a, all_b, all_c) = (only::<V, A>(a), only::<V, B>(b), only::<V, C>(c));
            let mut i = 0;
            while i + V::COUNT <= count {
                let (a, b) = (get::<V, A>(a, all_a, i), get::<V, B>(b, all_b, i));
                V::store(O::apply::<V>(a, b, get::<V, C>(c, all_c, i)), to.add(i));
                i += V::COUNT;
            }
            if i < count {
                let rest = count - i;
                let a = get_first::<V, A>(a, all_a, i, rest);
                let b = get_first::<V, B>(b, all_b, i, rest);
                let c = get_first::<V, C>(c, all_c, i, rest);
                V::store_first(O::apply::<V>(a, b, c), to.add(i), rest);
            }
        }
    }
}
