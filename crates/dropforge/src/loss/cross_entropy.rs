//! Cross-entropy.

use super::{Loss, at};
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Result, described};
use dropforge_ir::DType;
use std::panic::Location;

/// Cross-entropy on class indices. See [`cross_entropy`].
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    label_smoothing: f32,
    site: &'static Location<'static>,
}

/// Cross-entropy of unnormalised scores `[batch, classes, ..]` and class indices i32 `[batch, ..]`, the mean over all
/// positions: PyTorch's `F.cross_entropy`. Per position it is logsumexp(scores) less the score of the class, both of scores
/// that are first reduced by the largest, so that it keeps its digits at any magnitude. A class that does not exist is an error
/// of whatever computes the loss.
#[track_caller]
pub fn cross_entropy() -> CrossEntropy {
    CrossEntropy { label_smoothing: 0.0, site: Location::caller() }
}

impl CrossEntropy {
    /// Share of the target that is spread evenly over all classes, from 0 to 1. Default 0. Szegedy et al.,
    /// arXiv:1512.00567.
    #[must_use]
    pub fn label_smoothing(mut self, share: f32) -> CrossEntropy {
        self.label_smoothing = share;
        self
    }
}

impl Loss for CrossEntropy {
    fn loss(&self, scores: &Tensor, target: &Tensor) -> Tensor {
        let scores = &at(scores, self.site);
        let share = self.label_smoothing;
        let fits = scores.rank() >= 1
            && scores.rank() == target.rank() + 1
            && scores.dtype().is_float()
            && target.dtype() == DType::I32;
        let axis = if target.rank() == 0 { 0 } else { 1 };
        if !fits || scores.shape().without(&[axis]) != *target.shape() {
            let message = format!(
                "needs scores f32[batch, classes, ..] and classes i32[batch, ..], got {} and {}",
                scores.ty(),
                target.ty()
            );
            return fail("cross_entropy", message, &[scores, target]);
        }
        if !(0.0..=1.0).contains(&share) {
            let message = format!("label smoothing must lie between 0 and 1, got {share}");
            return fail("cross_entropy", message, &[scores, target]);
        }
        let axis = axis as isize;
        // The loss of halves is f32.
        let scores = match scores.widened().below_largest("cross_entropy", axis) {
            Ok((below, _)) => below,
            Err(failed) => return failed,
        };
        let total = scores.exp().sum(axis).log();
        let hit = &total - scores.pick_for("cross_entropy", axis, target);
        if share == 0.0 {
            return hit.mean(..);
        }
        // The mean over classes of −log_softmax.
        let spread = total - scores.mean(axis);
        (hit * (1.0 - share) + spread * share).mean(..)
    }

    fn describe(&self) -> String {
        match self.label_smoothing {
            0.0 => "cross_entropy".into(),
            share => format!("cross_entropy(label_smoothing={share})"),
        }
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

described! {
    CrossEntropy = "cross_entropy", "logsumexp of the scores less the score of the class", { site: Location::caller() };
    label_smoothing: f32, Some(0.0), (0.0..=1.0).into(), "share of the target that is spread evenly over all classes";
}
