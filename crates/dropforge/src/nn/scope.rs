//! The scope: where in the network a layer stands, and the way to everything it keeps.

use super::layer::Layer;
use super::reparametrised::WeightRule;
use super::trace::{Held, Mode, StateKind, Trace};
use crate::init::Init;
use crate::tensor::node::{Place, apply, fail, poison};
use crate::tensor::{IntoShape, Tag, Tensor};
use dropforge_ir::{DType, Error, Op, ValueType};
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// A named place in a network that is being traced.
///
/// Layers get one, declare their parameters with it, and enter narrower ones for the layers inside them. The dotted
/// path of names is what parameters are called in checkpoints: `encoder.fc1.weight`.
///
/// ```
/// use dropforge::prelude::*;
///
/// /// A dense layer without bias that also learns a scale.
/// fn scaled(scope: &Scope, x: &Tensor) -> Tensor {
///     let inputs = x.shape()[1];
///     let weight = scope.parameter("weight", [8, inputs], Init::weight());
///     let scale = scope.parameter("scale", [8], Init::constant(1.0));
///     x.matmul(&weight.t()) * scale
/// }
/// let net = seq![scaled, relu(), dense(3)];
/// let network = Network::compile(net, [4])?;
/// assert_eq!(network.parameter_count(), 8 * 4 + 8 + 8 * 3 + 3);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "register_buffer")]
#[derive(Clone)]
pub struct Scope {
    trace: Rc<RefCell<Trace>>,
    path: Arc<str>,
    site: Option<&'static Location<'static>>,
    /// Whether states that were declared before are used again.
    shared: bool,
    /// What stands in front of the names that an optimizer gives its states and runtime scalars.
    group: Arc<str>,
    /// What makes the parameter `weight` of the layer that is next, instead of a parameter.
    weight: Option<WeightRule>,
}

impl Scope {
    /// The outermost scope of a new tracing.
    pub(crate) fn root(mode: Mode) -> Scope {
        let trace = Rc::new(RefCell::new(Trace::new(mode)));
        Scope { trace, path: "".into(), site: None, shared: false, group: "".into(), weight: None }
    }

    /// The scope of a part called `name`. Names of neighbours must differ; one that is empty, or holds a dot, which
    /// parts paths, or a `*` or `?`, which patterns of paths take for others, is an error of whoever compiles the
    /// network.
    #[track_caller]
    pub fn enter(&self, name: &str) -> Scope {
        if name.is_empty() || name.contains(['.', '*', '?']) {
            let message =
                format!("\"{name}\" cannot be the name of a part: give it one without `.`, `*` and `?`");
            let place = self.place(Location::caller());
            self.trace.borrow_mut().fail(Error::new("scope", message).at(&place.origin()));
        }
        Scope { path: self.full_name(name).into(), weight: None, ..self.clone() }
    }

    /// The same scope, in which parameters and states that were declared before are used again: the same layer on
    /// several inputs (siamese networks), or tied weights. Statistics are recorded one after another, as if the layer
    /// had been called for each.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let twice = |scope: &Scope, x: &Tensor| {
    ///     let once = scope.layer("tower", &dense(4), x);
    ///     scope.shared().layer("tower", &dense(4), &once)
    /// };
    /// assert_eq!(Network::compile(twice, [4])?.parameter_count(), 4 * 4 + 4);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    pub fn shared(&self) -> Scope {
        Scope { shared: true, ..self.clone() }
    }

    /// The scope in which the optimizer of a group of parameters names what it keeps; empty for the group of all
    /// others.
    pub(crate) fn for_group(&self, group: &str) -> Scope {
        Scope { group: if group.is_empty() { "".into() } else { format!("{group}.").into() }, ..self.clone() }
    }

    /// The dotted path of names to here; empty at the outermost scope.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the network is traced for.
    pub fn mode(&self) -> Mode {
        self.trace.borrow().mode
    }

    /// Whether a training step is traced.
    pub fn is_training(&self) -> bool {
        self.mode() == Mode::Train
    }

    /// Applies a layer under a name of its own.
    #[track_caller]
    pub fn layer(&self, name: &str, layer: &(impl Layer + ?Sized), x: &Tensor) -> Tensor {
        let scope = self.enter(name);
        let passed = self.trace.borrow().layers.len();
        let y = layer.forward(&scope, &scope.bring(x)).with_tag(x.tag.clone());
        if self.trace.borrow().layers.len() == passed {
            scope.record(layer.describe(), &y);
        }
        y
    }

    /// A trained f32 parameter of this scope.
    #[doc(alias = "nn.Parameter")]
    #[track_caller]
    pub fn parameter(&self, name: &str, shape: impl IntoShape, init: Init) -> Tensor {
        let shape = shape.into_shape();
        if let Some(rule) = self.weight.as_ref().filter(|_| name == "weight") {
            return rule(&Scope { weight: None, ..self.clone() }, &shape, &init);
        }
        self.declare(self.full_name(name), StateKind::Parameter, ValueType::new(DType::F32, shape), init)
    }

    /// The same scope, in which a rule makes the parameter `weight` of others.
    pub(super) fn with_weight(&self, rule: WeightRule) -> Scope {
        Scope { weight: Some(rule), ..self.clone() }
    }

    /// A state that was declared before, by its full name.
    pub(super) fn declared(&self, full_name: &str) -> Option<Tensor> {
        let port = self.trace.borrow().state(full_name)?.port.clone();
        Some(self.bring(&port))
    }

    /// An f32 state of this scope that lives across steps, such as running statistics. [`Scope::write_state`] sets what
    /// it holds after the step.
    #[doc(alias = "register_buffer")]
    #[track_caller]
    pub fn state(&self, name: &str, shape: impl IntoShape, init: Init) -> Tensor {
        let ty = ValueType::new(DType::F32, shape.into_shape());
        self.declare(self.full_name(name), StateKind::Statistic, ty, init)
    }

    /// Whether a state of this scope, by its name, keeps what it holds though a training step is traced:
    /// [`Group::frozen_statistics`](crate::optim::Group::frozen_statistics). A layer goes by it then as it does in
    /// evaluation; to write it does nothing.
    pub fn is_held(&self, state: &str) -> bool {
        let held = self.trace.borrow().held.clone();
        held.is_some_and(|held| held(&self.full_name(state)))
    }

    /// Leaves these running statistics alone.
    pub(crate) fn hold(&self, held: Option<Held>) {
        self.trace.borrow_mut().held = held;
    }

    /// A state of any element type and kind under its full name, for optimizers.
    #[track_caller]
    pub fn state_of(&self, full_name: &str, kind: StateKind, ty: ValueType, init: Init) -> Tensor {
        self.declare(format!("{}{full_name}", self.group), kind, ty, init)
    }

    /// Sets what a state holds after a training step; in evaluation it does nothing. Reading the state in the same step
    /// still gives the old value. A state that is written must be used: here, or when the network is evaluated.
    #[track_caller]
    pub fn write_state(&self, state: &Tensor, value: &Tensor) {
        // The first error is the poisoned state's or value's own.
        let broken = [state, value].into_iter().find_map(|tensor| tensor.node.error());
        let result = match broken {
            Some(error) => Err((*error).clone()),
            None => self.trace.borrow_mut().write(state, value.clone()),
        };
        if let Err(error) = result {
            let place = self.place(Location::caller());
            self.trace.borrow_mut().fail(error.at(&place.origin()));
        }
    }

    /// What a state will hold after the step, as far as it has been written.
    pub(crate) fn written(&self, state: &Tensor) -> Tensor {
        self.trace.borrow().written(state).unwrap_or_else(|| state.clone())
    }

    /// Sets what a state holds after the step in place of what was set before.
    pub(crate) fn rewrite(&self, state: &Tensor, value: &Tensor) {
        self.trace.borrow_mut().forget_write(state);
        self.write_state(state, value);
    }

    /// A runtime scalar: its value can change from step to step without compiling again, through
    /// `Step::set_hyperparameter`. `default` is what it starts with. The name is used as it is, without the path.
    #[track_caller]
    pub fn hyperparameter(&self, name: &str, default: f64) -> Tensor {
        let place = self.place(Location::caller());
        let port = self.trace.borrow_mut().hyper(format!("{}{name}", self.group), default, place);
        self.bring(&port)
    }

    /// Evenly distributed random f32 from 0 up to 1, which is left out: new ones in every training step, the same ones
    /// for the same seed, step and place in the network.
    #[track_caller]
    pub fn uniform(&self, shape: impl IntoShape) -> Tensor {
        crate::tensor::uniform(&self.random_bits(shape))
    }

    /// Random u32; see [`Scope::uniform`].
    #[track_caller]
    pub fn random_bits(&self, shape: impl IntoShape) -> Tensor {
        let stream = self.trace.borrow_mut().stream(&self.path);
        let seed = self.shared_state(SEED, ValueType::new(DType::U32, [2]));
        let step = self.shared_state(STEP, ValueType::scalar(DType::U32));
        let shape = shape.into_shape();
        apply("random_bits", Op::RandomBits { shape, stream }, &[&seed, &step])
    }

    /// Normally distributed random f32 with mean 0 and deviation 1, as new as those of [`Scope::uniform`], by Box and
    /// Muller's transform.
    #[track_caller]
    pub fn normal(&self, shape: impl IntoShape) -> Tensor {
        let shape = shape.into_shape();
        // 1 − u is above 0, so its logarithm is finite.
        let radius = ((1.0 - self.uniform(shape.clone())).log() * -2.0).sqrt();
        radius * (self.uniform(shape) * std::f32::consts::TAU).cos()
    }

    /// Adds a scalar to the loss of a network that is trained with a [`Loss`](crate::loss::Loss): a penalty on weights
    /// or activations, or what the network learns from its input alone. In evaluation it counts, too; predictions do
    /// without.
    ///
    /// ```
    /// use dropforge::loss::added;
    /// use dropforge::prelude::*;
    ///
    /// // Learns to give back what it is given, whatever the targets are.
    /// let net = |scope: &Scope, x: &Tensor| {
    ///     let y = scope.layer("narrow", &seq![dense(2), dense(4)], x);
    ///     scope.add_loss(&(&y - x).square().mean(..));
    ///     y
    /// };
    /// let (x, nothing) = (Tensor::ones([3, 4]), Tensor::zeros([3]));
    /// let mut step = compile(net, added(), Sgd::new(0.1), (&x, &nothing))?;
    /// let first = step.run((&x, &nothing))?.loss()?;
    /// assert!(step.run((&x, &nothing))?.loss()? < first);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    pub fn add_loss(&self, loss: &Tensor) {
        self.trace.borrow_mut().losses.push(loss.clone());
    }

    /// A loss with everything that was added to it.
    pub(crate) fn with_added(&self, loss: Tensor) -> Tensor {
        let added = std::mem::take(&mut self.trace.borrow_mut().losses);
        added.iter().fold(loss, |sum, added| sum + self.bring(added))
    }

    /// A poisoned tensor, for a layer that cannot work with what it is given: the message should name the shapes. The
    /// call that compiles the network returns it with the layer's path and source line.
    #[track_caller]
    pub fn fail(&self, layer: &str, message: impl Into<String>, x: &Tensor) -> Tensor {
        fail(layer, message, &[&self.bring(x)])
    }

    /// Declares a state that is shared by everything in the program, on first use.
    pub(crate) fn shared_state(&self, name: &str, ty: ValueType) -> Tensor {
        if let Some(state) = self.trace.borrow().state(name) {
            return state.port.clone();
        }
        let root = Scope { path: "".into(), site: None, shared: false, ..self.clone() };
        root.declare(name.to_string(), StateKind::Counter, ty, Init::constant(0.0))
    }

    #[track_caller]
    fn declare(&self, name: String, kind: StateKind, ty: ValueType, init: Init) -> Tensor {
        let place = self.place(Location::caller());
        let result =
            self.trace.borrow_mut().declare(name, kind, ty.clone(), init, place.clone(), self.shared);
        match result {
            Ok(port) => self.bring(&port),
            Err(error) => {
                let error = error.at(&place.origin());
                self.trace.borrow_mut().fail(error.clone());
                poison(error, ty, place, None)
            }
        }
    }

    fn full_name(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    /// The same scope for a layer that the user made at `site`: errors name that line instead of the layer's own.
    pub(crate) fn at(&self, site: &'static Location<'static>) -> Scope {
        Scope { site: Some(site), ..self.clone() }
    }

    /// The same value, used here: operations on it are of this place.
    pub(crate) fn bring(&self, x: &Tensor) -> Tensor {
        if self.path.is_empty() && self.site.is_none() {
            return x.with_tag(None);
        }
        x.with_tag(Some(Arc::new(Tag { path: self.path.clone(), site: self.site })))
    }

    /// Runs the body of a library layer that the user made at `site`, and notes it for the summary.
    pub(crate) fn run(
        &self,
        layer: &dyn Layer,
        site: &'static Location<'static>,
        x: &Tensor,
        body: impl FnOnce(&Scope, &Tensor) -> Tensor,
    ) -> Tensor {
        if x.node.error().is_some() {
            return x.clone();
        }
        let scope = self.at(site);
        let y = body(&scope, &scope.bring(x)).with_tag(x.tag.clone());
        scope.record(layer.describe(), &y);
        y
    }

    fn record(&self, layer: String, output: &Tensor) {
        self.trace.borrow_mut().pass(self.path.to_string(), layer, output);
    }

    fn place(&self, caller: &'static Location<'static>) -> Place {
        Place::new(Some(&Tag { path: self.path.clone(), site: self.site }), caller)
    }

    /// What has been collected. The scope and its clones must not be used any more.
    pub(crate) fn finish(self) -> Result<Trace, Error> {
        let mode = self.mode();
        let mut trace = self.trace.replace(Trace::new(mode));
        match trace.error.take() {
            Some(error) => Err(error),
            None => Ok(trace),
        }
    }

    /// The loss of this step's batch, an f32 scalar, inside of an optimizer's update: for those that compare losses, which say so
    /// by [`Optimizer::needs_loss`](crate::optim::Optimizer::needs_loss).
    ///
    /// # Errors
    /// Shown by the first call that returns a result: this is not an update.
    #[track_caller]
    pub fn loss(&self) -> Tensor {
        let loss = self.trace.borrow().loss.clone();
        loss.unwrap_or_else(|| {
            let message = "is known in the update of an optimizer only".to_string();
            crate::tensor::node::fail("loss", message, &[])
        })
    }

    /// Says what the loss is, to updates.
    pub(crate) fn set_loss(&self, loss: &Tensor) {
        self.trace.borrow_mut().loss = Some(loss.clone());
    }

    /// Lets what was written into parameters and by the optimizer count only where `apply`, a bool scalar, is true.
    pub(crate) fn gate_updates(&self, apply: &Tensor) {
        self.trace.borrow_mut().gate(apply, &[StateKind::Parameter, StateKind::Optimizer]);
    }

    /// Lets whatever was written count only where `apply`, a bool scalar, is true; counters and sums of metrics go on.
    pub(crate) fn gate_step(&self, apply: &Tensor) {
        let kinds = [StateKind::Parameter, StateKind::Optimizer, StateKind::Statistic];
        self.trace.borrow_mut().gate(apply, &kinds);
    }

    /// Names of the runtime scalars declared so far.
    pub(crate) fn hyperparameters(&self) -> Vec<String> {
        self.trace.borrow().hypers.iter().map(|(name, _, _)| name.clone()).collect()
    }

    /// The parameters declared so far, with their full names, in the order of their declaration.
    pub(crate) fn parameters(&self) -> Vec<(String, Tensor)> {
        let trace = self.trace.borrow();
        let parameters = trace.states.iter().filter(|state| state.kind == StateKind::Parameter);
        parameters.map(|state| (state.name.clone(), state.port.clone())).collect()
    }
}

/// Name of the state that holds the seed of all random numbers, u32 `[2]`, low word first.
pub(crate) const SEED: &str = "rng.seed";

/// Name of the state that counts training steps, a u32 scalar.
pub(crate) const STEP: &str = "step";
