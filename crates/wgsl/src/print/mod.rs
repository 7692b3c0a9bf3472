//! From the kernels of a plan to WGSL. Printers only print: what is computed stands in the plan.

mod attention;
mod attention_tiles;
mod contraction;
mod convolution;
mod cooperative;
mod direct;
mod dot;
mod epilogue;
mod functions;
mod halves;
mod index;
mod loops;
mod movement;
pub mod peak;
mod pick;
mod pool;
mod quads;
mod reduction;
mod rows;
mod scalar;
mod scan;
mod scatter;
mod shader;
mod tile;

pub use cooperative::Kind;
pub use epilogue::{Epilogue, epilogue};
pub use halves::there_and_back;
pub use pick::{Means, Pick, Tunable};
pub use shader::{BufferId, Dispatch, Where};

use crate::limits::Limits;
use crate::printing::Printing;
use attention::Attention;
use convolution::{Convolution, Direction};
use dot::{Dot, DotAxes};
use dropforge_ir::{DType, Error, Op, PoolWindow, Result, Shape, ValueType};
use dropforge_plan::explain::title;
use dropforge_plan::plan::{Argument, BufferInfo, Kernel, Plan, Work};
use epilogue::Target;
use movement::Padding;

/// The dispatches of one kernel.
pub struct Printed {
    /// In the order of execution.
    pub dispatches: Vec<Dispatch>,
    /// Words of scratch memory that they hand each other.
    pub scratch_words: usize,
}

/// Prints a kernel, and the epilogue that it is to end with; `places` says where each buffer of the plan lies, `limits`
/// what shaders may use, `printing` what they use of that, `pick` picks where there is a choice.
///
/// # Errors
/// If the kernel is a library operation that this device does not know, or its operands are laid out in a way it does
/// not.
pub fn print(
    plan: &Plan,
    kernel: &Kernel,
    epilogue: Option<&Epilogue<'_>>,
    places: &[Where],
    limits: &Limits,
    printing: &Printing,
    pick: &mut dyn FnMut(&Tunable) -> Pick,
) -> Result<Printed> {
    let label = title(plan, kernel);
    let (dispatches, scratch_words) = match &kernel.work {
        Work::Loop { kernel, instances } => {
            let uniform_words = (limits.parameter_bytes / 4) as usize;
            loops::dispatches(&label, kernel, instances, |buffer| places[buffer], uniform_words, *printing)
        }
        Work::Copy { from, to } => {
            (vec![movement::copy(&label, &plan.buffers[*from].ty, places[*from], places[*to])], 0)
        }
        Work::Call { op, args, results } => {
            let call =
                Call { plan, label: &label, args, results, places, epilogue, limits, printing: *printing };
            call.print(op, pick).map_err(|error| error.at(&kernel.origin))?
        }
    };
    let dispatches = dispatches
        .into_iter()
        .filter(|dispatch| dispatch.workgroups.iter().all(|&count| count > 0))
        .collect();
    Ok(Printed { dispatches, scratch_words })
}

/// What there is to choose for a kernel, if anything.
pub fn tunable(plan: &Plan, kernel: &Kernel, limits: &Limits, printing: Printing) -> Option<Tunable> {
    let Work::Call { op, args, results } = &kernel.work else { return None };
    let anywhere = |info: &BufferInfo| Where::first_of(BufferId::Own(0), info.ty.dtype, printing);
    let places: Vec<Where> = plan.buffers.iter().map(anywhere).collect();
    let call = Call { plan, label: "", args, results, places: &places, epilogue: None, limits, printing };
    call.tunable(op)
}

/// A library operation with its operands.
struct Call<'a> {
    plan: &'a Plan,
    label: &'a str,
    args: &'a [Argument],
    results: &'a [usize],
    places: &'a [Where],
    epilogue: Option<&'a Epilogue<'a>>,
    limits: &'a Limits,
    printing: Printing,
}

impl Call<'_> {
    fn arg(&self, index: usize) -> Where {
        self.places[self.args[index].buffer]
    }

    fn result(&self, index: usize) -> Where {
        self.places[self.results[index]]
    }

    fn result_type(&self, index: usize) -> &ValueType {
        &self.plan.buffers[self.results[index]].ty
    }

    fn arg_places(&self) -> Vec<Where> {
        (0..self.args.len()).map(|index| self.arg(index)).collect()
    }

    fn result_places(&self) -> Vec<Where> {
        (0..self.results.len()).map(|index| self.result(index)).collect()
    }

    /// What the operation may use, if it has two factors.
    fn means(&self) -> Means {
        let is = |dtype: DType| self.args.iter().all(|arg| arg.ty.dtype == dtype);
        let matrices = self.printing.matrices.and_then(|matrices| {
            let (side, scalar) = match () {
                () if is(DType::F16) && self.printing.f16 => (matrices.of_f16?, "f16"),
                () if is(DType::BF16) && self.printing.bf16 => (matrices.of_bf16?, "bf16"),
                () if is(DType::F32) => (matrices.of_f32?, "f32"),
                () => return None,
            };
            let (in_quads, start_at_zero) = (matrices.lenient, matrices.lenient);
            let lanes = matrices.lanes as usize;
            Some(Kind { side: side as usize, scalar, lanes, in_quads, start_at_zero })
        });
        Means {
            memory: self.limits.workgroup_bytes,
            threads: self.limits.workgroup_threads,
            matrices,
            matrix_use: self.printing.matrix_use,
        }
    }

    /// Where a contraction goes.
    fn target(&self) -> Target<'_> {
        Target { place: self.result(0), epilogue: self.epilogue }
    }

    fn dot(&self, op: &Op) -> Option<Dot<'_>> {
        let Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } = op else { return None };
        let axes = DotAxes { lhs_batch, rhs_batch, lhs_contract, rhs_contract };
        Some(Dot::new(&axes, self.args, [self.arg(0), self.arg(1)], self.target(), self.means()))
    }

    fn convolution<'op>(&'op self, op: &'op Op) -> Option<Convolution<'op>> {
        let (first, second) = (four(&self.args.first()?.ty.shape)?, four(&self.args.get(1)?.ty.shape)?);
        let result = four(&self.result_type(0).shape)?;
        let (direction, window, [x, filter, output]) = match op {
            Op::Convolution { window } => (Direction::Forward, window, [first, second, result]),
            Op::ConvolutionInputGradient { window, .. } => {
                (Direction::Input, window, [result, second, first])
            }
            Op::ConvolutionFilterGradient { window, .. } => {
                (Direction::Filter, window, [first, result, second])
            }
            _ => return None,
        };
        let places = [self.arg(0), self.arg(1)];
        let (target, means) = (self.target(), self.means());
        Some(Convolution { direction, window, x, filter, output, places, target, means })
    }

    fn attention(&self, op: &Op) -> Option<Attention> {
        match op {
            Op::Attention { causal, scale } | Op::AttentionGradient { causal, scale } => {
                Some(Attention::new(&self.args[0].ty, &self.args[1].ty, *causal != 0, scale.0))
            }
            _ => None,
        }
    }

    /// What there is to choose.
    fn tunable(&self, op: &Op) -> Option<Tunable> {
        let gradient = matches!(op, Op::AttentionGradient { .. });
        let dot = self.dot(op).map(|dot| dot.tunable());
        let convolution = || self.convolution(op).map(|convolution| convolution.tunable());
        let attention = || self.attention(op).map(|attention| attention.tunable(self.means(), gradient));
        dot.or_else(convolution).or_else(attention)
    }

    fn print(&self, op: &Op, pick: &mut dyn FnMut(&Tunable) -> Pick) -> Result<(Vec<Dispatch>, usize)> {
        let (label, args) = (self.label, self.args);
        let one = |dispatch: Dispatch| Ok((vec![dispatch], 0));
        if let Some(tunable) = self.tunable(op) {
            return self.print_picked(op, pick(&tunable));
        }
        match op {
            Op::MaxPool { window } => one(pool::max_pool(
                label,
                window,
                &args[0],
                self.result_type(0),
                [self.arg(0), self.result(0), self.result(1)],
            )),
            Op::MaxPoolGradient { .. } => one(pool::max_pool_gradient(
                label,
                self.pooled_by(),
                args,
                self.result_type(0),
                [self.arg(0), self.arg(1), self.result(0)],
            )),
            Op::WindowSum { window } => one(pool::window_sum(
                label,
                window,
                &args[0],
                self.result_type(0),
                [self.arg(0), self.result(0)],
            )),
            Op::WindowSumTranspose { window, .. } => one(pool::window_sum_transpose(
                label,
                window,
                &args[0],
                self.result_type(0),
                [self.arg(0), self.result(0)],
            )),
            Op::Pad { low, interior, value, .. } => {
                let padding = Padding { low, interior, value: value.0 };
                let places = [self.arg(0), self.result(0)];
                one(movement::pad(label, &padding, &args[0], self.result_type(0), places))
            }
            Op::Concat { axis } => one(movement::concat(
                label,
                *axis,
                args,
                self.result_type(0),
                (&self.arg_places(), self.result(0)),
                self.printing.quads_from,
            )),
            Op::Gather { axis } => {
                let places = [self.arg(0), self.arg(1), self.result(0)];
                one(movement::gather(label, *axis, args, self.result_type(0), places))
            }
            Op::ArgSort { axis, descending } => {
                let places = [self.arg(0), self.result(0)];
                one(scan::argsort(label, *axis, *descending != 0, &args[0], places))
            }
            Op::CumulativeSum { axis, reverse } => {
                let places = [self.arg(0), self.result(0)];
                let ty = self.result_type(0);
                one(scan::cumulative_sum(label, *axis, *reverse != 0, &args[0], ty, places))
            }
            Op::ScatterAdd { axis, .. } => {
                let places = [self.arg(0), self.arg(1), self.result(0)];
                Ok(scatter::scatter_add(label, *axis, args, self.result_type(0), places))
            }
            other => Err(Error::new(other.name(), "the portable GPU has no kernel for it")),
        }
    }

    /// A kernel with choices.
    fn print_picked(&self, op: &Op, pick: Pick) -> Result<(Vec<Dispatch>, usize)> {
        if let Some(dot) = self.dot(op) {
            return Ok(dot.dispatches(self.label, pick));
        }
        if let Some(convolution) = self.convolution(op) {
            let is_plain = |arg: &Argument| {
                let strides = arg.ty.shape.strides();
                let mut axes = arg.strides.iter().zip(strides).zip(arg.ty.shape.iter());
                arg.offset == 0 && axes.all(|((&given, plain), &extent)| extent <= 1 || given == plain as i64)
            };
            if !self.args.iter().all(is_plain) {
                return Err(Error::new("convolution", "its arguments do not lie row-major"));
            }
            return Ok(convolution.dispatches(self.label, pick));
        }
        let (args, results) = (self.arg_places(), self.result_places());
        match self.attention(op) {
            Some(attention) if matches!(op, Op::Attention { .. }) => {
                Ok((attention.forward(self.label, self.args, &args, &results, pick), 0))
            }
            Some(attention) => Ok(attention.gradient(self.label, self.args, &args, &results, pick)),
            None => Err(Error::new(op.name(), "the portable GPU has no kernel for it")),
        }
    }

    /// The window of the pooling that made the positions of a pooling gradient, if this program has it.
    fn pooled_by(&self) -> Option<&PoolWindow> {
        let positions = self.plan.buffers[self.args[1].buffer].value;
        match &self.plan.program.definition(positions).op {
            Op::MaxPool { window } if self.args[1].offset == 0 => {
                let made = self.plan.program.shape(positions);
                (made == &self.args[0].ty.shape && made == &self.args[1].ty.shape).then_some(window)
            }
            _ => None,
        }
    }
}

fn four(shape: &Shape) -> Option<[usize; 4]> {
    shape.as_ref().try_into().ok()
}
