//! Whether values are probabilities, by the operations that made them.

use super::Tensor;
use super::node::{Action, Source};
use dropforge_ir::{BinaryKind, Op, Program, ReduceKind, UnaryKind, Value};
use std::sync::Arc;

/// A value of a program, or one that is to become a part of it.
trait Made: Clone {
    /// The operation that made it, and what that was given; `None` where it was not made by one.
    fn made(&self) -> Option<(Op, Vec<Self>)>;

    fn is_same(&self, other: &Self) -> bool;
}

#[derive(Clone)]
struct Within<'a>(&'a Program, Value);

impl Made for Within<'_> {
    fn made(&self) -> Option<(Op, Vec<Self>)> {
        let node = self.0.definition(self.1);
        Some((node.op.clone(), node.args.iter().map(|&arg| Within(self.0, arg)).collect()))
    }

    fn is_same(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl Made for Tensor {
    fn made(&self) -> Option<(Op, Vec<Self>)> {
        let Source::Applied { application, .. } = self.node.source() else { return None };
        let Action::Operation(op) = &application.action else { return None };
        Some((op.clone(), application.args.clone()))
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

/// The value that another one only has in a different shape, order or type.
fn unmoved<V: Made>(value: &V) -> V {
    let mut value = value.clone();
    while let Some((Op::Reshape { .. } | Op::Permute { .. } | Op::Broadcast { .. } | Op::Cast { .. }, args)) =
        value.made()
        && let [inner] = args.as_slice()
    {
        value = inner.clone();
    }
    value
}

/// Whether the last operation was a sigmoid, or a softmax: powers over their sum.
fn are_probabilities<V: Made>(value: &V) -> bool {
    match unmoved(value).made() {
        Some((Op::Unary { kind: UnaryKind::Sigmoid }, _)) => true,
        Some((Op::Binary { kind: BinaryKind::Divide }, args)) => match args.as_slice() {
            [above, below] => is_softmax(above, below),
            _ => false,
        },
        _ => false,
    }
}

fn is_softmax<V: Made>(above: &V, below: &V) -> bool {
    let powers = unmoved(above);
    match (powers.made(), unmoved(below).made()) {
        (
            Some((Op::Unary { kind: UnaryKind::Exp }, _)),
            Some((Op::Reduce { kind: ReduceKind::Sum, .. }, summed)),
        ) => summed.first().is_some_and(|summed| unmoved(summed).is_same(&powers)),
        _ => false,
    }
}

/// Whether a value of a program is the result of a sigmoid or a softmax.
pub(crate) fn gives_probabilities(program: &Program, value: Value) -> bool {
    are_probabilities(&Within(program, value))
}

impl Tensor {
    /// Whether it is the result of a sigmoid or a softmax, as far as its history is known.
    pub(crate) fn is_probabilities(&self) -> bool {
        are_probabilities(self)
    }
}
