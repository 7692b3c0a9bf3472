//! From the kernels of a plan to WGSL. Printers only print: what is computed stands in the plan.

mod attention;
mod contraction;
mod convolution;
mod direct;
mod dot;
mod functions;
mod index;
mod loops;
mod movement;
mod pool;
mod reduction;
mod rows;
mod scalar;
mod shader;

pub(crate) use shader::{BufferId, Dispatch, Where};

use attention::Attention;
use convolution::{Convolution, Direction};
use dot::DotAxes;
use dropforge_ir::{Error, Op, PoolWindow, Result, Shape, ValueType};
use dropforge_plan::explain::title;
use dropforge_plan::plan::{Argument, Kernel, Plan, Work};
use movement::Padding;

/// The dispatches of one kernel.
pub(crate) struct Printed {
    pub dispatches: Vec<Dispatch>,
    /// Words of scratch memory that they hand each other.
    pub scratch_words: usize,
}

/// Prints a kernel; `places` says where each buffer of the plan lies.
///
/// # Errors
/// If the kernel is a library operation that this device does not know, or its operands are laid out in a way it does not.
pub(crate) fn print(plan: &Plan, kernel: &Kernel, places: &[Where], uniform_words: usize) -> Result<Printed> {
    let label = title(plan, kernel);
    let (dispatches, scratch_words) = match &kernel.work {
        Work::Loop { kernel, instances } => {
            loops::dispatches(&label, kernel, instances, |buffer| places[buffer], uniform_words)
        }
        Work::Copy { from, to } => {
            (vec![movement::copy(&label, &plan.buffers[*from].ty, places[*from], places[*to])], 0)
        }
        Work::Call { op, args, results } => {
            let call = Call { plan, label: &label, args, results, places };
            call.print(op).map_err(|error| error.at(&kernel.origin))?
        }
    };
    let dispatches = dispatches
        .into_iter()
        .filter(|dispatch| dispatch.workgroups.iter().all(|&count| count > 0))
        .collect();
    Ok(Printed { dispatches, scratch_words })
}

/// A library operation with its operands.
struct Call<'a> {
    plan: &'a Plan,
    label: &'a str,
    args: &'a [Argument],
    results: &'a [usize],
    places: &'a [Where],
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

    fn print(&self, op: &Op) -> Result<(Vec<Dispatch>, usize)> {
        let (label, args) = (self.label, self.args);
        let one = |dispatch: Dispatch| Ok((vec![dispatch], 0));
        match op {
            Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } => {
                let axes = DotAxes { lhs_batch, rhs_batch, lhs_contract, rhs_contract };
                Ok(dot::dot(label, &axes, args, [self.arg(0), self.arg(1)], self.result(0)))
            }
            Op::Convolution { window } => {
                let (x, filter) = (four(&args[0].ty.shape), four(&args[1].ty.shape));
                let output = four(&self.result_type(0).shape);
                self.convolution(Convolution {
                    direction: Direction::Forward,
                    window,
                    x,
                    filter,
                    output,
                    places: [self.arg(0), self.arg(1), self.result(0)],
                })
            }
            Op::ConvolutionInputGradient { window, .. } => {
                let (output, filter) = (four(&args[0].ty.shape), four(&args[1].ty.shape));
                let x = four(&self.result_type(0).shape);
                self.convolution(Convolution {
                    direction: Direction::Input,
                    window,
                    x,
                    filter,
                    output,
                    places: [self.arg(0), self.arg(1), self.result(0)],
                })
            }
            Op::ConvolutionFilterGradient { window, .. } => {
                let (x, output) = (four(&args[0].ty.shape), four(&args[1].ty.shape));
                let filter = four(&self.result_type(0).shape);
                self.convolution(Convolution {
                    direction: Direction::Filter,
                    window,
                    x,
                    filter,
                    output,
                    places: [self.arg(0), self.arg(1), self.result(0)],
                })
            }
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
                &self.arg_places(),
                self.result(0),
            )),
            Op::Gather { axis } => {
                let places = [self.arg(0), self.arg(1), self.result(0)];
                one(movement::gather(label, *axis, args, self.result_type(0), places))
            }
            Op::ScatterAdd { axis, .. } => {
                let places = [self.arg(0), self.arg(1), self.result(0)];
                one(movement::scatter_add(label, *axis, args, self.result_type(0), places))
            }
            Op::Attention { causal, scale } => {
                let attention = Attention::new(&args[0].ty, &args[1].ty, *causal != 0, scale.0);
                Ok((attention.forward(label, args, &self.arg_places(), &self.result_places()), 0))
            }
            Op::AttentionGradient { causal, scale } => {
                let attention = Attention::new(&args[0].ty, &args[1].ty, *causal != 0, scale.0);
                Ok(attention.gradient(label, args, &self.arg_places(), &self.result_places()))
            }
            other => Err(Error::new(other.name(), "the portable GPU has no kernel for it")),
        }
    }

    fn convolution(&self, convolution: Convolution<'_>) -> Result<(Vec<Dispatch>, usize)> {
        let is_plain = |arg: &Argument| {
            let strides = arg.ty.shape.strides();
            let mut axes = arg.strides.iter().zip(strides).zip(arg.ty.shape.iter());
            arg.offset == 0 && axes.all(|((&given, plain), &extent)| extent <= 1 || given == plain as i64)
        };
        if !self.args.iter().all(is_plain) {
            return Err(Error::new("convolution", "its arguments do not lie row-major"));
        }
        Ok(convolution.dispatches(self.label))
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

fn four(shape: &Shape) -> [usize; 4] {
    [shape[0], shape[1], shape[2], shape[3]]
}
