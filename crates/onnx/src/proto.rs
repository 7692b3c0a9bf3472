//! The messages of an ONNX file, read as far as they are needed. Elements of tensors stay where they lie in the file.

use crate::wire::{Field, Reader};
use crate::{Result, failed};

/// How deep graphs may lie within attributes of nodes of graphs.
const MOST_DEPTH: usize = 16;
/// Nodes, attributes, names and tensors of a file, all together.
const MOST_PARTS: usize = 4 << 20;

/// A `ModelProto`.
#[derive(Debug, Default)]
pub(crate) struct ModelProto<'a> {
    pub opsets: Vec<(String, i64)>,
    pub graph: GraphProto<'a>,
    pub functions: Vec<FunctionProto<'a>>,
    pub metadata: Vec<(String, String)>,
}

/// A `GraphProto`.
#[derive(Debug, Default)]
pub(crate) struct GraphProto<'a> {
    pub nodes: Vec<NodeProto<'a>>,
    pub initialisers: Vec<TensorProto<'a>>,
    pub sparse: Vec<SparseProto<'a>>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

/// A `FunctionProto`.
#[derive(Debug, Default)]
pub(crate) struct FunctionProto<'a> {
    pub name: String,
    pub domain: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub nodes: Vec<NodeProto<'a>>,
    pub opsets: Vec<(String, i64)>,
    pub defaults: Vec<AttributeProto<'a>>,
}

/// A `NodeProto`.
#[derive(Debug, Default)]
pub(crate) struct NodeProto<'a> {
    pub name: String,
    pub op: String,
    pub domain: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<AttributeProto<'a>>,
}

/// An `AttributeProto`.
#[derive(Debug, Default)]
pub(crate) struct AttributeProto<'a> {
    pub name: String,
    pub reference: String,
    pub float: Option<f32>,
    pub integer: Option<i64>,
    pub text: Option<&'a [u8]>,
    pub tensor: Option<TensorProto<'a>>,
    pub sparse: Option<SparseProto<'a>>,
    pub graph: Option<GraphProto<'a>>,
    pub floats: Vec<f32>,
    pub integers: Vec<i64>,
    pub texts: Vec<&'a [u8]>,
}

/// A `TensorProto`.
#[derive(Debug, Default)]
pub(crate) struct TensorProto<'a> {
    pub name: String,
    pub dims: Vec<i64>,
    pub element: i64,
    pub raw: Option<&'a [u8]>,
    pub floats: Vec<f32>,
    pub integers: Vec<i64>,
    pub doubles: Vec<f64>,
    pub has_texts: bool,
    pub external: Vec<(String, String)>,
    pub is_external: bool,
}

/// A `SparseTensorProto`.
#[derive(Debug, Default)]
pub(crate) struct SparseProto<'a> {
    pub values: TensorProto<'a>,
    pub indices: TensorProto<'a>,
    pub dims: Vec<i64>,
}

/// A `ValueInfoProto` of a tensor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Port {
    pub name: String,
    /// Element type; 0 where it is no tensor.
    pub element: i64,
    /// What it is if it is no tensor.
    pub other: &'static str,
    /// Extents; `None` where nothing is said of the shape.
    pub dims: Option<Vec<Dimension>>,
}

/// An extent of an input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Dimension {
    Fixed(i64),
    Named(String),
    Unknown,
}

struct Parts {
    left: usize,
}

impl Parts {
    fn one(&mut self) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| failed("the file has too many parts"))?;
        Ok(())
    }
}

/// Goes through the fields of a message.
fn each<'a>(bytes: &'a [u8], mut field: impl FnMut(u64, Field<'a>) -> Result<()>) -> Result<()> {
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next()? {
        field(number, value)?;
    }
    Ok(())
}

fn pair(bytes: &[u8]) -> Result<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    each(bytes, |number, field| {
        match number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

fn opset(bytes: &[u8]) -> Result<(String, i64)> {
    let (mut domain, mut version) = (String::new(), 0);
    each(bytes, |number, field| {
        match number {
            1 => domain = field.text()?,
            2 => version = field.integer()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((domain, version))
}

impl<'a> ModelProto<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<ModelProto<'a>> {
        let mut model = ModelProto::default();
        let mut parts = Parts { left: MOST_PARTS };
        let mut has_graph = false;
        each(bytes, |number, field| {
            match number {
                7 => {
                    has_graph = true;
                    model.graph = graph(field.bytes()?, 0, &mut parts)?;
                }
                8 => model.opsets.push(opset(field.bytes()?)?),
                14 => model.metadata.push(pair(field.bytes()?)?),
                25 => model.functions.push(function(field.bytes()?, &mut parts)?),
                _ => {}
            }
            parts.one()
        })?;
        if has_graph { Ok(model) } else { Err(failed("no ONNX file: it has no graph")) }
    }
}

fn graph<'a>(bytes: &'a [u8], depth: usize, parts: &mut Parts) -> Result<GraphProto<'a>> {
    if depth > MOST_DEPTH {
        return Err(failed(format!("graphs lie in one another more than {MOST_DEPTH} times")));
    }
    let mut all = GraphProto::default();
    each(bytes, |number, field| {
        match number {
            1 => all.nodes.push(node(field.bytes()?, depth, parts)?),
            5 => all.initialisers.push(tensor(field.bytes()?)?),
            11 => all.inputs.push(port(field.bytes()?)?),
            12 => all.outputs.push(port(field.bytes()?)?),
            15 => all.sparse.push(sparse(field.bytes()?)?),
            _ => {}
        }
        parts.one()
    })?;
    Ok(all)
}

fn function<'a>(bytes: &'a [u8], parts: &mut Parts) -> Result<FunctionProto<'a>> {
    let mut all = FunctionProto::default();
    each(bytes, |number, field| {
        match number {
            1 => all.name = field.text()?,
            4 => all.inputs.push(field.text()?),
            5 => all.outputs.push(field.text()?),
            7 => all.nodes.push(node(field.bytes()?, 1, parts)?),
            9 => all.opsets.push(opset(field.bytes()?)?),
            10 => all.domain = field.text()?,
            11 => all.defaults.push(attribute(field.bytes()?, 1, parts)?),
            _ => {}
        }
        parts.one()
    })?;
    Ok(all)
}

fn node<'a>(bytes: &'a [u8], depth: usize, parts: &mut Parts) -> Result<NodeProto<'a>> {
    let mut all = NodeProto::default();
    each(bytes, |number, field| {
        match number {
            1 => all.inputs.push(field.text()?),
            2 => all.outputs.push(field.text()?),
            3 => all.name = field.text()?,
            4 => all.op = field.text()?,
            5 => all.attributes.push(attribute(field.bytes()?, depth, parts)?),
            7 => all.domain = field.text()?,
            _ => {}
        }
        parts.one()
    })?;
    Ok(all)
}

fn attribute<'a>(bytes: &'a [u8], depth: usize, parts: &mut Parts) -> Result<AttributeProto<'a>> {
    let mut all = AttributeProto::default();
    each(bytes, |number, field| {
        match number {
            1 => all.name = field.text()?,
            2 => all.float = Some(field.float()?),
            3 => all.integer = Some(field.integer()?),
            4 => all.text = Some(field.bytes()?),
            5 => all.tensor = Some(tensor(field.bytes()?)?),
            6 => all.graph = Some(graph(field.bytes()?, depth + 1, parts)?),
            7 => field.floats(&mut all.floats)?,
            8 => field.integers(&mut all.integers)?,
            9 => all.texts.push(field.bytes()?),
            21 => all.reference = field.text()?,
            22 => all.sparse = Some(sparse(field.bytes()?)?),
            _ => {}
        }
        parts.one()
    })?;
    Ok(all)
}

/// Reads a `TensorProto`.
pub(crate) fn tensor(bytes: &[u8]) -> Result<TensorProto<'_>> {
    let mut all = TensorProto::default();
    each(bytes, |number, field| {
        match number {
            1 => field.integers(&mut all.dims)?,
            2 => all.element = field.integer()?,
            4 => field.floats(&mut all.floats)?,
            5 | 7 | 11 => field.integers(&mut all.integers)?,
            6 => all.has_texts = true,
            8 => all.name = field.text()?,
            9 => all.raw = Some(field.bytes()?),
            10 => field.doubles(&mut all.doubles)?,
            13 => all.external.push(pair(field.bytes()?)?),
            14 => all.is_external = field.integer()? == 1,
            _ => {}
        }
        Ok(())
    })?;
    Ok(all)
}

fn sparse(bytes: &[u8]) -> Result<SparseProto<'_>> {
    let mut all = SparseProto::default();
    each(bytes, |number, field| {
        match number {
            1 => all.values = tensor(field.bytes()?)?,
            2 => all.indices = tensor(field.bytes()?)?,
            3 => field.integers(&mut all.dims)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(all)
}

fn port(bytes: &[u8]) -> Result<Port> {
    let mut all = Port::default();
    each(bytes, |number, field| {
        match number {
            1 => all.name = field.text()?,
            2 => each(field.bytes()?, |number, field| {
                match number {
                    1 => tensor_type(field.bytes()?, &mut all)?,
                    4 => all.other = "a sequence",
                    5 => all.other = "a map",
                    8 => all.other = "a sparse tensor",
                    9 => all.other = "an optional value",
                    _ => {}
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(all)
}

fn tensor_type(bytes: &[u8], port: &mut Port) -> Result<()> {
    each(bytes, |number, field| {
        match number {
            1 => port.element = field.integer()?,
            2 => {
                let mut dims = Vec::new();
                each(field.bytes()?, |number, field| {
                    if number == 1 {
                        dims.push(dimension(field.bytes()?)?);
                    }
                    Ok(())
                })?;
                port.dims = Some(dims);
            }
            _ => {}
        }
        Ok(())
    })
}

fn dimension(bytes: &[u8]) -> Result<Dimension> {
    let mut dimension = Dimension::Unknown;
    each(bytes, |number, field| {
        match number {
            1 => dimension = Dimension::Fixed(field.integer()?),
            2 => dimension = Dimension::Named(field.text()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(dimension)
}
