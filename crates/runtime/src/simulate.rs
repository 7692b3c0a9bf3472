//! A device that carries out plans literally: loop kernels instruction by instruction, library operations by the
//! interpreter, every value in its planned place. What it gets wrong, fusion or the memory plan got wrong.

use crate::binding::Binding;
use crate::device::{BufferRef, Choices, Device, Loaded};
use crate::reference::{ReferenceDevice, ReferenceExecutable};
use dropforge_ir::interpret::{Numbers, Rounding, apply};
use dropforge_ir::random::random_bits;
use dropforge_ir::{Array, BF16, DType, Data, Error, F16, Op, ReduceKind, Result, Shape, ValueType};
use dropforge_plan::Plan;
use dropforge_plan::kernel::{
    Access, Affine, Domain, Instance, Instruction, Level, LoopKernel, Reduction, Register,
};
use dropforge_plan::plan::{Place, Work};

/// The device of literal plans, for tests of everything between programs and devices.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedDevice;

impl Device for SimulatedDevice {
    fn name(&self) -> String {
        "simulated (plans carried out literally)".into()
    }

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        ReferenceDevice.allocate(ty)
    }

    fn load(&self, binding: &Binding<'_>, _choices: &mut Choices) -> Result<Box<dyn Loaded>> {
        Ok(Box::new(ReferenceExecutable::planned(binding, run_plan)?))
    }
}

/// Runs a plan once: the outputs, then the states after the run.
///
/// # Errors
/// Only if the plan has a bug.
pub fn run_plan(
    plan: &Plan,
    inputs: &[Array],
    states: &[Array],
    hypers: &[f32],
) -> Result<(Vec<Array>, Vec<Array>)> {
    let bytes =
        |arrays: &[Array]| arrays.iter().map(|array| array.data().bytes().to_vec()).collect::<Vec<_>>();
    let output_types: Vec<&ValueType> =
        plan.program.outputs.iter().map(|output| plan.program.ty(output.value)).collect();
    let mut memory = Memory {
        plan,
        inputs: bytes(inputs),
        states: bytes(states),
        hypers: hypers.iter().map(|x| x.to_ne_bytes().to_vec()).collect(),
        constants: plan.constants.iter().map(|literal| literal.bytes().to_vec()).collect(),
        outputs: output_types.iter().map(|ty| vec![0; ty.bytes()]).collect(),
        // Bytes that are read before they are written show up as NaN.
        arena: vec![0xff; plan.arena_bytes],
    };
    for kernel in &plan.kernels {
        memory.run(&kernel.work).map_err(|error| error.at(&kernel.origin))?;
    }
    let array = |ty: &ValueType, bytes: &[u8]| {
        let data =
            Data::from_bytes(ty.dtype, bytes).ok_or_else(|| Error::new("simulate", "a size is wrong"))?;
        Array::new(ty.shape.clone(), data).ok_or_else(|| Error::new("simulate", "a size is wrong"))
    };
    let outputs = output_types
        .iter()
        .zip(&memory.outputs)
        .map(|(ty, bytes)| array(ty, bytes))
        .collect::<Result<_>>()?;
    let states = states
        .iter()
        .zip(&memory.states)
        .map(|(old, bytes)| array(&old.ty(), bytes))
        .collect::<Result<_>>()?;
    Ok((outputs, states))
}

struct Memory<'a> {
    plan: &'a Plan,
    inputs: Vec<Vec<u8>>,
    states: Vec<Vec<u8>>,
    hypers: Vec<Vec<u8>>,
    constants: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    arena: Vec<u8>,
}

impl Memory<'_> {
    fn bytes(&mut self, buffer: usize) -> &mut [u8] {
        let info = &self.plan.buffers[buffer];
        match info.place {
            Place::Input(port) => &mut self.inputs[port],
            Place::State(port) => &mut self.states[port],
            Place::Hyper(port) => &mut self.hypers[port],
            Place::Constant(number) => &mut self.constants[number],
            Place::Output(port) => &mut self.outputs[port],
            Place::Arena(offset) => &mut self.arena[offset..offset + info.ty.bytes()],
        }
    }

    fn read(&mut self, buffer: usize, dtype: DType, position: i64) -> f64 {
        let at = usize::try_from(position).expect("positions are inside the buffer") * dtype.size();
        let bytes = &self.bytes(buffer)[at..at + dtype.size()];
        let word = || [bytes[0], bytes[1], bytes[2], bytes[3]];
        match dtype {
            DType::F32 => f32::from_ne_bytes(word()).into(),
            DType::F16 => F16::from_bits(u16::from_ne_bytes([bytes[0], bytes[1]])).into(),
            DType::BF16 => BF16::from_bits(u16::from_ne_bytes([bytes[0], bytes[1]])).into(),
            DType::I32 => i32::from_ne_bytes(word()).into(),
            DType::U32 => u32::from_ne_bytes(word()).into(),
            DType::U8 | DType::Bool => bytes[0].into(),
        }
    }

    fn write(&mut self, buffer: usize, dtype: DType, position: i64, number: f64) {
        let at = usize::try_from(position).expect("positions are inside the buffer") * dtype.size();
        let bytes = &mut self.bytes(buffer)[at..at + dtype.size()];
        match dtype {
            DType::F32 => bytes.copy_from_slice(&(number as f32).to_ne_bytes()),
            DType::F16 => bytes.copy_from_slice(&F16::from_f64(number).to_bits().to_ne_bytes()),
            DType::BF16 => bytes.copy_from_slice(&BF16::from_f64(number).to_bits().to_ne_bytes()),
            DType::I32 => bytes.copy_from_slice(&(number as i32).to_ne_bytes()),
            DType::U32 => bytes.copy_from_slice(&(number as u32).to_ne_bytes()),
            DType::U8 | DType::Bool => bytes[0] = number as u32 as u8,
        }
    }

    fn run(&mut self, work: &Work) -> Result<()> {
        match work {
            Work::Loop { kernel, instances } => {
                instances.iter().try_for_each(|instance| LoopRun::new(self, kernel, instance).run())
            }
            Work::Copy { from, to } => {
                let bytes = self.bytes(*from).to_vec();
                self.bytes(*to).copy_from_slice(&bytes);
                Ok(())
            }
            Work::Call { op, args, results } => {
                let mut numbers = Vec::new();
                for arg in args {
                    let positions = positions(&arg.ty.shape, arg.offset, &arg.strides);
                    let elements = positions.map(|at| self.read(arg.buffer, arg.ty.dtype, at)).collect();
                    // Halves that a product reads in place of the f32 they were cast to are just that.
                    let mut ty = arg.ty.clone();
                    if op.is_contraction() {
                        ty.dtype = self.plan.buffers[results[0]].ty.dtype;
                    }
                    numbers.push(Numbers::new(ty, elements).expect("read as the type says"));
                }
                let computed = apply(op, &numbers.iter().collect::<Vec<_>>(), Rounding::Single)?;
                for (&result, numbers) in results.iter().zip(computed) {
                    for (at, &number) in numbers.elements().iter().enumerate() {
                        self.write(result, numbers.ty().dtype, at as i64, number);
                    }
                }
                Ok(())
            }
        }
    }
}

/// All positions of a strided walk over extents, row-major.
fn positions(extents: &[usize], offset: i64, strides: &[i64]) -> impl Iterator<Item = i64> {
    let count: usize = extents.iter().product();
    let (extents, strides) = (extents.to_vec(), strides.to_vec());
    (0..count).map(move |mut number| {
        let mut position = offset;
        for (&extent, &stride) in extents.iter().zip(&strides).rev() {
            position += (number % extent) as i64 * stride;
            number /= extent;
        }
        position
    })
}

struct LoopRun<'a, 'b> {
    memory: &'a mut Memory<'b>,
    kernel: &'a LoopKernel,
    instance: &'a Instance,
    registers: Vec<Option<Numbers>>,
}

impl<'a, 'b> LoopRun<'a, 'b> {
    fn new(memory: &'a mut Memory<'b>, kernel: &'a LoopKernel, instance: &'a Instance) -> Self {
        LoopRun { memory, kernel, instance, registers: vec![None; kernel.registers.len()] }
    }

    fn run(&mut self) -> Result<()> {
        for stage in &self.kernel.stages {
            for instruction in &stage.domain {
                self.step(instruction, Level::Domain)?;
            }
            for reduce in &stage.reductions {
                let Domain { rows, columns } = &self.instance.domain;
                let (rows, columns): (usize, usize) = (rows.iter().product(), columns.iter().product());
                let x = self.register(reduce.from, Level::Domain)?;
                let x = Numbers::new(ValueType::new(x.ty().dtype, [rows, columns]), x.into_elements());
                let results =
                    apply(&operation(reduce.kind), &[&x.expect("the domain's size")], Rounding::Single)?;
                for (to, result) in reduce.to.iter().zip(results) {
                    self.registers[to.index()] = Some(result);
                }
            }
            for instruction in &stage.row {
                self.step(instruction, Level::Row)?;
            }
            // Domain registers live within their stage only.
            for (register, info) in self.registers.iter_mut().zip(&self.kernel.registers) {
                if info.level == Level::Domain {
                    *register = None;
                }
            }
        }
        Ok(())
    }

    fn extents(&self, level: Level) -> Vec<usize> {
        let domain = &self.instance.domain;
        let columns: &[usize] = if level == Level::Domain { &domain.columns } else { &[] };
        domain.rows.iter().chain(columns).copied().collect()
    }

    fn positions(&self, index: &Affine, level: Level) -> Vec<i64> {
        let columns: &[i64] = if level == Level::Domain { &index.columns } else { &[] };
        let strides: Vec<i64> = index.rows.iter().chain(columns).copied().collect();
        assert_eq!(strides.len(), self.extents(level).len(), "an access has other axes than the kernel");
        positions(&self.extents(level), index.offset, &strides).collect()
    }

    /// A register as seen from a level: row values are repeated along the columns.
    fn register(&self, register: Register, level: Level) -> Result<Numbers> {
        let empty =
            || Error::new("simulate", format!("register {} is read before it is written", register.0));
        let numbers = self.registers[register.index()].clone().ok_or_else(empty)?;
        if level == Level::Row || self.kernel.registers[register.index()].level == Level::Domain {
            return Ok(numbers);
        }
        let columns = self.instance.domain.column_count();
        let elements: Vec<f64> =
            numbers.elements().iter().flat_map(|&x| std::iter::repeat_n(x, columns)).collect();
        Ok(self.numbers(numbers.ty().dtype, elements))
    }

    fn numbers(&self, dtype: DType, elements: Vec<f64>) -> Numbers {
        Numbers::new(ValueType::new(dtype, [elements.len()]), elements).expect("elements of the type")
    }

    fn step(&mut self, instruction: &Instruction, level: Level) -> Result<()> {
        let count: usize = self.extents(level).iter().product();
        let shape = Shape::from([count]);
        if let Instruction::Store { from, access } = instruction {
            let numbers = self.register(*from, level)?;
            let Access { operand, dtype, index } = access;
            for (at, &number) in self.positions(index, level).into_iter().zip(numbers.elements()) {
                self.memory.write(self.instance.operands[*operand], *dtype, at, number);
            }
            return Ok(());
        }
        let to = instruction.target().expect("only stores have none");
        let dtype = self.kernel.registers[to.index()].dtype;
        let sources: Vec<Numbers> = instruction
            .sources()
            .into_iter()
            .map(|source| self.register(source, level))
            .collect::<Result<_>>()?;
        let sources: Vec<&Numbers> = sources.iter().collect();
        let op = |op: Op| -> Result<Vec<f64>> {
            Ok(apply(&op, &sources, Rounding::Single)?.remove(0).into_elements())
        };
        let elements = match instruction {
            Instruction::Store { .. } => unreachable!("handled above"),
            Instruction::Load { access, .. } => {
                let buffer = self.instance.operands[access.operand];
                let positions = self.positions(&access.index, level);
                positions.into_iter().map(|at| self.memory.read(buffer, access.dtype, at)).collect()
            }
            Instruction::Immediate { bits, .. } => {
                let number = match dtype {
                    DType::F32 => f32::from_bits(*bits).into(),
                    DType::I32 => (*bits as i32).into(),
                    _ => f64::from(*bits),
                };
                vec![number; count]
            }
            Instruction::Index { index, .. } => {
                self.positions(index, level).into_iter().map(|at| f64::from(at as i32)).collect()
            }
            Instruction::Unary { kind, .. } => op(Op::Unary { kind: *kind })?,
            Instruction::Binary { kind, .. } => op(Op::Binary { kind: *kind })?,
            Instruction::Compare { kind, .. } => op(Op::Compare { kind: *kind })?,
            Instruction::Select { .. } => op(Op::Select {})?,
            // Narrowed values stay in wide registers.
            Instruction::Cast { into, .. } => op(Op::Cast { to: *into })?,
            Instruction::RandomBits { seed, step, stream, index, .. } => {
                let seed = self.instance.operands[*seed];
                let key = [0, 1].map(|word| self.memory.read(seed, DType::U32, word) as u32);
                let step = self.memory.read(self.instance.operands[*step], DType::U32, 0) as u32;
                let positions = self.positions(index, level);
                let last = positions.iter().max().map_or(0, |&last| last as usize + 1);
                let words = random_bits(key, step, *stream, last);
                positions.into_iter().map(|at| f64::from(words[at as usize])).collect()
            }
        };
        let numbers = Numbers::new(ValueType { dtype, shape }, elements);
        self.registers[to.index()] =
            Some(numbers.ok_or_else(|| Error::new("simulate", "a register has another type"))?);
        Ok(())
    }
}

/// The operation over the second axis that a reduction stands for.
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
