//! Library operations: which kernel serves which operation, decided once when a plan is loaded.

use crate::attention::{
    Attention, AttentionGradient, AttentionGradientLayout, AttentionGradientPointers, AttentionLayout,
    AttentionPointers, AttentionShape, HeadStrides,
};
use crate::conv::{self, ConvShape, Direction, Filters};
use crate::device::Shared;
use crate::halves::OnHalves;
use crate::matmul::{Axis, DotAxes, Matmul};
use crate::memory::AlignedBuffer;
use crate::movement::{
    Element, IndexedShape, Padding, argsort, concat, cumulative_sum, gather, pad, scatter_add,
};
use crate::pairs::{PairProduct, PairShape, Pairs};
use crate::pooling::{self, PoolShape};
use crate::scan::Scan;
use crate::vm;
use dropforge_ir::interpret::{Numbers, Precision, apply};
use dropforge_ir::{
    Array, ConvolutionWindow, DType, Data, Error, Literal, Op, PoolWindow, Result, ValueType,
};
use dropforge_plan::plan::Argument;
use std::cell::UnsafeCell;

/// Memory that kernels may use while they run; contents do not survive a kernel.
pub(crate) struct Scratch {
    memory: UnsafeCell<AlignedBuffer>,
}

impl Scratch {
    pub(crate) fn new(memory: AlignedBuffer) -> Scratch {
        Scratch { memory: UnsafeCell::new(memory) }
    }

    pub(crate) fn bytes(&self) -> usize {
        // SAFETY: only the length is read, which never changes.
        unsafe { (*self.memory.get()).as_bytes().len() }
    }

    /// # Safety
    /// One kernel at a time uses the scratch space.
    #[allow(clippy::mut_from_ref, reason = "the caller promises to be alone")]
    unsafe fn take(&self) -> &mut [f32] {
        // SAFETY: the caller is the only user.
        unsafe { &mut *self.memory.get() }
    }
}

/// A library operation with everything that can be decided before it runs.
pub(crate) enum Call {
    /// A product; the offsets are the first elements of the two sides.
    Product { matmul: Matmul, offsets: [isize; 2] },
    /// A convolution in one of its directions.
    Convolution {
        convolution: Box<conv::Prepared>,
        scratch: usize,
        /// Whether the output is pooled: see [`Call::pool_output`].
        is_pooled: bool,
    },
    /// A joining of arguments, each with so many elements for each of `outer` positions.
    Concat { outer: usize, lengths: Vec<usize>, element: usize },
    /// A padding with the bits of an element.
    Pad { padding: Padding, value: [u8; 4], from: usize, to: usize, element: usize },
    /// Slices picked by index.
    Gather { shape: IndexedShape, indices: usize, element: usize },
    /// Slices added by index.
    ScatterAdd { shape: IndexedShape, indices: usize },
    /// Positions in the order of the elements, which are f32 or i32.
    ArgSort { shape: IndexedShape, descending: bool, of_floats: bool },
    /// Running sums of f32 or i32.
    CumulativeSum { shape: IndexedShape, reverse: bool, of_floats: bool },
    /// The largest elements of windows and their positions, unless nobody needs these.
    MaxPool { shape: PoolShape, values_only: bool },
    /// Gradients added at positions of planes of `plane` elements; with the windows that the positions come from, if these
    /// are known.
    MaxPoolGradient { window: Option<PoolShape>, planes: usize, plane: usize, per_plane: usize },
    /// Sums of windows, or their transpose.
    WindowSum { shape: PoolShape, transposed: bool },
    /// Attention; the offsets are the first elements of query, key and value.
    Attention { attention: Attention, offsets: [isize; 3] },
    /// The gradients of attention; the offsets are the first elements of query, key, value and the output's gradient.
    AttentionGradient { gradient: AttentionGradient, offsets: [isize; 4] },
    /// A loop.
    Scan(Box<Scan>),
    /// A product or convolution of bf16.
    Pairs(Box<PairProduct>),
    /// An operation on halves by the kernel of f32.
    OnHalves(Box<OnHalves>),
    /// By the plain interpreter: for operations that no kernel serves.
    Interpreted { op: Op, args: Vec<ValueType>, results: Vec<ValueType> },
}

/// A loop kernel that runs on finished parts of a product or convolution.
pub(crate) struct Following<'a> {
    pub kernel: &'a vm::Compiled,
    /// Where its operands lie, as for [`vm::Compiled::run`].
    pub operand: &'a (dyn Fn(usize, usize) -> *mut u8 + Sync),
    /// Which of them is the product or the convolution's result.
    pub product: usize,
}

/// What an operation may be given beside its operands.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extras<'a> {
    /// What runs on finished parts of the result.
    pub following: Option<&'a Following<'a>>,
    /// A convolution's filters or the right side of a product, packed before.
    pub packed: Option<&'a [f32]>,
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

impl Call {
    /// Chooses the kernel of an operation. `source` says which operation makes an argument.
    pub(crate) fn new<'a>(
        op: &Op,
        args: &[Argument],
        results: &[&ValueType],
        source: impl Fn(usize) -> &'a Op,
        shared: &Shared,
    ) -> Result<Call> {
        let dtypes = args.iter().map(|arg| arg.ty.dtype).chain(results.iter().map(|ty| ty.dtype));
        let takes_any =
            matches!(op, Op::Concat { .. } | Op::Pad { .. } | Op::Gather { .. } | Op::Scan { .. });
        if !takes_any && dtypes.into_iter().any(DType::is_half) {
            if let Some(product) = pair_product(op, args, results, shared) {
                return Ok(Call::Pairs(Box::new(product)));
            }
            // A function of the plain type, or this one would be made for ever deeper closures.
            let source: &dyn Fn(usize) -> &'a Op = &source;
            return Ok(Call::OnHalves(Box::new(OnHalves::new(op, args, results, source, shared)?)));
        }
        let threads = shared.pool.threads();
        let convolution =
            |direction: Direction, window: &ConvolutionWindow, x: &ValueType, filter: &ValueType| {
                let shape = conv_shape(window, x, filter);
                let algorithm = conv::choose(&shape, direction, shared.level, threads);
                let convolution =
                    Box::new(conv::Prepared::new(algorithm, direction, &shape, shared.level, threads));
                Call::Convolution { scratch: convolution.scratch_len(), convolution, is_pooled: false }
            };
        Ok(match op {
            Op::Dot { .. } => {
                let axes = dot_axes(op, args, results[0]);
                let offsets = [args[0].offset as isize, args[1].offset as isize];
                Call::Product { matmul: Matmul::new(axes.matmul(), threads), offsets }
            }
            Op::Convolution { window } => convolution(Direction::Forward, window, &args[0].ty, &args[1].ty),
            Op::ConvolutionInputGradient { window, .. } => {
                convolution(Direction::InputGradient, window, results[0], &args[1].ty)
            }
            Op::ConvolutionFilterGradient { window, .. } => {
                convolution(Direction::FilterGradient, window, &args[0].ty, results[0])
            }
            Op::Concat { axis } => {
                let inner = |ty: &ValueType| ty.shape[*axis..].iter().product::<usize>();
                Call::Concat {
                    outer: results[0].shape[..*axis].iter().product(),
                    lengths: args.iter().map(|arg| inner(&arg.ty)).collect(),
                    element: results[0].dtype.size(),
                }
            }
            Op::Pad { low, high, interior, value } => {
                let bits = Literal::scalar(results[0].dtype, value.0);
                let mut word = [0; 4];
                word[..bits.bytes().len()].copy_from_slice(bits.bytes());
                Call::Pad {
                    padding: Padding::new(&args[0].ty.shape, low, high, interior),
                    value: word,
                    from: args[0].ty.shape.elements(),
                    to: results[0].shape.elements(),
                    element: results[0].dtype.size(),
                }
            }
            Op::Gather { axis } => Call::Gather {
                shape: IndexedShape::new(&args[0].ty.shape, *axis),
                indices: args[1].ty.shape.elements(),
                element: results[0].dtype.size(),
            },
            Op::ScatterAdd { axis, .. } => Call::ScatterAdd {
                shape: IndexedShape::new(&results[0].shape, *axis),
                indices: args[1].ty.shape.elements(),
            },
            Op::ArgSort { axis, descending } => Call::ArgSort {
                shape: IndexedShape::new(&args[0].ty.shape, *axis),
                descending: *descending != 0,
                of_floats: args[0].ty.dtype == DType::F32,
            },
            Op::CumulativeSum { axis, reverse } => Call::CumulativeSum {
                shape: IndexedShape::new(&args[0].ty.shape, *axis),
                reverse: *reverse != 0,
                of_floats: args[0].ty.dtype == DType::F32,
            },
            Op::MaxPool { window } => {
                Call::MaxPool { shape: pool_shape(window, &args[0].ty), values_only: false }
            }
            Op::MaxPoolGradient { .. } => {
                let (planes, plane) = planes(results[0]);
                let window = match source(1) {
                    Op::MaxPool { window } => {
                        let shape = pool_shape(window, results[0]);
                        (shape.output_len() == args[1].ty.shape.elements()).then_some(shape)
                    }
                    _ => None,
                };
                Call::MaxPoolGradient { window, planes, plane, per_plane: self::planes(&args[1].ty).1 }
            }
            Op::WindowSum { window } => {
                Call::WindowSum { shape: pool_shape(window, &args[0].ty), transposed: false }
            }
            Op::WindowSumTranspose { window, .. } => {
                Call::WindowSum { shape: pool_shape(window, results[0]), transposed: true }
            }
            Op::Attention { causal, scale } => {
                let shape = attention_shape(args, *causal, scale.0);
                let attention = Attention::new(shape, attention_layout(args, &shape), threads);
                Call::Attention { attention, offsets: [0, 1, 2].map(|arg: usize| args[arg].offset as isize) }
            }
            Op::AttentionGradient { causal, scale } => {
                let shape = attention_shape(args, *causal, scale.0);
                let layout = AttentionGradientLayout {
                    forward: attention_layout(args, &shape),
                    output_gradient: head_strides(&args[5]),
                    ..AttentionGradientLayout::contiguous(&shape)
                };
                let gradient = AttentionGradient::new(shape, layout, threads);
                let offsets = [0, 1, 2, 5].map(|arg: usize| args[arg].offset as isize);
                Call::AttentionGradient { gradient, offsets }
            }
            Op::Scan { body, carries, stacked, trips, reverse } => {
                Call::Scan(Box::new(Scan::new(body, [*carries, *stacked, *trips], *reverse != 0, shared)?))
            }
            _ => Call::Interpreted {
                op: op.clone(),
                args: args.iter().map(|arg| arg.ty.clone()).collect(),
                results: results.iter().map(|&ty| ty.clone()).collect(),
            },
        })
    }

    /// Scratch space that a run needs, in bytes.
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.scratch() * size_of::<f32>()
    }

    /// Scratch space that a run needs, in elements.
    pub(crate) fn scratch(&self) -> usize {
        match self {
            Call::Product { matmul, .. } => matmul.scratch(),
            Call::Convolution { scratch, .. } => *scratch,
            Call::Attention { attention, .. } => attention.scratch(),
            Call::AttentionGradient { gradient, .. } => gradient.scratch(),
            Call::OnHalves(call) => call.scratch(),
            Call::Pairs(product) => product.scratch(),
            _ => 0,
        }
    }

    /// Memory that the operation keeps for itself, in bytes.
    pub(crate) fn own_bytes(&self) -> usize {
        match self {
            Call::Scan(scan) => scan.own_bytes(),
            _ => 0,
        }
    }

    /// The choice, for listings.
    pub(crate) fn describe(&self) -> String {
        match self {
            Call::Convolution { convolution, is_pooled, .. } => {
                let pool = if *is_pooled { " with pool" } else { "" };
                format!("{:?}{pool}", convolution.algorithm()).to_lowercase()
            }
            Call::Interpreted { .. } => "interpreted".into(),
            Call::OnHalves(call) => call.describe(),
            Call::Scan(scan) => scan.describe(),
            Call::Pairs(product) => product.describe(),
            _ => String::new(),
        }
    }

    /// Whether a loop kernel can run on parts of the result as they are finished: see [`Call::run_with`].
    pub(crate) fn can_be_followed(&self) -> bool {
        match self {
            Call::Product { matmul, .. } => matmul.row_major_output().is_some(),
            Call::Convolution { convolution, is_pooled, .. } => !is_pooled && convolution.tells_parts(),
            _ => false,
        }
    }

    /// The windows, if this is a max-pool or the gradient of one.
    pub(crate) fn pool_shape(&self) -> Option<&PoolShape> {
        match self {
            Call::MaxPool { shape, .. } | Call::MaxPoolGradient { window: Some(shape), .. } => Some(shape),
            _ => None,
        }
    }

    /// Whether this is a convolution that can be computed together with a max-pool of its output.
    pub(crate) fn can_pool_output(&self, windows: &PoolShape) -> bool {
        let Call::Convolution { convolution, .. } = self else { return false };
        let shape = convolution.shape();
        conv::supports_pool(convolution.algorithm(), shape)
            && windows.is_two_by_two()
            && windows.input == shape.output()
            && windows.planes == shape.batch * shape.out_channels
    }

    /// Makes a convolution that [`Call::can_pool_output`] do so. Forward it then has the two results of the pool; its gradients
    /// take the gradient of the pooled output, and have the positions as a third argument.
    pub(crate) fn pool_output(&mut self, shared: &Shared) {
        if let Call::Convolution { convolution, scratch, is_pooled } = self {
            *is_pooled = true;
            let (direction, threads) = (convolution.direction(), shared.pool.threads());
            *scratch = conv::pooled_scratch_len(direction, convolution.shape(), shared.level, threads);
        }
    }

    /// Whether this is a gradient of a convolution.
    pub(crate) fn is_convolution_gradient(&self) -> bool {
        matches!(self, Call::Convolution { convolution, .. } if convolution.direction() != Direction::Forward)
    }

    /// Says that nobody needs the positions of a max-pool.
    pub(crate) fn leave_out_positions(&mut self) {
        if let Call::MaxPool { values_only, .. } = self {
            *values_only = true;
        }
    }

    /// Lets a product keep its right side from run to run, packed by [`Call::pack_right`]. Returns whether it does so.
    pub(crate) fn keep_right(&mut self, shared: &Shared) -> bool {
        let Call::Product { matmul, .. } = self else { return false };
        let Some(keeping) = matmul.keeping_right(shared.pool.threads()) else { return false };
        *matmul = keeping;
        true
    }

    /// The memory for the right side of a product that keeps it, in elements.
    pub(crate) fn packed_right_len(&self) -> usize {
        match self {
            Call::Product { matmul, .. } => matmul.packed_len(),
            _ => 0,
        }
    }

    /// Packs one of several parts of the right side of a product that keeps it.
    ///
    /// # Safety
    /// `right` is where that operand of the plan lies; `packed` has room for [`Call::packed_right_len`] elements, and nobody else
    /// touches this part.
    pub(crate) unsafe fn pack_right(&self, right: *const u8, packed: *mut f32, part: usize, parts: usize) {
        if let Call::Product { matmul, offsets } = self {
            // SAFETY: the caller's promise; the offset is inside the operand.
            unsafe { matmul.pack(right.cast::<f32>().offset(offsets[1]), packed, part, parts) };
        }
    }

    /// Says that nobody needs the product but the loop kernel that follows it element by element.
    pub(crate) fn put_product_aside(&mut self) {
        if let Call::Product { matmul, .. } = self {
            matmul.put_output_aside();
        }
    }

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

    /// Runs the operation, and a loop kernel on each part of its result that is finished; and a convolution with packed filters
    /// in the place of its own, if there are some.
    ///
    /// # Safety
    /// As for [`Call::run`]; the packed filters are those of this convolution. [`Call::can_be_followed`] allows a loop kernel
    /// to follow; it is elementwise, visits the elements of the result in row-major order and writes nothing that the
    /// operation reads.
    pub(crate) unsafe fn run_with(
        &self,
        arg: &dyn Fn(usize) -> *mut u8,
        result: &dyn Fn(usize) -> *mut u8,
        extras: Extras,
        scratch: &Scratch,
        shared: &Shared,
    ) {
        let Extras { following, packed } = extras;
        match (self, following) {
            (Call::Product { matmul, offsets }, _) if following.is_some() || packed.is_some() => {
                let [rows, columns] =
                    matmul.row_major_output().map_or([0, 0], |(rows, columns)| [rows, columns]);
                let packed = packed.map(<[f32]>::as_ptr);
                // SAFETY: the caller's promise; tiles cover the output once, so that each element is visited once, after it
                // is finished, and by the thread that finished it.
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
            (Call::Convolution { convolution, .. }, _) if following.is_some() || packed.is_some() => {
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
                    convolution.run(a, filters, out, scratch.take(), &shared.pool, finish);
                }
            }
            // SAFETY: the caller's promise.
            _ => unsafe { self.run(arg, result, scratch, shared) },
        }
    }

    /// The memory for packed filters, in elements; 0 where there is nothing to pack.
    pub(crate) fn packed_len(&self) -> usize {
        match self {
            Call::Convolution { convolution, is_pooled: false, .. } => convolution.packed_len(),
            _ => 0,
        }
    }

    /// Packs the filters of a convolution.
    ///
    /// # Safety
    /// `filters` are this convolution's.
    pub(crate) unsafe fn pack(&self, filters: *const f32, packed: &mut [f32], shared: &Shared) {
        if let Call::Convolution { convolution, .. } = self {
            let length = convolution.shape().filter_len();
            // SAFETY: the caller's promise.
            let filters = unsafe { std::slice::from_raw_parts(filters, length) };
            convolution.pack(filters, packed, &shared.pool);
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
                // SAFETY: forward there is a second result with a position for each pooled value, backward a third argument.
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
                convolution.run(a, Filters::Plain(b), out, scratch, &shared.pool, None);
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
                    .and_then(|numbers| apply(op, &numbers.iter().collect::<Vec<_>>(), Precision::Single))
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
                let parts: Vec<(&[T], usize)> = lengths
                    .iter()
                    .enumerate()
                    .map(|(index, &length)| (source(index, outer * length), length))
                    .collect();
                concat(*outer, &parts, target(outer * lengths.iter().sum::<usize>()), &shared.pool);
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

/// The number of planes of an image and the elements of one.
fn planes(image: &ValueType) -> (usize, usize) {
    (image.shape[0] * image.shape[1], image.shape[2] * image.shape[3])
}

fn pool_shape(window: &PoolWindow, x: &ValueType) -> PoolShape {
    PoolShape {
        planes: planes(x).0,
        input: [x.shape[2], x.shape[3]],
        kernel: window.kernel,
        stride: window.stride,
        pad_low: window.low,
        pad_high: window.high,
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

fn attention_shape(args: &[Argument], causal: usize, scale: f64) -> AttentionShape {
    let (query, key) = (&args[0].ty.shape, &args[1].ty.shape);
    AttentionShape {
        batch: query[0],
        heads: query[1],
        queries: query[2],
        keys: key[2],
        size: query[3],
        causal: causal != 0,
        scale: scale as f32,
    }
}

fn head_strides(arg: &Argument) -> HeadStrides {
    let stride = |axis: usize| arg.strides[axis] as isize;
    HeadStrides { batch: stride(0), head: stride(1), position: stride(2) }
}

/// Queries, keys and values as they lie; outputs are contiguous.
fn attention_layout(args: &[Argument], shape: &AttentionShape) -> AttentionLayout {
    AttentionLayout {
        query: head_strides(&args[0]),
        key: head_strides(&args[1]),
        value: head_strides(&args[2]),
        ..AttentionLayout::contiguous(shape)
    }
}

/// The axes of a product of strided views.
/// A product or convolution of bf16 by the instructions that there are for it, where they are faster.
fn pair_product(op: &Op, args: &[Argument], results: &[&ValueType], shared: &Shared) -> Option<PairProduct> {
    let pairs = shared.pairs?;
    let of_bf16 = op.is_contraction() && args.iter().all(|arg| arg.ty.dtype == DType::BF16);
    if !of_bf16 || !matches!(results[0].dtype, DType::F32 | DType::BF16) {
        return None;
    }
    let convolution =
        |direction: Direction, window: &ConvolutionWindow, x: &ValueType, filter: &ValueType| {
            PairShape::of_convolution(&conv_shape(window, x, filter), direction, results[0].dtype)
        };
    let shape = match op {
        Op::Convolution { window } => convolution(Direction::Forward, window, &args[0].ty, &args[1].ty),
        Op::ConvolutionInputGradient { window, .. } => {
            convolution(Direction::InputGradient, window, results[0], &args[1].ty)
        }
        Op::ConvolutionFilterGradient { window, .. } => {
            convolution(Direction::FilterGradient, window, &args[0].ty, results[0])
        }
        _ => {
            let offsets = [args[0].offset as isize, args[1].offset as isize];
            PairShape::of_matmul(dot_axes(op, args, results[0]).matmul(), offsets, results[0].dtype)
        }
    };
    // The portable pairs are there to be tested, by small products as well.
    let shape = shape.filter(|shape| pairs == Pairs::Portable || shape.pays())?;
    Some(PairProduct::new(shape, pairs, shared))
}

fn conv_shape(window: &ConvolutionWindow, x: &ValueType, filter: &ValueType) -> ConvShape {
    ConvShape {
        batch: x.shape[0],
        in_channels: x.shape[1],
        out_channels: filter.shape[0],
        groups: window.groups,
        input: [x.shape[2], x.shape[3]],
        kernel: [filter.shape[2], filter.shape[3]],
        stride: window.stride,
        pad_low: window.low,
        pad_high: window.high,
        dilation: window.dilation,
    }
}

fn dot_axes(op: &Op, args: &[Argument], result: &ValueType) -> DotAxes {
    let Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } = op else {
        unreachable!("only products have axes to contract");
    };
    let (lhs, rhs) = (&args[0], &args[1]);
    let stride = |arg: &Argument, axis: usize| arg.strides[axis] as isize;
    let pair = |left: &[usize], right: &[usize]| -> Vec<Axis> {
        let both = left.iter().zip(right);
        both.map(|(&l, &r)| Axis {
            extent: lhs.ty.shape[l],
            lhs: stride(lhs, l),
            rhs: stride(rhs, r),
            out: 0,
        })
        .collect()
    };
    let free = |rank: usize, batch: &[usize], contract: &[usize]| -> Vec<usize> {
        (0..rank).filter(|axis| !batch.contains(axis) && !contract.contains(axis)).collect()
    };
    let mut axes = DotAxes {
        batch: pair(lhs_batch, rhs_batch),
        lhs_free: free(lhs.ty.shape.rank(), lhs_batch, lhs_contract)
            .into_iter()
            .map(|axis| Axis { extent: lhs.ty.shape[axis], lhs: stride(lhs, axis), rhs: 0, out: 0 })
            .collect(),
        rhs_free: free(rhs.ty.shape.rank(), rhs_batch, rhs_contract)
            .into_iter()
            .map(|axis| Axis { extent: rhs.ty.shape[axis], lhs: 0, rhs: stride(rhs, axis), out: 0 })
            .collect(),
        contract: pair(lhs_contract, rhs_contract),
    };
    let strides = result.shape.strides();
    let all = axes.batch.iter_mut().chain(&mut axes.lhs_free).chain(&mut axes.rhs_free);
    for (axis, stride) in all.zip(strides) {
        axis.out = stride as isize;
    }
    axes
}
