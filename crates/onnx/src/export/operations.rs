//! One operation becomes one node or a few.

use super::{Attribute, Exporter, Extent};
use crate::{Result, element, failed};
use dropforge_ir::{
    Array, BinaryKind, CompareKind, ConvolutionWindow, DType, Data, Node, Op, PoolWindow, ReduceKind,
    UnaryKind, Value,
};

type Attributes = Vec<(&'static str, Attribute)>;

impl Exporter<'_> {
    /// Appends the nodes of an operation; `other` is the same operation at the other batch size.
    pub(super) fn operation(&mut self, node: &Node, other: &Op) -> Result<()> {
        let path = self.node_path(node);
        let output = self.name_of(node.results[0]);
        let shape = self.shape(node.results[0])?;
        let dtype = self.program.dtype(node.results[0]);
        let arg = |index: usize| node.args[index];
        match (&node.op, other) {
            (Op::Iota { axis, .. }, _) => {
                let zero = self.scalar(DType::I32, 0.0);
                let one = self.scalar(DType::I32, 1.0);
                let end = self.extent_name(shape[*axis])?;
                let narrow = self.fresh(&output, "end");
                self.graph.node("Cast", "", &[&end], &narrow, vec![("to", element::INT32.into())]);
                let end = self.fresh(&output, "stop");
                self.squeeze(&narrow, &[0], &end);
                let range = self.fresh(&output, "range");
                self.graph.node("Range", "", &[&zero, &end, &one], &range, vec![]);
                self.expand(&range, &[*axis], &shape, &output)?;
            }
            (Op::Unary { kind }, _) => {
                let x = self.name_of(arg(0));
                self.unary(*kind, &path, &x, &output, dtype);
            }
            (Op::Binary { kind }, _) => {
                let names = self.operands(&node.args)?;
                self.binary(*kind, &path, &names, &output, dtype)?;
            }
            (Op::Compare { kind }, _) => {
                let mut names = self.operands(&node.args)?;
                let narrow = match self.program.dtype(arg(0)) {
                    DType::U32 => Some(element::INT64),
                    DType::U8 | DType::Bool => Some(element::INT32),
                    _ => None,
                };
                if let Some(to) = narrow {
                    for name in &mut names {
                        *name = self.cast(name, to);
                    }
                }
                let (op, negated) = match kind {
                    CompareKind::Equal => ("Equal", false),
                    CompareKind::NotEqual => ("Equal", true),
                    CompareKind::Less => ("Less", false),
                    CompareKind::LessEqual => ("LessOrEqual", false),
                    CompareKind::Greater => ("Greater", false),
                    CompareKind::GreaterEqual => ("GreaterOrEqual", false),
                };
                let to = if negated { self.fresh(&output, "equal") } else { output.clone() };
                self.graph.node(op, &path, &[&names[0], &names[1]], &to, vec![]);
                if negated {
                    self.graph.node("Not", &path, &[&to], &output, vec![]);
                }
            }
            (Op::Select {}, _) => {
                let mut names = self.operands(&node.args)?;
                let wide = match dtype {
                    DType::Bool => Some(element::UINT8),
                    DType::U32 => Some(element::INT64),
                    _ => None,
                };
                let to = if wide.is_some() { self.fresh(&output, "where") } else { output.clone() };
                if let Some(wide) = wide {
                    names[1] = self.cast(&names[1], wide);
                    names[2] = self.cast(&names[2], wide);
                }
                self.graph.node("Where", &path, &[&names[0], &names[1], &names[2]], &to, vec![]);
                if wide.is_some() {
                    self.graph.node("Cast", "", &[&to], &output, vec![("to", element::number(dtype).into())]);
                }
            }
            (Op::Cast { to }, _) => {
                let x = self.name_of(arg(0));
                self.graph.node("Cast", &path, &[&x], &output, vec![("to", element::number(*to).into())]);
            }
            (Op::Reshape { .. }, _) => {
                let x = self.name_of(arg(0));
                self.reshape(&x, &shape, &output)?;
            }
            (Op::Permute { order }, _) => {
                let x = self.name_of(arg(0));
                let attributes = vec![("perm", order.as_slice().into())];
                self.graph.node("Transpose", &path, &[&x], &output, attributes);
            }
            (Op::Broadcast { axes, .. }, _) => {
                let x = self.name_of(arg(0));
                self.expand(&x, axes, &shape, &output)?;
            }
            (Op::Slice { start, stop, step }, Op::Slice { start: start2, stop: stop2, .. }) => {
                let starts = self.extents(start, start2)?;
                let stops = self.extents(stop, stop2)?;
                let whole = self.shape(arg(0))?;
                let zero = Extent { factor: 0, offset: 0 };
                let cut: Vec<usize> = (0..whole.len())
                    .filter(|&axis| (starts[axis], stops[axis], step[axis]) != (zero, whole[axis], 1))
                    .collect();
                let x = self.name_of(arg(0));
                let pick = |of: &[Extent]| cut.iter().map(|&axis| of[axis]).collect::<Vec<_>>();
                let starts = self.list(&pick(&starts))?;
                let stops = self.list(&pick(&stops))?;
                let wide = |of: Vec<usize>| of.iter().map(|&n| n as i64).collect::<Vec<_>>();
                let axes = self.graph.wide(&wide(cut.clone()));
                let steps = self.graph.wide(&wide(cut.iter().map(|&axis| step[axis]).collect()));
                if cut.is_empty() {
                    self.graph.node("Identity", "", &[&x], &output, vec![]);
                } else {
                    self.graph.node("Slice", &path, &[&x, &starts, &stops, &axes, &steps], &output, vec![]);
                }
            }
            (Op::Pad { low, high, interior, value }, Op::Pad { low: low2, high: high2, .. }) => {
                let mut x = self.name_of(arg(0));
                let value = self.scalar(dtype, value.0);
                let mut extents = self.shape(arg(0))?;
                for (axis, &between) in interior.iter().enumerate().filter(|(_, between)| **between > 0) {
                    x = self.spaced(&x, axis, between, &mut extents, &value)?;
                }
                let mut pads = self.extents(low, low2)?;
                pads.extend(self.extents(high, high2)?);
                let pads = self.list(&pads)?;
                self.graph.node("Pad", &path, &[&x, &pads, &value], &output, vec![]);
            }
            (Op::Flip { axes }, _) => {
                let x = self.name_of(arg(0));
                let wide = |number: i64| vec![number; axes.len()];
                let (starts, steps) = (self.graph.wide(&wide(-1)), self.graph.wide(&wide(-1)));
                let stops = self.graph.wide(&wide(i64::MIN + 1));
                let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
                let axes = self.graph.wide(&axes);
                self.graph.node("Slice", &path, &[&x, &starts, &stops, &axes, &steps], &output, vec![]);
            }
            (Op::Concat { axis }, _) => {
                let names: Vec<String> = node.args.iter().map(|&arg| self.name_of(arg)).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.graph.node("Concat", &path, &names, &output, vec![("axis", (*axis as i64).into())]);
            }
            (Op::Reduce { kind, axes }, _) => {
                let op = match kind {
                    ReduceKind::Sum => "ReduceSum",
                    ReduceKind::Max => "ReduceMax",
                    ReduceKind::Min => "ReduceMin",
                    ReduceKind::Product => "ReduceProd",
                };
                let x = self.name_of(arg(0));
                self.reduce(op, &path, &x, axes, &output);
            }
            (Op::ArgMax { axis }, _) => {
                let x = self.name_of(arg(0));
                let wide = self.fresh(&output, "wide");
                let attributes = vec![("axis", (*axis as i64).into()), ("keepdims", 0.into())];
                self.graph.node("ArgMax", &path, &[&x], &wide, attributes);
                self.graph.node("Cast", "", &[&wide], &output, vec![("to", element::INT32.into())]);
            }
            (Op::ArgSort { axis, descending }, _) => {
                let x = self.name_of(arg(0));
                let count = self.extent_name(shape[*axis])?;
                let (values, wide) = (self.fresh(&output, "sorted"), self.fresh(&output, "wide"));
                let attributes =
                    vec![("axis", (*axis as i64).into()), ("largest", (*descending as i64).into())];
                self.graph.node_of("TopK", &path, &[&x, &count], &[&values, &wide], attributes);
                self.graph.node("Cast", "", &[&wide], &output, vec![("to", element::INT32.into())]);
            }
            (Op::CumulativeSum { axis, reverse }, _) => {
                let x = self.name_of(arg(0));
                let axis = self.graph.wide(&[*axis as i64]);
                let attributes = vec![("reverse", (*reverse as i64).into())];
                self.graph.node("CumSum", &path, &[&x, &axis], &output, attributes);
            }
            (Op::LogSumExp { axes }, _) => {
                let x = self.name_of(arg(0));
                self.reduce("ReduceLogSumExp", &path, &x, axes, &output);
            }
            (Op::MeanVariance { axes }, _) => {
                let x = self.name_of(arg(0));
                self.reduce("ReduceMean", &path, &x, axes, &output);
                let variance = self.name_of(node.results[1]);
                let (kept, centred) = (self.fresh(&output, "kept"), self.fresh(&output, "centred"));
                let squares = self.fresh(&output, "squares");
                if axes.is_empty() {
                    self.graph.node("Sub", &path, &[&x, &x], &variance, vec![]);
                } else {
                    let list: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
                    let list = self.graph.wide(&list);
                    self.graph.node("ReduceMean", &path, &[&x, &list], &kept, vec![]);
                    self.graph.node("Sub", &path, &[&x, &kept], &centred, vec![]);
                    self.graph.node("Mul", &path, &[&centred, &centred], &squares, vec![]);
                    self.reduce("ReduceMean", &path, &squares, axes, &variance);
                }
            }
            (Op::Dot { .. }, _) => self.dot(node, &path, &output)?,
            (Op::Convolution { window }, _) => {
                let (x, filter) = (self.name_of(arg(0)), self.name_of(arg(1)));
                let kernel = &self.program.shape(arg(1))[2..];
                self.graph.node("Conv", &path, &[&x, &filter], &output, convolution(window, kernel));
            }
            (Op::ConvolutionInputGradient { window, input }, _) => {
                let (x, filter) = (self.name_of(arg(0)), self.name_of(arg(1)));
                let kernel: Vec<usize> = self.program.shape(arg(1))[2..].to_vec();
                let size = self.program.shape(arg(0))[2..].to_vec();
                let rest: Vec<i64> = (0..2)
                    .map(|axis| {
                        let taps = (kernel[axis] - 1) * window.dilation[axis] + 1;
                        let reached = (size[axis] - 1) * window.stride[axis] + taps;
                        let padded = input[axis] + window.low[axis] + window.high[axis];
                        padded as i64 - reached as i64
                    })
                    .collect();
                let mut attributes = convolution(window, &kernel);
                attributes.push(("output_padding", Attribute::Integers(rest)));
                self.graph.node("ConvTranspose", &path, &[&x, &filter], &output, attributes);
            }
            (Op::MaxPool { window }, _) => {
                let x = self.name_of(arg(0));
                let attributes = pool(window);
                let positions = node.results[1];
                if self.uses[positions.index()] == 0 {
                    self.graph.node("MaxPool", &path, &[&x], &output, attributes);
                } else {
                    // Positions count through all planes there, and within one here.
                    let all = self.fresh(&output, "positions");
                    self.graph.node_of("MaxPool", &path, &[&x], &[&output, &all], attributes);
                    let plane = self.shape(arg(0))?[2..].iter().filter_map(|e| e.fixed()).product();
                    let plane = self.graph.wide(&[plane]);
                    let within = self.fresh(&output, "within");
                    self.graph.node("Mod", &path, &[&all, &plane], &within, vec![]);
                    let name = self.name_of(positions);
                    self.graph.node("Cast", "", &[&within], &name, vec![("to", element::INT32.into())]);
                }
            }
            (Op::WindowSum { window }, _) => {
                let x = self.name_of(arg(0));
                let means = self.fresh(&output, "means");
                self.average(&path, &x, window, &means);
                let count = self.scalar(dtype, window.kernel.iter().product::<usize>() as f64);
                self.graph.node("Mul", &path, &[&means, &count], &output, vec![]);
            }
            (Op::WindowSumTranspose { window, input }, _) => {
                self.spread_windows(node, window, *input, &path, &output)?;
            }
            (Op::Gather { axis }, _) => {
                let (x, indices) = (self.name_of(arg(0)), self.name_of(arg(1)));
                let attributes = vec![("axis", (*axis as i64).into())];
                self.graph.node("Gather", &path, &[&x, &indices], &output, attributes);
            }
            (Op::Attention { causal, scale }, _) => {
                self.attention(node, *causal != 0, scale.0, &path)?;
            }
            (op, _) => {
                return Err(failed(format!(
                    "{} has no counterpart among the operators; export a network that predicts",
                    op.name()
                )));
            }
        }
        Ok(())
    }

    /// An initialiser with one number and no axes.
    pub(super) fn scalar(&mut self, dtype: DType, number: f64) -> String {
        let name = self.graph.fresh(&format!("{dtype}_{number}").replace(['-', '.'], "_"));
        let data = Data::from_bytes(dtype, dropforge_ir::Literal::scalar(dtype, number).bytes());
        let array = data.and_then(|data| Array::new(dropforge_ir::Shape::scalar(), data));
        self.graph.initialiser(&name, array.unwrap_or_else(|| Array::scalar(number as f32)));
        name
    }

    pub(super) fn cast(&mut self, x: &str, to: i64) -> String {
        let name = self.fresh(x, "cast");
        self.graph.node("Cast", "", &[x], &name, vec![("to", to.into())]);
        name
    }

    fn expand(&mut self, x: &str, axes: &[usize], shape: &[Extent], output: &str) -> Result<()> {
        let first = axes.first().copied().unwrap_or(shape.len());
        let trailing = axes.iter().copied().eq(first..shape.len());
        let aligned = if trailing {
            x.to_string()
        } else {
            let name = self.fresh(output, "aligned");
            let one = Extent { factor: 0, offset: 1 };
            let extents: Vec<Extent> =
                (0..shape.len()).map(|axis| if axes.contains(&axis) { shape[axis] } else { one }).collect();
            self.reshape(x, &extents[first..], &name)?;
            name
        };
        let target = self.list(shape)?;
        self.graph.node("Expand", "", &[&aligned, &target], output, vec![]);
        Ok(())
    }

    pub(super) fn reduce(&mut self, op: &'static str, path: &str, x: &str, axes: &[usize], output: &str) {
        if axes.is_empty() {
            self.graph.node("Identity", path, &[x], output, vec![]);
            return;
        }
        let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let axes = self.graph.wide(&axes);
        self.graph.node(op, path, &[x, &axes], output, vec![("keepdims", 0.into())]);
    }

    fn unary(&mut self, kind: UnaryKind, path: &str, x: &str, output: &str, dtype: DType) {
        let op = match kind {
            UnaryKind::Negate => "Neg",
            UnaryKind::Absolute => "Abs",
            UnaryKind::Sign => "Sign",
            UnaryKind::Exp => "Exp",
            UnaryKind::Log => "Log",
            UnaryKind::SquareRoot => "Sqrt",
            UnaryKind::Reciprocal => "Reciprocal",
            UnaryKind::Sin => "Sin",
            UnaryKind::Cos => "Cos",
            UnaryKind::Tanh => "Tanh",
            UnaryKind::Sigmoid => "Sigmoid",
            UnaryKind::Erf => "Erf",
            UnaryKind::Relu => "Relu",
            UnaryKind::Floor => "Floor",
            UnaryKind::Ceil => "Ceil",
            UnaryKind::Round => "Round",
            UnaryKind::Not => "Not",
            UnaryKind::ReciprocalSquareRoot => {
                let root = self.fresh(output, "root");
                self.graph.node("Sqrt", path, &[x], &root, vec![]);
                self.graph.node("Reciprocal", path, &[&root], output, vec![]);
                return;
            }
            // e^x − 1 = tanh(x/2)·(e^x + 1), which is exact near 0.
            UnaryKind::ExpMinusOne => {
                let [half, tangent, power, above] =
                    ["half", "tangent", "power", "above"].map(|what| self.fresh(output, what));
                let (factor, one) = (self.scalar(dtype, 0.5), self.scalar(dtype, 1.0));
                self.graph.node("Mul", path, &[x, &factor], &half, vec![]);
                self.graph.node("Tanh", path, &[&half], &tangent, vec![]);
                self.graph.node("Exp", path, &[x], &power, vec![]);
                self.graph.node("Add", path, &[&power, &one], &above, vec![]);
                self.graph.node("Mul", path, &[&tangent, &above], output, vec![]);
                return;
            }
            // ln(1 + x) = 2·artanh(x/(2 + x)), which is exact near 0; the plain formula elsewhere.
            UnaryKind::LogOnePlus => {
                let [below, ratio, artanh, near] =
                    ["below", "ratio", "artanh", "near"].map(|what| self.fresh(output, what));
                let [sum, far, size, is_near] =
                    ["sum", "far", "size", "is_near"].map(|what| self.fresh(output, what));
                let (one, two) = (self.scalar(dtype, 1.0), self.scalar(dtype, 2.0));
                let limit = self.scalar(dtype, 0.5);
                self.graph.node("Add", path, &[x, &two], &below, vec![]);
                self.graph.node("Div", path, &[x, &below], &ratio, vec![]);
                self.graph.node("Atanh", path, &[&ratio], &artanh, vec![]);
                self.graph.node("Mul", path, &[&artanh, &two], &near, vec![]);
                self.graph.node("Add", path, &[x, &one], &sum, vec![]);
                self.graph.node("Log", path, &[&sum], &far, vec![]);
                self.graph.node("Abs", path, &[x], &size, vec![]);
                self.graph.node("Less", path, &[&size, &limit], &is_near, vec![]);
                self.graph.node("Where", path, &[&is_near, &near, &far], output, vec![]);
                return;
            }
        };
        self.graph.node(op, path, &[x], output, vec![]);
    }

    fn binary(
        &mut self,
        kind: BinaryKind,
        path: &str,
        names: &[String],
        output: &str,
        dtype: DType,
    ) -> Result<()> {
        let is_bool = dtype == DType::Bool;
        let (op, attributes): (_, Attributes) = match kind {
            BinaryKind::Add => ("Add", vec![]),
            BinaryKind::Subtract => ("Sub", vec![]),
            BinaryKind::Multiply => ("Mul", vec![]),
            BinaryKind::Divide => ("Div", vec![]),
            BinaryKind::Power => ("Pow", vec![]),
            BinaryKind::Maximum => ("Max", vec![]),
            BinaryKind::Minimum => ("Min", vec![]),
            BinaryKind::Remainder => ("Mod", vec![("fmod", 1.into())]),
            BinaryKind::And => (if is_bool { "And" } else { "BitwiseAnd" }, vec![]),
            BinaryKind::Or => (if is_bool { "Or" } else { "BitwiseOr" }, vec![]),
            BinaryKind::Xor => (if is_bool { "Xor" } else { "BitwiseXor" }, vec![]),
            BinaryKind::ShiftLeft => ("BitShift", vec![("direction", Attribute::Text("LEFT".into()))]),
            BinaryKind::ShiftRight => ("BitShift", vec![("direction", Attribute::Text("RIGHT".into()))]),
        };
        let (a, mut b) = (names[0].clone(), names[1].clone());
        if matches!(kind, BinaryKind::ShiftLeft | BinaryKind::ShiftRight) {
            let (mask, masked) = (self.scalar(dtype, 31.0), self.fresh(output, "shift"));
            self.graph.node("BitwiseAnd", path, &[&b, &mask], &masked, vec![]);
            b = masked;
        }
        let divides = matches!(kind, BinaryKind::Divide | BinaryKind::Remainder) && !dtype.is_float();
        let wraps = matches!(kind, BinaryKind::Add | BinaryKind::Subtract | BinaryKind::Multiply);
        if dtype == DType::U32 && (divides || wraps) {
            // Arithmetic of 64 bits, of which the lower half is kept: few runtimes have unsigned numbers.
            let (a, b) = (self.cast(&a, element::INT64), self.cast(&b, element::INT64));
            let wide = self.fresh(output, "wide");
            self.safely(op, path, [&a, &b], &wide, attributes, divides.then_some(element::INT64));
            self.graph.node("Cast", "", &[&wide], output, vec![("to", element::UINT32.into())]);
            return Ok(());
        }
        self.safely(op, path, [&a, &b], output, attributes, divides.then_some(element::number(dtype)));
        Ok(())
    }

    /// A node of two operands; if it divides integers, what is divided by 0 is 0.
    fn safely(
        &mut self,
        op: &'static str,
        path: &str,
        [a, b]: [&str; 2],
        output: &str,
        attributes: Attributes,
        integers: Option<i64>,
    ) {
        let Some(number) = integers else {
            self.graph.node(op, path, &[a, b], output, attributes);
            return;
        };
        let mut of_type = |number_of: i64| {
            let wide = self.graph.wide(&[number_of]);
            if number == element::INT64 { wide } else { self.cast(&wide, number) }
        };
        let (zero, one) = (of_type(0), of_type(1));
        let [none, divisor, quotient] = ["none", "divisor", "quotient"].map(|what| self.fresh(output, what));
        self.graph.node("Equal", path, &[b, &zero], &none, vec![]);
        self.graph.node("Where", path, &[&none, &one, b], &divisor, vec![]);
        self.graph.node(op, path, &[a, &divisor], &quotient, attributes);
        self.graph.node("Where", path, &[&none, &zero, &quotient], output, vec![]);
    }

    /// `between` values between neighbours along an axis: a new axis is padded and merged into the one before.
    fn spaced(
        &mut self,
        x: &str,
        axis: usize,
        between: usize,
        extents: &mut [Extent],
        value: &str,
    ) -> Result<String> {
        let [apart, padded, merged, cut] =
            ["apart", "padded", "merged", "cut"].map(|what| self.fresh(x, what));
        let mut shape = extents.to_vec();
        shape.insert(axis + 1, Extent { factor: 0, offset: 1 });
        self.reshape(x, &shape, &apart)?;
        let mut pads = vec![0; 2 * shape.len()];
        pads[shape.len() + axis + 1] = between as i64;
        let pads = self.graph.wide(&pads);
        self.graph.node("Pad", "", &[&apart, &pads, value], &padded, vec![]);
        let every = between as i64 + 1;
        let Extent { factor, offset } = extents[axis];
        extents[axis] = Extent { factor: factor * every, offset: offset * every };
        self.reshape(&padded, extents, &merged)?;
        extents[axis].offset -= between as i64;
        let stop = self.extent_name(extents[axis])?;
        let (zero, along) = (self.graph.wide(&[0]), self.graph.wide(&[axis as i64]));
        self.graph.node("Slice", "", &[&merged, &zero, &stop, &along], &cut, vec![]);
        Ok(cut)
    }

    fn dot(&mut self, node: &Node, path: &str, output: &str) -> Result<()> {
        let Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } = &node.op else { return Ok(()) };
        let (a, b) = (self.name_of(node.args[0]), self.name_of(node.args[1]));
        let ranks = [0, 1].map(|side| self.program.shape(node.args[side]).rank());
        let leading = |axes: &[usize]| axes.iter().copied().eq(0..axes.len());
        let count = lhs_batch.len();
        let free = [ranks[0] - count - lhs_contract.len(), ranks[1] - count - rhs_contract.len()];
        let simple = leading(lhs_batch) && leading(rhs_batch) && lhs_contract.len() == 1 && free[1] == 1;
        if simple && (free[0] == 1 || count == 0 && lhs_contract[0] == ranks[0] - 1 && free[0] > 0) {
            let a = if lhs_contract[0] == ranks[0] - 1 { a } else { self.swapped(&a, count, ranks[0]) };
            let b = if rhs_contract[0] == count { b } else { self.swapped(&b, count, ranks[1]) };
            self.graph.node("MatMul", path, &[&a, &b], output, vec![]);
            return Ok(());
        }
        let mut letters = ('a'..='z').chain('A'..='Z');
        let mut sides = [vec![' '; ranks[0]], vec![' '; ranks[1]]];
        let pairs = lhs_batch.iter().zip(rhs_batch).chain(lhs_contract.iter().zip(rhs_contract));
        let mut result = String::new();
        for (index, (&left, &right)) in pairs.enumerate() {
            let letter = letters.next().unwrap_or('a');
            (sides[0][left], sides[1][right]) = (letter, letter);
            if index < count {
                result.push(letter);
            }
        }
        for side in &mut sides {
            for axis in side.iter_mut().filter(|axis| **axis == ' ') {
                *axis = letters.next().unwrap_or('a');
                result.push(*axis);
            }
        }
        let [left, right] = sides.map(|side| side.into_iter().collect::<String>());
        let equation = Attribute::Text(format!("{left},{right}->{result}"));
        self.graph.node("Einsum", path, &[&a, &b], output, vec![("equation", equation)]);
        Ok(())
    }

    /// The last two axes in the other order.
    pub(super) fn swapped(&mut self, x: &str, count: usize, rank: usize) -> String {
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(count, rank - 1);
        let name = self.fresh(x, "transposed");
        self.graph.node("Transpose", "", &[x], &name, vec![("perm", order.as_slice().into())]);
        name
    }

    /// Means of windows, padding counting as zeros.
    pub(super) fn average(&mut self, path: &str, x: &str, window: &PoolWindow, output: &str) {
        let mut attributes = pool(window);
        attributes.push(("count_include_pad", 1.into()));
        self.graph.node("AveragePool", path, &[x], output, attributes);
    }

    /// Each element is added to all positions of its window: a transposed convolution of each plane with ones.
    fn spread_windows(
        &mut self,
        node: &Node,
        window: &PoolWindow,
        input: [usize; 2],
        path: &str,
        output: &str,
    ) -> Result<()> {
        let x = self.name_of(node.args[0]);
        let size = self.program.shape(node.args[0])[2..].to_vec();
        let channels = self.program.shape(node.args[0])[1];
        let rest: Vec<i64> = (0..2)
            .map(|axis| {
                let reached = (size[axis] - 1) * window.stride[axis] + window.kernel[axis];
                (input[axis] + window.low[axis] + window.high[axis]) as i64 - reached as i64
            })
            .collect();
        let ones = Array::new(
            [channels, 1, window.kernel[0], window.kernel[1]],
            Data::F32(vec![1.0; channels * window.kernel.iter().product::<usize>()]),
        );
        let filter = self.fresh(output, "ones");
        self.graph.initialiser(&filter, ones.ok_or_else(|| failed("a window is damaged"))?);
        let dtype = self.program.dtype(node.args[0]);
        let filter = if dtype == DType::F32 { filter } else { self.cast(&filter, element::number(dtype)) };
        let mut attributes = pool(window);
        attributes.push(("group", (channels as i64).into()));
        attributes.push(("output_padding", Attribute::Integers(rest)));
        self.graph.node("ConvTranspose", path, &[&x, &filter], output, attributes);
        Ok(())
    }

    fn attention(&mut self, node: &Node, causal: bool, scale: f64, path: &str) -> Result<()> {
        let [q, k, v] = [0, 1, 2].map(|index| self.name_of(node.args[index]));
        let (queries, keys) = (self.shape(node.args[0])?[2], self.shape(node.args[1])?[2]);
        let dtype = self.program.dtype(node.args[0]);
        let output = self.name_of(node.results[0]);
        let [scaled, scores, weights] = ["scaled", "scores", "weights"].map(|what| self.fresh(&output, what));
        let keys_across = self.swapped(&k, 2, 4);
        let factor = self.scalar(dtype, scale);
        self.graph.node("Mul", path, &[&q, &factor], &scaled, vec![]);
        self.graph.node("MatMul", path, &[&scaled, &keys_across], &scores, vec![]);
        let mut seen = scores;
        if causal {
            let (Some(rows), Some(columns)) = (queries.fixed(), keys.fixed()) else {
                return Err(failed("causal attention over the batch has no counterpart"));
            };
            let visible = |row: i64, column: i64| u8::from(column <= row + columns - rows);
            let mask: Vec<u8> =
                (0..rows).flat_map(|row| (0..columns).map(move |column| visible(row, column))).collect();
            let mask = Array::new([rows as usize, columns as usize], Data::Bool(mask));
            let name = self.graph.fresh(&format!("causal_{rows}_{columns}"));
            self.graph.initialiser(&name, mask.ok_or_else(|| failed("a mask is damaged"))?);
            let hidden = self.scalar(dtype, if dtype == DType::F16 { -65504.0 } else { f64::from(f32::MIN) });
            let masked = self.fresh(&output, "masked");
            self.graph.node("Where", path, &[&name, &seen, &hidden], &masked, vec![]);
            seen = masked;
        }
        self.graph.node("Softmax", path, &[&seen], &weights, vec![("axis", (-1).into())]);
        self.graph.node("MatMul", path, &[&weights, &v], &output, vec![]);
        let statistics: Value = node.results[1];
        if self.uses[statistics.index()] > 0 {
            let name = self.name_of(statistics);
            let wide = if dtype == DType::F32 { seen } else { self.cast(&seen, element::FLOAT) };
            self.reduce("ReduceLogSumExp", path, &wide, &[3], &name);
        }
        Ok(())
    }
}

/// `[low.., high..]`
fn pads(low: [usize; 2], high: [usize; 2]) -> Attribute {
    Attribute::from([low, high].concat().as_slice())
}

pub(super) fn convolution(window: &ConvolutionWindow, kernel: &[usize]) -> Attributes {
    vec![
        ("kernel_shape", kernel.into()),
        ("strides", window.stride.as_slice().into()),
        ("pads", pads(window.low, window.high)),
        ("dilations", window.dilation.as_slice().into()),
        ("group", (window.groups as i64).into()),
    ]
}

fn pool(window: &PoolWindow) -> Attributes {
    vec![
        ("kernel_shape", window.kernel.as_slice().into()),
        ("strides", window.stride.as_slice().into()),
        ("pads", pads(window.low, window.high)),
    ]
}
