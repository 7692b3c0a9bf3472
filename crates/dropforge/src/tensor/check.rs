//! Checks of indices: an index outside of what it picks from is an error, not a zero.
//!
//! Indices on the host are looked at when an operation is given them. Others are checked where they are computed: the
//! program gets a further output for each check, which says where the first index outside stands and what it is.
//! Whoever runs the program looks at these outputs when it looks at the others, so that no step waits for them.

use super::Tensor;
use super::node::{Action, Application, Place, Source, attach, fail, most_specific};
use dropforge_ir::{
    BinaryKind, CompareKind, DType, Data, Error, Op, Origin, Program, ReduceKind, Result, Value, ValueType,
};
use dropforge_runtime::BufferRef;
use std::panic::Location;

/// What indices have to be.
#[derive(Clone, Debug)]
pub(crate) struct IndexCheck {
    /// The operation that takes them.
    name: String,
    /// They are from 0 up to this, which is left out.
    limit: usize,
    /// Where the operation stands.
    origin: Origin,
}

/// How the names of outputs begin that say whether indices are right.
const OUTPUT: &str = "check.";

/// Whether an output of this name says whether indices are right.
pub(crate) fn is_check(output: &str) -> bool {
    output.starts_with(OUTPUT)
}

impl IndexCheck {
    /// The name of an output for this check, which says all that its errors do: a stored program has nothing else.
    pub fn output_name(&self, number: usize) -> String {
        format!("{OUTPUT}{number}.{}.{}", self.name, self.limit)
    }

    /// The check of an output of this name, if it is one of a check.
    pub fn of_output(name: &str) -> Option<IndexCheck> {
        let (operation, limit) = name.strip_prefix(OUTPUT)?.split_once('.')?.1.rsplit_once('.')?;
        Some(IndexCheck {
            name: operation.to_string(),
            limit: limit.parse().ok()?,
            origin: Origin::unknown(),
        })
    }

    /// Whether all indices are inside, from the output of [`IndexCheck::append`].
    ///
    /// # Errors
    /// Names the first index outside, its position and the limit.
    pub fn verify(&self, found: &BufferRef) -> Result<()> {
        if found.ty().dtype != DType::I32 || *found.ty().shape != [2] {
            return Ok(());
        }
        let mut bytes = [0; 8];
        found.read_into(&mut bytes)?;
        let [a, b, c, d, index @ ..] = bytes;
        match (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes(index)) {
            (i32::MAX, _) => Ok(()),
            (position, index) => Err(self.error(index, position as usize)),
        }
    }

    fn message(&self, index: i32, position: usize) -> String {
        format!("index {index} at position {position} is outside of 0..{}", self.limit)
    }

    fn error(&self, index: i32, position: usize) -> Error {
        Error::new(self.name.clone(), self.message(index, position)).at(&self.origin)
    }

    /// Appends what finds the first index outside: i32 `[2]`, its position and itself, or twice the greatest and the
    /// least number if there is none.
    ///
    /// # Errors
    /// Never for indices of i32.
    pub fn append(&self, p: &mut Program, indices: Value) -> Result<Value> {
        let count = p.shape(indices).elements();
        let flat = p.apply(Op::Reshape { shape: [count].into() }, &[indices])?;
        let ty = ValueType::new(DType::I32, [count]);
        let zero = p.full(ty.clone(), 0.0)?;
        let negative = p.compare(CompareKind::Less, flat, zero)?;
        let limit = p.full(ty.clone(), i32::try_from(self.limit).unwrap_or(i32::MAX).into())?;
        let large = p.compare(CompareKind::GreaterEqual, flat, limit)?;
        let outside = p.binary(BinaryKind::Or, negative, large)?;
        let positions = p.apply(Op::Iota { shape: [count].into(), axis: 0 }, &[])?;
        let none = p.full(ty.clone(), i32::MAX.into())?;
        let candidates = p.apply(Op::Select {}, &[outside, positions, none])?;
        let first = p.reduce(ReduceKind::Min, candidates, &[0])?;
        let repeated = p.expand(first, &ty.shape, &[0])?;
        let is_first = p.compare(CompareKind::Equal, positions, repeated)?;
        let least = p.full(ty, i32::MIN.into())?;
        let chosen = p.apply(Op::Select {}, &[is_first, flat, least])?;
        let index = p.reduce(ReduceKind::Max, chosen, &[0])?;
        let [first, index] = [first, index].map(|value| p.apply(Op::Reshape { shape: [1].into() }, &[value]));
        p.apply(Op::Concat { axis: 0 }, &[first?, index?])
    }
}

impl Tensor {
    /// These indices into `picked`, which must lie from 0 up to `limit`, which is left out; the error names the
    /// operation `name`.
    #[track_caller]
    pub(crate) fn checked(&self, name: &str, picked: &Tensor, limit: usize) -> Tensor {
        if self.node.error().is_some() || self.dtype() != DType::I32 || self.elements() == 0 {
            return self.clone();
        }
        let tag = most_specific(&[picked, self]);
        let place = Place::new(tag.as_deref(), Location::caller());
        let check = IndexCheck { name: name.to_string(), limit, origin: place.origin() };
        if let Source::Data(array) = self.node.source() {
            let Data::I32(indices) = array.data() else { return self.clone() };
            let is_outside = |index: &i32| usize::try_from(*index).map_or(true, |index| index >= limit);
            return match indices.iter().position(is_outside) {
                Some(position) => fail(name, check.message(indices[position], position), &[picked, self]),
                None => self.clone(),
            };
        }
        // Where the largest of so many stands is inside of what is as long.
        if let Source::Applied { application, .. } = self.node.source()
            && let Action::Operation(Op::ArgMax { axis }) = application.action
            && application.args.first().is_some_and(|from| from.shape()[axis] <= limit)
        {
            return self.clone();
        }
        let application = Application { action: Action::Check(check), args: vec![self.clone()] };
        attach(application, vec![self.ty().clone()], place, tag).swap_remove(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lower::{Leaves, Lowering};
    use super::*;

    #[test]
    fn what_cannot_be_outside_is_not_looked_at() {
        let checks = |indices: Tensor, classes: usize| {
            let mut lowering = Lowering::new("p", Leaves::Inputs);
            lowering.lower(&[&indices.one_hot(classes)]).unwrap();
            lowering.output_checks().len()
        };
        let scores = Tensor::ones([2, 3]);
        assert_eq!(checks(scores.argmax(1), 3), 0);
        assert_eq!(checks(scores.argmin(1), 4), 0);
        assert_eq!(checks(scores.argmax(1), 2), 1);
        assert_eq!(checks(scores.argmax(1) + 1, 3), 1);
    }
}
