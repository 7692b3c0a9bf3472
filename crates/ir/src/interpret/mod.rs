//! The meaning of programs: a plain interpreter, too simple to be wrong.
//!
//! Every element is held as an `f64`, which represents all values of all element types exactly. Each operation computes
//! in f64, sums included, and rounds its results once: to their type in [`Rounding::Single`], not at all in
//! [`Rounding::Double`], where the floats of a program are f64 throughout. Single is what devices are compared with;
//! double is what finite differences need, and the exact answer against which the errors of rounding are measured.

mod attention;
mod contraction;
mod elementwise;
mod movement;
mod reduction;
mod scan;
mod trips;
mod window;

use crate::array::{Array, Data};
use crate::error::{Error, Result};
use crate::half::{BF16, F16};
use crate::op::Op;
use crate::program::{Port, Program};
use crate::random::random_bits;
use crate::shape_rule::infer;
use crate::types::{DType, Literal, Shape, ValueType};

/// How the floats of a program are rounded after each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To their type, as on devices.
    Single,
    /// To f64.
    Double,
}

impl Rounding {
    fn round(self, dtype: DType, number: f64) -> f64 {
        match self {
            Rounding::Single => dtype.round(number),
            Rounding::Double => number,
        }
    }
}

/// Elements of any type held as f64, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    ty: ValueType,
    elements: Vec<f64>,
}

impl Numbers {
    /// Numbers of a type; `None` when their count does not fit the shape, or an element is no value of an integer or
    /// bool type. Floats are taken as they are.
    pub fn new(ty: ValueType, elements: Vec<f64>) -> Option<Numbers> {
        let (least, greatest) = match ty.dtype {
            DType::F32 | DType::F16 | DType::BF16 => {
                return (ty.shape.elements() == elements.len()).then_some(Numbers { ty, elements });
            }
            DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            DType::U32 => (0.0, f64::from(u32::MAX)),
            DType::U8 => (0.0, 255.0),
            DType::Bool => (0.0, 1.0),
        };
        let valid = |x: &f64| (least..=greatest).contains(x) && x.fract() == 0.0;
        (ty.shape.elements() == elements.len() && elements.iter().all(valid))
            .then_some(Numbers { ty, elements })
    }

    /// Type and shape; a float type stands for f64 rounded to f64 ([`Rounding::Double`]).
    pub fn ty(&self) -> &ValueType {
        &self.ty
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.ty.shape
    }

    /// The elements.
    pub fn elements(&self) -> &[f64] {
        &self.elements
    }

    /// The elements without type.
    pub fn into_elements(self) -> Vec<f64> {
        self.elements
    }

    /// The numbers as an array, floats rounded to their type.
    pub fn to_array(&self) -> Array {
        let elements = self.elements.iter();
        let data = match self.ty.dtype {
            DType::F32 => Data::F32(elements.map(|&x| x as f32).collect()),
            DType::F16 => Data::F16(elements.map(|&x| F16::from_f64(x)).collect()),
            DType::BF16 => Data::BF16(elements.map(|&x| BF16::from_f64(x)).collect()),
            DType::I32 => Data::I32(elements.map(|&x| x as i32).collect()),
            DType::U32 => Data::U32(elements.map(|&x| x as u32).collect()),
            DType::U8 => Data::U8(elements.map(|&x| x as u8).collect()),
            DType::Bool => Data::Bool(elements.map(|&x| x as u8).collect()),
        };
        Array::new(self.ty.shape.clone(), data).unwrap_or_else(|| Array::zeros(&self.ty))
    }
}

impl From<&Array> for Numbers {
    fn from(array: &Array) -> Numbers {
        let elements = match array.data() {
            Data::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::F16(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::BF16(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::U8(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x != 0))).collect(),
        };
        Numbers { ty: array.ty(), elements }
    }
}

impl From<&Literal> for Numbers {
    fn from(literal: &Literal) -> Numbers {
        Numbers { ty: literal.ty.clone(), elements: literal.to_f64() }
    }
}

/// What a run gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// In the order of the program's outputs.
    pub outputs: Vec<Numbers>,
    /// All states after the run, changed or not, in the program's order.
    pub states: Vec<Numbers>,
}

/// Runs a program once.
///
/// # Errors
/// If inputs, states or hyperparameters do not fit the program's in number or type.
pub fn run(
    program: &Program,
    inputs: &[Numbers],
    states: &[Numbers],
    hypers: &[f64],
    rounding: Rounding,
) -> Result<Outcome> {
    let values = values(program, inputs, states, hypers, rounding)?;
    let value = |value: crate::Value| values[value.index()].clone();
    Ok(Outcome {
        outputs: program.outputs.iter().map(|output| value(output.value)).collect(),
        states: program.states.iter().map(|state| value(state.write.unwrap_or(state.value))).collect(),
    })
}

/// Runs a program once on arrays, in single rounding: the outputs, then the states after the run.
///
/// # Errors
/// As [`run`].
pub fn run_arrays(
    program: &Program,
    inputs: &[Array],
    states: &[Array],
    hypers: &[f32],
) -> Result<(Vec<Array>, Vec<Array>)> {
    let numbers = |arrays: &[Array]| arrays.iter().map(Numbers::from).collect::<Vec<_>>();
    let hypers: Vec<f64> = hypers.iter().map(|&x| f64::from(x)).collect();
    let outcome = run(program, &numbers(inputs), &numbers(states), &hypers, Rounding::Single)?;
    let arrays = |numbers: Vec<Numbers>| numbers.iter().map(Numbers::to_array).collect();
    Ok((arrays(outcome.outputs), arrays(outcome.states)))
}

/// Every value of a program in one run, by [`crate::Value::index`].
///
/// # Errors
/// As [`run`].
pub fn values(
    program: &Program,
    inputs: &[Numbers],
    states: &[Numbers],
    hypers: &[f64],
    rounding: Rounding,
) -> Result<Vec<Numbers>> {
    let state_ports = program.states.iter().map(|state| (&state.name, program.ty(state.value)));
    check(program, "input", ports(program, &program.inputs), inputs)?;
    check(program, "state", state_ports.collect(), states)?;
    if hypers.len() != program.hypers.len() {
        let message = format!("takes {} hyperparameters, got {}", program.hypers.len(), hypers.len());
        return Err(Error::new(program.name.clone(), message));
    }
    let mut values: Vec<Numbers> = Vec::with_capacity(program.value_count());
    for node in program.nodes() {
        let results = match &node.op {
            Op::Input(port) => vec![rounded(&inputs[*port], rounding)],
            Op::State(port) => vec![rounded(&states[*port], rounding)],
            Op::Hyper(port) => vec![Numbers {
                ty: ValueType::scalar(DType::F32),
                elements: vec![rounding.round(DType::F32, hypers[*port])],
            }],
            Op::Constant(literal) => vec![Numbers::from(literal)],
            op => {
                let args: Vec<&Numbers> = node.args.iter().map(|arg| &values[arg.index()]).collect();
                apply(op, &args, rounding).map_err(|error| error.at(&node.origin))?
            }
        };
        values.extend(results);
    }
    Ok(values)
}

fn ports<'a>(program: &'a Program, ports: &'a [Port]) -> Vec<(&'a String, &'a ValueType)> {
    ports.iter().map(|port| (&port.name, program.ty(port.value))).collect()
}

fn check(program: &Program, sort: &str, ports: Vec<(&String, &ValueType)>, given: &[Numbers]) -> Result<()> {
    let fail = |message: String| Err(Error::new(program.name.clone(), message));
    if ports.len() != given.len() {
        return fail(format!("takes {} {sort}s, got {}", ports.len(), given.len()));
    }
    for ((name, ty), numbers) in ports.into_iter().zip(given) {
        if *ty != numbers.ty {
            return fail(format!("{sort} {name} is {ty}, got {}", numbers.ty));
        }
    }
    Ok(())
}

fn rounded(numbers: &Numbers, rounding: Rounding) -> Numbers {
    let mut result = numbers.clone();
    if result.ty.dtype.is_float() {
        result.elements.iter_mut().for_each(|x| *x = rounding.round(numbers.ty.dtype, *x));
    }
    result
}

/// Applies one operation (no leaf) to values.
///
/// # Errors
/// If the arguments do not fit the operation.
pub fn apply(op: &Op, args: &[&Numbers], rounding: Rounding) -> Result<Vec<Numbers>> {
    let arg_types: Vec<&ValueType> = args.iter().map(|arg| &arg.ty).collect();
    let types = infer(op, &arg_types)?;
    if let Op::Scan { body, carries, stacked, trips, reverse } = op {
        let slices = *carries..*carries + *stacked;
        return trips::scan(body.program(), slices, *trips, *reverse != 0, args, &types, rounding);
    }
    let x = |index: usize| args[index];
    let result = &types[0].shape;
    let one = |elements: Vec<f64>| vec![elements];
    let elements = match op {
        Op::Input(_) | Op::State(_) | Op::Hyper(_) | Op::Constant(_) => {
            return Err(Error::new(op.name(), "a leaf has no arguments to be applied to"));
        }
        Op::Iota { axis, .. } => one(indices(result).map(|index| index[*axis] as f64).collect()),
        Op::Unary { kind } => one(elementwise::unary(*kind, x(0))),
        Op::Binary { kind } => one(elementwise::binary(*kind, x(0), x(1))),
        Op::Compare { kind } => one(elementwise::compare(*kind, x(0), x(1))),
        Op::Select {} => one(elementwise::select(x(0), x(1), x(2))),
        Op::Cast { to } => one(elementwise::cast(*to, x(0), rounding)),
        Op::Reshape { .. } => one(x(0).elements.clone()),
        Op::Permute { order } => one(movement::permute(x(0), order, result)),
        Op::Broadcast { axes, .. } => one(movement::broadcast(x(0), axes, result)),
        Op::Slice { start, step, .. } => one(movement::slice(x(0), start, step, result)),
        Op::Pad { low, interior, value, .. } => {
            let value = Numbers::from(&Literal::scalar(x(0).ty.dtype, value.0)).elements[0];
            one(movement::pad(x(0), low, interior, value, result))
        }
        Op::Flip { axes } => one(movement::flip(x(0), axes)),
        Op::Concat { axis } => one(movement::concat(args, *axis, result)),
        Op::Gather { axis } => one(movement::gather(x(0), x(1), *axis)),
        Op::ScatterAdd { axis, .. } => one(movement::scatter_add(x(0), x(1), *axis, result)),
        Op::Reduce { kind, axes } => one(reduction::reduce(*kind, x(0), axes)),
        Op::ArgMax { axis } => one(reduction::argmax(x(0), *axis)),
        Op::ArgSort { axis, descending } => one(scan::argsort(x(0), *axis, *descending != 0)),
        Op::CumulativeSum { axis, reverse } => one(scan::cumulative_sum(x(0), *axis, *reverse != 0)),
        Op::LogSumExp { axes } => one(reduction::logsumexp(x(0), axes)),
        Op::MeanVariance { axes } => reduction::mean_variance(x(0), axes),
        Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } => {
            one(contraction::dot(x(0), x(1), lhs_batch, rhs_batch, lhs_contract, rhs_contract))
        }
        Op::Convolution { window } => one(contraction::convolution(x(0), x(1), window, result)),
        Op::ConvolutionInputGradient { window, .. } => {
            one(contraction::convolution_input_gradient(x(0), x(1), window, result))
        }
        Op::ConvolutionFilterGradient { window, .. } => {
            one(contraction::convolution_filter_gradient(x(0), x(1), window, result))
        }
        Op::MaxPool { window } => window::max_pool(x(0), window, result),
        Op::MaxPoolGradient { .. } => one(window::max_pool_gradient(x(0), x(1), result)),
        Op::WindowSum { window } => one(window::window_sum(x(0), window, result)),
        Op::WindowSumTranspose { window, .. } => one(window::window_sum_transpose(x(0), window, result)),
        Op::Attention { causal, scale } => attention::attention(x(0), x(1), x(2), *causal != 0, scale.0),
        Op::AttentionGradient { causal, scale } => attention::attention_gradient(args, *causal != 0, scale.0),
        Op::Scan { .. } => unreachable!("handled above"),
        Op::RandomBits { stream, .. } => {
            let seed = [x(0).elements[0] as u32, x(0).elements[1] as u32];
            let words = random_bits(seed, x(1).elements[0] as u32, *stream, result.elements());
            one(words.into_iter().map(f64::from).collect())
        }
    };
    let rounded =
        types.into_iter().zip(elements).map(|(ty, elements)| rounded(&Numbers { ty, elements }, rounding));
    Ok(rounded.collect())
}

/// All positions of a shape in row-major order.
fn indices(shape: &Shape) -> impl Iterator<Item = Vec<usize>> + use<> {
    let extents = shape.to_vec();
    (0..shape.elements()).map(move |mut flat| {
        let mut index = vec![0; extents.len()];
        for axis in (0..extents.len()).rev() {
            index[axis] = flat % extents[axis];
            flat /= extents[axis];
        }
        index
    })
}

/// Row-major position of an index.
fn offset(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).map(|(i, stride)| i * stride).sum()
}
