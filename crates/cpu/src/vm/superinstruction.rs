//! The instructions of a kernel with what is needed to place them, neighbours merged.

use super::code::Width;
use super::compile::{Class, Rate};
use super::layout::{Kind, Layout};
use super::updates::find_updates;
use crate::vecmath::operations::Operation;
use crate::vecmath::update::UpdateKind;
use dropforge_ir::quick_hash::{QuickMap, QuickSet};
use dropforge_ir::{BinaryKind, DType};
use dropforge_plan::kernel::{Access, Affine, Instruction, Level, LoopKernel, Reduce, Register};

/// An instruction, computing ones in one form.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Load {
        to: Register,
        access: Access,
    },
    Store {
        from: Register,
        access: Access,
    },
    Immediate {
        to: Register,
        bits: u32,
    },
    Index {
        to: Register,
        index: Affine,
    },
    Random {
        to: Register,
        seed: usize,
        step: usize,
        stream: u32,
        index: Affine,
    },
    Compute {
        operation: Operation,
        to: Register,
        arguments: Vec<Register>,
    },
    /// An optimizer's update, with several results that are all stored.
    Update {
        kind: UpdateKind,
        to: Vec<Register>,
        blocks: Vec<Register>,
        singles: Vec<Register>,
    },
}

impl Item {
    /// The only register that is computed.
    pub fn target(&self) -> Option<Register> {
        match self {
            Item::Store { .. } | Item::Update { .. } => None,
            Item::Load { to, .. }
            | Item::Immediate { to, .. }
            | Item::Index { to, .. }
            | Item::Random { to, .. }
            | Item::Compute { to, .. } => Some(*to),
        }
    }

    pub fn sources(&self) -> Vec<Register> {
        match self {
            Item::Store { from, .. } => vec![*from],
            Item::Compute { arguments, .. } => arguments.clone(),
            Item::Update { blocks, singles, .. } => blocks.iter().chain(singles).copied().collect(),
            _ => Vec::new(),
        }
    }
}

/// A stage of items.
#[derive(Clone, Debug)]
pub(super) struct ItemStage {
    pub domain: Vec<Item>,
    pub reductions: Vec<Reduce>,
    pub row: Vec<Item>,
}

/// A kernel of items, with the class of every register.
pub(super) struct Program {
    pub stages: Vec<ItemStage>,
    pub classes: Vec<Class>,
}

/// Brings a kernel into the form of items, classifies its registers under a layout, merges instructions and drops those
/// that nothing needs.
pub(super) fn lower(kernel: &LoopKernel, layout: &Layout) -> Program {
    let item = |instruction: &Instruction| item(kernel, instruction);
    let mut stages: Vec<ItemStage> = kernel
        .stages
        .iter()
        .map(|stage| ItemStage {
            domain: stage.domain.iter().map(item).collect(),
            reductions: stage.reductions.clone(),
            row: stage.row.iter().map(item).collect(),
        })
        .collect();
    if layout.columns.contains(&0) {
        // There are no elements, also none that are the same everywhere.
        stages.iter_mut().for_each(|stage| stage.domain.clear());
    }
    let classes = classify(kernel, layout, &stages);
    stages.iter_mut().for_each(|stage| find_updates(&mut stage.domain, &classes));
    merge(&mut stages, &classes);
    drop_unneeded(&mut stages);
    Program { stages, classes }
}

fn item(kernel: &LoopKernel, instruction: &Instruction) -> Item {
    let dtype = |register: &Register| kernel.registers[register.index()].dtype;
    let compute =
        |operation, to: &Register, arguments: Vec<Register>| Item::Compute { operation, to: *to, arguments };
    match instruction {
        Instruction::Load { to, access } => Item::Load { to: *to, access: access.clone() },
        Instruction::Store { from, access } => Item::Store { from: *from, access: access.clone() },
        Instruction::Immediate { to, bits } => Item::Immediate { to: *to, bits: *bits },
        Instruction::Index { to, index } => Item::Index { to: *to, index: index.clone() },
        Instruction::Unary { kind, to, x } => compute(Operation::Unary(*kind, dtype(x)), to, vec![*x]),
        Instruction::Binary { kind, to, a, b } => {
            compute(Operation::Binary(*kind, dtype(a)), to, vec![*a, *b])
        }
        Instruction::Compare { kind, to, a, b } => {
            compute(Operation::Compare(*kind, dtype(a)), to, vec![*a, *b])
        }
        Instruction::Select { to, condition, a, b } => {
            compute(Operation::Select, to, vec![*condition, *a, *b])
        }
        Instruction::Cast { to, from, into, x } => compute(Operation::Cast(*from, *into), to, vec![*x]),
        Instruction::RandomBits { to, seed, step, stream, index } => {
            Item::Random { to: *to, seed: *seed, step: *step, stream: *stream, index: index.clone() }
        }
    }
}

fn classify(kernel: &LoopKernel, layout: &Layout, stages: &[ItemStage]) -> Vec<Class> {
    let once = Class { width: Width::Single, rate: Rate::Once };
    let mut classes = vec![once; kernel.registers.len()];
    let row_result = match layout.kind {
        Kind::Packed => Class { width: Width::Rows, rate: Rate::Unit },
        Kind::Streamed => Class { width: Width::Single, rate: Rate::Unit },
        Kind::Rowwise | Kind::Elementwise => Class { width: Width::Lanes, rate: Rate::Unit },
    };
    for stage in stages {
        let parts = [(&stage.domain, Level::Domain), (&stage.row, Level::Row)];
        for (items, level) in parts {
            for item in items {
                let Some(to) = item.target() else { continue };
                classes[to.index()] = match item {
                    Item::Load { access, .. } => position_class(layout, &access.index, level),
                    Item::Index { index, .. } | Item::Random { index, .. } => {
                        position_class(layout, index, level)
                    }
                    Item::Compute { arguments, .. } => {
                        let classes = arguments.iter().map(|argument| classes[argument.index()]);
                        let joined = classes.fold(once, |a, b| Class {
                            width: wider(a.width, b.width),
                            rate: a.rate.max(b.rate),
                        });
                        let is_spread = level == Level::Domain && joined.width == Width::Rows;
                        if is_spread { Class { width: Width::Lanes, rate: Rate::Iteration } } else { joined }
                    }
                    _ => once,
                };
            }
            if level == Level::Domain {
                for to in stage.reductions.iter().flat_map(|reduce| &reduce.to) {
                    classes[to.index()] = row_result;
                }
            }
        }
    }
    classes
}

fn wider(a: Width, b: Width) -> Width {
    match (a, b) {
        (Width::Lanes, _) | (_, Width::Lanes) => Width::Lanes,
        (Width::Rows, _) | (_, Width::Rows) => Width::Rows,
        _ => Width::Single,
    }
}

/// Width and rate of what stands at a position.
fn position_class(layout: &Layout, index: &Affine, level: Level) -> Class {
    let lanes = layout.lane_axes(index, level);
    let changes = |strides: &[i64], extents: &[usize]| {
        strides.iter().zip(extents).any(|(&stride, &extent)| stride != 0 && extent > 1)
    };
    let varies = lanes.iter().any(|&(_, stride)| stride != 0);
    let width = match (varies, layout.kind, level) {
        (false, ..) => Width::Single,
        (true, Kind::Packed, Level::Row) => Width::Rows,
        _ => Width::Lanes,
    };
    let looped = changes(layout.looped_strides(index), &layout.columns);
    let outer = changes(&layout.outer_strides(index), &layout.outer);
    let rate = match layout.kind {
        Kind::Rowwise if looped => Rate::Iteration,
        Kind::Rowwise if varies || outer => Rate::Unit,
        Kind::Packed if varies && level == Level::Row => Rate::Unit,
        Kind::Packed | Kind::Streamed if level == Level::Domain && layout.repeats(index) => Rate::Once,
        Kind::Elementwise | Kind::Packed | Kind::Streamed if varies => Rate::Iteration,
        _ if outer => Rate::Unit,
        _ => Rate::Once,
    };
    Class { width, rate }
}

/// Merges a product that only a sum or difference uses into it.
fn merge(stages: &mut [ItemStage], classes: &[Class]) {
    let mut readers: QuickMap<Register, Vec<Option<Register>>> = QuickMap::default();
    let mut products: QuickMap<Register, [Register; 2]> = QuickMap::default();
    for stage in stages.iter() {
        for item in stage.domain.iter().chain(&stage.row) {
            for source in item.sources() {
                readers.entry(source).or_default().push(item.target());
            }
            if let Item::Compute {
                operation: Operation::Binary(BinaryKind::Multiply, DType::F32),
                to,
                arguments,
            } = item
            {
                products.insert(*to, [arguments[0], arguments[1]]);
            }
        }
        for reduce in &stage.reductions {
            readers.entry(reduce.from).or_default().push(None);
        }
    }
    // A product with one reader, which may be repeated in several stages but reads it once.
    let alone = |product: Register, reader: Register| {
        readers.get(&product).is_some_and(|all| all.iter().all(|one| *one == Some(reader)))
    };
    for stage in stages.iter_mut() {
        for item in stage.domain.iter_mut().chain(&mut stage.row) {
            let Item::Compute { operation, to, arguments } = item else { continue };
            let (Operation::Binary(kind, DType::F32), &[a, b]) = (*operation, &arguments[..]) else {
                continue;
            };
            if a == b {
                continue;
            }
            let class = classes[to.index()];
            let product = |register: Register| {
                let factors = products.get(&register)?;
                (classes[register.index()] == class && alone(register, *to)).then_some(*factors)
            };
            let merged = match kind {
                BinaryKind::Add => product(a)
                    .map(|factors| (Operation::MultiplyAdd, factors, b))
                    .or_else(|| product(b).map(|factors| (Operation::MultiplyAdd, factors, a))),
                BinaryKind::Subtract => product(a)
                    .map(|factors| (Operation::MultiplySubtract, factors, b))
                    .or_else(|| product(b).map(|factors| (Operation::SubtractProduct, factors, a))),
                _ => None,
            };
            let Some((merged, [mut x, mut y], z)) = merged else { continue };
            if class.width != Width::Single && classes[x.index()].width == Width::Single {
                std::mem::swap(&mut x, &mut y);
            }
            *operation = merged;
            *arguments = vec![x, y, z];
        }
    }
}

/// Drops items whose results nothing needs.
fn drop_unneeded(stages: &mut [ItemStage]) {
    let mut needed: Vec<Register> = Vec::new();
    let mut sources: QuickMap<Register, Vec<Register>> = QuickMap::default();
    for stage in stages.iter() {
        for item in stage.domain.iter().chain(&stage.row) {
            match item.target() {
                Some(to) => {
                    sources.insert(to, item.sources());
                }
                None => needed.extend(item.sources()),
            }
        }
        needed.extend(stage.reductions.iter().map(|reduce| reduce.from));
    }
    let mut seen = QuickSet::default();
    while let Some(register) = needed.pop() {
        if seen.insert(register)
            && let Some(sources) = sources.get(&register)
        {
            needed.extend(sources);
        }
    }
    let keep = |item: &Item| item.target().is_none_or(|to| seen.contains(&to));
    for stage in stages.iter_mut() {
        stage.domain.retain(keep);
        stage.row.retain(keep);
    }
}
