//! Metrics of networks that name the next token.

use super::form::Form;
use super::{Better, Figures, Measured, Metric, quotient};
use crate::settings::{Described, Range, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Result, described};
use dropforge_ir::DType;

/// Scores `[positions, tokens]`, the tokens, and whether they count.
fn positions(
    metric: &str,
    batch: &Measured<'_>,
    ignore: Option<u32>,
) -> std::result::Result<[Tensor; 3], Tensor> {
    match Form::read(metric, batch)? {
        Form::Classes { scores, target, .. } => {
            let counts = match ignore.and_then(|token| i32::try_from(token).ok()) {
                Some(token) => target.ne(token),
                None => target.eq(&target),
            };
            Ok([scores, target, counts])
        }
        Form::Binary { .. } => {
            let message =
                "needs the scores of all tokens [batch, tokens, ..] and the right ones i32, got one logit";
            Err(fail(metric, message, &[batch.prediction, batch.target]))
        }
    }
}

macro_rules! token_metric {
    ($(
        $(#[$doc:meta])*
        $type:ident, $function:ident, $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?,
        |$scores:ident, $target:ident, $counts:ident| $sum:expr, |$of:ident| $compute:expr, $better:ident;
    )*) => {$(
        #[doc = concat!("The metric of [`", stringify!($function), "`].")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $type {
            ignore: Option<u32>,
        }

        $(#[$doc])*
        pub fn $function() -> $type {
            $type::default()
        }

        impl $type {
            /// A token of which positions do not count, such as padding.
            #[must_use]
            pub fn ignore(mut self, token: u32) -> $type {
                self.ignore = Some(token);
                self
            }
        }

        impl Metric for $type {
            fn name(&self) -> String {
                self.ignore.map_or_else(|| $name.into(), |token| format!("{}_without_{token}", $name))
            }

            fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                match positions($name, batch, self.ignore) {
                    Ok([$scores, $target, $counts]) => {
                        let sum: Tensor = $sum;
                        vec![sum, $counts.cast(DType::I32).sum(..)]
                    }
                    Err(failed) => vec![failed],
                }
            }

            fn compute(&self, sums: &[Vec<f64>]) -> Figures {
                let $of = quotient(sums);
                let (value, make): (f64, fn(String, f64) -> Figures) = $compute;
                make(self.name(), value)
            }

            fn better(&self) -> Option<Better> {
                Some(Better::$better)
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
            ignore: Option<u32>, Some(None), Range::ANY, "a token of which positions do not count, such as padding";
        }
    )*};
}
token_metric! {
    /// e to the mean cross-entropy of the true tokens: among how many equally likely ones the network hesitates. Scores
    /// are `[batch, tokens, ..]`, targets i32 `[batch, ..]`.
    Perplexity, perplexity, "perplexity", "e to the mean cross-entropy of the tokens",
        |scores, target, counts| {
            let own = target.one_hot(scores.shape()[1]).gt(0.5);
            let losses = -Tensor::select(&own, scores.log_softmax(-1), 0.0).sum(1);
            Tensor::select(&counts, losses, 0.0).sum(..)
        },
        |mean| (mean.exp(), Figures::number), Lower;
    /// The share of tokens that have the highest score. Scores are `[batch, tokens, ..]`, targets i32 `[batch, ..]`.
    TokenAccuracy, token_accuracy, "token_accuracy", "the share of tokens that have the highest score",
        |scores, target, counts| scores.argmax(1).eq(&target).logical_and(&counts).cast(DType::I32).sum(..),
        |share| (share, Figures::share), Higher;
}
