//! Random programs that have a meaningful answer.
//!
//! Every value is computed while the program grows. An operation is taken only if its result is finite and of moderate
//! size, and does not hang on a rounding error: comparisons, extremes and roundings are applied where the elements are
//! well apart, or are whole numbers that every device computes exactly.

mod loops;
mod operations;
mod stability;

use crate::case::Gradients;
use crate::dice::Dice;
use dropforge_ir::gradient::append_gradients;
use dropforge_ir::interpret::{Numbers, Rounding, apply, values};
use dropforge_ir::{BinaryKind, DType, Literal, Op, Program, ReduceKind, Shape, Value, ValueType, infer};

/// A program with what it is given.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The program.
    pub program: Program,
    /// In the order of the program's inputs.
    pub inputs: Vec<Numbers>,
    /// In the order of the program's states.
    pub states: Vec<Numbers>,
    /// In the order of the program's hyperparameters.
    pub hypers: Vec<f32>,
    /// If the program has a loss and gradients among its outputs.
    pub gradients: Option<Gradients>,
}

/// Most elements of a value, so that a sample is quick to interpret.
const ELEMENTS: usize = 6000;
/// Most products of a contraction.
const PRODUCTS: usize = 150_000;
/// Largest element, so that errors are not blown up.
const LARGEST: f64 = 1e3;
/// Elements further apart than this are not mixed up by rounding errors.
const GAP: f64 = 1e-3;
/// The same in programs with halves, in roundings.
const GAP_IN_ROUNDINGS: f64 = 16.0;

/// The coarsest half type among a program's values, if there is one.
pub fn half_type(program: &Program) -> Option<DType> {
    let has = |dtype| (0..program.value_count() as u32).any(|value| program.dtype(Value(value)) == dtype);
    [DType::BF16, DType::F16].into_iter().find(|&dtype| has(dtype))
}

/// The largest relative error of rounding to a half type.
pub fn rounding_error(dtype: DType) -> f64 {
    let step = (1..).find(|&bits| dtype.round(1.0 + 0.5f64.powi(bits)) == 1.0);
    0.5f64.powi(step.expect("fractions are finite"))
}

/// The random program of a seed.
pub fn generate(seed: u64) -> Sample {
    let mut builder = Builder::new(seed);
    let steps = builder.dice.between(3, 24);
    for _ in 0..steps {
        builder.step();
    }
    builder.finish()
}

/// A sample while it grows, with the value of everything.
struct Builder {
    dice: Dice,
    sample: Sample,
    values: Vec<Numbers>,
    /// Which values are whole numbers that every device computes exactly.
    exact: Vec<bool>,
    /// Whether the program shall have gradients, and so avoids operations without a rule.
    differentiate: bool,
    /// The half type that some floats have.
    half: Option<DType>,
    extents: &'static [usize],
}

impl Builder {
    fn new(seed: u64) -> Builder {
        let mut dice = Dice::new(seed, 0);
        let differentiate = dice.percent(60);
        // Small extents meet every remainder of a vector width; long ones meet more than one block.
        let extents: &[usize] = match dice.below(5) {
            0 => &[1, 2, 31, 64],
            1 => &[1, 3, 257, 1031],
            _ => &[1, 2, 3, 4, 5, 7, 8, 11, 17],
        };
        let half = dice.percent(30).then(|| dice.pick(&[DType::F16, DType::BF16]));
        let program = Program::new(format!("seed_{seed}"));
        let sample =
            Sample { program, inputs: Vec::new(), states: Vec::new(), hypers: Vec::new(), gradients: None };
        let mut builder =
            Builder { dice, sample, values: Vec::new(), exact: Vec::new(), differentiate, half, extents };
        for _ in 0..2 {
            let (dtype, shape) = (builder.float_type(), builder.shape());
            builder.port(dtype, shape);
        }
        builder
    }

    /// The type of a new float.
    fn float_type(&mut self) -> DType {
        match self.half {
            Some(half) if self.dice.percent(60) => half,
            _ => DType::F32,
        }
    }

    fn shape(&mut self) -> Shape {
        loop {
            let rank = self.dice.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 4]);
            let shape: Shape = (0..rank).map(|_| self.dice.pick(self.extents)).collect();
            if shape.elements() <= ELEMENTS / 2 {
                return shape;
            }
        }
    }

    /// A new input or state with random elements; floats are sometimes whole numbers.
    fn port(&mut self, dtype: DType, shape: Shape) -> Value {
        let whole = self.dice.percent(25);
        let (low, high) = match dtype {
            DType::F32 | DType::F16 | DType::BF16 => (-3, 3),
            DType::I32 => (-9, 9),
            DType::U32 | DType::U8 => (0, 200),
            DType::Bool => (0, 1),
        };
        if dtype.is_float() && !whole {
            let range = self.dice.pick(&[(-1.0, 1.0), (-2.0, 2.0), (0.2, 1.5)]);
            return self.port_of(dtype, shape, |dice| dice.uniform(range.0, range.1), false);
        }
        self.port_of(dtype, shape, |dice| (low + dice.below((high - low + 1) as usize) as i64) as f64, true)
    }

    /// A new input of whole numbers from `low` to `high`.
    fn index_port(&mut self, shape: Shape, low: i64, high: i64) -> Value {
        let number = |dice: &mut Dice| (low + dice.below((high - low + 1) as usize) as i64) as f64;
        self.port_of(DType::I32, shape, number, true)
    }

    fn port_of(
        &mut self,
        dtype: DType,
        shape: Shape,
        number: impl Fn(&mut Dice) -> f64,
        exact: bool,
    ) -> Value {
        let ty = ValueType { dtype, shape };
        let elements = (0..ty.shape.elements()).map(|_| dtype.round(number(&mut self.dice))).collect();
        let numbers = Numbers::new(ty.clone(), elements).expect("the elements are of the type");
        let state = self.dice.percent(50);
        let sample = &mut self.sample;
        let value = if state {
            sample.states.push(numbers.clone());
            sample.program.state(format!("s{}", sample.states.len()), ty)
        } else {
            sample.inputs.push(numbers.clone());
            sample.program.input(format!("x{}", sample.inputs.len()), ty)
        };
        self.record(vec![numbers], exact);
        value
    }

    fn hyper(&mut self) -> Value {
        let number = self.dice.uniform(0.1, 1.0);
        self.sample.hypers.push(number as f32);
        let value = self.sample.program.hyper(format!("h{}", self.sample.hypers.len()));
        let numbers = Numbers::new(ValueType::scalar(DType::F32), vec![number]).expect("one element");
        self.record(vec![numbers], false);
        value
    }

    fn constant(&mut self, literal: Literal) -> Value {
        let numbers = Numbers::from(&literal);
        let exact = numbers.elements().iter().all(|x| x.fract() == 0.0);
        let value = self.sample.program.constant(literal);
        self.record(vec![numbers], exact);
        value
    }

    fn record(&mut self, results: Vec<Numbers>, exact: bool) {
        for numbers in results {
            self.exact.push(exact || !numbers.ty().dtype.is_float());
            self.values.push(numbers);
        }
    }

    fn ty(&self, value: Value) -> &ValueType {
        self.sample.program.ty(value)
    }

    /// Appends an operation if its results are fit for comparison.
    fn push(&mut self, op: Op, args: &[Value]) -> Option<Vec<Value>> {
        let types: Vec<&ValueType> = args.iter().map(|&arg| self.ty(arg)).collect();
        let results = infer(&op, &types).ok()?;
        if results.iter().any(|ty| ty.shape.elements() > ELEMENTS) || products(&op, &types) > PRODUCTS {
            return None;
        }
        let numbers: Vec<&Numbers> = args.iter().map(|arg| &self.values[arg.index()]).collect();
        let gap = self.half.map_or(GAP, |half| GAP_IN_ROUNDINGS * rounding_error(half));
        let exact_args = args.iter().all(|arg| self.exact[arg.index()]);
        if !stability::is_stable(&op, &numbers, exact_args, gap, &mut self.dice) {
            return None;
        }
        let results = apply(&op, &numbers, Rounding::Double).ok()?;
        let moderate = |x: &f64| x.is_finite() && x.abs() <= LARGEST;
        let float = |numbers: &&Numbers| numbers.ty().dtype.is_float();
        if !results.iter().filter(float).all(|numbers| numbers.elements().iter().all(moderate)) {
            return None;
        }
        let whole = results.iter().all(|numbers| {
            let dtype = numbers.ty().dtype;
            numbers.elements().iter().all(|&x| x.fract() == 0.0 && dtype.round(x) == x)
        });
        let exact = exact_args && whole && stability::keeps_whole_numbers(&op);
        let values = self.sample.program.push(op, args).ok()?;
        self.record(results, exact);
        Some(values)
    }

    fn apply(&mut self, op: Op, args: &[Value]) -> Option<Value> {
        Some(self.push(op, args)?[0])
    }

    /// A value among those that fit; the latest ones are more likely, so that programs grow deep.
    fn find(&mut self, fits: impl Fn(&ValueType) -> bool) -> Option<Value> {
        let found: Vec<Value> =
            (0..self.values.len()).filter(|&i| fits(self.values[i].ty())).map(|i| Value(i as u32)).collect();
        if found.is_empty() {
            return None;
        }
        let late = found.len().saturating_sub(4);
        Some(if self.dice.percent(60) { self.dice.pick(&found[late..]) } else { self.dice.pick(&found) })
    }

    fn float(&mut self) -> Value {
        match self.find(|ty| ty.dtype.is_float()) {
            Some(value) => value,
            None => {
                let (dtype, shape) = (self.float_type(), self.shape());
                self.port(dtype, shape)
            }
        }
    }

    /// Gradients, writes and outputs.
    fn finish(mut self) -> Sample {
        let plain = self.sample.program.clone();
        let gradients = if self.differentiate { self.gradients().unwrap_or_default() } else { Vec::new() };
        if !self.all_moderate() {
            self.sample.program = plain;
            self.sample.gradients = None;
            return self.ports(Vec::new());
        }
        self.ports(gradients)
    }

    /// Whether everything is still fit for comparison once gradients are appended.
    fn all_moderate(&self) -> bool {
        let Sample { program, inputs, states, hypers, .. } = &self.sample;
        let hypers: Vec<f64> = hypers.iter().map(|&x| f64::from(x)).collect();
        let Ok(all) = values(program, inputs, states, &hypers, Rounding::Double) else { return false };
        all.iter().all(|numbers| {
            let is_half = numbers.ty().dtype.is_half();
            let (largest, whole) = if is_half { (1e4, false) } else { (1e5, true) };
            let moderate = |x: &f64| x.is_finite() && x.abs() < largest || (whole && x.fract() == 0.0);
            numbers.elements().iter().all(moderate)
        })
    }

    /// Appends a loss over some values and its gradients by all float ports it depends on: the gradients, then the
    /// loss, which become the first outputs.
    fn gradients(&mut self) -> Option<Vec<Value>> {
        let mut read = vec![false; self.values.len()];
        let program = &self.sample.program;
        program.nodes().iter().flat_map(|node| &node.args).for_each(|arg| read[arg.index()] = true);
        // The ends of chains have the most to differentiate.
        let ends: Vec<Value> = program
            .nodes()
            .iter()
            .filter(|node| !node.op.is_leaf())
            // The statistics of attention have no gradient.
            .flat_map(|node| {
                if matches!(node.op, Op::Attention { .. }) { &node.results[..1] } else { &node.results }
            })
            .copied()
            .filter(|&value| !read[value.index()] && program.dtype(value).is_float())
            .collect();
        let share = self.dice.pick(&[30, 100]);
        let mut loss: Option<Value> = None;
        for x in ends {
            if !self.dice.percent(share) {
                continue;
            }
            let ty = self.ty(x).clone();
            let axes: Vec<usize> = (0..ty.shape.rank()).collect();
            let program = &mut self.sample.program;
            let share = program.full(ty.clone(), 1.0 / ty.shape.elements() as f64).ok()?;
            let weighted = program.binary(BinaryKind::Multiply, x, share).ok()?;
            let mean = program.reduce(ReduceKind::Sum, weighted, &axes).ok()?;
            let mean = match ty.dtype {
                DType::F32 => mean,
                _ => program.apply(Op::Cast { to: DType::F32 }, &[mean]).ok()?,
            };
            loss = Some(match loss {
                None => mean,
                Some(sum) => program.binary(BinaryKind::Add, sum, mean).ok()?,
            });
        }
        let loss = loss?;
        let program = &mut self.sample.program;
        let mut used = vec![false; program.value_count()];
        used[loss.index()] = true;
        for node in program.nodes().iter().rev() {
            let is_used = node.results.iter().any(|result| used[result.index()]);
            let between_floats =
                matches!(node.op, Op::Cast { to } if to.is_float()) && program.dtype(node.args[0]).is_float();
            if is_used && (carries_gradients(&node.op) || between_floats) {
                node.args.iter().for_each(|arg| used[arg.index()] = true);
            }
        }
        let inputs = program.inputs.iter().map(|port| port.value);
        let ports = inputs.chain(program.states.iter().map(|port| port.value));
        let by: Vec<Value> =
            ports.filter(|&value| used[value.index()] && program.dtype(value).is_float()).collect();
        if by.is_empty() {
            return None;
        }
        let mut results = append_gradients(program, loss, &by).ok()?;
        let count = results.len();
        results.push(loss);
        let outputs = (0..count).collect();
        self.sample.gradients = Some(Gradients { loss: count, by, outputs, smooth: true });
        Some(results)
    }

    fn ports(mut self, gradients: Vec<Value>) -> Sample {
        let all: Vec<Value> = (0..self.sample.program.value_count()).map(|i| Value(i as u32)).collect();
        for state in 0..self.sample.states.len() {
            let program = &self.sample.program;
            let ty = program.ty(program.states[state].value).clone();
            let fitting: Vec<Value> = all.iter().copied().filter(|&value| *program.ty(value) == ty).collect();
            let slopes: Vec<Value> =
                gradients.iter().copied().filter(|&value| *program.ty(value) == ty).collect();
            if !slopes.is_empty() && self.dice.percent(70) {
                // A step of gradient descent.
                let slope = self.dice.pick(&slopes);
                let program = &mut self.sample.program;
                let old = program.states[state].value;
                let step = program
                    .splat_like(0.125, old)
                    .and_then(|rate| program.binary(BinaryKind::Multiply, slope, rate))
                    .and_then(|change| program.binary(BinaryKind::Subtract, old, change))
                    .and_then(|new| program.write(state, new));
                step.expect("types are equal");
            } else if self.dice.percent(60) {
                let value = self.dice.pick(&fitting);
                self.sample.program.write(state, value).expect("types are equal");
            }
        }
        let mut outputs = gradients;
        for _ in 0..self.dice.between(1, 4) {
            outputs.push(self.dice.pick(&all));
        }
        for (index, value) in outputs.into_iter().enumerate() {
            self.sample.program.output(format!("y{index}"), value);
        }
        self.sample
    }
}

/// Whether a gradient passes from the results to the arguments; casts between floats pass it as well.
fn carries_gradients(op: &Op) -> bool {
    use dropforge_ir::UnaryKind::{Ceil, Floor, Not, Round, Sign};
    !matches!(
        op,
        Op::Compare { .. }
            | Op::ArgMax { .. }
            | Op::ArgSort { .. }
            | Op::RandomBits { .. }
            | Op::Unary { kind: Floor | Ceil | Round | Sign | Not }
            | Op::Cast { .. }
    )
}

/// How many products a contraction sums.
fn products(op: &Op, args: &[&ValueType]) -> usize {
    match op {
        Op::Dot { rhs_batch, rhs_contract, .. } => {
            let used: Vec<usize> = rhs_batch.iter().chain(rhs_contract).copied().collect();
            args[0].shape.elements() * args[1].shape.without(&used).elements()
        }
        Op::Convolution { window } => {
            // At most every tap at every position of the padded input.
            let (x, filter) = (&args[0].shape, &args[1].shape);
            let plane = (x[2] + window.low[0] + window.high[0]) * (x[3] + window.low[1] + window.high[1]);
            x[0] * plane * filter.elements()
        }
        Op::Attention { .. } => 2 * args[0].shape.elements() * args[1].shape[2],
        _ => 0,
    }
}
