//! Cross-entropy.

use super::classes::along;
use super::declare::Reduction;
use super::{Loss, at};
use crate::settings::{Described, Range, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Result, described};
use dropforge_ir::DType;
use std::panic::Location;

/// Cross-entropy on class indices. See [`cross_entropy`].
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    label_smoothing: f32,
    weight: Option<Vec<f32>>,
    ignore_index: Option<isize>,
    reduction: Reduction,
    site: &'static Location<'static>,
}

/// Cross-entropy of unnormalised scores `[batch, classes, ..]` and class indices i32 `[batch, ..]`, the mean over all
/// positions: PyTorch's `F.cross_entropy`, Keras' sparse categorical cross-entropy from logits. Per position it is
/// logsumexp(scores) less the score of the class, both of scores that are first reduced by the largest, so that it
/// keeps its digits at any magnitude. A class that does not exist is an error of whatever computes the loss, unless it
/// is the one that [`ignore_index`](CrossEntropy::ignore_index) names: PyTorch passes over −100 by default. For
/// probabilities as targets see [`categorical_cross_entropy`](crate::loss::categorical_cross_entropy).
///
/// ```
/// use dropforge::prelude::*;
///
/// let scores = Tensor::from([[2.0, 0.0], [0.0, 2.0]]);
/// let loss = cross_entropy().loss(&scores, &Tensor::from([0, 1]));
/// assert!((loss.item::<f32>()? - 0.1269).abs() < 1e-3);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "CrossEntropyLoss")]
#[track_caller]
pub fn cross_entropy() -> CrossEntropy {
    CrossEntropy {
        label_smoothing: 0.0,
        weight: None,
        ignore_index: None,
        reduction: Reduction::Mean,
        site: Location::caller(),
    }
}

impl CrossEntropy {
    /// Share of the target that is spread evenly over all classes, from 0 to 1. Default 0. Szegedy et al.,
    /// arXiv:1512.00567.
    #[must_use]
    pub fn label_smoothing(mut self, share: f32) -> CrossEntropy {
        self.label_smoothing = share;
        self
    }

    /// Weight of each class; the mean is divided by the sum of the weights of the classes of the positions.
    #[must_use]
    pub fn weight(mut self, weight: Option<Vec<f32>>) -> CrossEntropy {
        self.weight = weight;
        self
    }

    /// Class of positions that do not count. Default none.
    #[must_use]
    pub fn ignore_index(mut self, index: Option<isize>) -> CrossEntropy {
        self.ignore_index = index;
        self
    }

    /// Whether the losses of the positions are averaged (the default), added up or kept.
    #[must_use]
    pub fn reduction(mut self, reduction: Reduction) -> CrossEntropy {
        self.reduction = reduction;
        self
    }

    fn checked(&self, scores: &Tensor, target: &Tensor) -> std::result::Result<usize, Tensor> {
        let share = self.label_smoothing;
        let fits = scores.rank() >= 1
            && scores.rank() == target.rank() + 1
            && scores.dtype().is_float()
            && target.dtype() == DType::I32;
        let axis = if target.rank() == 0 { 0 } else { 1 };
        if !fits || scores.shape().without(&[axis]) != *target.shape() {
            let advice = if target.dtype() != DType::I32 && *target.shape() == scores.shape().without(&[axis])
            {
                "; cast the classes to i32"
            } else if target.shape() == scores.shape() && target.dtype().is_float() {
                "; probabilities or one-hot targets are for categorical_cross_entropy"
            } else if target.rank() == scores.rank() && target.shape().get(1) == Some(&1) {
                "; give the class of each sample as i32[batch], as a table does with `classes=yes`, or take a loss of numbers such as mse"
            } else if target.rank() == 1 && scores.rank() > 2 {
                "; is there a `flatten` missing before the last layer?"
            } else {
                ""
            };
            let message = format!(
                "needs scores f32[batch, classes, ..] and classes i32[batch, ..], got {} and {}{advice}",
                scores.ty(),
                target.ty()
            );
            return Err(fail("cross_entropy", message, &[scores, target]));
        }
        if !(0.0..=1.0).contains(&share) {
            let message = format!("label smoothing must lie between 0 and 1, got {share}");
            return Err(fail("cross_entropy", message, &[scores, target]));
        }
        Ok(axis)
    }
}

impl Loss for CrossEntropy {
    fn loss(&self, scores: &Tensor, target: &Tensor) -> Tensor {
        let scores = &at(scores, self.site);
        let share = self.label_smoothing;
        let axis = match self.checked(scores, target) {
            Ok(axis) => axis,
            Err(failed) => return failed,
        };
        let weight = match self.weight.as_ref().map(|weight| along("cross_entropy", weight, scores, axis)) {
            None => None,
            Some(Ok(weight)) => Some(weight),
            Some(Err(failed)) => return failed,
        };
        let axis = axis as isize;
        // The loss of halves is f32.
        let scores = match scores.widened().below_largest("cross_entropy", axis) {
            Ok((below, _)) => below,
            Err(failed) => return failed,
        };
        let total = scores.exp().sum(axis).log();
        if weight.is_none() && self.ignore_index.is_none() {
            let hit = &total - scores.pick_for("cross_entropy", axis, target);
            if share == 0.0 {
                return self.reduction.of(&hit);
            }
            // The mean over classes of −log_softmax.
            let spread = total - scores.mean(axis);
            return self.reduction.of(&(hit * (1.0 - share) + spread * share));
        }
        let ignored = match self.ignore_index {
            Some(index) => target.eq(i32::try_from(index).unwrap_or(i32::MIN)),
            None => target.ne(target),
        };
        // Any class does where none counts.
        let class = Tensor::select(&ignored, 0, target);
        let counts = ignored.logical_not().cast(DType::F32);
        let weights = match &weight {
            None => counts.clone(),
            Some(each) => each.expand_as(&scores).pick_for("cross_entropy", axis, &class) * &counts,
        };
        let hit = &total - scores.pick_for("cross_entropy", axis, &class);
        // What is infinite where nothing counts is not 0 times anything.
        let mut each = Tensor::select(&ignored, 0.0, &(hit * &weights * (1.0 - share)));
        if share != 0.0 {
            let below = total.unsqueeze(axis) - &scores;
            let spread = match &weight {
                None => below.mean(axis),
                Some(weight) => (below * weight).mean(axis),
            };
            each = each + Tensor::select(&ignored, 0.0, &(spread * share));
        }
        match self.reduction {
            Reduction::Mean => each.sum(..) / weights.sum(..),
            reduction => reduction.of(&each),
        }
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
    CrossEntropy = "cross_entropy", "logsumexp of the scores less the score of the class"
        like "nn.CrossEntropyLoss" but "a class outside is an error, −100 too unless ignored",
        { site: Location::caller() };
    label_smoothing: f32, Some(0.0), (0.0..=1.0).into(), "share of the target that is spread evenly over all classes";
    weight: Option<Vec<f32>>, Some(None), Range::ANY, "weight of each class";
    ignore_index: Option<isize>, Some(None), Range::ANY, "class of positions that do not count";
    reduction: Reduction, Some(Reduction::Mean), Range::ANY, "what becomes of the losses of the positions";
}
