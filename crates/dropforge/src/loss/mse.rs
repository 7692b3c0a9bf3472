//! Mean squared error.

use super::declare::unlike;
use super::{Loss, at};
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Result, described};
use std::panic::Location;

/// Mean squared error. See [`mse`].
#[derive(Clone, Copy, Debug)]
pub struct MeanSquaredError {
    site: &'static Location<'static>,
}

/// Mean over all elements of the squared difference of two tensors of one shape: PyTorch's `F.mse_loss`.
///
/// ```
/// use dropforge::prelude::*;
///
/// let loss = mse().loss(&Tensor::from([1.0, 2.0]), &Tensor::from([1.0, 4.0]));
/// assert_eq!(loss.item::<f32>()?, 2.0);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "MSELoss")]
#[track_caller]
pub fn mse() -> MeanSquaredError {
    MeanSquaredError { site: Location::caller() }
}

impl Loss for MeanSquaredError {
    fn loss(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let prediction = &at(prediction, self.site);
        // Broadcasting here is nearly always a forgotten axis.
        if prediction.shape() != target.shape() {
            return fail("mse", unlike("mse", prediction, target), &[prediction, target]);
        }
        // The loss of halves is f32.
        (prediction.widened() - target.widened()).square().mean(..)
    }

    fn describe(&self) -> String {
        "mse".into()
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

described! {
    MeanSquaredError = "mse", "mean of the squared differences"
        like "nn.MSELoss" but "shapes that would broadcast are refused", { site: Location::caller() };
}
