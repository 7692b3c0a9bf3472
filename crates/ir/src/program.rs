//! Programs: values, nodes, ports, and the builder that appends nodes with inferred types.

use crate::error::{Error, Result};
use crate::op::{BinaryKind, CompareKind, Op, ReduceKind, UnaryKind};
use crate::shape_rule::{infer, normalize};
use crate::small_list::SmallList;
use crate::types::{DType, Literal, Shape, ValueType};
use std::fmt;
use std::sync::Arc;

/// A value of a program: one result of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

impl Value {
    /// Position in tables indexed by value.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// Values that a node reads or makes.
pub type Values = SmallList<Value, 4>;

/// A node of a program, by its position in execution order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Position in tables indexed by node.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where in the user's code and in which layer a node comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// Dotted layer path, such as `encoder.fc1`; empty outside layers.
    pub path: Arc<str>,
    /// Source file; empty if unknown.
    pub file: Arc<str>,
    /// Line in the file, from 1.
    pub line: u32,
}

impl Origin {
    /// An unknown place.
    pub fn unknown() -> Origin {
        Origin::default()
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.path.is_empty() && self.file.is_empty()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path.is_empty(), self.file.is_empty()) {
            (true, true) => f.write_str("at an unknown place"),
            (false, true) => write!(f, "in {}", self.path),
            (true, false) => write!(f, "at {}:{}", self.file, self.line),
            (false, false) => write!(f, "in {} ({}:{})", self.path, self.file, self.line),
        }
    }
}

/// One operation applied to values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// The values it reads; each is a result of an earlier node.
    pub args: Values,
    /// The values it makes.
    pub results: Values,
    /// Where it comes from.
    pub origin: Origin,
}

/// A named input, state or hyperparameter, with the value that reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Unique among ports of the same sort.
    pub name: String,
    /// The result of the leaf node.
    pub value: Value,
}

/// A state with its reading value and, if the program changes it, the value written at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct StatePort {
    /// Unique among states; for a parameter its checkpoint path.
    pub name: String,
    /// The value at the start of the run.
    pub value: Value,
    /// The value stored when everything has been computed.
    pub write: Option<Value>,
}

/// A whole step in execution order.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Program {
    /// Shown in listings and errors.
    pub name: String,
    types: Vec<ValueType>,
    definitions: Vec<NodeId>,
    nodes: Vec<Node>,
    /// What each run is given.
    pub inputs: Vec<Port>,
    /// What lives on the device across runs.
    pub states: Vec<StatePort>,
    /// Runtime scalars.
    pub hypers: Vec<Port>,
    /// What each run gives back.
    pub outputs: Vec<Port>,
    /// Given to nodes that are appended from now on.
    pub current_origin: Origin,
}

impl Program {
    /// An empty program.
    pub fn new(name: impl Into<String>) -> Program {
        Program { name: name.into(), ..Program::default() }
    }

    /// The nodes in execution order.
    #[inline]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    #[inline]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Number of values.
    #[inline]
    pub fn value_count(&self) -> usize {
        self.types.len()
    }

    /// The type of a value.
    #[inline]
    pub fn ty(&self, value: Value) -> &ValueType {
        &self.types[value.index()]
    }

    /// The shape of a value.
    #[inline]
    pub fn shape(&self, value: Value) -> &Shape {
        &self.ty(value).shape
    }

    /// The element type of a value.
    #[inline]
    pub fn dtype(&self, value: Value) -> DType {
        self.ty(value).dtype
    }

    /// The node that makes a value.
    #[inline]
    pub fn definition(&self, value: Value) -> &Node {
        self.node(self.definitions[value.index()])
    }

    /// The id of the node that makes a value.
    #[inline]
    pub fn definition_id(&self, value: Value) -> NodeId {
        self.definitions[value.index()]
    }

    /// The number that a value holds in every element, where that is known: a constant or a broadcast of one.
    pub fn splat(&self, value: Value) -> Option<f64> {
        let mut node = self.definition(value);
        while let (Op::Broadcast { .. } | Op::Reshape { .. }, [source]) = (&node.op, node.args.as_slice()) {
            node = self.definition(*source);
        }
        match &node.op {
            Op::Constant(literal) => literal.as_scalar(),
            _ => None,
        }
    }

    fn push_typed(&mut self, op: Op, args: Values, types: impl IntoIterator<Item = ValueType>) -> &[Value] {
        let id = NodeId(self.nodes.len() as u32);
        let first = self.types.len();
        self.types.extend(types);
        self.definitions.resize(self.types.len(), id);
        let results = (first..self.types.len()).map(|value| Value(value as u32)).collect();
        self.nodes.push(Node { op, args, results, origin: self.current_origin.clone() });
        &self.nodes[id.index()].results
    }

    /// Declares an input.
    pub fn input(&mut self, name: impl Into<String>, ty: ValueType) -> Value {
        let value = self.push_typed(Op::Input(self.inputs.len()), Values::default(), [ty])[0];
        self.inputs.push(Port { name: name.into(), value });
        value
    }

    /// Declares a state and reads it.
    pub fn state(&mut self, name: impl Into<String>, ty: ValueType) -> Value {
        let value = self.push_typed(Op::State(self.states.len()), Values::default(), [ty])[0];
        self.states.push(StatePort { name: name.into(), value, write: None });
        value
    }

    /// Declares a hyperparameter, an f32 scalar.
    pub fn hyper(&mut self, name: impl Into<String>) -> Value {
        let ty = ValueType::scalar(DType::F32);
        let value = self.push_typed(Op::Hyper(self.hypers.len()), Values::default(), [ty])[0];
        self.hypers.push(Port { name: name.into(), value });
        value
    }

    /// Adds a constant.
    pub fn constant(&mut self, literal: Literal) -> Value {
        let ty = literal.ty.clone();
        self.push_typed(Op::Constant(literal), Values::default(), [ty])[0]
    }

    /// Names a value as an output.
    pub fn output(&mut self, name: impl Into<String>, value: Value) {
        self.outputs.push(Port { name: name.into(), value });
    }

    /// Sets what the state with this position holds after the run.
    ///
    /// # Errors
    /// If the types differ or the state is already written.
    pub fn write(&mut self, state: usize, value: Value) -> Result<()> {
        let port = &self.states[state];
        if port.write.is_some() {
            return Err(Error::new("write", format!("state {} is written twice in one step", port.name)));
        }
        if self.ty(port.value) != self.ty(value) {
            return Err(Error::new(
                "write",
                format!(
                    "state {} is {}, the new value is {}",
                    port.name,
                    self.ty(port.value),
                    self.ty(value)
                ),
            ));
        }
        self.states[state].write = Some(value);
        Ok(())
    }

    /// Appends a node of any operation but a leaf; result types come from the shape rule. Strides, dilations and steps
    /// that no second position takes are brought into the size of what they apply to, so that none is larger than its
    /// image.
    ///
    /// # Errors
    /// If the arguments do not fit the operation.
    pub fn push(&mut self, op: Op, args: &[Value]) -> Result<Vec<Value>> {
        Ok(self.append(op, args)?.to_vec())
    }

    fn append(&mut self, op: Op, args: &[Value]) -> Result<&[Value]> {
        let types: Vec<&ValueType> = args.iter().map(|&value| self.ty(value)).collect();
        let results = infer(&op, &types).map_err(|error| error.at(&self.current_origin))?;
        let op = normalize(op, &types);
        Ok(self.push_typed(op, args.into(), results))
    }

    /// Appends a node with one result.
    ///
    /// # Errors
    /// As [`Program::push`].
    pub fn apply(&mut self, op: Op, args: &[Value]) -> Result<Value> {
        Ok(self.append(op, args)?[0])
    }

    /// A function of each element.
    ///
    /// # Errors
    /// If the type does not fit.
    pub fn unary(&mut self, kind: UnaryKind, x: Value) -> Result<Value> {
        self.apply(Op::Unary { kind }, &[x])
    }

    /// A function of pairs of elements.
    ///
    /// # Errors
    /// If types or shapes differ.
    pub fn binary(&mut self, kind: BinaryKind, a: Value, b: Value) -> Result<Value> {
        self.apply(Op::Binary { kind }, &[a, b])
    }

    /// A comparison of pairs of elements.
    ///
    /// # Errors
    /// If types or shapes differ.
    pub fn compare(&mut self, kind: CompareKind, a: Value, b: Value) -> Result<Value> {
        self.apply(Op::Compare { kind }, &[a, b])
    }

    /// A reduction over axes.
    ///
    /// # Errors
    /// If the axes do not fit.
    pub fn reduce(&mut self, kind: ReduceKind, x: Value, axes: &[usize]) -> Result<Value> {
        self.apply(Op::Reduce { kind, axes: axes.to_vec() }, &[x])
    }

    /// A constant of the type and shape of `like`, the same number everywhere.
    ///
    /// # Errors
    /// Never for a valid program.
    pub fn splat_like(&mut self, number: f64, like: Value) -> Result<Value> {
        let ty = self.ty(like).clone();
        self.full(ty, number)
    }

    /// The same number everywhere.
    ///
    /// # Errors
    /// Never for a valid type.
    pub fn full(&mut self, ty: ValueType, number: f64) -> Result<Value> {
        let scalar = self.constant(Literal::scalar(ty.dtype, number));
        if ty.shape.rank() == 0 {
            return Ok(scalar);
        }
        self.apply(Op::Broadcast { shape: ty.shape, axes: Vec::new() }, &[scalar])
    }

    /// Puts reduced axes back by repetition: the inverse map of a reduction of `shape` over `axes`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn expand(&mut self, x: Value, shape: &Shape, axes: &[usize]) -> Result<Value> {
        let kept = (0..shape.rank()).filter(|axis| !axes.contains(axis)).collect();
        self.apply(Op::Broadcast { shape: shape.clone(), axes: kept }, &[x])
    }

    /// A program with the same ports, made by `rewrite` from each node in turn: it is given the new program, the node
    /// and its arguments in the new program, and returns the new results. Leaves that are ports are copied by this
    /// function. `keep` says which nodes to visit at all.
    ///
    /// # Errors
    /// Whatever `rewrite` returns.
    pub fn rebuild(
        &self,
        keep: impl Fn(NodeId) -> bool,
        mut rewrite: impl FnMut(&mut Program, &Node, &[Value]) -> Result<Vec<Value>>,
    ) -> Result<Program> {
        let mut new = Program::new(self.name.clone());
        // Most passes change little.
        new.nodes.reserve(self.nodes.len());
        new.types.reserve(self.types.len());
        new.definitions.reserve(self.definitions.len());
        let mut map: Vec<Option<Value>> = vec![None; self.value_count()];
        let mut args = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            new.current_origin = node.origin.clone();
            let results = match &node.op {
                Op::Input(port) => {
                    vec![new.input(self.inputs[*port].name.clone(), self.ty(node.results[0]).clone())]
                }
                Op::State(port) => {
                    vec![new.state(self.states[*port].name.clone(), self.ty(node.results[0]).clone())]
                }
                Op::Hyper(port) => vec![new.hyper(self.hypers[*port].name.clone())],
                _ if !keep(NodeId(index as u32)) => continue,
                _ => {
                    args.clear();
                    for arg in &node.args {
                        let known = map[arg.index()];
                        args.push(
                            known.ok_or_else(|| Error::new("rebuild", "a dropped node is still used"))?,
                        );
                    }
                    rewrite(&mut new, node, &args)?
                }
            };
            for (old, new_value) in node.results.iter().zip(results) {
                map[old.index()] = Some(new_value);
            }
        }
        new.current_origin = Origin::unknown();
        let mapped =
            |value: Value| map[value.index()].ok_or_else(|| Error::new("rebuild", "an output was dropped"));
        for output in &self.outputs {
            new.output(output.name.clone(), mapped(output.value)?);
        }
        for (index, state) in self.states.iter().enumerate() {
            if let Some(write) = state.write {
                new.write(index, mapped(write)?)?;
            }
        }
        Ok(new)
    }

    /// Appends a copy of a node with other arguments; the building block of passes.
    ///
    /// # Errors
    /// If the arguments do not fit.
    pub fn copy_node(&mut self, node: &Node, args: &[Value]) -> Result<Vec<Value>> {
        match &node.op {
            Op::Constant(literal) => Ok(vec![self.constant(literal.clone())]),
            op => self.push(op.clone(), args),
        }
    }
}
