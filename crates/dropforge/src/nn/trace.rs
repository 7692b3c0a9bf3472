//! What one tracing of a network collects: ports, states and their new values, the layers that were passed.

use crate::init::Init;
use crate::tensor::Tensor;
use crate::tensor::gradient::walk;
use crate::tensor::node::{Node, Place, Source};
use dropforge_ir::{DType, Error, Shape, ValueType};
use std::collections::{BTreeSet, HashMap};
use std::panic::Location;
use std::sync::{Arc, Weak};

/// What a network is traced for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A training step: dropout drops, batch norm uses and records the statistics of the batch.
    Train,
    /// Evaluation or prediction: nothing is random, nothing is written.
    Eval,
}

/// What a state is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// Trained by the optimizer.
    Parameter,
    /// Kept by a layer across steps, such as running statistics.
    Statistic,
    /// Kept by the optimizer, such as moments.
    Optimizer,
    /// Kept by the step itself: the step count and the seed of random numbers.
    Counter,
    /// Sums of the metrics over the training steps of an epoch.
    Metric,
    /// Sums of the metrics over an evaluation. They mean nothing before and after it, so that nobody keeps them.
    Evaluation,
}

/// A state that was declared while tracing.
#[derive(Clone)]
pub(crate) struct Declared {
    pub name: String,
    pub kind: StateKind,
    pub init: Init,
    pub port: Tensor,
    pub write: Option<Tensor>,
}

/// One row of the summary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Passed {
    pub path: String,
    pub layer: String,
    pub output: Shape,
    /// Numbers of the layers that it reads, with no other layer between.
    pub reads: Vec<usize>,
}

/// Says of the full name of a running statistic whether it stays as it is in training.
pub(crate) type Held = Arc<dyn Fn(&str) -> bool>;

/// Everything that one tracing collects.
pub(crate) struct Trace {
    pub mode: Mode,
    /// Which running statistics training leaves alone; `None` for none.
    pub held: Option<Held>,
    pub states: Vec<Declared>,
    pub hypers: Vec<(String, f64, Tensor)>,
    pub layers: Vec<Passed>,
    pub error: Option<Error>,
    by_name: HashMap<String, usize>,
    by_node: HashMap<*const Node, usize>,
    /// Which layer gives a node. Weak handles keep the addresses from being used again.
    given: HashMap<*const Node, (usize, Weak<Node>)>,
    /// Handles of states that are shared, through which they may be written again.
    shared: Vec<Tensor>,
    /// What layers add to the loss.
    pub losses: Vec<Tensor>,
    /// The loss, for optimizers that look at it.
    pub loss: Option<Tensor>,
    /// How many random streams each path has drawn.
    streams: HashMap<Arc<str>, u32>,
    taken_streams: HashMap<u32, String>,
}

impl Trace {
    pub fn new(mode: Mode) -> Trace {
        Trace {
            mode,
            held: None,
            states: Vec::new(),
            hypers: Vec::new(),
            layers: Vec::new(),
            error: None,
            by_name: HashMap::new(),
            by_node: HashMap::new(),
            given: HashMap::new(),
            shared: Vec::new(),
            losses: Vec::new(),
            loss: None,
            streams: HashMap::new(),
            taken_streams: HashMap::new(),
        }
    }

    /// Notes a layer that has been passed.
    pub fn pass(&mut self, path: String, layer: String, output: &Tensor) {
        let mut reads = BTreeSet::new();
        walk(&[output], |node, _| match self.given.get(&Arc::as_ptr(node)) {
            Some((index, _)) => {
                reads.insert(*index);
                false
            }
            // What was there before tracing has a history of its own.
            None => node.traced,
        });
        // A layer that changes nothing, such as dropout in evaluation, gives what it reads: from now on it is read
        // instead.
        let own = (self.layers.len(), Arc::downgrade(&output.node));
        self.given.insert(Arc::as_ptr(&output.node), own);
        let (output, reads) = (output.shape().clone(), reads.into_iter().collect());
        self.layers.push(Passed { path, layer, output, reads });
    }

    /// Declares a state; its name must be new, unless states are `shared`: then the state that there is is used again,
    /// as the writes so far leave it.
    pub fn declare(
        &mut self,
        name: String,
        kind: StateKind,
        ty: ValueType,
        init: Init,
        place: Place,
        shared: bool,
    ) -> std::result::Result<Tensor, Error> {
        if let Some(&index) = self.by_name.get(&name) {
            if !shared {
                let message = format!(
                    "{name} is declared twice; give each layer a name of its own with scope.enter, or let the second call \
                     use the first one's parameters: scope.shared()"
                );
                return Err(Error::new("state", message));
            }
            let known = &self.states[index];
            if known.kind != kind || *known.port.ty() != ty {
                let message =
                    format!("{name} is {}, here it would be {ty}; it cannot be shared", known.port.ty());
                return Err(Error::new("state", message));
            }
            let value = known.write.clone().unwrap_or_else(|| known.port.clone());
            self.by_node.insert(Arc::as_ptr(&value.node), index);
            self.shared.push(value.clone());
            return Ok(value);
        }
        ty.shape.check().map_err(|message| Error::new("state", format!("{name}: {message}")))?;
        let port = port(ty, place);
        self.by_name.insert(name.clone(), self.states.len());
        self.by_node.insert(Arc::as_ptr(&port.node), self.states.len());
        self.states.push(Declared { name, kind, init, port: port.clone(), write: None });
        Ok(port)
    }

    /// Sets what a state holds after the step.
    pub fn write(&mut self, state: &Tensor, value: Tensor) -> std::result::Result<(), Error> {
        let Some(&index) = self.by_node.get(&Arc::as_ptr(&state.node)) else {
            return Err(Error::new("write_state", "only what scope.state returned can be written"));
        };
        let declared = &mut self.states[index];
        let name = &declared.name;
        if value.ty() != state.ty() {
            let message = format!("state {name} is {}, the new value is {}", state.ty(), value.ty());
            return Err(Error::new("write_state", message));
        }
        let again = self.shared.iter().any(|shared| Arc::ptr_eq(&shared.node, &state.node));
        if declared.write.is_some() && !again {
            return Err(Error::new("write_state", format!("state {name} is written twice in one step")));
        }
        if declared.kind == StateKind::Statistic
            && self.held.as_ref().is_some_and(|held| held(&declared.name))
        {
            return Ok(());
        }
        // Evaluation writes nothing but its own sums.
        if self.mode == Mode::Train || declared.kind == StateKind::Evaluation {
            declared.write = Some(value);
        }
        Ok(())
    }

    /// What was written into a state.
    pub fn written(&self, state: &Tensor) -> Option<Tensor> {
        self.states[*self.by_node.get(&Arc::as_ptr(&state.node))?].write.clone()
    }

    /// Lets a state be written again.
    pub fn forget_write(&mut self, state: &Tensor) {
        if let Some(&index) = self.by_node.get(&Arc::as_ptr(&state.node)) {
            self.states[index].write = None;
        }
    }

    /// Lets what was written into states of these kinds count only where `apply` is true.
    pub fn gate(&mut self, apply: &Tensor, kinds: &[StateKind]) {
        for state in self.states.iter_mut().filter(|state| kinds.contains(&state.kind)) {
            if let Some(value) = state.write.take() {
                state.write = Some(Tensor::select(apply, &value, &state.port));
            }
        }
    }

    pub fn state(&self, name: &str) -> Option<&Declared> {
        self.by_name.get(name).map(|&index| &self.states[index])
    }

    /// The hyperparameter of this name, declared on first use.
    pub fn hyper(&mut self, name: String, default: f64, place: Place) -> Tensor {
        if let Some((_, _, port)) = self.hypers.iter().find(|(known, _, _)| *known == name) {
            return port.clone();
        }
        let port = port(ValueType::scalar(DType::F32), place);
        self.hypers.push((name, default, port.clone()));
        port
    }

    /// A number for the next random stream of a path. It depends on the path and how many came before it there, so that
    /// the numbers a layer draws do not depend on its neighbours or on the order of tracing.
    pub fn stream(&mut self, path: &Arc<str>) -> u32 {
        let count = self.streams.entry(path.clone()).or_default();
        let name = format!("{path}#{count}");
        *count += 1;
        let mut stream = crate::init::hash(&name) as u32;
        // Two names may share a hash; then the later one moves on to a free number.
        while self.taken_streams.contains_key(&stream) {
            stream = stream.wrapping_add(1);
        }
        self.taken_streams.insert(stream, name);
        stream
    }

    /// Keeps the first error.
    pub fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }
}

/// A value that is given from outside.
pub(crate) fn port(ty: ValueType, place: Place) -> Tensor {
    Tensor { node: Arc::new(Node::new(ty, place, Source::Port)), tag: None }
}

/// A port that the library itself declares.
#[track_caller]
pub(crate) fn own_port(ty: ValueType) -> Tensor {
    port(ty, Place::new(None, Location::caller()))
}
