//! Losses of yes and no.

use super::at;
use super::declare::{alike, losses, reduced};
use crate::settings::Range;
use crate::tensor::Tensor;
use crate::tensor::node::fail;

losses! {
    /// −t·ln p − (1 − t)·ln(1 − p) for probabilities p: PyTorch's `BCELoss`, Keras' binary cross-entropy. Logarithms
    /// count as at least −100, as in PyTorch. [`bce_with_logits`] is more exact.
    #[doc(alias = "BCELoss")]
    BinaryCrossEntropy, bce = "bce", "binary cross-entropy of probabilities" like "nn.BCELoss" {}

    /// Binary cross-entropy of sigmoid(prediction), safe for predictions of any size: PyTorch's `BCEWithLogitsLoss`.
    #[doc(alias = "BCEWithLogitsLoss")]
    BinaryCrossEntropyOfLogits, bce_with_logits = "bce_with_logits", "binary cross-entropy of scores"
        like "nn.BCEWithLogitsLoss" {
        pos_weight: Option<Vec<f32>> = None, Range::ANY, "weight of positive targets, for each position of the last axis";
    }

    /// Binary cross-entropy of sigmoid(prediction) times (1 − p)^`gamma`, p being the probability of the right answer,
    /// so that what is right already weighs little. Lin et al., arXiv:1708.02002; torchvision's `sigmoid_focal_loss`.
    Focal, focal = "focal", "binary cross-entropy of scores, less where they are right"
        like "torchvision.ops.sigmoid_focal_loss" but "the mean unless told otherwise" {
        gamma: f32 = 2.0, (0.0..).into(), "how fast the weight of what is right falls";
        alpha: f32 = 0.25, Range::ANY, "weight of positive targets, 1 less it for negative ones; −1 for none";
    }

    /// 1 − (2·Σ p·t + smooth)/(Σ p + Σ t + smooth) for each sample, with probabilities p = sigmoid(prediction) and sums
    /// over all axes but the first. Milletari et al., arXiv:1606.04797.
    Dice, dice = "dice", "1 less the overlap, of scores" like "Milletari et al., arXiv:1606.04797, without squares" {
        smooth: f32 = 1.0, (0.0..).into(), "added to both sides of the fraction";
    }
}

impl BinaryCrossEntropy {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let [p, t] = match alike("bce", &at(prediction, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        // No gradient flows where the logarithm is cut: log(0) has none that is finite.
        let log = |x: Tensor| {
            let usable = x.gt(0.0);
            Tensor::select(&usable, Tensor::select(&usable, x, 1.0).log(), -100.0).clamp_min(-100.0)
        };
        -(&t * log(p.clone()) + (1.0 - &t) * log(1.0 - p))
    }
}

/// −ln of the probability of the right answer. What has no weight does not count, even if it is infinite.
#[track_caller]
fn of_logits(x: &Tensor, t: &Tensor, pos_weight: Option<&[f32]>) -> Tensor {
    let yes = match pos_weight {
        None => t.clone(),
        Some(weight) => t * Tensor::from_slice(weight, [weight.len()]),
    };
    share(&yes, x) + share(&(1.0 - t), &-x)
}

/// −weight·ln sigmoid(x).
#[track_caller]
fn share(weight: &Tensor, x: &Tensor) -> Tensor {
    let counts = weight.ne(0.0);
    -weight * Tensor::select(&counts, x, 0.0).log_sigmoid()
}

impl BinaryCrossEntropyOfLogits {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match alike("bce_with_logits", &at(prediction, self.site), target) {
            Ok([x, t]) => of_logits(&x, &t, self.pos_weight.as_deref()),
            Err(failed) => failed,
        }
    }
}

impl Focal {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let [x, t] = match alike("focal", &at(prediction, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        if self.gamma < 0.0 || self.gamma.is_nan() {
            return fail("focal", format!("gamma must not be negative, got {}", self.gamma), &[&x, &t]);
        }
        let p = x.sigmoid();
        let wrong = &p * (1.0 - &t) + (1.0 - &p) * &t;
        let each = of_logits(&x, &t, None) * wrong.powf(self.gamma);
        if self.alpha < 0.0 {
            return each;
        }
        each * (&t * (2.0 * self.alpha - 1.0) + (1.0 - self.alpha))
    }
}

impl Dice {
    /// The loss of each sample.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let [x, t] = match alike("dice", &at(prediction, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        if x.rank() == 0 {
            return fail("dice", "needs samples along the first axis", &[&x, &t]);
        }
        let others: Vec<isize> = (1..x.rank() as isize).collect();
        let p = x.sigmoid();
        let both = (&p * &t).sum(others.as_slice());
        let all = p.sum(others.as_slice()) + t.sum(others.as_slice());
        1.0 - (both * 2.0 + self.smooth) / (all + self.smooth)
    }
}

reduced!(
    BinaryCrossEntropy in YesNo: |p| p,
    BinaryCrossEntropyOfLogits in YesNo: sigmoid,
    Focal in YesNo: sigmoid,
    Dice in YesNo: sigmoid,
);

fn sigmoid(score: f32) -> f32 {
    1.0 / (1.0 + (-score).exp())
}
