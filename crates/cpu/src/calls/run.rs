//! Running library operations on the memory of a plan.

use super::{Call, Extras, Scratch};
use crate::attention::{AttentionGradientPointers, AttentionPointers};
use crate::conv::{self, Direction, Ending, Filters};
use crate::device::Shared;
use crate::movement::{Element, argsort, concat, cumulative_sum, gather, pad, scatter_add};
use crate::pooling;
use dropforge_ir::interpret::{Numbers, Rounding, apply};
use dropforge_ir::{Array, Data, Error, Result, ValueType};

impl Call {
    /// Runs the operation.
    ///
    /// # Safety
    /// `arg` and `result` give memory of the sizes that the call was made for; results overlap nothing; nobody else
    /// uses the memory or the scratch space.
    pub(crate) unsafe fn run(
        &self,
        arg: &dyn Fn(usize) -> *mut u8,
        result: &dyn Fn(usize) -> *mut u8,
        scratch: &Scratch,
        shared: &Shared,
    ) {
        // SAFETY: one call at a time runs, so that it has the scratch space for itself; the caller promises the rest.
        unsafe { self.run_on(arg, result, scratch.take(), shared) }
    }

    /// Runs the operation, and a loop kernel on each part of its result that is finished; with the packed operand in
    /// the place of the second one, if there is one.
    ///
    /// # Safety
    /// As for [`Call::run`]; the packed operand is what [`Call::pack`] made of the second one.
    /// [`Call::can_be_followed`] allows a loop kernel to follow; it is elementwise, visits the elements of the result
    /// in row-major order and writes nothing that the operation reads.
    pub(crate) unsafe fn run_with(
        &self,
        arg: &dyn Fn(usize) -> *mut u8,
        result: &dyn Fn(usize) -> *mut u8,
        extras: Extras,
        scratch: &Scratch,
        shared: &Shared,
    ) {
        let Extras { following, channelwise, packed } = extras;
        match (self, following) {
            (Call::Product { matmul, offsets }, _) if following.is_some() || packed.is_some() => {
                let [rows, columns] =
                    matmul.row_major_output().map_or([0, 0], |(rows, columns)| [rows, columns]);
                let packed = packed.map(<[f32]>::as_ptr);
                // SAFETY: the caller's promise; tiles cover the output once, so that each element is visited once,
                // after it is finished, and by the thread that finished it.
                unsafe {
                    let lhs = arg(0).cast::<f32>().cast_const().offset(offsets[0]);
                    let rhs = arg(1).cast::<f32>().cast_const().offset(offsets[1]);
                    let scratch = scratch.take().as_mut_ptr();
                    matmul.run_packed([lhs, rhs], packed, result(0).cast(), scratch, &shared.pool, &|tile| {
                        if let Some(following) = following {
                            let aside = tile.aside.map(|_| following.product);
                            let parts = tile.ranges(rows, columns);
                            following.kernel.run_elements(following.operand, aside, parts);
                        }
                    });
                }
            }
            (Call::Convolution { convolution, .. }, _)
                if following.is_some() || channelwise.is_some() || packed.is_some() =>
            {
                let [a, b, out] = operand_lengths(convolution);
                // SAFETY: as above, for parts of the result.
                let finish = |part: conv::Part| unsafe {
                    if let Some(following) = following {
                        let parts = part.ranges().map(|range| (range, None));
                        following.kernel.run_elements(following.operand, None, parts);
                    }
                };
                // SAFETY: the caller promises memory of these sizes that nobody else uses.
                unsafe {
                    let filters = match packed {
                        Some(packed) => Filters::Packed(packed),
                        None => Filters::Plain(std::slice::from_raw_parts(arg(1).cast::<f32>(), b)),
                    };
                    let a = std::slice::from_raw_parts(arg(0).cast::<f32>(), a);
                    let out = std::slice::from_raw_parts_mut(result(0).cast::<f32>(), out);
                    let finish = following.map(|_| &finish as conv::Finish);
                    let ending = Ending { each: channelwise, finish };
                    convolution.run(a, filters, out, scratch.take(), &shared.pool, ending);
                }
            }
            // SAFETY: the caller's promise.
            _ => unsafe { self.run(arg, result, scratch, shared) },
        }
    }

    /// As [`Call::run`], with [`Call::scratch`] elements of scratch space.
    ///
    /// # Safety
    /// As for [`Call::run`].
    pub(crate) unsafe fn run_on(
        &self,
        arg: &dyn Fn(usize) -> *mut u8,
        result: &dyn Fn(usize) -> *mut u8,
        scratch: &mut [f32],
        shared: &Shared,
    ) {
        // SAFETY: the caller promises memory of these sizes that nobody else uses, and results that overlap nothing.
        let floats = |index: usize, length: usize| unsafe {
            std::slice::from_raw_parts(arg(index).cast::<f32>(), length)
        };
        // SAFETY: as above.
        let target =
            |length: usize| unsafe { std::slice::from_raw_parts_mut(result(0).cast::<f32>(), length) };
        match self {
            Call::Product { matmul, offsets } => {
                let (lhs, rhs) = (arg(0).cast::<f32>().cast_const(), arg(1).cast::<f32>().cast_const());
                // SAFETY: the offsets are inside the operands, the strides those of the plan's views, and the scratch
                // space as large as the call asked for.
                unsafe {
                    let (lhs, rhs) = (lhs.offset(offsets[0]), rhs.offset(offsets[1]));
                    matmul.run(lhs, rhs, result(0).cast(), scratch.as_mut_ptr(), &shared.pool);
                }
            }
            Call::Convolution { is_pooled: true, convolution, .. } => {
                let (shape, direction) = (convolution.shape(), convolution.direction());
                let (input, filter, pooled) = (shape.input_len(), shape.filter_len(), shape.pooled_len());
                let is_forward = direction == Direction::Forward;
                let [a, b, out] = match direction {
                    Direction::Forward => [input, filter, pooled],
                    Direction::InputGradient => [pooled, filter, input],
                    Direction::FilterGradient => [input, pooled, filter],
                };
                // SAFETY: forward there is a second result with a position for each pooled value, backward a third
                // argument.
                let (positions, out_positions): (&[i32], &mut [i32]) = unsafe {
                    if is_forward {
                        (&[], std::slice::from_raw_parts_mut(result(1).cast::<i32>(), pooled))
                    } else {
                        (std::slice::from_raw_parts(arg(2).cast::<i32>(), pooled), &mut [])
                    }
                };
                let (a, b, out) = (floats(0, a), floats(1, b), target(out));
                let operands = conv::Operands { a, b, positions, out, out_positions };
                conv::run_pooled(direction, shape, operands, scratch, &shared.pool, shared.level);
            }
            Call::Convolution { convolution, .. } => {
                let [a, b, out] = operand_lengths(convolution);
                let (a, b, out) = (floats(0, a), floats(1, b), target(out));
                convolution.run(a, Filters::Plain(b), out, scratch, &shared.pool, Ending::default());
            }
            Call::Concat { element: 4, .. }
            | Call::Pad { element: 4, .. }
            | Call::Gather { element: 4, .. } => {
                // SAFETY: as this function's.
                unsafe { self.move_elements::<u32>(arg, result, shared) };
            }
            Call::Concat { element: 2, .. }
            | Call::Pad { element: 2, .. }
            | Call::Gather { element: 2, .. } => {
                // SAFETY: as this function's.
                unsafe { self.move_elements::<u16>(arg, result, shared) };
            }
            Call::Concat { .. } | Call::Pad { .. } | Call::Gather { .. } => {
                // SAFETY: as this function's.
                unsafe { self.move_elements::<u8>(arg, result, shared) };
            }
            Call::ScatterAdd { shape, indices } => {
                let updates = floats(0, shape.outer * indices * shape.inner);
                // SAFETY: the argument holds that many indices.
                let positions = unsafe { std::slice::from_raw_parts(arg(1).cast::<i32>(), *indices) };
                scatter_add(
                    *shape,
                    updates,
                    positions,
                    target(shape.outer * shape.size * shape.inner),
                    &shared.pool,
                );
            }
            Call::ArgSort { shape, descending, of_floats } => {
                let length = shape.outer * shape.size * shape.inner;
                // SAFETY: argument and result have that many elements, of these types.
                let (integers, out) = unsafe {
                    let integers = std::slice::from_raw_parts(arg(0).cast::<i32>(), length);
                    (integers, std::slice::from_raw_parts_mut(result(0).cast::<i32>(), length))
                };
                if *of_floats {
                    argsort(*shape, *descending, floats(0, length), out, &shared.pool);
                } else {
                    argsort(*shape, *descending, integers, out, &shared.pool);
                }
            }
            Call::CumulativeSum { shape, reverse, of_floats: true } => {
                let length = shape.outer * shape.size * shape.inner;
                cumulative_sum(*shape, *reverse, floats(0, length), target(length), &shared.pool);
            }
            Call::CumulativeSum { shape, reverse, of_floats: false } => {
                let length = shape.outer * shape.size * shape.inner;
                // SAFETY: argument and result have that many elements.
                let (from, out) = unsafe {
                    let from = std::slice::from_raw_parts(arg(0).cast::<i32>(), length);
                    (from, std::slice::from_raw_parts_mut(result(0).cast::<i32>(), length))
                };
                cumulative_sum(*shape, *reverse, from, out, &shared.pool);
            }
            Call::MaxPool { shape, values_only } => {
                // SAFETY: the second result has as many positions as the first has values.
                let positions = (!values_only).then(|| unsafe {
                    std::slice::from_raw_parts_mut(result(1).cast::<i32>(), shape.output_len())
                });
                let (x, values) = (floats(0, shape.input_len()), target(shape.output_len()));
                pooling::max_pool(shape, x, values, positions, &shared.pool, shared.level);
            }
            Call::MaxPoolGradient { window, planes, plane, per_plane } => {
                let gradient = floats(0, planes * per_plane);
                // SAFETY: the argument has a position for each gradient.
                let positions =
                    unsafe { std::slice::from_raw_parts(arg(1).cast::<i32>(), planes * per_plane) };
                let out = target(planes * plane);
                match window {
                    Some(shape) => {
                        pooling::max_pool_gradient(
                            shape,
                            gradient,
                            positions,
                            out,
                            &shared.pool,
                            shared.level,
                        );
                    }
                    None => add_at_positions(gradient, positions, *per_plane, out, *plane),
                }
            }
            Call::WindowSum { shape, transposed: false } => {
                let (x, out) = (floats(0, shape.input_len()), target(shape.output_len()));
                pooling::window_sum(shape, 1.0, x, out, &shared.pool, shared.level);
            }
            Call::WindowSum { shape, transposed: true } => {
                let (gradient, out) = (floats(0, shape.output_len()), target(shape.input_len()));
                pooling::window_sum_transpose(shape, 1.0, gradient, out, &shared.pool, shared.level);
            }
            Call::Attention { attention, offsets } => {
                let (scratch, pool) = (scratch.as_mut_ptr(), &shared.pool);
                // SAFETY: the offsets are inside the operands, layouts those of the plan's views.
                unsafe {
                    let first = |index: usize| arg(index).cast::<f32>().cast_const().offset(offsets[index]);
                    let pointers = AttentionPointers {
                        query: first(0),
                        key: first(1),
                        value: first(2),
                        output: result(0).cast(),
                        logsumexp: result(1).cast(),
                    };
                    attention.run(&pointers, scratch, pool);
                }
            }
            Call::AttentionGradient { gradient, offsets } => {
                let (scratch, pool) = (scratch.as_mut_ptr(), &shared.pool);
                let whole = |index: usize| arg(index).cast::<f32>().cast_const();
                // SAFETY: as above.
                unsafe {
                    let pointers = AttentionGradientPointers {
                        query: whole(0).offset(offsets[0]),
                        key: whole(1).offset(offsets[1]),
                        value: whole(2).offset(offsets[2]),
                        output: whole(3),
                        logsumexp: whole(4),
                        output_gradient: whole(5).offset(offsets[3]),
                        query_gradient: result(0).cast(),
                        key_gradient: result(1).cast(),
                        value_gradient: result(2).cast(),
                    };
                    gradient.run(&pointers, scratch, pool);
                }
            }
            Call::Pairs(product) => {
                let args = [0, 1].map(|index: usize| arg(index).cast::<u16>().cast_const());
                // SAFETY: as this function's.
                unsafe { product.run(args, result(0), scratch, &shared.pool) }
            }
            // SAFETY: as this function's.
            Call::Scan(scan) => unsafe { scan.run(arg, result, shared) },
            // SAFETY: as this function's.
            Call::OnHalves(call) => unsafe { call.run(arg, result, scratch, shared) },
            Call::Interpreted { op, args, results } => {
                let read = |(index, ty): (usize, &ValueType)| -> Result<Numbers> {
                    // SAFETY: the argument holds that many bytes.
                    let bytes = unsafe { std::slice::from_raw_parts(arg(index), ty.bytes()) };
                    Data::from_bytes(ty.dtype, bytes)
                        .and_then(|data| Array::new(ty.shape.clone(), data))
                        .map(|array| Numbers::from(&array))
                        .ok_or_else(|| Error::new(op.name(), "an argument has another size"))
                };
                let numbers: Result<Vec<Numbers>> = args.iter().enumerate().map(read).collect();
                let computed = numbers
                    .and_then(|numbers| apply(op, &numbers.iter().collect::<Vec<_>>(), Rounding::Single))
                    .expect("the shape rule accepted these arguments");
                for (index, (ty, numbers)) in results.iter().zip(computed).enumerate() {
                    let array = numbers.to_array();
                    // SAFETY: the result has room for that many bytes.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            array.data().bytes().as_ptr(),
                            result(index),
                            ty.bytes(),
                        )
                    };
                }
            }
        }
    }
}

impl Call {
    /// Runs an operation that moves elements of one size without looking at them.
    ///
    /// # Safety
    /// As for `run`; elements have the size of `T`.
    unsafe fn move_elements<T: Element + Bits>(
        &self,
        arg: &dyn Fn(usize) -> *mut u8,
        result: &dyn Fn(usize) -> *mut u8,
        shared: &Shared,
    ) {
        // SAFETY: the caller promises memory of these sizes that nobody else uses, and results that overlap nothing.
        let source = |index: usize, length: usize| unsafe {
            std::slice::from_raw_parts(arg(index).cast::<T>(), length)
        };
        // SAFETY: as above.
        let target = |length: usize| unsafe { std::slice::from_raw_parts_mut(result(0).cast::<T>(), length) };
        match self {
            Call::Concat { outer, lengths, .. } => {
                let part = |(index, &length): (usize, &usize)| (source(index, outer * length), length);
                let parts = lengths.iter().enumerate().map(part);
                let target = target(outer * lengths.iter().sum::<usize>());
                // A step takes no memory for a few.
                let mut few: [(&[T], usize); 8] = [(&[], 0); 8];
                match few.get_mut(..lengths.len()) {
                    Some(few) => {
                        few.iter_mut().zip(parts).for_each(|(place, part)| *place = part);
                        concat(*outer, few, target, &shared.pool);
                    }
                    None => concat(*outer, &parts.collect::<Vec<_>>(), target, &shared.pool),
                }
            }
            Call::Pad { padding, value, from, to, .. } => {
                pad(padding, source(0, *from), T::from_bits(*value), target(*to), &shared.pool);
            }
            Call::Gather { shape, indices, .. } => {
                // SAFETY: the argument holds that many indices.
                let positions = unsafe { std::slice::from_raw_parts(arg(1).cast::<i32>(), *indices) };
                let operand = source(0, shape.outer * shape.size * shape.inner);
                gather(*shape, operand, positions, target(shape.outer * indices * shape.inner), &shared.pool);
            }
            _ => unreachable!("{} moves nothing", self.describe()),
        }
    }
}

/// Elements by their bits.
trait Bits {
    fn from_bits(bytes: [u8; 4]) -> Self;
}

impl Bits for u32 {
    fn from_bits(bytes: [u8; 4]) -> u32 {
        u32::from_le_bytes(bytes)
    }
}

impl Bits for u16 {
    fn from_bits(bytes: [u8; 4]) -> u16 {
        u16::from_le_bytes([bytes[0], bytes[1]])
    }
}

impl Bits for u8 {
    fn from_bits(bytes: [u8; 4]) -> u8 {
        bytes[0]
    }
}

/// Elements of the three operands of a convolution, the result last.
fn operand_lengths(convolution: &conv::Prepared) -> [usize; 3] {
    let shape = convolution.shape();
    let (input, filter, output) = (shape.input_len(), shape.filter_len(), shape.output_len());
    match convolution.direction() {
        Direction::Forward => [input, filter, output],
        Direction::InputGradient => [output, filter, input],
        Direction::FilterGradient => [input, output, filter],
    }
}

/// Gradients added at any positions; those outside their plane add nothing.
fn add_at_positions(gradient: &[f32], positions: &[i32], per_plane: usize, out: &mut [f32], plane: usize) {
    out.fill(0.0);
    for (index, (&value, &position)) in gradient.iter().zip(positions).enumerate() {
        if let Ok(position) = usize::try_from(position)
            && position < plane
        {
            out[index / per_plane * plane + position] += value;
        }
    }
}
