//! Mixed precision: a program of f32 in which products compute in f16 or bf16.
//!
//! [`TABLE`] says for each operation what it computes in, as PyTorch's lists for autocast do. Beyond that it is the
//! *values* that become halves: what a product gives and what a product takes is kept in half, so that the backward
//! pass finds half the bytes. Whoever reads such a value otherwise reads it widened and computes in f32. So a chain of
//! elementwise operations is rounded once, where it is kept, and all readers of a value read the same numbers.
//!
//! - States, inputs and constants stay as they are: products read them cast, once a step.
//! - A product from which no other product follows, such as the gradient of a weight or the scores in an evaluation, is
//!   a mixed one: its result is f32 and is not rounded.
//! - The result of a maximum or minimum is cast for products, and read as it is by everyone else: its gradient looks
//!   for the element that equals it.
//! - A loop takes and gives f32; within its body all this happens in each trip.
//! - What a state is written with and what is given out is never rounded on the way.

use super::{Pass, merge_common_subexpressions, remove_dead_code, run_passes, simplify};
use crate::body::Body;
use crate::error::{Error, Result};
use crate::op::{Op, ReduceKind};
use crate::program::{Node, Origin, Program, Value};
use crate::types::DType;
use crate::verify::verify;

/// What an operation computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Computes {
    /// Halves, with sums of f32.
    InHalf,
    /// Nothing: it moves or picks elements, which stay in the type that they have.
    AsGiven,
    /// f32.
    InFull,
}

/// What each operation computes in, by the names of [`Op::NAMES`].
pub const TABLE: &[(Computes, &[&str])] = &[
    (
        Computes::InHalf,
        &[
            "dot",
            "convolution",
            "convolution_input_gradient",
            "convolution_filter_gradient",
            "attention",
            "attention_gradient",
        ],
    ),
    (
        Computes::AsGiven,
        &[
            "reshape",
            "permute",
            "broadcast",
            "slice",
            "pad",
            "flip",
            "concat",
            "max_pool",
            "max_pool_gradient",
        ],
    ),
    (
        Computes::InFull,
        &[
            "unary",
            "binary",
            "compare",
            "select",
            "cast",
            "reduce",
            "argmax",
            "argsort",
            "cumulative_sum",
            "logsumexp",
            "mean_variance",
            "window_sum",
            "window_sum_transpose",
            "gather",
            "scatter_add",
            "iota",
            "random_bits",
            "scan",
        ],
    ),
];

/// What an operation computes in.
pub fn computes(op: &Op) -> Computes {
    let name = op.table_name();
    let row = TABLE.iter().find(|(_, names)| names.contains(&name));
    row.map_or(Computes::InFull, |(computes, _)| *computes)
}

/// [`TABLE`] for people, a line for each row.
pub fn describe(half: DType) -> String {
    let line = |(computes, names): &(Computes, &[&str])| {
        let what = match computes {
            Computes::InHalf => format!("in {half}, sums in f32"),
            Computes::AsGiven => "as given".into(),
            Computes::InFull => "in f32".into(),
        };
        format!("{what}: {}\n", names.join(", "))
    };
    TABLE.iter().map(line).collect()
}

/// What tidies up behind [`mixed_precision`].
const TIDY: &[Pass] = &[
    Pass::new("simplify", simplify),
    Pass::new("common-subexpressions", merge_common_subexpressions),
    Pass::new("dead-code", remove_dead_code),
];

/// The program with products in the half type `half`, tidied up; comes after all other passes, which look for patterns
/// of f32. With `verified` the program is verified after each pass.
///
/// # Errors
/// `half` is no half type, or a pass has a bug; the error names the pass.
pub fn to_half(program: &Program, half: DType, verified: bool) -> Result<Program> {
    let mixed = mixed_precision(program, half)?;
    if verified {
        verify(&mixed).map_err(|error| {
            let place = format!("after pass mixed-precision: {}", error.operation());
            error.named(place)
        })?;
    }
    run_passes(&mixed, TIDY, verified)
}

/// The program with products, convolutions and attention in the half type `half`; see the module.
///
/// # Errors
/// `half` is no half type.
pub fn mixed_precision(program: &Program, half: DType) -> Result<Program> {
    if !half.is_half() {
        return Err(Error::new("mixed-precision", format!("{half} is no half type; use f16 or bf16")));
    }
    let mut rewriting = Rewriting {
        old: program,
        new: Program::new(program.name.clone()),
        half,
        forms: vec![Form::default(); program.value_count()],
        wanted: wanted_in_half(program),
        followed: followed_by_products(program),
    };
    for node in program.nodes() {
        rewriting.new.current_origin = node.origin.clone();
        rewriting.node(node)?;
    }
    rewriting.finish()
}

/// An old value in the new program.
#[derive(Clone, Copy, Default)]
struct Form {
    /// As it was computed, in the type that it had.
    exact: Option<Value>,
    half: Option<Value>,
    /// The half, as f32.
    widened: Option<Value>,
    /// Whether it is kept in half, so that everyone reads that.
    kept: bool,
}

struct Rewriting<'a> {
    old: &'a Program,
    new: Program,
    half: DType,
    forms: Vec<Form>,
    wanted: Vec<bool>,
    followed: Vec<bool>,
}

/// Where attention's gradient takes the logsumexp of the scores.
const LOG_SUM_EXP: usize = 4;

/// The arguments of an operation in half that become halves: the sums of attention (its logsumexp) stay f32.
fn halves_of(node: &Node) -> impl Iterator<Item = Value> {
    let wide = if matches!(node.op, Op::AttentionGradient { .. }) { LOG_SUM_EXP } else { usize::MAX };
    node.args.iter().enumerate().filter(move |(place, _)| *place != wide).map(|(_, &arg)| arg)
}

fn is_full(program: &Program, value: Value) -> bool {
    program.dtype(value) == DType::F32
}

/// Whether a node is one that this pass brings into half.
fn becomes_half(program: &Program, node: &Node) -> bool {
    computes(&node.op) == Computes::InHalf && node.args.iter().all(|&arg| is_full(program, arg))
}

/// Whether an operation gives the largest or smallest of some elements.
fn is_extreme(op: &Op) -> bool {
    matches!(op, Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. })
}

/// The f32 values that products take, themselves or moved.
fn wanted_in_half(program: &Program) -> Vec<bool> {
    let mut wanted = vec![false; program.value_count()];
    for node in program.nodes().iter().rev() {
        let moved = computes(&node.op) == Computes::AsGiven && wanted[node.results[0].index()];
        if becomes_half(program, node) {
            halves_of(node).for_each(|arg| wanted[arg.index()] = true);
        } else if moved {
            for &arg in node.args.iter().filter(|&&arg| is_full(program, arg)) {
                wanted[arg.index()] = true;
            }
        }
    }
    wanted
}

/// The values from which a product follows.
fn followed_by_products(program: &Program) -> Vec<bool> {
    let mut followed = vec![false; program.value_count()];
    for node in program.nodes().iter().rev() {
        let leads = becomes_half(program, node) || node.results.iter().any(|result| followed[result.index()]);
        if leads {
            node.args.iter().for_each(|arg| followed[arg.index()] = true);
        }
    }
    followed
}

impl Rewriting<'_> {
    fn node(&mut self, node: &Node) -> Result<()> {
        let old = self.old;
        let leaf = match &node.op {
            Op::Input(port) => {
                let ty = old.ty(node.results[0]).clone();
                Some(self.new.input(old.inputs[*port].name.clone(), ty))
            }
            Op::State(port) => {
                let ty = old.ty(node.results[0]).clone();
                Some(self.new.state(old.states[*port].name.clone(), ty))
            }
            Op::Hyper(port) => Some(self.new.hyper(old.hypers[*port].name.clone())),
            Op::Constant(literal) => Some(self.new.constant(literal.clone())),
            _ => None,
        };
        if let Some(leaf) = leaf {
            self.form(node.results[0]).exact = Some(leaf);
            return Ok(());
        }
        if becomes_half(old, node) {
            return self.product(node);
        }
        if computes(&node.op) == Computes::AsGiven {
            return self.moved(node);
        }
        self.in_full(node)
    }

    fn form(&mut self, old: Value) -> &mut Form {
        &mut self.forms[old.index()]
    }

    /// A product of halves. If another follows from it the result is a half, else it is the mixed product of the same
    /// halves.
    fn product(&mut self, node: &Node) -> Result<()> {
        let halves: Vec<Value> = halves_of(node).collect();
        let is_followed = node.results.iter().any(|result| self.followed[result.index()]);
        let is_mixed = node.op.is_contraction() && !is_followed;
        let mut args = Vec::with_capacity(node.args.len());
        for &arg in &node.args {
            args.push(match (halves.contains(&arg), is_mixed) {
                (false, _) => self.full(arg)?,
                (true, false) => self.halved(arg)?,
                (true, true) => self.widened(arg)?,
            });
        }
        let results = self.new.push(node.op.clone(), &args)?;
        for (&old, new) in node.results.iter().zip(results) {
            let is_half = self.new.dtype(new) == self.half;
            *self.form(old) = match is_half {
                true => Form { half: Some(new), kept: true, ..Form::default() },
                false => Form { exact: Some(new), ..Form::default() },
            };
        }
        Ok(())
    }

    /// An operation that moves elements: of halves where its arguments are kept in half.
    fn moved(&mut self, node: &Node) -> Result<()> {
        let full: Vec<Value> = node.args.iter().copied().filter(|&arg| is_full(self.old, arg)).collect();
        let result = node.results[0];
        let is_kept = !full.is_empty() && full.iter().all(|arg| self.forms[arg.index()].kept);
        let is_view = node.results.len() == 1 && !matches!(node.op, Op::MaxPoolGradient { .. });
        if is_kept {
            let args = self.args(node, Rewriting::halved)?;
            let results = self.new.push(node.op.clone(), &args)?;
            for (&old, new) in node.results.iter().zip(results) {
                let is_half = self.new.dtype(new) == self.half;
                *self.form(old) = match is_half {
                    true => Form { half: Some(new), kept: true, ..Form::default() },
                    false => Form { exact: Some(new), ..Form::default() },
                };
            }
        } else if is_view && !full.is_empty() && self.wanted[result.index()] {
            // Of a state, say: who wants it in half casts first, and the cast is shared with all who want the state
            // itself.
            let args = self.args(node, Rewriting::halved)?;
            let half = self.new.apply(node.op.clone(), &args)?;
            let args = self.args(node, Rewriting::full)?;
            let exact = self.new.apply(node.op.clone(), &args)?;
            *self.form(result) = Form { exact: Some(exact), half: Some(half), ..Form::default() };
        } else {
            self.in_full(node)?;
        }
        Ok(())
    }

    /// An operation in f32, or in whatever types it had. Its results are kept in half if products take them.
    fn in_full(&mut self, node: &Node) -> Result<()> {
        let args = self.args(node, Rewriting::full)?;
        let results = match &node.op {
            Op::Scan { body, carries, stacked, trips, reverse } => {
                let body = Body::new(to_half(body.program(), self.half, false)?);
                let [carries, stacked, trips, reverse] = [*carries, *stacked, *trips, *reverse];
                self.new.push(Op::Scan { body, carries, stacked, trips, reverse }, &args)?
            }
            _ => self.new.copy_node(node, &args)?,
        };
        for (&old, new) in node.results.iter().zip(results) {
            let wanted = self.wanted[old.index()] && is_full(self.old, old);
            let half = if wanted { Some(self.cast(new, self.half)?) } else { None };
            // A largest element is compared with those it was chosen from, by its gradient: rounded it would equal none
            // of them.
            let kept = wanted && !is_extreme(&node.op);
            *self.form(old) = Form { exact: Some(new), half, widened: None, kept };
        }
        Ok(())
    }

    /// The arguments of a node, those of f32 as `read` gives them.
    fn args(&mut self, node: &Node, read: fn(&mut Self, Value) -> Result<Value>) -> Result<Vec<Value>> {
        let read_any = |&arg: &Value| match is_full(self.old, arg) {
            true => read(self, arg),
            false => self.full(arg),
        };
        node.args.iter().map(read_any).collect()
    }

    /// As f32 computes with it.
    fn full(&mut self, old: Value) -> Result<Value> {
        match self.forms[old.index()] {
            Form { exact: Some(exact), kept: false, .. } => Ok(exact),
            _ => self.widened(old),
        }
    }

    fn halved(&mut self, old: Value) -> Result<Value> {
        let form = self.forms[old.index()];
        if let Some(half) = form.half {
            return Ok(half);
        }
        let half = self.cast(known(form.exact)?, self.half)?;
        self.form(old).half = Some(half);
        Ok(half)
    }

    fn widened(&mut self, old: Value) -> Result<Value> {
        if let Some(widened) = self.forms[old.index()].widened {
            return Ok(widened);
        }
        let half = self.halved(old)?;
        let widened = self.cast(half, DType::F32)?;
        self.form(old).widened = Some(widened);
        Ok(widened)
    }

    /// Without rounding, for what leaves the program.
    fn exact(&mut self, old: Value) -> Result<Value> {
        match self.forms[old.index()].exact {
            Some(exact) => Ok(exact),
            None => self.widened(old),
        }
    }

    fn cast(&mut self, value: Value, to: DType) -> Result<Value> {
        self.new.apply(Op::Cast { to }, &[value])
    }

    fn finish(mut self) -> Result<Program> {
        self.new.current_origin = Origin::unknown();
        for output in &self.old.outputs {
            let value = self.exact(output.value)?;
            self.new.output(output.name.clone(), value);
        }
        for (place, state) in self.old.states.iter().enumerate() {
            if let Some(write) = state.write {
                let value = self.exact(write)?;
                self.new.write(place, value)?;
            }
        }
        Ok(self.new)
    }
}

fn known(value: Option<Value>) -> Result<Value> {
    value.ok_or_else(|| Error::new("mixed-precision", "a value is used before it is made"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_operation_stands_in_the_table_once() {
        let rows: Vec<&str> = TABLE.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let known: BTreeSet<&str> = Op::NAMES.iter().copied().collect();
        assert_eq!(rows.iter().copied().collect::<BTreeSet<&str>>(), known);
        assert_eq!(rows.len(), known.len());
    }

    #[test]
    fn only_halves_are_asked_for() {
        let error = mixed_precision(&Program::new("p"), DType::F32).unwrap_err().to_string();
        assert!(error.contains("use f16 or bf16"), "{error}");
    }
}
