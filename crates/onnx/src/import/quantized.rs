//! Operators on quantised numbers: integers that stand for (q − zero point)·scale.

use super::builder::axis_of;
use super::elementwise::one;
use super::network::{biased, convolution};
use super::{Call, Importer, Item, Tensor};
use crate::{Result, element, failed};
use dropforge_ir::{BinaryKind, DType, UnaryKind, Value};

type Results = Result<Vec<Item>>;

/// Least and greatest number of a quantised type.
fn range(element: i64) -> Result<(f64, f64)> {
    match element::narrow(element) {
        Some((bits, true)) => Ok((-f64::from(1u32 << (bits - 1)), f64::from((1u32 << (bits - 1)) - 1))),
        Some((bits, false)) => Ok((0.0, f64::from((1u32 << bits) - 1))),
        None => Err(failed(format!("numbers cannot be quantised to {}", element::name(element)))),
    }
}

/// A scale or zero point brought to the shape of what it belongs to: one for all, one for each place along an axis, or
/// one for each block.
fn spread(m: &mut Importer<'_, '_>, call: &Call<'_, '_>, value: Value, shape: &[usize]) -> Result<Value> {
    let here = m.b.shape(value);
    let count: usize = here.iter().product();
    if count == 1 {
        return m.b.reshape(value, &[]);
    }
    let axis = axis_of(call.integer("axis", 1), shape.len())?;
    let block = usize::try_from(call.integer("block_size", 0)).unwrap_or(0);
    if block == 0 {
        let mut along = vec![1; shape.len()];
        along[axis] = count;
        return m.b.reshape(value, &along);
    }
    if here.len() != shape.len() || block > 1 << 22 {
        return Err(failed("the scales have no place for each block"));
    }
    let mut apart = here.clone();
    apart.insert(axis + 1, 1);
    let mut wide = apart.clone();
    wide[axis + 1] = block;
    let mut merged = here;
    merged[axis] = merged[axis].saturating_mul(block);
    let y = m.b.reshape(value, &apart)?;
    let y = m.b.broadcast(y, &wide)?;
    let y = m.b.reshape(y, &merged)?;
    if merged[axis] < shape[axis] {
        Err(failed("the blocks do not cover the axis"))
    } else {
        m.b.cut(y, axis, 0, shape[axis])
    }
}

/// round(x / scale) + zero point, within the range of the type.
fn quantised(
    m: &mut Importer<'_, '_>,
    x: Value,
    scale: Value,
    zero: Option<Value>,
    to: i64,
) -> Result<Value> {
    let (low, high) = range(to)?;
    let (x, scale) = (m.b.cast(x, DType::F32)?, m.b.cast(scale, DType::F32)?);
    let scaled = m.b.divide(x, scale)?;
    let mut y = m.b.unary(UnaryKind::Round, scaled)?;
    if let Some(zero) = zero {
        let zero = m.b.cast(zero, DType::F32)?;
        y = m.b.add(y, zero)?;
    }
    let y = m.b.clamp(y, low, high)?;
    m.b.cast(y, DType::I32)
}

fn dequantised(m: &mut Importer<'_, '_>, x: Value, scale: Value, zero: Option<Value>) -> Result<Value> {
    let x = centred(m, x, zero)?;
    let scale = m.b.cast(scale, DType::F32)?;
    m.b.multiply(x, scale)
}

/// q − zero point, as floats.
fn centred(m: &mut Importer<'_, '_>, x: Value, zero: Option<Value>) -> Result<Value> {
    let x = m.b.cast(x, DType::F32)?;
    let Some(zero) = zero else { return Ok(x) };
    let zero = m.b.cast(zero, DType::F32)?;
    m.b.subtract(x, zero)
}

pub(super) fn quantize_linear<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.value(0)?;
    let shape = m.b.shape(x);
    let scale = spread(m, call, call.value(1)?, &shape)?;
    let (zero, to) = match call.optional(2) {
        Some(zero) => (Some(spread(m, call, zero.value, &shape)?), zero.element),
        None => (None, call.integer("output_dtype", element::UINT8)),
    };
    let to = if to == 0 { element::UINT8 } else { to };
    let y = quantised(m, x, scale, zero, to)?;
    one(y, to)
}

pub(super) fn dequantize_linear<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let (x, scale) = (call.value(0)?, call.tensor(1)?);
    let shape = m.b.shape(x);
    let factor = spread(m, call, scale.value, &shape)?;
    let zero = match call.optional(2) {
        Some(zero) => Some(spread(m, call, zero.value, &shape)?),
        None => None,
    };
    let y = dequantised(m, x, factor, zero)?;
    let to = match call.integer("output_dtype", 0) {
        0 => scale.element,
        to => to,
    };
    let y = m.b.cast(y, element::computed(to)?)?;
    one(y, to)
}

pub(super) fn dynamic_quantize_linear<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.value(0)?;
    let axes: Vec<usize> = (0..m.b.rank(x)).collect();
    let high = m.b.reduce(dropforge_ir::ReduceKind::Max, x, &axes, false)?;
    let low = m.b.reduce(dropforge_ir::ReduceKind::Min, x, &axes, false)?;
    let high = m.b.with(BinaryKind::Maximum, high, 0.0)?;
    let low = m.b.with(BinaryKind::Minimum, low, 0.0)?;
    let span = m.b.subtract(high, low)?;
    let scale = m.b.with(BinaryKind::Divide, span, 255.0)?;
    let ratio = m.b.divide(low, scale)?;
    let minus = m.b.unary(UnaryKind::Negate, ratio)?;
    let inside = m.b.clamp(minus, 0.0, 255.0)?;
    let zero = m.b.unary(UnaryKind::Round, inside)?;
    let zero = m.b.cast(zero, DType::I32)?;
    let y = quantised(m, x, scale, Some(zero), element::UINT8)?;
    Ok(vec![
        Item::Tensor(Tensor { value: y, element: element::UINT8 }),
        Item::Tensor(Tensor { value: scale, element: element::FLOAT }),
        Item::Tensor(Tensor { value: zero, element: element::UINT8 }),
    ])
}

/// A zero point along the rows of the left side or the columns of the right one.
fn of_matrix(m: &mut Importer<'_, '_>, zero: Option<Tensor>, rows: bool) -> Result<Option<Value>> {
    let Some(zero) = zero else { return Ok(None) };
    let shape = m.b.shape(zero.value);
    if shape.len() == 1 && shape[0] > 1 && rows {
        return m.b.reshape(zero.value, &[shape[0], 1]).map(Some);
    }
    Ok(Some(zero.value))
}

pub(super) fn matmul_integer<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let zeros = [of_matrix(m, call.optional(2), true)?, of_matrix(m, call.optional(3), false)?];
    let a = centred(m, call.value(0)?, zeros[0])?;
    let b = centred(m, call.value(1)?, zeros[1])?;
    let y = m.b.matmul(a, b)?;
    let y = m.b.cast(y, DType::I32)?;
    one(y, element::INT32)
}

pub(super) fn qlinear_matmul<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let mut sides = Vec::new();
    for (index, rows) in [(0, true), (3, false)] {
        let scale = of_matrix(m, Some(call.tensor(index + 1)?), rows)?;
        let zero = of_matrix(m, Some(call.tensor(index + 2)?), rows)?;
        let scale = scale.ok_or_else(|| failed("has no scale"))?;
        sides.push(dequantised(m, call.value(index)?, scale, zero)?);
    }
    let y = m.b.matmul(sides[0], sides[1])?;
    let zero = call.tensor(7)?;
    let y = quantised(m, y, call.value(6)?, Some(zero.value), zero.element)?;
    one(y, zero.element)
}

/// A zero point or scale of each filter, along the first axis.
fn of_filters(m: &mut Importer<'_, '_>, value: Value, rank: usize) -> Result<Value> {
    let count: usize = m.b.shape(value).iter().product();
    let mut along = vec![1; rank];
    along[0] = count;
    m.b.reshape(value, &along)
}

pub(super) fn conv_integer<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = centred(m, call.value(0)?, call.optional(2).map(|zero| zero.value))?;
    let filter = call.value(1)?;
    let rank = m.b.rank(filter);
    let zero = match call.optional(3) {
        Some(zero) => Some(of_filters(m, zero.value, rank)?),
        None => None,
    };
    let filter = centred(m, filter, zero)?;
    let y = convolution(m, call, x, filter)?;
    let y = m.b.cast(y, DType::I32)?;
    one(y, element::INT32)
}

pub(super) fn qlinear_conv<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = dequantised(m, call.value(0)?, call.value(1)?, Some(call.value(2)?))?;
    let rank = m.b.rank(call.value(3)?);
    let scale = of_filters(m, call.value(4)?, rank)?;
    let zero = of_filters(m, call.value(5)?, rank)?;
    let filter = dequantised(m, call.value(3)?, scale, Some(zero))?;
    let mut y = convolution(m, call, x, filter)?;
    if let Some(bias) = call.optional(8) {
        // The bias has the scales of the input and of the filters.
        let bias_scale = m.b.multiply(call.value(1)?, call.value(4)?)?;
        let bias = dequantised(m, bias.value, bias_scale, None)?;
        y = biased(m, y, Some(Tensor { value: bias, element: element::FLOAT }))?;
    }
    let zero = call.tensor(7)?;
    let y = quantised(m, y, call.value(6)?, Some(zero.value), zero.element)?;
    one(y, zero.element)
}
