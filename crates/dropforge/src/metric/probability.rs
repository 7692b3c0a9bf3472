//! Metrics of how good probabilities are.

use super::form::Form;
use super::{Better, Figures, Measured, Metric, count, quotient};
use crate::settings::{Described, Range, Table};
use crate::tensor::Tensor;
use crate::{Result, described};
use dropforge_ir::DType;

/// Probabilities of the classes `[positions, classes]`, or of a yes `[positions]`.
fn probabilities(form: &Form, given: bool) -> Tensor {
    match form {
        Form::Classes { scores, .. } if !given => scores.softmax(-1),
        Form::Binary { logit, .. } if !given => logit.sigmoid(),
        Form::Classes { scores: given, .. } | Form::Binary { logit: given, .. } => given.clone(),
    }
}

macro_rules! probability_metric {
    ($(
        $(#[$doc:meta])*
        $type:ident, $function:ident, $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?;
        $($field:ident as $key:literal: $kind:ty, $default:expr, $range:expr, $line:literal, $about:literal;)?
        |$self:ident, $form:ident| $update:expr, |$sums:ident| $compute:expr;
    )*) => {$(
        #[doc = concat!("The metric of [`", stringify!($function), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct $type {
            probabilities: bool,
            $($field: $kind,)?
        }

        $(#[$doc])*
        ///
        /// The network gives scores `[batch, classes, ..]`, of which softmax makes probabilities, or one logit of a
        /// yes; what it makes by a softmax or a sigmoid of its own is taken as it is.
        pub fn $function() -> $type {
            $type { probabilities: false $(, $field: $default)? }
        }

        impl $type {
            /// Says that the network gives probabilities.
            #[must_use]
            pub fn probabilities(mut self) -> $type {
                self.probabilities = true;
                self
            }

            $(
                #[doc = $about]
                #[must_use]
                pub fn $field(mut self, $field: $kind) -> $type {
                    self.$field = $field;
                    self
                }
            )?
        }

        impl Metric for $type {
            fn name(&self) -> String {
                let name = $name.to_string();
                $(let name = if self.$field == $default { name } else { format!("{name}_{}_{}", self.$field, $key) };)?
                name
            }

            fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                // The network says it, or who chose the metric.
                let mut own = *self;
                own.probabilities |= batch.probabilities;
                let $self = &own;
                match Form::read($name, batch) {
                    Ok($form) => $update,
                    Err(failed) => vec![failed],
                }
            }

            fn compute(&self, $sums: &[Vec<f64>]) -> Figures {
                Figures::number(self.name(), $compute)
            }

            fn better(&self) -> Option<Better> {
                Some(Better::Lower)
            }

            fn takes_labels(&self) -> bool {
                true
            }

            fn config(&self) -> Result<Table> {
                self.write_named()
            }
        }

        described! {
            $type = $name, $help $(like $twin $(but $differs)?)?;
            probabilities: bool, Some(false), Range::ANY, "whether the network gives probabilities, also where its last layer does not show it";
            $($field as $key: $kind, Some($default), $range, $line;)?
        }
    )*};
}
probability_metric! {
    /// The mean of -ln p for the probability p that was given to what is true: scikit-learn's `log_loss`,
    /// cross-entropy. A probability of 0 counts as the smallest normal number.
    LogLoss, log_loss, "log_loss", "the mean of -ln p for the probability of what is true";
    |own, form| {
        let each = match &form {
            Form::Classes { scores, target, classes } => {
                let own_class = target.one_hot(*classes).gt(0.5);
                let logs = if own.probabilities {
                    scores.maximum(f32::MIN_POSITIVE).log()
                } else {
                    scores.log_softmax(-1)
                };
                -Tensor::select(&own_class, &logs, 0.0).sum(1)
            }
            Form::Binary { logit, target, .. } if own.probabilities => {
                let given = Tensor::select(target, logit, 1.0 - logit);
                -given.maximum(f32::MIN_POSITIVE).log()
            }
            // -ln sigmoid(±z)
            Form::Binary { logit, target, .. } => Tensor::select(target, -logit, logit).softplus(),
        };
        vec![each.sum(..), count(each.elements())]
    },
    |sums| quotient(sums);

    /// The mean squared error of the probabilities (Brier, 1950): scikit-learn's `brier_score_loss`. From 0 to 1 for
    /// one logit or two classes; for more the squares of all classes are added up, from 0 to 2.
    Brier, brier, "brier", "the mean squared error of probabilities";
    |own, form| {
        let given = probabilities(&form, own.probabilities);
        let each = match &form {
            Form::Classes { target, classes, .. } => {
                let squares = (given - target.one_hot(*classes)).square().sum(1);
                if *classes == 2 { squares / 2.0 } else { squares }
            }
            Form::Binary { target, .. } => (given - target.cast(DType::F32)).square(),
        };
        vec![each.sum(..), count(each.elements())]
    },
    |sums| quotient(sums);

    /// The expected calibration error: samples are sorted into bins of equal width by the probability of the class that
    /// is said, and what the mean probability of a bin differs from the share that is right is averaged over the
    /// samples (Guo et al., 2017). For one logit it is the probability of a yes, and the share of those that are a yes.
    CalibrationError, calibration_error, "calibration_error", "what probabilities differ from how often they are right";
    bins as "bins": usize, 15, (1..=1000).into(), "how many bins there are",
        "How many bins there are. Default 15.";
    |own, form| {
        let given = probabilities(&form, own.probabilities);
        let (confidence, right) = match &form {
            Form::Classes { target, .. } => (given.max(1), given.argmax(1).eq(target)),
            Form::Binary { target, .. } => (given, target.clone()),
        };
        let bin = ((&confidence * own.bins as f32).ceil() - 1.0).clamp(0.0, (own.bins - 1) as f32);
        let bin = bin.cast(DType::I32).one_hot(own.bins);
        let right = right.cast(DType::F32).unsqueeze(-1) * &bin;
        vec![
            bin.sum(0).cast(DType::I32),
            right.sum(0).cast(DType::I32),
            (confidence.unsqueeze(-1) * bin).sum(0),
        ]
    },
    |sums| {
        match sums {
            [all, right, confidence] => {
                let off = right.iter().zip(confidence).map(|(right, confidence)| (right - confidence).abs());
                off.sum::<f64>() / all.iter().sum::<f64>()
            }
            _ => f64::NAN,
        }
    };
}
