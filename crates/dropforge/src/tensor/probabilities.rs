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

    fn shape(&self) -> Vec<usize>;
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

    fn shape(&self) -> Vec<usize> {
        self.0.ty(self.1).shape.to_vec()
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

    fn shape(&self) -> Vec<usize> {
        Tensor::shape(self).to_vec()
    }
}

/// What a network ends in whose outputs are probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A sigmoid: each number says how probable its own yes is, whatever the others say.
    Sigmoid,
    /// A softmax over axis 1: the numbers of a sample say how probable each class is of those that exclude one another.
    Softmax,
}

impl Ending {
    /// Whether the numbers are the probabilities of what is asked: of classes that exclude one another, or of yeses.
    pub fn gives_probabilities(self, exclusive: bool) -> bool {
        self == Ending::Softmax || !exclusive
    }
}

/// The value that another one only has in a different shape, order or type, and where an axis of that stands in it;
/// `None` where it stands nowhere by itself.
fn unmoved<V: Made>(value: &V, axis: Option<usize>) -> (V, Option<usize>) {
    let (mut value, mut axis) = (value.clone(), axis);
    while let Some((op, args)) = value.made()
        && let [inner] = args.as_slice()
    {
        axis = match op {
            Op::Cast { .. } => axis,
            Op::Permute { order } => axis.and_then(|axis| order.get(axis).copied()),
            Op::Broadcast { axes, .. } => axis.and_then(|axis| axes.iter().position(|&place| place == axis)),
            Op::Reshape { shape } => axis.and_then(|axis| same_axis(&shape, axis, &inner.shape())),
            _ => break,
        };
        value = inner.clone();
    }
    (value, axis)
}

/// The axis of a shape with as many elements before and along it as that of another one has.
fn same_axis(of: &[usize], axis: usize, within: &[usize]) -> Option<usize> {
    let before = |shape: &[usize], axis: usize| shape[..axis].iter().product::<usize>();
    let (extent, start) = (*of.get(axis)?, before(of, axis));
    (0..within.len()).find(|&place| within[place] == extent && before(within, place) == start)
}

/// What the last operation was, if it was a sigmoid, or a softmax over axis 1: powers over their sum.
fn ending_of<V: Made>(value: &V) -> Option<Ending> {
    let (value, axis) = unmoved(value, (value.shape().len() > 1).then_some(1));
    match value.made()? {
        (Op::Unary { kind: UnaryKind::Sigmoid }, _) => Some(Ending::Sigmoid),
        (Op::Binary { kind: BinaryKind::Divide }, args) => match args.as_slice() {
            [above, below] => is_softmax(above, below, axis?).then_some(Ending::Softmax),
            _ => None,
        },
        _ => None,
    }
}

fn is_softmax<V: Made>(above: &V, below: &V, axis: usize) -> bool {
    let (powers, axis) = unmoved(above, Some(axis));
    let (sum, _) = unmoved(below, None);
    match (powers.made(), sum.made()) {
        (
            Some((Op::Unary { kind: UnaryKind::Exp }, _)),
            Some((Op::Reduce { kind: ReduceKind::Sum, axes }, summed)),
        ) => match (axes.as_slice(), summed.as_slice()) {
            (&[reduced], [summed]) => {
                let (summed, reduced) = unmoved(summed, Some(reduced));
                summed.is_same(&powers) && axis.is_some() && reduced == axis
            }
            _ => false,
        },
        _ => false,
    }
}

/// What made a value of a program, if it is the result of a sigmoid or a softmax.
pub(crate) fn ending(program: &Program, value: Value) -> Option<Ending> {
    ending_of(&Within(program, value))
}

impl Tensor {
    /// What made it, if it is the result of a sigmoid or a softmax, as far as its history is known.
    pub(crate) fn ending(&self) -> Option<Ending> {
        ending_of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_by_their_axis() {
        let x = Tensor::from([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]);
        assert_eq!(x.sigmoid().reshape([3, 2]).ending(), Some(Ending::Sigmoid));
        assert_eq!(x.softmax(1).ending(), Some(Ending::Softmax));
        // Over the samples of a batch.
        assert_eq!(x.softmax(0).ending(), None);
        assert_eq!((x.exp().ending(), x.log_softmax(1).ending()), (None, None));
        // Classes along another axis, which then is moved to where scores have it.
        let sequence = x.reshape([2, 1, 3]);
        assert_eq!(sequence.softmax(2).ending(), None);
        assert_eq!(sequence.softmax(2).transpose(1, 2).ending(), Some(Ending::Softmax));
        assert_eq!(sequence.softmax(2).reshape([2, 3]).ending(), Some(Ending::Softmax));
        assert_eq!(x.softmax(1).reshape([3, 2]).ending(), None);
        assert!(!Ending::Sigmoid.gives_probabilities(true) && Ending::Sigmoid.gives_probabilities(false));
        assert!(Ending::Softmax.gives_probabilities(true));
    }
}
