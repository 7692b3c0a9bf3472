//! Loops with random bodies: smooth functions of carried values and slices, so that what a trip rounds is not blown up
//! by the next ones.

use super::Builder;
use dropforge_ir::{
    BinaryKind, Body, CompareKind, DType, Literal, Op, Program, ReduceKind, Result, Shape, UnaryKind, Value,
    ValueType,
};

/// A body in the making. All values that are picked from have one shape, `[rows, columns]`.
struct Steps {
    program: Program,
    pool: Vec<Value>,
    rows: usize,
    columns: usize,
}

impl Steps {
    fn shape(&self) -> Shape {
        [self.rows, self.columns].into()
    }

    fn input(&mut self, shape: Shape) -> Value {
        let name = self.program.inputs.len().to_string();
        self.program.input(name, ValueType { dtype: DType::F32, shape })
    }

    fn dot(&mut self, lhs: Value, rhs: Value, [lhs_contract, rhs_contract]: [usize; 2]) -> Result<Value> {
        let op = Op::Dot {
            lhs_batch: vec![],
            rhs_batch: vec![],
            lhs_contract: vec![lhs_contract],
            rhs_contract: vec![rhs_contract],
        };
        self.program.apply(op, &[lhs, rhs])
    }

    fn swapped(&mut self, x: Value) -> Result<Value> {
        self.program.apply(Op::Permute { order: vec![1, 0] }, &[x])
    }

    /// A value of `[rows, columns]` without what is the same along an axis.
    fn centred(&mut self, x: Value, axis: usize) -> Result<Value> {
        let shape = self.shape();
        let mean = self.program.push(Op::MeanVariance { axes: vec![axis] }, &[x])?[0];
        let mean = self.program.expand(mean, &shape, &[axis])?;
        self.program.binary(BinaryKind::Subtract, x, mean)
    }
}

impl Builder {
    /// A loop over what is there or over new arrays.
    pub(super) fn scan(&mut self) -> Option<Value> {
        let rows = self.dice.pick(&[1, 2, 5, 8, 9, 13]);
        let columns = self.dice.pick(&[1, 2, 3, 8, 11]);
        let trips = self.dice.pick(&[1, 2, 3, 4]);
        let (carries, stacked) = (self.dice.pick(&[0, 1, 1, 2]), self.dice.between(1, 2));
        let mut steps = Steps { program: Program::new("body"), pool: Vec::new(), rows, columns };
        let mut args = Vec::new();
        for number in 0..carries + stacked {
            let shape = if number < carries { [rows, columns].into() } else { [trips, rows, columns].into() };
            let value = steps.input([rows, columns].into());
            steps.pool.push(value);
            args.push(self.array(shape));
        }
        // What is the same in all trips, some of it by row.
        let matrix = steps.input([columns, columns].into());
        args.push(self.array([columns, columns].into()));
        let vector = steps.input([columns].into());
        args.push(self.array([columns].into()));
        if self.dice.percent(20) {
            let value = steps.input([rows, columns].into());
            steps.pool.push(value);
            args.push(self.array([rows, columns].into()));
        }
        for _ in 0..self.dice.between(2, 6) {
            let next = self.body_step(&mut steps, matrix, vector).ok()?;
            steps.pool.push(next);
        }
        let kinds = [UnaryKind::Tanh, UnaryKind::Sigmoid, UnaryKind::Sin];
        let mut outputs = Vec::new();
        for _ in 0..carries {
            let next = self.dice.pick(&steps.pool);
            let kind = self.dice.pick(&kinds);
            outputs.push(steps.program.unary(kind, next).ok()?);
        }
        for _ in 0..self.dice.between(usize::from(carries == 0), 2) {
            let all = [&steps.pool[..], &outputs[..]].concat();
            let value = self.dice.pick(&all);
            outputs.push(match self.dice.below(6) {
                0 => steps.program.reduce(ReduceKind::Sum, value, &[1]).ok()?,
                1 => steps.program.reduce(ReduceKind::Sum, value, &[0]).ok()?,
                _ => value,
            });
        }
        for (number, &value) in outputs.iter().enumerate() {
            steps.program.output(number.to_string(), value);
        }
        let reverse = self.dice.below(2);
        let op = Op::Scan { body: Body::new(steps.program), carries, stacked, trips, reverse };
        let results = self.push(op, &args)?;
        Some(self.dice.pick(&results))
    }

    /// An f32 array that is there, or a new one.
    fn array(&mut self, shape: Shape) -> Value {
        let found = self.find(|ty| ty.dtype == DType::F32 && ty.shape == shape);
        match found.filter(|_| self.dice.percent(60)) {
            Some(value) => value,
            None => self.port_of(DType::F32, shape, |dice| dice.uniform(-1.0, 1.0), false),
        }
    }

    fn body_step(&mut self, steps: &mut Steps, matrix: Value, vector: Value) -> Result<Value> {
        let late = steps.pool.len().saturating_sub(3);
        let x = self.dice.pick(&steps.pool[late..]);
        let other = self.dice.pick(&steps.pool);
        let shape = steps.shape();
        let program = &mut steps.program;
        match self.dice.below(11) {
            0 => steps.dot(x, matrix, [1, 0]),
            1 => steps.dot(x, matrix, [1, 1]),
            2 => {
                let turned = steps.dot(matrix, x, [0, 1])?;
                steps.swapped(turned)
            }
            3 => {
                let kinds = [BinaryKind::Add, BinaryKind::Subtract, BinaryKind::Multiply];
                program.binary(self.dice.pick(&kinds), x, other)
            }
            4 => {
                let vector = program.expand(vector, &shape, &[0])?;
                program.binary(BinaryKind::Add, x, vector)
            }
            5 => {
                let turned = steps.swapped(x)?;
                let turned = steps.program.unary(UnaryKind::Tanh, turned)?;
                steps.swapped(turned)
            }
            6 => steps.centred(x, 1),
            // Here rows depend on each other.
            7 if self.dice.percent(40) => steps.centred(x, 0),
            8 if steps.columns > 1 => {
                let (rows, columns) = (steps.rows, steps.columns);
                let cut = self.dice.between(1, columns - 1);
                let slice = |start: usize, stop: usize| Op::Slice {
                    start: vec![0, start],
                    stop: vec![rows, stop],
                    step: vec![1, 1],
                };
                let (left, right) =
                    (program.apply(slice(0, cut), &[x])?, program.apply(slice(cut, columns), &[x])?);
                let right = program.unary(UnaryKind::Sigmoid, right)?;
                program.apply(Op::Concat { axis: 1 }, &[right, left])
            }
            9 => {
                let axis = self.dice.below(2);
                let places = program.apply(Op::Iota { shape: shape.clone(), axis }, &[])?;
                let limit = program.constant(Literal::i32(1));
                let limit = program.expand(limit, &shape, &[0, 1])?;
                let is_early = program.compare(CompareKind::LessEqual, places, limit)?;
                program.apply(Op::Select {}, &[is_early, x, other])
            }
            _ => {
                let kinds = [UnaryKind::Tanh, UnaryKind::Sigmoid, UnaryKind::Sin, UnaryKind::Negate];
                program.unary(self.dice.pick(&kinds), x)
            }
        }
    }
}
