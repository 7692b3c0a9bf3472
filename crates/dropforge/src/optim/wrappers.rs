//! Optimizers around others: lookahead, noise in the gradients, averages of the weights.

use super::{Lbfgs, Optimizer, Parameter, lbfgs};
use crate::described;
use crate::init::Init;
use crate::nn::{Scope, StateKind};
use crate::settings::{Context, Described, Range, SettingType, TYPE, Table, Value};
use crate::tensor::Tensor;
use crate::{Error, Result};
use dropforge_ir::{DType, ValueType};

/// The name of an optimizer, or a table with `type` and settings.
impl SettingType for Box<dyn Optimizer> {
    fn expects() -> String {
        "an optimizer such as \"adam\" or { type = \"sgd\", lr = 0.1 }".into()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Box<dyn Optimizer>> {
        context.build("optimizer", value)
    }

    fn kind() -> Option<&'static str> {
        Some("optimizer")
    }

    fn write(&self) -> Result<Option<Value>> {
        self.config().map(|table| Some(Value::Table(table)))
    }
}

/// What every optimizer around another leaves to that one.
macro_rules! around {
    () => {
        fn needs_loss(&self) -> bool {
            self.optimizer.needs_loss()
        }

        fn describe(&self) -> String {
            format!("{} of {}", <Self as Described>::NAME, self.optimizer.describe())
        }

        fn settings(&self) -> Table {
            self.optimizer.settings()
        }

        fn set_learning_rate(&mut self, lr: f64) -> Result<()> {
            self.optimizer.set_learning_rate(lr)
        }

        fn set(&mut self, setting: &str, value: Value) -> Result<()> {
            self.optimizer.set(setting, value)
        }

        fn config(&self) -> Result<Table> {
            self.write_named()
        }
    };
}

/// A counter of the updates that have been made, which starts at 0.
fn counter(scope: &Scope, name: &str) -> Tensor {
    scope.state_of(name, StateKind::Optimizer, ValueType::scalar(DType::U32), Init::constant(0.0))
}

/// A state like a parameter, which starts with zeros.
fn beside(scope: &Scope, kind: &str, parameter: &Parameter) -> Tensor {
    let name = format!("{kind}.{}", parameter.name);
    scope.state_of(&name, StateKind::Optimizer, parameter.value.ty().clone(), Init::constant(0.0))
}

/// Lookahead: after every `every` updates of the inner optimizer, slow weights move a share of the way to the fast
/// ones, which start again from there. Zhang et al., arXiv:1907.08610.
///
/// States: `lookahead.step`, `lookahead.phase`, `lookahead.slow.<name>`, and those of the inner one.
#[derive(Clone)]
pub struct Lookahead {
    optimizer: Box<dyn Optimizer>,
    every: usize,
    share: f64,
}

impl Lookahead {
    /// Around this optimizer: half of the way after every five updates.
    pub fn new(optimizer: impl Optimizer + 'static) -> Lookahead {
        Lookahead { optimizer: Box::new(optimizer), every: 5, share: 0.5 }
    }

    /// Updates between two moves of the slow weights. Default 5.
    #[must_use]
    pub fn every(mut self, updates: usize) -> Lookahead {
        self.every = updates.max(1);
        self
    }

    /// Share of the way that the slow weights move. Default 0.5.
    #[must_use]
    pub fn share(mut self, share: f64) -> Lookahead {
        self.share = share;
        self
    }
}

described! {
    Lookahead = "lookahead", "weights that go back a share of the way after every few updates"
        like "Zhang et al., arXiv:1907.08610" but "an optimizer around another";
    optimizer: Box<dyn Optimizer>, None, Range::ANY, "what makes the updates";
    every: usize, Some(5), (1..=1_000_000).into(), "updates between two moves of the slow weights";
    share: f64, Some(0.5), (0.0..=1.0).into(), "share of the way that the slow weights move";
}

impl Optimizer for Lookahead {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let mut values = self.optimizer.hyperparameters();
        values.push(("lookahead_share", self.share));
        values
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        self.optimizer.update(scope, parameters);
        let (step, phase) = (counter(scope, "lookahead.step"), counter(scope, "lookahead.phase"));
        let is_first = step.eq(0);
        let next = &phase + 1;
        let is_due = next.eq(i32::try_from(self.every).unwrap_or(i32::MAX));
        scope.write_state(&step, &(&step + 1));
        scope.write_state(&phase, &Tensor::select(&is_due, 0, &next));
        let share = scope.hyperparameter("lookahead_share", self.share);
        for parameter in parameters {
            let slow = beside(scope, "lookahead.slow", parameter);
            let known = Tensor::select(&is_first, &parameter.value, &slow);
            let fast = scope.written(&parameter.value);
            let moved = &known + (&fast - &known) * &share;
            scope.write_state(&slow, &Tensor::select(&is_due, &moved, &known));
            scope.rewrite(&parameter.value, &Tensor::select(&is_due, &moved, &fast));
        }
    }

    around!();
}

/// Normally distributed noise in the gradients, of variance `variance`/(1 + t)^`decay` at update t from 0. Neelakantan
/// et al., arXiv:1511.06807.
///
/// State: `gradient_noise.step`, and those of the inner optimizer.
#[derive(Clone)]
pub struct GradientNoise {
    optimizer: Box<dyn Optimizer>,
    variance: f64,
    decay: f64,
}

impl GradientNoise {
    /// Around this optimizer, with a decay of 0.55.
    pub fn new(variance: f64, optimizer: impl Optimizer + 'static) -> GradientNoise {
        GradientNoise { optimizer: Box::new(optimizer), variance, decay: 0.55 }
    }

    /// Power of the count by which the variance falls. Default 0.55.
    #[must_use]
    pub fn decay(mut self, decay: f64) -> GradientNoise {
        self.decay = decay;
        self
    }
}

described! {
    GradientNoise = "gradient_noise", "normally distributed noise in the gradients"
        like "Neelakantan et al., arXiv:1511.06807" but "an optimizer around another";
    optimizer: Box<dyn Optimizer>, None, Range::ANY, "what makes the updates";
    variance: f64, Some(0.01), (0.0..).into(), "variance at the first update";
    decay: f64, Some(0.55), (0.0..).into(), "power of the count by which the variance falls";
}

impl Optimizer for GradientNoise {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let mut values = self.optimizer.hyperparameters();
        values.push(("noise_deviation", self.variance.sqrt()));
        values.push(("noise_half_decay", self.decay / 2.0));
        values
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let step = counter(scope, "gradient_noise.step");
        let next = &step + 1;
        scope.write_state(&step, &next);
        // The root of the variance: deviation·(1 + t)^(−decay/2).
        let fall =
            (next.cast(DType::F32).log() * -scope.hyperparameter("noise_half_decay", self.decay / 2.0)).exp();
        let deviation = scope.hyperparameter("noise_deviation", self.variance.sqrt()) * fall;
        let noisy = |parameter: &Parameter| {
            let place = scope.enter("gradient_noise").enter(&parameter.name);
            let noise = place.normal(parameter.gradient.shape()) * &deviation;
            let gradient = &parameter.gradient + noise.cast(parameter.gradient.dtype());
            Parameter { name: parameter.name.clone(), value: parameter.value.clone(), gradient }
        };
        self.optimizer.update(scope, &parameters.iter().map(noisy).collect::<Vec<_>>());
    }

    around!();
}

/// Averages of the weights beside training: a running mean w̄ += (1 − `decay`)(w − w̄) after each update (EMA;
/// PyTorch's `AveragedModel` with `get_ema_multi_avg_fn`), or without a decay the plain mean of all weights from update
/// `start` on, one in `every` (SWA; Izmailov et al., arXiv:1803.05407). Training itself is not changed: a
/// [`Trainer`](crate::train::Trainer) measures and predicts by the averages, and what it saves as the network are they,
/// so that every run is used with them; with a step of your own,
/// [`Step::use_averages`](crate::step::Step::use_averages) puts them into the network.
///
/// States: `averaged.step`, `averaged.phase`, `averaged.count`, `averaged.w.<name>`, and those of the inner optimizer.
#[derive(Clone)]
pub struct Averaged {
    optimizer: Box<dyn Optimizer>,
    decay: Option<f64>,
    start: usize,
    every: usize,
}

impl Averaged {
    /// Running means of the weights that this optimizer makes.
    pub fn exponential(decay: f64, optimizer: impl Optimizer + 'static) -> Averaged {
        Averaged { optimizer: Box::new(optimizer), decay: Some(decay), start: 0, every: 1 }
    }

    /// The plain mean of the weights from update `start` on, one in `every`.
    pub fn plain(start: usize, every: usize, optimizer: impl Optimizer + 'static) -> Averaged {
        Averaged { optimizer: Box::new(optimizer), decay: None, start, every: every.max(1) }
    }
}

described! {
    Averaged = "averaged", "averages of the weights beside training, running ones or plain ones"
        like "optim.swa_utils.AveragedModel" but "an optimizer around another; averages parameters, not statistics";
    optimizer: Box<dyn Optimizer>, None, Range::ANY, "what makes the updates";
    decay: Option<f64>, Some(None), (0.0..1.0).into(), "share of the old average that is kept; none for the plain mean";
    start: usize, Some(0), (0..=1_000_000_000).into(), "updates before the first that counts";
    every: usize, Some(1), (1..=1_000_000).into(), "one in so many updates counts";
}

/// What stands before the name of a parameter in that of its average.
pub(crate) const AVERAGE: &str = "averaged.w.";
/// How many updates count.
const COUNT: &str = "averaged.count";

impl Optimizer for Averaged {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let mut values = self.optimizer.hyperparameters();
        values.extend(self.decay.map(|decay| ("average_drawn", 1.0 - decay)));
        values
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        self.optimizer.update(scope, parameters);
        let whole = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let step = counter(scope, "averaged.step");
        scope.write_state(&step, &(&step + 1));
        let phase = counter(scope, "averaged.phase");
        let has_begun = step.ge(whole(self.start));
        let next = &phase + 1;
        let phase_next = Tensor::select(&next.eq(whole(self.every)), 0, &next);
        scope.write_state(&phase, &Tensor::select(&has_begun, &phase_next, &phase));
        let counts = has_begun.logical_and(phase.eq(0));
        let count = counter(scope, COUNT);
        let more = &count + 1;
        scope.write_state(&count, &Tensor::select(&counts, &more, &count));
        // The first that counts is the average.
        let share = match self.decay {
            Some(decay) => {
                Tensor::select(&count.eq(0), 1.0, scope.hyperparameter("average_drawn", 1.0 - decay))
            }
            None => 1.0 / more.cast(DType::F32),
        };
        for parameter in parameters {
            let average = scope.state_of(
                &format!("{AVERAGE}{}", parameter.name),
                StateKind::Optimizer,
                parameter.value.ty().clone(),
                Init::constant(0.0),
            );
            let drawn = &average + (scope.written(&parameter.value) - &average) * &share;
            scope.write_state(&average, &Tensor::select(&counts, &drawn, &average));
        }
    }

    around!();
}

/// An optimizer with the running mean of the weights beside it.
pub(crate) fn with_running_mean(decay: f64, optimizer: Box<dyn Optimizer>) -> Box<dyn Optimizer> {
    Box::new(Averaged::exponential(decay, optimizer))
}

/// An optimizer with the plain mean of the weights beside it, from an update on.
pub(crate) fn with_mean_from(update: usize, optimizer: Box<dyn Optimizer>) -> Box<dyn Optimizer> {
    Box::new(Averaged::plain(update, 1, optimizer))
}

/// How many of an optimizer and those inside of it, as files have them, keep averages of the weights.
pub(crate) fn averages_within(optimizer: &Table) -> usize {
    let own = optimizer.get(TYPE).and_then(Value::as_str) == Some(Averaged::NAME);
    let inner = optimizer.values().filter_map(Value::as_table).map(averages_within);
    usize::from(own) + inner.sum::<usize>()
}

/// Whether an optimizer, or one inside of it, as files have them, keeps points that networks are used with in place of
/// the weights, as averages are.
pub(crate) fn searches_within(optimizer: &Table) -> bool {
    let own = optimizer.get(TYPE).and_then(Value::as_str) == Some(<Lbfgs as Described>::NAME);
    own || optimizer.values().filter_map(Value::as_table).any(searches_within)
}

/// A state that is an average.
pub(crate) struct Average {
    /// Its name.
    pub name: String,
    /// The parameter that it belongs to.
    pub parameter: String,
    /// The state that counts what is in it.
    pub count: String,
}

/// The states that networks are used with in place of their weights: averages, and the points that searches found.
pub(crate) fn averages<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Average> {
    let average = |name: &str| {
        let kinds = [(AVERAGE, COUNT), (lbfgs::START, lbfgs::DIRECTIONS)];
        let found = kinds.iter().find_map(|(before, count)| Some((name.split_once(before)?, count)));
        let ((group, parameter), count) = found?;
        let (name, parameter, count) = (name.into(), parameter.into(), format!("{group}{count}"));
        Some(Average { name, parameter, count })
    };
    names.filter_map(average).collect()
}

/// The error of a network without averages.
pub(crate) fn no_averages() -> Error {
    Error::setting(
        "there are no averages of weights; train with an optimizer inside of `averaged`, or `lbfgs`, and make a step first",
    )
}
