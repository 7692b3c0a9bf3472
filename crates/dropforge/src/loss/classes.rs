//! Losses of classes and distributions.

use super::declare::{Reduction, alike, losses, reduced, told};
use super::{Loss, at};
use crate::settings::Range;
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use dropforge_ir::DType;

losses! {
    /// The negative logarithm of the right class's probability, from logarithms `[batch, classes, ..]` and class
    /// indices i32 `[batch, ..]`: PyTorch's `NLLLoss`. The mean is divided by the sum of the weights of what counts.
    /// From unnormalised scores see [`cross_entropy`](crate::loss::cross_entropy).
    #[doc(alias = "NLLLoss")]
    NegativeLogLikelihood, nll = "nll", "negative logarithm of the right class's probability" like "nn.NLLLoss" {
        weight: Option<Vec<f32>> = None, Range::ANY, "weight of each class";
        ignore_index: isize = -100, Range::ANY, "class of positions that do not count";
    }

    /// Cross-entropy of unnormalised scores `[batch, classes, ..]` with probabilities of the same shape, for each
    /// position: PyTorch's `CrossEntropyLoss` with probabilities, Keras' categorical cross-entropy from logits.
    CategoricalCrossEntropy, categorical_cross_entropy = "categorical_cross_entropy", "cross-entropy of scores with probabilities"
        like "nn.CrossEntropyLoss with probabilities" {
        weight: Option<Vec<f32>> = None, Range::ANY, "weight of each class";
        label_smoothing: f32 = 0.0, (0.0..=1.0).into(), "share of the target that is spread evenly over all classes";
    }

    /// t·(ln t − prediction) for logarithms of probabilities as predictions: PyTorch's `KLDivLoss`, whose mean is taken
    /// over elements too. Σ over the classes and mean over the batch is the divergence itself:
    /// `reduction(Reduction::Sum)` over the number of samples.
    #[doc(alias = "KLDivLoss")]
    KlDivergence, kl_div = "kl_div", "Kullback and Leibler's divergence, of logarithms" like "nn.KLDivLoss" {
        log_target: bool = false, Range::ANY, "whether the target is given as logarithms";
    }

    /// Information noise-contrastive estimation: rows of prediction and target `[batch, width]` with the same number
    /// belong together, all others do not. Cross-entropy of their cosines over the temperature, from the prediction's
    /// side. van den Oord et al., arXiv:1807.03748; as in CLIP, arXiv:2103.00020, if symmetric.
    #[doc(alias = "CosineEmbeddingLoss")]
    Contrastive, info_nce = "info_nce", "cross-entropy of the cosines of pairs in a batch"
        like "van den Oord et al., arXiv:1807.03748" {
        temperature: f32 = 0.1, Range::above(0.0), "what cosines are divided by";
        symmetric: bool = false, Range::ANY, "whether the target's side counts as much";
    }
}

/// A weight for each class as a tensor that broadcasts to scores with classes in axis `axis`.
#[track_caller]
pub(super) fn along(name: &str, weight: &[f32], scores: &Tensor, axis: usize) -> Result<Tensor, Tensor> {
    let classes = scores.shape()[axis];
    if weight.len() != classes {
        let message = format!("needs a weight for each of {classes} classes, got {}", weight.len());
        return Err(fail(name, message, &[scores]));
    }
    let mut shape = vec![1; scores.rank()];
    shape[axis] = classes;
    Ok(Tensor::from_slice(weight, shape))
}

/// Where the classes stand: behind the batch, if there is one.
fn class_axis(rank: usize) -> usize {
    usize::from(rank > 1)
}

impl NegativeLogLikelihood {
    /// The losses of the positions, and their weights: 0 where they do not count.
    #[track_caller]
    fn parts(&self, scores: &Tensor, target: &Tensor) -> Result<[Tensor; 2], Tensor> {
        let scores = &at(scores, self.site);
        let axis = class_axis(scores.rank());
        let fits = scores.rank() == target.rank() + 1
            && scores.dtype().is_float()
            && target.dtype() == DType::I32
            && scores.shape().without(&[axis]) == *target.shape();
        if !fits {
            let message = format!(
                "needs logarithms f32[batch, classes, ..] and classes i32[batch, ..], got {} and {}",
                scores.ty(),
                target.ty()
            );
            return Err(fail("nll", message, &[scores, target]));
        }
        let scores = scores.widened();
        let ignored = target.eq(i32::try_from(self.ignore_index).unwrap_or(i32::MIN));
        // Any class does where none counts.
        let class = Tensor::select(&ignored, 0, target);
        let counts = ignored.logical_not().cast(DType::F32);
        let weights = match &self.weight {
            None => counts,
            Some(weight) => {
                let each = along("nll", weight, &scores, axis)?.expand_as(&scores);
                each.pick_for("nll", axis as isize, &class) * counts
            }
        };
        Ok([-scores.pick_for("nll", axis as isize, &class), weights])
    }

    /// The loss of each position, its weight included.
    #[track_caller]
    pub fn each(&self, scores: &Tensor, target: &Tensor) -> Tensor {
        match self.parts(scores, target) {
            Ok([each, weights]) => Reduction::None.weighted(&each, &weights),
            Err(failed) => failed,
        }
    }
}

impl Loss for NegativeLogLikelihood {
    fn loss(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match self.parts(prediction, target) {
            Ok([each, weights]) => self.reduction.weighted(&each, &weights),
            Err(failed) => failed,
        }
    }

    told!();
}

impl CategoricalCrossEntropy {
    /// The loss of each position.
    #[track_caller]
    pub fn each(&self, scores: &Tensor, target: &Tensor) -> Tensor {
        let name = "categorical_cross_entropy";
        let [scores, mut target] = match alike(name, &at(scores, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        let share = self.label_smoothing;
        if scores.rank() == 0 || !(0.0..=1.0).contains(&share) {
            let message = format!(
                "needs classes along an axis and label smoothing from 0 to 1, got {} and {share}",
                scores.ty()
            );
            return fail(name, message, &[&scores, &target]);
        }
        let axis = class_axis(scores.rank());
        if share != 0.0 {
            target = target * (1.0 - share) + share / scores.shape()[axis] as f32;
        }
        if let Some(weight) = &self.weight {
            match along(name, weight, &scores, axis) {
                Ok(weight) => target = target * weight,
                Err(failed) => return failed,
            }
        }
        // A class that is not asked for costs nothing, even if it is impossible.
        let asked = target.ne(0.0);
        let logarithms = Tensor::select(&asked, scores.log_softmax(axis as isize), 0.0);
        -(target * logarithms).sum(axis as isize)
    }
}

impl KlDivergence {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let [x, t] = match alike("kl_div", &at(prediction, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        if self.log_target { t.exp() * (t - x) } else { t.xlogy(&t) - &t * x }
    }
}

impl Contrastive {
    /// The loss of each row.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let [a, b] = match alike("info_nce", &at(prediction, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        if a.rank() != 2 || self.temperature <= 0.0 || self.temperature.is_nan() {
            let message = format!(
                "needs rows [batch, width] and a temperature above 0, got {} and {}",
                a.shape(),
                self.temperature
            );
            return fail("info_nce", message, &[&a, &b]);
        }
        let (a, b) = (a.normalize(2.0, 1, 1e-12), b.normalize(2.0, 1, 1e-12));
        let cosines = a.matmul(&b.t()) / self.temperature;
        let own = cosines.diagonal(0, 0, 1);
        let one_side = cosines.logsumexp(1) - &own;
        if self.symmetric { (one_side + (cosines.logsumexp(0) - own)) * 0.5 } else { one_side }
    }
}

reduced!(CategoricalCrossEntropy in Probabilities, KlDivergence, Contrastive);
