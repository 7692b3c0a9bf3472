//! Errors of numbers: means that add up on the device.

use super::{Better, Figures, Measured, Metric, count, quotient};
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Result, described};

/// Prediction and target as f32 of one shape. One number for each sample may stand in an axis of its own.
pub(super) fn alike(metric: &str, batch: &Measured<'_>) -> std::result::Result<[Tensor; 2], Tensor> {
    let Measured { prediction, target, .. } = *batch;
    let floats = prediction.dtype().is_float() && target.dtype().is_float();
    let shapes = prediction.shape() == target.shape()
        || (prediction.rank() == target.rank() + 1
            && prediction.shape()[target.rank()] == 1
            && prediction.shape().without(&[target.rank()]) == *target.shape());
    if !(floats && shapes) {
        let message = format!(
            "needs predictions and targets f32 of one shape, got {} and {}",
            prediction.ty(),
            target.ty()
        );
        return Err(fail(metric, message, &[prediction, target]));
    }
    Ok([prediction.reshape_as(target).widened(), target.widened()])
}

macro_rules! error_metric {
    ($(
        $(#[$doc:meta])*
        $type:ident, $function:ident, $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, |$y:ident, $t:ident| $each:expr, $finish:expr;
    )*) => {$(
        #[doc = concat!("The metric of [`", stringify!($function), "`].")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $type {}

        $(#[$doc])*
        ///
        /// Predictions and targets are floats of one shape; every number counts.
        pub fn $function() -> $type {
            $type {}
        }

        impl Metric for $type {
            fn name(&self) -> String {
                $name.into()
            }

            fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                match alike($name, batch) {
                    Ok([$y, $t]) => {
                        let each: Tensor = $each;
                        vec![each.sum(..), count(each.elements())]
                    }
                    Err(failed) => vec![failed],
                }
            }

            fn compute(&self, sums: &[Vec<f64>]) -> Figures {
                let finish: fn(f64) -> f64 = $finish;
                Figures::number($name, finish(quotient(sums)))
            }

            fn better(&self) -> Option<Better> {
                Some(Better::Lower)
            }

            fn config(&self) -> Result<Table> {
                self.write_named()
            }
        }

        described! {
            $type = $name, $help $(like $twin $(but $differs)?)?;
        }
    )*};
}
error_metric! {
    /// The mean absolute error: scikit-learn's `mean_absolute_error`.
    MeanAbsoluteError, mean_absolute_error, "mae", "the mean absolute error",
        |y, t| (y - t).abs(), |mean| mean;
    /// The mean absolute error in parts of the target, 0.1 for a tenth: scikit-learn's
    /// `mean_absolute_percentage_error`. Of targets near 0 it makes large numbers.
    MeanPercentageError, mean_percentage_error, "mape", "the mean absolute error in parts of the target",
        // scikit-learn's bound, the epsilon of f64.
        |y, t| (&y - &t).abs() / t.abs().maximum(f64::EPSILON as f32), |mean| mean;
    /// The mean squared error: scikit-learn's `mean_squared_error`.
    MeanOfSquares, mean_of_squares, "mse", "the mean squared error",
        |y, t| (y - t).square(), |mean| mean;
    /// The root of the mean squared error: scikit-learn's `root_mean_squared_error`.
    RootMeanOfSquares, root_mean_of_squares, "rmse", "the root of the mean squared error",
        |y, t| (y - t).square(), f64::sqrt;
}
