//! Loops with a fixed number of trips.

use super::Tensor;
use super::lower::{Leaves, Lowering};
use super::node::{Action, Application, Node, Place, Source, attach, most_specific, poison};
use dropforge_ir::{Body, Error, Op, Result, ValueType, infer};
use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;

/// Carries values along the first axis of `stacked`: what recurrent networks are made of. One program is compiled for
/// all trips, so that a thousand take no longer to compile than one. JAX's `lax.scan`.
///
/// `body` is given the carried values, `initial` in the first trip, and one slice of each of `stacked`, without its
/// first axis. It gives the new carried values, of the same types, and what is to be stacked. The result is the carried
/// values after the last trip, and the stacked values with the trips as their first axis. Gradients flow through all of
/// it, to what the body captured as well. What the body computes of captured tensors alone is computed once, outside of
/// the loop.
///
/// The body runs once, to be traced; its tensors exist inside of it alone.
///
/// # Errors
/// Shown by the first call that returns a result: if `stacked` is empty or has first axes of different extents, the
/// body gives carried values of another number or type, or it looks indices up ([`Tensor::embedding`] and others that
/// check them) or detaches what it computed; do these before or after the loop.
///
/// ```
/// use dropforge::prelude::*;
///
/// // What grows at a rate that changes from year to year.
/// let rates = Tensor::from([0.5, 1.0, 0.25]);
/// let (last, years) = scan(&[&Tensor::from(100.0)], &[&rates], |carried, slices| {
///     let capital = &carried[0] * (&slices[0] + 1.0);
///     (vec![capital.clone()], vec![capital])
/// });
/// assert_eq!(last[0].item::<f32>()?, 375.0);
/// assert_eq!(years[0].to_vec::<f32>()?, [150.0, 300.0, 375.0]);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[track_caller]
pub fn scan(
    initial: &[&Tensor],
    stacked: &[&Tensor],
    body: impl FnOnce(&[Tensor], &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>),
) -> (Vec<Tensor>, Vec<Tensor>) {
    carry_along(initial, stacked, false, body)
}

/// As [`scan`], from the last slices to the first: `[i, ..]` of what is stacked belongs to `[i, ..]` of what is given.
#[track_caller]
pub fn scan_reverse(
    initial: &[&Tensor],
    stacked: &[&Tensor],
    body: impl FnOnce(&[Tensor], &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>),
) -> (Vec<Tensor>, Vec<Tensor>) {
    carry_along(initial, stacked, true, body)
}

#[track_caller]
fn carry_along(
    initial: &[&Tensor],
    stacked: &[&Tensor],
    reverse: bool,
    body: impl FnOnce(&[Tensor], &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>),
) -> (Vec<Tensor>, Vec<Tensor>) {
    let given: Vec<&Tensor> = initial.iter().chain(stacked).copied().collect();
    let tag = most_specific(&given);
    let place = Place::new(tag.as_deref(), Location::caller());
    let port = |ty: ValueType| Tensor {
        node: Arc::new(Node::new(ty, place.clone(), Source::Port)),
        tag: tag.clone(),
    };
    let carried: Vec<Tensor> = initial.iter().map(|tensor| port(tensor.ty().clone())).collect();
    let slices: Vec<Tensor> = stacked
        .iter()
        .map(|tensor| {
            port(ValueType { dtype: tensor.dtype(), shape: tensor.shape().iter().skip(1).copied().collect() })
        })
        .collect();
    let (next, outputs) = body(&carried, &slices);
    let traced =
        Traced { initial, stacked, carried: &carried, slices: &slices, next: &next, outputs: &outputs };
    match traced.application(reverse) {
        Ok((application, types)) => {
            let mut results = attach(application, types, place, tag);
            let outputs = results.split_off(initial.len());
            (results, outputs)
        }
        Err(error) => {
            let failed = |like: &Tensor| poison(error.clone(), like.ty().clone(), place.clone(), tag.clone());
            (initial.iter().map(|tensor| failed(tensor)).collect(), outputs.iter().map(failed).collect())
        }
    }
}

/// A loop whose body has been traced.
struct Traced<'a> {
    initial: &'a [&'a Tensor],
    stacked: &'a [&'a Tensor],
    carried: &'a [Tensor],
    slices: &'a [Tensor],
    next: &'a [Tensor],
    outputs: &'a [Tensor],
}

impl Traced<'_> {
    fn application(&self, reverse: bool) -> Result<(Application, Vec<ValueType>)> {
        let fail = |message: String| Err(Error::new("scan", message));
        let results: Vec<&Tensor> = self.next.iter().chain(self.outputs).collect();
        let given = self.initial.iter().chain(self.stacked).copied();
        if let Some(error) =
            given.clone().chain(results.iter().copied()).find_map(|tensor| tensor.node.error())
        {
            return Err((*error).clone());
        }
        let Some(&trips) = self.stacked.first().and_then(|first| first.shape().first()) else {
            return fail(
                "needs an array with a slice for each trip, such as Tensor::arange(0, trips)".into(),
            );
        };
        if let Some(other) = self.stacked.iter().find(|other| other.shape().first() != Some(&trips)) {
            let first = self.stacked[0].shape();
            return fail(format!("there are {trips} slices of {first} and others of {}", other.shape()));
        }
        if self.next.len() != self.initial.len() {
            let (expected, given) = (self.initial.len(), self.next.len());
            return fail(format!("{expected} values are carried, the body gives {given}"));
        }
        if results.is_empty() {
            return fail("the body gives nothing".into());
        }
        let captured = self.captured(&results);
        let mut lowering = Lowering::new("body", Leaves::States);
        for (number, tensor) in self.carried.iter().chain(self.slices).chain(&captured).enumerate() {
            let value = lowering.program.input(number.to_string(), tensor.ty().clone());
            lowering.bind(tensor, value);
        }
        let values = lowering.lower(&results)?;
        if let Some(what) = lowering.beside() {
            return fail(format!("a body cannot {what}; do it before or after the loop"));
        }
        for (number, value) in values.into_iter().enumerate() {
            lowering.program.output(number.to_string(), value);
        }
        let body = Body::new(lowering.finish()?.0);
        let (carries, stacked) = (self.initial.len(), self.stacked.len());
        let op = Op::Scan { body, carries, stacked, trips, reverse: usize::from(reverse) };
        let args: Vec<Tensor> = given.cloned().chain(captured).collect();
        let types: Vec<&ValueType> = args.iter().map(Tensor::ty).collect();
        let types = infer(&op, &types)?;
        Ok((Application { action: Action::Operation(op), args }, types))
    }

    /// The tensors from outside that the body uses, each once: where a value that depends on the trip is made of one
    /// that does not.
    fn captured(&self, results: &[&Tensor]) -> Vec<Tensor> {
        let ports = self.carried.iter().chain(self.slices);
        let mut depends: HashMap<*const Node, bool> =
            ports.map(|port| (Arc::as_ptr(&port.node), true)).collect();
        let mut open: Vec<(Tensor, bool)> = results.iter().map(|&result| (result.clone(), false)).collect();
        let mut inside = Vec::new();
        while let Some((tensor, is_second)) = open.pop() {
            let key = Arc::as_ptr(&tensor.node);
            if depends.contains_key(&key) {
                continue;
            }
            let Source::Applied { application, .. } = tensor.node.source() else {
                depends.insert(key, false);
                continue;
            };
            if !tensor.node.traced {
                depends.insert(key, false);
            } else if is_second {
                let on_trip =
                    application.args.iter().any(|arg| depends.get(&Arc::as_ptr(&arg.node)) == Some(&true));
                depends.insert(key, on_trip);
                if on_trip {
                    inside.push(application);
                }
            } else {
                open.push((tensor.clone(), true));
                open.extend(application.args.iter().map(|arg| (arg.clone(), false)));
            }
        }
        let mut seen = HashSet::new();
        let args = inside.iter().flat_map(|application| &application.args).chain(results.iter().copied());
        args.filter(|arg| depends.get(&Arc::as_ptr(&arg.node)) != Some(&true))
            .filter(|arg| !is_constant(arg) && seen.insert(Arc::as_ptr(&arg.node)))
            .cloned()
            .collect()
    }
}

/// Whether a tensor is one number everywhere that the program knows, so that the body can have it too.
fn is_constant(tensor: &Tensor) -> bool {
    let mut tensor = tensor.clone();
    loop {
        let Source::Applied { application, placed: None, .. } = tensor.node.source() else { return false };
        match &application.action {
            Action::Operation(Op::Constant(_)) => return true,
            Action::Operation(Op::Broadcast { .. } | Op::Reshape { .. } | Op::Cast { .. }) => {
                tensor = application.args[0].clone();
            }
            _ => return false,
        }
    }
}
