//! Metrics that are a quotient of two sums, out of a function.

use super::{Better, Figures, Measured, Metric, count, quotient};
use crate::tensor::Tensor;
use dropforge_ir::DType;

/// A quotient of sums. See [`ratio`] and [`mean`].
pub struct Ratio<F> {
    name: String,
    sums: F,
    better: Option<Better>,
}

impl<F> Ratio<F> {
    /// Says which of two of its numbers is the better one, so that whoever watches it need not say.
    #[must_use]
    pub fn better(mut self, better: Better) -> Ratio<F> {
        self.better = Some(better);
        self
    }
}

/// A metric of your own: the sum of what `sums` gives first for each batch over the sum of what it gives second, both
/// scalars.
///
/// ```
/// use dropforge::metric::ratio;
/// use dropforge::prelude::*;
///
/// // Of those that are predicted to be positive, how many are.
/// let precision = ratio("precision", |prediction: &Tensor, target: &Tensor| {
///     let said = prediction.gt(0.0).cast(DType::F32);
///     ((&said * target).sum(..), said.sum(..))
/// });
/// # let _ = StepBuilder::new(dense(1), mse(), Sgd::new(0.1)).metric(precision);
/// ```
pub fn ratio<F>(name: impl Into<String>, sums: F) -> Ratio<F>
where
    F: Fn(&Tensor, &Tensor) -> (Tensor, Tensor) + Send + Sync,
{
    Ratio { name: name.into(), sums, better: None }
}

/// A metric of your own: the mean of all the numbers that `each` gives for prediction and target.
///
/// ```
/// use dropforge::metric::mean;
/// use dropforge::prelude::*;
///
/// let absolute = mean("mae", |prediction: &Tensor, target: &Tensor| (prediction - target).abs());
/// let (x, y) = (Tensor::from([[0.0], [0.0]]), Tensor::from([[1.0], [-3.0]]));
/// let step = StepBuilder::new(dense(1), mse(), Sgd::new(0.1)).metric(absolute);
/// let mut step = step.compile_for((&x, &y))?;
/// let bias = f64::from(step.states().read("bias")?.as_f32().unwrap()[0]);
/// let found = step.evaluate((&x, &y))?.metrics.get("mae").unwrap();
/// assert!((found - ((1.0 - bias).abs() + (3.0 + bias).abs()) / 2.0).abs() < 1e-6);
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn mean<F>(
    name: impl Into<String>,
    each: F,
) -> Ratio<impl Fn(&Tensor, &Tensor) -> (Tensor, Tensor) + Send + Sync>
where
    F: Fn(&Tensor, &Tensor) -> Tensor + Send + Sync,
{
    ratio(name, move |prediction, target| {
        let each = each(prediction, target);
        let all = count(each.elements());
        let each = if each.dtype().is_float() { each } else { each.cast(DType::F32) };
        (each.sum(..), all)
    })
}

impl<F> Metric for Ratio<F>
where
    F: Fn(&Tensor, &Tensor) -> (Tensor, Tensor) + Send + Sync,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        let (above, below) = (self.sums)(batch.prediction, batch.target);
        vec![above, below]
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Figures {
        Figures::number(self.name(), quotient(sums))
    }

    fn better(&self) -> Option<Better> {
        self.better
    }

    fn is_quotient(&self) -> bool {
        true
    }
}
