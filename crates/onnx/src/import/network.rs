//! Convolutions, pooling, normalisation and products.

use super::builder::axis_of;
use super::elementwise::one;
use super::{Call, Importer, Item, Tensor};
use crate::{Result, element, failed};
use dropforge_ir::{BinaryKind, ConvolutionWindow, DType, Op, PoolWindow, ReduceKind, UnaryKind, Value};

type Results = Result<Vec<Item>>;

/// Windows that slide over the axes behind batch and channels.
struct Windows {
    kernel: Vec<usize>,
    stride: Vec<usize>,
    dilation: Vec<usize>,
    low: Vec<usize>,
    high: Vec<usize>,
    /// What a rounded-up size adds behind the padding.
    extra: Vec<usize>,
}

impl Windows {
    fn of(call: &Call<'_, '_>, input: &[usize], kernel: Vec<usize>) -> Result<Windows> {
        let axes = input.len();
        let all = |name: &str, otherwise: usize| -> Result<Vec<usize>> {
            let given = call.sizes(name)?.unwrap_or_else(|| vec![otherwise; axes]);
            match given.len() == axes {
                true => Ok(given),
                false => Err(failed(format!("{name} has {} numbers for {axes} axes", given.len()))),
            }
        };
        if kernel.len() != axes || kernel.contains(&0) {
            return Err(failed(format!("a window of {kernel:?} does not fit {axes} axes")));
        }
        let (stride, dilation) = (all("strides", 1)?, all("dilations", 1)?);
        if stride.contains(&0) || dilation.contains(&0) {
            return Err(failed("a stride or dilation is 0"));
        }
        let (mut low, mut high) = (vec![0; axes], vec![0; axes]);
        let mode = call.text("auto_pad", "NOTSET");
        for axis in 0..axes {
            let taps = taps(kernel[axis], dilation[axis]);
            if mode.starts_with("SAME") {
                let count = input[axis].div_ceil(stride[axis]);
                let total = (count.saturating_sub(1) * stride[axis] + taps).saturating_sub(input[axis]);
                let half = total / 2;
                (low[axis], high[axis]) =
                    if mode == "SAME_LOWER" { (total - half, half) } else { (half, total - half) };
            }
        }
        if mode == "NOTSET"
            && let Some(pads) = call.sizes("pads")?
        {
            if pads.len() != 2 * axes {
                return Err(failed(format!("pads has {} numbers for {axes} axes", pads.len())));
            }
            (low, high) = (pads[..axes].to_vec(), pads[axes..].to_vec());
        }
        let mut extra = vec![0; axes];
        if call.flag("ceil_mode") {
            for axis in 0..axes {
                let padded = low[axis] + input[axis] + high[axis];
                let moves = padded.saturating_sub(taps(kernel[axis], dilation[axis]));
                let rest = moves % stride[axis];
                // A window that would begin in the padding behind is left out.
                let begins = moves - rest + stride[axis];
                if rest > 0 && begins < low[axis] + input[axis] {
                    extra[axis] = stride[axis] - rest;
                }
            }
        }
        Ok(Windows { kernel, stride, dilation, low, high, extra })
    }

    fn output(&self, input: &[usize]) -> Result<Vec<usize>> {
        (0..input.len())
            .map(|axis| {
                let padded = self.low[axis] + input[axis] + self.high[axis] + self.extra[axis];
                let taps = taps(self.kernel[axis], self.dilation[axis]);
                let moves = padded.checked_sub(taps);
                let moves =
                    moves.ok_or_else(|| failed("the windows are larger than what they slide over"))?;
                Ok(moves / self.stride[axis] + 1)
            })
            .collect()
    }
}

/// How far a filter reaches.
fn taps(kernel: usize, dilation: usize) -> usize {
    kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

/// The positions of the kernel, the last axis fastest.
fn positions(kernel: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &extent in kernel {
        all = all.into_iter().flat_map(|head| (0..extent).map(move |i| [&head[..], &[i]].concat())).collect();
    }
    all
}

/// What the windows see at one position of the kernel, of an input that is padded already.
fn seen(m: &mut Importer<'_, '_>, x: Value, w: &Windows, at: &[usize], count: &[usize]) -> Result<Value> {
    let shape = m.b.shape(x);
    let (mut start, mut stop, mut step) = (vec![0; 2], shape[..2].to_vec(), vec![1; 2]);
    for axis in 0..at.len() {
        let first = at[axis] * w.dilation[axis];
        start.push(first);
        stop.push(first + (count[axis] - 1) * w.stride[axis] + 1);
        step.push(w.stride[axis]);
    }
    m.b.op(Op::Slice { start, stop, step }, &[x])
}

/// Pads the axes behind batch and channels.
fn padded(m: &mut Importer<'_, '_>, x: Value, low: &[usize], high: &[usize], value: f64) -> Result<Value> {
    m.b.pad(x, &[&[0, 0], low].concat(), &[&[0, 0], high].concat(), value)
}

fn two(of: &[usize]) -> [usize; 2] {
    [of[0], of[1]]
}

/// An axis of 1 in front of a single one, so that there are two.
fn with_two_axes(m: &mut Importer<'_, '_>, x: Value, add: bool) -> Result<Value> {
    if !add {
        return Ok(x);
    }
    let shape = m.b.shape(x);
    m.b.reshape(x, &[shape[0], shape[1], 1, shape[2]])
}

fn convolved(m: &mut Importer<'_, '_>, x: Value, filter: Value, w: &Windows, groups: usize) -> Result<Value> {
    let axes = w.kernel.len();
    match axes {
        2 => {
            let window = ConvolutionWindow {
                stride: two(&w.stride),
                low: two(&w.low),
                high: two(&w.high),
                dilation: two(&w.dilation),
                groups,
            };
            m.b.op(Op::Convolution { window }, &[x, filter])
        }
        1 => {
            let (x, filter) = (with_two_axes(m, x, true)?, with_two_axes(m, filter, true)?);
            let wide = |of: &[usize], first: usize| vec![first, of[0]];
            let flat = Windows {
                kernel: wide(&w.kernel, 1),
                stride: wide(&w.stride, 1),
                dilation: wide(&w.dilation, 1),
                low: wide(&w.low, 0),
                high: wide(&w.high, 0),
                extra: wide(&w.extra, 0),
            };
            let y = convolved(m, x, filter, &flat, groups)?;
            let shape = m.b.shape(y);
            m.b.reshape(y, &[shape[0], shape[1], shape[3]])
        }
        3 => {
            // The sum over the first axis of the filter, one plane of it after another.
            let shape = m.b.shape(x);
            let count = w.output(&shape[2..])?;
            let filters = m.b.shape(filter);
            let x = padded(m, x, &[w.low[0], 0, 0], &[w.high[0], 0, 0], 0.0)?;
            let rest = |of: &[usize]| of[1..].to_vec();
            let plane = Windows {
                kernel: rest(&w.kernel),
                stride: rest(&w.stride),
                dilation: rest(&w.dilation),
                low: rest(&w.low),
                high: rest(&w.high),
                extra: rest(&w.extra),
            };
            let mut sum = None;
            for tap in 0..w.kernel[0] {
                let extent = m.b.shape(x);
                let first = tap * w.dilation[0];
                let (mut start, mut stop, mut step) = (vec![0; 5], extent.clone(), vec![1; 5]);
                (start[2], stop[2], step[2]) = (first, first + (count[0] - 1) * w.stride[0] + 1, w.stride[0]);
                let part = m.b.op(Op::Slice { start, stop, step }, &[x])?;
                let part = m.b.permute(part, &[0, 2, 1, 3, 4])?;
                let part = m.b.reshape(part, &[shape[0] * count[0], shape[1], shape[3], shape[4]])?;
                let taps = m.b.cut(filter, 2, tap, tap + 1)?;
                let taps = m.b.reshape(taps, &[filters[0], filters[1], filters[3], filters[4]])?;
                let y = convolved(m, part, taps, &plane, groups)?;
                sum = Some(match sum {
                    Some(sum) => m.b.add(sum, y)?,
                    None => y,
                });
            }
            let y = sum.ok_or_else(|| failed("a filter is empty"))?;
            let y = m.b.reshape(y, &[shape[0], count[0], filters[0], count[1], count[2]])?;
            m.b.permute(y, &[0, 2, 1, 3, 4])
        }
        _ => Err(failed(format!("a convolution over {axes} axes cannot be expressed"))),
    }
}

/// A convolution of an input and a filter, without bias.
pub(super) fn convolution(
    m: &mut Importer<'_, '_>,
    call: &Call<'_, '_>,
    x: Value,
    filter: Value,
) -> Result<Value> {
    let (shape, filters) = (m.b.shape(x), m.b.shape(filter));
    if shape.len() < 3 || filters.len() != shape.len() {
        return Err(failed(format!("{shape:?} and {filters:?} cannot be convolved")));
    }
    let kernel = call.sizes("kernel_shape")?.filter(|kernel| !kernel.is_empty());
    let w = Windows::of(call, &shape[2..], kernel.unwrap_or_else(|| filters[2..].to_vec()))?;
    w.output(&shape[2..])?;
    let groups = usize::try_from(call.integer("group", 1)).unwrap_or(0);
    convolved(m, x, filter, &w, groups)
}

/// A bias of each channel.
pub(super) fn biased(m: &mut Importer<'_, '_>, y: Value, bias: Option<Tensor>) -> Result<Value> {
    let Some(bias) = bias else { return Ok(y) };
    let mut along = vec![1; m.b.rank(y)];
    along[1] = m.b.shape(bias.value).iter().product();
    let bias = m.b.reshape(bias.value, &along)?;
    m.b.add(y, bias)
}

pub(super) fn conv<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let y = convolution(m, call, x.value, call.value(1)?)?;
    let y = biased(m, y, call.optional(2))?;
    one(y, x.element)
}

pub(super) fn conv_transpose<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let (x, filter) = (call.tensor(0)?, call.value(1)?);
    let (shape, filters) = (m.b.shape(x.value), m.b.shape(filter));
    let single = shape.len() == 3;
    if !(single || shape.len() == 4) || filters.len() != shape.len() {
        return Err(failed(format!("{shape:?} and {filters:?} cannot be convolved over two axes")));
    }
    let axes = shape.len() - 2;
    let all = |name: &str, otherwise: usize| -> Result<Vec<usize>> {
        let given = call.sizes(name)?.unwrap_or_else(|| vec![otherwise; axes]);
        if given.len() == axes { Ok(given) } else { Err(failed(format!("{name} does not fit {axes} axes"))) }
    };
    let (mut stride, mut dilation) = (all("strides", 1)?, all("dilations", 1)?);
    let rest = all("output_padding", 0)?;
    let mode = call.text("auto_pad", "NOTSET");
    let wanted = call.sizes("output_shape")?;
    let (mut low, mut high, mut size) = (Vec::new(), Vec::new(), Vec::new());
    for axis in 0..axes {
        let extent = shape[axis + 2];
        let reached =
            stride[axis] * extent.saturating_sub(1) + taps(filters[axis + 2], dilation[axis]) + rest[axis];
        let target = match (&wanted, mode.as_str()) {
            (Some(wanted), _) => {
                let place = (wanted.len() + axis).checked_sub(axes);
                let size = place.and_then(|place| wanted.get(place).copied());
                Some(size.ok_or_else(|| failed("the output shape does not fit"))?)
            }
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(extent * stride[axis]),
            _ => None,
        };
        let (before, after) = match target {
            Some(target) => {
                let total =
                    reached.checked_sub(target).ok_or_else(|| failed("the output shape is too large"))?;
                if mode == "SAME_UPPER" {
                    (total / 2, total - total / 2)
                } else {
                    (total - total / 2, total / 2)
                }
            }
            None => {
                let pads = call.sizes("pads")?.unwrap_or_else(|| vec![0; 2 * axes]);
                (*pads.get(axis).unwrap_or(&0), *pads.get(axis + axes).unwrap_or(&0))
            }
        };
        let output = reached.checked_sub(before + after);
        size.push(output.ok_or_else(|| failed("the padding is larger than the result"))?);
        low.push(before);
        high.push(after);
    }
    let mut filter = filter;
    let mut value = x.value;
    if single {
        value = with_two_axes(m, value, true)?;
        filter = with_two_axes(m, filter, true)?;
        for (list, first) in
            [(&mut stride, 1), (&mut dilation, 1), (&mut low, 0), (&mut high, 0), (&mut size, 1)]
        {
            list.insert(0, first);
        }
    }
    let groups = usize::try_from(call.integer("group", 1)).unwrap_or(0);
    let window = ConvolutionWindow {
        stride: two(&stride),
        low: two(&low),
        high: two(&high),
        dilation: two(&dilation),
        groups,
    };
    let y = m.b.op(Op::ConvolutionInputGradient { window, input: two(&size) }, &[value, filter])?;
    let y = if single {
        let shape = m.b.shape(y);
        m.b.reshape(y, &[shape[0], shape[1], shape[3]])?
    } else {
        y
    };
    let y = biased(m, y, call.optional(2))?;
    one(y, x.element)
}

fn pool_windows(m: &Importer<'_, '_>, call: &Call<'_, '_>) -> Result<Windows> {
    let shape = m.b.shape(call.value(0)?);
    let kernel = call.sizes("kernel_shape")?.ok_or_else(|| failed("has no kernel_shape"))?;
    if shape.len() < 3 {
        return Err(failed(format!("{shape:?} has no axes behind batch and channels")));
    }
    Windows::of(call, &shape[2..], kernel)
}

/// Sums or maxima of windows, position after position of the kernel.
fn pooled(m: &mut Importer<'_, '_>, x: Value, w: &Windows, kind: BinaryKind, outside: f64) -> Result<Value> {
    let shape = m.b.shape(x);
    let count = w.output(&shape[2..])?;
    let high: Vec<usize> = w.high.iter().zip(&w.extra).map(|(a, b)| a + b).collect();
    let small = |axis: usize| w.low[axis].max(high[axis]) * 2 <= w.kernel[axis];
    let plain =
        w.kernel.len() == 2 && w.dilation == [1, 1] && small(0) && small(1) && m.b.dtype(x).is_float();
    if plain {
        let window =
            PoolWindow { kernel: two(&w.kernel), stride: two(&w.stride), low: two(&w.low), high: two(&high) };
        return match kind {
            BinaryKind::Add => m.b.op(Op::WindowSum { window }, &[x]),
            _ => m.b.op(Op::MaxPool { window }, &[x]),
        };
    }
    let size = w.kernel.iter().try_fold(1usize, |size, &extent| size.checked_mul(extent));
    if size.is_none_or(|size| size > 1 << 12) {
        return Err(failed(format!("a window of {:?} is too large", w.kernel)));
    }
    let all = positions(&w.kernel);
    let x = padded(m, x, &w.low, &high, outside)?;
    let mut y = None;
    for at in all {
        let here = seen(m, x, w, &at, &count)?;
        y = Some(match y {
            Some(y) => m.b.binary(kind, y, here)?,
            None => here,
        });
    }
    y.ok_or_else(|| failed("a window is empty"))
}

pub(super) fn max_pool<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let w = pool_windows(m, call)?;
    let wants_places = call.node.outputs.get(1).is_some_and(|name| !name.is_empty());
    if !wants_places {
        let lowest = if m.b.dtype(x.value).is_float() { f64::NEG_INFINITY } else { f64::from(i32::MIN) };
        let y = pooled(m, x.value, &w, BinaryKind::Maximum, lowest)?;
        return one(y, x.element);
    }
    let shape = m.b.shape(x.value);
    if w.kernel.len() != 2 || w.dilation != [1, 1] {
        return Err(failed("positions are found in windows over two axes without dilation only"));
    }
    let high = [w.high[0] + w.extra[0], w.high[1] + w.extra[1]];
    let window = PoolWindow { kernel: two(&w.kernel), stride: two(&w.stride), low: two(&w.low), high };
    let both = m.b.all(Op::MaxPool { window }, &[x.value])?;
    let plane = shape[2] * shape[3];
    let mut within = both[1];
    if call.flag("storage_order") {
        // row·w + column becomes column·h + row.
        let width = m.b.scalar(DType::I32, shape[3] as f64);
        let row = m.b.divide(within, width)?;
        let column = m.b.binary(BinaryKind::Remainder, within, width)?;
        let scaled = m.b.times(column, shape[2] as f64)?;
        within = m.b.add(scaled, row)?;
    }
    let planes = m.b.iota(&[shape[0] * shape[1]], 0)?;
    let planes = m.b.reshape(planes, &[shape[0], shape[1], 1, 1])?;
    let first = m.b.times(planes, plane as f64)?;
    let places = m.b.add(within, first)?;
    Ok(vec![
        Item::Tensor(Tensor { value: both[0], element: x.element }),
        Item::Tensor(Tensor { value: places, element: element::INT64 }),
    ])
}

pub(super) fn average_pool<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let w = pool_windows(m, call)?;
    let sums = pooled(m, x.value, &w, BinaryKind::Add, 0.0)?;
    let shape = m.b.shape(x.value);
    let plain = w.low.iter().chain(&w.high).chain(&w.extra).all(|&count| count == 0);
    let includes = call.flag("count_include_pad");
    if plain || includes && w.extra.iter().all(|&count| count == 0) {
        let count: usize = w.kernel.iter().product();
        let y = m.b.with(BinaryKind::Divide, sums, count as f64)?;
        return one(y, x.element);
    }
    // What each window counts: elements, and the padding if that is meant to count.
    let ones = m.b.full(DType::F32, &[&[1, 1], &shape[2..]].concat(), 1.0)?;
    let none = vec![0; w.low.len()];
    let (ones, low, high) = match includes {
        true => (padded(m, ones, &w.low, &w.high, 1.0)?, none.clone(), none),
        false => (ones, w.low.clone(), w.high.clone()),
    };
    let counted = Windows { low, high, ..w };
    let counts = pooled(m, ones, &counted, BinaryKind::Add, 0.0)?;
    let y = m.b.divide(sums, counts)?;
    one(y, x.element)
}

pub(super) fn lp_pool<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let w = pool_windows(m, call)?;
    let p = call.integer("p", 2) as f64;
    let size = m.b.unary(UnaryKind::Absolute, x.value)?;
    let powers = m.b.with(BinaryKind::Power, size, p)?;
    let sums = pooled(m, powers, &w, BinaryKind::Add, 0.0)?;
    let y = m.b.with(BinaryKind::Power, sums, 1.0 / p)?;
    one(y, x.element)
}

/// The axes behind batch and channels.
fn spatial(m: &Importer<'_, '_>, x: Value) -> Vec<usize> {
    (2..m.b.rank(x)).collect()
}

pub(super) fn global_average_pool<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let y = m.b.mean(x.value, &spatial(m, x.value), true)?;
    one(y, x.element)
}

pub(super) fn global_max_pool<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let y = m.b.reduce(ReduceKind::Max, x.value, &spatial(m, x.value), true)?;
    one(y, x.element)
}

/// A value for each channel, along axis 1.
fn along_channels(m: &mut Importer<'_, '_>, value: Value, rank: usize) -> Result<Value> {
    let mut shape = vec![1; rank];
    shape[1] = m.b.shape(value).iter().product();
    m.b.reshape(value, &shape)
}

/// (x − mean)·(variance + ε)^−½
fn standardised(
    m: &mut Importer<'_, '_>,
    x: Value,
    mean: Value,
    variance: Value,
    epsilon: f64,
) -> Result<Value> {
    let centred = m.b.subtract(x, mean)?;
    let safe = m.b.plus(variance, epsilon)?;
    let scale = m.b.unary(UnaryKind::ReciprocalSquareRoot, safe)?;
    m.b.multiply(centred, scale)
}

/// Mean and biased variance over axes, which stay as 1.
fn moments(m: &mut Importer<'_, '_>, x: Value, axes: &[usize]) -> Result<(Value, Value)> {
    let both = m.b.all(Op::MeanVariance { axes: axes.into() }, &[x])?;
    Ok((m.b.kept(both[0], x, axes, true)?, m.b.kept(both[1], x, axes, true)?))
}

pub(super) fn batch_normalization<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let rank = m.b.rank(x.value);
    if rank < 2 {
        return Err(failed("takes [batch, channels, ..]"));
    }
    let mut all = Vec::new();
    for index in 1..5 {
        all.push(along_channels(m, call.value(index)?, rank)?);
    }
    let epsilon = call.float("epsilon", 1e-5);
    let trains = call.flag("training_mode");
    let (mut mean, mut variance) = (all[2], all[3]);
    let mut running = Vec::new();
    if trains {
        let axes: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
        let now = moments(m, x.value, &axes)?;
        let momentum = call.float("momentum", 0.9);
        for (old, new) in [(mean, now.0), (variance, now.1)] {
            let kept = m.b.times(old, momentum)?;
            let added = m.b.times(new, 1.0 - momentum)?;
            let sum = m.b.add(kept, added)?;
            let channels: usize = m.b.shape(sum).iter().product();
            running.push(m.b.reshape(sum, &[channels])?);
        }
        (mean, variance) = now;
    }
    let y = standardised(m, x.value, mean, variance, epsilon)?;
    let y = m.b.multiply(y, all[0])?;
    let y = m.b.add(y, all[1])?;
    let results = std::iter::once(y).chain(running);
    Ok(results.map(|value| Item::Tensor(Tensor { value, element: x.element })).collect())
}

pub(super) fn layer_normalization<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let rank = m.b.rank(x.value);
    let first = axis_of(call.integer("axis", -1), rank)?;
    let axes: Vec<usize> = (first..rank).collect();
    let (mean, variance) = moments(m, x.value, &axes)?;
    let epsilon = call.float("epsilon", 1e-5);
    let y = standardised(m, x.value, mean, variance, epsilon)?;
    let mut y = m.b.multiply(y, call.value(1)?)?;
    if let Some(bias) = call.optional(2) {
        y = m.b.add(y, bias.value)?;
    }
    let safe = m.b.plus(variance, epsilon)?;
    let inverse = m.b.unary(UnaryKind::ReciprocalSquareRoot, safe)?;
    Ok([y, mean, inverse].map(|value| Item::Tensor(Tensor { value, element: x.element })).to_vec())
}

pub(super) fn rms_normalization<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let rank = m.b.rank(x.value);
    let first = axis_of(call.integer("axis", -1), rank)?;
    let axes: Vec<usize> = (first..rank).collect();
    let square = m.b.multiply(x.value, x.value)?;
    let mean = m.b.mean(square, &axes, true)?;
    let safe = m.b.plus(mean, call.float("epsilon", 1e-5))?;
    let inverse = m.b.unary(UnaryKind::ReciprocalSquareRoot, safe)?;
    let y = m.b.multiply(x.value, inverse)?;
    let y = m.b.multiply(y, call.value(1)?)?;
    one(y, x.element)
}

pub(super) fn instance_normalization<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let rank = m.b.rank(x.value);
    if rank < 3 {
        return Err(failed("takes [batch, channels, ..]"));
    }
    let (mean, variance) = moments(m, x.value, &spatial(m, x.value))?;
    let y = standardised(m, x.value, mean, variance, call.float("epsilon", 1e-5))?;
    let scale = along_channels(m, call.value(1)?, rank)?;
    let bias = along_channels(m, call.value(2)?, rank)?;
    let y = m.b.multiply(y, scale)?;
    let y = m.b.add(y, bias)?;
    one(y, x.element)
}

pub(super) fn group_normalization<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let groups = usize::try_from(call.integer("num_groups", 0)).unwrap_or(0);
    if shape.len() < 3 || groups == 0 || !shape[1].is_multiple_of(groups) {
        return Err(failed(format!("{groups} groups do not divide the channels of {shape:?}")));
    }
    let each = shape[1] / groups;
    let split = [&[shape[0], groups, each], &shape[2..]].concat();
    let apart = m.b.reshape(x.value, &split)?;
    let axes: Vec<usize> = (2..split.len()).collect();
    let (mean, variance) = moments(m, apart, &axes)?;
    let y = standardised(m, apart, mean, variance, call.float("epsilon", 1e-5))?;
    let mut both = Vec::new();
    for index in [1, 2] {
        let value = call.value(index)?;
        // Of each channel since opset 21, of each group before.
        let of_groups = m.b.shape(value) == [groups] && call.opset < 21;
        let mut along = vec![1; split.len()];
        along[1] = groups;
        along[2] = if of_groups { 1 } else { each };
        both.push(m.b.reshape(value, &along)?);
    }
    let y = m.b.multiply(y, both[0])?;
    let y = m.b.add(y, both[1])?;
    let y = m.b.reshape(y, &shape)?;
    one(y, x.element)
}

pub(super) fn mean_variance_normalization<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let axes = call.integers("axes").unwrap_or(&[0, 2, 3]);
    let axes = super::builder::axes_of(axes, m.b.rank(x.value))?;
    let (mean, variance) = moments(m, x.value, &axes)?;
    let centred = m.b.subtract(x.value, mean)?;
    let deviation = m.b.unary(UnaryKind::SquareRoot, variance)?;
    let safe = m.b.plus(deviation, 1e-9)?;
    let y = m.b.divide(centred, safe)?;
    one(y, x.element)
}

pub(super) fn lrn<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let size = usize::try_from(call.integer("size", 0)).ok().filter(|&size| size > 0 && size <= 4096);
    let size = size.ok_or_else(|| failed("has no size"))?;
    if shape.len() < 2 {
        return Err(failed("takes [batch, channels, ..]"));
    }
    let square = m.b.multiply(x.value, x.value)?;
    let (mut low, mut high) = (vec![0; shape.len()], vec![0; shape.len()]);
    (low[1], high[1]) = ((size - 1) / 2, size / 2);
    let wide = m.b.pad(square, &low, &high, 0.0)?;
    let mut sum = m.b.cut(wide, 1, 0, shape[1])?;
    for tap in 1..size {
        let part = m.b.cut(wide, 1, tap, tap + shape[1])?;
        sum = m.b.add(sum, part)?;
    }
    let scaled = m.b.times(sum, call.float("alpha", 1e-4) / size as f64)?;
    let base = m.b.plus(scaled, call.float("bias", 1.0))?;
    let divisor = m.b.with(BinaryKind::Power, base, call.float("beta", 0.75))?;
    let y = m.b.divide(x.value, divisor)?;
    one(y, x.element)
}

/// A product of matrices of any numbers: integers by way of floats.
pub(super) fn product(m: &mut Importer<'_, '_>, a: Value, b: Value) -> Result<Value> {
    let dtype = m.b.dtype(a);
    if dtype.is_float() {
        return m.b.matmul(a, b);
    }
    let (a, b) = (m.b.cast(a, DType::F32)?, m.b.cast(b, DType::F32)?);
    let y = m.b.matmul(a, b)?;
    m.b.cast(y, dtype)
}

pub(super) fn matmul<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let a = call.tensor(0)?;
    let y = product(m, a.value, call.value(1)?)?;
    one(y, a.element)
}

pub(super) fn gemm<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let a = call.tensor(0)?;
    let b = call.value(1)?;
    if m.b.rank(a.value) != 2 || m.b.rank(b) != 2 {
        return Err(failed("takes two matrices"));
    }
    let left = usize::from(!call.flag("transA"));
    let right = usize::from(call.flag("transB"));
    let dot =
        Op::Dot { lhs_batch: vec![], rhs_batch: vec![], lhs_contract: vec![left], rhs_contract: vec![right] };
    let dtype = m.b.dtype(a.value);
    let (x, w) = match dtype.is_float() {
        true => (a.value, b),
        false => (m.b.cast(a.value, DType::F32)?, m.b.cast(b, DType::F32)?),
    };
    let mut y = m.b.op(dot, &[x, w])?;
    let (alpha, beta) = (call.float("alpha", 1.0), call.float("beta", 1.0));
    if alpha != 1.0 {
        y = m.b.times(y, alpha)?;
    }
    if let Some(bias) = call.optional(2) {
        let bias = m.b.cast(bias.value, m.b.dtype(y))?;
        let bias = if beta == 1.0 { bias } else { m.b.times(bias, beta)? };
        y = m.b.add(y, bias)?;
    }
    let y = m.b.cast(y, dtype)?;
    one(y, a.element)
}

pub(super) fn einsum<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let all = call.tensors()?;
    let element = all.first().map_or(element::FLOAT, |tensor| tensor.element);
    let equation: String = call.text("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != all.len() {
        return Err(failed(format!("{equation} has {} terms for {} inputs", terms.len(), all.len())));
    }
    // The axes that `...` stands for have digits as names, counted from the last.
    let spelled = |term: &str, rank: usize| -> Result<Vec<char>> {
        let letters = term.replace("...", "").chars().count();
        let more = rank.checked_sub(letters).filter(|&more| more < 10);
        let more = more.ok_or_else(|| failed(format!("{term} does not fit {rank} axes")))?;
        let digits: String = (0..more).rev().map(|digit| digit.to_string()).collect();
        let whole = term.replacen("...", &digits, 1);
        if whole.chars().count() == rank {
            Ok(whole.chars().collect())
        } else {
            Err(failed(format!("{term} does not fit {rank} axes")))
        }
    };
    let mut operands = Vec::new();
    for (term, tensor) in terms.iter().zip(&all) {
        let names = spelled(term, m.b.rank(tensor.value))?;
        let value = if m.b.dtype(tensor.value).is_float() {
            tensor.value
        } else {
            m.b.cast(tensor.value, DType::F32)?
        };
        operands.push(without_repeats(m, value, names)?);
    }
    let every: Vec<char> = operands.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut digits: Vec<char> = every.iter().copied().filter(char::is_ascii_digit).collect();
    digits.sort_unstable_by(|a, b| b.cmp(a));
    digits.dedup();
    let output: Vec<char> = match right {
        Some(right) => right.replace("...", &digits.iter().collect::<String>()).chars().collect(),
        None => {
            let mut single: Vec<char> = every
                .iter()
                .copied()
                .filter(|c| !c.is_ascii_digit() && every.iter().filter(|other| *other == c).count() == 1)
                .collect();
            single.sort_unstable();
            digits.into_iter().chain(single).collect()
        }
    };
    let mut rest = operands.into_iter();
    let (mut value, mut names) = rest.next().ok_or_else(|| failed("has no input"))?;
    let rest: Vec<(Value, Vec<char>)> = rest.collect();
    for (index, (other, others)) in rest.iter().enumerate() {
        let later: Vec<char> = rest[index + 1..].iter().flat_map(|(_, names)| names.clone()).collect();
        let needed = |c: &char| output.contains(c) || later.contains(c);
        let both: Vec<char> = names.iter().copied().filter(|c| others.contains(c)).collect();
        let (batch, contract): (Vec<char>, Vec<char>) = both.iter().partition(|c| needed(c));
        let place = |of: &[char], c: char| of.iter().position(|other| *other == c).unwrap_or(0);
        let places = |of: &[char], which: &[char]| which.iter().map(|&c| place(of, c)).collect::<Vec<_>>();
        let dot = Op::Dot {
            lhs_batch: places(&names, &batch),
            rhs_batch: places(others, &batch),
            lhs_contract: places(&names, &contract),
            rhs_contract: places(others, &contract),
        };
        value = m.b.op(dot, &[value, *other])?;
        let free = |of: &[char]| of.iter().copied().filter(|c| !both.contains(c)).collect::<Vec<_>>();
        names = [batch.clone(), free(&names), free(others)].concat();
    }
    let summed: Vec<usize> = (0..names.len()).filter(|&axis| !output.contains(&names[axis])).collect();
    value = m.b.reduce(ReduceKind::Sum, value, &summed, false)?;
    names.retain(|name| output.contains(name));
    let order: Option<Vec<usize>> =
        output.iter().map(|name| names.iter().position(|other| other == name)).collect();
    let order = order.ok_or_else(|| failed(format!("{equation} asks for an axis that is not there")))?;
    let y = m.b.permute(value, &order)?;
    let y = m.b.cast(y, element::computed(element)?)?;
    one(y, element)
}

/// The diagonal of axes that have one name.
fn without_repeats(
    m: &mut Importer<'_, '_>,
    mut value: Value,
    mut names: Vec<char>,
) -> Result<(Value, Vec<char>)> {
    loop {
        let repeated = (0..names.len()).find_map(|axis| {
            let again = names[axis + 1..].iter().position(|other| *other == names[axis])?;
            Some((axis, axis + 1 + again))
        });
        let Some((first, second)) = repeated else { return Ok((value, names)) };
        let shape = m.b.shape(value);
        let (a, b) = (m.b.iota(&shape, first)?, m.b.iota(&shape, second)?);
        let on = m.b.compare(dropforge_ir::CompareKind::Equal, a, b)?;
        let zero = m.b.scalar(m.b.dtype(value), 0.0);
        let picked = m.b.select(on, value, zero)?;
        value = m.b.reduce(ReduceKind::Sum, picked, &[second], false)?;
        names.remove(second);
    }
}
