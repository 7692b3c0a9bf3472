//! Models from programs.
//!
//! A program is given at two batch sizes. Extents that differ follow the batch, as a multiple and an offset, and are
//! computed in the graph from the shape of the input. Every operation becomes a few nodes; `patterns.rs` finds those
//! that have an operator of their own (a convolution with its bias, a softmax, a batch norm, …). What nothing needs
//! then is left out.

mod graph;
mod operations;
mod patterns;

use crate::wire::Writer;
use crate::{Result, element, failed};
use dropforge_ir::passes::unroll_scans;
use dropforge_ir::{Array, DType, Data, Literal, Node, Op, Program, Shape, Value};
use graph::{Attribute, Graph};
use std::collections::HashMap;

/// The oldest version of the operators that can be written.
pub const LEAST_OPSET: i64 = 18;
/// The newest version of the operators that can be written.
pub const LATEST_OPSET: i64 = 23;

/// What the names of values begin with that come of preparing raw inputs.
pub(crate) const PREPARED: &str = "preprocessed_";

/// How a model is written.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportOptions {
    /// Version of the operators, from [`LEAST_OPSET`] to [`LATEST_OPSET`]. Default 18, which most tools know.
    pub opset: i64,
    /// Name of the graph.
    pub name: String,
    /// Pairs of text that go into the file as they are.
    pub metadata: Vec<(String, String)>,
    /// What is done with the input first; nothing by default.
    pub preprocessing: Option<Preprocessing>,
}

impl Default for ExportOptions {
    fn default() -> ExportOptions {
        ExportOptions { opset: 18, name: "main".into(), metadata: Vec::new(), preprocessing: None }
    }
}

/// Raw inputs become what a network was trained on: bytes are divided by 255, then (x − mean) / std for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// Mean of each channel, or one for all; empty to leave the numbers as they are.
    pub mean: Vec<f32>,
    /// Deviation of each channel, or one for all.
    pub std: Vec<f32>,
    /// Whether the graph takes bytes rather than floats from 0 to 1.
    pub bytes: bool,
}

/// The bytes of a model file.
///
/// `traced` is one program at two different batch sizes; for a model of one batch size, the same program twice.
/// `states` gives the elements of a state, `hypers` the value of a runtime scalar.
///
/// # Errors
/// The programs differ in more than numbers, an operation has no counterpart (gradients, random numbers), a state is
/// missing, or the model is larger than the 2 GiB that the format allows.
pub fn export(
    traced: [(usize, &Program); 2],
    mut states: impl FnMut(&str) -> Result<Array>,
    hypers: impl Fn(&str) -> Option<f64>,
    options: &ExportOptions,
) -> Result<Vec<u8>> {
    if !(LEAST_OPSET..=LATEST_OPSET).contains(&options.opset) {
        return Err(failed(format!(
            "opset {} is not one of {LEAST_OPSET} to {LATEST_OPSET}, which can be written",
            options.opset
        )));
    }
    // Loops become their trips.
    let [(size, program), (other_size, other)] = traced;
    let (program, other) = (unroll_scans(program)?, unroll_scans(other)?);
    let mut exporter = Exporter::new([(size, &program), (other_size, &other)], options)?;
    exporter.nodes(&mut states, &hypers)?;
    exporter.finish()
}

/// `factor · batch + offset`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Extent {
    factor: i64,
    offset: i64,
}

impl Extent {
    fn fixed(self) -> Option<i64> {
        (self.factor == 0).then_some(self.offset)
    }
}

/// Where the elements of a value come from: axis `i` of `source` is axis `axes[i]` of the value, or has the extent 1.
/// Along other axes the value repeats.
struct Spread {
    source: Value,
    axes: Vec<Option<usize>>,
}

struct Exporter<'a> {
    program: &'a Program,
    other: &'a Program,
    sizes: [usize; 2],
    options: &'a ExportOptions,
    graph: Graph,
    /// Names of values, by [`Value::index`]; empty until they have one.
    names: Vec<String>,
    /// How often a value is used.
    uses: Vec<usize>,
    extents: HashMap<Extent, String>,
    aligned: HashMap<(String, Vec<Extent>), String>,
    paths: Vec<String>,
}

impl<'a> Exporter<'a> {
    fn new(
        [(size, program), (other_size, other)]: [(usize, &'a Program); 2],
        options: &'a ExportOptions,
    ) -> Result<Exporter<'a>> {
        let same = program.nodes().len() == other.nodes().len()
            && program
                .nodes()
                .iter()
                .zip(other.nodes())
                .all(|(a, b)| a.op.name() == b.op.name() && a.args == b.args && a.results == b.results);
        if !same {
            return Err(failed("the network is not the same for all batch sizes; export it for one"));
        }
        let mut uses = vec![0; program.value_count()];
        program.nodes().iter().flat_map(|node| &node.args).for_each(|arg| uses[arg.index()] += 1);
        program.outputs.iter().for_each(|output| uses[output.value.index()] += 1);
        Ok(Exporter {
            program,
            other,
            sizes: [size, other_size],
            options,
            graph: Graph::default(),
            names: vec![String::new(); program.value_count()],
            uses,
            extents: HashMap::new(),
            aligned: HashMap::new(),
            paths: vec![String::new(); program.value_count()],
        })
    }

    fn nodes(
        &mut self,
        states: &mut dyn FnMut(&str) -> Result<Array>,
        hypers: &dyn Fn(&str) -> Option<f64>,
    ) -> Result<()> {
        let program = self.program;
        // Ports keep their names, whatever is made up for other values.
        for port in &program.inputs {
            self.names[port.value.index()] = self.graph.fresh(&port.name);
        }
        for port in &program.states {
            self.names[port.value.index()] = self.graph.fresh(&port.name);
        }
        let mut renamed = Vec::new();
        for output in &program.outputs {
            let name = self.graph.fresh(&output.name);
            let index = output.value.index();
            let leaf = matches!(program.definition(output.value).op, Op::Input(_) | Op::State(_));
            if leaf || !self.names[index].is_empty() {
                renamed.push((output.value, name));
            } else {
                self.names[index] = name;
            }
        }
        for (index, node) in program.nodes().iter().enumerate() {
            self.path_of(node);
            match &node.op {
                Op::Input(port) => self.input(*port)?,
                Op::State(port) => {
                    let name = self.names[node.results[0].index()].clone();
                    let array = states(&program.states[*port].name)?;
                    if array.ty() != *program.ty(node.results[0]) {
                        let ty = program.ty(node.results[0]);
                        return Err(failed(format!("{name} is {}, but {ty} in the program", array.ty())));
                    }
                    self.graph.initialiser(&name, array);
                }
                Op::Hyper(port) => {
                    let name = &program.hypers[*port].name;
                    let number =
                        hypers(name).ok_or_else(|| failed(format!("nothing says what {name} is")))?;
                    let fresh = self.graph.fresh(name);
                    self.graph.initialiser(&fresh, Array::scalar(number as f32));
                    self.names[node.results[0].index()] = fresh;
                }
                Op::Constant(literal) => self.constant(node, index, literal)?,
                _ => {
                    for &result in &node.results {
                        self.name_of(result);
                    }
                    if !self.pattern(node)? {
                        self.operation(node, &self.other.nodes()[index].op)?;
                    }
                }
            }
        }
        for (value, name) in renamed {
            let from = self.names[value.index()].clone();
            self.graph.node("Identity", "", &[&from], &name, vec![]);
        }
        Ok(())
    }

    /// The layer of a node: that of its weight, else that of what it reads.
    fn path_of(&mut self, node: &Node) {
        let path = match &node.op {
            Op::State(port) => {
                let name = &self.program.states[*port].name;
                name.rsplit_once('.').map_or("", |(path, _)| path).to_string()
            }
            Op::Input(_) | Op::Hyper(_) | Op::Constant(_) => String::new(),
            _ => {
                let of_weights = node.args.iter().map(|arg| &self.paths[arg.index()]);
                of_weights.rev().find(|path| !path.is_empty()).cloned().unwrap_or_default()
            }
        };
        let passes =
            matches!(&node.op, Op::State(_) | Op::Reshape { .. } | Op::Broadcast { .. } | Op::Permute { .. });
        let keeps = passes || node.args.iter().all(|arg| !self.is_computed(*arg));
        for result in &node.results {
            self.paths[result.index()] = if keeps { path.clone() } else { String::new() };
        }
    }

    /// Whether a value depends on an input.
    fn is_computed(&self, value: Value) -> bool {
        let node = self.program.definition(value);
        !matches!(node.op, Op::State(_) | Op::Constant(_) | Op::Hyper(_))
            && (node.op.is_leaf() || self.paths[value.index()].is_empty())
    }

    fn node_path(&self, node: &Node) -> String {
        let paths = node.args.iter().map(|arg| self.paths[arg.index()].as_str());
        paths.rev().find(|path| !path.is_empty()).unwrap_or_default().to_string()
    }

    fn input(&mut self, port: usize) -> Result<()> {
        let port = &self.program.inputs[port];
        let Some(Preprocessing { mean, std, bytes }) = &self.options.preprocessing else { return Ok(()) };
        let ty = self.program.ty(port.value);
        if !ty.dtype.is_float() || ty.shape.rank() < 2 {
            return Err(failed(format!("preprocessing is for floats with channels, {} is {ty}", port.name)));
        }
        let mut name = self.names[port.value.index()].clone();
        let mut step = |graph: &mut Graph, op, operand: Option<String>, attributes| {
            let next = graph.fresh(&format!("{PREPARED}{op}").to_lowercase());
            let inputs: Vec<&str> = std::iter::once(name.as_str()).chain(operand.as_deref()).collect();
            graph.node(op, "preprocessing", &inputs, &next, attributes);
            name = next;
        };
        if *bytes {
            step(&mut self.graph, "Cast", None, vec![("to", element::FLOAT.into())]);
            let scale = self.graph.fresh("preprocessing.scale");
            self.graph.initialiser(&scale, Array::scalar(255.0));
            step(&mut self.graph, "Div", Some(scale), vec![]);
        } else if ty.dtype.is_half() {
            step(&mut self.graph, "Cast", None, vec![("to", element::FLOAT.into())]);
        }
        for (op, numbers, what) in [("Sub", mean, "mean"), ("Div", std, "std")] {
            if numbers.is_empty() {
                continue;
            }
            let mut shape = vec![1; ty.shape.rank()];
            shape[1] = numbers.len();
            let array = Array::new(shape, Data::F32(numbers.clone()));
            let fits = numbers.len() == 1 || numbers.len() == ty.shape[1];
            let array = array.filter(|_| fits).ok_or_else(|| {
                failed(format!("the preprocessing has {} channels, {} is {ty}", numbers.len(), port.name))
            })?;
            let operand = self.graph.fresh(&format!("preprocessing.{what}"));
            self.graph.initialiser(&operand, array);
            step(&mut self.graph, op, Some(operand), vec![]);
        }
        if ty.dtype.is_half() {
            step(&mut self.graph, "Cast", None, vec![("to", element::number(ty.dtype).into())]);
        }
        self.names[port.value.index()] = name;
        Ok(())
    }

    fn constant(&mut self, node: &Node, index: usize, literal: &Literal) -> Result<()> {
        let value = node.results[0];
        let name = self.name_of(value);
        let Op::Constant(other) = &self.other.nodes()[index].op else {
            return Err(failed("the programs differ in their constants"));
        };
        if other == literal {
            let data = Data::from_bytes(literal.ty.dtype, literal.bytes());
            let array = data.and_then(|data| Array::new(literal.ty.shape.clone(), data));
            self.graph.initialiser(&name, array.ok_or_else(|| failed("a constant is damaged"))?);
            return Ok(());
        }
        let (here, there) = (literal.as_scalar(), other.as_scalar());
        let number = here.zip(there).filter(|_| literal.ty.shape.rank() == 0);
        let (here, there) = number.ok_or_else(|| failed("a list of constants depends on the batch size"))?;
        let extent = self.extent(here as usize, there as usize)?;
        let extent = self.extent_name(extent)?;
        let cast = self.fresh(&name, "whole");
        self.graph.node(
            "Cast",
            "",
            &[&extent],
            &cast,
            vec![("to", element::number(literal.ty.dtype).into())],
        );
        self.squeeze(&cast, &[0], &name);
        Ok(())
    }

    /// The name of a value, made up if it has none.
    fn name_of(&mut self, value: Value) -> String {
        if self.names[value.index()].is_empty() {
            self.names[value.index()] = self.graph.fresh(&format!("v{}", value.0));
        }
        self.names[value.index()].clone()
    }

    fn fresh(&mut self, of: &str, what: &str) -> String {
        self.graph.fresh(&format!("{of}_{what}"))
    }

    fn squeeze(&mut self, x: &str, axes: &[i64], output: &str) {
        let axes = self.graph.wide(axes);
        self.graph.node("Squeeze", "", &[x, &axes], output, vec![]);
    }

    /// What a number is, that is these two for the two batch sizes.
    fn extent(&self, here: usize, there: usize) -> Result<Extent> {
        let (here, there) = (here as i64, there as i64);
        let run = self.sizes[1] as i64 - self.sizes[0] as i64;
        if here == there {
            return Ok(Extent { factor: 0, offset: here });
        }
        if run == 0 || (there - here) % run != 0 {
            return Err(failed("an extent depends on the batch otherwise than as a multiple"));
        }
        let factor = (there - here) / run;
        Ok(Extent { factor, offset: here - factor * self.sizes[0] as i64 })
    }

    fn extents(&self, here: &[usize], there: &[usize]) -> Result<Vec<Extent>> {
        here.iter().zip(there).map(|(&here, &there)| self.extent(here, there)).collect()
    }

    fn shape(&self, value: Value) -> Result<Vec<Extent>> {
        self.extents(self.program.shape(value), self.other.shape(value))
    }

    /// The name of a tensor `[1]` of 64 bits that holds an extent.
    fn extent_name(&mut self, extent: Extent) -> Result<String> {
        if let Some(number) = extent.fixed() {
            return Ok(self.graph.wide(&[number]));
        }
        if let Some(name) = self.extents.get(&extent) {
            return Ok(name.clone());
        }
        let batch = Extent { factor: 1, offset: 0 };
        let name = if extent == batch {
            let mut places = self.program.inputs.iter().filter_map(|port| {
                let shape = self.shape(port.value).ok()?;
                Some((port.value, shape.iter().position(|&extent| extent == batch)?))
            });
            let (input, axis) = places.next().ok_or_else(|| failed("no input has the batch as an axis"))?;
            let input = self.program.inputs.iter().find(|port| port.value == input);
            let input = input.map(|port| port.name.clone()).unwrap_or_default();
            let name = self.graph.fresh("batch_size");
            let attributes = vec![("start", (axis as i64).into()), ("end", (axis as i64 + 1).into())];
            self.graph.node("Shape", "", &[&input], &name, attributes);
            name
        } else {
            let mut name = self.extent_name(batch)?;
            for (op, number) in [("Mul", extent.factor), ("Add", extent.offset)] {
                if (op, number) != ("Mul", 1) && (op, number) != ("Add", 0) {
                    let operand = self.graph.wide(&[number]);
                    let next = self.graph.fresh("extent");
                    self.graph.node(op, "", &[&name, &operand], &next, vec![]);
                    name = next;
                }
            }
            name
        };
        self.extents.insert(extent, name.clone());
        Ok(name)
    }

    /// The name of a tensor of 64 bits that holds these extents.
    fn list(&mut self, extents: &[Extent]) -> Result<String> {
        if let Some(numbers) = extents.iter().map(|extent| extent.fixed()).collect::<Option<Vec<i64>>>() {
            return Ok(self.graph.wide(&numbers));
        }
        let parts: Vec<String> =
            extents.iter().map(|&extent| self.extent_name(extent)).collect::<Result<_>>()?;
        if let [one] = parts.as_slice() {
            return Ok(one.clone());
        }
        let name = self.graph.fresh("shape");
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.graph.node("Concat", "", &parts, &name, vec![("axis", 0.into())]);
        Ok(name)
    }

    /// Appends a reshape of `x`, one extent of which may be left to whoever runs it.
    fn reshape(&mut self, x: &str, shape: &[Extent], output: &str) -> Result<()> {
        let dynamic = shape.iter().filter(|extent| extent.factor != 0).count();
        let has_none = shape.iter().any(|extent| extent.fixed() == Some(0));
        let target = if dynamic == 1 && !has_none {
            let numbers: Vec<i64> = shape.iter().map(|extent| extent.fixed().unwrap_or(-1)).collect();
            self.graph.wide(&numbers)
        } else {
            self.list(shape)?
        };
        let attributes = if has_none { vec![("allowzero", 1.into())] } else { vec![] };
        self.graph.node("Reshape", "", &[x, &target], output, attributes);
        Ok(())
    }

    /// Where the elements of a value come from, behind broadcasts and reshapes that only add and remove extents of 1.
    fn spread(&self, value: Value) -> Spread {
        let rank = self.program.shape(value).rank();
        let mut spread = Spread { source: value, axes: (0..rank).map(Some).collect() };
        loop {
            let node = self.program.definition(spread.source);
            let axes = match &node.op {
                Op::Broadcast { axes, .. } => axes.iter().map(|&axis| spread.axes[axis]).collect(),
                Op::Reshape { shape } => {
                    let from = self.program.shape(node.args[0]);
                    let others = |shape: &Shape| -> Vec<usize> {
                        (0..shape.rank()).filter(|&axis| shape[axis] != 1).collect()
                    };
                    let (old, new) = (others(from), others(shape));
                    let same =
                        old.len() == new.len() && old.iter().zip(&new).all(|(&a, &b)| from[a] == shape[b]);
                    if !same {
                        return spread;
                    }
                    let mut axes = vec![None; from.rank()];
                    old.iter().zip(&new).for_each(|(&a, &b)| axes[a] = spread.axes[b]);
                    axes
                }
                _ => return spread,
            };
            spread = Spread { source: node.args[0], axes };
        }
    }

    /// The name of something that broadcasts to a value as ONNX broadcasts, and the axes that it has.
    fn operand(&mut self, value: Value) -> Result<(String, Vec<bool>)> {
        let shape = self.shape(value)?;
        let spread = self.spread(value);
        let source = self.program.shape(spread.source);
        let mut covered = vec![false; shape.len()];
        spread.axes.iter().flatten().for_each(|&axis| covered[axis] = true);
        let one = Extent { factor: 0, offset: 1 };
        let aligned: Vec<Extent> = covered
            .iter()
            .zip(&shape)
            .map(|(&covered, &extent)| if covered { extent } else { one })
            .collect();
        let leading = aligned.iter().take_while(|&&extent| extent == one).count();
        let here = self.shape(spread.source)?;
        let skipped = here.iter().take_while(|&&extent| extent == one).count();
        if here.len() <= aligned.len() && here[skipped..] == aligned[leading.min(aligned.len())..]
            || source.rank() == 0
        {
            return Ok((self.name_of(spread.source), covered));
        }
        let from = self.name_of(spread.source);
        let key = (from.clone(), aligned[leading..].to_vec());
        if let Some(name) = self.aligned.get(&key) {
            return Ok((name.clone(), covered));
        }
        let name = self.fresh(&from, "aligned");
        self.reshape(&from, &aligned[leading..], &name)?;
        self.aligned.insert(key, name.clone());
        Ok((name, covered))
    }

    /// The names of operands that together broadcast to their shape.
    fn operands(&mut self, args: &[Value]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let shape = self.shape(args[0])?;
        let mut covered: Vec<bool> = shape.iter().map(|extent| extent.fixed() == Some(1)).collect();
        let mut least_rank = 0;
        for &arg in args {
            let (name, axes) = self.operand(arg)?;
            covered.iter_mut().zip(axes).for_each(|(all, this)| *all |= this);
            least_rank = least_rank.max(self.rank_of(arg, &name));
            names.push(name);
        }
        if covered.iter().any(|covered| !covered) || least_rank < shape.len() {
            names[0] = self.name_of(args[0]);
        }
        Ok(names)
    }

    /// The axes that an operand of [`Exporter::operand`] has at least.
    fn rank_of(&self, value: Value, name: &str) -> usize {
        if self.names[value.index()] == name {
            self.program.shape(value).rank()
        } else {
            let source = self.spread(value).source;
            if self.names[source.index()] == name { self.program.shape(source).rank() } else { 0 }
        }
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        let program = self.program;
        let outputs: Vec<String> = program.outputs.iter().map(|output| output.name.clone()).collect();
        self.graph.keep_needed(outputs.iter().map(String::as_str));
        let mut out = Writer::default();
        out.integer(1, ir_version(self.options.opset));
        out.text(2, "dropforge");
        out.text(3, env!("CARGO_PKG_VERSION"));
        let mut failure = None;
        out.message(7, |out| {
            self.graph.write(out);
            out.text(2, &self.options.name);
            for port in &program.inputs {
                let bytes = self.options.preprocessing.as_ref().is_some_and(|how| how.bytes);
                let dtype = match (bytes, self.options.preprocessing.is_some()) {
                    (true, _) => DType::U8,
                    (false, true) => DType::F32,
                    _ => program.dtype(port.value),
                };
                self.port(out, 11, &port.name, dtype, port.value).unwrap_or_else(|e| failure = Some(e));
            }
            for port in &program.outputs {
                let dtype = program.dtype(port.value);
                self.port(out, 12, &port.name, dtype, port.value).unwrap_or_else(|e| failure = Some(e));
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        out.message(8, |out| {
            out.text(1, "");
            out.integer(2, self.options.opset);
        });
        for (key, value) in &self.options.metadata {
            out.message(14, |out| {
                out.text(1, key);
                out.text(2, value);
            });
        }
        let bytes = out.into_bytes();
        if bytes.len() >= 1 << 31 {
            return Err(failed(format!("the model has {} bytes, files hold at most 2 GiB", bytes.len())));
        }
        Ok(bytes)
    }

    /// Writes a `ValueInfoProto`.
    fn port(&self, out: &mut Writer, field: u64, name: &str, dtype: DType, value: Value) -> Result<()> {
        let shape = self.shape(value)?;
        out.message(field, |out| {
            out.text(1, name);
            out.message(2, |out| {
                out.message(1, |out| {
                    out.integer(1, element::number(dtype));
                    out.message(2, |out| {
                        for extent in &shape {
                            out.message(1, |out| match extent.fixed() {
                                Some(number) => out.integer(1, number),
                                None => out.text(2, &extent_text(*extent)),
                            });
                        }
                    });
                });
            });
        });
        Ok(())
    }
}

fn extent_text(extent: Extent) -> String {
    let Extent { factor, offset } = extent;
    let mut text = if factor == 1 { "batch".to_string() } else { format!("{factor}*batch") };
    if offset != 0 {
        text.push_str(&format!("{offset:+}"));
    }
    text
}

/// The version of the file format that goes with a version of the operators.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19 | 20 => 9,
        21 | 22 => 10,
        _ => 11,
    }
}
