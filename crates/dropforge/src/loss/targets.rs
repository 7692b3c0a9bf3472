//! What targets losses need.

use super::Loss;
use crate::tensor::Tensor;
use dropforge_ir::{Array, DType, Data};

/// What the targets of a [`Loss`](super::Loss) have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Targets {
    /// Whatever it says itself: any numbers, or class numbers, which are checked where they are used.
    #[default]
    Any,
    /// 1 for yes and 0 for no, or between, for each output. Class numbers of two classes are taken, too, where the
    /// network has one output.
    YesNo,
    /// 1 for yes and −1 for no. Class numbers of two classes are taken, too, where the network has one output.
    Signs,
    /// Probabilities, from 0 to 1.
    Probabilities,
    /// Counts: 0 or more.
    Counts,
}

/// How far rounding may bring a probability out of its range.
const ROUNDING: f64 = 1e-5;

impl Targets {
    /// What is needed, for messages: "targets of 1 (yes) and 0 (no)".
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Targets::Any => "any targets",
            Targets::YesNo => "targets of 1 (yes) and 0 (no), or between",
            Targets::Signs => "targets of 1 (yes) and -1 (no)",
            Targets::Probabilities => "probabilities from 0 to 1 as targets",
            Targets::Counts => "targets of 0 or more",
        }
    }

    /// Whether one output can tell two classes apart.
    pub fn tell_two_classes(self) -> bool {
        matches!(self, Targets::YesNo | Targets::Signs)
    }

    /// Whether such targets say yes or no, if some of them only to a part.
    pub(crate) fn say_yes_or_no(self) -> bool {
        matches!(self, Targets::YesNo | Targets::Signs | Targets::Probabilities)
    }

    fn holds(self, target: f64) -> bool {
        match self {
            Targets::Any => true,
            Targets::YesNo | Targets::Probabilities => (-ROUNDING..=1.0 + ROUNDING).contains(&target),
            Targets::Signs => target == 1.0 || target == -1.0,
            Targets::Counts => target >= 0.0,
        }
    }

    /// The position and value of the first number that is no such target.
    pub(crate) fn first_outside(self, targets: &Array) -> Option<(usize, f64)> {
        if self == Targets::Any {
            return None;
        }
        let Data::F32(values) = targets.data() else { return None };
        let outside = |value: &f32| !self.holds(f64::from(*value));
        let position = values.iter().position(outside)?;
        Some((position, f64::from(values[position])))
    }
}

/// The position and value of the first number that says neither yes (1) nor no (0, or −1).
pub(crate) fn first_no_label(targets: &Array) -> Option<(usize, f64)> {
    let Data::F32(values) = targets.data() else { return None };
    let position = values.iter().position(|value| ![0.0, 1.0, -1.0].contains(value))?;
    Some((position, f64::from(values[position])))
}

/// The loss of a prediction and a target. Where it is of yes and no, one output tells class 1 of two from class 0.
pub(crate) fn of(loss: &dyn Loss, prediction: &Tensor, target: &Tensor) -> Tensor {
    let targets = loss.targets();
    let is_one_output = target.dtype() == DType::I32
        && prediction.rank() == target.rank() + 1
        && prediction.shape().get(1) == Some(&1)
        && prediction.shape().without(&[1]) == *target.shape();
    if !targets.tell_two_classes() || !is_one_output {
        return loss.loss(prediction, target);
    }
    let yes = target.cast(DType::F32).reshape(prediction.shape().to_vec());
    loss.loss(prediction, &if targets == Targets::Signs { yes * 2.0 - 1.0 } else { yes })
}
