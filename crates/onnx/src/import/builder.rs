//! Operations on values as ONNX has them: operands broadcast, and what is known is computed at once.

use crate::{Result, failed};
use dropforge_ir::interpret::{Numbers, Rounding, apply};
use dropforge_ir::{
    Array, BinaryKind, CompareKind, DType, Literal, Op, Program, Real, ReduceKind, Shape, UnaryKind, Value,
};
use std::collections::HashMap;
use std::rc::Rc;

/// Elements of a value that is kept while importing because it is known.
const MOST_KNOWN: usize = 1 << 16;

/// A program in the making, and what is known of its values.
pub(super) struct Builder {
    pub program: Program,
    known: HashMap<Value, Rc<Numbers>>,
}

impl Builder {
    pub fn new() -> Builder {
        Builder { program: Program::new("predict"), known: HashMap::new() }
    }

    pub fn shape(&self, x: Value) -> Vec<usize> {
        self.program.shape(x).to_vec()
    }

    pub fn rank(&self, x: Value) -> usize {
        self.program.shape(x).rank()
    }

    pub fn dtype(&self, x: Value) -> DType {
        self.program.dtype(x)
    }

    /// Appends an operation.
    pub fn all(&mut self, op: Op, args: &[Value]) -> Result<Vec<Value>> {
        let small = |numbers: &Rc<Numbers>| numbers.elements().len() <= MOST_KNOWN;
        let known: Option<Vec<Rc<Numbers>>> =
            args.iter().map(|arg| self.known.get(arg).filter(|numbers| small(numbers)).cloned()).collect();
        let results = self.program.push(op.clone(), args)?;
        let cheap =
            !op.is_contraction() || known.iter().flatten().all(|numbers| numbers.elements().len() <= 4096);
        let sizes = results.iter().map(|&result| self.program.shape(result).elements());
        if let Some(known) = known.filter(|_| cheap && sizes.max().unwrap_or(0) <= MOST_KNOWN) {
            let args: Vec<&Numbers> = known.iter().map(|numbers| &**numbers).collect();
            let numbers = apply(&op, &args, Rounding::Single)?;
            for (&result, numbers) in results.iter().zip(numbers) {
                self.known.insert(result, Rc::new(numbers));
            }
        }
        Ok(results)
    }

    pub fn op(&mut self, op: Op, args: &[Value]) -> Result<Value> {
        Ok(self.all(op, args)?[0])
    }

    /// The elements of a value, if they are known.
    pub fn known(&self, x: Value) -> Option<Rc<Numbers>> {
        self.known.get(&x).cloned()
    }

    /// The elements of a value that has to be known, as integers.
    pub fn integers(&self, x: Value, what: &str) -> Result<Vec<i64>> {
        let numbers = self.numbers(x, what)?;
        Ok(numbers.elements().iter().map(|&number| number as i64).collect())
    }

    /// The elements of a value that has to be known.
    pub fn numbers(&self, x: Value, what: &str) -> Result<Rc<Numbers>> {
        self.known(x).ok_or_else(|| {
            failed(format!("{what} must be a constant or follow from shapes; here it depends on the inputs"))
        })
    }

    pub fn state(&mut self, name: &str, array: &Array) -> Value {
        let mut unique = name.to_string();
        while unique.is_empty() || self.program.states.iter().any(|state| state.name == unique) {
            unique.push('_');
        }
        let value = self.program.state(unique, array.ty());
        if array.data().len() <= MOST_KNOWN {
            self.known.insert(value, Rc::new(Numbers::from(array)));
        }
        value
    }

    pub fn constant(&mut self, literal: Literal) -> Value {
        let numbers = (literal.ty.shape.elements() <= MOST_KNOWN).then(|| Numbers::from(&literal));
        let value = self.program.constant(literal);
        if let Some(numbers) = numbers {
            self.known.insert(value, Rc::new(numbers));
        }
        value
    }

    pub fn constant_array(&mut self, array: &Array) -> Result<Value> {
        let literal = Literal::from_bytes(array.ty(), array.data().bytes());
        Ok(self.constant(literal.ok_or_else(|| failed("a constant is damaged"))?))
    }

    /// A list of integers.
    pub fn list(&mut self, numbers: &[i64]) -> Result<Value> {
        let clamped = numbers.iter().map(|&n| n.clamp(i32::MIN.into(), i32::MAX.into()) as i32);
        let array = Array::new([numbers.len()], dropforge_ir::Data::I32(clamped.collect()));
        self.constant_array(&array.ok_or_else(|| failed("a list is damaged"))?)
    }

    pub fn scalar(&mut self, dtype: DType, number: f64) -> Value {
        self.constant(Literal::scalar(dtype, number))
    }

    pub fn full(&mut self, dtype: DType, shape: &[usize], number: f64) -> Result<Value> {
        let scalar = self.scalar(dtype, number);
        self.broadcast(scalar, shape)
    }

    pub fn iota(&mut self, shape: &[usize], axis: usize) -> Result<Value> {
        self.op(Op::Iota { shape: shape.into(), axis }, &[])
    }

    pub fn cast(&mut self, x: Value, to: DType) -> Result<Value> {
        if self.dtype(x) == to { Ok(x) } else { self.op(Op::Cast { to }, &[x]) }
    }

    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Result<Value> {
        if self.shape(x) == shape { Ok(x) } else { self.op(Op::Reshape { shape: shape.into() }, &[x]) }
    }

    pub fn permute(&mut self, x: Value, order: &[usize]) -> Result<Value> {
        let same = order.iter().copied().eq(0..order.len());
        if same { Ok(x) } else { self.op(Op::Permute { order: order.into() }, &[x]) }
    }

    /// Two axes in each other's place.
    pub fn swap(&mut self, x: Value, a: usize, b: usize) -> Result<Value> {
        let mut order: Vec<usize> = (0..self.rank(x)).collect();
        order.swap(a, b);
        self.permute(x, &order)
    }

    /// Repeats a value along axes of extent 1 and new axes in front.
    pub fn broadcast(&mut self, x: Value, shape: &[usize]) -> Result<Value> {
        let from = self.shape(x);
        if from == shape {
            return Ok(x);
        }
        let Some(skip) = shape.len().checked_sub(from.len()) else {
            return Err(failed(format!(
                "{} does not broadcast to {}",
                Shape::from(from),
                Shape::from(shape)
            )));
        };
        let fits = from.iter().zip(&shape[skip..]).all(|(&a, &b)| a == b || a == 1);
        if !fits {
            return Err(failed(format!(
                "{} does not broadcast to {}",
                Shape::from(from),
                Shape::from(shape)
            )));
        }
        let kept: Vec<usize> = (0..from.len()).filter(|&axis| from[axis] == shape[axis + skip]).collect();
        let extents: Vec<usize> = kept.iter().map(|&axis| from[axis]).collect();
        let x = self.reshape(x, &extents)?;
        let axes: Vec<usize> = kept.into_iter().map(|axis| axis + skip).collect();
        if axes.len() == shape.len() {
            return Ok(x);
        }
        self.op(Op::Broadcast { shape: shape.into(), axes }, &[x])
    }

    /// The shape that these broadcast to together.
    pub fn common(&self, values: &[Value]) -> Result<Vec<usize>> {
        let mut shape: Vec<usize> = Vec::new();
        for &value in values {
            let other = self.shape(value);
            while shape.len() < other.len() {
                shape.insert(0, 1);
            }
            let skip = shape.len() - other.len();
            for (axis, &extent) in other.iter().enumerate() {
                let here = &mut shape[axis + skip];
                if *here == 1 {
                    *here = extent;
                } else if extent != 1 && extent != *here {
                    let shapes: Vec<String> =
                        values.iter().map(|&value| self.program.shape(value).to_string()).collect();
                    return Err(failed(format!("{} do not broadcast together", shapes.join(", "))));
                }
            }
        }
        Ok(shape)
    }

    /// Values brought to their common shape.
    pub fn together(&mut self, values: &[Value]) -> Result<Vec<Value>> {
        let shape = self.common(values)?;
        values.iter().map(|&value| self.broadcast(value, &shape)).collect()
    }

    pub fn unary(&mut self, kind: UnaryKind, x: Value) -> Result<Value> {
        self.op(Op::Unary { kind }, &[x])
    }

    pub fn binary(&mut self, kind: BinaryKind, a: Value, b: Value) -> Result<Value> {
        let both = self.together(&[a, b])?;
        self.op(Op::Binary { kind }, &both)
    }

    pub fn add(&mut self, a: Value, b: Value) -> Result<Value> {
        self.binary(BinaryKind::Add, a, b)
    }

    pub fn subtract(&mut self, a: Value, b: Value) -> Result<Value> {
        self.binary(BinaryKind::Subtract, a, b)
    }

    pub fn multiply(&mut self, a: Value, b: Value) -> Result<Value> {
        self.binary(BinaryKind::Multiply, a, b)
    }

    pub fn divide(&mut self, a: Value, b: Value) -> Result<Value> {
        self.binary(BinaryKind::Divide, a, b)
    }

    /// An operation with a number on the right.
    pub fn with(&mut self, kind: BinaryKind, x: Value, number: f64) -> Result<Value> {
        let number = self.scalar(self.dtype(x), number);
        self.binary(kind, x, number)
    }

    pub fn plus(&mut self, x: Value, number: f64) -> Result<Value> {
        self.with(BinaryKind::Add, x, number)
    }

    pub fn times(&mut self, x: Value, number: f64) -> Result<Value> {
        self.with(BinaryKind::Multiply, x, number)
    }

    pub fn compare(&mut self, kind: CompareKind, a: Value, b: Value) -> Result<Value> {
        let both = self.together(&[a, b])?;
        self.op(Op::Compare { kind }, &both)
    }

    pub fn compare_with(&mut self, kind: CompareKind, x: Value, number: f64) -> Result<Value> {
        let number = self.scalar(self.dtype(x), number);
        self.compare(kind, x, number)
    }

    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Result<Value> {
        let all = self.together(&[condition, a, b])?;
        self.op(Op::Select {}, &all)
    }

    /// x between two numbers.
    pub fn clamp(&mut self, x: Value, low: f64, high: f64) -> Result<Value> {
        let x = self.with(BinaryKind::Maximum, x, low)?;
        self.with(BinaryKind::Minimum, x, high)
    }

    pub fn reduce(&mut self, kind: ReduceKind, x: Value, axes: &[usize], keep: bool) -> Result<Value> {
        let reduced = self.op(Op::Reduce { kind, axes: axes.into() }, &[x])?;
        self.kept(reduced, x, axes, keep)
    }

    /// Reduced axes back with the extent 1, if they are kept.
    pub fn kept(&mut self, reduced: Value, x: Value, axes: &[usize], keep: bool) -> Result<Value> {
        if !keep {
            return Ok(reduced);
        }
        let mut shape = self.shape(x);
        axes.iter().for_each(|&axis| shape[axis] = 1);
        self.reshape(reduced, &shape)
    }

    pub fn mean(&mut self, x: Value, axes: &[usize], keep: bool) -> Result<Value> {
        let shape = self.shape(x);
        let count: usize = axes.iter().map(|&axis| shape[axis]).product();
        let sum = self.reduce(ReduceKind::Sum, x, axes, keep)?;
        let count = self.scalar(self.dtype(x), count as f64);
        self.divide(sum, count)
    }

    /// Positions `start..stop` of one axis.
    pub fn cut(&mut self, x: Value, axis: usize, start: usize, stop: usize) -> Result<Value> {
        let shape = self.shape(x);
        if axis >= shape.len() {
            return Err(failed(format!("there is no axis {axis} in {}", self.program.shape(x))));
        }
        let (mut starts, mut stops) = (vec![0; shape.len()], shape.clone());
        (starts[axis], stops[axis]) = (start, stop);
        self.op(Op::Slice { start: starts, stop: stops, step: vec![1; shape.len()] }, &[x])
    }

    pub fn pad(&mut self, x: Value, low: &[usize], high: &[usize], value: f64) -> Result<Value> {
        if low.iter().chain(high).all(|&count| count == 0) {
            return Ok(x);
        }
        let interior = vec![0; low.len()];
        self.op(Op::Pad { low: low.into(), high: high.into(), interior, value: Real(value) }, &[x])
    }

    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Result<Value> {
        if let [one] = parts { Ok(*one) } else { self.op(Op::Concat { axis }, parts) }
    }

    pub fn gather(&mut self, x: Value, indices: Value, axis: usize) -> Result<Value> {
        self.op(Op::Gather { axis }, &[x, indices])
    }

    /// Softmax along an axis.
    pub fn softmax(&mut self, x: Value, axis: usize) -> Result<Value> {
        let below = self.below_largest(x, axis)?;
        let powers = self.unary(UnaryKind::Exp, below)?;
        let total = self.reduce(ReduceKind::Sum, powers, &[axis], true)?;
        self.divide(powers, total)
    }

    pub fn log_softmax(&mut self, x: Value, axis: usize) -> Result<Value> {
        let below = self.below_largest(x, axis)?;
        let powers = self.unary(UnaryKind::Exp, below)?;
        let total = self.reduce(ReduceKind::Sum, powers, &[axis], true)?;
        let log = self.unary(UnaryKind::Log, total)?;
        self.subtract(below, log)
    }

    fn below_largest(&mut self, x: Value, axis: usize) -> Result<Value> {
        let largest = self.reduce(ReduceKind::Max, x, &[axis], true)?;
        self.subtract(x, largest)
    }

    /// A product of matrices in the last two axes; those before broadcast. One axis alone is a row or a column.
    pub fn matmul(&mut self, a: Value, b: Value) -> Result<Value> {
        let (rank_a, rank_b) = (self.rank(a), self.rank(b));
        if rank_a == 0 || rank_b == 0 {
            return Err(failed("a product of matrices takes no scalars"));
        }
        let dot = |lhs_batch: Vec<usize>, rhs_batch: Vec<usize>, left: usize, right: usize| Op::Dot {
            lhs_batch,
            rhs_batch,
            lhs_contract: vec![left],
            rhs_contract: vec![right],
        };
        if rank_b <= 2 {
            return self.op(dot(vec![], vec![], rank_a - 1, rank_b.saturating_sub(2)), &[a, b]);
        }
        let a = if rank_a == 1 {
            let n = self.shape(a)[0];
            self.reshape(a, &[1, n])?
        } else {
            a
        };
        let (mut left, mut right) = (self.shape(a), self.shape(b));
        let (rows, inner) = (left.split_off(left.len() - 2), right.split_off(right.len() - 2));
        let mut batch = Vec::new();
        for index in 0..left.len().max(right.len()) {
            let extent = |of: &[usize]| {
                (of.len() + index).checked_sub(left.len().max(right.len())).map_or(1, |axis| of[axis])
            };
            let (x, y) = (extent(&left), extent(&right));
            if x != y && x != 1 && y != 1 {
                return Err(failed("the batches of a product of matrices do not broadcast together"));
            }
            batch.push(if x == 1 { y } else { x });
        }
        let whole = |tail: &[usize]| [&batch[..], tail].concat();
        let a = self.broadcast(a, &whole(&rows))?;
        let b = self.broadcast(b, &whole(&inner))?;
        let axes: Vec<usize> = (0..batch.len()).collect();
        let y = self.op(dot(axes.clone(), axes, batch.len() + 1, batch.len()), &[a, b])?;
        if rank_a > 1 {
            return Ok(y);
        }
        batch.push(inner[1]);
        self.reshape(y, &batch)
    }
}

/// An axis that may count from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let positive = if axis < 0 { axis + rank as i64 } else { axis };
    let axis_in = usize::try_from(positive).ok().filter(|&axis| axis < rank);
    axis_in.ok_or_else(|| failed(format!("there is no axis {axis} among {rank}")))
}

/// Axes that may count from the end, in order.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut all: Vec<usize> = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<_>>()?;
    all.sort_unstable();
    match all.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(failed(format!("the axes {axes:?} repeat"))),
        false => Ok(all),
    }
}
