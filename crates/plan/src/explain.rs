//! Listings of plans for people: kernels, what each fused, work, memory.

use crate::kernel::LoopKernel;
use crate::plan::{Kernel, Place, Plan, Work};
use crate::view::is_view;
use dropforge_ir::{Node, Op, Shape, ValueType};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Work and traffic of one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations; a fused multiply-add counts as two, other functions as one.
    pub flops: f64,
    /// Bytes of the buffers that are read and written, each once.
    pub bytes: f64,
}

/// Work and traffic of a kernel of a plan.
pub fn cost(plan: &Plan, kernel: &Kernel) -> Cost {
    let bytes = kernel.buffers().iter().map(|&buffer| plan.buffers[buffer].ty.bytes() as f64).sum();
    let flops = match &kernel.work {
        Work::Copy { .. } => 0.0,
        Work::Call { op, args, results } => {
            let args: Vec<&ValueType> = args.iter().map(|arg| &arg.ty).collect();
            call_flops(op, &args, &plan.buffers[results[0]].ty.shape)
        }
        Work::Loop { kernel, instances } => instances
            .iter()
            .map(|instance| {
                let count = |extents: &[usize]| extents.iter().map(|&extent| extent as f64).product();
                loop_flops(kernel, count(&instance.domain.rows), count(&instance.domain.columns))
            })
            .sum(),
    };
    Cost { flops, bytes }
}

fn call_flops(op: &Op, args: &[&ValueType], result: &Shape) -> f64 {
    let elements = |shape: &Shape| shape.elements() as f64;
    match op {
        Op::Dot { lhs_contract, .. } => {
            let inner: f64 = lhs_contract.iter().map(|&axis| args[0].shape[axis] as f64).product();
            2.0 * elements(result) * inner
        }
        Op::Convolution { .. } => {
            2.0 * elements(result) * elements(&args[1].shape) / args[1].shape[0].max(1) as f64
        }
        Op::ConvolutionInputGradient { .. } => {
            2.0 * elements(&args[0].shape) * elements(&args[1].shape) / args[1].shape[0].max(1) as f64
        }
        Op::ConvolutionFilterGradient { .. } => {
            2.0 * elements(&args[1].shape) * elements(result) / result[0].max(1) as f64
        }
        Op::Attention { causal, .. } | Op::AttentionGradient { causal, .. } => {
            let (q, k) = (&args[0].shape, &args[1].shape);
            let scores = elements(q) * k[2] as f64 * if *causal != 0 { 0.5 } else { 1.0 };
            scores * if matches!(op, Op::Attention { .. }) { 4.0 } else { 10.0 }
        }
        Op::Scan { body, trips, .. } => {
            let body = body.program();
            let of_node = |node: &Node| {
                let args: Vec<&ValueType> = node.args.iter().map(|&arg| body.ty(arg)).collect();
                let moves = is_view(&node.op) || node.op.is_leaf();
                if moves { 0.0 } else { call_flops(&node.op, &args, body.shape(node.results[0])) }
            };
            *trips as f64 * body.nodes().iter().map(of_node).sum::<f64>()
        }
        _ => elements(result),
    }
}

fn loop_flops(kernel: &LoopKernel, rows: f64, columns: f64) -> f64 {
    use crate::kernel::Instruction::{Binary, Compare, Select, Unary};
    let count = |instructions: &[crate::kernel::Instruction]| {
        let works = |i: &&crate::kernel::Instruction| {
            matches!(i, Unary { .. } | Binary { .. } | Compare { .. } | Select { .. })
        };
        instructions.iter().filter(works).count() as f64
    };
    let per_stage = |stage: &crate::kernel::Stage| {
        (count(&stage.domain) + stage.reductions.len() as f64) * columns + count(&stage.row)
    };
    rows * kernel.stages.iter().map(per_stage).sum::<f64>()
}

/// A short name for a kernel: the operations it fused, most frequent forms counted.
pub fn title(plan: &Plan, kernel: &Kernel) -> String {
    match &kernel.work {
        Work::Copy { .. } => "copy".into(),
        Work::Call { op, .. } => op.name().into(),
        Work::Loop { instances, .. } => {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for &node in &kernel.nodes {
                *counts.entry(plan.program.node(node).op.name()).or_default() += 1;
            }
            let names: Vec<String> = counts
                .iter()
                .map(|(name, &count)| {
                    let count = count / instances.len();
                    if count > 1 { format!("{count} {name}") } else { (*name).to_string() }
                })
                .collect();
            let times = if instances.len() > 1 { format!(" × {}", instances.len()) } else { String::new() };
            format!("fused({}){times}", names.join(", "))
        }
    }
}

fn place(place: Place) -> String {
    match place {
        Place::Input(port) => format!("input {port}"),
        Place::State(port) => format!("state {port}"),
        Place::Hyper(port) => format!("hyper {port}"),
        Place::Constant(number) => format!("constant {number}"),
        Place::Output(port) => format!("output {port}"),
        Place::Arena(offset) => format!("@{offset}"),
    }
}

/// A size for people.
pub fn human_bytes(bytes: f64) -> String {
    match bytes {
        b if b < 1024.0 => format!("{b} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.1} KiB", b / 1024.0),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", b / (1024.0 * 1024.0)),
        b => format!("{:.2} GiB", b / (1024.0 * 1024.0 * 1024.0)),
    }
}

/// The kernels in order with their work and where their values lie; `note` adds what a device knows of a kernel.
pub fn explain(plan: &Plan, note: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    let mut total = Cost::default();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}: {} kernels", plan.program.name, plan.kernels.len());
    for (index, kernel) in plan.kernels.iter().enumerate() {
        let cost = cost(plan, kernel);
        total.flops += cost.flops;
        total.bytes += cost.bytes;
        let _ = write!(
            text,
            "{index:4}  {:>9.3} MFLOP {:>10}  {}",
            cost.flops / 1e6,
            human_bytes(cost.bytes),
            title(plan, kernel)
        );
        let note = note(index);
        if !note.is_empty() {
            let _ = write!(text, " [{note}]");
        }
        if !kernel.origin.is_unknown() {
            let _ = write!(text, "  {}", kernel.origin);
        }
        let _ = writeln!(text);
        let buffers: Vec<String> = kernel
            .buffers()
            .iter()
            .map(|&buffer| {
                let info = &plan.buffers[buffer];
                format!("{}: {} {}", info.value, info.ty, place(info.place))
            })
            .collect();
        let _ = writeln!(text, "      {}", buffers.join("; "));
    }
    let _ = writeln!(
        text,
        "total {:.3} MFLOP, {} touched; arena {} (lower bound {})",
        total.flops / 1e6,
        human_bytes(total.bytes),
        human_bytes(plan.arena_bytes as f64),
        human_bytes(plan.lower_bound_bytes as f64)
    );
    text
}
