//! The element functions of the kernel IR as vector functions.

use super::block::{Binary, Block, BlockFn, Map1, Map2, Map3, Ternary, Unary, pick};
use super::functions;
use super::half::{BFloat16, Binary16, Half};
use super::lanes::Lanes;
use crate::simd::Level;
use dropforge_ir::{BinaryKind, CompareKind, DType, UnaryKind};

/// A step on blocks: what [`dropforge_plan::kernel::Instruction`] says, with the type of its arguments, and the
/// superinstructions that several of them are merged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// `a`
    Copy,
    /// Of an element of this type.
    Unary(UnaryKind, DType),
    /// Of two elements of this type.
    Binary(BinaryKind, DType),
    /// Of two elements of this type.
    Compare(CompareKind, DType),
    /// `a ? b : c`
    Select,
    /// From a type into another.
    Cast(DType, DType),
    /// a · b + c
    MultiplyAdd,
    /// a · b − c
    MultiplySubtract,
    /// c − a · b
    SubtractProduct,
}

macro_rules! float_unary {
    ($($name:ident = |$x:ident| $body:expr;)*) => {$(
        struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn apply<V: Lanes>(x: V::I) -> V::I {
                let $x = V::float(x);
                V::bits($body)
            }
        }
    )*};
}

macro_rules! int_unary {
    ($($name:ident = |$x:ident| $body:expr;)*) => {$(
        struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn apply<V: Lanes>($x: V::I) -> V::I {
                $body
            }
        }
    )*};
}

macro_rules! float_binary {
    ($($name:ident = |$a:ident, $b:ident| $body:expr;)*) => {$(
        struct $name;
        impl Binary for $name {
            #[inline(always)]
            fn apply<V: Lanes>(a: V::I, b: V::I) -> V::I {
                let ($a, $b) = (V::float(a), V::float(b));
                $body
            }
        }
    )*};
}

macro_rules! int_binary {
    ($($name:ident = |$a:ident, $b:ident| $body:expr;)*) => {$(
        struct $name;
        impl Binary for $name {
            #[inline(always)]
            fn apply<V: Lanes>($a: V::I, $b: V::I) -> V::I {
                $body
            }
        }
    )*};
}

/// The nearest number of a half type, as f32.
struct RoundTo<H>(std::marker::PhantomData<H>);

impl<H: Half> Unary for RoundTo<H> {
    #[inline(always)]
    fn apply<V: Lanes>(x: V::I) -> V::I {
        V::bits(H::widen::<V>(H::narrow::<V>(V::float(x))))
    }
}

float_unary! {
    Negate = |x| V::neg(x);
    Absolute = |x| V::abs(x);
    Sign = |x| {
        let one = V::with_sign(V::splat(1.0), x);
        let is_nonzero = V::mask_or(V::less(x, V::splat(0.0)), V::less(V::splat(0.0), x));
        V::select(is_nonzero, one, x)
    };
    Exp = |x| functions::exp::<V>(x);
    ExpMinusOne = |x| functions::exp_minus_one::<V>(x);
    Log = |x| functions::log::<V>(x);
    LogOnePlus = |x| functions::log_one_plus::<V>(x);
    SquareRoot = |x| V::sqrt(x);
    ReciprocalSquareRoot = |x| V::div(V::splat(1.0), V::sqrt(x));
    Reciprocal = |x| V::div(V::splat(1.0), x);
    Tanh = |x| functions::tanh::<V>(x);
    Sigmoid = |x| functions::sigmoid::<V>(x);
    Erf = |x| functions::erf::<V>(x);
    Relu = |x| V::select(V::less_equal(x, V::splat(0.0)), V::splat(0.0), x);
    Floor = |x| V::floor(x);
    Ceil = |x| V::ceil(x);
    Round = |x| V::round(x);
    FloatToInt = |x| {
        let result = V::select_bits(
            V::less(x, V::splat(2_147_483_648.0)),
            V::truncate(x),
            V::splat_bits(i32::MAX as u32),
        );
        let result = V::select_bits(V::less(x, V::splat(-2_147_483_648.0)), V::splat_bits(1 << 31), result);
        V::float(V::select_bits(V::is_nan(x), V::splat_bits(0), result))
    };
    FloatToUnsigned = |x| {
        let half = V::splat(2_147_483_648.0);
        let upper = V::xor(V::truncate(V::sub(x, half)), V::splat_bits(1 << 31));
        let result = V::select_bits(V::less(x, half), V::truncate(x), upper);
        let result = V::select_bits(V::less(x, V::splat(4_294_967_296.0)), result, V::splat_bits(u32::MAX));
        let is_none = V::mask_or(V::less(x, V::splat(0.0)), V::is_nan(x));
        V::float(V::select_bits(is_none, V::splat_bits(0), result))
    };
    FloatToByte = |x| {
        let x = V::select(V::less(V::splat(0.0), x), x, V::splat(0.0));
        V::float(V::truncate(V::min(V::splat(255.0), x)))
    };
    FloatToBool = |x| V::float(V::flag(V::mask_not(V::equal(x, V::splat(0.0)))));
}

int_unary! {
    Copy = |x| x;
    IntNegate = |x| V::int_sub(V::splat_bits(0), x);
    IntAbsolute = |x| {
        let zero = V::splat_bits(0);
        V::select_bits(V::int_less(x, zero), V::int_sub(zero, x), x)
    };
    IntSign = |x| {
        let zero = V::splat_bits(0);
        V::int_sub(V::flag(V::int_less(zero, x)), V::flag(V::int_less(x, zero)))
    };
    Not = |x| V::xor(x, V::splat_bits(1));
    IntToFloat = |x| V::bits(V::convert(x));
    UnsignedToFloat = |x| {
        let high = V::convert(V::shift_right_by::<16>(x));
        let low = V::convert(V::and(x, V::splat_bits(0xffff)));
        V::bits(V::fused(high, V::splat(65536.0), low))
    };
    IntToBool = |x| V::flag(V::mask_not(V::int_equal(x, V::splat_bits(0))));
    IntToByte = |x| V::and(x, V::splat_bits(0xff));
}

float_binary! {
    Add = |a, b| V::bits(V::add(a, b));
    Subtract = |a, b| V::bits(V::sub(a, b));
    Multiply = |a, b| V::bits(V::mul(a, b));
    Divide = |a, b| V::bits(V::div(a, b));
    Maximum = |a, b| V::bits(V::max_nan(a, b));
    Minimum = |a, b| V::bits(V::min_nan(a, b));
    Power = |a, b| V::bits(functions::power::<V>(a, b));
    Equal = |a, b| V::flag(V::equal(a, b));
    NotEqual = |a, b| V::flag(V::mask_not(V::equal(a, b)));
    Less = |a, b| V::flag(V::less(a, b));
    LessEqual = |a, b| V::flag(V::less_equal(a, b));
    Greater = |a, b| V::flag(V::less(b, a));
    GreaterEqual = |a, b| V::flag(V::less_equal(b, a));
}

/// Unsigned numbers in the order of signed ones.
#[inline(always)]
fn biased<V: Lanes>(x: V::I) -> V::I {
    V::xor(x, V::splat_bits(1 << 31))
}

int_binary! {
    IntAdd = |a, b| V::int_add(a, b);
    IntSubtract = |a, b| V::int_sub(a, b);
    IntMultiply = |a, b| V::int_mul(a, b);
    IntMaximum = |a, b| V::select_bits(V::int_less(a, b), b, a);
    IntMinimum = |a, b| V::select_bits(V::int_less(a, b), a, b);
    UnsignedMaximum = |a, b| V::select_bits(V::int_less(biased::<V>(a), biased::<V>(b)), b, a);
    UnsignedMinimum = |a, b| V::select_bits(V::int_less(biased::<V>(a), biased::<V>(b)), a, b);
    And = |a, b| V::and(a, b);
    Or = |a, b| V::or(a, b);
    Xor = |a, b| V::xor(a, b);
    ShiftLeft = |a, b| V::shift_left(a, V::and(b, V::splat_bits(31)));
    ShiftRight = |a, b| V::shift_right(a, V::and(b, V::splat_bits(31)));
    IntEqual = |a, b| V::flag(V::int_equal(a, b));
    IntNotEqual = |a, b| V::flag(V::mask_not(V::int_equal(a, b)));
    IntLess = |a, b| V::flag(V::int_less(a, b));
    IntGreater = |a, b| V::flag(V::int_less(b, a));
    IntLessEqual = |a, b| V::flag(V::mask_not(V::int_less(b, a)));
    IntGreaterEqual = |a, b| V::flag(V::mask_not(V::int_less(a, b)));
    UnsignedLess = |a, b| V::flag(V::int_less(biased::<V>(a), biased::<V>(b)));
    UnsignedGreater = |a, b| V::flag(V::int_less(biased::<V>(b), biased::<V>(a)));
    UnsignedLessEqual = |a, b| V::flag(V::mask_not(V::int_less(biased::<V>(b), biased::<V>(a))));
    UnsignedGreaterEqual = |a, b| V::flag(V::mask_not(V::int_less(biased::<V>(a), biased::<V>(b))));
}

macro_rules! float_ternary {
    ($($name:ident = |$a:ident, $b:ident, $c:ident| $body:expr;)*) => {$(
        struct $name;
        impl Ternary for $name {
            #[inline(always)]
            fn apply<V: Lanes>(a: V::I, b: V::I, c: V::I) -> V::I {
                let ($a, $b, $c) = (V::float(a), V::float(b), V::float(c));
                V::bits($body)
            }
        }
    )*};
}

float_ternary! {
    MultiplyAdd = |a, b, c| V::mul_add(a, b, c);
    MultiplySubtract = |a, b, c| V::mul_add(a, b, V::neg(c));
    SubtractProduct = |a, b, c| V::mul_add(V::neg(a), b, c);
}

struct Select;

impl Ternary for Select {
    #[inline(always)]
    fn apply<V: Lanes>(a: V::I, b: V::I, c: V::I) -> V::I {
        V::select_bits(V::int_equal(a, V::splat_bits(0)), c, b)
    }
}

/// A function of two scalars, for what has no vector form.
trait Scalar {
    fn apply(a: u32, b: u32) -> u32;
}

/// A [`Scalar`] of every pair.
struct Each<O, const A: bool, const B: bool>(std::marker::PhantomData<O>);

impl<O: Scalar, const A: bool, const B: bool> Block for Each<O, A, B> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, b: *const u32, _: *const u32, count: usize) {
        for i in 0..count {
            // SAFETY: `i` is below `count`; the caller promises the rest.
            unsafe { *to.add(i) = O::apply(*a.add(if A { 0 } else { i }), *b.add(if B { 0 } else { i })) };
        }
    }
}

macro_rules! scalar {
    ($($name:ident = |$a:ident, $b:ident| $body:expr;)*) => {$(
        struct $name;
        impl Scalar for $name {
            #[inline(always)]
            fn apply($a: u32, $b: u32) -> u32 {
                $body
            }
        }
    )*};
}

scalar! {
    Remainder = |a, b| (f32::from_bits(a) % f32::from_bits(b)).to_bits();
    IntDivide = |a, b| if b == 0 { 0 } else { (a as i32).wrapping_div(b as i32) as u32 };
    IntRemainder = |a, b| if b == 0 { 0 } else { (a as i32).wrapping_rem(b as i32) as u32 };
    UnsignedDivide = |a, b| a.checked_div(b).unwrap_or(0);
    UnsignedRemainder = |a, b| a.checked_rem(b).unwrap_or(0);
}

/// Sine or cosine, with arguments beyond the range of the vector function computed one by one.
struct Trigonometric<const COSINE: bool>;

impl<const COSINE: bool> Block for Trigonometric<COSINE> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        let mut start = 0;
        while start < count {
            let length = (count - start).min(V::COUNT);
            // SAFETY: `start + length` is at most `count`; `kept` has room for a vector; the caller promises the rest.
            unsafe {
                let x = if length == V::COUNT {
                    V::load(a.add(start))
                } else {
                    V::load_first(a.add(start), length)
                };
                let mut kept = [0u32; 16];
                V::store(x, kept.as_mut_ptr());
                let result = V::bits(functions::sin_cos::<V, COSINE>(V::float(x)));
                if length == V::COUNT {
                    V::store(result, to.add(start));
                } else {
                    V::store_first(result, to.add(start), length);
                }
                for (i, &bits) in kept[..length].iter().enumerate() {
                    let x = f32::from_bits(bits);
                    if x.abs() > functions::TRIGONOMETRIC_LIMIT {
                        let x = f64::from(x);
                        let result = if COSINE { x.cos() } else { x.sin() };
                        *to.add(start + i) = (result as f32).to_bits();
                    }
                }
            }
            start += length;
        }
    }
}

fn map1<O: Unary>(level: Level) -> BlockFn {
    pick::<Map1<O>>(level)
}

fn map2<O: Binary>(single: [bool; 3], level: Level) -> BlockFn {
    match (single[0], single[1]) {
        (true, false) => pick::<Map2<O, true, false>>(level),
        (false, true) => pick::<Map2<O, false, true>>(level),
        _ => pick::<Map2<O, false, false>>(level),
    }
}

fn each<O: Scalar>(single: [bool; 3], level: Level) -> BlockFn {
    match (single[0], single[1]) {
        (true, false) => pick::<Each<O, true, false>>(level),
        (false, true) => pick::<Each<O, false, true>>(level),
        _ => pick::<Each<O, false, false>>(level),
    }
}

fn map3<O: Ternary>(single: [bool; 3], level: Level) -> BlockFn {
    match single {
        [false, false, true] => pick::<Map3<O, false, false, true>>(level),
        [false, true, false] => pick::<Map3<O, false, true, false>>(level),
        [false, true, true] => pick::<Map3<O, false, true, true>>(level),
        _ => pick::<Map3<O, false, false, false>>(level),
    }
}

/// Which arguments of an operation may be single elements together with whole blocks: masks of argument positions.
pub(crate) fn may_be_single(operation: Operation, single: [bool; 3]) -> bool {
    match operation {
        Operation::Copy => true,
        Operation::Unary(..) | Operation::Cast(..) => !single[0],
        Operation::Binary(..) | Operation::Compare(..) => !(single[0] && single[1]),
        Operation::Select
        | Operation::MultiplyAdd
        | Operation::MultiplySubtract
        | Operation::SubtractProduct => !single[0],
    }
}

/// The block function of an operation whose arguments are single elements where `single` says so (which
/// [`may_be_single`] allows).
pub(crate) fn block_function(operation: Operation, single: [bool; 3], level: Level) -> BlockFn {
    match operation {
        Operation::Copy if single[0] => pick::<Map2<And, true, true>>(level),
        Operation::Copy => map1::<Copy>(level),
        Operation::Unary(kind, dtype) => unary(kind, dtype, level),
        Operation::Binary(kind, dtype) => binary(kind, dtype, single, level),
        Operation::Compare(kind, dtype) => compare(kind, dtype, single, level),
        Operation::Select => map3::<Select>(single, level),
        Operation::Cast(from, into) => cast(from, into, level),
        Operation::MultiplyAdd => map3::<MultiplyAdd>(single, level),
        Operation::MultiplySubtract => map3::<MultiplySubtract>(single, level),
        Operation::SubtractProduct => map3::<SubtractProduct>(single, level),
    }
}

/// The block function of a unary kind.
pub(crate) fn unary(kind: UnaryKind, dtype: DType, level: Level) -> BlockFn {
    if dtype == DType::I32 {
        match kind {
            UnaryKind::Negate => return map1::<IntNegate>(level),
            UnaryKind::Absolute => return map1::<IntAbsolute>(level),
            UnaryKind::Sign => return map1::<IntSign>(level),
            _ => {}
        }
    }
    match kind {
        UnaryKind::Negate => map1::<Negate>(level),
        UnaryKind::Absolute => map1::<Absolute>(level),
        UnaryKind::Sign => map1::<Sign>(level),
        UnaryKind::Exp => map1::<Exp>(level),
        UnaryKind::ExpMinusOne => map1::<ExpMinusOne>(level),
        UnaryKind::Log => map1::<Log>(level),
        UnaryKind::LogOnePlus => map1::<LogOnePlus>(level),
        UnaryKind::SquareRoot => map1::<SquareRoot>(level),
        UnaryKind::ReciprocalSquareRoot => map1::<ReciprocalSquareRoot>(level),
        UnaryKind::Reciprocal => map1::<Reciprocal>(level),
        UnaryKind::Sin => pick::<Trigonometric<false>>(level),
        UnaryKind::Cos => pick::<Trigonometric<true>>(level),
        UnaryKind::Tanh => map1::<Tanh>(level),
        UnaryKind::Sigmoid => map1::<Sigmoid>(level),
        UnaryKind::Erf => map1::<Erf>(level),
        UnaryKind::Relu => map1::<Relu>(level),
        UnaryKind::Floor => map1::<Floor>(level),
        UnaryKind::Ceil => map1::<Ceil>(level),
        UnaryKind::Round => map1::<Round>(level),
        UnaryKind::Not => map1::<Not>(level),
    }
}

fn binary(kind: BinaryKind, dtype: DType, single: [bool; 3], level: Level) -> BlockFn {
    let is_float = dtype == DType::F32;
    let is_signed = dtype == DType::I32;
    match kind {
        BinaryKind::Add if is_float => map2::<Add>(single, level),
        BinaryKind::Add => map2::<IntAdd>(single, level),
        BinaryKind::Subtract if is_float => map2::<Subtract>(single, level),
        BinaryKind::Subtract => map2::<IntSubtract>(single, level),
        BinaryKind::Multiply if is_float => map2::<Multiply>(single, level),
        BinaryKind::Multiply => map2::<IntMultiply>(single, level),
        BinaryKind::Divide if is_float => map2::<Divide>(single, level),
        BinaryKind::Divide if is_signed => each::<IntDivide>(single, level),
        BinaryKind::Divide => each::<UnsignedDivide>(single, level),
        BinaryKind::Power => map2::<Power>(single, level),
        BinaryKind::Maximum if is_float => map2::<Maximum>(single, level),
        BinaryKind::Maximum if is_signed => map2::<IntMaximum>(single, level),
        BinaryKind::Maximum => map2::<UnsignedMaximum>(single, level),
        BinaryKind::Minimum if is_float => map2::<Minimum>(single, level),
        BinaryKind::Minimum if is_signed => map2::<IntMinimum>(single, level),
        BinaryKind::Minimum => map2::<UnsignedMinimum>(single, level),
        BinaryKind::Remainder if is_float => each::<Remainder>(single, level),
        BinaryKind::Remainder if is_signed => each::<IntRemainder>(single, level),
        BinaryKind::Remainder => each::<UnsignedRemainder>(single, level),
        BinaryKind::And => map2::<And>(single, level),
        BinaryKind::Or => map2::<Or>(single, level),
        BinaryKind::Xor => map2::<Xor>(single, level),
        BinaryKind::ShiftLeft => map2::<ShiftLeft>(single, level),
        BinaryKind::ShiftRight => map2::<ShiftRight>(single, level),
    }
}

fn compare(kind: CompareKind, dtype: DType, single: [bool; 3], level: Level) -> BlockFn {
    let is_float = dtype == DType::F32;
    let is_signed = dtype == DType::I32;
    match kind {
        CompareKind::Equal if is_float => map2::<Equal>(single, level),
        CompareKind::Equal => map2::<IntEqual>(single, level),
        CompareKind::NotEqual if is_float => map2::<NotEqual>(single, level),
        CompareKind::NotEqual => map2::<IntNotEqual>(single, level),
        CompareKind::Less if is_float => map2::<Less>(single, level),
        CompareKind::Less if is_signed => map2::<IntLess>(single, level),
        CompareKind::Less => map2::<UnsignedLess>(single, level),
        CompareKind::LessEqual if is_float => map2::<LessEqual>(single, level),
        CompareKind::LessEqual if is_signed => map2::<IntLessEqual>(single, level),
        CompareKind::LessEqual => map2::<UnsignedLessEqual>(single, level),
        CompareKind::Greater if is_float => map2::<Greater>(single, level),
        CompareKind::Greater if is_signed => map2::<IntGreater>(single, level),
        CompareKind::Greater => map2::<UnsignedGreater>(single, level),
        CompareKind::GreaterEqual if is_float => map2::<GreaterEqual>(single, level),
        CompareKind::GreaterEqual if is_signed => map2::<IntGreaterEqual>(single, level),
        CompareKind::GreaterEqual => map2::<UnsignedGreaterEqual>(single, level),
    }
}

fn cast(from: DType, into: DType, level: Level) -> BlockFn {
    match (from, into) {
        (DType::F32, DType::F32) => map1::<Copy>(level),
        (DType::F32, DType::F16) => map1::<RoundTo<Binary16>>(level),
        (DType::F32, DType::BF16) => map1::<RoundTo<BFloat16>>(level),
        // Plans widen when they load and narrow from f32 only.
        (DType::F16 | DType::BF16, into) => cast(DType::F32, into, level),
        (from, DType::F16 | DType::BF16) => unreachable!("a cast from {from} to a half goes by way of f32"),
        (DType::F32, DType::I32) => map1::<FloatToInt>(level),
        (DType::F32, DType::U32) => map1::<FloatToUnsigned>(level),
        (DType::F32, DType::U8) => map1::<FloatToByte>(level),
        (DType::F32, DType::Bool) => map1::<FloatToBool>(level),
        (DType::U32, DType::F32) => map1::<UnsignedToFloat>(level),
        // Bytes and truth values are small.
        (_, DType::F32) => map1::<IntToFloat>(level),
        (DType::I32 | DType::U32, DType::U8) => map1::<IntToByte>(level),
        (_, DType::I32 | DType::U32 | DType::U8) => map1::<Copy>(level),
        (_, DType::Bool) => map1::<IntToBool>(level),
    }
}
