//! Plans: the kernels of a program in order, with every value in a place of its own.

mod merge;
mod order;
mod place;

use crate::emit::{Emitted, emit};
use crate::fuse::{Fusion, Unit, call_view, fuse, results};
use crate::kernel::{Instance, LoopKernel};
use crate::view::View;
use dropforge_ir::quick_hash::{QuickMap, QuickSet};
use dropforge_ir::{Literal, NodeId, Op, Origin, Program, Result, Value, ValueType};

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The input with this position.
    Input(usize),
    /// The state with this position.
    State(usize),
    /// The hyperparameter with this position.
    Hyper(usize),
    /// The constant with this position.
    Constant(usize),
    /// The output with this position.
    Output(usize),
    /// This many bytes into the arena.
    Arena(usize),
}

/// One value in memory.
#[derive(Clone, Debug)]
pub struct BufferInfo {
    /// The value.
    pub value: Value,
    /// Its type.
    pub ty: ValueType,
    /// Where it lives.
    pub place: Place,
}

/// An argument of a library operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Position in the table of buffers.
    pub buffer: usize,
    /// Shape of the argument as the operation sees it, and its type in memory: f16 or bf16 where a product or
    /// convolution of f32 reads what was cast to f32.
    pub ty: ValueType,
    /// First element, in elements of the buffer.
    pub offset: i64,
    /// Step along each axis, in elements; row-major unless the operation is a product.
    pub strides: Vec<i64>,
}

/// What a kernel does.
#[derive(Clone, Debug)]
pub enum Work {
    /// A fused loop nest over one or more sets of buffers.
    Loop {
        /// The loop nest.
        kernel: LoopKernel,
        /// Extents and buffers.
        instances: Vec<Instance>,
    },
    /// A library operation.
    Call {
        /// Which.
        op: Op,
        /// What it reads.
        args: Vec<Argument>,
        /// The buffers it fills, row-major.
        results: Vec<usize>,
    },
    /// Copies a whole buffer.
    Copy {
        /// Source, a position in the table of buffers.
        from: usize,
        /// Target.
        to: usize,
    },
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What is done.
    pub work: Work,
    /// The nodes of the plan's program that it computes.
    pub nodes: Vec<NodeId>,
    /// Where the last of them comes from.
    pub origin: Origin,
    /// Whether a device may run it on each part of the product or convolution that the kernel before computes, as soon
    /// as that part is finished: it visits just the elements of that result, in row-major order, and writes nothing
    /// that the kernel before reads. Or it is a max-pool of the convolution before.
    pub is_epilogue: bool,
    /// Whether what it reads stays until the last reader of its result is done, so that a device may compute the result
    /// where it is read: for gradients of max-pools that only gradients of convolutions read.
    pub is_deferrable: bool,
}

impl Kernel {
    /// The buffers that are read or written, each once.
    pub fn buffers(&self) -> Vec<usize> {
        let mut buffers = match &self.work {
            Work::Loop { instances, .. } => {
                instances.iter().flat_map(|instance| instance.operands.clone()).collect()
            }
            Work::Call { args, results, .. } => {
                args.iter().map(|arg| arg.buffer).chain(results.iter().copied()).collect()
            }
            Work::Copy { from, to } => vec![*from, *to],
        };
        buffers.sort_unstable();
        buffers.dedup();
        buffers
    }
}

/// A program as kernels in order, with every value placed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program after all passes.
    pub program: Program,
    /// The kernels in execution order.
    pub kernels: Vec<Kernel>,
    /// Every value that lives in memory.
    pub buffers: Vec<BufferInfo>,
    /// The contents of constants.
    pub constants: Vec<Literal>,
    /// Size of the arena that holds all intermediate values, in bytes.
    pub arena_bytes: usize,
    /// The largest sum of intermediate values that are alive at once, in bytes: no placement needs less.
    pub lower_bound_bytes: usize,
    /// For each buffer the kernels that touch it, in order.
    pub(crate) touched_by: Vec<Vec<usize>>,
}

/// For each of so many buffers the kernels that touch it, in order.
pub(crate) fn touched_by(kernels: &[Kernel], buffers: usize) -> Vec<Vec<usize>> {
    let mut touched_by = vec![Vec::new(); buffers];
    for (number, kernel) in kernels.iter().enumerate() {
        kernel.buffers().into_iter().for_each(|buffer| touched_by[buffer].push(number));
    }
    touched_by
}

impl Plan {
    /// Whether only this kernel and the one after it touch a buffer, which is in the arena: where both run as one, the
    /// buffer need not be filled.
    pub fn is_used_by_next_only(&self, kernel: usize, buffer: usize) -> bool {
        self.is_used_only_by_any(&[kernel, kernel + 1], buffer)
    }

    /// Whether only this kernel touches a buffer, which is in the arena: then nobody needs what it puts there.
    pub fn is_used_only_by(&self, kernel: usize, buffer: usize) -> bool {
        self.is_used_only_by_any(&[kernel], buffer)
    }

    fn is_used_only_by_any(&self, kernels: &[usize], buffer: usize) -> bool {
        matches!(self.buffers[buffer].place, Place::Arena(_))
            && self.touched_by[buffer].iter().all(|other| kernels.contains(other))
    }
}

/// Plans an optimised program.
///
/// # Errors
/// Only if the program is not valid.
pub fn plan(program: &Program) -> Result<Plan> {
    let program = own_results(program)?;
    let fusion = fuse(&program);
    Planner::new(&program, &fusion).build()
}

/// Gives every output and state write a value of its own that is computed, not a leaf: ports can then be places.
fn own_results(program: &Program) -> Result<Program> {
    let mut new = program.clone();
    let mut seen = QuickSet::default();
    let mut own = |new: &mut Program, value: Value| -> Result<Value> {
        if !new.definition(value).op.is_leaf() && seen.insert(value) {
            return Ok(value);
        }
        new.current_origin = new.definition(value).origin.clone();
        let shape = new.shape(value).clone();
        new.apply(Op::Reshape { shape }, &[value])
    };
    // Writes first: a value that is both written and given out is computed in the state's place.
    for index in 0..new.states.len() {
        if let Some(value) = new.states[index].write {
            let value = own(&mut new, value)?;
            new.states[index].write = Some(value);
        }
    }
    for index in 0..new.outputs.len() {
        let value = new.outputs[index].value;
        new.outputs[index].value = own(&mut new, value)?;
    }
    Ok(new)
}

/// A kernel before buffers are numbered.
struct Draft {
    unit: usize,
    emitted: Option<Emitted>,
}

struct Planner<'a> {
    program: &'a Program,
    fusion: &'a Fusion,
    /// The unit that stores each value that others read.
    stored_by: QuickMap<Value, usize>,
    /// The values that states are written with.
    written: QuickSet<Value>,
    buffers: Vec<BufferInfo>,
    numbers: QuickMap<Value, usize>,
    constants: Vec<Literal>,
}

impl<'a> Planner<'a> {
    fn new(program: &'a Program, fusion: &'a Fusion) -> Planner<'a> {
        let mut planner = Planner {
            program,
            fusion,
            stored_by: QuickMap::default(),
            written: program.states.iter().filter_map(|state| state.write).collect(),
            buffers: Vec::new(),
            numbers: QuickMap::default(),
            constants: Vec::new(),
        };
        let needed: QuickSet<Value> = planner.values_in_memory();
        for (number, unit) in fusion.units.iter().enumerate() {
            for node in unit.nodes() {
                for &value in &program.node(node).results {
                    if needed.contains(&value) {
                        planner.stored_by.entry(value).or_insert(number);
                    }
                }
            }
        }
        planner
    }

    /// The values in memory that a unit reads, in order, each once.
    fn reads(&self, unit: &Unit) -> Vec<Value> {
        let mut reads = Vec::new();
        for id in unit.nodes() {
            let node = self.program.node(id);
            for (position, &arg) in node.args.iter().enumerate() {
                let fused = matches!(unit, Unit::Group(_)) && !matches!(node.op, Op::RandomBits { .. });
                if fused && self.program.splat(arg).is_some() {
                    continue;
                }
                let root = match unit {
                    Unit::Call(_) => call_view(self.program, &self.fusion.views, id, position).root,
                    Unit::Group(_) => self.fusion.views.view(arg).root,
                };
                let counting = matches!(self.program.definition(root).op, Op::Iota { .. })
                    && !self.fusion.views.copies[root.index()];
                if !counting && !unit.contains(self.program.definition_id(root)) {
                    reads.push(root);
                }
            }
        }
        if reads.len() > 1 {
            let mut seen = QuickSet::with_capacity_and_hasher(reads.len(), Default::default());
            reads.retain(|value| seen.insert(*value));
        }
        reads
    }

    fn values_in_memory(&self) -> QuickSet<Value> {
        let mut needed: QuickSet<Value> = results(self.program).into_iter().collect();
        for unit in &self.fusion.units {
            needed.extend(self.reads(unit));
            // A library operation fills all its results.
            if let Unit::Call(node) = unit {
                needed.extend(&self.program.node(*node).results);
            }
        }
        needed
    }

    fn build(mut self) -> Result<Plan> {
        let mut emitted: Vec<Option<Emitted>> = (0..self.fusion.units.len())
            .map(|unit| match &self.fusion.units[unit] {
                Unit::Group(group) => Some(emit(self.program, &self.fusion.views, group, |value| {
                    self.stored_by.get(&value) == Some(&unit)
                })),
                Unit::Call(_) => None,
            })
            .collect();
        let mut sources = self.sources();
        let pairs = self.pair_updates(&emitted, &mut sources);
        let paired: QuickSet<usize> = pairs.values().copied().collect();
        let sets = self.merge_instances(&emitted, &sources, &paired);
        let steps: Vec<Vec<Draft>> = self
            .order(&emitted, &sources, &pairs, sets)
            .into_iter()
            .map(|set| set.into_iter().map(|unit| Draft { unit, emitted: emitted[unit].take() }).collect())
            .collect();
        for step in &steps {
            for draft in step {
                for value in self.touched(draft) {
                    self.number(value);
                }
            }
        }
        let direct = self.place_results(&steps);
        let epilogues: Vec<bool> = (0..steps.len()).map(|step| self.is_epilogue(&steps, step)).collect();
        let deferred = self.deferred(&steps);
        let placement = self.place_arena(&steps, &direct, &epilogues, &deferred);
        let mut kernels: Vec<Kernel> = steps
            .iter()
            .zip(epilogues)
            .zip(&deferred)
            .map(|((step, is_epilogue), last)| Kernel {
                is_epilogue,
                is_deferrable: last.is_some(),
                ..self.kernel(step)
            })
            .collect();
        kernels.extend(self.final_copies());
        Ok(Plan {
            touched_by: touched_by(&kernels, self.buffers.len()),
            program: self.program.clone(),
            kernels,
            buffers: self.buffers,
            constants: self.constants,
            arena_bytes: placement.bytes,
            lower_bound_bytes: placement.lower_bound,
        })
    }

    /// The values in memory that a draft reads or writes.
    fn touched(&self, draft: &Draft) -> Vec<Value> {
        match &draft.emitted {
            Some(emitted) => emitted.operands.clone(),
            None => {
                let unit = &self.fusion.units[draft.unit];
                let mut values = self.reads(unit);
                values.extend(unit.nodes().iter().flat_map(|&node| &self.program.node(node).results));
                values
            }
        }
    }

    fn number(&mut self, value: Value) -> usize {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let place = match &self.program.definition(value).op {
            Op::Input(port) => Place::Input(*port),
            Op::State(port) => Place::State(*port),
            Op::Hyper(port) => Place::Hyper(*port),
            Op::Constant(literal) => {
                self.constants.push(literal.clone());
                Place::Constant(self.constants.len() - 1)
            }
            _ => Place::Arena(0),
        };
        self.buffers.push(BufferInfo { value, ty: self.program.ty(value).clone(), place });
        self.numbers.insert(value, self.buffers.len() - 1);
        self.buffers.len() - 1
    }

    fn kernel(&self, step: &[Draft]) -> Kernel {
        let mut nodes: Vec<NodeId> =
            step.iter().flat_map(|draft| self.fusion.units[draft.unit].nodes()).collect();
        nodes.sort_unstable();
        let origin = nodes.last().map(|&node| self.program.node(node).origin.clone()).unwrap_or_default();
        let work = match (&self.fusion.units[step[0].unit], &step[0].emitted) {
            (_, Some(first)) => Work::Loop {
                kernel: first.kernel.clone(),
                instances: step
                    .iter()
                    .filter_map(|draft| draft.emitted.as_ref())
                    .map(|emitted| Instance {
                        domain: emitted.domain.clone(),
                        operands: emitted.operands.iter().map(|value| self.numbers[value]).collect(),
                    })
                    .collect(),
            },
            (unit, None) => {
                let id = unit.nodes()[0];
                let node = self.program.node(id);
                let argument = |position: usize| {
                    let View { root, offset, strides } =
                        call_view(self.program, &self.fusion.views, id, position);
                    let shape = self.program.shape(node.args[position]).clone();
                    let ty = ValueType { dtype: self.program.dtype(root), shape };
                    Argument { buffer: self.numbers[&root], ty, offset, strides }
                };
                Work::Call {
                    op: node.op.clone(),
                    args: (0..node.args.len()).map(argument).collect(),
                    results: node.results.iter().map(|value| self.numbers[value]).collect(),
                }
            }
        };
        Kernel { work, nodes, origin, is_epilogue: false, is_deferrable: false }
    }

    /// Copies into the states whose new value had to be computed beside the old one.
    fn final_copies(&mut self) -> Vec<Kernel> {
        let mut copies = Vec::new();
        for index in 0..self.program.states.len() {
            let state = &self.program.states[index];
            let Some(write) = state.write else { continue };
            let (old, origin) = (state.value, self.program.definition(write).origin.clone());
            let from = self.numbers[&write];
            if self.buffers[from].place != Place::State(index) {
                let to = self.number(old);
                let work = Work::Copy { from, to };
                copies.push(Kernel {
                    work,
                    nodes: Vec::new(),
                    origin,
                    is_epilogue: false,
                    is_deferrable: false,
                });
            }
        }
        copies
    }
}
