//! Checks that a program is well formed.
//!
//! The builder and the parser make no other programs, so that an error of the verifier always means a bug in a pass (or
//! in code that changed the public lists of ports). These hold in every valid program:
//!
//! 1. Values are numbered in the order in which nodes make them, and every value knows the node that makes it.
//! 2. Every argument of a node is a result of an earlier node.
//! 3. Result types are what the shape rule infers from the argument types; a constant has the type of its literal.
//! 4. Leaves have no arguments and one result, of a shape within the limits of [`crate::Shape::check`]. The leaf of
//!    port `i` is made by exactly one node, which the port names as its value; every input, state and hyperparameter
//!    has its leaf, used or not.
//! 5. A hyperparameter is an f32 scalar.
//! 6. Names are unique among inputs, among states, among hyperparameters and among outputs.
//! 7. Outputs and written values exist. A state is written at most once (there is one place for it), with a value of
//!    its own type.

use crate::error::{Error, Result};
use crate::op::Op;
use crate::program::{Node, Port, Program, Value};
use crate::shape_rule::infer;
use crate::types::{DType, ValueType};
use std::collections::HashSet;

/// Checks all invariants in the module's documentation.
///
/// # Errors
/// Names the first node, port or value that breaks one.
pub fn verify(program: &Program) -> Result<()> {
    let fail = |message: String| Error::new("verify", format!("{message} in program {}", program.name));
    let mut made = 0;
    for (index, node) in program.nodes().iter().enumerate() {
        check_node(program, index, node, made).map_err(|message| {
            fail(format!("node {index} ({}): {message}", node.op.name())).at(&node.origin)
        })?;
        made += node.results.len();
    }
    if made != program.value_count() {
        return Err(fail(format!("{} values are declared, nodes make {made}", program.value_count())));
    }
    check_ports(program).map_err(fail)
}

fn check_node(program: &Program, index: usize, node: &Node, made: usize) -> std::result::Result<(), String> {
    for (position, result) in node.results.iter().enumerate() {
        if result.index() != made + position || result.index() >= program.value_count() {
            return Err(format!("makes {result}, expected %{}", made + position));
        }
        if program.definition_id(*result).index() != index {
            return Err(format!(
                "{result} is recorded as made by node {}",
                program.definition_id(*result).index()
            ));
        }
    }
    if let Some(arg) = node.args.iter().find(|arg| arg.index() >= made) {
        return Err(format!("uses {arg} before it is made"));
    }
    let results: Vec<&ValueType> = node.results.iter().map(|&value| program.ty(value)).collect();
    if node.op.is_leaf() {
        let [ty] = results[..] else {
            return Err(format!("a leaf has one result, this has {}", results.len()));
        };
        if !node.args.is_empty() {
            return Err("a leaf has no arguments".into());
        }
        return check_leaf(program, &node.op, node.results[0], ty);
    }
    if let Op::Scan { body, .. } = &node.op {
        verify(body.program()).map_err(|error| format!("its body: {}", error.message()))?;
    }
    let args: Vec<&ValueType> = node.args.iter().map(|&value| program.ty(value)).collect();
    let inferred = infer(&node.op, &args).map_err(|error| error.message().to_string())?;
    if !inferred.iter().eq(results.iter().copied()) {
        return Err(format!("has the types {}, the shape rule says {}", list(results), list(&inferred)));
    }
    Ok(())
}

fn check_leaf(program: &Program, op: &Op, value: Value, ty: &ValueType) -> std::result::Result<(), String> {
    ty.shape.check()?;
    let (sort, port, expected) = match op {
        Op::Input(port) => ("input", *port, program.inputs.get(*port).map(|port| port.value)),
        Op::State(port) => ("state", *port, program.states.get(*port).map(|port| port.value)),
        Op::Hyper(port) => ("hyperparameter", *port, program.hypers.get(*port).map(|port| port.value)),
        Op::Constant(literal) if literal.ty != *ty => {
            return Err(format!("is {ty}, its literal is {}", literal.ty));
        }
        _ => return Ok(()),
    };
    match expected {
        None => Err(format!("there is no {sort} {port}")),
        Some(expected) if expected != value => {
            Err(format!("{sort} {port} is read by {expected} and again by {value}"))
        }
        Some(_) if sort == "hyperparameter" && *ty != ValueType::scalar(DType::F32) => {
            Err(format!("a hyperparameter is f32[], this is {ty}"))
        }
        Some(_) => Ok(()),
    }
}

fn check_ports(program: &Program) -> std::result::Result<(), String> {
    let leaf = |sort: &str, name: &str, value: Value, op: Op| {
        if value.index() >= program.value_count() || program.definition(value).op != op {
            return Err(format!("{sort} {name} has the value {value}, which is not its leaf"));
        }
        Ok(())
    };
    for (index, port) in program.inputs.iter().enumerate() {
        leaf("input", &port.name, port.value, Op::Input(index))?;
    }
    for (index, port) in program.states.iter().enumerate() {
        leaf("state", &port.name, port.value, Op::State(index))?;
        let Some(write) = port.write else { continue };
        if write.index() >= program.value_count() {
            return Err(format!("state {} is written with {write}, which does not exist", port.name));
        }
        if program.ty(write) != program.ty(port.value) {
            let (state, written) = (program.ty(port.value), program.ty(write));
            return Err(format!("state {} is {state}, it is written with {written}", port.name));
        }
    }
    for (index, port) in program.hypers.iter().enumerate() {
        leaf("hyperparameter", &port.name, port.value, Op::Hyper(index))?;
    }
    if let Some(output) = program.outputs.iter().find(|output| output.value.index() >= program.value_count())
    {
        return Err(format!("output {} is {}, which does not exist", output.name, output.value));
    }
    fn names(ports: &[Port]) -> Vec<&str> {
        ports.iter().map(|port| port.name.as_str()).collect()
    }
    unique("inputs", names(&program.inputs))?;
    unique("states", program.states.iter().map(|state| state.name.as_str()).collect())?;
    unique("hyperparameters", names(&program.hypers))?;
    unique("outputs", names(&program.outputs))
}

fn unique(sort: &str, names: Vec<&str>) -> std::result::Result<(), String> {
    let mut seen = HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(format!("two {sort} are named {name:?}")),
        None => Ok(()),
    }
}

fn list<'a>(types: impl IntoIterator<Item = &'a ValueType>) -> String {
    types.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Port;
    use crate::types::Literal;

    fn valid() -> Program {
        let mut program = Program::new("p");
        let x = program.input("x", ValueType::new(DType::F32, [2]));
        let w = program.state("w", ValueType::new(DType::F32, [2]));
        let sum = program.binary(crate::BinaryKind::Add, x, w).unwrap();
        program.hyper("lr");
        program.constant(Literal::f32(1.0));
        program.write(0, sum).unwrap();
        program.output("y", sum);
        program
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Program), expected: &str) {
        let mut program = valid();
        change(&mut program);
        assert_eq!(verify(&program).unwrap_err().message(), expected);
    }

    #[test]
    fn built_programs_are_valid() {
        verify(&valid()).unwrap();
        verify(&Program::new("empty")).unwrap();
    }

    #[test]
    fn broken_ports_are_found() {
        check(
            |p| p.outputs.push(Port { name: "z".into(), value: Value(9) }),
            "output z is %9, which does not exist in program p",
        );
        check(
            |p| p.outputs.push(Port { name: "y".into(), value: Value(0) }),
            "two outputs are named \"y\" in program p",
        );
        check(
            |p| p.states[0].write = Some(Value(3)),
            "state w is f32[2], it is written with f32[] in program p",
        );
        check(
            |p| p.states[0].write = Some(Value(7)),
            "state w is written with %7, which does not exist in program p",
        );
        check(|p| p.inputs.clear(), "node 0 (input): there is no input 0 in program p");
        check(
            |p| p.inputs.push(Port { name: "second".into(), value: Value(0) }),
            "input second has the value %0, which is not its leaf in program p",
        );
        check(
            |p| p.inputs[0].value = Value(1),
            "node 0 (input): input 0 is read by %1 and again by %0 in program p",
        );
    }
}
