//! Accumulation of gradients over several batches.

use super::Parameter;
use crate::init::Init;
use crate::nn::{Scope, StateKind};
use crate::tensor::Tensor;
use dropforge_ir::{DType, ValueType};

/// What accumulation keeps between the batches of an update.
pub(crate) struct Accumulation {
    /// Whether this batch completes an update, a bool scalar.
    pub apply: Tensor,
    /// States with what they hold after the step.
    writes: Vec<(Tensor, Tensor)>,
}

/// Replaces each gradient by the mean over `batches` batches, this one included; it is whole where `apply` is true.
/// States: `accumulated.<name>` and `accumulated_batches`.
pub(crate) fn accumulate(scope: &Scope, parameters: &mut [Parameter], batches: usize) -> Accumulation {
    let state =
        |name: &str, ty: ValueType| scope.state_of(name, StateKind::Optimizer, ty, Init::constant(0.0));
    let count = state("accumulated_batches", ValueType::scalar(DType::U32));
    let next = &count + 1;
    let apply = next.ge(i32::try_from(batches).unwrap_or(i32::MAX));
    let mut writes = vec![(count, Tensor::select(&apply, 0, &next))];
    for parameter in parameters {
        let sum = state(&format!("accumulated.{}", parameter.name), parameter.value.ty().clone());
        let new = &sum + &parameter.gradient * (1.0 / batches as f32);
        writes.push((sum, Tensor::select(&apply, 0.0, &new)));
        parameter.gradient = new;
    }
    Accumulation { apply, writes }
}

impl Accumulation {
    /// Writes the states, after the updates have been gated.
    pub fn write(&self, scope: &Scope) {
        for (state, value) in &self.writes {
            scope.write_state(state, value);
        }
    }
}
