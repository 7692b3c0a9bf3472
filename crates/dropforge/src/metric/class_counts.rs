//! Metrics that follow from three counts of each class: how often it was found rightly, was said, and was true.

use super::form::Form;
use super::{Average, Better, Figures, Measured, Metric};
use crate::settings::{Described, Range, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Result, described};
use dropforge_ir::DType;

/// The counts of one class.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Positions where it was said and is true.
    right: f64,
    /// Positions where it was said.
    said: f64,
    /// Positions where it is true.
    truth: f64,
    /// All positions.
    all: f64,
}

/// The counts of a batch: three lists with one number for each class.
fn trace(
    metric: &str,
    batch: &Measured<'_>,
    threshold: Option<f32>,
) -> std::result::Result<Vec<Tensor>, Tensor> {
    let lists = match Form::read(metric, batch)? {
        Form::Classes { scores, target, classes } => {
            let said = scores.argmax(1).one_hot(classes);
            let truth = target.one_hot(classes);
            // Sums of at most so many ones as there are positions in a batch: exact in f32.
            [&said * &truth, said, truth].map(|hot| hot.sum(0).cast(DType::I32))
        }
        Form::Binary { logit, target, threshold: usual } => {
            let yes = logit.gt(threshold.unwrap_or(usual));
            let both = |no: &Tensor, yes: &Tensor| {
                let counts = [no, yes].map(|which| which.cast(DType::I32).sum(..));
                Tensor::stack(&[&counts[0], &counts[1]], 0)
            };
            let (no, wrong) = (yes.logical_not(), target.logical_not());
            [both(&no.logical_and(&wrong), &yes.logical_and(&target)), both(&no, &yes), both(&wrong, &target)]
        }
    };
    Ok(lists.into())
}

fn update(metric: &str, batch: &Measured<'_>, threshold: Option<f32>, average: Average) -> Vec<Tensor> {
    match trace(metric, batch, threshold) {
        Ok(lists) if average == Average::Binary && lists[0].elements() != 2 => {
            let message = format!(
                "the average \"binary\" is for two classes, there are {}; use \"macro\", \"micro\" or \"weighted\"",
                lists[0].elements()
            );
            vec![fail(metric, message, &[batch.prediction, batch.target])]
        }
        Ok(lists) => lists,
        Err(failed) => vec![failed],
    }
}

/// The counts of each class from the sums.
fn counts(sums: &[Vec<f64>]) -> Vec<Counts> {
    let [right, said, truth] = sums else { return Vec::new() };
    let all: f64 = truth.iter().sum();
    let each = right.iter().zip(said).zip(truth);
    each.map(|((&right, &said), &truth)| Counts { right, said, truth, all }).collect()
}

/// A share of two counts; 0 of nothing, as scikit-learn has it.
fn share((above, below): (f64, f64)) -> f64 {
    if below > 0.0 { above / below } else { 0.0 }
}

/// What a metric with this threshold is called, so that several may stand beside each other.
fn at(name: String, threshold: Option<f32>) -> String {
    threshold.filter(|at| *at != 0.0).map_or_else(|| name.clone(), |at| format!("{name}_at_{at}"))
}

/// One number, and those of the classes if they were asked for, from what a class counts over what it is counted of.
fn averaged(
    metric: &str,
    average: Average,
    threshold: Option<f32>,
    sums: &[Vec<f64>],
    of: fn(Counts) -> (f64, f64),
) -> Figures {
    let classes = counts(sums);
    let name = at(average.name(metric), threshold);
    let is_empty = classes.first().is_none_or(|class| class.all == 0.0);
    // Without samples the same figures, so that their names are known before there are any.
    let each = || classes.iter().map(|class| if is_empty { f64::NAN } else { share(of(*class)) });
    let mean = || {
        let occurs = classes.iter().map(|class| class.said + class.truth > 0.0);
        let (sum, found) = each().zip(occurs).filter(|(_, occurs)| *occurs).fold((0.0, 0.0), add_one);
        sum / found
    };
    let number = match average {
        _ if is_empty => f64::NAN,
        Average::Auto if classes.len() == 2 => share(of(classes[1])),
        Average::Binary => classes.get(1).map_or(f64::NAN, |class| share(of(*class))),
        Average::Auto | Average::Macro | Average::PerClass => mean(),
        Average::Micro => share(classes.iter().fold((0.0, 0.0), |(above, below), class| {
            let (more, of_more) = of(*class);
            (above + more, below + of_more)
        })),
        Average::Weighted => {
            let sum: f64 = each().zip(&classes).map(|(value, class)| value * class.truth).sum();
            sum / classes[0].all
        }
    };
    let mut values = Figures::share(name, number);
    if average == Average::PerClass {
        let metric = at(metric.into(), threshold);
        for (class, value) in each().enumerate() {
            values = values.and(Figures::detail(format!("{metric}_{class}"), value));
        }
    }
    values
}

fn add_one((sum, found): (f64, f64), (value, _): (f64, bool)) -> (f64, f64) {
    (sum + value, found + 1.0)
}

macro_rules! averaged_metric {
    ($(
        $(#[$doc:meta])*
        $type:ident, $function:ident, $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, $of:expr;
    )*) => {$(
        #[doc = concat!("The metric of [`", stringify!($function), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct $type {
            average: Average,
            threshold: Option<f32>,
        }

        $(#[$doc])*
        ///
        /// Of scores `[batch, classes, ..]` the class with the highest is said; one logit says yes where it is above
        /// the threshold. Where nothing is counted the number is 0, without samples it is NaN.
        pub fn $function() -> $type {
            $type { average: Average::Auto, threshold: None }
        }

        impl $type {
            /// How the numbers of the classes become one; see [`Average`].
            #[must_use]
            pub fn average(mut self, average: Average) -> $type {
                self.average = average;
                self
            }

            /// What one output must exceed for a yes. Default 0; 0.5 where the network gives probabilities.
            #[must_use]
            pub fn threshold(mut self, threshold: f32) -> $type {
                self.threshold = Some(threshold);
                self
            }
        }

        impl Metric for $type {
            fn name(&self) -> String {
                at(self.average.name($name), self.threshold)
            }

            fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                update($name, batch, self.threshold, self.average)
            }

            fn compute(&self, sums: &[Vec<f64>]) -> Figures {
                averaged($name, self.average, self.threshold, sums, $of)
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
            $type = $name, $help $(like $twin $(but $differs)?)?;
            average: Average, Some(Average::Auto), Range::ANY, "how the numbers of the classes become one";
            threshold: Option<f32>, Some(None), Range::ANY, "what one output must exceed for a yes; by default 0, or 0.5 for probabilities";
        }
    )*};
}
averaged_metric! {
    /// The harmonic mean of precision and recall: scikit-learn's `f1_score`.
    F1, f1, "f1", "the harmonic mean of precision and recall",
        |class| (2.0 * class.right, class.said + class.truth);
    /// Of what was said to be of a class, the share that is: scikit-learn's `precision_score`.
    Precision, precision, "precision", "of what was said to be of a class, the share that is",
        |class| (class.right, class.said);
    /// Of what is of a class, the share that was found: scikit-learn's `recall_score`; sensitivity.
    Recall, recall, "recall", "of what is of a class, the share that was found",
        |class| (class.right, class.truth);
    /// Of what is not of a class, the share that was not said to be: the recall of the others.
    Specificity, specificity, "specificity", "of what is not of a class, the share that was not said to be",
        |class| {
            let others = class.all - class.truth;
            (others - (class.said - class.right), others)
        };
}

macro_rules! agreement_metric {
    ($(
        $(#[$doc:meta])*
        $type:ident, $function:ident, $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, $make:path, $compute:expr;
    )*) => {$(
        #[doc = concat!("The metric of [`", stringify!($function), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct $type {
            threshold: Option<f32>,
        }

        $(#[$doc])*
        ///
        /// Of scores `[batch, classes, ..]` the class with the highest is said; one logit says yes where it is above
        /// the threshold.
        pub fn $function() -> $type {
            $type { threshold: None }
        }

        impl $type {
            /// What one output must exceed for a yes. Default 0; 0.5 where the network gives probabilities.
            #[must_use]
            pub fn threshold(mut self, threshold: f32) -> $type {
                self.threshold = Some(threshold);
                self
            }
        }

        impl Metric for $type {
            fn name(&self) -> String {
                at($name.into(), self.threshold)
            }

            fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                update($name, batch, self.threshold, Average::Auto)
            }

            fn compute(&self, sums: &[Vec<f64>]) -> Figures {
                let compute: fn(&[Counts]) -> f64 = $compute;
                $make(self.name(), compute(&counts(sums)))
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
            $type = $name, $help $(like $twin $(but $differs)?)?;
            threshold: Option<f32>, Some(None), Range::ANY, "what one output must exceed for a yes; by default 0, or 0.5 for probabilities";
        }
    )*};
}
agreement_metric! {
    /// The mean over the classes that occur of the share that was found: scikit-learn's `balanced_accuracy_score`.
    BalancedAccuracy, balanced_accuracy, "balanced_accuracy", "the mean over the classes of the share that was found",
        Figures::share, |classes| {
            let found = classes.iter().filter(|class| class.truth > 0.0);
            let (sum, all) = found.map(|class| (class.right / class.truth, true)).fold((0.0, 0.0), add_one);
            sum / all
        };
    /// Cohen's kappa: agreement beyond what chance gives, (p - e) / (1 - e), for the share p that is right and the
    /// share e that would be if what is said had nothing to do with what is true. scikit-learn's `cohen_kappa_score`; 0
    /// where chance would always be right, of which that says NaN.
    Kappa, kappa, "kappa", "Cohen's kappa: agreement beyond what chance gives",
        Figures::number, |classes| {
            let all = classes.first().map_or(0.0, |class| class.all);
            let right: f64 = classes.iter().map(|class| class.right).sum::<f64>() / all;
            let chance: f64 = classes.iter().map(|class| class.said * class.truth).sum::<f64>() / (all * all);
            if chance == 1.0 { 0.0 } else { (right - chance) / (1.0 - chance) }
        };
    /// Matthews' correlation coefficient of what is said and what is true, from -1 to 1, for any number of classes
    /// (Gorodkin, 2004): scikit-learn's `matthews_corrcoef`; 0 where one of them never varies.
    Mcc, mcc, "mcc", "Matthews' correlation of what is said and what is true",
        Figures::number, |classes| {
            let all = classes.first().map_or(0.0, |class| class.all);
            let sum = |of: fn(&Counts) -> f64| classes.iter().map(of).sum::<f64>();
            let spread = |of: fn(&Counts) -> f64| all * all - classes.iter().map(of).map(|x| x * x).sum::<f64>();
            let above = sum(|class| class.right) * all - sum(|class| class.said * class.truth);
            let below = (spread(|class| class.said) * spread(|class| class.truth)).sqrt();
            if all == 0.0 { f64::NAN } else if below == 0.0 { 0.0 } else { above / below }
        };
}
