//! Instructions of loop kernels on single elements.

use super::index::{constant, position, sum};
use super::quads::Along;
use super::shader::{Slot, rounded, wgsl_type};
use dropforge_ir::{BinaryKind, CompareKind, DType, UnaryKind};
use dropforge_plan::kernel::{Affine, Instruction, LoopKernel, Register};

/// Where an instruction is printed.
pub struct Scene<'a> {
    pub kernel: &'a LoopKernel,
    /// Extents of the row axes and of the column axes; of a single axis, the extent does not matter.
    pub rows: &'a [usize],
    pub columns: &'a [usize],
    pub slots: &'a [Slot],
    /// Expressions of the numbers of the row and of the column.
    pub row: &'a str,
    pub column: &'a str,
    /// An operand whose element is at hand, and the expression of it.
    pub given: Option<(usize, &'a str)>,
    /// Which of four neighbours is meant, if they are printed together.
    pub lane: Option<Lane<'a>>,
}

/// One of four neighbours, of which `row` and `column` mean the first.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    pub number: usize,
    pub along: Along,
    /// For each register, whether it is the same for all four.
    pub shared: &'a [bool],
}

pub fn name(register: Register) -> String {
    format!("v{}", register.0)
}

impl<'a> Scene<'a> {
    /// Of a kernel without columns, the element that `row` numbers.
    pub fn of_rows(kernel: &'a LoopKernel, rows: &'a [usize], slots: &'a [Slot], row: &'a str) -> Scene<'a> {
        Scene { kernel, rows, columns: &[], slots, row, column: "0u", given: None, lane: None }
    }

    /// The position that an affine function gives.
    pub fn position(&self, index: &Affine) -> String {
        let beyond = self.lane.map_or(0, |lane| lane.number as i64 * lane.along.step(index));
        sum(&[
            constant(index.offset + beyond),
            position(self.row, self.rows, &index.rows),
            position(self.column, self.columns, &index.columns),
        ])
    }

    /// The name of a register here.
    pub fn name(&self, register: Register) -> String {
        match self.lane {
            Some(lane) if !lane.shared[register.index()] => format!("{}_{}", name(register), lane.number),
            _ => name(register),
        }
    }

    /// Whether nothing sees a register but stores of this half type, which round by themselves.
    fn is_rounded_by_stores(&self, register: Register, half: DType) -> bool {
        let mut stages = self.kernel.stages.iter();
        stages.all(|stage| {
            let sees = |instruction: &Instruction| match instruction {
                Instruction::Store { from, access } => *from == register && access.dtype != half,
                other => other.sources().contains(&register),
            };
            !stage.domain.iter().chain(&stage.row).any(sees)
                && !stage.reductions.iter().any(|reduce| reduce.from == register)
        })
    }

    /// The bits of a float register that is known to hold 0 or −0.
    fn zero(&self, register: Register) -> Option<u32> {
        let stages = self.kernel.stages.iter();
        let mut instructions = stages.flat_map(|stage| stage.domain.iter().chain(&stage.row));
        instructions
            .find_map(|instruction| match instruction {
                Instruction::Immediate { to, bits } if *to == register => Some(*bits),
                _ => None,
            })
            .filter(|bits| bits & 0x7fff_ffff == 0)
    }

    fn dtype(&self, register: Register) -> DType {
        self.kernel.registers[register.index()].dtype
    }

    /// The statement of an instruction; `declare` says whether it brings its register into being.
    pub fn print(&self, instruction: &Instruction, declare: bool) -> String {
        if let Instruction::Store { from, access } = instruction {
            return self.slots[access.operand].store(&self.position(&access.index), &self.name(*from));
        }
        let value = self.value(instruction);
        match instruction.target() {
            Some(to) if declare => {
                format!("let {}: {} = {value};", self.name(to), wgsl_type(self.dtype(to)))
            }
            Some(to) => format!("{} = {value};", self.name(to)),
            None => String::new(),
        }
    }

    fn value(&self, instruction: &Instruction) -> String {
        match instruction {
            Instruction::Store { .. } => String::new(),
            Instruction::Load { access, .. } => match self.given {
                Some((operand, value)) if operand == access.operand => value.to_string(),
                _ => self.slots[access.operand].load(&self.position(&access.index)),
            },
            Instruction::Immediate { to, bits } => immediate(self.dtype(*to), *bits),
            Instruction::Index { index, .. } => format!("bitcast<i32>({})", self.position(index)),
            Instruction::Unary { kind, x, .. } => unary(*kind, self.dtype(*x), &self.name(*x)),
            Instruction::Binary { kind: BinaryKind::Multiply, a, b, .. }
                if self.zero(*a).or(self.zero(*b)).is_some() && self.dtype(*a).is_float() =>
            {
                let (zero, x) = match self.zero(*b) {
                    Some(zero) => (zero, a),
                    None => (self.zero(*a).unwrap_or_default(), b),
                };
                format!("f_times_zero({}, {zero:#010x}u)", self.name(*x))
            }
            Instruction::Binary { kind, a, b, .. } => {
                binary(*kind, self.dtype(*a), &self.name(*a), &self.name(*b))
            }
            Instruction::Compare { kind, a, b, .. } => {
                compare(*kind, self.dtype(*a), &self.name(*a), &self.name(*b))
            }
            Instruction::Select { condition, a, b, .. } => {
                format!("select({}, {}, {})", self.name(*b), self.name(*a), self.name(*condition))
            }
            Instruction::Cast { to, into, x, .. }
                if into.is_half() && self.is_rounded_by_stores(*to, *into) =>
            {
                cast(self.dtype(*x), DType::F32, &self.name(*x))
            }
            Instruction::Cast { into, x, .. } => cast(self.dtype(*x), *into, &self.name(*x)),
            Instruction::RandomBits { seed, step, stream, index, .. } => {
                let (seed, step) = (&self.slots[*seed], &self.slots[*step]);
                format!(
                    "u_random({}, {}, {}, {stream}u, {})",
                    seed.stored("0u"),
                    seed.stored("1u"),
                    step.stored("0u"),
                    self.position(index)
                )
            }
        }
    }
}

/// A number by its bits.
pub fn immediate(dtype: DType, bits: u32) -> String {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => float(f32::from_bits(bits)),
        DType::I32 if bits == 0x8000_0000 => "(-2147483647 - 1)".into(),
        DType::I32 => format!("i32({})", bits as i32),
        DType::U32 | DType::U8 => format!("{bits}u"),
        DType::Bool => (bits != 0).to_string(),
    }
}

/// A float exactly.
pub fn float(x: f32) -> String {
    // Small whole numbers are easier to read, and as exact.
    if x.is_finite() && x.fract() == 0.0 && x.abs() < 1e6 && (x != 0.0 || x.is_sign_positive()) {
        return format!("f32({x:.1})");
    }
    format!("f_bits({:#010x}u)", x.to_bits())
}

fn unary(kind: UnaryKind, dtype: DType, x: &str) -> String {
    let function = match kind {
        UnaryKind::Negate => return format!("-{x}"),
        UnaryKind::Reciprocal => return format!("1.0 / {x}"),
        UnaryKind::Not => return format!("!{x}"),
        UnaryKind::Sin => return format!("f_wave({x}, 0)"),
        UnaryKind::Cos => return format!("f_wave({x}, 1)"),
        UnaryKind::Sign if dtype == DType::I32 => "sign",
        UnaryKind::Sign => "f_sign",
        UnaryKind::Absolute => "abs",
        UnaryKind::Exp => "f_exp",
        UnaryKind::ExpMinusOne => "f_expm1",
        UnaryKind::Log => "f_log",
        UnaryKind::LogOnePlus => "f_log1p",
        UnaryKind::SquareRoot => "f_sqrt",
        UnaryKind::ReciprocalSquareRoot => "f_rsqrt",
        UnaryKind::Tanh => "f_tanh",
        UnaryKind::Sigmoid => "f_sigmoid",
        UnaryKind::Erf => "f_erf",
        UnaryKind::Relu => "f_relu",
        UnaryKind::Floor => "floor",
        UnaryKind::Ceil => "ceil",
        UnaryKind::Round => "round",
    };
    format!("{function}({x})")
}

fn binary(kind: BinaryKind, dtype: DType, a: &str, b: &str) -> String {
    let is_float = dtype == DType::F32;
    let prefix = match dtype {
        DType::F32 => "f",
        DType::I32 => "i",
        _ => "u",
    };
    if dtype == DType::Bool {
        return match kind {
            BinaryKind::And | BinaryKind::Minimum | BinaryKind::Multiply => format!("{a} && {b}"),
            BinaryKind::Or | BinaryKind::Maximum => format!("{a} || {b}"),
            // The shape rule allows no other.
            _ => format!("{a} != {b}"),
        };
    }
    match kind {
        BinaryKind::Add => format!("{a} + {b}"),
        BinaryKind::Subtract => format!("{a} - {b}"),
        BinaryKind::Multiply => format!("{a} * {b}"),
        BinaryKind::Divide => format!("{prefix}_div({a}, {b})"),
        BinaryKind::Power => format!("f_pow({a}, {b})"),
        BinaryKind::Maximum if is_float => format!("f_max({a}, {b})"),
        BinaryKind::Minimum if is_float => format!("f_min({a}, {b})"),
        BinaryKind::Maximum => format!("max({a}, {b})"),
        BinaryKind::Minimum => format!("min({a}, {b})"),
        BinaryKind::Remainder => format!("{prefix}_rem({a}, {b})"),
        BinaryKind::And => format!("{a} & {b}"),
        BinaryKind::Or => format!("{a} | {b}"),
        BinaryKind::Xor => format!("{a} ^ {b}"),
        BinaryKind::ShiftLeft => format!("{a} << ({b} & 31u)"),
        BinaryKind::ShiftRight => format!("{a} >> ({b} & 31u)"),
    }
}

fn compare(kind: CompareKind, dtype: DType, a: &str, b: &str) -> String {
    if dtype == DType::F32 {
        return match kind {
            CompareKind::Equal => format!("f_equal({a}, {b})"),
            CompareKind::NotEqual => format!("!f_equal({a}, {b})"),
            CompareKind::Less => format!("f_less({a}, {b})"),
            CompareKind::LessEqual => format!("f_at_most({a}, {b})"),
            CompareKind::Greater => format!("f_less({b}, {a})"),
            CompareKind::GreaterEqual => format!("f_at_most({b}, {a})"),
        };
    }
    let number = |x: &str| if dtype == DType::Bool { format!("u32({x})") } else { x.to_string() };
    let (a, b) = (number(a), number(b));
    match kind {
        CompareKind::Equal => format!("{a} == {b}"),
        CompareKind::NotEqual => format!("{a} != {b}"),
        CompareKind::Less => format!("{a} < {b}"),
        CompareKind::LessEqual => format!("{a} <= {b}"),
        CompareKind::Greater => format!("{a} > {b}"),
        CompareKind::GreaterEqual => format!("{a} >= {b}"),
    }
}

/// `register` is the type of the register that holds the argument.
fn cast(register: DType, into: DType, x: &str) -> String {
    match (register, into) {
        (DType::F32, DType::F32) | (DType::I32, DType::I32) | (DType::Bool, DType::Bool) => x.into(),
        (DType::U32 | DType::U8, DType::U32) => x.into(),
        (_, DType::F16 | DType::BF16) => rounded(into, x),
        (DType::F32, DType::I32) => format!("f_to_i32({x})"),
        (DType::F32, DType::U32) => format!("f_to_u32({x})"),
        (DType::F32, DType::U8) => format!("f_to_u8({x})"),
        (DType::F32 | DType::F16 | DType::BF16, DType::Bool) => format!("!f_equal({x}, 0.0)"),
        (DType::I32, DType::Bool) => format!("{x} != 0"),
        (DType::U32 | DType::U8, DType::Bool) => format!("{x} != 0u"),
        (_, DType::F32) => format!("f32({x})"),
        (_, DType::I32) => format!("i32({x})"),
        (_, DType::U32) => format!("u32({x})"),
        (_, DType::U8) => format!("u32({x}) & 255u"),
    }
}
