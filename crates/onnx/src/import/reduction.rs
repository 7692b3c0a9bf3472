//! Operators that reduce, sort and search along axes, and the losses.

use super::builder::{axes_of, axis_of};
use super::elementwise::one;
use super::{Call, Importer, Item, Tensor};
use crate::{Result, element, failed};
use dropforge_ir::{BinaryKind, CompareKind, DType, Op, ReduceKind, UnaryKind, Value};

type Results = Result<Vec<Item>>;

/// The axes that are reduced, and whether they are kept; no axes if nothing is done.
fn reduced(m: &Importer<'_, '_>, call: &Call<'_, '_>) -> Result<(Option<Vec<usize>>, bool)> {
    let rank = m.b.rank(call.value(0)?);
    let axes = match call.optional(1) {
        Some(axes) => Some(m.b.integers(axes.value, "axes")?),
        None => call.integers("axes").map(<[i64]>::to_vec),
    };
    let keep = call.integer("keepdims", 1) != 0;
    let axes = match axes.filter(|axes| !axes.is_empty()) {
        Some(axes) => Some(axes_of(&axes, rank)?),
        None if call.flag("noop_with_empty_axes") => None,
        None => Some((0..rank).collect()),
    };
    Ok((axes, keep))
}

fn reduce<'m, 'a>(
    m: &mut Importer<'m, 'a>,
    call: &Call<'m, 'a>,
    before: impl FnOnce(&mut Importer<'m, 'a>, Value) -> Result<Value>,
    kind: ReduceKind,
    after: impl FnOnce(&mut Importer<'m, 'a>, Value) -> Result<Value>,
) -> Results {
    let x = call.tensor(0)?;
    let (axes, keep) = reduced(m, call)?;
    let axes = axes.unwrap_or_default();
    let dtype = m.b.dtype(x.value);
    // Truth values and unsigned numbers are reduced as signed ones.
    let signed = if dtype.is_float() { x.value } else { m.b.cast(x.value, DType::I32)? };
    let y = before(m, signed)?;
    let y = m.b.reduce(kind, y, &axes, keep)?;
    let y = after(m, y)?;
    let y = m.b.cast(y, dtype)?;
    one(y, x.element)
}

fn same(_: &mut Importer<'_, '_>, x: Value) -> Result<Value> {
    Ok(x)
}

fn square(m: &mut Importer<'_, '_>, x: Value) -> Result<Value> {
    m.b.multiply(x, x)
}

fn absolute(m: &mut Importer<'_, '_>, x: Value) -> Result<Value> {
    m.b.unary(UnaryKind::Absolute, x)
}

/// The root of a number, integers by way of floats.
fn root(m: &mut Importer<'_, '_>, x: Value) -> Result<Value> {
    let float = if m.b.dtype(x).is_float() { x } else { m.b.cast(x, DType::F32)? };
    let y = m.b.unary(UnaryKind::SquareRoot, float)?;
    m.b.cast(y, m.b.dtype(x))
}

fn log(m: &mut Importer<'_, '_>, x: Value) -> Result<Value> {
    let float = if m.b.dtype(x).is_float() { x } else { m.b.cast(x, DType::F32)? };
    let y = m.b.unary(UnaryKind::Log, float)?;
    m.b.cast(y, m.b.dtype(x))
}

macro_rules! reductions {
    ($($name:ident = $before:path, $kind:ident, $after:path;)*) => {$(
        pub(super) fn $name<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
            reduce(m, call, $before, ReduceKind::$kind, $after)
        }
    )*};
}

reductions! {
    reduce_sum = same, Sum, same;
    reduce_max = same, Max, same;
    reduce_min = same, Min, same;
    reduce_prod = same, Product, same;
    reduce_l1 = absolute, Sum, same;
    reduce_l2 = square, Sum, root;
    reduce_log_sum = same, Sum, log;
    reduce_sum_square = square, Sum, same;
}

pub(super) fn reduce_mean<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let (axes, keep) = reduced(m, call)?;
    let y = m.b.mean(x.value, &axes.unwrap_or_default(), keep)?;
    one(y, x.element)
}

pub(super) fn reduce_log_sum_exp<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let (axes, keep) = reduced(m, call)?;
    let Some(axes) = axes else { return one(x.value, x.element) };
    let y = m.b.op(Op::LogSumExp { axes: axes.clone() }, &[x.value])?;
    let y = m.b.kept(y, x.value, &axes, keep)?;
    one(y, x.element)
}

/// The axis of a softmax; before opset 13 all axes from there on are one.
fn softmax_like<'m, 'a>(
    m: &mut Importer<'m, 'a>,
    call: &Call<'m, 'a>,
    function: impl FnOnce(&mut Importer<'m, 'a>, Value, usize) -> Result<Value>,
) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let new = call.opset >= 13;
    let axis = axis_of(call.integer("axis", if new { -1 } else { 1 }), shape.len())?;
    if new {
        let y = function(m, x.value, axis)?;
        return one(y, x.element);
    }
    let flat = [shape[..axis].iter().product(), shape[axis..].iter().product()];
    let y = m.b.reshape(x.value, &flat)?;
    let y = function(m, y, 1)?;
    let y = m.b.reshape(y, &shape)?;
    one(y, x.element)
}

pub(super) fn softmax<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    softmax_like(m, call, |m, x, axis| m.b.softmax(x, axis))
}

pub(super) fn log_softmax<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    softmax_like(m, call, |m, x, axis| m.b.log_softmax(x, axis))
}

pub(super) fn hardmax<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    softmax_like(m, call, |m, x, axis| {
        let best = m.b.op(Op::ArgMax { axis }, &[x])?;
        let best = m.b.kept(best, x, &[axis], true)?;
        let shape = m.b.shape(x);
        let positions = m.b.iota(&shape, axis)?;
        let hit = m.b.compare(CompareKind::Equal, positions, best)?;
        m.b.cast(hit, m.b.dtype(x))
    })
}

/// The position of the largest (or, of the negative, smallest) element.
fn arg<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>, smallest: bool) -> Results {
    let x = call.tensor(0)?;
    let rank = m.b.rank(x.value);
    let axis = axis_of(call.integer("axis", 0), rank)?;
    let mut y = m.b.cast(x.value, DType::F32)?;
    if smallest {
        y = m.b.unary(UnaryKind::Negate, y)?;
    }
    let last = call.flag("select_last_index");
    let extent = m.b.shape(y)[axis];
    if last {
        y = m.b.op(Op::Flip { axes: vec![axis] }, &[y])?;
    }
    let mut place = m.b.op(Op::ArgMax { axis }, &[y])?;
    if last {
        let minus = m.b.unary(UnaryKind::Negate, place)?;
        place = m.b.plus(minus, extent as f64 - 1.0)?;
    }
    let place = m.b.kept(place, x.value, &[axis], call.integer("keepdims", 1) != 0)?;
    one(place, element::INT64)
}

pub(super) fn arg_max<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    arg(m, call, false)
}

pub(super) fn arg_min<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    arg(m, call, true)
}

pub(super) fn cum_sum<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = m.b.integers(call.value(1)?, "the axis")?;
    let axis = axis_of(axis.first().copied().unwrap_or(0), shape.len())?;
    let reverse = call.flag("reverse");
    let value =
        m.b.cast(x.value, if m.b.dtype(x.value).is_float() { m.b.dtype(x.value) } else { DType::I32 })?;
    let mut y = m.b.op(Op::CumulativeSum { axis, reverse: usize::from(reverse) }, &[value])?;
    if call.flag("exclusive") {
        y = m.b.subtract(y, value)?;
    }
    let y = m.b.cast(y, m.b.dtype(x.value))?;
    one(y, x.element)
}

/// Running products, one after another.
pub(super) fn cum_prod<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = m.b.integers(call.value(1)?, "the axis")?;
    let axis = axis_of(axis.first().copied().unwrap_or(0), shape.len())?;
    let (reverse, exclusive) = (call.flag("reverse"), call.flag("exclusive"));
    if shape[axis] == 0 || shape[axis] > 4096 {
        return Err(failed(format!("takes 1 to 4096 elements along the axis, not {}", shape[axis])));
    }
    let mut parts = Vec::new();
    let mut sofar: Option<Value> = None;
    for step in 0..shape[axis] {
        let place = if reverse { shape[axis] - 1 - step } else { step };
        let here = m.b.cut(x.value, axis, place, place + 1)?;
        let before = match sofar {
            Some(sofar) => sofar,
            None => {
                let shape = m.b.shape(here);
                m.b.full(m.b.dtype(here), &shape, 1.0)?
            }
        };
        let with = m.b.multiply(before, here)?;
        parts.push(if exclusive { before } else { with });
        sofar = Some(with);
    }
    if reverse {
        parts.reverse();
    }
    let y = m.b.concat(&parts, axis)?;
    one(y, x.element)
}

pub(super) fn top_k<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = axis_of(call.integer("axis", -1), shape.len())?;
    let count = match call.optional(1) {
        Some(count) => m.b.integers(count.value, "k")?.first().copied().unwrap_or(0),
        None => call.integer("k", 0),
    };
    let count = usize::try_from(count).ok().filter(|&count| count <= shape[axis]);
    let count = count.ok_or_else(|| failed(format!("k is not within {}", shape[axis])))?;
    let descending = usize::from(call.integer("largest", 1) != 0);
    let dtype = m.b.dtype(x.value);
    let keys = if dtype.is_float() { x.value } else { m.b.cast(x.value, DType::I32)? };
    let order = m.b.op(Op::ArgSort { axis, descending }, &[keys])?;
    let places = m.b.cut(order, axis, 0, count)?;
    // Gathered along the axis by positions in row-major order.
    let strides = dropforge_ir::Shape::from(shape.as_slice()).strides();
    let like = m.b.shape(places);
    let mut flat = m.b.times(places, strides[axis] as f64)?;
    for other in (0..shape.len()).filter(|&other| other != axis) {
        let position = m.b.iota(&like, other)?;
        let scaled = m.b.times(position, strides[other] as f64)?;
        flat = m.b.add(flat, scaled)?;
    }
    let line = m.b.reshape(x.value, &[shape.iter().product()])?;
    let value = m.b.gather(line, flat, 0)?;
    Ok(vec![
        Item::Tensor(Tensor { value, element: x.element }),
        Item::Tensor(Tensor { value: places, element: element::INT64 }),
    ])
}

pub(super) fn lp_normalization<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let axis = axis_of(call.integer("axis", -1), m.b.rank(x.value))?;
    let is_first = call.integer("p", 2) == 1;
    let parts = if is_first { absolute(m, x.value)? } else { square(m, x.value)? };
    let norm = m.b.reduce(ReduceKind::Sum, parts, &[axis], true)?;
    let norm = if is_first { norm } else { root(m, norm)? };
    let none = m.b.compare_with(CompareKind::Equal, norm, 0.0)?;
    let unit = m.b.scalar(m.b.dtype(norm), 1.0);
    let divisor = m.b.select(none, unit, norm)?;
    let y = m.b.divide(x.value, divisor)?;
    one(y, x.element)
}

/// The losses of samples `[n, c, ..]` in logarithms of probabilities, each with the weight of its class.
fn losses(m: &mut Importer<'_, '_>, call: &Call<'_, '_>, logs: Value) -> Result<Value> {
    let shape = m.b.shape(logs);
    let targets = m.b.cast(call.value(1)?, DType::I32)?;
    let classes = *shape.get(1).ok_or_else(|| failed("takes [batch, classes, ..]"))?;
    let mut apart = m.b.shape(targets);
    if apart.is_empty() {
        return Err(failed("takes a target for each sample"));
    }
    apart.insert(1, 1);
    let aligned = m.b.reshape(targets, &apart)?;
    let positions = m.b.iota(&shape, 1)?;
    let hit = m.b.compare(CompareKind::Equal, positions, aligned)?;
    let zero = m.b.scalar(m.b.dtype(logs), 0.0);
    let picked = m.b.select(hit, logs, zero)?;
    let picked = m.b.reduce(ReduceKind::Sum, picked, &[1], false)?;
    let loss = m.b.unary(UnaryKind::Negate, picked)?;
    // The weight of each sample; what is ignored has none.
    let mut weights = match call.optional(2) {
        Some(weights) => {
            let mut along = vec![1; shape.len()];
            along[1] = classes;
            let weights = m.b.reshape(weights.value, &along)?;
            let picked = m.b.select(hit, weights, zero)?;
            Some(m.b.reduce(ReduceKind::Sum, picked, &[1], false)?)
        }
        None => None,
    };
    if let Some(ignored) = call.attribute("ignore_index").and_then(|index| index.integer) {
        let counted = m.b.compare_with(CompareKind::NotEqual, targets, ignored as f64)?;
        let weight = match weights {
            Some(weights) => weights,
            None => m.b.scalar(m.b.dtype(logs), 1.0),
        };
        weights = Some(m.b.select(counted, weight, zero)?);
    }
    let weighted = match weights {
        Some(weights) => m.b.multiply(loss, weights)?,
        None => loss,
    };
    let all: Vec<usize> = (0..m.b.rank(weighted)).collect();
    match call.text("reduction", "mean").as_str() {
        "none" => Ok(weighted),
        "sum" => m.b.reduce(ReduceKind::Sum, weighted, &all, false),
        _ => match weights {
            None => m.b.mean(weighted, &all, false),
            Some(weights) => {
                let sum = m.b.reduce(ReduceKind::Sum, weighted, &all, false)?;
                let total = m.b.reduce(ReduceKind::Sum, weights, &all, false)?;
                m.b.divide(sum, total)
            }
        },
    }
}

pub(super) fn negative_log_likelihood_loss<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let y = losses(m, call, x.value)?;
    one(y, x.element)
}

pub(super) fn softmax_cross_entropy_loss<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let logs = m.b.log_softmax(x.value, 1)?;
    let y = losses(m, call, logs)?;
    Ok([y, logs].map(|value| Item::Tensor(Tensor { value, element: x.element })).to_vec())
}

/// Determinants by elimination. The pivot is the first row with the largest element, brought up by a product with a
/// permutation.
pub(super) fn det<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let size = *shape.last().ok_or_else(|| failed("takes matrices"))?;
    if shape.len() < 2 || shape[shape.len() - 2] != size || size > 32 {
        return Err(failed("takes square matrices of at most 32 rows"));
    }
    let count: usize = shape[..shape.len() - 2].iter().product();
    let mut rest = m.b.reshape(x.value, &[count, size, size])?;
    let mut y = m.b.full(DType::F32, &[count], 1.0)?;
    for n in (1..=size).rev() {
        let column = m.b.cut(rest, 2, 0, 1)?;
        let column = m.b.reshape(column, &[count, n])?;
        let sizes = absolute(m, column)?;
        let best = m.b.op(Op::ArgMax { axis: 1 }, &[sizes])?;
        let best = m.b.reshape(best, &[count, 1, 1])?;
        let rows = m.b.iota(&[count, n, 1], 1)?;
        let is_best = m.b.compare(CompareKind::Equal, rows, best)?;
        let zero = m.b.scalar(DType::F32, 0.0);
        let picked = m.b.select(is_best, rest, zero)?;
        let pivot_row = m.b.reduce(ReduceKind::Sum, picked, &[1], true)?;
        let first = m.b.cut(rest, 1, 0, 1)?;
        // The first row takes the place of the pivot's; that changes the sign unless it is the same.
        let swapped = m.b.select(is_best, first, rest)?;
        let same = m.b.compare_with(CompareKind::Equal, best, 0.0)?;
        let same = m.b.reshape(same, &[count])?;
        let (plus, minus) = (m.b.scalar(DType::F32, 1.0), m.b.scalar(DType::F32, -1.0));
        let sign = m.b.select(same, plus, minus)?;
        let pivot = m.b.cut(pivot_row, 2, 0, 1)?;
        let flat = m.b.reshape(pivot, &[count])?;
        y = m.b.multiply(y, flat)?;
        y = m.b.multiply(y, sign)?;
        if n == 1 {
            break;
        }
        let below = m.b.cut(swapped, 1, 1, n)?;
        let heads = m.b.cut(below, 2, 0, 1)?;
        let none = m.b.compare_with(CompareKind::Equal, pivot, 0.0)?;
        let divisor = m.b.select(none, plus, pivot)?;
        let factors = m.b.divide(heads, divisor)?;
        let part = m.b.multiply(factors, pivot_row)?;
        let left = m.b.binary(BinaryKind::Subtract, below, part)?;
        rest = m.b.cut(left, 2, 1, n)?;
    }
    let y = m.b.reshape(y, &shape[..shape.len() - 2])?;
    one(y, x.element)
}
