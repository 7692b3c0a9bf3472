//! The shape rule of every operation: result types from argument types, or what does not fit.

use crate::error::{Error, Result};
use crate::op::{BinaryKind, ConvolutionWindow, Op, PoolWindow, UnaryKind};
use crate::program::Program;
use crate::types::{DType, Shape, ValueType};

/// The most products that one operation may sum, over all its results: nothing can carry out more, and counts of them
/// stay inside of `usize`.
const MAX_PRODUCTS: usize = 1 << 60;

/// The types of the results of `op` applied to arguments of these types.
///
/// All extents, strides, paddings and counts of an operation are multiplied and added here, checked, before anything
/// else does: devices rely on results, padded images and sums of products that are within the limits.
///
/// # Errors
/// If the number, types or shapes of the arguments do not fit the operation; the message names both shapes.
pub fn infer(op: &Op, args: &[&ValueType]) -> Result<Vec<ValueType>> {
    let fail = |message: String| Error::new(op.name(), message);
    args.iter().try_for_each(|ty| ty.shape.check()).map_err(fail)?;
    let types = rule(op, args).map_err(fail)?;
    types
        .iter()
        .try_for_each(|ty| ty.shape.check())
        .map_err(|message| fail(message.replacen("a shape of", "a result of shape", 1)))?;
    Ok(types)
}

/// The operation with strides, dilations and steps that nothing takes brought to ones that are no larger than what they
/// apply to. The arguments fit the operation. The meaning is the same: a window that is used once has no next position,
/// a filter of one tap no second one, and a slice of one element no step.
pub(crate) fn normalize(op: Op, args: &[&ValueType]) -> Op {
    let image = |arg: usize| [args[arg].shape[2], args[arg].shape[3]];
    match op {
        Op::Slice { start, stop, mut step } => {
            for axis in 0..step.len() {
                step[axis] = step[axis].min((stop[axis] - start[axis]).max(1));
            }
            Op::Slice { start, stop, step }
        }
        Op::Pad { low, high, mut interior, value } => {
            for (between, &extent) in interior.iter_mut().zip(args[0].shape.iter()) {
                *between = if extent < 2 { 0 } else { *between };
            }
            Op::Pad { low, high, interior, value }
        }
        Op::Convolution { window } => Op::Convolution { window: normal(window, image(0), image(1)) },
        Op::ConvolutionInputGradient { window, input } => {
            Op::ConvolutionInputGradient { window: normal(window, input, image(1)), input }
        }
        Op::ConvolutionFilterGradient { window, kernel } => {
            Op::ConvolutionFilterGradient { window: normal(window, image(0), kernel), kernel }
        }
        Op::MaxPool { window } => Op::MaxPool { window: normal_pool(window, image(0)) },
        Op::WindowSum { window } => Op::WindowSum { window: normal_pool(window, image(0)) },
        Op::WindowSumTranspose { window, input } => {
            Op::WindowSumTranspose { window: normal_pool(window, input), input }
        }
        op => op,
    }
}

/// A valid window with strides and dilations as in [`normalize`].
fn normal(mut window: ConvolutionWindow, input: [usize; 2], kernel: [usize; 2]) -> ConvolutionWindow {
    for (axis, extent) in input.into_iter().enumerate() {
        if kernel[axis] == 1 {
            window.dilation[axis] = 1;
        }
        let padded = window.low[axis] + extent + window.high[axis];
        window.stride[axis] = window.stride[axis].min(padded);
    }
    window
}

fn normal_pool(mut window: PoolWindow, input: [usize; 2]) -> PoolWindow {
    for (axis, extent) in input.into_iter().enumerate() {
        let padded = window.low[axis] + extent + window.high[axis];
        window.stride[axis] = window.stride[axis].min(padded);
    }
    window
}

type Rule = std::result::Result<Vec<ValueType>, String>;

fn rule(op: &Op, args: &[&ValueType]) -> Rule {
    let count = match op {
        Op::Input(_) | Op::State(_) | Op::Hyper(_) | Op::Constant(_) => {
            return Err("a leaf is declared on the program, not applied".into());
        }
        Op::Iota { .. } => 0,
        Op::Unary { .. }
        | Op::Cast { .. }
        | Op::Reshape { .. }
        | Op::Permute { .. }
        | Op::Broadcast { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Flip { .. }
        | Op::Reduce { .. }
        | Op::ArgMax { .. }
        | Op::ArgSort { .. }
        | Op::CumulativeSum { .. }
        | Op::LogSumExp { .. }
        | Op::MeanVariance { .. }
        | Op::MaxPool { .. }
        | Op::WindowSum { .. }
        | Op::WindowSumTranspose { .. } => 1,
        Op::Binary { .. }
        | Op::Compare { .. }
        | Op::Dot { .. }
        | Op::Convolution { .. }
        | Op::ConvolutionInputGradient { .. }
        | Op::ConvolutionFilterGradient { .. }
        | Op::MaxPoolGradient { .. }
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::RandomBits { .. } => 2,
        Op::Select {} | Op::Attention { .. } => 3,
        Op::AttentionGradient { .. } => 6,
        Op::Concat { .. } => args.len().max(1),
        Op::Scan { body, .. } => body.program().inputs.len(),
    };
    if args.len() != count {
        return Err(format!("takes {count} arguments, got {}", args.len()));
    }
    let one = |dtype: DType, shape: Shape| Ok(vec![ValueType { dtype, shape }]);
    match op {
        Op::Input(_) | Op::State(_) | Op::Hyper(_) | Op::Constant(_) => unreachable!("returned above"),
        Op::Iota { shape, axis } => {
            check_axis(*axis, shape)?;
            check_positions(shape[*axis])?;
            one(DType::I32, shape.clone())
        }
        Op::Unary { kind } => {
            let x = args[0];
            let fits = match kind {
                UnaryKind::Not => x.dtype == DType::Bool,
                UnaryKind::Negate | UnaryKind::Absolute | UnaryKind::Sign => {
                    x.dtype.is_float() || x.dtype == DType::I32
                }
                _ => x.dtype.is_float(),
            };
            if !fits {
                return Err(format!("is not defined for {x}"));
            }
            Ok(vec![x.clone()])
        }
        Op::Binary { kind } => {
            same(args[0], args[1])?;
            let dtype = args[0].dtype;
            let fits = match kind {
                BinaryKind::And | BinaryKind::Or | BinaryKind::Xor => {
                    matches!(dtype, DType::Bool | DType::I32 | DType::U32)
                }
                BinaryKind::ShiftLeft | BinaryKind::ShiftRight => dtype == DType::U32,
                BinaryKind::Power => dtype.is_float(),
                _ => dtype.is_float() || matches!(dtype, DType::I32 | DType::U32),
            };
            if !fits {
                return Err(format!("is not defined for {dtype}; cast first"));
            }
            Ok(vec![args[0].clone()])
        }
        Op::Compare { .. } => {
            same(args[0], args[1])?;
            one(DType::Bool, args[0].shape.clone())
        }
        Op::Select {} => {
            if args[0].dtype != DType::Bool {
                return Err(format!("the condition must be bool, got {}", args[0]));
            }
            same(args[1], args[2])?;
            if args[0].shape != args[1].shape {
                return Err(format!("shapes differ, {} and {}", args[0].shape, args[1].shape));
            }
            Ok(vec![args[1].clone()])
        }
        Op::Cast { to } => one(*to, args[0].shape.clone()),
        Op::Reshape { shape } => {
            if shape.elements() != args[0].shape.elements() {
                return Err(format!(
                    "{} has {} elements, {shape} has {}",
                    args[0].shape,
                    args[0].shape.elements(),
                    shape.elements()
                ));
            }
            one(args[0].dtype, shape.clone())
        }
        Op::Permute { order } => {
            let shape = &args[0].shape;
            let mut seen = vec![false; shape.rank()];
            let valid = order.len() == shape.rank()
                && order.iter().all(|&axis| axis < seen.len() && !std::mem::replace(&mut seen[axis], true));
            if !valid {
                return Err(format!(
                    "{} is not an order of the axes of {shape}",
                    Shape::from(order.as_slice())
                ));
            }
            one(args[0].dtype, order.iter().map(|&axis| shape[axis]).collect())
        }
        Op::Broadcast { shape, axes } => {
            let x = &args[0].shape;
            let increasing = axes.windows(2).all(|pair| pair[0] < pair[1]);
            let fits = axes.len() == x.rank()
                && increasing
                && axes.iter().enumerate().all(|(i, &axis)| axis < shape.rank() && shape[axis] == x[i]);
            if !fits {
                return Err(format!(
                    "{x} does not broadcast to {shape} along axes {}",
                    Shape::from(axes.as_slice())
                ));
            }
            one(args[0].dtype, shape.clone())
        }
        Op::Slice { start, stop, step } => {
            let x = &args[0].shape;
            if start.len() != x.rank() || stop.len() != x.rank() || step.len() != x.rank() {
                return Err(format!("needs start, stop and step for each axis of {x}"));
            }
            let mut extents = Vec::new();
            for axis in 0..x.rank() {
                if step[axis] == 0 || start[axis] > stop[axis] || stop[axis] > x[axis] {
                    return Err(format!(
                        "{}..{} step {} is outside axis {axis} of {x}",
                        start[axis], stop[axis], step[axis]
                    ));
                }
                extents.push((stop[axis] - start[axis]).div_ceil(step[axis]));
            }
            one(args[0].dtype, extents.into())
        }
        Op::Pad { low, high, interior, .. } => {
            let x = &args[0].shape;
            if low.len() != x.rank() || high.len() != x.rank() || interior.len() != x.rank() {
                return Err(format!("needs low, high and interior for each axis of {x}"));
            }
            let extent = |axis: usize| {
                let between = x[axis].saturating_sub(1).saturating_mul(interior[axis]);
                x[axis].saturating_add(between).saturating_add(low[axis]).saturating_add(high[axis])
            };
            one(args[0].dtype, (0..x.rank()).map(extent).collect())
        }
        Op::Flip { axes } => {
            check_axes(axes, &args[0].shape)?;
            Ok(vec![args[0].clone()])
        }
        Op::Concat { axis } => {
            let first = args.first().ok_or("needs at least one argument")?;
            check_axis(*axis, &first.shape)?;
            let mut extents = first.shape.to_vec();
            for other in &args[1..] {
                let fits = other.dtype == first.dtype
                    && other.shape.rank() == first.shape.rank()
                    && (0..first.shape.rank()).all(|i| i == *axis || other.shape[i] == first.shape[i]);
                if !fits {
                    return Err(format!("{first} and {other} differ outside axis {axis}"));
                }
                extents[*axis] = extents[*axis].saturating_add(other.shape[*axis]);
            }
            one(first.dtype, extents.into())
        }
        Op::Reduce { axes, .. } => {
            check_axes(axes, &args[0].shape)?;
            float_or_i32(args[0])?;
            one(args[0].dtype, args[0].shape.without(axes))
        }
        Op::ArgMax { axis } => {
            float(args[0])?;
            check_axis(*axis, &args[0].shape)?;
            if args[0].shape[*axis] == 0 {
                return Err(format!("axis {axis} of {} is empty", args[0].shape));
            }
            check_positions(args[0].shape[*axis])?;
            one(DType::I32, args[0].shape.without(&[*axis]))
        }
        Op::ArgSort { axis, .. } => {
            float_or_i32(args[0])?;
            check_axis(*axis, &args[0].shape)?;
            one(DType::I32, args[0].shape.clone())
        }
        Op::CumulativeSum { axis, .. } => {
            float_or_i32(args[0])?;
            check_axis(*axis, &args[0].shape)?;
            Ok(vec![args[0].clone()])
        }
        Op::LogSumExp { axes } => {
            float(args[0])?;
            check_axes(axes, &args[0].shape)?;
            one(args[0].dtype, args[0].shape.without(axes))
        }
        Op::MeanVariance { axes } => {
            float(args[0])?;
            check_axes(axes, &args[0].shape)?;
            let ty = ValueType::new(args[0].dtype, args[0].shape.without(axes));
            Ok(vec![ty.clone(), ty])
        }
        Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } => {
            float(args[0])?;
            same_float(args[0], args[1])?;
            let (lhs, rhs) = (&args[0].shape, &args[1].shape);
            for (batch, contract, shape) in [(lhs_batch, lhs_contract, lhs), (rhs_batch, rhs_contract, rhs)] {
                let mut all: Vec<usize> = batch.iter().chain(contract).copied().collect();
                all.sort_unstable();
                check_axes(&all, shape)?;
            }
            let extents =
                |axes: &[usize], shape: &Shape| axes.iter().map(|&axis| shape[axis]).collect::<Vec<_>>();
            if extents(lhs_batch, lhs) != extents(rhs_batch, rhs) {
                return Err(format!("batch sizes differ, {lhs} · {rhs}"));
            }
            if extents(lhs_contract, lhs) != extents(rhs_contract, rhs) {
                return Err(format!("inner sizes differ, {lhs} · {rhs}"));
            }
            let free = |shape: &Shape, batch: &[usize], contract: &[usize]| {
                let used = |axis: &usize| batch.contains(axis) || contract.contains(axis);
                (0..shape.rank()).filter(|axis| !used(axis)).map(|axis| shape[axis]).collect::<Vec<_>>()
            };
            let mut result = extents(lhs_batch, lhs);
            result.extend(free(lhs, lhs_batch, lhs_contract));
            result.extend(free(rhs, rhs_batch, rhs_contract));
            let terms = extents(lhs_contract, lhs);
            check_products(result.iter().chain(&terms), || format!("{lhs} · {rhs}"))?;
            one(args[0].dtype, result.into())
        }
        Op::Convolution { window } => {
            let (x, filter) = images(args)?;
            check_groups(x[1], filter[0], filter[1], window, &args[0].shape, &args[1].shape)?;
            let result = convolution_output(x, filter, window)?;
            one(args[0].dtype, result.into())
        }
        Op::ConvolutionInputGradient { window, input } => {
            let (gradient, filter) = images(args)?;
            if gradient[1] != filter[0] || window.groups == 0 || filter[0] % window.groups != 0 {
                return Err(format!("channels differ, {} and {}", args[0].shape, args[1].shape));
            }
            let x = [gradient[0], filter[1].saturating_mul(window.groups), input[0], input[1]];
            if convolution_output(x, filter, window)? != gradient {
                return Err(format!(
                    "{} is not the output for an input of {}",
                    args[0].shape,
                    Shape::from(*input)
                ));
            }
            one(args[0].dtype, x.into())
        }
        Op::ConvolutionFilterGradient { window, kernel } => {
            let (x, gradient) = images(args)?;
            if window.groups == 0 || x[1] % window.groups != 0 || gradient[1] % window.groups != 0 {
                return Err(format!("{} groups do not divide the channels", window.groups));
            }
            let filter = [gradient[1], x[1] / window.groups, kernel[0], kernel[1]];
            if convolution_output(x, filter, window)? != gradient {
                return Err(format!("{} is not the output for {}", args[1].shape, args[0].shape));
            }
            one(args[0].dtype, filter.into())
        }
        Op::MaxPool { window } => {
            let x = image(args[0])?;
            let [height, width] = pool_output(x, window)?;
            let shape = Shape::from([x[0], x[1], height, width]);
            Ok(vec![ValueType::new(args[0].dtype, shape.clone()), ValueType::new(DType::I32, shape)])
        }
        Op::MaxPoolGradient { input } => {
            let gradient = image(args[0])?;
            if args[1].dtype != DType::I32 || args[1].shape != args[0].shape {
                return Err(format!("positions {} do not belong to the gradient {}", args[1], args[0]));
            }
            check_plane(*input)?;
            one(args[0].dtype, [gradient[0], gradient[1], input[0], input[1]].into())
        }
        Op::WindowSum { window } => {
            let x = image(args[0])?;
            let [height, width] = pool_output(x, window)?;
            one(args[0].dtype, [x[0], x[1], height, width].into())
        }
        Op::WindowSumTranspose { window, input } => {
            let gradient = image(args[0])?;
            let x = [gradient[0], gradient[1], input[0], input[1]];
            if pool_output(x, window)? != [gradient[2], gradient[3]] {
                return Err(format!(
                    "{} is not the output for an input of {}",
                    args[0].shape,
                    Shape::from(*input)
                ));
            }
            one(args[0].dtype, x.into())
        }
        Op::Gather { axis } => {
            let shape = &args[0].shape;
            check_axis(*axis, shape)?;
            indices(args[1])?;
            let result = shape[..*axis].iter().chain(args[1].shape.iter()).chain(&shape[axis + 1..]).copied();
            one(args[0].dtype, result.collect())
        }
        Op::ScatterAdd { axis, size } => {
            float(args[0])?;
            indices(args[1])?;
            let (updates, index) = (&args[0].shape, &args[1].shape);
            let fits = updates.rank() >= axis.saturating_add(index.rank())
                && updates[*axis..axis + index.rank()] == index[..];
            if !fits {
                return Err(format!("updates {updates} do not hold the indices {index} at axis {axis}"));
            }
            let result =
                updates[..*axis].iter().chain([size]).chain(&updates[axis + index.rank()..]).copied();
            one(args[0].dtype, result.collect())
        }
        Op::Attention { .. } => {
            let (q, _) = attention_shapes(args)?;
            Ok(vec![args[0].clone(), ValueType::new(DType::F32, [q[0], q[1], q[2]])])
        }
        Op::AttentionGradient { .. } => {
            let (q, _) = attention_shapes(&args[..3])?;
            let statistics = ValueType::new(DType::F32, [q[0], q[1], q[2]]);
            if args[3] != args[0] || args[5] != args[0] || *args[4] != statistics {
                return Err(format!(
                    "output {}, logsumexp {} or gradient {} do not belong to q {}",
                    args[3], args[4], args[5], args[0]
                ));
            }
            Ok(vec![args[0].clone(), args[1].clone(), args[2].clone()])
        }
        Op::Scan { body, carries, stacked, trips, .. } => {
            scan(body.program(), [*carries, *stacked, *trips], args)
        }
        Op::RandomBits { shape, .. } => {
            let scalar = ValueType::scalar(DType::U32);
            if *args[0] != ValueType::new(DType::U32, [2]) || *args[1] != scalar {
                return Err(format!("needs a seed u32[2] and a step u32[], got {} and {}", args[0], args[1]));
            }
            one(DType::U32, shape.clone())
        }
    }
}

/// The most trips of a loop, so that positions of all of them are numbers of 32 bits.
const MAX_TRIPS: usize = i32::MAX as usize;

fn scan(body: &Program, [carries, stacked, trips]: [usize; 3], args: &[&ValueType]) -> Rule {
    if !body.states.is_empty() || !body.hypers.is_empty() {
        return Err("a body has inputs and outputs alone, this has states or hyperparameters".into());
    }
    if carries.saturating_add(stacked) > args.len() || carries > body.outputs.len() || body.outputs.is_empty()
    {
        return Err(format!(
            "{carries} carried and {stacked} stacked values need a body with as many inputs and outputs, this has {} and {}",
            body.inputs.len(),
            body.outputs.len()
        ));
    }
    if trips > MAX_TRIPS {
        return Err(format!("takes at most {MAX_TRIPS} trips, got {trips}"));
    }
    let with_trips = |ty: &ValueType| {
        let shape = std::iter::once(trips).chain(ty.shape.iter().copied()).collect();
        ValueType { dtype: ty.dtype, shape }
    };
    for (position, (input, &arg)) in body.inputs.iter().zip(args).enumerate() {
        let taken = body.ty(input.value);
        let expected =
            if (carries..carries + stacked).contains(&position) { with_trips(taken) } else { taken.clone() };
        if *arg != expected {
            return Err(format!("argument {position} is {arg}, a body that takes {taken} needs {expected}"));
        }
    }
    let mut results = Vec::new();
    for (position, output) in body.outputs.iter().enumerate() {
        let given = body.ty(output.value);
        if position < carries && given != args[position] {
            return Err(format!(
                "carried value {position} is {} before a trip and {given} after it",
                args[position]
            ));
        }
        results.push(if position < carries { given.clone() } else { with_trips(given) });
    }
    Ok(results)
}

fn same(a: &ValueType, b: &ValueType) -> std::result::Result<(), String> {
    if a.shape != b.shape {
        return Err(format!("shapes differ, {} and {}", a.shape, b.shape));
    }
    if a.dtype != b.dtype {
        return Err(format!("types differ, {} and {}; cast one", a.dtype, b.dtype));
    }
    Ok(())
}

fn float(x: &ValueType) -> std::result::Result<(), String> {
    if x.dtype.is_float() { Ok(()) } else { Err(format!("needs floats, got {x}; cast first")) }
}

fn float_or_i32(x: &ValueType) -> std::result::Result<(), String> {
    if x.dtype.is_float() || x.dtype == DType::I32 {
        return Ok(());
    }
    Err(format!("is not defined for {}; cast first", x.dtype))
}

/// That two arguments are floats of one type.
fn same_float(a: &ValueType, b: &ValueType) -> std::result::Result<(), String> {
    float(b)?;
    if a.dtype != b.dtype {
        return Err(format!("types differ, {} and {}; cast one", a.dtype, b.dtype));
    }
    Ok(())
}

fn indices(x: &ValueType) -> std::result::Result<(), String> {
    if x.dtype == DType::I32 { Ok(()) } else { Err(format!("indices must be i32, got {x}")) }
}

fn check_axis(axis: usize, shape: &Shape) -> std::result::Result<(), String> {
    if axis < shape.rank() { Ok(()) } else { Err(format!("there is no axis {axis} in {shape}")) }
}

fn check_axes(axes: &[usize], shape: &Shape) -> std::result::Result<(), String> {
    if let Some(&axis) = axes.iter().find(|&&axis| axis >= shape.rank()) {
        return Err(format!("there is no axis {axis} in {shape}"));
    }
    if axes.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(format!("axes {} repeat or are not in order", Shape::from(axes)));
    }
    Ok(())
}

fn image(x: &ValueType) -> std::result::Result<[usize; 4], String> {
    float(x)?;
    x.shape
        .to_vec()
        .try_into()
        .map_err(|_| format!("needs [batch, channels, height, width], got {}", x.shape))
}

/// Two images of one type.
fn images(args: &[&ValueType]) -> std::result::Result<([usize; 4], [usize; 4]), String> {
    let both = (image(args[0])?, image(args[1])?);
    same_float(args[0], args[1])?;
    Ok(both)
}

fn attention_shapes(args: &[&ValueType]) -> std::result::Result<([usize; 4], [usize; 4]), String> {
    let (q, k) = (image(args[0])?, image(args[1])?);
    image(args[2])?;
    same_float(args[0], args[1])?;
    if args[1] != args[2] {
        return Err(format!("keys {} and values {} differ", args[1].shape, args[2].shape));
    }
    if q[0] != k[0] || q[1] != k[1] || q[3] != k[3] {
        return Err(format!("queries {} do not fit keys {}", args[0].shape, args[1].shape));
    }
    check_products(q.iter().chain(&k[2..3]), || {
        format!("queries {} and keys {}", args[0].shape, args[1].shape)
    })?;
    Ok((q, k))
}

fn check_groups(
    channels: usize,
    out: usize,
    per_group: usize,
    window: &ConvolutionWindow,
    x: &Shape,
    filter: &Shape,
) -> std::result::Result<(), String> {
    let groups = window.groups;
    if groups == 0 || !out.is_multiple_of(groups) {
        return Err(format!("{groups} groups do not divide {out} output channels"));
    }
    if channels != per_group.saturating_mul(groups) {
        return Err(format!("channels differ, {x} with {groups} groups and filter {filter}"));
    }
    Ok(())
}

/// That positions up to `extent` can be told as i32.
fn check_positions(extent: usize) -> std::result::Result<(), String> {
    if i32::try_from(extent).is_ok() {
        return Ok(());
    }
    Err(format!("positions along an axis of {extent} do not fit i32"))
}

/// That positions in a plane can be told as i32.
fn check_plane(plane: [usize; 2]) -> std::result::Result<(), String> {
    match plane[0].checked_mul(plane[1]).map(i32::try_from) {
        Some(Ok(_)) => Ok(()),
        _ => Err(format!("a plane of {} is too large; pooling takes planes below 2^31", Shape::from(plane))),
    }
}

/// That the product of these extents, the number of products that an operation sums, is within the limit. `what` names
/// the arguments.
fn check_products<'a>(
    extents: impl IntoIterator<Item = &'a usize>,
    what: impl FnOnce() -> String,
) -> std::result::Result<(), String> {
    let count = extents.into_iter().try_fold(1usize, |product, &extent| product.checked_mul(extent.max(1)));
    match count {
        Some(count) if count <= MAX_PRODUCTS => Ok(()),
        _ => Err(format!("{} would sum more than 2^60 products", what())),
    }
}

/// The positions of a window along one axis of an image: `reach` is what it covers, from the first tap to the last.
fn window_positions(
    input: usize,
    padding: [usize; 2],
    reach: usize,
    stride: usize,
) -> std::result::Result<(usize, usize), String> {
    let padded = input.saturating_add(padding[0]).saturating_add(padding[1]);
    if padded < reach {
        return Err(format!(
            "a kernel reaching over {reach} is larger than the input, which is {padded} with its padding"
        ));
    }
    Ok((padded, (padded - reach) / stride + 1))
}

/// The shape of a convolution's output, from those of x and the filter. Channels have been checked.
fn convolution_output(
    x: [usize; 4],
    filter: [usize; 4],
    window: &ConvolutionWindow,
) -> std::result::Result<[usize; 4], String> {
    let mut output = [x[0], filter[0], 0, 0];
    // Kernels copy images with their padding, whichever of the two has more channels.
    let mut padded = [x[0], x[1].max(filter[0]), 0, 0];
    for axis in 0..2 {
        let (stride, dilation, kernel) = (window.stride[axis], window.dilation[axis], filter[2 + axis]);
        if stride == 0 || dilation == 0 || kernel == 0 {
            return Err("stride, dilation and kernel must be at least 1".into());
        }
        let reach = dilation.saturating_mul(kernel - 1).saturating_add(1);
        (padded[2 + axis], output[2 + axis]) =
            window_positions(x[2 + axis], [window.low[axis], window.high[axis]], reach, stride)?;
    }
    check_padded(padded)?;
    check_products(output.iter().chain(&filter[1..]), || {
        format!("an image of {} and a filter of {}", Shape::from(x), Shape::from(filter))
    })?;
    Ok(output)
}

fn check_padded(padded: [usize; 4]) -> std::result::Result<(), String> {
    let shape = Shape::from(padded);
    shape.check().map_err(|_| format!("an image of {shape}, its padding included, is too large"))
}

/// Height and width of a pooling's output.
fn pool_output(x: [usize; 4], window: &PoolWindow) -> std::result::Result<[usize; 2], String> {
    let PoolWindow { kernel, stride, low, high } = window;
    check_plane([x[2], x[3]])?;
    let mut output = [0; 2];
    let mut padded = [x[0], x[1], 0, 0];
    for axis in 0..2 {
        if kernel[axis] == 0 {
            return Err("the window must be at least 1 by 1".into());
        }
        if stride[axis] == 0 {
            return Err("the stride must be at least 1".into());
        }
        if low[axis] > kernel[axis] / 2 || high[axis] >= kernel[axis].saturating_add(stride[axis]) {
            return Err(format!("padding must be at most half of the window {}", Shape::from(*kernel)));
        }
        (padded[2 + axis], output[axis]) =
            window_positions(x[2 + axis], [low[axis], high[axis]], kernel[axis], stride[axis])?;
        // Otherwise a maximum would have nothing to choose from.
        let last = (output[axis] - 1).saturating_mul(stride[axis]);
        if x[2 + axis] == 0 || last >= low[axis].saturating_add(x[2 + axis]) {
            return Err(format!("a window {} lies wholly in the padding", Shape::from(*kernel)));
        }
    }
    check_padded(padded)?;
    check_products(x[..2].iter().chain(&output).chain(kernel), || {
        format!("windows of {} over {}", Shape::from(*kernel), Shape::from(x))
    })?;
    Ok(output)
}
