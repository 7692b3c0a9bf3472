//! Parsing.

use super::line::{Line, Parsed};
use crate::error::{Error, Result};
use crate::program::{Program, Value};
use crate::types::ValueType;
use std::collections::HashMap;

/// Reads one program from its text form. Values may have any names of letters, digits and `_`, not only numbers.
///
/// # Errors
/// Names the line, from 1, and what was expected there.
pub fn parse(text: &str) -> Result<Program> {
    let mut parser = Parser { program: Program::default(), values: HashMap::new() };
    let mut place = Place::Before;
    let mut lines = 0;
    for (index, line) in text.lines().enumerate() {
        lines = index + 1;
        let mut line = Line::new(line);
        if line.at_end() {
            continue;
        }
        place = match place {
            Place::Before => parser.head(&mut line).map(|()| Place::Inside),
            Place::Inside if line.eat("}") => Ok(Place::After),
            Place::Inside => parser.statement(&mut line).map(|()| Place::Inside),
            Place::After => line.fail("the end of the text"),
        }
        .and_then(|place| line.end().map(|()| place))
        .map_err(|message| Error::new("parse", format!("line {}: {message}", index + 1)))?;
    }
    match place {
        Place::After => Ok(parser.program),
        Place::Before => Err(Error::new("parse", "expected `program`, found an empty text")),
        Place::Inside => {
            Err(Error::new("parse", format!("line {lines}: expected `}}`, found the end of the text")))
        }
    }
}

enum Place {
    Before,
    Inside,
    After,
}

struct Parser {
    program: Program,
    values: HashMap<String, Value>,
}

impl Parser {
    fn head(&mut self, line: &mut Line<'_>) -> Parsed<()> {
        line.expect("program")?;
        line.skip_space();
        self.program.name = if line.rest.starts_with('"') {
            line.string("the program's name")?
        } else {
            line.word("the program's name", |c| c.is_ascii_alphanumeric() || "_.-".contains(c))?.to_string()
        };
        line.expect("{")
    }

    fn statement(&mut self, line: &mut Line<'_>) -> Parsed<()> {
        if line.eat("write") {
            let name = line.string("the name of a state")?;
            line.expect("=")?;
            let value = self.value(line)?;
            let states = &self.program.states;
            let state = states.iter().position(|state| state.name == name);
            let state = state.ok_or_else(|| format!("there is no state named {name:?}"))?;
            return self.program.write(state, value).map_err(|error| error.message().to_string());
        }
        if line.eat("output") {
            let name = line.string("the name of the output")?;
            line.expect("=")?;
            let value = self.value(line)?;
            if self.program.outputs.iter().any(|output| output.name == name) {
                return Err(format!("two outputs are named {name:?}"));
            }
            self.program.output(name, value);
            return Ok(());
        }
        let mut names = Vec::new();
        let mut types = Vec::new();
        loop {
            names.push(line.value_name("a value such as %0, `write`, `output` or `}`")?);
            types.push(if line.eat(":") { Some(line.ty()?) } else { None });
            if !line.eat(",") {
                break;
            }
        }
        line.expect("=")?;
        let results = self.node(line, &types)?;
        if results.len() != names.len() {
            return Err(format!("the operation has {} results, {} are named", results.len(), names.len()));
        }
        for ((name, stated), value) in names.into_iter().zip(types).zip(results) {
            let ty = self.program.ty(value);
            if stated.is_some_and(|stated| stated != *ty) {
                return Err(format!("%{name} is {ty} by the shape rule"));
            }
            if self.values.insert(name.to_string(), value).is_some() {
                return Err(format!("%{name} is defined twice"));
            }
        }
        Ok(())
    }

    fn node(&mut self, line: &mut Line<'_>, types: &[Option<ValueType>]) -> Parsed<Vec<Value>> {
        let name = line.word("the name of an operation", |c| c.is_ascii_alphanumeric() || c == '_')?;
        let stated =
            || types[0].clone().ok_or_else(|| format!("expected a type, as in %0: f32[2] = {name} …"));
        let duplicate = |port: &str| Err(format!("two ports of this sort are named {port:?}"));
        Ok(vec![match name {
            "input" => {
                let port = line.string("the name of the input")?;
                if self.program.inputs.iter().any(|other| other.name == port) {
                    return duplicate(&port);
                }
                self.program.input(port, stated()?)
            }
            "state" => {
                let port = line.string("the name of the state")?;
                if self.program.states.iter().any(|other| other.name == port) {
                    return duplicate(&port);
                }
                self.program.state(port, stated()?)
            }
            "hyper" => {
                let port = line.string("the name of the hyperparameter")?;
                if self.program.hypers.iter().any(|other| other.name == port) {
                    return duplicate(&port);
                }
                self.program.hyper(port)
            }
            "constant" => {
                let literal = line.literal(stated()?)?;
                self.program.constant(literal)
            }
            _ => {
                let mut args = Vec::new();
                line.skip_space();
                if line.rest.starts_with('%') {
                    args.push(self.value(line)?);
                    while line.eat(",") {
                        args.push(self.value(line)?);
                    }
                }
                let op = line.operation(name)?;
                return self.program.push(op, &args).map_err(|error| error.to_string());
            }
        }])
    }

    fn value(&self, line: &mut Line<'_>) -> Parsed<Value> {
        let name = line.value_name("a value such as %0")?;
        self.values.get(name).copied().ok_or_else(|| format!("%{name} is not defined above"))
    }
}
