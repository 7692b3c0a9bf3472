//! Gradients as a transform of programs: reverse accumulation with one rule per operation.
//!
//! [`append_gradients`] walks the nodes between the loss and the values of interest once, backwards, and appends the
//! nodes that compute the gradients. The rules use the operations of the program themselves, so gradients can be
//! differentiated again wherever the operations they use have rules. A gradient has the type of its value.

mod scan;

use crate::error::{Error, Result};
use crate::op::{BinaryKind, CompareKind, Op, ReduceKind, UnaryKind};
use crate::program::{Node, Program, Value};
use crate::types::{DType, Literal, Real, Shape};

/// Appends the gradients of `loss` with respect to each of `wrt`, and returns them in that order.
///
/// # Errors
/// If the loss is no float scalar, an operation on the way has no gradient rule, or the loss does not depend on one of
/// the values through differentiable operations: a missing gradient is never silently zero.
pub fn append_gradients(program: &mut Program, loss: Value, wrt: &[Value]) -> Result<Vec<Value>> {
    let unfit = |message: String| Error::new("gradient", message);
    if !program.dtype(loss).is_float() || program.shape(loss).rank() != 0 {
        let message = format!("the loss must be one float, got {}; take its mean or sum", program.ty(loss));
        return Err(unfit(message).at(&program.definition(loss).origin));
    }
    let active = active_values(program, wrt);
    let mut gradients: Vec<Option<Value>> = vec![None; program.value_count()];
    gradients[loss.index()] = Some(program.constant(Literal::scalar(program.dtype(loss), 1.0)));
    let last = program.definition_id(loss).index() + 1;
    accumulate(program, &mut gradients, &active, last)?;
    wrt.iter()
        .map(|value| {
            gradients[value.index()].ok_or_else(|| {
                let name = describe(program, *value);
                unfit(format!("the loss does not depend on {name} through differentiable operations"))
                    .at(&program.definition(*value).origin)
            })
        })
        .collect()
}

/// Goes backwards through the first `count` nodes and adds up the gradients of their active arguments, from those that
/// are there.
fn accumulate(
    program: &mut Program,
    gradients: &mut [Option<Value>],
    active: &[bool],
    count: usize,
) -> Result<()> {
    let origin = program.current_origin.clone();
    for index in (0..count).rev() {
        let node = &program.nodes()[index];
        let reached = node.results.iter().any(|value| gradients[value.index()].is_some());
        if !reached || !node.args.iter().any(|arg| active[arg.index()]) {
            continue;
        }
        let node = node.clone();
        program.current_origin = node.origin.clone();
        let results: Vec<Option<Value>> = node.results.iter().map(|value| gradients[value.index()]).collect();
        let wanted: Vec<bool> =
            node.args.iter().map(|arg| active[arg.index()] && program.dtype(*arg).is_float()).collect();
        let contributions = Rule { program, node: &node, wanted: &wanted }
            .apply(&results)
            .map_err(|error| error.at(&node.origin))?;
        for (arg, contribution) in node.args.iter().zip(contributions) {
            let Some(contribution) = contribution.filter(|_| active[arg.index()]) else { continue };
            gradients[arg.index()] = Some(match gradients[arg.index()] {
                None => contribution,
                Some(sum) => program.binary(BinaryKind::Add, sum, contribution)?,
            });
        }
    }
    program.current_origin = origin;
    Ok(())
}

/// How errors call a value: by its port if it has one.
fn describe(program: &Program, value: Value) -> String {
    match &program.definition(value).op {
        Op::State(port) => program.states[*port].name.clone(),
        Op::Input(port) => format!("input {}", program.inputs[*port].name),
        op => format!("{value} ({} of shape {})", op.name(), program.shape(value)),
    }
}

/// Which values depend on any of `wrt`.
fn active_values(program: &Program, wrt: &[Value]) -> Vec<bool> {
    let mut active = vec![false; program.value_count()];
    for value in wrt {
        active[value.index()] = true;
    }
    for node in program.nodes() {
        if node.args.iter().any(|arg| active[arg.index()]) {
            for result in &node.results {
                active[result.index()] = true;
            }
        }
    }
    active
}

/// The state of one application of a rule.
struct Rule<'a> {
    program: &'a mut Program,
    node: &'a Node,
    wanted: &'a [bool],
}

type Contributions = Result<Vec<Option<Value>>>;

impl Rule<'_> {
    /// The contributions to each argument's gradient, from the gradients of the results.
    fn apply(&mut self, gradients: &[Option<Value>]) -> Contributions {
        let node = self.node;
        let args = &node.args;
        if let Op::MeanVariance { axes } = &node.op {
            return self.mean_variance(axes, gradients);
        }
        if let Op::Scan { .. } = &node.op {
            return scan::scan(self.program, node, self.wanted, gradients);
        }
        let Some(g) = gradients[0] else {
            return Err(self.missing());
        };
        match &node.op {
            Op::Input(_) | Op::State(_) | Op::Hyper(_) | Op::Constant(_) => Ok(Vec::new()),
            Op::Iota { .. }
            | Op::Compare { .. }
            | Op::ArgMax { .. }
            | Op::ArgSort { .. }
            | Op::RandomBits { .. } => Ok(vec![None; args.len()]),
            Op::CumulativeSum { axis, reverse } => {
                self.one(Op::CumulativeSum { axis: *axis, reverse: 1 - reverse.min(&1) }, &[g])
            }
            Op::Unary { kind } => Ok(vec![self.unary(*kind, g)?]),
            Op::Binary { kind } => self.binary(*kind, g),
            Op::Select {} => {
                let zero = self.program.splat_like(0.0, g)?;
                let a = self.program.apply(Op::Select {}, &[args[0], g, zero])?;
                let b = self.program.apply(Op::Select {}, &[args[0], zero, g])?;
                Ok(vec![None, Some(a), Some(b)])
            }
            Op::Cast { .. } => {
                let from = self.program.dtype(args[0]);
                if !from.is_float() || !self.program.dtype(g).is_float() {
                    return Ok(vec![None]);
                }
                self.one(Op::Cast { to: from }, &[g])
            }
            Op::Reshape { .. } => self.one(Op::Reshape { shape: self.shape(0) }, &[g]),
            Op::Permute { order } => {
                let mut inverse = vec![0; order.len()];
                for (to, &from) in order.iter().enumerate() {
                    inverse[from] = to;
                }
                self.one(Op::Permute { order: inverse }, &[g])
            }
            Op::Broadcast { shape, axes } => {
                let repeated = (0..shape.rank()).filter(|axis| !axes.contains(axis)).collect();
                self.one(Op::Reduce { kind: ReduceKind::Sum, axes: repeated }, &[g])
            }
            Op::Slice { start, step, .. } => self.slice(g, start, step),
            Op::Pad { low, interior, .. } => {
                let x = self.shape(0);
                let step: Vec<usize> = interior.iter().map(|between| between + 1).collect();
                let stop =
                    (0..x.rank())
                        .map(|axis| {
                            if x[axis] == 0 { low[axis] } else { low[axis] + (x[axis] - 1) * step[axis] + 1 }
                        })
                        .collect();
                self.one(Op::Slice { start: low.clone(), stop, step }, &[g])
            }
            Op::Flip { axes } => self.one(Op::Flip { axes: axes.clone() }, &[g]),
            Op::Concat { axis } => {
                let mut parts = Vec::new();
                let mut from = 0;
                for index in 0..args.len() {
                    let x = self.shape(index);
                    let mut start = vec![0; x.rank()];
                    start[*axis] = from;
                    from += x[*axis];
                    let mut stop = x.to_vec();
                    stop[*axis] = from;
                    let op = Op::Slice { start, stop, step: vec![1; x.rank()] };
                    parts.push(Some(self.program.apply(op, &[g])?));
                }
                Ok(parts)
            }
            Op::Reduce { kind, axes } => self.reduce(*kind, axes, g),
            Op::LogSumExp { axes } => self.logsumexp(axes, g),
            Op::MeanVariance { .. } | Op::Scan { .. } => unreachable!("handled above"),
            Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } => {
                let lhs = Side { batch: lhs_batch, contract: lhs_contract, value: args[0] };
                let rhs = Side { batch: rhs_batch, contract: rhs_contract, value: args[1] };
                let lhs_rank = self.shape(0).rank() - lhs_batch.len() - lhs_contract.len();
                let rhs_rank = self.shape(1).rank() - rhs_batch.len() - rhs_contract.len();
                let batch = lhs_batch.len();
                let lhs_free: Vec<usize> = (batch..batch + lhs_rank).collect();
                let rhs_free: Vec<usize> = (batch + lhs_rank..batch + lhs_rank + rhs_rank).collect();
                let a = if self.wanted[0] { Some(self.dot_side(g, &rhs_free, &lhs, &rhs)?) } else { None };
                let b = if self.wanted[1] { Some(self.dot_side(g, &lhs_free, &rhs, &lhs)?) } else { None };
                Ok(vec![a, b])
            }
            Op::Convolution { window } => {
                let (x, filter) = (self.shape(0), self.shape(1));
                let input = Op::ConvolutionInputGradient { window: window.clone(), input: [x[2], x[3]] };
                let kernel =
                    Op::ConvolutionFilterGradient { window: window.clone(), kernel: [filter[2], filter[3]] };
                self.pair((input, [g, args[1]]), (kernel, [args[0], g]))
            }
            Op::ConvolutionInputGradient { window, .. } => {
                let filter = self.shape(1);
                let output = Op::Convolution { window: window.clone() };
                let kernel =
                    Op::ConvolutionFilterGradient { window: window.clone(), kernel: [filter[2], filter[3]] };
                self.pair((output, [g, args[1]]), (kernel, [g, args[0]]))
            }
            Op::ConvolutionFilterGradient { window, .. } => {
                let x = self.shape(0);
                let input = Op::ConvolutionInputGradient { window: window.clone(), input: [x[2], x[3]] };
                let output = Op::Convolution { window: window.clone() };
                self.pair((input, [args[1], g]), (output, [args[0], g]))
            }
            Op::MaxPool { .. } => {
                let x = self.shape(0);
                self.one(Op::MaxPoolGradient { input: [x[2], x[3]] }, &[g, node.results[1]])
            }
            Op::MaxPoolGradient { .. } => self.max_pool_gradient(g),
            Op::WindowSum { window } => {
                let x = self.shape(0);
                self.one(Op::WindowSumTranspose { window: window.clone(), input: [x[2], x[3]] }, &[g])
            }
            Op::WindowSumTranspose { window, .. } => self.one(Op::WindowSum { window: window.clone() }, &[g]),
            Op::Gather { axis } => {
                let size = self.shape(0)[*axis];
                let sum = self.program.apply(Op::ScatterAdd { axis: *axis, size }, &[g, args[1]])?;
                Ok(vec![Some(sum), None])
            }
            Op::ScatterAdd { axis, .. } => {
                let picked = self.program.apply(Op::Gather { axis: *axis }, &[g, args[1]])?;
                Ok(vec![Some(picked), None])
            }
            Op::Attention { causal, scale } => {
                if gradients[1].is_some() {
                    return Err(self.missing());
                }
                let op = Op::AttentionGradient { causal: *causal, scale: *scale };
                let inputs = [args[0], args[1], args[2], node.results[0], node.results[1], g];
                Ok(self.program.push(op, &inputs)?.into_iter().map(Some).collect())
            }
            Op::AttentionGradient { .. } => Err(self.missing()),
        }
    }

    fn missing(&self) -> Error {
        let message =
            "has no gradient rule for this use; detach the value or compose it from other operations";
        Error::new(self.node.op.name(), message)
    }

    fn shape(&self, arg: usize) -> Shape {
        self.program.shape(self.node.args[arg]).clone()
    }

    fn one(&mut self, op: Op, args: &[Value]) -> Contributions {
        Ok(vec![Some(self.program.apply(op, args)?)])
    }

    /// Two contributions, each computed only if wanted.
    fn pair(&mut self, a: (Op, [Value; 2]), b: (Op, [Value; 2])) -> Contributions {
        let mut results = Vec::new();
        for ((op, args), wanted) in [a, b].into_iter().zip([self.wanted[0], self.wanted[1]]) {
            results.push(if wanted { Some(self.program.apply(op, &args)?) } else { None });
        }
        Ok(results)
    }

    fn unary(&mut self, kind: UnaryKind, g: Value) -> Result<Option<Value>> {
        let (x, y) = (self.node.args[0], self.node.results[0]);
        let dtype = self.program.dtype(x);
        match kind {
            UnaryKind::Negate => Ok(Some(self.program.unary(UnaryKind::Negate, g)?)),
            // Steps are flat: nothing flows.
            UnaryKind::Sign | UnaryKind::Floor | UnaryKind::Ceil | UnaryKind::Round | UnaryKind::Not => {
                Ok(None)
            }
            UnaryKind::Relu => {
                let p = &mut *self.program;
                let zero = p.splat_like(0.0, y)?;
                let off = p.compare(CompareKind::LessEqual, y, zero)?;
                Ok(Some(p.apply(Op::Select {}, &[off, zero, g])?))
            }
            _ => {
                let [x, y, g] = self.widened([x, y, g])?;
                let gradient = self.smooth(kind, x, y, g)?;
                Ok(Some(self.narrowed(gradient, dtype)?))
            }
        }
    }

    /// The gradient of a unary function that is not piecewise linear, from x, the result y and the gradient g of y.
    fn smooth(&mut self, kind: UnaryKind, x: Value, y: Value, g: Value) -> Result<Value> {
        use BinaryKind::{Add, Divide, Multiply, Subtract};
        let p = &mut *self.program;
        let slope = match kind {
            UnaryKind::Negate
            | UnaryKind::Sign
            | UnaryKind::Floor
            | UnaryKind::Ceil
            | UnaryKind::Round
            | UnaryKind::Not
            | UnaryKind::Relu => unreachable!("piecewise linear"),
            UnaryKind::Log => return p.binary(Divide, g, x),
            UnaryKind::LogOnePlus => {
                let one = p.splat_like(1.0, x)?;
                let denominator = p.binary(Add, one, x)?;
                return p.binary(Divide, g, denominator);
            }
            UnaryKind::Absolute => {
                // 0 at 0 and at NaN, whose sign is NaN.
                let zero = p.splat_like(0.0, x)?;
                let (one, minus_one) = (p.splat_like(1.0, x)?, p.splat_like(-1.0, x)?);
                let above = p.compare(CompareKind::Greater, x, zero)?;
                let below = p.compare(CompareKind::Less, x, zero)?;
                let negative = p.apply(Op::Select {}, &[below, minus_one, zero])?;
                p.apply(Op::Select {}, &[above, one, negative])?
            }
            UnaryKind::Exp => y,
            UnaryKind::ExpMinusOne => {
                let one = p.splat_like(1.0, y)?;
                p.binary(Add, y, one)?
            }
            UnaryKind::SquareRoot => {
                let half = p.splat_like(0.5, y)?;
                p.binary(Divide, half, y)?
            }
            UnaryKind::ReciprocalSquareRoot => {
                // y³ leaves the range long before the gradient does.
                let factor = p.splat_like(-0.5, y)?;
                let once = p.binary(Multiply, g, y)?;
                let twice = p.binary(Multiply, once, y)?;
                let half = p.binary(Multiply, y, factor)?;
                return p.binary(Multiply, twice, half);
            }
            UnaryKind::Reciprocal => {
                let square = p.binary(Multiply, y, y)?;
                p.unary(UnaryKind::Negate, square)?
            }
            UnaryKind::Sin => p.unary(UnaryKind::Cos, x)?,
            UnaryKind::Cos => {
                let sine = p.unary(UnaryKind::Sin, x)?;
                p.unary(UnaryKind::Negate, sine)?
            }
            UnaryKind::Tanh => {
                let square = p.binary(Multiply, y, y)?;
                let one = p.splat_like(1.0, y)?;
                p.binary(Subtract, one, square)?
            }
            UnaryKind::Sigmoid => {
                let one = p.splat_like(1.0, y)?;
                let rest = p.binary(Subtract, one, y)?;
                p.binary(Multiply, y, rest)?
            }
            UnaryKind::Erf => {
                let square = p.binary(Multiply, x, x)?;
                let negative = p.unary(UnaryKind::Negate, square)?;
                let bell = p.unary(UnaryKind::Exp, negative)?;
                let factor = p.splat_like(std::f64::consts::FRAC_2_SQRT_PI, x)?;
                p.binary(Multiply, factor, bell)?
            }
        };
        p.binary(Multiply, g, slope)
    }

    fn binary(&mut self, kind: BinaryKind, g: Value) -> Contributions {
        use BinaryKind::{Divide, Multiply, Power, Subtract};
        let (a, b, y) = (self.node.args[0], self.node.args[1], self.node.results[0]);
        let dtype = self.program.dtype(a);
        if dtype.is_half() && matches!(kind, Divide | Power | BinaryKind::Remainder) {
            let [a, b, y, g] = self.widened([a, b, y, g])?;
            let node = Node { args: [a, b].into(), results: [y].into(), ..self.node.clone() };
            let mut wide = Rule { program: &mut *self.program, node: &node, wanted: self.wanted };
            let contributions = wide.binary(kind, g)?;
            let narrow = |value: Option<Value>| value.map(|value| self.narrowed(value, dtype)).transpose();
            return contributions.into_iter().map(narrow).collect();
        }
        let wanted = self.wanted;
        let p = &mut *self.program;
        let mut result = [None, None];
        match kind {
            BinaryKind::Add => result = [Some(g), Some(g)],
            BinaryKind::Subtract => {
                result[0] = Some(g);
                if wanted[1] {
                    result[1] = Some(p.unary(UnaryKind::Negate, g)?);
                }
            }
            BinaryKind::Multiply => {
                for (side, other) in [(0, b), (1, a)] {
                    if wanted[side] {
                        result[side] = Some(p.binary(Multiply, g, other)?);
                    }
                }
            }
            BinaryKind::Divide => {
                let quotient = p.binary(Divide, g, b)?;
                result[0] = Some(quotient);
                if wanted[1] {
                    let product = p.binary(Multiply, quotient, y)?;
                    result[1] = Some(p.unary(UnaryKind::Negate, product)?);
                }
            }
            BinaryKind::Power => {
                let zero = p.splat_like(0.0, a)?;
                if wanted[0] {
                    // b·a^(b−1), and 0 where b is 0 even if a is 0 too.
                    let one = p.splat_like(1.0, b)?;
                    let lower = p.binary(Subtract, b, one)?;
                    let power = p.binary(Power, a, lower)?;
                    let slope = p.binary(Multiply, b, power)?;
                    let full = p.binary(Multiply, g, slope)?;
                    let flat = p.compare(CompareKind::Equal, b, zero)?;
                    result[0] = Some(p.apply(Op::Select {}, &[flat, zero, full])?);
                }
                if wanted[1] {
                    // a^b·ln a, and 0 where a is 0 and b is not negative.
                    let logarithm = p.unary(UnaryKind::Log, a)?;
                    let slope = p.binary(Multiply, y, logarithm)?;
                    let full = p.binary(Multiply, g, slope)?;
                    let base_zero = p.compare(CompareKind::Equal, a, zero)?;
                    let not_negative = p.compare(CompareKind::GreaterEqual, b, zero)?;
                    let flat = p.binary(BinaryKind::And, base_zero, not_negative)?;
                    result[1] = Some(p.apply(Op::Select {}, &[flat, zero, full])?);
                }
            }
            BinaryKind::Maximum | BinaryKind::Minimum => {
                // Where both are equal each takes half, and beside NaN both take all, as in PyTorch.
                let (a_loses, b_loses) = match kind {
                    BinaryKind::Maximum => (CompareKind::Less, CompareKind::Greater),
                    _ => (CompareKind::Greater, CompareKind::Less),
                };
                let zero = p.splat_like(0.0, g)?;
                let half = p.splat_like(0.5, g)?;
                let shared = p.binary(Multiply, g, half)?;
                let equal = p.compare(CompareKind::Equal, a, b)?;
                for (side, loses) in [(0, a_loses), (1, b_loses)] {
                    if wanted[side] {
                        let lost = p.compare(loses, a, b)?;
                        let alone = p.apply(Op::Select {}, &[lost, zero, g])?;
                        result[side] = Some(p.apply(Op::Select {}, &[equal, shared, alone])?);
                    }
                }
            }
            BinaryKind::Remainder => {
                result[0] = Some(g);
                if wanted[1] {
                    // The remainder is a less b times the quotient cut towards zero.
                    let quotient = p.binary(Divide, a, b)?;
                    let zero = p.splat_like(0.0, quotient)?;
                    let is_negative = p.compare(CompareKind::Less, quotient, zero)?;
                    let (up, down) =
                        (p.unary(UnaryKind::Ceil, quotient)?, p.unary(UnaryKind::Floor, quotient)?);
                    let quotient = p.apply(Op::Select {}, &[is_negative, up, down])?;
                    let product = p.binary(Multiply, g, quotient)?;
                    result[1] = Some(p.unary(UnaryKind::Negate, product)?);
                }
            }
            BinaryKind::And
            | BinaryKind::Or
            | BinaryKind::Xor
            | BinaryKind::ShiftLeft
            | BinaryKind::ShiftRight => {}
        }
        Ok(result.to_vec())
    }

    fn slice(&mut self, g: Value, start: &[usize], step: &[usize]) -> Contributions {
        let (x, taken) = (self.shape(0), self.program.shape(g).clone());
        let mut high = Vec::new();
        for axis in 0..x.rank() {
            let reach = if taken[axis] == 0 { 0 } else { (taken[axis] - 1) * step[axis] + 1 };
            high.push(x[axis] - start[axis] - reach);
        }
        let interior = step.iter().map(|step| step - 1).collect();
        self.one(Op::Pad { low: start.to_vec(), high, interior, value: Real(0.0) }, &[g])
    }

    fn reduce(&mut self, kind: ReduceKind, axes: &[usize], g: Value) -> Contributions {
        let shape = self.shape(0);
        let (x, y) = (self.node.args[0], self.node.results[0]);
        match kind {
            ReduceKind::Sum => Ok(vec![Some(self.program.expand(g, &shape, axes)?)]),
            // Equal extremes share the gradient evenly, as in PyTorch's amax and amin. They are counted in f32: there
            // may be more of them than a half can hold.
            ReduceKind::Max | ReduceKind::Min => {
                let dtype = self.program.dtype(x);
                let [g] = self.widened([g])?;
                let p = &mut *self.program;
                let extreme = p.expand(y, &shape, axes)?;
                let hit = p.compare(CompareKind::Equal, x, extreme)?;
                let ones = p.apply(Op::Cast { to: p.dtype(g) }, &[hit])?;
                let count = p.reduce(ReduceKind::Sum, ones, axes)?;
                let share = p.binary(BinaryKind::Divide, g, count)?;
                let share = p.expand(share, &shape, axes)?;
                let product = p.binary(BinaryKind::Multiply, share, ones)?;
                Ok(vec![Some(self.narrowed(product, dtype)?)])
            }
            ReduceKind::Product => self.product(axes, g),
        }
    }

    /// The product of the others: y / x where nothing is 0. Beside one 0 only its own is not 0, and with more none is.
    /// Halves are multiplied in f32, whose range the products may leave.
    fn product(&mut self, axes: &[usize], g: Value) -> Contributions {
        let (shape, dtype) = (self.shape(0), self.program.dtype(self.node.args[0]));
        let [x, g] = self.widened([self.node.args[0], g])?;
        let p = &mut *self.program;
        let (zero, one) = (p.splat_like(0.0, x)?, p.splat_like(1.0, x)?);
        let is_zero = p.compare(CompareKind::Equal, x, zero)?;
        let safe = p.apply(Op::Select {}, &[is_zero, one, x])?;
        let product = p.reduce(ReduceKind::Product, safe, axes)?;
        let product = p.expand(product, &shape, axes)?;
        let others = p.binary(BinaryKind::Divide, product, safe)?;
        let ones = p.apply(Op::Cast { to: p.dtype(x) }, &[is_zero])?;
        let zeros = p.reduce(ReduceKind::Sum, ones, axes)?;
        let zeros = p.expand(zeros, &shape, axes)?;
        // How many of the others are 0.
        let rest = p.binary(BinaryKind::Subtract, zeros, ones)?;
        let has_no_zero = p.compare(CompareKind::Equal, rest, zero)?;
        let slope = p.apply(Op::Select {}, &[has_no_zero, others, zero])?;
        let g = p.expand(g, &shape, axes)?;
        let gradient = p.binary(BinaryKind::Multiply, g, slope)?;
        Ok(vec![Some(self.narrowed(gradient, dtype)?)])
    }

    /// The softmax times the gradient. The softmax is made from what lies below the largest element: the result itself
    /// is rounded at the magnitude of x. Where the largest is not finite, x stays as it is.
    fn logsumexp(&mut self, axes: &[usize], g: Value) -> Contributions {
        let (shape, dtype) = (self.shape(0), self.program.dtype(self.node.args[0]));
        let [x, g] = self.widened([self.node.args[0], g])?;
        let p = &mut *self.program;
        let largest = p.reduce(ReduceKind::Max, x, axes)?;
        let size = p.unary(UnaryKind::Absolute, largest)?;
        let greatest = p.splat_like(f64::from(f32::MAX), size)?;
        let finite = p.compare(CompareKind::LessEqual, size, greatest)?;
        let zero = p.splat_like(0.0, largest)?;
        let shift = p.apply(Op::Select {}, &[finite, largest, zero])?;
        let shift = p.expand(shift, &shape, axes)?;
        let below = p.binary(BinaryKind::Subtract, x, shift)?;
        let powers = p.unary(UnaryKind::Exp, below)?;
        let total = p.reduce(ReduceKind::Sum, powers, axes)?;
        let share = p.binary(BinaryKind::Divide, g, total)?;
        let share = p.expand(share, &shape, axes)?;
        let product = p.binary(BinaryKind::Multiply, share, powers)?;
        Ok(vec![Some(self.narrowed(product, dtype)?)])
    }

    /// Halves as f32: a rule of several operations on halves would round after each, and leave their range on the way
    /// to gradients that lie in it.
    fn widened<const N: usize>(&mut self, values: [Value; N]) -> Result<[Value; N]> {
        let mut wide = values;
        for value in &mut wide {
            if self.program.dtype(*value).is_half() {
                *value = self.program.apply(Op::Cast { to: DType::F32 }, &[*value])?;
            }
        }
        Ok(wide)
    }

    /// Back to the type of the argument, after [`Rule::widened`].
    fn narrowed(&mut self, value: Value, dtype: DType) -> Result<Value> {
        if self.program.dtype(value) == dtype {
            return Ok(value);
        }
        self.program.apply(Op::Cast { to: dtype }, &[value])
    }

    fn mean_variance(&mut self, axes: &[usize], gradients: &[Option<Value>]) -> Contributions {
        let shape = self.shape(0);
        let dtype = self.program.dtype(self.node.args[0]);
        let count: f64 = axes.iter().map(|&axis| shape[axis] as f64).product();
        let [x, mean] = self.widened([self.node.args[0], self.node.results[0]])?;
        let scaled = |rule: &mut Self, g: Value, factor: f64| -> Result<Value> {
            let [g] = rule.widened([g])?;
            let factor = rule.program.splat_like(factor / count, g)?;
            let g = rule.program.binary(BinaryKind::Multiply, g, factor)?;
            rule.program.expand(g, &shape, axes)
        };
        let from_mean = gradients[0].map(|g| scaled(self, g, 1.0)).transpose()?;
        let from_variance = match gradients[1] {
            None => None,
            Some(g) => {
                let g = scaled(self, g, 2.0)?;
                let mean = self.program.expand(mean, &shape, axes)?;
                let difference = self.program.binary(BinaryKind::Subtract, x, mean)?;
                Some(self.program.binary(BinaryKind::Multiply, g, difference)?)
            }
        };
        let sum = match (from_mean, from_variance) {
            (Some(a), Some(b)) => Some(self.program.binary(BinaryKind::Add, a, b)?),
            (a, b) => a.or(b),
        };
        Ok(vec![sum.map(|sum| self.narrowed(sum, dtype)).transpose()?])
    }

    /// The gradient of one side of a product: the output gradient times the other side, contracted over the other
    /// side's free axes (`g_contract` in the output), with its axes put back in this side's order.
    fn dot_side(
        &mut self,
        g: Value,
        g_contract: &[usize],
        this: &Side<'_>,
        other: &Side<'_>,
    ) -> Result<Value> {
        let p = &mut *self.program;
        let (this_rank, other_rank) = (p.shape(this.value).rank(), p.shape(other.value).rank());
        let batch: Vec<usize> = (0..this.batch.len()).collect();
        let is_free =
            |side: &Side<'_>, axis: &usize| !side.batch.contains(axis) && !side.contract.contains(axis);
        let other_free: Vec<usize> = (0..other_rank).filter(|axis| is_free(other, axis)).collect();
        // What each axis of the products is called in this side.
        let free: Vec<usize> = (0..this_rank).filter(|axis| is_free(this, axis)).collect();
        let contracted: Vec<usize> = (0..other_rank)
            .filter_map(|axis| other.contract.iter().position(|&c| c == axis).map(|k| this.contract[k]))
            .collect();
        let gradient_first: Vec<usize> = this.batch.iter().chain(&free).chain(&contracted).copied().collect();
        let other_first: Vec<usize> = this.batch.iter().chain(&contracted).chain(&free).copied().collect();
        let in_order = |axes: &[usize]| axes.iter().enumerate().all(|(to, &axis)| to == axis);
        let (product, axes) = if in_order(&other_first) && !in_order(&gradient_first) {
            let op = Op::Dot {
                lhs_batch: other.batch.to_vec(),
                rhs_batch: batch,
                lhs_contract: other_free,
                rhs_contract: g_contract.to_vec(),
            };
            (p.apply(op, &[other.value, g])?, other_first)
        } else {
            let op = Op::Dot {
                lhs_batch: batch,
                rhs_batch: other.batch.to_vec(),
                lhs_contract: g_contract.to_vec(),
                rhs_contract: other_free,
            };
            (p.apply(op, &[g, other.value])?, gradient_first)
        };
        if in_order(&axes) {
            return Ok(product);
        }
        let mut order = vec![0; axes.len()];
        for (from, &to) in axes.iter().enumerate() {
            order[to] = from;
        }
        p.apply(Op::Permute { order }, &[product])
    }

    /// Each plane's positions become positions in all planes in a row, and the cotangent is picked there.
    fn max_pool_gradient(&mut self, g: Value) -> Contributions {
        let positions = self.node.args[1];
        let shape = self.shape(1);
        let p = &mut *self.program;
        let image = p.shape(g).clone();
        let plane = image[2] * image[3];
        let planes = image[0] * image[1];
        let per_plane = shape[2] * shape[3];
        let flat = p.apply(Op::Reshape { shape: [planes, per_plane].into() }, &[positions])?;
        let number = p.apply(Op::Iota { shape: [planes, per_plane].into(), axis: 0 }, &[])?;
        let size = p.splat_like(plane as f64, number)?;
        let offset = p.binary(BinaryKind::Multiply, number, size)?;
        let all = p.binary(BinaryKind::Add, offset, flat)?;
        let row = p.apply(Op::Reshape { shape: [planes * plane].into() }, &[g])?;
        let picked = p.apply(Op::Gather { axis: 0 }, &[row, all])?;
        let back = p.apply(Op::Reshape { shape }, &[picked])?;
        Ok(vec![Some(back), None])
    }
}

/// One side of a product.
struct Side<'a> {
    batch: &'a [usize],
    contract: &'a [usize],
    value: Value,
}
