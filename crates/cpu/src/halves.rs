//! Library operations on halves: by the kernels of f32, on copies.
//!
//! Arguments of half precision are widened into scratch memory, results computed there and rounded once. So sums are as
//! wide as those of f32, and a mixed product of halves with a result of f32 costs the copies of its factors only.

use crate::calls::Call;
use crate::device::Shared;
use crate::vecmath::half;
use dropforge_ir::{DType, Op, Result, ValueType};
use dropforge_plan::plan::Argument;
use std::ptr;

/// Elements below which a thread more does not pay.
const GRAIN: usize = 16 << 10;

/// A run of halves and its copy.
#[derive(Clone, Copy)]
struct Span {
    dtype: DType,
    /// The first element that is copied, in the argument or result.
    first: usize,
    length: usize,
    /// Where its copy stands in the scratch memory, in elements.
    at: usize,
}

/// An operation on halves.
pub(crate) struct OnHalves {
    call: Call,
    /// The copies of arguments and results; none for those that are no halves.
    args: Vec<Option<Span>>,
    results: Vec<Option<Span>>,
    /// Elements of scratch memory that the copies take.
    copies: usize,
}

impl OnHalves {
    /// The operation on f32 between copies. `source` says which operation makes an argument.
    pub(crate) fn new<'a>(
        op: &Op,
        args: &[Argument],
        results: &[&ValueType],
        source: impl Fn(usize) -> &'a Op,
        shared: &Shared,
    ) -> Result<OnHalves> {
        let mut copies = 0;
        let mut span = |dtype: DType, first: usize, length: usize| {
            dtype.is_half().then(|| {
                let at = copies;
                copies += length.next_multiple_of(16);
                Span { dtype, first, length, at }
            })
        };
        let mut wide_args = args.to_vec();
        let arg_spans = wide_args
            .iter_mut()
            .map(|arg| {
                let (first, length) = reach(arg);
                let span = span(arg.ty.dtype, first, length);
                if span.is_some() {
                    arg.ty.dtype = DType::F32;
                    arg.offset -= first as i64;
                }
                span
            })
            .collect();
        let mut wide_results: Vec<ValueType> = results.iter().map(|&ty| ty.clone()).collect();
        let result_spans = wide_results
            .iter_mut()
            .map(|ty| {
                let span = span(ty.dtype, 0, ty.shape.elements());
                if span.is_some() {
                    ty.dtype = DType::F32;
                }
                span
            })
            .collect();
        let wide_results: Vec<&ValueType> = wide_results.iter().collect();
        let call = Call::new(op, &wide_args, &wide_results, source, shared)?;
        Ok(OnHalves { call, args: arg_spans, results: result_spans, copies })
    }

    /// Scratch space that a run needs, in elements.
    pub(crate) fn scratch(&self) -> usize {
        self.copies + self.call.scratch()
    }

    /// The choice, for listings.
    pub(crate) fn describe(&self) -> String {
        format!("{} in f32", self.call.describe()).trim_start().into()
    }

    /// Runs the operation.
    ///
    /// # Safety
    /// As for [`Call::run`], with the scratch memory that [`OnHalves::scratch`] says.
    pub(crate) unsafe fn run(
        &self,
        arg: &dyn Fn(usize) -> *mut u8,
        result: &dyn Fn(usize) -> *mut u8,
        scratch: &mut [f32],
        shared: &Shared,
    ) {
        let (copies, rest) = scratch.split_at_mut(self.copies);
        let copies = Address(copies.as_mut_ptr());
        for (index, span) in self.args.iter().enumerate() {
            let Some(Span { dtype, first, length, at }) = *span else { continue };
            let (function, from) = (half::widen(dtype, shared.level), Address(arg(index).cast::<u16>()));
            shared.pool.split(length, GRAIN, |_, range| {
                // SAFETY: the span is inside the argument and has room for its copy; ranges do not overlap.
                unsafe {
                    let (from, to) = (from.at(first + range.start), copies.at(at + range.start));
                    function(to.cast(), from.cast(), ptr::null(), ptr::null(), range.len());
                }
            });
        }
        let place = |span: Option<Span>, otherwise: *mut u8| match span {
            // SAFETY: spans lie in the copies.
            Some(span) => unsafe { copies.at(span.at).cast() },
            None => otherwise,
        };
        // SAFETY: the caller's promise; copies stand for what they were made from.
        unsafe {
            self.call.run_on(
                &|index| place(self.args[index], arg(index)),
                &|index| place(self.results[index], result(index)),
                rest,
                shared,
            );
        }
        for (index, span) in self.results.iter().enumerate() {
            let Some(Span { dtype, length, at, .. }) = *span else { continue };
            let (function, to) = (half::narrow(dtype, shared.level), Address(result(index).cast::<u16>()));
            shared.pool.split(length, GRAIN, |_, range| {
                // SAFETY: as above, the other way.
                unsafe {
                    let (from, to) = (copies.at(at + range.start), to.at(range.start));
                    function(to.cast(), from.cast(), ptr::null(), ptr::null(), range.len());
                }
            });
        }
    }
}

/// Memory that threads share, each touching its own part.
#[derive(Clone, Copy)]
struct Address<T>(*mut T);

// SAFETY: threads touch different elements.
unsafe impl<T> Sync for Address<T> {}

impl<T> Address<T> {
    /// # Safety
    /// The element exists, or is the one behind the last.
    unsafe fn at(&self, element: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(element) }
    }
}

/// The first element in memory that an argument reaches, and how many from there to the last.
fn reach(arg: &Argument) -> (usize, usize) {
    if arg.ty.shape.elements() == 0 {
        return (0, 0);
    }
    let (mut first, mut last) = (arg.offset, arg.offset);
    for (&extent, &stride) in arg.ty.shape.iter().zip(&arg.strides) {
        let span = stride * (extent as i64 - 1);
        first += span.min(0);
        last += span.max(0);
    }
    (first as usize, (last - first + 1) as usize)
}
