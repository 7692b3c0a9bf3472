//! Attention and rotary positions.

use super::elementwise::one;
use super::{Call, Importer, Item, Tensor};
use crate::{Result, failed};
use dropforge_ir::{BinaryKind, CompareKind, DType, ReduceKind, UnaryKind, Value};

type Results = Result<Vec<Item>>;

/// `[batch, time, heads · size]` as `[batch, heads, time, size]`.
fn heads(m: &mut Importer<'_, '_>, x: Value, count: usize) -> Result<Value> {
    let shape = m.b.shape(x);
    match shape.as_slice() {
        [_, _, _, _] => Ok(x),
        &[batch, time, width] if count > 0 && width.is_multiple_of(count) => {
            let y = m.b.reshape(x, &[batch, time, count, width / count])?;
            m.b.permute(y, &[0, 2, 1, 3])
        }
        _ => Err(failed(format!("{shape:?} has no {count} heads"))),
    }
}

pub(super) fn attention<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let first = call.tensor(0)?;
    let flat = m.b.rank(first.value) == 3;
    let count = |name: &str| usize::try_from(call.integer(name, 0)).unwrap_or(0);
    let q = heads(m, first.value, count("q_num_heads"))?;
    let mut k = heads(m, call.value(1)?, count("kv_num_heads"))?;
    let mut v = heads(m, call.value(2)?, count("kv_num_heads"))?;
    let mut past = 0;
    if let Some(key) = call.optional(4) {
        past = *m.b.shape(key.value).get(2).ok_or_else(|| failed("takes past keys of 4 axes"))?;
        k = m.b.concat(&[key.value, k], 2)?;
        let value = call.value(5)?;
        v = m.b.concat(&[value, v], 2)?;
    }
    let (present_key, present_value) = (k, v);
    let [batch, q_heads, time, size] =
        <[usize; 4]>::try_from(m.b.shape(q)).map_err(|_| failed("takes 4 axes"))?;
    let [_, kv_heads, keys, _] = <[usize; 4]>::try_from(m.b.shape(k)).map_err(|_| failed("takes 4 axes"))?;
    if kv_heads == 0 || !q_heads.is_multiple_of(kv_heads) {
        return Err(failed(format!("{kv_heads} heads of keys do not divide {q_heads} of queries")));
    }
    let each = q_heads / kv_heads;
    if each > 1 {
        for side in [&mut k, &mut v] {
            let shape = m.b.shape(*side);
            let apart = m.b.reshape(*side, &[shape[0], shape[1], 1, shape[2], shape[3]])?;
            let wide = m.b.broadcast(apart, &[shape[0], shape[1], each, shape[2], shape[3]])?;
            *side = m.b.reshape(wide, &[shape[0], q_heads, shape[2], shape[3]])?;
        }
    }
    let scale = call.float("scale", 1.0 / (size as f64).sqrt());
    let scaled = m.b.times(q, scale)?;
    let turned = m.b.swap(k, 2, 3)?;
    let raw = m.b.matmul(scaled, turned)?;
    let mut scores = raw;
    let softcap = call.float("softcap", 0.0);
    if softcap > 0.0 {
        let below = m.b.with(BinaryKind::Divide, scores, softcap)?;
        let bent = m.b.unary(UnaryKind::Tanh, below)?;
        scores = m.b.times(bent, softcap)?;
    }
    let capped = scores;
    let lowest = m.b.scalar(DType::F32, f64::NEG_INFINITY);
    if let Some(mask) = call.optional(3) {
        let shape = m.b.shape(mask.value);
        let missing = keys.saturating_sub(shape.last().copied().unwrap_or(keys));
        let (low, mut high) = (vec![0; shape.len()], vec![0; shape.len()]);
        if let Some(last) = high.last_mut() {
            *last = missing;
        }
        if m.b.dtype(mask.value) == DType::Bool {
            let numbers = m.b.cast(mask.value, DType::I32)?;
            let wide = m.b.pad(numbers, &low, &high, 0.0)?;
            let seen = m.b.cast(wide, DType::Bool)?;
            scores = m.b.select(seen, scores, lowest)?;
        } else {
            let wide = m.b.pad(mask.value, &low, &high, f64::NEG_INFINITY)?;
            scores = m.b.add(scores, wide)?;
        }
    }
    let lengths = match call.optional(6) {
        Some(lengths) => {
            let lengths = m.b.cast(lengths.value, DType::I32)?;
            Some(m.b.reshape(lengths, &[batch, 1, 1, 1])?)
        }
        None => None,
    };
    let plane = [1, 1, time, keys];
    let (rows, columns) = (m.b.iota(&plane, 2)?, m.b.iota(&plane, 3)?);
    // The position of a query among the keys.
    let offset = match lengths {
        Some(lengths) => m.b.plus(lengths, -(time as f64))?,
        None => m.b.scalar(DType::I32, past as f64),
    };
    let position = m.b.add(rows, offset)?;
    let (left, right) = (call.integer("left_window_size", -1), call.integer("right_window_size", -1));
    let mut limits = Vec::new();
    if call.flag("is_causal") {
        limits.push((CompareKind::LessEqual, position));
    }
    if left >= 0 {
        limits.push((CompareKind::GreaterEqual, m.b.plus(position, -(left as f64))?));
    }
    if right >= 0 {
        limits.push((CompareKind::LessEqual, m.b.plus(position, right as f64)?));
    }
    if let Some(lengths) = lengths {
        limits.push((CompareKind::Less, lengths));
    }
    for (kind, limit) in limits {
        let seen = m.b.compare(kind, columns, limit)?;
        scores = m.b.select(seen, scores, lowest)?;
    }
    // A query that sees no key gives zeros.
    let largest = m.b.reduce(ReduceKind::Max, scores, &[3], true)?;
    let none = m.b.compare_with(CompareKind::Equal, largest, f64::NEG_INFINITY)?;
    let zero = m.b.scalar(DType::F32, 0.0);
    let safe = m.b.select(none, zero, largest)?;
    let below = m.b.subtract(scores, safe)?;
    let powers = m.b.unary(UnaryKind::Exp, below)?;
    let total = m.b.reduce(ReduceKind::Sum, powers, &[3], true)?;
    let one = m.b.scalar(DType::F32, 1.0);
    let total = m.b.select(none, one, total)?;
    let weights = m.b.divide(powers, total)?;
    let mut y = m.b.matmul(weights, v)?;
    if flat {
        let width = m.b.shape(y)[3] * q_heads;
        y = m.b.permute(y, &[0, 2, 1, 3])?;
        y = m.b.reshape(y, &[batch, time, width])?;
    }
    let shown = match call.integer("qk_matmul_output_mode", 0) {
        0 | 1 => capped,
        2 => scores,
        _ => weights,
    };
    let results = [y, present_key, present_value, shown];
    Ok(results.map(|value| Item::Tensor(Tensor { value, element: first.element })).to_vec())
}

pub(super) fn rotary_embedding<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let count = usize::try_from(call.integer("num_heads", 0)).unwrap_or(0);
    let y = heads(m, x.value, count)?;
    let [batch, count, time, size] =
        <[usize; 4]>::try_from(m.b.shape(y)).map_err(|_| failed("takes 4 axes"))?;
    let turned = usize::try_from(call.integer("rotary_embedding_dim", 0)).unwrap_or(0);
    let turned = if turned == 0 { size } else { turned };
    if turned > size || !turned.is_multiple_of(2) {
        return Err(failed(format!("{turned} of {size} numbers cannot be turned")));
    }
    let half = turned / 2;
    let mut caches = Vec::new();
    for index in [1, 2] {
        let mut cache = call.value(index)?;
        if let Some(positions) = call.optional(3) {
            let positions = m.b.cast(positions.value, DType::I32)?;
            cache = m.b.gather(cache, positions, 0)?;
        }
        let first = *m.b.shape(cache).first().ok_or_else(|| failed("takes tables of angles"))?;
        caches.push(m.b.reshape(cache, &[first, 1, time, half])?);
    }
    let (cos, sin) = (caches[0], caches[1]);
    let front = m.b.cut(y, 3, 0, turned)?;
    let rest = m.b.cut(y, 3, turned, size)?;
    let interleaved = call.flag("interleaved");
    let split = if interleaved { [half, 2] } else { [2, half] };
    let axis = if interleaved { 4 } else { 3 };
    let apart = m.b.reshape(front, &[batch, count, time, split[0], split[1]])?;
    let mut sides = Vec::new();
    for side in 0..2 {
        let part = m.b.cut(apart, axis, side, side + 1)?;
        sides.push(m.b.reshape(part, &[batch, count, time, half])?);
    }
    let (a, b) = (sides[0], sides[1]);
    let (ca, sb) = (m.b.multiply(cos, a)?, m.b.multiply(sin, b)?);
    let (sa, cb) = (m.b.multiply(sin, a)?, m.b.multiply(cos, b)?);
    let both = [m.b.subtract(ca, sb)?, m.b.add(sa, cb)?];
    let mut parts = Vec::new();
    for part in both {
        let mut with = vec![batch, count, time, half];
        with.insert(axis, 1);
        parts.push(m.b.reshape(part, &with)?);
    }
    let joined = m.b.concat(&parts, axis)?;
    let joined = m.b.reshape(joined, &[batch, count, time, turned])?;
    let mut y = m.b.concat(&[joined, rest], 3)?;
    if shape.len() == 3 {
        y = m.b.permute(y, &[0, 2, 1, 3])?;
        y = m.b.reshape(y, &shape)?;
    }
    one(y, x.element)
}
