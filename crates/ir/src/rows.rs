//! Programs whose rows have nothing to do with each other, cut to some of the rows.
//!
//! The body of a recurrent network's loop treats each sequence of a batch alike: whatever it gives for one follows from
//! what it is given for that one, and from what is the same for all. Threads that take some sequences each need not
//! meet before the loop ends.

use crate::error::{Error, Result};
use crate::op::Op;
use crate::program::{Node, Program, Value};
use crate::types::Shape;

/// Which axis of each value of a program counts the rows.
#[derive(Clone, Debug)]
pub struct Rows {
    count: usize,
    /// By value; `None` for what is the same for all rows.
    axes: Vec<Option<usize>>,
}

impl Rows {
    /// The rows of a body, whose first `sliced` inputs have a part for each as their first axis, and so have its
    /// outputs. `None` if a row may depend on another.
    pub fn of(body: &Program, sliced: usize) -> Option<Rows> {
        let first = body.inputs.first().filter(|_| sliced > 0)?;
        let count = *body.shape(first.value).first()?;
        let mut rows = Rows { count, axes: vec![None; body.value_count()] };
        for port in &body.inputs[..sliced] {
            rows.set(body, port.value, 0)?;
        }
        // Each round settles at least one value.
        loop {
            let before = rows.axes.clone();
            for node in body.nodes() {
                rows.settle(body, node)?;
            }
            if rows.axes == before {
                break;
            }
        }
        let is_sound = body.nodes().iter().all(|node| rows.is_sound(body, node));
        let are_parts = body.outputs.iter().all(|output| rows.axis(output.value) == Some(0));
        (is_sound && are_parts).then_some(rows)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The axis of a value that counts the rows, if it is not the same for all of them.
    pub fn axis(&self, value: Value) -> Option<usize> {
        self.axes[value.index()]
    }

    /// The body for `count` of the rows.
    ///
    /// # Errors
    /// Never for the program that these are the rows of.
    pub fn part(&self, body: &Program, count: usize) -> Result<Program> {
        let mut new = Program::new(body.name.clone());
        let mut map: Vec<Value> = Vec::with_capacity(body.value_count());
        let of_part = |shape: &Shape, axis: Option<usize>| -> Shape {
            let extent = |(i, &extent): (usize, &usize)| if Some(i) == axis { count } else { extent };
            shape.iter().enumerate().map(extent).collect()
        };
        for node in body.nodes() {
            new.current_origin = node.origin.clone();
            let result = node.results[0];
            let axis = self.axis(result);
            let args: Vec<Value> = node.args.iter().map(|arg| map[arg.index()]).collect();
            let results = match &node.op {
                Op::Input(port) => {
                    let mut ty = body.ty(result).clone();
                    ty.shape = of_part(&ty.shape, axis);
                    vec![new.input(body.inputs[*port].name.clone(), ty)]
                }
                Op::State(_) | Op::Hyper(_) => return Err(Error::new("rows", "a body has no states")),
                Op::Reshape { shape } => new.push(Op::Reshape { shape: of_part(shape, axis) }, &args)?,
                Op::Broadcast { shape, axes } => {
                    let op = Op::Broadcast { shape: of_part(shape, axis), axes: axes.clone() };
                    new.push(op, &args)?
                }
                Op::Slice { start, stop, step } => {
                    let mut stop = stop.clone();
                    if let Some(axis) = axis {
                        stop[axis] = count;
                    }
                    new.push(Op::Slice { start: start.clone(), stop, step: step.clone() }, &args)?
                }
                _ => new.copy_node(node, &args)?,
            };
            map.extend(results);
        }
        new.current_origin = crate::program::Origin::unknown();
        for output in &body.outputs {
            new.output(output.name.clone(), map[output.value.index()]);
        }
        Ok(new)
    }

    /// Says that an axis of a value counts the rows; `None` if that cannot be.
    fn set(&mut self, p: &Program, value: Value, axis: usize) -> Option<()> {
        let known = &mut self.axes[value.index()];
        let fits = known.is_none_or(|known| known == axis) && p.shape(value).get(axis) == Some(&self.count);
        *known = Some(axis);
        fits.then_some(())
    }

    /// Follows the rows from the arguments of a node to its results, and back where one of several has them.
    fn settle(&mut self, p: &Program, node: &Node) -> Option<()> {
        let given = node.args.first().and_then(|&arg| self.axis(arg));
        match &node.op {
            Op::Unary { .. }
            | Op::Binary { .. }
            | Op::Compare { .. }
            | Op::Select {}
            | Op::Cast { .. }
            | Op::Concat { .. } => {
                let all = || node.args.iter().chain(&node.results);
                if let Some(axis) = all().find_map(|&value| self.axis(value)) {
                    for &value in all() {
                        self.set(p, value, axis)?;
                    }
                }
            }
            Op::Broadcast { axes, .. } => {
                let after = self.axis(node.results[0]);
                if let Some(axis) = given {
                    self.set(p, node.results[0], axes[axis])?;
                } else if let Some(axis) = after.and_then(|after| axes.iter().position(|&axis| axis == after))
                {
                    self.set(p, node.args[0], axis)?;
                }
            }
            Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } => {
                let lhs_rank = p.shape(node.args[0]).rank();
                let free = |rank: usize, batch: &[usize], contract: &[usize], axis: usize| {
                    (0..rank).filter(|i| !batch.contains(i) && !contract.contains(i)).position(|i| i == axis)
                };
                let (lhs, rhs) = (given, self.axis(node.args[1]));
                let axis = match (lhs, rhs) {
                    (None, None) => return Some(()),
                    (Some(l), None) => lhs_batch.len() + free(lhs_rank, lhs_batch, lhs_contract, l)?,
                    (None, Some(r)) => {
                        let before = lhs_rank - lhs_contract.len();
                        before + free(p.shape(node.args[1]).rank(), rhs_batch, rhs_contract, r)?
                    }
                    (Some(l), Some(r)) => {
                        let number = lhs_batch.iter().position(|&axis| axis == l)?;
                        (rhs_batch[number] == r).then_some(number)?
                    }
                };
                self.set(p, node.results[0], axis)?;
            }
            op => {
                let Some(axis) = given else {
                    return node.args.iter().all(|&arg| self.axis(arg).is_none()).then_some(());
                };
                let x = p.shape(node.args[0]);
                let axis = match op {
                    Op::Permute { order } => order.iter().position(|&from| from == axis)?,
                    Op::Reshape { shape } => {
                        let before: usize = x[..axis].iter().product();
                        (0..shape.rank()).find(|&to| {
                            shape[to] == self.count && shape[..to].iter().product::<usize>() == before
                        })?
                    }
                    Op::Slice { start, stop, step } => {
                        (start[axis] == 0 && stop[axis] == self.count && step[axis] == 1).then_some(axis)?
                    }
                    Op::Pad { low, high, interior, .. } => {
                        (low[axis] + high[axis] + interior[axis] == 0).then_some(axis)?
                    }
                    Op::Flip { axes } => (!axes.contains(&axis)).then_some(axis)?,
                    Op::Reduce { axes, .. } | Op::MeanVariance { axes } => {
                        let before = axes.iter().filter(|&&reduced| reduced < axis).count();
                        (!axes.contains(&axis)).then_some(axis - before)?
                    }
                    _ => return None,
                };
                for &result in &node.results {
                    self.set(p, result, axis)?;
                }
            }
        }
        Some(())
    }

    /// Whether a node whose values have been settled gives each row from that row alone.
    fn is_sound(&self, p: &Program, node: &Node) -> bool {
        let has_rows = |value: &Value| self.axis(*value).is_some();
        match &node.op {
            // What is asked for by row must be given so; the rows of an input are its first axis, which lie one after
            // another.
            Op::Input(_) => node.results.iter().all(|&value| self.axis(value).unwrap_or(0) == 0),
            // Repeated along the rows, or along other axes; if it is repeated, there is nothing to follow.
            Op::Broadcast { axes, .. } => match (self.axis(node.args[0]), self.axis(node.results[0])) {
                (Some(from), to) => to == Some(axes[from]),
                (None, to) => to.is_none_or(|to| !axes.contains(&to)),
            },
            Op::Concat { axis } => {
                node.args.iter().chain(&node.results).all(|value| !has_rows(value))
                    || node.args.iter().chain(&node.results).all(|&value| {
                        self.axis(value)
                            .is_some_and(|rows| rows != *axis && p.shape(value)[rows] == self.count)
                    })
            }
            // Nothing else may turn what is the same for all rows into something that has them.
            _ => node.args.iter().any(has_rows) || !node.results.iter().any(has_rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::{Numbers, Rounding, run};
    use crate::text;
    use crate::types::ValueType;

    /// A body of a carried and a stacked value, `[5, 4]` each, and what is the same in all trips.
    fn body(statements: &str, output: &str) -> Program {
        let head = "%0: f32[5, 4] = input \"c\"\n%1: f32[5, 4] = input \"x\"\n%2: f32[4, 4] = input \"w\"\n%3: f32[4] = input \"b\"";
        let program = format!("program body {{\n{head}\n{statements}\noutput \"y\" = {output}\n}}\n");
        text::parse(&program).unwrap()
    }

    const DOT: &str = "dot %0, %2 {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}";

    #[test]
    fn a_part_gives_the_same_rows() {
        let statements = format!(
            "%4: f32[5, 4] = {DOT}
             %5: f32[5, 4] = broadcast %3 {{shape=[5, 4], axes=[1]}}
             %6: f32[5, 4] = add %4, %5
             %7: f32[5, 2] = slice %6 {{start=[0, 0], stop=[5, 2], step=[1, 1]}}
             %8: f32[5, 4] = pad %7 {{low=[0, 1], high=[0, 1], interior=[0, 0], value=0.5}}
             %9: f32[4, 5] = permute %8 {{order=[1, 0]}}
             %10: f32[4, 5] = tanh %9
             %11: f32[5] = reduce_sum %10 {{axes=[0]}}
             %12: f32[5, 1] = reshape %11 {{shape=[5, 1]}}
             %13: f32[5, 2, 2] = reshape %1 {{shape=[5, 2, 2]}}
             %14: f32[5, 4] = reshape %13 {{shape=[5, 4]}}
             %15: f32[5] = reshape %12 {{shape=[5]}}
             %16: f32[5, 4] = broadcast %15 {{shape=[5, 4], axes=[0]}}
             %17: f32[5, 4] = mul %16, %14
             %18: f32[5, 8] = concat %17, %0 {{axis=1}}
             %19: f32[5, 8] = flip %18 {{axes=[1]}}"
        );
        let program = body(&statements, "%19");
        let rows = Rows::of(&program, 2).unwrap();
        assert_eq!(rows.count(), 5);
        let numbers = |ty: &ValueType, from: usize| {
            let all = 0..ty.shape.elements();
            let elements = all.map(|i| ((from * 4 + i) as f64 * 1.7 + ty.shape[0] as f64).sin()).collect();
            Numbers::new(ty.clone(), elements).unwrap()
        };
        let outputs = |program: &Program, from: usize| {
            let inputs: Vec<Numbers> = program
                .inputs
                .iter()
                .enumerate()
                .map(|(port, input)| {
                    let mut ty = program.ty(input.value).clone();
                    if port >= 2 {
                        return numbers(&ty, 0);
                    }
                    // The seed of the numbers stays that of the whole.
                    let wanted = ty.shape.elements();
                    ty.shape = [5, 4].into();
                    let whole = numbers(&ty, port);
                    let part = whole.elements()[from * 4..from * 4 + wanted].to_vec();
                    Numbers::new(program.ty(input.value).clone(), part).unwrap()
                })
                .collect();
            let outcome = run(program, &inputs, &[], &[], Rounding::Double).unwrap();
            outcome.outputs[0].elements().to_vec()
        };
        let whole = outputs(&program, 0);
        for (from, count) in [(0, 2), (2, 3), (4, 1)] {
            let part = rows.part(&program, count).unwrap();
            crate::verify::verify(&part).unwrap();
            assert_eq!(outputs(&part, from), whole[from * 8..(from + count) * 8]);
        }
    }

    #[test]
    fn rows_that_depend_on_others_are_not_cut() {
        let square =
            "%4: f32[5, 5] = dot %0, %1 {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[1]}";
        let constant = "%4: i32[5, 4] = iota {shape=[5, 4], axis=0}\n%5: f32[5, 4] = cast %4 {to=f32}\n%6: f32[5, 4] = add %0, %5";
        for (statements, output) in [
            (
                "%4: f32[4] = reduce_sum %0 {axes=[0]}\n%5: f32[5, 4] = broadcast %4 {shape=[5, 4], axes=[1]}",
                "%5",
            ),
            ("%4: f32[5, 4] = flip %0 {axes=[0]}", "%4"),
            ("%4: f32[10, 4] = concat %0, %1 {axis=0}", "%4"),
            ("%4: f32[4, 5] = permute %0 {order=[1, 0]}", "%4"),
            ("%4: f32[4, 5] = reshape %0 {shape=[4, 5]}", "%4"),
            ("%4: f32[4, 4] = slice %0 {start=[1, 0], stop=[5, 4], step=[1, 1]}", "%4"),
            ("%4: f32[5, 4] = cumulative_sum %0 {axis=0, reverse=0}", "%4"),
            ("%4: f32[5, 4] = broadcast %3 {shape=[5, 4], axes=[1]}", "%4"),
            (square, "%4"),
            (constant, "%6"),
            ("", "%2"),
        ] {
            let program = body(statements, output);
            assert!(Rows::of(&program, 2).is_none(), "{statements}");
        }
    }
}
