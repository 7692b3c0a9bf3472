//! Dynamic loss scaling, for gradients that are computed in f16.
//!
//! The loss is multiplied by a scale before it is differentiated, so that small gradients are not lost below the range
//! of f16, and the gradients are divided by it again in f32. Where one of them has overflowed the step counts for
//! nothing and the scale is halved; after 2000 steps without that it is doubled: PyTorch's `GradScaler` with its
//! defaults. Here all of it is part of the step, so that the host waits for nothing. The scale stays between 2⁻²⁴ and
//! 2²⁴: PyTorch's has no bounds, and grows beyond all numbers where gradients are zero.

use super::Parameter;
use crate::init::Init;
use crate::metric::{Figures, Measured, Metric};
use crate::nn::{Scope, StateKind};
use crate::tensor::Tensor;
use dropforge_ir::{DType, ValueType};

/// Name of the state that holds the scale, an f32 scalar.
pub(crate) const SCALE: &str = "loss_scale";
/// Name of the state that counts the steps since the scale changed, a u32 scalar.
const STEADY: &str = "loss_scale.steady_steps";

/// The scale of the first step: PyTorch's.
const FIRST: f32 = 65536.0;
/// Steps without overflow after which the scale grows: PyTorch's.
const INTERVAL: i32 = 2000;
const LARGEST: f32 = 16_777_216.0;
const SMALLEST: f32 = 1.0 / LARGEST;

/// The states of loss scaling in a step that is traced.
pub(crate) struct LossScale {
    scale: Tensor,
    steady: Tensor,
}

impl LossScale {
    pub fn declare(scope: &Scope) -> LossScale {
        let state = |name: &str, dtype: DType, first: f32| {
            scope.state_of(name, StateKind::Counter, ValueType::scalar(dtype), Init::constant(first))
        };
        LossScale { scale: state(SCALE, DType::F32, FIRST), steady: state(STEADY, DType::U32, 0.0) }
    }

    /// What is differentiated instead of the loss.
    pub fn scaled(&self, loss: &Tensor) -> Tensor {
        loss * &self.scale
    }

    /// Takes the scale out of the gradients; gives whether all of them are finite, a bool scalar. The scale is a power
    /// of two, so that nothing is rounded.
    pub fn unscale(&self, parameters: &mut [Parameter]) -> Tensor {
        let factor = 1.0 / &self.scale;
        // Joined before they are compared, as for the global norm: so all largest elements are found by one kernel.
        let largest: Vec<Tensor> = parameters
            .iter()
            .filter(|parameter| parameter.gradient.elements() > 0)
            .map(|parameter| parameter.gradient.abs().max(..).reshape([1]))
            .collect();
        for parameter in parameters {
            parameter.gradient = &parameter.gradient * &factor;
        }
        // NaN is not at most anything.
        Tensor::concat(&largest.iter().collect::<Vec<_>>(), 0).max(..).le(f32::MAX)
    }

    /// Writes the scale for the next step, and has whatever else the step has written count only if all gradients are
    /// `finite`: parameters, what optimizers keep, statistics of layers. Counts of steps and sums of metrics go on.
    pub fn finish(&self, scope: &Scope, finite: &Tensor) {
        scope.gate_step(finite);
        let steady = &self.steady + 1;
        let grows = steady.ge(INTERVAL);
        let grown = Tensor::select(&grows, &self.scale * 2.0, &self.scale).minimum(LARGEST);
        let scale = Tensor::select(finite, &grown, (&self.scale * 0.5).maximum(SMALLEST));
        scope.write_state(&self.scale, &scale);
        let starts_anew = grows.logical_or(finite.logical_not());
        scope.write_state(&self.steady, &Tensor::select(&starts_anew, 0, &steady));
    }
}

/// How many steps of an epoch counted for nothing.
pub(crate) struct SkippedSteps;

impl Metric for SkippedSteps {
    fn name(&self) -> String {
        "skipped_steps".into()
    }

    /// The prediction is whether the step counts.
    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        vec![batch.prediction.logical_not().cast(DType::I32)]
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Figures {
        Figures::number(self.name(), sums[0][0])
    }
}
