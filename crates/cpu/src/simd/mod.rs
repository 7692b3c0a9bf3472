//! Vectors of `f32`, so that a kernel is written once and compiled for every instruction set.
//!
//! A kernel is a struct of its arguments that implements `Kernel`; its body is generic over `Vector`. Everything
//! the body calls is `#[inline(always)]`, so that it ends up inside the one function per instruction set that has
//! the `#[target_feature]` attribute (`Vector::call`). Closures do not get inlined reliably: bodies use none.
//!
//! *Invariant:* only `Level::call` names a vector type, after the machine has been asked. That is why the
//! arithmetic of `Vector` is safe to call.

#![allow(clippy::needless_range_loop, reason = "indices name lanes and rows")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

/// The most lanes any instruction set has.
pub(crate) const MAX_LANES: usize = 16;

/// A vector of [`Vector::LANES`] numbers in one register.
pub(crate) trait Vector: Copy {
    /// Numbers in a vector, at most [`MAX_LANES`].
    const LANES: usize;
    /// Vector registers there are, which bounds the accumulators of a kernel.
    const REGISTERS: usize;
    /// The result of a comparison, one truth value a lane.
    type Mask: Copy;

    /// Runs a kernel compiled for this instruction set, as a function of its own (not inlined into the caller).
    fn call<K: Kernel>(kernel: K) -> K::Output;

    fn splat(value: f32) -> Self;
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }

    /// # Safety
    /// `LANES` readable numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Loads `count <= LANES` numbers, the other lanes are zero.
    /// # Safety
    /// `count` readable numbers.
    unsafe fn load_partial(from: *const f32, count: usize) -> Self;
    /// Loads `count <= LANES` integers and converts them, the other lanes are zero.
    /// # Safety
    /// `count` readable numbers.
    unsafe fn load_i32(from: *const i32, count: usize) -> Self;
    /// # Safety
    /// `LANES` writable numbers.
    unsafe fn store(self, to: *mut f32);
    /// Stores the first `count <= LANES` numbers.
    /// # Safety
    /// `count` writable numbers.
    unsafe fn store_partial(self, to: *mut f32, count: usize);
    /// Stores the first `count <= LANES` numbers, which are integral, as integers.
    /// # Safety
    /// `count` writable numbers.
    unsafe fn store_i32(self, to: *mut i32, count: usize);

    /// Asks for the cache line at this address, which need not be valid.
    #[inline(always)]
    fn prefetch(_address: *const f32) {}

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self * factor + summand`, rounded once where the instruction set can.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// The sum of all lanes.
    fn sum(self) -> f32;

    /// Lanes where `self > other`, or `self` is not a number and `other` is: the first NaN wins.
    fn beats(self, other: Self) -> Self::Mask;
    fn equal(self, other: Self) -> Self::Mask;
    /// `yes` where the mask is true, `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// Transposes the square of the first `LANES` rows.
    fn transpose(rows: &mut [Self; MAX_LANES]);
    /// The elements at even and at odd places of `low` followed by `high`.
    fn deinterleave(low: Self, high: Self) -> (Self, Self);
    /// The inverse of [`Vector::deinterleave`].
    fn interleave(even: Self, odd: Self) -> (Self, Self);
}

/// A function that is generic over the vector type, with its arguments.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;
    /// The body. Implementations are `#[inline(always)]`.
    fn run<V: Vector>(self) -> Self::Output;
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Portable,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best instruction set of this machine.
    pub fn detect() -> Level {
        *Level::available().last().expect("the portable level is always there")
    }

    /// All instruction sets of this machine, the best one last.
    pub fn available() -> Vec<Level> {
        let mut levels = vec![Level(Set::Portable)];
        #[cfg(target_arch = "aarch64")]
        levels.push(Level(Set::Neon));
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                levels.push(Level(Set::Avx2));
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    levels.push(Level(Set::Avx512));
                }
            }
        }
        levels
    }

    /// The level with this name (`portable`, `neon`, `avx2`, `avx512`), if this machine has it.
    pub fn named(name: &str) -> Option<Level> {
        Level::available().into_iter().find(|level| level.name() == name)
    }

    /// The name that [`Level::named`] takes.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
        }
    }

    /// Numbers in one vector.
    pub fn lanes(self) -> usize {
        struct Lanes;
        impl Kernel for Lanes {
            type Output = usize;
            #[inline(always)]
            fn run<V: Vector>(self) -> usize {
                V::LANES
            }
        }
        self.call(Lanes)
    }

    /// Vector registers there are.
    pub fn registers(self) -> usize {
        struct Registers;
        impl Kernel for Registers {
            type Output = usize;
            #[inline(always)]
            fn run<V: Vector>(self) -> usize {
                V::REGISTERS
            }
        }
        self.call(Registers)
    }

    /// Runs `kernel` compiled for this instruction set.
    pub(crate) fn call<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Set::Portable => portable::Portable::call(kernel),
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon::Neon::call(kernel),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => avx2::Avx2::call(kernel),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => avx512::Avx512::call(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct CheckAll;

    impl Kernel for CheckAll {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector>(self) {
            let lanes = V::LANES;
            let numbers: Vec<f32> = (0..2 * MAX_LANES).map(|i| i as f32 - 5.0).collect();
            // SAFETY: every pointer has room for two vectors.
            unsafe {
                let mut out = [0.0f32; MAX_LANES];
                let (a, b) = (V::load(numbers.as_ptr()), V::load(numbers.as_ptr().add(lanes)));
                a.mul_add(V::splat(2.0), b).store(out.as_mut_ptr());
                for i in 0..lanes {
                    assert_eq!(out[i], numbers[i] * 2.0 + numbers[i + lanes]);
                }
                a.sub(b).mul(V::splat(0.5)).add(b).store(out.as_mut_ptr());
                for i in 0..lanes {
                    assert_eq!(out[i], (numbers[i] + numbers[i + lanes]) / 2.0);
                }
                assert_eq!(a.sum(), numbers[..lanes].iter().sum::<f32>());
                for count in 0..=lanes {
                    let mut out = [7.0f32; MAX_LANES];
                    V::load_partial(numbers.as_ptr(), count).add(V::splat(1.0)).store(out.as_mut_ptr());
                    for i in 0..lanes {
                        assert_eq!(out[i], if i < count { numbers[i] + 1.0 } else { 1.0 });
                    }
                    let mut out = [7.0f32; MAX_LANES];
                    a.store_partial(out.as_mut_ptr(), count);
                    for i in 0..MAX_LANES {
                        assert_eq!(out[i], if i < count { numbers[i] } else { 7.0 });
                    }
                }
                let mut integers = [0i32; MAX_LANES];
                for count in 0..=lanes {
                    integers.fill(7);
                    a.store_i32(integers.as_mut_ptr(), count);
                    for i in 0..MAX_LANES {
                        assert_eq!(integers[i], if i < count { i as i32 - 5 } else { 7 });
                    }
                    V::load_i32(integers.as_ptr(), count).store(out.as_mut_ptr());
                    for i in 0..lanes {
                        assert_eq!(out[i], if i < count { i as f32 - 5.0 } else { 0.0 });
                    }
                }
                let equal = V::load_i32(integers.as_ptr(), lanes).equal(V::splat(-3.0));
                V::select(equal, V::splat(1.0), V::zero()).store(out.as_mut_ptr());
                for i in 0..lanes {
                    assert_eq!(out[i], if i == 2 { 1.0 } else { 0.0 });
                }
                let mut special = numbers.clone();
                special[1] = f32::NAN;
                let mask = V::load(special.as_ptr()).beats(V::splat(-3.0));
                V::select(mask, V::splat(1.0), V::zero()).store(out.as_mut_ptr());
                for i in 0..lanes {
                    assert_eq!(out[i], if i == 1 || i > 2 { 1.0 } else { 0.0 });
                }
                let (even, odd) = V::deinterleave(a, b);
                let mut odds = [0.0f32; MAX_LANES];
                even.store(out.as_mut_ptr());
                odd.store(odds.as_mut_ptr());
                for i in 0..lanes {
                    assert_eq!((out[i], odds[i]), (numbers[2 * i], numbers[2 * i + 1]));
                }
                let (low, high) = V::interleave(even, odd);
                low.store(out.as_mut_ptr());
                high.store(odds.as_mut_ptr());
                for i in 0..lanes {
                    assert_eq!((out[i], odds[i]), (numbers[i], numbers[i + lanes]));
                }
                let mut rows = [V::zero(); MAX_LANES];
                let square: Vec<f32> = (0..lanes * lanes).map(|i| i as f32).collect();
                for i in 0..lanes {
                    rows[i] = V::load(square.as_ptr().add(i * lanes));
                }
                V::transpose(&mut rows);
                for i in 0..lanes {
                    rows[i].store(out.as_mut_ptr());
                    for j in 0..lanes {
                        assert_eq!(out[j], square[j * lanes + i]);
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_means_the_same() {
        for level in Level::available() {
            assert_eq!(Level::named(level.name()), Some(level));
            assert!(level.lanes() <= MAX_LANES);
            level.call(CheckAll);
        }
    }
}
