//! Top-k accuracy.

use super::form::Form;
use super::{Better, Figures, Measured, Metric, count, quotient};
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Result, described};
use dropforge_ir::DType;

/// The metric of [`top_k`].
#[derive(Clone, Copy, Debug)]
pub struct TopK {
    count: usize,
}

/// The share of predictions whose true class is among the `count` best scores `[batch, classes, ..]`: scikit-learn's
/// `top_k_accuracy_score`. Of equal scores those of later classes go before. More than there are classes is an error of
/// whoever compiles the step.
pub fn top_k(count: usize) -> TopK {
    TopK { count }
}

impl Metric for TopK {
    fn name(&self) -> String {
        format!("top_{}", self.count)
    }

    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        let (scores, target, classes) = match Form::read("top_k", batch) {
            Ok(Form::Classes { scores, target, classes }) => (scores, target, classes),
            Ok(Form::Binary { .. }) => {
                let message = "needs the scores of several classes, got one logit; use accuracy";
                return vec![fail("top_k", message, &[batch.prediction, batch.target])];
            }
            Err(failed) => return vec![failed],
        };
        if self.count > classes {
            let message =
                format!("the {} best of {classes} classes are always all of them; take fewer", self.count);
            return vec![fail("top_k", message, &[batch.prediction, batch.target])];
        }
        let own = target.one_hot(classes).gt(0.5);
        let score = Tensor::select(&own, &scores, 0.0).sum_keep(1);
        let numbers = Tensor::arange(0, classes as i32).reshape([1, classes as isize]);
        let later = numbers.gt(target.unsqueeze(-1));
        let before = scores.gt(&score).logical_or(scores.eq(&score).logical_and(later));
        let hits = before.cast(DType::I32).sum(1).lt(i32::try_from(self.count).unwrap_or(i32::MAX));
        // A score that is no number is not among the best.
        let hits = hits.logical_and(score.eq(&score).reshape([-1]));
        vec![hits.cast(DType::I32).sum(..), count(hits.elements())]
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Figures {
        Figures::share(self.name(), quotient(sums))
    }

    fn better(&self) -> Option<Better> {
        Some(Better::Higher)
    }

    fn takes_labels(&self) -> bool {
        true
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

described! {
    TopK = "top_k", "the share of predictions whose true class is among the best scores";
    count as "k": usize, Some(5), (1..).into(), "how many of the best scores count";
}
