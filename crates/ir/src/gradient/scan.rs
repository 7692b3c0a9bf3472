//! The gradient of a loop: a loop that takes the trips the other way round.
//!
//! The body is differentiated like a program, from the gradients of what it carries on and stacks to those of what it
//! is given. What that needs of the forward trips is stacked by a second forward loop over the same arguments, which
//! has more results than the first: a pass ([`crate::passes::join_scans`]) lets one loop compute both. Products and
//! other dear values are stacked, and what follows from them element by element is computed again.
//!
//! The gradient of what is the same in all trips is a sum over the trips. Where each term is a product or a sum, its
//! factors are stacked and the whole is one product or sum behind the loop; else it is carried along.

use super::{accumulate, active_values};
use crate::body::Body;
use crate::error::{Error, Result};
use crate::op::{BinaryKind, Op, ReduceKind, UnaryKind};
use crate::program::{Node, Program, Value};
use crate::types::{DType, Shape, ValueType};
use std::collections::{HashMap, HashSet};

/// The contributions to the gradients of a loop's arguments. `wanted` says which are asked for, all of them floats.
pub(super) fn scan(
    program: &mut Program,
    node: &Node,
    wanted: &[bool],
    gradients: &[Option<Value>],
) -> Result<Vec<Option<Value>>> {
    let Op::Scan { body, carries, stacked, trips, reverse } = &node.op else { return Ok(Vec::new()) };
    let (carries, stacked) = (*carries, *stacked);
    let forward = body.program();
    let mut reversal = Reversal::new(forward, carries, stacked);
    let (active, is_active) = active_inputs(forward, wanted, carries);
    // The gradients of what is carried on and stacked are further inputs.
    let mut slopes: Vec<Option<Value>> = vec![None; forward.value_count()];
    let mut cotangents = Vec::new();
    for (position, output) in forward.outputs.iter().enumerate() {
        let value = output.value;
        let is_reached = is_active[value.index()] && forward.dtype(value).is_float();
        let is_given =
            if position < carries { active[position] } else { is_reached && gradients[position].is_some() };
        if !is_given {
            cotangents.push(None);
            continue;
        }
        let name = format!("gradient {position}");
        let cotangent = reversal.whole.input(name, forward.ty(value).clone());
        cotangents.push(Some(cotangent));
        if !is_reached {
            continue;
        }
        slopes[value.index()] = Some(match slopes[value.index()] {
            None => cotangent,
            Some(sum) => reversal.whole.binary(BinaryKind::Add, sum, cotangent)?,
        });
    }
    let last = forward.nodes().len();
    accumulate(&mut reversal.whole, &mut slopes, &is_active, last)?;
    let slope = |input: usize| slopes[forward.inputs[input].value.index()];

    // What is carried backwards: the gradients of what is carried forwards, then sums that no product behind the loop
    // makes.
    let back: Vec<usize> = (0..carries).filter(|&position| cotangents[position].is_some()).collect();
    let mut initial = Vec::new();
    for &position in &back {
        let next = match slope(position) {
            Some(slope) => slope,
            None => reversal.whole.splat_like(0.0, forward.inputs[position].value)?,
        };
        reversal.carried.push((cotangents[position], next));
        initial.push(match gradients[position] {
            Some(gradient) => gradient,
            None => program.full(forward.ty(forward.inputs[position].value).clone(), 0.0)?,
        });
    }
    let mut sums: HashMap<usize, Sum> = HashMap::new();
    for (input, port) in forward.inputs.iter().enumerate().skip(carries + stacked) {
        let Some(slope) = slope(input).filter(|_| wanted[input]) else { continue };
        let before = (reversal.saved.len(), reversal.outputs.len());
        if let Some(sum) = reversal.hoisted(slope) {
            sums.insert(input, sum);
            continue;
        }
        reversal.saved.truncate(before.0);
        reversal.outputs.truncate(before.1);
        let ty = forward.ty(port.value);
        let wide = if ty.dtype.is_half() { DType::F32 } else { ty.dtype };
        let wide_ty = ValueType { dtype: wide, shape: ty.shape.clone() };
        let whole = &mut reversal.whole;
        let term = if wide == ty.dtype { slope } else { whole.apply(Op::Cast { to: wide }, &[slope])? };
        let so_far = whole.input(format!("sum {input}"), wide_ty.clone());
        let next = whole.binary(BinaryKind::Add, so_far, term)?;
        sums.insert(input, Sum::Carried(reversal.carried.len()));
        reversal.carried.push((Some(so_far), next));
        initial.push(program.full(wide_ty, 0.0)?);
    }
    let mut slices: HashMap<usize, usize> = HashMap::new();
    for (input, _) in wanted.iter().enumerate().skip(carries).take(stacked).filter(|(_, wanted)| **wanted) {
        if let Some(slope) = slope(input) {
            slices.insert(input, reversal.stack(slope));
        }
    }
    reversal.find_needed();

    // The forward loop with what is needed of its trips.
    let saved = if reversal.saved.is_empty() {
        Vec::new()
    } else {
        let mut more = forward.clone();
        for &value in &reversal.saved {
            more.output("", value);
        }
        let op = Op::Scan { body: Body::new(more), carries, stacked, trips: *trips, reverse: *reverse };
        program.push(op, &node.args)?.split_off(node.results.len())
    };

    // The backward loop.
    let (body, taken) = reversal.body(&cotangents[carries..])?;
    let mut args = initial;
    args.extend(
        gradients[carries..]
            .iter()
            .zip(&cotangents[carries..])
            .filter_map(|(gradient, cotangent)| gradient.filter(|_| cotangent.is_some())),
    );
    args.extend(&saved);
    args.extend(taken.iter().map(|&input| node.args[input]));
    let carried = reversal.carried.len();
    let sliced = taken.iter().filter(|input| (carries..carries + stacked).contains(*input)).count();
    let given = cotangents[carries..].iter().flatten().count();
    let mut results = Vec::new();
    if !body.outputs.is_empty() {
        let op = Op::Scan {
            body: Body::new(body),
            carries: carried,
            stacked: given + saved.len() + sliced,
            trips: *trips,
            reverse: 1 - reverse.min(&1),
        };
        results = program.push(op, &args)?;
    }

    let mut contributions = vec![None; node.args.len()];
    for (number, &position) in back.iter().enumerate() {
        contributions[position] = Some(results[number]).filter(|_| wanted[position]);
    }
    for (input, position) in slices {
        contributions[input] = Some(results[carried + position]);
    }
    let outer = Outer { node, saved: &saved, results: &results, carried, reversal: &reversal };
    for (input, sum) in &sums {
        let ty = forward.ty(forward.inputs[*input].value);
        let total = outer.sum(program, sum)?;
        let is_wide = program.dtype(total) != ty.dtype;
        contributions[*input] =
            Some(if is_wide { program.apply(Op::Cast { to: ty.dtype }, &[total])? } else { total });
    }
    Ok(contributions)
}

/// Which inputs of a body depend on what gradients are asked for, carried values by way of earlier trips too; and which
/// of its values do.
fn active_inputs(body: &Program, wanted: &[bool], carries: usize) -> (Vec<bool>, Vec<bool>) {
    let mut active = wanted.to_vec();
    loop {
        let seeds: Vec<Value> = body
            .inputs
            .iter()
            .zip(&active)
            .filter(|(_, active)| **active)
            .map(|(port, _)| port.value)
            .collect();
        let values = active_values(body, &seeds);
        let before = active.clone();
        for (active, output) in active.iter_mut().zip(&body.outputs).take(carries) {
            *active |= values[output.value.index()] && body.dtype(output.value).is_float();
        }
        if active == before {
            return (active, values);
        }
    }
}

/// How the gradient of an argument that is the same in all trips follows from what the trips gave.
enum Sum {
    /// It was carried along, as the carried value with this position.
    Carried(usize),
    /// The sum of two of them.
    Add(Box<Sum>, Box<Sum>),
    /// A reordering of one.
    Permute(Vec<usize>, Box<Sum>),
    /// One under another shape.
    Reshape(Shape, Box<Sum>),
    /// The product of stacked values, contracted over the trips too.
    Product(Op, [Stacked; 2]),
    /// The sum of a stacked value over the trips and these axes.
    Total(Vec<usize>, Stacked),
}

/// A value of the trips that is stacked.
#[derive(Clone, Copy)]
enum Stacked {
    /// An argument of the forward loop.
    Argument(usize),
    /// What the forward loop saves, by position.
    Saved(usize),
    /// What the backward loop stacks, by position.
    Given(usize),
}

/// A backward loop in the making.
struct Reversal<'a> {
    forward: &'a Program,
    carries: usize,
    stacked: usize,
    /// The forward body and its gradients.
    whole: Program,
    /// Whether values of the forward body differ from trip to trip.
    varies: Vec<bool>,
    /// Inputs of `whole` and what is carried on in their place.
    carried: Vec<(Option<Value>, Value)>,
    /// What the backward loop stacks.
    outputs: Vec<Value>,
    /// What the forward loop is to stack.
    saved: Vec<Value>,
    /// Values of `whole` that the backward body computes or takes.
    needed: HashSet<Value>,
}

impl<'a> Reversal<'a> {
    fn new(forward: &'a Program, carries: usize, stacked: usize) -> Reversal<'a> {
        let seeds: Vec<Value> = forward.inputs[..carries + stacked].iter().map(|port| port.value).collect();
        let mut whole = forward.clone();
        whole.outputs.clear();
        Reversal {
            forward,
            carries,
            stacked,
            whole,
            varies: active_values(forward, &seeds),
            carried: Vec::new(),
            outputs: Vec::new(),
            saved: Vec::new(),
            needed: HashSet::new(),
        }
    }

    /// The position of the forward input that a value is.
    fn input(&self, value: Value) -> Option<usize> {
        match self.whole.definition(value).op {
            Op::Input(port) if value.index() < self.forward.value_count() => Some(port),
            _ => None,
        }
    }

    fn save(&mut self, value: Value) -> usize {
        position_of(&mut self.saved, value)
    }

    /// Has the backward loop stack a value.
    fn stack(&mut self, value: Value) -> usize {
        position_of(&mut self.outputs, value)
    }

    /// A value of the trips as an array of all of them.
    fn stacked(&mut self, value: Value) -> Stacked {
        match self.input(value) {
            Some(input) if input < self.carries => Stacked::Saved(self.save(value)),
            Some(input) if input < self.carries + self.stacked => Stacked::Argument(input),
            _ => Stacked::Given(self.stack(value)),
        }
    }

    fn is_same_in_all_trips(&self, value: Value) -> bool {
        // Gradients are taken to differ.
        value.index() < self.forward.value_count() && !self.varies[value.index()]
    }

    /// How the sum of a value over the trips can be had from what it is made of, behind the loop.
    fn hoisted(&mut self, value: Value) -> Option<Sum> {
        let node = self.whole.definition(value).clone();
        match node.op {
            Op::Binary { kind: BinaryKind::Add } => {
                let a = self.hoisted(node.args[0])?;
                Some(Sum::Add(Box::new(a), Box::new(self.hoisted(node.args[1])?)))
            }
            Op::Permute { order } => Some(Sum::Permute(order, Box::new(self.hoisted(node.args[0])?))),
            Op::Reshape { shape } => Some(Sum::Reshape(shape, Box::new(self.hoisted(node.args[0])?))),
            Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } => {
                if node.args.iter().any(|&arg| self.is_same_in_all_trips(arg)) {
                    return None;
                }
                let later = |axes: Vec<usize>| axes.into_iter().map(|axis| axis + 1).collect::<Vec<usize>>();
                let with_trips = |axes: Vec<usize>| std::iter::once(0).chain(later(axes)).collect();
                let op = Op::Dot {
                    lhs_batch: later(lhs_batch),
                    rhs_batch: later(rhs_batch),
                    lhs_contract: with_trips(lhs_contract),
                    rhs_contract: with_trips(rhs_contract),
                };
                Some(Sum::Product(op, [self.stacked(node.args[0]), self.stacked(node.args[1])]))
            }
            Op::Reduce { kind: ReduceKind::Sum, axes } if !self.is_same_in_all_trips(node.args[0]) => {
                let axes = std::iter::once(0).chain(axes.into_iter().map(|axis| axis + 1)).collect();
                Some(Sum::Total(axes, self.stacked(node.args[0])))
            }
            _ => None,
        }
    }

    /// Walks from what the backward body gives to what it takes, and decides what the forward loop saves.
    fn find_needed(&mut self) {
        let carried = self.carried.iter().map(|(_, next)| *next);
        let mut open: Vec<Value> = carried.chain(self.outputs.iter().copied()).collect();
        let known = self.forward.value_count();
        while let Some(value) = open.pop() {
            if !self.needed.insert(value) {
                continue;
            }
            let is_forward = value.index() < known;
            let is_saved = is_forward
                && match self.input(value) {
                    Some(input) => input < self.carries,
                    None => self.varies[value.index()] && is_dear(&self.whole.definition(value).op),
                };
            if is_saved {
                self.save(value);
            } else {
                open.extend(&self.whole.definition(value).args);
            }
        }
    }

    /// The backward body, and which arguments of the forward loop it takes, slices first.
    fn body(&self, cotangents: &[Option<Value>]) -> Result<(Program, Vec<usize>)> {
        let whole = &self.whole;
        let missing = || Error::new("scan", "its gradient uses a value that is not there");
        let mut body = Program::new("body");
        let mut map: Vec<Option<Value>> = vec![None; whole.value_count()];
        let mut take = |body: &mut Program, value: Value| {
            let name = body.inputs.len().to_string();
            map[value.index()] = Some(body.input(name, whole.ty(value).clone()));
        };
        let carried = self.carried.iter().filter_map(|(input, _)| *input);
        for value in carried.chain(cotangents.iter().flatten().copied()).chain(self.saved.iter().copied()) {
            take(&mut body, value);
        }
        let inputs = &self.forward.inputs;
        let is_taken = |input: &usize| self.needed.contains(&inputs[*input].value);
        let taken: Vec<usize> = (self.carries..inputs.len()).filter(is_taken).collect();
        for &input in &taken {
            take(&mut body, inputs[input].value);
        }
        for node in whole.nodes() {
            let is_open = |value: &Value| self.needed.contains(value) && map[value.index()].is_none();
            if !node.results.iter().any(is_open) {
                continue;
            }
            body.current_origin = node.origin.clone();
            let args: Option<Vec<Value>> = node.args.iter().map(|arg| map[arg.index()]).collect();
            let args = args.ok_or_else(missing)?;
            let results = body.copy_node(node, &args)?;
            for (old, new) in node.results.iter().zip(results) {
                map[old.index()].get_or_insert(new);
            }
        }
        let outputs = self.carried.iter().map(|(_, next)| *next).chain(self.outputs.iter().copied());
        for value in outputs {
            let value = map[value.index()].ok_or_else(missing)?;
            body.output(body.outputs.len().to_string(), value);
        }
        Ok((body, taken))
    }
}

/// Whether a value is stacked rather than computed a second time.
fn is_dear(op: &Op) -> bool {
    use UnaryKind::{Cos, Erf, Exp, ExpMinusOne, Log, LogOnePlus, Sigmoid, Sin, Tanh};
    match op {
        Op::Unary { kind } => {
            matches!(kind, Cos | Erf | Exp | ExpMinusOne | Log | LogOnePlus | Sigmoid | Sin | Tanh)
        }
        Op::Binary { kind } => *kind == BinaryKind::Power,
        Op::Compare { .. } | Op::Select {} | Op::Cast { .. } => false,
        Op::Constant(_) | Op::Iota { .. } | Op::Reshape { .. } | Op::Permute { .. } => false,
        Op::Broadcast { .. } | Op::Slice { .. } | Op::Pad { .. } | Op::Flip { .. } | Op::Concat { .. } => {
            false
        }
        _ => true,
    }
}

fn position_of(values: &mut Vec<Value>, value: Value) -> usize {
    values.iter().position(|other| *other == value).unwrap_or_else(|| {
        values.push(value);
        values.len() - 1
    })
}

/// Where stacked values stand behind both loops.
struct Outer<'a> {
    node: &'a Node,
    saved: &'a [Value],
    results: &'a [Value],
    carried: usize,
    reversal: &'a Reversal<'a>,
}

impl Outer<'_> {
    fn value(&self, stacked: Stacked) -> Value {
        match stacked {
            Stacked::Argument(input) => self.node.args[input],
            Stacked::Saved(position) => self.saved[position],
            Stacked::Given(position) => self.results[self.carried + position],
        }
    }

    fn sum(&self, program: &mut Program, sum: &Sum) -> Result<Value> {
        debug_assert_eq!(self.carried, self.reversal.carried.len());
        match sum {
            Sum::Carried(position) => Ok(self.results[*position]),
            Sum::Add(a, b) => {
                let (a, b) = (self.sum(program, a)?, self.sum(program, b)?);
                program.binary(BinaryKind::Add, a, b)
            }
            Sum::Permute(order, inner) => {
                let inner = self.sum(program, inner)?;
                program.apply(Op::Permute { order: order.clone() }, &[inner])
            }
            Sum::Reshape(shape, inner) => {
                let inner = self.sum(program, inner)?;
                program.apply(Op::Reshape { shape: shape.clone() }, &[inner])
            }
            Sum::Product(op, sides) => {
                let sides = sides.map(|side| self.value(side));
                program.apply(op.clone(), &sides)
            }
            Sum::Total(axes, value) => program.reduce(ReduceKind::Sum, self.value(*value), axes),
        }
    }
}
