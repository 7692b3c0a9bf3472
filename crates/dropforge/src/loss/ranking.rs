//! Losses of margins and distances.

use super::at;
use super::declare::{alike, losses, reduced};
use crate::settings::Range;
use crate::tensor::Tensor;
use crate::tensor::node::fail;

losses! {
    /// max(0, margin − target·prediction) for targets of 1 and −1: the hinge of support vector machines, Keras'
    /// `Hinge`. Cortes and Vapnik, 1995.
    Hinge, hinge = "hinge", "1 less target times prediction, where positive" like "Keras' Hinge" {
        margin: f32 = 1.0, Range::ANY, "distance or size from which on nothing is lost";
    }

    /// The prediction where the target is 1, max(0, margin − prediction) where it is −1, for distances as predictions:
    /// PyTorch's `HingeEmbeddingLoss`.
    #[doc(alias = "HingeEmbeddingLoss")]
    HingeEmbedding, hinge_embedding = "hinge_embedding", "distance of what belongs together, margin less distance of what does not"
        like "nn.HingeEmbeddingLoss" {
        margin: f32 = 1.0, Range::ANY, "distance or size from which on nothing is lost";
    }

    /// ln(1 + e^(−target·prediction)) for targets of 1 and −1: PyTorch's `SoftMarginLoss`, without overflow.
    #[doc(alias = "SoftMarginLoss")]
    SoftMargin, soft_margin = "soft_margin", "ln(1 + e^(−target·prediction))" like "nn.SoftMarginLoss" {}

    /// max(0, margin − target·(first − second)): the first should rank higher where the target is 1, the second where
    /// it is −1. PyTorch's `MarginRankingLoss`.
    MarginRanking, margin_ranking = "margin_ranking", "margin less by how much the right one of two ranks higher" {
        margin: f32 = 0.0, Range::ANY, "distance or size from which on nothing is lost";
    }

    /// 1 − cosine of two rows where the target is 1, max(0, cosine − margin) where it is −1: PyTorch's
    /// `CosineEmbeddingLoss`.
    CosineEmbedding, cosine_embedding = "cosine_embedding", "1 less the cosine of what belongs together, cosine of what does not" {
        margin: f32 = 0.0, Range::ANY, "distance or size from which on nothing is lost";
    }

    /// max(0, d(anchor, positive) − d(anchor, negative) + margin) of rows: PyTorch's `TripletMarginLoss`. Balntas et
    /// al., BMVC 2016.
    Triplet, triplet = "triplet", "distance to what belongs together less distance to what does not" {
        margin: f32 = 1.0, Range::ANY, "distance or size from which on nothing is lost";
        p: f32 = 2.0, Range::above(0.0), "power of the differences in a distance";
        eps: f32 = 1e-6, Range::above(0.0), "added to each difference";
        swap: bool = false, Range::ANY, "whether the negative's nearer distance counts";
    }
}

impl Hinge {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match alike("hinge", &at(prediction, self.site), target) {
            Ok([x, y]) => (self.margin - x * y).clamp_min(0.0),
            Err(failed) => failed,
        }
    }
}

impl HingeEmbedding {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match alike("hinge_embedding", &at(prediction, self.site), target) {
            Ok([x, y]) => Tensor::select(&y.eq(1.0), &x, (self.margin - &x).clamp_min(0.0)),
            Err(failed) => failed,
        }
    }
}

impl SoftMargin {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match alike("soft_margin", &at(prediction, self.site), target) {
            Ok([x, y]) => -(x * y).log_sigmoid(),
            Err(failed) => failed,
        }
    }
}

impl MarginRanking {
    /// The loss of each pair, from first, second and target of one shape.
    #[track_caller]
    pub fn each(&self, first: &Tensor, second: &Tensor, target: &Tensor) -> Tensor {
        let first = at(first, self.site);
        match (alike("margin_ranking", &first, second), alike("margin_ranking", &first, target)) {
            (Ok([a, b]), Ok([_, y])) => (self.margin - y * (a - b)).clamp_min(0.0),
            (Err(failed), _) | (_, Err(failed)) => failed,
        }
    }

    /// The loss of all pairs, reduced.
    #[track_caller]
    pub fn of(&self, first: &Tensor, second: &Tensor, target: &Tensor) -> Tensor {
        self.reduction.of(&self.each(first, second, target))
    }
}

impl CosineEmbedding {
    /// The loss of each pair of rows `[batch, width]`, with targets `[batch]`.
    #[track_caller]
    pub fn each(&self, first: &Tensor, second: &Tensor, target: &Tensor) -> Tensor {
        let [a, b] = match alike("cosine_embedding", &at(first, self.site), second) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        if a.rank() == 0 || a.shape()[..a.rank() - 1] != target.shape()[..] {
            let message = format!("needs a target for each row of {}, got {}", a.shape(), target.shape());
            return fail("cosine_embedding", message, &[&a, &b, target]);
        }
        // As PyTorch does here: the smallest number stands in both lengths.
        let square = |x: &Tensor| (x * x).sum(-1) + f32::EPSILON;
        let cosine = (&a * &b).sum(-1) / (square(&a) * square(&b)).sqrt();
        let y = target.cast(dropforge_ir::DType::F32);
        Tensor::select(&y.eq(1.0), 1.0 - &cosine, (&cosine - self.margin).clamp_min(0.0))
    }

    /// The loss of all pairs, reduced.
    #[track_caller]
    pub fn of(&self, first: &Tensor, second: &Tensor, target: &Tensor) -> Tensor {
        self.reduction.of(&self.each(first, second, target))
    }
}

impl Triplet {
    /// The loss of each triple of rows.
    #[track_caller]
    pub fn each(&self, anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Tensor {
        let anchor = at(anchor, self.site);
        let ([a, b], [_, c]) =
            match (alike("triplet", &anchor, positive), alike("triplet", &anchor, negative)) {
                (Ok(near), Ok(far)) => (near, far),
                (Err(failed), _) | (_, Err(failed)) => return failed,
            };
        let near = a.pairwise_distance(&b, self.p, self.eps);
        let far = a.pairwise_distance(&c, self.p, self.eps);
        let far = if self.swap { far.minimum(b.pairwise_distance(&c, self.p, self.eps)) } else { far };
        (near - far + self.margin).clamp_min(0.0)
    }

    /// The loss of all triples, reduced.
    #[track_caller]
    pub fn of(&self, anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Tensor {
        self.reduction.of(&self.each(anchor, positive, negative))
    }
}

reduced!(Hinge in Signs, HingeEmbedding in Signs, SoftMargin in Signs);
