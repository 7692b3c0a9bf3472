//! A graph in the making: nodes with attributes, initialisers, and how they become the bytes of a file.

use crate::element;
use crate::wire::Writer;
use dropforge_ir::{Array, DType};
use std::collections::{BTreeMap, HashMap, HashSet};

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attribute {
    Integer(i64),
    Float(f32),
    Integers(Vec<i64>),
    Text(String),
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Attribute {
        Attribute::Integer(number)
    }
}

impl From<&[usize]> for Attribute {
    fn from(numbers: &[usize]) -> Attribute {
        Attribute::Integers(numbers.iter().map(|&number| number as i64).collect())
    }
}

#[derive(Clone, Debug, PartialEq)]
struct GraphNode {
    op: &'static str,
    name: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    attributes: Vec<(&'static str, Attribute)>,
}

/// Elements of an initialiser.
#[derive(Clone, Debug, PartialEq)]
enum Elements {
    Array(Array),
    /// `[n]` of 64 bits: shapes, axes and positions.
    Wide(Vec<i64>),
}

/// Nodes and initialisers, of which only those that an output needs are written.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<GraphNode>,
    initialisers: BTreeMap<String, Elements>,
    wide: HashMap<Vec<i64>, String>,
    names: HashSet<String>,
    counts: HashMap<&'static str, usize>,
}

impl Graph {
    /// A name like this one that nothing has yet.
    pub fn fresh(&mut self, wish: &str) -> String {
        let mut name = wish.to_string();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{wish}_{number}");
        }
        name
    }

    /// Appends a node of one output with this name; its own name is the layer's path with the operator's behind.
    pub fn node(
        &mut self,
        op: &'static str,
        path: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<(&'static str, Attribute)>,
    ) {
        self.node_of(op, path, inputs, &[output], attributes);
    }

    /// As [`Graph::node`] with several outputs.
    pub fn node_of(
        &mut self,
        op: &'static str,
        path: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<(&'static str, Attribute)>,
    ) {
        let count = self.counts.entry(op).or_default();
        *count += 1;
        let name = if path.is_empty() { format!("{op}_{count}") } else { format!("{path}/{op}_{count}") };
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        self.nodes.push(GraphNode { op, name, inputs: owned(inputs), outputs: owned(outputs), attributes });
    }

    /// Adds an initialiser with this name, which is fresh.
    pub fn initialiser(&mut self, name: &str, array: Array) {
        self.initialisers.insert(name.to_string(), Elements::Array(array));
    }

    /// The name of an initialiser `[n]` of 64-bit integers.
    pub fn wide(&mut self, numbers: &[i64]) -> String {
        if let Some(name) = self.wide.get(numbers) {
            return name.clone();
        }
        let words: Vec<String> = numbers.iter().map(|n| n.to_string().replace('-', "m")).collect();
        let wish = if words.len() <= 6 { format!("int64_{}", words.join("_")) } else { "int64".into() };
        let name = self.fresh(&wish);
        self.initialisers.insert(name.clone(), Elements::Wide(numbers.to_vec()));
        self.wide.insert(numbers.to_vec(), name.clone());
        name
    }

    /// Leaves out what none of these values needs.
    pub fn keep_needed<'a>(&mut self, outputs: impl Iterator<Item = &'a str>) {
        let mut needed: HashSet<String> = outputs.map(String::from).collect();
        let mut kept: Vec<GraphNode> = Vec::new();
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if node.outputs.iter().any(|output| needed.contains(output)) {
                needed.extend(node.inputs.iter().cloned());
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
        self.initialisers.retain(|name, _| needed.contains(name));
    }

    /// Writes nodes and initialisers as fields of a `GraphProto`.
    pub fn write(&self, out: &mut Writer) {
        for node in &self.nodes {
            out.message(1, |out| {
                node.inputs.iter().for_each(|name| out.text(1, name));
                node.outputs.iter().for_each(|name| out.text(2, name));
                out.text(3, &node.name);
                out.text(4, node.op);
                for (name, attribute) in &node.attributes {
                    out.message(5, |out| {
                        out.text(1, name);
                        write_attribute(out, attribute);
                    });
                }
            });
        }
        for (name, elements) in &self.initialisers {
            out.message(5, |out| write_tensor(out, name, elements));
        }
    }
}

fn write_attribute(out: &mut Writer, attribute: &Attribute) {
    let kind = match attribute {
        Attribute::Float(number) => {
            out.float(2, *number);
            1
        }
        Attribute::Integer(number) => {
            out.integer(3, *number);
            2
        }
        Attribute::Text(text) => {
            out.text(4, text);
            3
        }
        Attribute::Integers(numbers) => {
            numbers.iter().for_each(|&number| out.integer(8, number));
            7
        }
    };
    out.integer(20, kind);
}

fn write_tensor(out: &mut Writer, name: &str, elements: &Elements) {
    match elements {
        Elements::Wide(numbers) => {
            out.integer(1, numbers.len() as i64);
            out.integer(2, element::INT64);
            out.text(8, name);
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            out.bytes(9, &bytes);
        }
        Elements::Array(array) => {
            array.shape().iter().for_each(|&extent| out.integer(1, extent as i64));
            let dtype: DType = array.data().dtype();
            out.integer(2, element::number(dtype));
            out.text(8, name);
            out.bytes(9, array.data().bytes());
        }
    }
}
