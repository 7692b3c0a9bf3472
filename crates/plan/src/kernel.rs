//! The kernel intermediate representation: fused loop nests, one meaning for every device.
//!
//! A [`LoopKernel`] visits a domain of *rows × columns*. Rows are the axes that survive a reduction, columns those that
//! a reduction removes; a kernel without reductions has rows only. It runs its stages one after another, and each
//! stage has three parts:
//!
//! 1. `domain`: instructions for every element of the domain,
//! 2. `reductions` of domain registers over all columns of a row into row registers,
//! 3. `row`: instructions once for every row.
//!
//! A domain instruction may read row registers of earlier stages: the value of its row. So a softmax is two stages
//! (logsumexp; subtract, exp, store) and a layer norm is two stages (mean and variance; normalise, store) in one
//! kernel.
//!
//! A register is assigned by one instruction or reduction. A domain register lives within its stage only; a stage that
//! needs what an earlier stage computed repeats the instruction with the same register, so that a device that
//! still holds the value may skip the repetition and one that streams over long rows may recompute it. Row registers
//! live until the end of the kernel.
//!
//! Values of f16 and bf16 live in F32 registers: a load widens them, a store rounds. Instructions compute in f32, and a
//! result of half type is rounded by a cast behind the instruction or reduction that made it (left out where the result
//! is a half anyway, as of a maximum), so that a fused kernel gives what its operations would give one by one.

use dropforge_ir::{BinaryKind, CompareKind, DType, UnaryKind};

/// A register, by its position in [`LoopKernel::registers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register(pub u16);

impl Register {
    /// Position in tables indexed by register.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a register holds one value for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Each element of the domain.
    Domain,
    /// Each row.
    Row,
}

/// Element type and level of a register. `U8` never occurs: bytes are widened to `U32` when loaded, as `F16` and `BF16`
/// are to `F32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegisterInfo {
    /// F32, I32, U32 or Bool.
    pub dtype: DType,
    /// Per element or per row.
    pub level: Level,
}

/// A position as an affine function of the domain's coordinates, in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affine {
    /// Position of the first element.
    pub offset: i64,
    /// Step along each row axis.
    pub rows: Vec<i64>,
    /// Step along each column axis; for row instructions all zero.
    pub columns: Vec<i64>,
}

/// How an instruction reaches an operand: which one, its stored type and the element for each coordinate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Position in the operands of the [`Instance`].
    pub operand: usize,
    /// Stored element type.
    pub dtype: DType,
    /// Which element.
    pub index: Affine,
}

/// One step of the block machine. Elementwise instructions mean what the operations of the same name mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// `to = operand[index]`
    Load {
        /// Target.
        to: Register,
        /// Source.
        access: Access,
    },
    /// `operand[index] = from`. A kernel stores each element of an operand once.
    Store {
        /// Source.
        from: Register,
        /// Target.
        access: Access,
    },
    /// The same number everywhere, as the bits of an element of the register's type (bool: 0 or 1).
    Immediate {
        /// Target.
        to: Register,
        /// The bits.
        bits: u32,
    },
    /// An affine function of the coordinates as I32.
    Index {
        /// Target.
        to: Register,
        /// The function.
        index: Affine,
    },
    /// A function of one register.
    Unary {
        /// Which.
        kind: UnaryKind,
        /// Target.
        to: Register,
        /// Argument.
        x: Register,
    },
    /// A function of two registers of one type.
    Binary {
        /// Which.
        kind: BinaryKind,
        /// Target.
        to: Register,
        /// Left argument.
        a: Register,
        /// Right argument.
        b: Register,
    },
    /// A comparison of two registers of one type, giving bool.
    Compare {
        /// Which.
        kind: CompareKind,
        /// Target.
        to: Register,
        /// Left argument.
        a: Register,
        /// Right argument.
        b: Register,
    },
    /// `condition ? a : b`
    Select {
        /// Target.
        to: Register,
        /// Bool.
        condition: Register,
        /// Taken where true.
        a: Register,
        /// Taken where false.
        b: Register,
    },
    /// Conversion to the type of `to`; `from` U8 was loaded as U32. A cast to U8 leaves the low byte in a U32 register.
    /// A cast into F16 or BF16 is always from F32 and rounds to the nearest number of that type, in an F32 register.
    Cast {
        /// Target.
        to: Register,
        /// Type before: the register's, except for U8.
        from: DType,
        /// Type after: the register's, except for U8, F16 and BF16.
        into: DType,
        /// Argument.
        x: Register,
    },
    /// Random bits as [`dropforge_ir::Op::RandomBits`] defines them for the element `index`.
    RandomBits {
        /// Target, U32.
        to: Register,
        /// The operand that holds the seed (u32, two elements).
        seed: usize,
        /// The operand that holds the step (u32 scalar).
        step: usize,
        /// The stream of the operation.
        stream: u32,
        /// Position in the result of the operation.
        index: Affine,
    },
}

impl Instruction {
    /// The register that is assigned, if any.
    pub fn target(&self) -> Option<Register> {
        match self {
            Instruction::Store { .. } => None,
            Instruction::Load { to, .. }
            | Instruction::Immediate { to, .. }
            | Instruction::Index { to, .. }
            | Instruction::Unary { to, .. }
            | Instruction::Binary { to, .. }
            | Instruction::Compare { to, .. }
            | Instruction::Select { to, .. }
            | Instruction::Cast { to, .. }
            | Instruction::RandomBits { to, .. } => Some(*to),
        }
    }

    /// The registers that are read.
    pub fn sources(&self) -> Vec<Register> {
        match self {
            Instruction::Load { .. }
            | Instruction::Immediate { .. }
            | Instruction::Index { .. }
            | Instruction::RandomBits { .. } => Vec::new(),
            Instruction::Store { from, .. } => vec![*from],
            Instruction::Unary { x, .. } | Instruction::Cast { x, .. } => vec![*x],
            Instruction::Binary { a, b, .. } | Instruction::Compare { a, b, .. } => vec![*a, *b],
            Instruction::Select { condition, a, b, .. } => vec![*condition, *a, *b],
        }
    }
}

/// What a reduction computes over the columns of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Sum, of F32 or I32.
    Sum,
    /// Largest; NaN if any is.
    Max,
    /// Smallest; NaN if any is.
    Min,
    /// Product.
    Product,
    /// Column number (row-major over the column axes) of the largest, as I32; the first of equals, NaN counts as
    /// largest.
    ArgMax,
    /// ln Σ e^x without overflow, in one pass.
    LogSumExp,
    /// Mean and biased variance, in one pass without cancellation: two targets.
    MeanVariance,
}

/// A reduction of a domain register into row registers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// What is computed.
    pub kind: Reduction,
    /// A domain register, or one of rows that was made before: then every column has its value.
    pub from: Register,
    /// Row registers: one, or mean and variance.
    pub to: Vec<Register>,
}

/// One pass over the columns of each row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Stage {
    /// For each element.
    pub domain: Vec<Instruction>,
    /// Over the columns of each row, after `domain`.
    pub reductions: Vec<Reduce>,
    /// For each row, after `reductions`.
    pub row: Vec<Instruction>,
}

/// A fused loop nest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct LoopKernel {
    /// Number of row axes; the extents of all axes stand in the [`Instance`].
    pub row_axes: usize,
    /// Number of column axes; none if nothing is reduced.
    pub column_axes: usize,
    /// All registers.
    pub registers: Vec<RegisterInfo>,
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// Which operands are written; the others are only read. An operand may be read and written only with equal
    /// accesses, so that each element is read before it is overwritten.
    pub written: Vec<bool>,
}

/// The extents that an application of a loop kernel visits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Domain {
    /// Of the row axes, outermost first; no axes means one row.
    pub rows: Vec<usize>,
    /// Of the column axes, outermost first; no axes if nothing is reduced.
    pub columns: Vec<usize>,
}

impl Domain {
    /// The number of rows.
    pub fn row_count(&self) -> usize {
        self.rows.iter().product()
    }

    /// The number of columns of each row; 1 if there are no column axes.
    pub fn column_count(&self) -> usize {
        self.columns.iter().product()
    }
}

/// One application of a loop kernel: its extents, and its operands as positions in the plan's table of buffers. A
/// kernel with several instances is the same computation over several sets of buffers (an optimizer over all its
/// parameters, the sums of squares of all gradients); it then has at most one row axis and one column axis, so that
/// extents are numbers of elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The extents.
    pub domain: Domain,
    /// The buffer of each operand.
    pub operands: Vec<usize>,
}
