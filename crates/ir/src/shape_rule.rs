//! The shape rule of every operation: result types from argument types, or what does not fit.

use crate::error::{Error, Result};
use crate::op::{BinaryKind, ConvolutionWindow, Op, PoolWindow, UnaryKind};
use crate::types::{DType, Shape, ValueType};

/// Most elements one value may have; keeps every index and byte count inside `i32` strides and `isize` offsets.
pub(crate) const MAX_ELEMENTS: usize = 1 << 40;

/// The types of the results of `op` applied to arguments of these types.
///
/// # Errors
/// If the number, types or shapes of the arguments do not fit the operation; the message names both shapes.
pub fn infer(op: &Op, args: &[&ValueType]) -> Result<Vec<ValueType>> {
    let types = rule(op, args).map_err(|message| Error::new(op.name(), message))?;
    for ty in &types {
        let elements = ty.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
            return Err(Error::new(op.name(), format!("a result of shape {} is too large", ty.shape)));
        }
    }
    Ok(types)
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
    };
    if args.len() != count {
        return Err(format!("takes {count} arguments, got {}", args.len()));
    }
    let one = |dtype: DType, shape: Shape| Ok(vec![ValueType { dtype, shape }]);
    match op {
        Op::Input(_) | Op::State(_) | Op::Hyper(_) | Op::Constant(_) => unreachable!("returned above"),
        Op::Iota { shape, axis } => {
            check_axis(*axis, shape)?;
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
                extents[*axis] += other.shape[*axis];
            }
            one(first.dtype, extents.into())
        }
        Op::Reduce { axes, .. } => {
            check_axes(axes, &args[0].shape)?;
            if !args[0].dtype.is_float() && args[0].dtype != DType::I32 {
                return Err(format!("is not defined for {}; cast first", args[0].dtype));
            }
            one(args[0].dtype, args[0].shape.without(axes))
        }
        Op::ArgMax { axis } => {
            float(args[0])?;
            check_axis(*axis, &args[0].shape)?;
            if args[0].shape[*axis] == 0 {
                return Err(format!("axis {axis} of {} is empty", args[0].shape));
            }
            one(DType::I32, args[0].shape.without(&[*axis]))
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
            one(args[0].dtype, result.into())
        }
        Op::Convolution { window } => {
            let (x, filter) = images(args)?;
            check_groups(x[1], filter[0], filter[1], window, &args[0].shape, &args[1].shape)?;
            let [height, width] = convolution_output([x[2], x[3]], [filter[2], filter[3]], window)?;
            one(args[0].dtype, [x[0], filter[0], height, width].into())
        }
        Op::ConvolutionInputGradient { window, input } => {
            let (gradient, filter) = images(args)?;
            if convolution_output(*input, [filter[2], filter[3]], window)? != [gradient[2], gradient[3]] {
                return Err(format!(
                    "{} is not the output for an input of {}",
                    args[0].shape,
                    Shape::from(*input)
                ));
            }
            if gradient[1] != filter[0] || window.groups == 0 || filter[0] % window.groups != 0 {
                return Err(format!("channels differ, {} and {}", args[0].shape, args[1].shape));
            }
            one(
                args[0].dtype,
                [gradient[0], filter[1].saturating_mul(window.groups), input[0], input[1]].into(),
            )
        }
        Op::ConvolutionFilterGradient { window, kernel } => {
            let (x, gradient) = images(args)?;
            if convolution_output([x[2], x[3]], *kernel, window)? != [gradient[2], gradient[3]]
                || x[0] != gradient[0]
            {
                return Err(format!("{} is not the output for {}", args[1].shape, args[0].shape));
            }
            if window.groups == 0 || x[1] % window.groups != 0 || gradient[1] % window.groups != 0 {
                return Err(format!("{} groups do not divide the channels", window.groups));
            }
            one(args[0].dtype, [gradient[1], x[1] / window.groups, kernel[0], kernel[1]].into())
        }
        Op::MaxPool { window } => {
            let x = image(args[0])?;
            let [height, width] = pool_output([x[2], x[3]], window)?;
            let shape = Shape::from([x[0], x[1], height, width]);
            Ok(vec![ValueType::new(args[0].dtype, shape.clone()), ValueType::new(DType::I32, shape)])
        }
        Op::MaxPoolGradient { input } => {
            let gradient = image(args[0])?;
            if args[1].dtype != DType::I32 || args[1].shape != args[0].shape {
                return Err(format!("positions {} do not belong to the gradient {}", args[1], args[0]));
            }
            one(args[0].dtype, [gradient[0], gradient[1], input[0], input[1]].into())
        }
        Op::WindowSum { window } => {
            let x = image(args[0])?;
            let [height, width] = pool_output([x[2], x[3]], window)?;
            one(args[0].dtype, [x[0], x[1], height, width].into())
        }
        Op::WindowSumTranspose { window, input } => {
            let gradient = image(args[0])?;
            if pool_output(*input, window)? != [gradient[2], gradient[3]] {
                return Err(format!(
                    "{} is not the output for an input of {}",
                    args[0].shape,
                    Shape::from(*input)
                ));
            }
            one(args[0].dtype, [gradient[0], gradient[1], input[0], input[1]].into())
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
        Op::RandomBits { shape, .. } => {
            let scalar = ValueType::scalar(DType::U32);
            if *args[0] != ValueType::new(DType::U32, [2]) || *args[1] != scalar {
                return Err(format!("needs a seed u32[2] and a step u32[], got {} and {}", args[0], args[1]));
            }
            one(DType::U32, shape.clone())
        }
    }
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

/// Height and width of a convolution's output.
fn convolution_output(
    input: [usize; 2],
    kernel: [usize; 2],
    window: &ConvolutionWindow,
) -> std::result::Result<[usize; 2], String> {
    let mut output = [0; 2];
    for axis in 0..2 {
        if window.stride[axis] == 0 || window.dilation[axis] == 0 || kernel[axis] == 0 {
            return Err("stride, dilation and kernel must be at least 1".into());
        }
        let reach = window.dilation[axis].saturating_mul(kernel[axis] - 1).saturating_add(1);
        let padded = input[axis].saturating_add(window.low[axis]).saturating_add(window.high[axis]);
        if padded < reach {
            return Err(format!(
                "a kernel reaching over {reach} is larger than the input, which is {padded} with its padding"
            ));
        }
        output[axis] = (padded - reach) / window.stride[axis] + 1;
    }
    Ok(output)
}

/// Height and width of a pooling's output.
fn pool_output(input: [usize; 2], window: &PoolWindow) -> std::result::Result<[usize; 2], String> {
    for axis in 0..2 {
        if window.kernel[axis] == 0 {
            return Err("the window must be at least 1 by 1".into());
        }
        if window.low[axis] > window.kernel[axis] / 2
            || window.high[axis] >= window.kernel[axis].saturating_add(window.stride[axis])
        {
            return Err(format!("padding must be at most half of the window {}", Shape::from(window.kernel)));
        }
    }
    let PoolWindow { kernel, stride, low, high } = window.clone();
    let geometry = ConvolutionWindow { stride, low, high, dilation: [1, 1], groups: 1 };
    let output = convolution_output(input, kernel, &geometry)?;
    for axis in 0..2 {
        // Otherwise a maximum would have nothing to choose from.
        if input[axis] == 0 || (output[axis] - 1) * stride[axis] >= low[axis].saturating_add(input[axis]) {
            return Err(format!("a window {} lies wholly in the padding", Shape::from(kernel)));
        }
    }
    Ok(output)
}
