//! Windows, slices and paddings of any geometry, huge ones included, on a device against the interpreter.
//!
//! What the shape rules refuse is refused; everything else must neither overflow nor read beside its arguments,
//! whatever a model file says. Images are small, so that a geometry that is let through is quick to compute.

use crate::compare::report;
use crate::dice::Dice;
use dropforge_ir::interpret::{Numbers, Rounding, apply};
use dropforge_ir::{
    Array, ConvolutionWindow, DType, Data, Op, PoolWindow, Program, Real, Shape, Value, ValueType, infer,
};
use dropforge_runtime::{Argument, Device, load};
use std::ops::Range;

/// Most elements of a result that is computed.
const ELEMENTS: usize = 4000;
/// Most products that are computed.
const PRODUCTS: usize = 200_000;
const TOLERANCE: f64 = 1e-4;

/// How many geometries were met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Geometries {
    /// Refused by a shape rule.
    pub refused: usize,
    /// Valid, but with a result too large to compute here; their programs were planned by [`load`] if they take
    /// little memory.
    pub large: usize,
    /// Declined by a GPU, whose kernels count in 32 bits, with an error that says so.
    pub declined: usize,
    /// Computed and compared.
    pub computed: usize,
    /// Of the computed ones, those with a number above 2³² among their attributes.
    pub huge: usize,
}

/// How the error ends with which a GPU declines what its kernels cannot count.
const TOO_MANY: &str = "are more than a GPU counts";

/// Runs the geometries of these seeds.
///
/// # Panics
/// With the operation and its arguments, if a device fails on one or gives something else than the interpreter.
pub fn check_geometries(device: &dyn Device, seeds: Range<u64>) -> Geometries {
    let mut met = Geometries::default();
    for seed in seeds {
        let mut dice = Dice::new(seed, 7);
        let (op, shapes) = geometry(&mut dice);
        let types: Vec<ValueType> =
            shapes.iter().map(|shape| ValueType::new(DType::F32, shape.clone())).collect();
        let Ok(results) = infer(&op, &types.iter().collect::<Vec<_>>()) else {
            met.refused += 1;
            continue;
        };
        if results.iter().any(|ty| ty.shape.elements() > ELEMENTS)
            || products(&op, &shapes, &results) > PRODUCTS
        {
            met.large += 1;
            continue;
        }
        match check(device, &op, &types, &mut dice) {
            Ok(()) => {}
            Err(message) if device.is_gpu() && message.ends_with(TOO_MANY) => {
                met.declined += 1;
                continue;
            }
            Err(message) => panic!("{}, seed {seed}: {op:?} of {shapes:?}: {message}", device.name()),
        }
        met.computed += 1;
        met.huge += usize::from(attributes(&op).iter().any(|&number| number > 1 << 32));
    }
    met
}

fn check(device: &dyn Device, op: &Op, types: &[ValueType], dice: &mut Dice) -> Result<(), String> {
    let mut program = Program::new("geometry");
    let inputs: Vec<Value> =
        types.iter().enumerate().map(|(i, ty)| program.input(format!("x{i}"), ty.clone())).collect();
    let results = program.push(op.clone(), &inputs).map_err(|error| error.to_string())?;
    for (i, &result) in results.iter().enumerate() {
        program.output(format!("y{i}"), result);
    }
    let arrays: Vec<Array> = types
        .iter()
        .map(|ty| {
            let elements = (0..ty.shape.elements()).map(|_| dice.uniform(-1.0, 1.0) as f32).collect();
            Array::new(ty.shape.clone(), Data::F32(elements)).expect("as many as the shape has")
        })
        .collect();
    let mut executable = load(device, &program, &[]).map_err(|error| error.to_string())?;
    let arguments: Vec<Argument<'_>> = arrays.iter().map(Argument::Host).collect();
    let outputs = executable.run(&arguments, &[]).map_err(|error| error.to_string())?;
    let numbers: Vec<Numbers> = arrays.iter().map(Numbers::from).collect();
    let expected = apply(op, &numbers.iter().collect::<Vec<_>>(), Rounding::Double)
        .map_err(|error| error.to_string())?;
    for (expected, output) in expected.iter().zip(outputs) {
        let got = Numbers::from(&output.read().map_err(|error| error.to_string())?);
        if let Some(message) = report(expected, &got, |want| TOLERANCE * want.abs().max(1.0)) {
            return Err(message);
        }
    }
    Ok(())
}

/// A number of any size: mostly small, sometimes near a power of two, sometimes one whose multiples wrap around to
/// small numbers.
fn any(dice: &mut Dice, usual: usize) -> usize {
    match dice.below(10) {
        0..6 => dice.between(0, usual),
        6 => dice.between(0, 40),
        7 => {
            let power = dice.between(5, 63);
            (1usize << power).wrapping_add(dice.between(0, 4)).wrapping_sub(2)
        }
        8 => (usize::MAX / dice.between(1, 24)).wrapping_add(dice.between(0, 2)).wrapping_sub(1),
        _ => usize::MAX - dice.between(0, 40),
    }
}

/// Two numbers, of which one at most is unusual, since most pairs would be refused.
fn pair(dice: &mut Dice, least: usize, usual: usize) -> [usize; 2] {
    let mut pair = [dice.between(least, usual.max(least)), dice.between(least, usual.max(least))];
    if dice.percent(35) {
        let axis = dice.below(2);
        pair[axis] = any(dice, usual).max(least);
    }
    pair
}

fn geometry(dice: &mut Dice) -> (Op, Vec<Shape>) {
    let (batch, size) = (dice.between(1, 3), [dice.between(1, 7), dice.between(1, 7)]);
    match dice.below(8) {
        0..4 => {
            let groups = dice.pick(&[1, 1, 1, 2]);
            let [inputs, outputs] = [0, 1].map(|_| groups * dice.between(1, 3));
            let kernel = [dice.between(1, 3), dice.between(1, 3)];
            let mut window = ConvolutionWindow {
                stride: pair(dice, 1, 3),
                low: pair(dice, 0, 3),
                high: pair(dice, 0, 3),
                dilation: pair(dice, 1, 3),
                groups,
            };
            for (axis, taps) in kernel.into_iter().enumerate() {
                // A filter that reaches far fits where the padding does; and few positions of it are quick.
                if dice.percent(30) {
                    window.dilation[axis] = any(dice, 3).max(1);
                    window.low[axis] = window.dilation[axis].wrapping_mul(taps - 1).wrapping_add(1) / 2;
                    window.high[axis] = window.low[axis].wrapping_add(dice.between(0, 2));
                }
                if dice.percent(30) {
                    window.low[axis] = 1 << dice.between(3, 40);
                    window.stride[axis] = window.low[axis] / dice.between(1, 3);
                }
            }
            let x = Shape::from([batch, inputs, size[0], size[1]]);
            let filter = Shape::from([outputs, inputs / groups, kernel[0], kernel[1]]);
            let of = |ty: &Shape| ValueType::new(DType::F32, ty.clone());
            let forward = Op::Convolution { window: window.clone() };
            let Ok(output) = infer(&forward, &[&of(&x), &of(&filter)]) else {
                return (forward, vec![x, filter]);
            };
            let output = output[0].shape.clone();
            match dice.below(3) {
                _ if output.elements() > ELEMENTS => (forward, vec![x, filter]),
                0 => (forward, vec![x, filter]),
                1 => (Op::ConvolutionInputGradient { window, input: size }, vec![output, filter]),
                _ => (Op::ConvolutionFilterGradient { window, kernel }, vec![x, output]),
            }
        }
        4..6 => {
            let kernel = pair(dice, 1, 4);
            let mut window = PoolWindow { kernel, stride: pair(dice, 1, 4), low: [0; 2], high: [0; 2] };
            for (axis, extent) in kernel.into_iter().enumerate() {
                let most = extent / 2;
                window.low[axis] = if dice.percent(50) { most } else { dice.between(0, most.min(2)) };
                window.high[axis] = if dice.percent(50) {
                    most.saturating_add(dice.below(2))
                } else {
                    dice.between(0, most.min(2))
                };
            }
            let x = Shape::from([batch, dice.between(1, 3), size[0], size[1]]);
            match dice.below(3) {
                0 => (Op::MaxPool { window }, vec![x]),
                1 => (Op::WindowSum { window }, vec![x]),
                _ => {
                    let sum = Op::WindowSum { window: window.clone() };
                    match infer(&sum, &[&ValueType::new(DType::F32, x.clone())]) {
                        Ok(output) if output[0].shape.elements() <= ELEMENTS => {
                            let output = output[0].shape.clone();
                            (Op::WindowSumTranspose { window, input: size }, vec![output])
                        }
                        _ => (sum, vec![x]),
                    }
                }
            }
        }
        6 => {
            let x = Shape::from([batch, size[0], size[1]]);
            let mut ends = || -> (usize, usize) {
                let start = any(dice, 3);
                (start, if dice.percent(80) { start.saturating_add(any(dice, 3)) } else { any(dice, 6) })
            };
            let ends: Vec<(usize, usize)> = (0..3).map(|_| ends()).collect();
            let (start, mut stop): (Vec<usize>, Vec<usize>) = ends.into_iter().unzip();
            for axis in 0..3 {
                if dice.percent(60) && start[axis] <= x[axis] {
                    stop[axis] = x[axis];
                }
            }
            let step = (0..3).map(|_| any(dice, 3)).collect();
            (Op::Slice { start, stop, step }, vec![x])
        }
        _ => {
            let extents: Vec<usize> = (0..3).map(|_| dice.between(0, 3)).collect();
            let mut amounts = |usual: usize| (0..3).map(|_| any(dice, usual)).collect::<Vec<usize>>();
            let (low, high, interior) = (amounts(2), amounts(2), amounts(2));
            (Op::Pad { low, high, interior, value: Real(0.5) }, vec![extents.into()])
        }
    }
}

/// The numbers of an operation that may be huge.
fn attributes(op: &Op) -> Vec<usize> {
    match op {
        Op::Convolution { window }
        | Op::ConvolutionInputGradient { window, .. }
        | Op::ConvolutionFilterGradient { window, .. } => {
            [window.stride, window.low, window.high, window.dilation].concat()
        }
        Op::MaxPool { window } | Op::WindowSum { window } | Op::WindowSumTranspose { window, .. } => {
            [window.kernel, window.stride, window.low, window.high].concat()
        }
        Op::Slice { start, stop, step } => [&start[..], stop, step].concat(),
        Op::Pad { low, high, interior, .. } => [&low[..], high, interior].concat(),
        _ => Vec::new(),
    }
}

/// How many products or sums an operation takes at most.
fn products(op: &Op, args: &[Shape], results: &[ValueType]) -> usize {
    match op {
        Op::Convolution { .. } | Op::ConvolutionInputGradient { .. } => {
            args[0].elements().max(results[0].shape.elements()) * args[1].elements()
        }
        Op::ConvolutionFilterGradient { .. } => args[1].elements() * results[0].shape.elements(),
        // At most the whole image for each position.
        Op::MaxPool { .. } | Op::WindowSum { .. } | Op::WindowSumTranspose { .. } => {
            args[0].elements() * results[0].shape.elements()
        }
        _ => 0,
    }
}
