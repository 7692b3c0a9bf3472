//! RNN, GRU and LSTM: their steps one after another.

use super::{Call, Importer, Item, Tensor};
use crate::{Result, failed};
use dropforge_ir::{BinaryKind, UnaryKind, Value};

type Results = Result<Vec<Item>>;

/// Steps that a sequence may have.
const MOST_STEPS: usize = 1 << 12;

/// What one direction has: weights of input and state, both biases, first state, first cell.
struct Direction {
    w: Value,
    r: Value,
    bias: Option<[Value; 2]>,
    hidden: Value,
    cell: Option<Value>,
    peepholes: Option<Value>,
}

type Step<'m, 'a> = fn(
    &mut Importer<'m, 'a>,
    &Call<'m, 'a>,
    &Direction,
    Value,
    (Value, Option<Value>),
) -> Result<(Value, Option<Value>)>;

/// x·Wᵀ
fn by_rows(m: &mut Importer<'_, '_>, x: Value, w: Value) -> Result<Value> {
    let turned = m.b.permute(w, &[1, 0])?;
    m.b.matmul(x, turned)
}

/// A part of the rows of a matrix, or of the numbers of a list, by gates.
fn gate(m: &mut Importer<'_, '_>, x: Value, index: usize, size: usize, axis: usize) -> Result<Value> {
    m.b.cut(x, axis, index * size, (index + 1) * size)
}

fn clipped(m: &mut Importer<'_, '_>, call: &Call<'_, '_>, x: Value) -> Result<Value> {
    match call.attribute("clip").and_then(|clip| clip.float) {
        Some(limit) => m.b.clamp(x, -f64::from(limit), limit.into()),
        None => Ok(x),
    }
}

fn sigmoid(m: &mut Importer<'_, '_>, call: &Call<'_, '_>, x: Value) -> Result<Value> {
    let x = clipped(m, call, x)?;
    m.b.unary(UnaryKind::Sigmoid, x)
}

fn tanh(m: &mut Importer<'_, '_>, call: &Call<'_, '_>, x: Value) -> Result<Value> {
    let x = clipped(m, call, x)?;
    m.b.unary(UnaryKind::Tanh, x)
}

/// x·Wᵀ + b
fn affine(m: &mut Importer<'_, '_>, x: Value, w: Value, bias: Option<Value>) -> Result<Value> {
    let y = by_rows(m, x, w)?;
    match bias {
        Some(bias) => m.b.add(y, bias),
        None => Ok(y),
    }
}

fn rnn_step<'m, 'a>(
    m: &mut Importer<'m, 'a>,
    call: &Call<'m, 'a>,
    d: &Direction,
    x: Value,
    (hidden, _): (Value, Option<Value>),
) -> Result<(Value, Option<Value>)> {
    let input = affine(m, x, d.w, d.bias.map(|both| both[0]))?;
    let state = affine(m, hidden, d.r, d.bias.map(|both| both[1]))?;
    let sum = m.b.add(input, state)?;
    Ok((tanh(m, call, sum)?, None))
}

/// Gates z, r, h.
fn gru_step<'m, 'a>(
    m: &mut Importer<'m, 'a>,
    call: &Call<'m, 'a>,
    d: &Direction,
    x: Value,
    (hidden, _): (Value, Option<Value>),
) -> Result<(Value, Option<Value>)> {
    let size = m.b.shape(hidden)[1];
    let input = affine(m, x, d.w, d.bias.map(|both| both[0]))?;
    let state = affine(m, hidden, d.r, d.bias.map(|both| both[1]))?;
    let mut gates = Vec::new();
    for index in 0..2 {
        let a = gate(m, input, index, size, 1)?;
        let b = gate(m, state, index, size, 1)?;
        let sum = m.b.add(a, b)?;
        gates.push(sigmoid(m, call, sum)?);
    }
    let of_input = gate(m, input, 2, size, 1)?;
    let of_state = if call.flag("linear_before_reset") {
        let part = gate(m, state, 2, size, 1)?;
        m.b.multiply(gates[1], part)?
    } else {
        let reset = m.b.multiply(gates[1], hidden)?;
        let rows = gate(m, d.r, 2, size, 0)?;
        let bias = match d.bias {
            Some(both) => Some(gate(m, both[1], 2, size, 0)?),
            None => None,
        };
        affine(m, reset, rows, bias)?
    };
    let sum = m.b.add(of_input, of_state)?;
    let new = tanh(m, call, sum)?;
    // (1 − z)·new + z·hidden
    let difference = m.b.subtract(hidden, new)?;
    let kept = m.b.multiply(gates[0], difference)?;
    Ok((m.b.add(new, kept)?, None))
}

/// Gates i, o, f, c.
fn lstm_step<'m, 'a>(
    m: &mut Importer<'m, 'a>,
    call: &Call<'m, 'a>,
    d: &Direction,
    x: Value,
    (hidden, cell): (Value, Option<Value>),
) -> Result<(Value, Option<Value>)> {
    let cell = cell.ok_or_else(|| failed("has no cell"))?;
    let size = m.b.shape(hidden)[1];
    let input = affine(m, x, d.w, d.bias.map(|both| both[0]))?;
    let state = affine(m, hidden, d.r, d.bias.map(|both| both[1]))?;
    let sum = m.b.add(input, state)?;
    let peep = |m: &mut Importer<'m, 'a>, sum: Value, index: usize, cell: Value| -> Result<Value> {
        let Some(peepholes) = d.peepholes else { return Ok(sum) };
        let weight = gate(m, peepholes, index, size, 0)?;
        let part = m.b.multiply(weight, cell)?;
        m.b.add(sum, part)
    };
    let [i, o, f, c] = [0, 1, 2, 3].map(|index| gate(m, sum, index, size, 1));
    let (i, o, f, c) = (i?, o?, f?, c?);
    let i = peep(m, i, 0, cell)?;
    let i = sigmoid(m, call, i)?;
    let f = peep(m, f, 2, cell)?;
    let f = sigmoid(m, call, f)?;
    let c = tanh(m, call, c)?;
    let kept = m.b.multiply(f, cell)?;
    let added = m.b.multiply(i, c)?;
    let cell = m.b.add(kept, added)?;
    let o = peep(m, o, 1, cell)?;
    let o = sigmoid(m, call, o)?;
    let seen = m.b.unary(UnaryKind::Tanh, cell)?;
    Ok((m.b.binary(BinaryKind::Multiply, o, seen)?, Some(cell)))
}

fn recurrent<'m, 'a>(
    m: &mut Importer<'m, 'a>,
    call: &Call<'m, 'a>,
    step: Step<'m, 'a>,
    usual: &[&str],
    has_cell: bool,
) -> Results {
    if let Some(activations) = call.attribute("activations") {
        let names = activations.texts.iter().map(|text| String::from_utf8_lossy(text).to_lowercase());
        let names: Vec<String> = names.collect();
        if !names.iter().zip(usual.iter().cycle()).all(|(name, usual)| name == usual) {
            return Err(failed(format!(
                "has the activations {}; only the usual ones are known",
                names.join(", ")
            )));
        }
    }
    if call.flag("input_forget") {
        return Err(failed("couples input and forget gates, which is not known"));
    }
    let x = call.tensor(0)?;
    let batch_first = call.flag("layout");
    let value = if batch_first { m.b.swap(x.value, 0, 1)? } else { x.value };
    let shape = m.b.shape(value);
    let &[length, batch, _] = shape.as_slice() else { return Err(failed("takes [time, batch, features]")) };
    if length > MOST_STEPS || length == 0 {
        return Err(failed(format!("takes 1 to {MOST_STEPS} steps, not {length}")));
    }
    if let Some(lengths) = call.optional(4) {
        let lengths = m.b.integers(lengths.value, "the lengths of the sequences")?;
        if lengths.iter().any(|&other| other != length as i64) {
            return Err(failed("has sequences of several lengths, which is not known"));
        }
    }
    let backward: &[bool] = match call.text("direction", "forward").as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(failed(format!("{other} is no direction"))),
    };
    let (w, r) = (call.value(1)?, call.value(2)?);
    let size = *m.b.shape(r).last().ok_or_else(|| failed("has no weights"))?;
    let part = |m: &mut Importer<'m, 'a>, all: Value, index: usize| -> Result<Value> {
        let one = m.b.cut(all, 0, index, index + 1)?;
        let shape = m.b.shape(one)[1..].to_vec();
        m.b.reshape(one, &shape)
    };
    let initial = |m: &mut Importer<'m, 'a>, input: usize, index: usize| -> Result<Value> {
        match call.optional(input) {
            Some(all) => {
                let all = if batch_first { m.b.swap(all.value, 0, 1)? } else { all.value };
                part(m, all, index)
            }
            None => m.b.full(m.b.dtype(value), &[batch, size], 0.0),
        }
    };
    let (mut outputs, mut hiddens, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for (index, &is_backward) in backward.iter().enumerate() {
        let bias = match call.optional(3) {
            Some(bias) => {
                let both = part(m, bias.value, index)?;
                let half = m.b.shape(both)[0] / 2;
                Some([m.b.cut(both, 0, 0, half)?, m.b.cut(both, 0, half, 2 * half)?])
            }
            None => None,
        };
        let direction = Direction {
            w: part(m, w, index)?,
            r: part(m, r, index)?,
            bias,
            hidden: initial(m, 5, index)?,
            cell: if has_cell { Some(initial(m, 6, index)?) } else { None },
            peepholes: match call.optional(7).filter(|_| has_cell) {
                Some(all) => Some(part(m, all.value, index)?),
                None => None,
            },
        };
        let mut state = (direction.hidden, direction.cell);
        let mut all = Vec::new();
        for time in 0..length {
            let place = if is_backward { length - 1 - time } else { time };
            let here = part(m, value, place)?;
            state = step(m, call, &direction, here, state)?;
            all.push(m.b.reshape(state.0, &[1, 1, batch, size])?);
        }
        if is_backward {
            all.reverse();
        }
        outputs.push(m.b.concat(&all, 0)?);
        hiddens.push(m.b.reshape(state.0, &[1, batch, size])?);
        if let Some(cell) = state.1 {
            cells.push(m.b.reshape(cell, &[1, batch, size])?);
        }
    }
    let mut y = m.b.concat(&outputs, 1)?;
    let mut results = vec![m.b.concat(&hiddens, 0)?];
    if has_cell {
        results.push(m.b.concat(&cells, 0)?);
    }
    if batch_first {
        y = m.b.permute(y, &[2, 0, 1, 3])?;
        for value in &mut results {
            *value = m.b.swap(*value, 0, 1)?;
        }
    }
    let all = std::iter::once(y).chain(results);
    Ok(all.map(|value| Item::Tensor(Tensor { value, element: x.element })).collect())
}

pub(super) fn rnn<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    recurrent(m, call, rnn_step, &["tanh"], false)
}

pub(super) fn gru<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    recurrent(m, call, gru_step, &["sigmoid", "tanh"], false)
}

pub(super) fn lstm<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    recurrent(m, call, lstm_step, &["sigmoid", "tanh", "tanh"], true)
}
