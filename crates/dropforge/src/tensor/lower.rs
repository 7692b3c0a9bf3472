//! From the tensor graph to a program.

use super::Tensor;
use super::check::IndexCheck;
use super::node::{Action, Application, Node, Source};
use dropforge_ir::gradient::append_gradients;
use dropforge_ir::quick_hash::QuickMap;
use dropforge_ir::{Array, DType, Error, Literal, Op, Origin, Program, Result, Value};
use std::sync::Arc;

/// How elements that exist already enter the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// As inputs, for programs that run once.
    Inputs,
    /// As states that are never written, for programs that run often: they stay on the device.
    States,
}

/// How many operations may wait behind a value that is carried along before it is computed with what is asked for.
const CARRIED_CHAIN: u32 = 16;

/// A program in the making, with the values of the tensors lowered so far.
pub(crate) struct Lowering {
    pub program: Program,
    /// Tensors whose elements exist already, in the order in which they became inputs or states.
    pub leaves: Vec<Tensor>,
    /// Values that say whether indices are right.
    checks: Vec<(Value, IndexCheck)>,
    sort: Leaves,
    values: QuickMap<*const Node, Value>,
    results: QuickMap<*const Application, Vec<Value>>,
    /// The applications of `results`.
    applications: Vec<Arc<Application>>,
    /// Stand-ins for values through which no gradient may flow, and what they stand for.
    detached: Vec<(Value, Value)>,
    /// Keeps the keys above from being reused while this lives.
    seen: Vec<Arc<Node>>,
}

/// A node whose arguments are being made.
struct Waiting {
    node: Arc<Node>,
    application: Arc<Application>,
    /// The argument to look at next.
    next: usize,
}

impl Lowering {
    pub fn new(name: &str, sort: Leaves) -> Lowering {
        Lowering {
            program: Program::new(name),
            leaves: Vec::new(),
            checks: Vec::new(),
            sort,
            values: QuickMap::default(),
            results: QuickMap::default(),
            applications: Vec::new(),
            detached: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Says which value a port is.
    pub fn bind(&mut self, port: &Tensor, value: Value) {
        self.values.insert(Arc::as_ptr(&port.node), value);
        self.seen.push(port.node.clone());
    }

    /// The values of tensors, with everything below them.
    ///
    /// # Errors
    /// The error of a poisoned tensor, a port of another program, or a missing gradient.
    pub fn lower(&mut self, tensors: &[&Tensor]) -> Result<Vec<Value>> {
        // Elements that are computed already are read, not computed again; but a gradient wants the whole history of
        // what is tracked.
        let history = contains_gradients(tensors);
        for tensor in tensors {
            self.lower_one(&tensor.node, history)?;
        }
        Ok(tensors.iter().map(|tensor| self.values[&Arc::as_ptr(&tensor.node)]).collect())
    }

    /// Depth first without recursion: a node is made when its arguments are there.
    fn lower_one(&mut self, root: &Arc<Node>, history: bool) -> Result<()> {
        let mut stack = Vec::new();
        self.visit(root, history, &mut stack)?;
        while let Some(Waiting { node, application, next }) = stack.last_mut() {
            if let Some(arg) = application.args.get(*next) {
                *next += 1;
                let arg = arg.node.clone();
                self.visit(&arg, history, &mut stack)?;
                continue;
            }
            let (node, application) = (node.clone(), application.clone());
            stack.pop();
            self.emit(&node, &application)?;
        }
        Ok(())
    }

    /// Gives a node its value if it is a leaf, or puts it on the stack.
    fn visit(&mut self, node: &Arc<Node>, history: bool, stack: &mut Vec<Waiting>) -> Result<()> {
        if self.values.contains_key(&Arc::as_ptr(node)) {
            return Ok(());
        }
        match node.source() {
            Source::Poisoned(error) => return Err((*error).clone()),
            Source::Port => {
                let message = "the value only exists in the step in which it was traced";
                return Err(Error::new("tensor", message).at(&node.origin.origin()));
            }
            Source::Data(_) | Source::Placed(_) => self.leaf(node),
            Source::Applied { placed: Some(_), .. } if !(history && node.tracked) => self.leaf(node),
            Source::Applied { application, .. } => {
                stack.push(Waiting { node: node.clone(), application, next: 0 });
            }
        }
        Ok(())
    }

    fn leaf(&mut self, node: &Arc<Node>) {
        self.program.current_origin = node.origin.origin();
        let name = format!("x{}", self.leaves.len());
        let value = match self.sort {
            Leaves::Inputs => self.program.input(name, node.ty.clone()),
            Leaves::States => self.program.state(format!("captured.{name}"), node.ty.clone()),
        };
        self.set(node, value);
        self.leaves.push(Tensor { node: node.clone(), tag: None });
    }

    fn emit(&mut self, node: &Arc<Node>, application: &Arc<Application>) -> Result<()> {
        let Source::Applied { result, .. } = node.source() else {
            // Another thread computed it and dropped its history meanwhile; the elements are as good.
            self.leaf(node);
            return Ok(());
        };
        let key = Arc::as_ptr(application);
        if !self.results.contains_key(&key) {
            self.program.current_origin = node.origin.origin();
            let args: Vec<Value> =
                application.args.iter().map(|arg| self.values[&Arc::as_ptr(&arg.node)]).collect();
            let results = match &application.action {
                Action::Operation(Op::Constant(literal)) => vec![self.constant(literal)],
                Action::Operation(op) => self.program.push(op.clone(), &args)?,
                Action::Detach => {
                    let name = format!("detached {}", self.detached.len());
                    let stand_in = self.program.input(name, node.ty.clone());
                    self.detached.push((stand_in, args[0]));
                    vec![stand_in]
                }
                Action::Check(check) => {
                    self.checks.push((check.append(&mut self.program, args[0])?, check.clone()));
                    args
                }
                Action::Gradients => append_gradients(&mut self.program, args[0], &args[1..])?,
            };
            self.results.insert(key, results);
            self.applications.push(application.clone());
        }
        self.set(node, self.results[&key][result]);
        Ok(())
    }

    /// What the tensors that were lowered do beside computing values, if anything.
    pub fn beside(&self) -> Option<&'static str> {
        if !self.checks.is_empty() {
            return Some("look indices up, which are checked");
        }
        (!self.detached.is_empty()).then_some("detach what it computed")
    }

    /// Names the outputs that say whether indices were right, and gives what to verify them with, in their order.
    pub fn output_checks(&mut self) -> Vec<IndexCheck> {
        let checks = std::mem::take(&mut self.checks);
        for (number, (value, check)) in checks.iter().enumerate() {
            self.program.output(check.output_name(number), *value);
        }
        checks.into_iter().map(|(_, check)| check).collect()
    }

    /// Values at the end of long chains that somebody besides this graph holds, with their tensors. A loop that reads
    /// one thing and carries another along would otherwise compute its whole past again in each round.
    pub fn carried(&self) -> Vec<(Tensor, Value)> {
        let mut inside: QuickMap<*const Node, usize> = QuickMap::default();
        for arg in self.applications.iter().flat_map(|application| &application.args) {
            *inside.entry(Arc::as_ptr(&arg.node)).or_default() += 1;
        }
        let is_carried = |node: &&Arc<Node>| {
            // One more is in `seen`.
            let held = Arc::strong_count(node) > 1 + inside.get(&Arc::as_ptr(node)).copied().unwrap_or(0);
            held && node.waiting() > CARRIED_CHAIN
        };
        let carried = self.seen.iter().filter(is_carried);
        carried
            .map(|node| (Tensor { node: node.clone(), tag: None }, self.values[&Arc::as_ptr(node)]))
            .collect()
    }

    /// A number in the user's code. In a program that runs once it is mostly an input, so that a loop with a changing
    /// number compiles once; simple ones stay, because programs get better by knowing them.
    fn constant(&mut self, literal: &Literal) -> Value {
        let number = literal.as_scalar().filter(|number| {
            let simple = (number * 2.0).fract() == 0.0 && number.abs() <= 16.0;
            literal.ty.dtype == DType::F32 && !simple && self.sort == Leaves::Inputs
        });
        let Some(number) = number else { return self.program.constant(literal.clone()) };
        let value = self.program.input(format!("x{}", self.leaves.len()), literal.ty.clone());
        self.leaves.push(Tensor::from_array(Array::scalar(number as f32)));
        value
    }

    fn set(&mut self, node: &Arc<Node>, value: Value) {
        self.values.insert(Arc::as_ptr(node), value);
        self.seen.push(node.clone());
    }

    /// The finished program and its leaves.
    ///
    /// # Errors
    /// Only if there is a bug.
    pub fn finish(mut self) -> Result<(Program, Vec<Tensor>)> {
        self.program.current_origin = Origin::unknown();
        if !self.detached.is_empty() {
            self.program = resolve_detached(&self.program, &self.detached)?;
        }
        Ok((self.program, self.leaves))
    }
}

fn contains_gradients(tensors: &[&Tensor]) -> bool {
    let mut found = false;
    super::gradient::walk(tensors, |node, application| {
        found |= application.is_some_and(|a| matches!(a.action, Action::Gradients));
        !found && !matches!(node.source(), Source::Applied { placed: Some(_), .. })
    });
    found
}

/// Replaces the stand-ins, which were inputs so that gradients stop at them, by what they stand for.
fn resolve_detached(old: &Program, detached: &[(Value, Value)]) -> Result<Program> {
    let detached: QuickMap<Value, Value> = detached.iter().copied().collect();
    let mut new = Program::new(old.name.clone());
    let mut map: Vec<Option<Value>> = vec![None; old.value_count()];
    let get = |map: &[Option<Value>], value: Value| {
        map[value.index()].ok_or_else(|| Error::new("detach", "a value is used before it is made"))
    };
    for node in old.nodes() {
        new.current_origin = node.origin.clone();
        let ty = node.results.first().map(|&value| old.ty(value).clone());
        let results = match (&node.op, ty) {
            (Op::Input(port), Some(ty)) => match detached.get(&node.results[0]) {
                Some(source) => vec![get(&map, *source)?],
                None => vec![new.input(old.inputs[*port].name.clone(), ty)],
            },
            (Op::State(port), Some(ty)) => vec![new.state(old.states[*port].name.clone(), ty)],
            (Op::Hyper(port), _) => vec![new.hyper(old.hypers[*port].name.clone())],
            _ => {
                let args = node.args.iter().map(|&arg| get(&map, arg)).collect::<Result<Vec<_>>>()?;
                new.copy_node(node, &args)?
            }
        };
        for (&from, to) in node.results.iter().zip(results) {
            map[from.index()] = Some(to);
        }
    }
    new.current_origin = Origin::unknown();
    for output in &old.outputs {
        new.output(output.name.clone(), get(&map, output.value)?);
    }
    for (index, state) in old.states.iter().enumerate() {
        if let Some(write) = state.write {
            new.write(index, get(&map, write)?)?;
        }
    }
    Ok(new)
}
