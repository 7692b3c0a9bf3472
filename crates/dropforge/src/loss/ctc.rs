//! Connectionist temporal classification.

use super::declare::{Reduction, losses, told};
use super::{Loss, at};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use dropforge_ir::DType;

losses! {
    /// The negative logarithm of the probability of a sequence of classes whose places in time are not known, from
    /// unnormalised scores `[batch, classes, time]` and targets i32 `[batch, longest]`, in which negative numbers fill
    /// up the end: PyTorch's `CTCLoss` of log-softmax. Graves et al., ICML 2006.
    ///
    /// The mean divides each loss by the length of its target first, as in PyTorch. A target that does not fit into the
    /// time has an infinite loss. All times count; the program grows with their number.
    Ctc, ctc = "ctc", "sequences of classes without their places in time"
        like "nn.CTCLoss" but "scores, not logarithms; lengths stand in the targets" {
        blank: usize = 0, (0..).into(), "class that stands for nothing";
    }
}

/// The logarithm of what is impossible: finite, so that gradients are.
const IMPOSSIBLE: f32 = -1e30;

impl Ctc {
    /// The loss of each sample, and the length of its target.
    #[track_caller]
    fn parts(&self, scores: &Tensor, target: &Tensor) -> Result<[Tensor; 2], Tensor> {
        let scores = &at(scores, self.site);
        let fits = scores.rank() == 3
            && target.rank() == 2
            && scores.dtype().is_float()
            && target.dtype() == DType::I32
            && scores.shape()[0] == target.shape()[0];
        if !fits || scores.shape()[2] == 0 || self.blank >= scores.shape()[1] {
            let message = format!(
                "needs scores f32[batch, classes, time], with the blank {} among them, and classes i32[batch, longest], got {} and \
                 {}",
                self.blank,
                scores.ty(),
                target.ty()
            );
            return Err(fail("ctc", message, &[scores, target]));
        }
        let (batch, time, longest) = (scores.shape()[0], scores.shape()[2], target.shape()[1]);
        let is_there = target.ge(0);
        let lengths = is_there.cast(DType::I32).sum(1);
        let class = Tensor::select(&is_there, target, self.blank as i32);
        // A blank before, between and behind the classes.
        let blanks = Tensor::full_like(&class, self.blank as f32);
        let first = Tensor::full_like(&lengths.unsqueeze(1), self.blank as f32);
        let pairs = Tensor::stack(&[&class, &blanks], 2).reshape(vec![batch, 2 * longest]);
        let labels = Tensor::concat(&[&first, &pairs], 1);
        let places = 2 * longest + 1;
        // From a class to another one without the blank between.
        let mut skips = vec![false; places];
        skips.iter_mut().skip(3).step_by(2).for_each(|may| *may = true);
        let before = Tensor::concat(
            &[&labels.slice(1, ..2.min(places)), &labels.slice(1, ..places.saturating_sub(2))],
            1,
        );
        let may_skip = labels.ne(&before).logical_and(Tensor::from_vec(skips, [1, places]));
        let logarithms = scores.widened().log_softmax(1);
        let each = labels.unsqueeze(2).broadcast_to(vec![batch, places, time]);
        let seen = logarithms.gather(1, &each);
        let shifted = |x: &Tensor, by: usize| x.pad(&[0, by], &[0, 0], IMPOSSIBLE).slice(1, ..places);
        let starts: Vec<f32> = (0..places).map(|place| if place < 2 { 0.0 } else { IMPOSSIBLE }).collect();
        let mut reached = seen.at(2, 0) + Tensor::from_vec(starts, [1, places]);
        for t in 1..time {
            let jumped = Tensor::select(&may_skip, shifted(&reached, 2), IMPOSSIBLE);
            let ways = Tensor::stack(&[&reached, &shifted(&reached, 1), &jumped], 0);
            reached = ways.logsumexp(0) + seen.at(2, t);
        }
        // It ends with the last class or the blank behind it.
        let end = &lengths * 2;
        let behind = reached.pick(1, &end);
        let last = reached.pick(1, &(&end - 1).maximum(0));
        let both = Tensor::select(&lengths.gt(0), behind.logaddexp(&last), &behind);
        let loss = Tensor::select(&both.lt(IMPOSSIBLE / 2.0), f32::INFINITY, &-both);
        Ok([loss, lengths.cast(DType::F32)])
    }

    /// The loss of each sample.
    #[track_caller]
    pub fn each(&self, scores: &Tensor, target: &Tensor) -> Tensor {
        match self.parts(scores, target) {
            Ok([loss, _]) => loss,
            Err(failed) => failed,
        }
    }
}

impl Loss for Ctc {
    fn loss(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match self.parts(prediction, target) {
            Ok([loss, lengths]) if self.reduction == Reduction::Mean => {
                (loss / lengths.clamp_min(1.0)).mean(..)
            }
            Ok([loss, _]) => self.reduction.of(&loss),
            Err(failed) => failed,
        }
    }

    told!();
}
