//! Operators that move elements, and those that make shapes and constants.

use super::builder::{axes_of, axis_of};
use super::elementwise::one;
use super::{Call, Importer, Item, Tensor};
use crate::{Result, element, failed};
use dropforge_ir::{Array, BinaryKind, CompareKind, DType, Data, Op, ReduceKind, Value};

type Results = Result<Vec<Item>>;

/// Elements of a table that compares positions with positions.
const MOST_PAIRS: usize = 1 << 24;

pub(super) fn shape<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let shape = m.b.shape(call.value(0)?);
    let rank = shape.len() as i64;
    let place = |number: i64| (if number < 0 { number + rank } else { number }).clamp(0, rank) as usize;
    let (start, end) = (place(call.integer("start", 0)), place(call.integer("end", rank)));
    let extents: Vec<i64> = shape.get(start..end).unwrap_or_default().iter().map(|&n| n as i64).collect();
    let y = m.b.list(&extents)?;
    one(y, element::INT64)
}

pub(super) fn size<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let count: usize = m.b.shape(call.value(0)?).iter().product();
    let y = m.b.scalar(DType::I32, count as f64);
    one(y, element::INT64)
}

pub(super) fn constant<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let list = |floats: Vec<f32>| Array::new([floats.len()], Data::F32(floats));
    let get = |name: &str| call.attribute(name);
    if let Some(tensor) = get("value").and_then(|value| value.tensor.as_ref()) {
        let array = m.array(tensor)?;
        let y = m.b.constant_array(&array)?;
        return one(y, tensor.element);
    }
    if let Some(sparse) = get("sparse_value").and_then(|value| value.sparse.as_ref()) {
        let array = super::dense(sparse)?;
        let y = m.b.constant_array(&array)?;
        return one(y, sparse.values.element);
    }
    if let Some(number) = get("value_float").and_then(|value| value.float) {
        let y = m.b.scalar(DType::F32, number.into());
        return one(y, element::FLOAT);
    }
    if let Some(number) = get("value_int").and_then(|value| value.integer) {
        let y = m.b.scalar(DType::I32, number as f64);
        return one(y, element::INT64);
    }
    if let Some(numbers) = get("value_ints") {
        let y = m.b.list(&numbers.integers)?;
        return one(y, element::INT64);
    }
    if let Some(numbers) = get("value_floats") {
        let array = list(numbers.floats.clone()).ok_or_else(|| failed("the constant is damaged"))?;
        let y = m.b.constant_array(&array)?;
        return one(y, element::FLOAT);
    }
    Err(failed("holds texts, which programs cannot"))
}

/// The extents that a tensor holds.
pub(super) fn extents(m: &Importer<'_, '_>, x: Value, what: &str) -> Result<Vec<usize>> {
    let numbers = m.b.integers(x, what)?;
    let extent =
        |&number: &i64| usize::try_from(number).map_err(|_| failed(format!("{number} is no extent")));
    numbers.iter().map(extent).collect()
}

pub(super) fn constant_of_shape<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let shape = extents(m, call.value(0)?, "the shape")?;
    let Some(tensor) = call.attribute("value").and_then(|value| value.tensor.as_ref()) else {
        let y = m.b.full(DType::F32, &shape, 0.0)?;
        return one(y, element::FLOAT);
    };
    let array = m.array(tensor)?;
    let value = m.b.constant_array(&array)?;
    let scalar = m.b.reshape(value, &[])?;
    let y = m.b.broadcast(scalar, &shape)?;
    one(y, tensor.element)
}

pub(super) fn expand<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let wanted = extents(m, call.value(1)?, "the shape")?;
    let like = m.b.full(DType::Bool, &wanted, 0.0)?;
    let shape = m.b.common(&[x.value, like])?;
    let y = m.b.broadcast(x.value, &shape)?;
    one(y, x.element)
}

pub(super) fn reshape<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let wanted = match call.optional(1) {
        Some(shape) => m.b.integers(shape.value, "the shape")?,
        None => call.integers("shape").unwrap_or_default().to_vec(),
    };
    let from = m.b.shape(x.value);
    let zeros = call.flag("allowzero");
    let mut shape = Vec::new();
    let mut open = None;
    for (axis, &number) in wanted.iter().enumerate() {
        shape.push(match number {
            -1 if open.replace(axis).is_none() => 1,
            0 if !zeros => *from.get(axis).ok_or_else(|| failed("keeps an extent that is not there"))?,
            number => usize::try_from(number).map_err(|_| failed(format!("{wanted:?} is no shape")))?,
        });
    }
    if let Some(axis) = open {
        let known = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        let known = known.filter(|&known| known > 0).unwrap_or(1);
        shape[axis] = from.iter().product::<usize>() / known;
    }
    let y = m.b.reshape(x.value, &shape)?;
    one(y, x.element)
}

pub(super) fn flatten<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = call.integer("axis", 1);
    let axis = if axis == shape.len() as i64 { shape.len() } else { axis_of(axis, shape.len())? };
    let (rows, columns) = shape.split_at(axis);
    let y = m.b.reshape(x.value, &[rows.iter().product(), columns.iter().product()])?;
    one(y, x.element)
}

/// Axes that are an input since opset 13, and an attribute before.
fn axes_input(m: &Importer<'_, '_>, call: &Call<'_, '_>) -> Result<Option<Vec<i64>>> {
    match call.optional(1) {
        Some(axes) => m.b.integers(axes.value, "axes").map(Some),
        None => Ok(call.integers("axes").map(<[i64]>::to_vec)),
    }
}

pub(super) fn squeeze<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axes = match axes_input(m, call)? {
        Some(axes) => axes_of(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| shape[axis] != 1) {
        return Err(failed(format!("axis {axis} of {shape:?} is not 1")));
    }
    let kept: Vec<usize> =
        (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
    let y = m.b.reshape(x.value, &kept)?;
    one(y, x.element)
}

pub(super) fn unsqueeze<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let axes = axes_input(m, call)?.ok_or_else(|| failed("has no axes"))?;
    let mut shape = m.b.shape(x.value);
    for axis in axes_of(&axes, shape.len() + axes.len())? {
        shape.insert(axis, 1);
    }
    let y = m.b.reshape(x.value, &shape)?;
    one(y, x.element)
}

pub(super) fn transpose<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let rank = m.b.rank(x.value);
    let order = call.sizes("perm")?.unwrap_or_else(|| (0..rank).rev().collect());
    let y = m.b.permute(x.value, &order)?;
    one(y, x.element)
}

pub(super) fn concat<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let all = call.tensors()?;
    let first = *all.first().ok_or_else(|| failed("has no input"))?;
    let axis = axis_of(call.integer("axis", 1), m.b.rank(first.value))?;
    let parts: Vec<Value> = all.iter().map(|part| part.value).collect();
    let y = m.b.concat(&parts, axis)?;
    one(y, first.element)
}

/// `start..end` with a step, as Python has them: positions in order, and whether they are then reversed.
fn python_slice(extent: usize, start: i64, end: i64, step: i64) -> Result<(usize, usize, usize, bool)> {
    let extent = extent as i64;
    let place = |number: i64| if number < 0 { number.saturating_add(extent) } else { number };
    match step {
        0 => Err(failed("a step is 0")),
        1.. => {
            let start = place(start).clamp(0, extent);
            let end = place(end).clamp(start, extent);
            Ok((start as usize, end as usize, step as usize, false))
        }
        _ => {
            let start = place(start).clamp(-1, extent - 1);
            let end = place(end).clamp(-1, extent - 1).min(start);
            let step = step.unsigned_abs() as usize;
            let count = ((start - end) as usize).div_ceil(step);
            let first = (start - (count.saturating_sub(1) * step) as i64).max(0);
            Ok((first as usize, if count == 0 { first as usize } else { start as usize + 1 }, step, true))
        }
    }
}

pub(super) fn slice<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let input = |m: &Importer<'m, 'a>, index: usize, name: &str| -> Result<Option<Vec<i64>>> {
        match call.optional(index) {
            Some(numbers) => m.b.integers(numbers.value, name).map(Some),
            None => Ok(call.integers(name).map(<[i64]>::to_vec)),
        }
    };
    let starts = input(m, 1, "starts")?.ok_or_else(|| failed("has no starts"))?;
    let ends = input(m, 2, "ends")?.ok_or_else(|| failed("has no ends"))?;
    let axes = input(m, 3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = input(m, 4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|&len| len != starts.len()) {
        return Err(failed("starts, ends, axes and steps are not of one length"));
    }
    let (mut start, mut stop, mut step) = (vec![0; shape.len()], shape.clone(), vec![1; shape.len()]);
    let mut flipped = Vec::new();
    for index in 0..starts.len() {
        let axis = axis_of(axes[index], shape.len())?;
        // What is saturated in programs lies outside as well.
        let (first, last, by, is_flipped) =
            python_slice(shape[axis], starts[index], ends[index], steps[index])?;
        (start[axis], stop[axis], step[axis]) = (first, last, by);
        if is_flipped {
            flipped.push(axis);
        }
    }
    let mut y = m.b.op(Op::Slice { start, stop, step }, &[x.value])?;
    if !flipped.is_empty() {
        flipped.sort_unstable();
        y = m.b.op(Op::Flip { axes: flipped }, &[y])?;
    }
    one(y, x.element)
}

/// The sizes of the parts of an axis.
pub(super) fn parts(extent: usize, sizes: Option<Vec<usize>>, count: usize) -> Result<Vec<usize>> {
    match sizes {
        Some(sizes) if sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) == Some(extent) => {
            Ok(sizes)
        }
        Some(sizes) => Err(failed(format!("parts of {sizes:?} do not make up {extent}"))),
        None if count == 0 => Err(failed("is split into no parts")),
        None => {
            let each = extent.div_ceil(count);
            let part = |index: usize| each.min(extent.saturating_sub(index * each));
            Ok((0..count).map(part).collect())
        }
    }
}

pub(super) fn split<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = axis_of(call.integer("axis", 0), shape.len())?;
    let sizes = match call.optional(1) {
        Some(sizes) => Some(extents(m, sizes.value, "split")?),
        None => call.sizes("split")?,
    };
    let count = call.integer("num_outputs", call.node.outputs.len() as i64);
    let count = usize::try_from(count).unwrap_or(0).min(1 << 16);
    let mut start = 0;
    let mut results = Vec::new();
    for size in parts(shape[axis], sizes, count)? {
        let value = m.b.cut(x.value, axis, start, start + size)?;
        results.push(Item::Tensor(Tensor { value, element: x.element }));
        start += size;
    }
    Ok(results)
}

pub(super) fn tile<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let repeats = extents(m, call.value(1)?, "repeats")?;
    let shape = m.b.shape(x.value);
    if repeats.len() != shape.len() {
        return Err(failed(format!("repeats of {repeats:?} do not fit {shape:?}")));
    }
    let (mut apart, mut wide, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (&extent, &repeat) in shape.iter().zip(&repeats) {
        apart.extend([1, extent]);
        wide.extend([repeat, extent]);
        whole.push(extent.saturating_mul(repeat));
    }
    // Axes that repeat once need no axis of their own.
    let kept: Vec<usize> = (0..wide.len()).filter(|&axis| axis % 2 == 1 || wide[axis] != 1).collect();
    let pick = |of: &[usize]| kept.iter().map(|&axis| of[axis]).collect::<Vec<_>>();
    let y = m.b.reshape(x.value, &pick(&apart))?;
    let y = m.b.broadcast(y, &pick(&wide))?;
    let y = m.b.reshape(y, &whole)?;
    one(y, x.element)
}

pub(super) fn range<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let start = call.tensor(0)?;
    let number = |m: &Importer<'m, 'a>, index: usize| -> Result<f64> {
        let numbers = m.b.numbers(call.value(index)?, "a range")?;
        numbers.elements().first().copied().ok_or_else(|| failed("a range is empty"))
    };
    let (first, limit, delta) = (number(m, 0)?, number(m, 1)?, number(m, 2)?);
    let count = ((limit - first) / delta).ceil();
    if !(count.is_finite() && count <= (1u64 << 31) as f64) {
        return Err(failed("a range does not end"));
    }
    let positions = m.b.iota(&[count.max(0.0) as usize], 0)?;
    let dtype = element::computed(start.element)?;
    let positions = m.b.cast(positions, dtype)?;
    let scaled = m.b.times(positions, delta)?;
    let y = m.b.plus(scaled, first)?;
    one(y, start.element)
}

pub(super) fn eye_like<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let to = call.integer("dtype", x.element);
    let (rows, columns) = (m.b.iota(&shape, 0)?, m.b.iota(&shape, 1)?);
    let moved = m.b.plus(rows, call.integer("k", 0) as f64)?;
    let equal = m.b.compare(CompareKind::Equal, moved, columns)?;
    let y = m.b.cast(equal, element::computed(to)?)?;
    one(y, to)
}

pub(super) fn trilu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let rank = shape.len();
    if rank < 2 {
        return Err(failed("takes matrices"));
    }
    let k = match call.optional(1) {
        Some(k) => m.b.integers(k.value, "k")?.first().copied().unwrap_or(0),
        None => 0,
    };
    let plane = &shape[rank - 2..];
    let (rows, columns) = (m.b.iota(plane, 0)?, m.b.iota(plane, 1)?);
    let moved = m.b.plus(rows, k.clamp(-(1 << 30), 1 << 30) as f64)?;
    let upper = call.integer("upper", 1) != 0;
    let kind = if upper { CompareKind::GreaterEqual } else { CompareKind::LessEqual };
    let kept = m.b.compare(kind, columns, moved)?;
    let zero = m.b.scalar(m.b.dtype(x.value), 0.0);
    let y = m.b.select(kept, x.value, zero)?;
    one(y, x.element)
}

/// Indices that may count from the end, as i32.
fn indices(m: &mut Importer<'_, '_>, x: Value, extent: usize) -> Result<Value> {
    let x = m.b.cast(x, DType::I32)?;
    let negative = m.b.compare_with(CompareKind::Less, x, 0.0)?;
    if let Some(known) = m.b.known(negative)
        && known.elements().iter().all(|&flag| flag == 0.0)
    {
        return Ok(x);
    }
    let moved = m.b.plus(x, extent as f64)?;
    m.b.select(negative, moved, x)
}

/// x[indices] along an axis. Only floats and i32 are gathered; truth values become numbers and back.
fn gathered(m: &mut Importer<'_, '_>, x: Value, indices: Value, axis: usize) -> Result<Value> {
    let dtype = m.b.dtype(x);
    let numbers = if dtype == DType::Bool { m.b.cast(x, DType::I32)? } else { x };
    let y = m.b.gather(numbers, indices, axis)?;
    m.b.cast(y, dtype)
}

pub(super) fn gather<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = axis_of(call.integer("axis", 0), shape.len())?;
    let places = indices(m, call.value(1)?, shape[axis])?;
    let y = gathered(m, x.value, places, axis)?;
    one(y, x.element)
}

/// Positions in row-major order of `[.., index, ..]`, where `index` stands at `axis` and has the shape of `like`.
fn flat_places(m: &mut Importer<'_, '_>, places: Value, shape: &[usize], axis: usize) -> Result<Value> {
    let like = m.b.shape(places);
    let strides = dropforge_ir::Shape::from(shape).strides();
    let mut flat = m.b.times(places, strides[axis] as f64)?;
    for other in (0..shape.len()).filter(|&other| other != axis) {
        let position = m.b.iota(&like, other)?;
        let scaled = m.b.times(position, strides[other] as f64)?;
        flat = m.b.add(flat, scaled)?;
    }
    Ok(flat)
}

pub(super) fn gather_elements<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = axis_of(call.integer("axis", 0), shape.len())?;
    let places = indices(m, call.value(1)?, shape[axis])?;
    let flat = flat_places(m, places, &shape, axis)?;
    let line = m.b.reshape(x.value, &[shape.iter().product()])?;
    let y = gathered(m, line, flat, 0)?;
    one(y, x.element)
}

/// For indices `[.., k]` into the first k of some extents: their row-major positions.
fn flat_of_last(m: &mut Importer<'_, '_>, places: Value, extents: &[usize]) -> Result<Value> {
    let shape = m.b.shape(places);
    let last = shape.len() - 1;
    let strides = dropforge_ir::Shape::from(extents).strides();
    let mut flat = m.b.full(DType::I32, &shape[..last], 0.0)?;
    for (index, &extent) in extents.iter().enumerate() {
        let one = m.b.cut(places, last, index, index + 1)?;
        let one = m.b.reshape(one, &shape[..last])?;
        let one = indices(m, one, extent)?;
        let scaled = m.b.times(one, strides[index] as f64)?;
        flat = m.b.add(flat, scaled)?;
    }
    Ok(flat)
}

pub(super) fn gather_nd<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let (shape, places) = (m.b.shape(x.value), call.value(1)?);
    let places = m.b.cast(places, DType::I32)?;
    let index_shape = m.b.shape(places);
    let batch = usize::try_from(call.integer("batch_dims", 0).min(1 << 20)).unwrap_or(0);
    let depth = index_shape.last().copied().unwrap_or(0);
    if index_shape.is_empty() || batch + depth > shape.len() || batch >= index_shape.len() {
        return Err(failed(format!("indices {index_shape:?} do not fit {shape:?}")));
    }
    let mut flat = flat_of_last(m, places, &shape[batch..batch + depth])?;
    let inner: usize = shape[batch..batch + depth].iter().product();
    let lead = &index_shape[..index_shape.len() - 1];
    let mut stride = inner;
    for axis in (0..batch).rev() {
        let position = m.b.iota(lead, axis)?;
        let scaled = m.b.times(position, stride as f64)?;
        flat = m.b.add(flat, scaled)?;
        stride *= shape[axis];
    }
    let rest = &shape[batch + depth..];
    let rows: usize = shape[..batch + depth].iter().product();
    let table = m.b.reshape(x.value, &[&[rows], rest].concat())?;
    let y = gathered(m, table, flat, 0)?;
    one(y, x.element)
}

/// Rows `[p, r]` in which the rows at some places are changed by updates `[n, r]`.
fn scattered(
    m: &mut Importer<'_, '_>,
    rows: Value,
    places: Value,
    updates: Value,
    reduction: &str,
) -> Result<Value> {
    let dtype = m.b.dtype(rows);
    let shape = m.b.shape(rows);
    let count = m.b.shape(places)[0];
    if reduction == "none" || reduction == "add" {
        let wide = if dtype.is_float() { dtype } else { DType::F32 };
        let numbers = m.b.cast(updates, wide)?;
        let sum = m.b.op(Op::ScatterAdd { axis: 0, size: shape[0] }, &[numbers, places])?;
        let sum = m.b.cast(sum, dtype)?;
        if reduction == "add" {
            return m.b.add(rows, sum);
        }
        let ones = m.b.full(DType::F32, &[count, 1], 1.0)?;
        let hits = m.b.op(Op::ScatterAdd { axis: 0, size: shape[0] }, &[ones, places])?;
        let is_hit = m.b.compare_with(CompareKind::Greater, hits, 0.0)?;
        return m.b.select(is_hit, sum, rows);
    }
    if shape[0].saturating_mul(count).saturating_mul(shape[1]) > MOST_PAIRS {
        return Err(failed(format!("the reduction {reduction} is too large")));
    }
    let (kind, joined, neutral) = match reduction {
        "mul" => (ReduceKind::Product, BinaryKind::Multiply, 1.0),
        "max" => (ReduceKind::Max, BinaryKind::Maximum, f64::NEG_INFINITY),
        "min" => (ReduceKind::Min, BinaryKind::Minimum, f64::INFINITY),
        other => return Err(failed(format!("{other} is no reduction"))),
    };
    let neutral = match (dtype.is_float(), kind) {
        (false, ReduceKind::Max) => f64::from(i32::MIN),
        (false, ReduceKind::Min) => f64::from(i32::MAX),
        _ => neutral,
    };
    let row = m.b.iota(&[shape[0], count], 0)?;
    let hit = m.b.compare(CompareKind::Equal, row, places)?;
    let hit = m.b.reshape(hit, &[shape[0], count, 1])?;
    let neutral = m.b.scalar(dtype, neutral);
    let all = m.b.select(hit, updates, neutral)?;
    let reduced = m.b.reduce(kind, all, &[1], false)?;
    m.b.binary(joined, rows, reduced)
}

pub(super) fn scatter_elements<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = axis_of(call.integer("axis", 0), shape.len())?;
    let places = indices(m, call.value(1)?, shape[axis])?;
    let flat = flat_places(m, places, &shape, axis)?;
    let count: usize = m.b.shape(places).iter().product();
    let flat = m.b.reshape(flat, &[count])?;
    let updates = m.b.reshape(call.value(2)?, &[count, 1])?;
    let rows = m.b.reshape(x.value, &[shape.iter().product(), 1])?;
    let y = scattered(m, rows, flat, updates, &call.text("reduction", "none"))?;
    let y = m.b.reshape(y, &shape)?;
    one(y, x.element)
}

pub(super) fn scatter_nd<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let places = m.b.cast(call.value(1)?, DType::I32)?;
    let index_shape = m.b.shape(places);
    let depth = index_shape.last().copied().unwrap_or(0);
    if index_shape.is_empty() || depth > shape.len() {
        return Err(failed(format!("indices {index_shape:?} do not fit {shape:?}")));
    }
    let flat = flat_of_last(m, places, &shape[..depth])?;
    let count: usize = index_shape[..index_shape.len() - 1].iter().product();
    let (rows, width) = (shape[..depth].iter().product(), shape[depth..].iter().product());
    let flat = m.b.reshape(flat, &[count])?;
    let updates = m.b.reshape(call.value(2)?, &[count, width])?;
    let table = m.b.reshape(x.value, &[rows, width])?;
    let y = scattered(m, table, flat, updates, &call.text("reduction", "none"))?;
    let y = m.b.reshape(y, &shape)?;
    one(y, x.element)
}

pub(super) fn one_hot<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let (places, values) = (call.value(0)?, call.tensor(2)?);
    let depth = m.b.integers(call.value(1)?, "depth")?;
    let depth = depth.first().and_then(|&depth| usize::try_from(depth).ok());
    let depth = depth.ok_or_else(|| failed("depth is no extent"))?;
    let mut shape = m.b.shape(places);
    let axis = axis_of(call.integer("axis", -1), shape.len() + 1)?;
    let places = m.b.cast(places, DType::I32)?;
    let places = indices(m, places, depth)?;
    shape.insert(axis, 1);
    let places = m.b.reshape(places, &shape)?;
    shape[axis] = depth;
    let positions = m.b.iota(&shape, axis)?;
    let hit = m.b.compare(CompareKind::Equal, positions, places)?;
    let (off, on) = (m.b.cut(values.value, 0, 0, 1)?, m.b.cut(values.value, 0, 1, 2)?);
    let y = m.b.select(hit, on, off)?;
    one(y, values.element)
}

pub(super) fn non_zero<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let numbers = m.b.numbers(call.value(0)?, "what NonZero looks at")?;
    let shape = numbers.shape().clone();
    let strides = shape.strides();
    let places: Vec<usize> = numbers
        .elements()
        .iter()
        .enumerate()
        .filter(|(_, number)| **number != 0.0)
        .map(|(index, _)| index)
        .collect();
    let mut all = Vec::new();
    for (axis, stride) in strides.iter().enumerate() {
        all.extend(places.iter().map(|place| (place / stride % shape[axis]) as i32));
    }
    let array = Array::new([shape.rank(), places.len()], Data::I32(all));
    let y = m.b.constant_array(&array.ok_or_else(|| failed("a list is damaged"))?)?;
    one(y, element::INT64)
}

pub(super) fn compress<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let condition = m.b.integers(call.value(1)?, "the condition")?;
    let kept = condition.iter().enumerate().filter(|(_, flag)| **flag != 0);
    let places: Vec<i64> = kept.map(|(index, _)| index as i64).collect();
    let places = m.b.list(&places)?;
    let shape = m.b.shape(x.value);
    let y = match call.attribute("axis").and_then(|axis| axis.integer) {
        Some(axis) => gathered(m, x.value, places, axis_of(axis, shape.len())?)?,
        None => {
            let line = m.b.reshape(x.value, &[shape.iter().product()])?;
            gathered(m, line, places, 0)?
        }
    };
    one(y, x.element)
}

pub(super) fn pad<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let pads = match call.optional(1) {
        Some(pads) => m.b.integers(pads.value, "pads")?,
        None => call.integers("pads").unwrap_or_default().to_vec(),
    };
    let axes = match call.optional(3) {
        Some(axes) => {
            let axes = m.b.integers(axes.value, "axes")?;
            axes.iter().map(|&axis| axis_of(axis, shape.len())).collect::<Result<Vec<_>>>()?
        }
        None => (0..shape.len()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(failed(format!("{} numbers are no padding of {shape:?}", pads.len())));
    }
    let value = match call.optional(2) {
        Some(value) => {
            m.b.numbers(value.value, "what is padded with")?.elements().first().copied().unwrap_or(0.0)
        }
        None => call.float("value", 0.0),
    };
    let mut y = x.value;
    for (index, &axis) in axes.iter().enumerate() {
        let (low, high) = (pads[index], pads[index + axes.len()]);
        y = padded(m, y, axis, low, high, &call.text("mode", "constant"), value)?;
    }
    one(y, x.element)
}

/// One axis padded; what is below 0 is cut off.
fn padded(
    m: &mut Importer<'_, '_>,
    x: Value,
    axis: usize,
    low: i64,
    high: i64,
    mode: &str,
    value: f64,
) -> Result<Value> {
    let extent = m.b.shape(x)[axis] as i64;
    let (cut_low, cut_high) = ((-low).max(0), (-high).max(0));
    if cut_low + cut_high > extent || low > 1 << 40 || high > 1 << 40 {
        return Err(failed(format!("a padding of {low} and {high} does not fit {extent}")));
    }
    let x = m.b.cut(x, axis, cut_low as usize, (extent - cut_high) as usize)?;
    let (low, high) = (low.max(0), high.max(0));
    if low == 0 && high == 0 {
        return Ok(x);
    }
    let extent = m.b.shape(x)[axis] as i64;
    if mode == "constant" {
        let rank = m.b.rank(x);
        let along =
            |count: i64| (0..rank).map(|i| if i == axis { count as usize } else { 0 }).collect::<Vec<_>>();
        let dtype = m.b.dtype(x);
        let numbers = if dtype == DType::Bool { m.b.cast(x, DType::I32)? } else { x };
        let y = m.b.pad(numbers, &along(low), &along(high), value)?;
        return m.b.cast(y, dtype);
    }
    if extent == 0 || low + high > 1 << 20 || extent > 1 << 24 {
        return Err(failed("a padding repeats what is empty, or is too large"));
    }
    let place = |position: i64| match mode {
        "edge" => Ok(position.clamp(0, extent - 1)),
        "wrap" => Ok(position.rem_euclid(extent)),
        "reflect" if extent == 1 => Ok(0),
        "reflect" => {
            let turned = position.rem_euclid(2 * (extent - 1));
            Ok(turned.min(2 * (extent - 1) - turned))
        }
        other => Err(failed(format!("{other} is no mode of padding"))),
    };
    let places: Vec<i64> = (-low..extent + high).map(place).collect::<Result<_>>()?;
    let places = m.b.list(&places)?;
    gathered(m, x, places, axis)
}

pub(super) fn center_crop_pad<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let wanted = extents(m, call.value(1)?, "the shape")?;
    let rank = m.b.rank(x.value);
    let axes = match call.integers("axes") {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    let mut y = x.value;
    for (&axis, &want) in axes.iter().zip(&wanted) {
        let extent = m.b.shape(y)[axis];
        if want > extent {
            let low = (want - extent) / 2;
            y = padded(m, y, axis, low as i64, (want - extent - low) as i64, "constant", 0.0)?;
        } else {
            let low = (extent - want) / 2;
            y = m.b.cut(y, axis, low, low + want)?;
        }
    }
    one(y, x.element)
}

/// `[n, c, h, w]` and a block size.
fn blocks(m: &Importer<'_, '_>, call: &Call<'_, '_>) -> Result<([usize; 4], usize)> {
    let shape: [usize; 4] =
        m.b.shape(call.value(0)?).try_into().map_err(|_| failed("takes [batch, channels, height, width]"))?;
    let block =
        usize::try_from(call.integer("blocksize", 0)).ok().filter(|&block| block > 0 && block < 1 << 16);
    Ok((shape, block.ok_or_else(|| failed("has no block size"))?))
}

pub(super) fn depth_to_space<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let ([n, c, h, w], b) = blocks(m, call)?;
    let depth = c / (b * b);
    let (shape, order) = match call.text("mode", "DCR").as_str() {
        "CRD" => ([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3]),
        _ => ([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2]),
    };
    let y = m.b.reshape(x.value, &shape)?;
    let y = m.b.permute(y, &order)?;
    let y = m.b.reshape(y, &[n, depth, h * b, w * b])?;
    one(y, x.element)
}

pub(super) fn space_to_depth<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let ([n, c, h, w], b) = blocks(m, call)?;
    let y = m.b.reshape(x.value, &[n, c, h / b, b, w / b, b])?;
    let order = match call.text("mode", "DCR").as_str() {
        "CRD" => [0, 1, 3, 5, 2, 4],
        _ => [0, 3, 5, 1, 2, 4],
    };
    let y = m.b.permute(y, &order)?;
    let y = m.b.reshape(y, &[n, c * b * b, h / b, w / b])?;
    one(y, x.element)
}

pub(super) fn reverse_sequence<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let batch = axis_of(call.integer("batch_axis", 1), shape.len())?;
    let time = axis_of(call.integer("time_axis", 0), shape.len())?;
    let lengths = m.b.cast(call.value(1)?, DType::I32)?;
    let mut aligned = vec![1; shape.len()];
    aligned[batch] = shape[batch];
    let lengths = m.b.reshape(lengths, &aligned)?;
    let position = m.b.iota(&shape, time)?;
    let last = m.b.plus(lengths, -1.0)?;
    let turned = m.b.subtract(last, position)?;
    let inside = m.b.compare(CompareKind::Less, position, lengths)?;
    let places = m.b.select(inside, turned, position)?;
    let flat = flat_places(m, places, &shape, time)?;
    let line = m.b.reshape(x.value, &[shape.iter().product()])?;
    let y = gathered(m, line, flat, 0)?;
    one(y, x.element)
}

/// A window of cosines: Σ factor·cos(2πk·i/n), n − 1 if it is symmetric.
fn window<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>, factors: [f64; 3]) -> Results {
    let size = m.b.integers(call.value(0)?, "the size")?.first().copied().unwrap_or(0);
    if !(0..=1 << 24).contains(&size) {
        return Err(failed(format!("{size} is no size of a window")));
    }
    let period = if call.integer("periodic", 1) != 0 { size as f64 } else { size as f64 - 1.0 };
    let at = |i: i64| {
        let angle = 2.0 * std::f64::consts::PI * i as f64 / period;
        (factors[0] + factors[1] * angle.cos() + factors[2] * (2.0 * angle).cos()) as f32
    };
    let array = Array::new([size as usize], Data::F32((0..size).map(at).collect()));
    let y = m.b.constant_array(&array.ok_or_else(|| failed("a window is damaged"))?)?;
    let to = call.integer("output_datatype", element::FLOAT);
    let y = m.b.cast(y, element::computed(to)?)?;
    one(y, to)
}

pub(super) fn hann_window<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    window(m, call, [0.5, -0.5, 0.0])
}

pub(super) fn hamming_window<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    window(m, call, [25.0 / 46.0, -21.0 / 46.0, 0.0])
}

pub(super) fn blackman_window<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    window(m, call, [0.42, -0.5, 0.08])
}
