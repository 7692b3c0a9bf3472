//! Kernels made by hand, and their meaning.

use super::Buffer;
use dropforge_ir::interpret::{Numbers, Rounding, apply};
use dropforge_ir::random::random_bits;
use dropforge_ir::{BF16, BinaryKind, CompareKind, DType, F16, Op, ReduceKind, Shape, UnaryKind, ValueType};
use dropforge_plan::kernel::*;

/// A kernel under construction; instructions go to the last stage.
pub struct Builder {
    pub kernel: LoopKernel,
    columns: Vec<usize>,
    level: Level,
}

impl Builder {
    pub fn new(row_axes: usize, columns: &[usize], operands: usize) -> Builder {
        let kernel = LoopKernel {
            row_axes,
            column_axes: columns.len(),
            stages: vec![Stage::default()],
            written: vec![false; operands],
            ..LoopKernel::default()
        };
        Builder { kernel, columns: columns.to_vec(), level: Level::Domain }
    }

    /// What an instance with these rows visits.
    pub fn domain(&self, rows: &[usize]) -> Domain {
        domain(rows, &self.columns)
    }

    /// Instructions from here on are for rows.
    pub fn rows(&mut self) {
        self.level = Level::Row;
    }

    /// Starts another stage.
    pub fn stage(&mut self) {
        self.kernel.stages.push(Stage::default());
        self.level = Level::Domain;
    }

    fn register(&mut self, dtype: DType, level: Level) -> Register {
        self.kernel.registers.push(RegisterInfo { dtype, level });
        Register(self.kernel.registers.len() as u16 - 1)
    }

    fn dtype(&self, register: Register) -> DType {
        self.kernel.registers[register.index()].dtype
    }

    pub fn push(&mut self, instruction: Instruction) {
        let stage = self.kernel.stages.last_mut().unwrap();
        match self.level {
            Level::Domain => stage.domain.push(instruction),
            Level::Row => stage.row.push(instruction),
        }
    }

    pub fn load(&mut self, operand: usize, dtype: DType, index: Affine) -> Register {
        let to = self.register(register_type(dtype), self.level);
        self.push(Instruction::Load { to, access: Access { operand, dtype, index } });
        to
    }

    pub fn store(&mut self, operand: usize, dtype: DType, index: Affine, from: Register) {
        self.kernel.written[operand] = true;
        self.push(Instruction::Store { from, access: Access { operand, dtype, index } });
    }

    pub fn immediate(&mut self, x: f32) -> Register {
        let to = self.register(DType::F32, self.level);
        self.push(Instruction::Immediate { to, bits: x.to_bits() });
        to
    }

    pub fn index(&mut self, index: Affine) -> Register {
        let to = self.register(DType::I32, self.level);
        self.push(Instruction::Index { to, index });
        to
    }

    pub fn random(&mut self, seed: usize, step: usize, stream: u32, index: Affine) -> Register {
        let to = self.register(DType::U32, self.level);
        self.push(Instruction::RandomBits { to, seed, step, stream, index });
        to
    }

    pub fn unary(&mut self, kind: UnaryKind, x: Register) -> Register {
        let to = self.register(self.dtype(x), self.level);
        self.push(Instruction::Unary { kind, to, x });
        to
    }

    pub fn binary(&mut self, kind: BinaryKind, a: Register, b: Register) -> Register {
        let to = self.register(self.dtype(a), self.level);
        self.push(Instruction::Binary { kind, to, a, b });
        to
    }

    pub fn compare(&mut self, kind: CompareKind, a: Register, b: Register) -> Register {
        let to = self.register(DType::Bool, self.level);
        self.push(Instruction::Compare { kind, to, a, b });
        to
    }

    pub fn select(&mut self, condition: Register, a: Register, b: Register) -> Register {
        let to = self.register(self.dtype(a), self.level);
        self.push(Instruction::Select { to, condition, a, b });
        to
    }

    pub fn cast(&mut self, from: DType, into: DType, x: Register) -> Register {
        let to = self.register(register_type(into), self.level);
        self.push(Instruction::Cast { to, from, into, x });
        to
    }

    pub fn reduce(&mut self, kind: Reduction, from: Register) -> Vec<Register> {
        let dtype = if kind == Reduction::ArgMax { DType::I32 } else { self.dtype(from) };
        let count = if kind == Reduction::MeanVariance { 2 } else { 1 };
        let to: Vec<Register> = (0..count).map(|_| self.register(dtype, Level::Row)).collect();
        self.kernel.stages.last_mut().unwrap().reductions.push(Reduce { kind, from, to: to.clone() });
        to
    }

    /// Repeats instructions of earlier stages that make registers, in the current one.
    pub fn repeat(&mut self, registers: &[Register]) {
        for &register in registers {
            let mut instructions = self.kernel.stages.iter().flat_map(|stage| &stage.domain);
            let instruction = instructions.find(|one| one.target() == Some(register)).cloned();
            self.push(instruction.expect("an earlier stage makes it"));
        }
    }
}

/// The type of a register for values of a type.
pub fn register_type(dtype: DType) -> DType {
    match dtype {
        DType::U8 => DType::U32,
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    }
}

/// An affine function.
pub fn affine(offset: i64, rows: &[i64], columns: &[i64]) -> Affine {
    Affine { offset, rows: rows.to_vec(), columns: columns.to_vec() }
}

/// Row-major steps.
pub fn steps(extents: &[usize]) -> Vec<i64> {
    Shape::from(extents).strides().into_iter().map(|stride| stride as i64).collect()
}

/// The extents of an instance.
pub fn domain(rows: &[usize], columns: &[usize]) -> Domain {
    Domain { rows: rows.to_vec(), columns: columns.to_vec() }
}

/// All positions of an affine function at a level.
fn positions(domain: &Domain, index: &Affine, level: Level) -> Vec<i64> {
    let columns = if level == Level::Domain { &domain.columns[..] } else { &[] };
    let extents: Vec<usize> = domain.rows.iter().chain(columns).copied().collect();
    let strides: Vec<i64> = index.rows.iter().chain(&index.columns).copied().collect();
    (0..extents.iter().product())
        .map(|mut number: usize| {
            let mut position = index.offset;
            for (&extent, &stride) in extents.iter().zip(&strides).rev() {
                position += (number % extent) as i64 * stride;
                number /= extent;
            }
            position
        })
        .collect()
}

/// Runs a kernel as its documentation says, with the interpreter's functions.
pub fn reference(kernel: &LoopKernel, domain: &Domain, places: &[usize], buffers: &mut [Buffer]) {
    let mut run =
        Reference { kernel, domain, places, buffers, registers: vec![None; kernel.registers.len()] };
    for stage in &kernel.stages {
        stage.domain.iter().for_each(|instruction| run.step(instruction, Level::Domain));
        for reduce in &stage.reductions {
            let shape = [domain.row_count(), domain.column_count()];
            let x = run.register(reduce.from, Level::Domain);
            let x = Numbers::new(ValueType::new(x.ty().dtype, shape), x.into_elements()).unwrap();
            let results = apply(&operation(reduce.kind), &[&x], Rounding::Single).unwrap();
            for (to, result) in reduce.to.iter().zip(results) {
                run.registers[to.index()] = Some(result);
            }
        }
        stage.row.iter().for_each(|instruction| run.step(instruction, Level::Row));
    }
}

struct Reference<'a> {
    kernel: &'a LoopKernel,
    domain: &'a Domain,
    places: &'a [usize],
    buffers: &'a mut [Buffer],
    registers: Vec<Option<Numbers>>,
}

impl Reference<'_> {
    fn register(&self, register: Register, level: Level) -> Numbers {
        let numbers = self.registers[register.index()].clone().expect("assigned before");
        if level == Level::Row || self.kernel.registers[register.index()].level == Level::Domain {
            return numbers;
        }
        let columns = self.domain.column_count();
        let dtype = numbers.ty().dtype;
        let elements = numbers.elements().iter().flat_map(|&x| std::iter::repeat_n(x, columns)).collect();
        self.numbers(dtype, elements)
    }

    fn numbers(&self, dtype: DType, elements: Vec<f64>) -> Numbers {
        Numbers::new(ValueType::new(dtype, [elements.len()]), elements).expect("values of the type")
    }

    fn read(&self, operand: usize) -> Vec<f64> {
        self.buffers[self.places[operand]].numbers()
    }

    fn step(&mut self, instruction: &Instruction, level: Level) {
        let at = |index: &Affine| positions(self.domain, index, level);
        let sources: Vec<Numbers> =
            instruction.sources().into_iter().map(|source| self.register(source, level)).collect();
        let op = |op: Op| {
            let sources: Vec<&Numbers> = sources.iter().collect();
            apply(&op, &sources, Rounding::Single).unwrap().remove(0).into_elements()
        };
        let elements = match instruction {
            Instruction::Store { access, .. } => {
                let positions = at(&access.index);
                let buffer = &mut self.buffers[self.places[access.operand]];
                for (position, &number) in positions.into_iter().zip(sources[0].elements()) {
                    let start = position as usize * access.dtype.size();
                    match access.dtype {
                        DType::F32 => {
                            buffer.bytes[start..start + 4].copy_from_slice(&(number as f32).to_ne_bytes());
                        }
                        DType::F16 => {
                            let bits = F16::from_f64(number).to_bits();
                            buffer.bytes[start..start + 2].copy_from_slice(&bits.to_ne_bytes());
                        }
                        DType::BF16 => {
                            let bits = BF16::from_f64(number).to_bits();
                            buffer.bytes[start..start + 2].copy_from_slice(&bits.to_ne_bytes());
                        }
                        DType::I32 => {
                            buffer.bytes[start..start + 4].copy_from_slice(&(number as i32).to_ne_bytes());
                        }
                        DType::U32 => {
                            buffer.bytes[start..start + 4].copy_from_slice(&(number as u32).to_ne_bytes());
                        }
                        DType::U8 | DType::Bool => buffer.bytes[start] = number as u32 as u8,
                    }
                }
                return;
            }
            Instruction::Load { access, .. } => {
                let numbers = self.read(access.operand);
                at(&access.index).into_iter().map(|position| numbers[position as usize]).collect()
            }
            Instruction::Immediate { to, bits } => {
                let number = match self.kernel.registers[to.index()].dtype {
                    DType::F32 => f32::from_bits(*bits).into(),
                    DType::I32 => f64::from(*bits as i32),
                    _ => f64::from(*bits),
                };
                let Domain { rows, columns } = self.domain;
                vec![number; at(&affine(0, &vec![0; rows.len()], &vec![0; columns.len()])).len()]
            }
            Instruction::Index { index, .. } => {
                at(index).into_iter().map(|position| f64::from(position as i32)).collect()
            }
            Instruction::RandomBits { seed, step, stream, index, .. } => {
                let (seed, step) = (self.read(*seed), self.read(*step));
                let positions = at(index);
                let count = positions.iter().max().map_or(0, |&last| last as usize + 1);
                let words = random_bits([seed[0] as u32, seed[1] as u32], step[0] as u32, *stream, count);
                positions.into_iter().map(|position| words[position as usize].into()).collect()
            }
            Instruction::Unary { kind, .. } => op(Op::Unary { kind: *kind }),
            Instruction::Binary { kind, .. } => op(Op::Binary { kind: *kind }),
            Instruction::Compare { kind, .. } => op(Op::Compare { kind: *kind }),
            Instruction::Select { .. } => op(Op::Select {}),
            Instruction::Cast { into, .. } => op(Op::Cast { to: *into }),
        };
        let to = instruction.target().unwrap();
        let dtype = self.kernel.registers[to.index()].dtype;
        self.registers[to.index()] = Some(self.numbers(dtype, elements));
    }
}

fn operation(kind: Reduction) -> Op {
    let axes = vec![1];
    let reduce = |kind| Op::Reduce { kind, axes: vec![1] };
    match kind {
        Reduction::Sum => reduce(ReduceKind::Sum),
        Reduction::Max => reduce(ReduceKind::Max),
        Reduction::Min => reduce(ReduceKind::Min),
        Reduction::Product => reduce(ReduceKind::Product),
        Reduction::ArgMax => Op::ArgMax { axis: 1 },
        Reduction::LogSumExp => Op::LogSumExp { axes },
        Reduction::MeanVariance => Op::MeanVariance { axes },
    }
}
