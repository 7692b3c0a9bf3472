//! Nodes of the lazy graph that tensors point into.

use super::check::IndexCheck;
use super::runtime::Placed;
use super::{Tag, Tensor};
use crate::tensor::runtime::Runtime;
use dropforge_ir::{Array, Error, Literal, Op, Origin, ValueType};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many operations may wait for their first reader before a new one evaluates them.
const LONGEST_CHAIN: u32 = 2000;

/// One value of the graph.
pub(crate) struct Node {
    pub ty: ValueType,
    pub origin: Place,
    /// Length of the longest chain of operations below that wait to be computed.
    pub depth: u32,
    /// Whether the value depends on a tensor that wants a gradient, through floats.
    pub tracked: bool,
    /// Whether the value depends on a port, so that it only exists inside the program being traced.
    pub traced: bool,
    /// Present on tensors that want a gradient.
    pub gradient: Option<Gradient>,
    source: Mutex<Source>,
    /// Nodes of the same value without its history, to be told the elements when they are there.
    detached: Mutex<Vec<Weak<Node>>>,
}

/// What a tensor that wants a gradient has got.
#[derive(Default)]
pub(crate) struct Gradient {
    /// The sum so far.
    pub sum: Mutex<Option<Tensor>>,
    /// Held from reading a sum until a new one is there, so that additions by several threads follow each other.
    pub adding: Mutex<()>,
}

/// Where a value comes from.
#[derive(Clone)]
pub(crate) enum Source {
    /// Elements on the host.
    Data(Arc<Array>),
    /// Elements on a device, computed or put there.
    Placed(Placed),
    /// One result of an operation; on a device too once it has been computed, if its history is still needed.
    Applied { application: Arc<Application>, result: usize, placed: Option<Placed> },
    /// An input, state or hyperparameter of the program being traced.
    Port,
    /// The first error on the way here.
    Poisoned(Arc<Error>),
}

/// What is done to the arguments of an [`Application`].
pub(crate) enum Action {
    /// An operation of the intermediate representation.
    Operation(Op),
    /// The value of the only argument, through which no gradient flows.
    Detach,
    /// The value of the only argument, indices that are checked whenever they are computed.
    Check(IndexCheck),
    /// The gradients of the first argument, a float scalar, with respect to each of the others.
    Gradients,
}

/// An action on arguments, shared by all its results.
pub(crate) struct Application {
    pub action: Action,
    pub args: Vec<Tensor>,
}

/// Where in the user's code a node comes from.
#[derive(Clone)]
pub(crate) struct Place {
    pub path: Option<Arc<str>>,
    pub location: &'static Location<'static>,
}

impl Place {
    pub fn new(tag: Option<&Tag>, caller: &'static Location<'static>) -> Place {
        Place {
            path: tag.map(|tag| tag.path.clone()),
            location: tag.and_then(|tag| tag.site).unwrap_or(caller),
        }
    }

    pub fn origin(&self) -> Origin {
        Origin {
            path: self.path.clone().unwrap_or_default(),
            file: self.location.file().into(),
            line: self.location.line(),
        }
    }
}

impl Node {
    pub fn new(ty: ValueType, origin: Place, source: Source) -> Node {
        let traced = matches!(source, Source::Port);
        let detached = Mutex::default();
        Node {
            ty,
            origin,
            depth: 0,
            tracked: false,
            traced,
            gradient: None,
            source: Mutex::new(source),
            detached,
        }
    }

    /// Remembers a node that detaches this one, unless the elements are there already.
    pub fn add_detached(&self, node: &Arc<Node>) {
        let mut detached = self.detached.lock().unwrap_or_else(PoisonError::into_inner);
        detached.retain(|other| other.strong_count() > 0);
        detached.push(Arc::downgrade(node));
        drop(detached);
        if let Some(placed) = self.placed() {
            node.set_placed(placed);
        }
    }

    /// The source as it is now.
    pub fn source(&self) -> Source {
        self.lock().clone()
    }

    pub fn error(&self) -> Option<Arc<Error>> {
        match &*self.lock() {
            Source::Poisoned(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// The elements on a device, if they have been computed.
    pub fn placed(&self) -> Option<Placed> {
        match &*self.lock() {
            Source::Placed(placed) => Some(placed.clone()),
            Source::Applied { placed, .. } => placed.clone(),
            _ => None,
        }
    }

    /// Length of the chain that waits below and including this node.
    pub fn waiting(&self) -> u32 {
        match &*self.lock() {
            Source::Applied { placed: None, .. } => self.depth,
            _ => 0,
        }
    }

    /// Remembers the computed elements, and forgets how they came to be unless a gradient may ask: none does beyond a
    /// value that was detached. So a loop does not drag its past along.
    pub fn set_placed(&self, value: Placed) {
        let detached = std::mem::take(&mut *self.detached.lock().unwrap_or_else(PoisonError::into_inner));
        for node in detached.iter().filter_map(Weak::upgrade) {
            node.set_placed(value.clone());
        }
        let mut source = self.lock();
        let old = match &mut *source {
            Source::Applied { placed, application, .. }
                if self.tracked && !matches!(application.action, Action::Detach) =>
            {
                placed.replace(value).map(Source::Placed)
            }
            other => Some(std::mem::replace(other, Source::Placed(value))),
        };
        drop(source);
        // A long history is dropped outside of the lock.
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        // A source is replaced as a whole, so that it is whole even after a panic elsewhere.
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Long chains are taken apart one by one: dropping them by recursion would overflow the stack.
impl Drop for Application {
    fn drop(&mut self) {
        let mut waiting = std::mem::take(&mut self.args);
        while let Some(tensor) = waiting.pop() {
            let Some(node) = Arc::into_inner(tensor.node) else { continue };
            let source = node.source.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Source::Applied { application, .. } = source
                && let Some(mut application) = Arc::into_inner(application)
            {
                waiting.append(&mut application.args);
            }
        }
    }
}

/// Applies an operation; the result is poisoned if the arguments do not fit. `name` is what the user called.
#[track_caller]
pub(crate) fn apply(name: &str, op: Op, args: &[&Tensor]) -> Tensor {
    apply_all::<1>(name, op, args).into_iter().next().expect("one result")
}

/// Applies an operation with `N` results.
#[track_caller]
pub(crate) fn apply_all<const N: usize>(name: &str, op: Op, args: &[&Tensor]) -> [Tensor; N] {
    let tag = most_specific(args);
    let origin = Place::new(tag.as_deref(), Location::caller());
    if let Some(poisoned) = args.iter().find(|arg| arg.node.error().is_some()) {
        return std::array::from_fn(|_| poisoned.with_tag(tag.clone()));
    }
    let types: Vec<&ValueType> = args.iter().map(|arg| &arg.node.ty).collect();
    match dropforge_ir::infer(&op, &types) {
        Ok(types) => {
            let args = args.iter().map(|arg| (*arg).clone()).collect();
            let application = Application { action: Action::Operation(op), args };
            let mut results = attach(application, types, origin, tag).into_iter();
            std::array::from_fn(|_| results.next().expect("the operation has this many results"))
        }
        Err(error) => {
            let ty = types.first().map_or(ValueType::scalar(dropforge_ir::DType::F32), |&ty| ty.clone());
            let poisoned = poison(error.named(name), ty, origin, tag);
            std::array::from_fn(|_| poisoned.clone())
        }
    }
}

/// A tensor that carries an error of the operation `name` on `args`.
#[track_caller]
pub(crate) fn fail(name: &str, message: impl Into<String>, args: &[&Tensor]) -> Tensor {
    let tag = most_specific(args);
    let origin = Place::new(tag.as_deref(), Location::caller());
    if let Some(poisoned) = args.iter().find(|arg| arg.node.error().is_some()) {
        return poisoned.with_tag(tag);
    }
    let ty = args.first().map_or(ValueType::scalar(dropforge_ir::DType::F32), |arg| arg.node.ty.clone());
    poison(Error::new(name, message), ty, origin, tag)
}

/// The error keeps a type, of the first argument, so that code that looks at shapes meanwhile finds some.
pub(crate) fn poison(error: Error, ty: ValueType, origin: Place, tag: Option<Arc<Tag>>) -> Tensor {
    let error = error.at(&origin.origin());
    let ty = if ty.shape.check().is_ok() { ty } else { ValueType::scalar(ty.dtype) };
    Tensor { node: Arc::new(Node::new(ty, origin, Source::Poisoned(Arc::new(error)))), tag }
}

/// A constant scalar.
#[track_caller]
pub(crate) fn constant(literal: Literal, like: Option<&Tensor>) -> Tensor {
    let tag = like.and_then(|tensor| tensor.tag.clone());
    let origin = Place::new(tag.as_deref(), Location::caller());
    let ty = literal.ty.clone();
    let application = Application { action: Action::Operation(Op::Constant(literal)), args: Vec::new() };
    let source = Source::Applied { application: Arc::new(application), result: 0, placed: None };
    Tensor { node: Arc::new(Node::new(ty, origin, source)), tag }
}

/// Nodes for the results of an application.
pub(crate) fn attach(
    application: Application,
    types: Vec<ValueType>,
    origin: Place,
    tag: Option<Arc<Tag>>,
) -> Vec<Tensor> {
    let args = &application.args;
    let depth = 1 + args.iter().map(|arg| arg.node.waiting()).max().unwrap_or(0);
    let traced = args.iter().any(|arg| arg.node.traced);
    let tracked = !matches!(application.action, Action::Detach) && args.iter().any(|arg| arg.node.tracked);
    let application = Arc::new(application);
    let make = |(result, ty): (usize, ValueType)| {
        let source = Source::Applied { application: application.clone(), result, placed: None };
        let tracked = tracked && ty.dtype.is_float();
        let node = Node { depth, tracked, traced, ..Node::new(ty, origin.clone(), source) };
        Tensor { node: Arc::new(node), tag: tag.clone() }
    };
    let results: Vec<Tensor> = types.into_iter().enumerate().map(make).collect();
    drop(application);
    if depth > LONGEST_CHAIN && !traced {
        let all: Vec<&Tensor> = results.iter().collect();
        if let Err(error) = Runtime::evaluate_somewhere(&all) {
            return results
                .iter()
                .map(|result| poison(error.clone(), result.node.ty.clone(), origin.clone(), tag.clone()))
                .collect();
        }
    }
    results
}

/// The tag of the argument that stands deepest in the layers.
pub(crate) fn most_specific(args: &[&Tensor]) -> Option<Arc<Tag>> {
    let mut best: Option<&Arc<Tag>> = None;
    for tag in args.iter().filter_map(|arg| arg.tag.as_ref()) {
        if best.is_none_or(|best| tag.path.len() > best.path.len()) {
            best = Some(tag);
        }
    }
    best.cloned()
}
