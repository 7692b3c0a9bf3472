//! Steps that append one operation or a small idiom.

use super::Builder;
use dropforge_ir::{
    BinaryKind, CompareKind, ConvolutionWindow, DType, Literal, Op, PoolWindow, Real, ReduceKind, Shape,
    UnaryKind, Value, ValueType,
};

impl Builder {
    /// Tries one random step; that it does not fit is no harm.
    pub(super) fn step(&mut self) -> Option<Value> {
        match self.dice.below(34) {
            0..5 => self.unary(),
            5..11 => self.binary(),
            11 => self.select(),
            12 => self.cast(),
            13..16 => self.movement(),
            16..19 => self.reduce(),
            19 => self.normalize(),
            20..22 => self.dot(),
            22 => self.convolution(),
            23 => self.pool(),
            24 => self.gather(),
            25 => self.scatter(),
            26 => self.attention(),
            27 => self.random_bits(),
            28 => self.integers(),
            29 => self.equal_reductions(),
            30 => self.lookup(),
            31..33 => self.scan(),
            _ => self.concat(),
        }
    }

    fn unary(&mut self) -> Option<Value> {
        let mut x = self.float();
        for _ in 0..self.dice.between(1, 4) {
            let kind = self.dice.pick(UnaryKind::ALL);
            x = self.apply(Op::Unary { kind }, &[x]).unwrap_or(x);
        }
        Some(x)
    }

    fn binary(&mut self) -> Option<Value> {
        let mut a = self.float();
        for _ in 0..self.dice.between(1, 3) {
            let b = self.partner(a)?;
            let kind = self.dice.pick(&[
                BinaryKind::Add,
                BinaryKind::Add,
                BinaryKind::Subtract,
                BinaryKind::Multiply,
                BinaryKind::Multiply,
                BinaryKind::Divide,
                BinaryKind::Power,
                BinaryKind::Maximum,
                BinaryKind::Minimum,
                BinaryKind::Remainder,
            ]);
            let args = if self.dice.percent(50) { [a, b] } else { [b, a] };
            a = self.apply(Op::Binary { kind }, &args).unwrap_or(a);
        }
        Some(a)
    }

    /// Another value of the same type: one that is there, a constant, or something smaller repeated.
    fn partner(&mut self, a: Value) -> Option<Value> {
        let ty = self.ty(a).clone();
        match self.dice.below(10) {
            0..4 => self.find(|other| *other == ty),
            4 => {
                let number = self.dice.pick(&[0.5, 2.0, -1.0, 0.1, 0.0, 1.0]);
                let scalar = self.constant(Literal::scalar(ty.dtype, number));
                self.repeat(scalar, &ty.shape, vec![])
            }
            5 if ty.dtype == DType::F32 => {
                let scalar = self.hyper();
                self.repeat(scalar, &ty.shape, vec![])
            }
            _ => {
                let axes = self.dice.subset(ty.shape.rank());
                let shape: Shape = axes.iter().map(|&axis| ty.shape[axis]).collect();
                let small = ValueType { dtype: ty.dtype, shape };
                let small = match self.find(|other| *other == small) {
                    Some(value) => value,
                    None => self.port(ty.dtype, small.shape),
                };
                self.repeat(small, &ty.shape, axes)
            }
        }
    }

    fn repeat(&mut self, x: Value, shape: &Shape, axes: Vec<usize>) -> Option<Value> {
        if self.ty(x).shape == *shape {
            return Some(x);
        }
        self.apply(Op::Broadcast { shape: shape.clone(), axes }, &[x])
    }

    fn select(&mut self) -> Option<Value> {
        let a = self.float();
        let (b, c) = (self.partner(a)?, self.partner(a)?);
        let shape = self.ty(a).shape.clone();
        let kind = self.dice.pick(CompareKind::ALL);
        let condition = match self.apply(Op::Compare { kind }, &[a, b]) {
            Some(condition) if self.dice.percent(80) => condition,
            _ => self.port(DType::Bool, shape),
        };
        self.apply(Op::Select {}, &[condition, c, a])
    }

    fn cast(&mut self) -> Option<Value> {
        let from = match self.dice.pick(&DType::ALL) {
            half if half.is_half() => self.half.unwrap_or(DType::F32),
            other => other,
        };
        let x = match self.find(|ty| ty.dtype == from) {
            Some(x) => x,
            None => {
                let shape = self.shape();
                self.port(from, shape)
            }
        };
        let narrow = self.half.unwrap_or(DType::F32);
        let to = self.dice.pick(&[DType::F32, narrow, DType::I32, DType::U32, DType::U8, DType::Bool]);
        let y = self.apply(Op::Cast { to }, &[x])?;
        let back = self.apply(Op::Cast { to: DType::F32 }, &[y])?;
        // Keep whole numbers from growing beyond what stays moderate.
        let ty = self.ty(back).clone();
        let small = self.constant(Literal::f32(0.0625));
        let small = self.repeat(small, &ty.shape, vec![])?;
        self.apply(Op::Binary { kind: BinaryKind::Multiply }, &[back, small])
    }

    fn movement(&mut self) -> Option<Value> {
        let mut x = if self.dice.percent(80) { self.float() } else { self.find(|_| true)? };
        for _ in 0..self.dice.between(1, 3) {
            x = self.move_once(x).unwrap_or(x);
        }
        Some(x)
    }

    fn move_once(&mut self, x: Value) -> Option<Value> {
        let shape = self.ty(x).shape.clone();
        let rank = shape.rank();
        let op = match self.dice.below(7) {
            0 | 1 => Op::Permute { order: self.dice.order(rank) },
            2 => Op::Reshape { shape: self.other_shape(&shape) },
            3 => {
                let mut to = shape.to_vec();
                let at = self.dice.below(rank + 1);
                to.insert(at, self.dice.pick(&[1, 2, 3, 5]));
                Op::Broadcast { shape: to.into(), axes: (0..=rank).filter(|&axis| axis != at).collect() }
            }
            4 => {
                let (mut start, mut stop, mut step) = (Vec::new(), Vec::new(), Vec::new());
                for &extent in shape.iter() {
                    let from = if extent == 0 { 0 } else { self.dice.below(extent.min(4)) };
                    let cut = self.dice.below(3);
                    start.push(from);
                    stop.push(extent.saturating_sub(cut).max(from + 1).min(extent));
                    step.push(self.dice.pick(&[1, 1, 1, 2, 3]));
                }
                Op::Slice { start, stop, step }
            }
            5 => {
                let mut amounts =
                    |most: usize| (0..rank).map(|_| self.dice.below(most + 1)).collect::<Vec<_>>();
                let (low, high, interior) = (amounts(2), amounts(2), amounts(1));
                let value = Real(self.dice.pick(&[0.0, 0.0, 1.0, -0.5]));
                let value = if self.ty(x).dtype.is_float() { value } else { Real(0.0) };
                Op::Pad { low, high, interior, value }
            }
            _ => Op::Flip { axes: self.dice.subset(rank) },
        };
        self.apply(op, &[x])
    }

    /// A shape with as many elements: axes merged, an axis split, ones added or taken away.
    fn other_shape(&mut self, shape: &Shape) -> Shape {
        let mut extents = shape.to_vec();
        match self.dice.below(4) {
            0 => extents = vec![shape.elements()],
            1 if extents.len() > 1 => {
                let at = self.dice.below(extents.len() - 1);
                let next = extents.remove(at + 1);
                extents[at] *= next;
            }
            2 if !extents.is_empty() => {
                let at = self.dice.below(extents.len());
                if let Some(factor) =
                    [2, 3, 5, 7].into_iter().find(|&f| extents[at] > f && extents[at].is_multiple_of(f))
                {
                    extents[at] /= factor;
                    extents.insert(at, factor);
                }
            }
            _ => {
                extents.retain(|&extent| extent != 1);
                let at = self.dice.below(extents.len() + 1);
                extents.insert(at, 1);
            }
        }
        extents.into()
    }

    fn reduce(&mut self) -> Option<Value> {
        let x = self.float();
        let axes = self.dice.subset(self.ty(x).shape.rank());
        match self.dice.below(12) {
            0 => {
                let axis = self.dice.below(self.ty(x).shape.rank().max(1));
                self.apply(Op::ArgMax { axis }, &[x])
            }
            10 => {
                let axis = self.dice.below(self.ty(x).shape.rank().max(1));
                let descending = self.dice.below(2);
                self.apply(Op::ArgSort { axis, descending }, &[x])
            }
            11 => {
                let axis = self.dice.below(self.ty(x).shape.rank().max(1));
                let reverse = self.dice.below(2);
                self.apply(Op::CumulativeSum { axis, reverse }, &[x])
            }
            1 => self.apply(Op::LogSumExp { axes }, &[x]),
            2 => {
                let both = self.push(Op::MeanVariance { axes }, &[x])?;
                Some(self.dice.pick(&both))
            }
            _ => {
                let kind = self.dice.pick(ReduceKind::ALL);
                if kind == ReduceKind::Product && self.differentiate {
                    return None;
                }
                let y = self.apply(Op::Reduce { kind, axes: axes.clone() }, &[x])?;
                if self.dice.percent(60) {
                    return Some(y);
                }
                // Often what was reduced is compared with its extreme or divided by its sum.
                let shape = self.ty(x).shape.clone();
                let kept = (0..shape.rank()).filter(|axis| !axes.contains(axis)).collect();
                let back = self.repeat(y, &shape, kept)?;
                let kind = self.dice.pick(&[BinaryKind::Subtract, BinaryKind::Divide, BinaryKind::Multiply]);
                self.apply(Op::Binary { kind }, &[x, back])
            }
        }
    }

    /// Softmax or layer norm over some axes.
    fn normalize(&mut self) -> Option<Value> {
        let x = self.float();
        let shape = self.ty(x).shape.clone();
        let axes = self.dice.subset(shape.rank());
        let kept: Vec<usize> = (0..shape.rank()).filter(|axis| !axes.contains(axis)).collect();
        let subtract = Op::Binary { kind: BinaryKind::Subtract };
        if self.dice.percent(50) {
            let total = self.apply(Op::LogSumExp { axes }, &[x])?;
            let total = self.repeat(total, &shape, kept)?;
            let difference = self.apply(subtract, &[x, total])?;
            return self.apply(Op::Unary { kind: UnaryKind::Exp }, &[difference]);
        }
        let both = self.push(Op::MeanVariance { axes }, &[x])?;
        let epsilon = self.constant(Literal::scalar(self.ty(x).dtype, 0.1));
        let variance_shape = self.ty(both[1]).shape.clone();
        let epsilon = self.repeat(epsilon, &variance_shape, vec![])?;
        let shifted = self.apply(Op::Binary { kind: BinaryKind::Add }, &[both[1], epsilon])?;
        let scale = self.apply(Op::Unary { kind: UnaryKind::ReciprocalSquareRoot }, &[shifted])?;
        let scale = self.repeat(scale, &shape, kept.clone())?;
        let mean = self.repeat(both[0], &shape, kept)?;
        let centered = self.apply(subtract, &[x, mean])?;
        self.apply(Op::Binary { kind: BinaryKind::Multiply }, &[centered, scale])
    }

    fn dot(&mut self) -> Option<Value> {
        let mut a = self.float();
        let narrow = self.ty(a).dtype;
        // Some products of halves have a result of f32.
        let mixed = narrow.is_half() && self.dice.percent(40);
        if mixed {
            a = self.apply(Op::Cast { to: DType::F32 }, &[a])?;
        }
        let shape = self.ty(a).shape.clone();
        // Each axis of the left side is free, contracted or a batch axis.
        let roles: Vec<usize> = (0..shape.rank()).map(|_| self.dice.pick(&[0, 0, 1, 2])).collect();
        let pick = |role: usize| (0..shape.rank()).filter(|&axis| roles[axis] == role).collect::<Vec<_>>();
        let (lhs_contract, lhs_batch) = (pick(1), pick(2));
        // The right side has the shared axes and up to two of its own, in any order.
        let own = self.dice.below(3);
        let mut right: Vec<(usize, usize)> = Vec::new();
        right.extend(lhs_batch.iter().map(|&axis| (shape[axis], axis)));
        right.extend(lhs_contract.iter().map(|&axis| (shape[axis], axis)));
        right.extend((0..own).map(|_| (self.dice.pick(&[1, 2, 3, 5, 8, 17]), usize::MAX)));
        let order = self.dice.order(right.len());
        let right: Vec<(usize, usize)> = order.iter().map(|&i| right[i]).collect();
        let place = |axes: &[usize]| {
            axes.iter().filter_map(|axis| right.iter().position(|(_, from)| from == axis)).collect::<Vec<_>>()
        };
        let (rhs_batch, rhs_contract) = (place(&lhs_batch), place(&lhs_contract));
        let ty = ValueType::new(narrow, right.iter().map(|&(extent, _)| extent).collect::<Shape>());
        if ty.shape.elements() > super::ELEMENTS {
            return None;
        }
        let b = match self.find(|other| *other == ty) {
            Some(b) if self.dice.percent(50) => b,
            _ => self.port(narrow, ty.shape),
        };
        let b = if mixed { self.apply(Op::Cast { to: DType::F32 }, &[b])? } else { b };
        let y = self.apply(Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract }, &[a, b])?;
        if self.dice.percent(40) { self.bias(y) } else { Some(y) }
    }

    /// Adds a bias along one axis and applies an activation.
    fn bias(&mut self, y: Value) -> Option<Value> {
        let shape = self.ty(y).shape.clone();
        if shape.rank() == 0 {
            return Some(y);
        }
        let axis = self.dice.below(shape.rank());
        let bias = self.port(self.ty(y).dtype, [shape[axis]].into());
        let bias = self.repeat(bias, &shape, vec![axis])?;
        let sum = self.apply(Op::Binary { kind: BinaryKind::Add }, &[y, bias])?;
        let kind = self.dice.pick(&[UnaryKind::Relu, UnaryKind::Tanh, UnaryKind::Sigmoid, UnaryKind::Erf]);
        Some(self.apply(Op::Unary { kind }, &[sum]).unwrap_or(sum))
    }

    /// A float with four axes: one that is there, one reshaped, or a new one.
    fn image(&mut self) -> Value {
        let image = |ty: &ValueType| ty.dtype.is_float() && ty.shape.rank() == 4 && !ty.shape.contains(&0);
        let found = if self.dice.percent(60) { self.find(image) } else { None };
        if let Some(x) = found {
            return x;
        }
        let shape: Shape = [
            self.dice.between(1, 3),
            self.dice.pick(&[1, 2, 3, 4, 6, 16]),
            self.dice.pick(&[1, 3, 5, 6, 7, 8, 11]),
            self.dice.pick(&[1, 2, 4, 5, 8, 9, 13]),
        ]
        .into();
        let dtype = self.float_type();
        self.port(dtype, shape)
    }

    fn convolution(&mut self) -> Option<Value> {
        let x = self.image();
        let shape = self.ty(x).shape.clone();
        let channels = shape[1];
        let mut divisors: Vec<usize> =
            (1..=channels).filter(|&groups| channels.is_multiple_of(groups)).collect();
        divisors.extend([1, 1]);
        let groups = self.dice.pick(&divisors);
        let out = groups * self.dice.pick(&[1, 1, 2, 3, 5]);
        let kernel = [self.dice.pick(&[1, 2, 3, 3, 5]), self.dice.pick(&[1, 2, 3, 3, 4])];
        let mut two = |choices: &[usize]| [self.dice.pick(choices), self.dice.pick(choices)];
        let (stride, dilation) = (two(&[1, 1, 1, 2, 3]), two(&[1, 1, 1, 2]));
        let (low, high) = (two(&[0, 1, 1, 2]), two(&[0, 1, 1, 3]));
        let window = ConvolutionWindow { stride, low, high, dilation, groups };
        if out * (channels / groups) * kernel[0] * kernel[1] > super::ELEMENTS {
            return None;
        }
        let filter = self.port(self.ty(x).dtype, [out, channels / groups, kernel[0], kernel[1]].into());
        let y = self.apply(Op::Convolution { window }, &[x, filter])?;
        if self.dice.percent(60) { self.bias(y) } else { Some(y) }
    }

    fn pool(&mut self) -> Option<Value> {
        let x = self.image();
        let kernel = [self.dice.between(1, 3), self.dice.between(1, 4)];
        let stride = [self.dice.between(1, 3), self.dice.between(1, 3)];
        let low = [self.dice.below(kernel[0] / 2 + 1), self.dice.below(kernel[1] / 2 + 1)];
        let high = [self.dice.below(kernel[0] / 2 + 1), self.dice.below(kernel[1] / 2 + 1)];
        let window = PoolWindow { kernel, stride, low, high };
        if self.dice.percent(50) {
            return self.apply(Op::WindowSum { window }, &[x]);
        }
        Some(self.push(Op::MaxPool { window }, &[x])?[0])
    }

    fn gather(&mut self) -> Option<Value> {
        let x = if self.dice.percent(80) { self.float() } else { self.find(|_| true)? };
        let shape = self.ty(x).shape.clone();
        if shape.rank() == 0 {
            return None;
        }
        let axis = self.dice.below(shape.rank());
        let rank = self.dice.pick(&[0, 1, 1, 2]);
        let index_shape = (0..rank).map(|_| self.dice.pick(&[1, 2, 3, 5, 7])).collect();
        // Some indices lie outside.
        let index = self.index_port(index_shape, -1, shape[axis] as i64);
        self.apply(Op::Gather { axis }, &[x, index])
    }

    /// Rows of a small table, looked up many times and multiplied by a matrix.
    fn lookup(&mut self) -> Option<Value> {
        let (rows, columns) = (self.dice.between(1, 3), self.dice.pick(&[16, 17]));
        let wide = ValueType::new(DType::F32, [rows, columns]);
        let table = match self.find(|ty| *ty == wide) {
            Some(table) => table,
            None => self.port(DType::F32, wide.shape),
        };
        let index_shape: Shape = self.dice.pick(&[[7, 1], [2, 5], [3, 4]]).into();
        let index = self.index_port(index_shape, -1, rows as i64);
        let mut x = self.apply(Op::Gather { axis: 0 }, &[table, index])?;
        if self.dice.percent(50) {
            let order = self.dice.order(3);
            x = self.apply(Op::Permute { order }, &[x])?;
        }
        let column = self.ty(x).shape.iter().position(|&extent| extent == columns)?;
        let own = self.dice.pick(&[1, 3, 8]);
        let matrix = self.port(DType::F32, [own, columns].into());
        let dot = |lhs_contract: usize, rhs_contract: usize| Op::Dot {
            lhs_batch: vec![],
            rhs_batch: vec![],
            lhs_contract: vec![lhs_contract],
            rhs_contract: vec![rhs_contract],
        };
        let y = match self.dice.percent(50) {
            true => self.apply(dot(column, 1), &[x, matrix])?,
            false => self.apply(dot(1, column), &[matrix, x])?,
        };
        self.apply(Op::Unary { kind: UnaryKind::Tanh }, &[y])
    }

    fn scatter(&mut self) -> Option<Value> {
        let x = self.float();
        let shape = self.ty(x).shape.clone();
        let axis = self.dice.below(shape.rank() + 1);
        let count = self.dice.below((shape.rank() - axis).min(2) + 1);
        let size = self.dice.pick(&[1, 2, 3, 5, 8]);
        let index = self.index_port(shape[axis..axis + count].into(), -1, size as i64);
        self.apply(Op::ScatterAdd { axis, size }, &[x, index])
    }

    fn attention(&mut self) -> Option<Value> {
        let q = self.image();
        let ValueType { dtype, shape } = self.ty(q).clone();
        let keys = self.dice.pick(&[1, 2, 5, 8, shape[2]]);
        let other: Shape = [shape[0], shape[1], keys, shape[3]].into();
        let k = if keys == shape[2] && self.dice.percent(50) { q } else { self.port(dtype, other.clone()) };
        let v = if self.dice.percent(20) { k } else { self.port(dtype, other) };
        let scale = Real(self.dice.pick(&[0.25, 0.5, 1.0]));
        // A causal query that sees no key has the statistics −∞, which is refused.
        let op = Op::Attention { causal: self.dice.below(2), scale };
        Some(self.push(op, &[q, k, v])?[0])
    }

    /// Uniform floats from random bits.
    fn random_bits(&mut self) -> Option<Value> {
        let shape = self.shape();
        let seed = self.port(DType::U32, [2].into());
        let step = self.port(DType::U32, Shape::scalar());
        let stream = self.dice.below(5) as u32;
        let bits = self.apply(Op::RandomBits { shape: shape.clone(), stream }, &[seed, step])?;
        let shift = self.constant(Literal::u32(8));
        let shift = self.repeat(shift, &shape, vec![])?;
        let bits = self.apply(Op::Binary { kind: BinaryKind::ShiftRight }, &[bits, shift])?;
        // The numbers of 24 bits would count as too large, so they are made small as integers first.
        let mask = self.constant(Literal::u32(255));
        let mask = self.repeat(mask, &shape, vec![])?;
        let low = self.apply(Op::Binary { kind: BinaryKind::And }, &[bits, mask])?;
        let number = self.apply(Op::Cast { to: DType::F32 }, &[low])?;
        let unit = self.constant(Literal::f32(1.0 / 256.0));
        let unit = self.repeat(unit, &shape, vec![])?;
        self.apply(Op::Binary { kind: BinaryKind::Multiply }, &[number, unit])
    }

    /// Arithmetic of integers and truth values.
    fn integers(&mut self) -> Option<Value> {
        let dtype = self.dice.pick(&[DType::I32, DType::I32, DType::U32, DType::Bool]);
        let mut a = match self.find(|ty| ty.dtype == dtype) {
            Some(a) => a,
            None if dtype == DType::I32 => {
                let shape = self.shape();
                let axis = self.dice.below(shape.rank().max(1));
                self.apply(Op::Iota { shape, axis }, &[])?
            }
            None => {
                let shape = self.shape();
                self.port(dtype, shape)
            }
        };
        for _ in 0..self.dice.between(1, 3) {
            let b = self.partner(a)?;
            let kind = self.dice.pick(BinaryKind::ALL);
            a = self.apply(Op::Binary { kind }, &[a, b]).unwrap_or(a);
        }
        let b = self.partner(a)?;
        let kind = self.dice.pick(CompareKind::ALL);
        let hit = self.apply(Op::Compare { kind }, &[a, b])?;
        let hit =
            if self.dice.percent(30) { self.apply(Op::Unary { kind: UnaryKind::Not }, &[hit])? } else { hit };
        if dtype == DType::I32 && self.dice.percent(40) {
            let axes = self.dice.subset(self.ty(a).shape.rank());
            let kind = self.dice.pick(ReduceKind::ALL);
            self.apply(Op::Reduce { kind, axes }, &[a]);
        }
        self.apply(Op::Cast { to: DType::F32 }, &[hit])
    }

    /// One reduction of several values of different sizes, as of all gradients: kernels that may become one.
    fn equal_reductions(&mut self) -> Option<Value> {
        let kind = self.dice.pick(&[ReduceKind::Sum, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min]);
        let dtype = self.float_type();
        let is_product = self.dice.percent(30);
        let mut parts = Vec::new();
        for _ in 0..self.dice.between(2, 5) {
            let long = [self.dice.between(900, 1500)];
            let shape = if self.dice.percent(20) { Shape::from(long) } else { self.shape() };
            let x = match self.find(|ty| ty.dtype == dtype && ty.shape == shape) {
                Some(value) => value,
                None => self.port_of(dtype, shape.clone(), |dice| dice.uniform(-1.0, 1.0), false),
            };
            // Of what a library operation made, sometimes turned.
            let x = match shape.as_ref() {
                &[rows, columns] if is_product => {
                    let size = ValueType { dtype, shape: [columns, columns].into() };
                    let other = self.port_of(dtype, size.shape, |dice| dice.uniform(-1.0, 1.0), false);
                    let op = Op::Dot {
                        lhs_batch: vec![],
                        rhs_batch: vec![],
                        lhs_contract: vec![1],
                        rhs_contract: vec![0],
                    };
                    let product = if rows * columns < 500 { self.apply(op, &[x, other]) } else { None };
                    let product = product.unwrap_or(x);
                    self.apply(Op::Permute { order: vec![1, 0] }, &[product])?
                }
                _ => x,
            };
            let squares = self.apply(Op::Binary { kind: BinaryKind::Multiply }, &[x, x])?;
            let axes = (0..shape.rank()).collect();
            let Some(total) = self.apply(Op::Reduce { kind, axes }, &[squares]) else { continue };
            parts.push(self.apply(Op::Reshape { shape: [1].into() }, &[total])?);
        }
        if parts.is_empty() {
            return None;
        }
        self.apply(Op::Concat { axis: 0 }, &parts)
    }

    fn concat(&mut self) -> Option<Value> {
        let x = self.float();
        let ValueType { dtype, shape } = self.ty(x).clone();
        if shape.rank() == 0 {
            return None;
        }
        let axis = self.dice.below(shape.rank());
        let mut parts = vec![x];
        for _ in 0..self.dice.between(0, 2) {
            let found = self.find(|ty| {
                ty.dtype == dtype
                    && ty.shape.rank() == shape.rank()
                    && (0..shape.rank()).all(|i| i == axis || ty.shape[i] == shape[i])
            })?;
            parts.push(found);
        }
        self.apply(Op::Concat { axis }, &parts)
    }
}
