//! The graph of a network as TensorBoard draws it: a `GraphDef` of TensorFlow's `graph.proto`, in which layers are
//! boxes that open.

use super::events::Message;
use crate::Result;
use crate::step::Network;
use dropforge_ir::{Op, Program};

/// The program that predicts for one sample.
pub fn of(network: &Network) -> Result<Message> {
    let traced = network.trace(1)?;
    let program = traced.program();
    let names = names(program);
    let mut graph = Message::default();
    for (index, node) in program.nodes().iter().enumerate() {
        let mut message = Message::default();
        message.bytes(1, names[index].as_bytes());
        message.bytes(2, node.op.name().as_bytes());
        for &argument in &node.args {
            message.bytes(3, names[program.definition_id(argument).index()].as_bytes());
        }
        if let Some(&result) = node.results.first() {
            attribute(&mut message, "type", &program.ty(result).to_string());
        }
        if !node.origin.file.is_empty() {
            attribute(&mut message, "place", &format!("{}:{}", node.origin.file, node.origin.line));
        }
        graph.bytes(1, &message.0);
    }
    for output in &program.outputs {
        let mut message = Message::default();
        message.bytes(1, format!("output/{}", output.name).as_bytes());
        message.bytes(2, b"output");
        message.bytes(3, names[program.definition_id(output.value).index()].as_bytes());
        graph.bytes(1, &message.0);
    }
    Ok(graph)
}

/// A name for each node: ports by theirs, operations by their layer and a number.
fn names(program: &Program) -> Vec<String> {
    let ports = program.inputs.iter().map(|port| (port.value, format!("input/{}", port.name)));
    let states = program.states.iter().map(|state| (state.value, state.name.replace('.', "/")));
    let named: Vec<_> = ports.chain(states).collect();
    let name = |(index, node): (usize, &dropforge_ir::Node)| {
        let port = named.iter().find(|(value, _)| node.results.first() == Some(value));
        match (port, &node.op) {
            (Some((_, name)), _) => name.clone(),
            (None, op) => {
                let path = node.origin.path.replace('.', "/");
                let within = if path.is_empty() { String::new() } else { format!("{path}/") };
                format!("{within}{}_{index}", op_name(op))
            }
        }
    };
    program.nodes().iter().enumerate().map(name).collect()
}

/// What an operation is called in a name.
fn op_name(op: &Op) -> &str {
    match op {
        Op::Unary { kind } => kind.name(),
        Op::Binary { kind } => kind.name(),
        op => op.name(),
    }
}

/// Adds a text that is shown beside a node.
fn attribute(node: &mut Message, name: &str, text: &str) {
    let (mut value, mut entry) = (Message::default(), Message::default());
    value.bytes(2, text.as_bytes());
    entry.bytes(1, name.as_bytes());
    entry.bytes(2, &value.0);
    node.bytes(5, &entry.0);
}
