//! Operations that have an operator of their own when taken together. What they leave without use is not written.

use super::operations::convolution;
use super::{Attribute, Exporter};
use crate::Result;
use dropforge_ir::{BinaryKind, DType, Node, Op, ReduceKind, UnaryKind, Value};

/// A normalisation that has been found.
struct Norm {
    x: Value,
    scale: Value,
    bias: Value,
    mean: Value,
    variance: Value,
    epsilon: f64,
}

impl Exporter<'_> {
    /// Appends the operator that ends with this node, if there is one.
    pub(super) fn pattern(&mut self, node: &Node) -> Result<bool> {
        let &Op::Binary { kind } = &node.op else { return Ok(false) };
        match kind {
            BinaryKind::Add => {
                Ok(self.normalisation(node)? || self.biased_convolution(node)? || self.affine(node)?)
            }
            BinaryKind::Divide => Ok(self.softmax(node)? || self.mean(node)?),
            BinaryKind::Subtract => self.log_softmax(node),
            BinaryKind::Multiply => self.gelu(node),
            _ => Ok(false),
        }
    }

    fn binary_of(&self, value: Value, kind: BinaryKind) -> Option<[Value; 2]> {
        let node = self.program.definition(value);
        match node.op {
            Op::Binary { kind: found } if found == kind => Some([node.args[0], node.args[1]]),
            _ => None,
        }
    }

    fn unary_of(&self, value: Value, kind: UnaryKind) -> Option<Value> {
        let node = self.program.definition(value);
        matches!(node.op, Op::Unary { kind: found } if found == kind).then(|| node.args[0])
    }

    /// The factor of a product that is this number everywhere, and the other one.
    fn with_number(&self, value: Value, kind: BinaryKind) -> Option<(Value, f64)> {
        let [a, b] = self.binary_of(value, kind)?;
        let number = |x: Value| self.program.splat(x);
        number(b).map(|number| (a, number)).or_else(|| number(a).map(|number| (b, number)))
    }

    /// The source of a value that varies along one axis only, and has nothing but that.
    fn along(&self, value: Value, axis: usize) -> Option<Value> {
        let spread = self.spread(value);
        let axes: Vec<usize> = spread.axes.iter().flatten().copied().collect();
        let flat = self.program.shape(spread.source).rank() == 1;
        (flat && axes == [axis]).then_some(spread.source)
    }

    /// Whether a value repeats another one, from which `axis` has been reduced.
    fn repeats(&self, value: Value, of: Value, axis: usize) -> bool {
        let spread = self.spread(value);
        let rank = self.program.shape(value).rank();
        let kept: Vec<usize> = spread.axes.iter().flatten().copied().collect();
        let expected: Vec<usize> = (0..rank).filter(|&other| other != axis).collect();
        // Axes of extent 1 are told by nothing.
        let significant = |axes: Vec<usize>| -> Vec<usize> {
            axes.into_iter().filter(|&axis| self.program.shape(value)[axis] != 1).collect()
        };
        spread.source == of && significant(kept) == significant(expected)
    }

    fn biased_convolution(&mut self, node: &Node) -> Result<bool> {
        for [sum, bias] in [[node.args[0], node.args[1]], [node.args[1], node.args[0]]] {
            let definition = self.program.definition(sum);
            let Op::Convolution { window } = &definition.op else { continue };
            let Some(bias) = self.along(bias, 1).filter(|_| self.uses[sum.index()] == 1) else { continue };
            let path = self.node_path(definition);
            let names = [definition.args[0], definition.args[1], bias].map(|value| self.name_of(value));
            let output = self.name_of(node.results[0]);
            let kernel = &self.program.shape(definition.args[1])[2..];
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            self.graph.node("Conv", &path, &names, &output, convolution(window, kernel));
            return Ok(true);
        }
        Ok(false)
    }

    /// A product of matrices and a bias.
    fn affine(&mut self, node: &Node) -> Result<bool> {
        for [product, bias] in [[node.args[0], node.args[1]], [node.args[1], node.args[0]]] {
            let definition = self.program.definition(product);
            let Op::Dot { lhs_batch, lhs_contract, rhs_contract, .. } = &definition.op else { continue };
            let flat = definition.args.iter().all(|&arg| self.program.shape(arg).rank() == 2);
            if !flat || !lhs_batch.is_empty() || lhs_contract.len() != 1 || self.uses[product.index()] != 1 {
                continue;
            }
            let Some(bias) = self.along(bias, 1) else { continue };
            let path = self.node_path(definition);
            let names = [definition.args[0], definition.args[1], bias].map(|value| self.name_of(value));
            let output = self.name_of(node.results[0]);
            let turned = |turned: bool| Attribute::Integer(i64::from(turned));
            let attributes =
                vec![("transA", turned(lhs_contract[0] == 0)), ("transB", turned(rhs_contract[0] == 1))];
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            self.graph.node("Gemm", &path, &names, &output, attributes);
            return Ok(true);
        }
        Ok(false)
    }

    /// x − max x along one axis: x and the axis.
    fn below_largest(&self, value: Value) -> Option<(Value, usize)> {
        let [x, largest] = self.binary_of(value, BinaryKind::Subtract)?;
        let source = self.spread(largest).source;
        let definition = self.program.definition(source);
        let Op::Reduce { kind: ReduceKind::Max, axes } = &definition.op else { return None };
        let &[axis] = axes.as_slice() else { return None };
        (definition.args[0] == x && self.repeats(largest, source, axis)).then_some((x, axis))
    }

    /// Σ of a value along an axis, repeated.
    fn is_total(&self, total: Value, of: Value, axis: usize) -> bool {
        let source = self.spread(total).source;
        let definition = self.program.definition(source);
        matches!(&definition.op, Op::Reduce { kind: ReduceKind::Sum, axes } if *axes == [axis])
            && definition.args[0] == of
            && self.repeats(total, source, axis)
    }

    fn softmax(&mut self, node: &Node) -> Result<bool> {
        let [powers, total] = [node.args[0], node.args[1]];
        let found = self.unary_of(powers, UnaryKind::Exp).and_then(|below| self.below_largest(below));
        let Some((x, axis)) = found.filter(|&(_, axis)| self.is_total(total, powers, axis)) else {
            return Ok(false);
        };
        self.along_axis("Softmax", node, x, axis)
    }

    fn log_softmax(&mut self, node: &Node) -> Result<bool> {
        let [below, log] = [node.args[0], node.args[1]];
        let Some((x, axis)) = self.below_largest(below) else { return Ok(false) };
        let source = self.spread(log).source;
        let powers = self.unary_of(source, UnaryKind::Log).and_then(|total| {
            let sum = self.program.definition(total);
            matches!(&sum.op, Op::Reduce { kind: ReduceKind::Sum, axes } if *axes == [axis])
                .then(|| sum.args[0])
        });
        let exp = powers.and_then(|powers| self.unary_of(powers, UnaryKind::Exp));
        if exp != Some(below) || !self.repeats(log, source, axis) {
            return Ok(false);
        }
        self.along_axis("LogSoftmax", node, x, axis)
    }

    fn along_axis(&mut self, op: &'static str, node: &Node, x: Value, axis: usize) -> Result<bool> {
        let (x, output) = (self.name_of(x), self.name_of(node.results[0]));
        self.graph.node(op, "", &[&x], &output, vec![("axis", (axis as i64).into())]);
        Ok(true)
    }

    /// Sums of windows or over axes divided by how many they are of.
    fn mean(&mut self, node: &Node) -> Result<bool> {
        let (sums, count) = (node.args[0], self.program.splat(node.args[1]));
        let definition = self.program.definition(sums);
        let output = self.name_of(node.results[0]);
        match &definition.op {
            Op::WindowSum { window } if count == Some(window.kernel.iter().product::<usize>() as f64) => {
                let x = self.name_of(definition.args[0]);
                self.average("", &x, window, &output);
            }
            Op::Reduce { kind: ReduceKind::Sum, axes } if !axes.is_empty() => {
                let shape = self.program.shape(definition.args[0]);
                let terms: usize = axes.iter().map(|&axis| shape[axis]).product();
                if count != Some(terms as f64) || !self.program.dtype(sums).is_float() {
                    return Ok(false);
                }
                let x = self.name_of(definition.args[0]);
                self.reduce("ReduceMean", "", &x, axes, &output);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn gelu(&mut self, node: &Node) -> Result<bool> {
        if self.options.opset < 20 {
            return Ok(false);
        }
        let near = |number: f64, expected: f64| (number - expected).abs() <= 1e-6 * expected.abs();
        let [a, b] = [node.args[0], node.args[1]];
        let output = self.name_of(node.results[0]);
        // x·½·(1 + erf(x/√2))
        if let (Some((x, half)), Some((erf, one))) =
            (self.with_number(a, BinaryKind::Multiply), self.with_number(b, BinaryKind::Add))
        {
            let inner = self.unary_of(erf, UnaryKind::Erf);
            let inner = inner.and_then(|inner| self.with_number(inner, BinaryKind::Multiply));
            let fits = inner.is_some_and(|(y, factor)| {
                y == x && near(factor, std::f64::consts::FRAC_1_SQRT_2) && half == 0.5 && one == 1.0
            });
            if fits {
                let x = self.name_of(x);
                self.graph.node("Gelu", "", &[&x], &output, vec![]);
                return Ok(true);
            }
        }
        // x·sigmoid(x·(x²·c + l))
        let linear = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
        let found = self.unary_of(b, UnaryKind::Sigmoid).and_then(|inner| {
            let [x, factor] = self.binary_of(inner, BinaryKind::Multiply)?;
            let (square, added) = self.with_number(factor, BinaryKind::Add)?;
            let (square, cubic) = self.with_number(square, BinaryKind::Multiply)?;
            let squared = self.binary_of(square, BinaryKind::Multiply)? == [x, x];
            (x == a && squared && near(added, linear) && near(cubic, 0.044_715 * linear)).then_some(x)
        });
        let Some(x) = found else { return Ok(false) };
        let x = self.name_of(x);
        let approximate = vec![("approximate", Attribute::Text("tanh".into()))];
        self.graph.node("Gelu", "", &[&x], &output, approximate);
        Ok(true)
    }

    /// (x − mean)·(variance + ε)^−½·scale + bias
    fn normalised(&self, node: &Node) -> Option<Norm> {
        let [scaled, bias] = [node.args[0], node.args[1]];
        let [y, scale] = self.binary_of(scaled, BinaryKind::Multiply)?;
        let [centred, deviation] = self.binary_of(y, BinaryKind::Multiply)?;
        let [x, mean] = self.binary_of(centred, BinaryKind::Subtract)?;
        let inverse = self.unary_of(self.spread(deviation).source, UnaryKind::ReciprocalSquareRoot)?;
        let (variance, epsilon) = self.with_number(inverse, BinaryKind::Add)?;
        Some(Norm { x, scale, bias, mean, variance, epsilon })
    }

    fn normalisation(&mut self, node: &Node) -> Result<bool> {
        let Some(norm) = self.normalised(node) else { return Ok(false) };
        let Norm { x, epsilon, .. } = norm;
        if self.program.dtype(x) != DType::F32 {
            return Ok(false);
        }
        let last = self.program.shape(x).rank().saturating_sub(1);
        let statistics = self.program.definition(self.spread(norm.mean).source);
        let epsilon = ("epsilon", Attribute::Float(epsilon as f32));
        if let Op::MeanVariance { axes } = &statistics.op {
            let fits = *axes == [last]
                && statistics.args[0] == x
                && self.repeats(norm.mean, statistics.results[0], last)
                && norm.variance == statistics.results[1];
            let (Some(scale), Some(bias), true) =
                (self.along(norm.scale, last), self.along(norm.bias, last), fits)
            else {
                return Ok(false);
            };
            let path = self.paths[scale.index()].clone();
            let names = [x, scale, bias].map(|value| self.name_of(value));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let output = self.name_of(node.results[0]);
            let attributes = vec![("axis", Attribute::Integer(-1)), epsilon];
            self.graph.node("LayerNormalization", &path, &names, &output, attributes);
            return Ok(true);
        }
        let all = [self.along(norm.scale, 1), self.along(norm.bias, 1), self.along(norm.mean, 1)];
        let [Some(scale), Some(bias), Some(mean)] = all else { return Ok(false) };
        let variance = self.program.definition(norm.variance);
        if self.program.shape(x).rank() < 2 || !matches!(variance.op, Op::State(_)) {
            return Ok(false);
        }
        let path = self.paths[scale.index()].clone();
        let names = [x, scale, bias, mean, norm.variance].map(|value| self.name_of(value));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let output = self.name_of(node.results[0]);
        self.graph.node("BatchNormalization", &path, &names, &output, vec![epsilon]);
        Ok(true)
    }
}
