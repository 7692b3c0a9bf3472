//! What a step computes: a function of a batch.

use super::batch::{Batch, INPUT, TARGET};
use super::change::Mixed;
use crate::loss::{self, Loss, Targets};
use crate::metric::Metric;
use crate::nn::{Layer, Scope};
use crate::tensor::Tensor;
use std::borrow::Cow;
use std::sync::Arc;

/// What training makes of a batch: the loss, and what predictions and metrics are made of.
///
/// A lone loss is one, as is a pair of loss and prediction.
#[derive(Clone)]
pub struct Objective {
    pub(crate) loss: Tensor,
    pub(crate) outputs: Vec<(Cow<'static, str>, Tensor)>,
    pub(crate) target: Option<Tensor>,
    pub(crate) measured: Vec<(Arc<dyn Metric>, Tensor, Tensor)>,
}

/// Name of the first output.
pub(crate) const PREDICTION: &str = "prediction";

impl Objective {
    /// With this loss, an f32 scalar. It should be a mean over the batch, so that a short last batch weighs as much per
    /// sample as the others.
    pub fn new(loss: impl Into<Tensor>) -> Objective {
        Objective { loss: loss.into(), outputs: Vec::new(), target: None, measured: Vec::new() }
    }

    /// What the network predicts: what `predict` gives, and with the [target](Objective::target) what metrics compare.
    #[must_use]
    pub fn prediction(mut self, prediction: &Tensor) -> Objective {
        self.outputs.insert(0, (PREDICTION.into(), prediction.clone()));
        self
    }

    /// What the prediction should be, for metrics.
    #[must_use]
    pub fn target(mut self, target: &Tensor) -> Objective {
        self.target = Some(target.clone());
        self
    }

    /// A further output of the network, by name: another head, attention weights.
    #[must_use]
    pub fn output(mut self, name: impl Into<Cow<'static, str>>, value: &Tensor) -> Objective {
        self.outputs.push((name.into(), value.clone()));
        self
    }

    /// Measures a metric on these two tensors, beside those of the step, which take prediction and target.
    #[must_use]
    pub fn measure(
        mut self,
        metric: impl Metric + 'static,
        prediction: &Tensor,
        target: &Tensor,
    ) -> Objective {
        self.measured.push((Arc::new(metric), prediction.clone(), target.clone()));
        self
    }
}

impl From<Tensor> for Objective {
    fn from(loss: Tensor) -> Objective {
        Objective::new(loss)
    }
}

impl From<(Tensor, Tensor)> for Objective {
    fn from((loss, prediction): (Tensor, Tensor)) -> Objective {
        Objective::new(loss).prediction(&prediction)
    }
}

/// What a step trains: any function of a scope and a batch that gives a loss, and what else there is to know.
///
/// A network with a loss is a task by itself ([`compile`](super::compile)); everything else is written down as it is:
/// several inputs, several outputs, auxiliary losses, weights of samples, networks that are used twice.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::step::{Batch, Objective};
///
/// // Two towers with the same weights; pairs that belong together should lie close.
/// fn siamese(scope: &Scope, batch: &Batch) -> Objective {
///     let tower = seq![dense(16), relu(), dense(4)];
///     let left = scope.layer("tower", &tower, &batch.get("left"));
///     let right = scope.shared().layer("tower", &tower, &batch.get("right"));
///     let distance = (left - right).square().sum(1);
///     let same = batch.get("same");
///     let loss = &same * &distance + (1.0 - &same) * (1.0 - &distance).relu();
///     Objective::new(loss.mean(..)).prediction(&distance)
/// }
///
/// let batch = Batch::new()
///     .with("left", Tensor::ones([8, 3]))
///     .with("right", Tensor::zeros([8, 3]))
///     .with("same", Tensor::ones([8]));
/// let mut step = StepBuilder::of(siamese, Adam::new(1e-2)).compile_for(&batch)?;
/// let before = step.run(&batch)?.loss()?;
/// for _ in 0..50 {
///     step.run(&batch)?;
/// }
/// assert!(step.evaluate(&batch)?.loss < f64::from(before) / 2.0);
/// # Ok::<(), dropforge::Error>(())
/// ```
pub trait Task: Send + Sync {
    /// The objective of a batch. Runs once per compiled program, never per step.
    fn objective(&self, scope: &Scope, batch: &Batch) -> Objective;

    /// The outputs alone, by name, the prediction first: for programs that predict, in which only the fields that they
    /// need are asked for.
    fn outputs(&self, scope: &Scope, batch: &Batch) -> Vec<(Cow<'static, str>, Tensor)> {
        self.objective(scope, batch).outputs
    }

    /// The fields that it cannot be trained without, which are looked for before anything is traced. Default none: what
    /// it asks for is found out.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the field `target` has to be. Default [`Targets::Any`].
    fn targets(&self) -> Targets {
        Targets::Any
    }

    /// How probable a yes is where the prediction is this, for losses of yes and no. Default `None`.
    fn probability(&self, output: f32) -> Option<f32> {
        let _ = output;
        None
    }

    /// The objective of a batch whose inputs are mixtures, as [`MixUp`](super::MixUp) makes them; all other fields are
    /// those of the samples themselves. `None`, the default, where a task does not know what its loss is then.
    fn mixed(&self, scope: &Scope, batch: &Batch, mixed: &Mixed) -> Option<Objective> {
        let _ = (scope, batch, mixed);
        None
    }
}

impl<F, O> Task for F
where
    F: Fn(&Scope, &Batch) -> O + Send + Sync,
    O: Into<Objective>,
{
    fn objective(&self, scope: &Scope, batch: &Batch) -> Objective {
        self(scope, batch).into()
    }
}

/// A network with a loss: the task that takes the fields `input` and `target`.
pub(crate) struct Supervised {
    pub net: Box<dyn Layer>,
    pub loss: Box<dyn Loss>,
}

impl Task for Supervised {
    fn fields(&self) -> &'static [&'static str] {
        &[INPUT, TARGET]
    }

    fn targets(&self) -> Targets {
        self.loss.targets()
    }

    fn probability(&self, output: f32) -> Option<f32> {
        self.loss.probability(output)
    }

    fn objective(&self, scope: &Scope, batch: &Batch) -> Objective {
        let prediction = self.net.forward(scope, &batch.get(INPUT));
        let target = batch.get(TARGET);
        let loss = scope.with_added(loss::of(&*self.loss, &prediction, &target));
        Objective::new(loss).prediction(&prediction).target(&target)
    }

    fn mixed(&self, scope: &Scope, batch: &Batch, mixed: &Mixed) -> Option<Objective> {
        let prediction = self.net.forward(scope, &batch.get(INPUT));
        let target = batch.get(TARGET);
        let loss = scope.with_added(mixed.loss(&target, |target| loss::of(&*self.loss, &prediction, target)));
        Some(Objective::new(loss).prediction(&prediction).target(&target))
    }

    fn outputs(&self, scope: &Scope, batch: &Batch) -> Vec<(Cow<'static, str>, Tensor)> {
        vec![(PREDICTION.into(), self.net.forward(scope, &batch.get(INPUT)))]
    }
}

/// A network alone, to predict with.
pub(crate) struct Forward {
    pub net: Box<dyn Layer>,
}

impl Task for Forward {
    fn objective(&self, scope: &Scope, batch: &Batch) -> Objective {
        let prediction = self.net.forward(scope, &batch.get(INPUT));
        let loss = crate::tensor::node::fail("loss", "the network was compiled without one", &[&prediction]);
        Objective::new(loss).prediction(&prediction)
    }

    fn outputs(&self, scope: &Scope, batch: &Batch) -> Vec<(Cow<'static, str>, Tensor)> {
        vec![(PREDICTION.into(), self.net.forward(scope, &batch.get(INPUT)))]
    }
}
