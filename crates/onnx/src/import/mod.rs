//! Programs from models.
//!
//! A graph is gone through node by node, and each becomes operations of a program. What is known while importing
//! (shapes, constants, what is computed of them) is computed at once by the interpreter, so that a shape that the graph
//! computes is a shape. All extents are known then; a model for any batch is imported at several sizes
//! (`run/onnx_import.rs` of the library).
//!
//! Integers are 32 bits wide in programs, and doubles are floats: a larger integer becomes the largest one.

mod attention;
mod builder;
mod control;
mod elementwise;
mod movement;
mod network;
mod operators;
mod quantized;
mod recurrent;
mod reduction;
mod resize;

use crate::element;
use crate::export::PREPARED;
use crate::proto::{
    AttributeProto, Dimension, FunctionProto, GraphProto, ModelProto, NodeProto, Port, TensorProto,
};
use crate::{Result, failed};
use builder::Builder;
use dropforge_ir::{Array, DType, Error, Program, Value, ValueType};
use operators::{OPERATORS, Operator};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How deep graphs and functions may lie in one another.
const MOST_DEPTH: usize = 24;
/// Operations that a program may have.
const MOST_NODES: usize = 1 << 20;
/// Nodes that are gone through, those of loops and functions each time.
const MOST_STEPS: usize = 1 << 22;
/// The largest number among strides, paddings and the like.
const MOST_SIZE: i64 = 1 << 22;
/// How many names of nodes an error lists for each operator.
const SHOWN: usize = 3;

/// A model that has been read from a file.
pub struct Model<'a> {
    proto: ModelProto<'a>,
    functions: HashMap<(String, String), usize>,
}

/// What a model is imported for.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Extents of the axes that a model gives a name or none. One that is not here is the batch if it is the first
    /// axis, and 1 else.
    pub extents: BTreeMap<String, usize>,
    /// The batch size.
    pub batch: usize,
    /// Whole shapes of inputs, by name; they come before what the model says.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// The outputs that are wanted; all, if none is named.
    pub outputs: Vec<String>,
    /// Inputs that are constants of the program, by name.
    pub fixed: BTreeMap<String, Array>,
    /// Leaves out what [`export`](crate::export) has put in front of a network to prepare raw inputs: the program then
    /// takes what the network takes, as floats. Whoever asks for that does it instead. Nothing changes where there is
    /// no [`Model::prepares`].
    pub unprepared: bool,
}

/// A program with its weights.
#[derive(Debug)]
pub struct Imported {
    /// Weights are its states.
    pub program: Program,
    /// The elements of the states, in their order.
    pub states: Vec<Array>,
    /// For each output its type in the model.
    pub outputs: Vec<i64>,
}

/// An input of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// The type that programs compute with.
    pub dtype: DType,
    /// Extents; `None` where they may vary.
    pub shape: Vec<Option<usize>>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Item {
    Tensor(Tensor),
    Sequence(Vec<Tensor>),
    /// An optional value that is not there.
    Nothing,
}

/// A value of the program and its type in the model.
#[derive(Clone, Copy, Debug)]
struct Tensor {
    value: Value,
    element: i64,
}

/// Reads the bytes that lie outside of a model file: location, offset, length.
pub type Outside<'a> = dyn Fn(&str, u64, Option<u64>) -> std::result::Result<Vec<u8>, String> + 'a;

impl<'a> Model<'a> {
    /// Reads a model.
    ///
    /// # Errors
    /// The bytes are no model, are damaged, or have too many parts.
    pub fn parse(bytes: &'a [u8]) -> Result<Model<'a>> {
        let proto = ModelProto::parse(bytes)?;
        let names = proto.functions.iter().enumerate();
        let functions = names.map(|(index, of)| ((of.domain.clone(), of.name.clone()), index)).collect();
        Ok(Model { proto, functions })
    }

    /// Pairs of text that stand in the file.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.proto.metadata
    }

    /// The names of the inputs as the file lists them, weights included where it does.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        self.proto.graph.inputs.iter().map(|port| port.name.as_str())
    }

    /// The inputs that are no weights.
    ///
    /// # Errors
    /// One is no tensor, or of a type that programs do not have.
    pub fn inputs(&self) -> Result<Vec<Input>> {
        let weights: Vec<&str> = self.proto.graph.initialisers.iter().map(|t| t.name.as_str()).collect();
        let inputs = self.proto.graph.inputs.iter().filter(|port| !weights.contains(&port.name.as_str()));
        inputs
            .map(|port| {
                let dims = port.dims.iter().flatten();
                let extent = |dim: &Dimension| match dim {
                    Dimension::Fixed(number) => usize::try_from(*number).ok(),
                    _ => None,
                };
                if port.element == 0 {
                    let other = if port.other.is_empty() { "of no known type" } else { port.other };
                    return Err(failed(format!("the input {} is {other}; programs take tensors", port.name)));
                }
                let shape = dims.map(extent).collect();
                Ok(Input { name: port.name.clone(), dtype: element::computed(port.element)?, shape })
            })
            .collect()
    }

    /// Whether the graph begins with what [`export`](crate::export) puts in front of a network to prepare raw inputs.
    pub fn prepares(&self) -> bool {
        self.preparation().is_some()
    }

    /// The input that the graph prepares, and the results of the nodes that do, in order.
    fn preparation(&self) -> Option<(&str, Vec<&str>)> {
        let graph = &self.proto.graph;
        let is_weight = |name: &str| graph.initialisers.iter().any(|tensor| tensor.name == name);
        let mut inputs = graph.inputs.iter().filter(|port| !is_weight(&port.name));
        let (input, None) = (inputs.next()?.name.as_str(), inputs.next()) else { return None };
        let mut results: Vec<&str> = Vec::new();
        for node in &graph.nodes {
            let last = results.last().copied().unwrap_or(input);
            let prepares = node.inputs.first().is_some_and(|name| name == last)
                && node.outputs.first().is_some_and(|name| name.starts_with(PREPARED));
            let to_half =
                || node.attributes.iter().any(|of| of.name == "to" && of.integer != Some(element::FLOAT));
            match node.op.as_str() {
                "Cast" if prepares && !to_half() => {}
                "Sub" | "Div" if prepares => {}
                _ => continue,
            }
            results.push(node.outputs.first()?);
        }
        (!results.is_empty()).then_some((input, results))
    }

    /// That all operators are known.
    ///
    /// # Errors
    /// Lists all that are not, how often each is used, and names of nodes.
    pub fn check_operators(&self) -> Result<()> {
        let mut missing: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
        let mut graphs: Vec<&[NodeProto<'_>]> = vec![&self.proto.graph.nodes];
        graphs.extend(self.proto.functions.iter().map(|function| function.nodes.as_slice()));
        while let Some(nodes) = graphs.pop() {
            for node in nodes {
                let inner = node.attributes.iter().filter_map(|attribute| attribute.graph.as_ref());
                graphs.extend(inner.map(|graph| graph.nodes.as_slice()));
                let local = self.functions.contains_key(&(node.domain.clone(), node.op.clone()));
                if local || find(&node.domain, &node.op).is_some() {
                    continue;
                }
                let name = match node.domain.as_str() {
                    "" | "ai.onnx" => node.op.clone(),
                    domain => format!("{domain}.{}", node.op),
                };
                let (count, names) = missing.entry(name).or_default();
                *count += 1;
                if names.len() < SHOWN {
                    let first = node.outputs.first().map_or("", String::as_str);
                    names.push(if node.name.is_empty() { first.into() } else { node.name.clone() });
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = missing
            .iter()
            .map(|(op, (count, names))| {
                let more = if *count > names.len() { ", …" } else { "" };
                format!("{op} ({count}: {}{more})", names.join(", "))
            })
            .collect();
        Err(failed(format!("operators that cannot be imported: {}", all.join("; "))))
    }

    /// The program of the model.
    ///
    /// # Errors
    /// An operator is not known (all are listed), is used in a form that programs cannot express, or what the model
    /// says does not fit together; the message names the node.
    pub fn import(&self, options: &ImportOptions, outside: &Outside<'_>) -> Result<Imported> {
        self.check_operators()?;
        let mut importer = Importer {
            model: self,
            outside,
            b: Builder::new(),
            states: Vec::new(),
            scopes: vec![Scope::default()],
            opset: opset_of(&self.proto.opsets).unwrap_or(1),
            depth: 0,
            steps: 0,
            pending: HashMap::new(),
            left_out: HashSet::new(),
        };
        importer.main(options)
    }
}

fn opset_of(opsets: &[(String, i64)]) -> Option<i64> {
    let main = |(domain, _): &&(String, i64)| matches!(domain.as_str(), "" | "ai.onnx");
    opsets.iter().find(main).map(|(_, version)| *version)
}

/// The operator with this name.
fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    OPERATORS.iter().find(|operator| operator.name == name && operator.domain == domain)
}

/// The operators that can be imported, by domain and name.
pub fn operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATORS.iter().map(|operator| (operator.domain, operator.name))
}

/// Names in a graph; those of the graph around it are seen as well, unless a function begins here.
#[derive(Default)]
struct Scope {
    names: HashMap<String, Item>,
    closed: bool,
}

struct Importer<'m, 'a> {
    model: &'m Model<'a>,
    outside: &'m Outside<'m>,
    b: Builder,
    states: Vec<Array>,
    scopes: Vec<Scope>,
    opset: i64,
    depth: usize,
    steps: usize,
    /// Initialisers that nothing has used yet.
    pending: HashMap<String, &'m TensorProto<'a>>,
    /// Results of nodes of the graph that are not gone through.
    left_out: HashSet<&'m str>,
}

/// A node with what it is given.
struct Call<'c, 'a> {
    node: &'c NodeProto<'a>,
    inputs: Vec<Option<Item>>,
    /// Attributes of the function that the node is in.
    outer: &'c [AttributeProto<'a>],
    opset: i64,
}

impl<'m, 'a> Importer<'m, 'a> {
    fn main(&mut self, options: &ImportOptions) -> Result<Imported> {
        let graph = &self.model.proto.graph;
        for tensor in &graph.initialisers {
            self.pending.insert(tensor.name.clone(), tensor);
        }
        for sparse in &graph.sparse {
            let array = dense(sparse)?;
            let value = self.b.constant_array(&array)?;
            self.bind(&sparse.values.name, Item::Tensor(Tensor { value, element: sparse.values.element }));
        }
        for port in &graph.inputs {
            if self.pending.contains_key(&port.name) {
                continue;
            }
            let (mut element, mut name) = (port.element, port.name.as_str());
            if options.unprepared
                && let Some((_, results)) = self.model.preparation()
            {
                (element, name) = (element::FLOAT, results.last().copied().unwrap_or(name));
                self.left_out.extend(results);
            }
            let item = self.input(port, element, options).map_err(|error| within(error, &port.name))?;
            self.bind(name, item);
        }
        self.nodes(&graph.nodes, &[])?;
        let mut outputs = Vec::new();
        if let Some(name) =
            options.outputs.iter().find(|name| !graph.outputs.iter().any(|port| port.name == **name))
        {
            let all: Vec<&str> = graph.outputs.iter().map(|port| port.name.as_str()).collect();
            return Err(failed(format!("there is no output {name}; there are {}", all.join(", "))));
        }
        for port in &graph.outputs {
            if !options.outputs.is_empty() && !options.outputs.contains(&port.name) {
                continue;
            }
            let Item::Tensor(tensor) = self.lookup(&port.name)? else {
                return Err(failed(format!("the output {} is no tensor", port.name)));
            };
            self.b.program.output(port.name.clone(), tensor.value);
            outputs.push(tensor.element);
        }
        let program = std::mem::take(&mut self.b.program);
        let (program, kept) = without_unused(&program)?;
        let all = std::mem::take(&mut self.states).into_iter().enumerate();
        let states = all.filter(|(index, _)| kept[*index]).map(|(_, array)| array).collect();
        Ok(Imported { program, states, outputs })
    }

    fn input(&mut self, port: &Port, element: i64, options: &ImportOptions) -> Result<Item> {
        if element == 0 {
            let other = if port.other.is_empty() { "of no known type" } else { port.other };
            return Err(failed(format!("the input is {other}; programs take tensors")));
        }
        let dtype = element::computed(element)?;
        if let Some(array) = options.fixed.get(&port.name) {
            let value = self.b.constant_array(array)?;
            return Ok(Item::Tensor(Tensor { value, element }));
        }
        if let Some(shape) = options.shapes.get(&port.name) {
            let ty = ValueType::new(dtype, shape.as_slice());
            ty.shape.check().map_err(failed)?;
            let value = self.b.program.input(port.name.clone(), ty);
            return Ok(Item::Tensor(Tensor { value, element }));
        }
        let dims = port.dims.as_ref().ok_or_else(|| failed("nothing is said of the input's shape"))?;
        let extent = |(axis, dim): (usize, &Dimension)| match dim {
            Dimension::Fixed(number) => {
                usize::try_from(*number).map_err(|_| failed(format!("{number} is no extent")))
            }
            Dimension::Named(name) if options.extents.contains_key(name) => Ok(options.extents[name]),
            _ => Ok(if axis == 0 { options.batch } else { 1 }),
        };
        let shape: Vec<usize> = dims.iter().enumerate().map(extent).collect::<Result<_>>()?;
        let ty = ValueType::new(dtype, shape);
        ty.shape.check().map_err(failed)?;
        let value = self.b.program.input(port.name.clone(), ty);
        Ok(Item::Tensor(Tensor { value, element }))
    }

    fn bind(&mut self, name: &str, item: Item) {
        if let Some(scope) = self.scopes.last_mut().filter(|_| !name.is_empty()) {
            scope.names.insert(name.to_string(), item);
        }
    }

    fn lookup(&mut self, name: &str) -> Result<Item> {
        for scope in self.scopes.iter().rev() {
            if let Some(item) = scope.names.get(name) {
                return Ok(item.clone());
            }
            if scope.closed {
                return Err(failed(format!("nothing is named {name}")));
            }
        }
        let tensor = self.pending.remove(name).ok_or_else(|| failed(format!("nothing is named {name}")))?;
        let item = self.initialiser(tensor).map_err(|error| within(error, name))?;
        if let Some(scope) = self.scopes.first_mut() {
            scope.names.insert(name.to_string(), item.clone());
        }
        Ok(item)
    }

    /// A weight: floats with axes are states, everything else constants.
    fn initialiser(&mut self, tensor: &TensorProto<'a>) -> Result<Item> {
        let array = self.array(tensor)?;
        let is_weight = array.data().dtype().is_float() && array.shape().rank() > 0;
        let value = if is_weight {
            let value = self.b.state(&tensor.name, &array);
            self.states.push(array);
            value
        } else {
            self.b.constant_array(&array)?
        };
        Ok(Item::Tensor(Tensor { value, element: tensor.element }))
    }

    fn array(&self, tensor: &TensorProto<'_>) -> Result<Array> {
        if !tensor.is_external {
            return element::array(tensor, None);
        }
        let entry = |key: &str| tensor.external.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let number = |key: &str| {
            let text = entry(key);
            let bad = || failed(format!("{key} of the tensor {} is no number", tensor.name));
            text.map(|text| text.parse::<u64>().map_err(|_| bad())).transpose()
        };
        let location =
            entry("location").ok_or_else(|| failed(format!("the tensor {} lies nowhere", tensor.name)))?;
        let bytes = (self.outside)(location, number("offset")?.unwrap_or(0), number("length")?);
        element::array(tensor, Some(&bytes.map_err(failed)?))
    }

    /// Goes through the nodes of a graph. They are in order, as the format demands.
    fn nodes(&mut self, nodes: &'m [NodeProto<'a>], outer: &'m [AttributeProto<'a>]) -> Result<()> {
        for node in nodes {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err(failed(format!("loops and functions come to more than {MOST_STEPS} nodes")));
            }
            if self.scopes.len() == 1
                && node.outputs.first().is_some_and(|name| self.left_out.contains(name.as_str()))
            {
                continue;
            }
            let results = self.node(node, outer).map_err(|error| {
                let output = node.outputs.first().map_or("", String::as_str);
                let name = if node.name.is_empty() { output } else { &node.name };
                within(error, &format!("{} {name}", node.op))
            })?;
            if results.len() < node.outputs.iter().filter(|name| !name.is_empty()).count() {
                return Err(failed(format!("{} gives fewer results than are named", node.op)));
            }
            for (name, item) in node.outputs.iter().zip(results) {
                self.bind(name, item);
            }
            if self.b.program.nodes().len() > MOST_NODES {
                return Err(failed(format!("the program has more than {MOST_NODES} operations")));
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &'m NodeProto<'a>, outer: &'m [AttributeProto<'a>]) -> Result<Vec<Item>> {
        let mut inputs = Vec::new();
        for name in &node.inputs {
            inputs.push(if name.is_empty() { None } else { Some(self.lookup(name)?) });
        }
        if let Some(&index) = self.model.functions.get(&(node.domain.clone(), node.op.clone())) {
            return self.function(&self.model.proto.functions[index], node, inputs);
        }
        let operator = find(&node.domain, &node.op).ok_or_else(|| failed("is not known"))?;
        let mut call = Call { node, inputs, outer, opset: self.opset };
        let half = call.inputs.iter().flatten().find_map(|item| match item {
            Item::Tensor(tensor) if self.b.dtype(tensor.value).is_half() => Some(tensor.element),
            _ => None,
        });
        // Several operations on halves would each round.
        let Some(half) = half.filter(|_| operator.wide) else { return (operator.import)(self, &call) };
        for item in call.inputs.iter_mut().flatten() {
            if let Item::Tensor(tensor) = item
                && self.b.dtype(tensor.value).is_half()
            {
                tensor.value = self.b.cast(tensor.value, DType::F32)?;
                tensor.element = element::FLOAT;
            }
        }
        let mut results = (operator.import)(self, &call)?;
        for item in &mut results {
            if let Item::Tensor(tensor) = item
                && tensor.element == element::FLOAT
            {
                tensor.value = self.b.cast(tensor.value, element::computed(half)?)?;
                tensor.element = half;
            }
        }
        Ok(results)
    }

    fn function(
        &mut self,
        function: &'m FunctionProto<'a>,
        node: &'m NodeProto<'a>,
        inputs: Vec<Option<Item>>,
    ) -> Result<Vec<Item>> {
        self.enter()?;
        let mut scope = Scope { names: HashMap::new(), closed: true };
        for (index, name) in function.inputs.iter().enumerate() {
            let item = inputs.get(index).cloned().flatten().unwrap_or(Item::Nothing);
            scope.names.insert(name.clone(), item);
        }
        self.scopes.push(scope);
        let own = opset_of(&function.opsets).unwrap_or(self.opset);
        let opset = std::mem::replace(&mut self.opset, own);
        let attributes = if node.attributes.is_empty() { &function.defaults } else { &node.attributes };
        self.nodes(&function.nodes, attributes)?;
        let results = function.outputs.iter().map(|name| self.lookup(name)).collect();
        self.opset = opset;
        self.scopes.pop();
        self.depth -= 1;
        results
    }

    /// Goes through a graph within a node; its inputs have these values.
    fn inner(
        &mut self,
        graph: &'m GraphProto<'a>,
        inputs: Vec<Item>,
        outer: &'m [AttributeProto<'a>],
    ) -> Result<Vec<Item>> {
        self.enter()?;
        let mut scope = Scope::default();
        for (port, item) in graph.inputs.iter().zip(inputs) {
            scope.names.insert(port.name.clone(), item);
        }
        for tensor in &graph.initialisers {
            let array = self.array(tensor)?;
            let value = self.b.constant_array(&array)?;
            let item = Item::Tensor(Tensor { value, element: tensor.element });
            scope.names.insert(tensor.name.clone(), item);
        }
        self.scopes.push(scope);
        self.nodes(&graph.nodes, outer)?;
        let results = graph.outputs.iter().map(|port| self.lookup(&port.name)).collect();
        self.scopes.pop();
        self.depth -= 1;
        results
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        match self.depth > MOST_DEPTH {
            true => Err(failed(format!("graphs lie in one another more than {MOST_DEPTH} times"))),
            false => Ok(()),
        }
    }
}

/// The program without what no output needs, and which states are left.
fn without_unused(program: &Program) -> Result<(Program, Vec<bool>)> {
    let mut used = vec![false; program.value_count()];
    program.outputs.iter().for_each(|output| used[output.value.index()] = true);
    for node in program.nodes().iter().rev() {
        if node.results.iter().any(|result| used[result.index()]) {
            node.args.iter().for_each(|arg| used[arg.index()] = true);
        }
    }
    let mut new = Program::new("predict");
    let mut map: Vec<Option<Value>> = vec![None; program.value_count()];
    let kept = program.states.iter().map(|state| used[state.value.index()]).collect();
    for node in program.nodes() {
        let needed = node.results.iter().any(|result| used[result.index()]);
        let results = match &node.op {
            dropforge_ir::Op::Input(port) => {
                vec![new.input(program.inputs[*port].name.clone(), program.ty(node.results[0]).clone())]
            }
            _ if !needed => continue,
            dropforge_ir::Op::State(port) => {
                vec![new.state(program.states[*port].name.clone(), program.ty(node.results[0]).clone())]
            }
            _ => {
                let lost = || failed("a value was lost");
                let args: Vec<Value> =
                    node.args.iter().map(|arg| map[arg.index()].ok_or_else(lost)).collect::<Result<_>>()?;
                new.copy_node(node, &args)?
            }
        };
        node.results.iter().zip(results).for_each(|(old, new)| map[old.index()] = Some(new));
    }
    for output in &program.outputs {
        let value = map[output.value.index()].ok_or_else(|| failed("an output was lost"))?;
        new.output(output.name.clone(), value);
    }
    Ok((new, kept))
}

/// The same error with the place in front.
fn within(error: Error, place: &str) -> Error {
    let message = match error.operation() {
        "onnx" => error.message().to_string(),
        operation => format!("{operation}: {}", error.message()),
    };
    failed(format!("{place}: {message}"))
}

/// A sparse tensor with its zeros.
fn dense(sparse: &crate::proto::SparseProto<'_>) -> Result<Array> {
    let values = element::array(&sparse.values, None)?;
    let indices = element::array(&sparse.indices, None)?;
    let shape = element::shape(&sparse.dims)?;
    if shape.elements() > 1 << 26 {
        return Err(failed("a sparse tensor is too large"));
    }
    let mut array = Array::zeros(&ValueType::new(values.data().dtype(), shape.clone()));
    let strides = shape.strides();
    let (Some(from), Some(places)) = (values.as_f32(), indices.as_i32()) else {
        return Err(failed("a sparse tensor holds no floats"));
    };
    let dropforge_ir::Data::F32(to) = array.data_mut() else {
        return Err(failed("a sparse tensor holds no floats"));
    };
    let rank = if indices.shape().rank() == 2 { shape.rank() } else { 1 };
    if from.len().checked_mul(rank) != Some(places.len()) {
        return Err(failed("a sparse tensor has another number of places than of values"));
    }
    for (value, place) in from.iter().zip(places.chunks(rank.max(1))) {
        let flat: i64 = match indices.shape().rank() {
            2 => place.iter().zip(&strides).map(|(&i, &stride)| i64::from(i) * stride as i64).sum(),
            _ => place[0].into(),
        };
        let slot = usize::try_from(flat).ok().and_then(|flat| to.get_mut(flat));
        *slot.ok_or_else(|| failed("a sparse tensor has a place outside of it"))? = *value;
    }
    Ok(array)
}

impl<'c, 'a> Call<'c, 'a> {
    /// A tensor that has to be there.
    fn tensor(&self, index: usize) -> Result<Tensor> {
        self.optional(index).ok_or_else(|| failed(format!("input {index} is missing or no tensor")))
    }

    fn optional(&self, index: usize) -> Option<Tensor> {
        match self.inputs.get(index) {
            Some(Some(Item::Tensor(tensor))) => Some(*tensor),
            _ => None,
        }
    }

    fn value(&self, index: usize) -> Result<Value> {
        self.tensor(index).map(|tensor| tensor.value)
    }

    /// All tensors that are there.
    fn tensors(&self) -> Result<Vec<Tensor>> {
        (0..self.inputs.len()).map(|index| self.tensor(index)).collect()
    }

    fn attribute(&self, name: &str) -> Option<&'c AttributeProto<'a>> {
        let here = self.node.attributes.iter().find(|attribute| attribute.name == name)?;
        match here.reference.as_str() {
            "" => Some(here),
            outer => self.outer.iter().find(|attribute| attribute.name == outer),
        }
    }

    fn integer(&self, name: &str, otherwise: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.integer).unwrap_or(otherwise)
    }

    fn flag(&self, name: &str) -> bool {
        self.integer(name, 0) != 0
    }

    fn float(&self, name: &str, otherwise: f64) -> f64 {
        self.attribute(name).and_then(|attribute| attribute.float).map_or(otherwise, f64::from)
    }

    fn integers(&self, name: &str) -> Option<&'c [i64]> {
        self.attribute(name).map(|attribute| attribute.integers.as_slice())
    }

    fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>> {
        let size = |&number: &i64| {
            let size = usize::try_from(number).ok().filter(|_| number <= MOST_SIZE);
            size.ok_or_else(|| failed(format!("{name} has {number}, which is not within 0 and {MOST_SIZE}")))
        };
        self.integers(name).map(|all| all.iter().map(size).collect()).transpose()
    }

    fn text(&self, name: &str, otherwise: &str) -> String {
        let text = self.attribute(name).and_then(|attribute| attribute.text);
        text.map_or_else(|| otherwise.into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn graph(&self, name: &str) -> Result<&'c GraphProto<'a>> {
        let graph = self.attribute(name).and_then(|attribute| attribute.graph.as_ref());
        graph.ok_or_else(|| failed(format!("has no graph {name}")))
    }
}
