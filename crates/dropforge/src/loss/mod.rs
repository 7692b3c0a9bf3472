//! Losses: one number from a prediction and a target.

mod added;
mod binary;
mod classes;
mod cross_entropy;
mod ctc;
mod declare;
mod mse;
mod ranking;
mod regression;
mod targets;

pub use added::{Added, added};
pub use binary::{
    BinaryCrossEntropy, BinaryCrossEntropyOfLogits, Dice, Focal, bce, bce_with_logits, dice, focal,
};
pub use classes::{
    CategoricalCrossEntropy, Contrastive, KlDivergence, NegativeLogLikelihood, categorical_cross_entropy,
    info_nce, kl_div, nll,
};
pub use cross_entropy::{CrossEntropy, cross_entropy};
pub use ctc::{Ctc, ctc};
pub use declare::Reduction;
pub use mse::{MeanSquaredError, mse};
pub use ranking::{
    CosineEmbedding, Hinge, HingeEmbedding, MarginRanking, SoftMargin, Triplet, cosine_embedding, hinge,
    hinge_embedding, margin_ranking, soft_margin, triplet,
};
pub use regression::{
    AbsoluteError, GaussianLogLikelihood, Huber, Poisson, SmoothAbsoluteError, gaussian_nll, huber, mae,
    poisson_nll, smooth_l1,
};

pub use targets::Targets;
pub(crate) use targets::{first_no_label, of};

use crate::settings::Table;
use crate::tensor::{Tag, Tensor};
use crate::{Error, Result};
use std::panic::Location;
use std::sync::Arc;

/// What training makes small: a scalar from a prediction and a target.
///
/// Any `Fn(&Tensor, &Tensor) -> Tensor` is one. It should be a mean over the batch, so that a short last batch weighs
/// as much per sample as the others.
pub trait Loss: Send + Sync {
    /// The loss as an f32 scalar.
    fn loss(&self, prediction: &Tensor, target: &Tensor) -> Tensor;

    /// What listings and configurations call it.
    fn describe(&self) -> String {
        "function".into()
    }

    /// How probable a yes is where the network gives this, for losses of yes (1) and no (0); `None` for all others.
    /// Default `None`.
    fn probability(&self, output: f32) -> Option<f32> {
        let _ = output;
        None
    }

    /// What targets have to be: steps refuse others. Default [`Targets::Any`].
    fn targets(&self) -> Targets {
        Targets::Any
    }

    /// Name and settings of the loss as a file has them.
    ///
    /// # Errors
    /// The loss cannot be written down: functions cannot.
    fn config(&self) -> Result<Table> {
        Err(Error::setting(format!(
            "a loss made by a program ({}) cannot be written to a file",
            self.describe()
        )))
    }
}

impl<F> Loss for F
where
    F: Fn(&Tensor, &Tensor) -> Tensor + Send + Sync,
{
    fn loss(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        self(prediction, target)
    }
}

macro_rules! pointer_loss {
    ($($type:ty),*) => {$(
        impl Loss for $type {
            fn loss(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
                (**self).loss(prediction, target)
            }

            fn describe(&self) -> String {
                (**self).describe()
            }

            fn probability(&self, output: f32) -> Option<f32> {
                (**self).probability(output)
            }

            fn targets(&self) -> Targets {
                (**self).targets()
            }

            fn config(&self) -> Result<Table> {
                (**self).config()
            }
        }
    )*};
}
pointer_loss!(Box<dyn Loss>, std::sync::Arc<dyn Loss>);

/// The same value in the loss that the user made at `site`.
fn at(prediction: &Tensor, site: &'static Location<'static>) -> Tensor {
    prediction.with_tag(Some(Arc::new(Tag { path: "loss".into(), site: Some(site) })))
}
