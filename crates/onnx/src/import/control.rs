//! Branches and loops whose course is known, and sequences.

use super::builder::axis_of;
use super::elementwise::one;
use super::movement::{extents, parts};
use super::{Call, Importer, Item, Tensor};
use crate::{Result, element, failed};
use dropforge_ir::DType;

type Results = Result<Vec<Item>>;

/// Rounds that a loop may take.
const MOST_ROUNDS: i64 = 1 << 14;

fn truth(m: &Importer<'_, '_>, call: &Call<'_, '_>, index: usize) -> Result<bool> {
    let numbers = m.b.numbers(call.value(index)?, "a condition")?;
    Ok(numbers.elements().first().is_some_and(|&number| number != 0.0))
}

pub(super) fn if_<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let taken = if truth(m, call, 0)? { "then_branch" } else { "else_branch" };
    m.inner(call.graph(taken)?, Vec::new(), call.outer)
}

/// Results of the rounds of a loop on top of each other, along a new axis.
fn stacked(m: &mut Importer<'_, '_>, rounds: &[Tensor], axis: usize) -> Result<Item> {
    let first =
        *rounds.first().ok_or_else(|| failed("a loop takes no round, so that its results have no shape"))?;
    let mut parts = Vec::new();
    for tensor in rounds {
        let mut shape = m.b.shape(tensor.value);
        if axis > shape.len() {
            return Err(failed("a loop stacks its results along an axis that they do not have"));
        }
        shape.insert(axis, 1);
        parts.push(m.b.reshape(tensor.value, &shape)?);
    }
    let value = m.b.concat(&parts, axis)?;
    Ok(Item::Tensor(Tensor { value, element: first.element }))
}

fn as_tensor(item: &Item) -> Result<Tensor> {
    match item {
        Item::Tensor(tensor) => Ok(*tensor),
        _ => Err(failed("a loop collects what is no tensor")),
    }
}

pub(super) fn loop_<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let body = call.graph("body")?;
    let trips = match call.optional(0) {
        Some(trips) => m.b.integers(trips.value, "the number of rounds")?.first().copied().unwrap_or(0),
        None => i64::MAX,
    };
    let mut goes_on = match call.optional(1) {
        Some(_) => truth(m, call, 1)?,
        None => true,
    };
    let mut carried: Vec<Item> =
        call.inputs.iter().skip(2).map(|item| item.clone().unwrap_or(Item::Nothing)).collect();
    let scans = body.outputs.len().checked_sub(1 + carried.len());
    let scans = scans.ok_or_else(|| failed("a loop gives fewer values than it carries"))?;
    let mut rounds: Vec<Vec<Tensor>> = vec![Vec::new(); scans];
    let mut round = 0;
    while goes_on && round < trips {
        if round >= MOST_ROUNDS {
            return Err(failed(format!("a loop takes more than {MOST_ROUNDS} rounds")));
        }
        let number = m.b.scalar(DType::I32, round as f64);
        let yes = m.b.scalar(DType::Bool, 1.0);
        let mut inputs = vec![
            Item::Tensor(Tensor { value: number, element: element::INT64 }),
            Item::Tensor(Tensor { value: yes, element: element::BOOL }),
        ];
        inputs.extend(carried);
        let results = m.inner(body, inputs, call.outer)?;
        let condition = as_tensor(results.first().ok_or_else(|| failed("a loop has no condition"))?)?;
        let numbers = m.b.numbers(condition.value, "the condition of a loop")?;
        goes_on = numbers.elements().first().is_some_and(|&number| number != 0.0);
        let kept = results.len() - 1 - scans;
        carried = results[1..1 + kept].to_vec();
        for (all, item) in rounds.iter_mut().zip(&results[1 + kept..]) {
            all.push(as_tensor(item)?);
        }
        round += 1;
    }
    for all in &rounds {
        carried.push(stacked(m, all, 0)?);
    }
    Ok(carried)
}

pub(super) fn scan<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let body = call.graph("body")?;
    let scanned = usize::try_from(call.integer("num_scan_inputs", 0)).unwrap_or(0);
    let given: Vec<Tensor> = if call.opset < 9 {
        return Err(failed(
            "of opset 8 has a batch, which is not supported; convert the model to a newer opset",
        ));
    } else {
        call.tensors()?
    };
    let kept = given.len().checked_sub(scanned).ok_or_else(|| failed("has fewer inputs than it scans"))?;
    let axes = call.integers("scan_input_axes").unwrap_or(&[]);
    let backward = call.integers("scan_input_directions").unwrap_or(&[]);
    let mut carried: Vec<Item> = given[..kept].iter().map(|tensor| Item::Tensor(*tensor)).collect();
    let mut count = None;
    let mut along = Vec::new();
    for (index, tensor) in given[kept..].iter().enumerate() {
        let shape = m.b.shape(tensor.value);
        let axis = axis_of(axes.get(index).copied().unwrap_or(0), shape.len())?;
        along.push(axis);
        if *count.get_or_insert(shape[axis]) != shape[axis] {
            return Err(failed("scans inputs of several lengths"));
        }
    }
    let count = count.ok_or_else(|| failed("scans nothing"))?;
    if count as i64 > MOST_ROUNDS {
        return Err(failed(format!("takes more than {MOST_ROUNDS} rounds")));
    }
    let outputs =
        body.outputs.len().checked_sub(kept).ok_or_else(|| failed("gives fewer values than it carries"))?;
    let mut rounds: Vec<Vec<Tensor>> = vec![Vec::new(); outputs];
    for round in 0..count {
        let mut inputs = carried;
        for (index, tensor) in given[kept..].iter().enumerate() {
            let axis = along[index];
            let place = if backward.get(index) == Some(&1) { count - 1 - round } else { round };
            let part = m.b.cut(tensor.value, axis, place, place + 1)?;
            let mut shape = m.b.shape(part);
            shape.remove(axis);
            let value = m.b.reshape(part, &shape)?;
            inputs.push(Item::Tensor(Tensor { value, element: tensor.element }));
        }
        let results = m.inner(body, inputs, call.outer)?;
        carried = results[..kept].to_vec();
        for (all, item) in rounds.iter_mut().zip(&results[kept..]) {
            all.push(as_tensor(item)?);
        }
    }
    let directions = call.integers("scan_output_directions").unwrap_or(&[]);
    let axes = call.integers("scan_output_axes").unwrap_or(&[]);
    for (index, all) in rounds.iter_mut().enumerate() {
        if directions.get(index) == Some(&1) {
            all.reverse();
        }
        let rank = all.first().map_or(0, |tensor| m.b.rank(tensor.value));
        let axis = axis_of(axes.get(index).copied().unwrap_or(0), rank + 1)?;
        carried.push(stacked(m, all, axis)?);
    }
    Ok(carried)
}

fn sequence<'c>(call: &'c Call<'_, '_>, index: usize) -> Result<&'c [Tensor]> {
    match call.inputs.get(index) {
        Some(Some(Item::Sequence(all))) => Ok(all),
        _ => Err(failed(format!("input {index} is no sequence"))),
    }
}

/// A place in a sequence, which may count from the end.
fn place(m: &Importer<'_, '_>, call: &Call<'_, '_>, index: usize, extent: usize) -> Result<Option<usize>> {
    let Some(position) = call.optional(index) else { return Ok(None) };
    let position = m.b.integers(position.value, "a place in a sequence")?.first().copied().unwrap_or(0);
    let position = if position < 0 { position + extent as i64 } else { position };
    let inside = usize::try_from(position).ok().filter(|&position| position <= extent);
    inside.map(Some).ok_or_else(|| failed(format!("a sequence of {extent} has no place {position}")))
}

pub(super) fn sequence_empty<'m, 'a>(_: &mut Importer<'m, 'a>, _: &Call<'m, 'a>) -> Results {
    Ok(vec![Item::Sequence(Vec::new())])
}

pub(super) fn sequence_construct<'m, 'a>(_: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    Ok(vec![Item::Sequence(call.tensors()?)])
}

pub(super) fn sequence_at<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let all = sequence(call, 0)?;
    let place = place(m, call, 1, all.len())?.unwrap_or(0);
    let tensor = all.get(place).ok_or_else(|| failed("a sequence has no such place"))?;
    Ok(vec![Item::Tensor(*tensor)])
}

pub(super) fn sequence_insert<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let mut all = sequence(call, 0)?.to_vec();
    let place = place(m, call, 2, all.len())?.unwrap_or(all.len());
    all.insert(place, call.tensor(1)?);
    Ok(vec![Item::Sequence(all)])
}

pub(super) fn sequence_erase<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let mut all = sequence(call, 0)?.to_vec();
    let place = place(m, call, 1, all.len())?.unwrap_or(all.len().saturating_sub(1));
    if place >= all.len() {
        return Err(failed("a sequence has no such place"));
    }
    all.remove(place);
    Ok(vec![Item::Sequence(all)])
}

pub(super) fn sequence_length<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let y = m.b.scalar(DType::I32, sequence(call, 0)?.len() as f64);
    one(y, element::INT64)
}

pub(super) fn sequence_map<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let body = call.graph("body")?;
    let count = sequence(call, 0)?.len();
    let mut results: Vec<Vec<Tensor>> = vec![Vec::new(); body.outputs.len()];
    for index in 0..count {
        let pick = |item: &Option<Item>| match item {
            Some(Item::Sequence(all)) => all
                .get(index)
                .map(|tensor| Item::Tensor(*tensor))
                .ok_or_else(|| failed("sequences differ in length")),
            other => Ok(other.clone().unwrap_or(Item::Nothing)),
        };
        let inputs = call.inputs.iter().map(pick).collect::<Result<Vec<_>>>()?;
        for (all, item) in results.iter_mut().zip(m.inner(body, inputs, call.outer)?) {
            all.push(as_tensor(&item)?);
        }
    }
    Ok(results.into_iter().map(Item::Sequence).collect())
}

pub(super) fn split_to_sequence<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let shape = m.b.shape(x.value);
    let axis = axis_of(call.integer("axis", 0), shape.len())?;
    let sizes = match call.optional(1) {
        None => vec![1; shape[axis]],
        Some(split) if m.b.rank(split.value) == 0 => {
            let each = extents(m, split.value, "split")?[0];
            if each == 0 {
                return Err(failed("parts are empty"));
            }
            let count = shape[axis].div_ceil(each);
            (0..count).map(|index| each.min(shape[axis] - index * each)).collect()
        }
        Some(split) => parts(shape[axis], Some(extents(m, split.value, "split")?), 0)?,
    };
    let keep = call.optional(1).is_some() || call.integer("keepdims", 1) != 0;
    let mut all = Vec::new();
    let mut start = 0;
    for size in sizes {
        let mut value = m.b.cut(x.value, axis, start, start + size)?;
        if !keep {
            let mut shape = shape.clone();
            shape.remove(axis);
            value = m.b.reshape(value, &shape)?;
        }
        all.push(Tensor { value, element: x.element });
        start += size;
    }
    Ok(vec![Item::Sequence(all)])
}

pub(super) fn concat_from_sequence<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let all = sequence(call, 0)?.to_vec();
    let first = *all.first().ok_or_else(|| failed("joins an empty sequence"))?;
    let rank = m.b.rank(first.value);
    if call.flag("new_axis") {
        let axis = axis_of(call.integer("axis", 0), rank + 1)?;
        return Ok(vec![stacked(m, &all, axis)?]);
    }
    let axis = axis_of(call.integer("axis", 0), rank)?;
    let values: Vec<_> = all.iter().map(|tensor| tensor.value).collect();
    let y = m.b.concat(&values, axis)?;
    one(y, first.element)
}

pub(super) fn optional<'m, 'a>(_: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    Ok(vec![call.inputs.first().cloned().flatten().unwrap_or(Item::Nothing)])
}

pub(super) fn optional_get_element<'m, 'a>(_: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    match call.inputs.first().cloned().flatten() {
        Some(Item::Nothing) | None => Err(failed("takes an optional value that is not there")),
        Some(item) => Ok(vec![item]),
    }
}

pub(super) fn optional_has_element<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let has = !matches!(call.inputs.first().cloned().flatten(), Some(Item::Nothing) | None);
    let y = m.b.scalar(DType::Bool, f64::from(u8::from(has)));
    one(y, element::BOOL)
}
