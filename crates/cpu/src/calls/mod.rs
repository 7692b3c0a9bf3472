//! Library operations: which kernel serves which operation, decided once when a plan is loaded.

mod run;

use crate::attention::{
    Attention, AttentionGradient, AttentionGradientLayout, AttentionLayout, AttentionShape, HeadStrides,
};
use crate::conv::{self, Channelwise, ConvShape, Direction};
use crate::device::Shared;
use crate::executable::Pointer;
use crate::halves::OnHalves;
use crate::matmul::{Axis, DotAxes, Matmul};
use crate::memory::AlignedBuffer;
use crate::movement::{IndexedShape, Padding};
use crate::packed::Packing;
use crate::pairs::{PairProduct, PairShape, Pairs};
use crate::pooling::PoolShape;
use crate::scan::Scan;
use crate::vm;
use dropforge_ir::{ConvolutionWindow, DType, Literal, Op, PoolWindow, Result, ValueType};
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
    /// Gradients added at positions of planes of `plane` elements; with the windows that the positions come from, if
    /// these are known.
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
    /// What a convolution does with each channel of its result, where [`Call::changed_channels`] allows that.
    pub channelwise: Option<Channelwise>,
    /// The operand that was packed before: the filters of a convolution or the right side of a product.
    pub packed: Option<&'a [f32]>,
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

    /// How many channels the result has and how many elements a plane of it, if it is a convolution that can do
    /// something with each channel on the way to memory.
    pub(crate) fn changed_channels(&self) -> Option<[usize; 2]> {
        match self {
            Call::Convolution { convolution, is_pooled: false, .. } if convolution.changes_channels() => {
                let [height, width] = convolution.shape().output();
                Some([convolution.shape().out_channels, height * width])
            }
            _ => None,
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

    /// Makes a convolution that [`Call::can_pool_output`] do so. Forward it then has the two results of the pool; its
    /// gradients take the gradient of the pooled output, and have the positions as a third argument.
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
    /// `right` is where that operand of the plan lies; `packed` has room for [`Call::packed_right_len`] elements, and
    /// nobody else touches this part.
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

    /// The order of the packed operand, filters or a right side; `None` where nothing is packed.
    pub(crate) fn packing(&self) -> Option<Packing> {
        if self.packed_len() == 0 {
            return None;
        }
        match self {
            Call::Convolution { convolution, .. } => Some(Packing::Filters(convolution.packing())),
            Call::Product { matmul, offsets } => Some(Packing::Right(matmul.packing(), offsets[1])),
            _ => None,
        }
    }

    /// The memory for the packed operand, in elements; 0 where nothing is packed.
    pub(crate) fn packed_len(&self) -> usize {
        match self {
            Call::Convolution { convolution, is_pooled: false, .. } => convolution.packed_len(),
            _ => self.packed_right_len(),
        }
    }

    /// Packs the filters of a convolution, or the right side of a product that keeps it.
    ///
    /// # Safety
    /// `operand` is where that operand of the plan lies; `packed` has [`Call::packed_len`] elements.
    pub(crate) unsafe fn pack(&self, operand: *const f32, packed: &mut [f32], shared: &Shared) {
        if let Call::Convolution { convolution, .. } = self {
            let length = convolution.shape().filter_len();
            // SAFETY: the caller's promise.
            let filters = unsafe { std::slice::from_raw_parts(operand, length) };
            convolution.pack(filters, packed, &shared.pool);
        } else {
            let (operand, packed) = (Pointer(operand.cast_mut().cast()), Pointer(packed.as_mut_ptr().cast()));
            let parts = shared.pool.threads();
            shared.pool.run(|part| {
                let (operand, packed) = (&operand, &packed);
                // SAFETY: the caller's promise; threads write different parts.
                unsafe { self.pack_right(operand.0, packed.0.cast(), part, parts) };
            });
        }
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

/// The axes of a product of strided views.
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
