//! The operations: one enum, from which names, attributes and their text form are generated.

use crate::attribute::Attribute;
use crate::body::Body;
use crate::types::{DType, Literal, Real, Shape};
use std::collections::BTreeMap;

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$kind_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$kind_doc])* $variant),* }

        impl $name {
            /// Every kind, for tables and tests.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name in the text form.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            /// The kind with this name.
            pub fn from_name(name: &str) -> Option<$name> {
                match name { $($text => Some($name::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// Functions of one element. All but `Not` (bool) take and give floats; `Negate`, `Absolute` and `Sign` take i32
    /// too.
    UnaryKind {
        /// −x
        Negate = "neg",
        /// |x|
        Absolute = "abs",
        /// −1, 0 or 1; NaN stays NaN
        Sign = "sign",
        /// e^x
        Exp = "exp",
        /// e^x − 1, exact near 0
        ExpMinusOne = "expm1",
        /// natural logarithm
        Log = "log",
        /// ln(1 + x), exact near 0
        LogOnePlus = "log1p",
        /// square root
        SquareRoot = "sqrt",
        /// 1/√x
        ReciprocalSquareRoot = "rsqrt",
        /// 1/x
        Reciprocal = "reciprocal",
        /// sine, radians
        Sin = "sin",
        /// cosine, radians
        Cos = "cos",
        /// hyperbolic tangent
        Tanh = "tanh",
        /// 1/(1 + e^−x)
        Sigmoid = "sigmoid",
        /// Gauss error function
        Erf = "erf",
        /// max(x, 0), with NaN kept; its gradient at 0 is 0
        Relu = "relu",
        /// largest integer not above x
        Floor = "floor",
        /// smallest integer not below x
        Ceil = "ceil",
        /// nearest integer, ties to even
        Round = "round",
        /// logical not
        Not = "not",
    }
}

kinds! {
    /// Functions of two elements of one shape and type. `And`, `Or`, `Xor` take bool, i32 and u32; shifts take u32;
    /// the others floats, i32 and u32 (integers wrap; division by integer zero and its
    /// remainder are 0).
    BinaryKind {
        /// a + b
        Add = "add",
        /// a − b
        Subtract = "sub",
        /// a · b
        Multiply = "mul",
        /// a / b, integers truncate
        Divide = "div",
        /// a^b, floats only
        Power = "pow",
        /// the larger; NaN if either is
        Maximum = "max",
        /// the smaller; NaN if either is
        Minimum = "min",
        /// remainder with the sign of a (C's fmod)
        Remainder = "rem",
        /// bitwise and logical and
        And = "and",
        /// bitwise and logical or
        Or = "or",
        /// bitwise and logical exclusive or
        Xor = "xor",
        /// a << (b mod 32)
        ShiftLeft = "shl",
        /// a >> (b mod 32), zeros come in
        ShiftRight = "shr",
    }
}

kinds! {
    /// Comparisons of two elements of one shape and type, giving bool. Anything but `NotEqual` is false on NaN.
    CompareKind {
        /// a == b
        Equal = "eq",
        /// a != b
        NotEqual = "ne",
        /// a < b
        Less = "lt",
        /// a <= b
        LessEqual = "le",
        /// a > b
        Greater = "gt",
        /// a >= b
        GreaterEqual = "ge",
    }
}

kinds! {
    /// Reductions over axes, of floats or i32. Over no elements they give 0, −∞, +∞ and 1 (the type's least and
    /// greatest for integers).
    ReduceKind {
        /// sum of the elements
        Sum = "reduce_sum",
        /// largest element; NaN if any is
        Max = "reduce_max",
        /// smallest element; NaN if any is
        Min = "reduce_min",
        /// product of the elements
        Product = "reduce_prod",
    }
}

/// Geometry of a 2-D convolution over `[batch, channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvolutionWindow {
    /// Step of the window, height then width; at least 1.
    pub stride: [usize; 2],
    /// Zeros before the first row and column.
    pub low: [usize; 2],
    /// Zeros after the last row and column.
    pub high: [usize; 2],
    /// Distance between kernel taps; at least 1.
    pub dilation: [usize; 2],
    /// Channel groups; divides both channel counts.
    pub groups: usize,
}

/// Geometry of a 2-D pooling window over `[batch, channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolWindow {
    /// Extent of the window, height then width; at least 1.
    pub kernel: [usize; 2],
    /// Step of the window; at least 1.
    pub stride: [usize; 2],
    /// Padding before the first row and column; at most half the kernel.
    pub low: [usize; 2],
    /// Padding after the last row and column.
    pub high: [usize; 2],
}

macro_rules! attribute_struct {
    ($type:ident { $($field:ident),* }) => {
        impl Attribute for $type {
            fn print(&self) -> String {
                let fields = [$(format!(concat!(stringify!($field), ":{}"), self.$field.print())),*];
                format!("[{}]", fields.join(" "))
            }
            fn parse(text: &str) -> Option<Self> {
                let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
                $(let $field = {
                    let start = inner.find(concat!(stringify!($field), ":"))? + stringify!($field).len() + 1;
                    let rest = &inner[start..];
                    let end = match rest.find(']') {
                        Some(end) if rest.starts_with('[') => end + 1,
                        _ => rest.find(' ').unwrap_or(rest.len()),
                    };
                    Attribute::parse(&rest[..end])?
                };)*
                Some($type { $($field),* })
            }
        }
    };
}
attribute_struct!(ConvolutionWindow { stride, low, high, dilation, groups });
attribute_struct!(PoolWindow { kernel, stride, low, high });

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? }),* $(,)?) => {
        /// An operation with its attributes. Arguments and results are values of a [`crate::Program`].
        ///
        /// *Floats* are f32, f16 and bf16. Float arguments of one operation have one type, which its float results have
        /// too, unless it says otherwise. Every element of a result is rounded once, from an exact answer or one
        /// computed in f32 or wider: sums of products, of windows, of elements with equal indices and along axes
        /// accumulate in f32 at least, whatever the type.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Op {
            /// The value of an input of the program, by position.
            Input(usize),
            /// The value that a state has when the program starts, by position.
            State(usize),
            /// The value of a hyperparameter (an f32 scalar that may change from run to run), by position.
            Hyper(usize),
            /// A value known while compiling.
            Constant(Literal),
            $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $type),* }),*
        }

        impl Op {
            /// The name of the table's row: that of [`Op::NAMES`].
            pub(crate) fn table_name(&self) -> &'static str {
                match self {
                    Op::Input(_) => "input",
                    Op::State(_) => "state",
                    Op::Hyper(_) => "hyper",
                    Op::Constant(_) => "constant",
                    $(Op::$variant { .. } => $name),*
                }
            }

            /// The names of all operations that are no leaves; those with a kind go by the names of their kinds.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Names and printed values of the attributes, `kind` left out.
            pub(crate) fn attributes(&self) -> Vec<(&'static str, String)> {
                match self {
                    Op::Input(_) | Op::State(_) | Op::Hyper(_) | Op::Constant(_) => Vec::new(),
                    $(Op::$variant { $($field),* } => {
                        let all: Vec<(&'static str, String)> = vec![$((stringify!($field), $field.print())),*];
                        all.into_iter().filter(|(name, _)| *name != "kind").collect()
                    }),*
                }
            }

            /// The operation that `name` and `attributes` describe. Leaves have a text form of their own.
            pub(crate) fn from_text(name: &str, attributes: &mut BTreeMap<String, String>) -> Result<Op, String> {
                let (table_name, kind) = if UnaryKind::from_name(name).is_some() {
                    ("unary", Some(name))
                } else if BinaryKind::from_name(name).is_some() {
                    ("binary", Some(name))
                } else if CompareKind::from_name(name).is_some() {
                    ("compare", Some(name))
                } else if ReduceKind::from_name(name).is_some() {
                    ("reduce", Some(name))
                } else {
                    (name, None)
                };
                if let Some(kind) = kind {
                    attributes.insert("kind".into(), kind.into());
                }
                match table_name {
                    $($name => {
                        Ok(Op::$variant { $($field: {
                            let text = attributes.remove(stringify!($field))
                                .ok_or_else(|| format!("{name} needs the attribute {}", stringify!($field)))?;
                            <$type as Attribute>::parse(&text)
                                .ok_or_else(|| format!("{name}: cannot read {}={text}", stringify!($field)))?
                        }),* })
                    })*
                    _ => Err(format!("there is no operation named {name}")),
                }
            }
        }
    };
}

operations! {
    /// Positions along one axis: element `[.., i, ..]` is `i`, as i32.
    Iota = "iota" {
        /// Shape of the result.
        shape: Shape,
        /// The axis that is counted.
        axis: usize,
    },
    /// A function of each element.
    Unary = "unary" {
        /// Which function.
        kind: UnaryKind,
    },
    /// A function of each pair of elements.
    Binary = "binary" {
        /// Which function.
        kind: BinaryKind,
    },
    /// A comparison of each pair of elements.
    Compare = "compare" {
        /// Which comparison.
        kind: CompareKind,
    },
    /// `condition ? a : b` for each element; arguments condition (bool), a, b, all of one shape.
    Select = "select" {},
    /// Conversion of each element. Float to integer truncates towards zero and saturates, NaN gives 0; integer to
    /// integer wraps; to bool is `x != 0`; to f16 and bf16 rounds, integers by way of f32.
    Cast = "cast" {
        /// Type of the result.
        to: DType,
    },
    /// The same elements in row-major order under another shape.
    Reshape = "reshape" {
        /// Shape of the result.
        shape: Shape,
    },
    /// Reorders the axes: result axis `i` is argument axis `order[i]`.
    Permute = "permute" {
        /// A permutation of the axes.
        order: Vec<usize>,
    },
    /// Repeats elements along new axes: argument axis `i` becomes result axis `axes[i]`, with the same extent.
    Broadcast = "broadcast" {
        /// Shape of the result.
        shape: Shape,
        /// Where each argument axis stands in the result; increasing.
        axes: Vec<usize>,
    },
    /// Elements `start, start + step, …` below `stop`, along each axis.
    Slice = "slice" {
        /// First position per axis.
        start: Vec<usize>,
        /// End (exclusive) per axis.
        stop: Vec<usize>,
        /// Step per axis, at least 1.
        step: Vec<usize>,
    },
    /// Puts `value` around the elements, and `interior` of it between neighbours.
    Pad = "pad" {
        /// How many before the first element, per axis.
        low: Vec<usize>,
        /// How many after the last element, per axis.
        high: Vec<usize>,
        /// How many between neighbours, per axis.
        interior: Vec<usize>,
        /// What is put in.
        value: Real,
    },
    /// Reverses the elements along axes.
    Flip = "flip" {
        /// The reversed axes.
        axes: Vec<usize>,
    },
    /// Joins the arguments along an axis.
    Concat = "concat" {
        /// The joined axis.
        axis: usize,
    },
    /// Reduces over axes, which disappear.
    Reduce = "reduce" {
        /// Which reduction.
        kind: ReduceKind,
        /// The reduced axes, increasing.
        axes: Vec<usize>,
    },
    /// Position of the largest element along one axis, which disappears, as i32; the first of equals; a NaN counts as
    /// larger than everything.
    ArgMax = "argmax" {
        /// The searched axis; its extent is at least 1.
        axis: usize,
    },
    /// Positions along one axis in the order of the elements there, as i32: `[.., i, ..]` is where the `i`-th smallest
    /// (or largest) stands. Equal elements keep their order, −0 and 0 are equal, and NaN counts as larger than
    /// everything. Of floats or i32.
    ArgSort = "argsort" {
        /// The sorted axis.
        axis: usize,
        /// 1 if the largest come first, else 0.
        descending: usize,
    },
    /// Running sums along one axis: `[.., i, ..]` is the sum of the elements up to and including `i`. Of floats or i32,
    /// which wrap.
    CumulativeSum = "cumulative_sum" {
        /// The axis along which is summed.
        axis: usize,
        /// 1 if the sums start at the end, else 0.
        reverse: usize,
    },
    /// ln Σ e^x over axes, which disappear, in one pass and without overflow; −∞ over no elements.
    LogSumExp = "logsumexp" {
        /// The reduced axes, increasing.
        axes: Vec<usize>,
    },
    /// Mean and biased variance (divided by the count) over axes, which disappear: two results, NaN over no elements.
    MeanVariance = "mean_variance" {
        /// The reduced axes, increasing.
        axes: Vec<usize>,
    },
    /// Sums products over contracted axes. Result axes: batch axes in the order given, then the left side's free axes,
    /// then the right side's.
    ///
    /// The sums are f32 or wider, and a result of f16 or bf16 is rounded from them once. For a result of f32 from
    /// factors of f16 or bf16 (a mixed product), cast the factors to f32: that loses nothing, plans read them as they
    /// lie without carrying the casts out, and devices take their matrix units where they have some. Convolutions
    /// likewise.
    Dot = "dot" {
        /// Batch axes of the left argument.
        lhs_batch: Vec<usize>,
        /// Batch axes of the right argument, in the same order.
        rhs_batch: Vec<usize>,
        /// Contracted axes of the left argument.
        lhs_contract: Vec<usize>,
        /// Contracted axes of the right argument, in the same order.
        rhs_contract: Vec<usize>,
    },
    /// Cross-correlation of x `[batch, in, h, w]` with a filter `[out, in / groups, kh, kw]`.
    Convolution = "convolution" {
        /// Stride, padding, dilation, groups.
        window: ConvolutionWindow,
    },
    /// Gradient of a convolution with respect to x; arguments: output gradient, filter.
    ConvolutionInputGradient = "convolution_input_gradient" {
        /// The window of the forward convolution.
        window: ConvolutionWindow,
        /// Height and width of x.
        input: [usize; 2],
    },
    /// Gradient of a convolution with respect to the filter; arguments: x, output gradient.
    ConvolutionFilterGradient = "convolution_filter_gradient" {
        /// The window of the forward convolution.
        window: ConvolutionWindow,
        /// Height and width of the filter.
        kernel: [usize; 2],
    },
    /// Largest element of each window of x `[batch, channels, h, w]`, and where it stands: two results, values and
    /// positions (i32, `row * w + column` in the plane of x). The first of equals; NaN counts as largest; padding never
    /// wins.
    MaxPool = "max_pool" {
        /// The window.
        window: PoolWindow,
    },
    /// Adds each element of the first argument to the position of its plane that the second (i32) names; a
    /// position outside the plane adds nothing.
    MaxPoolGradient = "max_pool_gradient" {
        /// Height and width of the planes of the result.
        input: [usize; 2],
    },
    /// Sum of each window of x `[batch, channels, h, w]`, padding counting as 0.
    WindowSum = "window_sum" {
        /// The window.
        window: PoolWindow,
    },
    /// The transpose of `WindowSum`: each element is added to every position of its window.
    WindowSumTranspose = "window_sum_transpose" {
        /// The window.
        window: PoolWindow,
        /// Height and width of the planes of the result.
        input: [usize; 2],
    },
    /// Picks slices along an axis: arguments operand and indices (i32, any shape); the result has the axes of the
    /// indices in place of `axis`. An index outside the axis gives zeros.
    Gather = "gather" {
        /// The indexed axis of the operand.
        axis: usize,
    },
    /// The transpose of `Gather`: arguments updates and indices; slices with equal indices are added in order. An index
    /// outside the axis adds nothing.
    ScatterAdd = "scatter_add" {
        /// The indexed axis of the result.
        axis: usize,
        /// Extent of that axis.
        size: usize,
    },
    /// Scaled dot-product attention. Arguments q `[b, h, t, d]`, k and v `[b, h, s, d]`; results: output `[b, h, t, d]`
    /// and the logsumexp of the scaled scores `[b, h, t]`, which is f32 whatever the type of the others. A query that
    /// sees no key gives zeros and −∞.
    Attention = "attention" {
        /// 1 if position t may only look at positions up to t (+ s − t), else 0.
        causal: usize,
        /// Factor on the scores.
        scale: Real,
    },
    /// Gradients of `Attention` with respect to q, k and v: three results. Arguments: q, k, v, output, logsumexp,
    /// output gradient.
    AttentionGradient = "attention_gradient" {
        /// As in `Attention`.
        causal: usize,
        /// As in `Attention`.
        scale: Real,
    },
    /// A loop with a fixed number of trips. Arguments are first the initial values of what is carried from trip to
    /// trip, then arrays with one slice along axis 0 for each trip, then what is the same in all trips. The body is
    /// given the carried values, the slices of its trip (without that axis) and the rest, and gives the new carried
    /// values and then what is stacked. Results: the carried values after the last trip, then the stacked arrays, with
    /// the trips as axis 0.
    Scan = "scan" {
        /// What is done in each trip.
        body: Body,
        /// How many values are carried.
        carries: usize,
        /// How many arguments have a slice for each trip.
        stacked: usize,
        /// How many trips there are.
        trips: usize,
        /// 1 if the first trip takes the last slices, and the last trip the first, else 0.
        reverse: usize,
    },
    /// Random u32: element `i` is word `i mod 4` of Philox4x32-10 with key = seed (u32 `[2]`) and counter
    /// `(i / 4, step, stream, 0)`. Arguments: seed and step (u32 scalar).
    RandomBits = "random_bits" {
        /// Shape of the result.
        shape: Shape,
        /// Distinguishes operations that draw in one step.
        stream: u32,
    },
}

impl Op {
    /// The name in the text form and in errors; operations with a kind go by the kind's name.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Unary { kind } => kind.name(),
            Op::Binary { kind } => kind.name(),
            Op::Compare { kind } => kind.name(),
            Op::Reduce { kind, .. } => kind.name(),
            _ => self.table_name(),
        }
    }

    /// Whether the operation has no arguments and stands for something outside the program.
    pub fn is_leaf(&self) -> bool {
        matches!(self, Op::Input(_) | Op::State(_) | Op::Hyper(_) | Op::Constant(_))
    }

    /// Whether the operation sums products of elements: a product or a convolution in any direction.
    pub fn is_contraction(&self) -> bool {
        matches!(
            self,
            Op::Dot { .. }
                | Op::Convolution { .. }
                | Op::ConvolutionInputGradient { .. }
                | Op::ConvolutionFilterGradient { .. }
        )
    }

    /// Whether each result element depends on the arguments' elements at the same position only.
    pub fn is_elementwise(&self) -> bool {
        matches!(
            self,
            Op::Unary { .. } | Op::Binary { .. } | Op::Compare { .. } | Op::Select {} | Op::Cast { .. }
        )
    }
}
