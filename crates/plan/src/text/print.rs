//! Printing.

use crate::kernel::{Access, Affine, Instance, Instruction, Level, LoopKernel, Reduction, Stage};
use crate::plan::{Kernel, Place, Plan, Work};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program)?;
        let (arena, bound) = (self.arena_bytes, self.lower_bound_bytes);
        writeln!(f, "plan, arena {arena}, at least {bound} {{")?;
        write!(f, "{}{}}}", places(self), kernels(self))?;
        writeln!(f)
    }
}

/// The buffers of a plan with their places.
pub fn places(plan: &Plan) -> String {
    let line = |(number, info): (usize, &crate::plan::BufferInfo)| {
        let place = match info.place {
            Place::Input(port) => format!("input {port}"),
            Place::State(port) => format!("state {port}"),
            Place::Hyper(port) => format!("hyper {port}"),
            Place::Constant(number) => format!("constant {number}"),
            Place::Output(port) => format!("output {port}"),
            Place::Arena(offset) => format!("arena {offset}"),
        };
        format!("  b{number} = {} in {place}\n", info.value)
    };
    plan.buffers.iter().enumerate().map(line).collect()
}

/// The kernels of a plan, instructions included.
pub fn kernels(plan: &Plan) -> String {
    plan.kernels.iter().map(|kernel| whole(plan, kernel)).collect()
}

/// One line for each kernel of a plan: what it computes on which buffers.
pub fn order(plan: &Plan) -> String {
    let line = |kernel: &Kernel| match &kernel.work {
        Work::Loop { kernel: body, instances } => {
            let with: Vec<String> = instances.iter().map(with).collect();
            format!("{}, {}\n", head(plan, kernel, body), with.join(", "))
        }
        _ => whole(plan, kernel),
    };
    plan.kernels.iter().map(line).collect()
}

/// What follows the work of a kernel: what it is for, and what a device may do with it.
fn remarks(plan: &Plan, kernel: &Kernel) -> String {
    let mut text = String::new();
    for (index, &node) in kernel.nodes.iter().enumerate() {
        text += if index == 0 { ", for " } else { " " };
        text += &plan.program.node(node).results[0].to_string();
    }
    text += if kernel.is_epilogue { ", epilogue" } else { "" };
    text += if kernel.is_deferrable { ", deferrable" } else { "" };
    text
}

fn head(plan: &Plan, kernel: &Kernel, body: &LoopKernel) -> String {
    let operand = |(number, written): (usize, &bool)| format!("o{number}{}", if *written { "!" } else { "" });
    let operands: Vec<String> = body.written.iter().enumerate().map(operand).collect();
    format!(
        "  loop {}, rows {}, columns {}{}",
        operands.join(" "),
        body.row_axes,
        body.column_axes,
        remarks(plan, kernel)
    )
}

/// Extents and buffers of an instance.
fn with(instance: &Instance) -> String {
    let list = |numbers: &[usize]| join(numbers.iter());
    let buffers = instance.operands.iter().map(|buffer| format!("b{buffer}"));
    format!(
        "over ({}; {}) with {}",
        list(&instance.domain.rows),
        list(&instance.domain.columns),
        buffers.collect::<Vec<_>>().join(" ")
    )
}

fn join(parts: impl Iterator<Item = impl ToString>) -> String {
    parts.map(|part| part.to_string()).collect::<Vec<_>>().join(", ")
}

fn whole(plan: &Plan, kernel: &Kernel) -> String {
    let comment = match kernel.origin.is_unknown() {
        true => String::new(),
        false => format!("  // {}", kernel.origin.to_string().escape_debug()),
    };
    match &kernel.work {
        Work::Copy { from, to } => format!("  copy b{from} to b{to}{}{comment}\n", remarks(plan, kernel)),
        Work::Call { op, args, results } => {
            let argument = |arg: &crate::plan::Argument| {
                let strides = join(arg.strides.iter());
                format!("b{}: {} at {} by ({strides})", arg.buffer, arg.ty, arg.offset)
            };
            let arguments = join(args.iter().map(argument));
            let results: Vec<String> = results.iter().map(|result| format!("b{result}")).collect();
            let results = results.join(" ");
            let attributes = op.attribute_text();
            let space = if attributes.is_empty() { "" } else { " " };
            let remarks = remarks(plan, kernel);
            format!("  call {} {arguments}{space}{attributes} into {results}{remarks}{comment}\n", op.name())
        }
        Work::Loop { kernel: body, instances } => {
            let mut text = format!("{} {{{comment}\n", head(plan, kernel, body));
            let register = |(number, info): (usize, &crate::kernel::RegisterInfo)| {
                let level = if info.level == Level::Row { " row" } else { "" };
                format!("r{number}: {}{level}", info.dtype)
            };
            text += &format!("    {}\n", join(body.registers.iter().enumerate().map(register)));
            body.stages.iter().for_each(|stage| print_stage(stage, &mut text));
            for instance in instances {
                text += &format!("    {}\n", with(instance));
            }
            text + "  }\n"
        }
    }
}

fn print_stage(stage: &Stage, text: &mut String) {
    let part = |name: &str, instructions: &[Instruction], text: &mut String| {
        *text += &format!("    {name}\n");
        instructions.iter().for_each(|instruction| *text += &format!("      {}\n", line(instruction)));
    };
    part("each", &stage.domain, text);
    if !stage.reductions.is_empty() {
        *text += "    reduce\n";
    }
    for reduce in &stage.reductions {
        let to = join(reduce.to.iter().map(|to| format!("r{}", to.0)));
        *text += &format!("      {to} = {} r{}\n", reduction_name(reduce.kind), reduce.from.0);
    }
    if !stage.row.is_empty() {
        part("row", &stage.row, text);
    }
}

/// The names of reductions.
pub(super) const REDUCTIONS: [(Reduction, &str); 7] = [
    (Reduction::Sum, "sum"),
    (Reduction::Max, "max"),
    (Reduction::Min, "min"),
    (Reduction::Product, "product"),
    (Reduction::ArgMax, "argmax"),
    (Reduction::LogSumExp, "logsumexp"),
    (Reduction::MeanVariance, "mean_variance"),
];

fn reduction_name(kind: Reduction) -> &'static str {
    REDUCTIONS.iter().find(|(other, _)| *other == kind).map_or("", |(_, name)| name)
}

fn position(index: &Affine) -> String {
    format!("at {} by ({}; {})", index.offset, join(index.rows.iter()), join(index.columns.iter()))
}

fn reached(access: &Access) -> String {
    format!("o{}: {} {}", access.operand, access.dtype, position(&access.index))
}

fn line(instruction: &Instruction) -> String {
    let right = match instruction {
        Instruction::Store { from, access } => return format!("store {} = r{}", reached(access), from.0),
        Instruction::Load { access, .. } => format!("load {}", reached(access)),
        Instruction::Immediate { bits, .. } => format!("immediate {bits:#010x}"),
        Instruction::Index { index, .. } => format!("index {}", position(index)),
        Instruction::Unary { kind, x, .. } => format!("{} r{}", kind.name(), x.0),
        Instruction::Binary { kind, a, b, .. } => format!("{} r{}, r{}", kind.name(), a.0, b.0),
        Instruction::Compare { kind, a, b, .. } => format!("{} r{}, r{}", kind.name(), a.0, b.0),
        Instruction::Select { condition, a, b, .. } => {
            format!("select r{}, r{}, r{}", condition.0, a.0, b.0)
        }
        Instruction::Cast { from, into, x, .. } => format!("cast r{} from {from} into {into}", x.0),
        Instruction::RandomBits { seed, step, stream, index, .. } => {
            format!("random_bits o{seed}, o{step} stream {stream} {}", position(index))
        }
    };
    format!("r{} = {right}", instruction.target().map_or(0, |to| to.0))
}
